//! What becomes of a site when its counts speak: its targets get branches, or it rests.

use super::{Guarded, OPENINGS, Runtime};
use crate::layout::GATE_QUIET;
use crate::layout::record::{State, WAYS};
use crate::options::Mode;
use crate::patch;
use crate::policy::{self, Decision, Evidence, FOR_EVER, MISS_LIMIT, Refusal, Seen};
use crate::port::{Port, System};
use crate::record::Record;
use crate::site::Image;
use core::sync::atomic::Ordering;

impl Runtime {
    // Neither this nor what it calls is inlined: each one's locals are gone when the next one runs. The stack may be
    // small.
    #[inline(never)]
    pub(super) fn decide(
        &self,
        guarded: &mut Guarded,
        image: &Image,
        record: &Record,
        calls: &[u32; WAYS + 1],
    ) {
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

    #[inline(never)]
    pub(super) fn promote(&self, guarded: &mut Guarded, image: &Image, record: &Record, ways: &[u8]) {
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
        let cell_address = core::ptr::from_ref(cell) as usize;
        if inline == 0 {
            debug_assert!(patch::is_inline_closed(cell));
            let mut copies = index.copies(image, cell_address)?;
            // SAFETY: the lock is held; a call that succeeds is remembered in `inline`, and one that fails after it
            // has written anything is the last one: the refusal is final.
            match unsafe { patch::promote(image, &mut copies, cell, target) } {
                Ok(()) => {
                    record.inline.store(target, Ordering::Relaxed);
                    record.inline_open.store(true, Ordering::Relaxed);
                    return Ok(true);
                }
                // Links never do.
                Err(Refusal::Split) => {}
                Err(refusal) => return Err(refusal),
            }
        }
        let site = index.copies(image, cell_address)?.next().ok_or(Refusal::Table)?;
        // SAFETY: the lock is held.
        unsafe { patch::extend(image, &site, record, target, arena, bodies) }
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

    /// Stops counting, until the site learns anew; for ever, where the refusal is final. Until then the site keeps
    /// the branches that are open.
    pub(super) fn silence(&self, record: &Record, because: Refusal) {
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
}
