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

/* The same for the call site at this address, as statistics and `relpoline sites` print it ("address"; in a
 * position-independent file, add where it was loaded). Returns the number of sites there, 0 or 1, or -1 as above.
 * Sites stay off while the process is off, and relpoline_set_mode(1) turns all of them on. */
int relpoline_set_site(const void *address, int on);

/* Has every site forget its targets and learn anew. Returns 0, or -1 when nothing is learned (the process is off, or
 * counts) or the runtime is busy. */
int relpoline_relearn(void);

/* Writes the statistics, as RELPOLINE_OPTIONS=stats=FILE does at exit. Returns 0, or an errno number. */
int relpoline_write_stats(const char *path);

#ifdef __cplusplus
}
#endif
#endif
