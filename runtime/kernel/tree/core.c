// SPDX-License-Identifier: MIT
/*
 * Relpolines: what only C code of the kernel can do for the runtime. Which sites are patched, when and how is
 * decided in Rust; the protocol, and why no thread can make a wrong call, is at the top of runtime/src/patch.rs.
 *
 * Locks: cpus_read_lock, then relpoline_mutex, then text_mutex.
 */
#define pr_fmt(fmt) "relpoline: " fmt

#include <linux/cpu.h>
#include <linux/debugfs.h>
#include <linux/init.h>
#include <linux/kallsyms.h>
#include <linux/kprobes.h>
#include <linux/list.h>
#include <linux/memory.h>
#include <linux/module.h>
#include <linux/moduleloader.h>
#include <linux/mutex.h>
#include <linux/perf_event.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/seq_file.h>
#include <linux/set_memory.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>
#include <linux/workqueue.h>
#include <asm/sections.h>
#include <asm/text-patching.h>

#include "compat.h"
#include "relpoline.h"

/* The slow path of modules is the kernel's. */
EXPORT_SYMBOL(__relpoline_slow);

/* Serialises everything but the slow path. */
static DEFINE_MUTEX(relpoline_mutex);

static enum relpoline_mode relpoline_mode = RELPOLINE_ON;
static const char *const relpoline_names[] = { "on", "off", "count" };
static bool relpoline_tally;

static void relpoline_lock(void)
{
	/* A CPU that comes up meanwhile would miss relpoline_sys_sync. */
	cpus_read_lock();
	mutex_lock(&relpoline_mutex);
}

static void relpoline_unlock(void)
{
	mutex_unlock(&relpoline_mutex);
	cpus_read_unlock();
}

/* Memory */

/* To whom the runtime's memory belongs: vmlinux, or a module. */
struct relpoline_owner {
	struct list_head blocks;
	struct relpoline_image *image;
	struct rcu_head rcu;
	struct work_struct work;
};

struct relpoline_block {
	struct list_head list;
	void *memory;
	bool code;
};

static struct relpoline_owner relpoline_vmlinux = {
	.blocks = LIST_HEAD_INIT(relpoline_vmlinux.blocks),
};

#if IS_ENABLED(CONFIG_RELPOLINE_TEST)
/* The self-test wants to see what happens without memory. */
static bool relpoline_starve;
#else
#define relpoline_starve false
#endif

static void *relpoline_book(struct relpoline_owner *owner, void *memory, bool code)
{
	struct relpoline_block *block = memory ? kmalloc(sizeof(*block), GFP_KERNEL) : NULL;

	if (!block || relpoline_starve) {
		kfree(block);
		if (code)
			relpoline_free_code(memory);
		else
			vfree(memory);
		return NULL;
	}
	block->memory = memory;
	block->code = code;
	list_add(&block->list, &owner->blocks);
	return memory;
}

static void relpoline_drop(struct relpoline_block *block)
{
	list_del(&block->list);
	if (block->code)
		relpoline_free_code(block->memory);
	else
		vfree(block->memory);
	kfree(block);
}

void *relpoline_sys_alloc(void *owner, size_t length)
{
	return relpoline_book(owner, vzalloc(length), false);
}

void relpoline_sys_free(void *_owner, void *start)
{
	struct relpoline_owner *owner = _owner;
	struct relpoline_block *block;

	list_for_each_entry(block, &owner->blocks, list) {
		if (block->memory == start) {
			relpoline_drop(block);
			return;
		}
	}
}

void *relpoline_sys_alloc_code(void *owner, size_t code, size_t data)
{
	void *memory;

	if (WARN_ON_ONCE(!PAGE_ALIGNED(code)))
		return NULL;
	memory = relpoline_alloc_code(PAGE_ALIGN(code + data));
	if (memory) {
		memset(memory, INT3_INSN_OPCODE, code);
		memset(memory + code, 0, data);
		if (relpoline_set_rox((unsigned long)memory, code >> PAGE_SHIFT)) {
			relpoline_free_code(memory);
			memory = NULL;
		}
	}
	return relpoline_book(owner, memory, true);
}

