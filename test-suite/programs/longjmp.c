// Signal handlers leave by siglongjmp, out of the slow path too: learning goes on, and no descriptor stays open.
#include "sites.h"
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

static sigjmp_buf back;
static volatile unsigned long jumps;

static void handler(int number) {
    (void)number;
    jumps++;
    siglongjmp(back, 1);
}

int main(void) {
    struct sigaction action = {.sa_handler = handler};
    sigaction(SIGALRM, &action, NULL);
    static volatile unsigned long round;
    struct itimerval timer = {{0, 40}, {0, 40}};
    setitimer(ITIMER_REAL, &timer, NULL);
    sigsetjmp(back, 1);
    for (; round < 400000 || jumps < 200; round++)
        check((unsigned)(round >> 9) % SITES, (unsigned)(round % 3), round);
    memset(&timer, 0, sizeof timer);
    setitimer(ITIMER_REAL, &timer, NULL);
    for (unsigned i = 0; i < 400000; i++)
        check((i >> 9) % SITES, i % 3, i);
    for (int descriptor = 3; descriptor < 64; descriptor++) {
        char name[64], target[256];
        snprintf(name, sizeof name, "/proc/self/fd/%d", descriptor);
        ssize_t length = readlink(name, target, sizeof target - 1);
        target[length < 0 ? 0 : length] = 0;
        if (strstr(target, "/mem")) {
            fprintf(stderr, "descriptor %d is open on %s\n", descriptor, target);
            return 1;
        }
    }
    puts("ok");
}
