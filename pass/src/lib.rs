//! LLVM pass plugin that turns indirect calls into relpolines.
//!
//! The steps, one module each: [`find`] the indirect calls, [`rewrite`] those that can be converted,
//! [`record`] where they are, and [`protect`] whatever is left with retpolines. LLVM's raw interface stays
//! in [`llvm`]. The emitted code is described in `relpoline_layout`.

mod find;
mod identity;
mod llvm;
mod protect;
mod record;
mod rewrite;

use find::{Excluded, Verdict};
use llvm::{Function, Module, raw};
use relpoline_layout::Form;
use std::ffi::{c_char, c_void};

/// The LLVM major version that the plugin was built for.
const LLVM_MAJOR: u32 = match u32::from_str_radix(env!("RELPOLINE_LLVM_MAJOR"), 10) {
    Ok(major) => major,
    Err(_) => panic!("RELPOLINE_LLVM_MAJOR is set by build.rs"),
};

/// Version of LLVM's plugin interface (`LLVM_PLUGIN_API_VERSION`).
const PLUGIN_API_VERSION: u32 = 2;

/// `llvm::PassPluginLibraryInfo`.
#[repr(C)]
pub struct PassPluginLibraryInfo {
    api_version: u32,
    name: *const c_char,
    version: *const c_char,
    register: Option<unsafe extern "C" fn(*mut c_void)>,
    pre_codegen: *const c_void,
}

/// The entry point that `opt`, `clang`, `lld` and `rustc` look for.
#[unsafe(no_mangle)]
#[allow(non_snake_case)] // LLVM's name
pub extern "C" fn llvmGetPassPluginInfo() -> PassPluginLibraryInfo {
    let found = llvm::version();
    let mut info = PassPluginLibraryInfo {
        api_version: PLUGIN_API_VERSION,
        name: c"relpoline".as_ptr(),
        version: concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast(),
        register: Some(raw::relpoline_shim_register),
        pre_codegen: std::ptr::null(),
    };
    if found.0 != LLVM_MAJOR {
        eprintln!(
            "relpoline: error: this plugin was built for LLVM {LLVM_MAJOR} ({}), but was loaded into LLVM {}; \
             use clang-{LLVM_MAJOR} or a rustc with LLVM {LLVM_MAJOR} (rustc -vV shows it)",
            env!("RELPOLINE_LLVM_VERSION"),
            match found {
                (0, ..) => "before 16".to_owned(),
                (major, minor, patch) => format!("{major}.{minor}.{patch}"),
            }
        );
        // The loader refuses a plugin of another interface version before it calls anything in it.
        info.api_version = 0;
        info.register = None;
    }
    info
}

/// Variable that chooses the form of the call sites: `inline` or `stub`, where both are possible.
const FORM: &str = "RELPOLINE_FORM";

/// Variable that names the file of functions and sources whose calls stay retpolines.
const IGNORELIST: &str = "RELPOLINE_IGNORELIST";

/// What a run of the pass is asked to do; the values are shared with shim/shim.cpp.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Task {
    /// Convert what can be converted, and put retpolines behind the rest.
    Convert,
    /// Put retpolines behind everything: a later run converts.
    Protect,
    /// As `Convert`, with the stub form for every site.
    StubForm,
    /// Mark the functions that are to be left alone, before anything is split off from them: a later run does the rest.
    Mark,
}

/// What the user wants left alone.
fn excluded(module: &Module) -> Result<Excluded, String> {
    let list = match std::env::var(IGNORELIST) {
        Ok(path) => Ok(Some(path).filter(|path| !path.is_empty())),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(path)) => {
            Err(format!("'{}' is not UTF-8; give the file another name", path.display()))
        }
    };
    list.and_then(|path| Excluded::of(module, path.as_deref())).map_err(|why| format!("{IGNORELIST}: {why}"))
}

