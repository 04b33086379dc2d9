//! Programs that attack the runtime: a call to a wrong target makes them abort.

use relpoline_tests::{Program, VARIANTS, attack, none_refused, output, refusals, split};
use std::process::Command;

#[test]
fn threads_call_while_what_was_patched_is_undone() {
    for variant in VARIANTS {
        let program = Program::build("dropped.c", variant).unwrap();
        let run = program.run::<&str>(&[]).unwrap_or_else(|error| panic!("{variant:?}: {error}"));
        assert_eq!(run.stdout(), "ok\n", "{variant:?}");
        assert!(run.total("patches") >= 1000, "{variant:?}: {}", run.stats["totals"]);
    }
}

#[test]
fn what_was_patched_of_one_page_is_undone() {
    for half in ["0", "1"] {
        // Two branches for each site.
        attack("halves.c", &[half], 80);
    }
}

#[test]
fn threads_call_sites_while_they_are_patched() {
    // 256 sites of 1 to 8 targets each; a lost race for the lock may leave some undecided.
    attack("threads.c", &["8", "1200000"], 500);
}

#[test]
fn signal_handlers_interrupt_the_learner_and_the_patcher() {
    attack("signals.c", &[], 200);
}

#[test]
fn forked_children_go_their_own_way() {
    attack("forks.c", &[], 200);
}

#[test]
fn children_forked_behind_the_runtimes_back_go_their_own_way() {
    attack("forks.c", &["bare"], 200);
}

#[test]
fn a_child_that_interrupted_the_patcher_never_writes_over_branches_in_use() {
    attack("interrupted.c", &[], 6);
}

#[test]
fn branches_of_assembly_are_learned_and_patched() {
    let assembly = concat!(env!("CARGO_MANIFEST_DIR"), "/programs/assembly.S");
    for variant in VARIANTS {
        let program = Program::build("assembly.c", &[variant, &[assembly]].concat()).unwrap();
        let run = program.run::<&str>(&[]).unwrap_or_else(|error| panic!("{variant:?}: {error}"));
        assert_eq!(run.stdout(), "ok\n", "{variant:?}");
        let sites = run.stats["sites"].as_array().unwrap();
        let of_assembly = |site: &&serde_json::Value| {
            site["function"].as_str().is_some_and(|name| name.starts_with("relpoline_site_"))
        };
        let found: Vec<_> = sites.iter().filter(of_assembly).collect();
        assert_eq!(found.len(), 4, "{variant:?}: {}", run.stats);
        for site in found {
            let targets = site["targets"].as_array().unwrap();
            let patched = targets.iter().filter(|target| target["patched"] == true).count();
            assert!(patched >= 7, "{variant:?}: {site}");
        }
        assert!(none_refused(&run.stats), "{variant:?}: {}", run.stats);
    }
}

#[test]
fn sites_are_patched_and_named_when_the_first_thread_has_ended() {
    attack("leader.c", &[], 700);
    let run = Program::build("leader.c", &[]).unwrap().run::<&str>(&[]).unwrap();
    let sites = run.stats["sites"].as_array().unwrap();
    assert!(sites.iter().all(|site| site["function"].is_string()), "{}", run.stats);
}

