//! The core under threads: what the slow path does, in Rust, so that ThreadSanitizer sees it, and calls that follow
//! the branches as they are at the moment. No call may come to another function than it asked for.

use super::*;
use crate::layout::{COMPARE_OPCODE, Form, GATE_CHAIN};
use crate::model;
use crate::policy::{MISS_LIMIT, Pace};
use crate::port::CodeWriter;
use crate::synthetic::{End, Synthetic};
use core::ops::Deref;
use core::sync::atomic::AtomicUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::vec::Vec;

const THREADS: usize = 8;
const CALLS: usize = 30_000;
/// Calls of a thread for which the targets of a site stay the same.
const PHASE: usize = 3000;
const FUNCTIONS: usize = 96;
/// One call of so many lingers between a compare that matched and the branch behind it.
const LINGER: usize = 512;
/// How often it lets others run.
const PATIENCE: usize = 100;
/// Calls of all threads between two acts of a thread that controls.
const ROUND: usize = 3_000;
/// Targets that sites have at a time, in turn.
const WIDTHS: [usize; 5] = [1, 2, 5, 12, 40];

/// A runtime that is used by one test at a time: all share the lock of the process.
struct Alone {
    runtime: Runtime,
    _turn: MutexGuard<'static, ()>,
}

impl Deref for Alone {
    type Target = Runtime;

    fn deref(&self) -> &Runtime {
        &self.runtime
    }
}

/// A runtime that takes nothing of what the image reserves: there is one reserve, and there are several tests.
fn runtime(image: &Image) -> Alone {
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let guarded = UnsafeCell::new(Guarded::after_fork());
    let runtime = Runtime { guarded, ..Runtime::new() };
    assert!(runtime.open(Some(image.clone()), Mode::On));
    Alone { runtime, _turn: turn }
}

/// The steps of `__relpoline_slow`, with the same plain loads and stores: counts of two threads may be lost.
fn slow_path(runtime: &Runtime, cell: &Cell, target: u64) {
    // Acquire: the loads and stores through the pointer depend on it, which x86 keeps in order.
    let gate = cell.gate.load(Ordering::Acquire);
    // SAFETY: it was read from a cell.
    let record = unsafe { Record::of_gate(gate) };
    let Some(record) = record else {
        if gate & GATE_QUIET == 0 {
            runtime.first_call(cell);
        }
        return;
    };
    if gate & GATE_QUIET != 0 {
        let left = record.rest.load(Ordering::Relaxed).wrapping_sub(1);
        record.rest.store(left, Ordering::Relaxed);
        if left < 0 {
            runtime.limit_reached(record);
        }
        return;
    }
    let way = (0..WAYS).find(|&way| {
        let place = &record.targets[way];
        match place.load(Ordering::Relaxed) {
            0 => {
                let claimed = place.compare_exchange(0, target, Ordering::Relaxed, Ordering::Relaxed);
                claimed.map_or_else(|seen| seen == target, |_| true)
            }
            seen => seen == target,
        }
    });
    let count = &record.counts[way.unwrap_or(WAYS)];
    let counted = count.load(Ordering::Relaxed).wrapping_add(1);
    count.store(counted, Ordering::Relaxed);
    if counted >= 0 {
        runtime.limit_reached(record);
    }
}

/// One call: whether direct branches led to the target. Else the slow path has counted it, and its retpoline leads
/// there.
fn call(runtime: &Runtime, emitted: &Synthetic, site: &Site, target: u64, linger: bool) -> bool {
    // Between a compare and its branch lies what must not be patched: others are given the time to do it.
    let passed = || {
        if linger {
            (0..PATIENCE).for_each(|_| thread::yield_now());
        }
    };
    match emitted.call(site, target, passed) {
        End::Function(reached) => {
            assert_eq!(reached, target, "a call came to a wrong function");
            true
        }
        End::Slow(cell) => {
            assert_eq!(cell, site.cell(), "a call came to another site's slow path");
            slow_path(runtime, emitted.cell(site), target);
            false
        }
    }
}

