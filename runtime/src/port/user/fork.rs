//! What must not happen while the process forks: a child must not inherit the descriptor that code is written
//! through, which would let it write the memory of its parent, whatever rights it gives up afterwards.
//!
//! So `fork` waits until nothing is being patched, as it does for locks of the C library. A process that forks by
//! the bare system call does not wait; its child finds the lock wiped and what it guarded forgotten. Nor does it wait for the runtimes of shared
//! objects: they may be unloaded while another thread forks, and the C library would call into nothing.

use super::{Guard, start::RUNTIME, sys};
use core::arch::global_asm;
use core::cell::UnsafeCell;

/// The lock, held from before the fork until after it.
struct Held(UnsafeCell<Option<Guard<'static>>>);

// SAFETY: only the thread that forks touches it, between `prepare` and `parent` or `child`, while it holds the
// lock.
unsafe impl Sync for Held {}

static HELD: Held = Held(UnsafeCell::new(None));

extern "C" fn prepare() {
    // Patching takes microseconds, and its holder takes no signals: it is not this thread.
    let guard = loop {
        if !RUNTIME.can_lock() {
            return;
        }
        if let Some(guard) = RUNTIME.hold() {
            break guard;
        }
        sys::yield_now();
    };
    // SAFETY: see `Held`.
    unsafe { *HELD.0.get() = Some(guard) };
}

extern "C" fn parent() {
    // SAFETY: see `Held`.
    drop(unsafe { (*HELD.0.get()).take() });
}

extern "C" fn child() {
    // SAFETY: see `Held`; the child has only this thread.
    if let Some(guard) = unsafe { (*HELD.0.get()).take() } {
        guard.keep_after_fork();
    }
}

// The C library's registration, if the program has one: glibc's own entry, else the standard one.
global_asm!(
    r#"
    .text
    .weak __register_atfork
    .weak pthread_atfork
    .weak __dso_handle
    .hidden __dso_handle
    .globl __relpoline_at_fork
    .hidden __relpoline_at_fork
    .type __relpoline_at_fork,@function
__relpoline_at_fork:
    sub $8, %rsp
    lea {prepare}(%rip), %rdi
    lea {parent}(%rip), %rsi
    lea {child}(%rip), %rdx
    cmpq $0, __register_atfork@GOTPCREL(%rip)
    je 1f
    mov __dso_handle@GOTPCREL(%rip), %rcx
    call __register_atfork@PLT
    jmp 2f
1:  cmpq $0, pthread_atfork@GOTPCREL(%rip)
    je 2f
    call pthread_atfork@PLT
2:  add $8, %rsp
    ret
    .size __relpoline_at_fork, . - __relpoline_at_fork
"#,
    prepare = sym prepare,
    parent = sym parent,
    child = sym child,
    options(att_syntax)
);

unsafe extern "C" {
    fn __relpoline_at_fork();
}

/// Has `fork` wait for the patcher.
pub fn register() {
    // SAFETY: the assembly above; it calls the C library, which constructors may do.
    unsafe { __relpoline_at_fork() };
}
