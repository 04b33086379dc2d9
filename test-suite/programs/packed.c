// Ten sites in one function: their stubs share a block, and lie at fixed distances whatever the assembler pads.
#include "sites.h"

#define CALL(N) x = t[(N + x) % 3](x) ^ (N);
__attribute__((noinline)) static uint64_t packed(const target_t *t, uint64_t x) {
    CALL(1) CALL(2) CALL(3) CALL(4) CALL(5) CALL(6) CALL(7) CALL(8) CALL(9) CALL(10)
    return x;
}

// The same without calls through pointers.
static uint64_t direct(unsigned target, uint64_t x) { return x * 31 + target * 1000003ull; }
#undef CALL
#define CALL(N) x = direct((N + x) % 3, x) ^ (N);
__attribute__((noinline)) static uint64_t expected(uint64_t x) {
    CALL(1) CALL(2) CALL(3) CALL(4) CALL(5) CALL(6) CALL(7) CALL(8) CALL(9) CALL(10)
    return x;
}

int main(void) {
    check(0, 0, 0);
    for (uint64_t x = 0; x < 20000; x++)
        if (packed(targets, x) != expected(x)) {
            fprintf(stderr, "WRONG CALL: x %llu\n", (unsigned long long)x);
            abort();
        }
    puts("ok");
}
