//! One runtime: the image it governs, the records of its sites, and what happens when a site's slow path has
//! something to say.

use crate::control;
use crate::layout::record::{State, WAYS};
use crate::layout::{Cell, GATE_QUIET};
use crate::memory::Arena;
use crate::options::Mode;
use crate::patch::{self, Bodies};
use crate::policy::{
    self, COUNT_LIMIT, Decision, Evidence, FOR_EVER, LEARN_LIMIT, MISS_LIMIT, RETRY, Refusal, Seen,
};
use crate::port::{Guard, Lock, Port, System};
use crate::record::Record;
use crate::site::{Image, Index, Site};
use core::cell::UnsafeCell;
use core::ops::Range;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU64, Ordering};

/// How often code is opened for one patch, when other threads take the descriptor away each time.
pub const OPENINGS: usize = 4;

/// The state of one runtime.
pub struct Runtime {
    lock: Lock,
    guarded: UnsafeCell<Guarded>,
    image: UnsafeCell<Option<Image>>,
    /// Set once `image` is.
    open: AtomicBool,
    mode: AtomicU8,
    /// The newest record; each names the one before it.
    records: AtomicPtr<Record>,
    /// The record whose site is being patched. Survives a fork.
    patching: AtomicPtr<Record>,
    patches: AtomicU64,
    written: AtomicU64,
    failures: AtomicU64,
    relearns: AtomicU64,
}

/// A site, and the targets that it is known to have: the hottest first, 0 behind the last.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// The site.
    pub site: Site,
    /// Addresses.
    pub targets: [u64; WAYS],
}

/// What only the holder of the lock touches.
struct Guarded {
    index: Index,
    arena: Arena,
    bodies: Bodies,
}

impl Guarded {
    const fn new() -> Self {
        Self { index: Index::new(), arena: Arena::new(), bodies: Bodies::new() }
    }

    /// After a fork that caught another thread at work: what had been handed out may be in use.
    const fn after_fork() -> Self {
        Self { index: Index::new(), arena: Arena::after_fork(), bodies: Bodies::after_fork() }
    }
}

// SAFETY: `guarded` is only touched by the holder of `lock`; `image` is written once, before `open` is set,
// and only read after it; the rest is atomic.
unsafe impl Sync for Runtime {}

impl Runtime {
    /// A runtime that does nothing until it is opened.
    pub const fn new() -> Self {
        Self {
            lock: Lock::new(),
            guarded: UnsafeCell::new(Guarded::new()),
            image: UnsafeCell::new(None),
            open: AtomicBool::new(false),
            mode: AtomicU8::new(0),
            records: AtomicPtr::new(core::ptr::null_mut()),
            patching: AtomicPtr::new(core::ptr::null_mut()),
            patches: AtomicU64::new(0),
            written: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            relearns: AtomicU64::new(0),
        }
    }

    /// Starts to govern `image`. Call it once. Returns false when there is no memory for the lock: nothing can
    /// be learned then.
    pub fn open(&self, image: Option<Image>, mode: Mode) -> bool {
        // Without a table nothing can be patched, and nothing need be counted.
        self.store_mode(if image.is_some() { mode } else { Mode::Off });
        // SAFETY: nobody reads the image before `open` is set, and this is the only call.
        unsafe { *self.image.get() = image };
        let prepared = self.lock.prepare();
        // Release: pairs with the acquire of `image`.
        self.open.store(true, Ordering::Release);
        prepared
    }

    /// The image, once the runtime is open.
    pub fn image(&self) -> Option<&Image> {
        // Acquire: pairs with the release of `open`.
        if !self.open.load(Ordering::Acquire) {
            return None;
        }
        // SAFETY: not written any more.
        unsafe { (*self.image.get()).as_ref() }
    }

    /// The mode that the runtime is in.
    pub fn mode(&self) -> Mode {
        Mode::from_number(self.mode.load(Ordering::Relaxed))
    }

    /// Nothing is learned, switched or reported any more.
    pub(crate) fn close_for_good(&self) {
        self.open.store(false, Ordering::Relaxed);
        self.records.store(core::ptr::null_mut(), Ordering::Relaxed);
    }

