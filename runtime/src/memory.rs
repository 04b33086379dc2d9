//! Memory of the runtime: mapped from the system, because the program's own allocator may be what called.

use crate::port::{Port, System};
use core::alloc::{GlobalAlloc, Layout};
use core::ptr::NonNull;

/// The strictest alignment that a mapping has by itself.
const PAGE: usize = 4096;

/// The allocator of the runtime's archive: one mapping for each allocation. What is learned and patched needs none but
/// the site index, once for an image; reports, profiles and names take more.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mapped;

// SAFETY: every allocation is a mapping of its own, which stays until it is deallocated.
unsafe impl GlobalAlloc for Mapped {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.align() > PAGE {
            return core::ptr::null_mut();
        }
        System::map(layout.size()).map_or(core::ptr::null_mut(), NonNull::as_ptr)
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        // SAFETY: the caller promises that `start` came from `alloc` with this layout.
        unsafe { System::unmap(start, layout.size()) };
    }
}

/// Hands out small zeroed objects that are never freed one by one, since a slow path may be reading them at any time.
/// What they lie in goes after the image, in the kernel a grace period after nobody comes to them. The first ones lie
/// in the image.
#[derive(Debug, Default)]
pub struct Arena {
    next: usize,
    end: usize,
    reserve_taken: bool,
}

impl Arena {
    /// An arena without memory.
    pub const fn new() -> Self {
        Self { next: 0, end: 0, reserve_taken: false }
    }

    /// After a fork that caught another thread at work: what has been handed out stays so.
    pub const fn after_fork() -> Self {
        Self { reserve_taken: true, ..Self::new() }
    }

    /// Room for a `T`, zeroed, or `None` when the system gives no memory.
    pub fn take<T>(&mut self) -> Option<NonNull<T>> {
        const { assert!(size_of::<T>() <= System::CHUNK && align_of::<T>() <= PAGE) };
        if !self.reserve_taken {
            self.reserve_taken = true;
            let reserve = System::data_reserve();
            (self.next, self.end) = (reserve.start, reserve.end);
        }
        let mut start = self.next.next_multiple_of(align_of::<T>());
        if start == 0 || start + size_of::<T>() > self.end {
            start = System::map_chunk()?.as_ptr() as usize;
            self.end = start + System::CHUNK;
        }
        self.next = start + size_of::<T>();
        NonNull::new(start as *mut T)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_handed_out_again_after_a_fork() {
        let reserve = System::data_reserve();
        let first = Arena::new().take::<u64>().unwrap();
        assert!(reserve.contains(&(first.as_ptr() as usize)));
        let after = Arena::after_fork().take::<u64>().unwrap();
        assert!(!reserve.contains(&(after.as_ptr() as usize)));
    }
}
