//! The port for the Linux kernel. The Rust side knows nothing of the kernel but the functions in [`sys`], which are
//! C (`kernel/tree/core.c`): versions differ there, and only there.
//!
//! The slow path may run anywhere, in an NMI and before the kernel has relocated itself: it counts with plain
//! instructions and leaves a note in a table ([`slow_path`]). A worker, in a context that may sleep, looks at the
//! notes and does everything else ([`images`]).

mod images;
mod slow_path;
mod sys;

use super::{CodeWriter, Port};
use crate::policy::Refusal;
use crate::site::Image;
use core::ffi::CStr;
use core::ops::Range;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// Kinds of refusals that the log has told of, a bit for each.
static TOLD: AtomicU32 = AtomicU32::new(0);

/// The Linux kernel.
#[derive(Debug)]
pub struct System;

impl Port for System {
    type CodeWriter = TextPoke;
    /// A `struct seq_file`.
    type Output = *mut sys::SeqFile;

    /// A module's sites are few.
    const CHUNK: usize = 16 * 1024;

    /// The kernel's code is in no file.
    const UNDONE: Option<usize> = None;

    fn map(length: usize) -> Option<NonNull<u8>> {
        // SAFETY: only called by the worker and its like, which may sleep; the owner was set by them.
        NonNull::new(unsafe { sys::relpoline_sys_alloc(images::owner(), length) })
    }

    fn map_chunk() -> Option<NonNull<u8>> {
        Self::map(Self::CHUNK)
    }

    unsafe fn unmap(start: *mut u8, _: usize) {
        // SAFETY: the caller's promise.
        unsafe { sys::relpoline_sys_free(images::owner(), start) }
    }

    fn data_reserve() -> Range<usize> {
        0..0
    }

    fn chain_reserve() -> Option<(usize, usize)> {
        None
    }

    fn map_code(_: Range<usize>, code: usize, data: usize) -> Option<NonNull<u8>> {
        // Kernel text and the modules' area lie within one direct branch of each other.
        // SAFETY: as for `map`.
        NonNull::new(unsafe { sys::relpoline_sys_alloc_code(images::owner(), code, data) })
    }

    fn write(output: Self::Output, bytes: &[u8]) -> Result<(), i32> {
        // SAFETY: the file that is being read, and a slice. An overflow has seq_file call again with more room.
        unsafe { sys::relpoline_sys_write(output, bytes.as_ptr(), bytes.len()) };
        Ok(())
    }

    fn process_id() -> u32 {
        0
    }

    fn ticks() -> u64 {
        // SAFETY: part of x86-64.
        unsafe { core::arch::x86_64::_rdtsc() }
    }

    fn is_lasting(target: u64) -> bool {
        // SAFETY: only looks.
        unsafe { sys::relpoline_sys_is_lasting(target as usize) }
    }

    /// The log tells once of each kind that is not in the order of things.
    fn refused(because: Refusal, site: impl FnOnce() -> usize) {
        let kind = 1 << because as u8;
        if !(because.is_final() || because == Refusal::OutOfReach)
            || TOLD.fetch_or(kind, Ordering::Relaxed) & kind != 0
        {
            return;
        }
        let why = because.explain();
        // SAFETY: text and its length; the address is only named.
        unsafe { sys::relpoline_sys_warn(site(), why.as_ptr(), why.len()) };
    }

    fn open_code() -> Result<TextPoke, Refusal> {
        Ok(TextPoke)
    }

    fn abandon_code() {}

    fn sync_cores() -> Result<(), Refusal> {
        // SAFETY: whoever calls the runtime may sleep, and holds CPU hot-plug off.
        unsafe { sys::relpoline_sys_sync() };
        Ok(())
    }
}

/// `text_poke`: writes through a mapping of its own.
#[derive(Debug)]
pub struct TextPoke;

impl CodeWriter for TextPoke {
    unsafe fn write(&mut self, address: usize, bytes: &[u8]) -> Result<(), Refusal> {
        // SAFETY: whoever calls the runtime may sleep, and does not hold `text_mutex`, which the C side takes; and the caller
        // of this says that the bytes are code of the image or of a chain that nobody executes.
        let written = unsafe { sys::relpoline_sys_poke(address, bytes.as_ptr(), bytes.len()) };
        if written { Ok(()) } else { Err(Refusal::Probed) }
    }
}

/// One at a time: everything but the slow path is called under a mutex of the C side, so the lock is always free.
#[derive(Debug)]
pub struct Lock {
    held: AtomicBool,
}

/// The lock, held.
#[derive(Debug)]
pub struct Guard<'a> {
    lock: &'a Lock,
    /// Nobody forks a kernel.
    pub interrupted: bool,
}

impl Lock {
    /// A free lock.
    pub const fn new() -> Self {
        Self { held: AtomicBool::new(false) }
    }

    /// There is nothing to prepare.
    pub fn prepare(&self) -> bool {
        true
    }

    /// Nobody forks a kernel.
    pub fn claim(&self) {}

    /// Whether the lock can be taken at all.
    pub fn is_ours(&self) -> bool {
        true
    }

    /// Only workers and notifiers take it, and nothing that interrupts them calls them.
    pub fn is_held_here(&self) -> bool {
        false
    }

    /// Takes the lock if it is free.
    pub fn try_lock(&self) -> Option<Guard<'_>> {
        // Acquire: pairs with the release of Guard::drop.
        let free = self.held.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok();
        free.then_some(Guard { lock: self, interrupted: false })
    }
}

impl Default for Lock {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        // Release: pairs with the acquire of Lock::try_lock.
        self.lock.held.store(false, Ordering::Release);
    }
}

/// The symbols of the kernel.
#[derive(Debug)]
pub struct Symbols {
    object: Option<&'static CStr>,
    name: [u8; sys::SYMBOL_LENGTH],
}

impl Symbols {
    /// Names for reports on `image`.
    pub fn of(image: &Image) -> Self {
        // SAFETY: the image is known to the kernel: its name lives as long as it does.
        let object = unsafe { sys::relpoline_sys_object(image.text.start) };
        // SAFETY: a C string, or null.
        let object = (!object.is_null()).then(|| unsafe { CStr::from_ptr(object) });
        Self { object, name: [0; sys::SYMBOL_LENGTH] }
    }

    /// `vmlinux`, or the module's name.
    pub fn object(&self) -> Option<&[u8]> {
        self.object.map(CStr::to_bytes)
    }

    /// Name of the function that contains `address`.
    pub fn function(&mut self, address: usize) -> Option<&[u8]> {
        // SAFETY: room of the length that the C side asserts.
        let known = unsafe { sys::relpoline_sys_symbol(address, self.name.as_mut_ptr().cast()) };
        let name = CStr::from_bytes_until_nul(&self.name).ok()?;
        known.then_some(name.to_bytes())
    }
}
