// The macro for hand-written assembly makes what the pass makes of a call in the stub form, byte for byte.

// RUN: echo '__attribute__((minsize)) long call(long (*f)(long)) { return f(1) + 1; }' >%t.c
// RUN: %clang -O2 -c %t.c -o %t.pass.o && %llvm-objcopy --dump-section .text.unlikely.relpoline.call=%t.with-lead --dump-section relpoline_sites=%t.pass-row --dump-section .data.relpoline.call=%t.pass-cell %t.pass.o
// RUN: tail -c +3 %t.with-lead >%t.pass-stub
// RUN: %clang -D__RELPOLINE__=1 -c %s -o %t.o && %llvm-objcopy --dump-section .text.unlikely.relpoline.site_0=%t.stub --dump-section relpoline_sites=%t.row --dump-section .data.relpoline=%t.cell %t.o
// RUN: cmp %t.pass-stub %t.stub
// RUN: cmp %t.pass-cell %t.cell
// RUN: cmp %t.pass-row %t.row
// RUN: %llvm-readelf -rW %t.o | %FileCheck %s
// RUN: %clang -D__RELPOLINE__=1 -DSECOND -c %s -o %t.o && %llvm-readelf --unwind %t.o | %FileCheck %s --check-prefix=UNWIND
// RUN: %clang -D__RELPOLINE__=1 -DSECOND -fno-integrated-as -c %s -o %t.o && %llvm-readelf --unwind %t.o | %FileCheck %s --check-prefix=UNWIND

// CHECK:      Relocation section '.rela.text.unlikely.relpoline.site_0'
// CHECK-DAG:  0000000000000003 {{[0-9a-f]+}} R_X86_64_PC32 {{[0-9a-f]+}} .data.relpoline - 4
// CHECK-DAG:  0000000000000011 {{[0-9a-f]+}} R_X86_64_PC32 {{[0-9a-f]+}} .data.relpoline - 4
// CHECK-DAG:  000000000000001c {{[0-9a-f]+}} R_X86_64_PC32 {{[0-9a-f]+}} __relpoline_slow - 4
// CHECK-DAG:  0000000000000021 {{[0-9a-f]+}} R_X86_64_PC32 {{[0-9a-f]+}} __relpoline_slow - 4

// Whoever is interrupted in a stub finds the return address on top of the stack; the function around it says its own.
// UNWIND:       DW_CFA_def_cfa: reg7 +8
// UNWIND-NEXT:  DW_CFA_offset: reg16 -8
// UNWIND:       address_range: 0x25
// UNWIND-NOT:   DW_CFA_{{[^n]}}
// UNWIND:       CIE
// UNWIND:       address_range: 0x25
// UNWIND:       address_range: 0x{{1[0-9a-f]}}

#include "../../../runtime/include/relpoline_asm.h"
    .cfi_startproc
    RELPOLINE_CALL %rax
#ifdef SECOND
    RELPOLINE_JMP (%rcx,%rdx,8)
#endif
    .cfi_endproc
