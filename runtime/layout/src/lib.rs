//! What the compiler pass emits and the runtime reads: the one description of both.
//!
//! For every function with converted calls the pass emits
//!
//! * a *cell* per site, in data: the target that the site's compare matches, and where its slow path
//!   counts;
//! * a *stub* per site, in one out-of-line block per function: the slow path, and for the stub form the
//!   compare as well;
//! * an *entry* per copy of a site in the section [`SECTION`]: where compare, cell and stub are.
//!
//! ```text
//! inline form                               stub form
//!   S: cmp  cell(%rip), %r10                  call/jmp S
//!      jne  cold        (out of line)         ...
//!      ...arguments...                      S: cmp  cell(%rip), %r10
//!      call hot         <- patched             jne  cold
//!      ...                                     jmp  cold      <- patched (hot)
//! cold: ...arguments...
//!      call stub.cold
//!
//! stub.cold: lea   cell(%rip), %r11
//!            testb $2, gate(%r11)
//!            je    __relpoline_slow
//!            jmp   __relpoline_slow    <- patched: a chain of further targets
//! stub.hot:  jmp   stub.cold           (inline form)
//! ```
//!
//! Every patched branch stands behind a compare with data, and is written only while no thread can get
//! past that compare: code bytes never change under a thread that may execute them.

#![no_std]

pub mod record;

use core::sync::atomic::{AtomicU64, AtomicUsize};

/// Version of everything in this crate. An entry that carries another one is never patched.
pub const VERSION: u8 = 3;

/// ELF section of the site table. A C identifier, so that linkers define `__start_` and `__stop_` for it.
pub const SECTION: &str = "relpoline_sites";

/// ELF section that lists the functions which the pass has seen: pairs of PC-relative start and size,
/// each four bytes. `relpoline audit` tells code built here from foreign code by it.
pub const BUILT_SECTION: &str = "relpoline_built";

/// As [`BUILT_SECTION`], for the medium and large code models: there LLVM makes the start eight bytes wide.
pub const BUILT_SECTION_LARGE: &str = "relpoline_built_large";

/// Prefix of the sections that hold stubs; the name of the calling function follows.
pub const STUB_SECTION_PREFIX: &str = ".text.unlikely.relpoline.";

/// Prefix of the sections that hold cells; the name of the calling function follows.
pub const CELL_SECTION_PREFIX: &str = ".data.relpoline.";

/// Section of the stubs in kernel code, one that its linker scripts know.
pub const KERNEL_STUB_SECTION: &str = ".text.unlikely";

/// Section of the cells in kernel code, likewise.
pub const KERNEL_CELL_SECTION: &str = ".data..read_mostly";

/// Suffix of the symbol that names a function's block of stubs.
pub const STUB_SYMBOL_SUFFIX: &str = ".relpoline";

/// The symbol of the function that the symbol at a site's compare belongs to: the compare of the stub form lies in the
/// stubs. In the kernel each place where they are entered has a symbol, whose name goes on behind the suffix.
pub fn owner_of(symbol: &[u8]) -> &[u8] {
    let suffix = STUB_SYMBOL_SUFFIX.as_bytes();
    let is_stubs = |rest: &[u8]| matches!(rest.strip_prefix(suffix), Some([] | [b'.', ..]));
    let end = (0..symbol.len()).rev().find(|&at| is_stubs(&symbol[at..])).unwrap_or(symbol.len());
    &symbol[..end]
}

/// The name of that function in the source.
pub fn function_of(symbol: &[u8]) -> &[u8] {
    source_name(owner_of(symbol))
}

/// The name that a function has in the source: ThinLTO appends `.llvm.` and a number, another one for each form of the
/// file, to a static function that other files come to call.
pub fn source_name(symbol: &[u8]) -> &[u8] {
    const MARK: &[u8] = b".llvm.";
    let digits = symbol.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    match symbol[..symbol.len() - digits].strip_suffix(MARK) {
        Some(name) if digits > 0 => name,
        _ => symbol,
    }
}

/// Suffix of the symbol that names a function's cells.
pub const CELL_SYMBOL_SUFFIX: &str = ".relpoline.cells";

/// The runtime's slow path: target in `r10`, cell in `r11`, every other register preserved.
pub const SLOW_PATH: &str = "__relpoline_slow";

/// Name of the annotation behind `RELPOLINE_NEVER`.
pub const NEVER_ANNOTATION: &str = "relpoline_never";

/// Bytes before a function's first stub. A stub must not share its address with the symbol of the block,
/// else optimisers replace the one by the other and lose the prototype of the call.
pub const STUB_LEAD: &[u8] = &[0x0f, 0x0b]; // ud2

/// Bytes of the part that both forms share, from `stub.cold` on.
pub const STUB_SIZE: usize = STUB_CHAIN_JUMP + 5;

/// `lea disp32(%rip), %r11` without its displacement: the start of `stub.cold`.
pub const LEA_OPCODE: [u8; 3] = [0x4c, 0x8d, 0x1d];

/// `testb $GATE_CHAIN, CELL_GATE(%r11)`, which follows.
pub const GATE_TEST: [u8; 5] = [0x41, 0xf6, 0x43, CELL_GATE as u8, GATE_CHAIN as u8];

/// Distance from `stub.cold` to the branch to the slow path.
pub const STUB_SLOW_BRANCH: usize = LEA_OPCODE.len() + 4 + GATE_TEST.len();

