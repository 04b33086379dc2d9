// Ten million tail calls through a pointer, out of a function with a local array: they must stay jumps, as they
// are without the pass, or the stack is exhausted.
#include <stdio.h>

typedef long (*step_t)(long, long);
extern step_t volatile step;
static int sink;

__attribute__((noinline)) static void use(int *buffer) { sink += buffer[3]; }

static long count(long left, long sum) {
    int buffer[8] = {(int)left, 1, 2, (int)sum};
    if (left == 0)
        return sum;
    use(buffer);
    return step(left - 1, sum + 1);
}

step_t volatile step = count;

int main(void) { puts(count(10000000, 0) == 10000000 ? "ok" : "wrong"); }
