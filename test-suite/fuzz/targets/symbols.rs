//! The runtime's own reader of symbols: eight bytes of an address, and an ELF file.

#![no_main]

use libfuzzer_sys::fuzz_target;
use relpoline::port::user::symbols::Symbols;

fuzz_target!(|input: &[u8]| {
    let Some((address, file)) = input.split_first_chunk() else { return };
    let address = usize::from_le_bytes(*address);
    let Some(mut symbols) = Symbols::from_bytes(file, 0x1000) else { return };
    for address in [address, 0, 0x1000, usize::MAX] {
        if let Some(name) = symbols.function(address) {
            assert!(!name.contains(&0));
        }
        if let Some((_, offset)) = symbols.locate(address) {
            assert!(offset <= address as u64);
        }
    }
    for (name, address, _) in symbols.functions() {
        assert!(!name.contains(&0) && address >= 0x1000);
    }
});
