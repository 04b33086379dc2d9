//! What tells one run of the pass from another that makes something else of the same module.
//!
//! lld's cache of ThinLTO is keyed by the module, not by the plugin. So what is compiled says what a later run depends on:
//! with another plugin, form or ignore-list it is another module. What only the link is told otherwise is in the options
//! that the wrappers give to lld (rustc-wrapper/src/clang/plan.rs).

use std::{
    env,
    ffi::{CStr, OsStr, c_void},
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    io,
    os::unix::ffi::OsStrExt,
    path::Path,
};

/// Hash of the plugin's own file, and of what the variables of the environment ask it for.
///
/// # Errors
/// The plugin's file cannot be read.
pub fn identity() -> io::Result<u64> {
    // Made by new(), it has no random state.
    let mut hash = DefaultHasher::new();
    fs::read(own_path()?)?.hash(&mut hash);
    env::var_os(crate::FORM).hash(&mut hash);
    // One that cannot be read has been reported by then.
    let list = env::var_os(crate::IGNORELIST).filter(|path| !path.is_empty());
    list.and_then(|path| fs::read(path).ok()).hash(&mut hash);
    Ok(hash.finish())
}

/// The file that this code was loaded from.
fn own_path() -> io::Result<&'static Path> {
    let mut found = std::mem::MaybeUninit::<libc::Dl_info>::uninit();
    // SAFETY: dladdr only looks the address up; it fills `found` where it returns anything but 0.
    if unsafe { libc::dladdr(own_path as *const c_void, found.as_mut_ptr()) } == 0 {
        return Err(io::Error::other("the dynamic linker does not know it"));
    }
    // SAFETY: filled, as stated; the name is the dynamic linker's and stays while the plugin is loaded.
    let name = unsafe { CStr::from_ptr(found.assume_init().dli_fname) };
    Ok(Path::new(OsStr::from_bytes(name.to_bytes())))
}
