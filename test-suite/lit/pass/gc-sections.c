// A linker that drops a function drops its entries, stubs and cells with it, and keeps those of the others,
// although nothing refers to them.

// REQUIRES: gnu-ld
// RUN: %clang-plain -O2 -c %inputs/runtime.c -o %t.rt.o
// RUN: %clang -O2 -ffunction-sections -c %s -o %t.o

// RUN: %clang-plain -fuse-ld=bfd %t.o %t.rt.o -o %t.all && %t.all
// RUN: %llvm-readelf -sSW %t.all | %FileCheck %s --check-prefixes=CHECK,ALL
// RUN: %clang-plain -fuse-ld=bfd -Wl,--gc-sections %t.o %t.rt.o -o %t.bfd && %t.bfd
// RUN: %llvm-readelf -sSW %t.bfd | %FileCheck %s --check-prefixes=CHECK,GC --implicit-check-not=unused
// RUN: %clang-plain -fuse-ld=lld --ld-path=%ld.lld -Wl,--gc-sections %t.o %t.rt.o -o %t.lld && %t.lld
// RUN: %llvm-readelf -sSW %t.lld | %FileCheck %s --check-prefixes=CHECK,GC --implicit-check-not=unused
// RUN: %clang-plain -fuse-ld=lld --ld-path=%ld.lld -Wl,--gc-sections -Wl,--icf=all %t.o %t.rt.o -o %t.icf && %t.icf
// RUN: %clang-plain -fuse-ld=bfd -static -Wl,--gc-sections %t.o %t.rt.o -o %t.static && %t.static
// RUN: %llvm-readelf -sSW %t.static | %FileCheck %s --check-prefixes=CHECK,GC
// RUN: %clang -O2 -ffunction-sections -fPIC -c %s -o %t.pic.o
// RUN: %clang-plain -shared -fuse-ld=bfd -Wl,--gc-sections -Wl,-e,main -Wl,--exclude-libs,ALL %t.pic.o %t.rt.o -o %t.so

// All functions in one section live or die together.
// RUN: %clang -O2 -c %s -o %t.whole.o
// RUN: %clang-plain -fuse-ld=bfd -Wl,--gc-sections %t.whole.o %t.rt.o -o %t.whole && %t.whole
// RUN: %llvm-readelf -sSW %t.whole | %FileCheck %s --check-prefixes=CHECK,ALL

// One entry each for main and used, or three with unused.
// ALL:   relpoline_sites PROGBITS {{[0-9a-f]+}} {{[0-9a-f]+}} 000050
// GC:    relpoline_sites PROGBITS {{[0-9a-f]+}} {{[0-9a-f]+}} 000028
// CHECK-DAG: {{ }}used.relpoline.cells
// CHECK-DAG: {{ }}used.relpoline{{$}}
// CHECK-DAG: {{ }}main.relpoline.cells
// ALL-DAG:   {{ }}unused.relpoline.cells
// ALL-DAG:   {{ }}unused_small.relpoline.cells

#define NOINLINE __attribute__((noinline))

static NOINLINE int callee(int x) { return x + 1; }
int (*volatile pointer)(int) = callee;

int unused(int (*f)(int)) { return f(1) + 2; }
__attribute__((minsize)) int unused_small(int (*f)(int)) { return f(1) + 3; }
NOINLINE int used(int (*f)(int)) { return f(1) + 4; }
int main(void) { return used(pointer) + pointer(2) == 9 ? 0 : 1; }
