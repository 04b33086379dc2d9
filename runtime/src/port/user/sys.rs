//! System calls. None of them touches `errno`.

use super::PAGE;
use core::arch::asm;
use core::ffi::CStr;
use core::mem::MaybeUninit;
use core::ptr::NonNull;

/// # Safety
/// As for the system call.
unsafe fn syscall(number: i64, arguments: [usize; 6]) -> Result<usize, i32> {
    let result: isize;
    // SAFETY: the kernel preserves every register but rax, rcx and r11; the rest is the caller's promise.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") arguments[0],
            in("rsi") arguments[1],
            in("rdx") arguments[2],
            in("r10") arguments[3],
            in("r8") arguments[4],
            in("r9") arguments[5],
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    if (-4095..0).contains(&result) { Err(-result as i32) } else { Ok(result as usize) }
}

const DATA: i32 = libc::PROT_READ | libc::PROT_WRITE;
const CODE: i32 = libc::PROT_READ | libc::PROT_EXEC;

/// # Safety
/// With `MAP_FIXED`, nobody uses what was mapped there before.
unsafe fn map_with(address: usize, length: usize, protection: i32, flags: i32) -> Option<NonNull<u8>> {
    let flags = (flags | libc::MAP_PRIVATE | libc::MAP_ANONYMOUS) as usize;
    let arguments = [address, length, protection as usize, flags, usize::MAX, 0];
    // SAFETY: a new mapping, or the caller's promise.
    let start = unsafe { syscall(libc::SYS_mmap, arguments) }.ok()?;
    NonNull::new(start as *mut u8)
}

/// Maps zeroed memory.
pub fn map(length: usize) -> Option<NonNull<u8>> {
    // SAFETY: not fixed.
    unsafe { map_with(0, length, DATA, 0) }
}

/// Maps zeroed memory at `address` that can be executed and not written, or nothing.
pub fn map_code_at(address: usize, length: usize) -> Option<NonNull<u8>> {
    // SAFETY: not one that replaces another.
    let start = unsafe { map_with(address, length, CODE, libc::MAP_FIXED_NOREPLACE) }?;
    if start.as_ptr() as usize == address {
        return Some(start);
    }
    // Kernels before 4.17 take the address for a hint.
    // SAFETY: the mapping was just made.
    unsafe { unmap(start.as_ptr(), length) };
    None
}

/// Puts zeroed, writable memory in the place of another mapping.
///
/// # Safety
/// Nobody uses what is mapped there.
pub unsafe fn replace_by_data(address: usize, length: usize) -> bool {
    // SAFETY: the caller's promise.
    unsafe { map_with(address, length, DATA, libc::MAP_FIXED) }.is_some()
}

/// Memory of our own, given back when it is dropped.
#[derive(Debug)]
pub struct Mapping {
    start: NonNull<u8>,
    length: usize,
}

impl Mapping {
    /// Zeroed memory.
    pub fn new(length: usize) -> Option<Self> {
        Some(Self { start: map(length)?, length })
    }
}

impl Default for Mapping {
    fn default() -> Self {
        Self { start: NonNull::dangling(), length: 0 }
    }
}

impl core::ops::Deref for Mapping {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: mapped, readable, and not unmapped before it is dropped.
        unsafe { core::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }
}

impl core::ops::DerefMut for Mapping {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above; writable, because private.
        unsafe { core::slice::from_raw_parts_mut(self.start.as_ptr(), self.length) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if self.length > 0 {
            // SAFETY: borrows of it have ended.
            unsafe { unmap(self.start.as_ptr(), self.length) };
        }
    }
}

/// Maps a file. What is written to the mapping stays in it.
///
/// # Errors
/// The error number.
pub fn map_file(path: &CStr) -> Result<Mapping, i32> {
    let fd = open(path, libc::O_RDONLY | libc::O_NONBLOCK)?;
    // SAFETY: lseek on a descriptor of ours.
    let length = unsafe { syscall(libc::SYS_lseek, [fd as usize, 0, libc::SEEK_END as usize, 0, 0, 0]) };
    let mapping = length.and_then(|length| {
        if length == 0 {
            return Ok(Mapping::default());
        }
        let arguments = [0, length, DATA as usize, libc::MAP_PRIVATE as usize, fd as usize, 0];
        // SAFETY: a new mapping.
        let start = unsafe { syscall(libc::SYS_mmap, arguments) }?;
        Ok(Mapping { start: NonNull::new(start as *mut u8).ok_or(libc::ENOMEM)?, length })
    });
    close(fd);
    mapping
}

