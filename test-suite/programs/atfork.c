// Handlers of fork that run between the runtime's own, as those of a library do that was loaded before: in each of them
// a signal is taken at once. Argument: "nested" if the signal's handler calls sites, and forks as well; "switching" if
// the handlers of the fork ask the runtime for something, which they are told at once that it is busy.
#define _GNU_SOURCE
#include "../../runtime/include/relpoline.h"
#include "sites.h"
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>

static volatile sig_atomic_t taken;
static int nested, switching;

static void call_sites(unsigned first) {
    for (unsigned round = 0; round < 300; round++)
        check((first + round % 3) % SITES, first % TARGETS, round);
}

static void handler(int number) {
    (void)number;
    taken++;
    if (!nested)
        return;
    int once = nested;
    nested = 0;
    call_sites(200);
    pid_t child = fork();
    call_sites(210);
    if (child == 0)
        _exit(0);
    end_of(child);
    nested = once;
}

static void at_fork(void) {
    sig_atomic_t before = taken;
    raise(SIGUSR1);
    if (taken == before) {
        fputs("a signal is blocked while a process forks\n", stderr);
        abort();
    }
    static pid_t first;
    if (!first)
        first = getpid();
    // In the child the lock is free again.
    if (!switching || getpid() != first)
        return;
    struct rusage earlier, later;
    getrusage(RUSAGE_THREAD, &earlier);
    int answer = relpoline_set_mode(RELPOLINE_ON);
    getrusage(RUSAGE_THREAD, &later);
    long slept = later.ru_nvcsw - earlier.ru_nvcsw;
    if (answer != -1 || slept > 100) {
        fprintf(stderr, "within a fork: %d, after %ld sleeps\n", answer, slept);
        abort();
    }
}

static void first_of_all(void) {
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_NODEFER};
    if (sigaction(SIGUSR1, &action, NULL) || pthread_atfork(at_fork, at_fork, at_fork))
        abort();
}
__attribute__((section(".preinit_array"), used)) static void (*const first)(void) = first_of_all;

int main(int argc, char **argv) {
    nested = argc > 1 && !strcmp(argv[1], "nested");
    switching = argc > 1 && !strcmp(argv[1], "switching");
    for (unsigned turn = 0; turn < 30; turn++) {
        pid_t child = fork();
        if (child == 0)
            alarm(60);
        call_sites(turn * 5);
        if (child == 0)
            exit(0);
        end_of(child);
    }
    puts("ok");
}
