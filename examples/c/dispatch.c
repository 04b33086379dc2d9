// An interpreter's loop: every instruction is a call through a table of function pointers. One site, four
// targets.
//
//     relpoline-clang -O2 -g dispatch.c -o dispatch
//     RELPOLINE_OPTIONS=stats=dispatch.json ./dispatch
//     cat dispatch.json
//
// In dispatch.json the site in run() is "polymorphic", with its targets and how often each was called while
// the site was learning. With RELPOLINE_OPTIONS=mode=off it stays a retpoline.
#include <stdio.h>

static long push(long top) { return top + 1; }
static long twice(long top) { return top * 2; }
static long trim(long top) { return top % 1000; }
static long keep(long top) { return top; }

// Not constant: other files could change it, so the compiler does not know what is called.
long (*instructions[])(long) = {push, twice, trim, keep};

__attribute__((noinline)) static long run(const unsigned char *program, int length) {
    long top = 0;
    for (int at = 0; at < length; at++)
        top = instructions[program[at]](top);
    return top;
}

int main(void) {
    unsigned char program[1000];
    for (int at = 0; at < 1000; at++)
        program[at] = at * 7919 % 13 % 4;
    long sum = 0;
    for (int round = 0; round < 1000; round++)
        sum += run(program, sizeof program - round);
    printf("sum %ld\n", sum);
}