/// A reproducible sequence (xorshift64).
fn random(state: &mut u64) -> usize {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    (*state >> 16) as usize
}

/// Turns everything, and single sites, off and on, has all learn anew, and some of the code go, again and again while
/// `calls` grows.
fn control(runtime: &Runtime, calls: &AtomicUsize, functions: &[u64]) {
    let mut next = 0;
    let mut wait = || {
        next += ROUND;
        while next <= THREADS * CALLS && calls.load(Ordering::Relaxed) < next {
            thread::yield_now();
        }
        next <= THREADS * CALLS
    };
    while wait() {
        until_free(|| runtime.set_sites(false, |site| site.line() % 3 == 0));
        wait();
        until_free(|| runtime.set_sites(true, |site| site.line() % 3 == 0));
        wait();
        until_free(|| runtime.relearn_all());
        wait();
        // They are called all the same: it is as if others came to their places at once.
        until_free(|| runtime.forget_code(&(functions[0]..functions[FUNCTIONS / 8]), 0));
        wait();
        until_free(|| runtime.set_mode(Mode::Off).then_some(()));
        thread::yield_now();
        until_free(|| runtime.set_mode(Mode::On).then_some(()));
    }
}

/// Tries until no other thread patches.
fn until_free<T>(mut action: impl FnMut() -> Option<T>) -> T {
    loop {
        match action() {
            Some(result) => return result,
            None => thread::yield_now(),
        }
    }
}

#[test]
fn threads_call_sites_that_are_decided_switched_and_relearned() {
    let forms: Vec<(Form, usize)> = (0..20)
        .map(|site| if site % 4 == 3 { (Form::Stub, 1) } else { (Form::Inline, 1 + site % 3) })
        .collect();
    let emitted = Synthetic::new(&forms, FUNCTIONS);
    let runtime = runtime(&emitted.image);
    let (sites, functions): (Vec<Site>, _) = (emitted.image.sites().collect(), emitted.functions());
    let calls = AtomicUsize::new(0);
    let caller = |seed: usize| {
        let mut state = seed as u64 + 1;
        let mut fast = 0;
        for step in 0..CALLS {
            let site = &sites[random(&mut state) % sites.len()];
            // All copies of a site have the same targets.
            let number = site.cell() / size_of::<Cell>();
            let first = number * 7 + step / PHASE * 3;
            let target = functions[(first + random(&mut state) % WIDTHS[number % WIDTHS.len()]) % FUNCTIONS];
            let linger = random(&mut state).is_multiple_of(LINGER);
            fast += usize::from(call(&runtime, &emitted, site, target, linger));
            calls.fetch_add(1, Ordering::Relaxed);
        }
        fast
    };
    let fast: usize = thread::scope(|scope| {
        (0..2).for_each(|_| drop(scope.spawn(|| control(&runtime, &calls, &functions))));
        let callers: Vec<_> = (0..THREADS).map(|seed| scope.spawn(move || caller(seed))).collect();
        let ends: Vec<_> = callers.into_iter().map(|thread| thread.join()).collect();
        // Where a caller has failed, nobody must wait for its calls.
        calls.store(usize::MAX, Ordering::Relaxed);
        ends.into_iter().map(Result::unwrap).sum()
    });
    assert!(fast > 0);
    assert!(runtime.relearns() > 0);
    assert!(runtime.written() > forms.len() as u64, "{} branches written", runtime.written());
    assert!(runtime.records().any(|record| !record.chain.load(Ordering::Relaxed).is_null()));

    // Nobody else is at work now: every site settles on one target, for which its inline branch was written if it was.
    let written = runtime.written();
    assert!(runtime.set_mode(Mode::On));
    runtime.set_sites(true, |_| true).unwrap();
    assert_eq!(runtime.relearn_all(), Some(true));
    let settled = |site: &Site, target| call(&runtime, &emitted, site, target, false);
    for record in runtime.records() {
        assert!(!record.refusal().is_final(), "{}", record.refusal().explain());
        let address = record.cell.load(Ordering::Relaxed) as usize;
        let inline = record.inline.load(Ordering::Relaxed);
        let target = if inline == 0 { functions[0] } else { inline };
        for site in sites.iter().filter(|site| site.cell() == address) {
            let learning = (0..=LEARN_LIMIT).filter(|_| !settled(site, target)).count();
            assert!(learning <= LEARN_LIMIT as usize && settled(site, target));
            assert_eq!(record.cell().gate.load(Ordering::Relaxed) & GATE_CHAIN, 0);
        }
    }
    assert!(runtime.written() - written < runtime.records().count() as u64, "branches are opened again");
}

