//! The patch protocol, model-checked: the real `patch` and `control` run against a port that writes code a byte at a
//! time, and after every byte and every store to data all that any thread could be doing is followed to its end.
//!
//! A thread is where it is (an address), what it calls (a target in `r10`), and what its last compare found. It may be
//! stopped before any instruction for as long as one likes, so every state that was ever reached is kept. A core
//! may have fetched code at any time since it was last synchronised, so a byte that was written since then is the
//! old one or the new one, each for itself. That is every interleaving of one patcher with any number of threads,
//! signal handlers and forked children, and every way in which a write may be torn.
//!
//! What must hold: whoever leaves for a function leaves for the one that it calls; whoever does not takes the slow path
//! of its own site; nobody comes to anything else; and no byte is written of an instruction that a thread may be at.

use crate::control;
use crate::layout::record::State;
use crate::layout::{COMPARE_OPCODE, COMPARE_TAIL, Cell, Form, GATE_TEST, HOT_JUMP, JE, JMP, LEA_OPCODE};
use crate::memory::Arena;
use crate::options::Mode;
use crate::patch::{self, Bodies, FLAG_TEST_OPCODE, JE_SHORT};
use crate::policy::Refusal;
pub use crate::port::user::{Guard, Lock, Symbols};
use crate::port::{CodeWriter, Port, user};
use crate::record::Record;
use crate::site::Site;
use crate::synthetic::{CALL, End, JNE, Synthetic};
use core::ops::Range;
use core::ptr::NonNull;
use core::sync::atomic::Ordering;
use std::boxed::Box;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{self, AssertUnwindSafe};
use std::vec;
use std::vec::Vec;

/// The port of unit tests: that of user space, and the model looks on.
pub struct System;

/// Writes a byte at a time where a model looks on.
pub struct Writer(user::MemFile);

impl Port for System {
    type CodeWriter = Writer;
    type Output = <user::System as Port>::Output;

    const CHUNK: usize = <user::System as Port>::CHUNK;
    const UNDONE: Option<usize> = <user::System as Port>::UNDONE;

    fn map(length: usize) -> Option<NonNull<u8>> {
        user::System::map(length)
    }

    fn map_chunk() -> Option<NonNull<u8>> {
        user::System::map_chunk()
    }

    unsafe fn unmap(start: *mut u8, length: usize) {
        // SAFETY: the caller's promise.
        unsafe { user::System::unmap(start, length) }
    }

    fn data_reserve() -> Range<usize> {
        user::System::data_reserve()
    }

    fn chain_reserve() -> Option<(usize, usize)> {
        user::System::chain_reserve()
    }

    fn map_code(image: Range<usize>, code: usize, data: usize) -> Option<NonNull<u8>> {
        let start = user::System::map_code(image, code, data)?;
        with_model(|model| model.code.push(start.as_ptr() as usize..start.as_ptr() as usize + code));
        Some(start)
    }

    fn write(output: Self::Output, bytes: &[u8]) -> Result<(), i32> {
        user::System::write(output, bytes)
    }

    fn process_id() -> u32 {
        user::System::process_id()
    }

    fn ticks() -> u64 {
        user::System::ticks()
    }

    fn is_lasting(target: u64) -> bool {
        user::System::is_lasting(target)
    }

    fn refused(because: Refusal, site: impl FnOnce() -> usize) {
        user::System::refused(because, site);
    }

    fn open_code() -> Result<Writer, Refusal> {
        step(Refusal::Write)?;
        user::System::open_code().map(Writer)
    }

    fn abandon_code() {
        user::System::abandon_code();
    }

    fn sync_cores() -> Result<(), Refusal> {
        step(Refusal::Sync)?;
        user::System::sync_cores()?;
        with_model(|model| model.stale.clear());
        Ok(())
    }
}

