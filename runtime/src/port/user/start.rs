//! Start and end of the program.

use super::files;
use super::image::{self, FileName};
use super::left;
use super::lock::until_free;
use super::members::{self, Member, OWN};
use super::slow_path;
use super::symbols::Symbols;
use super::sys;
use super::warm::{self, Failure};
use crate::options::{self, Fault, Mode, Options, Spec};
use crate::output::{Out, decimal};
use crate::profile;
use crate::runtime::Runtime;
use crate::site::Image;
use crate::stats;
use core::arch::global_asm;
use core::ffi::{CStr, c_char};
use core::ops::ControlFlow;
use core::sync::atomic::{AtomicBool, Ordering};

/// Bytes of the longest text of options.
const TEXT_MAX: usize = 16384;

/// Set once the options have been read: `OPTIONS` is not written any more.
static STARTED: AtomicBool = AtomicBool::new(false);
/// The text of the options, which they refer to.
static mut TEXT: [u8; TEXT_MAX] = [0; TEXT_MAX];
static mut OPTIONS: Options<'static> = Options::NONE;

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
        // The data of a process that has ended, which wrote itself to a file, as Emacs did.
        OWN.forget_all();
        OWN.set_ended();
        return;
    }
    let options = read_options();
    // SAFETY: constructors run on one thread.
    unsafe { files::remember_directory(&[options.stats, options.profile]) };
    // SAFETY: `STARTED` is not set yet, so nobody reads; constructors run on one thread.
    unsafe { OPTIONS = options };
    STARTED.store(true, Ordering::Release);
    let learns = OWN.open(image::own(), options.mode);
    // Found out now: the first thread, whose files in /proc say so, may end before the process does.
    if image::is_executable() {
        // SAFETY: as said.
        unsafe { OWN.follow(&OWN) };
        if learns {
            // Not for a shared object, which may be unloaded by one thread while another one forks.
            super::fork::register();
        }
    }
    if let Some(image) = OWN.image() {
        prepare(image, options);
    }
    if learns {
        slow_path::enable();
    }
}

/// What options and the rest of the process want of the sites of this image, before any of them runs.
fn prepare(image: &Image, options: Options) {
    members::each(|other| {
        if core::ptr::eq(other, &OWN) {
            return ControlFlow::Continue(());
        }
        // The process may have been turned off since the options were read.
        match other.mode() {
            mode if mode == OWN.mode() => {}
            // No site has run yet.
            Mode::Count => OWN.store_mode(Mode::Count),
            mode => {
                OWN.set_mode(mode);
            }
        }
        // The objects that an executable needs start before it does.
        // SAFETY: which one leads was found out at its start.
        unsafe {
            if OWN.leads() {
                other.follow(&OWN);
            } else if other.leads() {
                OWN.follow(other);
            }
        }
        ControlFlow::Continue(())
    });
    left::give_back();
    if let Some(patterns) = options.never_object {
        match image::file_name(image.text.start) {
            Some(file) if options::is_named(patterns, file.name()) => {
                let _ = OWN.set_sites(false, |_| true);
            }
            Some(_) => {}
            None => complain(&[
                b"never_object= has no effect: the name of the file is not known (expected ",
                b"/proc/thread-self/maps); mount /proc",
            ]),
        }
    }
    if let Some(patterns) = options.never {
        let symbols = Symbols::of(image);
        if symbols.functions().next().is_none() {
            complain(&[
                b"never= has no effect: the names of the functions are not known (expected a symbol table, ",
                b"and /proc); use mode=off, or do not strip ",
                symbols.object().unwrap_or(b"the program"),
            ]);
        }
        OWN.set_sites(false, |site| {
            symbols.caller(site).is_some_and(|name| options::is_named(patterns, name))
        });
    }
    let Some(path) = options.profile.filter(|_| matches!(OWN.mode(), Mode::On | Mode::Freeze)) else {
        return;
    };
    let mut room = sys::Mapping::new(files::PATH_MAX).unwrap_or_default();
    let result = files::name(path, &[], &mut room)
        .map_err(Failure::System)
        .and_then(|name| warm::start(&OWN, image, name));
    const ADVICE: &[u8] = b"; nothing was taken from it. Name another file: RELPOLINE_OPTIONS=profile=FILE";
    // Only of a profile may be said that nobody will miss it.
    const REMOVE: &[u8] = b"; nothing was taken from it. Remove the file, or name another one: \
        RELPOLINE_OPTIONS=profile=FILE";
    match result {
        Ok(()) => {}
        Err(Failure::System(error)) => {
            let mut digits = [0; 20];
            let [why, number] = reason(error, &mut digits);
            complain(&[b"cannot read the profile ", path, b": ", why, number, ADVICE])
        }
        Err(Failure::Format(profile::Error { line, expected })) => {
            // The first line says that it is a profile.
            let advice = if line == 1 { ADVICE } else { REMOVE };
            let mut digits = [0; 20];
            let line = decimal(line, &mut digits);
            complain(&[
                path,
                b" is not a whole profile: line ",
                line,
                b": expected ",
                expected.as_bytes(),
                advice,
            ]);
        }
        Err(Failure::Stale) => {
            complain(&[
                path,
                b" is the profile of another program: none of its sites and targets is here",
                REMOVE,
            ]);
        }
    }
}

