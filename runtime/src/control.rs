//! Turning a whole process, or some of its sites, off and on; and forgetting what was learned.
//!
//! Only data is written: the gates in front of the patched branches close and open again. The branches stay
//! as they are, which is right for whoever is between a gate and its branch.

use crate::layout::record::State;
use crate::layout::{Cell, GATE_OFF, GATE_QUIET};
use crate::options::Mode;
use crate::patch;
use crate::policy::Evidence;
use crate::record::Record;
use crate::runtime::Runtime;
use crate::site::{Image, Site};
use core::sync::atomic::{Ordering, fence};

impl Runtime {
    /// Sends every converted call to the retpoline (`Mode::Off`); lets sites use what they have learned again, and
    /// learn (`Mode::On`) or not (`Mode::Freeze`). Returns false, and changes nothing, when another thread is
    /// patching, or when this is called from a signal handler that interrupted one. `Mode::Count` is chosen at start, and
    /// is for ever.
    pub fn set_mode(&self, mode: Mode) -> bool {
        debug_assert!(mode != Mode::Count);
        if self.mode() == Mode::Count {
            return false;
        }
        let (Some(_guard), Some(image)) = (self.lock(), self.image()) else { return false };
        self.store_mode(mode);
        // Pairs with the fence of `quieten`.
        fence(Ordering::SeqCst);
        self.switch(image, mode, |_| true);
        true
    }

    /// Sends the sites that `chosen` picks to the retpoline, or lets them do again what the process does. Returns how
    /// many sites there are, or `None` when another thread is patching.
    ///
    /// While the process is off, sites stay off.
    pub fn set_sites(&self, on: bool, mut chosen: impl FnMut(&Site) -> bool) -> Option<usize> {
        let (Some(_guard), Some(image)) = (self.lock(), self.image()) else { return None };
        Some(match self.mode() {
            mode @ (Mode::On | Mode::Freeze) => self.switch(image, if on { mode } else { Mode::Off }, chosen),
            Mode::Off | Mode::Count => image.sites().filter(|site| chosen(site)).count(),
        })
    }

    /// Has every site forget its targets and learn anew. Returns `None` when another thread is patching, and
    /// false when the process does not patch at all.
    pub fn relearn_all(&self) -> Option<bool> {
        if self.mode() != Mode::On {
            return Some(false);
        }
        let _guard = self.lock()?;
        self.records()
            .filter(|record| record.state() != State::Off && !record.refusal().is_final())
            .for_each(|record| self.relearn(record, Evidence::Glance));
        Some(true)
    }

    /// While the process is off or frozen, has a site that has never run stop asking for a record. Takes no lock. Returns
    /// whether that is so.
    pub(crate) fn quieten(&self, cell: &Cell) -> bool {
        let is_due = || matches!(self.mode(), Mode::Off | Mode::Freeze);
        if !is_due() {
            return false;
        }
        let _ = cell.gate.compare_exchange(0, GATE_QUIET, Ordering::Relaxed, Ordering::Relaxed);
        // Pairs with the fence of `set_mode`: either that finds the gate as it is now, or this finds the mode.
        fence(Ordering::SeqCst);
        let is_due = is_due();
        if !is_due {
            // A site that was turned off meanwhile has another gate.
            let _ = cell.gate.compare_exchange(GATE_QUIET, 0, Ordering::Relaxed, Ordering::Relaxed);
        }
        is_due
    }

    /// Sends all calls to the retpoline for ever, without the records: this is another process than the one that made them,
    /// and not a child of it. What was mapped there is not here.
    pub fn forget_all(&self) {
        let Some(image) = self.image() else { return };
        for cell in image.sites().filter_map(|site| site.cell_to_switch(image)) {
            patch::close_inline(cell);
            cell.gate.store(GATE_QUIET, Ordering::Relaxed);
        }
        self.close_for_good();
    }

    /// Turns sites off, or back to what the process does. Returns how many. The caller holds the lock.
    fn switch(&self, image: &Image, mode: Mode, mut chosen: impl FnMut(&Site) -> bool) -> usize {
        let mut count = 0;
        for site in image.sites().filter(|site| chosen(site)) {
            count += 1;
            let record = match site.cell_to_switch(image) {
                Some(cell) => switch_idle(cell, mode),
                // Its code is not what was emitted. What has a record was called, and has the cell that its stub named.
                None => {
                    self.records().find(|record| core::ptr::from_ref(record.cell()) as usize == site.cell())
                }
            };
            let Some(record) = record else { continue };
            if mode == Mode::Off {
                close(record);
            } else if open(record, mode == Mode::On) {
                self.relearn(record, Evidence::Survey);
            }
        }
        count
    }
}

/// Has a site that has never run stop asking for a record, or ask for one again. Returns the record of one that has run,
/// whose gate is left as it is.
pub(crate) fn switch_idle(cell: &Cell, mode: Mode) -> Option<&Record> {
    let idle = match mode {
        // Not the bit of `quieten`, which another thread takes back, and not that of the chain: whoever passes that
        // stands in front of a branch that is still to be written.
        Mode::Off => GATE_QUIET | GATE_OFF,
        Mode::Freeze => GATE_QUIET,
        Mode::On | Mode::Count => 0,
    };
    // SAFETY: the cell is there.
    let record = |gate| unsafe { Record::of_gate(gate) };
    let change = |gate| record(gate).is_none().then_some(idle);
    let found = cell.gate.fetch_update(Ordering::Relaxed, Ordering::Relaxed, change);
    record(found.unwrap_or_else(|found| found))
}

/// Closes the ways into the site's branches, but not what lies behind the chain's gate.
pub(crate) fn close(record: &Record) {
    if record.state() == State::Off {
        return;
    }
    let cell = record.cell();
    patch::close_inline(cell);
    patch::close_chain(cell);
    cell.gate.fetch_or(GATE_QUIET, Ordering::Relaxed);
    record.resume.store(record.state.swap(State::Off as u8, Ordering::Relaxed), Ordering::Relaxed);
}

/// Opens them again, and has the site count if it is to learn. Returns whether it was at rest before: its slow calls write
/// down the length of that without a lock, so no other length can be put in its place.
pub(crate) fn open(record: &Record, learn: bool) -> bool {
    let cell = record.cell();
    if record.state() == State::Off {
        let state = State::from_number(record.resume.load(Ordering::Relaxed));
        record.state.store(state as u8, Ordering::Relaxed);
        if record.inline_open.load(Ordering::Relaxed) {
            // SAFETY: the branch behind it was written, and the cores synchronised, when it was promoted.
            unsafe { patch::reopen(record) };
        }
        if record.chain_open.load(Ordering::Relaxed) {
            // SAFETY: likewise, when the chain was first opened.
            unsafe { patch::open_chain(cell) };
        }
    }
    let rests = record.silent.load(Ordering::Relaxed);
    if learn && !rests {
        cell.gate.fetch_and(!GATE_QUIET, Ordering::Relaxed);
    }
    learn && rests && !record.refusal().is_final()
}
