// Turns the call site at the given address off and on, and has it learn anew: the results stay right. Argument: the
// address, as the statistics of a run without one print it.
#include "../../runtime/include/relpoline.h"
#include <stdio.h>
#include <stdlib.h>

static int next(int x) { return x + 1; }
static int (*volatile pointer)(int) = next;
__attribute__((noinline)) static int site(int x) { return pointer(x) * 2; }

static void call(void) {
    for (int i = 0; i < 5000; i++)
        if (site(i) != (i + 1) * 2)
            abort();
}

int main(int argc, char **argv) {
    call();
    if (argc == 1)
        return 0;
    const void *address = (const void *)strtoul(argv[1], NULL, 0);
    printf("%d %d ", relpoline_set_site(address, 0), relpoline_set_site("nowhere", 0));
    call();
    relpoline_write_stats(argv[2]);
    printf("%d ", relpoline_set_site(address, 1));
    call();
    printf("%d\n", relpoline_relearn());
    call();
}
