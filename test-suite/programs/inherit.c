// A thread has sites patched while another one forks: no child finds the memory of its parent among its
// descriptors.
#include "sites.h"
#include <pthread.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static _Atomic int stop;

static void *work(void *argument) {
    uint64_t state = 7;
    for (unsigned long round = 0; !stop || round < SITES << 10; round++) {
        unsigned site = (unsigned)(round >> 10) % SITES;
        uint64_t random = next_random(&state);
        check(site, (site + random % (site % 8 + 1)) % TARGETS, random);
    }
    return argument;
}

static int holds_memory(void) {
    for (int descriptor = 3; descriptor < 32; descriptor++) {
        char name[64], target[256];
        snprintf(name, sizeof name, "/proc/self/fd/%d", descriptor);
        ssize_t length = readlink(name, target, sizeof target - 1);
        target[length < 0 ? 0 : length] = 0;
        if (strstr(target, "/mem"))
            return 1;
    }
    return 0;
}

int main(void) {
    pthread_t thread;
    pthread_create(&thread, NULL, work, NULL);
    int holders = 0;
    for (int i = 0; i < 400; i++) {
        pid_t pid = fork();
        if (pid == 0)
            _exit(holds_memory());
        int status;
        waitpid(pid, &status, 0);
        holders += status != 0;
    }
    stop = 1;
    pthread_join(thread, NULL);
    if (holders) {
        fprintf(stderr, "%d children hold /proc/<parent>/mem\n", holders);
        return 1;
    }
    puts("ok");
}
