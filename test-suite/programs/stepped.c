// A signal comes at each instruction of a call, one after the other, each time at a site of its own; its handler calls the
// site with another target until that one is patched. The interrupted call goes right, and afterwards the site learns
// its target as well. Single steps make the moments certain.
#define _GNU_SOURCE
#include "sites.h"
#include <signal.h>
#include <ucontext.h>

#define TRAP_FLAG 0x100

static volatile unsigned site, step, interrupted;

static void trapped(int number, siginfo_t *what, void *context) {
    (void)number, (void)what;
    if (step++ != site)
        return;
    interrupted = 1;
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL] &= ~TRAP_FLAG;
    for (unsigned call = 0; call < 100; call++)
        check(site, 1, call);
}

int main(void) {
    struct sigaction action = {.sa_sigaction = trapped, .sa_flags = SA_SIGINFO};
    sigaction(SIGTRAP, &action, NULL);
    for (; site < SITES; site++) {
        // The first call of all makes the record, and is not counted.
        check(site, 0, 0);
        step = interrupted = 0;
        asm volatile("pushf; orl %0, (%%rsp); popf" ::"i"(TRAP_FLAG) : "memory", "cc");
        check(site, 2, 0);
        asm volatile("pushf; andl %0, (%%rsp); popf" ::"i"(~TRAP_FLAG) : "memory", "cc");
        if (!interrupted)
            break;
        for (unsigned call = 0; call < 8000; call++)
            check(site, 2, call);
    }
    if (site < 30 || site == SITES) {
        fprintf(stderr, "a call took %u steps\n", site);
        return 1;
    }
    puts("ok");
}
