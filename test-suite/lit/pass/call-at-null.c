// A call of a constant address is converted like any other, null included.

// RUN: %clang -O2 -c %s -o %t.o && %objdump %t.o | %no-raw
// RUN: %clang -O0 -c %s -o %t.o && %objdump %t.o | %no-raw

void at_address(void) { ((void (*)(void))0x100000)(); }
void at_null(void) { ((void (*)(void))0)(); }
