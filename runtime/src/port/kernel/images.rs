//! The images of a kernel, vmlinux and its modules, and what the C side asks of them. Every function here is called
//! in a context that may sleep, under the C side's mutex, with CPU hot-plug held off.

use super::sys::{self, SeqFile};
use super::{Symbols, System, slow_path};
use crate::layout::{Cell, Entry};
use crate::options::{self, Mode};
use crate::output::Out;
use crate::policy::Refusal;
use crate::port::Port;
use crate::record::Record;
use crate::runtime::Runtime;
use crate::site::{Image, Site};
use crate::stats;
use core::ffi::{CStr, c_char, c_void};
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

/// One image and its runtime.
pub struct Governed {
    runtime: Runtime,
    /// To whom the C side books its memory.
    owner: *mut c_void,
    next: AtomicPtr<Governed>,
}

/// The image that was opened last; each names the one before it.
static IMAGES: AtomicPtr<Governed> = AtomicPtr::new(core::ptr::null_mut());

/// To whom memory is booked.
static OWNER: AtomicPtr<c_void> = AtomicPtr::new(core::ptr::null_mut());

/// Calls of [`relpoline_code_goes`].
static CLOSINGS: AtomicU64 = AtomicU64::new(0);

/// [`Runtime::totals`] of images that have gone.
static GONE: [AtomicU64; 4] = [const { AtomicU64::new(0) }; 4];

/// To whom memory is booked now.
pub fn owner() -> *mut c_void {
    OWNER.load(Ordering::Relaxed)
}

/// Where an image lies, for [`relpoline_open`].
#[repr(C)]
#[derive(Debug)]
pub struct Place {
    owner: *mut c_void,
    text: usize,
    text_end: usize,
    data: usize,
    data_end: usize,
    constants: usize,
    constants_end: usize,
    table: *const Entry,
    rows: usize,
}

fn images() -> impl Iterator<Item = &'static Governed> {
    // SAFETY: images are only freed after they have left the list, which is under the C side's mutex.
    let load = |place: &AtomicPtr<Governed>| unsafe { place.load(Ordering::Relaxed).as_ref() };
    core::iter::successors(load(&IMAGES), move |image| load(&image.next))
}

/// All runtimes, with their images. Memory is booked to the one that was handed out last.
fn governed() -> impl Iterator<Item = (&'static Runtime, &'static Image)> + Clone {
    #[derive(Clone)]
    struct Walk(Option<&'static Governed>);
    impl Iterator for Walk {
        type Item = (&'static Runtime, &'static Image);
        fn next(&mut self) -> Option<Self::Item> {
            loop {
                let now = self.0?;
                // SAFETY: as in `images`.
                self.0 = unsafe { now.next.load(Ordering::Relaxed).as_ref() };
                if let Some(image) = now.runtime.image() {
                    OWNER.store(now.owner, Ordering::Relaxed);
                    return Some((&now.runtime, image));
                }
            }
        }
    }
    Walk(images().next())
}

fn mode_of(number: u32) -> Mode {
    match number {
        0 => Mode::On,
        1 => Mode::Off,
        _ => Mode::Count,
    }
}

/// Takes up an image. Null without memory.
///
/// # Safety
/// `place` describes an image that stays until [`relpoline_close`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn relpoline_open(place: &Place, mode: u32) -> *mut Governed {
    OWNER.store(place.owner, Ordering::Relaxed);
    let Some(memory) = System::map(size_of::<Governed>()) else {
        return core::ptr::null_mut();
    };
    let new = memory.as_ptr().cast::<Governed>();
    let next = AtomicPtr::new(IMAGES.load(Ordering::Relaxed));
    // SAFETY: new memory, aligned to a page.
    let governed = unsafe {
        new.write(Governed { runtime: Runtime::new(), owner: place.owner, next });
        &*new
    };
    // SAFETY: the caller's promise.
    let entries = unsafe { core::slice::from_raw_parts(place.table, place.rows) };
    let image = Image {
        base: place.text,
        text: place.text..place.text_end,
        data: place.data..place.data_end,
        constants: place.constants..place.constants_end,
        entries,
    };
    for site in image.sites() {
        if let Err(refusal) = image.check(&site) {
            System::refused(refusal, || site.compare());
        }
    }
    governed.runtime.open(Some(image), mode_of(mode));
    IMAGES.store(new, Ordering::Relaxed);
    new
}

/// Forgets an image that goes. Its memory is the C side's to free, when nobody can be in a slow path or a chain of it
/// who is there now: from here on calls of its sites are retpolines, and come to neither its records nor its chains.
///
/// # Safety
/// `image` came from [`relpoline_open`] and is closed once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn relpoline_close(image: *mut Governed) {
    // SAFETY: the caller's promise.
    let gone = unsafe { &*image };
    // Code of a module runs later than this: parameters are read and freed, asynchronous work is waited for.
    gone.runtime.retire();
    for (sum, value) in GONE.iter().zip(gone.runtime.totals()) {
        sum.fetch_add(value, Ordering::Relaxed);
    }
    let next = gone.next.load(Ordering::Relaxed);
    if IMAGES.load(Ordering::Relaxed) == image {
        IMAGES.store(next, Ordering::Relaxed);
    }
    for other in images().filter(|other| other.next.load(Ordering::Relaxed) == image) {
        other.next.store(next, Ordering::Relaxed);
    }
    let of_image =
        |cell: *mut Cell| gone.runtime.image().is_some_and(|it| it.data.contains(&(cell as usize)));
    slow_path::forget(of_image);
}

