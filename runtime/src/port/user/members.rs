//! The runtimes of one process. The executable and each shared object that was built with relpolines carries a copy,
//! which keeps its sites, records and chains in its own image, or in mappings that are given back after it (`left.rs`).
//! What concerns the whole process, statistics and switches and code that is about to go, is done to all of them by
//! whichever copy is asked.
//!
//! Copies find each other by an ELF note that leads to the copy's [`Member`], by way of the dynamic linker's list
//! of objects. That needs no exported symbol and knows of objects that were loaded with `RTLD_LOCAL`; it ends at the
//! borders of a `dlmopen` namespace. A copy of another build is none of them: its data may be laid out differently.
//! Tools that edit objects, as patchelf does, move notes and leave what they hold as it was. So the note leads to a mark
//! in the object's constants, which stay where they are, and nothing else is believed.
//!
//! The dynamic linker holds a lock meanwhile, which the child of a fork may find held for ever by a thread that it does
//! not have. So in a forked child each copy is by itself, unless the parent had only one thread (`fork.rs`).

use super::{left, sys};
use crate::options::Mode;
use crate::port::{Port, System};
use crate::runtime::Runtime;
use crate::site::Image;
use core::arch::global_asm;
use core::cell::Cell;
use core::ffi::{c_int, c_void};
use core::ops::{ControlFlow, Deref};
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering};

/// The copy of the executable or shared object that this one was linked into.
pub static OWN: Member = Member::new();

/// One copy: its runtime, and what it knows of the process that it is in.
pub struct Member {
    runtime: Runtime,
    /// What there is to say at the end of the program has been said.
    ended: AtomicBool,
    /// The process that this copy may look for others in; where there is a leader, it knows.
    home: AtomicU32,
    /// The executable's copy, which lasts as long as the process: itself, or another one.
    leader: AtomicPtr<Member>,
    /// What no other copy has at this place, 0 before it is drawn.
    number: AtomicU64,
    /// Of the executable's copy: what those of shared objects have mapped.
    left: left::List,
}

impl Deref for Member {
    type Target = Runtime;

    fn deref(&self) -> &Runtime {
        &self.runtime
    }
}

impl Member {
    const fn new() -> Self {
        Self {
            runtime: Runtime::new(),
            ended: AtomicBool::new(false),
            home: AtomicU32::new(0),
            leader: AtomicPtr::new(core::ptr::null_mut()),
            number: AtomicU64::new(0),
            left: left::List::new(core::ptr::null_mut()),
        }
    }

    /// As [`Runtime::open`], in this process.
    pub fn open(&self, image: Option<Image>, mode: Mode) -> bool {
        self.settle(true);
        self.runtime.open(image, mode)
    }

    /// This process is the copy's home, or it has none.
    pub fn settle(&self, here: bool) {
        self.home.store(if here { sys::process_id() } else { 0 }, Ordering::Relaxed);
    }

    /// Whether this process is where the copy, or its leader, was opened or has settled since.
    fn is_at_home(&self) -> bool {
        let process = sys::process_id();
        // 0 is nobody's home, and what comes of a filter that answers with an error.
        let is_home = |member: &Self| process != 0 && member.home.load(Ordering::Relaxed) == process;
        is_home(self) || self.leader().is_some_and(is_home)
    }

    /// Goes by what `leader` knows.
    ///
    /// # Safety
    /// It is the executable's, which stays as long as the process.
    pub unsafe fn follow(&self, leader: &Self) {
        self.leader.store(core::ptr::from_ref(leader).cast_mut(), Ordering::Release);
    }

    fn leader(&self) -> Option<&'static Self> {
        // SAFETY: it stays as long as the process, said who called `follow`.
        unsafe { self.leader.load(Ordering::Acquire).as_ref() }
    }

    /// The list of what copies have mapped, if there is one that keeps it.
    pub fn left(&self) -> Option<&'static left::List> {
        self.leader().map(|leader| &leader.left)
    }

    /// What stays at this place until the image goes. The caller holds the copy's lock.
    pub fn number(&self) -> &AtomicU64 {
        if self.number.load(Ordering::Relaxed) == 0 {
            self.number.store(System::ticks() | 1, Ordering::Relaxed);
        }
        &self.number
    }

    /// Whether this is the executable's copy, and speaks for the whole process.
    pub fn leads(&self) -> bool {
        self.leader().is_some_and(|leader| core::ptr::eq(leader, self))
    }

    /// Whether [`Member::set_ended`] was called, for this one or its leader.
    pub fn has_ended(&self) -> bool {
        let has_ended = |member: &Self| member.ended.load(Ordering::Relaxed);
        has_ended(self) || self.leader().is_some_and(has_ended)
    }

    /// The program ends, and what there is to say has been said.
    pub fn set_ended(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

/// Name in the note and in the mark, with the NUL and padded.
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
    /// Distance from this field to the mark.
    mark: i32,
    /// Distance from this field to the object's ELF header.
    header: i32,
    build: [u32; 2],
}

/// What says that there is a copy.
#[repr(C)]
struct Mark {
    owner: [u8; 12],
    /// Distance from this field to the [`Member`].
    member: i32,
    build: u64,
}

