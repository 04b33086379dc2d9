//! The image that this copy of the runtime was linked into.

use super::sys::{self, Mapping};
use crate::layout::Entry;
use crate::site::Image;
use core::arch::global_asm;
use core::ffi::CStr;
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

    # The C library's function, if the program has it.
    .weak getauxval
    .globl __relpoline_auxiliary
    .hidden __relpoline_auxiliary
    .type __relpoline_auxiliary,@function
__relpoline_auxiliary:
    .cfi_startproc
    cmpq $0, getauxval@GOTPCREL(%rip)
    je 1f
    jmp getauxval@PLT
1:  xor %eax, %eax
    ret
    .cfi_endproc
    .size __relpoline_auxiliary, . - __relpoline_auxiliary
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
    fn __relpoline_auxiliary(key: usize) -> usize;
}

/// Offsets and constants of ELF's 64-bit headers (System V ABI, chapter 5). Only these
/// few fields are needed, and the crates that read ELF files call through pointers.
mod elf {
    pub const MAGIC: [u8; 5] = *b"\x7fELF\x02"; // EI_MAG and EI_CLASS
    pub const HEADER_OFFSETS: (usize, usize, usize) = (32, 54, 56); // e_phoff, e_phentsize, e_phnum
    pub const HEADER_SIZE: usize = 64;
    pub const PT_LOAD: u32 = 1;
    pub const PT_PHDR: u32 = 6;
    pub const PF_X: u32 = 1;
    pub const SEGMENT_SIZE: usize = 56;
}

/// Address of the executable's program headers. The C library knows of the program that `ld.so` was asked to run;
/// the system only knows of `ld.so`.
fn executable_headers() -> Option<usize> {
    const AT_PHDR: usize = 3;
    // SAFETY: the assembly above.
    match unsafe { __relpoline_auxiliary(AT_PHDR) } {
        0 => sys::auxiliary(AT_PHDR),
        address => Some(address),
    }
}

impl Bounds {
    fn own() -> Self {
        let mut bounds = Self::default();
        // SAFETY: writes the three words.
        unsafe { __relpoline_bounds(&mut bounds) };
        bounds
    }

    /// Address of the image's ELF header, if it is mapped.
    fn header(&self) -> Option<usize> {
        // SAFETY: the linker defines the header's address only where the first page of the image is mapped; and in front of
        // program headers that begin 64 bytes into the file lies what the file begins with.
        let is_there = |at: usize| unsafe { core::ptr::read_unaligned(at as *const [u8; 5]) } == elf::MAGIC;
        if self.header == 0 {
            return None;
        }
        if is_there(self.header) {
            return Some(self.header);
        }
        // Tools like patchelf make room for more headers in front of a program that cannot be moved.
        let first = executable_headers()?;
        // SAFETY: the executable's first program header.
        let (kind, offset) = unsafe { ((first as *const u32).read(), (first as *const usize).add(1).read()) };
        // The program headers follow the ELF header.
        let header = first - elf::HEADER_SIZE;
        (kind == elf::PT_PHDR && offset == elf::HEADER_SIZE && is_there(header)).then_some(header)
    }
}

/// Whether this copy of the runtime is the executable's.
pub fn is_executable() -> bool {
    if own().is_none() {
        return false;
    }
    let Some(header) = Bounds::own().header() else { return false };
    // SAFETY: the header is mapped.
    let offset = unsafe { core::ptr::read_unaligned((header + elf::HEADER_OFFSETS.0) as *const usize) };
    executable_headers() == Some(header + offset)
}

/// The image, or `None` where its headers are not mapped or its table is damaged.
pub fn own() -> Option<Image> {
    let bounds = Bounds::own();
    let length = bounds.table_end.checked_sub(bounds.table)?;
    if length % size_of::<Entry>() != 0 || !bounds.table.is_multiple_of(align_of::<Entry>()) {
        return None;
    }
    let (rows, count) = (bounds.table as *const Entry, length / size_of::<Entry>());
    // SAFETY: the linker's bounds of a section that is mapped as long as this code is.
    let entries = unsafe { core::slice::from_raw_parts(rows, count) };
    // SAFETY: the header is mapped, and so are those that it leads to.
    let (base, text, data) = unsafe { segments(bounds.header()?) }?;
    // Not those of another image.
    let is_own = data.start <= bounds.table && bounds.table_end <= data.end;
    is_own.then_some(Image { base, text, constants: data.clone(), data, entries })
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

/// Path of a file that is mapped.
pub struct FileName {
    /// The text of `/proc/thread-self/maps`.
    text: Mapping,
    /// The path in it, without the NUL behind it, and what the system adds to it.
    path: Range<usize>,
}

/// What the system adds to the path of a file that is not there any more.
const DELETED: &[u8] = b" (deleted)";

impl FileName {
    /// The path.
    pub fn path(&self) -> &[u8] {
        let path = &self.text[self.path.clone()];
        path.strip_suffix(DELETED).unwrap_or(path)
    }

    /// A path by which the file can be opened, also where another one has taken its place while the program runs.
    pub fn to_open(&self) -> Option<&CStr> {
        const PROGRAM: &CStr = c"/proc/thread-self/exe";
        let path = &self.text[self.path.clone()];
        if !path.ends_with(DELETED) {
            return CStr::from_bytes_until_nul(self.text.get(self.path.start..)?).ok();
        }
        let mut room = Mapping::new(path.len() + 1)?;
        let program = sys::read_link(PROGRAM, &mut room)?;
        (room.get(..program)? == path).then_some(PROGRAM)
    }

    /// The part behind the last `/`.
    pub fn name(&self) -> &[u8] {
        let path = self.path();
        &path[path.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1)..]
    }
}

/// Path of the file that is mapped at `address`, from `/proc/thread-self/maps`.
pub fn file_name(address: usize) -> Option<FileName> {
    const ROOM: usize = 1 << 20;
    let mut text = Mapping::new(ROOM)?;
    let fd = sys::open(c"/proc/thread-self/maps", libc::O_RDONLY).ok()?;
    let mut length = 0;
    while let Ok(read @ 1..) = sys::read(fd, &mut text[length..]) {
        length += read;
    }
    sys::close(fd);
    // 55d0c000-55d0d000 r--p 00000000 fe:00 1234    /path
    let mut start = 0;
    while let Some(line) = text[start..length].iter().position(|&byte| byte == b'\n') {
        let end = start + line;
        let line = &text[start..end];
        if range_of(line).is_some_and(|range| range.contains(&address)) {
            let path = start + line.iter().position(|&byte| byte == b'/')?..end;
            // The line feed makes room for a NUL.
            text[end] = 0;
            return Some(FileName { text, path });
        }
        start = end + 1;
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
