/* SPDX-License-Identifier: MIT */
/* Between the self-test and its guest. */
#ifndef ARCH_X86_KERNEL_RELPOLINE_TEST_H
#define ARCH_X86_KERNEL_RELPOLINE_TEST_H

typedef long relpoline_guest_t(long x);

#define RELPOLINE_GUEST_ANSWER(x) (7 * (x) + 42)

/* The function that the self-test's threads call from now on; null: none. Returns when nobody is in the old one. */
void relpoline_test_guest(relpoline_guest_t *function);

#endif
