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
//! Pairs: the release store of step 4 pairs with the load of the compare in the program's code (x86 keeps
//! loads in order, and a dependent branch is not retired before its load); `sync_cores` pairs with the
//! serialising instruction that it runs on every other core. `tests/runtime.rs`
//! of the test suite attacks this: threads, signal handlers and forked children call the sites meanwhile.

use crate::layout::record::WAYS;
use crate::layout::{COMPARE_OPCODE, Cell, GATE_CHAIN, JE, JMP, NEVER, closes};
use crate::memory::Arena;
use crate::policy::Refusal;
use crate::port::{CodeWriter, Port, System};
use crate::record::Record;
use crate::site::{Image, Site};
use core::ops::Range;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering};

/// Opcode of the direct call with a 32-bit displacement.
const CALL: u8 = 0xe8;
/// `je` with an 8-bit displacement.
pub const JE_SHORT: u8 = 0x74;
/// `testb $imm8, disp32(%rip)` without displacement and immediate.
pub const FLAG_TEST_OPCODE: [u8; 2] = [0xf6, 0x05];
/// Bytes of a direct branch.
const BRANCH_SIZE: usize = 5;

/// Links of one body.
pub const LINKS: usize = 5;
/// Bodies of one chain at most.
const LONGEST_CHAIN: usize = 5;
/// Targets that a site can be patched for in all.
pub const TARGETS: usize = 1 + LINKS * LONGEST_CHAIN;
/// Distance from the start of a link to its branch: the compare.
const LINK_BRANCH: usize = 7;
/// Distance from the start of a link to the test of its flag.
const LINK_GATE: usize = LINK_BRANCH + JE.len() + 4;
/// Bytes of one link: compare, branch, test, branch to the end.
const LINK_SIZE: usize = LINK_GATE + 7 + 2;
/// Distance from the start of a body to the jump to the next one.
const NEXT_JUMP: usize = LINKS * LINK_SIZE;
/// Distance from the start of a body to the jump to the slow path.
const BODY_END: usize = NEXT_JUMP + BRANCH_SIZE;
/// Bytes of a body's code: its links, the jump to the next body, and the jump to the slow path.
pub const BODY_SIZE: usize = BODY_END + BRANCH_SIZE;
/// Distance between the bodies of two chains.
pub const BODY_STRIDE: usize = 128;
/// Distance between the slots of two chains.
pub const SLOTS_STRIDE: usize = 64;
/// Bodies that every image holds room for.
pub const RESERVED_BODIES: usize = 64;
/// Bodies in one mapping.
const BODIES: usize = 128;

const _: () = assert!(BODY_SIZE <= BODY_STRIDE && LINKS * 8 + 8 <= SLOTS_STRIDE);
const _: () = assert!(TARGETS >= WAYS && BODY_END < LINK_SIZE + 128 && LINKS <= 8);

/// Further targets of a site, as many as one body of code compares with.
#[derive(Debug)]
pub struct Chain {
    /// Address of the body's code.
    body: usize,
    /// Address of the slots, one for each link.
    slots: usize,
    /// Where the branch of each link leads, 0 for the body's end.
    targets: [u64; LINKS],
    /// How many links have been written, and may be reached.
    used: usize,
    /// Links to code that has gone.
    stale: [bool; LINKS],
    /// The body behind this one.
    next: Option<NonNull<Chain>>,
}

impl Chain {
    fn slot(&self, link: usize) -> &AtomicU64 {
        // SAFETY: `slots` is memory for LINKS slots and the flags, which is there as long as the image; `link` is not
        // above LINKS.
        unsafe { &*((self.slots + link * 8) as *const AtomicU64) }
    }

    /// A bit for each link: what is behind it can be reached.
    fn flags(&self) -> &AtomicU64 {
        self.slot(LINKS)
    }

    /// Opens the gates in front of this link, whose links before it have been written.
    fn open_up_to(&self, link: usize) {
        publish(self.flags(), self.flags().load(Ordering::Relaxed) | ((1 << link) - 1));
    }

    /// The branch of a link.
    fn branch(&self, link: usize) -> usize {
        self.body + link * LINK_SIZE + LINK_BRANCH
    }

