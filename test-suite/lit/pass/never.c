// RELPOLINE_NEVER keeps the calls of a function retpolines, and of no other one.

// RUN: %clang -D__RELPOLINE__ -I%include -O2 -S %s -o - -Rpass-missed=relpoline 2>%t.remarks | %FileCheck %s
// RUN: %FileCheck %s --check-prefix=REMARK --implicit-check-not=remark: --input-file=%t.remarks
// RUN: %clang -D__RELPOLINE__ -I%include -O0 -S %s -o - | %FileCheck %s

#include "relpoline.h"

// CHECK-LABEL: {{^}}never:
// CHECK-NOT:   cells
// CHECK:       callq __llvm_retpoline_r11
// CHECK:       .size never,
// REMARK:      never.c:[[@LINE+1]]:{{[0-9]+}}: remark: indirect call kept as a retpoline: function is marked RELPOLINE_NEVER [-Rpass-missed=relpoline]
RELPOLINE_NEVER int never(int (*f)(int)) { return f(1) + 1; }

// CHECK-LABEL: {{^}}other:
// CHECK:       cmpq other.relpoline.cells(%rip), %r10
// CHECK:       .size other,
__attribute__((annotate("relpoline_never_"))) int other(int (*f)(int)) { return f(1) + 1; }

// CHECK-NOT: never.relpoline