/// Distance from `stub.cold` to the patched jump of the chain.
pub const STUB_CHAIN_JUMP: usize = STUB_SLOW_BRANCH + JE.len() + 4;

/// `je` with a 32-bit displacement.
pub const JE: [u8; 2] = [0x0f, 0x84];

/// `jmp` with a 32-bit displacement.
pub const JMP: u8 = 0xe9;

/// Distance from `stub.cold` to `stub.hot`. Where the hot branch leads before it is patched must differ from where the
/// cold one leads: else compilers make one of the two, and nobody can tell them apart.
pub const STUB_HOT: usize = STUB_SIZE;

/// The jump back to `stub.cold` that stands there.
pub const HOT_JUMP: [u8; 2] = [0xeb, (STUB_HOT + 2).wrapping_neg() as u8];

/// Bytes of the compare in front of a stub of the stub form: compare, short branch, patched jump.
pub const STUB_COMPARE_SIZE: usize = 7 + COMPARE_TAIL.len();

/// Branch and patched jump that follow the compare of the stub form, both to `stub.cold`.
pub const COMPARE_TAIL: [u8; 7] = [0x75, 0x05, 0xe9, 0, 0, 0, 0];

/// `cmp disp32(%rip), %r10` without its displacement.
pub const COMPARE_OPCODE: [u8; 3] = [0x4c, 0x3b, 0x15];

/// How a site was emitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Compare and direct call stand in the calling function.
    Inline,
    /// The calling function calls or jumps to a stub that compares.
    Stub,
}

/// Bit of [`Entry::flags`] set for [`Form::Stub`].
pub const FLAG_STUB_FORM: u8 = 1;

/// Position of [`VERSION`] in [`Entry::flags`].
pub const FLAG_VERSION_SHIFT: u32 = 4;

/// One row of the site table. References are relative to the address of the field itself.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// To the compare.
    pub site: i32,
    /// To the site's [`Cell`]. Copies of one site (a function inlined twice at link time) share it.
    pub cell: i32,
    /// To `stub.cold`.
    pub stub: i32,
    /// To the NUL-terminated name of the source file, or 0.
    pub file: i32,
    /// Source line in the lower 24 bits, 0 where unknown; flags above.
    pub line_and_flags: u32,
}

/// Bits of [`Entry::line_and_flags`] that hold the line. A larger line is recorded as the largest one.
pub const LINE_BITS: u32 = 24;

impl Entry {
    /// Flags byte: form and version.
    pub const fn flags(form: Form) -> u8 {
        (VERSION << FLAG_VERSION_SHIFT) | if matches!(form, Form::Stub) { FLAG_STUB_FORM } else { 0 }
    }

    /// Value of [`Entry::line_and_flags`].
    pub const fn pack(form: Form, line: u32) -> u32 {
        let max = (1 << LINE_BITS) - 1;
        ((Self::flags(form) as u32) << LINE_BITS) | if line > max { max } else { line }
    }

    /// Version of the layout that the entry was made for.
    pub const fn version(&self) -> u8 {
        (self.line_and_flags >> LINE_BITS) as u8 >> FLAG_VERSION_SHIFT
    }

    /// How the site was emitted.
    pub const fn form(&self) -> Form {
        if (self.line_and_flags >> LINE_BITS) as u8 & FLAG_STUB_FORM != 0 { Form::Stub } else { Form::Inline }
    }

    /// Source line, 0 where unknown.
    pub const fn line(&self) -> u32 {
        self.line_and_flags & ((1 << LINE_BITS) - 1)
    }
}

/// What a site's compare reads, and where its slow path counts. Only the runtime writes it.
#[repr(C, align(16))]
#[derive(Debug)]
pub struct Cell {
    /// Target that the compare matches; [`NEVER`] at first, or what [`closes`] it.
    pub hot: AtomicU64,
    /// Address of the site's record, 0 until the site first runs; [`GATE_QUIET`], [`GATE_CHAIN`] and [`GATE_OFF`] in
    /// the lowest bits.
    pub gate: AtomicUsize,
}

/// `Cell::hot` of a site that has never been promoted. It is not a canonical address, and a number without meaning: no
/// pointer that a program calls equals it, even one that is marked, or null with its highest bit set.
pub const NEVER: u64 = 0x8c37_5de1_a94b_26f1;

/// What lets nobody past the compare with the slot at `address`, whatever the branch behind it leads to: the slot's own
/// address, made non-canonical. It differs from slot to slot and from run to run, so that nobody who does not know
/// already where things are can make a pointer of it.
pub const fn closes(address: u64) -> u64 {
    address ^ 1 << 63
}

/// Bit of [`Cell::gate`]: the slow path does not count.
pub const GATE_QUIET: usize = 1;

/// Bit of [`Cell::gate`]: the stub's chain branch is taken.
pub const GATE_CHAIN: usize = 2;

/// Bit of [`Cell::gate`]: a site that has never run was turned off.
pub const GATE_OFF: usize = 4;

const _: () = {
    assert!(size_of::<Entry>() == 20 && align_of::<Entry>() == 4);
    assert!(size_of::<Cell>() == 16 && core::mem::offset_of!(Cell, gate) == CELL_GATE);
    assert!(STUB_COMPARE_SIZE == COMPARE_OPCODE.len() + 4 + COMPARE_TAIL.len());
    assert!(STUB_SIZE == 23 && CELL_GATE < 0x80 && GATE_CHAIN < 0x80);
};

/// Offset of [`Cell::gate`].
pub const CELL_GATE: usize = 8;