impl CodeWriter for Writer {
    unsafe fn write(&mut self, address: usize, bytes: &[u8]) -> Result<(), Refusal> {
        if MODEL.with_borrow(Option::is_none) {
            // SAFETY: the caller's promise.
            return unsafe { self.0.write(address, bytes) };
        }
        step(Refusal::Stolen)?;
        step(Refusal::Probed)?;
        for (at, byte) in (address..).zip(bytes) {
            step(Refusal::Write)?;
            // SAFETY: likewise.
            let old = unsafe { *(at as *const u8) };
            if old != *byte {
                // SAFETY: likewise.
                unsafe { self.0.write(at, &[*byte])? };
                with_model(|model| model.wrote(at, old));
            }
        }
        Ok(())
    }
}

/// A store to data that threads may be reading has just been made.
pub fn look() {
    with_model(Model::follow);
    moment();
}

fn with_model(action: impl FnOnce(&mut Model)) {
    MODEL.with_borrow_mut(|model| model.as_mut().map(action));
}

/// What unwinds from the moment at which the process forks: the child goes on without the patcher.
struct Forked;

/// A moment at which the process may fork.
fn moment() {
    let forks = MODEL.with_borrow_mut(|model| {
        let Some(model) = model else { return false };
        model.moments += 1;
        model.forks_at == Some(model.moments)
    });
    if forks {
        panic::resume_unwind(Box::new(Forked));
    }
}

/// The system is asked for something. Fails with `refusal` when it is time to.
fn step(refusal: Refusal) -> Result<(), Refusal> {
    moment();
    MODEL.with_borrow_mut(|model| {
        let Some(model) = model else { return Ok(()) };
        model.steps += 1;
        if model.fails_at.contains(&model.steps) { Err(refusal) } else { Ok(()) }
    })
}

std::thread_local! {
    static MODEL: RefCell<Option<Model>> = const { RefCell::new(None) };
}

/// Bytes of a page.
const PAGE: usize = System::UNDONE.unwrap();

/// Bytes of the longest instruction that is looked at.
const INSTRUCTION: usize = 7;

/// Functions lie so far away that more than one byte of a branch changes.
const FUNCTIONS: usize = 1 + patch::TARGETS;

/// What programs call by mistake, and rely on to crash: null, and null that is marked by its highest bit.
const NO_TARGETS: [u64; 2] = [0, 1 << 63];

/// What a thread may be doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Thread {
    at: usize,
    target: u64,
    /// The zero flag.
    equal: bool,
    /// The cell that the slow path is told, 0 before it is.
    cell: usize,
}

struct Model {
    /// Calls that begin.
    starts: BTreeSet<Thread>,
    /// Everything that any thread may be doing now.
    threads: BTreeSet<Thread>,
    /// Bytes written since the cores were synchronised, and what stood there before.
    stale: BTreeMap<usize, Vec<u8>>,
    /// Where code is: of the image, and of chains.
    code: Vec<Range<usize>>,
    functions: Range<usize>,
    slow: usize,
    cell: usize,
    /// What the system was asked for so far, and what it refuses.
    steps: usize,
    fails_at: BTreeSet<usize>,
    /// Moments that have passed, and the one at which the process forks.
    moments: usize,
    forks_at: Option<usize>,
}

impl Model {
    fn has_forked(&self) -> bool {
        self.forks_at.is_some_and(|moment| moment <= self.moments)
    }

    fn wrote(&mut self, at: usize, old: u8) {
        self.stale.entry(at).or_default().push(old);
        let near = self.threads.iter().filter(|thread| (at - INSTRUCTION + 1..=at).contains(&thread.at));
        for thread in near {
            for code in self.fetched(thread.at) {
                assert!(thread.at + length(&code) <= at, "WRONG CALL: {at:#x} is written under a thread");
            }
        }
    }

    fn follow(&mut self) {
        self.run(self.threads.iter().copied().collect());
    }

    /// Runs threads by every instruction that they may see, until nothing new comes of it.
    fn run(&mut self, mut work: Vec<Thread>) {
        while let Some(thread) = work.pop() {
            for code in self.fetched(thread.at) {
                let next = self.next(thread, &code);
                work.extend(next.filter(|&next| self.threads.insert(next)));
            }
        }
    }

