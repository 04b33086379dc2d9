// A thread is kept in the middle of a fork, so that another one forks without waiting for it. Whoever forks in that child
// holds the runtime's lock meanwhile, whatever the child has inherited. Argument: "heir" if it is a thread that has the
// control block of the one that was kept.
#define _GNU_SOURCE
#include "../../runtime/include/relpoline.h"
#include "sites.h"
#include <pthread.h>
#include <semaphore.h>
#include <string.h>

static __thread int keep, look;
static sem_t kept, go;
static pthread_t first_holder;

static void *switch_on(void *result) {
    *(int *)result = relpoline_set_mode(RELPOLINE_ON);
    return NULL;
}

// Runs behind the runtime's own handler.
static void before_fork(void) {
    if (keep) {
        sem_post(&kept);
        while (sem_wait(&go)) {
        }
    }
    if (look) {
        pthread_t other;
        int result = 0;
        if (pthread_create(&other, NULL, switch_on, &result) || pthread_join(other, NULL))
            abort();
        if (result != -1) {
            fputs("the lock is free while a process forks\n", stderr);
            abort();
        }
    }
}

static void first_of_all(void) {
    if (pthread_atfork(before_fork, NULL, NULL))
        abort();
}
__attribute__((section(".preinit_array"), used)) static void (*const first)(void) = first_of_all;

static void *fork_once(void *argument) {
    pid_t child = fork();
    if (child == 0)
        _exit(0);
    end_of(child);
    return argument;
}

static void *hold(void *argument) {
    first_holder = pthread_self();
    keep = 1;
    return fork_once(argument);
}

static void *look_twice(void *heir) {
    if (heir && pthread_self() != first_holder)
        return NULL;
    look = 1;
    fork_once(NULL);
    fork_once(NULL);
    look = 0;
    return heir;
}

int main(int argc, char **argv) {
    int heir = argc > 1 && !strcmp(argv[1], "heir");
    pthread_t holder;
    sem_init(&kept, 0, 0);
    sem_init(&go, 0, 0);
    for (unsigned round = 0; round < 300; round++)
        check(round % 8, round % 2, round);
    if (pthread_create(&holder, NULL, hold, NULL))
        return 2;
    sem_wait(&kept);
    pid_t child = fork();
    if (child == 0) {
        alarm(120);
        void *looked = NULL;
        if (!heir)
            look_twice(NULL);
        for (unsigned attempt = 0; heir && !looked && attempt < 1000; attempt++) {
            pthread_t thread;
            if (pthread_create(&thread, NULL, look_twice, &heir) || pthread_join(thread, &looked))
                abort();
        }
        for (unsigned round = 0; round < 300; round++)
            check(round % 16, round % 2, round);
        _exit(heir && !looked);
    }
    end_of(child);
    sem_post(&go);
    if (pthread_join(holder, NULL))
        return 2;
    puts("ok");
}
