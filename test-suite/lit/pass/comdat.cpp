// What belongs to an inline function lies in its COMDAT group: of two translation units that both emit the
// function, one copy of function, entry, stub and cell gets into the program.

// RUN: %clangxx -O1 -c %s -o %t.1.o && %clangxx -O1 -DSECOND -c %s -o %t.2.o
// RUN: %llvm-readelf -gW %t.1.o | %FileCheck %s
// RUN: %clang-plain -O2 -c %inputs/runtime.c -o %t.rt.o

// The same by way of assembly, LLVM's and GNU's.
// RUN: %clangxx -O1 -S %s -o %t.s && %clangxx-plain -c %t.s -o %t.s.o && %llvm-readelf -gW %t.s.o | %FileCheck %s
// RUN: %clangxx -O1 -fno-integrated-as -c %s -o %t.gnu.o && %llvm-readelf -gW %t.gnu.o | %FileCheck %s
// RUN: %clangxx -O1 -masm=intel -S %s -o %t.intel.s && %clangxx-plain -c %t.intel.s -o %t.intel.o && %llvm-readelf -gW %t.intel.o | %FileCheck %s
// REQUIRES: gnu-as, gnu-ld

// CHECK:      COMDAT group section [{{.*}}] `.group' [_Z5oftenPFiiE]
// CHECK-DAG:  .text._Z5oftenPFiiE
// CHECK-DAG:  relpoline_sites
// CHECK-DAG:  relpoline_built
// CHECK-DAG:  .text.unlikely.relpoline._Z5oftenPFiiE
// CHECK-DAG:  .data.relpoline._Z5oftenPFiiE
// CHECK:      COMDAT group section

// Two entries of 20 bytes, for the inline function and for main; in relpoline_built 8 bytes each for them, for
// other and for seldom.
// RUN: %clangxx-plain -fuse-ld=bfd %t.1.o %t.2.o %t.rt.o -o %t.bfd && %t.bfd
// RUN: %llvm-readelf -SW %t.bfd | %FileCheck %s --check-prefix=LINKED
// RUN: %clangxx-plain -fuse-ld=lld --ld-path=%ld.lld %t.1.o %t.2.o %t.rt.o -o %t.lld && %t.lld
// RUN: %llvm-readelf -SW %t.lld | %FileCheck %s --check-prefix=LINKED
// RUN: %clangxx-plain -fuse-ld=bfd %t.gnu.o %t.2.o %t.rt.o -o %t.gnu && %t.gnu
// RUN: %llvm-readelf -SW %t.gnu | %FileCheck %s --check-prefix=LINKED
// LINKED-DAG: relpoline_sites PROGBITS {{[0-9a-f]+}} {{[0-9a-f]+}} 000028
// LINKED-DAG: relpoline_built PROGBITS {{[0-9a-f]+}} {{[0-9a-f]+}} 000020

// The group may also come from a plain compiler: then the plain copy may win, and nothing refers to what is
// discarded.
// RUN: %clangxx-plain -O1 -DSECOND -c %s -o %t.plain.o
// RUN: %clangxx-plain -fuse-ld=bfd %t.plain.o %t.1.o %t.rt.o -o %t.mixed && %t.mixed
// RUN: %clangxx-plain -fuse-ld=lld --ld-path=%ld.lld %t.plain.o %t.1.o %t.rt.o -o %t.mixed && %t.mixed

#define NOINLINE __attribute__((noinline))

NOINLINE inline int often(int (*f)(int)) { return f(1) + 2; }
int other(int (*f)(int));

#ifdef SECOND
int other(int (*f)(int)) { return often(f); }
#else
NOINLINE static int seldom(int x) { return x + 1; }
int (*volatile pointer)(int) = seldom;
int main() {
  int sum = often(pointer) + other(pointer) + pointer(3);
  return sum == 12 ? 0 : 1;
}
#endif
