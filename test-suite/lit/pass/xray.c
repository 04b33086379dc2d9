// What XRay puts in front of a tail call uses r10, where the target is: such calls stay calls.

// RUN: %clang -O2 -fxray-instrument -fxray-instruction-threshold=1 -S %s -o - | %FileCheck %s
// RUN: %clang -Os -fxray-instrument -fxray-instruction-threshold=1 -S %s -o - | %FileCheck %s

// CHECK-LABEL: {{^}}tail:
// CHECK-NOT:   jmp .Ltail.
// CHECK:       callq .Ltail.{{hot|site}}.0
// CHECK-NOT:   jmp .Ltail.
// CHECK:       .size tail,
int tail(int (*f)(int), int x) { return f(x); }
