//! Processes and threads that end, fork, borrow and give up what they have, while their sites learn.

use relpoline_tests::{Program, SPLIT, VARIANTS, attack, compile, none_refused, output, split};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

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
fn handlers_that_interrupt_the_patcher_fork_and_jump() {
    for variant in VARIANTS {
        let program = Program::build("trapped.c", variant).unwrap();
        for how in ["fork", "clone", "jump"] {
            for when in ["0", "1", "17", "40"] {
                let run = program.run(&[how, when]);
                let run = run.unwrap_or_else(|error| panic!("{variant:?} {how} {when}: {error}"));
                assert_eq!(run.stdout(), "ok\n", "{variant:?} {how} {when}");
            }
        }
    }
}

#[test]
fn what_cannot_be_written_is_an_error_and_ends_no_program() {
    let program = Program::build("limited.c", &["-O2"]).unwrap();
    let file = program.dir().join("file");
    let output = program.try_run("", &[&file]).unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "ok\n", "{output:?}");
    assert!(output.status.success(), "{output:?}");
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(message.contains("larger than allowed"), "{message}");

    // Nobody reads what it has to say.
    for options in ["no=option", "stats=/nowhere/file"] {
        let script = r#"rm -f "$2" && mkfifo "$2" && exec 4<>"$2" 5>"$2" 4>&- && exec "$0" "$1" 2>&5"#;
        let mut command = Command::new("sh");
        command.args(["-c", script]).arg(program.path()).arg(&file).arg(program.dir().join("pipe"));
        let output = relpoline_tests::output(command.env("RELPOLINE_OPTIONS", options)).unwrap();
        assert!(output.status.success(), "{options}: {output:?}");
    }
}

#[test]
fn the_stack_can_be_unwound_from_everywhere_in_the_runtime() {
    attack("unwind.c", &[], 700);
}

#[test]
fn code_is_never_written_into_a_file_that_took_the_descriptors_number() {
    for variant in VARIANTS {
        let program = Program::build("stolen.c", variant).unwrap();
        let file = program.dir().join("file");
        let run = program.run(&[&file]).unwrap();
        assert_eq!(run.stdout(), "ok\n", "{variant:?}");
        // What was stolen is opened anew.
        assert!(
            run.total("patches") >= 700 && none_refused(&run.stats),
            "{variant:?}: {}",
            run.stats["totals"]
        );
    }
}

#[test]
fn daemons_close_every_descriptor_while_threads_learn() {
    for variant in VARIANTS {
        let program = Program::build("daemon.c", variant).unwrap();
        let run = program.run(&["daemon".as_ref(), program.dir().join("file").as_os_str()]).unwrap();
        assert_eq!(run.stdout(), "ok\n", "{variant:?}");
        assert!(run.total("patches") >= 100, "{variant:?}: {}", run.stats["totals"]);
    }
}

#[test]
fn options_outlive_the_text_that_they_came_in() {
    let program = Program::build("borrowed.c", &["-DCONSTANT=1"]).unwrap();
    let run = program.run(&["title"]).unwrap();
    assert_eq!((run.stdout().as_str(), run.total("monomorphic")), ("ok\n", 1));
    let long = format!("never={}", "x".repeat(1 << 14));
    let output = program.try_run(&long, &["title"]).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("expected 16384 at most"), "{said}");
}

/// Another user.
const NOBODY: u32 = 65534;

#[test]
fn options_are_ignored_where_rights_are_borrowed() {
    let own = Program::build("borrowed.c", &["-DCONSTANT=1"]).unwrap();
    let other = Program::build("borrowed.c", &["-DCONSTANT=1", "--relpoline-disable"]).unwrap();
    let plugin = own.dir().join("plugin.so");
    compile("plugin.c", &["-DCONSTANT=1", "-shared", "-fPIC"], &plugin).unwrap();
    let plugin = plugin.to_str().unwrap();
    for (program, arguments) in [(&own, &["rights"] as &[&str]), (&other, &["plugin", plugin])] {
        for path in [own.dir(), program.dir()] {
            std::fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
        }
        std::fs::set_permissions(program.path(), Permissions::from_mode(0o4755)).unwrap();
        let stats = program.dir().join("stats.json");
        let mut command = Command::new(program.path());
        command.args(arguments).uid(NOBODY).env("RELPOLINE_OPTIONS", format!("stats={}", stats.display()));
        let output = output(&mut command).unwrap();
        assert!(output.status.success() && output.stdout == b"ok\n", "{arguments:?}: {output:?}");
        assert_eq!(output.stderr, b"", "{arguments:?}");
        let written = std::fs::read_dir(program.dir()).unwrap().map(|entry| entry.unwrap().file_name());
        let written: Vec<_> = written.filter(|name| name.to_string_lossy().contains("json")).collect();
        assert!(written.is_empty(), "{arguments:?}: {written:?}");
    }
}

