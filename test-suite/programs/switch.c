// Turns the whole process off and on while threads call: no wrong call, and off means off.
#include "../../runtime/include/relpoline.h"
#include "sites.h"
#include <pthread.h>

static _Atomic int stop;

static void *work(void *argument) {
    unsigned thread = (unsigned)(uintptr_t)argument;
    uint64_t state = thread * 1234567;
    for (unsigned long round = 0; !stop; round++) {
        unsigned site = (unsigned)(round >> 8) % SITES;
        uint64_t random = next_random(&state);
        count_round(thread);
        check(site, (site + random % (site % 8 + 1)) % TARGETS, random);
    }
    return NULL;
}

int main(void) {
    pthread_t ids[4];
    for (int i = 0; i < 4; i++)
        pthread_create(&ids[i], NULL, work, (void *)(uintptr_t)(i + 1));
    // An even number of times, so that it ends on; with pauses, in which the threads learn.
    for (int i = 0; i < 4000 || rounds_of_all() < 4000000 || i % 2; i++) {
        if (relpoline_set_mode(i % 2)) {
            fputs("relpoline_set_mode\n", stderr);
            return 1;
        }
        if (i % 8 == 7)
            usleep(100);
    }
    stop = 1;
    for (int i = 0; i < 4; i++)
        pthread_join(ids[i], NULL);
    puts("ok");
}
