//! `librelpoline_rt.a`: the runtime, with what makes it a library of its own.
#![no_std]

pub use relpoline::port::user::{api, start};

core::arch::global_asm!(include_str!("memory.S"), options(att_syntax));

#[global_allocator]
static MEMORY: relpoline::memory::Mapped = relpoline::memory::Mapped;

/// Nothing in the runtime is meant to panic. Should it happen all the same, the process stops before code
/// that is half written can be called.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    // SAFETY: an invalid opcode: the process receives SIGILL.
    unsafe { core::arch::asm!("ud2", options(noreturn, nostack)) }
}
