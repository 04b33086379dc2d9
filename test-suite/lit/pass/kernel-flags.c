// With the flags of a kernel build, what is left goes to the kernel's own thunks, no thunk is defined here, and
// a stub, which is only jumped to directly, begins with no landing pad for indirect branches.

// RUN: %clang -O2 -fno-pic -mcmodel=kernel -mno-red-zone -mno-sse -mretpoline -mretpoline-external-thunk -mindirect-branch-cs-prefix -fcf-protection=branch -fpatchable-function-entry=16,16 -mfunction-return=thunk-extern -fsanitize=kcfi -c %s -o %t.cfi.o
// RUN: %objdump %t.cfi.o | %no-raw
// RUN: %llvm-nm %t.cfi.o | %FileCheck %s --check-prefix=SYMBOLS --implicit-check-not=__llvm_retpoline
// RUN: %clang -O2 -fno-pic -mcmodel=kernel -mno-red-zone -mno-sse -mretpoline -mretpoline-external-thunk -mindirect-branch-cs-prefix -fcf-protection=branch -fpatchable-function-entry=16,16 -mfunction-return=thunk-extern -c %s -o %t.o
// RUN: %objdump %t.o | %FileCheck %s
// RUN: %objdump %t.o | %no-raw
// RUN: %llvm-nm %t.o | %FileCheck %s --check-prefix=SYMBOLS --implicit-check-not=__llvm_retpoline

// SYMBOLS: U __x86_indirect_thunk_r11

// CHECK-LABEL: <converted>:
// CHECK:       endbr64
// CHECK:       cmpq {{.*}}, %r10
// CHECK:       R_X86_64_{{PC32|PLT32}} .text.unlikely.relpoline.converted
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
