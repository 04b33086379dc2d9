// SPDX-License-Identifier: MIT
/*
 * Self-test: calls with known answers, in threads, timers and interrupts of every CPU, while the sites are learned,
 * patched, learned anew, turned off and on. A wrong answer is a wrong call: the module refuses to load.
 *
 * With stay=1 threads go on to call the function of a guest (guest.c), a module that comes and goes meanwhile.
 */
#define pr_fmt(fmt) "relpoline_test: " fmt

#include <linux/cpu.h>
#include <linux/delay.h>
#include <linux/hrtimer.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/random.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/smp.h>

#include <asm/asm.h>
#include <asm/relpoline.h>

#include "relpoline.h"
#include "test.h"

static int seconds = 4;
module_param(seconds, int, 0444);
MODULE_PARM_DESC(seconds, "how long to test");
static bool stay;
module_param(stay, bool, 0444);
MODULE_PARM_DESC(stay, "keep threads that call the function of a guest");

#define TARGETS 40
#define SITES 9
#define THREADS 4

/* Six arguments in registers and one on the stack. */
typedef long (*target_t)(long a, long b, long c, long d, long e, long f, long g);

#define SUM(n) (a + 3 * b + 5 * c + 7 * d + 11 * e + 13 * f + 17 * g + 1000003L * (n))

#define TARGET(n) \
static noinline long target_##n(long a, long b, long c, long d, long e, long f, long g) \
{ \
	return SUM(n); \
}
#define TEN(m, d) m(d##0) m(d##1) m(d##2) m(d##3) m(d##4) m(d##5) m(d##6) m(d##7) m(d##8) m(d##9)
TEN(TARGET, 1) TEN(TARGET, 2) TEN(TARGET, 3) TEN(TARGET, 4)

#define NAME(n) target_##n,
static const target_t targets[TARGETS] = { TEN(NAME, 1) TEN(NAME, 2) TEN(NAME, 3) TEN(NAME, 4) };

/* Copies that the compiler does not merge; the last one is a tail call. */
#define SITE(n) \
static noinline long site_##n(target_t t, long a, long b, long c, long d, long e, long f, long g) \
{ \
	long sum = t(a, b, c, d, e, f, g); \
	barrier_data(&sum); \
	return sum + n; \
}
SITE(0) SITE(1) SITE(2) SITE(3) SITE(4)

typedef long (*tail_t)(long a, long b, long c);

static noinline long tail_twice(long a, long b, long c)
{
	return 2 * a + 5 * b + 9 * c;
}

static noinline long tail_thrice(long a, long b, long c)
{
	return 3 * a + 7 * b + 2 * c;
}

static noinline long tail_site(tail_t t, long a, long b, long c)
{
	return t(a, b, c);
}

/* The same, by assembly. */
long relpoline_asm_call(tail_t t, long a, long b, long c);
long relpoline_asm_jump(tail_t t, long a, long b, long c);

static noinline long inline_asm_site(tail_t t, long a, long b, long c)
{
	long sum;

	asm volatile(RELPOLINE_ASM_CALL("%[t]")
		     : "=a" (sum), "+D" (a), "+S" (b), "+d" (c), ASM_CALL_CONSTRAINT
		     : [t] "r" (t)
		     : "rcx", "r8", "r9", "r10", "r11", "cc", "memory");
	return sum;
}

static atomic64_t calls;
static atomic64_t wrong;

static long expected(int target, long a, long b, long c, long d, long e, long f, long g)
{
	return SUM(target + 10);
}

static void call_one(int site, int target, long x)
{
	target_t t = targets[target];
	tail_t t3;
	long a = x, b = ~x, c = x << 7, d = x ^ 0x5555, e = -x, f = x * x, g = x + 3;
	long answer;

	switch (site) {
	case 0: answer = site_0(t, a, b, c, d, e, f, g); break;
	case 1: answer = site_1(t, a, b, c, d, e, f, g); break;
	case 2: answer = site_2(t, a, b, c, d, e, f, g); break;
	case 3: answer = site_3(t, a, b, c, d, e, f, g); break;
	case 4: answer = site_4(t, a, b, c, d, e, f, g); break;
	default:
		t3 = x & 1 ? tail_thrice : tail_twice;
		switch (site) {
		case 5: answer = tail_site(t3, a, b, c); break;
		case 6: answer = inline_asm_site(t3, a, b, c); break;
		case 7: answer = relpoline_asm_call(t3, a, b, c); break;
		default: answer = relpoline_asm_jump(t3, a, b, c);
		}
		if (answer != (x & 1 ? 3 * a + 7 * b + 2 * c : 2 * a + 5 * b + 9 * c))
			atomic64_inc(&wrong);
		return;
	}
	if (answer != expected(target, a, b, c, d, e, f, g) + site)
		atomic64_inc(&wrong);
}

