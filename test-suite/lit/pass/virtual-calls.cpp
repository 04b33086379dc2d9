// Virtual calls, member pointers, thunks and library types that dispatch are converted, deleting destructors
// included.

// RUN: %clangxx -std=c++20 -O0 -c %s -o %t0.o && %objdump %t0.o | %no-raw
// RUN: %clangxx -std=c++20 -O2 -c %s -o %t2.o && %objdump %t2.o | %no-raw
// RUN: %clangxx -std=c++20 -Oz -c %s -o %tz.o && %objdump %tz.o | %no-raw
// RUN: %clangxx -std=c++20 -O2 -S -emit-llvm %s -o - -Rpass-missed=relpoline 2>%t.remarks | %FileCheck %s
// RUN: %FileCheck %s --check-prefix=MISSED --allow-empty --input-file=%t.remarks
// RUN: %clangxx -std=c++20 -O2 -fPIC -fno-plt -c %s -o %tp.o && %objdump %tp.o | %no-raw

// MISSED-NOT: remark

#include <functional>
#include <memory>

struct Base {
  virtual ~Base();
  virtual int number(double) const;
  virtual Base *self();
};
struct Other {
  virtual int other(int, ...);
};
struct Derived : virtual Base, Other {
  Derived *self() override; // covariant: needs a thunk that adjusts the result
  int other(int, ...) override;
};
struct Large {
  long words[5];
  Large(const Large &);
};
struct Maker {
  virtual Large make(Large, int) = 0;
};

// CHECK-LABEL: define {{.*}} @_Z9by_vtablePK4Base(
// CHECK: call noundef i32 @_Z9by_vtablePK4Base.hot.0(ptr noundef nonnull align 8 dereferenceable(8) %{{.*}}, double noundef 1.500000e+00, ptr nest %{{.*}})
int by_vtable(const Base *base) { return base->number(1.5) + 1; }

// CHECK-LABEL: define {{.*}} @_Z7deletesP4Base(
// CHECK: tail call void @_Z7deletesP4Base.{{hot|site}}.0(ptr noundef nonnull {{.*}}, ptr nest %{{.*}})
void deletes(Base *base) { delete base; }

// CHECK-LABEL: define {{.*}} @_Z9by_memberP4BaseMS_KFidE(
// CHECK: call noundef i32 @_Z9by_memberP4BaseMS_KFidE.hot.0(
int by_member(Base *base, int (Base::*member)(double) const) { return (base->*member)(2.5) + 1; }

// CHECK-LABEL: define {{.*}} @_Z8variadicP5Other(
// CHECK: call noundef i32 (ptr, i32, ptr, ...) @_Z8variadicP5Other.hot.0(ptr noundef nonnull align 8 dereferenceable(8) %{{.*}}, i32 noundef 1, ptr nest %{{.*}}, i32 noundef 2)
int variadic(Other *other) { return other->other(1, 2) + 1; }

// The place for the result stays the first argument.
// CHECK-LABEL: define {{.*}} @_Z8by_valueP5MakerRK5Large(
// CHECK: @_Z8by_valueP5MakerRK5Large.hot.0(ptr {{.*}}sret(%struct.Large) align 8 %{{.*}}, ptr noundef nonnull align 8 dereferenceable(8) %{{.*}}, ptr {{.*}}, i32 noundef 3, ptr nest %{{.*}})
Large by_value(Maker *maker, const Large &large) { return maker->make(large, 3); }

// CHECK-LABEL: define {{.*}} @_Z11by_functionRKSt8functionIFilEE(
// CHECK: @_Z11by_functionRKSt8functionIFilEE.hot.0(
int by_function(const std::function<int(long)> &function) { return function(7) + 1; }

// CHECK-LABEL: define {{.*}} @_Z8releasesRSt10shared_ptrI4BaseE(
// CHECK: @_Z8releasesRSt10shared_ptrI4BaseE.hot.0(
void releases(std::shared_ptr<Base> &pointer) { pointer.reset(); }

Derived *Derived::self() { return this; }
int Derived::other(int, ...) { return 0; }
