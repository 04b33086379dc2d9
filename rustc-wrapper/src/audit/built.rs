//! Which functions were compiled by relpoline: the section `relpoline_built` lists them.

use crate::elf::{ElfError, Image, Place, References, read_i32};
use relpoline_layout::{BUILT_SECTION, BUILT_SECTION_LARGE};
use std::collections::{HashMap, HashSet};

/// Sections of rows, and the width of a row's start, in bytes. Its size has four bytes.
const SECTIONS: [(&str, usize); 2] = [(BUILT_SECTION, 4), (BUILT_SECTION_LARGE, 8)];

/// The listed functions.
#[derive(Default)]
pub struct Built {
    /// Start and end of each, by section, in order.
    ranges: HashMap<usize, Vec<(u64, u64)>>,
    names: HashSet<Vec<u8>>,
    /// Parts of functions of the same names that others built.
    foreign: HashSet<Place>,
    functions: usize,
    everything: bool,
}

impl Built {
    /// Reads the list.
    pub fn read(image: &Image) -> Result<Self, ElfError> {
        let mut built = Self::default();
        for (name, width) in SECTIONS {
            for section in image.sections_named(name) {
                built.read_section(image, section, width).map_err(|reason| ElfError::Damaged {
                    name: image.name.into(),
                    reason: format!("section {name}: {reason}"),
                })?;
            }
        }
        for (section, ranges) in &mut built.ranges {
            ranges.sort_unstable();
            ranges.dedup();
            let starts: HashSet<u64> = ranges.iter().map(|range| range.0).collect();
            let functions = image.functions.in_section(*section).iter();
            built.names.extend(
                functions
                    .filter(|function| starts.contains(&function.start))
                    .map(|function| function.raw_name().into()),
            );
        }
        Ok(built)
    }

    fn read_section(&mut self, image: &Image, section: usize, width: usize) -> Result<(), String> {
        let row_size = width + 4;
        let data = image.sections[section].data;
        if !data.len().is_multiple_of(row_size) {
            return Err(format!("it has {} bytes, expected a multiple of {row_size}", data.len()));
        }
        let references = References::new(image, section);
        for (index, row) in data.chunks_exact(row_size).enumerate() {
            self.functions += 1;
            let size = u64::from(read_i32(row, width).unwrap_or_default() as u32);
            // A function without code, which cannot be reached, may stand at the very end of a section.
            if size == 0 {
                continue;
            }
            let place = references
                .get((index * row_size) as u64)
                .map_err(|reason| format!("entry {index}: {reason}"))?;
            let place = place.ok_or(format!("entry {index}: its function is 0"))?;
            let code = &image.sections[place.section];
            if !(code.executable || code.beside_code) || size > code.size - place.offset {
                return Err(format!(
                    "entry {index}: {size} bytes at {:#x} are not in a section of code",
                    image.address(place)
                ));
            }
            self.ranges.entry(place.section).or_default().push((place.offset, place.offset + size));
        }
        Ok(())
    }

    /// Adds parts that were split off listed functions. Whether one of them is new.
    pub fn add_parts(&mut self, parts: &[(Place, u64)]) -> bool {
        let mut is_new = false;
        for (place, size) in parts {
            let range = (place.offset, place.offset + size);
            let ranges = self.ranges.entry(place.section).or_default();
            if let Err(at) = ranges.binary_search(&range) {
                ranges.insert(at, range);
                is_new = true;
            }
        }
        is_new
    }

    /// Takes out what is a part of a listed function by its name alone.
    pub fn disown(&mut self, parts: impl Iterator<Item = Place>) {
        self.foreign.extend(parts);
    }

    /// Nothing is listed, but everything was built alike.
    pub fn set_everything(&mut self, image: &Image) {
        self.everything = true;
        self.functions = image.functions.all().count();
    }

    /// Number of functions.
    pub fn functions(&self) -> usize {
        self.functions
    }

    /// Start and end of each listed function of a section, in order.
    pub fn in_section(&self, section: usize) -> &[(u64, u64)] {
        self.ranges.get(&section).map_or(&[], Vec::as_slice)
    }

    /// Whether `place` is in a listed function.
    pub fn lists(&self, place: Place) -> bool {
        let ranges = self.in_section(place.section);
        let next = ranges.partition_point(|range| range.0 <= place.offset);
        ranges[..next].last().is_some_and(|range| place.offset < range.1)
    }

    /// Whether the code at `place` was compiled by relpoline.
    pub fn holds(&self, image: &Image, place: Place) -> bool {
        self.everything
            || self.lists(place)
            || self.part(image, place).is_some_and(|part| !self.foreign.contains(&part))
    }

    /// Where the part of a function begins that `place` is in, if it has a listed function's name. A part that was split
    /// off lies elsewhere, under the function's name and a suffix.
    pub fn part(&self, image: &Image, place: Place) -> Option<Place> {
        if self.names.is_empty() {
            return None;
        }
        let function = image.functions.at(place)?;
        let name = function.raw_name();
        let is_part = [&b".cold"[..], b".__part."].iter().any(|suffix| {
            memchr::memmem::rfind(name, suffix).is_some_and(|at| self.names.contains(&name[..at]))
        });
        is_part.then_some(Place { section: place.section, offset: function.start })
    }
}
