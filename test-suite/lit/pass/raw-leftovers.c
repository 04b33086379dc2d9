// Indirect branches that no attribute reaches are named in a remark: in inline assembly and `asm goto`, in naked functions and in
// __builtin_longjmp. The audit counts them among what was built here.

// RUN: %clang -O2 -c %s -o %t.o -Rpass-missed=relpoline 2>&1 | %FileCheck %s
// RUN: not %relpoline audit %t.o 2>&1 | %FileCheck %s --check-prefix=AUDIT

// AUDIT:      raw, built here:
// AUDIT-NEXT: assembly+
// AUDIT-NEXT: leaves+
// AUDIT-NEXT: jumps+
// AUDIT-NEXT: naked+

// CHECK: raw-leftovers.c:[[@LINE+1]]:{{.*}}remark:
void assembly(void (*f)(void)) { __asm__ volatile("call *%0" ::"r"(f) : "memory"); }

// CHECK: raw-leftovers.c:[[@LINE+2]]:{{.*}}remark:
void leaves(void *to) {
  __asm__ goto("jmp *%0" ::"r"(to)::end);
end:;
}

// CHECK: raw-leftovers.c:[[@LINE+1]]:{{.*}}remark:
void jumps(void **buffer) { __builtin_longjmp(buffer, 1); }

// CHECK: raw-leftovers.c:[[@LINE+1]]:{{.*}}remark:
__attribute__((naked)) void naked(void (*f)(void)) { __asm__ volatile("jmp *%rdi"); }