extern "C" fn end() {
    // Where the executable has a runtime, it has spoken for all.
    if !STARTED.load(Ordering::Acquire) || OWN.has_ended() {
        return;
    }
    // SAFETY: not written after STARTED was set.
    let options = unsafe { OPTIONS };
    let Some(image) = OWN.image() else {
        if options.verbose || options.stats.is_some() {
            complain(&[b"the site table or the program headers are damaged: nothing was patched (expected a section \
                         relpoline_sites of whole entries); link the program again"]);
        }
        return;
    };
    let whole_process = OWN.leads();
    if options.verbose && !OWN.can_lock() {
        complain(&[b"nothing was patched: the system gives no page that is wiped on fork (expected MADV_WIPEONFORK, of \
                     Linux 4.14)"]);
    }
    if options.verbose {
        let mut out = Out::new(2);
        speak_for(whole_process, |runtime, image| stats::explain(runtime, image, &mut out));
        let _ = out.finish();
    }
    if let Some(path) = options.stats {
        // An object that goes before the process does has a file of its own.
        let is_shared = whole_process || files::descriptor(path).is_some();
        let file = if is_shared { None } else { image::file_name(image.text.start) };
        let object = file.as_ref().map(FileName::name);
        // SAFETY: this is the end of the program.
        let result = unsafe {
            files::uninterrupted(|room| {
                write_statistics(files::name(path, object.as_slice(), room)?, whole_process)
            })
        };
        if let Err(error) = result {
            let mut digits = [0; 20];
            let [why, number] = reason(error, &mut digits);
            complain(&[
                b"cannot write statistics to ",
                path,
                b": ",
                why,
                number,
                b"; name a writable file: RELPOLINE_OPTIONS=stats=FILE",
            ]);
        }
    }
    // What was frozen from the start has learned nothing.
    let has_learned = options.mode == Mode::On && matches!(OWN.mode(), Mode::On | Mode::Freeze);
    if let Some(path) = options.profile.filter(|_| has_learned) {
        let save = |room: &mut [u8]| warm::save(files::name(path, &[], room)?, whole_process);
        // SAFETY: likewise.
        let result = unsafe { files::uninterrupted(save) };
        if let Err(error) = result {
            let mut digits = [0; 20];
            let [why, number] = reason(error, &mut digits);
            complain(&[
                b"cannot write the profile ",
                path,
                b": ",
                why,
                number,
                b"; name a writable file: RELPOLINE_OPTIONS=profile=FILE",
            ]);
        }
    }
    if whole_process {
        // The others ask this one: the list of objects is behind a lock that somebody may hold for ever by now.
        OWN.set_ended();
    } else {
        leave(image);
    }
}

/// This object is about to be unloaded. Nothing may lead into it any more, not even what the processor guesses.
fn leave(image: &Image) {
    let code = image.text.start as u64..image.text.end as u64;
    members::each(|other| {
        // One that is busy for a second is being unloaded as well, or its thread was stopped.
        let _ = until_free(other, || other.forget_code(&code, 0));
        ControlFlow::Continue(())
    });
    let _ = until_free(&OWN, || OWN.drop_index());
    // What this object has mapped beside, another one gives back when it has gone.
    left::give_back();
}

/// Calls `action` with every runtime of the process, or with this one.
fn speak_for(whole_process: bool, mut action: impl FnMut(&Runtime, &Image)) {
    let mut one = |member: &Member| {
        if let Some(image) = member.image() {
            action(member, image);
        }
        ControlFlow::Continue(())
    };
    if whole_process {
        members::each(one);
    } else {
        let _ = one(&OWN);
    }
}

/// Writes the statistics of the whole process, or of this image, to a file.
///
/// # Errors
/// The error number of the system.
pub fn write_statistics(path: &CStr, whole_process: bool) -> Result<(), i32> {
    if let Some(fd) = files::descriptor(path.to_bytes()) {
        return statistics_to(fd, whole_process);
    }
    let rights = match sys::kind_and_rights(path) {
        Err(libc::ENOENT) => Some(None),
        Ok((libc::S_IFREG, rights)) => Some(Some(rights)),
        // A pipe, a device, a link.
        _ => None,
    };
    let replaced = rights.map(|rights| files::replace(path, rights, |fd| statistics_to(fd, whole_process)));
    match replaced {
        // Whoever may not make files in a directory may be allowed to write this one, which also takes no memory.
        None | Some(Err(libc::EACCES | libc::EPERM | libc::EROFS | libc::ENOMEM)) => {
            let fd = sys::create(path, libc::O_WRONLY | libc::O_TRUNC | libc::O_NONBLOCK, 0o666)?;
            let result = statistics_to(fd, whole_process);
            sys::close(fd);
            result
        }
        Some(result) => result,
    }
}

