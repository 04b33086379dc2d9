// A shared object with a site and a target. -DCONSTANT=N: what its target adds.
#include <stdint.h>

typedef uint64_t (*target_t)(uint64_t);

uint64_t plugin_target(uint64_t x);
uint64_t plugin_call(target_t target, uint64_t x);

uint64_t plugin_target(uint64_t x) { return x * 31 + CONSTANT; }
uint64_t plugin_call(target_t target, uint64_t x) { return target(x + CONSTANT) ^ CONSTANT; }
