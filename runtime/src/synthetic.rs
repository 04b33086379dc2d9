//! Images for the unit tests: call sites as the pass emits them, in memory of their own, and what a processor would
//! do at them.

use crate::layout::{
    COMPARE_OPCODE, COMPARE_TAIL, Cell, Entry, Form, GATE_TEST, HOT_JUMP, JE, JMP, LEA_OPCODE, NEVER,
    STUB_HOT,
};
use crate::patch::{FLAG_TEST_OPCODE, JE_SHORT};
use crate::site::{Image, Site};
use core::ops::Range;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::vec::Vec;

const CODE: usize = 1 << 16;
const DATA: usize = 1 << 14;
const TABLE: usize = 1 << 14;
/// `jne` with a 32-bit displacement, to the cold block.
pub const JNE: [u8; 2] = [0x0f, 0x85];
/// `jne` over the patched jump of a compare.
const JNE_SHORT: u8 = COMPARE_TAIL[0];
/// `call rel32`
pub const CALL: u8 = 0xe8;
const RET: u8 = 0xc3;
/// Distance between the functions that are called.
const FUNCTION_SIZE: usize = 16;
/// Instructions from a call to where it leads, at most: every link of the longest chain.
const MAX_STEPS: usize = 1000;

/// An image, not unmapped by itself: the table is `'static`.
pub struct Synthetic {
    /// The image.
    pub image: Image,
    functions: Range<usize>,
    slow: usize,
}

/// Where a call leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// To a function, by direct branches.
    Function(u64),
    /// To the slow path, with the address of this cell.
    Slow(usize),
}

impl Synthetic {
    /// An image with a site for each form, of as many copies as stand beside it, and some functions to call.
    pub fn new(sites: &[(Form, usize)], functions: usize) -> Self {
        Self::with_gap(sites, functions, 0)
    }

    /// The same, with so many bytes between functions and sites.
    pub fn with_gap(sites: &[(Form, usize)], functions: usize, gap: usize) -> Self {
        let base = map(CODE + DATA + TABLE);
        let (data, table) = (base + CODE, base + CODE + DATA);
        let slow = base;
        let functions = base + FUNCTION_SIZE..base + (1 + functions) * FUNCTION_SIZE;
        let mut code = Code { at: functions.end + gap };
        let mut entries = Vec::new();
        for (index, &(form, copies)) in sites.iter().enumerate() {
            let cell = data + index * size_of::<Cell>();
            // SAFETY: the place of this cell in the data.
            unsafe {
                (cell as *mut Cell).write(Cell { hot: AtomicU64::new(NEVER), gate: AtomicUsize::new(0) })
            };
            match form {
                Form::Inline => {
                    let stub = code.stub(cell, slow);
                    entries.extend((0..copies).map(|_| (form, code.inline(cell, stub), cell, stub)));
                }
                Form::Stub => {
                    let compare = code.at;
                    code.compare(cell);
                    code.put(&COMPARE_TAIL);
                    entries.push((form, compare, cell, code.stub(cell, slow)));
                }
            }
        }
        assert!(code.at <= data && sites.len() * size_of::<Cell>() <= DATA);
        assert!(entries.len() * size_of::<Entry>() <= TABLE);
        for (row, &(form, site, cell, stub)) in entries.iter().enumerate() {
            let at = table + row * size_of::<Entry>();
            let entry = Entry {
                site: relative(at, site),
                cell: relative(at + 4, cell),
                stub: relative(at + 8, stub),
                file: 0,
                line_and_flags: Entry::pack(form, row as u32 + 1),
            };
            // SAFETY: the place of this row in the table.
            unsafe { (at as *mut Entry).write(entry) };
        }
        // SAFETY: memory of ours that is only read from now on.
        assert_eq!(unsafe { libc::mprotect(base as *mut _, CODE, libc::PROT_READ | libc::PROT_EXEC) }, 0);
        // SAFETY: rows that were just written, in memory that stays.
        let entries = unsafe { core::slice::from_raw_parts(table as *const Entry, entries.len()) };
        let data = data..data + DATA;
        let image = Image { base, text: base..code.at, constants: data.clone(), data, entries };
        Self { image, functions, slow }
    }

    /// Gives the image's memory back: a process may have so many mappings.
    ///
    /// # Safety
    /// Nobody uses the image any more, nor a cell or a row of it.
    pub unsafe fn unmap(&self) {
        // SAFETY: what `map` gave; the caller's promise.
        unsafe { libc::munmap(self.image.base as *mut _, CODE + DATA + TABLE) };
    }

    /// Addresses of the functions.
    pub fn functions(&self) -> Vec<u64> {
        self.functions.clone().step_by(FUNCTION_SIZE).map(|address| address as u64).collect()
    }

    /// Where the functions lie.
    pub fn function_range(&self) -> Range<usize> {
        self.functions.clone()
    }

    /// Address of the slow path.
    pub fn slow(&self) -> usize {
        self.slow
    }

    /// The cell of a site of this image.
    pub fn cell(&self, site: &Site) -> &Cell {
        assert!(self.image.data.contains(&site.cell()));
        // SAFETY: written when the image was made.
        unsafe { &*(site.cell() as *const Cell) }
    }

