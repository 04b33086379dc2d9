//! The slow path: what every call runs that is not a promoted one.
//!
//! It stands between a caller and a callee that know nothing of it, so every register that can carry an
//! argument is preserved: `al`, the integer arguments and, before anything compiled runs, the vector state.
//! It is async-signal-safe: it counts with plain instructions, claims a way for a target that is new with a locked
//! one, and takes no lock.

use crate::layout::record::{ALIGN, COUNTS, REST, WAYS};
use crate::layout::{CELL_GATE, Cell, GATE_QUIET};
use crate::record::Record;
use core::arch::global_asm;

/// Components of the vector state: SSE, AVX, and AVX-512's three. The x87 state is not touched by the
/// runtime.
pub const VECTOR_STATE: u32 = 0xe6;

global_asm!(
    r#"
    # Jumps to r10. Whatever the processor predicts runs into the loop.
    .macro RETPOLINE_R10
    call 21f
    .cfi_adjust_cfa_offset 8
20: pause
    lfence
    jmp 20b
    .p2align 4
21: mov %r10, (%rsp)
    ret
    .endm

    .section .text.relpoline,"ax",@progbits
    .p2align 6
    .globl __relpoline_slow
    .hidden __relpoline_slow
    .type __relpoline_slow,@function
    # r10: target, r11: cell; the return address of the call is on top of the stack
__relpoline_slow:
    .cfi_startproc
    testb ${quiet}, {gate}(%r11)
    jz __relpoline_count
    # Nothing is counted but the length of the rest. Sites that rest or are off may be called for ever: their way has no
    # taken branch.
    mov {gate}(%r11), %r11
    and $-{align}, %r11
    jz __relpoline_retpoline_r10
    subl $1, {rest}(%r11)
    js 7f
    .cfi_endproc
    .size __relpoline_slow, . - __relpoline_slow

    # falls through
    .globl __relpoline_retpoline_r10
    .hidden __relpoline_retpoline_r10
    .type __relpoline_retpoline_r10,@function
__relpoline_retpoline_r10:
    .cfi_startproc
    RETPOLINE_R10
    .cfi_endproc
    .size __relpoline_retpoline_r10, . - __relpoline_retpoline_r10

    .p2align 6
    .globl __relpoline_count
    .hidden __relpoline_count
    .type __relpoline_count,@function
__relpoline_count:
    .cfi_startproc
    push %rax
    .cfi_adjust_cfa_offset 8
    mov {gate}(%r11), %rax
    and $-{align}, %rax
    jz 5f
    # rax: record
    xor %r11d, %r11d
1:  cmp %r10, (%rax,%r11,8)
    jne 3f
2:  addl $1, {counts}(%rax,%r11,4)
    jns 6f
    pop %rax
    .cfi_adjust_cfa_offset -8
    RETPOLINE_R10
    .cfi_def_cfa_offset 16
3:  cmpq $0, (%rax,%r11,8)
    je 4f
    inc %r11d
    cmp ${ways}, %r11d
    jne 1b
    # no way is free: the count behind the last way's is for all others
    jmp 2b
4:  # by one thread alone: who comes too late looks again at what the way holds now
    push %rax
    .cfi_adjust_cfa_offset 8
    lea (%rax,%r11,8), %r11
    xor %eax, %eax
    lock cmpxchg %r10, (%r11)
    pop %rax
    .cfi_adjust_cfa_offset -8
    xor %r11d, %r11d
    jmp 1b
5:  # the site's first call
    cmpb $0, __relpoline_ready(%rip)
    je 16f
    push %r10
    .cfi_adjust_cfa_offset 8
    push %rdi
    .cfi_adjust_cfa_offset 8
    mov %r11, %rdi
    xor %eax, %eax
    jmp 8f
7:  # a rest is over
    # not .cfi_restore_state, after which LLVM's assembler counts on from where it was
    .cfi_def_cfa_offset 8
    push %rax
    .cfi_adjust_cfa_offset 8
    mov %r11, %rax
6:  # a count has reached its limit; sites that begin with a profile count before everything is ready
    cmpb $0, __relpoline_ready(%rip)
    je 16f
    push %r10
    .cfi_adjust_cfa_offset 8
    push %rdi
    .cfi_adjust_cfa_offset 8
    mov %rax, %rdi
    mov $1, %eax
8:  push %rsi
    .cfi_adjust_cfa_offset 8
    push %rdx
    .cfi_adjust_cfa_offset 8
    push %rcx
    .cfi_adjust_cfa_offset 8
    push %r8
    .cfi_adjust_cfa_offset 8
    push %r9
    .cfi_adjust_cfa_offset 8
    push %rbp
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %rbp, 0
    push %rbx
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %rbx, 0
    mov %rsp, %rbp
    .cfi_def_cfa_register %rbp
    mov %eax, %ebx
    sub __relpoline_vector_size(%rip), %rsp
    and $-64, %rsp
    cld
    cmpb $1, __relpoline_ready(%rip)
    je 10f
    # XSAVE area: the header behind the 512 bytes of the legacy region must be clear
    xor %edx, %edx
    mov %rdx, 512(%rsp)
    mov %rdx, 520(%rsp)
    mov %rdx, 528(%rsp)
    mov %rdx, 536(%rsp)
    mov %rdx, 544(%rsp)
    mov %rdx, 552(%rsp)
    mov %rdx, 560(%rsp)
    mov %rdx, 568(%rsp)
    mov ${vector_state}, %eax
    cmpb $3, __relpoline_ready(%rip)
    je 9f
    xsave (%rsp)
    jmp 11f
9:  xsavec (%rsp)
    jmp 11f
10: fxsave (%rsp)
11: test %ebx, %ebx
    jnz 12f
    call {first_call}
    jmp 13f
12: call {limit_reached}
13: cmpb $1, __relpoline_ready(%rip)
    je 14f
    mov ${vector_state}, %eax
    xor %edx, %edx
    xrstor (%rsp)
    jmp 15f
14: fxrstor (%rsp)
15: mov %rbp, %rsp
    .cfi_def_cfa_register %rsp
    pop %rbx
    .cfi_adjust_cfa_offset -8
    .cfi_restore %rbx
    pop %rbp
    .cfi_adjust_cfa_offset -8
    .cfi_restore %rbp
    pop %r9
    .cfi_adjust_cfa_offset -8
    pop %r8
    .cfi_adjust_cfa_offset -8
    pop %rcx
    .cfi_adjust_cfa_offset -8
    pop %rdx
    .cfi_adjust_cfa_offset -8
    pop %rsi
    .cfi_adjust_cfa_offset -8
    pop %rdi
    .cfi_adjust_cfa_offset -8
    pop %r10
    .cfi_adjust_cfa_offset -8
16: pop %rax
    .cfi_adjust_cfa_offset -8
    jmp __relpoline_retpoline_r10
    .cfi_endproc
    .size __relpoline_count, . - __relpoline_count
    .purgem RETPOLINE_R10

    # How the vector state is saved: 0 not known yet, 1 FXSAVE, 2 XSAVE, 3 XSAVEC; and the bytes it takes.
    .section .data.relpoline_slow,"aw",@progbits
    .p2align 3
    .hidden __relpoline_vector_size
    .globl __relpoline_vector_size
__relpoline_vector_size:
    .quad 0
    .hidden __relpoline_ready
    .globl __relpoline_ready
__relpoline_ready:
    .byte 0
    .text
"#,
    gate = const CELL_GATE,
    quiet = const GATE_QUIET,
    align = const ALIGN,
    ways = const WAYS,
    counts = const COUNTS,
    rest = const REST,
    vector_state = const VECTOR_STATE,
    first_call = sym first_call,
    limit_reached = sym limit_reached,
    options(att_syntax)
);

