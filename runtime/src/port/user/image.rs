//! The image that this copy of the runtime was linked into.

use crate::layout::Entry;
use crate::site::Image;
use core::arch::global_asm;
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

/// Offsets and constants of ELF's 64-bit header and program headers (System V ABI, chapters 4 and 5).
mod elf {
    pub const HEADER_OFFSETS: (usize, usize, usize) = (32, 54, 56); // e_phoff, e_phentsize, e_phnum
    pub const PT_LOAD: u32 = 1;
    pub const PF_X: u32 = 1;
    pub const SEGMENT_SIZE: usize = 56;
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
    let entries = unsafe {
        core::slice::from_raw_parts(bounds.table as *const Entry, length / size_of::<Entry>())
    };
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
    let loads = || {
        (0..count).map(move |index| first + index * size).filter(move |&at| word(at) == elf::PT_LOAD)
    };
    let base = loads().find(|&at| long(at + 8) == 0).map(|at| header.wrapping_sub(long(at + 16)))?;
    let span = |code: bool| {
        loads().filter(|&at| !code || word(at + 4) & elf::PF_X != 0).fold(None, |span: Option<Range<usize>>, at| {
            let start = base.wrapping_add(long(at + 16));
            let end = start.wrapping_add(long(at + 40));
            Some(span.map_or(start..end, |old| old.start.min(start)..old.end.max(end)))
        })
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
        let path = path_of(image.base);
        let file = path.and_then(|path| {
            let mut name = [0u8; 4096];
            name.get_mut(..path.len())?.copy_from_slice(path);
            super::sys::map_file(core::ffi::CStr::from_bytes_until_nul(&name).ok()?)
        });
        Self { path, file: file.unwrap_or(&[]), base: image.base }
    }

    /// Path of the image's file.
    pub fn object(&self) -> Option<&[u8]> {
        self.path
    }

    /// Name of the function that contains `address`.
    pub fn function(&self, address: usize) -> Option<&[u8]> {
        use object::read::elf::{FileHeader, Sym};
        let data = self.file;
        let header = object::elf::FileHeader64::<object::LittleEndian>::parse(data).ok()?;
        let endian = header.endian().ok()?;
        let sections = header.sections(endian, data).ok()?;
        let offset = address.checked_sub(self.base)? as u64;
        // A stripped file still has the symbols that it exports.
        [object::elf::SHT_SYMTAB, object::elf::SHT_DYNSYM].into_iter().find_map(|kind| {
            let symbols = sections.symbols(endian, data, kind).ok()?;
            let symbol = symbols.iter().find(|symbol| {
                symbol.st_type() == object::elf::STT_FUNC
                    && (symbol.st_value(endian)..symbol.st_value(endian) + symbol.st_size(endian).max(1))
                        .contains(&offset)
            })?;
            symbol.name(endian, symbols.strings()).ok()
        })
    }
}

/// Path of the file that is mapped at `address`, from `/proc/self/maps`. The bytes stay mapped.
fn path_of(address: usize) -> Option<&'static [u8]> {
    const ROOM: usize = 1 << 20;
    let fd = super::sys::open(c"/proc/self/maps", libc::O_RDONLY).ok()?;
    let memory = super::sys::map(ROOM)?;
    // SAFETY: a new mapping of that size, never removed.
    let text = unsafe { core::slice::from_raw_parts_mut(memory.as_ptr(), ROOM) };
    let mut length = 0;
    while let Ok(read @ 1..) = super::sys::read(fd, &mut text[length..]) {
        length += read;
    }
    super::sys::close(fd);
    // 55d0c000-55d0d000 r--p 00000000 fe:00 1234    /path
    text[..length].split(|&byte| byte == b'\n').find_map(|line| {
        let number = |digits: &[u8]| {
            usize::from_str_radix(core::str::from_utf8(digits).ok()?, 16).ok()
        };
        let dash = line.iter().position(|&byte| byte == b'-')?;
        let space = line.iter().position(|&byte| byte == b' ')?;
        let range = number(&line[..dash])?..number(line.get(dash + 1..space)?)?;
        let path = line.iter().position(|&byte| byte == b'/')?;
        range.contains(&address).then_some(&line[path..])
    })
}
