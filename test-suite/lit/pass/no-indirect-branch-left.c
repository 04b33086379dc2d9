// No indirect call or jump is left in an object file, at any level and however the target was computed.

// RUN: %clang -O0 -c %s -o %t0.o && %objdump %t0.o | %no-raw
// RUN: %clang -O1 -c %s -o %t1.o && %objdump %t1.o | %no-raw
// RUN: %clang -O2 -c %s -o %t2.o && %objdump %t2.o | %no-raw
// RUN: %clang -O3 -c %s -o %t3.o && %objdump %t3.o | %no-raw
// RUN: %clang -Os -c %s -o %ts.o && %objdump %ts.o | %no-raw
// RUN: %clang -Oz -c %s -o %tz.o && %objdump %tz.o | %no-raw
// RUN: %clang -O2 -fPIC -fno-plt -c %s -o %tp.o && %objdump %tp.o | %no-raw
// RUN: %clang -O2 -fcf-protection=full -c %s -o %tc.o && %objdump %tc.o | %no-raw
// RUN: %clang -O2 -mcmodel=large -c %s -o %tl.o && %objdump %tl.o | %no-raw
// RUN: %clang -O2 -g -c %s -o %tg.o && %objdump %tg.o | %no-raw
// RUN: %clang -O2 -mretpoline -c %s -o %tr.o && %objdump %tr.o | %no-raw

// Without the pass each of these has some, so that the check above means something.
// RUN: %clang-plain -O0 -c %s -o %tq0.o && %objdump %tq0.o | %not %no-raw 2>&1 | %FileCheck %s
// RUN: %clang-plain -O2 -c %s -o %tq2.o && %objdump %tq2.o | %not %no-raw 2>&1 | %FileCheck %s
// CHECK: excluded string found in input

struct Operations { int (*open)(int); long (*table[4])(long, ...); } *operations;
extern int elsewhere(int);
extern void *memcpy(void *, const void *, unsigned long);
extern void abort(void);

int from_memory(int x) { return operations->open(x) + operations->open(1); }
long from_table(int i) { return operations->table[i](2) + (*operations->table)(i, 2.5); }
int by_condition(int which, int (*f)(int), int (*g)(int)) { return (which ? f : g)(which) + 1; }
int tail(int which) { return operations->open(which); }
void discarded(void (*f)(void) __attribute__((noreturn))) { f(); }
int direct(int x) { return elsewhere(x) + elsewhere(x + 1); }
void copies(void *a, void *b, unsigned long n) { memcpy(a, b, n); }
void at_address(void) { ((void (*)(void))0x100000)(); }
int (*returned(int (*(*f)(int))(int)))(int) { return f(1); }

int computed_goto(const unsigned char *code, int x) {
  static void *const labels[] = {&&add, &&twice, &&end};
  goto *labels[*code++];
add: x++; goto *labels[*code++];
twice: x *= 2; goto *labels[*code++];
end: return x;
}
int jump_table(int x) {
  switch (x) {
    case 0: return elsewhere(9);
    case 1: return elsewhere(3) + 1;
    case 2: return elsewhere(1) * 7;
    case 3: return elsewhere(5) & 5;
    case 4: return elsewhere(4) | 3;
    case 5: return elsewhere(8) ^ 2;
    case 6: abort();
  }
  return 0;
}
