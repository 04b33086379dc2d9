// Branches of hand-written and of inline assembly are learned and patched like others: each calls one target, then
// others, and further ones at random. Every target has an answer of its own.
#include "../../runtime/include/relpoline_asm.h"
#include "sites.h"

typedef uint64_t three_t(uint64_t, uint64_t, uint64_t);

uint64_t by_call(three_t *, uint64_t, uint64_t, uint64_t);
uint64_t by_jump(three_t *, uint64_t, uint64_t, uint64_t);
uint64_t by_memory(three_t *, uint64_t, uint64_t, uint64_t);

#define THREE(N)                                                                                           \
    __attribute__((noinline)) static uint64_t three_##N(uint64_t a, uint64_t b, uint64_t c) {              \
        return a + 3 * b + 5 * c + (N) * 1000003ull;                                                       \
    }
EACH_TARGET(THREE)
#define THREE_NAME(N) three_##N,
static three_t *const targets_of_three[TARGETS] = {EACH_TARGET(THREE_NAME)};

__attribute__((noinline)) static uint64_t by_inline(three_t *target, uint64_t a, uint64_t b, uint64_t c) {
    uint64_t answer;
    asm volatile("sub $128, %%rsp\n" RELPOLINE_ASM_CALL("%[target]") "add $128, %%rsp\n"
                 : "=a"(answer), "+D"(a), "+S"(b), "+d"(c)
                 : [target] "r"(target)
                 : "rcx", "r8", "r9", "r10", "r11", "cc", "memory");
    return answer;
}

static void try_all(unsigned target, uint64_t x) {
    three_t *three = targets_of_three[target];
    uint64_t a = x, b = ~x, c = x << 7, expected = a + 3 * b + 5 * c + target * 1000003ull;
    uint64_t answers[] = {by_call(three, a, b, c), by_jump(three, a, b, c), by_memory(three, a, b, c),
                          by_inline(three, a, b, c)};
    for (unsigned way = 0; way < sizeof answers / sizeof *answers; way++) {
        if (answers[way] != expected) {
            fprintf(stderr, "WRONG CALL: way %u, target %u\n", way, target);
            abort();
        }
    }
    // The sites of the compiler's own beside them.
    check(target, target, x);
}

int main(void) {
    uint64_t random = 1;
    for (uint64_t x = 0; x < 20000; x++)
        try_all(0, x);
    for (uint64_t x = 0; x < 20000; x++)
        try_all(1 + x / 64 % 6, x);
    for (uint64_t x = 0; x < 20000; x++)
        try_all((unsigned)(next_random(&random) % TARGETS), x);
    puts("ok");
}
