// Both calls carry the location of the call they replace, debug information stays valid, and a debugger or
// unwinder finds its way through the stubs.

// RUN: %clang -O2 -g -c %s -o %t.o && %llvm-dwarfdump --verify %t.o
// RUN: %clang -O0 -g -c %s -o %t0.o && %llvm-dwarfdump --verify %t0.o
// RUN: %llvm-objdump -d -l --no-show-raw-insn %t.o | %FileCheck %s
// RUN: %llvm-dwarfdump --eh-frame %t.o | %FileCheck %s --check-prefix=FRAMES
// RUN: %clang -O2 -gsplit-dwarf -gz -fdebug-types-section -c %s -o %t.split.o

// CHECK-LABEL: <site>:
// CHECK:       debug-info.c:60
// CHECK:       cmpq
// CHECK-NEXT:  jne
// CHECK-NOT:   debug-info.c:61
// CHECK:       callq
// CHECK:       debug-info.c:61
// CHECK:       debug-info.c:60
// CHECK:       callq

// One frame each for the function, its block of stubs and LLVM's thunk.
// FRAMES-COUNT-3: FDE cie=
// FRAMES-NOT: FDE cie=

int site(int (*f)(int), int x) {
#line 60
  int result = f(x);
  return result * 3 + x;
}
