// Before the link step of LTO calls are only made safe, because functions are still to be inlined across
// modules; the linker's own run converts those that are left. Without a plugin in the linker they stay safe.

// RUN: %clang-plain -O2 -c %inputs/runtime.c -o %t.rt.o

// RUN: %clang -O2 -flto -c %s -o %t.a.o && %clang -O2 -flto -DSECOND -c %s -o %t.b.o
// RUN: %llvm-dis %t.a.o -o - | %FileCheck %s --check-prefix=BEFORE
// RUN: %clang-plain -O2 -flto -fuse-ld=lld --ld-path=%ld.lld -Wl,--load-pass-plugin=%plugin -Wl,--lto-emit-asm %t.a.o %t.b.o %t.rt.o -o %t.s
// RUN: cat %t.s* | %FileCheck %s --check-prefix=AFTER
// RUN: %clang-plain -O2 -flto -fuse-ld=lld --ld-path=%ld.lld -Wl,--load-pass-plugin=%plugin %t.a.o %t.b.o %t.rt.o -o %t.exe && %t.exe
// RUN: %clang-plain -O2 -flto -fuse-ld=lld --ld-path=%ld.lld -Wl,--load-pass-plugin=%plugin -Wl,--lto-O0 %t.a.o %t.b.o %t.rt.o -o %t.exe && %t.exe
// RUN: %clang-plain -O2 -flto -fuse-ld=lld --ld-path=%ld.lld -r %t.a.o %t.b.o -o %t.r.o && %objdump %t.r.o | %no-raw
// RUN: %clang-plain -O2 -flto -fuse-ld=lld --ld-path=%ld.lld %t.a.o %t.b.o -o %t.safe && %t.safe
// RUN: %objdump %t.safe | %FileCheck %s --check-prefix=SAFE

// RUN: %clang -O2 -flto=thin -c %s -o %t.a.o && %clang -O2 -flto=thin -DSECOND -c %s -o %t.b.o
// RUN: %llvm-dis %t.a.o -o - | %FileCheck %s --check-prefix=BEFORE
// RUN: %clang-plain -O2 -flto=thin -fuse-ld=lld --ld-path=%ld.lld -Wl,--load-pass-plugin=%plugin -Wl,--thinlto-jobs=1 -Wl,--lto-emit-asm %t.a.o %t.b.o %t.rt.o -o %t.thin.s
// RUN: cat %t.thin.s* | %FileCheck %s --check-prefix=AFTER
// RUN: %clang-plain -O2 -flto=thin -fuse-ld=lld --ld-path=%ld.lld -Wl,--load-pass-plugin=%plugin %t.a.o %t.b.o %t.rt.o -o %t.exe && %t.exe
// RUN: %clang-plain -O2 -flto=thin -fuse-ld=lld --ld-path=%ld.lld %t.a.o %t.b.o -o %t.safe && %t.safe
// RUN: %objdump %t.safe | %FileCheck %s --check-prefix=SAFE

// An object that holds both machine code and bitcode is converted in the one and made safe in the other.
// RUN: %clang -O2 -flto -ffat-lto-objects -c %s -o %t.a.o && %clang -O2 -flto -ffat-lto-objects -DSECOND -c %s -o %t.b.o
// RUN: %objdump %t.a.o | %FileCheck %s --check-prefix=FAT
// RUN: %objdump %t.a.o | %no-raw
// RUN: %llvm-objcopy --dump-section=.llvm.lto=%t.bc %t.a.o %t.copy.o && %llvm-dis %t.bc -o - | %FileCheck %s --check-prefix=BEFORE
// RUN: %clang-plain %t.a.o %t.b.o %t.rt.o -o %t.exe && %t.exe

// BEFORE-NOT:   relpoline.cells
// BEFORE:       define {{.*}} @main({{.*}} #[[ATTRIBUTES:[0-9]+]]
// BEFORE-NOT:   callbr
// BEFORE-NOT:   relpoline.cells
// BEFORE:       attributes #[[ATTRIBUTES]] = {{.*}}+retpoline-indirect-calls,+retpoline-indirect-branches

// The helper of the other module has been inlined, and its site is one of the caller's.
// AFTER:        {{^}}main:
// AFTER-NOT:    {{call|jmp}}{{q?}} helper
// AFTER:        cmpq main.relpoline.cells{{.*}}(%rip), %r10
// AFTER-NOT:    {{(call|jmp)[a-z]*[[:space:]]+\*}}
// AFTER:        {{^}}main.relpoline:
// AFTER:        {{jmp|.long}} __relpoline_slow

// SAFE:         <main>:
// SAFE:         call{{.*}}<__llvm_retpoline_r11>
// SAFE-NOT:     relpoline_slow

// FAT:          R_X86_64_{{PC32|PLT32}} __relpoline_slow

int helper(int (*f)(int), int x);
#ifdef SECOND
int helper(int (*f)(int), int x) { return f(x) + f(x + 1); }
#else
__attribute__((noinline)) static int callee(int x) { return x * 2; }
int (*volatile pointer)(int) = callee;
int main(void) { return helper(pointer, 3) + pointer(1) == 16 ? 0 : 1; }
#endif
