//! The runtimes of one process. The executable and each shared object that was built with relpolines carries a copy,
//! which keeps its sites, records and chains in its own image, so that unloading an object leaves nothing behind.
//! What concerns the whole process, statistics and switches and code that is about to go, is done to all of them by
//! whichever copy is asked.
//!
//! Copies find each other by an ELF note that leads to the copy's [`Runtime`], by way of the dynamic linker's list
//! of objects. That needs no exported symbol and knows of objects that were loaded with `RTLD_LOCAL`; it ends at the
//! borders of a `dlmopen` namespace. A copy of another build is none of them: its data may be laid out differently.
//!
//! The dynamic linker holds a lock meanwhile, which the child of a fork may find held for ever by a thread that it does
//! not have. So in a forked child each copy is by itself, unless the parent had only one thread (`fork.rs`).

use super::start::RUNTIME;
use crate::runtime::Runtime;
use core::arch::global_asm;
use core::ffi::{c_int, c_void};
use core::ops::ControlFlow;

/// Name in the note, with the NUL and padded.
const OWNER: [u8; 12] = *b"relpoline\0\0\0";
/// Bytes of the name that count.
const OWNER_SIZE: u32 = 10;
/// Type of the note, and version of what it holds.
const TYPE: u32 = 1;
/// The build: see `build.rs`.
const BUILD: u64 = number(env!("RELPOLINE_BUILD").as_bytes());

const fn number(digits: &[u8]) -> u64 {
    let mut sum = 0;
    let mut at = 0;
    while at < digits.len() {
        sum = sum * 10 + (digits[at] - b'0') as u64;
        at += 1;
    }
    sum
}

/// The note as it lies in memory.
#[repr(C)]
struct Note {
    owner_size: u32,
    content_size: u32,
    kind: u32,
    owner: [u8; 12],
    /// Distance from this field to the runtime.
    runtime: i32,
    build: [u32; 2],
}

global_asm!(
    r#"
    .section .note.relpoline,"a",@note
    .p2align 2
    .hidden {runtime}
    .long {owner_size}, 12, {kind}
    .asciz "relpoline"
    .p2align 2
    .long {runtime} - .
    .quad {build}

    # The C library's function, if the program has one.
    .text
    .weak dl_iterate_phdr
    .globl __relpoline_each_object
    .hidden __relpoline_each_object
    .type __relpoline_each_object,@function
__relpoline_each_object:
    .cfi_startproc
    cmpq $0, dl_iterate_phdr@GOTPCREL(%rip)
    je 1f
    jmp dl_iterate_phdr@PLT
1:  mov $-1, %eax
    ret
    .cfi_endproc
    .size __relpoline_each_object, . - __relpoline_each_object
"#,
    runtime = sym RUNTIME,
    owner_size = const OWNER_SIZE,
    kind = const TYPE,
    build = const BUILD,
    options(att_syntax)
);

type Callback = extern "C" fn(*const libc::dl_phdr_info, usize, *mut c_void) -> c_int;

unsafe extern "C" {
    fn __relpoline_each_object(callback: Callback, data: *mut c_void) -> c_int;
}

/// Calls `action` with every runtime of the process that has been started, or with this one where the others are not
/// known, until it breaks. No object is unloaded meanwhile. Not for signal handlers.
pub fn each<F: FnMut(&Runtime) -> ControlFlow<()>>(mut action: F) {
    extern "C" fn object<F: FnMut(&Runtime) -> ControlFlow<()>>(
        info: *const libc::dl_phdr_info,
        _size: usize,
        action: *mut c_void,
    ) -> c_int {
        // SAFETY: the dynamic linker passes the object's headers, and what `each` gave it.
        let (info, action) = unsafe { (&*info, &mut *action.cast::<F>()) };
        let flow = runtime_of(info).filter(|runtime| runtime.image().is_some()).map(action);
        c_int::from(flow.is_some_and(|flow| flow.is_break()))
    }
    // SAFETY: `action` lives until the call returns, and is of the type that `object` takes it for.
    let mut listed = || unsafe { __relpoline_each_object(object::<F>, (&raw mut action).cast()) } >= 0;
    // Without a dynamic linker there is only this one.
    if (!RUNTIME.is_at_home() || !listed()) && RUNTIME.image().is_some() {
        let _ = action(&RUNTIME);
    }
}

/// The runtime that an object's note leads to.
fn runtime_of(info: &libc::dl_phdr_info) -> Option<&'static Runtime> {
    // SAFETY: the dynamic linker's copy of the object's program headers.
    let headers = unsafe { core::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
    let loaded = |from: u64, size: u64| {
        headers.iter().any(|header| {
            header.p_type == libc::PT_LOAD
                && header.p_flags & libc::PF_R != 0
                && header.p_vaddr <= from
                && from + size <= header.p_vaddr + header.p_filesz
        })
    };
    let notes = headers.iter().filter(|header| header.p_type == libc::PT_NOTE);
    notes.filter(|header| loaded(header.p_vaddr, header.p_memsz)).find_map(|header| {
        let mut at = info.dlpi_addr.wrapping_add(header.p_vaddr) as usize;
        let end = at + header.p_memsz as usize;
        let align = if header.p_align == 8 { 8 } else { 4 };
        // Name and content follow three words, each padded.
        while at + 12 <= end {
            // SAFETY: within a segment that is mapped and readable.
            let word = |offset: usize| unsafe { core::ptr::read_unaligned((at + offset) as *const u32) };
            let content = (12 + word(0) as usize).next_multiple_of(align);
            if at + size_of::<Note>() <= end && is_ours(at as *const Note) {
                let field = at + core::mem::offset_of!(Note, runtime);
                let runtime = field.wrapping_add_signed(word(field - at) as i32 as isize);
                // SAFETY: the note is of this very build, so it leads to a runtime, which is all atomics or guarded by
                // them, and stays for as long as the object.
                return Some(unsafe { &*(runtime as *const Runtime) });
            }
            at += (content + word(4) as usize).next_multiple_of(align);
        }
        None
    })
}

fn is_ours(note: *const Note) -> bool {
    // SAFETY: the caller has found the note to lie in readable memory.
    let note = unsafe { core::ptr::read_unaligned(note) };
    let build = u64::from(note.build[0]) | u64::from(note.build[1]) << 32;
    note.owner_size == OWNER_SIZE && note.kind == TYPE && note.owner == OWNER && build == BUILD
}
