//! The C++ shim (`shim/shim.cpp`).

use llvm_sys::prelude::{LLVMModuleRef, LLVMValueRef};
use std::ffi::{c_char, c_int, c_uint, c_void};

unsafe extern "C" {
    pub fn relpoline_shim_register(pass_builder: *mut c_void);
    pub fn relpoline_shim_version(major: *mut c_uint, minor: *mut c_uint, patch: *mut c_uint);
    pub fn relpoline_shim_version_call_site(call: LLVMValueRef) -> LLVMValueRef;
    pub fn relpoline_shim_remark(
        call: LLVMValueRef,
        passed: bool,
        name: *const c_char,
        message: *const c_char,
    );
    pub fn relpoline_shim_diagnose(module: LLVMModuleRef, error: bool, message: *const c_char);
    pub fn relpoline_shim_open_ignorelist(path: *const c_char, error: *mut *mut c_char) -> *mut c_void;
    pub fn relpoline_shim_is_ignored(
        list: *const c_void,
        section: *const c_char,
        prefix: *const c_char,
        name: *const c_char,
    ) -> bool;
    pub fn relpoline_shim_close_ignorelist(list: *mut c_void);
    pub fn relpoline_shim_drop_module_flag(module: LLVMModuleRef, name: *const c_char) -> bool;
    pub fn relpoline_shim_target(module: LLVMModuleRef) -> u32;
    pub fn relpoline_shim_code_model(module: LLVMModuleRef) -> c_int;
}