static void relpoline_free_work(struct work_struct *work)
{
	struct relpoline_owner *owner = container_of(work, struct relpoline_owner, work);
	struct relpoline_block *block, *next;

	list_for_each_entry_safe(block, next, &owner->blocks, list)
		relpoline_drop(block);
	kfree(owner);
}

static void relpoline_free_rcu(struct rcu_head *rcu)
{
	struct relpoline_owner *owner = container_of(rcu, struct relpoline_owner, rcu);

	INIT_WORK(&owner->work, relpoline_free_work);
	schedule_work(&owner->work);
}

/* Code */

/*
 * A kprobe copies the branch that it is registered on, and follows the copy when its trap is met, be it armed long
 * after that. The trap stands on the opcode, in front of the displacement that is written; where a branch has two bytes
 * of it, in a chain, the code is none of the kernel's text, and no probe goes there. relpoline-refused.ko tries.
 */
static bool relpoline_is_probed(unsigned long address, size_t length)
{
	unsigned long place;
	bool probed = false;

	preempt_disable();
	for (place = address - 1; place < address + length && !probed; place++)
		probed = get_kprobe((void *)place);
	preempt_enable();
	return probed;
}

bool relpoline_sys_poke(unsigned long address, const u8 *bytes, size_t length)
{
	size_t at, part;
	u8 old[64];
	bool probed;

	/* What a kprobe copies under this lock is what is there before or after. */
	mutex_lock(&text_mutex);
	probed = relpoline_is_probed(address, length);
	if (!probed) {
		for (at = 0; at < length; at += part) {
			part = min(length - at, sizeof(old));
			memcpy(old, (void *)address + at, part);
			text_poke((void *)address + at, bytes + at, part);
			/* For traces of what processors ran. */
			perf_event_text_poke((void *)address + at, old, part, bytes + at, part);
		}
	}
	mutex_unlock(&text_mutex);
	return !probed;
}

void relpoline_sys_sync(void)
{
	text_poke_sync();
}

void relpoline_sys_breathe(void)
{
	cond_resched();
}

/* From the first to the last byte that a direct branch of the kernel or of a module can reach, chains included. */
#define RELPOLINE_REACH (SZ_2G - SZ_256M)

/*
 * Initialisation code goes, and other code may come to its place without a word; so may that of BPF programs and
 * trampolines. A module that is going has had its branches closed already, or is about to.
 */
bool relpoline_sys_is_lasting(unsigned long target)
{
	struct module *module;
	bool lasting;

	if (__is_kernel_text(target))
		return true;
	if (abs((long)(target - (unsigned long)_text)) >= RELPOLINE_REACH)
		return false;
	preempt_disable();
	module = __module_text_address(target);
	lasting = module && module->state != MODULE_STATE_GOING && within_module_core(target, module);
	preempt_enable();
	return lasting;
}

/* Reports */

void relpoline_sys_write(struct seq_file *file, const u8 *bytes, size_t length)
{
	seq_write(file, bytes, length);
}

void relpoline_sys_warn(unsigned long site, const u8 *why, size_t length)
{
	pr_warn("%pS stays a retpoline: %.*s; said once\n", (void *)site, (int)length, why);
}

bool relpoline_sys_symbol(unsigned long address, char *name)
{
	/* SYMBOL_LENGTH in sys.rs */
	BUILD_BUG_ON(KSYM_SYMBOL_LEN > 1024);
	sprint_symbol_no_offset(name, address);
	/* The module's name stands behind that of the function. */
	name[strcspn(name, " ")] = 0;
	/* Empty without CONFIG_KALLSYMS. */
	return *name && strncmp(name, "0x", 2) != 0;
}

const char *relpoline_sys_object(unsigned long text)
{
	const char *name = "vmlinux";
	struct module *module;

	preempt_disable();
	module = __module_address(text);
	if (module)
		name = module->name;
	preempt_enable();
	return name;
}

