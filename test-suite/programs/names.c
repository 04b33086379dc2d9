// Turns sites off and on by the names of their functions and files, and freezes the process. The results stay right.
// Arguments: files for the statistics, one for each step; or nothing, where calls are counted and nothing can be switched.
#include "../../runtime/include/relpoline.h"
#include "sites.h"

static void call_all(void) {
    for (unsigned site = 0; site < SITES; site++)
        for (unsigned round = 0; round < 200; round++)
            check(site, site % TARGETS, round);
}

static void step(const char *path, int result) {
    call_all();
    if (relpoline_write_stats(path))
        abort();
    printf("%d\n", result);
}

// Before the runtime starts nothing can be switched.
static int early;
static void switch_early(void) { early = relpoline_set_mode(RELPOLINE_OFF); }
__attribute__((section(".preinit_array"), used)) static void (*const first)(void) = switch_early;

int main(int argc, char **argv) {
    if (early != -1)
        return 1;
    if (argc < 2) {
        const void *site = (const void *)(uintptr_t)main;
        for (int on = 0; on < 2; on++)
            if (relpoline_set_function("*", on) != -1 || relpoline_set_object("*", on) != -1 ||
                relpoline_set_site(site, on) != -1 || relpoline_set_mode(on) != -1 || relpoline_relearn() != -1)
                return 1;
        call_all();
        return 0;
    }
    if (argc < 7)
        return 2;
    step(argv[1], relpoline_set_function("site_0x2?", 0) + relpoline_set_function("site_0x1*", 0));
    step(argv[2], relpoline_set_object("*", 0));
    step(argv[3], relpoline_set_object("nothing", 1) + relpoline_set_function("*_0x1f", 1));
    step(argv[4], relpoline_set_mode(RELPOLINE_FREEZE));
    step(argv[5], relpoline_relearn());
    if (relpoline_set_mode(RELPOLINE_FREEZE + 1) != -1 || relpoline_set_function(NULL, 0) != -1 ||
        relpoline_set_object(NULL, 0) != -1)
        return 1;
    step(argv[6], relpoline_set_mode(RELPOLINE_ON));
}
