// Calls of every kind, through pointers that the compiler cannot see through. Prints what each callee got
// and what each caller got back, so that two builds can be compared.
#include <complex.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOINLINE __attribute__((noinline))

// A callee that only this cast knows: volatile, so that nothing is devirtualised.
#define INDIRECT(function) \
  ({ __typeof__(&function) volatile pointer = &function; pointer; })

// ---- Scalars -------------------------------------------------------------------------------------------

static NOINLINE signed char narrow(signed char a, unsigned char b, short c, unsigned short d, bool e) {
  printf("narrow %d %d %d %d %d\n", a, b, c, d, e);
  return (signed char)(a + c);
}
static NOINLINE bool negate(bool value) { return !value; }
static NOINLINE long many(int a, long b, int c, long d, int e, long f, int g, long h, short i, char j) {
  printf("many %d %ld %d %ld %d %ld %d %ld %d %d\n", a, b, c, d, e, f, g, h, i, j);
  return a + b + c + d + e + f + g + h + i + j;
}
static NOINLINE double floats(float a, double b, float c, double d, double e, double f, double g, double h,
                              double i, float j, int k) {
  printf("floats %g %g %g %g %g %g %g %g %g %g %d\n", a, b, c, d, e, f, g, h, i, j, k);
  return a + b + c + d + e + f + g + h + i + j + k;
}
static NOINLINE long double x87(long double a, int b, long double c) {
  printf("x87 %Lg %d %Lg\n", a, b, c);
  return a * b + c;
}
static NOINLINE __int128 wide(long a, __int128 b, int c, int d, int e, int f, __int128 g) {
  printf("wide %ld %llx%016llx %d %d %d %d %llx\n", a, (unsigned long long)(b >> 64), (unsigned long long)b, c, d,
         e, f, (unsigned long long)g);
  return b * a + g;
}
static NOINLINE float _Complex complex_float(float _Complex a, double _Complex b) {
  printf("complex_float %g %g %g %g\n", crealf(a), cimagf(a), creal(b), cimag(b));
  return a * (float _Complex)b;
}
static NOINLINE double _Complex complex_double(double _Complex a, int b) { return a * b; }
static NOINLINE long double _Complex complex_x87(long double _Complex a) { return a * a; }
static NOINLINE __fp16 *half(__fp16 *a) { return a + 1; }
static NOINLINE _Float16 half_value(_Float16 a, _Float16 b) { return a * b; }

static NOINLINE void scalars(void) {
  printf("%d\n", INDIRECT(narrow)(-3, 250, -30000, 60000, true));
  printf("%d %d\n", INDIRECT(negate)(true), INDIRECT(negate)(false));
  printf("%ld\n", INDIRECT(many)(1, 2, 3, 4, 5, 6, 7, 8, 9, 10));
  printf("%g\n", INDIRECT(floats)(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11));
  printf("%Lg\n", INDIRECT(x87)(1.5L, 4, 0.25L));
  __int128 big = ((__int128)0x1234 << 64) | 0x5678;
  __int128 product = INDIRECT(wide)(3, big, 4, 5, 6, 7, -1);
  printf("%llx %llx\n", (unsigned long long)(product >> 64), (unsigned long long)product);
  float _Complex small = INDIRECT(complex_float)(1 + 2 * I, 3 - 4 * I);
  printf("%g %g\n", crealf(small), cimagf(small));
  double _Complex middle = INDIRECT(complex_double)(1.5 + 2.5 * I, 2);
  printf("%g %g\n", creal(middle), cimag(middle));
  long double _Complex large = INDIRECT(complex_x87)(1.5L + 2.5L * I);
  printf("%Lg %Lg\n", creall(large), cimagl(large));
  __fp16 halves[2];
  printf("%d\n", INDIRECT(half)(halves) == halves + 1);
  printf("%g\n", (double)INDIRECT(half_value)((_Float16)1.5, (_Float16)2.5));
}

// ---- Aggregates ----------------------------------------------------------------------------------------

typedef struct { int a; } One;
typedef struct { long a; double b; } Mixed;
typedef struct { float a, b, c; } Floats;
typedef struct { double a; long b, c; } InMemory;
typedef struct { char bytes[61]; } Odd;
typedef struct { long a __attribute__((aligned(64))); char b; } Aligned;
typedef struct { long double a; } X87;
typedef struct { long double a; int b; } X87Memory;
typedef struct { unsigned a : 3, b : 17, c : 12; long d : 40; } Bits;
typedef struct {} Empty;
typedef union { double a; long b; char c[3]; } Either;
typedef struct { __int128 a; } Wide;
typedef struct { double _Complex a; } HasComplex;

