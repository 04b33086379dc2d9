//! The runtime's own reader of symbols: eight bytes of an address, and an ELF file.

#![no_main]

use libfuzzer_sys::fuzz_target;
use relpoline::port::user::image::Symbols;

fuzz_target!(|input: &[u8]| {
    let Some((address, file)) = input.split_first_chunk() else { return };
    let address = usize::from_le_bytes(*address);
    // SAFETY: the symbols are dropped before the file is.
    let held: &'static [u8] = unsafe { std::slice::from_raw_parts(file.as_ptr(), file.len()) };
    let symbols = Symbols::from_bytes(held, 0x1000);
    for address in [address, 0, 0x1000, usize::MAX] {
        if let Some(name) = symbols.function(address) {
            assert!(!name.contains(&0) && file.as_ptr_range().contains(&name.as_ptr()));
        }
    }
});
