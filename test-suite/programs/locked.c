// Ends while the dynamic linker's list of objects is in use by somebody who will not be done before that: by a thread
// that waits for the end ("thread"), or by the process itself, when it was forked ("fork"). "filtered": by a thread of
// the parent, in a child that does not learn its number.
#define _GNU_SOURCE
#include "../../runtime/include/relpoline.h"
#include "sites.h"
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <link.h>
#include <pthread.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

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

static void ask_without_a_number(void) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getpid, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {sizeof code / sizeof *code, code};
    alarm(60);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter))
        _exit(1);
    relpoline_set_mode(RELPOLINE_OFF);
    exit(0);
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
        if (argc > 1 && !strcmp(argv[1], "filtered")) {
            pid_t child = fork();
            if (!child)
                ask_without_a_number();
            end_of(child);
        }
    }
    puts("ok");
    exit(0);
}
