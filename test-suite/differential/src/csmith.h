#include <stdlib.h>
#include "csmith.h"
/* The checked arithmetic a second time, under other names. */
#undef SAFE_MATH_H
#undef FUNC_NAME
#define FUNC_NAME(x) (twin_safe_##x)
#include "safe_math.h"

extern char data_begin[] __asm__("__start_globals_data") __attribute__((weak));
extern char data_end[] __asm__("__stop_globals_data") __attribute__((weak));
extern char bss_begin[] __asm__("__start_globals_bss") __attribute__((weak));
extern char bss_end[] __asm__("__stop_globals_bss") __attribute__((weak));

/* Which of two targets a call takes. */
volatile int turn;

/* Gives the globals the values that the program began with. */
__attribute__((noinline)) void begin_round(int round, int next_turn) {
    static char *data, *bss;
    size_t data_size = data_end - data_begin, bss_size = bss_end - bss_begin;
    turn = next_turn;
    if (round == 0) {
        data = memcpy(malloc(data_size + 1), data_begin, data_size);
        bss = memcpy(malloc(bss_size + 1), bss_begin, bss_size);
    } else {
        memcpy(data_begin, data, data_size);
        memcpy(bss_begin, bss, bss_size);
    }
}
