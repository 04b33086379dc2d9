// SPDX-License-Identifier: MIT
/*
 * A module whose table of sites is hostile: a row that leads out of the module, then a word too many, so that every
 * row behind it is read askew and the last one is cut off. The kernel must refuse all of it and run on, and the
 * module's calls must go right.
 */
#include <linux/module.h>

/* A row of the layout's version, which is in its last word's highest bits, and a word. */
asm(".pushsection relpoline_sites, \"a\"\n"
    ".long 0x70000000, -0x70000000, 0x60000001, 0, 0x30000000\n"
    ".long 0x7fffffff\n"
    ".popsection");

static noinline long twice(long x)
{
	return 2 * x;
}

static noinline long thrice(long x)
{
	return 3 * x;
}

static long (*const parts[])(long) = { twice, thrice };

static noinline long call(long (*function)(long), long x)
{
	long sum = function(x);

	barrier_data(&sum);
	return sum;
}

static int __init relpoline_hostile_init(void)
{
	long x;

	for (x = 0; x < 100000; x++) {
		if (call(READ_ONCE(parts[x % 2]), x) != (2 + x % 2) * x)
			return -EIO;
		cond_resched();
	}
	return 0;
}

static void __exit relpoline_hostile_exit(void)
{
}

module_init(relpoline_hostile_init);
module_exit(relpoline_hostile_exit);
MODULE_DESCRIPTION("A module with a hostile table of relpolines");
MODULE_LICENSE("Dual MIT/GPL");
