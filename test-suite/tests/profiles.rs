//! What a program has learned, saved and begun with.

use relpoline_tests::Program;
use serde_json::Value;
use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The program, and where its profile is.
fn build(arguments: &[&str]) -> (Program, PathBuf) {
    let program = Program::build("begin.c", arguments).unwrap();
    let profile = program.dir().join("profile");
    (program, profile)
}

/// A finished run: its totals, standard error, and how many of its sites lie across two pages.
struct Ended(Value, String, u64);

impl Ended {
    /// How many sites have one target and several, where none lies across two pages.
    fn learned(&self) -> (u64, u64) {
        (self.total("monomorphic") - self.2, self.total("polymorphic") + self.2)
    }

    fn total(&self, name: &str) -> u64 {
        self.0[name].as_u64().unwrap_or_else(|| panic!("no total '{name}': {}", self.0))
    }
}

/// Runs the program with its profile.
fn run(program: &Program, profile: &Path, options: &str, rounds: &str) -> Ended {
    let output = program.try_run(&format!("profile={}:{options}", profile.display()), &[rounds]).unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "ok\n");
    let mut stats = program.stats().unwrap();
    let split = relpoline_tests::split(&stats);
    Ended(stats["totals"].take(), String::from_utf8(output.stderr).unwrap(), split)
}

