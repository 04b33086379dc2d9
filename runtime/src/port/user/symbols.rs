//! The functions of an image, by name, from its file: for statistics, profiles and whoever names a function.

extern crate alloc;

use super::image::{FileName, file_name};
use super::sys::{self, Mapping};
use crate::layout::{function_of, source_name};
use crate::site::{Image, Site};
use alloc::vec::Vec;

/// Offsets and constants of ELF's 64-bit headers and symbols (System V ABI, chapters 4 and 5). Only these
/// few fields are needed, and the crates that read ELF files call through pointers.
mod elf {
    pub const SECTIONS: usize = 40; // e_shoff
    pub const SECTION_COUNT: usize = 60; // e_shnum
    pub const SECTION_SIZE: usize = 64;
    pub const SHT_SYMTAB: u32 = 2;
    pub const SHT_DYNSYM: u32 = 11;
    pub const SYMBOL_SIZE: usize = 24;
    pub const STT_FUNC: u8 = 2;
}

/// One function of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Function {
    /// Where it starts, relative to the image's base.
    start: u64,
    /// Place in the symbol table: of several names, the first one counts.
    symbol: u32,
    /// Offset of the name in the file.
    name: u32,
    /// Bytes.
    size: u64,
}

impl Function {
    fn contains(&self, value: u64) -> bool {
        self.start <= value && value - self.start < self.size.max(1)
    }
}

/// The functions of an image.
pub struct Symbols {
    path: Option<FileName>,
    file: Mapping,
    base: usize,
    /// In the order of their addresses.
    functions: Vec<Function>,
}

impl Symbols {
    /// Reads the file of `image`. Where that is not possible, nothing has a name.
    pub fn of(image: &Image) -> Self {
        let path = file_name(image.text.start);
        let file = path.as_ref().and_then(|path| sys::map_file(path.to_open()?).ok()).unwrap_or_default();
        let functions = functions_of(&file).unwrap_or_default();
        Self { path, file, base: image.base, functions }
    }

    /// The symbols of an ELF file that is loaded at `base`.
    pub fn from_bytes(file: &[u8], base: usize) -> Option<Self> {
        let mut copy = Mapping::new(file.len())?;
        copy.copy_from_slice(file);
        let functions = functions_of(&copy).unwrap_or_default();
        Some(Self { path: None, file: copy, base, functions })
    }

    /// Path of the image's file.
    pub fn object(&self) -> Option<&[u8]> {
        self.path.as_ref().map(FileName::path)
    }

    /// The part of the path behind the last `/`.
    pub fn object_name(&self) -> Option<&[u8]> {
        self.path.as_ref().map(FileName::name)
    }

    /// Name of the function that contains `address`. Not every port can keep names apart, hence the exclusive borrow.
    pub fn function(&mut self, address: usize) -> Option<&[u8]> {
        self.locate(address).map(|(name, _)| name)
    }

    /// Name of the function that `site` was compiled in.
    pub fn caller(&self, site: &Site) -> Option<&[u8]> {
        self.locate(site.compare()).map(|(name, _)| function_of(name))
    }

    /// Name of the function that contains `address`, and the distance from its start.
    pub fn locate(&self, address: usize) -> Option<(&[u8], u64)> {
        let value = address.checked_sub(self.base)? as u64;
        let behind = self.functions.partition_point(|function| function.start <= value);
        // Functions of one address follow each other, and one may lie within another.
        let candidates = self.functions[..behind].iter().rev().take(8);
        let function = candidates
            .filter(|function| function.contains(value))
            .reduce(|best, other| if other.start == best.start { other } else { best })?;
        Some((self.name(function)?, value - function.start))
    }

    /// Name, address and size of every function.
    pub fn functions(&self) -> impl Iterator<Item = (&[u8], usize, u64)> {
        self.functions.iter().filter_map(|function| {
            let address = self.base.checked_add(usize::try_from(function.start).ok()?)?;
            Some((self.name(function)?, address, function.size))
        })
    }

    fn name(&self, function: &Function) -> Option<&[u8]> {
        let name = self.file.get(function.name as usize..)?;
        Some(source_name(&name[..name.iter().position(|&byte| byte == 0)?]))
    }
}

/// The functions that the symbol table of `file` names, in the order of their addresses. `None` when the file is
/// not one, or there is no memory.
fn functions_of(file: &[u8]) -> Option<Vec<Function>> {
    // A stripped file still has the symbols that it exports.
    let mut functions = [elf::SHT_SYMTAB, elf::SHT_DYNSYM].into_iter().find_map(|kind| table(file, kind))?;
    functions.sort_unstable();
    Some(functions)
}

fn table(file: &[u8], kind: u32) -> Option<Vec<Function>> {
    let section = |index: usize| -> Option<usize> {
        let first = usize::try_from(long(file, elf::SECTIONS)?).ok()?;
        let at = first.checked_add(index.checked_mul(elf::SECTION_SIZE)?)?;
        (at < file.len()).then_some(at)
    };
    // sh_type at 4, sh_offset at 24, sh_size at 32, sh_link at 40
    let count = usize::from(half(file, elf::SECTION_COUNT)?);
    let header = (0..count).filter_map(section).find(|&at| word(file, at + 4) == Some(kind))?;
    let (start, length) = (long(file, header + 24)?, long(file, header + 32)?);
    let start = usize::try_from(start).ok()?;
    let symbols = file.get(start..start.checked_add(usize::try_from(length).ok()?)?)?;
    let strings = section(word(file, header + 40)? as usize)?;
    let strings = long(file, strings.checked_add(24)?)?;
    // st_name at 0, st_info at 4, st_value at 8, st_size at 16
    let all = symbols.chunks_exact(elf::SYMBOL_SIZE).enumerate().filter_map(|(index, symbol)| {
        let (start, size) = (long(symbol, 8)?, long(symbol, 16)?);
        let name = strings.checked_add(word(symbol, 0)?.into())?;
        // An address of 0: a function of another object.
        (symbol[4] & 15 == elf::STT_FUNC && start != 0).then_some(Function {
            start,
            symbol: u32::try_from(index).ok()?,
            name: u32::try_from(name).ok()?,
            size,
        })
    });
    let mut functions = Vec::new();
    functions.try_reserve_exact(all.clone().count()).ok()?;
    functions.extend(all);
    Some(functions)
}

fn half(file: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(file.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

fn word(file: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(file.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn long(file: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(file.get(at..at.checked_add(8)?)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The start of a file with one section header, whose table stands at `sections`.
    fn header(sections: u64) -> [u8; 128] {
        let mut file = [0; 128];
        file[elf::SECTIONS..][..8].copy_from_slice(&sections.to_le_bytes());
        file[elf::SECTION_COUNT] = 1;
        file
    }

    #[test]
    fn section_headers_that_lead_out_of_the_file_name_nothing() {
        for sections in [u64::MAX - 2, u64::MAX - 63, 127, 128, 1 << 63] {
            let mut symbols = Symbols::from_bytes(&header(sections), 0).unwrap();
            assert_eq!(symbols.function(1), None, "{sections:x}");
        }
    }
}
