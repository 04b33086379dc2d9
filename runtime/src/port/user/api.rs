//! The C interface, `include/relpoline.h`. Not for signal handlers: see [`members::each`].

use super::image::file_name;
use super::lock::until_free;
use super::members::{self, OWN};
use super::symbols::Symbols;
use crate::options::{self, Mode};
use crate::runtime::Runtime;
use crate::site::Site;
use core::arch::global_asm;
use core::ffi::{CStr, c_char, c_int, c_void};
use core::ops::ControlFlow;

// Each shared object has its own copy of these functions, which does not go while the object is there.
global_asm!(
    ".hidden relpoline_set_mode",
    ".hidden relpoline_set_site",
    ".hidden relpoline_set_function",
    ".hidden relpoline_set_object",
    ".hidden relpoline_relearn",
    ".hidden relpoline_write_stats"
);

/// Does something to every runtime of the process. Returns the sum of the results, or `None` when one of the runtimes
/// was busy all the time, or none has been started.
///
/// While calls are counted, nothing is switched.
fn all(mut action: impl FnMut(&Runtime) -> Option<usize>) -> Option<usize> {
    let (mut sum, mut any) = (Some(0), false);
    members::each(|member| {
        any = true;
        let result = if member.mode() == Mode::Count { None } else { action(member) };
        sum = sum.and_then(|sum: usize| sum.checked_add(result?));
        ControlFlow::Continue(())
    });
    sum.filter(|_| any)
}

fn set_sites(runtime: &Runtime, on: c_int, chosen: impl Fn(&Site) -> bool) -> Option<usize> {
    until_free(runtime, || runtime.set_sites(on != 0, &chosen))
}

fn count_or_busy(sites: Option<usize>) -> c_int {
    sites.and_then(|sites| sites.try_into().ok()).unwrap_or(-1)
}

/// `int relpoline_set_mode(int mode)`: 0, or -1 when the mode is none or could not be set now.
#[unsafe(no_mangle)]
pub extern "C" fn relpoline_set_mode(mode: c_int) -> c_int {
    let mode = match mode {
        0 => Mode::Off,
        1 => Mode::On,
        2 => Mode::Freeze,
        _ => return -1,
    };
    all(|runtime| until_free(runtime, || runtime.set_mode(mode).then_some(0))).map_or(-1, |_| 0)
}

/// `int relpoline_set_site(const void *address, int on)`: the number of sites there, or -1 when it could not be set
/// now.
#[unsafe(no_mangle)]
pub extern "C" fn relpoline_set_site(address: *const c_void, on: c_int) -> c_int {
    count_or_busy(all(|runtime| set_sites(runtime, on, |site| site.compare() == address as usize)))
}

/// `int relpoline_set_function(const char *name, int on)`: the number of sites in functions of that name, or -1 when
/// it could not be set now.
///
/// # Safety
/// `name` is a C string, or null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn relpoline_set_function(name: *const c_char, on: c_int) -> c_int {
    if name.is_null() {
        return -1;
    }
    // SAFETY: the caller's promise.
    let pattern = unsafe { CStr::from_ptr(name) }.to_bytes();
    count_or_busy(all(|runtime| {
        let symbols = Symbols::of(runtime.image()?);
        let named = |site: &Site| symbols.caller(site).is_some_and(|name| options::matches(pattern, name));
        set_sites(runtime, on, named)
    }))
}

/// `int relpoline_set_object(const char *name, int on)`: the number of sites in executables and shared objects of that
/// file name, or -1 when it could not be set now.
///
/// # Safety
/// `name` is a C string, or null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn relpoline_set_object(name: *const c_char, on: c_int) -> c_int {
    if name.is_null() {
        return -1;
    }
    // SAFETY: the caller's promise.
    let pattern = unsafe { CStr::from_ptr(name) }.to_bytes();
    count_or_busy(all(|runtime| {
        let file = file_name(runtime.image()?.text.start);
        if file.is_some_and(|file| options::matches(pattern, file.name())) {
            set_sites(runtime, on, |_| true)
        } else {
            Some(0)
        }
    }))
}

/// `int relpoline_relearn(void)`: 0, or -1 when nothing is learned here, or not now.
#[unsafe(no_mangle)]
pub extern "C" fn relpoline_relearn() -> c_int {
    let mut learns = false;
    let done = all(|runtime| {
        learns |= until_free(runtime, || runtime.relearn_all())?;
        Some(0)
    });
    if done.is_some() && learns { 0 } else { -1 }
}

/// `int relpoline_write_stats(const char *path)`: 0, or an `errno` number.
///
/// # Safety
/// `path` is a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn relpoline_write_stats(path: *const c_char) -> c_int {
    if OWN.image().is_none() {
        return libc::ENOTSUP;
    }
    // SAFETY: the caller's promise.
    super::start::write_statistics(unsafe { CStr::from_ptr(path) }, true).map_or_else(|error| error, |()| 0)
}