#[test]
fn threads_may_call_while_the_runtime_begins_with_a_profile() {
    let program = Program::build("early.c", &["-O2", "-pthread"]).unwrap();
    let profile = program.dir().join("profile");
    let options = format!("profile={}", profile.display());
    let learned = program.try_run(&options, &[] as &[&str]).unwrap();
    assert!(learned.status.success() && profile.exists(), "{learned:?}");
    for _ in 0..30 {
        let output = program.try_run(&options, &["early"]).unwrap();
        assert!(output.status.success(), "{output:?}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "ok\n");
    }
}

#[test]
fn the_next_run_begins_promoted() {
    for variant in
        [&["-O2"] as &[&str], &["-O2", "--relpoline-form=stub"], &["-O2", "-no-pie"], &["-O2", "-static"]]
    {
        let (program, profile) = build(variant);
        let first = run(&program, &profile, "", "1000");
        assert_eq!(first.1, "", "{variant:?}");
        assert_eq!(first.learned(), (192, 64), "{variant:?}");
        let saved = std::fs::read_to_string(&profile).unwrap();
        // Too few calls for anything to be learned.
        std::fs::set_permissions(&profile, Permissions::from_mode(0o640)).unwrap();
        let second = run(&program, &profile, "", "20");
        assert_eq!(second.1, "", "{variant:?}");
        assert_eq!(std::fs::metadata(&profile).unwrap().mode() & 0o777, 0o640, "{variant:?}");
        assert_eq!(second.learned(), (192, 64), "{variant:?}");
        assert_eq!(
            (second.total("learned_calls"), second.total("misses"), second.total("failures")),
            (0, 0, second.2),
            "{variant:?}"
        );
        assert_eq!(
            std::fs::read_to_string(&profile).unwrap(),
            saved,
            "{variant:?}: what was known is saved again"
        );
        let names = std::fs::read_dir(program.dir()).unwrap().count();
        assert_eq!(names, 3, "{variant:?}: program, profile and statistics");
    }
}

#[test]
fn a_program_that_was_replaced_while_it_ran_still_knows_its_names() {
    let (program, profile) = build(&[]);
    let options = format!("profile={}", profile.display());
    // Running, it removes itself.
    let output = program.try_run(&options, &["1000", program.path().to_str().unwrap()]).unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let saved = std::fs::read_to_string(&profile).unwrap();
    let name = program.path().file_name().unwrap().to_str().unwrap();
    assert!(saved.contains(&format!("object {name}\n")) && saved.contains("site_0x"), "{saved}");
    let stats = program.stats().unwrap();
    let site = &stats["sites"][0];
    assert!(site["function"].as_str().unwrap().starts_with("site_0x"), "{site}");
    assert_eq!(site["object"].as_str().unwrap(), program.path().to_str().unwrap());
}

#[test]
fn nothing_is_patched_after_a_frozen_start() {
    let (program, profile) = build(&[]);
    run(&program, &profile, "", "1000");
    // Half of the sites are forgotten.
    let text = std::fs::read_to_string(&profile).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    write(&profile, &lines[1..lines.len() / 2]);
    let frozen = run(&program, &profile, "mode=freeze", "1000");
    assert_eq!(frozen.1, "");
    assert!((100..200).contains(&frozen.total("executed")), "{}", frozen.total("executed"));
    assert_eq!((frozen.total("learning"), frozen.total("learned_calls")), (0, 0));
}

#[test]
fn a_profile_outlives_other_functions_and_addresses() {
    let (program, profile) = build(&[]);
    run(&program, &profile, "", "1000");
    // Other code in front of everything, and other code in the functions.
    let changed = Program::build("begin.c", &["-O1", "-Wl,--section-start=.text=0x300000"]).unwrap();
    let second = run(&changed, &profile, "", "20");
    assert_eq!(second.1, "");
    assert_eq!(second.learned(), (192, 64));
}

#[test]
fn static_functions_keep_their_names_under_thinlto() {
    let part = concat!(env!("CARGO_MANIFEST_DIR"), "/programs/promoted-part.c");
    let program = Program::build("promoted.c", &["-flto=thin", "-fuse-ld=lld", part]).unwrap();
    let symbols = std::fs::read(program.path()).unwrap();
    let promoted = |name: &[u8]| symbols.windows(name.len()).any(|window| window == name);
    assert!(promoted(b"\0site.llvm.") && promoted(b"\0target.llvm."), "the symbols have other names");
    let profile = program.dir().join("profile");
    assert_eq!(run(&program, &profile, "", "1000").total("monomorphic"), 1);
    let site = &program.stats().unwrap()["sites"][0];
    assert_eq!((&site["function"], &site["targets"][0]["function"]), (&"site".into(), &"target".into()));
    let saved = std::fs::read_to_string(&profile).unwrap();
    assert!(saved.contains("\nsite site 0 1\ntarget target 0\n"), "{saved}");
    let second = run(&program, &profile, "", "20");
    assert_eq!((second.total("monomorphic"), second.total("learned_calls")), (1, 0));
    assert_eq!(run(&program, &profile, "never=site", "1000").total("executed"), 0);
}

#[test]
fn a_wrong_pair_only_costs_speed() {
    let (program, profile) = build(&[]);
    run(&program, &profile, "", "1000");
    let text = std::fs::read_to_string(&profile).unwrap();
    // Every site gets the target of another one, and somewhere inside of it.
    let swapped = text.lines().filter(|line| !line.starts_with("end ")).skip(1).map(|line| {
        let Some(number) = line.strip_prefix("target target_").and_then(|rest| rest.split(' ').next()) else {
            return line.to_owned();
        };
        let number: u32 = number.parse().unwrap();
        format!("target target_{} {}", (number + 5) % 16, number % 3)
    });
    let swapped: Vec<String> = swapped.collect();
    write(&profile, &swapped.iter().map(String::as_str).collect::<Vec<_>>());
    let wrong = run(&program, &profile, "", "4000");
    assert_eq!(wrong.1, "");
    // Each site missed with every call until it had its own target as well.
    assert!(wrong.total("misses") >= 192 * 1024, "{}", wrong.total("misses"));
    assert_eq!(wrong.total("polymorphic") + wrong.2, 256);
    let right = run(&program, &profile, "", "1000");
    assert!(
        right.total("misses") < 256 * 1024,
        "what was relearned was not saved: {}",
        right.total("misses")
    );
}

#[test]
fn a_run_that_may_not_patch_keeps_what_was_learned_and_speaks_for_the_process() {
    let (program, profile) = build(&["-O2"]);
    run(&program, &profile, "", "1000");
    let saved = std::fs::read_to_string(&profile).unwrap();
    let refusing = Program::build("refuse.c", &["-O2"]).unwrap();
    let path = program.path().to_str().unwrap();
    for (call, said) in [
        ("membarrier", "membarrier SYNC_CORE is not"),
        ("pwrite64", "was refused"),
        ("madvise", "MADV_WIPEONFORK"),
    ] {
        let options = format!("verbose=1:profile={}", profile.display());
        let output = refusing.try_run(&options, &[call, "exec", path, "1000"]).unwrap();
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && message.contains(said), "{call}: {output:?}");
        assert_eq!(refusing.stats().unwrap()["totals"]["patches"], 0, "{call}");
        assert_eq!(std::fs::read_to_string(&profile).unwrap(), saved, "{call}");
        std::fs::remove_file(refusing.dir().join("stats.json")).unwrap();
    }
}

