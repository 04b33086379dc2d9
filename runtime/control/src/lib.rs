//! What a Rust program may say to the relpoline runtime, which `relpoline-rustc` links into it: the functions of
//! `relpoline.h`. In a program that was built without relpolines each of them returns [`Error::NotBuilt`].
//!
//! None of them may be called in a signal handler: they walk the dynamic linker's list of objects, and in a handler
//! that interrupts `dlopen`, `dlclose` or another walk (panics that unwind make some) they may crash or wait for ever.
//!
//! ```
//! use relpoline_control::{Error, Mode, set_mode};
//!
//! match set_mode(Mode::Freeze) {
//!     Ok(()) => println!("no code is written any more"),
//!     Err(Error::NotBuilt) => println!("built without relpolines"),
//!     Err(error) => panic!("{error}"),
//! }
//! ```
#![no_std]

use core::ffi::{CStr, c_char, c_int, c_void};
use core::fmt;

/// What the process does with its call sites.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Every converted call is a retpoline.
    Off = 0,
    /// Sites learn, and use what they have learned.
    On = 1,
    /// Sites use what they have learned, and no code is written any more.
    Freeze = 2,
}

/// Why nothing was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The program was built without relpolines.
    NotBuilt,
    /// The runtime is busy, or the process counts calls and patches nothing; of [`relearn`], also that nothing is
    /// learned, because the process is off or frozen. It is busy while a thread patches, which is waited for, but a
    /// second at most.
    Busy,
    /// The system said no, by this `errno` number.
    System(i32),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotBuilt => f.write_str(
                "the program was built without relpolines; build it with RUSTC_WRAPPER=relpoline-rustc",
            ),
            Self::Busy => f.write_str(
                "the relpoline runtime is busy, does not learn (off or frozen), or was started with mode=count",
            ),
            Self::System(number) => write!(f, "the system refused, error {number}"),
        }
    }
}

impl core::error::Error for Error {}

/// Sets the mode of the whole process.
///
/// # Errors
/// [`Error::NotBuilt`], [`Error::Busy`]
pub fn set_mode(mode: Mode) -> Result<(), Error> {
    // SAFETY: see `symbol!`; the function takes any number.
    let function: extern "C" fn(c_int) -> c_int = unsafe { core::mem::transmute(relpoline_set_mode()?) };
    sites(function(mode as c_int)).map(|_| ())
}

/// Turns the site at this address, as statistics print it, off or on. Returns how many there are: 0 or 1.
///
/// # Errors
/// [`Error::NotBuilt`], [`Error::Busy`]
pub fn set_site(address: usize, on: bool) -> Result<usize, Error> {
    // SAFETY: see `symbol!`; the address is only compared.
    let function: extern "C" fn(*const c_void, c_int) -> c_int =
        unsafe { core::mem::transmute(relpoline_set_site()?) };
    sites(function(address as *const c_void, on.into()))
}

/// Turns the sites in functions of this name, as the linker knows it, off or on; `*` stands for anything. Returns how
/// many there are.
///
/// # Errors
/// [`Error::NotBuilt`], [`Error::Busy`]
pub fn set_function(name: &CStr, on: bool) -> Result<usize, Error> {
    by_name(relpoline_set_function()?, name, on)
}

/// The same for the executable or shared objects whose file has this name.
///
/// # Errors
/// [`Error::NotBuilt`], [`Error::Busy`]
pub fn set_object(name: &CStr, on: bool) -> Result<usize, Error> {
    by_name(relpoline_set_object()?, name, on)
}

/// Has every site forget its targets and learn anew.
///
/// # Errors
/// [`Error::NotBuilt`]; [`Error::Busy`], also when nothing is learned
pub fn relearn() -> Result<(), Error> {
    // SAFETY: see `symbol!`.
    let function: extern "C" fn() -> c_int = unsafe { core::mem::transmute(relpoline_relearn()?) };
    sites(function()).map(|_| ())
}

/// Writes the statistics to a file, as `RELPOLINE_OPTIONS=stats=FILE` does at exit; `%p` in its name is not replaced.
///
/// # Errors
/// [`Error::NotBuilt`], [`Error::System`]
pub fn write_stats(path: &CStr) -> Result<(), Error> {
    // SAFETY: see `symbol!`; the path is a C string.
    let function: extern "C" fn(*const c_char) -> c_int =
        unsafe { core::mem::transmute(relpoline_write_stats()?) };
    match function(path.as_ptr()) {
        0 => Ok(()),
        number => Err(Error::System(number)),
    }
}

fn by_name(function: *const c_void, name: &CStr, on: bool) -> Result<usize, Error> {
    // SAFETY: see `symbol!`; both functions are of this type, and the name is a C string.
    let function: extern "C" fn(*const c_char, c_int) -> c_int = unsafe { core::mem::transmute(function) };
    sites(function(name.as_ptr(), on.into()))
}

fn sites(result: c_int) -> Result<usize, Error> {
    usize::try_from(result).map_err(|_| Error::Busy)
}

/// The address of a function of the runtime. The reference is weak: a program that was built without the runtime links
/// all the same.
macro_rules! symbol {
    ($name:ident) => {
        fn $name() -> Result<*const c_void, Error> {
            let address: *const c_void;
            #[cfg(target_arch = "x86_64")]
            // SAFETY: only loads a word that the linker fills.
            unsafe {
                core::arch::asm!(
                    concat!(".weak ", stringify!($name)),
                    concat!("mov {}, qword ptr [rip + ", stringify!($name), "@GOTPCREL]"),
                    out(reg) address,
                    options(nostack, pure, readonly, preserves_flags)
                );
            }
            // No other target has relpolines.
            #[cfg(not(target_arch = "x86_64"))]
            {
                address = core::ptr::null();
            }
            if address.is_null() { Err(Error::NotBuilt) } else { Ok(address) }
        }
    };
}

symbol!(relpoline_set_mode);
symbol!(relpoline_set_site);
symbol!(relpoline_set_function);
symbol!(relpoline_set_object);
symbol!(relpoline_relearn);
symbol!(relpoline_write_stats);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_relpolines_every_function_says_so() {
        assert_eq!(set_mode(Mode::Off), Err(Error::NotBuilt));
        assert_eq!(set_site(0, true), Err(Error::NotBuilt));
        assert_eq!(set_function(c"x", true), Err(Error::NotBuilt));
        assert_eq!(set_object(c"x", true), Err(Error::NotBuilt));
        assert_eq!(relearn(), Err(Error::NotBuilt));
        assert_eq!(write_stats(c"x"), Err(Error::NotBuilt));
    }
}
