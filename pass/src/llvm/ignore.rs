//! Ignore-lists, in the format of clang's sanitizers.

use super::{c_string, raw};
use std::ffi::{CStr, c_void};

/// A list of functions and source files, read from a file.
pub struct IgnoreList(*mut c_void);

impl IgnoreList {
    /// Reads the file.
    ///
    /// # Errors
    /// LLVM's text: what cannot be read, or which line is malformed.
    pub fn open(path: &str) -> Result<Self, String> {
        let path = c_string(path);
        let mut error = std::ptr::null_mut();
        let list = unsafe { raw::relpoline_shim_open_ignorelist(path.as_ptr(), &mut error) };
        if !list.is_null() {
            return Ok(Self(list));
        }
        let text = unsafe { CStr::from_ptr(error) }.to_string_lossy().into_owned();
        unsafe { llvm_sys::core::LLVMDisposeMessage(error) };
        Err(text)
    }

    /// Whether a line `fun:` matches the name of a function, as it is mangled.
    pub fn names_function(&self, name: &str) -> bool {
        self.names(c"fun", name)
    }

    /// Whether a line `src:` matches the path of a source file, as the compiler was given it.
    pub fn names_source(&self, path: &str) -> bool {
        self.names(c"src", path)
    }

    fn names(&self, prefix: &CStr, name: &str) -> bool {
        let name = c_string(name);
        unsafe { raw::relpoline_shim_is_ignored(self.0, prefix.as_ptr(), name.as_ptr()) }
    }
}

impl Drop for IgnoreList {
    fn drop(&mut self) {
        unsafe { raw::relpoline_shim_close_ignorelist(self.0) };
    }
}
