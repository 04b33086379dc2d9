// Processes that give up what the runtime uses. Argument: "daemon" (forks twice and closes all descriptors again and
// again while threads learn), "chroot" (to the folder of the second argument, with no /proc), "rights" (other user,
// not dumpable), "files" (no descriptor is left, then they are), "memory", "size" (limits of both).
#define _GNU_SOURCE
#include "sites.h"
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { DESCRIPTORS = 1024 };

static volatile int stop;

static void require(int condition, const char *what) {
    if (!condition) {
        perror(what);
        exit(1);
    }
}

static void call_sites(unsigned rounds) {
    for (unsigned site = 0; site < SITES; site++)
        for (unsigned round = 0; round < rounds; round++)
            check(site, (site + round % 3) % TARGETS, round);
}

static void *work(void *argument) {
    uint64_t state = (uintptr_t)argument;
    for (unsigned long round = 0; !stop; round++) {
        uint64_t random = next_random(&state);
        check((unsigned)(round >> 12) % SITES, (unsigned)(random % 2 + round / 2000000) % TARGETS, random);
    }
    return NULL;
}

// Files get the numbers of what was closed. (stolen.c looks what becomes of them.)
static void daemon_work(const char *path) {
    pthread_t ids[2];
    for (uintptr_t i = 0; i < 2; i++)
        require(!pthread_create(&ids[i], NULL, work, (void *)(i + 1)), "pthread_create");
    for (int time = 0; time < 1000; time++) {
        for (int descriptor = 0; descriptor < (time % 100 ? 8 : DESCRIPTORS); descriptor++)
            close(descriptor);
        for (int i = 0; i < 3; i++)
            require(open(path, O_RDWR | O_CREAT | O_TRUNC, 0600) >= 0, path);
    }
    stop = 1;
    for (int i = 0; i < 2; i++)
        pthread_join(ids[i], NULL);
}

static void become_daemon(const char *path) {
    // So that somebody waits for the daemon.
    require(!prctl(PR_SET_CHILD_SUBREAPER, 1), "prctl");
    pid_t pid = fork();
    if (pid == 0) {
        setsid();
        if (fork() == 0) {
            daemon_work(path);
            exit(0);
        }
        _exit(0);
    }
    for (int i = 0; i < 2; i++) {
        int status;
        require(wait(&status) > 0 && status == 0, "daemon");
    }
    puts("ok");
    fflush(stdout);
    _exit(0);
}

static void limit(int resource, rlim_t value) {
    struct rlimit limits;
    require(!getrlimit(resource, &limits), "getrlimit");
    limits.rlim_cur = value;
    require(!setrlimit(resource, &limits), "setrlimit");
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "", *path = argc > 2 ? argv[2] : "";
    if (!strcmp(what, "daemon")) {
        become_daemon(path);
    } else if (!strcmp(what, "chroot")) {
        require(!chroot(path) && !chdir("/"), "chroot");
        call_sites(4000);
    } else if (!strcmp(what, "rights")) {
        call_sites(4000);
        require(!setresgid(65534, 65534, 65534) && !setresuid(65534, 65534, 65534), "setresuid");
        require(!prctl(PR_SET_DUMPABLE, 0), "prctl");
        // Targets that are not patched yet.
        for (unsigned site = 0; site < SITES; site++)
            for (unsigned round = 0; round < 4000; round++)
                check(site, (site + 8) % TARGETS, round);
    } else if (!strcmp(what, "files")) {
        int last = -1;
        limit(RLIMIT_NOFILE, 64);
        for (int file; (file = dup(0)) >= 0;)
            last = file;
        call_sites(400);
        for (int file = 3; file <= last; file++)
            close(file);
        call_sites(300000);
    } else if (!strcmp(what, "memory")) {
        limit(RLIMIT_AS, 1);
        call_sites(4000);
        limit(RLIMIT_AS, RLIM_INFINITY);
    } else if (!strcmp(what, "size")) {
        limit(RLIMIT_FSIZE, 0);
        call_sites(4000);
        limit(RLIMIT_FSIZE, RLIM_INFINITY);
    } else {
        return 2;
    }
    puts("ok");
}
