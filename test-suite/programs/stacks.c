// Sites are called for the first time, reach their limits and learn anew on small stacks with nothing below them.
// Argument: "threads", "coroutines" or "handler", or "depth" to print how many bytes of a stack the deepest call of
// a site took.
#define _GNU_SOURCE
#include "../../runtime/include/relpoline.h"
#include "sites.h"
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

// ROOM: what the runtime promises to make do with, and some for the sites and what calls them.
enum { SMALL = 16384, PAGE = 4096, PAINT = 0x5a, ROOM = 4096 + 512 };

static unsigned first_site;

static void call_sites(void) {
    for (unsigned site = first_site; site < SITES; site += 4)
        for (unsigned round = 0; round < 3000; round++) {
            check(site, (site + round / 200) % TARGETS, round);
            check(site, (site + round % 3) % TARGETS, round);
        }
}

static void *work(void *argument) {
    call_sites();
    return argument;
}

// A stack above memory that must not be touched.
static char *new_stack(size_t size) {
    size_t pages = (size + PAGE - 1) / PAGE * PAGE;
    char *start = mmap(NULL, pages + PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (start == MAP_FAILED || mprotect(start + PAGE, pages, PROT_READ | PROT_WRITE))
        abort();
    return start + PAGE;
}

static void on_stack(char *stack, size_t size, void (*function)(void)) {
    static ucontext_t here, there;
    getcontext(&there);
    there.uc_stack.ss_sp = stack;
    there.uc_stack.ss_size = size;
    there.uc_link = &here;
    makecontext(&there, function, 0);
    swapcontext(&here, &there);
}

static void small_threads(void) {
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    if (pthread_attr_setstacksize(&attributes, SMALL))
        abort();
    pthread_t ids[8];
    for (int i = 0; i < 8; i++)
        if (pthread_create(&ids[i], &attributes, work, NULL))
            abort();
    for (int i = 0; i < 8; i++)
        pthread_join(ids[i], NULL);
}

static void handle(int signal) {
    (void)signal;
    call_sites();
}

// No more than what the kernel puts there, and the room that is promised to suffice.
static void small_handler(void) {
    size_t size = (getauxval(AT_MINSIGSTKSZ) + ROOM) / 64 * 64;
    stack_t stack = {.ss_sp = new_stack(size), .ss_size = size};
    struct sigaction action = {.sa_handler = handle, .sa_flags = SA_ONSTACK};
    if (sigaltstack(&stack, NULL) || sigaction(SIGUSR1, &action, NULL) || raise(SIGUSR1))
        abort();
}

static void depth(void) {
    size_t size = 16 * SMALL;
    char *stack = new_stack(size);
    memset(stack, PAINT, size);
    on_stack(stack, size, call_sites);
    size_t untouched = 0;
    while (untouched < size && stack[untouched] == PAINT)
        untouched++;
    printf("%zu\n", size - untouched);
}

int main(int argc, char **argv) {
    for (int time = 0; argc == 2 && time < 2; time++)
        for (first_site = 0; first_site < 4; first_site++) {
            if (!strcmp(argv[1], "threads"))
                small_threads();
            else if (!strcmp(argv[1], "coroutines"))
                on_stack(new_stack(SMALL), SMALL, call_sites);
            else if (!strcmp(argv[1], "handler"))
                small_handler();
            else if (!strcmp(argv[1], "depth"))
                depth();
            else
                return 2;
            relpoline_relearn();
        }
    puts("ok");
}
