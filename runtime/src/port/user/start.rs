//! Start and end of the program.

use super::{image, slow_path, sys};
use crate::options::{self, Mode, Options};
use crate::runtime::Runtime;
use crate::site::Image;
use crate::stats::{self, Out};
use core::arch::global_asm;
use core::ffi::{CStr, c_char};
use core::sync::atomic::{AtomicBool, Ordering};

/// The runtime of the executable or shared object that this copy was linked into.
pub static RUNTIME: Runtime = Runtime::new();

/// Bytes of the longest path.
const PATH_MAX: usize = 4096;

/// Set once the options have been read: `OPTIONS` is not written any more.
static STARTED: AtomicBool = AtomicBool::new(false);
static mut PATH: [u8; PATH_MAX] = [0; PATH_MAX];
static mut OPTIONS: Options<'static> = Options { mode: Mode::On, stats: None, help: false, verbose: false };

/// Among the first constructors: the program's own may make many calls.
#[used]
#[unsafe(export_name = "__relpoline_constructor")]
#[unsafe(link_section = ".init_array.00101")]
static CONSTRUCTOR: extern "C" fn() = start;

/// Among the last destructors, for the same reason.
#[used]
#[unsafe(export_name = "__relpoline_destructor")]
#[unsafe(link_section = ".fini_array.00101")]
static DESTRUCTOR: extern "C" fn() = end;

// Shared objects must not export them.
global_asm!(".hidden __relpoline_constructor", ".hidden __relpoline_destructor");

// The C library's variable, if the program has a C library.
global_asm!(
    r#"
    .text
    .weak environ
    .globl __relpoline_environ
    .hidden __relpoline_environ
    .type __relpoline_environ,@function
__relpoline_environ:
    mov environ@GOTPCREL(%rip), %rax
    test %rax, %rax
    jz 1f
    mov (%rax), %rax
1:  ret
    .size __relpoline_environ, . - __relpoline_environ
"#,
    options(att_syntax)
);

unsafe extern "C" {
    fn __relpoline_environ() -> *const *const c_char;
}

extern "C" fn start() {
    if STARTED.load(Ordering::Relaxed) {
        return;
    }
    let options = read_options();
    // SAFETY: `STARTED` is not set yet, so nobody reads; constructors run on one thread.
    unsafe { OPTIONS = options };
    STARTED.store(true, Ordering::Release);
    if RUNTIME.open(image::own(), options.mode) {
        // A shared object may be unloaded by one thread while another one forks.
        if image::is_executable() {
            super::fork::register();
        }
        slow_path::enable();
    }
}

extern "C" fn end() {
    if !STARTED.load(Ordering::Acquire) {
        return;
    }
    // SAFETY: not written after STARTED was set.
    let options = unsafe { OPTIONS };
    let Some(image) = RUNTIME.image() else {
        if options.verbose || options.stats.is_some() {
            complain(&[b"the site table or the program headers are damaged: nothing was patched (expected a section \
                         relpoline_sites of whole entries); link the program again"]);
        }
        return;
    };
    if options.verbose {
        let mut out = Out::new(2);
        stats::explain(&RUNTIME, image, &mut out);
        let _ = out.finish();
    }
    let Some(path) = options.stats else { return };
    // Not on the stack, which may be small, and not mapped: the system may refuse it, and that had to be said.
    // SAFETY: this runs once.
    let room = unsafe { core::slice::from_raw_parts_mut((&raw mut PATH).cast::<u8>(), PATH_MAX) };
    // Each shared object that was built with relpolines has a runtime of its own, and a file of its own.
    let object = image::shared_object_name(image);
    let name = stats::expand_path(path, sys::process_id(), object, room);
    // A file that grows too large, or a pipe that nobody reads, is an error to report, not the program's end.
    let signals = sys::block_signals();
    let result = name.ok_or(libc::ENAMETOOLONG).and_then(|name| write_statistics(image, name));
    sys::drop_signals(&[libc::SIGXFSZ, libc::SIGPIPE]);
    sys::restore_signals(signals);
    match result {
        Ok(()) => {}
        Err(error) => complain(&[
            b"cannot write statistics to ",
            path,
            b": ",
            reason(error),
            b"; name a writable file: RELPOLINE_OPTIONS=stats=FILE",
        ]),
    }
}

/// Writes the statistics to a file.
///
/// # Errors
/// The error number of the system.
pub fn write_statistics(image: &Image, path: &CStr) -> Result<(), i32> {
    let fd = sys::open(path, libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC | libc::O_NONBLOCK)?;
    let mut out = Out::new(fd);
    stats::report(core::iter::once((&RUNTIME, image)), &mut out);
    let result = out.finish();
    sys::close(fd);
    result
}

fn read_options() -> Options<'static> {
    let Some(text) = variable(b"RELPOLINE_OPTIONS=") else { return Options::default() };
    // A program with borrowed rights must not write files that its caller names.
    if sys::has_borrowed_rights() {
        return Options::default();
    }
    let options = options::parse(text, |error| {
        let expected = error.expected.unwrap_or("mode=, stats=, verbose= or help=");
        complain(&[
            b"RELPOLINE_OPTIONS: '",
            error.item,
            b"' is not an option, expected ",
            expected.as_bytes(),
            b"; RELPOLINE_OPTIONS=help=1 lists all",
        ]);
    });
    if options.help {
        let mut out = Out::new(2);
        out.text("RELPOLINE_OPTIONS=\"key=value:key=value\"\n");
        for (key, values, meaning) in options::TABLE {
            out.text("  ").text(key).text("=").text(values).text("\n      ").text(meaning).text("\n");
        }
        let _ = out.finish();
    }
    options
}

/// The value of the variable whose name and `=` are `prefix`.
fn variable(prefix: &[u8]) -> Option<&'static [u8]> {
    // SAFETY: the assembly above.
    let mut entry = unsafe { __relpoline_environ() };
    if entry.is_null() {
        return None;
    }
    loop {
        // SAFETY: the environment is a list of strings that ends with a null pointer, not reached yet.
        let text = unsafe { entry.read() };
        if text.is_null() {
            return None;
        }
        // SAFETY: a byte is only read if those before it were not the string's end.
        let named = (0..prefix.len()).all(|at| unsafe { text.add(at).read() } as u8 == prefix[at]);
        if named {
            // SAFETY: as above. The program may change its environment later; the strings of its start stay.
            return Some(unsafe { CStr::from_ptr(text.add(prefix.len())) }.to_bytes());
        }
        // SAFETY: not at the end yet.
        entry = unsafe { entry.add(1) };
    }
}

fn complain(parts: &[&[u8]]) {
    let mut out = Out::new(2);
    out.text("relpoline: error: ");
    for part in parts {
        out.bytes(part);
    }
    out.text("\n");
    let _ = out.finish();
}

fn reason(error: i32) -> &'static [u8] {
    match error {
        libc::EACCES | libc::EPERM => b"permission denied",
        libc::EFBIG => b"the file would be larger than allowed (ulimit -f)",
        libc::ENXIO => b"nobody reads the pipe",
        libc::ENOENT => b"no such directory",
        libc::EISDIR => b"it is a directory",
        libc::EROFS => b"read-only file system",
        libc::ENOSPC => b"no space left",
        libc::ENAMETOOLONG => b"the name is too long",
        _ => b"the system refused",
    }
}