#[test]
fn a_target_that_finds_no_room_does_not_keep_others_from_their_branches() {
    let emitted = Synthetic::new(&[(Form::Inline, 1)], FUNCTIONS);
    let runtime = runtime(&emitted.image);
    let (site, functions) = (emitted.image.sites().next().unwrap(), emitted.functions());
    // The first call makes the record, the last one is to be fast.
    let settles = |target| (0..LEARN_LIMIT + 2).any(|_| call(&runtime, &emitted, &site, target, false));
    let placed = functions
        .iter()
        .take_while(|&&target| {
            assert_eq!(runtime.relearn_all(), Some(true));
            settles(target)
        })
        .count();
    assert!(placed < FUNCTIONS, "the site has taken every target");

    assert_eq!(runtime.relearn_all(), Some(true));
    let (old, new) = (functions[placed - 1], functions[placed]);
    // At first from a few calls, then from as many as it takes to see what a site without room rests with.
    for _ in 0..=LEARN_LIMIT + Pace::default().survey() {
        for target in [new, new, old] {
            call(&runtime, &emitted, &site, target, false);
        }
    }
    assert!(!call(&runtime, &emitted, &site, new, false));
    assert!(call(&runtime, &emitted, &site, old, false));
    assert_eq!(runtime.records().next().unwrap().refusal(), Refusal::Full);
}

#[test]
fn sites_begin_promoted_unless_the_process_was_turned_off_or_frozen_meanwhile() {
    for (mode, expected) in [(Mode::On, true), (Mode::Freeze, false), (Mode::Off, false)] {
        let emitted = Synthetic::new(&[(Form::Inline, 2), (Form::Stub, 1)], 3);
        let runtime = runtime(&emitted.image);
        assert!(runtime.set_mode(mode));
        let functions = emitted.functions();
        let mut targets = [0; WAYS];
        targets[..2].copy_from_slice(&functions[..2]);
        let known = emitted.image.sites().map(|site| Known { site, targets });
        assert_eq!(runtime.begin_with(known) > 0, expected, "{mode:?}");
        for site in emitted.image.sites() {
            assert!((0..2).all(|way| call(&runtime, &emitted, &site, functions[way], false) == expected));
            assert!(!call(&runtime, &emitted, &site, functions[2], false));
        }
    }
}

#[test]
fn no_branch_is_opened_before_those_to_code_that_has_gone_are_free() {
    for gone in 0..3 {
        let emitted = Synthetic::new(&[(Form::Inline, 2)], 4);
        let runtime = runtime(&emitted.image);
        let (site, functions) = (emitted.image.sites().next().unwrap(), emitted.functions());
        // Whether calls of each of these are fast at last.
        let settle = |targets: &[u64]| {
            for _ in 0..4 * LEARN_LIMIT {
                for &target in targets {
                    call(&runtime, &emitted, &site, target, false);
                }
            }
            targets.iter().filter(|&&target| call(&runtime, &emitted, &site, target, false)).count()
        };
        assert_eq!(settle(&functions[..3]), 3);
        let code = functions[gone]..functions[gone] + 1;
        assert_eq!(runtime.forget_code(&code, 7), Some(1));
        assert_eq!(settle(&functions), 0, "somebody may still be in front of the branches");
        // Off and on is no way around it, nor is learning anew.
        assert!(runtime.set_mode(Mode::Off) && runtime.set_mode(Mode::On));
        assert_eq!(runtime.relearn_all(), Some(true));
        assert_eq!(settle(&functions), 0);
        // SAFETY: there is no other thread. What has gone later than this is not free yet.
        unsafe { runtime.recycle(6, true) };
        assert_eq!(settle(&functions), 0);
        // SAFETY: likewise.
        unsafe { runtime.recycle(7, false) };
        assert_eq!(settle(&functions), 0, "somebody may still run a copy of the branches");
        // SAFETY: likewise.
        unsafe { runtime.recycle(7, true) };
        assert_eq!(settle(&functions), 4);
    }
}