    fn end(&self) -> usize {
        self.body + BODY_END
    }

    /// Where the branch of a link leads.
    fn leads_to(&self, link: usize) -> usize {
        match self.targets[link] {
            0 => self.end(),
            target => target as usize,
        }
    }
}

/// Memory for chains: first what the image holds for them, then mappings near it.
#[derive(Debug, Default)]
pub struct Bodies {
    code: usize,
    slots: usize,
    left: usize,
    reserve_taken: bool,
    /// A body that was taken and does not belong to a chain yet.
    spare: Option<NonNull<Chain>>,
}

impl Bodies {
    /// Nothing taken yet.
    pub const fn new() -> Self {
        Self { code: 0, slots: 0, left: 0, reserve_taken: false, spare: None }
    }

    /// After a fork that caught another thread at work: what has been handed out stays so.
    pub const fn after_fork() -> Self {
        Self { reserve_taken: true, ..Self::new() }
    }

    /// Sees to it that there is room for a body. No writer is open.
    fn reserve(&mut self, image: &Image) -> Result<(), Refusal> {
        if self.spare.is_some() {
            return Ok(());
        }
        if self.left == 0 && !self.reserve_taken {
            self.reserve_taken = true;
            if let Some(reserve) = System::chain_reserve() {
                (self.code, self.slots) = reserve;
                self.left = RESERVED_BODIES;
            }
        }
        if self.left == 0 {
            let around = image.text.start.min(image.data.start)..image.text.end.max(image.data.end);
            let start = System::map_code(around, BODIES * BODY_STRIDE, BODIES * SLOTS_STRIDE);
            self.code = start.ok_or(Refusal::Memory)?.as_ptr() as usize;
            self.slots = self.code + BODIES * BODY_STRIDE;
            self.left = BODIES;
        }
        Ok(())
    }

    /// A body to which no branch leads: it is written, and written anew after a failure, before one does. The spare
    /// one then is none any more.
    fn take(&mut self, arena: &mut Arena) -> Result<NonNull<Chain>, Refusal> {
        if let Some(spare) = self.spare {
            return Ok(spare);
        }
        // A fork between `reserve` and this has forgotten what was reserved.
        if self.left == 0 {
            return Err(Refusal::Memory);
        }
        let chain: NonNull<Chain> = arena.take().ok_or(Refusal::Memory)?;
        let new = Chain {
            body: self.code,
            slots: self.slots,
            targets: [0; LINKS],
            used: 0,
            stale: [false; LINKS],
            next: None,
        };
        // SAFETY: the arena just gave this memory to nobody else.
        unsafe { chain.write(new) };
        self.code += BODY_STRIDE;
        self.slots += SLOTS_STRIDE;
        self.left -= 1;
        self.spare = Some(chain);
        Ok(chain)
    }
}

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

/// Opens the way into a site's chain.
///
/// # Safety
/// Its first body and the stub's branch to it have been written, and the cores have been synchronised since.
pub unsafe fn open_chain(cell: &Cell) {
    // Release: pairs with the test of the gate.
    cell.gate.fetch_or(GATE_CHAIN, Ordering::Release);
    looked_at();
}

/// Closes the way into a site's chain, but not what lies behind it.
pub fn close_chain(cell: &Cell) {
    cell.gate.fetch_and(!GATE_CHAIN, Ordering::Release);
    looked_at();
}

