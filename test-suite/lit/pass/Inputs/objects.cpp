// Indirect calls as C++ makes them: virtual calls, member pointers, exceptions through them, coroutines.
// Prints what happened, in order, so that two builds can be compared.
#include <algorithm>
#include <any>
#include <coroutine>
#include <cstdio>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#define NOINLINE __attribute__((noinline))

// Says when it is made, copied and destroyed.
struct Noisy {
  int id;
  explicit Noisy(int id) : id(id) { printf("+%d ", id); }
  Noisy(const Noisy &other) : id(other.id + 100) { printf("+%d ", id); }
  ~Noisy() { printf("-%d ", id); }
};

// ---- Virtual calls -------------------------------------------------------------------------------------

struct Shape {
  virtual ~Shape() { printf("~Shape "); }
  virtual double area() const = 0;
  virtual Shape *self() { return this; }
  virtual Noisy by_value(Noisy noisy, int) { return Noisy(noisy.id + 1); }
};
struct Named {
  virtual ~Named() = default;
  virtual std::string name(const char *prefix, ...) const { return std::string(prefix) + "named"; }
};
struct Square : Shape, Named {
  double side;
  explicit Square(double side) : side(side) {}
  ~Square() override { printf("~Square "); }
  double area() const override { return side * side; }
  Square *self() override { return this; }
  std::string name(const char *prefix, ...) const override { return std::string(prefix) + "square"; }
};
struct Circle : virtual Shape, virtual Named {
  double radius;
  explicit Circle(double radius) : radius(radius) {}
  double area() const override { return 3 * radius * radius; }
  Circle *self() override { return this; }
  Noisy by_value(Noisy noisy, int by) override { return Noisy(noisy.id + by); }
};

NOINLINE void shapes() {
  std::vector<std::unique_ptr<Shape>> all;
  for (int i = 1; i < 7; i++)
    if (i % 3) all.push_back(std::make_unique<Square>(i));
    else all.push_back(std::make_unique<Circle>(i));
  double total = 0;
  for (auto &shape : all) {
    total += shape->self()->area();
    Noisy noisy = shape->by_value(Noisy(1), 40);
    if (auto *named = dynamic_cast<Named *>(shape.get())) printf("%s ", named->name("a ", 1, 2.5).c_str());
  }
  printf("%g\n", total);
  all.clear();
  puts("");
}

// ---- Member pointers -----------------------------------------------------------------------------------

NOINLINE void members(Shape &shape) {
  double (Shape::*volatile area)() const = &Shape::area;
  Noisy (Shape::*volatile by_value)(Noisy, int) = &Shape::by_value;
  printf("%g ", (shape.*area)());
  (shape.*by_value)(Noisy(5), 6);
  puts("");
}

// ---- Exceptions ----------------------------------------------------------------------------------------

struct Refusal : std::runtime_error {
  int code;
  Refusal(int code) : std::runtime_error("refused"), code(code) {}
};

NOINLINE int maybe_throw(int value) {
  Noisy inside(value);
  if (value % 3 == 0) throw Refusal(value);
  if (value % 3 == 1) throw value;
  return value * 2;
}
NOINLINE Noisy throwing_value(Noisy given, ...) {
  if (given.id > 150) throw given.id;
  return Noisy(given.id + 1);
}
int (*volatile maybe)(int) = maybe_throw;
Noisy (*volatile variadic)(Noisy, ...) = throwing_value;

