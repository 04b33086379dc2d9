// What XRay puts in front of a tail call uses r10, where the target would be: tail calls stay retpolines, as jumps. Others
// are converted.

// RUN: %clang -O2 -fxray-instrument -fxray-instruction-threshold=1 -S %s -o - | %FileCheck %s
// RUN: %clang -Os -fxray-instrument -fxray-instruction-threshold=1 -S %s -o - | %FileCheck %s
// RUN: %clang -O2 -fxray-instrument -c %s -o %t.o -Rpass-missed=relpoline 2>&1 | %FileCheck %s --check-prefix=REMARK

// CHECK-LABEL: {{^}}tail:
// CHECK-NOT:   call
// CHECK:       jmp __llvm_retpoline_r11
// CHECK:       .size tail,
// REMARK:      xray.c:[[@LINE+1]]:{{.*}} indirect call kept as a retpoline: XRay uses r10 in front of tail calls
int tail(int (*f)(int), int x) { return f(x); }

// CHECK-LABEL: {{^}}no_tail:
// CHECK:       callq .Lno_tail.{{hot|site}}.0
// CHECK:       .size no_tail,
int no_tail(int (*f)(int), int x) { return f(x) + 1; }
