// Threads learn while the main thread forks; the children go on calling and learning, and so does the parent. With
// the argument "bare" by the system call alone, of which the runtime hears nothing: it may be at work in another
// thread.
#define _GNU_SOURCE
#include "sites.h"
#include <pthread.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static _Atomic int stop;

static void *work(void *argument) {
    uint64_t state = (uintptr_t)argument * 77777;
    for (unsigned long round = 0; !stop || round < SITES << 9; round++) {
        unsigned site = (unsigned)(round >> 9) % SITES;
        uint64_t random = next_random(&state);
        check(site, (site + random % (site % 5 + 1)) % TARGETS, random);
    }
    return NULL;
}

static void child(unsigned seed) {
    uint64_t state = seed;
    // The child prefers other targets than the parent.
    for (unsigned round = 0; round < 60000; round++) {
        uint64_t random = next_random(&state);
        unsigned site = (round >> 7) % SITES;
        check(site, (site + 5 + random % 2) % TARGETS, random);
    }
    _exit(0);
}

int main(int argc, char **argv) {
    int bare = argc > 1 && !strcmp(argv[1], "bare");
    pthread_t ids[3];
    for (int i = 0; i < 3; i++)
        pthread_create(&ids[i], NULL, work, (void *)(uintptr_t)(i + 1));
    for (unsigned i = 1; i <= 300; i++) {
        pid_t pid = bare ? (pid_t)syscall(SYS_fork) : fork();
        if (pid == 0)
            child(i);
        int status;
        if (waitpid(pid, &status, 0) != pid || status != 0) {
            fprintf(stderr, "child %u: status %x\n", i, status);
            return 1;
        }
    }
    stop = 1;
    for (int i = 0; i < 3; i++)
        pthread_join(ids[i], NULL);
    puts("ok");
}
