//! Shared objects that were built with relpolines, and the one runtime that they make up together.

use relpoline_tests::{Program, Run, compile, output, refusals};
use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;

/// The program and its three shared objects.
struct Plugins {
    program: Program,
    paths: [PathBuf; 3],
}

impl Plugins {
    fn build(variant: &[&str]) -> Self {
        let program = Program::build("plugins.c", &[variant, &["-rdynamic"]].concat()).unwrap();
        let paths = [("keep", 7), ("one", 1), ("two", 2)].map(|(name, constant)| {
            let path = program.dir().join(format!("lib{name}.so"));
            let constant = format!("-DCONSTANT={constant}");
            compile("plugin.c", &["-fPIC", "-shared", &constant], &path).unwrap();
            path
        });
        Self { program, paths }
    }

    fn run(&self, arguments: &[&str]) -> Run {
        let paths = self.paths.iter().map(|path| path.to_str().unwrap());
        let arguments: Vec<&str> = paths.chain(arguments.iter().copied()).collect();
        self.program.run(&arguments).unwrap()
    }

    fn before_and_after(&self) -> [Value; 2] {
        self.before_and_after_calls("5000")
    }

    /// Statistics from before and after an object goes that was called as often.
    fn before_and_after_calls(&self, number: &str) -> [Value; 2] {
        let files = ["before", "after"].map(|name| self.program.dir().join(name));
        self.run(&["0", number, files[0].to_str().unwrap(), files[1].to_str().unwrap()]);
        files.map(|file| serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap())
    }
}

/// The sites of one object.
fn sites<'a>(stats: &'a Value, object: &str) -> Vec<&'a Value> {
    let of_object = |site: &&Value| site["object"].as_str().is_some_and(|name| name.ends_with(object));
    stats["sites"].as_array().unwrap().iter().filter(of_object).collect()
}

#[test]
fn objects_come_and_go_while_threads_call_and_sites_learn_anew() {
    for (variant, times, patches) in
        [(&[] as &[&str], "3300", 1_000_000), (&["-O0", "-no-pie"], "300", 10_000)]
    {
        let run = Plugins::build(variant).run(&[times, "7"]);
        let same: u32 = run.stdout().strip_prefix("ok ").unwrap().trim().parse().unwrap();
        assert!(same > 0, "no object was ever loaded where another one had been");
        assert!(run.total("patches") >= patches && run.total("relearns") > 3_000, "{}", run.stats["totals"]);
        // The executable lies too far away from them for direct calls.
        let refusals = refusals(&run.stats);
        assert!(refusals.iter().all(|why| why.starts_with("target out of reach")), "{}", run.stats);
    }
}

#[test]
fn sites_are_sent_back_before_the_code_that_they_call_goes() {
    let [before, after] = Plugins::build(&[]).before_and_after();
    let site = |stats: &Value| {
        let sites = sites(stats, "libkeep.so");
        assert_eq!(sites.len(), 1, "{stats}");
        sites[0].clone()
    };
    assert_eq!(site(&before)["state"], "monomorphic", "{before}");
    assert_eq!(site(&before)["targets"][0]["patched"], true, "{before}");
    assert_eq!(site(&after)["state"], "learning", "{after}");
    assert_eq!(site(&after)["targets"].as_array().unwrap().len(), 0, "{after}");
}

