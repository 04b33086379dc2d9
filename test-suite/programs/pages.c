// Prints which mappings are writable and executable at once, after sites have been promoted.
#include "sites.h"
#include <string.h>

int main(void) {
    for (unsigned round = 0; round < 20000; round++)
        check(round % 64, (round >> 6) % 4, round);
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[4096];
    while (fgets(line, sizeof line, maps)) {
        char protection[8];
        if (sscanf(line, "%*s %7s", protection) == 1 && protection[1] == 'w' && protection[2] == 'x')
            fputs(line, stdout);
    }
    fclose(maps);
}
