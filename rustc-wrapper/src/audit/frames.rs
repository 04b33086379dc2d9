//! Parts that were split off a function, where no symbol names them: they begin with the function's frame already made,
//! as unwinders are told (`.eh_frame`).

use crate::elf::{Image, Place};
use gimli::{BaseAddresses, CallFrameInstruction, CieOrFde, EhFrame, LittleEndian, UnwindSection};
use std::collections::HashSet;

/// The parts that begin in front of one of `targets`, which jumps lead to, or there. What is not understood is left
/// out.
pub fn parts(image: &Image, targets: &HashSet<Place>) -> Vec<(Place, u64)> {
    let mut found = Vec::new();
    if targets.is_empty() || image.relocatable {
        return found;
    }
    let mut targets: Vec<u64> = targets.iter().map(|place| image.address(*place)).collect();
    targets.sort_unstable();
    for section in image.sections_named(".eh_frame") {
        read(image, section, |start, size| {
            let next = targets.partition_point(|target| *target < start);
            let is_target = targets.get(next).is_some_and(|target| target - start < size);
            if let Some(place) = image.place(start).filter(|place| is_target && !is_named(image, *place)) {
                let room = image.sections[place.section].size - place.offset;
                found.push((place, size.min(room)));
            }
        });
    }
    found
}

/// Whether a function of a name of its own begins there: hand-written code may begin with a frame, too.
fn is_named(image: &Image, place: Place) -> bool {
    let function = image.functions.at(place);
    function.is_some_and(|function| function.start == place.offset && !function.is_local_label())
}

/// Calls `part` with address and size of all that begins with a frame.
fn read(image: &Image, section: usize, mut part: impl FnMut(u64, u64)) {
    let section = &image.sections[section];
    let mut frames = EhFrame::new(section.data, LittleEndian);
    frames.set_address_size(image.bits as u8 / 8);
    let bases = BaseAddresses::default().set_eh_frame(section.address);
    let mut entries = frames.entries(&bases);
    while let Ok(Some(entry)) = entries.next() {
        let CieOrFde::Fde(entry) = entry else { continue };
        let Ok(entry) = entry.parse(EhFrame::cie_from_offset) else { continue };
        let first = entry.instructions(&frames, &bases).next();
        // Where the frame is, or where a register was saved.
        if let Ok(Some(
            CallFrameInstruction::DefCfa { .. }
            | CallFrameInstruction::DefCfaRegister { .. }
            | CallFrameInstruction::DefCfaOffset { .. }
            | CallFrameInstruction::Offset { .. },
        )) = first
        {
            part(entry.initial_address(), entry.len());
        }
    }
}
