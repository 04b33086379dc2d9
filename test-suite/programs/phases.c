// Call sites whose targets change over time, with threads that disagree on the phase. Arguments: what changes,
// threads, calls of one phase, targets (64 at most). "change": each phase has the next target. With many of them
// chains grow, to 26 targets in all; with few their links are closed and opened again. "settle": at first targets in
// random order, then one alone.
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t (*target_t)(uint64_t);
#define TARGET(N) __attribute__((noinline)) static uint64_t target_##N(uint64_t x) { return x * 31 + 0x1##N; }
#define ROW(M, R) M(R##0) M(R##1) M(R##2) M(R##3) M(R##4) M(R##5) M(R##6) M(R##7)
#define EACH(M) ROW(M, 0) ROW(M, 1) ROW(M, 2) ROW(M, 3) ROW(M, 4) ROW(M, 5) ROW(M, 6) ROW(M, 7)
EACH(TARGET)
#define NAME(N) target_##N,
static const target_t targets[64] = {EACH(NAME)};
#define VALUE(N) 0x1##N,
static const uint64_t values[64] = {EACH(VALUE)};

__attribute__((noinline)) static uint64_t changing(target_t t, uint64_t x) { return t(x) ^ 1; }
__attribute__((noinline)) static uint64_t settling(target_t t, uint64_t x) { return t(x) ^ 1; }

static void check(uint64_t found, unsigned target, uint64_t x) {
    if (found != ((x * 31 + values[target]) ^ 1)) {
        fprintf(stderr, "WRONG CALL: target %u, x %llu\n", target, (unsigned long long)x);
        abort();
    }
}

static int settle;
static unsigned count;
static unsigned long calls;

static void *work(void *argument) {
    uint64_t x = (uintptr_t)argument * 0x9e3779b97f4a7c15ull;
    for (unsigned phase = 0; phase < 160; phase++)
        for (unsigned long call = 0; call < calls; call++) {
            x = x * 6364136223846793005ull + 1442695040888963407ull;
            unsigned target = settle ? (phase < 80 ? (unsigned)(x >> 40) % count : 5) : phase % count;
            check(settle ? settling(targets[target], x) : changing(targets[target], x), target, x);
        }
    return NULL;
}

int main(int argc, char **argv) {
    if (argc != 5)
        return 2;
    settle = !strcmp(argv[1], "settle");
    int threads = atoi(argv[2]);
    calls = strtoul(argv[3], NULL, 0);
    count = (unsigned)atoi(argv[4]);
    if (count < 1 || count > 64)
        return 2;
    pthread_t ids[64];
    for (int i = 0; i < threads; i++)
        if (pthread_create(&ids[i], NULL, work, (void *)(uintptr_t)(i + 1)))
            return 2;
    for (int i = 0; i < threads; i++)
        pthread_join(ids[i], NULL);
    puts("ok");
}
