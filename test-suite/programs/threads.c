// Threads call the same sites while these are learned and patched, each site with 1 to 8 targets.
#include "sites.h"
#include <pthread.h>

static unsigned long rounds;

static void *work(void *argument) {
    uint64_t state = (uintptr_t)argument * 0x9e3779b97f4a7c15ull;
    for (unsigned long round = 0; round < rounds; round++) {
        // The sites advance together, so that all threads meet while one of them is patched.
        unsigned site = (unsigned)(round >> 12) % SITES;
        uint64_t random = next_random(&state);
        check(site, (site + random % (site % 8 + 1)) % TARGETS, random);
    }
    return NULL;
}

int main(int argc, char **argv) {
    int threads = argc > 1 ? atoi(argv[1]) : 8;
    rounds = argc > 2 ? strtoul(argv[2], NULL, 0) : 2000000;
    pthread_t ids[64];
    for (int i = 0; i < threads; i++)
        if (pthread_create(&ids[i], NULL, work, (void *)(uintptr_t)(i + 1)))
            return 2;
    for (int i = 0; i < threads; i++)
        pthread_join(ids[i], NULL);
    puts("ok");
}