/* Each site has its own habits: one target, a few, one after the other, ever other ones. */
static void call_all(unsigned long x)
{
	call_one(0, 0, x);
	call_one(1, x % 3, x);
	call_one(2, x % 16, x);
	call_one(3, (x >> 9) % TARGETS, x);
	call_one(4, get_random_u32() % TARGETS, x);
	call_one(5, 0, x);
	call_one(6, 0, x);
	call_one(7, 0, x);
	call_one(8, 0, x);
	atomic64_add(SITES, &calls);
}

static relpoline_guest_t __rcu *guest;

void relpoline_test_guest(relpoline_guest_t *function)
{
	rcu_assign_pointer(guest, function);
	synchronize_rcu();
}
EXPORT_SYMBOL_GPL(relpoline_test_guest);

static noinline long guest_site(relpoline_guest_t *function, long x)
{
	long sum = function(x);

	barrier_data(&sum);
	return sum;
}

static void call_guest(unsigned long x)
{
	relpoline_guest_t *function;

	rcu_read_lock();
	function = rcu_dereference(guest);
	if (function && guest_site(function, x) != RELPOLINE_GUEST_ANSWER(x))
		atomic64_inc(&wrong);
	rcu_read_unlock();
}

static int caller(void *unused)
{
	unsigned long x = 0;

	while (!kthread_should_stop()) {
		call_all(x++);
		call_guest(x);
		if (x % 64 == 0)
			cond_resched_tasks_rcu_qs();
	}
	return 0;
}

static enum hrtimer_restart tick(struct hrtimer *timer)
{
	static unsigned long x;

	call_all(x++);
	hrtimer_forward_now(timer, ns_to_ktime(300 * NSEC_PER_USEC));
	return HRTIMER_RESTART;
}

static void interrupt(void *unused)
{
	call_all(jiffies);
}

static struct task_struct *threads[THREADS];
static struct hrtimer timer;

static void stop_all(void)
{
	int i;

	hrtimer_cancel(&timer);
	for (i = 0; i < THREADS; i++) {
		if (!IS_ERR_OR_NULL(threads[i]))
			kthread_stop(threads[i]);
	}
}

static int __init relpoline_test_init(void)
{
	int i, rounds = seconds * 10;

	hrtimer_init(&timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL);
	timer.function = tick;
	hrtimer_start(&timer, ns_to_ktime(300 * NSEC_PER_USEC), HRTIMER_MODE_REL);
	for (i = 0; i < THREADS; i++)
		threads[i] = kthread_run(caller, NULL, "relpoline_test/%d", i);
	for (i = 0; i < rounds && !atomic64_read(&wrong); i++) {
		msleep(100);
		on_each_cpu(interrupt, NULL, 1);
		switch (i % 10) {
		case 3:
		case 6:
			relpoline_test_relearn();
			break;
		case 8:
			relpoline_test_set_mode(RELPOLINE_OFF);
			break;
		case 9:
			relpoline_test_set_mode(RELPOLINE_ON);
			break;
		}
	}
	relpoline_test_set_mode(RELPOLINE_ON);
	if (!stay || atomic64_read(&wrong))
		stop_all();
	pr_info("%s: %lld calls, %lld wrong\n", atomic64_read(&wrong) ? "FAILED" : "passed",
		atomic64_read(&calls), atomic64_read(&wrong));
	return atomic64_read(&wrong) ? -EIO : 0;
}

static void __exit relpoline_test_exit(void)
{
	if (stay)
		stop_all();
	pr_info("%s at the end: %lld calls, %lld wrong\n", atomic64_read(&wrong) ? "FAILED" : "passed",
		atomic64_read(&calls), atomic64_read(&wrong));
}

module_init(relpoline_test_init);
module_exit(relpoline_test_exit);
MODULE_DESCRIPTION("Self-test of relpolines");
MODULE_LICENSE("Dual MIT/GPL");
