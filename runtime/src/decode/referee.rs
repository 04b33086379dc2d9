//! A disassembler's opinion of the decoder. The unit tests and the fuzz target, which includes this file, ask it.

use super::{Flow, decode};
use iced_x86::{Decoder, DecoderOptions, FlowControl};

/// Compares what is decoded at the start of `code`; whether both took it for an instruction.
pub fn check(code: &[u8]) -> bool {
    let Some(ours) = decode(code) else { return false };
    let theirs = Decoder::with_ip(64, code, 0, DecoderOptions::NONE).decode();
    if theirs.is_invalid() {
        // We do not look for every invalid combination; code that runs holds none.
        return false;
    }
    assert_eq!(ours.length, theirs.len(), "{code:02x?}: {theirs:?}");
    let relative = theirs.near_branch_target().wrapping_sub(theirs.len() as u64) as i32;
    match theirs.flow_control() {
        FlowControl::UnconditionalBranch => assert_eq!(ours.flow, Flow::Jump(relative), "{code:02x?}"),
        FlowControl::ConditionalBranch => assert_eq!(ours.flow, Flow::Branch(relative), "{code:02x?}"),
        FlowControl::Call if theirs.is_call_near() => {
            assert_eq!(ours.flow, Flow::Call(relative), "{code:02x?}")
        }
        FlowControl::Next | FlowControl::Call | FlowControl::IndirectCall => {
            assert_eq!(ours.flow, Flow::Next, "{code:02x?}")
        }
        FlowControl::Return | FlowControl::IndirectBranch => {
            assert_eq!(ours.flow, Flow::Leaves, "{code:02x?}")
        }
        _ => {}
    }
    true
}
