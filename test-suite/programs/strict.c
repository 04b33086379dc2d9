// Calls every site, none of which has run before, where any system call but read and write kills.
#include "sites.h"
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

int main(void) {
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT, 0, 0, 0))
        return 2;
    for (unsigned site = 0; site < SITES; site++)
        for (unsigned round = 0; round < 200; round++)
            check(site, (site + round / 50) % TARGETS, round);
    int whole = write(1, "ok\n", 3) == 3;
    syscall(SYS_exit, !whole);
}
