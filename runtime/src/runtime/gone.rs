//! What must happen before code goes, and may happen once it has gone.

use super::Runtime;
use crate::control;
use crate::layout::GATE_QUIET;
use crate::layout::record::State;
use crate::options::Mode;
use crate::patch;
use crate::policy::{Evidence, Refusal};
use crate::record::Record;
use core::ops::Range;
use core::sync::atomic::Ordering;

impl Runtime {
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
}
