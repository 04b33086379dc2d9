// Stands in for the runtime in tests of the pass: every call reaches its target through a retpoline, but a
// site's compare then matches the target that it saw last. So each site's first call runs the cold copy, and
// the next one with the same target the hot copy, without any code being patched.
//
// Prints at exit to the file RELPOLINE_TEST_COUNTS how many calls came from copies of either kind.
#include <stdio.h>
#include <stdlib.h>

__asm__(".text\n"
        ".globl __relpoline_slow\n"
        ".hidden __relpoline_slow\n"
        ".type __relpoline_slow,@function\n"
        "__relpoline_slow:\n"
        "  cmpq %r10, (%r11)\n"
        "  je 1f\n"
        "  movq %r10, (%r11)\n"
        "  lock incq relpoline_test_cold(%rip)\n"
        "  jmp 2f\n"
        "1:\n"
        "  lock incq relpoline_test_hot(%rip)\n"
        "2:\n"
        "  call 4f\n"
        "3:\n"
        "  pause\n"
        "  lfence\n"
        "  jmp 3b\n"
        "4:\n"
        "  movq %r10, (%rsp)\n"
        "  retq\n"
        ".size __relpoline_slow, .-__relpoline_slow\n");

__attribute__((visibility("hidden"))) long relpoline_test_cold, relpoline_test_hot;

__attribute__((destructor)) static void print_counts(void) {
  const char *path = getenv("RELPOLINE_TEST_COUNTS");
  FILE *file = path ? fopen(path, "w") : NULL;
  if (!file) return;
  fprintf(file, "cold %ld\nhot %ld\n", relpoline_test_cold, relpoline_test_hot);
  fclose(file);
}
