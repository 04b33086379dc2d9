//! Where statistics and profiles go.

use super::sys::{self, Mapping};
use crate::output::{decimal, expand_path};
use crate::port::{Port, System};
use core::ffi::CStr;

/// Bytes of the longest path.
pub const PATH_MAX: usize = 4096;

/// The directory that the program was started in, which relative paths of `RELPOLINE_OPTIONS` begin with: daemons change
/// to another one. Empty where it is not known.
static mut DIRECTORY: [u8; PATH_MAX] = [0; PATH_MAX];

/// Where paths are put together: on the stack it might be too much, and a refused mapping had to be reported.
static mut PATH: [u8; PATH_MAX] = [0; PATH_MAX];

/// Remembers the directory, for these paths.
///
/// # Safety
/// Only the start of the program comes here, on one thread.
pub unsafe fn remember_directory(paths: &[Option<&[u8]>]) {
    if paths.iter().flatten().any(|path| !path.starts_with(b"/")) {
        // SAFETY: the caller's promise.
        let room = unsafe { core::slice::from_raw_parts_mut((&raw mut DIRECTORY).cast::<u8>(), PATH_MAX) };
        sys::current_directory(room);
    }
}

fn directory() -> &'static [u8] {
    // SAFETY: written at the start alone, with a NUL at its end.
    let directory = unsafe { CStr::from_ptr((&raw const DIRECTORY).cast()) }.to_bytes();
    // Of one that cannot be reached from the root the system says so.
    if directory.starts_with(b"/") { directory } else { b"" }
}

/// Name of the file that an option means, with these suffixes.
pub fn name<'a>(path: &[u8], suffixes: &[&[u8]], room: &'a mut [u8]) -> Result<&'a CStr, i32> {
    expand_path(directory(), path, sys::process_id(), suffixes, room).ok_or(libc::ENAMETOOLONG)
}

/// Does what writes a file, without being interrupted, in this room for its name.
///
/// # Safety
/// Only the end of the program comes here, on one thread, and not within itself.
pub unsafe fn uninterrupted(write: impl FnOnce(&mut [u8]) -> Result<(), i32>) -> Result<(), i32> {
    // SAFETY: the caller's promise.
    let room = unsafe { core::slice::from_raw_parts_mut((&raw mut PATH).cast::<u8>(), PATH_MAX) };
    let signals = sys::block_signals();
    let result = write(room);
    sys::restore_signals(signals);
    result
}

/// The open descriptor that a path names. Opened anew, what is behind it would be cut off.
pub fn descriptor(path: &[u8]) -> Option<i32> {
    match path {
        b"/dev/stdout" => return Some(1),
        b"/dev/stderr" => return Some(2),
        _ => {}
    }
    let digits = path.strip_prefix(b"/dev/fd/").or_else(|| path.strip_prefix(b"/proc/self/fd/"))?;
    core::str::from_utf8(digits).ok()?.parse().ok().filter(|&number: &i32| number >= 0)
}

/// Writes a new file, with these rights, and puts it in the place of what is at `path` once it is complete: several
/// processes may do this at the same time, and of different containers, and others read meanwhile.
///
/// # Errors
/// The error number of the system.
pub fn replace(
    path: &CStr,
    rights: Option<u32>,
    write: impl FnOnce(i32) -> Result<(), i32>,
) -> Result<(), i32> {
    let mut room = Mapping::new(PATH_MAX).ok_or(libc::ENOMEM)?;
    let mut digits = [0; 20];
    let suffixes = [b"new", decimal(System::ticks(), &mut digits)];
    let new = expand_path(b"", path.to_bytes(), 0, &suffixes, &mut room).ok_or(libc::ENAMETOOLONG)?;
    // Put there by somebody for us to write into.
    sys::unlink(new);
    let fd = sys::create(new, libc::O_WRONLY | libc::O_EXCL, rights.unwrap_or(0o666))?;
    if let Some(rights) = rights {
        // Those that the process withholds from new files, too.
        sys::set_rights(fd, rights);
    }
    let result = write(fd);
    sys::close(fd);
    let result = result.and_then(|()| sys::rename(new, path));
    if result.is_err() {
        sys::unlink(new);
    }
    result
}
