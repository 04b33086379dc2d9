/* relpoline.h: what a program may say to the relpoline compiler pass and runtime.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The functions are in librelpoline_rt.a, which relpoline-clang links by itself. They act on the whole process:
 * the executable and every shared object that was built with relpolines, by the same version. A program that was built
 * without may include this, too: RELPOLINE_NEVER is nothing then, and the functions do nothing and return -1, or
 * ENOTSUP. The macro __RELPOLINE__, which relpoline-clang and `relpoline flags` define, tells.
 *
 * None of the functions may be called in a signal handler: they walk the dynamic linker's list of objects, and in a
 * handler that interrupts dlopen, dlclose or another walk (exceptions make some) they may crash or wait for ever. Have
 * the handler set a flag, and call them where that is looked at. Calls of converted sites in handlers are no matter. */
#ifndef RELPOLINE_H
#define RELPOLINE_H

#if defined(__RELPOLINE__)

/* In front of a function: its indirect calls stay retpolines. It is not inlined, for its calls would be the
 * caller's then. Lambdas, blocks and OpenMP's regions within it are functions of their own. */
#define RELPOLINE_NEVER __attribute__((noinline, annotate("relpoline_never")))

#else
#define RELPOLINE_NEVER
#endif

/* This object may be the only one of the program that was built without relpolines: the functions are called where
 * there are any. Other targets than x86-64 have no runtime. */
#if !defined(__RELPOLINE__) || !defined(__x86_64__) || defined(__ILP32__)
#define RELPOLINE_IS_WEAK
#define relpoline_set_mode relpoline_set_mode_if_any
#define relpoline_set_site relpoline_set_site_if_any
#define relpoline_set_function relpoline_set_function_if_any
#define relpoline_set_object relpoline_set_object_if_any
#define relpoline_relearn relpoline_relearn_if_any
#define relpoline_write_stats relpoline_write_stats_if_any
#define RELPOLINE_FUNCTION static __inline__ __attribute__((unused))
#else
#define RELPOLINE_FUNCTION
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* What relpoline_set_mode takes. */
#define RELPOLINE_OFF 0    /* every converted call is a retpoline */
#define RELPOLINE_ON 1     /* sites learn, and use what they have learned */
#define RELPOLINE_FREEZE 2 /* sites use what they have learned, and no code is written any more */

/* Sets the mode of the whole process: of the executable and all shared objects that were built with relpolines; in a
 * child that was forked out of one of several threads, of the object alone that calls this.
 * Returns 0, or -1 when it could not be set: there is no such mode, the runtime is busy, or it was started with
 * mode=count. It is busy while a thread patches, which is waited for, but a second at most: that thread may have been
 * stopped, or interrupted by this very call. Threads may call the sites meanwhile. */
RELPOLINE_FUNCTION int relpoline_set_mode(int mode);

/* Turns sites off (0) or on (1): the one at this address, as statistics print it ("address"); those in functions of
 * this name, as the linker knows it; those of the executable or shared object whose file has this name. In names, `*`
 * stands for anything. Return the number of sites that were found, or -1 as above. Sites stay off while the process
 * is off, and relpoline_set_mode(RELPOLINE_ON) turns all of them on. */
RELPOLINE_FUNCTION int relpoline_set_site(const void *address, int on);
RELPOLINE_FUNCTION int relpoline_set_function(const char *name, int on);
RELPOLINE_FUNCTION int relpoline_set_object(const char *name, int on);

/* Has every site forget its targets and learn anew. Returns 0, or -1 when nothing is learned (the process is off, frozen,
 * or counts) or the runtime is busy. */
RELPOLINE_FUNCTION int relpoline_relearn(void);

/* Writes the statistics, as RELPOLINE_OPTIONS=stats=FILE does at exit, to the file of this very name: %p is not replaced.
 * Returns 0, or an errno number. */
RELPOLINE_FUNCTION int relpoline_write_stats(const char *path);

#ifdef RELPOLINE_IS_WEAK
#define RELPOLINE_WEAK(name) __asm__(#name) __attribute__((weak))
extern int relpoline_weak_set_mode(int) RELPOLINE_WEAK(relpoline_set_mode);
extern int relpoline_weak_set_site(const void *, int) RELPOLINE_WEAK(relpoline_set_site);
extern int relpoline_weak_set_function(const char *, int) RELPOLINE_WEAK(relpoline_set_function);
extern int relpoline_weak_set_object(const char *, int) RELPOLINE_WEAK(relpoline_set_object);
extern int relpoline_weak_relearn(void) RELPOLINE_WEAK(relpoline_relearn);
extern int relpoline_weak_write_stats(const char *) RELPOLINE_WEAK(relpoline_write_stats);

RELPOLINE_FUNCTION int relpoline_set_mode(int mode) {
    return relpoline_weak_set_mode ? relpoline_weak_set_mode(mode) : -1;
}
RELPOLINE_FUNCTION int relpoline_set_site(const void *address, int on) {
    return relpoline_weak_set_site ? relpoline_weak_set_site(address, on) : -1;
}
RELPOLINE_FUNCTION int relpoline_set_function(const char *name, int on) {
    return relpoline_weak_set_function ? relpoline_weak_set_function(name, on) : -1;
}
RELPOLINE_FUNCTION int relpoline_set_object(const char *name, int on) {
    return relpoline_weak_set_object ? relpoline_weak_set_object(name, on) : -1;
}
RELPOLINE_FUNCTION int relpoline_relearn(void) {
    return relpoline_weak_relearn ? relpoline_weak_relearn() : -1;
}
RELPOLINE_FUNCTION int relpoline_write_stats(const char *path) {
    return relpoline_weak_write_stats ? relpoline_weak_write_stats(path) : 95 /* ENOTSUP */;
}
#undef RELPOLINE_WEAK
#endif
#undef RELPOLINE_FUNCTION
#undef RELPOLINE_IS_WEAK

#ifdef __cplusplus
}
#endif
#endif