global_asm!(
    r#"
    .section .note.relpoline,"a",@note
    .p2align 2
    .long {owner_size}, 16, {kind}
    .asciz "relpoline"
    .p2align 2
    .hidden __ehdr_start
    .weak __ehdr_start
    .long .Lrelpoline_mark - .
    .long __ehdr_start - .
    .quad {build}

    .section .rodata.relpoline,"a",@progbits
    .p2align 3
    .hidden {own}
.Lrelpoline_mark:
    .asciz "relpoline"
    .p2align 2
    .long {own} - .
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
    own = sym OWN,
    owner_size = const OWNER_SIZE,
    kind = const TYPE,
    build = const BUILD,
    options(att_syntax)
);

type Callback = extern "C" fn(*const libc::dl_phdr_info, usize, *mut c_void) -> c_int;

unsafe extern "C" {
    fn __relpoline_each_object(callback: Callback, data: *mut c_void) -> c_int;
}

/// Calls `action` with every copy of the process that has been started, or with this one where the others are not
/// known, until it breaks. No object is unloaded meanwhile. Not for signal handlers: the thread may be changing the
/// list just now, or hold its lock.
pub fn each<F: FnMut(&Member) -> ControlFlow<()>>(mut action: F) {
    extern "C" fn object<F: FnMut(&Member) -> ControlFlow<()>>(
        info: *const libc::dl_phdr_info,
        _size: usize,
        action: *mut c_void,
    ) -> c_int {
        // SAFETY: the dynamic linker passes the object's headers, and what `list` gave it.
        let (info, action) = unsafe { (&*info, &mut *action.cast::<F>()) };
        c_int::from(member_of(info).map(action).is_some_and(|flow| flow.is_break()))
    }
    fn list<F: FnMut(&Member) -> ControlFlow<()>>(mut action: F) -> bool {
        // SAFETY: `action` lives until the call returns, and is of the type that `object` takes it for.
        unsafe { __relpoline_each_object(object::<F>, (&raw mut action).cast()) == 1 }
    }
    let visited = Cell::new(false);
    let mut visit = |member: &Member| {
        visited.set(visited.get() || core::ptr::eq(member, &OWN));
        if member.image().is_some() { action(member) } else { ControlFlow::Continue(()) }
    };
    let broken = OWN.is_at_home() && list(&mut visit);
    // Without a dynamic linker there is only this one, and a linker script may have thrown its note away.
    if !broken && !visited.get() {
        let _ = visit(&OWN);
    }
}

/// The copy that an object's note leads to.
fn member_of(info: &libc::dl_phdr_info) -> Option<&'static Member> {
    // SAFETY: the dynamic linker's copy of the object's program headers.
    let headers = unsafe { core::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
    let segments = || headers.iter().filter(|header| header.p_type == libc::PT_LOAD);
    let base = info.dlpi_addr as usize;
    let is_loaded = |start: usize, size: usize| {
        segments().filter(|segment| segment.p_flags & libc::PF_R != 0).any(|segment| {
            let from = start.wrapping_sub(base).checked_sub(segment.p_vaddr as usize);
            from.and_then(|from| from.checked_add(size)).is_some_and(|end| end <= segment.p_memsz as usize)
        })
    };
    let notes = headers.iter().filter(|header| header.p_type == libc::PT_NOTE);
    let starts = notes.filter_map(|header| {
        let start = base.wrapping_add(header.p_vaddr as usize);
        let last = (header.p_memsz as usize).checked_sub(size_of::<Note>())?;
        // Linkers put notes that are padded to four bytes and to eight into one segment, so what stands in front
        // does not tell where a note begins.
        is_loaded(start, header.p_memsz as usize).then(|| (start..=start + last).step_by(4))
    });
    starts.flatten().find_map(|start| {
        // SAFETY: within a segment that is mapped and readable.
        let note: Note = unsafe { core::ptr::read_unaligned(start as *const Note) };
        let build = u64::from(note.build[0]) | u64::from(note.build[1]) << 32;
        if note.owner_size != OWNER_SIZE || note.kind != TYPE || note.owner != OWNER || build != BUILD {
            return None;
        }
        let to = |field: usize, distance: i32| field.wrapping_add_signed(distance as isize);
        let field = start + core::mem::offset_of!(Note, mark);
        let by_itself = to(field, note.mark);
        let behind_header =
            by_itself.wrapping_sub(to(start + core::mem::offset_of!(Note, header), note.header));
        // Where the note was moved; the header began a segment when the object was linked.
        let by_header =
            segments().map(|segment| base.wrapping_add(segment.p_vaddr as usize).wrapping_add(behind_header));
        let mark = core::iter::once(by_itself).chain(by_header).find(|&place| {
            is_loaded(place, size_of::<Mark>())
                && place % align_of::<Mark>() == 0
                // SAFETY: within a segment that is mapped and readable, and aligned.
                && is_ours(unsafe { &*(place as *const Mark) })
        })?;
        // SAFETY: as said.
        let distance = unsafe { &*(mark as *const Mark) }.member;
        let member = to(mark + core::mem::offset_of!(Mark, member), distance);
        // SAFETY: the mark is of this very build, so it leads to a member, which is all atomics or guarded by them,
        // and stays for as long as the object.
        Some(unsafe { &*(member as *const Member) })
    })
}

fn is_ours(mark: &Mark) -> bool {
    mark.owner == OWNER && mark.build == BUILD
}