    /// The bytes of the instruction at `at`, as cores may see them.
    fn fetched(&self, at: usize) -> Vec<[u8; INSTRUCTION]> {
        if at == self.slow || self.functions.contains(&at) {
            return vec![[0; INSTRUCTION]];
        }
        let known = self.code.iter().any(|code| code.contains(&at));
        assert!(known, "WRONG CALL: came to {at:#x}");
        // SAFETY: code of the image or of a chain; more than an instruction is mapped behind either.
        let now: [u8; INSTRUCTION] =
            core::array::from_fn(|byte| unsafe { ((at + byte) as *const u8).read_volatile() });
        let mut all = vec![now];
        for (&place, old) in self.stale.range(at..at + now.len()) {
            let known = all.clone();
            for byte in old {
                all.extend(known.iter().map(|code| {
                    let mut code = *code;
                    code[place - at] = *byte;
                    code
                }));
            }
        }
        all
    }

    /// What comes of an instruction. A compare may still see what its operand was a moment ago; that moment has been
    /// looked at.
    fn next(&self, thread: Thread, code: &[u8; INSTRUCTION]) -> Option<Thread> {
        let Thread { at, target, equal, cell } = thread;
        if at == self.slow {
            assert_eq!(cell, self.cell, "the slow path of another site");
            return None;
        }
        if self.functions.contains(&at) {
            assert_eq!(at as u64, target, "WRONG CALL");
            return None;
        }
        let leads_to = |field: usize, length: usize| {
            let distance = i32::from_le_bytes(code[field..field + 4].try_into().unwrap());
            (at + length).wrapping_add_signed(distance as isize)
        };
        let behind = at + length(code);
        let short = |taken: bool| behind + if taken { usize::from(code[1]) } else { 0 };
        Some(match code {
            [a, b, c, ..] if [*a, *b, *c] == COMPARE_OPCODE => {
                // SAFETY: the cell or the slot that the instruction names.
                let slot = unsafe { (leads_to(3, 7) as *const u64).read_volatile() };
                Thread { at: behind, equal: slot == target, ..thread }
            }
            [a, b, .., mask] if [*a, *b] == FLAG_TEST_OPCODE => {
                // SAFETY: likewise.
                let flags = unsafe { (leads_to(2, 7) as *const u8).read_volatile() };
                Thread { at: behind, equal: flags & mask == 0, ..thread }
            }
            [a, b, c, ..] if [*a, *b, *c] == LEA_OPCODE => {
                Thread { at: behind, cell: leads_to(3, 7), ..thread }
            }
            code if code.starts_with(&GATE_TEST) => {
                let [.., offset, mask] = GATE_TEST;
                // SAFETY: likewise: the thread comes from the instruction that loads the cell's address.
                let flags = unsafe { ((cell + usize::from(offset)) as *const u8).read_volatile() };
                Thread { at: behind, equal: flags & mask == 0, ..thread }
            }
            [a, b, ..] if [*a, *b] == JNE => {
                Thread { at: if equal { behind } else { leads_to(2, 6) }, ..thread }
            }
            [a, b, ..] if [*a, *b] == JE => {
                Thread { at: if equal { leads_to(2, 6) } else { behind }, ..thread }
            }
            [a, ..] if *a == COMPARE_TAIL[0] => Thread { at: short(!equal), ..thread },
            [a, ..] if *a == JE_SHORT => Thread { at: short(equal), ..thread },
            [CALL | JMP, ..] => Thread { at: leads_to(1, 5), ..thread },
            [a, b, ..] if [*a, *b] == HOT_JUMP => {
                Thread { at: behind.wrapping_add_signed(*b as i8 as isize), ..thread }
            }
            other => panic!("WRONG CALL: of {target:#x}, came to {other:02x?} at {at:#x}"),
        })
    }
}

