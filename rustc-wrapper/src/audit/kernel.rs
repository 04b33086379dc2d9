//! What is different in the Linux kernel and its modules: all of their C code is built alike, so nothing lists it,
//! and some assembly must branch indirectly.

use crate::elf::{Image, Place};

/// Sections that only a kernel, or one of its modules, has.
const SECTIONS: [&str; 2] = [".altinstr_replacement", ".gnu.linkonce.this_module"];

/// Section whose code is put elsewhere at boot.
const REPLACEMENTS: &str = ".altinstr_replacement";

/// Assembly that branches indirectly, and why it may.
const FUNCTIONS: [(&[u8], &str); 6] = [
    (b"startup_64", "runs before the kernel is mapped where it was linked"),
    (b"secondary_startup_64", "as startup_64, on the other processors"),
    (b"ibt_selftest", "is there to be caught by indirect branch tracking"),
    (b"asm_acpi_mp_play_dead", "leaves the kernel"),
    (b"machine_real_restart", "leaves the kernel"),
    (b"__x86_indirect_its_thunk_array", "is what thunks become where retpolines are not the mitigation"),
];

/// Whether the file is a kernel or a module.
pub fn is_kernel(image: &Image) -> bool {
    SECTIONS.iter().any(|name| image.sections_named(name).next().is_some())
}

/// Why a raw branch of a kernel may stay.
pub fn exception(image: &Image, place: Place) -> Option<&'static str> {
    if image.sections[place.section].name == REPLACEMENTS {
        return Some("takes the place of a thunk at boot, where the processor needs none");
    }
    let name = image.functions.at(place)?.raw_name();
    FUNCTIONS.iter().find(|(known, _)| *known == name).map(|&(_, reason)| reason)
}
