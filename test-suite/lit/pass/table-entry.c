// For every site there is one entry in relpoline_sites, linked to the code it describes, and a cell that
// matches nothing yet.

// RUN: %clang -O2 -g -S %s -o - | %FileCheck %s --check-prefixes=CHECK,LINES
// RUN: %clang -O2 -S %s -o - | %FileCheck %s --check-prefixes=CHECK,NOLINES
// RUN: %clang -O2 -g -c %s -o %t.o && %llvm-readelf -SW %t.o | %FileCheck %s --check-prefix=SECTIONS

// The references are relative to the fields, so that the table needs no relocation at run time and stays
// read-only. Last comes version 3 in the upper four bits, form in the lowest bit of the first byte, and
// the line in the lower three bytes (0x3000006e, 0x31000071).

// CHECK-LABEL: {{^}}fast:
// CHECK:       .section relpoline_sites,"ao",@progbits,[[SITE:.Lrelpoline_site_[0-9]+]]
// CHECK-NEXT:  .p2align 2
// CHECK-NEXT:  [[FIELD:.Ltmp[0-9]+]]:
// CHECK-NEXT:  .long [[SITE]]-[[FIELD]]
// CHECK-NEXT:  [[FIELD:.Ltmp[0-9]+]]:
// CHECK-NEXT:  .long fast.relpoline.cells-[[FIELD]]
// CHECK-NEXT:  [[FIELD:.Ltmp[0-9]+]]:
// CHECK-NEXT:  .long fast.relpoline+2-[[FIELD]]
// LINES-NEXT:  [[FIELD:.Ltmp[0-9]+]]:
// LINES-NEXT:  .long [[FILE:.Lrelpoline.file[.0-9]*]]-[[FIELD]]
// LINES-NEXT:  .long 805306478{{$}}
// NOLINES-NEXT: .long 0{{$}}
// NOLINES-NEXT: .long 805306368{{$}}

// CHECK-LABEL: {{^}}small.relpoline:
// CHECK:       [[SITE:.Lrelpoline_site_[0-9_]+]]:
// CHECK-NEXT:  cmpq small.relpoline.cells+0(%rip), %r10
// CHECK:       [[COLD:.Lrelpoline_cold_[0-9_]+]]:
// CHECK-NEXT:  .section relpoline_sites,"ao",@progbits,[[SITE]]
// CHECK:       .long [[SITE]]-
// CHECK:       .long small.relpoline.cells+0-
// CHECK:       .long [[COLD]]-
// LINES:       .long [[FILE]]-
// LINES-NEXT:  .long 822083697{{$}}
// NOLINES:     .long 0{{$}}
// NOLINES-NEXT: .long 822083584{{$}}

// A cell's first word is no canonical address, and no other pointer's value; the second one is the gate.
// CHECK:       .section .data.relpoline.fast,"aw",@progbits
// CHECK-NEXT:  .p2align 4
// CHECK-NEXT:  fast.relpoline.cells:
// CHECK-NEXT:  .quad -8343096560891255055
// CHECK-NEXT:  .quad 0{{ }}
// CHECK-NEXT:  .size fast.relpoline.cells, 16

// LINES:       [[FILE]]:
// LINES-NEXT:  .asciz "{{.*}}table-entry.c"

// The sections go where the linker drops them with what they describe (L).
// SECTIONS-DAG: .text.unlikely.relpoline.fast PROGBITS {{[0-9a-f ]+}} AX
// SECTIONS-DAG: .data.relpoline.fast PROGBITS {{[0-9a-f ]+}} 000010 00 WA 0 0 16
// SECTIONS-DAG: relpoline_sites PROGBITS {{[0-9a-f ]+}} 000014 00 AL {{[1-9][0-9]*}} 0 4
// SECTIONS-DAG: relpoline_built PROGBITS {{[0-9a-f ]+}} {{W?}}AL {{[1-9][0-9]*}}

#line 110
int fast(int (*f)(int), int x) { return f(x) + 1; }

__attribute__((minsize))
int small(int (*f)(int), int x) { return f(x) + 1; }
