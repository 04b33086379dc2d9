// Forked children end by exit, while a thread of their parent lists the loaded objects: whatever lock that takes is
// held in the child for ever. Argument: "alone" for a parent without such a thread, "within" for one that forks while it
// lists them itself.
#define _GNU_SOURCE
#include "sites.h"
#include <link.h>
#include <pthread.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int linger(struct dl_phdr_info *info, size_t size, void *data) {
    (void)info, (void)size, (void)data;
    for (volatile int i = 0; i < 10000; i++) {
    }
    return 0;
}

static void *list(void *argument) {
    for (;;)
        dl_iterate_phdr(linger, argument);
}

static int fork_children(struct dl_phdr_info *info, size_t size, void *data) {
    (void)info, (void)size, (void)data;
    for (unsigned child = 0; child < 50; child++) {
        pid_t pid = fork();
        if (pid == 0)
            alarm(20);
        for (unsigned round = 0; round < 300; round++)
            check(child % SITES, child % TARGETS, round);
        if (pid == 0 && data)
            _exit(0);
        if (pid == 0)
            exit(0);
        int status = -1;
        if (waitpid(pid, &status, 0) != pid || status != 0) {
            fprintf(stderr, "child: status %x\n", status);
            return 1;
        }
    }
    puts("ok");
    return 2;
}

int main(int argc, char **argv) {
    pthread_t id;
    if (argc > 1 && !strcmp(argv[1], "within"))
        return dl_iterate_phdr(fork_children, &id) != 2;
    if (argc < 2 || strcmp(argv[1], "alone"))
        if (pthread_create(&id, NULL, list, NULL))
            return 2;
    return fork_children(NULL, 0, NULL) != 2;
}
