// The calls of functions and files that the ignore-list names stay retpolines; a list that cannot be read, or is
// not one, fails the compiler.

// RUN: echo 'fun:ign*' > %t.fun
// RUN: env RELPOLINE_IGNORELIST=%t.fun %clang -O2 -S %s -o - -Rpass-missed=relpoline 2>%t.remarks | %FileCheck %s
// RUN: %FileCheck %s --check-prefix=REMARK --implicit-check-not=remark: --input-file=%t.remarks
// RUN: printf '[other]\nfun:other\n[relpoline]\nsrc:*/ignorelist.c\n' > %t.src
// RUN: env RELPOLINE_IGNORELIST=%t.src %clang -O2 -S %s -o - | %FileCheck %s --check-prefix=SOURCE
// RUN: printf '[other]\nfun:*\n' > %t.section
// RUN: env RELPOLINE_IGNORELIST=%t.section %clang -O2 -S %s -o - | %FileCheck %s --check-prefix=NONE
// RUN: env RELPOLINE_IGNORELIST=%t.absent not %clang -O2 -c %s -o %t.o 2>&1 | %FileCheck %s --check-prefix=ABSENT
// RUN: echo 'nonsense' > %t.wrong
// RUN: env RELPOLINE_IGNORELIST=%t.wrong not %clang -O2 -c %s -o %t.o 2>&1 | %FileCheck %s --check-prefix=WRONG
// RUN: printf '# foo:run\n[relpoline]\nfunction:other\n' > %t.prefix
// RUN: env RELPOLINE_IGNORELIST=%t.prefix not %clang -O2 -c %s -o %t.o 2>&1 | %FileCheck %s --check-prefix=PREFIX
// RUN: printf 'type:x\n[other]\nfoo:x\n' > %t.foreign
// RUN: env RELPOLINE_IGNORELIST=%t.foreign %clang -O2 -S %s -o - | %FileCheck %s --check-prefix=NONE
// RUN: rm -f %t.pipe && mkfifo %t.pipe
// RUN: env RELPOLINE_IGNORELIST=%t.pipe not %clang -O2 -c %s -o %t.o 2>&1 | %FileCheck %s --check-prefix=PIPE

// CHECK-LABEL: {{^}}ignored:
// CHECK-NOT:   cells
// CHECK:       callq __llvm_retpoline_r11
// CHECK:       .size ignored,
// REMARK:      ignorelist.c:[[@LINE+1]]:{{[0-9]+}}: remark: indirect call kept as a retpoline: the ignore-list names its function or file [-Rpass-missed=relpoline]
int ignored(int (*f)(int)) { return f(1) + 1; }

// CHECK-LABEL: {{^}}other:
// CHECK:       cmpq other.relpoline.cells(%rip), %r10
// CHECK:       .size other,
int other(int (*f)(int)) { return f(1) + 1; }

// SOURCE-NOT: cells
// NONE:       ignored.relpoline.cells
// NONE:       other.relpoline.cells
// ABSENT:     error: relpoline: RELPOLINE_IGNORELIST: {{.*}}absent{{.*}}No such file or directory{{.*}}; name a list that can be read, or none{{$}}
// PIPE:       error: relpoline: RELPOLINE_IGNORELIST: {{.*}}pipe': it is no regular file; name a list that can be read
// WRONG:      error: relpoline: RELPOLINE_IGNORELIST: {{.*}}malformed line 1: 'nonsense', expected 'fun:NAME' or 'src:PATH'
// PREFIX:     error: relpoline: RELPOLINE_IGNORELIST: {{.*}}.prefix', line 3: 'function:other' names nothing, expected 'fun:NAME' or 'src:PATH'
