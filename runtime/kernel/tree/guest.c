// SPDX-License-Identifier: MIT
/*
 * The guest of the self-test: a module that is loaded and unloaded while its functions are hot, called by another
 * module's threads and by the kernel's timers, and while it has call sites of its own.
 */
#include <linux/hrtimer.h>
#include <linux/module.h>

#include "test.h"

static noinline long twice(long x)
{
	return 2 * x + 40;
}

static noinline long five_times(long x)
{
	return 5 * x + 2;
}

static long (*const parts[])(long) = { twice, five_times };

static long guest(long x)
{
	long sum = 0;
	int i;

	for (i = 0; i < 2; i++)
		sum += READ_ONCE(parts[i])(x);
	return sum;
}

static struct hrtimer timer;

static enum hrtimer_restart tick(struct hrtimer *timer)
{
	hrtimer_forward_now(timer, ns_to_ktime(100 * NSEC_PER_USEC));
	return HRTIMER_RESTART;
}

static int __init relpoline_guest_init(void)
{
	hrtimer_init(&timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL);
	timer.function = tick;
	hrtimer_start(&timer, ns_to_ktime(100 * NSEC_PER_USEC), HRTIMER_MODE_REL);
	relpoline_test_guest(guest);
	return 0;
}

static void __exit relpoline_guest_exit(void)
{
	relpoline_test_guest(NULL);
	hrtimer_cancel(&timer);
}

module_init(relpoline_guest_init);
module_exit(relpoline_guest_exit);
MODULE_DESCRIPTION("Guest of the self-test of relpolines");
MODULE_LICENSE("Dual MIT/GPL");
