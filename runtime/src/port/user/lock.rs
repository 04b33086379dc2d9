//! The lock of a runtime in user space, and how to wait for it.

use super::{fork, sys};
use crate::runtime::Runtime;
use core::mem::ManuallyDrop;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering};

/// Tries before [`until_free`] gives up, about a second later: the system adds 50 microseconds to each sleep. Patching
/// takes microseconds, but the thread that does it may have lost its processor.
const ATTEMPTS: usize = 4_000;
/// Tries that only let other threads run; the later ones sleep.
const YIELDS: usize = 100;
/// Nanoseconds slept between tries.
const PAUSE: i64 = 200_000;

/// Tries until `action` has a result, which it has not while another thread patches.
pub fn until_free<T>(runtime: &Runtime, mut action: impl FnMut() -> Option<T>) -> Option<T> {
    for attempt in 0..ATTEMPTS {
        let result = action();
        // A child of vfork need not wait, and a handler of this thread's own fork would wait for itself.
        if result.is_some() || !runtime.can_lock() || fork::is_under_way_here() {
            return result;
        }
        if attempt < YIELDS {
            sys::yield_now();
        } else {
            sys::sleep(PAUSE);
        }
    }
    None
}

/// The lock of the runtime, in a page that the kernel wipes in a forked child: a lock that another thread of
/// the parent held must not stay held for ever in the child.
///
/// A process that only borrows the memory, as a child of `vfork` does, never takes the lock: it may be killed at
/// any time, and its parent would find the lock held for ever. So whoever holds it lets go of it, or dies with all
/// who might wait for it.
#[derive(Debug)]
pub struct Lock {
    page: AtomicPtr<LockPage>,
    /// Survives a fork: whether the lock was held, that is, whether what it guards may be half done.
    busy: AtomicBool,
}

#[repr(C, align(4096))]
#[derive(Debug)]
struct LockPage {
    held: AtomicU32,
    /// 1 once this process has taken the lock; 0 again in a child.
    known: AtomicU32,
    /// The process that the memory belongs to; 0 in a child until that is known.
    owner: AtomicU32,
}

/// A page of the image, so that loading and unloading a shared object leaves nothing behind.
static PAGE: LockPage =
    LockPage { held: AtomicU32::new(0), known: AtomicU32::new(0), owner: AtomicU32::new(0) };

/// The lock, held.
#[derive(Debug)]
pub struct Guard<'a> {
    lock: &'a Lock,
    page: &'a LockPage,
    /// Signal mask to go back to.
    signals: Option<u64>,
    /// The process was forked while another thread held the lock.
    pub interrupted: bool,
}

impl LockPage {
    fn is_of(&self, process: u32) -> bool {
        match self.owner.load(Ordering::Relaxed) {
            0 => !sys::borrows_memory(),
            owner => owner == process,
        }
    }
}

impl Lock {
    /// A lock that cannot be taken until it is [`Lock::prepare`]d.
    pub const fn new() -> Self {
        Self { page: AtomicPtr::new(core::ptr::null_mut()), busy: AtomicBool::new(false) }
    }

    /// Makes the lock's page one that is wiped on fork. Otherwise the lock is never taken, and nothing is ever
    /// patched.
    pub fn prepare(&self) -> bool {
        const SIZE: usize = size_of::<LockPage>();
        let is_wiped = |page: &NonNull<u8>| sys::wipe_on_fork(*page, SIZE);
        // Linker scripts may put what is zero at first into the file, and pages of files are not wiped.
        let of_image = Some(NonNull::from(&PAGE).cast()).filter(is_wiped);
        let Some(page) = of_image.or_else(|| sys::map(SIZE).filter(is_wiped)) else { return false };
        self.page.store(page.as_ptr().cast(), Ordering::Release);
        self.claim();
        true
    }

    fn page(&self) -> Option<&LockPage> {
        // SAFETY: the page is never unmapped, and zeroed memory is a valid page.
        unsafe { self.page.load(Ordering::Acquire).as_ref() }
    }

    /// The memory is this process's own.
    pub fn claim(&self) {
        if let Some(page) = self.page() {
            page.owner.store(sys::process_id(), Ordering::Relaxed);
        }
    }

    /// Whether the code that called this interrupts a holder of the lock.
    pub fn is_held_here(&self) -> bool {
        self.is_held_under(sys::signal_mask())
    }

    /// The same, of code that runs with these signals blocked.
    fn is_held_under(&self, signals: u64) -> bool {
        self.busy.load(Ordering::Relaxed) && sys::is_blocking(signals)
    }

    /// Whether this process can ever take the lock.
    pub fn is_ours(&self) -> bool {
        self.page().is_some_and(|page| page.is_of(sys::process_id()))
    }

    /// Takes the lock if it is free and of this process, without waiting. While it is held the thread takes no signal but
    /// those that its own instructions raise: a handler might leave by `siglongjmp`, be cancelled, or fork. One that
    /// does so all the same only stops the learning: it cannot take the lock, nor can anybody else.
    pub fn try_lock(&self) -> Option<Guard<'_>> {
        let page = self.page()?;
        if page.held.load(Ordering::Relaxed) != 0 {
            return None;
        }
        let process = sys::process_id();
        if !page.is_of(process) {
            return None;
        }
        let signals = sys::block_signals();
        // In a child that a handler has forked the page is wiped, and the thread that it interrupted goes on patching.
        // Acquire: pairs with the release of Guard::drop.
        if self.is_held_under(signals)
            || page.held.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).is_err()
        {
            sys::restore_signals(signals);
            return None;
        }
        page.owner.store(process, Ordering::Relaxed);
        let first = page.known.swap(1, Ordering::Relaxed) == 0;
        let interrupted = self.busy.swap(true, Ordering::Relaxed) && first;
        Some(Guard { lock: self, page, signals: Some(signals), interrupted })
    }
}

impl Guard<'_> {
    /// Lets the thread take signals again, while it holds the lock and does nothing that a handler could disturb.
    pub fn let_signals_in(&mut self) {
        if let Some(signals) = self.signals.take() {
            sys::restore_signals(signals);
        }
    }

    /// Blocks signals again.
    pub fn keep_signals_out(&mut self) {
        self.signals.get_or_insert_with(sys::block_signals);
    }

    /// Lets go of the lock in a child whose page has been wiped since: nothing was half done.
    pub fn let_go_after_fork(self) {
        let mut guard = ManuallyDrop::new(self);
        // The lock is free since the fork, and other handlers may have made threads that take it: such a thread has
        // found out by itself what there was to find out.
        // Acquire: as in Lock::try_lock.
        if guard.page.held.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).is_ok() {
            guard.page.known.store(1, Ordering::Relaxed);
            drop(ManuallyDrop::into_inner(guard));
        } else {
            guard.let_signals_in();
        }
    }
}

impl Default for Lock {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.lock.busy.store(false, Ordering::Relaxed);
        // Release: pairs with the acquire of Lock::try_lock.
        self.page.held.store(0, Ordering::Release);
        self.let_signals_in();
    }
}