/// Bytes of an instruction; where it is none that is known, as many as an instruction may have.
fn length(code: &[u8; INSTRUCTION]) -> usize {
    match code {
        [a, b, ..] if [*a, *b] == JNE || [*a, *b] == JE => 6,
        [a, ..] if [COMPARE_TAIL[0], JE_SHORT, HOT_JUMP[0]].contains(a) => 2,
        [CALL | JMP, ..] => 5,
        code if code.starts_with(&GATE_TEST) => GATE_TEST.len(),
        _ => INSTRUCTION,
    }
}

/// What may be done to a site.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Act {
    /// The target of this number gets a branch, or its branch is opened.
    Open(usize),
    /// All branches are closed, as when the site learns anew.
    Close,
    /// The code of the target of this number goes, and once nobody is at a branch any more, its branch is free for
    /// others: what only the kernel can do.
    Gone(usize),
    /// The first half of that.
    Going(usize),
    /// The second half.
    Recycle,
    Off,
    On,
    /// The page of code of this number is what it was when it was emitted.
    Undo(usize),
}

/// A site with a model that looks on.
struct Watched {
    emitted: Synthetic,
    record: &'static Record,
    arena: Arena,
    bodies: Bodies,
    targets: Vec<u64>,
    /// The site was refused for good: nothing more is written.
    given_up: bool,
    /// Targets that are going and that branches lead to: none is opened.
    going: Vec<u64>,
    /// The image's code as it was emitted, page by page.
    pages: Vec<Vec<u8>>,
    /// Pages are as they were emitted, though branches may have been written since.
    undone: bool,
    /// Where the site lies on its pages: with a gap, copies may lie across two.
    gap: usize,
}

impl Watched {
    fn new(form: Form, targets: usize, fails_at: Option<usize>) -> Self {
        Self::with_gap(form, targets, fails_at, 0)
    }

    fn with_gap(form: Form, targets: usize, fails_at: Option<usize>, gap: usize) -> Self {
        let copies = if form == Form::Inline { 2 } else { 1 };
        let emitted = Synthetic::with_gap(&[(form, copies)], FUNCTIONS, gap);
        let (start, length) = (emitted.image.base as *const u8, emitted.image.text.len());
        // SAFETY: mapped, and read only.
        let code = unsafe { core::slice::from_raw_parts(start, length) };
        let pages = code.chunks(PAGE).map(<[u8]>::to_vec).collect();
        let site = emitted.image.sites().next().unwrap();
        let mut arena = Arena::after_fork();
        // SAFETY: zeroed memory, a valid record.
        let record: &Record = unsafe { arena.take::<Record>().unwrap().as_ref() };
        let cell = core::ptr::from_ref(emitted.cell(&site)).cast_mut();
        record.cell.store(cell, Ordering::Relaxed);
        let targets = emitted.functions()[..targets].to_vec();
        watch(&emitted, &targets, fails_at);
        Self {
            emitted,
            record,
            arena,
            bodies: Bodies::after_fork(),
            targets,
            given_up: false,
            going: Vec::new(),
            pages,
            undone: false,
            gap,
        }
    }

    /// As `Runtime::place` does it.
    fn place(&mut self, target: u64) -> Result<(), Refusal> {
        let image = &self.emitted.image;
        let inline = self.record.inline.load(Ordering::Relaxed);
        let cell = self.record.cell();
        if inline == target {
            // SAFETY: there is no other thread.
            unsafe { patch::reopen(self.record) };
            return Ok(());
        }
        if inline == 0 {
            // SAFETY: likewise; see below for a call that fails.
            match unsafe { patch::promote(image, &mut image.sites(), cell, target) } {
                Ok(()) => {
                    self.record.inline.store(target, Ordering::Relaxed);
                    self.record.inline_open.store(true, Ordering::Relaxed);
                    return Ok(());
                }
                Err(Refusal::Split) => {}
                Err(refusal) => return Err(refusal),
            }
        }
        let site = image.sites().next().unwrap();
        // SAFETY: likewise.
        unsafe { patch::extend(image, &site, self.record, target, &mut self.arena, &mut self.bodies) }
            .map(drop)
    }

