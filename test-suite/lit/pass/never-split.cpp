// What is split off from a function is left alone with it: here a coroutine's resumption, whose call is the only one.

// RUN: %clangxx -D__RELPOLINE__ -I%include -std=c++20 -O2 -S %s -o - | %FileCheck %s
// RUN: %clangxx -D__RELPOLINE__ -I%include -std=c++20 -O0 -S %s -o - | %FileCheck %s
// RUN: echo 'fun:_Z5neverPFivE' > %t.list
// RUN: env RELPOLINE_IGNORELIST=%t.list %clangxx -std=c++20 -O2 -I%include -S %s -o - | %FileCheck %s

#include "relpoline.h"
#include <coroutine>

struct Task {
  struct promise_type {
    Task get_return_object() { return {std::coroutine_handle<promise_type>::from_promise(*this)}; }
    std::suspend_always initial_suspend() { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() {}
  };
  std::coroutine_handle<promise_type> handle;
};
int result;

// CHECK:     {{^}}_Z5neverPFivE.resume:
// CHECK-NOT: cells
// CHECK:     callq __llvm_retpoline_r11
// CHECK:     .size _Z5neverPFivE.resume,
RELPOLINE_NEVER Task never(int (*f)()) {
  result = f();
  co_return;
}

// CHECK:     {{^}}_Z5otherPFivE.resume:
// CHECK:     cmpq _Z5otherPFivE.resume.relpoline.cells
// CHECK:     .size _Z5otherPFivE.resume,
Task other(int (*f)()) {
  result = f();
  co_return;
}