/// Reads where a link leads to, as much as there is room for. Returns how many bytes that are.
pub fn read_link(path: &CStr, room: &mut [u8]) -> Option<usize> {
    let arguments = [path.as_ptr() as usize, room.as_mut_ptr() as usize, room.len(), 0, 0, 0];
    // SAFETY: the path ends with a NUL, and `room` is writable.
    unsafe { syscall(libc::SYS_readlink, arguments) }.ok()
}

/// The bytes of a file. They are read rather than mapped: somebody may cut the file off meanwhile.
///
/// # Errors
/// The error number.
pub fn read_file(path: &CStr) -> Result<Mapping, i32> {
    /// Larger files are a mistake.
    const MOST: usize = 1 << 30;
    let fd = open(path, libc::O_RDONLY | libc::O_NONBLOCK)?;
    let seek = |whence: i32| {
        // SAFETY: lseek on a descriptor of ours.
        unsafe { syscall(libc::SYS_lseek, [fd as usize, 0, whence as usize, 0, 0, 0]) }
    };
    // A directory has a length, but cannot be read.
    let bytes = read(fd, &mut []).and_then(|_| seek(libc::SEEK_END)).and_then(|length| {
        seek(libc::SEEK_SET)?;
        if length > MOST {
            return Err(libc::EFBIG);
        }
        if length == 0 {
            return Ok(Mapping::default());
        }
        let mut bytes = Mapping::new(length).ok_or(libc::ENOMEM)?;
        let mut filled = 0;
        while filled < length {
            match read(fd, &mut bytes[filled..]) {
                Ok(0) => return Err(libc::EIO),
                Ok(more) => filled += more,
                Err(libc::EINTR) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(bytes)
    });
    close(fd);
    bytes
}

/// Renames a file, over another one if need be.
///
/// # Errors
/// The error number.
pub fn rename(from: &CStr, to: &CStr) -> Result<(), i32> {
    // SAFETY: both end with a NUL.
    unsafe { syscall(libc::SYS_rename, [from.as_ptr() as usize, to.as_ptr() as usize, 0, 0, 0, 0]) }
        .map(|_| ())
}

/// Removes a file.
pub fn unlink(path: &CStr) {
    // SAFETY: it ends with a NUL.
    let _ = unsafe { syscall(libc::SYS_unlink, [path.as_ptr() as usize, 0, 0, 0, 0, 0]) };
}

/// # Safety
/// Nobody uses the mapping any more.
pub unsafe fn unmap(start: *mut u8, length: usize) {
    // By the C library's function ThreadSanitizer learns that what another thread maps there next is something else.
    #[cfg(test)]
    // SAFETY: the caller's promise.
    let _ = unsafe { libc::munmap(start.cast(), length) };
    #[cfg(not(test))]
    // SAFETY: the caller's promise.
    let _ = unsafe { syscall(libc::SYS_munmap, [start as usize, length, 0, 0, 0, 0]) };
}

/// The number at an address of this process, where nothing may be mapped any more.
///
/// # Errors
/// The error number, `EFAULT` if nothing can be read there.
pub fn read_memory(address: usize) -> Result<u64, i32> {
    let mut number = 0u64;
    let length = size_of::<u64>();
    let here = libc::iovec { iov_base: (&raw mut number).cast(), iov_len: length };
    let there = libc::iovec { iov_base: address as *mut _, iov_len: length };
    let [here, there] = [&raw const here as usize, &raw const there as usize];
    // SAFETY: no memory is passed. This thread's: the process's first one may have ended.
    let thread = unsafe { syscall(libc::SYS_gettid, [0; 6]) }?;
    // SAFETY: what is read goes to `number`.
    let read = unsafe { syscall(libc::SYS_process_vm_readv, [thread, here, 1, there, 1, 0]) };
    if read? == length { Ok(number) } else { Err(libc::EIO) }
}

/// Whether anything is mapped at an address; also where that is not known.
pub fn is_mapped(address: usize) -> bool {
    let mut resident = 0u8;
    // SAFETY: what is said of one page goes to `resident`.
    let result = unsafe {
        syscall(libc::SYS_mincore, [address & !(PAGE - 1), PAGE, &raw mut resident as usize, 0, 0, 0])
    };
    result != Err(libc::ENOMEM)
}

/// Has the kernel zero the memory in forked children.
pub fn wipe_on_fork(start: NonNull<u8>, length: usize) -> bool {
    let length = length.next_multiple_of(4096);
    let advice = libc::MADV_WIPEONFORK as usize;
    // SAFETY: advice on memory that is the caller's own.
    unsafe { syscall(libc::SYS_madvise, [start.as_ptr() as usize, length, advice, 0, 0, 0]) }.is_ok()
}

/// Opens a file, `O_CLOEXEC`.
///
/// # Errors
/// The error number.
pub fn open(path: &CStr, flags: i32) -> Result<i32, i32> {
    open_at(path, flags, 0)
}

/// The same, of a file that is made if there is none, with these rights.
///
/// # Errors
/// The error number.
pub fn create(path: &CStr, flags: i32, rights: u32) -> Result<i32, i32> {
    open_at(path, flags | libc::O_CREAT, rights)
}

fn open_at(path: &CStr, flags: i32, rights: u32) -> Result<i32, i32> {
    let flags = (flags | libc::O_CLOEXEC) as usize;
    let at = libc::AT_FDCWD as isize as usize;
    let arguments = [at, path.as_ptr() as usize, flags, rights as usize, 0, 0];
    // SAFETY: `path` ends with a NUL.
    unsafe { syscall(libc::SYS_openat, arguments) }.map(|fd| fd as i32)
}

/// Another descriptor, `lowest` or above, for the same file.
pub fn duplicate(fd: i32, lowest: i32) -> Option<i32> {
    let arguments = [fd as usize, libc::F_DUPFD_CLOEXEC as usize, lowest as usize, 0, 0, 0];
    // SAFETY: no memory is passed.
    unsafe { syscall(libc::SYS_fcntl, arguments) }.ok().map(|fd| fd as i32)
}

/// Closes a descriptor.
pub fn close(fd: i32) {
    // SAFETY: a descriptor that the caller opened.
    let _ = unsafe { syscall(libc::SYS_close, [fd as usize, 0, 0, 0, 0, 0]) };
}

/// What a descriptor or a path leads to. No file has all zeros.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The file system.
    pub device: u64,
    /// Its number there.
    pub inode: u64,
}

/// What a descriptor leads to.
pub fn identity_of(fd: i32) -> Option<Identity> {
    identity_at(fd, c"", libc::AT_EMPTY_PATH)
}

/// What a path leads to.
pub fn identity(path: &CStr) -> Option<Identity> {
    identity_at(libc::AT_FDCWD, path, 0)
}

fn identity_at(fd: i32, path: &CStr, flags: i32) -> Option<Identity> {
    let status = status_at(fd, path, flags).ok()?;
    Some(Identity { device: status.st_dev, inode: status.st_ino })
}

/// What a path names (`S_IFREG` and others; links are not followed), and who may read and write it.
///
/// # Errors
/// The error number.
pub fn kind_and_rights(path: &CStr) -> Result<(u32, u32), i32> {
    let status = status_at(libc::AT_FDCWD, path, libc::AT_SYMLINK_NOFOLLOW)?;
    Ok((status.st_mode & libc::S_IFMT, status.st_mode & 0o777))
}

/// Sets who may read and write a file.
pub fn set_rights(fd: i32, rights: u32) {
    // SAFETY: no memory is passed.
    let _ = unsafe { syscall(libc::SYS_fchmod, [fd as usize, rights as usize, 0, 0, 0, 0]) };
}

fn status_at(fd: i32, path: &CStr, flags: i32) -> Result<libc::stat, i32> {
    let mut status = MaybeUninit::<libc::stat>::uninit();
    let (fd, place) = (fd as isize as usize, status.as_mut_ptr() as usize);
    // SAFETY: `path` ends with a NUL, and the structure is the kernel's, which fills it.
    unsafe {
        syscall(libc::SYS_newfstatat, [fd, path.as_ptr() as usize, place, flags as usize, 0, 0])?;
        Ok(status.assume_init())
    }
}

/// Writes the path of the working directory into `room`, which ends with a NUL then, if it is known and fits.
pub fn current_directory(room: &mut [u8]) {
    // SAFETY: so many bytes are ours.
    let _ = unsafe { syscall(libc::SYS_getcwd, [room.as_mut_ptr() as usize, room.len(), 0, 0, 0, 0]) };
}

/// Reads from a descriptor.
///
/// # Errors
/// The error number.
pub fn read(fd: i32, bytes: &mut [u8]) -> Result<usize, i32> {
    // SAFETY: the slice is writable.
    unsafe { syscall(libc::SYS_read, [fd as usize, bytes.as_mut_ptr() as usize, bytes.len(), 0, 0, 0]) }
}

/// Reads from a descriptor at an offset.
///
/// # Errors
/// The error number.
pub fn read_at(fd: i32, bytes: &mut [u8], offset: usize) -> Result<usize, i32> {
    let (place, length) = (bytes.as_mut_ptr() as usize, bytes.len());
    // SAFETY: the slice is writable.
    unsafe { syscall(libc::SYS_pread64, [fd as usize, place, length, offset, 0, 0]) }
}

/// Writes to a descriptor.
///
/// # Errors
/// The error number.
pub fn write(fd: i32, bytes: &[u8]) -> Result<usize, i32> {
    // SAFETY: the slice is readable.
    unsafe { syscall(libc::SYS_write, [fd as usize, bytes.as_ptr() as usize, bytes.len(), 0, 0, 0]) }
}

/// Writes to a descriptor at an offset.
///
/// # Errors
/// The error number.
pub fn write_at(fd: i32, bytes: &[u8], offset: usize) -> Result<usize, i32> {
    // SAFETY: the slice is readable.
    unsafe { syscall(libc::SYS_pwrite64, [fd as usize, bytes.as_ptr() as usize, bytes.len(), offset, 0, 0]) }
}

/// `membarrier`; whether it succeeded.
pub fn membarrier(command: i32) -> bool {
    // SAFETY: no memory is passed.
    unsafe { syscall(libc::SYS_membarrier, [command as usize, 0, 0, 0, 0, 0]) }.is_ok()
}

/// Signals that an instruction of this very thread raises. If it is blocked, such a signal kills the process instead of
/// being handled; and a seccomp filter may have system calls answered by a handler of `SIGSYS`.
const RAISED_BY_INSTRUCTIONS: [i32; 6] =
    [libc::SIGILL, libc::SIGTRAP, libc::SIGBUS, libc::SIGFPE, libc::SIGSEGV, libc::SIGSYS];

/// Blocks every signal of this thread that comes from elsewhere, besides those that are blocked already, and returns the
/// mask that was in force.
pub fn block_signals() -> u64 {
    set_signal_mask(libc::SIG_BLOCK, !set_of(&RAISED_BY_INSTRUCTIONS))
}

/// Whether the mask is that of [`block_signals`]: the C library lets no program block the two that it uses itself.
pub fn is_blocking(mask: u64) -> bool {
    const OF_THE_LIBRARY: [i32; 2] = [32, 33];
    let set = set_of(&OF_THE_LIBRARY);
    mask & set == set
}

/// The signals that are blocked now.
pub fn signal_mask() -> u64 {
    set_signal_mask(libc::SIG_BLOCK, 0)
}

fn set_of(signals: &[i32]) -> u64 {
    signals.iter().fold(0, |set, signal| set | 1 << (signal - 1))
}

/// Signals that are blocked while this lives.
pub struct HeldBack {
    set: u64,
    mask: u64,
    /// Those of them that were there before.
    pending: u64,
}

impl HeldBack {
    /// Blocks them.
    pub fn new(signals: &[i32]) -> Self {
        let set = set_of(signals);
        let mask = set_signal_mask(libc::SIG_BLOCK, set);
        let mut pending = 0u64;
        let place = core::ptr::from_mut(&mut pending) as usize;
        // SAFETY: the set is 8 bytes, the size that is passed.
        let _ = unsafe { syscall(libc::SYS_rt_sigpending, [place, 8, 0, 0, 0, 0]) };
        Self { set, mask, pending: pending & set }
    }

    /// Takes back those of them that were sent since.
    pub fn drop_new(&self) {
        let set = self.set & !self.pending;
        let now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let (set_place, time) = (core::ptr::from_ref(&set) as usize, core::ptr::from_ref(&now) as usize);
        for _ in 0..set.count_ones() {
            // SAFETY: the set is 8 bytes, the size that is passed; no information is asked for.
            let _ = unsafe { syscall(libc::SYS_rt_sigtimedwait, [set_place, 0, time, 8, 0, 0]) };
        }
    }
}

impl Drop for HeldBack {
    fn drop(&mut self) {
        restore_signals(self.mask);
    }
}

/// Puts a mask back in force.
pub fn restore_signals(mask: u64) {
    set_signal_mask(libc::SIG_SETMASK, mask);
}

fn set_signal_mask(how: i32, mask: u64) -> u64 {
    let mut old = 0u64;
    let (new, old_place) = (core::ptr::from_ref(&mask) as usize, core::ptr::from_mut(&mut old) as usize);
    // SAFETY: both masks are 8 bytes, the size that is passed.
    let _ = unsafe { syscall(libc::SYS_rt_sigprocmask, [how as usize, new, old_place, 8, 0, 0]) };
    old
}

/// Whether this process, of one thread, shares its memory with another one: it is a child of `vfork`, say, or the
/// parent of a child that runs in its memory. False where the system does not say.
pub fn borrows_memory() -> bool {
    // Neither has an effect: the kernel only says whether there is anybody to part from.
    unshare(libc::CLONE_VM) == Err(libc::EINVAL) && unshare(libc::CLONE_THREAD).is_ok()
}

fn unshare(what: i32) -> Result<(), i32> {
    // SAFETY: no memory is passed.
    unsafe { syscall(libc::SYS_unshare, [what as usize, 0, 0, 0, 0, 0]) }.map(|_| ())
}

/// Lets other threads run.
pub fn yield_now() {
    // SAFETY: no memory is passed.
    let _ = unsafe { syscall(libc::SYS_sched_yield, [0; 6]) };
}

/// Sleeps, at least that many nanoseconds unless a signal comes.
pub fn sleep(nanoseconds: i64) {
    let time = libc::timespec { tv_sec: 0, tv_nsec: nanoseconds };
    // SAFETY: `time` is readable; the remaining time is not asked for.
    let _ = unsafe { syscall(libc::SYS_nanosleep, [core::ptr::from_ref(&time) as usize, 0, 0, 0, 0, 0]) };
}

/// Waits until a descriptor can be written to, for so many milliseconds at most. Returns false if it cannot by then.
pub fn wait_for_room(fd: i32, limit: i32) -> bool {
    let mut one = libc::pollfd { fd, events: libc::POLLOUT, revents: 0 };
    // SAFETY: one entry, which is read and written.
    let ready = unsafe { syscall(libc::SYS_poll, [(&raw mut one) as usize, 1, limit as usize, 0, 0, 0]) };
    matches!(ready, Ok(1..) | Err(libc::EINTR))
}

/// Process id.
pub fn process_id() -> u32 {
    // SAFETY: no memory is passed.
    unsafe { syscall(libc::SYS_getpid, [0; 6]) }.map_or(0, |pid| pid as u32)
}

/// Whether the program runs with the rights of another user or group than the caller's.
pub fn has_borrowed_rights() -> bool {
    let id = |number| {
        // SAFETY: no memory is passed.
        unsafe { syscall(number, [0; 6]) }
    };
    id(libc::SYS_getuid) != id(libc::SYS_geteuid)
        || id(libc::SYS_getgid) != id(libc::SYS_getegid)
        || at_secure().unwrap_or_else(|| !is_dumpable())
}

/// Whether whoever started this process may read its memory. Not so with borrowed rights, whatever became of them since:
/// such a process cannot even read its own files in /proc.
fn is_dumpable() -> bool {
    // SAFETY: no memory is passed.
    let dumpable = unsafe { syscall(libc::SYS_prctl, [libc::PR_GET_DUMPABLE as usize, 0, 0, 0, 0, 0]) };
    dumpable == Ok(1)
}

/// `AT_SECURE`, which also knows of file capabilities and security modules.
fn at_secure() -> Option<bool> {
    const AT_SECURE: usize = 23;
    auxiliary(AT_SECURE).map(|value| value != 0)
}

/// A value of the auxiliary vector.
pub fn auxiliary(key: usize) -> Option<usize> {
    let fd = open(c"/proc/self/auxv", libc::O_RDONLY).ok()?;
    let mut bytes = [0u8; 1024];
    let length = read(fd, &mut bytes);
    close(fd);
    let word = |at: usize| Some(usize::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
    (0..length.ok()?).step_by(16).find(|&at| word(at) == Some(key)).and_then(|at| word(at + 8))
}
