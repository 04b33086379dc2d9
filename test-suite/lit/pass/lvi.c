// Load value injection's mitigation replaces indirect branches too. As with -mretpoline, the compiler fails.

// RUN: not %clang -O2 -mlvi-cfi -c %s -o %t.o 2>&1 | %FileCheck %s

// CHECK: error: relpoline: function 'call' is compiled with -mlvi-cfi, which cannot be combined with retpolines
int call(int (*f)(int)) { return f(1) + 1; }
