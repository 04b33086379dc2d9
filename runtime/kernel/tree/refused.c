// SPDX-License-Identifier: MIT
/*
 * Sites that the runtime has to refuse: without memory, with bytes that somebody else has changed or has a copy of,
 * with a target that no direct branch reaches. Their calls must go right all the same.
 */
#define pr_fmt(fmt) "relpoline_refused: " fmt

#include <linux/delay.h>
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/vmalloc.h>
#include <asm/text-patching.h>

#include "relpoline.h"

typedef long (*target_t)(long x);

#define SITE(name) \
static noinline long name(target_t target, long x) \
{ \
	long answer; \
	/* The linker's optimiser must not see which one it is. */ \
	OPTIMIZER_HIDE_VAR(target); \
	answer = target(x); \
	barrier_data(&answer); \
	return answer + 1; \
}
SITE(starved) SITE(probed) SITE(copied) SITE(far)

static noinline long twice(long x)
{
	return 2 * x;
}

/* The same, for any address: endbr64; lea (%rdi,%rdi), %rax; ret */
static const u8 twice_anywhere[] = { 0xf3, 0x0f, 0x1e, 0xfa, 0x48, 0x8d, 0x04, 0x3f, 0xc3 };

/* Calls until the runtime has refused something of this module. */
static __always_inline int call_until_refused(long (*site)(target_t, long), target_t target)
{
	u64 before = relpoline_test_failures(THIS_MODULE);
	int round;
	long x;

	for (round = 0; round < 6000; round++) {
		for (x = 0; x < 100; x++) {
			if (site(target, x) != 2 * x + 1)
				return -EIO;
		}
		if (relpoline_test_failures(THIS_MODULE) != before)
			return 0;
		msleep(10);
	}
	return -ETIME;
}

static int test_memory(void)
{
	int error;

	relpoline_test_starve(true);
	error = call_until_refused(starved, twice);
	relpoline_test_starve(false);
	return error;
}

/* A row of the table names addresses by their distance from the field. */
static void *named_by(s32 *field)
{
	return field ? (void *)field + *field : NULL;
}

/* The row of the first site in a function. */
static s32 *row_of(void *function)
{
	s32 *row = THIS_MODULE->relpoline_sites;
	unsigned int i;

	for (i = 0; i < THIS_MODULE->num_relpoline_sites; i++) {
		void *compare = named_by(row);

		if (compare >= function && compare - function < 64)
			return row;
		row += RELPOLINE_ROW_SIZE / sizeof(*row);
	}
	return NULL;
}

/* A probe at the compare: its first byte is a trap as long as it is there. */
static int test_bytes(void)
{
	static struct kprobe probe;
	int error;

	probe.addr = named_by(row_of(probed));
	error = register_kprobe(&probe);
	if (error)
		return error;
	error = call_until_refused(probed, twice);
	unregister_kprobe(&probe);
	return error;
}

/* The call that is to lead to the target. Now it leads into the stub, behind where the cold one does. */
static u8 *hot_call_in(void *function)
{
	s32 *row = row_of(function);
	u8 *code = named_by(row), *stub = row ? named_by(row + 2) : NULL, *call;

	for (call = code; call && call < code + 64; call++) {
		u8 *leads_to = call + CALL_INSN_SIZE + *(s32 *)(call + 1);

		if (*call == CALL_INSN_OPCODE && leads_to > stub && leads_to < stub + 64)
			return call;
	}
	return NULL;
}

/* A probe that is not armed: no byte differs, but it would follow its copy of the call if it were. */
static int test_copy(void)
{
	static struct kprobe probe = { .flags = KPROBE_FLAG_DISABLED };
	int error;

	probe.addr = hot_call_in(copied);
	error = register_kprobe(&probe);
	if (error)
		return error;
	error = call_until_refused(copied, twice) ?: enable_kprobe(&probe);
	if (!error && copied(twice, 7) != 15)
		error = -EIO;
	unregister_kprobe(&probe);
	return error;
}

static int test_reach(void)
{
	void *code = relpoline_test_far_code(twice_anywhere, sizeof(twice_anywhere));
	int error;

	if (!code)
		return -ENOMEM;
	error = call_until_refused(far, code);
	vfree(code);
	return error;
}

static int __init relpoline_refused_init(void)
{
	static const struct {
		const char *name;
		int (*run)(void);
	} tests[] = {
		{ "no memory", test_memory },
		{ "changed bytes", test_bytes },
		{ "copied bytes", test_copy },
		{ "out of reach", test_reach },
	};
	int i, error;

	for (i = 0; i < ARRAY_SIZE(tests); i++) {
		error = tests[i].run();
		if (error) {
			pr_info("FAILED: %s: %d\n", tests[i].name, error);
			return error;
		}
	}
	return 0;
}

static void __exit relpoline_refused_exit(void)
{
}

module_init(relpoline_refused_init);
module_exit(relpoline_refused_exit);
MODULE_DESCRIPTION("Sites that the runtime of relpolines refuses");
MODULE_LICENSE("Dual MIT/GPL");
