// Sites are called before the runtime has started and after it has ended: from the pre-initialisation array, from
// constructors and destructors of every priority, from statics of C++ and from handlers of exit.
extern "C" {
#include "sites.h"
}
#include <pthread.h>
#include <unistd.h>

static void call_sites(unsigned first) {
    for (unsigned site = first; site < SITES; site += 8)
        for (unsigned round = 0; round < 2000; round++)
            check(site, (site + round % 3) % TARGETS, round);
}

static void before_all(int, char **, char **) { call_sites(0); }
__attribute__((section(".preinit_array"), used)) static void (*const first)(int, char **, char **) = before_all;

__attribute__((constructor(101))) static void early() { call_sites(0), call_sites(1); }
__attribute__((constructor)) static void late() { call_sites(2); }
// Output as the last of all: the runtime has ended.
__attribute__((destructor(101))) static void last() {
    for (unsigned site = 0; site < 8; site++)
        call_sites(site);
    if (write(1, "ok\n", 3) != 3)
        abort();
}
__attribute__((destructor)) static void at_end() { call_sites(3); }

struct Static {
    unsigned site;
    explicit Static(unsigned site) : site(site) { call_sites(site); }
    ~Static() { call_sites(site), call_sites(0); }
};
__attribute__((init_priority(102))) static Static one(4);
static Static two(5);
static thread_local Static three(6);

static void *work(void *argument) {
    three.site = 6;
    return argument;
}

static void at_exit() { call_sites(7); }

int main() {
    atexit(at_exit);
    pthread_t id;
    if (pthread_create(&id, nullptr, work, nullptr))
        return 2;
    pthread_join(id, nullptr);
    three.site = 1;
}