/// Whether the table knows of a cell at this address, and it can be one. Whether the code agrees is looked at when
/// there is something to write.
fn has_cell(image: &Image, cell: usize) -> bool {
    // The rows are looked through where it is worth it.
    let site = || image.sites().find(|site| site.cell() == cell);
    image.data.contains(&cell)
        && site().is_some_and(|site| matches!(image.check(&site), Ok(()) | Err(Refusal::Bytes)))
}

/// Attends to the sites that have asked. Returns how many they were.
#[unsafe(no_mangle)]
pub extern "C" fn relpoline_poll() -> usize {
    let mut attended = 0;
    for cell in slow_path::asked() {
        // SAFETY: this is called in a context that may sleep.
        unsafe { sys::relpoline_sys_breathe() };
        // A slow path may have been interrupted before it left its note, and the image has gone meanwhile.
        let Some((runtime, _)) = governed().find(|(_, image)| has_cell(image, cell as usize)) else {
            continue;
        };
        attended += 1;
        // SAFETY: a cell of an image that is there.
        let cell = unsafe { &*cell };
        // SAFETY: likewise.
        match unsafe { Record::of_cell(core::ptr::from_ref(cell) as usize) } {
            Some(record) => runtime.limit_reached(record),
            None => runtime.first_call(cell),
        }
    }
    attended
}

/// Sets the mode of all images, and whether sites ask for attention.
#[unsafe(no_mangle)]
pub extern "C" fn relpoline_set_mode(mode: u32) {
    let mode = mode_of(mode);
    for (runtime, _) in governed() {
        runtime.set_mode(mode);
    }
    slow_path::set_ready(mode != Mode::Off);
}

/// Before the first call of [`relpoline_set_mode`]: sites may ask for attention.
#[unsafe(no_mangle)]
pub extern "C" fn relpoline_start(ready: bool, tallying: bool) {
    slow_path::set_tallying(tallying);
    slow_path::set_ready(ready);
}

/// Turns the sites at an address off or on. Returns how many there are.
#[unsafe(no_mangle)]
pub extern "C" fn relpoline_set_site(address: usize, on: bool) -> usize {
    let chosen = |site: &Site| site.compare() == address;
    governed().filter_map(|(runtime, _)| runtime.set_sites(on, chosen)).sum()
}

/// Turns the sites of the functions of a name off or on; `*` stands for anything in it. Returns how many there are.
///
/// # Safety
/// `name` is a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn relpoline_set_function(name: *const c_char, on: bool) -> usize {
    // SAFETY: the caller's promise.
    let pattern = unsafe { CStr::from_ptr(name) }.to_bytes();
    let of = |(runtime, image): (&Runtime, &Image)| {
        let mut symbols = Symbols::of(image);
        let mut is_named = |site: &Site| {
            stats::caller(&mut symbols, site).is_some_and(|name| options::matches(pattern, name))
        };
        runtime.set_sites(on, &mut is_named)
    };
    governed().filter_map(of).sum()
}

/// Has every site learn anew.
#[unsafe(no_mangle)]
pub extern "C" fn relpoline_relearn() {
    for (runtime, _) in governed() {
        runtime.relearn_all();
    }
}

/// Closes every branch that leads to code between two addresses: it is about to go. Returns how many sites have
/// one.
#[unsafe(no_mangle)]
pub extern "C" fn relpoline_code_goes(start: usize, end: usize) -> usize {
    let code = start as u64..end as u64;
    let now = CLOSINGS.fetch_add(1, Ordering::Relaxed) + 1;
    governed().filter_map(|(runtime, _)| runtime.forget_code(&code, now)).sum()
}

/// How often [`relpoline_code_goes`] has been called.
#[unsafe(no_mangle)]
pub extern "C" fn relpoline_closings() -> u64 {
    CLOSINGS.load(Ordering::Relaxed)
}

/// Sites and targets of an image that were refused so far.
#[unsafe(no_mangle)]
pub extern "C" fn relpoline_failures(image: &Governed) -> u64 {
    image.runtime.failures()
}

/// Leads the branches back that the first `closed` calls of [`relpoline_code_goes`] closed. In the end, when every
/// kprobe is registered that may have copied one before, makes them free for other targets.
///
/// # Safety
/// Since the last one of them every CPU and every task has been in a quiescent state.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn relpoline_recycle(closed: u64, in_the_end: bool) {
    for (runtime, _) in governed() {
        // SAFETY: the caller's promise.
        unsafe { runtime.recycle(closed, in_the_end) };
    }
}

/// Writes the statistics, as JSON.
///
/// # Safety
/// `file` is being read.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn relpoline_report(file: *mut SeqFile) {
    let mut out = Out::new(file);
    stats::report(governed(), &mut out);
    let _ = out.finish();
}

/// Writes one line of numbers: runs of the slow path, and what images that have gone had counted.
///
/// # Safety
/// `file` is being read.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn relpoline_report_slow_calls(file: *mut SeqFile) {
    let mut out = Out::new(file);
    out.text("slow_calls ").number(slow_path::slow_calls());
    for (name, sum) in
        [" gone_patches ", " gone_written ", " gone_failures ", " gone_relearns "].iter().zip(&GONE)
    {
        out.text(name).number(sum.load(Ordering::Relaxed));
    }
    out.text("\n");
    let _ = out.finish();
}

/// Writes one line for each site: its address, state, function, and the targets that are called directly.
///
/// # Safety
/// `file` is being read.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn relpoline_list_sites(file: *mut SeqFile) {
    let mut out = Out::new(file);
    for (_, image) in governed() {
        stats::list(image, &mut out);
    }
    let _ = out.finish();
}
