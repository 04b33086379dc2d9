/* SPDX-License-Identifier: MIT */
/* A call and a tail call of hand-written assembly: long relpoline_asm_call(target, a, b, c), and the same as a jump. */
#include <linux/linkage.h>
#include <asm/frame.h>
#include <asm/relpoline.h>

.macro ARGUMENTS
	mov	%rdi, %rax
	mov	%rsi, %rdi
	mov	%rdx, %rsi
	mov	%rcx, %rdx
.endm

	.text
SYM_FUNC_START(relpoline_asm_call)
	FRAME_BEGIN
	ARGUMENTS
	RELPOLINE_CALL %rax
	FRAME_END
	RET
SYM_FUNC_END(relpoline_asm_call)

SYM_FUNC_START(relpoline_asm_jump)
	ARGUMENTS
	RELPOLINE_JMP %rax
SYM_FUNC_END(relpoline_asm_jump)
