// Learns and is patched while signals are blocked and pending, which the program takes by sigwait afterwards.
#include "sites.h"
#include <signal.h>

int main(void) {
    static const int signals[] = {SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV, SIGSYS, SIGTERM};
    enum { COUNT = sizeof signals / sizeof *signals };
    sigset_t all;
    sigfillset(&all);
    if (sigprocmask(SIG_BLOCK, &all, NULL))
        return 2;
    for (int signal = 0; signal < COUNT; signal++)
        kill(getpid(), signals[signal]);
    for (unsigned site = 0; site < SITES; site++)
        for (unsigned round = 0; round < 200; round++)
            check(site, (site + round / 100) % TARGETS, round);
    for (int count = 0; count < COUNT; count++) {
        int taken = 0;
        if (sigwait(&all, &taken))
            return 3;
    }
    puts("ok");
}
