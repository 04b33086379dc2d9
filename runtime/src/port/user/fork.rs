//! What must not happen while the process forks: a child must not inherit the descriptor that code is written
//! through, which would let it write the memory of its parent, whatever rights it gives up afterwards.
//!
//! So `fork` waits until nothing is being patched, as it does for locks of the C library: for a second at most, should
//! the patcher have no processor. A process that forks by the bare system call does not wait. Nor does it wait for
//! the runtimes of shared objects: they may be unloaded while another thread forks, and the C library would call into
//! nothing. A child that was not waited for finds the lock wiped; what the lock guarded is forgotten, and the
//! descriptor closed, when the child first takes it.

use super::lock::{Guard, until_free};
use super::{members::OWN, sys};
use crate::options::Mode;
use core::arch::{asm, global_asm};
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

/// The lock, held from before the fork until after it, and the thread that holds it, of which process: what a child finds
/// here may be another thread's of its parent, and a new thread may have the control block of that.
///
/// Signals are not blocked meanwhile: between our handlers of the fork those of others run, which may wait for threads that
/// wait for a signal handler of this one.
struct Held {
    guard: UnsafeCell<Option<Guard<'static>>>,
    thread: AtomicUsize,
    process: AtomicU32,
    /// Forks of signal handlers that have come meanwhile.
    within: AtomicUsize,
}

// SAFETY: `guard` is only touched by `thread`, which holds the lock between `prepare` and `parent` or `child`.
unsafe impl Sync for Held {}

static HELD: Held = Held {
    guard: UnsafeCell::new(None),
    thread: AtomicUsize::new(0),
    process: AtomicU32::new(0),
    within: AtomicUsize::new(0),
};

/// The process that forks.
static FORKING: AtomicU32 = AtomicU32::new(0);

impl Held {
    /// Whether a thread of this process, or of its parent, holds the lock while it forks.
    fn is_somebodys(&self) -> bool {
        self.thread.load(Ordering::Relaxed) != 0
    }

    /// Whether this thread, of `process` or just forked out of it, holds the lock.
    fn is_mine(&self, process: u32) -> bool {
        self.thread.load(Ordering::Relaxed) == this_thread()
            && self.process.load(Ordering::Relaxed) == process
    }

    fn put(&self, guard: Guard<'static>, process: u32) {
        // SAFETY: this thread holds the lock, and takes no signals yet. What was here before is forgotten: it is the
        // parent's.
        unsafe { self.guard.get().write(Some(guard)) };
        self.process.store(process, Ordering::Relaxed);
        self.thread.store(this_thread(), Ordering::Relaxed);
        // SAFETY: as above.
        if let Some(guard) = unsafe { &mut *self.guard.get() } {
            guard.let_signals_in();
        }
    }

    /// The guard that this thread put here before it forked, if it did. It takes no signals until that is dropped.
    fn take(&self, process: u32) -> Option<Guard<'static>> {
        if !self.is_mine(process) {
            return None;
        }
        // SAFETY: this thread, or the one that it is the copy of, holds the lock.
        let mut guard = unsafe { (*self.guard.get()).take() }?;
        guard.keep_signals_out();
        self.thread.store(0, Ordering::Relaxed);
        Some(guard)
    }
}

/// What tells threads apart and stays the same in a child: the address of the thread's control block.
fn this_thread() -> usize {
    let block;
    // SAFETY: the C library, which called, keeps that address in the block's first word (System V ABI, TLS).
    unsafe { asm!("mov {}, fs:0", out(reg) block, options(nostack, readonly, preserves_flags)) };
    block
}

/// Whether this thread is between our handlers of a fork: it holds the lock, and other handlers run.
pub fn is_under_way_here() -> bool {
    // Without a C library there is no control block to look at, and nobody calls the handlers.
    HELD.is_somebodys() && HELD.is_mine(sys::process_id())
}

/// The process had only one thread when it forked: nobody else held any lock.
static ALONE: AtomicBool = AtomicBool::new(false);

/// The last fork has waited in vain: the patcher may have left by `siglongjmp`, and will not come back.
static GAVE_UP: AtomicBool = AtomicBool::new(false);

extern "C" fn prepare() {
    // SAFETY: the assembly below.
    ALONE.store(unsafe { __relpoline_is_alone() }, Ordering::Relaxed);
    // Nobody patches while all is off, and no system call is made.
    if OWN.mode() == Mode::Off && !HELD.is_somebodys() {
        return;
    }
    let process = sys::process_id();
    FORKING.store(process, Ordering::Relaxed);
    if HELD.is_mine(process) {
        HELD.within.fetch_add(1, Ordering::Relaxed);
        return;
    }
    if OWN.mode() == Mode::Off || !OWN.can_lock() || OWN.interrupts_patcher() {
        return;
    }
    let waits = !GAVE_UP.load(Ordering::Relaxed);
    let guard = if waits { until_free(&OWN, || OWN.hold()) } else { OWN.hold() };
    GAVE_UP.store(guard.is_none(), Ordering::Relaxed);
    if let Some(guard) = guard {
        HELD.put(guard, process);
    }
}

extern "C" fn parent() {
    if !HELD.is_somebodys() {
        return;
    }
    let process = sys::process_id();
    if HELD.is_mine(process) && HELD.within.load(Ordering::Relaxed) > 0 {
        HELD.within.fetch_sub(1, Ordering::Relaxed);
        return;
    }
    drop(HELD.take(process));
}

extern "C" fn child() {
    OWN.claim();
    HELD.within.store(0, Ordering::Relaxed);
    match HELD.take(FORKING.load(Ordering::Relaxed)) {
        Some(guard) => guard.let_go_after_fork(),
        // Gives up what the patcher had open, if there was one.
        None if OWN.mode() != Mode::Off => drop(OWN.hold()),
        None => {}
    }
    // The child of another one's first process may have the number of its parent.
    OWN.settle(ALONE.load(Ordering::Relaxed));
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

    # What glibc knows of its threads; where it is not known, there may be some.
    .weak __libc_single_threaded
    .globl __relpoline_is_alone
    .hidden __relpoline_is_alone
    .type __relpoline_is_alone,@function
__relpoline_is_alone:
    mov __libc_single_threaded@GOTPCREL(%rip), %rdx
    xor %eax, %eax
    test %rdx, %rdx
    je 1f
    cmpb $0, (%rdx)
    setne %al
1:  ret
    .size __relpoline_is_alone, . - __relpoline_is_alone
"#,
    prepare = sym prepare,
    parent = sym parent,
    child = sym child,
    options(att_syntax)
);

unsafe extern "C" {
    fn __relpoline_at_fork();
    fn __relpoline_is_alone() -> bool;
}

/// Has `fork` wait for the patcher.
pub fn register() {
    // SAFETY: the assembly above; it calls the C library, which constructors may do.
    unsafe { __relpoline_at_fork() };
}
