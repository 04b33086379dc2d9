// Ends while the dynamic linker's list of objects is in use by somebody who will not be done before that: by a thread that
// waits for the end ("thread"), or by the process itself, when it was forked ("fork").
#define _GNU_SOURCE
#include "sites.h"
#include <link.h>
#include <pthread.h>
#include <string.h>

static _Atomic int within;
static int forks;

static int visit(struct dl_phdr_info *info, size_t size, void *data) {
    (void)info, (void)size, (void)data;
    if (forks) {
        pid_t child = fork();
        if (!child)
            exit(0);
        end_of(child);
        return 1;
    }
    within = 1;
    for (;;)
        pause();
}

static void *work(void *argument) {
    dl_iterate_phdr(visit, NULL);
    return argument;
}

int main(int argc, char **argv) {
    alarm(60);
    for (unsigned site = 0; site < SITES; site++)
        for (unsigned round = 0; round < 200; round++)
            check(site, site % TARGETS, round);
    forks = argc > 1 && !strcmp(argv[1], "fork");
    if (forks) {
        work(NULL);
    } else {
        pthread_t id;
        if (pthread_create(&id, NULL, work, NULL))
            return 2;
        while (!within)
            usleep(100);
    }
    puts("ok");
    exit(0);
}