/// The form that is asked for, if any.
fn form(task: Task) -> Result<Option<Form>, String> {
    if task == Task::StubForm {
        return Ok(Some(Form::Stub));
    }
    match std::env::var_os(FORM).unwrap_or_default().to_string_lossy().as_ref() {
        "" => Ok(None),
        "inline" => Ok(Some(Form::Inline)),
        "stub" => Ok(Some(Form::Stub)),
        other => Err(format!("'{FORM}' is '{other}', expected inline|stub")),
    }
}

/// The pass. Returns whether the module was changed.
///
/// # Safety
/// `module` is a valid module that no one else uses during the call.
#[unsafe(no_mangle)]
unsafe extern "C" fn relpoline_run(module: llvm::sys::LLVMModuleRef, task: u32) -> bool {
    // SAFETY: the pass manager that runs the pass owns the module and waits for this call.
    let module = unsafe { Module::borrow(module) };
    let task = match task {
        0 => Task::Convert,
        1 => Task::Protect,
        2 => Task::StubForm,
        3 => Task::Mark,
        other => {
            module.error(&format!(
                "relpoline: the shim asks for task {other}, expected 0 to 3: the plugin is of two versions; build it \
                 anew: cargo clean -p relpoline-pass && cargo build --release -p relpoline-pass"
            ));
            return false;
        }
    };
    run(&module, task)
}

fn run(module: &Module, task: Task) -> bool {
    if task == Task::Mark {
        return mark(module);
    }
    if !module.is_x86_elf() {
        module.warn(&format!(
            "relpoline: target '{}' is not supported (expected x86_64 or i386, and ELF): indirect calls of this \
             module stay as they are",
            module.triple()
        ));
        return false;
    }
    let functions = module.defined_functions();
    let (excluded, form) = match excluded(module).and_then(|excluded| Ok((excluded, form(task)?))) {
        Ok(asked) => asked,
        Err(why) => {
            module.error(&format!("relpoline: {why}"));
            // Linkers go on, and may keep what comes of it for the next time.
            protect::protect(module, &functions);
            return !functions.is_empty();
        }
    };
    for function in functions.iter().filter(|function| !function.is_available_externally()) {
        if task == Task::Protect {
            excluded.mark(function);
        } else {
            convert(module, function, &excluded, form);
        }
    }
    protect::protect(module, &functions);
    if task == Task::Protect {
        note_identity(module);
    }
    !functions.is_empty()
}

fn mark(module: &Module) -> bool {
    // What is wrong the later run says.
    excluded(module).is_ok_and(|excluded| {
        let functions = module.defined_functions();
        functions.iter().for_each(|function| excluded.mark(function));
        !functions.is_empty()
    })
}

/// Converts what can be converted of a function, and says what becomes of each indirect branch.
fn convert(module: &Module, function: &Function, excluded: &Excluded, form: Option<Form>) {
    let mut converted = Vec::new();
    // The body of a naked function is assembly.
    if !function.is_naked() {
        for (call, verdict) in find::indirect_calls(module, function, excluded, form) {
            match verdict {
                Verdict::Convert(form) => converted.push((call, form)),
                Verdict::Retpoline(why) => call.remark_missed(why.name(), why.explain()),
            }
        }
    }
    for (branch, why) in find::unprotected(function) {
        branch.remark_missed(why.name(), why.explain());
    }
    rewrite::convert(module, function, &converted);
    // All code of a kernel is built alike.
    if module.is_x86_64() && !module.is_kernel() {
        function.mark_built(if module.has_large_code() {
            relpoline_layout::BUILT_SECTION_LARGE
        } else {
            relpoline_layout::BUILT_SECTION
        });
    }
}

/// Makes the module depend on what a later run of the pass depends on.
fn note_identity(module: &Module) {
    match identity::identity() {
        Ok(identity) => module.note(&format!("relpoline {identity:016x}")),
        Err(error) => module.warn(&format!(
            "relpoline: cannot read the plugin's own file ({error}): caches of ThinLTO will not see when it changes"
        )),
    }
}
