//! The chain of a site's further targets, in bodies of [`LINKS`] links each; how one looks and why it may be extended
//! is said in [`super`].

use super::{BRANCH_SIZE, close_slot, displacement, looked_at, publish, write_branch};
use crate::layout::record::WAYS;
use crate::layout::{COMPARE_OPCODE, Cell, GATE_CHAIN, JE, JMP};
use crate::memory::Arena;
use crate::policy::Refusal;
use crate::port::{CodeWriter, Port, System};
use crate::record::Record;
use crate::site::{Image, Site};
use core::ops::Range;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering};

/// `je` with an 8-bit displacement.
pub const JE_SHORT: u8 = 0x74;
/// `testb $imm8, disp32(%rip)` without displacement and immediate.
pub const FLAG_TEST_OPCODE: [u8; 2] = [0xf6, 0x05];
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
/// No body lies across two pieces of code that may be undone one without the other.
const _: () = assert!(match System::UNDONE {
    Some(piece) => piece % BODY_STRIDE == 0,
    None => true,
});
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

    /// Closes all links, and the gates in front of them.
    pub(super) fn close(&self) {
        (0..LINKS).for_each(|link| close_slot(self.slot(link)));
        publish(self.flags(), 0);
    }

    /// Marks the links that lead into `code`, which is going. Returns whether there are any.
    pub(super) fn mark_stale(&mut self, code: &Range<u64>) -> bool {
        let mut found = false;
        for (target, stale) in self.targets.iter().zip(&mut self.stale).take(self.used) {
            if code.contains(target) {
                (*stale, found) = (true, true);
            }
        }
        found
    }

    /// Empties the links from the first stale one on; all of them, where those of a body before this one were emptied.
    /// Returns whether links were.
    ///
    /// # Errors
    /// Why some of them were left as they are, or half written.
    ///
    /// # Safety
    /// Nobody is behind the gates in front of the links.
    pub(super) unsafe fn empty_stale(
        &mut self,
        writer: &mut <System as Port>::CodeWriter,
        were_before: bool,
    ) -> Result<bool, Refusal> {
        let first_stale = self.stale.iter().position(|&stale| stale);
        let keep = if were_before { 0 } else { first_stale.unwrap_or(self.used) };
        self.stale = [false; LINKS];
        for link in keep..self.used {
            let (old, end) = (self.leads_to(link), self.end());
            // SAFETY: the caller's promise.
            unsafe { write_branch(writer, self.branch(link), old, end as u64)? };
            self.targets[link] = 0;
        }
        self.used = keep;
        Ok(were_before || first_stale.is_some())
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

/// The bodies of a site's chain.
///
/// # Safety
/// The caller holds the runtime's lock for as long as the iterator lives.
pub(super) unsafe fn chain_of(record: &Record) -> impl Iterator<Item = NonNull<Chain>> {
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
