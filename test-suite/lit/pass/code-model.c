// Where code and data may lie more than 2 GiB apart, calls stay retpolines; in the other models they are
// converted.

// RUN: %clang -O2 -mcmodel=large -S %s -o - -Rpass-missed=relpoline 2>%t.remarks | %FileCheck %s --check-prefix=KEPT
// RUN: %FileCheck %s --check-prefix=REMARK --input-file=%t.remarks
// RUN: %clang -O2 -mcmodel=medium -S %s -o - -Rpass-missed=relpoline 2>%t.remarks | %FileCheck %s --check-prefix=KEPT
// RUN: %FileCheck %s --check-prefix=REMARK --input-file=%t.remarks
// RUN: %clang -O2 -mcmodel=kernel -fno-pic -S %s -o - 2>&1 | %FileCheck %s --check-prefix=CONVERTED
// RUN: %clang -O2 -mcmodel=small -S %s -o - 2>&1 | %FileCheck %s --check-prefix=CONVERTED
// RUN: %clang -O2 -S %s -o - 2>&1 | %FileCheck %s --check-prefix=CONVERTED

// REMARK:    remark: indirect call kept as a retpoline: code model is medium or large
// KEPT:      callq __llvm_retpoline_r11
// KEPT-NOT:  relpoline.cells
// CONVERTED: cmpq site.relpoline.cells(%rip), %r10
int site(int (*f)(int)) { return f(1) + 1; }
