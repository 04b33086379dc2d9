// What is emitted is ELF: for another object format one warning says that the target is not supported.

// RUN: %clang --target=x86_64-apple-macosx -O2 -c %s -o %t.o 2>&1 | %FileCheck %s
// RUN: %clang --target=x86_64-pc-windows-msvc -O2 -c %s -o %t.o 2>&1 | %FileCheck %s
// CHECK-NOT: error
// CHECK:     warning: relpoline: target '{{.*}}' is not supported

int site(int (*f)(int)) { return f(1) + 1; }
