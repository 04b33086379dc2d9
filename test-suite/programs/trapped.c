// A filter has a handler of SIGSYS open files, also those that the runtime opens to write code. At the call of this number
// (second argument) the handler forks, by the C library ("fork") or by the bare system call ("clone"), or leaves by
// siglongjmp ("jump"). Parent and child call on, and fork again.
#define _GNU_SOURCE
#include "sites.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <setjmp.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

static sigjmp_buf back;
static const char *how;
static volatile int when, traps, child = -1;

static void handler(int number, siginfo_t *what, void *context) {
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    (void)number, (void)what;
    if (traps++ == when) {
        if (!strcmp(how, "jump"))
            siglongjmp(back, 1);
        child = !strcmp(how, "fork") ? fork() : (int)syscall(SYS_fork);
        // Calls of the handler's own come on top of what was interrupted; in one case they come to what it has prepared.
        for (unsigned call = 0; !strcmp(how, "clone") && call < 2000; call++)
            check(call % 8, call / 8 % 3, call);
    }
    long result = syscall(SYS_open, registers[REG_RSI], registers[REG_RDX], 0);
    registers[REG_RAX] = result < 0 ? -errno : result;
}

static void call_all(void) {
    for (unsigned target = 0; target < 4; target++)
        for (unsigned call = 0; call < 40000; call++)
            check(call % 16, target, call);
}

static int ends_well(pid_t process) {
    int status;
    return waitpid(process, &status, 0) == process && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

int main(int argc, char **argv) {
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, O_RDWR, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
    if (argc != 3)
        return 2;
    how = argv[1];
    when = atoi(argv[2]);
    sigaction(SIGSYS, &action, NULL);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
        return 3;
    if (!sigsetjmp(back, 1))
        call_all();
    call_all();
    if (traps <= when) {
        fprintf(stderr, "%d calls were trapped\n", traps);
        return 4;
    }
    for (unsigned forks = 0; child != 0 && forks < 30; forks++) {
        pid_t other = fork();
        if (!other) {
            call_all();
            _exit(0);
        }
        if (!ends_well(other))
            return 5;
    }
    if (child == 0)
        _exit(0);
    if (child > 0 && !ends_well(child)) {
        fputs("the handler's child went wrong\n", stderr);
        return 6;
    }
    puts("ok");
}