    fn act(&mut self, act: Act) {
        match act {
            // What is off or given up is not placed.
            Act::Open(target) if !self.given_up && !self.is_off() && self.going.is_empty() => {
                let target = self.targets[target];
                match self.place(target) {
                    Ok(()) => {
                        assert!(self.undone || self.reaches(target), "{act:?}: no call comes to the target")
                    }
                    Err(refusal) => self.given_up = refusal.is_final(),
                }
            }
            Act::Open(_) => {}
            Act::Close if self.is_off() => {}
            // SAFETY: there is no other thread.
            Act::Close => unsafe { patch::close(self.record) },
            Act::Gone(_) if self.is_off() || self.given_up => {}
            Act::Gone(target) => {
                self.going(self.targets[target]);
                self.recycle();
            }
            Act::Going(target) => self.going(self.targets[target]),
            Act::Recycle => self.recycle(),
            Act::Off => control::close(self.record),
            Act::On => {
                control::open(self.record, true);
            }
            Act::Undo(page) => self.undo(page),
        }
    }

    /// The system drops a page of code, whatever threads are there, and it is read from its file again. Cores see all
    /// of it then, or nothing.
    fn undo(&mut self, page: usize) {
        let at = self.emitted.image.base + page * PAGE;
        let mut writer = user::System::open_code().unwrap();
        // SAFETY: nobody really executes this code.
        unsafe { writer.write(at, &self.pages[page]).unwrap() };
        self.undone = true;
        look();
    }

    /// As `Runtime::forget_code` does it.
    fn going(&mut self, target: u64) {
        // SAFETY: there is no other thread.
        if !unsafe { patch::mark_stale(self.record, &(target..target + 1)) } {
            return;
        }
        self.going.push(target);
        let is_off = self.is_off();
        // SAFETY: likewise.
        unsafe { patch::close(self.record) };
        if is_off && !self.given_up {
            self.record.state.store(State::Learning as u8, Ordering::Relaxed);
            control::close(self.record);
        }
    }

    /// As `Runtime::recycle` does it.
    fn recycle(&mut self) {
        let gone = core::mem::take(&mut self.going);
        if gone.is_empty() {
            return;
        }
        // The grace period: whoever was anywhere has left, and only new calls begin.
        with_model(|model| model.threads = model.starts.clone());
        with_model(Model::follow);
        let image = &self.emitted.image;
        // SAFETY: there is no other thread; nobody is in front of a branch that was closed.
        if let Err(refusal) = unsafe { patch::recycle(image, image.sites(), self.record) } {
            let refused = MODEL.with_borrow(|model| !model.as_ref().unwrap().fails_at.is_empty());
            assert!(refused || self.given_up, "{refusal:?}");
            // SAFETY: likewise.
            unsafe { patch::close(self.record) };
            self.given_up |= refusal.is_final();
            return;
        }
        // SAFETY: likewise.
        let leads_to = |&target: &u64| unsafe { patch::mark_stale(self.record, &(target..target + 1)) };
        assert!(!gone.iter().any(leads_to), "a branch leads to code that has gone");
    }

    /// As [`Watched::act`]. Where the process forks meanwhile, the child goes on as `Runtime::recover` has it do.
    fn act_or_fork(&mut self, act: Act) {
        let result = panic::catch_unwind(AssertUnwindSafe(|| self.act(act)));
        if let Err(cause) = result {
            if !cause.is::<Forked>() {
                panic::resume_unwind(cause);
            }
            (self.arena, self.bodies) = (Arena::after_fork(), Bodies::after_fork());
            if matches!(act, Act::Open(_)) {
                // SAFETY: there is no other thread.
                unsafe { patch::close(self.record) };
            }
            self.given_up |= matches!(act, Act::Open(_) | Act::Recycle);
        }
    }

    fn is_off(&self) -> bool {
        self.record.state() == State::Off
    }

    /// Whether a call of `target` that begins now, at some copy of the site, comes to it by direct branches.
    fn reaches(&self, target: u64) -> bool {
        let copies = self.emitted.image.sites();
        let mut reach = copies.map(|site| self.emitted.call(&site, target, || {}) == End::Function(target));
        let first = reach.next().unwrap();
        let any = first | reach.fold(false, |any, reaches| any | reaches);
        // Copies are written in turn: where the first one was not, for all that it could be, no other is open.
        assert!(first == any || self.gap != 0, "only a later copy comes to {target:#x}");
        any
    }
}

