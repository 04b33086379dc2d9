//! The length decoder, beside a disassembler.

#![no_main]

use libfuzzer_sys::fuzz_target;
use relpoline::decode::{Flow, MAX_LENGTH, decode};

#[path = "../../../runtime/src/decode/referee.rs"]
mod referee;

fuzz_target!(|code: &[u8]| {
    // From the start, as a call site is followed: one instruction after the other.
    let mut rest = code;
    while let Some(instruction) = decode(rest) {
        assert!((1..=MAX_LENGTH.min(rest.len())).contains(&instruction.length));
        // Nothing behind the instruction matters.
        assert_eq!(decode(&rest[..instruction.length]), Some(instruction));
        referee::check(&rest[..rest.len().min(MAX_LENGTH)]);
        rest = &rest[instruction.length..];
    }
});
