// A tail call whose arguments lie partly on the stack, where the caller got them, stays a tail call as it is
// one without the pass: else a chain of them exhausts the stack.

// RUN: %clang-plain -O2 -S %s -o - | %FileCheck %s --check-prefixes=CHECK,PLAIN
// RUN: %clang -Os -S %s -o - | %FileCheck %s --check-prefixes=CHECK,PASS
// RUN: %clang -O2 -S %s -o - | %FileCheck %s --check-prefixes=CHECK,PASS

// CHECK-LABEL: {{^}}with_stack:
// CHECK-NOT:   call
// PLAIN:       jmpq *{{.*}} # TAILCALL
// PASS:        jmp .Lwith_stack.{{hot|site}}.0 # TAILCALL
// CHECK-NOT:   call
// CHECK:       .size with_stack,
typedef long Seven(long, long, long, long, long, long, long);
long with_stack(long a, long b, long c, long d, long e, long f, long on_stack, Seven *g) {
  return g(b, c, d, e, f, a, on_stack);
}