/// Runs `daemon.c` and returns how many sites it says stay on the retpoline for this reason.
fn refused(program: &Program, options: &str, arguments: &[&str], why: &str) -> usize {
    let output = program.try_run(&format!("verbose=1:{options}"), arguments).unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && output.stdout == b"ok\n", "{arguments:?}: {}\n{said}", output.status);
    // A site that lies across two pages says so first.
    let is_refused = |line: &&str| if line.ends_with(SPLIT) { !why.is_empty() } else { line.ends_with(why) };
    said.lines().filter(is_refused).count()
}

#[test]
fn processes_without_proc_or_rights_stay_on_retpolines_and_say_so() {
    const WRITE: &str = "writing code was refused (/proc/self/mem)";
    for variant in VARIANTS {
        let program = Program::build("daemon.c", variant).unwrap();
        let root = tempfile::tempdir().unwrap();
        let path = root.path().to_str().unwrap();
        assert_eq!(refused(&program, "stats=/stats.json", &["chroot", path], WRITE), 256, "{variant:?}");
        assert!(root.path().join("stats.json").exists(), "{variant:?}");
        // What was patched before stays; no further target is added.
        assert_eq!(refused(&program, "stats=/dev/null", &["rights"], WRITE), 256, "{variant:?}");
    }
}

#[test]
fn limits_of_the_system_are_met() {
    let program = Program::build("daemon.c", &[]).unwrap();
    assert!(refused(&program, "", &["memory"], "no memory") >= 100);
    assert_eq!(refused(&program, "", &["size"], ""), 0);
    assert!(program.stats().unwrap()["totals"]["patches"].as_u64() >= Some(700));
    // Too many files are open at first; when they are closed the sites are patched.
    assert_eq!(refused(&program, "", &["files"], ""), 0);
    let stats = program.stats().unwrap();
    let totals = &stats["totals"];
    assert!(
        totals["failures"] == 256 || totals["failures"].as_u64() > Some(256) && split(&stats) > 0,
        "{totals}"
    );
    assert!(totals["patches"].as_u64() >= Some(700), "{totals}");
}

#[test]
fn every_kind_of_executable_is_patched_and_named() {
    // Behind it `.bss` takes room in the file.
    let script = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&script, "SECTIONS { .behind : { LONG(1) } } INSERT AFTER .bss;").unwrap();
    let script = format!("-Wl,-T,{}", script.path().display());
    let links: [&[&str]; 10] = [
        &["-pie", "-fuse-ld=lld", &script],
        &["-static"],
        &["-static-pie"],
        &["-static", "-fuse-ld=lld"],
        &["-static-pie", "-fuse-ld=lld"],
        &["-no-pie"],
        &["-no-pie", "-fuse-ld=lld"],
        &["-pie", "-Wl,-z,now"],
        &["-pie", "-fuse-ld=lld", "-Wl,-z,now", "-Wl,-z,relro"],
        &["-pie", "-fuse-ld=bfd"],
    ];
    for link in links {
        let run = Program::build("threads.c", link).unwrap().run(&["2", "1200000"]).unwrap();
        assert_eq!(run.stdout(), "ok\n", "{link:?}");
        assert!(run.total("patches") >= 500 && none_refused(&run.stats), "{link:?}: {}", run.stats["totals"]);
        let sites = run.stats["sites"].as_array().unwrap();
        let named =
            |name: &serde_json::Value, prefix| name.as_str().is_some_and(|name| name.starts_with(prefix));
        for site in sites {
            let targets = site["targets"].as_array().unwrap();
            assert!(named(&site["function"], "site_0x"), "{link:?}: {site}");
            assert!(targets.iter().all(|target| named(&target["function"], "target_")), "{link:?}: {site}");
        }
    }
}

