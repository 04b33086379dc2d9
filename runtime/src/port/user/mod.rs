//! The port for Linux programs in user space, on x86-64. It uses no function of the C library: it runs before
//! the library is ready, inside its functions, and in static programs that have none.

pub mod api;
mod chains;
mod fork;
pub mod image;
mod members;
mod slow_path;
pub mod start;
pub mod symbols;
pub mod sys;
mod warm;

use super::{CodeWriter, Port};
use crate::policy::Refusal;
use crate::runtime;
use core::ffi::CStr;
use core::mem::ManuallyDrop;
use core::ops::Range;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicU32, AtomicU64, Ordering};
pub use symbols::Symbols;

/// Distance between the addresses that are tried for code near an image.
const STEP: usize = 64 * 1024;
/// How many are tried: not so many that the code would lie further away than `patch::reaches` reckons with.
const TRIES: usize = 4000;
/// `int3`: what memory for code is filled with.
const TRAP: u8 = 0xcc;

/// Bytes of data that every image holds for the runtime's first records. They cost nothing until used.
const RESERVED_DATA: usize = 128 * 1024;

#[repr(align(4096))]
struct Reserve(core::cell::UnsafeCell<[u8; RESERVED_DATA]>);

// SAFETY: only its address is taken; what it holds belongs to the arena, under the runtime's lock.
unsafe impl Sync for Reserve {}

static RESERVE: Reserve = Reserve(core::cell::UnsafeCell::new([0; RESERVED_DATA]));

/// Linux in user space.
#[derive(Debug)]
pub struct System;

impl Port for System {
    type CodeWriter = MemFile;
    /// A descriptor.
    type Output = i32;

    const CHUNK: usize = 64 * 1024;

    fn map(length: usize) -> Option<NonNull<u8>> {
        sys::map(length)
    }

    unsafe fn unmap(start: *mut u8, length: usize) {
        // SAFETY: the caller's promise.
        unsafe { sys::unmap(start, length) }
    }

    fn data_reserve() -> Range<usize> {
        let start = RESERVE.0.get() as usize;
        start..start + RESERVED_DATA
    }

    fn chain_reserve() -> Option<(usize, usize)> {
        Some(chains::reserve())
    }

    fn map_code(image: Range<usize>, code: usize, data: usize) -> Option<NonNull<u8>> {
        // Below the image: above an executable grows its heap.
        let highest = (image.start & !(STEP - 1)).checked_sub((code + data).next_multiple_of(STEP))?;
        let start = (0..TRIES)
            .map_while(|step| highest.checked_sub(step * STEP).filter(|&address| address >= STEP))
            .find_map(|address| sys::map_code_at(address, code + data))?;
        // Memory that is made executable later is what hardened systems refuse; this was so from the start.
        // SAFETY: the end of the new mapping, which nobody knows yet.
        let ready =
            unsafe { sys::replace_by_data(start.as_ptr() as usize + code, data) } && fill(start, code);
        if ready {
            return Some(start);
        }
        // SAFETY: as above.
        unsafe { sys::unmap(start.as_ptr(), code + data) };
        None
    }

