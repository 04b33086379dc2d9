/* relpoline_asm.h: relpolines in hand-written assembly, for .S files and for inline assembly.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * In a .S file:
 *
 *     RELPOLINE_CALL %rax                  in place of: call *%rax
 *     RELPOLINE_JMP %rax                   in place of: jmp *%rax
 *
 * In inline assembly with operands:
 *
 *     asm volatile(RELPOLINE_ASM_CALL("%[target]")
 *                  : ... : [target] "r"(target) : "r10", "r11", "cc", ...);
 *
 * once in each statement: its labels are the statement's.
 *
 * The target is whatever `mov` takes into r10. On the way to it r10, r11 and the flags change, and nothing else does;
 * what the target itself changes is for the caller to say, and to keep out of the red zone (-mno-red-zone, or
 * `sub $128, %rsp` around the call, which unwinders do not see). Without relpoline-clang these are what the compiler's
 * own calls are: in the kernel its retpolines where it wants some, else plain indirect branches.
 *
 * It needs C99 or C++11: with -std=c89 -pedantic compilers warn of its variadic macros and long strings.
 */
#ifndef RELPOLINE_ASM_H
#define RELPOLINE_ASM_H

#if !defined(__x86_64__) || defined(__ILP32__)
#error "relpoline_asm.h is for x86-64 alone: it passes the target in r10"
#endif

#if defined(__KERNEL__) ? defined(CONFIG_RELPOLINE) : defined(__RELPOLINE__)

/* A site of the stub form, as runtime/layout describes it: stub, cell, and a row of the table. One description for .S
 * files and for strings: L is given each line, R and N the names of registers and of what needs a name of its own. */
#define RELPOLINE_SITE_(L, R, N)                                       \
    RELPOLINE_STUB_(L, N)                                              \
    L(.type N(relpoline_site_),@function)                              \
    L(N(relpoline_site_): cmpq N(.Lrelpoline_cell_)(R(rip)), R(r10))   \
    L(.byte 0x75, 5, 0xe9, 0, 0, 0, 0)                                 \
    L(N(.Lrelpoline_cold_): leaq N(.Lrelpoline_cell_)(R(rip)), R(r11)) \
    L(.byte 0x41, 0xf6, 0x43, 8, 2, 0x0f, 0x84)                        \
    L(.long __relpoline_slow - . - 4)                                  \
    L(.byte 0xe9)                                                      \
    L(.long __relpoline_slow - . - 4)                                  \
    L(N(.Lrelpoline_end_):)                                            \
    L(.size N(relpoline_site_), . - N(relpoline_site_))                \
    L(.popsection)                                                     \
    RELPOLINE_UNWIND_(L, N)                                            \
    RELPOLINE_CELL_(L)                                                 \
    L(.p2align 4)                                                      \
    L(N(.Lrelpoline_cell_): .quad 0x8c375de1a94b26f1, 0)               \
    L(.popsection)                                                     \
    RELPOLINE_ROW_(L, N)                                               \
    L(.p2align 2)                                                      \
    L(.long N(relpoline_site_) - .)                                    \
    L(.long N(.Lrelpoline_cell_) - .)                                  \
    L(.long N(.Lrelpoline_cold_) - .)                                  \
    L(.long 0, 0x31000000)                                             \
    L(.popsection)

#ifdef __KERNEL__
#define RELPOLINE_STUB_(L, N) L(.pushsection .text.unlikely,"ax?",@progbits)
#define RELPOLINE_CELL_(L) L(.pushsection .data..read_mostly,"aw?",@progbits)
#define RELPOLINE_ROW_(L, N) L(.pushsection relpoline_sites,"a?",@progbits)
#define RELPOLINE_UNWIND_(L, N)
#else
/* A section for each stub: linkers drop what belongs to a branch with it. */
#define RELPOLINE_STUB_(L, N) \
    L(.hidden __relpoline_slow) L(.pushsection N(.text.unlikely.relpoline.site_),"ax?",@progbits)
#define RELPOLINE_CELL_(L) L(.pushsection .data.relpoline,"aw?",@progbits)
#define RELPOLINE_ROW_(L, N) L(.pushsection relpoline_sites,"ao?",@progbits,N(relpoline_site_))
/* In the stub only the return address is on the stack: a CIE (augmentation zR; CFA is rsp + 8, the return address at
 * CFA - 8) and an FDE without instructions of its own. Directives would end the function that they stand in. */
#define RELPOLINE_UNWIND_(L, N)                                                             \
    L(.pushsection .eh_frame,"a",@unwind)                                                   \
    L(.long 20, 0)                                                                          \
    L(.byte 1, 0x7a, 0x52, 0, 1, 0x78, 16, 1, 0x1b, 0x0c, 7, 8, 0x90, 1, 0, 0)              \
    L(.long 20, 28)                                                                         \
    L(.long N(relpoline_site_) - .)                                                         \
    L(.long N(.Lrelpoline_end_) - N(relpoline_site_), 0, 0)                                 \
    L(.popsection)
#endif

#ifdef __ASSEMBLER__
#define RELPOLINE_LINE_(...) __VA_ARGS__ ;
#define RELPOLINE_REGISTER_(name) %name
#define RELPOLINE_NAME_(name) name\@
/* clang-format off */
.macro RELPOLINE_CALL target:vararg
    mov \target, %r10
    RELPOLINE_SITE_(RELPOLINE_LINE_, RELPOLINE_REGISTER_, RELPOLINE_NAME_)
    call RELPOLINE_NAME_(relpoline_site_)
.endm
.macro RELPOLINE_JMP target:vararg
    mov \target, %r10
    RELPOLINE_SITE_(RELPOLINE_LINE_, RELPOLINE_REGISTER_, RELPOLINE_NAME_)
    jmp RELPOLINE_NAME_(relpoline_site_)
.endm
/* clang-format on */
#else
#define RELPOLINE_LINE_(...) RELPOLINE_STRING_(__VA_ARGS__)
#define RELPOLINE_STRING_(...) #__VA_ARGS__ "\n"
#define RELPOLINE_REGISTER_(name) %%name
#define RELPOLINE_NAME_(name) name##inline_%=
#define RELPOLINE_ASM_CALL(target)                                         \
    "mov " target ", %%r10\n"                                              \
    RELPOLINE_SITE_(RELPOLINE_LINE_, RELPOLINE_REGISTER_, RELPOLINE_NAME_) \
    "call relpoline_site_inline_%=\n"
#endif

#elif defined(__ASSEMBLER__)
#ifdef __KERNEL__
#include <asm/nospec-branch.h>
#endif
.macro RELPOLINE_CALL target:vararg
    mov \target, %r10
#ifdef __KERNEL__
    CALL_NOSPEC r10
#else
    call *%r10
#endif
.endm
.macro RELPOLINE_JMP target:vararg
    mov \target, %r10
#ifdef __KERNEL__
    JMP_NOSPEC r10
#else
    jmp *%r10
#endif
.endm

#elif defined(CONFIG_MITIGATION_RETPOLINE) || defined(CONFIG_RETPOLINE)
#define RELPOLINE_ASM_CALL(target) "mov " target ", %%r10\n call __x86_indirect_thunk_r10\n"
#else
#define RELPOLINE_ASM_CALL(target) "mov " target ", %%r10\n call *%%r10\n"
#endif

#endif
