//! Processes and threads that end, fork, borrow and give up what they have, while their sites learn.

use relpoline_tests::{Program, VARIANTS, attack};

/// Bytes of stack that a call of a site takes at most, its own frame aside. The documentation says so too.
const DEEPEST: u64 = 4096;

#[test]
fn sites_learn_on_small_stacks() {
    attack("stacks.c", &["threads"], 700);
    attack("stacks.c", &["coroutines"], 1000);
    attack("stacks.c", &["handler"], 1000);
}

#[test]
fn deciding_takes_little_stack() {
    for variant in VARIANTS {
        let program = Program::build("stacks.c", variant).unwrap();
        let depths = |options| -> Vec<u64> {
            let output = program.try_run(options, &["depth"]).unwrap();
            String::from_utf8(output.stdout).unwrap().lines().filter_map(|line| line.parse().ok()).collect()
        };
        let (patched, off) = (depths("mode=on"), depths("mode=off"));
        assert_eq!((patched.len(), off.len()), (8, 8), "{variant:?}");
        // When all sites are off, the program's own frames are left.
        let own = off.iter().min().unwrap();
        let deepest = patched.iter().max().unwrap() - own;
        assert!(deepest <= DEEPEST, "{variant:?}: {deepest} bytes: {patched:?}, {off:?}");
        assert!(deepest >= 512 && program.stats().unwrap()["mode"] == "off", "{variant:?}: {deepest}");
    }
}

#[test]
fn threads_end_in_every_way() {
    for how in ["cancelled", "at-once", "exiting"] {
        attack("ends.c", &[how], 200);
    }
}

#[test]
fn sites_are_called_before_the_runtime_starts_and_after_it_ends() {
    attack("lifetimes.cpp", &[], 600);
}

#[test]
fn children_borrow_memory_and_descriptors() {
    for how in ["vfork", "spawn", "clone", "descriptors"] {
        attack("children.c", &[how], 100);
    }
}

#[test]
fn a_killed_child_that_borrowed_memory_does_not_stop_the_learning() {
    attack("children.c", &["killed"], 100);
}

#[test]
fn a_thread_executes_another_program() {
    attack("children.c", &["exec"], 100);
}

#[test]
fn the_stack_can_be_unwound_from_everywhere_in_the_runtime() {
    attack("unwind.c", &[], 700);
}