    pub(crate) fn store_mode(&self, mode: Mode) {
        self.mode.store(mode as u8, Ordering::Relaxed);
    }

    /// Records of the sites that have run, the newest first.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        // SAFETY: records are published complete, with release order, and not freed before their runtime.
        let load = |record: &AtomicPtr<Record>| unsafe { record.load(Ordering::Acquire).as_ref() };
        core::iter::successors(load(&self.records), move |record| load(&record.next))
    }

    /// Branches opened so far, written before or not.
    pub fn patches(&self) -> u64 {
        self.patches.load(Ordering::Relaxed)
    }

    /// Branches written so far.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Times that a site forgot its targets and learned anew.
    pub fn relearns(&self) -> u64 {
        self.relearns.load(Ordering::Relaxed)
    }

    /// Patches, branches written, refusals, and times that a site learned anew.
    pub fn totals(&self) -> [u64; 4] {
        [self.patches(), self.written(), self.failures(), self.relearns()]
    }

    /// Sites and targets that were refused so far.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Gives a site its record. When it cannot be done now, the site's next call tries again.
    pub fn first_call(&self, cell: &Cell) {
        // While all is off there is no system call: a filter may kill for one.
        if self.quieten(cell) {
            return;
        }
        let Some(mut guarded) = self.lock() else { return };
        if cell.gate.load(Ordering::Relaxed) != 0 {
            return;
        }
        if !self.quieten(cell) {
            self.add_record(guarded.arena(), cell);
        }
    }

    /// Makes the record of a site that has none. The caller holds the lock.
    fn add_record(&self, arena: &mut Arena, cell: &Cell) -> Option<&Record> {
        let Some(record) = arena.take::<Record>() else {
            // Asking the system again at every call would cost more than the retpoline.
            cell.gate.store(GATE_QUIET, Ordering::Relaxed);
            self.refuse(cell, Refusal::Memory);
            return None;
        };
        // SAFETY: fresh zeroed memory, a valid record that nobody else knows.
        let record = unsafe { record.as_ref() };
        record.arm(if self.mode() == Mode::Count { COUNT_LIMIT } else { LEARN_LIMIT });
        record.cell.store(core::ptr::from_ref(cell).cast_mut(), Ordering::Relaxed);
        record.next.store(self.records.load(Ordering::Relaxed), Ordering::Relaxed);
        let pointer = core::ptr::from_ref(record).cast_mut();
        // Release: pairs with the acquire of `records`.
        self.records.store(pointer, Ordering::Release);
        // Release: the slow path follows the pointer, and the load depends on it.
        cell.gate.store(pointer as usize, Ordering::Release);
        Some(record)
    }

    /// Decides on a site, one of whose counts has reached its limit, or whose rest is over.
    pub fn limit_reached(&self, record: &Record) {
        // Without a system call, as in `first_call`. What is counted is looked at when the site is on again.
        if record.state() == State::Off {
            let again = |rest| (rest < 0).then_some(FOR_EVER);
            let _ = record.rest.fetch_update(Ordering::Relaxed, Ordering::Relaxed, again);
            return;
        }
        let guarded = self.lock();
        if record.cell().gate.load(Ordering::Relaxed) & GATE_QUIET != 0 {
            // Another thread has decided that the site rests, after this one had counted.
            if record.rest.load(Ordering::Relaxed) >= 0 {
                return;
            }
            // Whatever follows: the next call must not come here again.
            record.rest.store(RETRY, Ordering::Relaxed);
            if guarded.is_some() {
                self.end_rest(record);
            }
            return;
        }
        // Whoever was here meanwhile has taken the counts: what came since is too little to decide on.
        if !record.is_due() {
            return;
        }
        let calls = record.harvest();
        if let (Some(mut guarded), Some(image)) = (guarded, self.image()) {
            if self.mode() == Mode::Freeze {
                record.rest.store(FOR_EVER, Ordering::Relaxed);
                record.cell().gate.fetch_or(GATE_QUIET, Ordering::Relaxed);
                return;
            }
            self.decide(guarded.get(), image, record, &calls);
        }
    }

    /// The caller holds the lock.
    fn end_rest(&self, record: &Record) {
        if self.mode() == Mode::On && record.state() != State::Off && !record.refusal().is_final() {
            self.relearn(record, Evidence::Survey);
        } else {
            record.rest.store(FOR_EVER, Ordering::Relaxed);
        }
    }

    // Neither this nor what it calls is inlined: each one's locals are gone when the next one runs. The stack may be
    // small.
    #[inline(never)]
    fn decide(&self, guarded: &mut Guarded, image: &Image, record: &Record, calls: &[u32; WAYS + 1]) {
        if self.mode() == Mode::Count || record.state() == State::Off || record.silent.load(Ordering::Relaxed)
        {
            return;
        }
        // Until its branches are free, none of them may be opened: see `recycle`.
        if record.stale_since.load(Ordering::Relaxed) != 0 {
            return;
        }
        let placed = record.placed.load(Ordering::Relaxed);
        let mut seen = [Seen { way: 0, calls: 0, placed: true, reachable: false }; WAYS];
        let mut known = 0;
        for (way, place) in seen.iter_mut().enumerate() {
            let target = record.targets[way].load(Ordering::Relaxed);
            // Ways fill up from the first; a way that another thread has just claimed waits for the next time.
            if target == 0 {
                break;
            }
            known = way + 1;
            *place = Seen {
                way: way as u8,
                calls: calls[way],
                placed: placed & 1 << way != 0,
                reachable: patch::reaches(image, target) && System::is_lasting(target),
            };
        }
        match policy::decide(&mut seen[..known], calls[WAYS]) {
            Decision::Wait => {}
            Decision::Promote { ways, count } => {
                // Relaxed: only read after a fork, by the one thread that there is then.
                self.patching.store(core::ptr::from_ref(record).cast_mut(), Ordering::Relaxed);
                self.promote(guarded, image, record, &ways[..count]);
                self.patching.store(core::ptr::null_mut(), Ordering::Relaxed);
            }
            Decision::Quiet { because: Refusal::OutOfReach }
                if record.targets.iter().any(|target| {
                    let target = target.load(Ordering::Relaxed);
                    target != 0 && patch::reaches(image, target) && !System::is_lasting(target)
                }) =>
            {
                self.silence(record, Refusal::Fleeting);
            }
            Decision::Quiet { because } => self.calm(record, because),
        }
    }

    /// Gives sites that have not run yet the targets that they are known to have. Returns how many sites were
    /// promoted.
    pub fn begin_with(&self, known: impl Iterator<Item = Known>) -> usize {
        let (Some(mut locked), Some(image)) = (self.lock(), self.image()) else { return 0 };
        let guarded = locked.get();
        let Ok(mut writer) = System::open_code() else { return 0 };
        // All inline branches are written before the cores are synchronised, once.
        for known in known {
            let cell = known.site.cell_in(image);
            let Some(cell) = cell.filter(|cell| cell.gate.load(Ordering::Relaxed) == 0) else { continue };
            let Some(record) = self.add_record(&mut guarded.arena, cell) else { break };
            for (place, target) in record.targets.iter().zip(known.targets) {
                place.store(target, Ordering::Relaxed);
            }
            self.patching.store(core::ptr::from_ref(record).cast_mut(), Ordering::Relaxed);
            let copies = guarded.index.copies(image, core::ptr::from_ref(cell) as usize);
            // SAFETY: the lock is held. Nothing was written for this cell, which had no record; what is written
            // now is remembered, and a failure that has written anything is final.
            let result = copies.and_then(|copies| unsafe {
                patch::write_inline(&mut writer, image, copies, cell, known.targets[0])
            });
            match result {
                Ok(()) => record.inline.store(known.targets[0], Ordering::Relaxed),
                Err(refusal) => self.silence(record, refusal),
            }
        }
        drop(writer);
        let synced = System::sync_cores();
        let mut promoted = 0;
        for record in self.records().filter(|record| record.inline.load(Ordering::Relaxed) != 0) {
            self.patching.store(core::ptr::from_ref(record).cast_mut(), Ordering::Relaxed);
            match synced {
                Ok(()) => {
                    let known =
                        record.targets.iter().take_while(|target| target.load(Ordering::Relaxed) != 0);
                    let ways: [u8; WAYS] = core::array::from_fn(|way| way as u8);
                    self.promote(guarded, image, record, &ways[..known.count()]);
                    self.written.fetch_add(1, Ordering::Relaxed);
                    promoted += 1;
                }
                Err(refusal) => self.silence(record, refusal),
            }
        }
        self.patching.store(core::ptr::null_mut(), Ordering::Relaxed);
        promoted
    }

    #[inline(never)]
    fn promote(&self, guarded: &mut Guarded, image: &Image, record: &Record, ways: &[u8]) {
        let mut refused = Refusal::None;
        let evidence = record.evidence().after_promotion(record.state());
        for way in ways.iter().map(|&way| usize::from(way)) {
            // It stays: only `forget`, under the lock that is held, frees a way.
            let target = record.targets[way].load(Ordering::Relaxed);
            match self.place_or_retry(guarded, image, record, target) {
                Ok(written) => {
                    self.patches.fetch_add(1, Ordering::Relaxed);
                    self.written.fetch_add(written.into(), Ordering::Relaxed);
                    let placed = record.placed.fetch_or(1 << way, Ordering::Relaxed);
                    let state = if placed == 0 { State::Monomorphic } else { State::Polymorphic };
                    record.state.store(state as u8, Ordering::Relaxed);
                    record.evidence.store(evidence as u8, Ordering::Relaxed);
                }
                Err(refusal) => {
                    refused = refusal;
                    if refusal.is_final() {
                        break;
                    }
                    // The others may have branches already, or be nearer.
                }
            }
        }
        match refused {
            Refusal::None => record.arm(MISS_LIMIT),
            refusal => self.calm(record, refusal),
        }
    }

    /// The site has more targets than it can have branches for. A chain that most calls run through in vain costs more
    /// than a retpoline, so what is open while the site rests is what many calls speak for.
    fn calm(&self, record: &Record, because: Refusal) {
        if matches!(because, Refusal::None | Refusal::Full) && record.placed.load(Ordering::Relaxed) != 0 {
            match record.evidence() {
                Evidence::Glance => return self.relearn(record, Evidence::Survey),
                Evidence::Survey => {}
                Evidence::Outgrown => {
                    patch::leave_chain(record);
                    let inline = record.inline.load(Ordering::Relaxed);
                    let is_inline = |&way: &usize| record.targets[way].load(Ordering::Relaxed) == inline;
                    let way =
                        (0..WAYS).find(is_inline).filter(|_| record.inline_open.load(Ordering::Relaxed));
                    let kept = way.map_or(0, |way| 1 << way);
                    record.placed.fetch_and(kept, Ordering::Relaxed);
                    record.set_state(State::Megamorphic);
                }
            }
        }
        self.silence(record, because);
    }

    /// As [`Runtime::place`]. A descriptor that somebody took is opened anew: what failed has written nothing.
    fn place_or_retry(
        &self,
        guarded: &mut Guarded,
        image: &Image,
        record: &Record,
        target: u64,
    ) -> Result<bool, Refusal> {
        for _ in 1..OPENINGS {
            match self.place(guarded, image, record, target) {
                Err(Refusal::Stolen) => {}
                result => return result,
            }
        }
        self.place(guarded, image, record, target)
    }

    /// Opens a branch to `target`, the inline branch if it leads there or is still free. Returns whether code was
    /// written.
    fn place(
        &self,
        guarded: &mut Guarded,
        image: &Image,
        record: &Record,
        target: u64,
    ) -> Result<bool, Refusal> {
        // What lies there may have changed since it was decided on.
        if !System::is_lasting(target) {
            return Err(Refusal::Fleeting);
        }
        let cell = record.cell();
        let inline = record.inline.load(Ordering::Relaxed);
        let Guarded { index, arena, bodies } = guarded;
        if inline == target && inline != 0 {
            // SAFETY: `inline` names what `promote` has written.
            unsafe { patch::reopen(record) };
            record.inline_open.store(true, Ordering::Relaxed);
            record.inline_stale.store(false, Ordering::Relaxed);
            return Ok(false);
        }
        let mut copies = index.copies(image, core::ptr::from_ref(cell) as usize)?;
        if inline != 0 {
            let site = copies.next().ok_or(Refusal::Table)?;
            // SAFETY: the lock is held.
            return unsafe { patch::extend(image, &site, record, target, arena, bodies) };
        }
        debug_assert!(patch::is_inline_closed(cell));
        // SAFETY: the lock is held; a call that succeeds is remembered in `inline`, and one that fails after it
        // has written anything is the last one: the refusal is final.
        unsafe { patch::promote(image, &mut copies, cell, target)? };
        record.inline.store(target, Ordering::Relaxed);
        record.inline_open.store(true, Ordering::Relaxed);
        Ok(true)
    }

    /// Closes the site's branches and starts to learn, for such evidence. The caller holds the lock, and has found that
    /// the site is neither off nor given up.
    pub(crate) fn relearn(&self, record: &Record, evidence: Evidence) {
        // SAFETY: the lock is held.
        unsafe { patch::close(record) };
        record.forget(evidence);
        record.cell().gate.fetch_and(!GATE_QUIET, Ordering::Relaxed);
        self.relearns.fetch_add(1, Ordering::Relaxed);
    }

    /// Closes the branches of every site that has one into `code`, which is about to go: a stale branch is never
    /// taken, but may be run speculatively. Returns how many sites they were, or `None` when another thread is
    /// patching. `now` is a number that rises with every call where branches are recycled, else 0.
    ///
    /// A site that has counted calls into `code`, and would make a branch of them, forgets them. Whoever counts
    /// meanwhile calls something else, or it would come to code that goes.
    pub fn forget_code(&self, code: &Range<u64>, now: u64) -> Option<usize> {
        let _guard = self.lock()?;
        let mut sites = 0;
        for record in self.records() {
            // SAFETY: the lock is held; what is found is closed below.
            let leads_there = unsafe { patch::mark_stale(record, code) };
            if leads_there {
                record.stale_since.store(now, Ordering::Relaxed);
                sites += 1;
            } else if !self.may_promote_into(record, code) {
                continue;
            } else if self.mode() == Mode::Freeze {
                // Nothing would be learned in the place of the branches that it has. It forgets before it learns again.
                self.silence(record, Refusal::None);
                continue;
            }
            let is_off = record.state() == State::Off;
            if record.refusal().is_final() {
                // SAFETY: the lock is held.
                unsafe { patch::close(record) };
                record.placed.store(0, Ordering::Relaxed);
                record.set_state(State::Megamorphic);
                continue;
            }
            self.relearn(record, Evidence::Glance);
            if is_off {
                control::close(record);
            }
        }
        Some(sites)
    }

    /// Whether a decision on what the site has counted may lead it into `code`. A site that is silent forgets first.
    fn may_promote_into(&self, record: &Record, code: &Range<u64>) -> bool {
        self.mode() != Mode::Count
            && !record.silent.load(Ordering::Relaxed)
            && record.targets.iter().any(|target| code.contains(&target.load(Ordering::Relaxed)))
    }

    /// Leads the branches back that were closed by [`Runtime::forget_code`], up to the call with `closed`. In the end,
    /// looks whether they still are, and makes them free for other targets.
    ///
    /// # Safety
    /// Every thread that was at a site's branches, or in its chain, has left them since that call.
    pub unsafe fn recycle(&self, closed: u64, in_the_end: bool) {
        let (Some(mut guarded), Some(image)) = (self.lock(), self.image()) else { return };
        for record in self.records() {
            let since = record.stale_since.load(Ordering::Relaxed);
            if since == 0 || since > closed {
                continue;
            }
            let cell = core::ptr::from_ref(record.cell()) as usize;
            let copies = guarded.get().index.copies(image, cell);
            // SAFETY: the lock is held; the caller's promise.
            let result = copies.and_then(|copies| unsafe { patch::recycle(image, copies, record) });
            if in_the_end || result.is_err() {
                record.stale_since.store(0, Ordering::Relaxed);
            }
            if let Err(refusal) = result {
                // Half of a branch may have been written: it must never be opened again.
                // SAFETY: the lock is held.
                unsafe { patch::close(record) };
                record.placed.store(0, Ordering::Relaxed);
                self.silence(record, refusal);
            }
        }
    }

    /// Gives back what is only there to be fast, and can be made anew. Returns `None` when another thread is patching.
    pub fn drop_index(&self) -> Option<()> {
        self.lock()?.get().index = Index::new();
        Some(())
    }

    /// Sends all calls of the image's sites to the retpoline, for ever, without the records: nobody comes to a record
    /// or to a chain any more but who is there now. The kernel does everything to its runtimes under one lock, so this
    /// one's is free.
    pub fn retire(&self) {
        let Some(_guard) = self.lock() else { return };
        for record in self.records() {
            // SAFETY: the lock is held.
            unsafe { patch::close(record) };
            record.cell().gate.store(GATE_QUIET, Ordering::Relaxed);
        }
    }

    /// Stops counting, until the site learns anew; for ever, where the refusal is final. Until then the site keeps
    /// the branches that are open.
    fn silence(&self, record: &Record, because: Refusal) {
        if because != Refusal::None {
            self.refuse(record.cell(), because);
            record.refusal.store(because as u8, Ordering::Relaxed);
        }
        record.silent.store(true, Ordering::Relaxed);
        if record.placed.load(Ordering::Relaxed) == 0 {
            record.set_state(State::Megamorphic);
        }
        let mut pace = record.pace();
        let rest = if because.is_final() { FOR_EVER } else { pace.rest(System::ticks()) };
        record.set_pace(pace);
        record.rest.store(rest, Ordering::Relaxed);
        record.cell().gate.fetch_or(GATE_QUIET, Ordering::Relaxed);
    }

    fn refuse(&self, cell: &Cell, because: Refusal) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        let cell = core::ptr::from_ref(cell) as usize;
        let site = || self.image().and_then(|image| site_of_cell(image, cell));
        System::refused(because, || site().map_or(0, |site| site.compare()));
    }

    /// In a forked child: its memory is a copy.
    pub fn claim(&self) {
        self.lock.claim();
    }

    /// Whether this process can ever patch.
    pub fn can_lock(&self) -> bool {
        self.open.load(Ordering::Acquire) && self.lock.is_ours()
    }

    /// Whether the code that called this interrupts a patcher.
    pub fn interrupts_patcher(&self) -> bool {
        self.lock.is_held_here()
    }

    /// Keeps everybody else from patching.
    pub fn hold(&self) -> Option<Guard<'_>> {
        let guard = self.lock.try_lock()?;
        if guard.interrupted {
            self.recover();
        }
        Some(guard)
    }

    pub(crate) fn lock(&self) -> Option<Locked<'_>> {
        self.hold().map(|guard| Locked { runtime: self, _guard: guard })
    }

    /// After a fork that caught another thread at work: what it did is forgotten rather than continued. The caller
    /// holds the lock.
    #[inline(never)]
    fn recover(&self) {
        System::abandon_code();
        // SAFETY: the lock is held. The old value is not dropped: it may be half done.
        unsafe { core::ptr::write(self.guarded.get(), Guarded::after_fork()) };
        let record = self.patching.swap(core::ptr::null_mut(), Ordering::Relaxed);
        // SAFETY: records are not freed before their runtime.
        if let Some(record) = unsafe { record.as_ref() } {
            self.silence(record, Refusal::Fork);
        }
    }
}

impl Default for Runtime {
    fn default() -> Self {
        Self::new()
    }
}

/// The lock, held, and what it guards.
pub(crate) struct Locked<'a> {
    runtime: &'a Runtime,
    _guard: Guard<'a>,
}

impl Locked<'_> {
    fn get(&mut self) -> &mut Guarded {
        // SAFETY: the lock is held, and this borrow ends before the guard does.
        unsafe { &mut *self.runtime.guarded.get() }
    }

    fn arena(&mut self) -> &mut Arena {
        &mut self.get().arena
    }
}

/// The row of the site table that a report names for a record: the first of its copies.
pub fn site_of(image: &Image, index: &mut Index, record: &Record) -> Option<Site> {
    let cell = record.cell.load(Ordering::Relaxed) as usize;
    match index.copies(image, cell) {
        Ok(copies) => copies.min_by_key(Site::compare),
        Err(_) => site_of_cell(image, cell),
    }
}

fn site_of_cell(image: &Image, cell: usize) -> Option<Site> {
    image.sites().find(|site| site.cell() == cell)
}

#[cfg(test)]
mod tests;
