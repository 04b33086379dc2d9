//! The site table of one image (an executable or a shared object), and the branches in its code.

use crate::decode::{self, Flow, MAX_LENGTH};
use crate::layout::{
    COMPARE_OPCODE, Cell, Entry, Form, GATE_TEST, JE, LEA_OPCODE, STUB_CHAIN_JUMP, STUB_HOT, STUB_SIZE,
    STUB_SLOW_BRANCH, VERSION,
};
use crate::policy::Refusal;
use core::ffi::CStr;
use core::ops::Range;
use hashbrown::HashTable;

/// Pages are the unit in which code can be missing.
const PAGE: usize = 4096;

/// Instructions followed from a compare to its call. Between them stands what sets up the arguments.
const MAX_STEPS: usize = 1024;

/// One image: its table, and where its code and data may be.
#[derive(Clone, Debug)]
pub struct Image {
    /// Where the image was loaded: what its symbols are relative to.
    pub base: usize,
    /// Addresses of code.
    pub text: Range<usize>,
    /// Addresses of data, cells among them.
    pub data: Range<usize>,
    /// Addresses of constants, names of files among them. May be those of data.
    pub constants: Range<usize>,
    /// The site table.
    pub entries: &'static [Entry],
}

/// One row of the table, its references resolved.
#[derive(Clone, Copy, Debug)]
pub struct Site {
    entry: &'static Entry,
}

impl Site {
    /// Address of the compare.
    pub fn compare(&self) -> usize {
        resolve(&self.entry.site)
    }

    /// Address of the cell.
    pub fn cell(&self) -> usize {
        resolve(&self.entry.cell)
    }

    /// The cell, if the table and the code of `image` agree on the site.
    pub fn cell_in(&self, image: &Image) -> Option<&'static Cell> {
        // SAFETY: `check` found the cell in the image's data, aligned.
        image.check(self).ok().map(|()| unsafe { &*(self.cell() as *const Cell) })
    }

    /// The same, also while breakpoints, a debugger's or a probe's, stand on the site.
    pub fn cell_to_switch(&self, image: &Image) -> Option<&'static Cell> {
        // SAFETY: as above.
        image.check_but(self, true).ok().map(|()| unsafe { &*(self.cell() as *const Cell) })
    }

    /// Address of `stub.cold`.
    pub fn stub_cold(&self) -> usize {
        resolve(&self.entry.stub)
    }

    /// Address of `stub.hot`.
    pub fn stub_hot(&self) -> usize {
        self.stub_cold() + STUB_HOT
    }

    /// The branch of the stub that leads to the site's chain once it has one. Before that it leads to the slow path.
    pub fn chain_jump(&self) -> usize {
        self.stub_cold() + STUB_CHAIN_JUMP
    }

    /// Address of the slow path, which the stub branches to.
    ///
    /// # Safety
    /// The site was found to be right ([`Image::check`]).
    pub unsafe fn slow_path(&self) -> usize {
        let end = self.chain_jump();
        // SAFETY: the displacement in front of the chain's jump, in code that was checked.
        end.wrapping_add_signed(unsafe { ((end - 4) as *const i32).read_unaligned() } as isize)
    }

    /// Where the hot branch leads as it was emitted.
    pub fn emitted_hot_target(&self) -> usize {
        match self.entry.form() {
            Form::Inline => self.stub_hot(),
            Form::Stub => self.stub_cold(),
        }
    }

    /// Source line, 0 where unknown.
    pub fn line(&self) -> u32 {
        self.entry.line()
    }

    /// How the site was emitted.
    pub fn form(&self) -> Form {
        self.entry.form()
    }
}

fn resolve(field: &i32) -> usize {
    (core::ptr::from_ref(field) as usize).wrapping_add_signed(*field as isize)
}

impl Image {
    /// Sites, in the order of the table.
    pub fn sites(&self) -> impl Iterator<Item = Site> {
        self.entries.iter().map(|entry| Site { entry })
    }

