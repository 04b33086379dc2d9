//! relpoline info and relpoline flags.

mod common;

use common::{DISPATCH, DISPATCH_OUTPUT, Files, Outcome, REAL_CLANG, RELPOLINE, command, home};
use std::fs;

#[test]
fn everything_is_there() {
    let files = Files::new(&[]);
    let text = files.run(RELPOLINE, "info").in_silence().stdout;
    assert!(text.contains("loads the plugin") && text.contains("Programs can be built"), "{text}");
    let info = files.run(RELPOLINE, "info --json").in_silence().json();
    assert_eq!((&info["ok"], &info["llvm"]), (&true.into(), &22.into()));
    assert_eq!(info["languages"], serde_json::json!(["c", "c++", "rust"]));
    assert_eq!(info["disabled"], false);
    let names: Vec<_> =
        info["checks"].as_array().unwrap().iter().map(|check| check["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["plugin", "runtime", "clang", "lld", "rustc", "membarrier", "patching"]);
}

#[test]
fn what_is_missing_is_named_with_the_command_that_mends_it() {
    let files = Files::new(&[]);
    let old = files.script("clang-old", "echo 'clang version 19.1.7'");
    let mut info = command(RELPOLINE);
    info.env("RELPOLINE_HOME", "/nowhere").env("RELPOLINE_CLANG", &old).env("RELPOLINE_RUSTC", "no-rustc");
    let outcome = files.run_with(info, "info");
    assert_eq!(outcome.status, 1);
    for part in [
        "librelpoline_pass.so not found in /nowhere",
        "-> unset RELPOLINE_HOME, or set it to the directory that holds librelpoline_pass.so",
        "librelpoline_rt.a not found in /nowhere",
        "is of LLVM 19, expected LLVM 22",
        "-> unset RELPOLINE_CLANG, or set it to a clang of LLVM 22 (apt-get install clang-22)",
        "no-rustc not found in PATH",
        "-> unset RELPOLINE_RUSTC, or set it to a rustc of LLVM 22 (rustup",
    ] {
        assert!(outcome.stdout.contains(part), "'{part}' is not in {}", outcome.stdout);
    }
    let mut info = command(RELPOLINE);
    info.env("RELPOLINE_PASS", "/nowhere").env("RELPOLINE_CLANG", "/bin/true");
    let outcome = files.run_with(info, "info");
    for part in [
        "-> unset RELPOLINE_PASS, or set it to the path of librelpoline_pass.so",
        "/nowhere does not exist, but RELPOLINE_PASS",
        "/bin/true is not the compiler that was expected",
        "-> unset RELPOLINE_CLANG",
    ] {
        assert!(outcome.stdout.contains(part), "'{part}' is not in {}", outcome.stdout);
    }
}

/// What `relpoline info` says with these variables.
fn info_with(files: &Files, variables: &[(&str, &str)]) -> (Outcome, serde_json::Value) {
    let run = |line: &str| {
        let mut info = command(RELPOLINE);
        info.envs(variables.iter().copied());
        files.run_with(info, line)
    };
    (run("info"), run("info --json").json())
}

#[test]
fn what_can_be_built_is_said() {
    let files = Files::new(&[]);
    let (text, json) = info_with(&files, &[("RELPOLINE_CLANG", "/bin/true")]);
    let expected = "Rust programs can be built with relpolines, C and C++ programs cannot.\n";
    assert!(text.status == 0 && text.stdout.ends_with(expected), "{text:?}");
    assert!(text.stdout.contains("lld          not looked for"), "{text:?}");
    assert_eq!((&json["ok"], &json["languages"]), (&true.into(), &serde_json::json!(["rust"])));
    let (text, json) = info_with(&files, &[("RELPOLINE_RUSTC", "no-rustc")]);
    let expected = "C and C++ programs can be built with relpolines, Rust programs cannot.\n";
    assert!(text.status == 0 && text.stdout.ends_with(expected), "{text:?}");
    assert_eq!(json["languages"], serde_json::json!(["c", "c++"]));
    let (text, json) = info_with(&files, &[("RELPOLINE_DISABLE", "1")]);
    assert!(text.status == 0 && text.stdout.starts_with("RELPOLINE_DISABLE is set: "), "{text:?}");
    assert!(text.stdout.contains("run: unset RELPOLINE_DISABLE\n"), "{text:?}");
    assert_eq!(json["disabled"], true);
}

#[test]
fn a_list_that_cannot_be_read_is_not_the_plugins_fault() {
    let files = Files::new(&[("list", "fun:f\n")]);
    let (text, json) = info_with(&files, &[("RELPOLINE_IGNORELIST", "/nowhere")]);
    let expected = "missing  ignore-list  /nowhere cannot be read: No such file";
    assert!(text.status == 1 && text.stdout.contains(expected), "{text:?}");
    assert!(text.stdout.contains("-> unset RELPOLINE_IGNORELIST, or set it to a file"), "{text:?}");
    assert!(!text.stdout.contains("does not load the plugin"), "{text:?}");
    assert_eq!((&json["ok"], &json["checks"][2]["name"]), (&false.into(), &"ignore-list".into()));
    let (text, json) = info_with(&files, &[("RELPOLINE_IGNORELIST", "list")]);
    assert!(text.status == 0 && json["checks"][2]["state"] == "ok", "{text:?}");
}

#[test]
fn what_is_no_runtime_is_noticed() {
    let files = Files::new(&[("empty.a", "!<arch>\n")]);
    for (path, fault) in [
        ("/etc/passwd", "/etc/passwd is no archive"),
        ("empty.a", "empty.a is an archive without the symbol __relpoline_slow"),
    ] {
        let (text, json) = info_with(&files, &[("RELPOLINE_RUNTIME", path)]);
        assert!(text.status == 1 && text.stdout.contains(fault), "{text:?}");
        let mend = "unset RELPOLINE_RUNTIME, or set it to the path of librelpoline_rt.a";
        assert_eq!(
            (&json["checks"][1]["state"], &json["checks"][1]["mend"]),
            (&"missing".into(), &mend.into())
        );
    }
}

#[test]
fn a_plugin_that_does_not_load_is_noticed() {
    let files = Files::new(&[("librelpoline_pass.so", "rubbish"), ("librelpoline_rt.a", "!<arch>\n")]);
    let mut info = command(RELPOLINE);
    info.env("RELPOLINE_HOME", files.path(""));
    let outcome = files.run_with(info, "info");
    assert!(outcome.status == 1 && outcome.stdout.contains("does not load the plugin"), "{outcome:?}");
}

#[test]
fn what_stands_in_the_way_of_a_trial_is_not_the_plugin() {
    let files = Files::new(&[]);
    let mut info = command(RELPOLINE);
    info.env("TMPDIR", "/nowhere");
    let outcome = files.run_with(info, "info");
    let expected = "-> unset TMPDIR, or set it to a directory that can be written to";
    assert!(outcome.stdout.contains(expected) && !outcome.stdout.contains("cargo build"), "{outcome:?}");
}

#[test]
fn flags_build_programs_without_the_wrapper() {
    let files = Files::new(&[("a.c", DISPATCH)]);
    let flags = |line: &str| files.run(RELPOLINE, &format!("flags {line}")).in_silence().stdout;
    let (compile, link, lto) = (flags("c"), flags("ld"), flags("ld --lto"));
    assert_eq!(compile, flags("cxx"));
    files.run(REAL_CLANG, &format!("-O2 -Werror -c {compile} a.c")).in_silence();
    files.run(REAL_CLANG, &format!("a.o {link} -o a")).in_silence();
    files.run_built("a").prints(DISPATCH_OUTPUT);
    assert!(files.sites("a").len() == 1 && files.has_runtime("a"));
    files.run(REAL_CLANG, &format!("-O2 -flto -c {compile} a.c")).in_silence();
    files.run(REAL_CLANG, &format!("-flto a.o {lto} -o a")).in_silence();
    files.run_built("a").prints(DISPATCH_OUTPUT);
    assert!(files.sites("a").len() == 1 && files.has_runtime("a"));
}

/// As LDFLAGS they stand in front of the objects, as LDLIBS behind them.
#[test]
fn flags_for_the_linker_work_at_any_place() {
    let files = Files::new(&[("a.c", DISPATCH), ("plain.c", "int main(void) { return 0; }")]);
    let flags = |line: &str| files.run(RELPOLINE, &format!("flags {line}")).in_silence().stdout;
    let (compile, link) = (flags("c"), flags("ld"));
    files.run(REAL_CLANG, &format!("-O2 -c {compile} a.c")).in_silence();
    files.run(REAL_CLANG, &format!("-O2 -fPIC -DLIBRARY -c {compile} a.c -o b.o")).in_silence();
    files.run(REAL_CLANG, "-c plain.c").in_silence();
    for options in
        ["", "-fuse-ld=lld", "-static", "-static-pie", "-no-pie", "-fuse-ld=lld -static -Wl,--gc-sections"]
    {
        for line in [format!("{link} a.o"), format!("a.o {link}"), format!("{link} a.o {link}")] {
            files.run(REAL_CLANG, &format!("{options} {line} -o a")).in_silence();
            files.run_built("a").prints(DISPATCH_OUTPUT);
            assert!(files.sites("a").len() == 1 && files.has_runtime("a"), "{options} {line}");
        }
        // A program without sites.
        files.run(REAL_CLANG, &format!("{options} {link} plain.o -o plain")).in_silence();
        files.run_built("plain").succeeds();
        let mut stats = command(files.path("plain"));
        stats.env("RELPOLINE_OPTIONS", "stats=stats.json");
        files.run_with(stats, "").in_silence();
    }
    for linker in ["", "-fuse-ld=lld"] {
        files.run(REAL_CLANG, &format!("{linker} -shared {link} b.o -o liba.so")).in_silence();
        assert!(files.sites("liba.so").len() == 1 && files.has_runtime("liba.so"));
    }
}

#[test]
fn flags_change_with_the_plugin() {
    let files = Files::new(&[]);
    for part in ["librelpoline_pass.so", "librelpoline_rt.a"] {
        fs::copy(home().join(part), files.path(part)).unwrap();
    }
    let flags = |tool: &str| {
        let mut command = command(RELPOLINE);
        command.env("RELPOLINE_HOME", files.path(""));
        files.run_with(command, &format!("flags {tool}")).in_silence().stdout
    };
    for tool in ["c", "cxx", "rust"] {
        let before = flags(tool);
        assert_eq!(flags(tool), before);
        let plugin = files.path("librelpoline_pass.so");
        fs::write(&plugin, [fs::read(&plugin).unwrap(), vec![0]].concat()).unwrap();
        assert_ne!(flags(tool), before, "{tool}");
    }
}

/// A variable of relpoline's does not stand on the command line, so that the flags must tell of it.
#[test]
fn flags_change_with_what_the_plugin_is_asked_for() {
    let files = Files::new(&[("list", "fun:a\n")]);
    for tool in ["c", "cxx", "rust"] {
        let flags = |variable: &str, value: &str| {
            let mut command = command(RELPOLINE);
            command.env(variable, value);
            files.run_with(command, &format!("flags {tool}")).in_silence().stdout
        };
        let mut all = vec![flags("RELPOLINE_FORM", ""), flags("RELPOLINE_IGNORELIST", "list")];
        all.extend(["inline", "stub"].map(|form| flags("RELPOLINE_FORM", form)));
        files.write("list", "fun:b\n");
        all.push(flags("RELPOLINE_IGNORELIST", "list"));
        files.write("list", "fun:a\n");
        assert_eq!(all[1], flags("RELPOLINE_IGNORELIST", "list"), "{tool}");
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 5, "{tool}: {all:?}");
    }
}

#[test]
fn flags_refuse_what_a_variable_cannot_hold() {
    let files = Files::new(&[("a b/librelpoline_pass.so", ""), ("a b/librelpoline_rt.a", "")]);
    let with = |line: &str| {
        let mut command = command(RELPOLINE);
        command.env("RELPOLINE_HOME", files.path("a b"));
        files.run_with(command, line)
    };
    for tool in ["c", "cxx", "ld", "ld --lto"] {
        with(&format!("flags {tool}"))
            .fails_with(2, &["cannot be passed in a variable of flags", "without blanks, or use --json"]);
    }
    assert!(
        with("flags ld --json").in_silence().json()[1].as_str().unwrap().ends_with("a b/librelpoline_rt.a")
    );
}

#[test]
fn commands_that_do_not_exist_are_not_in_the_help() {
    let files = Files::new(&[]);
    let help = files.run(RELPOLINE, "--help").in_silence().stdout;
    let (_, rest) = help.split_once("Commands:\n").unwrap();
    let listed: Vec<_> =
        rest.lines().map_while(|line| line.strip_prefix("  ")?.split_whitespace().next()).collect();
    // The last one is clap's own.
    for command in &listed[..listed.len() - 1] {
        let help = files.run(RELPOLINE, &format!("{command} --help")).in_silence().stdout;
        assert!(help.contains("Usage: relpoline"), "{command}: {help}");
    }
    assert!(listed.len() > 4, "{help}");
    assert_eq!(files.run(RELPOLINE, "no-such-command").status, 2);
}