#[test]
fn what_was_counted_of_code_that_goes_makes_no_branch() {
    // What is done to the runtime.
    type Act<'a> = &'a dyn Fn(&Runtime);
    let set = |mode| move |runtime: &Runtime| assert!(runtime.set_mode(mode));
    let switch = |on| move |runtime: &Runtime| assert_eq!(runtime.set_sites(on, |_| true), Some(1));
    let (on, off, freeze) = (set(Mode::On), set(Mode::Off), set(Mode::Freeze));
    let (site_on, site_off) = (switch(true), switch(false));
    // Branches that the site has before, what is done to it before the code goes, and what is done after that.
    let cases: [(usize, Act, Act); 7] = [
        (0, &|_| {}, &|_| {}),
        (1, &|_| {}, &|_| {}),
        (1, &site_off, &site_on),
        (0, &off, &on),
        (1, &off, &on),
        (0, &freeze, &on),
        (1, &freeze, &on),
    ];
    for (case, (branches, before, after)) in cases.into_iter().enumerate() {
        let emitted = Synthetic::new(&[(Form::Inline, 1)], 3);
        let runtime = runtime(&emitted.image);
        let (site, functions) = (emitted.image.sites().next().unwrap(), emitted.functions());
        let [first, gone, other] = functions[..] else { unreachable!() };
        let fast = |target| call(&runtime, &emitted, &site, target, false);
        assert!(branches == 0 || (0..LEARN_LIMIT + 2).any(|_| fast(first)));
        assert!((1..if branches == 0 { LEARN_LIMIT } else { MISS_LIMIT }).all(|_| !fast(gone)));
        before(&runtime);
        assert_eq!(runtime.forget_code(&(gone..gone + 1), 7), Some(0), "no branch leads there");
        if runtime.mode() == Mode::Freeze {
            assert_eq!(fast(first), branches == 1, "{case}: a site that is frozen keeps its branches");
        }
        after(&runtime);
        assert!((0..64 * MISS_LIMIT).any(|_| fast(other)), "{case}");
        assert!(!fast(gone), "{case}: a branch leads to code that has gone");
    }
}

#[test]
fn a_site_that_counts_for_ever_or_rests_is_left_alone_when_code_goes() {
    for rests in [false, true] {
        let emitted = Synthetic::new(&[(Form::Inline, 1)], 2);
        let runtime = runtime(&emitted.image);
        let (site, functions) = (emitted.image.sites().next().unwrap(), emitted.functions());
        let fast = |target| call(&runtime, &emitted, &site, target, false);
        if !rests {
            runtime.store_mode(Mode::Count);
        }
        assert_eq!((0..LEARN_LIMIT + 2).any(|_| fast(functions[0])), rests);
        assert!((0..LEARN_LIMIT / 2).all(|_| !fast(functions[1])));
        let record = runtime.records().next().unwrap();
        if rests {
            runtime.silence(record, Refusal::None);
        }
        assert_eq!(runtime.forget_code(&(functions[1]..functions[1] + 1), 7), Some(0));
        assert_eq!((runtime.relearns(), fast(functions[0])), (0, rests));
        assert!(record.targets.iter().any(|target| target.load(Ordering::Relaxed) == functions[1]));
    }
}

