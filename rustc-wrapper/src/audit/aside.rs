//! Code that inline assembly puts aside (`.pushsection`, `.subsection`): jumps lead there, and no symbol says whose it
//! is.

use super::scan::{ends, is_direct};
use crate::elf::{Image, Place};
use iced_x86::{Decoder, DecoderOptions};
use std::collections::HashSet;

/// The pieces of code that begin at those of `targets`, which jumps lead to, that are in no function. Where the symbols
/// are gone every function would be one.
pub fn pieces(image: &Image, targets: &HashSet<Place>) -> Vec<(Place, u64)> {
    if !image.has_symbols {
        return Vec::new();
    }
    let is_aside =
        |place: &&Place| image.functions.at(**place).is_none_or(|function| function.is_local_label());
    targets.iter().filter(is_aside).map(|place| (*place, size(image, *place))).collect()
}

/// Up to where the processor does not go on, or to the next function.
fn size(image: &Image, place: Place) -> u64 {
    let section = &image.sections[place.section];
    let functions = image.functions.in_section(place.section);
    let next = functions.partition_point(|function| function.start <= place.offset);
    let next = functions[next..].iter().find(|function| !function.is_local_label());
    let end = next.map_or(section.data.len(), |function| function.start as usize).min(section.data.len());
    let code = section.data.get(place.offset as usize..end).unwrap_or_default();
    let mut decoder = Decoder::new(image.bits, code, DecoderOptions::NONE);
    let mut furthest = 0;
    while decoder.can_decode() {
        let instruction = decoder.decode();
        let position = decoder.position() as u64;
        let target = instruction.near_branch_target();
        // One that a relocation leads elsewhere leads to what follows it until then.
        if is_direct(&instruction) && target > position && target < code.len() as u64 {
            furthest = furthest.max(target);
        }
        if ends(&instruction) && position > furthest {
            break;
        }
    }
    decoder.position() as u64
}
