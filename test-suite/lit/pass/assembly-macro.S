// The macro for hand-written assembly makes what the pass makes of a call in the stub form, byte for byte.

// RUN: echo '__attribute__((minsize)) long call(long (*f)(long)) { return f(1) + 1; }' >%t.c
// RUN: %clang -O2 -c %t.c -o %t.pass.o && %llvm-objcopy --dump-section .text.unlikely.relpoline.call=%t.with-lead --dump-section relpoline_sites=%t.pass-row --dump-section .data.relpoline.call=%t.pass-cell %t.pass.o
// RUN: tail -c +3 %t.with-lead >%t.pass-stub
// RUN: %clang -D__RELPOLINE__=1 -c %s -o %t.o && %llvm-objcopy --dump-section .text.unlikely.relpoline.site_0=%t.stub --dump-section relpoline_sites=%t.row --dump-section .data.relpoline=%t.cell %t.o
// RUN: cmp %t.pass-stub %t.stub
// RUN: cmp %t.pass-cell %t.cell
// RUN: cmp %t.pass-row %t.row
// RUN: %llvm-readelf -rW %t.o | %FileCheck %s

// CHECK:      Relocation section '.rela.text.unlikely.relpoline.site_0'
// CHECK-DAG:  0000000000000003 {{[0-9a-f]+}} R_X86_64_PC32 {{[0-9a-f]+}} .data.relpoline - 4
// CHECK-DAG:  0000000000000011 {{[0-9a-f]+}} R_X86_64_PC32 {{[0-9a-f]+}} .data.relpoline - 4
// CHECK-DAG:  000000000000001c {{[0-9a-f]+}} R_X86_64_PC32 {{[0-9a-f]+}} __relpoline_slow - 4
// CHECK-DAG:  0000000000000021 {{[0-9a-f]+}} R_X86_64_PC32 {{[0-9a-f]+}} __relpoline_slow - 4

#include "../../../runtime/include/relpoline_asm.h"
    RELPOLINE_CALL %rax
