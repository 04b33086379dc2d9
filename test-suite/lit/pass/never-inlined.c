// The calls of a RELPOLINE_NEVER function stay retpolines where LLVM would have it inlined, too.

// RUN: %clang -D__RELPOLINE__ -I%include -O2 -S %s -o - | %FileCheck %s
// RUN: %clang -D__RELPOLINE__ -I%include -O2 -flto -c %s -o %t.o
// RUN: %clang-plain -O2 -flto -fuse-ld=lld --ld-path=%ld.lld -Wl,--load-pass-plugin=%plugin -Wl,--lto-emit-asm -shared %t.o -o %t.s
// RUN: cat %t.s* | %FileCheck %s

#include "relpoline.h"

RELPOLINE_NEVER static int never(int (*f)(int)) { return f(1) + 1; }

// CHECK-LABEL: {{^}}caller:
// CHECK-NOT:   caller.relpoline.cells
// CHECK:       .size caller,
int caller(int (*f)(int)) { return never(f) * 2; }
