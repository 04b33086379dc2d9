/* relpoline.h: what a program may say to the relpoline compiler pass and runtime.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The functions are in librelpoline_rt.a, which relpoline-clang links by itself. They act on the executable
 * or shared object that they were linked into.
 */
#ifndef RELPOLINE_H
#define RELPOLINE_H

#ifdef __cplusplus
extern "C" {
#endif

/* In front of a function: its indirect calls stay retpolines. It is not inlined, for its calls would be the
 * caller's then. */
#define RELPOLINE_NEVER __attribute__((noinline, annotate("relpoline_never")))

/* 0: every converted call is a retpoline from now on. 1: sites learn, and use what they have learned again.
 * Returns 0, or -1 when the mode could not be set: the runtime is busy (in a signal handler, say), or was
 * started with mode=count. Threads may call the sites meanwhile. */
int relpoline_set_mode(int on);

/* Writes the statistics, as RELPOLINE_OPTIONS=stats=FILE does at exit. Returns 0, or an errno number. */
int relpoline_write_stats(const char *path);

#ifdef __cplusplus
}
#endif
#endif
