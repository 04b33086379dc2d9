//! The image that this copy of the runtime was linked into.

use crate::layout::Entry;
use crate::site::Image;
use core::arch::global_asm;
use core::mem::MaybeUninit;
use core::ops::Range;

// An empty piece of the table, so that the linker defines its bounds in programs without any site.
global_asm!(
    r#"
    .section relpoline_sites,"aR",@progbits
    .p2align 2
    .text
    .globl __relpoline_bounds
    .hidden __relpoline_bounds
    .hidden __start_relpoline_sites
    .hidden __stop_relpoline_sites
    .weak __ehdr_start
    .hidden __ehdr_start
    .type __relpoline_bounds,@function
__relpoline_bounds:
    lea __start_relpoline_sites(%rip), %rax
    mov %rax, (%rdi)
    lea __stop_relpoline_sites(%rip), %rax
    mov %rax, 8(%rdi)
    mov __ehdr_start@GOTPCREL(%rip), %rax
    mov %rax, 16(%rdi)
    ret
    .size __relpoline_bounds, . - __relpoline_bounds
"#,
    options(att_syntax)
);

#[repr(C)]
#[derive(Default)]
struct Bounds {
    table: usize,
    table_end: usize,
    header: usize,
}

unsafe extern "C" {
    fn __relpoline_bounds(bounds: *mut Bounds);
}

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
    pub const HEADER_OFFSETS: (usize, usize, usize) = (32, 54, 56); // e_phoff, e_phentsize, e_phnum
    pub const PT_LOAD: u32 = 1;
    pub const PF_X: u32 = 1;
    pub const SEGMENT_SIZE: usize = 56;
}

/// Whether this copy of the runtime is the executable's.
pub fn is_executable() -> bool {
    const AT_PHDR: usize = 3;
    let mut bounds = Bounds::default();
    // SAFETY: writes the three words.
    unsafe { __relpoline_bounds(&mut bounds) };
    if bounds.header == 0 {
        return false;
    }
    // SAFETY: the header is mapped: the linker defines its address only then.
    let offset =
        unsafe { core::ptr::read_unaligned((bounds.header + elf::HEADER_OFFSETS.0) as *const usize) };
    super::sys::auxiliary(AT_PHDR) == Some(bounds.header + offset)
}

/// The image, or `None` where its headers are not mapped or its table is damaged.
pub fn own() -> Option<Image> {
    let mut bounds = Bounds::default();
    // SAFETY: writes the three words.
    unsafe { __relpoline_bounds(&mut bounds) };
    let length = bounds.table_end.checked_sub(bounds.table)?;
    if bounds.header == 0 || length % size_of::<Entry>() != 0 || bounds.table % align_of::<Entry>() != 0 {
        return None;
    }
    // SAFETY: the linker's bounds of a section that is mapped as long as this code is.
    let entries =
        unsafe { core::slice::from_raw_parts(bounds.table as *const Entry, length / size_of::<Entry>()) };
    // SAFETY: the headers are mapped: the linker defines their address only then.
    unsafe { segments(bounds.header) }.map(|(base, text, data)| Image { base, text, data, entries })
}

/// # Safety
/// A complete ELF header and its program headers are mapped at `header`.
unsafe fn segments(header: usize) -> Option<(usize, Range<usize>, Range<usize>)> {
    // SAFETY: the caller's promise covers every read below.
    let half = |at: usize| unsafe { core::ptr::read_unaligned(at as *const u16) } as usize;
    // SAFETY: likewise.
    let word = |at: usize| unsafe { core::ptr::read_unaligned(at as *const u32) };
    // SAFETY: likewise.
    let long = |at: usize| unsafe { core::ptr::read_unaligned(at as *const usize) };
    let (offset, size, count) = elf::HEADER_OFFSETS;
    let (first, size, count) = (header + long(header + offset), half(header + size), half(header + count));
    if size < elf::SEGMENT_SIZE {
        return None;
    }
    // p_type, p_flags, p_offset, p_vaddr, p_paddr, p_filesz, p_memsz
    let loads =
        || (0..count).map(move |index| first + index * size).filter(move |&at| word(at) == elf::PT_LOAD);
    let base = loads().find(|&at| long(at + 8) == 0).map(|at| header.wrapping_sub(long(at + 16)))?;
    let span = |code: bool| {
        loads().filter(|&at| !code || word(at + 4) & elf::PF_X != 0).fold(
            None,
            |span: Option<Range<usize>>, at| {
                let start = base.wrapping_add(long(at + 16));
                let end = start.wrapping_add(long(at + 40));
                Some(span.map_or(start..end, |old| old.start.min(start)..old.end.max(end)))
            },
        )
    };
    Some((base, span(true)?, span(false)?))
}

/// The symbols of an image, from its file.
pub struct Symbols {
    path: Option<&'static [u8]>,
    file: &'static [u8],
    base: usize,
}

impl Symbols {
    /// Maps the file of `image`. Where that is not possible, nothing has a name.
    pub fn of(image: &Image) -> Self {
        let path = path_of(image.text.start);
        let file = path.and_then(|path| {
            // The line feed behind the path is one of our own bytes: it makes room for the NUL.
            super::sys::map_file(core::ffi::CStr::from_bytes_with_nul(path).ok()?)
        });
        let path = path.and_then(|path| path.strip_suffix(&[0]));
        Self { path, file: file.unwrap_or(&[]), base: image.base }
    }

    /// The symbols of an ELF file that is loaded at `base`.
    pub fn from_bytes(file: &'static [u8], base: usize) -> Self {
        Self { path: None, file, base }
    }