    /// What a call of `target` does, by the instructions that are there now. `passed` runs whenever it has got past a
    /// compare or the test of a gate.
    pub fn call(&self, site: &Site, target: u64, passed: impl Fn()) -> End {
        let mut at = site.compare();
        let mut zero = false;
        // Whether `zero` says that the gate of the stub is closed, rather than that a compare has matched.
        let mut is_gate = false;
        let mut r11 = 0;
        for _ in 0..MAX_STEPS {
            if at == self.slow {
                return End::Slow(r11);
            }
            if self.functions.contains(&at) {
                return End::Function(at as u64);
            }
            at = match code_at(at) {
                opcode if opcode == COMPARE_OPCODE => {
                    // SAFETY: the cell or the slot that the instruction names. Acquire: what the processor does.
                    let slot = unsafe { AtomicU64::from_ptr(leads_to(at + 3, 0) as *mut u64) };
                    zero = slot.load(Ordering::Acquire) == target;
                    is_gate = false;
                    at + 7
                }
                opcode if opcode == LEA_OPCODE => {
                    r11 = leads_to(at + 3, 0);
                    at + 7
                }
                [a, b, _] if [a, b] == FLAG_TEST_OPCODE => {
                    // SAFETY: likewise. All of the word: the instruction looks at its lowest byte.
                    let flags = unsafe { AtomicU64::from_ptr(leads_to(at + 2, 1) as *mut u64) };
                    let [mask] = code_at(at + 6);
                    zero = flags.load(Ordering::Acquire) & u64::from(mask) == 0;
                    at + 7
                }
                opcode if GATE_TEST.starts_with(&opcode) => {
                    let [.., offset, mask]: [u8; GATE_TEST.len()] = code_at(at);
                    // SAFETY: likewise, of the cell that `r11` holds.
                    let flags = unsafe { AtomicUsize::from_ptr((r11 + usize::from(offset)) as *mut usize) };
                    zero = flags.load(Ordering::Acquire) & usize::from(mask) == 0;
                    is_gate = true;
                    at + GATE_TEST.len()
                }
                [a, b, _] if [a, b] == JNE => {
                    if zero {
                        passed();
                        at + 6
                    } else {
                        leads_to(at + 2, 0)
                    }
                }
                [a, b, _] if [a, b] == JE => {
                    if zero != is_gate {
                        passed();
                    }
                    if zero { leads_to(at + 2, 0) } else { at + 6 }
                }
                [opcode @ (JNE_SHORT | JE_SHORT), distance, _] => {
                    if zero == (opcode == JE_SHORT) {
                        at + 2 + usize::from(distance)
                    } else {
                        passed();
                        at + 2
                    }
                }
                [CALL | JMP, ..] => leads_to(at + 1, 0),
                [a, b, _] if [a, b] == HOT_JUMP => (at + 2).wrapping_add_signed(b as i8 as isize),
                other => panic!("a call of {target:#x} came to {other:02x?} at {at:#x}"),
            };
        }
        panic!("a call of {target:#x} does not end");
    }
}

/// Writes code.
struct Code {
    at: usize,
}

impl Code {
    fn put(&mut self, bytes: &[u8]) {
        // SAFETY: `Synthetic::new` looks that the code fits.
        unsafe { (self.at as *mut u8).copy_from(bytes.as_ptr(), bytes.len()) };
        self.at += bytes.len();
    }

    /// A displacement at the end of an instruction.
    fn refer(&mut self, to: usize) {
        self.put(&relative(self.at + 4, to).to_le_bytes());
    }

    fn compare(&mut self, cell: usize) {
        self.put(&COMPARE_OPCODE);
        self.refer(cell);
    }

    fn stub(&mut self, cell: usize, slow: usize) -> usize {
        let stub = self.at;
        self.put(&LEA_OPCODE);
        self.refer(cell);
        self.put(&GATE_TEST);
        for branch in [&JE[..], &[JMP]] {
            self.put(branch);
            self.refer(slow);
        }
        self.put(&HOT_JUMP);
        stub
    }

    fn inline(&mut self, cell: usize, stub: usize) -> usize {
        let compare = self.at;
        self.compare(cell);
        self.put(&JNE);
        // Over the displacement, the hot call and the return.
        self.refer(self.at + 4 + 5 + 1);
        for part in [stub + STUB_HOT, stub] {
            self.put(&[CALL]);
            self.refer(part);
            self.put(&[RET]);
        }
        compare
    }
}

fn relative(from: usize, to: usize) -> i32 {
    i32::try_from(to as i64 - from as i64).unwrap()
}

fn code_at<const N: usize>(at: usize) -> [u8; N] {
    // SAFETY: code of the image or of a chain. Volatile: it changes behind the compiler's back.
    core::array::from_fn(|byte| unsafe { core::ptr::read_volatile((at + byte) as *const u8) })
}

/// What the displacement at `field` leads to; `behind` bytes of the instruction follow it.
fn leads_to(field: usize, behind: usize) -> usize {
    (field + 4 + behind).wrapping_add_signed(i32::from_le_bytes(code_at(field)) as isize)
}

/// Far from everything else in the process: chains need room near the image, and the stacks and heaps of threads take
/// much of it. Sanitizers take the place for an executable's.
fn map(length: usize) -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0x5800_0000_0000);
    let hint = NEXT.fetch_add(1 << 30, Ordering::Relaxed);
    let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping: the address is a hint.
    let start = unsafe { libc::mmap(hint as *mut _, length, protection, flags, -1, 0) };
    assert_ne!(start, libc::MAP_FAILED);
    start as usize
}
