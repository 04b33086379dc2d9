// Threads call sites that are learned and patched while another one has the system drop the pages of code, which come
// back as they are in the file: whatever was patched is undone.
#include "sites.h"
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

enum { THREADS = 2, DROPS = 400 };

static _Atomic int stop;

static void *work(void *argument) {
    unsigned thread = (unsigned)(uintptr_t)argument;
    for (unsigned round = 0; !stop; round++) {
        for (unsigned call = 0; call < 1500; call++)
            check(round % SITES, call % 7, call);
        count_round(thread);
    }
    return NULL;
}

// The pages of this program's code.
static void find_code(char **start, char **end) {
    FILE *maps = fopen("/proc/self/maps", "r");
    if (!maps)
        exit(2);
    for (char line[512]; fgets(line, sizeof line, maps);) {
        uintptr_t from, to;
        char rights[8];
        if (sscanf(line, "%lx-%lx %7s", &from, &to, rights) == 3 && rights[2] == 'x' &&
            from <= (uintptr_t)find_code && (uintptr_t)find_code < to) {
            *start = (char *)from;
            *end = (char *)to;
        }
    }
    fclose(maps);
}

int main(void) {
    char *start = NULL, *end = NULL;
    find_code(&start, &end);
    pthread_t ids[THREADS];
    for (uintptr_t thread = 0; thread < THREADS; thread++)
        if (pthread_create(&ids[thread], NULL, work, (void *)thread))
            return 2;
    for (int drop = 0; drop < DROPS; drop++) {
        await_rounds(2);
        if (madvise(start, (size_t)(end - start), MADV_DONTNEED))
            return 3;
    }
    stop = 1;
    for (int thread = 0; thread < THREADS; thread++)
        pthread_join(ids[thread], NULL);
    puts("ok");
}