#[test]
fn calls_that_were_counted_are_forgotten_before_the_code_goes() {
    let plugins = Plugins::build(&[]);
    let [before, after] = plugins.before_and_after_calls("50");
    // Too few for a branch; after them the site calls something else, which it decides on.
    let end = plugins.program.stats().unwrap();
    let targets = [&before, &after, &end].map(|stats| sites(stats, "libkeep.so")[0]["targets"].clone());
    let are_patched = targets.each_ref().map(|targets| {
        let targets = targets.as_array().unwrap().iter();
        targets.map(|target| target["patched"].as_bool().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(are_patched, [vec![false], vec![], vec![true]], "{targets:?}");
}

#[test]
fn what_an_object_has_mapped_is_given_back_after_it_has_gone() {
    let program = Program::build("crowds.c", &["-rdynamic"]).unwrap();
    let objects = ["keep", "go", "other"].map(|name| {
        let path = program.dir().join(format!("lib{name}.so"));
        compile("crowd.c", &["-fPIC", "-shared"], &path).unwrap();
        path.into_os_string().into_string().unwrap()
    });
    let arguments: Vec<&str> = objects.iter().map(String::as_str).chain(["200"]).collect();
    let run = program.run(&arguments).unwrap();
    let mappings: Vec<u64> = run.stdout().split_whitespace().map(|count| count.parse().unwrap()).collect();
    // One that goes leaves nine or so. A thread that comes besides has a stack, and memory of its own.
    assert!(mappings[1] < mappings[0] + 30, "{mappings:?}");
}

#[test]
fn one_report_speaks_for_all_objects_that_are_loaded() {
    let plugins = Plugins::build(&[]);
    let [before, after] = plugins.before_and_after();
    assert_eq!(before["totals"]["sites"].as_u64().unwrap(), after["totals"]["sites"].as_u64().unwrap() + 1);
    let stats = plugins.program.stats().unwrap();
    assert_eq!(sites(&stats, "libkeep.so").len(), 1, "{stats}");
    // The one that went before the process did has spoken for itself.
    let files = std::fs::read_dir(plugins.program.dir()).unwrap().map(|entry| entry.unwrap().file_name());
    let names: Vec<String> = files.map(|name| name.into_string().unwrap()).collect();
    assert!(names.contains(&"stats.json.libone.so".into()), "{names:?}");
    assert!(!names.contains(&"stats.json.libkeep.so".into()), "{names:?}");
}

#[test]
fn objects_without_a_note_speak_for_themselves() {
    let dir = tempfile::tempdir().unwrap();
    let script = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        format!("-Wl,-T,{}", path.display())
    };
    let discard = script("discard", "SECTIONS { /DISCARD/ : { *(.note*) } } INSERT AFTER .text;");
    // Notes that are padded to eight bytes in front of those that are padded to four.
    let merge = script("merge", "SECTIONS { .notes : { *(.note.*) } } INSERT BEFORE .text;");
    let switched = |program: &Program| {
        let files = [1, 2, 3, 4, 5, 6].map(|step| program.dir().join(format!("step-{step}")));
        let run = program.run(&files).unwrap();
        assert_eq!(run.stdout(), "16\n256\n1\n0\n-1\n0\n");
        assert_eq!(run.total("sites"), 256);
    };
    for script in [&discard, &merge] {
        switched(&Program::build("names.c", &["-fuse-ld=bfd", "-Wl,--build-id=none", script]).unwrap());
    }
    let program = Program::build("names.c", &[]).unwrap();
    let arguments = ["-R", ".note.relpoline", program.path().to_str().unwrap()];
    assert!(output(Command::new("objcopy").args(arguments)).unwrap().status.success());
    switched(&program);
}

#[test]
fn objects_whose_notes_were_moved_are_found_and_those_that_lie_are_not() {
    for variant in [&[] as &[&str], &["-no-pie"]] {
        let plugins = Plugins::build(variant);
        for path in [plugins.program.path()].into_iter().chain(plugins.paths.iter().map(PathBuf::as_path)) {
            // Longer than what was there, so that it has to make room.
            let mut patchelf = Command::new("patchelf");
            let patchelf = output(patchelf.args(["--set-rpath", &"/nowhere".repeat(40)]).arg(path));
            let patchelf = patchelf.expect("patchelf is installed by ci/setup");
            assert!(patchelf.status.success(), "{}: {patchelf:?}", path.display());
        }
        let [before, after] = plugins.before_and_after();
        assert_eq!(sites(&before, "libkeep.so").len(), 1, "{variant:?} {before}");
        assert_eq!(sites(&after, "libkeep.so")[0]["state"], "learning", "{variant:?} {after}");
    }
    let program = Program::build("names.c", &["-Wl,--build-id=none"]).unwrap();
    let mut file = std::fs::read(program.path()).unwrap();
    let head = b"\x01\0\0\0relpoline\0\0\0";
    let note = file.windows(head.len()).position(|bytes| bytes == head).unwrap() + head.len();
    file[note..note + 4].fill(0x11);
    std::fs::write(program.path(), file).unwrap();
    let files = [1, 2, 3, 4, 5, 6].map(|step| program.dir().join(format!("step-{step}")));
    assert_eq!(program.run(&files).unwrap().total("sites"), 256);
}

#[test]
fn a_program_that_the_dynamic_linker_was_asked_to_run_speaks_for_all() {
    let program = Program::build("begin.c", &[]).unwrap();
    let stats = program.dir().join("stats.json");
    let mut command = std::process::Command::new("/lib64/ld-linux-x86-64.so.2");
    command.arg(program.path()).env("RELPOLINE_OPTIONS", format!("stats={}", stats.display()));
    let output = output(&mut command).unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "ok\n", "{output:?}");
    assert_eq!(program.stats().unwrap()["totals"]["executed"], 256);
}