    /// Path of the image's file.
    pub fn object(&self) -> Option<&[u8]> {
        self.path
    }

    /// Name of the function that contains `address`.
    pub fn function(&self, address: usize) -> Option<&[u8]> {
        let value = address.checked_sub(self.base)? as u64;
        // A stripped file still has the symbols that it exports.
        [elf::SHT_SYMTAB, elf::SHT_DYNSYM].into_iter().find_map(|kind| self.find(kind, value))
    }

    fn find(&self, kind: u32, value: u64) -> Option<&[u8]> {
        let section = |index: usize| -> Option<usize> {
            let first = usize::try_from(self.long(elf::SECTIONS)?).ok()?;
            let at = first.checked_add(index.checked_mul(elf::SECTION_SIZE)?)?;
            (at < self.file.len()).then_some(at)
        };
        // sh_type at 4, sh_offset at 24, sh_size at 32, sh_link at 40
        let count = usize::from(self.half(elf::SECTION_COUNT)?);
        let table = (0..count).filter_map(section).find(|&at| self.word(at + 4) == Some(kind))?;
        let (start, length) = (self.long(table + 24)? as usize, self.long(table + 32)? as usize);
        let names = section(self.word(table + 40)? as usize)?;
        let names = self.long(names + 24)? as usize;
        // st_name at 0, st_info at 4, st_value at 8, st_size at 16
        let symbols =
            (0..length / elf::SYMBOL_SIZE).map(|index| start.saturating_add(index * elf::SYMBOL_SIZE));
        for at in symbols {
            let symbol = self.file.get(at..at.checked_add(elf::SYMBOL_SIZE)?)?;
            let from = u64::from_le_bytes(symbol[8..16].try_into().ok()?);
            let size = u64::from_le_bytes(symbol[16..24].try_into().ok()?);
            if symbol[4] & 15 == elf::STT_FUNC && from <= value && value - from < size.max(1) {
                let name = names.checked_add(self.word(at)? as usize)?;
                let name = self.file.get(name..)?;
                return Some(&name[..name.iter().position(|&byte| byte == 0)?]);
            }
        }
        None
    }

    fn half(&self, at: usize) -> Option<u16> {
        Some(u16::from_le_bytes(self.file.get(at..at.checked_add(2)?)?.try_into().ok()?))
    }

    fn word(&self, at: usize) -> Option<u32> {
        Some(u32::from_le_bytes(self.file.get(at..at.checked_add(4)?)?.try_into().ok()?))
    }

    fn long(&self, at: usize) -> Option<u64> {
        Some(u64::from_le_bytes(self.file.get(at..at.checked_add(8)?)?.try_into().ok()?))
    }
}

/// Name of the shared object that `image` is, or `None` for the executable.
pub fn shared_object_name(image: &Image) -> Option<&'static [u8]> {
    let path = path_of(image.text.start)?.strip_suffix(&[0])?;
    let mut executable = [MaybeUninit::uninit(); 4096];
    if super::sys::read_link(c"/proc/thread-self/exe", &mut executable)? == path {
        return None;
    }
    path.rsplit(|&byte| byte == b'/').next()
}

/// Path of the file that is mapped at `address`, from `/proc/thread-self/maps`, with a NUL. The bytes stay mapped.
fn path_of(address: usize) -> Option<&'static [u8]> {
    const ROOM: usize = 1 << 20;
    let fd = super::sys::open(c"/proc/thread-self/maps", libc::O_RDONLY).ok()?;
    let memory = super::sys::map(ROOM)?;
    // SAFETY: a new mapping of that size, never removed.
    let text = unsafe { core::slice::from_raw_parts_mut(memory.as_ptr(), ROOM) };
    let mut length = 0;
    while let Ok(read @ 1..) = super::sys::read(fd, &mut text[length..]) {
        length += read;
    }
    super::sys::close(fd);
    // 55d0c000-55d0d000 r--p 00000000 fe:00 1234    /path
    let mut rest = &mut text[..length];
    while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
        let (line, tail) = rest.split_at_mut(end + 1);
        rest = tail;
        line[end] = 0;
        let Some(range) = range_of(line) else { continue };
        if range.contains(&address) {
            let path = line.iter().position(|&byte| byte == b'/')?;
            return Some(&line[path..]);
        }
    }
    None
}

fn range_of(line: &[u8]) -> Option<Range<usize>> {
    let number = |digits: &[u8]| {
        digits
            .iter()
            .try_fold(0usize, |sum, &digit| Some(sum << 4 | char::from(digit).to_digit(16)? as usize))
    };
    let dash = line.iter().position(|&byte| byte == b'-')?;
    let space = line.iter().position(|&byte| byte == b' ')?;
    Some(number(&line[..dash])?..number(line.get(dash + 1..space)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The start of a file with one section header, whose table stands at `sections`.
    const fn header(sections: u64) -> [u8; 128] {
        let mut file = [0; 128];
        let mut byte = 0;
        while byte < 8 {
            file[elf::SECTIONS + byte] = sections.to_le_bytes()[byte];
            byte += 1;
        }
        file[elf::SECTION_COUNT] = 1;
        file
    }

    static FILES: [[u8; 128]; 5] =
        [header(u64::MAX - 2), header(u64::MAX - 63), header(127), header(128), header(1 << 63)];

    #[test]
    fn section_headers_that_lead_out_of_the_file_name_nothing() {
        for file in &FILES {
            assert_eq!(
                Symbols::from_bytes(file, 0).function(1),
                None,
                "{:02x?}",
                &file[elf::SECTIONS..][..8]
            );
        }
    }
}
