// Shared objects come and go while their functions are promoted at the sites of another one that stays.
// Arguments: the object that stays, two that go, how often, and how many threads call meanwhile. With 0 times: one
// object goes once, after that many calls; statistics from before and after are written to the files behind the
// arguments.
#include "../../runtime/include/relpoline.h"
#include "sites.h"
#include <dlfcn.h>
#include <pthread.h>

enum { CALLS = 1 << 17 };

struct plugin {
    void *handle;
    uint64_t constant;
    target_t target;
    uint64_t (*call)(target_t, uint64_t);
};

static struct plugin keep;
static _Atomic int stop;

static struct plugin open_plugin(const char *path, uint64_t constant, int flags) {
    struct plugin plugin = {dlopen(path, RTLD_NOW | flags), constant, NULL, NULL};
    if (!plugin.handle) {
        fprintf(stderr, "%s\n", dlerror());
        exit(2);
    }
    plugin.target = (target_t)dlsym(plugin.handle, "plugin_target");
    plugin.call = (uint64_t(*)(target_t, uint64_t))dlsym(plugin.handle, "plugin_call");
    return plugin;
}

static void check_plugin(const struct plugin *site, const struct plugin *target, uint64_t x) {
    uint64_t expected = ((x + site->constant) * 31 + target->constant) ^ site->constant;
    if (site->call(target->target, x) != expected) {
        fprintf(stderr, "WRONG CALL: from %d to %d\n", (int)site->constant, (int)target->constant);
        abort();
    }
}

static void *work(void *argument) {
    unsigned thread = (unsigned)(uintptr_t)argument;
    uint64_t state = thread + 1;
    for (unsigned round = 0; !stop; round++) {
        uint64_t random = next_random(&state);
        check((round >> 7) % SITES, (unsigned)random % 4, random);
        check_plugin(&keep, &keep, random);
        count_round(thread);
    }
    return NULL;
}

static void once(char **paths, unsigned calls, char **statistics) {
    struct plugin other = open_plugin(paths[0], 1, RTLD_LOCAL);
    for (unsigned i = 0; i < calls; i++)
        check_plugin(&keep, &other, i);
    if (relpoline_write_stats(statistics[0]))
        abort();
    dlclose(other.handle);
    if (relpoline_write_stats(statistics[1]))
        abort();
    for (int i = 0; i < 5000; i++)
        check_plugin(&keep, &keep, (uint64_t)i);
}

int main(int argc, char **argv) {
    if (argc < 6)
        return 2;
    unsigned times = (unsigned)atoi(argv[4]), threads = (unsigned)atoi(argv[5]), same = 0;
    keep = open_plugin(argv[1], 7, RTLD_GLOBAL);
    if (!times) {
        once(argv + 2, threads, argv + 6);
        threads = 0;
    }
    pthread_t ids[16];
    for (uintptr_t i = 0; i < threads; i++)
        if (pthread_create(&ids[i], NULL, work, (void *)i))
            return 2;
    target_t last = NULL;
    for (unsigned time = 0; time < times; time++) {
        unsigned which = time % 2;
        struct plugin other = open_plugin(argv[2 + which], 1 + which, time % 4 < 2 ? RTLD_LOCAL : RTLD_GLOBAL);
        same += other.target == last;
        last = other.target;
        // The constructor of another one, and the call that finds it at the address of one that has gone.
        for (uint64_t x = 0; x < 150; x++) {
            check_plugin(&keep, &other, x);
            check_plugin(&other, &other, x);
            check_plugin(&other, &keep, x);
        }
        if (time % 3 == 0) {
            await_rounds(threads ? CALLS : 0);
            relpoline_relearn();
        }
        dlclose(other.handle);
    }
    stop = 1;
    for (unsigned i = 0; i < threads; i++)
        pthread_join(ids[i], NULL);
    printf("ok %u\n", same);
}
