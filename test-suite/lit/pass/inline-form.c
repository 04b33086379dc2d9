// An indirect call becomes a compare with the site's cell, a direct call behind it, and a slow path that lies
// behind the function's end.

// RUN: %clang -O1 -S %s -o - | %FileCheck %s
// RUN: %clang -O2 -S %s -o - | %FileCheck %s
// RUN: %clang -O3 -S %s -o - | %FileCheck %s
// RUN: %clang -O2 -fPIC -S %s -o - | %FileCheck %s
// RUN: %clang -O2 -fno-pic -S %s -o - | %FileCheck %s
// RUN: %clang -O0 -S %s -o - | %FileCheck %s --check-prefix=O0

// CHECK-LABEL: one:
// CHECK:       movq %rdi, %r10
// CHECK-NOT:   %r10
// CHECK:       [[SITE:.Lrelpoline_site_[0-9]+]]:
// CHECK-NEXT:  cmpq one.relpoline.cells(%rip), %r10
// CHECK-NEXT:  jne [[COLD:.LBB[0-9_]+]]
// CHECK-NOT:   {{(call|jmp)[a-z]*}} {{.*}}*
// CHECK:       callq .Lone.hot.0
// CHECK:       retq
// CHECK:       [[COLD]]:
// CHECK:       callq .Lone.cold.0
// CHECK:       .size one,

// At -O0 the target passes through memory, and reaches the call in r10 all the same.
// O0-LABEL: one:
// O0:       movq {{.*}}, %r10
// O0:       cmpq one.relpoline.cells(%rip), %r10
// O0-NEXT:  jne [[COLD:.LBB[0-9_]+]]
// O0:       movq {{.*}}, %r10
// O0:       callq .Lone.hot.0
// O0:       [[COLD]]:
// O0:       movq {{.*}}, %r10
// O0:       callq .Lone.cold.0
// O0:       .size one,
int one(int (*f)(int, int), int x) { return f(x, x) + 1; }

// Each site has a cell of its own, 16 bytes from the one before it.
// CHECK-LABEL: two:
// CHECK:       cmpq two.relpoline.cells(%rip), %r10
// CHECK:       callq .Ltwo.hot.0
// CHECK:       cmpq two.relpoline.cells+16(%rip), %r10
// CHECK:       callq .Ltwo.hot.1
// CHECK:       .size two,
int two(int (*f)(int), int (**g)(int)) { return f(1) * (*g)(2); }

// What stands in one block of assembly for each function: the target of the cold call tests the gate of the
// site's cell and goes to the runtime; the target of the hot call, behind it, goes to that of the cold call.
// CHECK-LABEL: two.relpoline:
// CHECK:       leaq two.relpoline.cells+0(%rip), %r11
// CHECK-NEXT:  .byte 65
// CHECK-NEXT:  .byte 246
// CHECK-NEXT:  .byte 67
// CHECK-NEXT:  .byte 8
// CHECK-NEXT:  .byte 2
// CHECK-NEXT:  .byte 15
// CHECK-NEXT:  .byte 132
// CHECK:       .long __relpoline_slow-
// CHECK-NEXT:  .byte 233
// CHECK:       .long __relpoline_slow-
// CHECK-NEXT:  .byte 235
// CHECK-NEXT:  .byte 231
// CHECK-NEXT:  leaq two.relpoline.cells+16(%rip), %r11