fn statistics_to(fd: i32, whole_process: bool) -> Result<(), i32> {
    let mut out = Out::new(fd);
    let mut totals = stats::Totals::default();
    speak_for(whole_process, |runtime, image| totals.add(runtime, image));
    stats::begin(OWN.mode(), &totals, &mut out);
    let mut first = true;
    speak_for(whole_process, |runtime, image| stats::sites(runtime, image, &mut first, &mut out));
    stats::end(&mut out);
    out.finish()
}

fn read_options() -> Options<'static> {
    let Some(given) = variable(b"RELPOLINE_OPTIONS=") else { return Options::NONE };
    // A program with borrowed rights must not write files that its caller names.
    if sys::has_borrowed_rights() {
        return Options::NONE;
    }
    // SAFETY: only the start of the program, or of this object, comes here, on one thread.
    let room = unsafe { core::slice::from_raw_parts_mut((&raw mut TEXT).cast::<u8>(), TEXT_MAX) };
    let Some(text) = room.get_mut(..given.len()) else {
        let (mut found, mut most) = ([0; 20], [0; 20]);
        complain(&[
            b"RELPOLINE_OPTIONS has no effect: it has ",
            decimal(given.len() as u64, &mut found),
            b" bytes, expected ",
            decimal(TEXT_MAX as u64, &mut most),
            b" at most; make it shorter",
        ]);
        return Options::NONE;
    };
    text.copy_from_slice(given);
    let text = &*text;
    let options = options::parse(text, complain_of_option);
    if options.help {
        let mut out = Out::new(2);
        out.text("RELPOLINE_OPTIONS=\"key=value:key=value\"\n");
        for Spec { name, values, meaning, .. } in options::TABLE {
            out.text("  ").text(name).text("=").text(values).text("\n      ").text(meaning).text("\n");
        }
        let _ = out.finish();
    }
    options
}

/// The value of the variable whose name and `=` are `prefix`. It is the program's, which may write over it (as those do
/// that set their title) or free it.
fn variable<'a>(prefix: &[u8]) -> Option<&'a [u8]> {
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
            // SAFETY: as above.
            return Some(unsafe { CStr::from_ptr(text.add(prefix.len())) }.to_bytes());
        }
        // SAFETY: not at the end yet.
        entry = unsafe { entry.add(1) };
    }
}

fn complain(parts: &[&[u8]]) {
    complain_by(|out| {
        for part in parts {
            out.bytes(part);
        }
    });
}

fn complain_by(write: impl FnOnce(&mut Out)) {
    let mut out = Out::new(2);
    out.text("relpoline: error: ");
    write(&mut out);
    out.text("\n");
    let _ = out.finish();
}

fn complain_of_option(error: options::Error) {
    complain_by(|out| {
        out.text("RELPOLINE_OPTIONS: '").bytes(error.item);
        match error.fault {
            Fault::Unknown => {
                out.text("' is not an option, expected one of");
                for Spec { name, .. } in options::TABLE {
                    out.text(" ").text(name).text("=");
                }
            }
            Fault::NoValue(values) => {
                out.text("' has no value, expected ").text(values).text(" behind '='");
            }
            Fault::Value(values) => {
                out.text("' has a value that it does not take, expected ").text(values);
            }
            Fault::Again => {
                out.text("' takes the place of the list before it, expected one list; separate its names by commas");
            }
        }
        out.text("; RELPOLINE_OPTIONS=help=1 lists all");
    });
}

/// What an error number of the system means; the number itself where that is not known.
fn reason(error: i32, digits: &mut [u8; 20]) -> [&[u8]; 2] {
    let text: &[u8] = match error {
        libc::EACCES | libc::EPERM => b"permission denied",
        libc::EFBIG => b"the file would be larger than allowed (ulimit -f)",
        libc::ENXIO => b"nobody reads the pipe",
        libc::EAGAIN => b"whoever reads the pipe takes nothing from it",
        libc::ENOENT => b"no such directory",
        libc::EEXIST => b"what is there is no profile, and was left alone",
        libc::EBADF => b"the descriptor is closed",
        libc::EISDIR => b"it is a directory",
        libc::ENOTDIR => b"what stands for a directory is none",
        libc::ELOOP => {
            b"it is a symbolic link that is not followed, or one in a circle; name the file itself"
        }
        libc::EMFILE | libc::ENFILE => b"too many open files",
        libc::EROFS => b"read-only file system",
        libc::ENOSPC => b"no space left",
        libc::ENAMETOOLONG => b"the name is too long",
        libc::ENOMEM => b"no memory left",
        _ => return [b"the system refused, error ", decimal(error as u64, digits)],
    };
    [text, b""]
}
