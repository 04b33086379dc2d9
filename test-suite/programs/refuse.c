// Calls sites while the system refuses what the runtime asks for. Argument: the refused system call, or "mdwe" for
// PR_SET_MDWE, which forbids to make memory executable.
#include "sites.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#ifndef PR_SET_MDWE
#define PR_SET_MDWE 65
#endif

// Refuses the call; of openat only to open for reading and writing, so that statistics can be written.
static int refuse(unsigned number) {
    unsigned flags = offsetof(struct seccomp_data, args[2]);
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 4),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 0, 2),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, flags),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, O_RDWR, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
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
                 {"nothing", (unsigned)-1}};
    int refused = argc == 2 && !strcmp(argv[1], "mdwe") && !prctl(PR_SET_MDWE, 1, 0, 0, 0);
    for (unsigned i = 0; argc == 2 && i < sizeof calls / sizeof *calls; i++)
        refused |= !strcmp(argv[1], calls[i].name) && !refuse(calls[i].number);
    if (!refused) {
        fprintf(stderr, "cannot refuse '%s': %s\n", argc == 2 ? argv[1] : "", strerror(errno));
        return 2;
    }
    uint64_t state = 1;
    for (unsigned site = 0; site < SITES; site++)
        for (unsigned call = 0; call < 4000; call++) {
            uint64_t random = next_random(&state);
            check(site, (site + random % 3) % TARGETS, random);
        }
    puts("ok");
}
