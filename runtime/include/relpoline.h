/* relpoline.h: what a program may say to the relpoline compiler pass and runtime.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The functions are in librelpoline_rt.a, which relpoline-clang links by itself. They act on the whole process:
 * the executable and every shared object that was built with relpolines, by the same version.
 */
#ifndef RELPOLINE_H
#define RELPOLINE_H

#ifdef __cplusplus
extern "C" {
#endif

/* In front of a function: its indirect calls stay retpolines. It is not inlined, for its calls would be the
 * caller's then. */
#define RELPOLINE_NEVER __attribute__((noinline, annotate("relpoline_never")))

/* What relpoline_set_mode takes. */
#define RELPOLINE_OFF 0    /* every converted call is a retpoline */
#define RELPOLINE_ON 1     /* sites learn, and use what they have learned */
#define RELPOLINE_FREEZE 2 /* sites use what they have learned, and no code is written any more */

/* Sets the mode of the whole process: of the executable and all shared objects that were built with relpolines.
 * Returns 0, or -1 when it could not be set: the runtime is busy (in a signal handler, say), or was started with
 * mode=count. Threads may call the sites meanwhile. */
int relpoline_set_mode(int mode);

/* Turns sites off (0) or on (1): the one at this address, as statistics print it ("address"); those in functions of
 * this name, as the linker knows it; those of the executable or shared object whose file has this name. In names, `*`
 * stands for anything. Return the number of sites that were found, or -1 as above. Sites stay off while the process
 * is off, and relpoline_set_mode(RELPOLINE_ON) turns all of them on. */
int relpoline_set_site(const void *address, int on);
int relpoline_set_function(const char *name, int on);
int relpoline_set_object(const char *name, int on);

/* Has every site forget its targets and learn anew. Returns 0, or -1 when nothing is learned (the process is off, or
 * counts) or the runtime is busy. */
int relpoline_relearn(void);

/* Writes the statistics, as RELPOLINE_OPTIONS=stats=FILE does at exit. Returns 0, or an errno number. */
int relpoline_write_stats(const char *path);

#ifdef __cplusplus
}
#endif
#endif
