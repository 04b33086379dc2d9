//! `relpoline-rustc`: rustc with the plugin, and with the runtime where it links. Works as `RUSTC_WRAPPER`
//! (its first argument is the compiler) and as `RUSTC` (it is not).

use crate::{
    clang::response_file::is_spent,
    flags,
    identity::{Identity, VERSION},
    locate::{self, Part},
    options::Options,
    program, standard_library,
    target::{self, Support},
    toolchain::{Rustc, find_rustc, in_path, is_executable},
};
use anyhow::{Context, Result, bail};
use std::{
    env,
    ffi::{OsStr, OsString},
    fs,
    io::{self, Write},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

/// Runs rustc in place of this process.
pub fn run(name: &str, arguments: impl Iterator<Item = OsString>) -> Result<ExitCode> {
    let mut options = Options::from_environment()?;
    let mut given = read_pipes(options.take_all(arguments)?);
    if let Some(question) = options.ask {
        let compiler = || name_of(&find_rustc(&options).ok()?);
        return flags::answer(question, &options, compiler).map(|()| ExitCode::SUCCESS);
    }
    // Behind a wrapper of the user's (cargo's RUSTC_WORKSPACE_WRAPPER) stands the compiler that it runs.
    let (rustc, inner) = match given.first() {
        Some(first) if is_compiler(first) => {
            let first = PathBuf::from(given.remove(0));
            (first, given.first().filter(|next| is_compiler(next)))
        }
        _ => (find_rustc(&options)?, None),
    };
    let toolchain = toolchain_of(&given);
    let (before, files) = at_end_of_options(&given);
    let mut command = Command::new(&rustc);
    command.args(before);
    let expanded = expand(&given[usize::from(toolchain.is_some())..]);
    if options.disable || is_for_the_build(&expanded) {
        return program::exec(command.args(files));
    }
    match Task::of(&expanded) {
        Task::Describe => return describe(command.args(files), &rustc, &options),
        Task::Inform => {}
        Task::Compile => {
            let version = match inner {
                Some(inner) => Rustc::describe_behind(&rustc, inner)?,
                None => Rustc::describe(&rustc, toolchain)?,
            };
            compile(name, &mut command, (&rustc, &version), &expanded, &options, "")?;
        }
    }
    program::exec(command.args(files))
}

/// Splits `arguments` where options of ours can be added: behind `--` they would be files.
pub fn at_end_of_options(arguments: &[OsString]) -> (&[OsString], &[OsString]) {
    let end = arguments.iter().position(|argument| argument == "--");
    arguments.split_at(end.unwrap_or(arguments.len()))
}

/// The toolchain of rustup's `+toolchain`, which must be the first argument, and also decides what `rustc -vV` says.
pub fn toolchain_of(arguments: &[OsString]) -> Option<&str> {
    arguments.first()?.to_str()?.strip_prefix('+')
}

/// What tells a rustc from others.
pub fn name_of(rustc: &Path) -> Option<String> {
    let version = Rustc::describe(rustc, None).ok()?;
    Some(format!("rustc {}, LLVM {}", version.release, version.llvm))
}

/// Whether a first argument is the path of a compiler, or would be if it were there. It may also be clippy's driver or
/// another wrapper, so its name need not tell; but it is a program, and no input of rustc is one.
fn is_compiler(argument: &OsStr) -> bool {
    let bytes = argument.as_bytes();
    if bytes.starts_with(b"-") || bytes.starts_with(b"@") || bytes.ends_with(b".rs") {
        return false;
    }
    let path = Path::new(argument);
    is_executable(path)
        || bytes.ends_with(b"/rustc")
        || (!bytes.contains(&b'/') && in_path(argument).is_some())
}

/// rustc's `@FILE`: one argument on each line.
pub fn expand(arguments: &[OsString]) -> Vec<String> {
    let mut expanded = Vec::new();
    for argument in arguments {
        let text = argument.to_string_lossy();
        match text.strip_prefix('@').and_then(|file| fs::read_to_string(file).ok()) {
            Some(content) => expanded.extend(content.lines().map(str::to_owned)),
            None => expanded.push(text.into_owned()),
        }
    }
    expanded
}

/// `arguments` with those of files that can be read only once, as `@<(...)` of a shell, in place of the files.
pub fn read_pipes(arguments: Vec<OsString>) -> Vec<OsString> {
    let is_pipe = |argument: &OsString| {
        argument
            .as_bytes()
            .strip_prefix(b"@")
            .map(OsStr::from_bytes)
            .is_some_and(|file| Path::new(file).exists() && is_spent(file))
    };
    let read = |argument: OsString| match is_pipe(&argument) {
        true => expand(&[argument]).into_iter().map(OsString::from).collect(),
        false => vec![argument],
    };
    arguments.into_iter().flat_map(read).collect()
}

/// What rustc is run for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Task {
    /// `-vV`: cargo compiles everything again when the answer changes.
    Describe,
    /// It says something about itself.
    Inform,
    /// It compiles.
    Compile,
}

