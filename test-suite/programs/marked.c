// Null, and null that is marked by its highest bit, are called in every state of a site: each time the program gets the
// signal that it would get without relpolines, and no target runs.
#include "../../runtime/include/relpoline.h"
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define TARGETS 64
static volatile unsigned long calls;
static sigjmp_buf back;

#define TARGET(N) __attribute__((noinline)) static void target_##N(void) { calls += (N) + 1; }
#define EIGHT(M, R) M(R##0) M(R##1) M(R##2) M(R##3) M(R##4) M(R##5) M(R##6) M(R##7)
#define EACH(M) EIGHT(M, 0) EIGHT(M, 01) EIGHT(M, 02) EIGHT(M, 03) EIGHT(M, 04) EIGHT(M, 05) EIGHT(M, 06) EIGHT(M, 07)
EACH(TARGET)
#define NAME(N) target_##N,
static void (*const targets[TARGETS])(void) = {EACH(NAME)};

static volatile uintptr_t nobody[] = {0, (uintptr_t)1 << 63};

__attribute__((noinline)) static void site(void (*target)(void)) {
    target();
    calls++;
}

static void handler(int number) {
    (void)number;
    siglongjmp(back, 1);
}

static void call_nobody(const char *when) {
    for (unsigned i = 0; i < sizeof nobody / sizeof *nobody; i++) {
        unsigned long before = calls;
        if (!sigsetjmp(back, 1))
            site((void (*)(void))nobody[i]);
        if (calls != before) {
            fprintf(stderr, "WRONG CALL: of %#lx, %s\n", (unsigned long)nobody[i], when);
            exit(1);
        }
    }
}

static void call(unsigned how_many, unsigned count) {
    for (unsigned i = 0; i < count; i++)
        site(targets[i % how_many]);
}

int main(void) {
    struct sigaction action = {.sa_handler = handler};
    sigaction(SIGSEGV, &action, NULL);
    call_nobody("at first");
    call(1, 40);
    call_nobody("while it learns");
    call(1, 1000);
    call_nobody("with one target");
    call(4, 20000);
    call_nobody("with four targets");
    relpoline_set_mode(RELPOLINE_OFF);
    call_nobody("turned off");
    relpoline_set_mode(RELPOLINE_ON);
    call_nobody("turned on");
    relpoline_relearn();
    call_nobody("while it learns anew");
    call(3, 400);
    call_nobody("with some of its branches");
    call(TARGETS, 100000);
    call_nobody("with too many targets");
    puts("ok");
}
