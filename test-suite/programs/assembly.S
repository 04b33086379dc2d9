// Calls and jumps of hand-written assembly: (target, a, b, c) to target(a, b, c).
#include "../../runtime/include/relpoline_asm.h"

.macro ARGUMENTS
    mov %rdi, %rax
    mov %rsi, %rdi
    mov %rdx, %rsi
    mov %rcx, %rdx
.endm

.macro FUNCTION name
    .globl \name
    .type \name, @function
\name:
.endm

    .text
    FUNCTION by_call
    sub $8, %rsp
    ARGUMENTS
    RELPOLINE_CALL %rax
    add $8, %rsp
    ret
    .size by_call, . - by_call

    FUNCTION by_jump
    ARGUMENTS
    RELPOLINE_JMP %rax
    .size by_jump, . - by_jump

    // The pointer to the target comes out of memory, by an address of three parts.
    FUNCTION by_memory
    push %rdi
    ARGUMENTS
    xor %ecx, %ecx
    RELPOLINE_CALL (%rsp,%rcx,8)
    pop %rcx
    ret
    .size by_memory, . - by_memory

    .section .note.GNU-stack, "", @progbits