    /// Source file of `site`, where the program was built with debug information.
    pub fn file(&self, site: &Site) -> Option<&'static CStr> {
        let start = resolve(&site.entry.file);
        if site.entry.file == 0 || !self.constants.contains(&start) {
            return None;
        }
        // SAFETY: the reference was made by the compiler pass; where the table is damaged, it still leads
        // into the image, and the string ends at the image's end at the latest.
        let bytes = unsafe { core::slice::from_raw_parts(start as *const u8, self.constants.end - start) };
        CStr::from_bytes_until_nul(bytes).ok()
    }

    /// Whether the table and the code agree on `site`.
    ///
    /// # Errors
    /// [`Refusal::Version`], or [`Refusal::Table`] when a reference leads out of the image or to other code.
    pub fn check(&self, site: &Site) -> Result<(), Refusal> {
        self.check_but(site, false)
    }

    /// The same; an instruction may have a breakpoint in the place of its first byte.
    fn check_but(&self, site: &Site, breakpoints: bool) -> Result<(), Refusal> {
        if site.entry.version() != VERSION {
            return Err(Refusal::Version);
        }
        let (compare, cell, cold) = (site.compare(), site.cell(), site.stub_cold());
        let holds = |range: &Range<usize>, address: usize, length: usize| {
            range.contains(&address) && address.checked_add(length).is_some_and(|end| end <= range.end)
        };
        if !holds(&self.text, compare, COMPARE_OPCODE.len() + 4)
            || !holds(&self.text, cold, STUB_SIZE)
            || !holds(&self.data, cell, size_of::<Cell>())
            || cell % align_of::<Cell>() != 0
        {
            return Err(Refusal::Table);
        }
        // Compare and stub name the cell, each in its own code: rows that were mixed up do not pass.
        let refers = |at, opcode: &[u8]| self.refers(at, opcode, cell, breakpoints);
        let known = refers(compare, &COMPARE_OPCODE)? && refers(cold, &LEA_OPCODE)?;
        // SAFETY: all of the stub lies in the image's code, which stays mapped.
        let stub = unsafe { core::slice::from_raw_parts(cold as *const u8, STUB_CHAIN_JUMP) };
        let known = known
            && stub[STUB_SLOW_BRANCH - GATE_TEST.len()..].starts_with(&GATE_TEST)
            && stub[STUB_SLOW_BRANCH..].starts_with(&JE);
        if known { Ok(()) } else { Err(Refusal::Bytes) }
    }

    /// Whether `opcode` stands at `at`. It is followed by a 32-bit displacement, which must lead to `expected`.
    fn refers(&self, at: usize, opcode: &[u8], expected: usize, breakpoints: bool) -> Result<bool, Refusal> {
        const INT3: u8 = 0xcc;
        // SAFETY: the caller has found the instruction to lie in the image's code, which stays mapped.
        let code = unsafe { core::slice::from_raw_parts(at as *const u8, opcode.len() + 4) };
        let (found, displacement) = code.split_at(opcode.len());
        let is_opcode =
            found[1..] == opcode[1..] && (found[0] == opcode[0] || (breakpoints && found[0] == INT3));
        if !is_opcode {
            return Ok(false);
        }
        let displacement = displacement.try_into().map(i32::from_le_bytes).map_err(|_| Refusal::Table)?;
        let end = at + code.len();
        if end.wrapping_add_signed(displacement as isize) == expected {
            Ok(true)
        } else {
            Err(Refusal::Table)
        }
    }

    /// Address of the hot branch of `site`: the direct call or jump with a 32-bit displacement that is
    /// reached when the compare matches. `expected` is where it leads now.
    ///
    /// # Errors
    /// [`Refusal::NoHotBranch`] when the code that sets up the arguments cannot be followed.
    pub fn hot_branch(&self, site: &Site, expected: usize) -> Result<usize, Refusal> {
        let mut at = site.compare();
        for _ in 0..MAX_STEPS {
            let Some(instruction) = self.instruction(at) else { return Err(Refusal::NoHotBranch) };
            // Another site's compare: this site's branch has been missed, and what follows is not its own.
            if at != site.compare() && self.is_compare(at) {
                return Err(Refusal::NoHotBranch);
            }
            let next = at + instruction.length;
            at = match instruction.flow {
                Flow::Call(distance) | Flow::Jump(distance)
                    if instruction.length == 5 && next.wrapping_add_signed(distance as isize) == expected =>
                {
                    return Ok(at);
                }
                // The compare's own branch leads to the cold block; later ones, and calls such as memcpy's,
                // come back to the next instruction.
                Flow::Next | Flow::Branch(_) | Flow::Call(_) => next,
                Flow::Jump(distance) => next.wrapping_add_signed(distance as isize),
                Flow::Leaves => return Err(Refusal::NoHotBranch),
            };
        }
        Err(Refusal::NoHotBranch)
    }

    /// Whether the instruction at `at`, which has been decoded, is a site's compare.
    fn is_compare(&self, at: usize) -> bool {
        // SAFETY: an instruction was decoded here; reading stops at the first byte that differs.
        (0..COMPARE_OPCODE.len()).all(|byte| unsafe { *((at + byte) as *const u8) } == COMPARE_OPCODE[byte])
    }

    fn instruction(&self, at: usize) -> Option<decode::Instruction> {
        if !self.text.contains(&at) {
            return None;
        }
        // Behind the last page there may be nothing, so the next page is only read if the instruction
        // reaches into it.
        let room = MAX_LENGTH.min(self.text.end - at);
        for length in [room.min(PAGE - at % PAGE), room] {
            // SAFETY: within the image's code; see above for the page behind.
            let code = unsafe { core::slice::from_raw_parts(at as *const u8, length) };
            if let Some(instruction) = decode::decode(code) {
                return Some(instruction);
            }
        }
        None
    }
}

