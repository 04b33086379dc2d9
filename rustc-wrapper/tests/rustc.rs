//! relpoline-rustc as RUSTC_WRAPPER, as RUSTC, and behind cargo.

mod common;

use common::{CARGO, Files, RELPOLINE, RUSTC, command, home};
use std::{fs, path::PathBuf, process::Command};

const PROGRAM: &str = r#"
fn main() {
    let functions: Vec<Box<dyn Fn(u64) -> u64>> = vec![Box::new(|x| x + 1), Box::new(|x| x * 2)];
    println!("{}", (0..10_000usize).map(|i| functions[i & 1](i as u64)).sum::<u64>());
}
"#;
const PROGRAM_OUTPUT: &str = "75000000\n";

fn program() -> Files {
    Files::new(&[("main.rs", PROGRAM)])
}

#[track_caller]
fn is_protected(files: &Files, name: &str) {
    files.run_built(name).prints(PROGRAM_OUTPUT);
    assert!(!files.sites(name).is_empty() && files.has_runtime(name));
    files.run(RELPOLINE, &format!("audit {name}")).succeeds();
}

#[test]
fn as_rustc_and_as_wrapper() {
    let files = program();
    for line in
        ["-O main.rs", "rustc -O main.rs", "rustc main.rs", "-O -Clto=fat main.rs", "-O -Clto=thin main.rs"]
    {
        files.run(RUSTC, line).in_silence();
        is_protected(&files, "main");
    }
    files.run(RUSTC, "-O -Ctarget-feature=+crt-static main.rs").in_silence();
    is_protected(&files, "main");
    files.write("arguments", "-O\nmain.rs\n-o\nfrom a file");
    files.run(RUSTC, "@arguments").in_silence();
    is_protected_path(&files, "from a file");
    // Read by the wrapper, a pipe is empty.
    let mut piped = command("bash");
    piped.args(["-c", r#""$0" @<(printf '%s\n' -O main.rs -o "from a pipe")"#]).arg(RUSTC);
    files.run_with(piped, "").in_silence();
    is_protected_path(&files, "from a pipe");
}

fn is_protected_path(files: &Files, name: &str) {
    files.run_built(name).prints(PROGRAM_OUTPUT);
    assert!(files.has_runtime(name));
}

#[test]
fn forms_and_plain_rustc() {
    let files = program();
    files.run(RUSTC, "-O main.rs --relpoline-form=stub").in_silence();
    assert!(files.sites("main").iter().all(|site| site.0 == "stub"));
    files.run(RUSTC, "-O main.rs --relpoline-disable").in_silence();
    assert!(files.sites("main").is_empty());
}

#[test]
fn debians_rustc() {
    let files = program();
    files.run(RUSTC, "/usr/bin/rustc -O main.rs").in_silence();
    is_protected(&files, "main");
}

#[test]
fn its_description_has_one_more_line_that_changes_with_the_plugin() {
    let files = program();
    for part in ["librelpoline_pass.so", "librelpoline_rt.a"] {
        fs::copy(home().join(part), files.path(part)).unwrap();
    }
    let describe = |line: &str| {
        let mut command = command(RUSTC);
        command.env("RELPOLINE_HOME", files.path(""));
        files.run_with(command, line).in_silence().stdout
    };
    let before = describe("rustc -vV");
    let plain = files.run("rustc", "-vV").stdout;
    assert_eq!(before.strip_prefix(&plain).unwrap().split(' ').next(), Some("relpoline:"));
    assert_eq!(describe("rustc -vV"), before);
    assert_ne!(describe("rustc -vV --relpoline-form=stub"), before);
    files.write("list", "fun:main");
    let listed = describe("rustc -vV --relpoline-ignorelist=list");
    assert_ne!(listed, before);
    files.write("list", "fun:other");
    assert_ne!(describe("rustc -vV --relpoline-ignorelist=list"), listed);
    for part in ["librelpoline_pass.so", "librelpoline_rt.a"] {
        let old = describe("-vV");
        fs::write(files.path(part), [fs::read(files.path(part)).unwrap(), vec![0]].concat()).unwrap();
        assert_ne!(describe("-vV"), old);
    }
}

#[test]
fn questions_are_answered_by_rustc_alone() {
    let files = program();
    for line in ["--version", "--print=cfg", "--print sysroot", "-C help", "--explain E0001"] {
        let mut command = command(RUSTC);
        command.env("RELPOLINE_HOME", "/nowhere");
        assert_eq!(files.run_with(command, line).in_silence().stdout, files.run("rustc", line).stdout);
    }
}

#[test]
fn features_stay_what_the_release_allows() {
    let files = Files::new(&[("main.rs", "#![feature(never_type)]\nfn main() {}\n")]);
    // Our option needs a permission that opens all features; only the option may make use of it.
    let stable = files.run(RUSTC, "+stable main.rs");
    assert!(stable.status != 0 && stable.stderr.contains("feature"), "{stable:?}");
    files.run(RUSTC, "+nightly --cap-lints=allow main.rs").in_silence();
    let mut permitted = command(RUSTC);
    permitted.env("RUSTC_BOOTSTRAP", "1");
    files.run_with(permitted, "+stable --cap-lints=allow main.rs").in_silence();
}

#[test]
fn what_cannot_work_says_so() {
    let files = program();
    let old = files.script(
        "rustc-old",
        "printf 'rustc 1.90.0\\nhost: x86_64-unknown-linux-gnu\\nrelease: 1.90.0\\nLLVM version: 20.1.8\\n'",
    );
    let expected = ["rustc-old is of LLVM 20.1.8 (rustc 1.90.0), expected LLVM 22"];
    files.run(RUSTC, &format!("{} main.rs", old.display())).fails_with(1, &expected);
    files.run(RUSTC, &format!("{} -vV", old.display())).fails_with(1, &expected);
    for line in ["main.rs", "-vV"] {
        let mut command = command(RUSTC);
        command.env("RELPOLINE_HOME", "/nowhere");
        files.run_with(command, line).fails_with(1, &["librelpoline_pass.so not found in /nowhere"]);
    }
    let foreign = files.run(RUSTC, "--target=aarch64-unknown-linux-gnu main.rs");
    let warning = "warning: target aarch64-unknown-linux-gnu is not supported";
    assert_eq!(foreign.stderr.matches(warning).count(), 1, "{foreign:?}");
}

/// A package with a build script and a procedural macro, which run protected code in the compiler.
fn package() -> Files {
    Files::new(&[
        ("Cargo.toml", "[workspace]\nmembers = [\"app\", \"macros\"]\nresolver = \"3\"\n"),
        (
            "app/Cargo.toml",
            "[package]\nname = \"app\"\nedition = \"2024\"\n[dependencies]\nmacros.path = \"../macros\"\n",
        ),
        (
            "app/build.rs",
            "fn main() {\n    let f: Box<dyn Fn(u32) -> u32> = Box::new(|x| x + 1);\n    \
             println!(\"cargo::rustc-env=ANSWER={}\", f(41));\n    println!(\"cargo::rerun-if-changed=build.rs\");\n}\n",
        ),
        ("app/src/main.rs", "fn main() {\n    println!(\"{} {}\", env!(\"ANSWER\"), macros::seven!());\n}\n"),
        ("macros/Cargo.toml", "[package]\nname = \"macros\"\nedition = \"2024\"\n[lib]\nproc-macro = true\n"),
        (
            "macros/src/lib.rs",
            "use proc_macro::TokenStream;\n#[proc_macro]\npub fn seven(_: TokenStream) -> TokenStream {\n    \
             \"7\".parse().unwrap()\n}\n",
        ),
    ])
}

/// A program that speaks to the runtime through the crate for that.
#[test]
fn programs_speak_to_the_runtime() {
    let control = concat!(env!("CARGO_MANIFEST_DIR"), "/../runtime/control");
    let manifest = format!(
        "[package]\nname = \"app\"\nedition = \"2024\"\n[dependencies]\nrelpoline-control.path = \"{control}\"\n[workspace]\n"
    );
    let program = r#"
use relpoline_control::{Mode, relearn, set_function, set_mode, set_object, set_site, write_stats};
#[inline(never)]
fn call(functions: &[fn(u64) -> u64]) -> u64 {
    (0..10_000usize).map(|i| functions[i & 1](i as u64)).sum()
}
fn main() {
    let functions: [fn(u64) -> u64; 2] = std::hint::black_box([|x| x + 1, |x| x * 2]);
    println!("{:?}", set_mode(Mode::Off));
    println!("{}", call(&functions));
    println!("{:?} {:?}", set_mode(Mode::On), relearn());
    println!("{}", call(&functions));
    println!("{:?} {:?}", set_site(1, false), set_object(c"nothing", false));
    println!("{:?}", set_function(c"*", false).map(|sites| sites > 0));
    println!("{:?}", set_mode(Mode::Freeze));
    println!("{:?} {:?}", write_stats(c"stats.json"), write_stats(c"/nowhere/stats.json"));
}
"#;
    let files = Files::new(&[("Cargo.toml", &manifest), ("src/main.rs", program)]);
    let mut build = command(CARGO);
    build.env("RUSTUP_TOOLCHAIN", "stable");
    files.run_with(build, "relpoline build --offline").succeeds();
    files.run_built("target/debug/app").prints(
        "Ok(())\n75000000\nOk(()) Ok(())\n75000000\nOk(0) Ok(0)\nOk(true)\nOk(())\nOk(()) Err(System(2))\n",
    );
    assert!(fs::read_to_string(files.path("stats.json")).unwrap().contains(r#""mode":"freeze""#));
    let mut plain = command("cargo");
    plain.env("RUSTUP_TOOLCHAIN", "stable");
    files.run_with(plain, "build --offline").succeeds();
    let output = files.run_built("target/debug/app").succeeds().stdout;
    assert!(output.starts_with("Err(NotBuilt)\n75000000\nErr(NotBuilt)"), "{output}");
}

/// Nothing unprotected is left in a program whose standard library was built with it.
#[test]
fn the_standard_library_takes_part() {
    let files = package();
    files.write("app/src/main.rs", PROGRAM);
    let mut build = command(CARGO);
    build.env("RUSTUP_TOOLCHAIN", "nightly");
    // rustc links with lld there.
    build.env("RUSTFLAGS", "-Clink-arg=-Wl,-z,retpolineplt");
    files.run_with(build, "relpoline --build-std build --release").succeeds();
    let program = "target/x86_64-unknown-linux-gnu/release/app";
    is_protected(&files, program);
    let audit = files.run(RELPOLINE, &format!("audit --strict --json {program}")).json()[0].clone();
    let unprotected = |branch: &&serde_json::Value| branch["class"] != "exception";
    let left: Vec<_> = audit["branches"].as_array().unwrap().iter().filter(unprotected).collect();
    assert!(audit["passed"] == true && left.is_empty(), "{left:?}");
    assert!(audit["relpoline_sites"]["inline"].as_u64().unwrap() > 100, "{audit}");
    // Build scripts are programs of the compiler's, not of the user's.
    let scripts = fs::read_dir(files.path("target/release/build")).unwrap();
    let scripts: Vec<_> = scripts
        .map(|entry| {
            format!("target/release/build/{}/build-script-build", entry.unwrap().file_name().display())
        })
        .filter(|script| files.path(script).exists())
        .collect();
    assert!(!scripts.is_empty() && scripts.iter().all(|script| !files.has_runtime(script)), "{scripts:?}");
}

#[test]
fn a_standard_library_without_source_says_so() {
    let files = program();
    let rustc = files.script(
        "rustc",
        "case $1 in --print) echo /nowhere ;; *) printf 'rustc 1.95.0\\nhost: x86_64-unknown-linux-gnu\\nrelease: \
         1.95.0\\nLLVM version: 22.1.2\\n' ;; esac",
    );
    let mut build = command(CARGO);
    build.env("RUSTC", rustc);
    files
        .run_with(build, "relpoline --build-std build")
        .fails_with(1, &["/nowhere/lib/rustlib/src/rust/library/std", "rustup component add rust-src"]);
}

#[test]
fn what_is_wrong_is_said_by_its_name() {
    let files = program();
    files
        .run(CARGO, "relpoline build --release --build-std")
        .fails_with(1, &["--build-std must stand in front", "cargo relpoline --build-std build"]);
    let mut cargo = command(CARGO);
    cargo.env("CARGO", "cargo");
    files
        .run_with(cargo, "relpoline --build-std +nightly build --release")
        .fails_with(1, &["must stand in front", "cargo +nightly relpoline --build-std build --release"]);
    for line in ["-vV", "main.rs"] {
        files
            .run(RUSTC, &format!("/nowhere/rustc {line}"))
            .fails_with(1, &["/nowhere/rustc", "No such file"]);
        files.run(RUSTC, &format!("{line} --relpoline-ignorelist=/nowhere")).fails_with(
            1,
            &[
                "RELPOLINE_IGNORELIST: cannot read '/nowhere': No such file",
                "name a list that can be read, or none",
            ],
        );
    }
}

#[test]
fn options_end_where_the_files_begin() {
    let files = program();
    files.run(RUSTC, "-O -- main.rs").in_silence();
    is_protected(&files, "main");
}

fn compiled(files: &Files, command: Command, line: &str) -> usize {
    let outcome = files.run_with(command, line).succeeds();
    outcome.stderr.matches("Compiling").count()
}

#[test]
fn cargo_compiles_again_when_the_plugin_changes() {
    let files = package();
    for part in ["librelpoline_pass.so", "librelpoline_rt.a"] {
        fs::copy(home().join(part), files.path(part)).unwrap();
    }
    for toolchain in ["stable", "nightly"] {
        let build = || {
            let mut command = command(CARGO);
            command.env("RELPOLINE_HOME", files.path("")).env("RUSTUP_TOOLCHAIN", toolchain);
            compiled(&files, command, "relpoline build --offline")
        };
        assert_eq!(build(), 2, "{toolchain}");
        files.run_built("target/debug/app").prints("42 7\n");
        assert!(files.has_runtime("target/debug/app"));
        assert_eq!(build(), 0, "{toolchain}");
        let plugin = files.path("librelpoline_pass.so");
        fs::write(&plugin, [fs::read(&plugin).unwrap(), vec![0]].concat()).unwrap();
        assert_eq!(build(), 2, "{toolchain}");
        assert_eq!(build(), 0, "{toolchain}");
    }
}

/// rustdoc builds the tests in comments itself, past the wrapper, and some of them as one program.
#[test]
fn tests_in_comments_are_built_with_it() {
    let library = r#"
/// ```
/// #[inline(never)]
/// fn in_a_comment(function: fn(u64) -> u64) -> u64 {
///     function(2) + 1
/// }
/// let functions: [fn(u64) -> u64; 2] = std::hint::black_box([|x| x + 1, |x| x * 2]);
/// assert_eq!(functions.map(in_a_comment), functions.map(app::call));
/// ```
pub fn call(function: fn(u64) -> u64) -> u64 {
    function(2) + 1
}
/// ```
/// assert!(cfg!(relpoline) && cfg!(of_the_user));
/// ```
pub fn another() {}
/// ```compile_fail
/// #![feature(never_type)]
/// let never: Option<!> = None;
/// ```
pub fn unstable() {}
"#;
    for (toolchain, edition) in [("stable", "2024"), ("stable", "2021"), ("nightly", "2024")] {
        let manifest = format!("[package]\nname = \"app\"\nedition = \"{edition}\"\n[workspace]\n");
        // The last test is one that nightly passes.
        let text = if toolchain == "nightly" { library.replace("compile_fail", "") } else { library.into() };
        let files = Files::new(&[
            ("Cargo.toml", &manifest),
            ("src/lib.rs", &text),
            (".cargo/config.toml", "[build]\nrustdocflags = [\"--cfg=of_the_user\"]\n"),
        ]);
        let mut test = command(CARGO);
        let stats = files.path("stats-%p.json");
        test.env("RUSTUP_TOOLCHAIN", toolchain)
            .env("RELPOLINE_OPTIONS", format!("stats={}", stats.display()));
        files.run_with(test, "relpoline test --doc --offline").succeeds();
        let written = fs::read_dir(files.path(".")).unwrap().map(|entry| entry.unwrap().path());
        let mut all = written.filter(|path| path.extension().is_some_and(|end| end == "json"));
        let sites = all.any(|path| fs::read_to_string(path).unwrap().contains("in_a_comment"));
        assert!(sites, "{toolchain}, {edition}");
    }
}

#[test]
fn the_users_rustdoc_is_run() {
    let files = package();
    files.write("app/src/lib.rs", "");
    files.script("rustdoc", "echo \"the user's $@\" >&2; exec rustdoc \"$@\"");
    let mut test = command(CARGO);
    test.env("RUSTUP_TOOLCHAIN", "stable")
        .env("RUSTDOC", "./rustdoc")
        .env("RUSTDOCFLAGS", "--cfg=of_the_user");
    let outcome = files.run_with(test, "relpoline test --doc --offline -p app").succeeds();
    let line = outcome.stderr.lines().find(|line| line.starts_with("the user's --edition")).unwrap();
    assert!(line.contains("--cfg=of_the_user") && line.contains("-Zllvm-plugins="), "{line}");
    let mut plain = command(CARGO);
    plain.env("RUSTUP_TOOLCHAIN", "stable").env("RUSTDOC", "./rustdoc").env("RELPOLINE_DISABLE", "1");
    let outcome = files.run_with(plain, "relpoline test --doc --offline -p app").succeeds();
    assert!(outcome.stderr.contains("the user's") && !outcome.stderr.contains("llvm-plugins"), "{outcome:?}");
}

/// On nightly the incremental compiler finds what it made before, and must not take it.
#[test]
fn what_was_compiled_before_is_not_taken_for_new() {
    let files = package();
    files.write("app/src/main.rs", PROGRAM);
    for form in ["inline", "stub", "inline"] {
        let mut command = command(CARGO);
        command.env("RELPOLINE_FORM", form).env("RUSTUP_TOOLCHAIN", "nightly");
        assert_eq!(compiled(&files, command, "relpoline build --offline"), 2, "{form}");
        let sites = files.sites("target/debug/app");
        assert!(!sites.is_empty() && sites.iter().all(|site| site.0 == form), "{form}: {sites:?}");
    }
}

#[test]
fn flags_do_without_a_wrapper() {
    let files = package();
    let flags = files.run(RELPOLINE, "flags rust").in_silence().stdout;
    let mut cargo = command("cargo");
    cargo.env("RUSTUP_TOOLCHAIN", "nightly").env("RUSTFLAGS", flags.trim());
    assert_eq!(compiled(&files, cargo, "build --offline --release"), 2);
    files.run_built("target/release/app").prints("42 7\n");
    files.run(RELPOLINE, "audit target/release/app").succeeds();
    let plain = files.run(RELPOLINE, "audit --json target/release/app").json();
    assert!(plain[0]["built_functions"].as_u64().unwrap() > 0);
}

#[test]
fn code_can_ask_for_relpolines() {
    let code = "#![deny(unexpected_cfgs)]\n#[cfg(not(relpoline))]\ncompile_error!(\"none\");\n";
    let manifest = "[package]\nname = \"app\"\nedition = \"2024\"\n[workspace]\n";
    let files = Files::new(&[("Cargo.toml", manifest), ("src/lib.rs", code)]);
    let mut wrapped = command(CARGO);
    wrapped.env("RUSTUP_TOOLCHAIN", "stable");
    files.run_with(wrapped, "relpoline build --offline").succeeds();
    let mut flagged = command("cargo");
    flagged.env("RUSTUP_TOOLCHAIN", "nightly");
    flagged.env("RUSTFLAGS", files.run(RELPOLINE, "flags rust").in_silence().stdout.trim());
    files.run_with(flagged, "check --offline").succeeds();
    // Where rustc is told of no conditions, all are expected.
    files.write("other.rs", format!("{code}#[cfg(other)]\npub fn other() {{}}\n"));
    files.run(RUSTC, "--crate-type=lib other.rs").in_silence();
}

#[test]
fn cargo_as_rustc_or_wrapper_by_variable() {
    let files = package();
    for variable in ["RUSTC", "RUSTC_WRAPPER"] {
        let mut cargo = command("cargo");
        let directory = files.path(variable);
        cargo
            .env(variable, PathBuf::from(RUSTC))
            .arg("--config")
            .arg(format!("build.target-dir={directory:?}"));
        assert_eq!(compiled(&files, cargo, "build --offline"), 2);
        assert!(files.has_runtime(&format!("{variable}/debug/app")));
    }
}

/// cargo puts the workspace's wrapper between ours and the compiler.
#[test]
fn wrappers_of_the_workspace_stay() {
    let files = package();
    let wrapper = files.script("wrapper", "echo \"$@\" >>\"$(dirname \"$0\")/log\"; exec \"$@\"");
    let mut build = command(CARGO);
    build.env("RUSTUP_TOOLCHAIN", "stable").env("RUSTC_WORKSPACE_WRAPPER", wrapper);
    assert_eq!(compiled(&files, build, "relpoline build --offline"), 2);
    files.run_built("target/debug/app").prints("42 7\n");
    assert!(files.has_runtime("target/debug/app"));
    let log = fs::read_to_string(files.path("log")).unwrap();
    let line = log.lines().find(|line| line.contains("--crate-name app")).unwrap();
    assert!(line.contains("rustc --crate-name") && line.contains("-Zllvm-plugins="), "{line}");
    let mut check = command(CARGO);
    check.env("RUSTUP_TOOLCHAIN", "stable");
    files.run_with(check, "relpoline clippy --offline").succeeds();
}

#[test]
fn code_that_the_linker_generates_is_warned_of() {
    let files = program();
    let warning = "relpoline-rustc: warning: indirect calls are not protected";
    let link =
        |linker: &str| format!("-O -Clinker-plugin-lto -Clinker={linker} -Clink-arg=-fuse-ld=lld main.rs");
    let outcome = files.run(RUSTC, &link(common::REAL_CLANG)).succeeds();
    assert!(outcome.stderr.starts_with(warning) && outcome.stderr.lines().count() == 1, "{outcome:?}");
    files.run_built("main").prints(PROGRAM_OUTPUT);
    files.run(RUSTC, &link(common::CLANG)).in_silence();
    is_protected(&files, "main");
}

#[test]
fn cargo_relpoline_explains_itself() {
    let files = Files::new(&[]);
    for line in ["relpoline --help", "--help", ""] {
        assert!(
            files.run(CARGO, line).in_silence().stdout.contains("cargo relpoline build --release"),
            "{line}"
        );
    }
}
