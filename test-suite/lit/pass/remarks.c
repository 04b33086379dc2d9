// Each indirect call is named in a remark: how it was converted, or why it was not. The remarks go where LLVM's
// go: to the terminal or a file, and nowhere unless asked for.

// RUN: %clang -O2 -g -c %s -o %t.o -Rpass=relpoline -Rpass-missed=relpoline 2>%t.remarks
// RUN: %FileCheck %s --implicit-check-not=remark: --input-file=%t.remarks
// RUN: %clang -O0 -c %s -o %t.o -Rpass=relpoline -Rpass-missed=relpoline 2>%t.remarks
// RUN: %FileCheck %s --implicit-check-not=remark: --input-file=%t.remarks
// RUN: %clang -O2 -c %s -o %t.o -Rpass-missed=relpoline 2>&1 | %FileCheck %s --check-prefix=MISSED --implicit-check-not=remark:
// RUN: %clang -O2 -c %s -o %t.o 2>&1 | %count 0
// RUN: %clang -O2 -g -c %s -o %t.o -fsave-optimization-record -foptimization-record-file=%t.yaml -foptimization-record-passes=relpoline
// RUN: %FileCheck %s --check-prefix=YAML --input-file=%t.yaml

// YAML:      --- !Passed
// YAML-NEXT: Pass: relpoline
// YAML-NEXT: Name: InlineForm
// YAML-NEXT: DebugLoc: { File: '{{.*}}remarks.c'
// YAML:      Line: [[#@LINE+5]],
// YAML:      Column: 34 }
// YAML-NEXT: Function: fast

// CHECK:     remarks.c:[[@LINE+1]]:34: remark: indirect call converted to a relpoline (inline form) [-Rpass=relpoline]
int fast(int (*f)(int)) { return f(1) + 1; }

// YAML:      --- !Passed
// YAML-NEXT: Pass: relpoline
// YAML-NEXT: Name: StubForm
// YAML:      Function: small

// CHECK:     remarks.c:[[@LINE+1]]:60: remark: indirect call converted to a relpoline (stub form) [-Rpass=relpoline]
__attribute__((minsize)) int small(int (*f)(int)) { return f(1) + 1; }

// YAML:      --- !Missed
// YAML-NEXT: Pass: relpoline
// YAML-NEXT: Name: MustTail
// YAML:      Function: must

extern int (*pointer)(int);
// CHECK:     remarks.c:[[@LINE+2]]:52: remark: indirect call kept as a retpoline: guaranteed tail call (musttail) [-Rpass-missed=relpoline]
// MISSED:    remarks.c:[[@LINE+1]]:52: remark: indirect call kept as a retpoline: guaranteed tail call (musttail) [-Rpass-missed=relpoline]
int must(int x) { __attribute__((musttail)) return pointer(x); }