/* The worker */

#define RELPOLINE_BUSY (HZ / 50)
#define RELPOLINE_IDLE HZ

static void relpoline_work(struct work_struct *work);
/* Not deferrable: while the CPU that it waits on sleeps, others call. */
static DECLARE_DELAYED_WORK(relpoline_worker, relpoline_work);

static void relpoline_work(struct work_struct *work)
{
	static unsigned long delay = RELPOLINE_BUSY;
	size_t attended;

	relpoline_lock();
	attended = relpoline_poll();
	relpoline_unlock();
	delay = attended ? RELPOLINE_BUSY : min(delay * 2, (unsigned long)RELPOLINE_IDLE);
	if (READ_ONCE(relpoline_mode) != RELPOLINE_OFF)
		queue_delayed_work(system_unbound_wq, &relpoline_worker, delay);
}

static void relpoline_switch(enum relpoline_mode mode)
{
	relpoline_lock();
	if (relpoline_mode != RELPOLINE_COUNT) {
		WRITE_ONCE(relpoline_mode, mode);
		relpoline_set_mode(mode);
	}
	relpoline_unlock();
	if (mode != RELPOLINE_OFF)
		queue_delayed_work(system_unbound_wq, &relpoline_worker, RELPOLINE_BUSY);
}

/* Modules */

/*
 * Branches into a module that has gone can lead elsewhere when everybody has left them: a task that was preempted
 * between compare and branch has been scheduled again (RCU tasks), and so has whatever ran on each CPU, the idle
 * tasks included (rude). ftrace frees its trampolines by the same argument.
 *
 * A kprobe that is being registered may have copied a branch before it was led back, and be known to get_kprobe only
 * later: disable_kprobe waits for it, whatever it is asked to disable. Branches that are probed then are given up.
 */
static void relpoline_recycle_work(struct work_struct *work)
{
	struct kprobe none = {};
	u64 closed;

	relpoline_lock();
	closed = relpoline_closings();
	relpoline_unlock();
	synchronize_rcu_tasks_rude();
	synchronize_rcu_tasks();
	relpoline_lock();
	relpoline_recycle(closed, false);
	relpoline_unlock();
	/* Not under relpoline_lock: whoever registers a kprobe takes its lock before that of CPU hot-plug. */
	disable_kprobe(&none);
	relpoline_lock();
	relpoline_recycle(closed, true);
	relpoline_unlock();
}
static DECLARE_WORK(relpoline_recycler, relpoline_recycle_work);

static void relpoline_module_comes(struct module *module)
{
	struct relpoline_owner *owner;
	struct relpoline_place place = relpoline_module_place(module);

	if (!place.rows)
		return;
	owner = kzalloc(sizeof(*owner), GFP_KERNEL);
	if (!owner)
		goto no_memory;
	INIT_LIST_HEAD(&owner->blocks);
	place.owner = owner;
	relpoline_lock();
	owner->image = relpoline_open(&place, relpoline_mode);
	relpoline_unlock();
	if (!owner->image)
		goto no_memory;
	module->relpoline_owner = owner;
	return;

no_memory:
	pr_warn_once("no memory: all calls of %s stay retpolines\n", module->name);
	kfree(owner);
}

static void relpoline_module_goes(struct module *module)
{
	struct relpoline_owner *owner = module->relpoline_owner;
	struct relpoline_place place = relpoline_module_place(module);

	relpoline_lock();
	if (relpoline_code_goes(place.text, place.text_end))
		queue_work(system_unbound_wq, &relpoline_recycler);
	if (owner)
		relpoline_close(owner->image);
	relpoline_unlock();
	module->relpoline_owner = NULL;
	/*
	 * A task may have been preempted in the slow path, or in a chain, of one of the module's sites. Nobody comes
	 * there any more: relpoline_close has sent them all to the retpoline. The module's code still runs, for reads
	 * of its parameters, asynchronous work that delete_module waits for, and param_ops.free.
	 */
	if (owner)
		call_rcu_tasks(&owner->rcu, relpoline_free_rcu);
}

