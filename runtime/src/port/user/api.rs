//! The C interface, `include/relpoline.h`.

use super::start::RUNTIME;
use crate::options::Mode;
use core::arch::global_asm;
use core::ffi::{CStr, c_char, c_int, c_void};

// Each shared object governs its own sites: its calls must not be bound to another object's functions.
global_asm!(
    ".hidden relpoline_set_mode",
    ".hidden relpoline_set_site",
    ".hidden relpoline_relearn",
    ".hidden relpoline_write_stats"
);

/// Tries before [`until_free`] gives up, about a second later. Patching takes microseconds, but the thread that
/// does it may have lost its processor.
const TRIES: usize = 10_000;
/// Tries that only let other threads run; the later ones sleep.
const YIELDS: usize = 100;
/// Nanoseconds slept between tries.
const PAUSE: i64 = 100_000;

/// Tries until `action` has a result, which it has not while another thread patches.
pub(super) fn until_free<T>(mut action: impl FnMut() -> Option<T>) -> Option<T> {
    for attempt in 0..TRIES {
        let result = action();
        if result.is_some() {
            return result;
        }
        if attempt < YIELDS {
            super::sys::yield_now();
        } else {
            super::sys::sleep(PAUSE);
        }
    }
    None
}

/// `int relpoline_set_mode(int on)`: 0, or -1 when the mode could not be set now.
#[unsafe(no_mangle)]
pub extern "C" fn relpoline_set_mode(on: c_int) -> c_int {
    let mode = if on == 0 { Mode::Off } else { Mode::On };
    if until_free(|| RUNTIME.set_mode(mode).then_some(())).is_some() { 0 } else { -1 }
}

/// `int relpoline_set_site(const void *address, int on)`: the number of sites there, or -1 when it could not be set
/// now.
#[unsafe(no_mangle)]
pub extern "C" fn relpoline_set_site(address: *const c_void, on: c_int) -> c_int {
    let sites = until_free(|| RUNTIME.set_sites(on != 0, |site| site.compare() == address as usize));
    sites.and_then(|sites| sites.try_into().ok()).unwrap_or(-1)
}

/// `int relpoline_relearn(void)`: 0, or -1 when nothing is learned here, or not now.
#[unsafe(no_mangle)]
pub extern "C" fn relpoline_relearn() -> c_int {
    if until_free(|| RUNTIME.relearn_all()) == Some(true) { 0 } else { -1 }
}

/// `int relpoline_write_stats(const char *path)`: 0, or an `errno` number.
///
/// # Safety
/// `path` is a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn relpoline_write_stats(path: *const c_char) -> c_int {
    let Some(image) = RUNTIME.image() else { return libc::ENOTSUP };
    // SAFETY: the caller's promise.
    match super::start::write_statistics(image, unsafe { CStr::from_ptr(path) }) {
        Ok(()) => 0,
        Err(error) => error,
    }
}
