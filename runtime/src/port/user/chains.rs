//! Room for chains in the image: code that starts as traps and is written through `/proc/self/mem` like all
//! other, and data for its slots. Being part of the image it lies where nothing else can be mapped, and has
//! unwind information: a chain never moves the stack pointer.

use crate::patch::{BODY_STRIDE, RESERVED_BODIES, SLOTS_STRIDE};
use core::arch::global_asm;

global_asm!(
    r#"
    .section .text.unlikely.relpoline_chains,"ax",@progbits
    .p2align 7
    .globl __relpoline_chains
    .hidden __relpoline_chains
    .type __relpoline_chains,@function
__relpoline_chains:
    .cfi_startproc
    .fill {code}, 1, 0xcc
    .cfi_endproc
    .size __relpoline_chains, . - __relpoline_chains

    .section .bss.relpoline_chain_slots,"aw",@nobits
    .p2align 6
    .globl __relpoline_chain_slots
    .hidden __relpoline_chain_slots
    .type __relpoline_chain_slots,@object
__relpoline_chain_slots:
    .zero {slots}
    .size __relpoline_chain_slots, . - __relpoline_chain_slots
    .text
"#,
    code = const RESERVED_BODIES * BODY_STRIDE,
    slots = const RESERVED_BODIES * SLOTS_STRIDE,
    options(att_syntax)
);

unsafe extern "C" {
    static __relpoline_chains: u8;
    static __relpoline_chain_slots: u8;
}

/// Addresses of code and slots.
pub fn reserve() -> (usize, usize) {
    (&raw const __relpoline_chains as usize, &raw const __relpoline_chain_slots as usize)
}
