//! Room for chains in the image: code that is written through `/proc/self/mem` like all other, and data for its slots.
//! Being part of the image it lies where nothing else can be mapped, and has unwind information: a chain never moves the
//! stack pointer.
//!
//! It begins as what `patch::write_body` writes, chains without a link. Who drops an object's code, or maps the file over
//! it again, undoes what was written: then the branches lead to the slow path, as they did at first. (A branch that lies
//! across two pages is half undone where only one of them goes.)

use crate::patch::{BODY_STRIDE, LINKS, RESERVED_BODIES, SLOTS_STRIDE};
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
    .set .Lbody, 0
    .rept {bodies}
    .set .Llink, 0
    .rept {links}
    cmp __relpoline_chain_slots + .Lbody * {slots} + .Llink * 8(%rip), %r10
    # Not shorter, so that a target fits in.
    .byte 0x0f, 0x84
    .long 8f - . - 4
    testb $(1 << .Llink), __relpoline_chain_slots + .Lbody * {slots} + {links} * 8(%rip)
    je 8f
    .set .Llink, .Llink + 1
    .endr
    jmp.d32 __relpoline_slow
8:  jmp.d32 __relpoline_slow
    .p2align {stride}, 0xcc
    .set .Lbody, .Lbody + 1
    .endr
    .cfi_endproc
    .size __relpoline_chains, . - __relpoline_chains

    .section .bss.relpoline_chain_slots,"aw",@nobits
    .p2align 6
    .globl __relpoline_chain_slots
    .hidden __relpoline_chain_slots
    .type __relpoline_chain_slots,@object
__relpoline_chain_slots:
    .zero {bodies} * {slots}
    .size __relpoline_chain_slots, . - __relpoline_chain_slots
    .text
"#,
    bodies = const RESERVED_BODIES,
    links = const LINKS,
    stride = const BODY_STRIDE.trailing_zeros(),
    slots = const SLOTS_STRIDE,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::patch::{BODY_SIZE, code_of_body};

    unsafe extern "C" {
        static __relpoline_slow: u8;
    }

    #[test]
    fn chains_are_emitted_as_they_are_written() {
        let (code, slots) = reserve();
        for number in 0..RESERVED_BODIES {
            let body = code + number * BODY_STRIDE;
            let (slots, slow) = (slots + number * SLOTS_STRIDE, &raw const __relpoline_slow as usize);
            let mut expected = [0; BODY_SIZE];
            code_of_body(body, slots, slow, &mut expected).unwrap();
            // SAFETY: code of this program; none of the tests writes it.
            let emitted = unsafe { core::slice::from_raw_parts(body as *const u8, BODY_STRIDE) };
            assert_eq!(emitted[..expected.len()], expected, "{number}");
            assert!(emitted[expected.len()..].iter().all(|&byte| byte == 0xcc), "{number}");
        }
    }
}
