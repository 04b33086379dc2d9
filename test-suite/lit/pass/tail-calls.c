// Tail calls stay tail calls in both copies, and those that the language guarantees stay retpolines.

// RUN: %clang -O2 -S %s -o - | %FileCheck %s --check-prefixes=CHECK,INLINE
// RUN: %clang -O3 -S %s -o - | %FileCheck %s --check-prefixes=CHECK,INLINE
// RUN: %clang -Os -S %s -o - | %FileCheck %s --check-prefixes=CHECK,STUB
// RUN: %clang -Oz -S %s -o - | %FileCheck %s --check-prefixes=CHECK,STUB
// RUN: %clang -O0 -S %s -o - | %FileCheck %s --check-prefix=MUST

typedef struct State { long (*next)(struct State *, long); } State;

// CHECK-LABEL: {{^}}tail:
// CHECK-NOT:   call
// INLINE:      cmpq tail.relpoline.cells(%rip), %r10
// INLINE-NEXT: jne [[COLD:.LBB[0-9_]+]]
// INLINE-NOT:  call
// INLINE:      jmp .Ltail.hot.0 # TAILCALL
// INLINE:      [[COLD]]:
// INLINE-NOT:  call
// INLINE:      jmp .Ltail.cold.0 # TAILCALL
// STUB:        jmp .Ltail.site.0 # TAILCALL
// CHECK-NOT:   call
// CHECK:       .size tail,
long tail(State *state, long n) { return state->next(state, n + 1); }

// A branch that ends in a tail call does not become one to a thunk either.
// CHECK-LABEL: {{^}}conditional:
// CHECK-NOT:   j{{[a-z]+}} __llvm_retpoline
// CHECK:       jmp .Lconditional.{{hot|site}}.0 # TAILCALL
// CHECK:       .size conditional,
void conditional(void (*f)(void), int c) {
  if (c) f();
}

// CHECK-LABEL: {{^}}must:
// CHECK-NOT:   call
// CHECK:       jmp __llvm_retpoline_r11 # TAILCALL
// CHECK:       .size must,
// MUST-LABEL:  {{^}}must:
// MUST-NOT:    call
// MUST:        jmp __llvm_retpoline_r11 # TAILCALL
// MUST:        .size must,
long must(State *state, long n) { __attribute__((musttail)) return state->next(state, n - 1); }
