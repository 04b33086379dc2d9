//! The slow path: what every call runs that is not a promoted one.
//!
//! It preserves every register but `r11` and the flags; the kernel has no vector state to save. It runs in every
//! context that the kernel knows, so it takes no lock and calls nothing: it counts, and where there is something to
//! decide it writes the cell's address into a table which the worker empties. Cells share places of the table; one
//! that is overwritten asks again at its next call.

use crate::layout::record::{ALIGN, COUNTS, REST, WAYS};
use crate::layout::{CELL_GATE, Cell, GATE_QUIET};
use crate::record::CELL;
use core::arch::global_asm;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};

/// Places of the table.
const PLACES: usize = 1024;

global_asm!(
    r#"
    # Not to be probed: what handles a probe's trap calls through it.
    .section .kprobes.text,"ax",@progbits
    .p2align 6
    .globl __relpoline_slow
    .type __relpoline_slow,@function
    # r10: target, r11: cell; the return address of the call is on top of the stack
__relpoline_slow:
    endbr64
    cmpb $0, {tallying}(%rip)
    jne 10f
1:  testb ${quiet}, {gate}(%r11)
    jz 3f
    # Nothing is counted but the length of the rest.
    mov {gate}(%r11), %r11
    and $-{align}, %r11
    jz 2f
    subl $1, {rest}(%r11)
    js 8f
2:  jmp __x86_indirect_thunk_r10
3:  push %rax
    mov {gate}(%r11), %rax
    and $-{align}, %rax
    jz 9f
    # rax: record
    xor %r11d, %r11d
4:  cmp %r10, (%rax,%r11,8)
    jne 6f
5:  addl $1, {counts}(%rax,%r11,4)
    jns 7f
    pop %rax
    jmp __x86_indirect_thunk_r10
6:  cmpq $0, (%rax,%r11,8)
    je 11f
    inc %r11d
    cmp ${ways}, %r11d
    jne 4b
    # no way is free: the count behind the last way's is for all others
    jmp 5b
7:  # a count has reached its limit
    mov {cell}(%rax), %r11
    jmp 9f
8:  # a rest is over
    push %rax
    mov {cell}(%r11), %r11
9:  # a note for the worker. The table's address is absolute: before the kernel runs where it was linked for, the
    # worker is not ready.
    cmpb $0, {ready}(%rip)
    je 12f
    mov %r11d, %eax
    shr ${cell_shift}, %eax
    and ${places} - 1, %eax
    cmp %r11, {asked}(,%rax,8)
    je 12f
    mov %r11, {asked}(,%rax,8)
    jmp 12f
10: lock incq {slow_calls}(%rip)
    jmp 1b
11: # by one CPU alone: who comes too late looks again at what the way holds now
    push %rax
    lea (%rax,%r11,8), %r11
    xor %eax, %eax
    lock cmpxchg %r10, (%r11)
    pop %rax
    xor %r11d, %r11d
    jmp 4b
12: pop %rax
    jmp __x86_indirect_thunk_r10
    .size __relpoline_slow, . - __relpoline_slow
"#,
    gate = const CELL_GATE,
    quiet = const GATE_QUIET,
    align = const ALIGN,
    ways = const WAYS,
    counts = const COUNTS,
    rest = const REST,
    cell = const CELL,
    cell_shift = const size_of::<Cell>().trailing_zeros(),
    places = const PLACES,
    asked = sym ASKED,
    ready = sym READY,
    tallying = sym TALLYING,
    slow_calls = sym SLOW_CALLS,
    options(att_syntax)
);

static ASKED: [AtomicPtr<Cell>; PLACES] = [const { AtomicPtr::new(core::ptr::null_mut()) }; PLACES];
static READY: AtomicBool = AtomicBool::new(false);
static TALLYING: AtomicBool = AtomicBool::new(false);
static SLOW_CALLS: AtomicU64 = AtomicU64::new(0);

/// Has the slow path ask for decisions.
pub fn set_ready(ready: bool) {
    READY.store(ready, Ordering::Relaxed);
}

/// Has every run of the slow path counted.
pub fn set_tallying(on: bool) {
    TALLYING.store(on, Ordering::Relaxed);
}

/// Runs of the slow path while they were counted.
pub fn slow_calls() -> u64 {
    SLOW_CALLS.load(Ordering::Relaxed)
}

/// Forgets the notes of cells that are about to go.
pub fn forget(gone: impl Fn(*mut Cell) -> bool) {
    for place in ASKED.iter().filter(|place| gone(place.load(Ordering::Relaxed))) {
        place.store(core::ptr::null_mut(), Ordering::Relaxed);
    }
}

/// Takes the cells that have asked.
pub fn asked() -> impl Iterator<Item = *mut Cell> {
    let take = |place: &AtomicPtr<Cell>| {
        let cell = place.load(Ordering::Relaxed);
        // The cell's counts may be seen before the note or after it: the record asks again if they matter.
        if !cell.is_null() {
            place.store(core::ptr::null_mut(), Ordering::Relaxed);
        }
        cell
    };
    ASKED.iter().map(take).filter(|cell| !cell.is_null())
}