static int relpoline_module_notify(struct notifier_block *block, unsigned long state, void *data)
{
	switch (state) {
	case MODULE_STATE_COMING:
		relpoline_module_comes(data);
		break;
	case MODULE_STATE_GOING:
		relpoline_module_goes(data);
		break;
	}
	return NOTIFY_OK;
}

static struct notifier_block relpoline_module_block = {
	.notifier_call = relpoline_module_notify,
};

/* Start */

static int __init relpoline_parse(char *text)
{
	char *word;

	while ((word = strsep(&text, ","))) {
		if (!strcmp(word, "on"))
			relpoline_mode = RELPOLINE_ON;
		else if (!strcmp(word, "off"))
			relpoline_mode = RELPOLINE_OFF;
		else if (!strcmp(word, "count"))
			relpoline_mode = RELPOLINE_COUNT;
		else if (!strcmp(word, "tally"))
			relpoline_tally = true;
		else
			pr_warn("relpoline=%s: expected on, off, count or tally\n", word);
	}
	return 0;
}
early_param("relpoline", relpoline_parse);

extern const u8 __start_relpoline_sites[], __stop_relpoline_sites[];

static int __init relpoline_init(void)
{
	struct relpoline_place place = {
		.owner = &relpoline_vmlinux,
		.text = (unsigned long)_stext,
		.text_end = (unsigned long)_etext,
		.data = (unsigned long)_text,
		.data_end = (unsigned long)_end,
		.constants = (unsigned long)_text,
		.constants_end = (unsigned long)_end,
		.table = __start_relpoline_sites,
		.rows = (__stop_relpoline_sites - __start_relpoline_sites) / RELPOLINE_ROW_SIZE,
	};

	relpoline_lock();
	relpoline_start(relpoline_mode != RELPOLINE_OFF, relpoline_tally);
	relpoline_vmlinux.image = relpoline_open(&place, relpoline_mode);
	relpoline_unlock();
	if (!relpoline_vmlinux.image) {
		pr_warn("no memory: all calls stay retpolines\n");
		return -ENOMEM;
	}
	register_module_notifier(&relpoline_module_block);
	pr_info("%zu sites, mode %s\n", place.rows, relpoline_names[relpoline_mode]);
	if (relpoline_mode != RELPOLINE_OFF)
		queue_delayed_work(system_unbound_wq, &relpoline_worker, RELPOLINE_BUSY);
	return 0;
}
core_initcall(relpoline_init);

/* debugfs */

static int relpoline_show(struct seq_file *file, void *unused)
{
	void (*report)(struct seq_file *) = file->private;

	relpoline_lock();
	report(file);
	relpoline_unlock();
	return 0;
}

static int relpoline_open_report(struct inode *inode, struct file *file)
{
	return single_open_size(file, relpoline_show, inode->i_private, 64 * PAGE_SIZE);
}

static const struct file_operations relpoline_report_operations = {
	.open = relpoline_open_report,
	.read = seq_read,
	.llseek = seq_lseek,
	.release = single_release,
};

static void relpoline_show_mode(struct seq_file *file)
{
	seq_printf(file, "%s\n", relpoline_names[relpoline_mode]);
}

/* The site at an address, or all of the functions of a name, in which * stands for anything. */
static int relpoline_switch_some(char *what, bool on)
{
	unsigned long address;
	int error = -EBUSY;
	size_t sites;

	relpoline_lock();
	/* While all are off, none is turned on or off alone. */
	if (relpoline_mode == RELPOLINE_ON) {
		if (kstrtoul(what, 0, &address))
			sites = relpoline_set_function(what, on);
		else
			sites = relpoline_set_site(address, on);
		error = sites ? 0 : -ENOENT;
	}
	relpoline_unlock();
	return error;
}

static char *relpoline_words(const char __user *user, size_t length)
{
	char *text = length < PAGE_SIZE ? memdup_user_nul(user, length) : ERR_PTR(-EINVAL);

	return text;
}