#[test]
fn one_site_is_turned_off_and_on_and_learns_anew() {
    let program = Program::build("one-site.c", &["-no-pie"]).unwrap();
    let address = program.run::<&str>(&[]).unwrap().stats["sites"][0]["address"].clone();
    let off = program.dir().join("off.json");
    let run = program.run(&[address.as_str().unwrap(), off.to_str().unwrap()]).unwrap();
    assert_eq!(run.stdout(), "1 0 1 0\n");
    let off = std::fs::read_to_string(off).unwrap();
    assert!(off.contains(r#""state":"off""#), "{off}");
    assert_eq!((run.total("relearns"), run.total("monomorphic")), (1, 1), "{}", run.stats);
}

#[test]
fn statistics_that_cannot_be_written_are_an_error_and_nothing_worse() {
    let program = Program::build("plain.c", &[]).unwrap();
    let pipe = program.dir().join("pipe");
    let run = |script: &str| {
        let mut command = Command::new("sh");
        let output = output(command.args(["-c", script]).arg(program.path()).arg(&pipe)).unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (status, error) = run("mkfifo $1 && RELPOLINE_OPTIONS=stats=$1 exec $0");
    assert!(status == Some(0) && error.contains("nobody reads the pipe"), "{status:?} {error}");
    let (status, error) = run("ulimit -f 0 && RELPOLINE_OPTIONS=stats=$1.file exec $0");
    assert!(status == Some(0) && error.contains("ulimit -f"), "{status:?} {error}");
}

#[test]
fn files_lie_where_the_program_was_started_and_are_whole_whoever_writes_them() {
    let program = Program::build("places.c", &["-O2"]).unwrap();
    let run = |script: &str| {
        let mut command = Command::new("sh");
        let output =
            output(command.args(["-c", script]).arg(program.path()).current_dir(program.dir())).unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        let text = std::fs::read_to_string(program.dir().join("file")).unwrap();
        text.strip_prefix("kept\nok\n").unwrap_or(&text).to_owned()
    };
    for _ in 0..20 {
        let text = run("RELPOLINE_OPTIONS=stats=file:profile=profile $0");
        let stats: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(stats["totals"]["monomorphic"], 256);
    }
    let text = run("RELPOLINE_OPTIONS=stats=file:profile=profile $0");
    assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap()["totals"]["learned_calls"], 0);
    // What is open already is written on, by one after the other.
    let text = run("echo kept >file && RELPOLINE_OPTIONS=stats=/dev/stdout $0 >>file");
    assert!(text.starts_with("{\"version\""), "{text}");
}

#[test]
fn statistics_are_whole_where_a_pipe_is_read_late() {
    let program = Program::build("begin.c", &["-O2"]).unwrap();
    let script = "RELPOLINE_OPTIONS=stats=/dev/fd/3 $0 1000 3>&1 >/dev/null | { sleep 1; cat; }";
    let mut command = Command::new("sh");
    let output = output(command.args(["-c", script]).arg(program.path())).unwrap();
    assert!(output.stderr.is_empty() && output.stdout.len() > 1 << 16, "{} {output:?}", output.stdout.len());
    serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap();
}

#[test]
fn targets_that_change_are_followed_with_every_link_opened_and_closed_again() {
    attack("phases.c", &["change", "1", "100000", "26"], 26);
    attack("phases.c", &["change", "1", "100000", "6"], 6);
    attack("phases.c", &["change", "8", "20000", "26"], 10);
    attack("phases.c", &["change", "8", "20000", "6"], 3);
}

#[test]
fn more_targets_than_a_site_can_be_patched_for_go_right() {
    for (arguments, at_least_patches) in
        [(["change", "1", "100000", "64"], 20), (["change", "8", "20000", "64"], 10)]
    {
        for variant in VARIANTS {
            let run = Program::build("phases.c", variant).unwrap().run(&arguments).unwrap();
            assert_eq!(run.stdout(), "ok\n", "{variant:?}");
            assert!(run.total("patches") >= at_least_patches, "{variant:?}: {}", run.stats["totals"]);
            let refusals = refusals(&run.stats);
            assert!(
                refusals.iter().all(|why| why.starts_with("more targets in turn")),
                "{variant:?}: {}",
                run.stats
            );
        }
    }
}

#[test]
fn a_million_branches_are_opened_and_closed_while_eight_threads_call() {
    let program = Program::build("storm.c", &[]).unwrap();
    for arguments in [&["2000"] as &[&str], &["1200", "fork", "signals"]] {
        let run = program.run(arguments).unwrap();
        assert_eq!(run.stdout(), "ok\n");
        assert!(run.total("patches") >= 1_000_000, "{arguments:?}: {}", run.stats["totals"]);
        assert!(none_refused(&run.stats), "{arguments:?}: {}", run.stats["totals"]);
    }
}

#[test]
fn forks_and_signal_handlers_meet_branches_that_open_and_close() {
    attack("storm.c", &["60", "fork", "signals"], 10_000);
}

#[test]
fn what_the_system_refuses_leaves_retpolines_and_is_reported() {
    const WRITE: &str = "writing code was refused (/proc/self/mem)";
    let cases = [
        ("nothing", 256, None),
        ("openat", 0, Some(WRITE)),
        ("pwrite64", 0, Some(WRITE)),
        ("membarrier", 0, Some("membarrier SYNC_CORE is not available")),
        ("mmap", 1, Some("no memory")),
        // Nothing is made executable that was writable before.
        ("mprotect", 256, None),
        ("mdwe", 256, None),
        ("rt_sigprocmask", 256, None),
    ];
    for variant in VARIANTS {
        let program = Program::build("refuse.c", variant).unwrap();
        // What is refused all the time at least is also refused by a handler of SIGSYS.
        let trapped = cases.iter().filter(|(_, _, why)| why.is_some()).map(|&case| (case, "trap"));
        for ((refused, at_least, why), how) in cases.map(|case| (case, "")).into_iter().chain(trapped) {
            let run = program
                .run(&[refused, how])
                .unwrap_or_else(|error| panic!("{variant:?} {refused} {how}: {error}"));
            assert_eq!(run.stdout(), "ok\n", "{variant:?} {refused}");
            let totals = &run.stats["totals"];
            let split = split(&run.stats);
            assert!(run.total("polymorphic") + split >= at_least, "{variant:?} {refused}: {totals}");
            assert_eq!(!none_refused(&run.stats), why.is_some(), "{variant:?} {refused}: {totals}");
            let refusals = refusals(&run.stats);
            assert!(refusals.iter().all(|&refusal| Some(refusal) == why), "{variant:?} {refused}");
            assert!(at_least == 256 || !refusals.is_empty() || refused == "mmap", "{variant:?} {refused}");
        }
    }
}

#[test]
fn a_site_that_settles_after_it_had_too_many_targets_is_promoted() {
    for variant in VARIANTS {
        let program = Program::build("phases.c", variant).unwrap();
        let run = program.run(&["settle", "1", "40000", "64"]).unwrap();
        assert_eq!(run.stdout(), "ok\n", "{variant:?}");
        assert!(run.total("relearns") >= 2, "{variant:?}: {}", run.stats["totals"]);
        let site = &run.stats["sites"][0];
        assert_eq!(site["function"], "settling", "{variant:?}: {site}");
        assert_eq!(site["state"], "monomorphic", "{variant:?}: {site}");
        let target = &site["targets"][0];
        assert!(target["function"] == "target_05" && target["patched"] == true, "{variant:?}: {site}");
    }
}

#[test]
fn every_argument_register_survives_the_slow_path() {
    attack("registers.c", &[], 2);
}

#[test]
fn no_page_is_writable_and_executable() {
    let run = Program::build("pages.c", &[]).unwrap().run::<&str>(&[]).unwrap();
    assert_eq!(run.stdout(), "");
    assert!(run.total("polymorphic") >= 64, "{}", run.stats["totals"]);
}

#[test]
fn a_process_is_turned_off_and_on_while_threads_call() {
    attack("switch.c", &[], 100);
}

#[test]
fn who_calls_nobody_comes_to_no_target_in_any_state() {
    attack("marked.c", &[], 6);
}

#[test]
fn a_signal_at_any_instruction_of_a_call_leaves_a_site_that_learns() {
    // Without optimisation the way to the site alone takes more steps than there are sites.
    for variant in VARIANTS.into_iter().filter(|variant| !variant.contains(&"-O0")) {
        // The red zone: the program steps itself by pushing flags.
        let arguments = [variant, &["-mno-red-zone"]].concat();
        let run = Program::build("stepped.c", &arguments).unwrap().run::<&str>(&[]).unwrap();
        assert_eq!(run.stdout(), "ok\n", "{variant:?}");
        let sites = run.stats["sites"].as_array().unwrap();
        let walked = sites.iter().filter(|site| site["misses"].as_u64().unwrap() > 0).count();
        assert!(walked >= 30, "{variant:?}: {}", run.stats["totals"]);
        for site in sites {
            // A target is looked at again after 1,024 misses.
            assert!(site["misses"].as_u64().unwrap() < 4000, "{variant:?}: {site}");
        }
    }
}

#[test]
fn handlers_that_leave_by_siglongjmp_do_not_stop_the_learning() {
    attack("longjmp.c", &[], 500);
}

#[test]
fn forked_children_do_not_inherit_the_memory_of_their_parent() {
    attack("inherit.c", &[], 200);
}

#[test]
fn stubs_keep_their_distances_whatever_is_padded_or_inserted() {
    let flags: [&[&str]; 4] = [
        &["-mbranches-within-32B-boundaries"],
        &["-mbranches-within-32B-boundaries", "--relpoline-form=stub"],
        &["-mseses", "-mno-lvi-cfi", "-Wno-unused-command-line-argument"],
        &["-fcf-protection=branch", "-falign-functions=64"],
    ];
    for flags in flags {
        let run = Program::build("packed.c", flags).unwrap().run::<&str>(&[]).unwrap();
        assert_eq!(run.stdout(), "ok\n", "{flags:?}");
    }
}

#[test]
fn tail_calls_stay_tail_calls() {
    for level in ["-O1", "-O2", "-O3", "-Os"] {
        let run = Program::build("deep.c", &[level]).unwrap().run::<&str>(&[]).unwrap();
        assert_eq!(run.stdout(), "ok\n", "{level}");
    }
}

#[test]
fn sites_are_turned_off_and_on_by_name() {
    for variant in VARIANTS {
        let program = Program::build("names.c", variant).unwrap();
        let files = [1, 2, 3, 4, 5, 6].map(|step| program.dir().join(format!("step-{step}")));
        let run = program.run(&files).unwrap();
        assert_eq!(run.stdout(), "16\n256\n1\n0\n-1\n0\n", "{variant:?}");
        let count = |step: usize, state: &str| {
            let text = std::fs::read_to_string(&files[step - 1]).unwrap();
            let stats: serde_json::Value = serde_json::from_str(&text).unwrap();
            stats["totals"][state].as_u64().unwrap()
        };
        // Sites that were off before they ran have no record.
        assert_eq!((count(1, "monomorphic"), count(1, "executed")), (240, 240), "{variant:?}");
        assert_eq!((count(2, "monomorphic"), count(2, "off")), (0, 240), "{variant:?}");
        assert_eq!((count(3, "monomorphic"), count(3, "off")), (1, 240), "{variant:?}");
        // The mode of the process turns all sites on; nothing new is learned.
        assert_eq!((count(4, "monomorphic"), count(4, "executed")), (241, 241), "{variant:?}");
        assert_eq!((count(5, "patches"), count(4, "patches")), (241, 241), "{variant:?}");
        assert_eq!((count(6, "monomorphic"), count(6, "executed")), (256, 256), "{variant:?}");
    }
}

#[test]
fn nothing_is_switched_while_calls_are_counted() {
    let program = Program::build("names.c", &[]).unwrap();
    let output = program.try_run("mode=count", &[] as &[&str]).unwrap();
    assert!(output.status.success(), "{output:?}");
    let totals = &program.stats().unwrap()["totals"];
    assert_eq!((&totals["executed"], &totals["off"]), (&256.into(), &0.into()), "{totals}");
}

#[test]
fn options_keep_functions_and_objects_on_retpolines() {
    let program = Program::build("begin.c", &[]).unwrap();
    let executed = |options: &str, errors: &str| {
        let output = program.try_run(options, &["200"]).unwrap();
        assert!(
            output.status.success() && String::from_utf8_lossy(&output.stderr).contains(errors),
            "{output:?}"
        );
        program.stats().unwrap()["totals"]["executed"].as_u64().unwrap()
    };
    assert_eq!(executed("never=site_0x1*,site_0x20", ""), 256 - 17);
    assert_eq!(executed("never_object=other", ""), 256);
    assert_eq!(executed("never_object=lib*,program", ""), 0);
    let strip = std::process::Command::new("strip").arg(program.path()).status().unwrap();
    assert!(strip.success());
    assert_eq!(executed("never=site_0x1*", "never= has no effect"), 256);
}