/// Has a model look on while something is done to the sites of an image, which share one cell, and which threads call
/// with these targets.
pub fn watch(emitted: &Synthetic, targets: &[u64], fails_at: Option<usize>) {
    let cell = emitted.image.sites().next().unwrap().cell();
    let starts = emitted.image.sites().flat_map(|site| [site.compare(), site.stub_cold()]);
    let starts: BTreeSet<Thread> = starts
        .flat_map(|at| {
            let called = targets.iter().copied().chain(NO_TARGETS);
            called.map(move |target| Thread { at, target, equal: false, cell: 0 })
        })
        .collect();
    let model = Model {
        threads: starts.clone(),
        starts,
        stale: BTreeMap::new(),
        code: vec![emitted.image.text.clone()],
        functions: emitted.function_range(),
        slow: emitted.slow(),
        cell,
        steps: 0,
        fails_at: fails_at.into_iter().collect(),
        moments: 0,
        forks_at: None,
    };
    MODEL.set(Some(model));
    look();
}

/// It has seen enough.
pub fn unwatch() {
    MODEL.set(None);
}

impl Drop for Watched {
    fn drop(&mut self) {
        MODEL.set(None);
        // SAFETY: only this value knew of the image.
        unsafe { self.emitted.unmap() };
    }
}

/// Every sequence of `length` acts.
fn sequences(acts: &[Act], length: u32) -> impl Iterator<Item = Vec<Act>> + '_ {
    let count = acts.len().pow(length);
    (0..count).map(move |number| {
        (0..length).map(|place| acts[number / acts.len().pow(place) % acts.len()]).collect()
    })
}

const ACTS: [Act; 6] = [Act::Open(0), Act::Open(1), Act::Open(2), Act::Close, Act::Off, Act::On];

/// Sequences of acts that are made by chance, and the length of each.
const SEQUENCES: u64 = 200;
const ACTS_OF_ONE: usize = 24;

#[test]
fn no_sequence_of_acts_ever_makes_a_wrong_call() {
    for form in [Form::Inline, Form::Stub] {
        for acts in sequences(&ACTS, 4) {
            let mut site = Watched::new(form, 3, None);
            acts.iter().for_each(|&act| site.act(act));
        }
    }
}

#[test]
fn nor_does_a_site_that_is_turned_off_before_it_first_runs() {
    for form in [Form::Inline, Form::Stub] {
        for mode in [Mode::Off, Mode::Freeze] {
            let mut site = Watched::new(form, 2, None);
            for mode in [mode, Mode::On] {
                control::switch_idle(site.record.cell(), mode);
                look();
            }
            site.act(Act::Open(0));
            site.act(Act::Open(1));
        }
    }
}

#[test]
fn nor_does_one_in_which_code_goes() {
    const ACTS: [Act; 6] = [Act::Open(0), Act::Open(1), Act::Open(2), Act::Gone(0), Act::Gone(1), Act::Close];
    for form in [Form::Inline, Form::Stub] {
        for acts in sequences(&ACTS, 4) {
            let mut site = Watched::new(form, 3, None);
            acts.iter().for_each(|&act| site.act(act));
        }
    }
}