/* on|off [FUNCTION|ADDRESS] */
static ssize_t relpoline_write_mode(struct file *file, const char __user *user, size_t length, loff_t *at)
{
	char *text = relpoline_words(user, length);
	char *what, *word;
	int error = 0;

	if (IS_ERR(text))
		return PTR_ERR(text);
	what = strim(text);
	word = strsep(&what, " ");
	if (strcmp(word, "on") && strcmp(word, "off"))
		error = -EINVAL;
	else if (relpoline_mode == RELPOLINE_COUNT)
		error = -EBUSY;
	else if (what)
		error = relpoline_switch_some(strim(what), !strcmp(word, "on"));
	else
		relpoline_switch(strcmp(word, "on") ? RELPOLINE_OFF : RELPOLINE_ON);
	kfree(text);
	return error ?: length;
}

static const struct file_operations relpoline_mode_operations = {
	.open = relpoline_open_report,
	.read = seq_read,
	.write = relpoline_write_mode,
	.llseek = seq_lseek,
	.release = single_release,
};

static ssize_t relpoline_write_relearn(struct file *file, const char __user *user, size_t length, loff_t *at)
{
	if (READ_ONCE(relpoline_mode) != RELPOLINE_ON)
		return -EBUSY;
	relpoline_lock();
	relpoline_relearn();
	relpoline_unlock();
	return length;
}

static const struct file_operations relpoline_relearn_operations = {
	.open = simple_open,
	.write = relpoline_write_relearn,
	.llseek = noop_llseek,
};

static int __init relpoline_debugfs(void)
{
	struct dentry *folder = debugfs_create_dir("relpoline", NULL);

	debugfs_create_file("mode", 0600, folder, relpoline_show_mode, &relpoline_mode_operations);
	debugfs_create_file("relearn", 0200, folder, NULL, &relpoline_relearn_operations);
	debugfs_create_file("stats", 0400, folder, relpoline_report, &relpoline_report_operations);
	debugfs_create_file("sites", 0400, folder, relpoline_list_sites, &relpoline_report_operations);
	debugfs_create_file("slow_calls", 0400, folder, relpoline_report_slow_calls,
			    &relpoline_report_operations);
	return 0;
}
late_initcall(relpoline_debugfs);

#if IS_ENABLED(CONFIG_RELPOLINE_TEST)

void relpoline_test_relearn(void)
{
	relpoline_lock();
	relpoline_relearn();
	relpoline_unlock();
}
EXPORT_SYMBOL_GPL(relpoline_test_relearn);

void relpoline_test_set_mode(u32 mode)
{
	relpoline_switch(mode);
}
EXPORT_SYMBOL_GPL(relpoline_test_set_mode);

/* From now on, or no longer, the runtime gets no memory. */
void relpoline_test_starve(bool on)
{
	relpoline_lock();
	relpoline_starve = on;
	relpoline_unlock();
}
EXPORT_SYMBOL_GPL(relpoline_test_starve);

u64 relpoline_test_failures(struct module *module)
{
	u64 failures;

	relpoline_lock();
	failures = relpoline_failures(module->relpoline_owner->image);
	relpoline_unlock();
	return failures;
}
EXPORT_SYMBOL_GPL(relpoline_test_failures);

/* A copy of some code, so far away that no direct branch reaches it. To be freed by vfree. */
void *relpoline_test_far_code(const u8 *bytes, size_t length)
{
	void *memory = __vmalloc_node_range(PAGE_SIZE, PAGE_SIZE, VMALLOC_START, VMALLOC_END, GFP_KERNEL, PAGE_KERNEL,
					    VM_FLUSH_RESET_PERMS, NUMA_NO_NODE, __builtin_return_address(0));

	if (memory) {
		memset(memory, INT3_INSN_OPCODE, PAGE_SIZE);
		memcpy(memory, bytes, length);
		relpoline_set_rox((unsigned long)memory, 1);
	}
	return memory;
}
EXPORT_SYMBOL_GPL(relpoline_test_far_code);

#endif
