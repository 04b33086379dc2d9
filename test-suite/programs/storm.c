// Sites are made to learn anew without end while threads call them: every branch is closed and opened thousands of
// times. Arguments: how often, then "fork" and "signals" for children and signal handlers that call meanwhile.
#include "../../runtime/include/relpoline.h"
#include "sites.h"
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>

enum { THREADS = 8, CALLS = 1 << 17 };

static _Atomic int stop;

static void *work(void *argument) {
    unsigned thread = (unsigned)(uintptr_t)argument;
    uint64_t state = (thread + 1) * 0x9e3779b97f4a7c15ull;
    for (unsigned long round = 0; !stop; round++) {
        unsigned site = (unsigned)((round >> 9) + thread * 32) % SITES;
        uint64_t random = next_random(&state);
        check(site, (site + random % (site % 8 + 1)) % TARGETS, random);
        count_round(thread);
    }
    return NULL;
}

static void handler(int signal) {
    static uint64_t state = 99;
    (void)signal;
    for (int i = 0; i < 50; i++) {
        uint64_t random = next_random(&state);
        check((unsigned)(random >> 32) % SITES, (unsigned)random % TARGETS, random);
    }
}

static void child(unsigned seed) {
    uint64_t state = seed + 1;
    for (unsigned round = 0; round < 20000; round++) {
        uint64_t random = next_random(&state);
        check((round >> 6) % SITES, (unsigned)random % 3, random);
    }
    _exit(0);
}

int main(int argc, char **argv) {
    unsigned long times = argc > 1 ? strtoul(argv[1], NULL, 0) : 100;
    int forks = 0, signals = 0;
    for (int i = 2; i < argc; i++) {
        forks |= !strcmp(argv[i], "fork");
        signals |= !strcmp(argv[i], "signals");
    }
    if (signals) {
        struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
        sigaction(SIGALRM, &action, NULL);
        struct itimerval timer = {{0, 500}, {0, 500}};
        setitimer(ITIMER_REAL, &timer, NULL);
    }
    pthread_t ids[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++)
        if (pthread_create(&ids[i], NULL, work, (void *)i))
            return 2;
    for (unsigned long time = 0; time < times; time++) {
        await_rounds(CALLS);
        if (relpoline_relearn()) {
            fputs("relpoline_relearn\n", stderr);
            return 1;
        }
        if (!forks || time % 4)
            continue;
        pid_t pid = fork();
        if (pid == 0)
            child((unsigned)time);
        int status;
        if (waitpid(pid, &status, 0) != pid || status != 0) {
            fprintf(stderr, "child: status %x\n", status);
            return 1;
        }
    }
    stop = 1;
    for (int i = 0; i < THREADS; i++)
        pthread_join(ids[i], NULL);
    puts("ok");
}
