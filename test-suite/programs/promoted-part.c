// The other file of promoted.c.
#include "promoted.h"

__attribute__((noinline)) static uint64_t target(uint64_t x) { return x * 31 + 7; }
__attribute__((noinline)) static uint64_t site(target_t target, uint64_t x) { return target(x); }

static target_t volatile pointer = target;

target_t hidden_target(void) { return pointer == target ? target : pointer; }
uint64_t call_hidden(target_t target, uint64_t x) { return site(target, x); }
