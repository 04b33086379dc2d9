// Virtual calls that LTO devirtualises with the help of type metadata need no site, and those it cannot resolve get
// one. It makes no branch funnels of them, which exceptions do not pass.

// RUN: %clang-plain -O2 -c %inputs/runtime.c -o %t.rt.o
// RUN: %clangxx -O2 -flto -fwhole-program-vtables -fvisibility=hidden -c %s -o %t.o
// RUN: %clangxx-plain -O2 -flto -fuse-ld=lld --ld-path=%ld.lld -Wl,--load-pass-plugin=%plugin -Wl,--lto-emit-asm %t.o %t.rt.o -o %t.s
// RUN: cat %t.s* | %FileCheck %s
// RUN: %clangxx-plain -O2 -flto -fuse-ld=lld --ld-path=%ld.lld -Wl,--load-pass-plugin=%plugin %t.o %t.rt.o -o %t.exe && %t.exe

// CHECK-NOT: {{(call|jmp)[a-z]*[[:space:]]+\*}}
// CHECK:     {{^}}_Z5callsP4Basei:
// CHECK-NOT: branch_funnel
// CHECK:     cmpq _Z5callsP4Basei.relpoline.cells
// CHECK-NOT: {{(call|jmp)[a-z]*[[:space:]]+\*}}
// CHECK:     {{^}}main:
// CHECK:     cmpq main.relpoline.cells
// CHECK-NOT: {{(call|jmp)[a-z]*[[:space:]]+\*}}

struct Base {
  virtual int one(int x) = 0;
  virtual int many(int x) = 0;
};
struct A : Base {
  int one(int x) override { return x + 1; }
  int many(int x) override { return x + seed; }
  int seed = 1;
};
struct B : A {
  int many(int x) override { return x * seed + 2; }
};
struct C : A {
  int many(int x) override { return x - seed; }
};
struct D : A {
  int many(int x) override {
    if (x == seed + 2) throw 8;
    return x ^ seed;
  }
};
__attribute__((noinline)) int calls(Base *base, int x) {
  try {
    return base->one(x) * base->many(x);
  } catch (int thrown) {
    return thrown;
  }
}
int (*volatile through)(Base *, int) = calls;

int main(int count, char **) {
  A a;
  B b;
  C c;
  D d;
  Base *all[] = {&a, &b, &c, &d};
  int sum = 0;
  for (Base *base : all) sum += through(base, 3 + count - 1);
  return sum == 4 * (4 + 5 + 2 + 2) ? 0 : 1;
}
