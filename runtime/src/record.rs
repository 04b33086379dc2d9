//! What a site's slow path has counted. The slow path is assembly (`port::user::slow_path`). It writes `counts` with
//! plain stores: threads that count at the same time may lose a count, which only blurs the statistics. A way of
//! `targets` that is free is claimed by a locked compare-and-exchange, and keeps its target until the record forgets all
//! of them, which the holder of the lock does: so what `placed` says of a way is true of its target.

use crate::layout::Cell;
use crate::layout::record::{ALIGN, COUNTS, LIMIT, PLACED, REST, SIZE, STATE, State, TARGETS, TOTALS, WAYS};
use crate::policy::{Evidence, LEARN_LIMIT, Pace, Refusal};
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicU8, AtomicU16, AtomicU64, Ordering};

/// Offset of [`Record::cell`], for the kernel's slow path.
pub const CELL: usize = core::mem::offset_of!(Record, cell);

/// The learning record of a site that has run. Zeroed memory is a valid one.
#[repr(C, align(256))]
#[derive(Debug)]
pub struct Record {
    /// Targets seen, 0 where free.
    pub targets: [AtomicU64; WAYS],
    /// Calls seen with each, counted up from minus the limit; the last is for targets that found no way free.
    pub counts: [AtomicI32; WAYS + 1],
    /// Slow calls that a site which does not count lets pass before it asks for a decision.
    pub rest: AtomicI32,
    /// Limit that the counts started from.
    pub limit: AtomicI32,
    /// [`State`].
    pub state: AtomicU8,
    /// [`Refusal`].
    pub refusal: AtomicU8,
    /// Ways whose target has an open direct branch, a bit for each.
    pub placed: AtomicU16,
    /// [`State`] to go back to when the site is turned on again.
    pub resume: AtomicU8,
    /// The slow path does not count any more, by the policy's decision.
    pub silent: AtomicBool,
    /// The chain is open.
    pub chain_open: AtomicBool,
    /// [`Pace::rests`].
    pub rests: AtomicU8,
    /// [`Pace::rested_at`].
    pub rested_at: AtomicU64,
    /// Calls harvested from `counts` since the record was made.
    pub totals: [AtomicU64; WAYS + 1],
    /// Calls counted while learning.
    pub learned_calls: AtomicU64,
    /// Calls counted since the site was promoted.
    pub misses: AtomicU64,
    /// Target that the inline branch was written for, 0 before it was.
    pub inline: AtomicU64,
    /// The inline branch is open.
    pub inline_open: AtomicBool,
    /// The inline branch leads to code that has gone, and has not been opened since.
    pub inline_stale: AtomicBool,
    /// [`Evidence`].
    pub evidence: AtomicU8,
    /// When branches of the site were last closed because their code was going, 0 once they lead elsewhere; see
    /// `patch::recycle`.
    pub stale_since: AtomicU64,
    /// The site's cell.
    pub cell: AtomicPtr<Cell>,
    /// The record made before this one.
    pub next: AtomicPtr<Record>,
    /// Further targets: the first body of the chain.
    pub chain: AtomicPtr<crate::patch::Chain>,
}

const _: () = {
    use core::mem::offset_of;
    assert!(offset_of!(Record, targets) == TARGETS && offset_of!(Record, counts) == COUNTS);
    assert!(offset_of!(Record, rest) == REST && offset_of!(Record, limit) == LIMIT);
    assert!(offset_of!(Record, state) == STATE && offset_of!(Record, placed) == PLACED);
    assert!(offset_of!(Record, totals) == TOTALS && offset_of!(Record, learned_calls) == SIZE);
    assert!(align_of::<Record>() == ALIGN && size_of::<Record>() == 2 * ALIGN);
};

impl Record {
    /// The record of the site whose cell is at `address`, once it has one.
    ///
    /// # Safety
    /// There is a cell.
    pub unsafe fn of_cell<'a>(address: usize) -> Option<&'a Self> {
        // SAFETY: the caller's promise.
        let gate = unsafe { &*(address as *const Cell) }.gate.load(Ordering::Acquire);
        // SAFETY: it was read from a cell.
        unsafe { Self::of_gate(gate) }
    }

    /// The record whose address is in this value of [`Cell::gate`].
    ///
    /// # Safety
    /// It was read from a cell that has not been freed since.
    pub unsafe fn of_gate<'a>(gate: usize) -> Option<&'a Self> {
        // SAFETY: the address of a record, which is not freed before the cell, or 0.
        unsafe { ((gate & !(ALIGN - 1)) as *const Self).as_ref() }
    }

