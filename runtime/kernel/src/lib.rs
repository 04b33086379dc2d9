//! `relpoline_kernel.o`: the runtime, with what makes it an object that the Linux kernel can link. Built for
//! `x86_64-unknown-none` by `ci/kernel`; for other targets this is empty.
#![cfg_attr(target_os = "none", no_std)]

#[cfg(target_os = "none")]
pub use relpoline::port::kernel;

#[cfg(target_os = "none")]
mod kernel_object {
    #[global_allocator]
    static MEMORY: relpoline::memory::Mapped = relpoline::memory::Mapped;

    /// Nothing in the runtime is meant to panic. Should it happen all the same, the kernel reports a bug before code
    /// that is half written can be called.
    #[panic_handler]
    fn panic(_: &core::panic::PanicInfo) -> ! {
        // SAFETY: an invalid opcode: an oops.
        unsafe { core::arch::asm!("ud2", options(noreturn, nostack)) }
    }
}
