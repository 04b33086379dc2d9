//! What copies in shared objects have mapped beside their images. It is given back once the image has gone.
//!
//! A copy cannot do that itself when its destructors run. They run at the end of the process, too, in an order that
//! differs between C libraries, while other threads go on and call its sites. So each mapping ends with a note, in a
//! list of the executable's copy, and a copy that comes or goes gives back what images have left that are not there any
//! more.
//!
//! Whether an image is there is read out of memory: its copy drew a number before its first note, which stays where it
//! is as long as the image, and the note names both. Where nothing is mapped, or another number stands, the image has gone,
//! whatever has come to its place. It never comes back, and with it went all that leads to the mapping:
//!
//! - Records, slots and chains are found by the image's code and cells alone; and by other copies, while the dynamic
//!   linker keeps the object for them (`members::each`).
//! - Who is in a chain is on the way from a site of the image to its target, as if it was still at the call. Code that
//!   a thread is in may not be unloaded, with relpolines or without.
//!
//! In doubt a mapping stays. The list needs no lock: notes are put in one by one, and one thread takes all of them out,
//! and puts those back in that are still needed. A child that is forked by another thread at that moment has none of
//! them, and keeps the mappings. A process that borrows the memory, as a child of `vfork` does, sees the same images.

use super::members::OWN;
use super::sys;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

/// Bytes of a note, at the end of a mapping.
pub const NOTE: usize = size_of::<Note>();

/// What there is to know of a mapping.
#[derive(Debug)]
pub struct Note {
    next: *mut Note,
    start: NonNull<u8>,
    length: usize,
    /// Where the number of the image's copy stands.
    place: usize,
    number: u64,
}

/// Notes of mappings.
pub type List = AtomicPtr<Note>;

/// Has a mapping go after this copy's image, if that may go before the process does. Where there is no executable's
/// copy, it stays for ever.
///
/// # Safety
/// The mapping is of whole pages, and nobody comes to it but by this image. Its last [`NOTE`] bytes can be written and
/// are not used otherwise.
pub unsafe fn add(start: NonNull<u8>, length: usize) {
    if let Some(list) = OWN.left().filter(|_| !OWN.leads()) {
        // SAFETY: the caller's promise.
        unsafe { note(list, start, length, OWN.number()) };
    }
}

/// # Safety
/// As for [`add`], of the image that `number` is part of.
unsafe fn note(list: &List, start: NonNull<u8>, length: usize, number: &AtomicU64) {
    let place = core::ptr::from_ref(number) as usize;
    let number = number.load(Ordering::Relaxed);
    let new = Note { next: core::ptr::null_mut(), start, length, place, number };
    // SAFETY: the end of the mapping, which is a page's, so it is aligned.
    unsafe {
        let note = start.add(length - NOTE).cast::<Note>();
        note.write(new);
        put(list, note);
    }
}

/// # Safety
/// The note is in no list, and nobody else knows of it.
unsafe fn put(list: &List, mut note: NonNull<Note>) {
    let mut first = list.load(Ordering::Relaxed);
    loop {
        // SAFETY: the caller's promise.
        unsafe { note.as_mut() }.next = first;
        // Release: pairs with the acquire of `give_back_of`.
        match list.compare_exchange_weak(first, note.as_ptr(), Ordering::Release, Ordering::Relaxed) {
            Ok(_) => return,
            Err(now) => first = now,
        }
    }
}

/// Gives back what images have left that have gone.
pub fn give_back() {
    if let Some(list) = OWN.left() {
        give_back_of(list);
    }
}

fn give_back_of(list: &List) {
    // Acquire: pairs with the release of `put`.
    let mut next = NonNull::new(list.swap(core::ptr::null_mut(), Ordering::Acquire));
    while let Some(place) = next {
        // SAFETY: this thread has taken the notes, and the mapping is there until it is given back.
        let note = unsafe { place.as_ref() };
        next = NonNull::new(note.next);
        if note.image_has_gone() {
            // SAFETY: nobody comes to it any more: see above.
            unsafe { sys::unmap(note.start.as_ptr(), note.length) };
        } else {
            // SAFETY: it was taken out.
            unsafe { put(list, place) };
        }
    }
}

impl Note {
    fn image_has_gone(&self) -> bool {
        match sys::read_memory(self.place) {
            Ok(number) => number != self.number,
            // Where something is mapped, it may be that it cannot be read just now.
            Err(error) => error == libc::EFAULT && !sys::is_mapped(self.place),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mappings_stay_as_long_as_their_image_and_go_after_it() {
        const LENGTH: usize = 8192;
        let list = List::default();
        let has_notes = || !list.load(Ordering::Relaxed).is_null();
        for unmaps in [false, true] {
            let images: [&AtomicU64; 3] = core::array::from_fn(|_| {
                // SAFETY: zeroed memory is a number.
                unsafe { sys::map(4096).unwrap().cast().as_ref() }
            });
            for image in images {
                image.store(7, Ordering::Relaxed);
                // SAFETY: a mapping that nobody comes to.
                (0..3).for_each(|_| unsafe { note(&list, sys::map(LENGTH).unwrap(), LENGTH, image) });
            }
            give_back_of(&list);
            let mut count = 0;
            let mut next = list.load(Ordering::Relaxed);
            // SAFETY: the list is this test's, and its notes are there.
            while let Some(note) = unsafe { next.as_ref() } {
                count += 1;
                next = note.next;
            }
            assert_eq!(count, 9);
            for image in images {
                assert!(has_notes());
                if unmaps {
                    // SAFETY: not looked at any more.
                    unsafe { sys::unmap(core::ptr::from_ref(image).cast_mut().cast(), 4096) };
                } else {
                    image.store(8, Ordering::Relaxed);
                }
                give_back_of(&list);
            }
            assert!(!has_notes());
        }
    }

    #[test]
    fn what_cannot_be_read_just_now_has_not_gone() {
        let list = List::default();
        // SAFETY: zeroed memory is a number; nobody looks at it while it cannot be read.
        unsafe {
            let image = sys::map(4096).unwrap();
            note(&list, sys::map(8192).unwrap(), 8192, image.cast::<AtomicU64>().as_ref());
            let protect = |rights| assert_eq!(libc::mprotect(image.as_ptr().cast(), 4096, rights), 0);
            protect(libc::PROT_NONE);
            give_back_of(&list);
            assert!(!list.load(Ordering::Relaxed).is_null());
            protect(libc::PROT_READ);
            give_back_of(&list);
            assert!(!list.load(Ordering::Relaxed).is_null());
            sys::unmap(image.as_ptr(), 4096);
        }
        give_back_of(&list);
        assert!(list.load(Ordering::Relaxed).is_null());
    }
}
