// The first thread ends, and with it what /proc/self shows; the others go on and learn.
#include "sites.h"
#include <pthread.h>
#include <unistd.h>

static pthread_t first;

static void *work(void *argument) {
    pthread_join(first, NULL);
    for (unsigned site = 0; site < SITES; site++)
        for (unsigned round = 0; round < 1000; round++)
            check(site, (site + round % 3) % TARGETS, round);
    puts("ok");
    exit(0);
    return argument;
}

int main(void) {
    pthread_t id;
    first = pthread_self();
    if (pthread_create(&id, NULL, work, NULL))
        return 2;
    pthread_exit(NULL);
}