    /// State of the site.
    pub fn state(&self) -> State {
        State::from_number(self.state.load(Ordering::Relaxed))
    }

    /// Sets the state of the site. One that is off stays so, and goes on in that state.
    pub fn set_state(&self, state: State) {
        let place = if self.state() == State::Off { &self.resume } else { &self.state };
        place.store(state as u8, Ordering::Relaxed);
    }

    /// Why the site stays on the retpoline, if it does.
    pub fn refusal(&self) -> Refusal {
        Refusal::from_number(self.refusal.load(Ordering::Relaxed))
    }

    /// Starts counting anew, so that the slow path reports after `limit` calls with one target.
    pub fn arm(&self, limit: i32) {
        self.limit.store(limit, Ordering::Relaxed);
        for count in &self.counts {
            count.store(-limit, Ordering::Relaxed);
        }
    }

    /// Whether a count has reached its limit.
    pub fn is_due(&self) -> bool {
        self.counts.iter().any(|count| count.load(Ordering::Relaxed) >= 0)
    }

    /// The record's cell.
    pub fn cell(&self) -> &Cell {
        // SAFETY: the cell was there when the record was made for it, and outlives it.
        unsafe { &*self.cell.load(Ordering::Relaxed) }
    }

    /// What the choice of the open branches rests on.
    pub fn evidence(&self) -> Evidence {
        Evidence::from_number(self.evidence.load(Ordering::Relaxed))
    }

    /// How often the site rested lately.
    pub fn pace(&self) -> Pace {
        Pace { rests: self.rests.load(Ordering::Relaxed), rested_at: self.rested_at.load(Ordering::Relaxed) }
    }

    /// Remembers how often the site rested.
    pub fn set_pace(&self, pace: Pace) {
        self.rests.store(pace.rests, Ordering::Relaxed);
        self.rested_at.store(pace.rested_at, Ordering::Relaxed);
    }

    /// Forgets which targets were seen; their calls stay in the sum. The site is learning again, for such evidence.
    pub fn forget(&self, evidence: Evidence) {
        self.harvest();
        for (target, total) in self.targets.iter().zip(&self.totals) {
            target.store(0, Ordering::Relaxed);
            self.totals[WAYS].fetch_add(total.swap(0, Ordering::Relaxed), Ordering::Relaxed);
        }
        self.placed.store(0, Ordering::Relaxed);
        self.silent.store(false, Ordering::Relaxed);
        // Where its branches lie does not change.
        if self.refusal() != Refusal::Split {
            self.refusal.store(Refusal::None as u8, Ordering::Relaxed);
        }
        self.state.store(State::Learning as u8, Ordering::Relaxed);
        self.evidence.store(evidence as u8, Ordering::Relaxed);
        self.arm(if evidence == Evidence::Glance { LEARN_LIMIT } else { self.pace().survey() });
    }

    /// Takes the counts: adds them to the totals, arms the record with the same limit, and returns them.
    pub fn harvest(&self) -> [u32; WAYS + 1] {
        let limit = self.limit.load(Ordering::Relaxed);
        let mut calls = [0; WAYS + 1];
        for (way, count) in self.counts.iter().enumerate() {
            let counted = count.swap(-limit, Ordering::Relaxed).saturating_add(limit).max(0) as u32;
            calls[way] = counted;
            self.totals[way].fetch_add(counted.into(), Ordering::Relaxed);
        }
        let sum = calls.iter().map(|&calls| u64::from(calls)).sum();
        let kind = if self.state() == State::Learning { &self.learned_calls } else { &self.misses };
        kind.fetch_add(sum, Ordering::Relaxed);
        calls
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_harvest_counts_from_the_limit_and_arms_again() {
        // SAFETY: zeroed memory is a valid record.
        let record: Record = unsafe { core::mem::zeroed() };
        record.arm(64);
        record.counts[0].fetch_add(63, Ordering::Relaxed);
        assert!(!record.is_due());
        record.counts[0].fetch_add(1, Ordering::Relaxed);
        assert!(record.is_due());
        record.counts[WAYS].fetch_add(3, Ordering::Relaxed);
        let calls = record.harvest();
        assert_eq!((calls[0], calls[1], calls[WAYS]), (64, 0, 3));
        assert_eq!(record.harvest(), [0; WAYS + 1]);
        assert_eq!(record.learned_calls.load(Ordering::Relaxed), 67);
        assert_eq!(record.counts[0].load(Ordering::Relaxed), -64);
    }
}
