// Calls from another file what is static there: under ThinLTO, whose symbols then have names that the source has not.
// Argument: how often.
#include "promoted.h"

int main(int argc, char **argv) {
    unsigned rounds = argc > 1 ? (unsigned)atoi(argv[1]) : 1000;
    for (uint64_t round = 0; round < rounds; round++)
        if (call_hidden(hidden_target(), round) != round * 31 + 7)
            abort();
    puts("ok");
}
