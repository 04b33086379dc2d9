// Sites that lie across two pages, one byte further each time. Once they have learned, the system drops one of the two
// pages, which comes back as it is in the file: of a branch across both, half would be undone.
#include "sites.h"
#include <string.h>
#include <sys/mman.h>

enum { PLACES = 40, CALLS = 200 };

// The function begins with a page, and its site is so many bytes in front of the end of that.
#define PLACED(N)                                                                                          \
    __attribute__((noinline, aligned(4096))) static uint64_t placed_##N(target_t t, uint64_t x) {          \
        __asm__ volatile("jmp 1f\n\t.skip 4096 - 5 - 1 - " #N "\n1:");                                    \
        return t(x + (N)) ^ (N);                                                                           \
    }
#define EACH_PLACE(M)                                                                                      \
    M(0) M(1) M(2) M(3) M(4) M(5) M(6) M(7) M(8) M(9) M(10) M(11) M(12) M(13) M(14) M(15) M(16) M(17)      \
    M(18) M(19) M(20) M(21) M(22) M(23) M(24) M(25) M(26) M(27) M(28) M(29) M(30) M(31) M(32) M(33) M(34)  \
    M(35) M(36) M(37) M(38) M(39)
EACH_PLACE(PLACED)
#define ADDRESS(N) (char *)placed_##N,
static char *const functions[PLACES] = {EACH_PLACE(ADDRESS)};

static uint64_t call_place(unsigned place, target_t target, uint64_t x) {
    switch (place) {
#define PLACE(N)                                                                                           \
    case N: return placed_##N(target, x);
        EACH_PLACE(PLACE)
    }
    abort();
}

static void check_place(unsigned place, unsigned target, uint64_t x) {
    if (call_place(place, targets[target], x) != (((x + place) * 31 + target * 1000003ull) ^ place)) {
        fprintf(stderr, "WRONG CALL: place %u, target %u\n", place, target);
        abort();
    }
}

int main(int argc, char **argv) {
    size_t half = argc > 1 && !strcmp(argv[1], "1") ? 4096 : 0;
    for (unsigned place = 0; place < PLACES; place++)
        for (unsigned call = 0; call < 2 * CALLS; call++)
            check_place(place, call / CALLS, call);
    // The second target has missed too few times to have a branch of its own.
    for (unsigned place = 0; place < PLACES; place++)
        for (unsigned call = 0; call < 2 * 1024; call++)
            check_place(place, 1, call);
    for (unsigned place = 0; place < PLACES; place++) {
        if (madvise(functions[place] + half, 4096, MADV_DONTNEED))
            return 3;
        for (unsigned call = 0; call < CALLS; call++)
            check_place(place, call % 3, call);
    }
    puts("ok");
}
