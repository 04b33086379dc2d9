//! The retpolines themselves: calls of these are the safe form of an indirect branch.

use crate::elf::{Image, Place};
use std::collections::HashSet;

const NAMES: [&[u8]; 5] = [
    b"__llvm_retpoline_",
    b"__x86_indirect_thunk_",
    b"__x86_indirect_call_thunk_",
    b"__x86_indirect_jump_thunk_",
    b"__relpoline_retpoline",
];

/// `pause; lfence; jmp .-5`: where speculation is caught. A direct call stands before it.
const TRAP: [u8; 7] = [0xf3, 0x90, 0x0f, 0xae, 0xe8, 0xeb, 0xf9];
const CALL_SIZE: usize = 5;
const CALL: u8 = 0xe8;

/// Whether a symbol is that of a thunk.
pub fn is_name(name: &[u8]) -> bool {
    NAMES.iter().any(|prefix| name.starts_with(prefix))
}

/// Where thunks are: by their names, and by their code where the names are gone.
pub fn find(image: &Image) -> HashSet<Place> {
    let mut thunks: HashSet<Place> = image
        .functions
        .all()
        .filter(|(_, function)| is_name(function.raw_name()))
        .map(|(section, function)| Place { section, offset: function.start })
        .collect();
    for (section, code) in image.sections.iter().enumerate().filter(|(_, section)| section.executable) {
        for trap in memchr::memmem::find_iter(code.data, &TRAP) {
            if trap >= CALL_SIZE && code.data[trap - CALL_SIZE] == CALL {
                thunks.insert(Place { section, offset: (trap - CALL_SIZE) as u64 });
            }
        }
    }
    thunks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert!(is_name(b"__llvm_retpoline_r11") && is_name(b"__x86_indirect_thunk_rax"));
        assert!(is_name(b"__relpoline_retpoline_r10"));
        assert!(!is_name(b"__relpoline_slow") && !is_name(b"main"));
    }
}
