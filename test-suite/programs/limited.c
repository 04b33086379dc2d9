// Statistics that cannot be written are an error number, not a signal. Argument: the file to write them to.
#include "../../runtime/include/relpoline.h"
#include "sites.h"
#include <errno.h>
#include <signal.h>
#include <sys/resource.h>

int main(int argc, char **argv) {
    struct rlimit limit = {64, 64};
    for (unsigned call = 0; call < 1000; call++)
        check(0, 0, call);
    if (argc != 2 || setrlimit(RLIMIT_FSIZE, &limit))
        return 2;
    // One that was sent before and is blocked is not the writer's.
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    sigprocmask(SIG_BLOCK, &set, NULL);
    raise(SIGPIPE);
    int error = relpoline_write_stats(argv[1]);
    sigpending(&set);
    if (error != EFBIG || !sigismember(&set, SIGPIPE) || sigismember(&set, SIGXFSZ)) {
        fprintf(stderr, "error %d, pending: SIGPIPE %d, SIGXFSZ %d\n", error, sigismember(&set, SIGPIPE),
                sigismember(&set, SIGXFSZ));
        return 1;
    }
    puts("ok");
}