#[test]
fn a_site_that_was_given_up_is_megamorphic_once_its_target_has_gone() {
    for off in [false, true] {
        let emitted = Synthetic::new(&[(Form::Inline, 1)], 1);
        let runtime = runtime(&emitted.image);
        let (site, target) = (emitted.image.sites().next().unwrap(), emitted.functions()[0]);
        let settled = (0..LEARN_LIMIT + 2).any(|_| call(&runtime, &emitted, &site, target, false));
        let record = runtime.records().next().unwrap();
        runtime.silence(record, Refusal::Memory);
        assert!(settled && call(&runtime, &emitted, &site, target, false));
        assert_eq!(runtime.set_sites(!off, |_| true), Some(1));
        assert_eq!(runtime.forget_code(&(target..target + 1), 7), Some(1));
        assert_eq!(record.state() == State::Off, off);
        // SAFETY: there is no other thread.
        unsafe { runtime.recycle(7, true) };
        assert_eq!(record.state() == State::Off, off);
        runtime.set_sites(true, |_| true);
        assert!(!call(&runtime, &emitted, &site, target, false));
        assert_eq!((record.state(), record.placed.load(Ordering::Relaxed)), (State::Megamorphic, 0));
    }
}

#[test]
fn a_site_is_given_up_when_one_of_its_copies_is_probed_before_it_is_free() {
    let emitted = Synthetic::new(&[(Form::Inline, 2)], 2);
    let runtime = runtime(&emitted.image);
    let sites: Vec<Site> = emitted.image.sites().collect();
    let functions = emitted.functions();
    let settle = |target| (0..LEARN_LIMIT + 2).any(|_| call(&runtime, &emitted, &sites[0], target, false));
    assert!(settle(functions[0]));
    assert_eq!(runtime.forget_code(&(functions[0]..functions[0] + 1), 7), Some(1));
    // SAFETY: there is no other thread.
    unsafe { runtime.recycle(7, false) };
    let branch = emitted.image.hot_branch(&sites[1], sites[1].emitted_hot_target()).unwrap();
    // SAFETY: nobody really executes this code.
    unsafe { System::open_code().unwrap().write(branch, &[0xcc]).unwrap() };
    // SAFETY: as above.
    unsafe { runtime.recycle(7, true) };
    assert!(!settle(functions[1]));
    assert!(runtime.records().next().unwrap().refusal().is_final());
}

#[test]
fn a_site_that_is_off_stays_so_when_its_branches_cannot_be_freed() {
    let emitted = Synthetic::new(&[(Form::Inline, 1)], 1);
    let runtime = runtime(&emitted.image);
    let (site, target) = (emitted.image.sites().next().unwrap(), emitted.functions()[0]);
    assert!((0..LEARN_LIMIT + 2).any(|_| call(&runtime, &emitted, &site, target, false)));
    let record = runtime.records().next().unwrap();
    assert_eq!(runtime.set_sites(false, |_| true), Some(1));
    assert_eq!(runtime.forget_code(&(target..target + 1), 7), Some(1));
    let branch = emitted.image.hot_branch(&site, target as usize).unwrap();
    // SAFETY: nobody really executes this code.
    unsafe { System::open_code().unwrap().write(branch, &[0xcc]).unwrap() };
    // SAFETY: there is no other thread.
    unsafe { runtime.recycle(7, true) };
    assert!(record.refusal().is_final() && record.state() == State::Off);
    runtime.set_sites(true, |_| true);
    assert_eq!(record.state(), State::Megamorphic);
}

