//! How a site is patched, and why no thread can make a wrong call meanwhile.
//!
//! One rule carries everything: **a byte of code is written only while no thread can execute it, and a
//! branch becomes reachable only through a store to data.** Every patched branch `J` stands behind a gate:
//!
//! ```text
//!        before                     after
//!   G:   cmp  slot(%rip), %r10      cmp  slot(%rip), %r10       slot is data, aligned, 8 bytes
//!        jne  past                  jne  past
//!   J:   jmp  slow  (or call)       jmp  T                      4 bytes of code
//! ```
//!
//! 1. `slot` has never held anything but [`NEVER`] and what [`closes`] it, which no caller holds, so no thread is at
//!    `J`, nor between `G` and `J`, nor can one get there (a signal handler, a preempted thread and a forked child
//!    included).
//! 2. The displacement of `J` is written. How the system writes it, in what pieces, is of no consequence.
//! 3. [`Port::sync_cores`]: every core discards what it had fetched or decoded of `J`.
//! 4. `slot := T`, with release order. A thread whose compare loads `T` (and has `T` in `r10`) runs `J` as
//!    written in step 2, since its core has been synchronised after that; any other thread goes past.
//!
//! So a thread at `J` always holds `T`, whatever happens later: the slot may be closed and hold `T` again at any time,
//! because `J` is **written once** and keeps leading to `T`. Another target gets another
//! branch, a link of the chain:
//!
//! ```text
//!         cmp   slot(%rip), %r10
//!   J:    je    T                        leads to the body's end before it is written
//!   G:    testb flag(%rip)               whether the next link has been written
//!         je    end
//!         ...the next link...
//!   end:  jmp   slow
//! ```
//!
//! `J` is a conditional branch here, which costs calls of the targets behind it less than a jump over a jump. Whoever
//! comes to the compare may hold any target and runs `J`, taken or not. So the gate that counts is the one in front of
//! the whole link: a flag, which is data, has never been set before the link is written (steps 1 to 4 with the flag
//! for the slot), and links are written in their order. The gate of the first link is the stub's; that of a body
//! behind this one is the flag of the last link. Whoever passes a flag may hold any target, which is right for what is
//! behind it: each link compares for itself, and the end is the slow path. Once a link can be reached, opening and
//! closing its target is a store to its slot.
//!
//! A target that has cooled is closed, and opened when it is hot again: two stores to data. To lead a branch
//! elsewhere, one has to prove that nobody stands in front of it. A program cannot. The kernel can: it waits until
//! every CPU and every task has passed through a quiescent state since all the site's gates were closed (RCU tasks), so
//! that whoever had passed one has left; and no gate of the site is opened meanwhile. Then [`recycle`] makes the inline
//! branch what it was when it was emitted, and the links, from the first one on that is to go, what they were before
//! they were written. This is done for branches to modules that have gone, which would otherwise use up a site's
//! branches.
//!
//! The system may undo what was written, when a program drops a page of its code and it is read from its file again. An
//! inline branch then leads to its stub, as it was emitted, and the stub's to the slow path: right for every target. It
//! must go as a whole, so a branch whose displacement lies across two pages is not written ([`Refusal::Split`]).
//! `what_was_patched_of_one_page_is_undone` and, in the model, `nor_does_one_of_which_half_is_undone` attack this.
//!
//! Pairs: the release store of step 4 pairs with the load of the compare in the program's code (x86 keeps
//! loads in order, and a dependent branch is not retired before its load); `sync_cores` pairs with the
//! serialising instruction that it runs on every other core. `tests/runtime.rs`
//! of the test suite attacks this: threads, signal handlers and forked children call the sites meanwhile.

mod chain;

pub use chain::{
    BODY_SIZE, BODY_STRIDE, Bodies, Chain, FLAG_TEST_OPCODE, JE_SHORT, LINKS, RESERVED_BODIES, SLOTS_STRIDE,
    TARGETS, close_chain, code_of_body, extend, leave_chain, open_chain,
};

use chain::chain_of;

use crate::layout::{Cell, JE, JMP, NEVER, closes};
use crate::policy::Refusal;
use crate::port::{CodeWriter, Port, System};
use crate::record::Record;
use crate::site::{Image, Site};
use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering};

/// Opcode of the direct call with a 32-bit displacement.
const CALL: u8 = 0xe8;
/// Bytes of a direct branch.
const BRANCH_SIZE: usize = 5;