static NOINLINE One one(One a) { return (One){a.a + 1}; }
static NOINLINE Mixed mixed(Mixed a, int b, Mixed c) { return (Mixed){a.a + b, a.b * c.b}; }
static NOINLINE Floats of_floats(Floats a) { return (Floats){a.c, a.b, a.a}; }
static NOINLINE InMemory in_memory(InMemory a, int b, InMemory c) {
  printf("in_memory %g %ld %ld %d %g %ld %ld\n", a.a, a.b, a.c, b, c.a, c.b, c.c);
  a.b = 99;
  return (InMemory){a.a + c.a, a.b + c.b, a.c + b};
}
static NOINLINE Odd odd(Odd a, char b) {
  a.bytes[60] = b;
  return a;
}
static NOINLINE Aligned aligned(int a, Aligned b) {
  printf("aligned %d %d %ld %d\n", a, (int)((uintptr_t)&b % 64), b.a, b.b);
  b.a += a;
  return b;
}
static NOINLINE X87 in_x87(X87 a) { return (X87){a.a / 2}; }
static NOINLINE X87Memory in_x87_memory(X87Memory a) { return (X87Memory){a.a / 2, a.b * 2}; }
static NOINLINE Bits bits(Bits a) { return (Bits){a.a + 1, a.b + 1, a.c + 1, a.d + 1}; }
static NOINLINE Empty empty(Empty a, int b, Empty c) {
  printf("empty %d\n", b);
  return a;
}
static NOINLINE Either either(Either a, long b) { return (Either){.b = a.b + b}; }
static NOINLINE Wide has_wide(Wide a, char b) { return (Wide){a.a + b}; }
static NOINLINE HasComplex has_complex(HasComplex a) { return (HasComplex){conj(a.a)}; }

static NOINLINE void aggregates(void) {
  printf("%d\n", INDIRECT(one)((One){41}).a);
  Mixed m = INDIRECT(mixed)((Mixed){1, 1.5}, 7, (Mixed){2, 2.5});
  printf("%ld %g\n", m.a, m.b);
  Floats f = INDIRECT(of_floats)((Floats){1, 2, 3});
  printf("%g %g %g\n", f.a, f.b, f.c);
  InMemory kept = {1.5, 2, 3};
  InMemory i = INDIRECT(in_memory)(kept, 4, (InMemory){5.5, 6, 7});
  printf("%g %ld %ld %ld\n", i.a, i.b, i.c, kept.b);
  Odd o;
  memset(&o, 'o', sizeof o);
  o = INDIRECT(odd)(o, 'x');
  printf("%.*s\n", (int)sizeof o, o.bytes);
  Aligned a = INDIRECT(aligned)(3, (Aligned){4, 5});
  printf("%ld %d\n", a.a, a.b);
  printf("%Lg\n", INDIRECT(in_x87)((X87){5}).a);
  X87Memory xm = INDIRECT(in_x87_memory)((X87Memory){5, 6});
  printf("%Lg %d\n", xm.a, xm.b);
  Bits b = INDIRECT(bits)((Bits){6, 70000, 4000, -5});
  printf("%d %d %d %ld\n", b.a, b.b, b.c, (long)b.d);
  INDIRECT(empty)((Empty){}, 8, (Empty){});
  printf("%ld\n", INDIRECT(either)((Either){.b = 40}, 2).b);
  printf("%d\n", (int)INDIRECT(has_wide)((Wide){40}, 2).a);
  HasComplex c = INDIRECT(has_complex)((HasComplex){1 + 2 * I});
  printf("%g %g\n", creal(c.a), cimag(c.a));
}

// ---- Vectors -------------------------------------------------------------------------------------------

typedef int V2 __attribute__((vector_size(8)));
typedef int V4 __attribute__((vector_size(16)));
typedef double V4d __attribute__((vector_size(32)));
typedef double V8d __attribute__((vector_size(64)));

static NOINLINE V4 vectors(V4 a, V2 b, V4 c) { return a * c + b[1]; }
__attribute__((target("avx2"))) static NOINLINE V4d avx(V4d a, int b, V4d c) { return a * c + b; }
__attribute__((target("avx2"))) static NOINLINE void use_avx(void) {
  V4d v = INDIRECT(avx)((V4d){1, 2, 3, 4}, 5, (V4d){6, 7, 8, 9});
  printf("%g %g %g %g\n", v[0], v[1], v[2], v[3]);
}
__attribute__((target("avx512f"))) static NOINLINE V8d avx512(V8d a, V8d b, char c) { return a * b + c; }
__attribute__((target("avx512f"))) static NOINLINE void use_avx512(void) {
  V8d v = INDIRECT(avx512)((V8d){1, 2, 3, 4, 5, 6, 7, 8}, (V8d){8, 7, 6, 5, 4, 3, 2, 1}, 9);
  for (int i = 0; i < 8; i++) printf("%g ", v[i]);
  printf("\n");
}