#[test]
fn a_site_that_rests_learns_when_it_is_turned_on_again_and_is_not_decided_while_it_is_off() {
    let emitted = Synthetic::new(&[(Form::Inline, 1)], 1);
    let runtime = runtime(&emitted.image);
    let (site, target) = (emitted.image.sites().next().unwrap(), emitted.functions()[0]);
    let fast = || call(&runtime, &emitted, &site, target, false);
    assert!((0..LEARN_LIMIT + 2).any(|_| fast()));
    let record = runtime.records().next().unwrap();
    runtime.silence(record, Refusal::None);
    assert!(runtime.set_mode(Mode::Off));
    // Its rest ends, as a call that wrote its length down may have it.
    record.rest.store(-1, Ordering::Relaxed);
    let taken = runtime.hold();
    runtime.limit_reached(record);
    assert_eq!((record.state(), record.rest.load(Ordering::Relaxed)), (State::Off, FOR_EVER));
    drop(taken);
    assert!(runtime.set_mode(Mode::On));
    assert_eq!((record.state(), record.evidence()), (State::Learning, Evidence::Survey));
    assert!((0..64 * LEARN_LIMIT).any(|_| fast()));
}

#[test]
fn a_site_under_a_breakpoint_is_turned_off_and_on() {
    for form in [Form::Inline, Form::Stub] {
        let emitted = Synthetic::new(&[(form, 1)], 1);
        let runtime = runtime(&emitted.image);
        let (site, target) = (emitted.image.sites().next().unwrap(), emitted.functions()[0]);
        let fast = || call(&runtime, &emitted, &site, target, false);
        let set_first_byte = |byte: u8| {
            // SAFETY: nobody really executes this code.
            unsafe { System::open_code().unwrap().write(site.compare(), &[byte]).unwrap() };
        };
        // One that has not run yet, too.
        set_first_byte(0xcc);
        assert_eq!(runtime.set_sites(false, |_| true), Some(1));
        set_first_byte(COMPARE_OPCODE[0]);
        assert!((0..2 * LEARN_LIMIT).all(|_| !fast()));
        runtime.set_sites(true, |_| true);
        assert!((0..LEARN_LIMIT + 2).any(|_| fast()));
        for switch in [
            |runtime: &Runtime, on| runtime.set_mode(if on { Mode::On } else { Mode::Off }),
            |runtime: &Runtime, on| runtime.set_sites(on, |_| true) == Some(1),
        ] {
            for on in [false, true] {
                set_first_byte(0xcc);
                assert!(switch(&runtime, on));
                set_first_byte(COMPARE_OPCODE[0]);
                assert_eq!((fast(), fast()), (on, on), "{form:?}");
            }
        }
    }
}

#[test]
fn nobody_comes_to_records_and_chains_of_an_image_that_was_retired() {
    let emitted = Synthetic::new(&[(Form::Inline, 2), (Form::Stub, 1)], 3);
    let runtime = runtime(&emitted.image);
    let functions = emitted.functions();
    let fast = |site: &Site| functions.iter().filter(|&&f| call(&runtime, &emitted, site, f, false)).count();
    for site in emitted.image.sites() {
        assert!((0..2 * LEARN_LIMIT).any(|_| fast(&site) == functions.len()));
    }
    runtime.retire();
    for site in emitted.image.sites() {
        assert_eq!(fast(&site), 0);
        assert_eq!(emitted.cell(&site).gate.load(Ordering::Relaxed), GATE_QUIET);
    }
}

#[test]
fn a_site_that_is_off_stays_off_however_often_it_is_called() {
    let emitted = Synthetic::new(&[(Form::Inline, 1)], 2);
    let runtime = runtime(&emitted.image);
    let (site, functions) = (emitted.image.sites().next().unwrap(), emitted.functions());
    let call = |&&target: &&u64| call(&runtime, &emitted, &site, target, false);
    let fast = || functions.iter().filter(call).count();
    // One that has learned, one that rests: a rest must not end while it is off.
    for rest in [0, RETRY] {
        assert!((0..4 * LEARN_LIMIT).any(|_| fast() == functions.len()));
        let record = runtime.records().next().unwrap();
        record.rest.store(rest, Ordering::Relaxed);
        assert_eq!(runtime.set_sites(false, |_| true), Some(1));
        assert!((0..2 * RETRY).all(|_| fast() == 0));
        // Nor does it learn anew when all others do.
        let seen = record.targets[0].load(Ordering::Relaxed);
        assert_eq!(runtime.relearn_all(), Some(true));
        assert_eq!((record.state(), record.targets[0].load(Ordering::Relaxed)), (State::Off, seen));
        assert_eq!(runtime.set_sites(true, |_| true), Some(1));
    }
}