/// Gives a site its inline target. See the protocol above; the slot is the cell.
///
/// # Errors
/// Why nothing was promoted. The site goes on as before.
///
/// # Safety
/// The caller holds the runtime's lock, and no earlier call for this cell has succeeded.
#[inline(never)]
pub unsafe fn promote(
    image: &Image,
    copies: impl Iterator<Item = Site>,
    cell: &Cell,
    target: u64,
) -> Result<(), Refusal> {
    let mut writer = System::open_code()?;
    // SAFETY: the caller's promise.
    unsafe { write_inline(&mut writer, image, copies, cell, target)? };
    System::sync_cores()?;
    publish(&cell.hot, target);
    Ok(())
}

/// Opens the inline branch of a site again.
///
/// # Safety
/// It has been written, for the target that the record names, and the cores have been synchronised since.
pub unsafe fn reopen(record: &Record) {
    publish(&record.cell().hot, record.inline.load(Ordering::Relaxed));
}

/// Lets nobody to the inline branch of a site.
pub fn close_inline(cell: &Cell) {
    close_slot(&cell.hot);
}

/// Whether nobody comes to the inline branch of a site.
pub fn is_inline_closed(cell: &Cell) -> bool {
    [NEVER, closes_slot(&cell.hot)].contains(&cell.hot.load(Ordering::Relaxed))
}

fn closes_slot(slot: &AtomicU64) -> u64 {
    closes(core::ptr::from_ref(slot) as u64)
}

fn close_slot(slot: &AtomicU64) {
    publish(slot, closes_slot(slot));
}

/// Step 4 of the protocol: whoever loads this value finds the branch behind it written.
fn publish(slot: &AtomicU64, value: u64) {
    // Release: pairs with the load of the compare or test that it opens.
    slot.store(value, Ordering::Release);
    looked_at();
}

/// Here the unit tests' model looks at what threads may now be doing.
fn looked_at() {
    #[cfg(test)]
    crate::model::look();
}

/// Writes the inline branch of a site, which stays closed: step 2 of the protocol, without the others.
///
/// # Errors
/// Why it was not written.
///
/// # Safety
/// As for [`promote`]. Before the cell is opened the cores are synchronised.
// Inlined: the stack that `promote` runs on may be small.
#[inline(always)]
pub unsafe fn write_inline(
    writer: &mut <System as Port>::CodeWriter,
    image: &Image,
    mut copies: impl Iterator<Item = Site>,
    cell: &Cell,
    target: u64,
) -> Result<(), Refusal> {
    if !is_inline_closed(cell) {
        // Cells of another version have other values.
        return Err(copies.find_map(|site| image.check(&site).err()).unwrap_or(Refusal::Bytes));
    }
    close_inline(cell);
    let mut written = 0;
    let mut refusal = Refusal::Table;
    for site in copies {
        // A copy that cannot be patched keeps calling its stub, which is right for every target.
        let result = image.check(&site).and_then(|()| {
            let emitted = site.emitted_hot_target();
            let branch = image.hot_branch(&site, emitted)?;
            // SAFETY: the hot branch stands behind the compare with the cell, which has been closed so far.
            unsafe { write_branch(writer, branch, emitted, target) }
        });
        match result {
            Ok(()) => written += 1,
            // Some of the bytes may have been written, or whoever has a copy of them run another target's branch: the
            // cell must stay closed, for the other copies as well.
            Err(why @ (Refusal::Write | Refusal::Probed)) => return Err(why),
            // Nothing more can be written; what has been stays, with the copies behind it on their stubs.
            Err(Refusal::Stolen) if written == 0 => return Err(Refusal::Stolen),
            Err(why) => refusal = why,
        }
    }
    if written == 0 { Err(refusal) } else { Ok(()) }
}

/// Closes every branch of a site: all its calls take the slow path. Whoever has passed a compare still holds the
/// target that the branch behind it leads to.
///
/// # Safety
/// The caller holds the runtime's lock.
pub unsafe fn close(record: &Record) {
    let cell = record.cell();
    close_inline(cell);
    close_chain(cell);
    record.inline_open.store(false, Ordering::Relaxed);
    record.chain_open.store(false, Ordering::Relaxed);
    // SAFETY: the caller's promise.
    for body in unsafe { chain_of(record) } {
        // SAFETY: likewise.
        unsafe { body.as_ref() }.close();
    }
}

/// Marks the branches of the site that lead into `code`, which is going. Returns whether there are any.
///
/// # Safety
/// The caller holds the runtime's lock, and closes the branches if there are any.
pub unsafe fn mark_stale(record: &Record, code: &Range<u64>) -> bool {
    let mut found = code.contains(&record.inline.load(Ordering::Relaxed));
    if found {
        record.inline_stale.store(true, Ordering::Relaxed);
    }
    // SAFETY: the caller's promise.
    for mut body in unsafe { chain_of(record) } {
        // SAFETY: likewise.
        found |= unsafe { body.as_mut() }.mark_stale(code);
    }
    found
}

