// A timer's signal handler calls the sites that the interrupted code is calling, learning or patching.
#include "sites.h"
#include <signal.h>
#include <sys/time.h>

static volatile unsigned current;
static volatile unsigned long handled;

static void handler(int number) {
    (void)number;
    static uint64_t state = 88172645463325252ull;
    uint64_t random = next_random(&state);
    unsigned site = (current + random % 3) % SITES;
    check(site, random % TARGETS, random >> 8);
    check(current, current % TARGETS, random >> 4);
    handled++;
}

int main(void) {
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
    sigaction(SIGALRM, &action, NULL);
    struct itimerval timer = {{0, 50}, {0, 50}};
    setitimer(ITIMER_REAL, &timer, NULL);
    uint64_t state = 1;
    for (unsigned long round = 0; round < 4000000; round++) {
        current = (unsigned)(round >> 13) % SITES;
        uint64_t random = next_random(&state);
        check(current, (current + random % 3) % TARGETS, random);
    }
    if (handled < 100) {
        fprintf(stderr, "only %lu signals\n", handled);
        return 2;
    }
    puts("ok");
}
