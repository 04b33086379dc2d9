// Threads end in every way while they call sites, learn and patch. Argument: "cancelled", "at-once" (asynchronous
// cancellation), "exiting" (pthread_exit, and thread-local data whose destructors call sites).
#define _GNU_SOURCE
#include "../../runtime/include/relpoline.h"
#include "sites.h"
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

static int at_once, exiting;
static pthread_key_t key;

static void call_sites(uint64_t state, unsigned rounds) {
    for (unsigned round = 0; round < rounds; round++) {
        uint64_t random = next_random(&state);
        check((unsigned)(random >> 32) % SITES, (unsigned)random % 4, random);
    }
}

static void destructor(void *value) {
    call_sites((uintptr_t)value, 2000);
}

static void *work(void *argument) {
    uint64_t state = (uintptr_t)argument;
    if (exiting) {
        pthread_setspecific(key, argument);
        call_sites(state, 2000);
        pthread_exit(NULL);
    }
    if (at_once)
        pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
    for (;;) {
        call_sites(next_random(&state), 100);
        if (!at_once)
            pthread_testcancel();
    }
}

int main(int argc, char **argv) {
    if (argc != 2)
        return 2;
    at_once = !strcmp(argv[1], "at-once");
    exiting = !strcmp(argv[1], "exiting");
    if (pthread_key_create(&key, destructor))
        return 2;
    uint64_t state = 5;
    for (uintptr_t time = 1; time <= 96; time++) {
        pthread_t ids[4];
        for (int i = 0; i < 4; i++)
            if (pthread_create(&ids[i], NULL, work, (void *)(time * 4 + (uintptr_t)i)))
                return 2;
        usleep((useconds_t)(next_random(&state) % 300));
        for (int i = 0; i < 4; i++) {
            if (!exiting)
                pthread_cancel(ids[i]);
            pthread_join(ids[i], NULL);
        }
        if (time % 8 == 0 && relpoline_relearn()) {
            fputs("nothing is learned any more\n", stderr);
            return 1;
        }
    }
    puts("ok");
}