/// Leads the site's stale inline branch back to where it led when it was emitted, and empties its chain from the first
/// stale link on, so that they can be written for other targets. Once that is done, looks whether it still is.
///
/// # Errors
/// Why some of them were left as they are, or half written: the site's branches must stay closed for ever, if the
/// refusal is final.
///
/// # Safety
/// The caller holds the runtime's lock. The site has been closed since the branches became stale, and every thread that
/// had passed one of its gates before has left the code behind it since.
pub unsafe fn recycle(
    image: &Image,
    copies: impl Iterator<Item = Site>,
    record: &Record,
) -> Result<(), Refusal> {
    // Other branches of the site may have been written back, and no core may know.
    let half_done = |refusal| if refusal == Refusal::Stolen { Refusal::Write } else { refusal };
    let mut writer = System::open_code()?;
    let inline = record.inline.load(Ordering::Relaxed);
    let inline_stale = record.inline_stale.swap(false, Ordering::Relaxed) && inline != 0;
    for site in copies.filter(|_| inline_stale || inline == 0) {
        let emitted = site.emitted_hot_target();
        // Every copy has to lead to its stub again. One that does is written all the same: where the writer refuses,
        // what runs there may lead elsewhere.
        let branch = match image.hot_branch(&site, emitted) {
            Ok(branch) => branch,
            // A call of the same function that sets up the arguments would be taken for it; but code that is there
            // does not call code that has gone.
            Err(_) if inline_stale => image.hot_branch(&site, inline as usize)?,
            Err(refusal) => return Err(refusal),
        };
        // SAFETY: the cell is closed, and nobody is at the branch: the caller's promise.
        unsafe { write_branch(&mut writer, branch, inline as usize, emitted as u64).map_err(half_done)? };
    }
    if inline_stale {
        System::sync_cores()?;
        record.inline.store(0, Ordering::Relaxed);
    }
    let mut emptied = false;
    // SAFETY: the caller's promise.
    for mut body in unsafe { chain_of(record) } {
        // SAFETY: likewise.
        let chain = unsafe { body.as_mut() };
        // SAFETY: nobody is behind one of the site's gates: the caller's promise.
        emptied = unsafe { chain.empty_stale(&mut writer, emptied).map_err(half_done)? };
    }
    if emptied { System::sync_cores() } else { Ok(()) }
}

/// Whether a direct branch anywhere in `image`, or in a chain near it, can reach `target`.
pub fn reaches(image: &Image, target: u64) -> bool {
    /// Chains lie within this distance of the image.
    const NEAR: u64 = 1 << 28;
    let reach = i32::MAX as u64 - NEAR;
    let (start, end) = (image.text.start as u64, image.text.end as u64);
    target.abs_diff(start) < reach && target.abs_diff(end) < reach
}

/// Retargets the direct branch at `at` from `old` to `new`:
///
/// ```text
/// before: e8|e9|0f 84 <old>        after: e8|e9|0f 84 <new>
/// ```
///
/// # Safety
/// No thread can execute the branch until the cores have been synchronised.
unsafe fn write_branch(
    writer: &mut <System as Port>::CodeWriter,
    at: usize,
    old: usize,
    new: u64,
) -> Result<(), Refusal> {
    let field = match code_at(at) {
        [CALL | JMP] => at + 1,
        [byte] if byte == JE[0] && code_at(at + 1) == [JE[1]] => at + JE.len(),
        _ => return Err(Refusal::Bytes),
    };
    let from = field + 4;
    let leads_to = from.wrapping_add_signed(i32::from_le_bytes(code_at(field)) as isize);
    let new = usize::try_from(new).map_err(|_| Refusal::OutOfReach)?;
    // The new target may be there already: an earlier try that failed after this write.
    if leads_to != old && leads_to != new {
        return Err(Refusal::Bytes);
    }
    let bytes = displacement(from, new)?.to_le_bytes();
    // Half of it might go back to what it was, and the branch would lead nowhere.
    if System::UNDONE.is_some_and(|piece| field / piece != (from - 1) / piece) {
        return Err(Refusal::Split);
    }
    // SAFETY: the caller's promise.
    unsafe { writer.write(field, &bytes)? };
    if code_at(field) != bytes {
        return Err(Refusal::Write);
    }
    Ok(())
}

fn displacement(from: usize, to: usize) -> Result<i32, Refusal> {
    i32::try_from((to as i64).wrapping_sub(from as i64)).map_err(|_| Refusal::OutOfReach)
}

fn code_at<const N: usize>(at: usize) -> [u8; N] {
    // SAFETY: `at` is in a branch of the image or of a chain, found by decoding or made here. Volatile: the
    // bytes change behind the compiler's back.
    unsafe { core::ptr::read_volatile(at as *const [u8; N]) }
}
