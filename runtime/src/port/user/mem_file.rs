//! `/proc/…/mem`, which code is written through.

use super::{System, sys};
use crate::policy::Refusal;
use crate::port::{CodeWriter, Port};
use core::ffi::CStr;
use core::sync::atomic::{AtomicI32, AtomicU64, Ordering};

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
    /// Opens it.
    ///
    /// # Errors
    /// Why it cannot be written through.
    pub fn open() -> Result<Self, Refusal> {
        let fd = sys::open(MEMORY, libc::O_RDWR).map_err(|error| match error {
            libc::EMFILE | libc::ENFILE | libc::ENOMEM => Refusal::Descriptors,
            _ => Refusal::Write,
        })?;
        let mut file = Self { fd, identity: sys::identity(MEMORY).unwrap_or_default() };
        OPENED.remember(&file);
        if !file.step_aside() {
            return Err(file.missing());
        }
        match (file.is_ours(), file.leads_here()) {
            (true, true) => Ok(file),
            // Somebody else opened it, on behalf of this process.
            (true, false) => Err(Refusal::Write),
            _ => Err(file.missing()),
        }
    }

    /// Closes what a process has inherited whose parent was writing.
    pub fn abandon() {
        OPENED.take().into_iter().flatten().for_each(drop);
    }

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
        OPENED.remember(&aside);
        let is_ours = aside.is_ours();
        if !is_ours && !self.is_ours() {
            // It leads to the file that has taken the first number, and nobody else knows of it.
            sys::close(fd);
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
        OPENED.forget(self.fd);
    }
}

/// The open [`MemFile`], for a moment under two numbers: a child that was forked meanwhile has inherited it. Survives the
/// fork.
struct Opened {
    fds: [AtomicI32; 2],
    device: AtomicU64,
    inode: AtomicU64,
}

static OPENED: Opened =
    Opened { fds: [const { AtomicI32::new(-1) }; 2], device: AtomicU64::new(0), inode: AtomicU64::new(0) };

impl Opened {
    fn remember(&self, file: &MemFile) {
        let sys::Identity { device, inode } = file.identity;
        self.device.store(device, Ordering::Relaxed);
        self.inode.store(inode, Ordering::Relaxed);
        // Release: nobody reads it but a forked child, whose memory is of one moment.
        self.replace(-1, file.fd, Ordering::Release);
    }

    fn forget(&self, fd: i32) {
        self.replace(fd, -1, Ordering::Relaxed);
    }

    fn replace(&self, old: i32, new: i32, order: Ordering) {
        if let Some(place) = self.fds.iter().find(|place| place.load(Ordering::Relaxed) == old) {
            place.store(new, order);
        }
    }

    fn take(&self) -> [Option<MemFile>; 2] {
        let (device, inode) = (self.device.load(Ordering::Relaxed), self.inode.load(Ordering::Relaxed));
        self.fds.each_ref().map(|place| {
            let fd = place.swap(-1, Ordering::Relaxed);
            (fd >= 0).then_some(MemFile { fd, identity: sys::Identity { device, inode } })
        })
    }
}