/// Wherever the border of two pages lies in a site's code, and whichever of them goes back to what it was.
#[test]
fn nor_does_one_of_which_half_is_undone() {
    const RUNS: [&[Act]; 6] = [
        &[Act::Open(0), Act::Open(1), Act::Undo(0)],
        &[Act::Open(0), Act::Open(1), Act::Undo(1)],
        &[Act::Open(0), Act::Undo(0), Act::Open(1), Act::Undo(1)],
        &[Act::Open(1), Act::Undo(1), Act::Open(0), Act::Undo(0)],
        &[Act::Open(0), Act::Open(1), Act::Close, Act::Undo(0), Act::Open(1), Act::Open(0)],
        &[Act::Open(0), Act::Open(1), Act::Off, Act::Undo(1), Act::On],
    ];
    for form in [Form::Inline, Form::Stub] {
        let site = Watched::new(form, 1, None);
        let (start, end) = (site.emitted.function_range().end, site.emitted.image.text.end);
        drop(site);
        let mut without_inline_branch = 0;
        for border in start + 1..end {
            for acts in RUNS {
                let mut site = Watched::with_gap(form, 2, None, PAGE - border % PAGE);
                acts.iter().for_each(|&act| site.act(act));
                without_inline_branch += usize::from(site.record.inline.load(Ordering::Relaxed) == 0);
            }
        }
        // Of two copies one is enough.
        assert_eq!(without_inline_branch, if form == Form::Inline { 0 } else { 3 * RUNS.len() });
    }
}

#[test]
#[should_panic(expected = "WRONG CALL")]
fn the_model_sees_a_branch_that_is_led_elsewhere_without_a_grace_period() {
    let mut site = Watched::new(Form::Inline, 2, None);
    site.act(Act::Open(0));
    let target = site.targets[0];
    // SAFETY: there is no other thread; nobody has waited for those that may be in front of the branch.
    unsafe {
        patch::mark_stale(site.record, &(target..target + 1));
        patch::close(site.record);
        patch::recycle(&site.emitted.image, site.emitted.image.sites(), site.record).unwrap();
    }
    site.act(Act::Open(1));
}

#[test]
fn nor_does_one_that_is_refused_at_any_step() {
    const ACTS: [Act; 6] = [Act::Open(0), Act::Open(1), Act::Gone(0), Act::Close, Act::Off, Act::On];
    for form in [Form::Inline, Form::Stub] {
        for acts in [
            [Act::Open(0), Act::Open(1)],
            [Act::Open(0), Act::Close],
            [Act::Open(1), Act::Open(1)],
            [Act::Open(0), Act::Gone(0)],
        ] {
            let steps = {
                let mut site = Watched::new(form, 2, None);
                acts.iter().for_each(|&act| site.act(act));
                MODEL.with_borrow(|model| model.as_ref().unwrap().steps)
            };
            assert!(steps > 5);
            for fails_at in 1..=steps {
                for then in sequences(&ACTS, 2) {
                    let mut site = Watched::new(form, 2, Some(fails_at));
                    acts.iter().chain(&then).for_each(|&act| site.act(act));
                }
            }
        }
    }
}

#[test]
fn a_copy_that_somebody_else_may_run_as_it_was_closes_the_site_for_all() {
    let refused_at = |fails_at| {
        let mut site = Watched::new(Form::Inline, 1, Some(fails_at));
        let result = site.place(site.targets[0]);
        assert_eq!(result.is_ok(), site.reaches(site.targets[0]), "{result:?}");
        result
    };
    let results = (1..40).map(refused_at);
    assert_eq!(results.filter(|&result| result == Err(Refusal::Probed)).count(), 2);
}

#[test]
fn nor_does_a_chain_of_all_bodies() {
    const ALL: usize = patch::TARGETS;
    let mut site = Watched::new(Form::Inline, ALL + 1, None);
    (0..ALL).for_each(|target| site.act(Act::Open(target)));
    assert_eq!(site.place(site.targets[ALL]), Err(Refusal::Full));
    site.act(Act::Close);
    for target in (0..ALL).rev().step_by(5) {
        site.act(Act::Open(target));
    }
    site.act(Act::Off);
    assert!(site.targets.iter().all(|&target| !site.reaches(target)));
    site.act(Act::On);
    assert!(site.reaches(site.targets[ALL - 1]));
    // Where code goes there is room for others.
    site.act(Act::Gone(1));
    site.act(Act::Open(ALL));
    assert!(!site.given_up && site.reaches(site.targets[ALL]));
}

