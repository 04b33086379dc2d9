// Goes to another directory, as daemons do, and ends in several processes at once.
#include "sites.h"

enum { CHILDREN = 8 };

int main(void) {
    if (chdir("/"))
        return 2;
    for (unsigned site = 0; site < SITES; site++)
        for (unsigned round = 0; round < 200; round++)
            check(site, site % TARGETS, round);
    puts("ok");
    fflush(stdout);
    pid_t children[CHILDREN];
    for (int child = 0; child < CHILDREN; child++) {
        children[child] = fork();
        if (children[child] == 0)
            return 0;
    }
    for (int child = 0; child < CHILDREN; child++)
        end_of(children[child]);
}
