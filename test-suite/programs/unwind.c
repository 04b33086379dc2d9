// A timer's signal handler unwinds the stack of whatever it interrupts, the runtime included: main is always found.
#define _GNU_SOURCE
#include "../../runtime/include/relpoline.h"
#include "sites.h"
#include <signal.h>
#include <string.h>
#include <sys/time.h>
#include <unwind.h>

static volatile unsigned long handled, in_runtime;

extern char __relpoline_slow[], __relpoline_count[];
int main(void);

// The frames above are the handler's own, the kernel's, and the interrupted function's.
enum { ABOVE = 3 };

struct walk {
    int depth, found;
};

static _Unwind_Reason_Code frame(struct _Unwind_Context *context, void *argument) {
    struct walk *walk = argument;
    uintptr_t address = _Unwind_GetIP(context);
    void *function = _Unwind_FindEnclosingFunction((void *)(address - 1));
    walk->found |= function == (void *)main;
    in_runtime += (function == __relpoline_slow || function == __relpoline_count) && walk->depth >= ABOVE;
    walk->depth++;
    return _URC_NO_REASON;
}

static void handler(int number) {
    struct walk walk = {0, 0};
    (void)number;
    _Unwind_Backtrace(frame, &walk);
    if (!walk.found) {
        fputs("main is not on the stack\n", stderr);
        abort();
    }
    handled++;
}

int main(void) {
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
    sigaction(SIGALRM, &action, NULL);
    struct itimerval timer = {{0, 100}, {0, 100}};
    setitimer(ITIMER_REAL, &timer, NULL);
    for (unsigned long round = 0; handled < 3000 || in_runtime < 50; round++) {
        check((unsigned)(round >> 8) % 4, (unsigned)(round % 3), round);
        if (round % 1024 == 0)
            relpoline_relearn();
    }
    memset(&timer, 0, sizeof timer);
    setitimer(ITIMER_REAL, &timer, NULL);
    puts("ok");
}