#[test]
fn what_is_no_profile_is_rejected_with_one_line() {
    let (program, profile) = build(&[]);
    run(&program, &profile, "", "1000");
    let text = std::fs::read(&profile).unwrap();
    let mut cases: Vec<(Vec<u8>, &str)> = vec![
        (b"".to_vec(), "line 1: expected 'relpoline profile 1'"),
        (text[..text.len() / 2].to_vec(), "is not a whole profile"),
        ([&text[..100], b"\0\xff", &text[102..]].concat(), "is not a whole profile"),
        (b"relpoline profile 2\n".to_vec(), "line 1"),
    ];
    write(&profile, &["object program", "site nowhere 0 1", "target nothing 0"]);
    cases.push((std::fs::read(&profile).unwrap(), "is the profile of another program"));
    for (bytes, expected) in cases {
        std::fs::write(&profile, bytes).unwrap();
        let ended = run(&program, &profile, "", "20");
        let errors = &ended.1;
        assert!(errors.lines().count() == 1 && errors.contains(expected), "{expected}: {errors}");
        assert!(errors.contains("RELPOLINE_OPTIONS=profile=FILE"), "{errors}");
        // Nobody misses a profile; what is none may be anything.
        assert_eq!(errors.contains("Remove"), !errors.contains("line 1:"), "{errors}");
        assert_eq!(ended.total("patches"), 0);
    }
    std::fs::remove_file(&profile).unwrap();
    std::fs::create_dir(&profile).unwrap();
    let errors = run(&program, &profile, "", "20").1;
    assert_eq!(errors.lines().count(), 2, "reading and writing: {errors}");
    assert!(errors.contains("it is a directory") && errors.contains("left alone"), "{errors}");
    assert!(!errors.contains("Remove"), "{errors}");
}

#[test]
fn what_is_no_profile_is_left_alone() {
    let (program, profile) = build(&[]);
    let run = || run(&program, &profile, "", "1000").1;
    std::fs::write(&profile, "dear diary").unwrap();
    let errors = run();
    assert_eq!(errors.lines().count(), 2, "reading and writing: {errors}");
    assert!(errors.contains("left alone") && errors.contains("RELPOLINE_OPTIONS=profile=FILE"), "{errors}");
    assert_eq!(std::fs::read(&profile).unwrap(), b"dear diary");
    // A link stays a link, to what it led to; a device stays a device.
    for place in [&program.dir().join("nothing"), Path::new("/dev/null"), Path::new("/dev/full")] {
        std::fs::remove_file(&profile).unwrap();
        std::os::unix::fs::symlink(place, &profile).unwrap();
        let errors = run();
        assert!(errors.contains("a symbolic link that is not followed"), "{place:?}: {errors}");
        assert_eq!(std::fs::read_link(&profile).unwrap(), *place);
    }
    std::fs::remove_file(&profile).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&profile).status().unwrap().success());
    let errors = run();
    assert!(errors.contains("left alone"), "{errors}");
    assert!(std::os::unix::fs::FileTypeExt::is_fifo(&std::fs::metadata(&profile).unwrap().file_type()));
    assert_eq!(std::fs::read_dir(program.dir()).unwrap().count(), 3, "program, pipe and statistics");
}

/// Writes a profile of these lines.
fn write(path: &Path, lines: &[&str]) {
    let body: String = std::iter::once("relpoline profile 1")
        .chain(lines.iter().copied())
        .map(|l| format!("{l}\n"))
        .collect();
    let sum = body.bytes().fold(0xcbf2_9ce4_8422_2325u64, |sum, byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    std::fs::write(path, format!("{body}end {} {sum:x}\n", lines.len())).unwrap();
}
