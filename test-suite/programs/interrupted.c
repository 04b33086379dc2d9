// Children of the bare system call fork, made while another thread patches: they find the runtime interrupted. Each
// child steps through a call by single instructions, and in front of a chain's patched branch has other sites
// learn further targets: that branch must not be written again.
#define _GNU_SOURCE
#include "../../runtime/include/relpoline.h"
#include "sites.h"
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

enum { OWN = 4, CHILDREN = 200, TRAP_FLAG = 0x100, JE = 0x0f, BODY = 128, FIRST_BRANCH = 7 };

extern unsigned char __relpoline_chains[];
static _Atomic int stop;
static volatile int armed, met;

static void *work(void *argument) {
    uint64_t state = 99;
    for (unsigned round = 0; !stop; round++) {
        uint64_t random = next_random(&state);
        check(64 + (round >> 9) % (SITES - 64), (unsigned)random % 4, random);
        // Keeps the runtime busy.
        if (round % 64 == 0)
            relpoline_relearn();
    }
    return argument;
}

static void step(int signal, siginfo_t *information, void *context) {
    (void)signal, (void)information;
    unsigned char *at = (unsigned char *)((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
    unsigned long distance = (unsigned long)(at - __relpoline_chains);
    if (!armed || distance >= 64 * BODY || distance % BODY != FIRST_BRANCH || *at != JE)
        return;
    armed = 0;
    met = 1;
    for (unsigned round = 0; round < 60000; round++) {
        unsigned site = OWN + (round >> 9) % (64 - OWN);
        check(site, (site + 8 + round % 3) % TARGETS, round);
    }
}

static inline void set_flags(unsigned long clear, unsigned long set) {
    __asm__ volatile("pushfq\n andq %0, (%%rsp)\n orq %1, (%%rsp)\n popfq" : : "r"(~clear), "r"(set) : "memory", "cc");
}

// Gives the stepped sites two targets each: an inline branch and a chain's first link.
static void learn(void) {
    for (unsigned round = 0; round < 6000; round++)
        check(1 + round / 2000 % 3, round % 2, round);
}

static void child(void) {
    learn();
    struct sigaction action = {.sa_sigaction = step, .sa_flags = SA_SIGINFO};
    sigaction(SIGTRAP, &action, NULL);
    for (unsigned site = 1; site < OWN; site++)
        for (unsigned target = 0; target < 2; target++) {
            armed = 1;
            set_flags(0, TRAP_FLAG);
            check(site, target, 5);
            set_flags(TRAP_FLAG, 0);
        }
    _exit(met ? 0 : 3);
}

int main(void) {
    learn();
    pthread_t id;
    if (pthread_create(&id, NULL, work, NULL))
        return 2;
    for (int i = 0; i < CHILDREN; i++) {
        pid_t pid = (pid_t)syscall(SYS_fork);
        if (pid == 0)
            child();
        int status;
        if (waitpid(pid, &status, 0) != pid || status != 0) {
            fprintf(stderr, "child %d: status %x\n", i, status);
            return 1;
        }
    }
    stop = 1;
    pthread_join(id, NULL);
    puts("ok");
}