static NOINLINE void all_vectors(void) {
  V4 v = INDIRECT(vectors)((V4){1, 2, 3, 4}, (V2){5, 6}, (V4){7, 8, 9, 10});
  printf("%d %d %d %d\n", v[0], v[1], v[2], v[3]);
  if (__builtin_cpu_supports("avx2")) use_avx();
  if (__builtin_cpu_supports("avx512f")) use_avx512();
}

// ---- Variable arguments --------------------------------------------------------------------------------

static NOINLINE double sum(const char *kinds, ...) {
  va_list list;
  double total = 0;
  va_start(list, kinds);
  for (; *kinds; kinds++) switch (*kinds) {
      case 'i': total += va_arg(list, int); break;
      case 'l': total += (double)va_arg(list, long); break;
      case 'd': total += va_arg(list, double); break;
      case 'L': total += (double)va_arg(list, long double); break;
      case 'w': total += (double)va_arg(list, __int128); break;
      case 'm': total += va_arg(list, InMemory).a; break;
      case 'x': total += va_arg(list, Mixed).b; break;
      case 'v': total += va_arg(list, V4)[3]; break;
      case 's': total += (double)strlen(va_arg(list, char *)); break;
      default: total += 1e9;
    }
  va_end(list);
  return total;
}
static NOINLINE InMemory sret_variadic(int count, ...) {
  va_list list;
  InMemory out = {0, 0, 0};
  va_start(list, count);
  while (count-- > 0) out.b += va_arg(list, int), out.a += va_arg(list, double);
  va_end(list);
  return out;
}
static NOINLINE int through_list(int (*print)(char *, size_t, const char *, va_list), char *out, const char *format,
                                 ...) {
  va_list list;
  va_start(list, format);
  int length = print(out, 100, format, list);
  va_end(list);
  return length;
}
static NOINLINE int no_prototype() { return 17; }

static NOINLINE void variadics(void) {
  printf("%g\n", INDIRECT(sum)(""));
  printf("%g\n", INDIRECT(sum)("iiiiiiiii", 1, 2, 3, 4, 5, 6, 7, 8, 9));
  printf("%g\n", INDIRECT(sum)("dddddddddd", 1., 2., 3., 4., 5., 6., 7., 8., 9., 10.));
  printf("%g\n", INDIRECT(sum)("idLwlmxvsi", 1, 2., 3.L, (__int128)4, 5L, (InMemory){6, 0, 0}, (Mixed){0, 7},
                               (V4){0, 0, 0, 8}, "ninebytes", 10));
  InMemory s = INDIRECT(sret_variadic)(3, 1, 1.5, 2, 2.5, 3, 3.5);
  printf("%g %ld\n", s.a, s.b);
  char text[100];
  int length = through_list(INDIRECT(vsnprintf), text, "%d %s %g", 42, "words", 2.5);
  printf("%d %s\n", length, text);
  length = INDIRECT(snprintf)(text, sizeof text, "%s %Lg %d %d %d %d %d", "text", 2.5L, 1, 2, 3, 4, 5);
  printf("%d %s\n", length, text);
  int (*volatile old_style)() = (int (*)())no_prototype;
  printf("%d\n", old_style(1, 2.5, "three"));
}

// ---- Control flow --------------------------------------------------------------------------------------

static jmp_buf jump_target;
static NOINLINE void jump(int value) { longjmp(jump_target, value); }
static NOINLINE int after_jump(int start) {
  volatile int seen = start;
  int value = setjmp(jump_target);
  if (value < 3) {
    seen += 10;
    INDIRECT(jump)(value + 1);
  }
  return seen * 10 + value;
}

static volatile sig_atomic_t signals;
static void on_signal(int number) { signals += number == SIGUSR1; }
static NOINLINE void with_signal(void) {
  INDIRECT(signal)(SIGUSR1, on_signal);
  for (int i = 0; i < 100; i++) INDIRECT(raise)(SIGUSR1);
  printf("signals %d\n", (int)signals);
}

static int even(long n), odd_number(long n);
static int (*volatile even_pointer)(long) = even, (*volatile odd_pointer)(long) = odd_number;
static int even(long n) { return n == 0 ? 1 : odd_pointer(n - 1); }
static int odd_number(long n) { return n == 0 ? 0 : even_pointer(n - 1); }

typedef struct Step { long (*next)(long, struct Step *); } Step;
static long finish(long n, Step *step) { return n; }
static long must_tail(long n, Step *step) {
  if (n == 0) step->next = finish;
  __attribute__((musttail)) return step->next(n - (n > 0), step);
}