unsafe extern "C" {
    static mut __relpoline_vector_size: usize;
    static __relpoline_ready: core::sync::atomic::AtomicU8;
}

extern "C" fn first_call(cell: *const Cell) {
    // SAFETY: the stub passed the address of its cell.
    super::members::OWN.first_call(unsafe { &*cell });
}

extern "C" fn limit_reached(record: *const Record) {
    // SAFETY: the gate held the address of the site's record, which is there as long as the site.
    super::members::OWN.limit_reached(unsafe { &*record });
}

/// Lets sites learn from now on.
pub fn enable() {
    use core::sync::atomic::Ordering;
    let (kind, size) = vector_state();
    // SAFETY: the slow path does not read the size before `ready` is set, and this runs once.
    unsafe { __relpoline_vector_size = size };
    // Release: the size is seen before the kind. x86 keeps loads in order.
    // SAFETY: an atomic of the assembly above.
    unsafe { __relpoline_ready.store(kind, Ordering::Release) };
}

/// The best way to save the vector state here, and the bytes it takes.
fn vector_state() -> (u8, usize) {
    use core::arch::x86_64::{__cpuid, __cpuid_count};
    const OSXSAVE: u32 = 1 << 27;
    const XSAVEC: u32 = 1 << 1;
    /// Legacy region and header.
    const FIXED: usize = 512 + 64;
    if __cpuid(1).ecx & OSXSAVE == 0 {
        return (1, 512);
    }
    if __cpuid_count(0xd, 1).eax & XSAVEC == 0 {
        return (2, __cpuid_count(0xd, 0).ebx as usize);
    }
    let components = (2..32).filter(|component| VECTOR_STATE & (1 << component) != 0);
    let sizes = components.map(|component| (__cpuid_count(0xd, component).eax as usize).next_multiple_of(64));
    (3, FIXED + sizes.sum::<usize>())
}
