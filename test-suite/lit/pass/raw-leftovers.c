// Indirect branches that no attribute reaches are named in a remark: in inline assembly and in
// __builtin_longjmp.

// RUN: %clang -O2 -c %s -o %t.o -Rpass-missed=relpoline 2>&1 | %FileCheck %s

// CHECK: raw-leftovers.c:[[@LINE+1]]:{{.*}}remark:
void assembly(void (*f)(void)) { __asm__ volatile("call *%0" ::"r"(f) : "memory"); }

// CHECK: raw-leftovers.c:[[@LINE+1]]:{{.*}}remark:
void jumps(void **buffer) { __builtin_longjmp(buffer, 1); }
