// A shared object with more sites and chains than an image has room for in itself.
#include "sites.h"

void crowd_call(unsigned first, unsigned step);

// Enough for every site to learn four targets.
void crowd_call(unsigned first, unsigned step) {
    for (unsigned site = first; site < SITES; site += step)
        for (unsigned i = 0; i < 300; i++)
            check(site, i % 4, i);
}
