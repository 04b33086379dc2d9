// Children that borrow memory or descriptors call sites. Argument: "vfork", "spawn", "clone" (memory shared, its
// parent waiting or not), "descriptors" (shared without the memory), "killed" (at any moment), "exec" (by a thread).
#define _GNU_SOURCE
#include "../../runtime/include/relpoline.h"
#include "sites.h"
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { STACK = 1 << 20, TIMES = 60 };

extern char **environ;
static char *self;
static _Atomic int stop;
static volatile pid_t victim;

static void call_sites(uint64_t state, unsigned rounds) {
    for (unsigned round = 0; round < rounds; round++) {
        uint64_t random = next_random(&state);
        unsigned site = (unsigned)(round >> 7) % SITES;
        check(site, (site + random % (site % 4 + 1)) % TARGETS, random);
    }
}

static void *work(void *argument) {
    for (uint64_t state = (uintptr_t)argument; !stop; state++)
        call_sites(state, 1 << 15);
    return NULL;
}

static void expect(pid_t pid, int signal) {
    int status = 0;
    if (pid < 0 || waitpid(pid, &status, 0) != pid ||
        !(signal && WIFSIGNALED(status) ? WTERMSIG(status) == signal : status == 0)) {
        fprintf(stderr, "child %d: status %x\n", pid, status);
        exit(1);
    }
}

__attribute__((noinline)) static void vforked(int time) {
    pid_t pid = vfork();
    if (pid == 0) {
        call_sites((uint64_t)time + 1, 1 << 14);
        if (time % 2)
            _exit(0);
        execl(self, self, "child", NULL);
        _exit(3);
    }
    expect(pid, 0);
}

static int body(void *argument) {
    call_sites((uintptr_t)argument + 1, 1 << 15);
    _exit(0);
}

static int endless(void *argument) {
    for (uint64_t state = (uintptr_t)argument + 1;; state++)
        call_sites(state, 1 << 15);
}

// Kills whoever is the victim, a random time later.
static void *kill_them(void *argument) {
    uint64_t state = 3;
    while (!stop) {
        usleep((useconds_t)(next_random(&state) % 2000));
        pid_t pid = __atomic_exchange_n(&victim, 0, __ATOMIC_SEQ_CST);
        if (pid)
            kill(pid, SIGKILL);
    }
    return argument;
}

static pid_t cloned(char *stack, int (*function)(void *), int flags, int time) {
    pid_t pid = clone(function, stack + STACK, flags | CLONE_PARENT_SETTID | SIGCHLD, (void *)(uintptr_t)time, &victim);
    return pid;
}

static void *execute(void *argument) {
    call_sites(1, 1 << 16);
    execl(self, self, "child", NULL);
    return argument;
}

int main(int argc, char **argv) {
    const char *how = argc > 1 ? argv[1] : "";
    self = argv[0];
    if (!strcmp(how, "child")) {
        call_sites(1, 1 << 15);
        puts("ok");
        return 0;
    }
    int killing = !strcmp(how, "killed");
    pthread_t ids[3], killer;
    if (!strcmp(how, "exec")) {
        for (uintptr_t i = 0; i < 3; i++)
            pthread_create(&ids[i], NULL, i ? work : execute, (void *)(i + 1));
        pause();
    }
    char *stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    // Killed children run while nothing is patched yet: they would be the first to take the lock.
    if (killing) {
        pthread_create(&killer, NULL, kill_them, NULL);
        for (int time = 0; time < TIMES; time++)
            expect(cloned(stack, endless, CLONE_VM | CLONE_VFORK, time), SIGKILL);
        stop = 1;
        pthread_join(killer, NULL);
        stop = 0;
        // Would wait for ever for a dead child.
        pid_t pid = fork();
        if (pid == 0)
            call_sites(9, 1 << 15), _exit(relpoline_relearn() ? 4 : 0);
        expect(pid, 0);
        if (relpoline_relearn()) {
            fputs("nothing is learned any more\n", stderr);
            return 1;
        }
    }
    for (uintptr_t i = 0; i < 2; i++)
        if (pthread_create(&ids[i], NULL, work, (void *)(i + 1)))
            return 2;
    for (int time = 0; time < TIMES; time++) {
        if (!strcmp(how, "vfork")) {
            vforked(time);
        } else if (!strcmp(how, "spawn")) {
            pid_t pid;
            char *const arguments[] = {self, "child", NULL};
            posix_spawn_file_actions_t actions;
            posix_spawn_file_actions_init(&actions);
            posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", 2, 0);
            if (posix_spawn(&pid, self, &actions, NULL, arguments, environ))
                return 1;
            posix_spawn_file_actions_destroy(&actions);
            expect(pid, 0);
        } else if (!strcmp(how, "clone")) {
            expect(cloned(stack, body, time % 2 ? CLONE_VM | CLONE_VFORK : CLONE_VM | CLONE_FILES, time), 0);
        } else if (!strcmp(how, "descriptors")) {
            expect(cloned(stack, body, CLONE_FILES, time), 0);
        } else if (!killing) {
            return 2;
        }
        if (relpoline_relearn()) {
            fputs("relpoline_relearn\n", stderr);
            return 1;
        }
    }
    usleep(20000);
    stop = 1;
    for (int i = 0; i < 2; i++)
        pthread_join(ids[i], NULL);
    puts("ok");
}
