// Many call sites with known answers: site N adds its own constant to what the target returns, so a call
// that went to another target, or came from another site, gives another number.
#pragma once
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

typedef uint64_t (*target_t)(uint64_t);

#define TARGETS 16
#define TARGET(N)                                                                                          \
    __attribute__((noinline)) static uint64_t target_##N(uint64_t x) { return x * 31 + (N) * 1000003; }
#define EACH_TARGET(M) M(0) M(1) M(2) M(3) M(4) M(5) M(6) M(7) M(8) M(9) M(10) M(11) M(12) M(13) M(14) M(15)
EACH_TARGET(TARGET)
#define NAME(N) target_##N,
static const target_t targets[TARGETS] = {EACH_TARGET(NAME)};

#define SITES 256
#define SITE(N)                                                                                            \
    __attribute__((noinline)) static uint64_t site_##N(target_t t, uint64_t x) { return t(x + (N)) ^ (N); }
#define ROW(M, R) M(R##0) M(R##1) M(R##2) M(R##3) M(R##4) M(R##5) M(R##6) M(R##7) M(R##8) M(R##9) M(R##a) \
    M(R##b) M(R##c) M(R##d) M(R##e) M(R##f)
#define EACH_SITE(M)                                                                                       \
    ROW(M, 0x0) ROW(M, 0x1) ROW(M, 0x2) ROW(M, 0x3) ROW(M, 0x4) ROW(M, 0x5) ROW(M, 0x6) ROW(M, 0x7)        \
    ROW(M, 0x8) ROW(M, 0x9) ROW(M, 0xa) ROW(M, 0xb) ROW(M, 0xc) ROW(M, 0xd) ROW(M, 0xe) ROW(M, 0xf)
EACH_SITE(SITE)
typedef uint64_t (*site_t)(target_t, uint64_t);

// A switch instead of a table of sites: the calls of the sites themselves must not be relpolines.
static inline uint64_t call_site(unsigned site, target_t target, uint64_t x) {
    switch (site) {
#define CASE(N)                                                                                            \
    case N: return site_##N(target, x);
        EACH_SITE(CASE)
    }
    abort();
}

static inline void check(unsigned site, unsigned target, uint64_t x) {
    uint64_t expected = ((x + site) * 31 + target * 1000003ull) ^ site;
    uint64_t found = call_site(site, targets[target], x);
    if (found != expected) {
        fprintf(stderr, "WRONG CALL: site %u, target %u, x %llu\n", site, target, (unsigned long long)x);
        abort();
    }
}

// Waits for a child, which must end well.
static inline void end_of(pid_t child) {
    int status = -1;
    if (child < 0 || waitpid(child, &status, 0) != child || status != 0) {
        fprintf(stderr, "child: status %x\n", status);
        abort();
    }
}

static inline uint64_t next_random(uint64_t *state) {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545f4914f6cdd1dull;
}

// How many rounds each thread has behind it, on a line of its own. Programs wait for rounds, never for time: then the
// sites are called as often on every machine.
static unsigned long progress[16][8];

static inline void count_round(unsigned thread) {
    __atomic_store_n(&progress[thread][0], progress[thread][0] + 1, __ATOMIC_RELAXED);
}

static inline unsigned long rounds_of_all(void) {
    unsigned long sum = 0;
    for (int thread = 0; thread < 16; thread++)
        sum += __atomic_load_n(&progress[thread][0], __ATOMIC_RELAXED);
    return sum;
}

static inline void await_rounds(unsigned long rounds) {
    for (unsigned long start = rounds_of_all(); rounds_of_all() - start < rounds;)
        usleep(200);
}