impl Task {
    fn of(arguments: &[String]) -> Self {
        let (mut verbose, mut version, mut inform) = (false, false, arguments.is_empty());
        let mut rest = arguments.iter().map(String::as_str).peekable();
        while let Some(argument) = rest.next() {
            match argument {
                "-vV" | "-Vv" => return Self::Describe,
                "-v" | "--verbose" => verbose = true,
                "-V" | "--version" => version = true,
                "-h" | "--help" | "--explain" => inform = true,
                "--print" => inform |= rest.peek().is_some_and(|what| !prints_beside_compiling(what)),
                // Their values may look like other options.
                "-C" | "-L" | "-W" | "-A" | "-D" | "-F" | "-Z" | "-o" | "-l" | "--codegen" | "--cfg"
                | "--crate-name" | "--out-dir" => {
                    inform |= rest.next() == Some("help");
                }
                _ => {
                    let what = argument.strip_prefix("--print=");
                    inform |= what.is_some_and(|what| !prints_beside_compiling(what));
                }
            }
        }
        match (version, verbose) {
            (true, true) => Self::Describe,
            (true, false) => Self::Inform,
            _ if inform => Self::Inform,
            _ => Self::Compile,
        }
    }
}

fn prints_beside_compiling(what: &str) -> bool {
    let name = what.split('=').next().unwrap_or(what);
    matches!(name, "link-args" | "native-static-libs")
}

/// `rustc -vV`, and a line that changes with everything that changes what is built.
fn describe(command: &mut Command, rustc: &Path, options: &Options) -> Result<ExitCode> {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot run {}", rustc.display()))?;
    let mut out = io::stdout().lock();
    if !output.status.success() {
        out.write_all(&output.stdout)?;
        return Ok(ExitCode::from(output.status.code().map_or(1, |code| code as u8)));
    }
    if let Some(version) = Rustc::parse(&String::from_utf8_lossy(&output.stdout)) {
        version.check(rustc)?;
    }
    let parts = [&*locate::find(Part::Plugin, options)?, &*locate::find(Part::Runtime, options)?];
    let identity = Identity::of_build(&parts, options)?;
    out.write_all(&output.stdout)?;
    writeln!(out, "relpoline: {VERSION} {identity}")?;
    Ok(ExitCode::SUCCESS)
}

/// Has `command` compile with plugin and runtime, and allow no unstable features but `features`.
pub fn compile(
    name: &str,
    command: &mut Command,
    (rustc, version): (&Path, &Rustc),
    arguments: &[String],
    options: &Options,
    features: &str,
) -> Result<()> {
    let target = target_of(arguments).unwrap_or(&version.host);
    let support = Support::of_rust(target);
    if support == Support::None {
        if is_worth_a_warning() {
            program::warn(name, &format!("target {target} {}", target::EXPECTED));
        }
        return Ok(());
    }
    version.check(rustc)?;
    if leaves_code_to_the_linker(arguments) && is_worth_a_warning() {
        program::warn(
            name,
            "indirect calls are not protected: with -Clinker-plugin-lto code is generated by the linker, which does \
             not load the plugin; use -Clto, or -Clinker=relpoline-clang -Clink-arg=-fuse-ld=lld",
        );
    }
    if runs_no_plugin(arguments) && is_worth_a_warning() {
        program::warn(
            name,
            "indirect calls are not protected: with -Cno-prepopulate-passes rustc runs no plugin",
        );
    }
    let plugin = locate::find(Part::Plugin, options)?;
    command.args(plugin_flags(&plugin, options)?);
    // The first of its kind would have rustc warn of each condition that is not named.
    if arguments.iter().any(|argument| argument.starts_with("--check-cfg")) {
        command.arg(CHECK_CFG);
    }
    if support == Support::Full {
        command.arg(runtime_flag(&locate::find(Part::Runtime, options)?));
    }
    options.pass_on(command);
    let permitted = env::var_os("RUSTC_BOOTSTRAP").is_some() && !standard_library::is_requested();
    if !version.takes_unstable_options() && !permitted {
        command.env("RUSTC_BOOTSTRAP", "1");
        // The permission is for our option alone: build scripts that try whether unstable features work
        // must find that they do not.
        if !standard_library::is_part(arguments) {
            command.arg(format!("-Zallow-features={features}"));
        }
    }
    Ok(())
}

