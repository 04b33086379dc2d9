//! The port for Linux programs in user space, on x86-64. It uses no function of the C library: it runs before
//! the library is ready, inside its functions, and in static programs that have none.

pub mod api;
mod chains;
mod files;
mod fork;
pub mod image;
mod left;
mod lock;
mod mem_file;
mod members;
mod slow_path;
pub mod start;
pub mod symbols;
pub mod sys;
mod warm;

use super::{CodeWriter, Port};
use crate::policy::Refusal;
use crate::runtime;
use core::ops::Range;
use core::ptr::NonNull;
pub use lock::{Guard, Lock};
pub use mem_file::MemFile;
pub use symbols::Symbols;

/// Distance between the addresses that are tried for code near an image.
const STEP: usize = 64 * 1024;
/// How many are tried: not so many that the code would lie further away than `patch::reaches` reckons with.
const PLACES: usize = 4000;
/// Milliseconds that whoever reads what is written may take to make room.
const READER: i32 = 10_000;
/// What mappings are made of.
const PAGE: usize = 4096;
/// `int3`: what memory for code is filled with.
const TRAP: u8 = 0xcc;

/// Bytes of data that every image holds for the runtime's first records. They cost nothing until used.
const RESERVED_DATA: usize = 128 * 1024;

#[repr(align(4096))]
struct Reserve(core::cell::UnsafeCell<[u8; RESERVED_DATA]>);

// SAFETY: only its address is taken; what it holds belongs to the arena, under the runtime's lock.
unsafe impl Sync for Reserve {}

static RESERVE: Reserve = Reserve(core::cell::UnsafeCell::new([0; RESERVED_DATA]));

/// Linux in user space.
#[derive(Debug)]
pub struct System;

impl Port for System {
    type CodeWriter = MemFile;
    /// A descriptor.
    type Output = i32;

    const CHUNK: usize = 64 * 1024 - left::NOTE;

    /// By `madvise(MADV_DONTNEED)`: a page is read from its file again.
    const UNDONE: Option<usize> = Some(PAGE);

    fn map(length: usize) -> Option<NonNull<u8>> {
        sys::map(length)
    }

    fn map_chunk() -> Option<NonNull<u8>> {
        let length = Self::CHUNK + left::NOTE;
        let start = sys::map(length)?;
        // SAFETY: a new mapping for this image alone; the caller knows of what lies in front of the note.
        unsafe { left::add(start, length) };
        Some(start)
    }

    unsafe fn unmap(start: *mut u8, length: usize) {
        // SAFETY: the caller's promise.
        unsafe { sys::unmap(start, length) }
    }

    fn data_reserve() -> Range<usize> {
        let start = RESERVE.0.get() as usize;
        start..start + RESERVED_DATA
    }

    fn chain_reserve() -> Option<(usize, usize)> {
        Some(chains::reserve())
    }

    fn map_code(image: Range<usize>, code: usize, data: usize) -> Option<NonNull<u8>> {
        let data = (data + left::NOTE).next_multiple_of(PAGE);
        // Below the image: above an executable grows its heap.
        let highest = (image.start & !(STEP - 1)).checked_sub((code + data).next_multiple_of(STEP))?;
        let start = (0..PLACES)
            .map_while(|step| highest.checked_sub(step * STEP).filter(|&address| address >= STEP))
            .find_map(|address| sys::map_code_at(address, code + data))?;
        // Memory that is made executable later is what hardened systems refuse; this was so from the start.
        // SAFETY: the end of the new mapping, which nobody knows yet.
        let replaced = unsafe { sys::replace_by_data(start.as_ptr() as usize + code, data) };
        if replaced && fill(start, code) {
            // SAFETY: as in `map_chunk`.
            unsafe { left::add(start, code + data) };
            return Some(start);
        }
        // Linux before 6.12 may have taken away what it did not replace, and another thread may have it by now.
        // SAFETY: as above.
        unsafe { sys::unmap(start.as_ptr(), if replaced { code + data } else { code }) };
        None
    }

    /// A pipe that nobody reads, or a file that grows too large, is an error to report, not the program's end.
    fn write(output: i32, mut bytes: &[u8]) -> Result<(), i32> {
        let held = sys::HeldBack::new(&[libc::SIGPIPE, libc::SIGXFSZ]);
        while !bytes.is_empty() {
            match sys::write(output, bytes) {
                Ok(written) => bytes = &bytes[written.min(bytes.len())..],
                Err(libc::EINTR) => {}
                // A pipe is full.
                Err(libc::EAGAIN) if sys::wait_for_room(output, READER) => {}
                Err(error) => {
                    held.drop_new();
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn process_id() -> u32 {
        sys::process_id()
    }

    fn ticks() -> u64 {
        // SAFETY: part of x86-64.
        unsafe { core::arch::x86_64::_rdtsc() }
    }

    /// A stale branch leads to what is at its target now, which is what the program calls.
    fn is_lasting(_: u64) -> bool {
        true
    }

    /// Statistics and `RELPOLINE_OPTIONS=verbose=1` tell.
    fn refused(_: Refusal, _: impl FnOnce() -> usize) {}

    fn open_code() -> Result<MemFile, Refusal> {
        MemFile::open()
    }

    fn abandon_code() {
        MemFile::abandon();
    }

    fn sync_cores() -> Result<(), Refusal> {
        if sys::membarrier(libc::MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE) {
            return Ok(());
        }
        // Not registered yet.
        let synced = sys::membarrier(libc::MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE)
            && sys::membarrier(libc::MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE);
        if synced { Ok(()) } else { Err(Refusal::Sync) }
    }
}

/// Fills new memory for code with traps.
fn fill(start: NonNull<u8>, length: usize) -> bool {
    const PIECE: usize = 256;
    let mut writer = System::open_code();
    (0..length).step_by(PIECE).all(|at| {
        let piece = &[TRAP; PIECE][..PIECE.min(length - at)];
        (0..runtime::OPENINGS).any(|_| {
            // SAFETY: nobody knows the memory yet.
            let write = |writer: &mut MemFile| unsafe { writer.write(start.as_ptr() as usize + at, piece) };
            let written = writer.as_mut().is_ok_and(|writer| write(writer).is_ok());
            if !written {
                // One is open at a time.
                writer = Err(Refusal::Stolen);
                writer = System::open_code();
            }
            written
        })
    })
}
