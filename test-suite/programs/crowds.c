// Two objects with many sites come and go again and again, each by the hand of another thread, while more threads call
// sites of one that stays, of which all learn anew. Arguments: the object that stays, those that go, how often. Prints
// how many mappings there are after some times and in the end: they must not become more.
#include "../../runtime/include/relpoline.h"
#include "sites.h"
#include <dlfcn.h>
#include <pthread.h>

enum { THREADS = 3, FIRST = 10 };

typedef void (*crowd_t)(unsigned first, unsigned step);

static crowd_t keep;
static unsigned times;
static _Atomic int stop;

static crowd_t open_crowd(const char *path, void **handle) {
    *handle = dlopen(path, RTLD_NOW);
    crowd_t call = *handle ? (crowd_t)dlsym(*handle, "crowd_call") : NULL;
    if (!call) {
        fprintf(stderr, "%s\n", dlerror());
        exit(2);
    }
    return call;
}

static void come_and_go(const char *path) {
    void *handle;
    open_crowd(path, &handle)(0, 1);
    dlclose(handle);
}

static void *work(void *argument) {
    unsigned thread = (unsigned)(uintptr_t)argument;
    while (!stop) {
        keep(thread, 16);
        count_round(thread);
    }
    return NULL;
}

static void *come_and_go_often(void *path) {
    for (unsigned time = FIRST; time < times; time++)
        come_and_go(path);
    return NULL;
}

static unsigned long mappings(void) {
    FILE *maps = fopen("/proc/self/maps", "r");
    unsigned long lines = 0;
    for (int byte; (byte = getc(maps)) != EOF;)
        lines += byte == '\n';
    fclose(maps);
    return lines;
}

int main(int argc, char **argv) {
    if (argc < 5)
        return 2;
    times = (unsigned)atoi(argv[4]);
    void *handle;
    keep = open_crowd(argv[1], &handle);
    keep(0, 1);
    pthread_t ids[THREADS], other;
    for (uintptr_t i = 0; i < THREADS; i++)
        if (pthread_create(&ids[i], NULL, work, (void *)i))
            return 2;
    unsigned long before = 0;
    for (unsigned time = 0; time < times; time++) {
        come_and_go(argv[2]);
        if (time % 8 == 0) {
            await_rounds(THREADS);
            relpoline_relearn();
        }
        if (time != FIRST)
            continue;
        // In a child each is by itself. Nobody else is in the dynamic linker yet.
        pid_t child = fork();
        if (!child) {
            for (int i = 0; i < 3; i++)
                come_and_go(argv[2]);
            keep(0, 1);
            _exit(0);
        }
        end_of(child);
        before = mappings();
        if (pthread_create(&other, NULL, come_and_go_often, argv[3]))
            return 2;
    }
    pthread_join(other, NULL);
    unsigned long after = mappings();
    stop = 1;
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(ids[i], NULL);
    keep(0, 1);
    printf("%lu %lu\n", before, after);
}