/// Whether it compiles a build script, a procedural macro, or a part of one, and can tell.
pub fn is_for_the_build(arguments: &[String]) -> bool {
    standard_library::is_requested() && Task::of(arguments) == Task::Compile && target_of(arguments).is_none()
}

/// Whether rustc can be told of the plugin: it takes a list, with blanks between them.
pub fn can_name(plugin: &Path) -> bool {
    !plugin.as_os_str().as_encoded_bytes().iter().any(u8::is_ascii_whitespace)
}

/// Lets code ask for relpolines (`#[cfg(relpoline)]`) where rustc is told which conditions there are, as by cargo.
pub const CHECK_CFG: &str = "--check-cfg=cfg(relpoline)";

/// rustc's arguments for the plugin at `plugin`.
pub fn plugin_flags(plugin: &Path, options: &Options) -> Result<[OsString; 3]> {
    if !can_name(plugin) {
        bail!(
            "rustc cannot load '{}', because of the blank in its path; install relpoline in a directory without blanks",
            plugin.display()
        );
    }
    let mut load = OsString::from("-Zllvm-plugins=");
    load.push(plugin);
    // The last one makes cargo, which sees it in RUSTFLAGS, and the incremental compiler, which compares the
    // options that it tracks, start anew when the plugin's content changes, or what it is asked for.
    let identity = Identity::of_build(&[plugin], options)?;
    Ok([load, "--cfg=relpoline".into(), format!("-Cmetadata=relpoline-{identity}").into()])
}

/// rustc's argument for the runtime at `runtime`.
pub fn runtime_flag(runtime: &Path) -> OsString {
    let mut flag = OsString::from("-Clink-arg=");
    flag.push(runtime);
    flag
}

/// Whether it leaves out all passes, and plugins with them.
fn runs_no_plugin(arguments: &[String]) -> bool {
    let values = codegen_options(arguments).filter_map(|option| option.strip_prefix("no-prepopulate-passes"));
    values.last().is_some_and(is_on)
}

/// Whether the value of a switch, with its `=`, is on.
fn is_on(value: &str) -> bool {
    !matches!(value, "=n" | "=no" | "=off" | "=false")
}

/// Whether it links with `-Clinker-plugin-lto`, and nobody gives the plugin to the linker.
fn leaves_code_to_the_linker(arguments: &[String]) -> bool {
    let options =
        |name: &'static str| codegen_options(arguments).filter_map(move |option| option.strip_prefix(name));
    let loads = || codegen_options(arguments).any(|option| option.contains("load-pass-plugin"));
    let ours =
        |linker: &str| linker.rsplit('/').next().is_some_and(|name| name.starts_with("relpoline-clang"));
    options("linker-plugin-lto").last().is_some_and(is_on)
        && !options("linker=").last().is_some_and(ours)
        && !loads()
        && links(arguments)
}

/// The values of `-C` and `--codegen`.
fn codegen_options(arguments: &[String]) -> impl Iterator<Item = &str> {
    let before = std::iter::once("").chain(arguments.iter().map(String::as_str));
    before.zip(arguments).filter_map(|(before, argument)| match before {
        "-C" | "--codegen" => Some(argument.as_str()),
        _ => argument.strip_prefix("-C").or(argument.strip_prefix("--codegen=")),
    })
}

