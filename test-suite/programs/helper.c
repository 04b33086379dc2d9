// A library's handler of fork makes a thread in the child, which calls a site and is kept from going on in the middle of
// patching it, where it might have lost its processor. Meanwhile the child comes out of fork and calls the site as well,
// with another target. Argument: at which look at a descriptor the thread is kept.
#define _GNU_SOURCE
#include "sites.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <ucontext.h>

static sem_t kept, go;
static int looks, kept_at;
static _Atomic int ready;

// Answers for the kernel.
static void answer(int number, siginfo_t *what, void *context) {
    (void)number, (void)what;
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    const char *path = (const char *)registers[REG_RSI];
    void *status = (void *)registers[REG_RDX];
    if (++looks == kept_at) {
        sem_post(&kept);
        while (sem_wait(&go)) {
        }
    }
    long result = *path ? syscall(SYS_stat, path, status) : syscall(SYS_fstat, registers[REG_RDI], status);
    registers[REG_RAX] = result < 0 ? -1 : result;
}

static void *help(void *argument) {
    sigset_t none;
    sigemptyset(&none);
    struct sigaction action = {.sa_sigaction = answer, .sa_flags = SA_SIGINFO};
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_newfstatat, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
    if (pthread_sigmask(SIG_SETMASK, &none, NULL) || sigaction(SIGSYS, &action, NULL) ||
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
        abort();
    for (unsigned round = 0; round < 200; round++)
        check(0, 1, round);
    sem_post(&kept);
    return argument;
}

static void in_child(void) {
    pthread_t thread;
    if (!ready)
        return;
    if (pthread_create(&thread, NULL, help, NULL))
        abort();
    sem_wait(&kept);
}

static void first_of_all(void) {
    if (pthread_atfork(NULL, NULL, in_child))
        abort();
}
__attribute__((section(".preinit_array"), used)) static void (*const first)(void) = first_of_all;

int main(int argc, char **argv) {
    kept_at = argc > 1 ? atoi(argv[1]) : 1;
    ready = 1;
    for (unsigned child = 0; child < 20; child++) {
        sem_init(&kept, 0, 0);
        sem_init(&go, 0, 0);
        pid_t pid = fork();
        if (pid == 0) {
            alarm(60);
            for (unsigned round = 0; round < 300; round++)
                check(0, 2, round);
            sem_post(&go);
            for (unsigned round = 0; round < 200000; round++)
                check(0, 2, round);
            _exit(0);
        }
        end_of(pid);
    }
    puts("ok");
}
