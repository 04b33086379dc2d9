// One thread calls every site often enough for it to be decided several times.
#include "sites.h"

int main(void) {
    uint64_t state = 42;
    for (unsigned round = 0; round < 400000; round++) {
        uint64_t random = next_random(&state);
        check((round >> 3) % SITES, (round + random % 3) % TARGETS, random);
    }
    puts("ok");
}
