/* SPDX-License-Identifier: MIT */
/*
 * Between the C side (core.c) and the runtime, which is Rust (relpoline_kernel.o; runtime/src/port/kernel of the
 * project). relpoline_*: called by C, under relpoline_mutex and with CPU hot-plug held off. relpoline_sys_*: called
 * by Rust.
 */
#ifndef ARCH_X86_KERNEL_RELPOLINE_H
#define ARCH_X86_KERNEL_RELPOLINE_H

#include <linux/types.h>

struct module;
struct relpoline_image;
struct seq_file;

/* Numbers of modes. */
enum relpoline_mode {
	RELPOLINE_ON,
	RELPOLINE_OFF,
	RELPOLINE_COUNT,
};

/* Where an image lies. */
struct relpoline_place {
	void *owner;
	unsigned long text, text_end;
	unsigned long data, data_end;
	unsigned long constants, constants_end;
	const void *table;
	size_t rows;
};

/* A row of the table relpoline_sites: five fields of 32 bits. */
#define RELPOLINE_ROW_SIZE 20

struct relpoline_image *relpoline_open(const struct relpoline_place *place, u32 mode);
void relpoline_close(struct relpoline_image *image);
void relpoline_start(bool ready, bool tallying);
size_t relpoline_poll(void);
void relpoline_set_mode(u32 mode);
size_t relpoline_set_site(unsigned long address, bool on);
size_t relpoline_set_function(const char *name, bool on);
void relpoline_relearn(void);
size_t relpoline_code_goes(unsigned long start, unsigned long end);
u64 relpoline_closings(void);
void relpoline_recycle(u64 closed, bool in_the_end);
u64 relpoline_failures(const struct relpoline_image *image);
void relpoline_report(struct seq_file *file);
void relpoline_report_slow_calls(struct seq_file *file);
void relpoline_list_sites(struct seq_file *file);

void *relpoline_sys_alloc(void *owner, size_t length);
void relpoline_sys_free(void *owner, void *start);
void *relpoline_sys_alloc_code(void *owner, size_t code, size_t data);
bool relpoline_sys_poke(unsigned long address, const u8 *bytes, size_t length);
void relpoline_sys_sync(void);
void relpoline_sys_breathe(void);
bool relpoline_sys_is_lasting(unsigned long target);
void relpoline_sys_write(struct seq_file *file, const u8 *bytes, size_t length);
void relpoline_sys_warn(unsigned long site, const u8 *why, size_t length);
bool relpoline_sys_symbol(unsigned long address, char *name);
const char *relpoline_sys_object(unsigned long text);

/* The slow path. It has no prototype of its own: target in r10, cell in r11. */
void __relpoline_slow(void);

/* For the self-test. */
void relpoline_test_relearn(void);
void relpoline_test_set_mode(u32 mode);
void relpoline_test_starve(bool on);
u64 relpoline_test_failures(struct module *module);
void *relpoline_test_far_code(const u8 *bytes, size_t length);

#endif
