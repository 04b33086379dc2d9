// Where size matters more than speed, the call itself goes to a stub that compares.

// RUN: %clang -Os -S %s -o - | %FileCheck %s --check-prefixes=CHECK,STUB
// RUN: %clang -Oz -S %s -o - | %FileCheck %s --check-prefixes=CHECK,STUB
// RUN: %clang -O2 -S %s -o - | %FileCheck %s --check-prefixes=CHECK,FAST

// A variable chooses, but for what it cannot mean.
// RUN: env RELPOLINE_FORM=inline %clang -Os -S %s -o - | %FileCheck %s --check-prefix=ASKED
// RUN: env RELPOLINE_FORM=stub %clang -O2 -S %s -o - | %FileCheck %s --check-prefixes=CHECK,STUB
// RUN: env RELPOLINE_FORM=fast not %clang -O2 -c %s -o %t.o 2>&1 | %FileCheck %s --check-prefix=WRONG
// ASKED:       {{^}}small:
// ASKED:       cmpq small.relpoline.cells
// ASKED:       {{^}}cold:
// ASKED:       cmpq cold.relpoline.cells
// WRONG:       error: relpoline: 'RELPOLINE_FORM' is 'fast', expected inline|stub

// RUN: %clang -O2 -c %s -o %t.o && %llvm-objdump -d -r %t.o | %FileCheck %s --check-prefix=BYTES


// CHECK-LABEL: plain:
// STUB-NOT:    cmpq
// STUB:        callq .Lplain.site.0
// FAST:        cmpq plain.relpoline.cells(%rip), %r10
// FAST:        callq .Lplain.hot.0
int plain(int (*f)(int), int x) { return f(x) + 1; }

// CHECK-LABEL: {{^}}small:
// CHECK-NOT:   cmpq
// CHECK:       movq %rdi, %r10
// CHECK-NOT:   cmpq
// CHECK:       callq .Lsmall.site.0
// CHECK-NOT:   .cold
// CHECK:       .size small,
__attribute__((minsize)) int small(int (*f)(int), int x) { return f(x) + 1; }

// CHECK-LABEL: {{^}}cold:
// CHECK-NOT:   cmpq
// CHECK:       callq .Lcold.site.0
// CHECK:       .size cold,
__attribute__((cold)) int cold(int (*f)(int), int x) { return f(x) + 1; }

// A tail call stays one.
// CHECK-LABEL: {{^}}small_tail:
// CHECK:       movq %rdi, %r10
// CHECK:       jmp .Lsmall_tail.site.0 # TAILCALL
// CHECK:       .size small_tail,
__attribute__((minsize)) int small_tail(int (*f)(int), int x) { return f(x); }

// The stub, byte for byte: the runtime decodes and patches exactly this.
// BYTES-LABEL: <small.relpoline>:
// BYTES-NEXT:  0: 0f 0b ud2
// BYTES-NEXT:  2: 4c 3b 15 00 00 00 00 cmpq (%rip), %r10
// BYTES-NEXT:  R_X86_64_PC32 .data.relpoline.small-0x4
// BYTES-NEXT:  9: 75 05 jne 0x10
// BYTES-NEXT:  b: e9 00 00 00 00 jmp 0x10
// BYTES-NEXT:  10: 4c 8d 1d 00 00 00 00 leaq (%rip), %r11
// BYTES-NEXT:  R_X86_64_PC32 .data.relpoline.small-0x4
// BYTES-NEXT:  17: 41 f6 43 08 02 testb $0x2, 0x8(%r11)
// BYTES-NEXT:  1c: 0f 84 00 00 00 00 je
// BYTES-NEXT:  R_X86_64_PC32 __relpoline_slow-0x4
// BYTES-NEXT:  22: e9 00 00 00 00 jmp
// BYTES-NEXT:  R_X86_64_PC32 __relpoline_slow-0x4
