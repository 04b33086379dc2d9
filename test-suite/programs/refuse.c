// Calls sites while the system refuses what the runtime asks for. Argument: the refused system call, or "mdwe" for
// PR_SET_MDWE, which forbids to make memory executable. With "trap" behind it a handler of SIGSYS refuses the call, and
// calls sites itself; with "exec" and a command it is that to which the call is refused.
#define _GNU_SOURCE
#include "sites.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>

#ifndef PR_SET_MDWE
#define PR_SET_MDWE 65
#endif

static volatile sig_atomic_t traps;

static void answer(int number, siginfo_t *what, void *context) {
    (void)number, (void)what;
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_RAX] = -EPERM;
    unsigned trap = (unsigned)traps++;
    check(trap % SITES, trap % TARGETS, trap);
}

// Refuses the call; of openat only to open for reading and writing, so that statistics can be written.
static int refuse(unsigned number, unsigned how) {
    unsigned flags = offsetof(struct seccomp_data, args[2]);
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 4),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 0, 2),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, flags),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, O_RDWR, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, how),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        unsigned number;
    } calls[] = {{"openat", SYS_openat},     {"pwrite64", SYS_pwrite64}, {"membarrier", SYS_membarrier},
                 {"mmap", SYS_mmap},         {"mprotect", SYS_mprotect}, {"rt_sigprocmask", SYS_rt_sigprocmask},
                 {"madvise", SYS_madvise},   {"nothing", (unsigned)-1}};
    const char *name = argc > 1 ? argv[1] : "";
    int trapped = argc > 2 && !strcmp(argv[2], "trap");
    struct sigaction action = {.sa_sigaction = answer, .sa_flags = SA_SIGINFO};
    if (trapped)
        sigaction(SIGSYS, &action, NULL);
    int refused = !strcmp(name, "mdwe") && !prctl(PR_SET_MDWE, 1, 0, 0, 0);
    for (unsigned i = 0; i < sizeof calls / sizeof *calls; i++)
        refused |= !strcmp(name, calls[i].name) &&
                   !refuse(calls[i].number, trapped ? SECCOMP_RET_TRAP : SECCOMP_RET_ERRNO | EPERM);
    if (!refused) {
        fprintf(stderr, "cannot refuse '%s': %s\n", name, strerror(errno));
        return 2;
    }
    if (argc > 3 && !strcmp(argv[2], "exec")) {
        execv(argv[3], argv + 3);
        return 4;
    }
    uint64_t state = 1;
    for (unsigned site = 0; site < SITES; site++)
        for (unsigned call = 0; call < 4000; call++) {
            uint64_t random = next_random(&state);
            check(site, (site + random % 3) % TARGETS, random);
        }
    if (trapped && !traps) {
        fprintf(stderr, "nothing was trapped\n");
        return 3;
    }
    puts("ok");
}
