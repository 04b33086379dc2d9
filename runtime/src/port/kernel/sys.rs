//! What the C side provides. Everything but `relpoline_sys_is_lasting` may sleep.

use core::ffi::{c_char, c_void};

/// `KSYM_SYMBOL_LEN`, or more.
pub const SYMBOL_LENGTH: usize = 1024;

/// `struct seq_file`.
#[repr(C)]
#[derive(Debug)]
pub struct SeqFile {
    _private: [u8; 0],
}

unsafe extern "C" {
    /// Zeroed memory, aligned to a page, that is freed with its owner at the latest.
    pub fn relpoline_sys_alloc(owner: *mut c_void, length: usize) -> *mut u8;
    pub fn relpoline_sys_free(owner: *mut c_void, start: *mut u8);
    /// Memory near the kernel's text: code, filled with traps and read-only, and behind it zeroed data.
    pub fn relpoline_sys_alloc_code(owner: *mut c_void, code: usize, data: usize) -> *mut u8;
    /// Writes code, unless a probe is registered on it.
    pub fn relpoline_sys_poke(address: usize, bytes: *const u8, length: usize) -> bool;
    pub fn relpoline_sys_sync();
    /// Lets others run, in work that may be long.
    pub fn relpoline_sys_breathe();
    /// Whether `target` is code of the kernel or of a module that is there, and not of its initialisation.
    pub fn relpoline_sys_is_lasting(target: usize) -> bool;
    pub fn relpoline_sys_write(file: *mut SeqFile, bytes: *const u8, length: usize);
    /// Tells the log that a site stays a retpoline, and why.
    pub fn relpoline_sys_warn(site: usize, why: *const u8, length: usize);
    /// Writes the name of the function at `address`.
    pub fn relpoline_sys_symbol(address: usize, name: *mut c_char) -> bool;
    pub fn relpoline_sys_object(text: usize) -> *const c_char;
}
