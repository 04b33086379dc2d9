/* SPDX-License-Identifier: MIT */
/* What differs between versions of the kernel. */
#ifndef ARCH_X86_KERNEL_RELPOLINE_COMPAT_H
#define ARCH_X86_KERNEL_RELPOLINE_COMPAT_H

#include <linux/module.h>
#include <linux/moduleloader.h>
#include <linux/set_memory.h>
#include <linux/version.h>

#include "relpoline.h"

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 10, 0)

#include <linux/execmem.h>

static inline void *relpoline_alloc_code(size_t size)
{
	return execmem_alloc(EXECMEM_MODULE_TEXT, size);
}

static inline void relpoline_free_code(void *memory)
{
	execmem_free(memory);
}

#else

static inline void *relpoline_alloc_code(size_t size)
{
	return module_alloc(size);
}

static inline void relpoline_free_code(void *memory)
{
	module_memfree(memory);
}

#endif

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 2, 0)

static inline int relpoline_set_rox(unsigned long start, int pages)
{
	return set_memory_rox(start, pages);
}

#else

static inline int relpoline_set_rox(unsigned long start, int pages)
{
	return set_memory_ro(start, pages) ?: set_memory_x(start, pages);
}

#endif

static inline struct relpoline_place relpoline_module_place(struct module *module)
{
	struct relpoline_place place = {
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 4, 0)
		.text = (unsigned long)module->mem[MOD_TEXT].base,
		.text_end = (unsigned long)module->mem[MOD_TEXT].base + module->mem[MOD_TEXT].size,
		.data = (unsigned long)module->mem[MOD_DATA].base,
		.data_end = (unsigned long)module->mem[MOD_DATA].base + module->mem[MOD_DATA].size,
		.constants = (unsigned long)module->mem[MOD_RODATA].base,
		.constants_end = (unsigned long)module->mem[MOD_RODATA].base + module->mem[MOD_RODATA].size,
#else
		.text = (unsigned long)module->core_layout.base,
		.text_end = (unsigned long)module->core_layout.base + module->core_layout.text_size,
		.data = (unsigned long)module->core_layout.base,
		.data_end = (unsigned long)module->core_layout.base + module->core_layout.size,
		.constants = (unsigned long)module->core_layout.base,
		.constants_end = (unsigned long)module->core_layout.base + module->core_layout.size,
#endif
		.table = module->relpoline_sites,
		.rows = module->num_relpoline_sites,
	};

	return place;
}

#endif