#[test]
fn sanitizers_find_nothing() {
    let programs: [(&str, &[&str], u64); 3] = [
        ("threads.c", &["4", "600000"], 100),
        ("storm.c", &["20"], 1000),
        ("phases.c", &["change", "4", "5000", "6"], 2),
    ];
    for sanitizer in ["-fsanitize=thread", "-fsanitize=address"] {
        for (source, arguments, at_least) in programs {
            let run = Program::build(source, &["-O1", sanitizer]).unwrap().run(arguments).unwrap();
            let said = String::from_utf8_lossy(&run.output.stderr);
            assert!(run.stdout() == "ok\n" && said.is_empty(), "{source} {sanitizer}: {said}");
            assert!(run.total("patches") >= at_least, "{source} {sanitizer}: {}", run.stats["totals"]);
        }
    }
}

#[test]
fn forked_children_end_while_a_thread_of_their_parent_lists_objects() {
    attack("exits.c", &[], 40);
    attack("exits.c", &["alone"], 40);
    attack("exits.c", &["within"], 40);
}

#[test]
fn other_handlers_of_a_fork_take_signals_whose_handlers_fork() {
    attack("atfork.c", &[], 40);
    attack("atfork.c", &["nested"], 40);
    attack("atfork.c", &["switching"], 40);
}

#[test]
fn threads_that_other_handlers_of_a_fork_make_patch_alone() {
    for variant in VARIANTS {
        let program = Program::build("helper.c", variant).unwrap();
        for kept_at in ["1", "2", "3", "4"] {
            let run = program.run(&[kept_at]);
            let run = run.unwrap_or_else(|error| panic!("{variant:?} {kept_at}: {error}"));
            assert_eq!(run.stdout(), "ok\n", "{variant:?} {kept_at}");
        }
    }
}

#[test]
fn who_forks_holds_the_lock_whatever_the_parent_left() {
    let program = Program::build("abandoned.c", &[]).unwrap();
    for who in ["", "heir"] {
        let run = program.run(&[who]).unwrap_or_else(|error| panic!("{who}: {error}"));
        assert_eq!(run.stdout(), "ok\n", "{who}");
    }
}

#[test]
fn signals_that_are_blocked_stay_so_while_sites_are_patched() {
    attack("pending.c", &[], 256);
}

#[test]
fn a_program_that_wrote_itself_to_a_file_runs_on_retpolines() {
    let program = Program::build("dumped.c", &["-no-pie", "-Wl,-z,norelro"]).unwrap();
    let dumped = program.dir().join("dumped");
    let options = format!("verbose=1:stats={}", program.dir().join("stats.json").display());
    let run = |command: &mut Command| output(command.env("RELPOLINE_OPTIONS", &options)).unwrap();
    let first = run(Command::new(program.path()).arg(&dumped));
    assert!(first.status.success(), "{first:?}");
    let second = run(&mut Command::new(&dumped));
    assert!(
        second.status.success() && second.stdout == b"dumped\n" && second.stderr.is_empty(),
        "{second:?}"
    );
}

#[test]
fn programs_end_while_the_list_of_objects_is_in_use() {
    for variant in VARIANTS {
        let program = Program::build("locked.c", variant).unwrap();
        for (how, options) in
            [("thread", "mode=on"), ("thread", "mode=off"), ("fork", "mode=on"), ("filtered", "mode=on")]
        {
            // Without statistics, which have to ask for all objects.
            let mut command = Command::new(program.path());
            let output = output(command.arg(how).env("RELPOLINE_OPTIONS", options)).unwrap();
            assert!(output.status.success() && output.stdout == b"ok\n", "{variant:?} {how}: {output:?}");
        }
    }
}

#[test]
fn a_process_that_is_off_makes_no_system_call() {
    for variant in VARIANTS {
        let program = Program::build("strict.c", variant).unwrap();
        let run = |options| program.try_run(options, &[] as &[&str]).unwrap();
        let output = run("mode=off");
        assert!(output.status.success() && output.stdout == b"ok\n", "{variant:?}: {output:?}");
        assert!(!run("mode=on").status.success(), "{variant:?}: nothing is refused");
    }
}
