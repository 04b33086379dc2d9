//! Parts that were split off a function, where no symbol names them: they begin with the function's frame already made,
//! as unwinders are told (`.eh_frame`).

use crate::elf::{Image, Place};
use std::collections::{HashMap, HashSet};

/// Pointers of other sizes than an address, and relative ones: the low and the high half of an encoding.
const SIZE: u8 = 0x0f;
const RELATIVE: u8 = 0x70;
const TO_ITSELF: u8 = 0x10;

/// Instructions that say where the frame is, or where a register is saved.
const FRAME_IS_MADE: [u8; 3] = [0x0c, 0x0d, 0x0e];
const SAVED: u8 = 0x80;
const OPERATION: u8 = 0xc0;

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
            if let Some(place) = image.place(start).filter(|_| is_target) {
                let room = image.sections[place.section].size - place.offset;
                found.push((place, size.min(room)));
            }
        });
    }
    found
}

/// Calls `part` with address and size of all that begins with a frame.
fn read(image: &Image, section: usize, mut part: impl FnMut(u64, u64)) {
    let section = &image.sections[section];
    let word = image.bits as usize / 8;
    let mut encodings: HashMap<usize, u8> = HashMap::new();
    let mut at = 0;
    while let Some(length) = (Reader { data: section.data, at }).number(4) {
        let start = at + 4;
        let Some(data) = section.data.get(..start.saturating_add(length as usize)) else { return };
        // The end, or lengths of eight bytes, which no linker needs.
        if length == 0 {
            return;
        }
        at = data.len();
        let mut reader = Reader { data, at: start };
        let Some(id) = reader.number(4) else { return };
        if id == 0 {
            if let Some(encoding) = reader.encoding(word) {
                encodings.insert(start - 4, encoding);
            }
            continue;
        }
        let common = start.checked_sub(id as usize);
        let Some(&encoding) = common.and_then(|common| encodings.get(&common)) else { continue };
        if let Some((start, size)) = reader.frame(encoding, word, section.address) {
            part(start, size);
        }
    }
}

struct Reader<'data> {
    data: &'data [u8],
    at: usize,
}

impl Reader<'_> {
    fn byte(&mut self) -> Option<u8> {
        let byte = *self.data.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    /// Of `size` bytes, 8 at most.
    fn number(&mut self, size: usize) -> Option<u64> {
        let bytes = self.data.get(self.at..)?.get(..size)?;
        self.at += size;
        let mut number = [0; 8];
        number.get_mut(..size)?.copy_from_slice(bytes);
        Some(u64::from_le_bytes(number))
    }

    fn leb128(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..63).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    /// How the entries of this head encode addresses.
    fn encoding(&mut self, word: usize) -> Option<u8> {
        let version = self.byte()?;
        let rest = self.data.get(self.at..)?;
        let augmentation = &rest[..memchr::memchr(0, rest)?];
        self.at += augmentation.len() + 1;
        self.leb128()?;
        self.leb128()?;
        if version == 1 { self.byte().map(u64::from) } else { self.leb128() }?;
        let (b'z', augmentation) = augmentation.split_first()? else { return None };
        self.leb128()?;
        for letter in augmentation {
            match letter {
                b'R' => return self.byte(),
                b'L' => drop(self.byte()?),
                b'P' => {
                    let encoding = self.byte()?;
                    self.number(size(encoding, word)?)?;
                }
                b'S' | b'B' => {}
                _ => return None,
            }
        }
        None
    }

    /// Address and size of what this entry is about, if its frame is there from the start.
    fn frame(&mut self, encoding: u8, word: usize, section: u64) -> Option<(u64, u64)> {
        let size = size(encoding, word)?;
        let field = section.wrapping_add(self.at as u64);
        let value = self.number(size)?;
        let value = if size == 4 { i64::from(value as u32 as i32) as u64 } else { value };
        let start = match encoding & RELATIVE {
            0 => value,
            TO_ITSELF => value.wrapping_add(field),
            _ => return None,
        };
        let size = self.number(size)?;
        let augmentation = self.leb128()? as usize;
        self.at = self.at.checked_add(augmentation)?;
        let first = self.byte()?;
        (FRAME_IS_MADE.contains(&first) || first & OPERATION == SAVED).then_some((start, size))
    }
}

fn size(encoding: u8, word: usize) -> Option<usize> {
    match encoding & SIZE {
        0x00 => Some(word),
        0x02 | 0x0a => Some(2),
        0x03 | 0x0b => Some(4),
        0x04 | 0x0c => Some(8),
        _ => None,
    }
}
