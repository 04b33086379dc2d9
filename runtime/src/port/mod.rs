//! What the core needs from the system below it. This file chooses the port; nothing else asks which one it
//! is.

use crate::policy::Refusal;
use core::ptr::NonNull;

#[cfg(target_os = "none")]
pub mod kernel;
#[cfg(not(target_os = "none"))]
pub mod user;

#[cfg(target_os = "none")]
use kernel as chosen;
#[cfg(all(not(test), not(target_os = "none")))]
use user as chosen;

#[cfg(test)]
use crate::model as chosen;

/// The port that this build is for.
pub use chosen::System;

/// Keeps all but one thread from patching. It is tried, never waited for.
pub use chosen::{Guard, Lock};

/// Names of addresses in one image.
pub use chosen::Symbols;

/// A system that relpolines can run on.
pub trait Port {
    /// Writes code while it is open.
    type CodeWriter: CodeWriter;

    /// Where text goes.
    type Output: Copy;

    /// Bytes of [`Port::map_chunk`].
    const CHUNK: usize;

    /// Bytes of the pieces of the image's code that may go back to what they were, each for itself, where that can
    /// happen.
    const UNDONE: Option<usize>;

    /// Zeroed memory for data, or `None`. Callable in a signal handler.
    fn map(length: usize) -> Option<NonNull<u8>>;

    /// The same for small objects of an image, which nobody comes to but by the image: the port may give it back once
    /// that has gone. So no copy of the runtime asks for another one's arena.
    fn map_chunk() -> Option<NonNull<u8>>;

    /// Gives memory back.
    ///
    /// # Safety
    /// `start` and `length` are those of a call of [`Port::map`], and nobody uses the memory any more.
    unsafe fn unmap(start: *mut u8, length: usize);

    /// Zeroed memory in the image itself for the first data. It goes when the image goes.
    fn data_reserve() -> core::ops::Range<usize>;

    /// Room in the image itself for the code of the first chains, filled with traps, and for their slots, as
    /// many as `patch::RESERVED_BODIES`, if it has any. Unlike mapped memory it has unwind information.
    fn chain_reserve() -> Option<(usize, usize)>;

    /// Memory for code and, behind it, for its data, as close below `image` as there is room. The code part
    /// can be executed and is written with a [`CodeWriter`] alone; it is filled with traps. It goes as that of
    /// [`Port::map_chunk`] does.
    fn map_code(image: core::ops::Range<usize>, code: usize, data: usize) -> Option<NonNull<u8>>;

    /// Writes all of `bytes`.
    ///
    /// # Errors
    /// The error number of the system.
    fn write(output: Self::Output, bytes: &[u8]) -> Result<(), i32>;

    /// Number of this process.
    fn process_id() -> u32;

    /// The processor's clock. Only differences are looked at, and roughly.
    fn ticks() -> u64;

    /// Whether `target` is code that stays where it is until the runtime is told otherwise. Generated code may go,
    /// and other code come to the same address, at any time.
    fn is_lasting(target: u64) -> bool;

    /// A site has been refused. Not every refusal is worth a word; `site` finds the address of its compare.
    fn refused(because: Refusal, site: impl FnOnce() -> usize);

    /// Opens the code of this process for writing.
    ///
    /// # Errors
    /// [`Refusal::Write`], [`Refusal::Descriptors`], or [`Refusal::Stolen`]. Only one writer is open at a time.
    fn open_code() -> Result<Self::CodeWriter, Refusal>;

    /// In a forked child: gives up the writer that another thread of the parent had open.
    fn abandon_code();

    /// Returns when every core that runs this program has discarded what it fetched of its code before the
    /// call, and every core that does not will do so before it runs the program again.
    ///
    /// # Errors
    /// [`Refusal::Sync`]
    fn sync_cores() -> Result<(), Refusal>;
}

/// Writes code that nobody can be executing.
pub trait CodeWriter {
    /// Writes `bytes` at `address`.
    ///
    /// # Errors
    /// [`Refusal::Write`]; some of the bytes may have been written. [`Refusal::Stolen`]: none of them.
    /// [`Refusal::Probed`]: none of them, and what runs there may be neither what they are nor what they were to be.
    ///
    /// # Safety
    /// No thread executes any of the bytes until [`Port::sync_cores`] has returned.
    unsafe fn write(&mut self, address: usize, bytes: &[u8]) -> Result<(), Refusal>;
}
