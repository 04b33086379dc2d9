//! Turning a whole process, or some of its sites, off and on; and forgetting what was learned.
//!
//! Only data is written: the gates in front of the patched branches close and open again. The branches stay
//! as they are, which is right for whoever is between a gate and its branch.

use crate::layout::{Cell, GATE_CHAIN, GATE_QUIET, NEVER};
use crate::options::Mode;
use crate::policy::State;
use crate::record::Record;
use crate::runtime::Runtime;
use crate::site::{Image, Site};
use core::sync::atomic::Ordering;

impl Runtime {
    /// Sends every converted call to the retpoline (`Mode::Off`), or lets sites learn and use what they have
    /// learned again (`Mode::On`). Returns false, and changes nothing, when another thread is patching, or
    /// when this is called from a signal handler that interrupted one; and for `Mode::Count`, which is chosen
    /// at start.
    pub fn set_mode(&self, mode: Mode) -> bool {
        if mode == Mode::Count || self.mode() == Mode::Count {
            return false;
        }
        let (Some(_guard), Some(image)) = (self.lock(), self.image()) else { return false };
        self.store_mode(mode);
        self.switch(image, mode == Mode::On, |_| true);
        true
    }

    /// Sends the sites that `chosen` picks to the retpoline, or lets them learn and use what they have learned
    /// again. Returns how many sites there are, or `None` when another thread is patching.
    ///
    /// While the process is off, sites stay off.
    pub fn set_sites(&self, on: bool, chosen: impl Fn(&Site) -> bool) -> Option<usize> {
        let (Some(_guard), Some(image)) = (self.lock(), self.image()) else { return None };
        let sites = image.sites().filter(|site| chosen(site)).count();
        if self.mode() == Mode::On {
            self.switch(image, on, chosen);
        }
        Some(sites)
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
            .for_each(|record| self.relearn(record));
        Some(true)
    }

    /// Turns sites off or on. The caller holds the lock.
    fn switch(&self, image: &Image, on: bool, chosen: impl Fn(&Site) -> bool) {
        for site in image.sites().filter(|site| chosen(site) && image.check(site).is_ok()) {
            // SAFETY: `check` found the cell in the image's data, aligned.
            let cell = unsafe { &*(site.cell() as *const Cell) };
            // Idle sites stop asking for a record, and start again.
            let (from, to) = if on { (GATE_QUIET, 0) } else { (0, GATE_QUIET) };
            let idle = cell.gate.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed);
            let address = idle.unwrap_or_else(|found| found) & !(GATE_QUIET | GATE_CHAIN);
            // SAFETY: the gate holds the address of the site's record, which is never freed.
            match unsafe { (address as *const Record).as_ref() } {
                Some(record) if on => open(record),
                Some(record) => close(record),
                None => {}
            }
        }
    }
}

/// Closes the ways into the site's branches, but not what lies behind the chain's gate.
fn close(record: &Record) {
    if record.state() == State::Off {
        return;
    }
    let cell = record.cell();
    cell.hot.store(NEVER, Ordering::Release);
    cell.gate.fetch_and(!GATE_CHAIN, Ordering::Release);
    cell.gate.fetch_or(GATE_QUIET, Ordering::Relaxed);
    record.resume.store(record.state.swap(State::Off as u8, Ordering::Relaxed), Ordering::Relaxed);
}

fn open(record: &Record) {
    if record.state() != State::Off {
        return;
    }
    let state = State::from_number(record.resume.load(Ordering::Relaxed));
    record.state.store(state as u8, Ordering::Relaxed);
    let cell = record.cell();
    if record.inline_open.load(Ordering::Relaxed) {
        // Release: pairs with the load of the site's compare. The branch behind it was written, and the
        // cores synchronised, when it was promoted.
        cell.hot.store(record.inline.load(Ordering::Relaxed), Ordering::Release);
    }
    if record.chain_open.load(Ordering::Relaxed) {
        cell.gate.fetch_or(GATE_CHAIN, Ordering::Release);
    }
    if !record.silent.load(Ordering::Relaxed) {
        cell.gate.fetch_and(!GATE_QUIET, Ordering::Relaxed);
    }
}