static NOINLINE int compare(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }
static NOINLINE void sort(void *base, size_t count, size_t size, int (*order)(const void *, const void *)) {
  char *bytes = base, swap[16];
  for (size_t i = 1; i < count; i++)
    for (size_t j = i; j > 0 && order(bytes + (j - 1) * size, bytes + j * size) > 0; j--) {
      memcpy(swap, bytes + j * size, size);
      memcpy(bytes + j * size, bytes + (j - 1) * size, size);
      memcpy(bytes + (j - 1) * size, swap, size);
    }
}

static NOINLINE int interpret(const unsigned char *code) {
  static void *const labels[] = {&&push, &&add, &&mul, &&dup, &&halt};
  int stack[8], *top = stack;
#define NEXT goto *labels[*code++]
  NEXT;
push: *top++ = *code++; NEXT;
add: top--, top[-1] += *top; NEXT;
mul: top--, top[-1] *= *top; NEXT;
dup: *top = top[-1], top++; NEXT;
halt: return top[-1];
}
static NOINLINE const char *weekday(int day) {
  switch (day) {
    case 0: puts("!"); return "mon";
    case 1: return "tue";
    case 2: puts("?"); return "wed";
    case 3: return "thu";
    case 4: putchar('.'); return "fri";
    case 5: return "sat";
    case 6: return "sun";
    default: return "none";
  }
}

typedef int (*Unary)(int);
static NOINLINE int increment(int x) { return x + 1; }
static NOINLINE int square(int x) { return x * x; }
static NOINLINE Unary choose(int which) { return which ? square : increment; }
static NOINLINE int in_loop(Unary *table, int count) {
  int total = 0;
  for (int i = 0; i < count; i++) total = total * 3 + table[i % 3](i) - (i & 1 ? table[0] : table[1])(total & 7);
  return total;
}

// Every register is taken, and the stack is realigned and of variable size: nothing is easy to keep.
static NOINLINE long crowded(long (*f)(long *, long), long n) {
  long a = n + 1, b = n + 2, c = n + 3, d = n + 4, e = n + 5, g = n + 6, h = n + 7, i = n + 8;
  long buffer[n];
  Aligned on_stack = {n, 1};
  __asm__ volatile("" : "+r"(a), "+r"(b), "+r"(c), "+r"(d), "+r"(e), "+r"(g), "+r"(h), "+r"(i));
  for (long k = 0; k < n; k++) buffer[k] = f(&on_stack.a, k) + a;
  __asm__ volatile("" ::: "rbx", "r12", "r13", "r14", "r15", "r10", "r11");
  long total = a + b * 2 + c * 3 + d * 4 + e * 5 + g * 6 + h * 7 + i * 8 + on_stack.a;
  for (long k = 0; k < n; k++) total = total * 5 + buffer[k];
  return total + (long)((uintptr_t)&on_stack % 64);
}
static NOINLINE long bump(long *place, long by) { return *place += by; }

__attribute__((ms_abi)) static NOINLINE long ms(long a, double b, long c, long d, long e) {
  return a + (long)b + c * 10 + d * 100 + e * 1000;
}
__attribute__((preserve_most)) static NOINLINE int preserving(int a) { return a * 2; }
__attribute__((regcall)) static NOINLINE int in_registers(int a, int b, int c, int d, int e, int f, int g, int h) {
  return a - b + c - d + e - f + g - h;
}

static NOINLINE void control_flow(void) {
  printf("%d\n", after_jump(1));
  with_signal();
#ifdef __OPTIMIZE__
  printf("%d\n", even_pointer(3000001)); // would exhaust the stack if it were not a tail call
#else
  printf("%d\n", even_pointer(3001));
#endif
  printf("%ld\n", must_tail(3000000, &(Step){must_tail}));
  int numbers[] = {5, 3, 9, 1, 7};
  sort(numbers, 5, sizeof *numbers, INDIRECT(compare));
  qsort(numbers, 3, sizeof *numbers, INDIRECT(compare));
  printf("%d %d %d %d %d\n", numbers[0], numbers[1], numbers[2], numbers[3], numbers[4]);
  printf("%d\n", interpret((unsigned char[]){0, 6, 3, 2, 0, 6, 1, 4}));
  for (int day = -1; day < 8; day++) puts(weekday(day));
  printf("%d %d\n", INDIRECT(choose)(0)(9), INDIRECT(choose)(1)(9));
  Unary table[] = {increment, square, increment};
  printf("%d\n", in_loop(table, 1000));
  printf("%ld\n", crowded(INDIRECT(bump), 9));
  printf("%ld\n", INDIRECT(ms)(1, 2.5, 3, 4, 5));
  printf("%d\n", INDIRECT(preserving)(21));
  printf("%d\n", INDIRECT(in_registers)(8, 7, 6, 5, 4, 3, 2, 1));
}

int main(void) {
  // The second round meets sites that have learned.
  for (int round = 0; round < 2; round++) {
    scalars();
    aggregates();
    all_vectors();
    variadics();
    control_flow();
  }
  return 0;
}