#[test]
fn nor_does_a_chain_that_is_emptied_from_a_body_or_the_next_one_on() {
    const ALL: usize = 1 + 2 * patch::LINKS + 1;
    for gone in 1..ALL {
        let mut site = Watched::new(Form::Inline, ALL + 1, None);
        (0..ALL).for_each(|target| site.act(Act::Open(target)));
        site.act(Act::Gone(gone));
        assert!(site.targets.iter().all(|&target| !site.reaches(target)));
        // Nor is the way to an empty chain opened.
        [Act::Off, Act::On].into_iter().for_each(|act| site.act(act));
        // Those in front of it have kept their links, the others get new ones, in another order.
        (1..=ALL).rev().for_each(|target| site.act(Act::Open(target)));
        site.act(Act::Gone(ALL));
        site.act(Act::Open(gone));
    }
}

#[test]
#[should_panic(expected = "WRONG CALL")]
fn the_model_sees_a_branch_that_is_opened_too_early() {
    let site = Watched::new(Form::Inline, 2, None);
    let (cell, image): (&Cell, _) = (site.record.cell(), &site.emitted.image);
    let row: Site = image.sites().next().unwrap();
    let mut writer = System::open_code().unwrap();
    // SAFETY: nobody really executes this code.
    unsafe {
        patch::write_inline(&mut writer, image, &mut core::iter::once(row), cell, site.targets[0]).unwrap()
    };
    // The cores have not been synchronised, and another target is let in.
    cell.hot.store(site.targets[1], Ordering::Release);
    look();
}

#[test]
#[should_panic(expected = "WRONG CALL")]
fn the_model_sees_a_core_that_was_not_synchronised() {
    let site = Watched::new(Form::Inline, 2, None);
    let (cell, image): (&Cell, _) = (site.record.cell(), &site.emitted.image);
    let row: Site = image.sites().next().unwrap();
    let mut writer = System::open_code().unwrap();
    // SAFETY: nobody really executes this code.
    unsafe {
        patch::write_inline(&mut writer, image, &mut core::iter::once(row), cell, site.targets[0]).unwrap()
    };
    cell.hot.store(site.targets[0], Ordering::Release);
    // Some bytes of the branch are old, some new.
    look();
}

/// Acts, refusals and a fork, by chance: many more than can be tried in every order.
#[test]
fn nor_do_many_acts_with_several_refusals_and_a_fork() {
    const TARGETS: usize = 1 + 2 * patch::LINKS + 2;
    for seed in 1..=SEQUENCES {
        let mut state = seed;
        let mut random = |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 16) as usize % below
        };
        let form = [Form::Inline, Form::Stub][random(2)];
        let mut site = Watched::new(form, TARGETS, None);
        let refused: Vec<usize> = (0..random(4)).map(|_| 1 + random(120)).collect();
        let forks_at = (random(3) == 0).then(|| 2 + random(150));
        with_model(|model| (model.fails_at, model.forks_at) = (refused.into_iter().collect(), forks_at));
        let mut open = BTreeSet::new();
        for _ in 0..ACTS_OF_ONE {
            let act = match random(16) {
                0 => Act::Close,
                1 => Act::Off,
                2 | 3 => Act::On,
                4 => Act::Going(random(TARGETS)),
                5 | 6 => Act::Recycle,
                _ => Act::Open(random(TARGETS)),
            };
            let was_closed = site.is_off() || !site.going.is_empty() || site.given_up;
            site.act_or_fork(act);
            match act {
                Act::Open(target) if !was_closed => drop(open.insert(target)),
                Act::Close if !site.is_off() => open.clear(),
                Act::Going(_) if !site.going.is_empty() => open.clear(),
                _ => {}
            }
            // A fork may find everything half closed; off and on opens it again.
            if MODEL.with_borrow(|model| model.as_ref().is_some_and(Model::has_forked)) {
                continue;
            }
            // What was not opened since everything was closed is closed.
            for (number, &target) in site.targets.iter().enumerate() {
                assert!(
                    !site.reaches(target) || open.contains(&number) && !site.is_off(),
                    "{act:?}: {number}"
                );
            }
        }
    }
}