NOINLINE int caught(int value) {
  Noisy guard(value + 10);
  int result = -1;
  try {
    Noisy inner(value + 20);
    result = maybe(value);
    result += maybe(value + 3);
  } catch (const Refusal &refusal) {
    printf("refusal(%d) ", refusal.code);
    result = refusal.code;
  } catch (int code) {
    printf("int(%d) ", code);
    try {
      maybe(code + 2);
      throw;
    } catch (Refusal &) {
      result = -code;
    }
  }
  return result;
}
NOINLINE int filtered(int value) noexcept {
  try {
    return maybe(value);
  } catch (...) {
    return -2;
  }
}
NOINLINE void exceptions() {
  for (int value = 0; value < 6; value++) printf("= %d %d\n", caught(value), filtered(value));
  for (int id : {1, 99}) {
    try {
      Noisy out = variadic(Noisy(id), 2.5, "x");
      printf("got %d ", out.id);
      Noisy copy = variadic(out, 7);
      printf("got %d ", copy.id);
    } catch (int code) {
      printf("threw %d ", code);
    }
    puts("");
  }
  try {
    std::vector<Noisy> list;
    list.reserve(4);
    std::function<void(int)> add = [&](int id) {
      if (id == 3) throw Refusal(id);
      list.emplace_back(id);
    };
    for (int id = 1; id < 5; id++) add(id);
  } catch (std::exception &error) {
    printf("%s\n", error.what());
  }
}

// ---- Library types that dispatch -----------------------------------------------------------------------

NOINLINE bool descending(int a, int b) { return a > b; }
bool (*volatile order)(int, int) = descending;

NOINLINE void library() {
  std::vector<int> numbers{3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3, 2, 3, 8, 4, 6};
  std::sort(numbers.begin(), numbers.end(), order);
  for (int number : numbers) printf("%d ", number);
  std::variant<int, double, std::string> variant;
  for (int i = 0; i < 4; i++) {
    if (i % 3 == 0) variant = i;
    else if (i % 3 == 1) variant = i + 0.5;
    else variant = std::string(40, 'v');
    std::visit([](auto &value) { printf("[%zu] ", sizeof value); }, variant);
  }
  std::any any = Noisy(7);
  std::any copy = any;
  printf("%d\n", std::any_cast<Noisy &>(copy).id);
  std::shared_ptr<void> erased(new int(5), [](void *p) { printf("deleted %d\n", *(int *)p), delete (int *)p; });
}

// ---- Coroutines ----------------------------------------------------------------------------------------

// Resumes whoever waits for it when it ends, as a guaranteed tail call.
struct Task {
  struct promise_type {
    int value = 0;
    std::coroutine_handle<> waiting = std::noop_coroutine();
    Task get_return_object() { return {std::coroutine_handle<promise_type>::from_promise(*this)}; }
    std::suspend_always initial_suspend() { return {}; }
    struct Final {
      bool await_ready() noexcept { return false; }
      std::coroutine_handle<> await_suspend(std::coroutine_handle<promise_type> done) noexcept {
        return done.promise().waiting;
      }
      void await_resume() noexcept {}
    };
    Final final_suspend() noexcept { return {}; }
    void return_value(int v) { value = v; }
    void unhandled_exception() { value = -1; }
  };
  std::coroutine_handle<promise_type> handle;
  Task(std::coroutine_handle<promise_type> handle) : handle(handle) {}
  Task(Task &&other) : handle(std::exchange(other.handle, {})) {}
  ~Task() {
    if (handle) handle.destroy();
  }
  bool await_ready() { return false; }
  std::coroutine_handle<> await_suspend(std::coroutine_handle<> waiter) {
    handle.promise().waiting = waiter;
    return handle;
  }
  int await_resume() { return handle.promise().value; }
};
NOINLINE Task leaf(int value) {
  Noisy noisy(value);
  if (value == 2) throw Refusal(value);
  co_return value * 2;
}
NOINLINE Task sum(int count) {
  int total = 0;
  for (int i = 0; i < count; i++) total += co_await leaf(i);
  co_return total;
}
NOINLINE void coroutines() {
  Task task = sum(4);
  task.handle.resume();
  printf("%d\n", task.handle.promise().value);
}

// ---- Start and end of the program ----------------------------------------------------------------------

NOINLINE int global_value() { return printf("dynamic initialisation\n"); }
int (*volatile initialiser)() = global_value;
int initialised = initialiser();
struct AtExit {
  ~AtExit() { puts("global destructor"); }
} at_exit;

int main() {
  for (int round = 0; round < 3; round++) {
    shapes();
    Square square(3);
    Circle circle(2);
    for (Shape *shape : {(Shape *)&square, (Shape *)&circle}) members(*shape);
    exceptions();
    library();
    coroutines();
  }
}
