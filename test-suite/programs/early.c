// A thread that a constructor has started calls sites while the runtime begins with a profile. Without argument the sites
// learn what the profile then says.
#include "sites.h"
#include <pthread.h>

static _Atomic int stop;
static pthread_t thread;

static void *run(void *unused) {
    for (unsigned call = 0; !stop; call++) {
        for (unsigned site = 0; site < SITES; site++)
            check(site, 1 + call % 2, call);
        count_round(0);
    }
    return unused;
}

__attribute__((constructor(100))) static void start(int argc, char **argv) {
    (void)argv;
    if (argc > 1) {
        pthread_create(&thread, NULL, run, NULL);
        // The sites are in full swing when the runtime takes them up.
        await_rounds(20);
    }
}

int main(int argc, char **argv) {
    (void)argv;
    for (unsigned call = 0; call < 200 * SITES; call++)
        check(call % SITES, 0, call);
    if (argc > 1) {
        await_rounds(20);
        stop = 1;
        pthread_join(thread, NULL);
    }
    puts("ok");
}