/// Rows up to which a table is searched from end to end: a few microseconds, as long as patching takes.
/// A fuzzer's tables are small.
const SEARCHED_ROWS: usize = if cfg!(fuzzing) { 8 } else { 4096 };

/// Finds the rows of a cell. Large tables get an index when the first site is decided.
#[derive(Default)]
pub struct Index {
    rows: Option<HashTable<u32>>,
}

impl Index {
    /// An index that has not been built.
    pub const fn new() -> Self {
        Self { rows: None }
    }

    /// Rows of the table whose cell is at `cell`: one for every copy of the site.
    ///
    /// # Errors
    /// [`Refusal::Memory`] when the index cannot be built.
    // Inlined: another copy of the iterator would be much for a small stack.
    #[inline(always)]
    pub fn copies<'a>(
        &'a mut self,
        image: &'a Image,
        cell: usize,
    ) -> Result<impl Iterator<Item = Site> + 'a, Refusal> {
        let site = move |row: u32| Site { entry: &image.entries[row as usize] };
        let searched = image.entries.len() <= SEARCHED_ROWS;
        if self.rows.is_none() && !searched {
            self.build(image)?;
        }
        let indexed = self.rows.iter().flat_map(move |index| index.iter_hash(hash(cell)).copied());
        let all = if searched { 0..image.entries.len() as u32 } else { 0..0 };
        Ok(indexed.chain(all).map(site).filter(move |site| site.cell() == cell))
    }

    // Not inlined: what it needs of the stack is given back before the rows are looked at.
    #[inline(never)]
    fn build(&mut self, image: &Image) -> Result<(), Refusal> {
        let hash_of = |&row: &u32| hash(Site { entry: &image.entries[row as usize] }.cell());
        let rows = 0..image.entries.len() as u32;
        let mut index = HashTable::new();
        index.try_reserve(rows.len(), hash_of).map_err(|_| Refusal::Memory)?;
        for row in rows {
            index.insert_unique(hash_of(&row), row, hash_of);
        }
        self.rows = Some(index);
        Ok(())
    }
}

/// Fibonacci hashing: cells are 16 bytes apart.
fn hash(cell: usize) -> u64 {
    let mixed = (cell as u64 >> 4).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    // The table looks at both ends of the hash.
    mixed ^ mixed >> 32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::CELL_GATE;
    use crate::synthetic::Synthetic;

    const SITES: [(Form, usize); 2] = [(Form::Inline, 2), (Form::Stub, 1)];

    #[test]
    fn what_was_emitted_is_accepted_and_every_copy_found() {
        let image = Synthetic::new(&SITES, 1).image;
        let mut index = Index::new();
        for (site, copies) in image.sites().zip([2, 2, 1]) {
            assert_eq!(image.check(&site), Ok(()));
            assert!(image.hot_branch(&site, site.emitted_hot_target()).is_ok());
            assert_eq!(index.copies(&image, site.cell()).unwrap().count(), copies);
        }
    }

    #[test]
    fn a_cell_that_is_not_all_in_the_data_is_refused() {
        let whole = Synthetic::new(&SITES, 1).image;
        for site in whole.sites() {
            for (rest, expected) in [(size_of::<Cell>(), Ok(())), (CELL_GATE, Err(Refusal::Table))] {
                let image = Image { data: whole.data.start..site.cell() + rest, ..whole.clone() };
                assert_eq!(image.check(&site), expected, "{rest}");
            }
        }
    }

    #[test]
    fn a_branch_that_is_not_all_in_the_text_is_not_found() {
        let whole = Synthetic::new(&SITES, 1).image;
        for site in whole.sites() {
            let expected = site.emitted_hot_target();
            let branch = whole.hot_branch(&site, expected).unwrap();
            for length in 0..5 {
                let image = Image { text: whole.text.start..branch + length, ..whole.clone() };
                assert_eq!(image.hot_branch(&site, expected), Err(Refusal::NoHotBranch), "{length}");
            }
        }
    }
}
