// With the flags of a kernel build, what is left goes to the kernel's own thunks, no thunk is defined here, and
// a stub, which is only jumped to directly, begins with no landing pad for indirect branches. Everything lies in
// sections that the kernel's linker scripts know, and objtool finds a function wherever a stub is entered.

// RUN: %clang -O2 -fno-pic -mcmodel=kernel -mno-red-zone -mno-sse -mretpoline -mretpoline-external-thunk -mindirect-branch-cs-prefix -fcf-protection=branch -fpatchable-function-entry=16,16 -mfunction-return=thunk-extern -fsanitize=kcfi -c %s -o %t.cfi.o
// RUN: %objdump %t.cfi.o | %no-raw
// RUN: %llvm-nm %t.cfi.o | %FileCheck %s --check-prefix=SYMBOLS --implicit-check-not=__llvm_retpoline
// RUN: %clang -O2 -fno-pic -mcmodel=kernel -mno-red-zone -mno-sse -mretpoline -mretpoline-external-thunk -mindirect-branch-cs-prefix -fcf-protection=branch -fpatchable-function-entry=16,16 -mfunction-return=thunk-extern -c %s -o %t.o
// RUN: %objdump %t.o | %FileCheck %s
// RUN: %objdump %t.o | %no-raw
// RUN: %llvm-nm %t.o | %FileCheck %s --check-prefix=SYMBOLS --implicit-check-not=__llvm_retpoline

// RUN: %llvm-readelf -sSW %t.o | %FileCheck %s --check-prefix=SECTIONS
// RUN: %clang -O2 -fno-pic -mcmodel=kernel -mretpoline-external-thunk -fno-asynchronous-unwind-tables -D__KERNEL__ -c %s -o %t.o
// RUN: %llvm-readelf -sSW %t.o | %FileCheck %s --check-prefix=SECTIONS
// RUN: %llvm-readelf -SW %t.o | not grep eh_frame
// RUN: %llvm-objdump -dr --no-show-raw-insn %t.o | %FileCheck %s --check-prefix=THUNKS

// With CONFIG_LTO_CLANG the linker generates code, and converts.
// RUN: %clang -O2 -fno-pic -mcmodel=kernel -mretpoline-external-thunk -fno-asynchronous-unwind-tables -flto=thin -fsplit-lto-unit -fvisibility=hidden -D__KERNEL__ -c %s -o %t.bc
// RUN: %ld.lld -r --load-pass-plugin=%plugin %t.bc -o %t.o
// RUN: %llvm-readelf -sSW %t.o | %FileCheck %s --check-prefix=SECTIONS
// RUN: %llvm-readelf -SW %t.o | not grep eh_frame
// RUN: %llvm-objdump -dr --no-show-raw-insn %t.o | %FileCheck %s --check-prefix=THUNKS
// RUN: %objdump %t.o | %no-raw

// SYMBOLS: U __x86_indirect_thunk_r11

// SECTIONS-NOT: relpoline_built
// SECTIONS-NOT: .text.unlikely.relpoline
// SECTIONS:     .text.unlikely PROGBITS
// SECTIONS:     .data..read_mostly PROGBITS
// SECTIONS-DAG: {{ 23 FUNC +LOCAL +DEFAULT +[0-9]+}} converted.relpoline.miss0
// SECTIONS-DAG: {{ 2 FUNC +LOCAL +DEFAULT +[0-9]+}} converted.relpoline.hot0
// SECTIONS-DAG: {{ 37 FUNC +LOCAL +DEFAULT +[0-9]+}} small.relpoline.site0

// CHECK-LABEL: <converted>:
// CHECK:       endbr64
// CHECK:       cmpq {{.*}}, %r10
// CHECK:       R_X86_64_{{PC32|PLT32}} .text.unlikely
int converted(int (*f)(int)) { return f(1) + 1; }

// CHECK-LABEL: <must>:
// CHECK:       jmp
// CHECK-NEXT:  __x86_indirect_thunk_r11
int (*pointer)(int);
int must(int x) { __attribute__((musttail)) return pointer(x); }

// CHECK-LABEL: <initial>:
// CHECK:       call
// CHECK-NEXT:  __x86_indirect_thunk_r11
__attribute__((section(".init.text"))) int initial(int (*f)(int)) { return f(2) + 1; }

// CHECK-LABEL: <converted.relpoline>:
// CHECK-NEXT:  ud2
// CHECK-NOT:   endbr
// CHECK:       __relpoline_slow

// Sections whose code is not there for long, or where nothing may be called, stay on retpolines.
// THUNKS-LABEL: <leaves>:
// THUNKS:       __x86_indirect_thunk_r11
// THUNKS-LABEL: <idle>:
// THUNKS:       __x86_indirect_thunk_r11
// THUNKS-LABEL: <scheduled>:
// THUNKS:       cmpq
__attribute__((section(".exit.text"))) int leaves(int (*f)(int)) { return f(3) + 1; }
__attribute__((section(".cpuidle.text"))) int idle(int (*f)(int)) { return f(3) + 1; }
__attribute__((section(".sched.text"))) int scheduled(int (*f)(int)) { return f(3) + 1; }

__attribute__((cold)) int small(int (*f)(int)) { return f(4) + 1; }
