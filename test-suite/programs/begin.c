// Sites with known answers, each with targets of its own: what a profile of this program holds. Arguments: how often each
// site is called, and a file to remove.
#include "sites.h"

int main(int argc, char **argv) {
    unsigned rounds = argc > 1 ? (unsigned)atoi(argv[1]) : 1000;
    for (unsigned site = 0; site < SITES; site++)
        for (unsigned round = 0; round < rounds; round++)
            // Two targets, the first one hotter, where the site's number is a multiple of four.
            check(site, (site + (site % 4 == 0 && round % 3 == 0)) % TARGETS, round);
    if (argc > 2 && unlink(argv[2]))
        return 2;
    puts("ok");
}