/// Has the site's calls pass its chain by until it learns anew: whoever misses the inline branch takes the slow path.
pub fn leave_chain(record: &Record) {
    close_chain(record.cell());
    record.chain_open.store(false, Ordering::Relaxed);
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

/// Opens a target of the site's chain; where it has none, it is added. Returns whether code was written.
///
/// # Errors
/// Why it was not. The site goes on as before. [`Refusal::Full`] when the chain cannot grow any more.
///
/// # Safety
/// The caller holds the runtime's lock. `site` is a row of the record's cell.
#[inline(never)]
pub unsafe fn extend(
    image: &Image,
    site: &Site,
    record: &Record,
    target: u64,
    arena: &mut Arena,
    bodies: &mut Bodies,
) -> Result<bool, Refusal> {
    // SAFETY: the caller's promise.
    let written = unsafe { find_link(record, target) };
    let (mut chain, link) = match written {
        Some(place) => place,
        // SAFETY: likewise.
        None => unsafe { add_link(image, site, record, target, arena, bodies)? },
    };
    // From the end to the start, so that nobody is led to what is not open yet.
    // SAFETY: chains are only touched under the runtime's lock, which the caller holds.
    let body = unsafe { chain.as_mut() };
    body.stale[link] = false;
    publish(body.slot(link), target);
    body.open_up_to(link);
    // SAFETY: likewise.
    for body in unsafe { chain_of(record) }.take_while(|&body| body != chain) {
        // SAFETY: likewise. All links of the body are written, and so is the jump to the next one.
        unsafe { body.as_ref() }.open_up_to(LINKS);
    }
    record.chain_open.store(true, Ordering::Relaxed);
    // SAFETY: the site has a chain, which `add_link` wrote.
    unsafe { open_chain(record.cell()) };
    Ok(written.is_none())
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
        let body = unsafe { body.as_ref() };
        (0..LINKS).for_each(|link| close_slot(body.slot(link)));
        publish(body.flags(), 0);
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
        let chain = unsafe { body.as_mut() };
        for (target, stale) in chain.targets.iter().zip(&mut chain.stale).take(chain.used) {
            if code.contains(target) {
                (*stale, found) = (true, true);
            }
        }
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
        let first_stale = chain.stale.iter().position(|&stale| stale);
        let keep = if emptied { 0 } else { first_stale.unwrap_or(chain.used) };
        emptied |= first_stale.is_some();
        chain.stale = [false; LINKS];
        for link in keep..chain.used {
            let (old, end) = (chain.leads_to(link), chain.end());
            // SAFETY: nobody is behind the gate in front of the link: the caller's promise.
            unsafe { write_branch(&mut writer, chain.branch(link), old, end as u64).map_err(half_done)? };
            chain.targets[link] = 0;
        }
        chain.used = keep;
    }
    if emptied { System::sync_cores() } else { Ok(()) }
}

/// The bodies of a site's chain.
///
/// # Safety
/// The caller holds the runtime's lock for as long as the iterator lives.
unsafe fn chain_of(record: &Record) -> impl Iterator<Item = NonNull<Chain>> {
    let first = NonNull::new(record.chain.load(Ordering::Relaxed));
    // SAFETY: bodies are not freed while their record is there, and only touched under the lock.
    core::iter::successors(first, |body| unsafe { body.as_ref() }.next)
}

/// The link that leads to `target`.
///
/// # Safety
/// The caller holds the runtime's lock.
unsafe fn find_link(record: &Record, target: u64) -> Option<(NonNull<Chain>, usize)> {
    // SAFETY: the caller's promise.
    unsafe { chain_of(record) }.find_map(|body| {
        // SAFETY: likewise.
        let chain = unsafe { body.as_ref() };
        let link = chain.targets[..chain.used].iter().position(|&known| known == target)?;
        Some((body, link))
    })
}

