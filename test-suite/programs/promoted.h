#pragma once
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

typedef uint64_t (*target_t)(uint64_t);

target_t hidden_target(void);
uint64_t call_hidden(target_t target, uint64_t x);
