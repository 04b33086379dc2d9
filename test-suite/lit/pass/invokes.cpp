// Both copies of a call that may throw unwind to the landing pad of the original, and their results meet again.

// RUN: %clangxx -O1 -S -emit-llvm %s -o - | %FileCheck %s
// RUN: %clangxx -O2 -S -emit-llvm %s -o - | %FileCheck %s
// RUN: %clangxx -O0 -S -emit-llvm %s -o - | %FileCheck %s
// RUN: %clangxx -Oz -S -emit-llvm %s -o - | %FileCheck %s --check-prefix=STUB
// RUN: %clangxx -O2 -S %s -o - | %FileCheck %s --check-prefix=ASM

struct Guard { ~Guard() noexcept(false); };
extern int (*callee)(const Guard &, int);

// CHECK-LABEL: define {{.*}} @_Z6caughti(
// CHECK:       [[HOT:%[0-9]+]] = invoke noundef i32 @_Z6caughti.hot.0(ptr {{.*}}, i32 noundef {{.*}}, ptr nest {{.*}})
// CHECK-NEXT:  to label %[[JOIN:.*]] unwind label %[[PAD:[^ ,]*]]
// CHECK:       [[COLD:%[0-9]+]] = invoke noundef i32 @_Z6caughti.cold.0(ptr {{.*}}, i32 noundef {{.*}}, ptr nest {{.*}})
// CHECK-NEXT:  to label %[[JOIN]] unwind label %[[PAD]]
// CHECK:       phi i32
// CHECK-SAME:  [[HOT]]
// CHECK:       {{^}}[[PAD]]:
// CHECK:       landingpad { ptr, i32 }
// CHECK:       catch ptr @_ZTIi

// STUB-LABEL:  define {{.*}} @_Z6caughti(
// STUB:        [[VALUE:%[0-9]+]] = invoke noundef i32 @_Z6caughti.site.0(ptr {{.*}}, i32 noundef {{.*}}, ptr nest {{.*}})
// STUB-NEXT:   to label %{{.*}} unwind label %[[PAD:[^ ,]*]]
// STUB:        {{^}}[[PAD]]:
// STUB:        landingpad { ptr, i32 }

// Both calls are covered by the exception table.
// ASM-LABEL:   {{^}}_Z6caughti:
// ASM:         callq .L_Z6caughti.hot.0
// ASM-NEXT:    [[HOT_END:.Ltmp[0-9]+]]: # EH_LABEL
// ASM:         callq .L_Z6caughti.cold.0
// ASM-NEXT:    [[COLD_END:.Ltmp[0-9]+]]: # EH_LABEL
// ASM:         GCC_except_table
// ASM-DAG:     .uleb128 [[HOT_END]]-.Ltmp
// ASM-DAG:     .uleb128 [[COLD_END]]-.Ltmp
int caught(int value) {
  try {
    Guard guard;
    return callee(guard, value) + 1;
  } catch (int code) {
    return code;
  }
}

// The same callee once inside and once outside of the try block: two sites, two ways to unwind.
// CHECK-LABEL: define {{.*}} @_Z5twicei(
// CHECK:       invoke noundef i32 @_Z5twicei.hot.0(
// CHECK:       invoke noundef i32 @_Z5twicei.cold.0(
// CHECK-DAG:   call noundef i32 @_Z5twicei.hot.1(
// CHECK-DAG:   call noundef i32 @_Z5twicei.cold.1(
int twice(int value) {
  Guard *guard = nullptr;
  try {
    value += callee(*guard, value);
  } catch (...) {
    value = 0;
  }
  return value + callee(*guard, value);
}
