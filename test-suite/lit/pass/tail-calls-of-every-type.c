// What is a tail call without the pass stays one, whatever stands between it and the return or travels in memory or in
// several registers. Where nothing does, it has the inline form.

// RUN: %clang-plain -O2 -S %s -o - | %FileCheck %s --check-prefixes=CHECK,PLAIN
// RUN: %clang -O2 -S %s -o - | %FileCheck %s --check-prefixes=CHECK,PASS

typedef struct State State;

// CHECK-LABEL: {{^}}narrow:
// CHECK-NOT:   call
// PLAIN:       jmpq *{{.*}} # TAILCALL
// PASS:        jmp .Lnarrow.site.0 # TAILCALL
// CHECK-NOT:   call
// CHECK:       .size narrow,
int narrow(State *state, long (*f)(State *)) { return (int)f(state); }

// CHECK-LABEL: {{^}}cast:
// CHECK-NOT:   call
// PLAIN:       jmpq *{{.*}} # TAILCALL
// PASS:        jmp .Lcast.site.0 # TAILCALL
// CHECK-NOT:   call
// CHECK:       .size cast,
void *cast(State *state, long (*f)(State *)) { return (void *)f(state); }

// CHECK-LABEL: {{^}}in_memory:
// CHECK-NOT:   call
// PLAIN:       jmpq *{{.*}} # TAILCALL
// PASS:        jmp .Lin_memory.site.0 # TAILCALL
// CHECK-NOT:   call
// CHECK:       .size in_memory,
typedef struct { long parts[4]; } Large;
Large in_memory(State *state, Large (*f)(State *)) { return f(state); }

// CHECK-LABEL: {{^}}on_stack:
// CHECK-NOT:   call
// PLAIN:       jmpq *{{.*}} # TAILCALL
// PASS:        jmp .Lon_stack.site.0 # TAILCALL
// CHECK-NOT:   call
// CHECK:       .size on_stack,
long on_stack(State *state, long (*f)(State *, long, long double), long double x) { return f(state, 1, x); }

// CHECK-LABEL: {{^}}two_registers:
// CHECK-NOT:   call
// PLAIN:       jmpq *{{.*}} # TAILCALL
// PASS:        jmp .Ltwo_registers.site.0 # TAILCALL
// CHECK-NOT:   call
// CHECK:       .size two_registers,
long two_registers(State *state, long (*f)(State *, __int128), __int128 x) { return f(state, x); }

// CHECK-LABEL: {{^}}plain:
// CHECK-NOT:   call
// PASS:        jmp .Lplain.hot.0 # TAILCALL
// CHECK-NOT:   call
// CHECK:       .size plain,
typedef struct { long first, second; } Pair;
typedef float Vector __attribute__((vector_size(16)));
Pair plain(State *state, Pair (*f)(State *, double, Vector, short), Vector x) { return f(state, 1, x, 2); }

// CHECK-LABEL: {{^}}nothing:
// CHECK-NOT:   call
// PASS:        jmp .Lnothing.hot.0 # TAILCALL
// CHECK-NOT:   call
// CHECK:       .size nothing,
void nothing(State *state, long (*f)(State *)) { f(state); }

// No tail call, with or without the pass.
// CHECK-LABEL: {{^}}something_else:
// PLAIN:       callq *
// PASS:        callq .Lsomething_else.hot.0
// CHECK:       .size something_else,
int something_else(State *state, long (*f)(State *)) {
  f(state);
  return 0;
}