    /// A pipe that nobody reads, or a file that grows too large, is an error to report, not the program's end.
    fn write(output: i32, mut bytes: &[u8]) -> Result<(), i32> {
        let held = sys::HeldBack::new(&[libc::SIGPIPE, libc::SIGXFSZ]);
        while !bytes.is_empty() {
            match sys::write(output, bytes) {
                Ok(written) => bytes = &bytes[written.min(bytes.len())..],
                Err(libc::EINTR) => {}
                Err(error) => {
                    held.drop_new();
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn process_id() -> u32 {
        sys::process_id()
    }

    fn ticks() -> u64 {
        // SAFETY: part of x86-64.
        unsafe { core::arch::x86_64::_rdtsc() }
    }

    /// A stale branch leads to what is at its target now, which is what the program calls.
    fn is_lasting(_: u64) -> bool {
        true
    }

    /// Statistics and `RELPOLINE_OPTIONS=verbose=1` tell.
    fn refused(_: Refusal, _: impl FnOnce() -> usize) {}

    fn open_code() -> Result<MemFile, Refusal> {
        let fd = sys::open(MEMORY, libc::O_RDWR).map_err(|error| match error {
            libc::EMFILE | libc::ENFILE | libc::ENOMEM => Refusal::Descriptors,
            _ => Refusal::Write,
        })?;
        let mut file = MemFile { fd, identity: sys::identity(MEMORY).unwrap_or_default() };
        OPENED.remember(&file);
        if !file.step_aside() {
            return Err(Refusal::Stolen);
        }
        match (file.is_ours(), file.leads_here()) {
            (true, true) => Ok(file),
            // Somebody else opened it, on behalf of this process.
            (true, false) => Err(Refusal::Write),
            _ => Err(file.missing()),
        }
    }

    fn abandon_code() {
        drop(OPENED.take());
    }

    fn sync_cores() -> Result<(), Refusal> {
        if sys::membarrier(libc::MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE) {
            return Ok(());
        }
        // Not registered yet.
        let synced = sys::membarrier(libc::MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE)
            && sys::membarrier(libc::MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE);
        if synced { Ok(()) } else { Err(Refusal::Sync) }
    }
}

/// Fills new memory for code with traps.
fn fill(start: NonNull<u8>, length: usize) -> bool {
    const PIECE: usize = 256;
    let mut writer = System::open_code();
    (0..length).step_by(PIECE).all(|at| {
        let piece = &[TRAP; PIECE][..PIECE.min(length - at)];
        (0..runtime::TRIES).any(|_| {
            // SAFETY: nobody knows the memory yet.
            let write = |writer: &mut MemFile| unsafe { writer.write(start.as_ptr() as usize + at, piece) };
            let written = writer.as_mut().is_ok_and(|writer| write(writer).is_ok());
            if !written {
                // One is open at a time.
                writer = Err(Refusal::Stolen);
                writer = System::open_code();
            }
            written
        })
    })
}

/// The memory of this process. Named by the thread: that of a process whose first thread has ended leads nowhere.
const MEMORY: &CStr = c"/proc/thread-self/mem";

/// Where descriptors are looked for that do not get in the way of the program's: among the last for which the system has
/// room without more memory.
const OUT_OF_THE_WAY: i32 = 56;

/// `/proc/…/mem`: writes to private pages whatever their protection, so that no page of code is ever
/// writable. The first write to a page of a file makes it the process's own.
///
/// The process's descriptors belong to all of its threads, and some programs close every descriptor there is: a
/// file of theirs may then get the number of this one. So each use of the descriptor looks first what it leads to.
/// What remains is the moment between two system calls.
#[derive(Debug)]
pub struct MemFile {
    fd: i32,
    identity: sys::Identity,
}

impl MemFile {
    /// Why it cannot be written through: its number leads elsewhere, or it never led to memory.
    fn missing(&self) -> Refusal {
        if self.identity == sys::Identity::default() { Refusal::Write } else { Refusal::Stolen }
    }

    /// Takes a number that programs do not count on. The lowest free one, which the system gives, is what another thread
    /// means when it closes a descriptor of its own and puts another file there. False: the number has been taken already.
    fn step_aside(&mut self) -> bool {
        // Where there is no such number, this one has to do.
        let Some(fd) = sys::duplicate(self.fd, OUT_OF_THE_WAY) else { return true };
        let aside = MemFile { fd, identity: self.identity };
        let is_ours = aside.is_ours();
        if is_ours {
            OPENED.remember(&aside);
        }
        drop(core::mem::replace(self, aside));
        is_ours
    }

    fn is_ours(&self) -> bool {
        self.identity != sys::Identity::default() && sys::identity_of(self.fd) == Some(self.identity)
    }

    /// Whether it leads to the memory that this code runs in: not so in a child that was forked since it was opened, nor
    /// where a sandbox has another process open files.
    fn leads_here(&self) -> bool {
        // No other process holds this number at this place.
        let number = AtomicU64::new(System::ticks());
        let mut found = [0; size_of::<u64>()];
        let length = sys::read_at(self.fd, &mut found, number.as_ptr() as usize);
        length == Ok(found.len()) && u64::from_ne_bytes(found) == number.load(Ordering::Relaxed)
    }
}

impl CodeWriter for MemFile {
    unsafe fn write(&mut self, address: usize, bytes: &[u8]) -> Result<(), Refusal> {
        if !self.is_ours() || !self.leads_here() {
            return Err(self.missing());
        }
        match sys::write_at(self.fd, bytes, address) {
            Ok(length) if length == bytes.len() => Ok(()),
            // Closed since the look above: an error means that nothing was written.
            Err(_) if !self.is_ours() => Err(self.missing()),
            _ => Err(Refusal::Write),
        }
    }
}

impl Drop for MemFile {
    fn drop(&mut self) {
        if self.is_ours() {
            sys::close(self.fd);
        }
        let _ = OPENED.fd.compare_exchange(self.fd, -1, Ordering::Relaxed, Ordering::Relaxed);
    }
}

/// The open [`MemFile`]: a child that was forked meanwhile has inherited it. Survives the fork.
struct Opened {
    fd: AtomicI32,
    device: AtomicU64,
    inode: AtomicU64,
}

static OPENED: Opened =
    Opened { fd: AtomicI32::new(-1), device: AtomicU64::new(0), inode: AtomicU64::new(0) };

impl Opened {
    fn remember(&self, file: &MemFile) {
        let sys::Identity { device, inode } = file.identity;
        self.device.store(device, Ordering::Relaxed);
        self.inode.store(inode, Ordering::Relaxed);
        // Release: nobody reads it but a forked child, whose memory is of one moment.
        self.fd.store(file.fd, Ordering::Release);
    }

    fn take(&self) -> Option<MemFile> {
        let fd = self.fd.swap(-1, Ordering::Relaxed);
        let (device, inode) = (self.device.load(Ordering::Relaxed), self.inode.load(Ordering::Relaxed));
        (fd >= 0).then_some(MemFile { fd, identity: sys::Identity { device, inode } })
    }
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
        let page = NonNull::from(&PAGE).cast();
        if !sys::wipe_on_fork(page, size_of::<LockPage>()) {
            return false;
        }
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