#[test]
fn no_thread_sees_a_branch_of_a_profile_before_the_cores_are_synchronised() {
    let emitted = Synthetic::new(&[(Form::Inline, 2)], FUNCTIONS);
    let runtime = runtime(&emitted.image);
    let (site, functions) = (emitted.image.sites().next().unwrap(), emitted.functions());
    let mut targets = [0; WAYS];
    // The farthest: several bytes of the branch change.
    targets[..3].copy_from_slice(&functions[..3]);
    model::watch(&emitted, &targets[..3], None);
    assert_eq!(runtime.begin_with([Known { site, targets }].into_iter()), 1);
    model::unwatch();
}

/// Of many calls, the targets of which `target` picks by the number of the call: how many were led to their targets, and
/// how many ran through a chain in vain.
fn many_calls(target: impl Fn(usize) -> usize) -> (usize, usize) {
    let emitted = Synthetic::new(&[(Form::Inline, 1)], FUNCTIONS);
    let site = emitted.image.sites().next().unwrap();
    let runtime = runtime(&emitted.image);
    let targets = emitted.functions();
    let cell = emitted.cell(&site);
    let (mut led, mut in_vain) = (0, 0);
    for number in 0..400_000 {
        let chain = cell.gate.load(Ordering::Relaxed) & GATE_CHAIN != 0;
        if call(&runtime, &emitted, &site, targets[target(number)], false) {
            led += 1;
        } else if chain {
            in_vain += 1;
        }
    }
    (led, in_vain)
}

/// The child of a bare fork that came after a branch was opened, and before the record said so.
#[test]
fn what_was_being_opened_when_the_process_forked_is_closed() {
    let emitted = Synthetic::new(&[(Form::Inline, 1)], 1);
    let (site, target) = (emitted.image.sites().next().unwrap(), emitted.functions()[0]);
    let (runtime, cell) = (runtime(&emitted.image), emitted.cell(&site));
    for _ in 0..=LEARN_LIMIT {
        slow_path(&runtime, cell, target);
    }
    let leads = || emitted.call(&site, target, || {});
    assert_eq!(leads(), End::Function(target));
    let record = runtime.records().next().unwrap();
    record.inline.store(0, Ordering::Relaxed);
    runtime.patching.store(core::ptr::from_ref(record).cast_mut(), Ordering::Relaxed);
    let lock = runtime.hold().unwrap();
    runtime.recover();
    drop(lock);
    assert_eq!((leads(), record.refusal()), (End::Slow(site.cell()), Refusal::Fork));
    assert_eq!(record.placed.load(Ordering::Relaxed), 0);
}

#[test]
fn a_site_rests_without_a_chain_that_most_calls_would_run_through_in_vain() {
    for (length, at_most) in [(64, 10_000), (300, 10_000), (5000, 60_000)] {
        let (led, in_vain) = many_calls(|number| number / length % 64);
        assert!(in_vain <= at_most, "64 targets for {length} calls each: {led} led, {in_vain} in vain");
    }
}

#[test]
fn a_site_keeps_the_branches_that_many_calls_speak_for_while_it_rests() {
    // One target for nine of ten calls, and many others.
    let (led, in_vain) = many_calls(|number| if number % 10 == 0 { 1 + number / 10 % 63 } else { 0 });
    assert!(led >= 340_000 && in_vain <= 10_000, "{led} led, {in_vain} in vain");
    // More than a site compares with at a time: most are led to.
    let (led, in_vain) = many_calls(|number| number / 300 % 20);
    assert!(led >= 250_000, "{led} led, {in_vain} in vain");
}