/// Whether it makes more than libraries for Rust or for another linker.
fn links(arguments: &[String]) -> bool {
    let mut kinds = Vec::new();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.strip_prefix("--crate-type") {
            Some("") => kinds.extend(rest.next().into_iter().flat_map(|list| list.split(','))),
            Some(list) => kinds.extend(list.trim_start_matches('=').split(',')),
            None => {}
        }
    }
    let linked = |kind: &&str| !matches!(*kind, "lib" | "rlib" | "staticlib");
    kinds.is_empty() || kinds.iter().any(linked) || arguments.iter().any(|argument| argument == "--test")
}

fn target_of(arguments: &[String]) -> Option<&str> {
    let mut target = None;
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        if argument == "--target" {
            target = rest.next().map(String::as_str);
        } else if let Some(triple) = argument.strip_prefix("--target=") {
            target = Some(triple);
        }
    }
    target
}

/// One warning for a build: cargo would repeat it for each crate.
fn is_worth_a_warning() -> bool {
    env::var_os("CARGO_PRIMARY_PACKAGE").is_some() || env::var_os("CARGO_CRATE_NAME").is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(line: &str) -> Task {
        Task::of(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn tasks() {
        for line in ["-vV", "--version --verbose", "-V -v"] {
            assert_eq!(task(line), Task::Describe, "{line}");
        }
        for line in [
            "",
            "-V",
            "--version",
            "--print cfg",
            "--print=sysroot",
            "--explain E0001",
            "-C help",
            "-h",
            "- --crate-name ___ --print=file-names --crate-type bin --print=cfg -Wwarnings",
        ] {
            assert_eq!(task(line), Task::Inform, "{line}");
        }
        for line in [
            "a.rs",
            "-",
            "-v a.rs",
            "--print=link-args a.rs",
            "--print native-static-libs a.rs",
            "--print native-static-libs=out a.rs",
            "-C opt-level=3 --crate-name V a.rs",
        ] {
            assert_eq!(task(line), Task::Compile, "{line}");
        }
    }

    #[test]
    fn targets() {
        let line = ["--target=a".to_owned(), "--target".to_owned(), "b".to_owned()];
        assert_eq!((target_of(&line), target_of(&line[..1]), target_of(&[])), (Some("b"), Some("a"), None));
    }

    #[test]
    fn code_that_the_linker_generates() {
        let leaves = |line: &str| {
            leaves_code_to_the_linker(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        };
        for line in [
            "-Clinker-plugin-lto a.rs",
            "-C linker-plugin-lto=/usr/lib/LLVMgold.so --crate-type bin a.rs",
            "--codegen linker-plugin-lto=yes --crate-type=rlib,cdylib -Clinker=clang a.rs",
            "--codegen=linker-plugin-lto --crate-type lib --test a.rs",
        ] {
            assert!(leaves(line), "{line}");
        }
        for line in [
            "a.rs",
            "-Clinker-plugin-lto -Clinker-plugin-lto=no a.rs",
            // As cargo does for what other crates use.
            "--crate-type lib -C linker-plugin-lto a.rs",
            "--crate-type staticlib -Clinker-plugin-lto a.rs",
            "-Clinker-plugin-lto -Clinker=/opt/relpoline-clang++ a.rs",
            "-Clinker-plugin-lto -Clink-arg=-Wl,--load-pass-plugin=p.so a.rs",
        ] {
            assert!(!leaves(line), "{line}");
        }
    }

    #[test]
    fn code_that_no_plugin_sees() {
        let none =
            |line: &str| runs_no_plugin(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        assert!(none("-C no-prepopulate-passes a.rs") && none("-Cno-prepopulate-passes=yes a.rs"));
        assert!(!none("-Cno-prepopulate-passes=no a.rs") && !none("-Copt-level=3 a.rs"));
    }

    #[test]
    fn compilers_are_programs() {
        for argument in ["/bin/sh", "sh", "/nowhere/rustc"] {
            assert!(is_compiler(OsStr::new(argument)), "{argument}");
        }
        for argument in ["-vV", "@args", "-", "main.rs", "no-such-program", "/etc/passwd"] {
            assert!(!is_compiler(OsStr::new(argument)), "{argument}");
        }
    }

    #[test]
    fn argument_files_hold_an_argument_a_line() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("args");
        fs::write(&file, "--cfg\na b\n").unwrap();
        let line = [OsString::from(format!("@{}", file.display())), "@nowhere".into(), "x.rs".into()];
        assert_eq!(expand(&line), ["--cfg", "a b", "@nowhere", "x.rs"]);
    }
}
