// Load value injection's mitigation replaces indirect branches too, unless -mno-lvi-cfi says otherwise. As with
// -mretpoline, the compiler fails.

// RUN: not %clang -O2 -mlvi-cfi -c %s -o %t.o 2>&1 | %FileCheck %s
// RUN: not %clang -O2 -mseses -c %s -o %t.o 2>&1 | %FileCheck %s

// CHECK: error: relpoline: function 'call' is compiled with -mlvi-cfi (or what implies it), which cannot be combined with retpolines; add -mno-lvi-cfi
int call(int (*f)(int)) { return f(1) + 1; }
