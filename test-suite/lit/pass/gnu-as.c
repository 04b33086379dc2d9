// GNU as takes what is emitted, whatever the functions are called.

// RUN: %relpoline-clang -O2 -fno-integrated-as -c %s -o %t.o
// RUN: %relpoline sites %t.o | %FileCheck %s

// CHECK:     4 sites (2 inline, 2 stub)
// CHECK-DAG: inline größe
// CHECK-DAG: stub kühl
void größe(void (*f)(void)) { f(); f(); }
__attribute__((cold)) void kühl(void (*f)(void)) { f(); f(); }