/// Writes a link to `target`, closed, behind the links that there are.
///
/// # Safety
/// As for [`extend`]; no link leads to `target` yet.
unsafe fn add_link(
    image: &Image,
    site: &Site,
    record: &Record,
    target: u64,
    arena: &mut Arena,
    bodies: &mut Bodies,
) -> Result<(NonNull<Chain>, usize), Refusal> {
    image.check(site)?;
    // SAFETY: it was just checked.
    let slow = unsafe { site.slow_path() };
    // SAFETY: the caller holds the lock.
    let length = unsafe { chain_of(record) }.count();
    // SAFETY: likewise.
    let last = unsafe { chain_of(record) }.last();
    // SAFETY: likewise.
    let mut bodies_there = unsafe { chain_of(record) };
    // SAFETY: likewise.
    let room = bodies_there.find(|body| unsafe { body.as_ref() }.used < LINKS);
    if room.is_none() {
        if length == LONGEST_CHAIN {
            return Err(Refusal::Full);
        }
        bodies.reserve(image)?;
    }
    let mut writer = System::open_code()?;
    let mut chain = match room {
        Some(chain) => chain,
        None => {
            let chain = bodies.take(arena)?;
            // SAFETY: the caller holds the lock; nothing refers to the body yet, so no thread can execute it.
            unsafe { write_body(&mut writer, chain.as_ref(), slow)? };
            chain
        }
    };
    // SAFETY: chains are only touched under the runtime's lock, which the caller holds.
    let body = unsafe { chain.as_mut() };
    let link = body.used;
    let old = body.leads_to(link);
    // SAFETY: the gate in front of the link has never been open, or not since the link was emptied.
    unsafe { write_branch(&mut writer, body.branch(link), old, target)? };
    if room.is_none() {
        bodies.spare = None;
        // The branch that leads to the new body: the stub's, or the one behind the last link.
        let jump = match last {
            None => site.chain_jump(),
            // SAFETY: as above.
            Some(last) => unsafe { last.as_ref() }.body + NEXT_JUMP,
        };
        // SAFETY: the jump stands behind a flag that has not been set so far: it is set when this body is linked.
        unsafe { write_branch(&mut writer, jump, slow, body.body as u64)? };
    }
    System::sync_cores()?;
    body.targets[link] = target;
    body.used = link + 1;
    if room.is_none() {
        match last {
            None => record.chain.store(chain.as_ptr(), Ordering::Relaxed),
            // SAFETY: as above.
            Some(mut last) => unsafe { last.as_mut() }.next = Some(chain),
        }
    }
    Ok((chain, link))
}

/// Whether a direct branch anywhere in `image`, or in a chain near it, can reach `target`.
pub fn reaches(image: &Image, target: u64) -> bool {
    /// Chains lie within this distance of the image.
    const NEAR: u64 = 1 << 28;
    let reach = i32::MAX as u64 - NEAR;
    let (start, end) = (image.text.start as u64, image.text.end as u64);
    target.abs_diff(start) < reach && target.abs_diff(end) < reach
}

/// Writes a body without a link, and its slots, all closed, and flags, none set.
///
/// # Safety
/// Nobody can execute the body.
// Not inlined: the stack that `extend` runs on may be small, and this is over before it goes deepest.
#[inline(never)]
unsafe fn write_body(
    writer: &mut <System as Port>::CodeWriter,
    chain: &Chain,
    slow: usize,
) -> Result<(), Refusal> {
    chain.flags().store(0, Ordering::Relaxed);
    (0..LINKS).for_each(|link| close_slot(chain.slot(link)));
    let mut code = [0u8; BODY_SIZE];
    code_of_body(chain.body, chain.slots, slow, &mut code)?;
    // SAFETY: the caller's promise.
    unsafe { writer.write(chain.body, &code) }
}

/// The code of a body without a link: the branches of all links lead to its end, which leads to the slow path, and so
/// does the jump to the next body.
// Inlined, and given the room: a copy would be a call of the C library's, through the GOT.
#[inline(always)]
pub fn code_of_body(
    body: usize,
    slots: usize,
    slow: usize,
    code: &mut [u8; BODY_SIZE],
) -> Result<(), Refusal> {
    let mut at = 0;
    let mut put = |bytes: &[u8]| {
        code[at..at + bytes.len()].copy_from_slice(bytes);
        at += bytes.len();
    };
    for link in 0..LINKS {
        let start = body + link * LINK_SIZE;
        put(&COMPARE_OPCODE);
        put(&displacement(start + LINK_BRANCH, slots + link * 8)?.to_le_bytes());
        put(&JE);
        put(&displacement(start + LINK_GATE, body + BODY_END)?.to_le_bytes());
        put(&FLAG_TEST_OPCODE);
        put(&displacement(start + LINK_GATE + 7, slots + LINKS * 8)?.to_le_bytes());
        put(&[1 << link, JE_SHORT, (BODY_END - (link + 1) * LINK_SIZE) as u8]);
    }
    for jump in [NEXT_JUMP, BODY_END] {
        put(&[JMP]);
        put(&displacement(body + jump + BRANCH_SIZE, slow)?.to_le_bytes());
    }
    Ok(())
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
