//! One runtime: the image it governs, the records of its sites, and what happens when a site's slow path has
//! something to say.

mod decide;
mod gone;

use crate::layout::record::{State, WAYS};
use crate::layout::{Cell, GATE_QUIET};
use crate::memory::Arena;
use crate::options::Mode;
use crate::patch::{self, Bodies};
use crate::policy::{COUNT_LIMIT, Evidence, FOR_EVER, LEARN_LIMIT, RETRY, Refusal};
use crate::port::{Guard, Lock, Port, System};
use crate::record::Record;
use crate::site::{Image, Index, Site};
use core::cell::UnsafeCell;
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
                // It gets links, below.
                Err(Refusal::Split) => record.refusal.store(Refusal::Split as u8, Ordering::Relaxed),
                Err(refusal) => self.silence(record, refusal),
            }
        }
        drop(writer);
        let synced = System::sync_cores();
        let mut promoted = 0;
        for record in self.records() {
            let inline = record.inline.load(Ordering::Relaxed) != 0;
            if record.refusal() == Refusal::Split {
                record.refusal.store(Refusal::None as u8, Ordering::Relaxed);
            } else if !inline {
                continue;
            }
            self.patching.store(core::ptr::from_ref(record).cast_mut(), Ordering::Relaxed);
            match synced {
                Ok(()) => {
                    let known =
                        record.targets.iter().take_while(|target| target.load(Ordering::Relaxed) != 0);
                    let ways: [u8; WAYS] = core::array::from_fn(|way| way as u8);
                    self.promote(guarded, image, record, &ways[..known.count()]);
                    self.written.fetch_add(inline.into(), Ordering::Relaxed);
                    promoted += 1;
                }
                Err(refusal) => self.silence(record, refusal),
            }
        }
        self.patching.store(core::ptr::null_mut(), Ordering::Relaxed);
        promoted
    }

    fn refuse(&self, cell: &Cell, because: Refusal) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        let cell = core::ptr::from_ref(cell) as usize;
        let site = || self.image().and_then(|image| site_of_cell(image, cell));
        System::refused(because, || site().map_or(0, |site| site.compare()));
    }

    /// Gives back what is only there to be fast, and can be made anew. Returns `None` when another thread is patching.
    pub fn drop_index(&self) -> Option<()> {
        self.lock()?.get().index = Index::new();
        Some(())
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
            // What was opened may not have been noted yet, and would stay open when its code goes.
            // SAFETY: the lock is held.
            unsafe { patch::close(record) };
            record.placed.store(0, Ordering::Relaxed);
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
