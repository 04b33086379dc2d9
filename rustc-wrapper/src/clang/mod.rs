//! `relpoline-clang` and `relpoline-clang++`: clang with the plugin, and with the runtime where it links.
//! `relpoline-llvm-ar` and `relpoline-llvm-ranlib`: LLVM's own, for CMake.

pub mod command_line;
mod plan;
pub mod response_file;

pub use plan::{joined, lto_linker_flags, macro_definition};

use crate::{
    flags,
    options::Options,
    program,
    toolchain::{Clang, LLVM_MAJOR, cache, find_clang, find_llvm_tool},
};
use anyhow::{Context, Result};
use command_line::CommandLine;
use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt,
    process::{Command, ExitCode},
};

/// Runs clang in place of this process.
pub fn run(name: &str, arguments: impl Iterator<Item = OsString>) -> Result<ExitCode> {
    let mut options = Options::from_environment()?;
    let arguments = Arguments::take(arguments, &mut options)?;
    if let Some(question) = options.ask {
        let compiler = || cache::stamp(&find_clang(&options, is_cxx(name)).ok()?.path);
        return flags::answer(question, &options, compiler).map(|()| ExitCode::SUCCESS);
    }
    let clang = find_clang(&options, is_cxx(name))?;
    if let Some(tool) = name.strip_prefix(TOOL_PREFIX) {
        return run_tool(tool, &clang, arguments.given);
    }
    let mut command = Command::new(&clang.path);
    options.pass_on(&mut command);
    if options.disable {
        command.args(clang.mode).args(&arguments.given);
    } else {
        wrap(name, &mut command, &clang, arguments, &options)?;
    }
    program::exec(&mut command)
}

/// As with clang itself, the name says what is meant, before a version: `clang++-22`.
fn is_cxx(name: &str) -> bool {
    let name = name.trim_end_matches(|letter: char| letter.is_ascii_digit() || letter == '.');
    name.trim_end_matches('-').ends_with("++")
}

/// What `relpoline-llvm-ar` and its like are called without it.
const TOOL_PREFIX: &str = "relpoline-llvm-";

/// LLVM's own program: build systems look for the archiver under the compiler's prefix.
fn run_tool(tool: &str, clang: &Clang, arguments: Vec<OsString>) -> Result<ExitCode> {
    let tool = format!("llvm-{tool}");
    let path = find_llvm_tool(&clang.path, &tool).with_context(|| {
        let clang = clang.path.display();
        format!("{tool} not found beside {clang} or in PATH; run: apt-get install llvm-{LLVM_MAJOR}")
    })?;
    program::exec(Command::new(path).args(arguments))
}

fn wrap(
    name: &str,
    command: &mut Command,
    clang: &Clang,
    arguments: Arguments,
    options: &Options,
) -> Result<()> {
    let line = CommandLine::scan(&arguments.expanded);
    if line.inner {
        command.args(arguments.given);
        return Ok(());
    }
    let plan = plan::plan(&line, clang, options)?;
    if let Some(warning) = plan.warning {
        program::warn(name, &warning);
    }
    if line.frontend {
        // `-cc1` must come first, and it may come out of a file.
        command.args(plan.front).args(&arguments.expanded[1..]);
        return Ok(());
    }
    command.args(clang.mode).args(plan.front);
    match line.end_of_options {
        Some(at) if !plan.back.is_empty() => {
            // Options cannot follow `--`, and the runtime must follow the files.
            let (before, files) = arguments.expanded.split_at(at);
            command.args(before).args(files[1..].iter().map(|file| without_dash(file)));
        }
        _ => {
            command.args(arguments.given);
        }
    }
    command.args(plan.back);
    Ok(())
}

/// A file name that cannot be taken for an option.
fn without_dash(file: &OsStr) -> OsString {
    let bytes = file.as_bytes();
    if bytes.starts_with(b"-") && bytes != b"-" {
        let mut name = OsString::from("./");
        name.push(file);
        name
    } else {
        file.to_owned()
    }
}

/// The compiler's arguments, without ours.
struct Arguments {
    /// As they were given. Response files that hold options of ours, or can be read only once, are expanded.
    given: Vec<OsString>,
    /// With all response files expanded.
    expanded: Vec<OsString>,
}

impl Arguments {
    fn take(arguments: impl Iterator<Item = OsString>, options: &mut Options) -> Result<Self> {
        let mut taken = Self { given: Vec::new(), expanded: Vec::new() };
        for argument in arguments {
            let expanded = response_file::expand(&argument);
            let mut kept = Vec::new();
            let mut is_changed = expanded.is_spent;
            for inner in expanded.arguments {
                if options.take(&inner)? {
                    is_changed = true;
                } else {
                    kept.push(inner);
                }
            }
            if is_changed {
                taken.given.extend_from_slice(&kept);
            } else {
                taken.given.push(argument);
            }
            taken.expanded.extend(kept);
        }
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn response_files_pass_untouched_unless_they_hold_options_of_ours() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, content).unwrap();
            OsString::from(format!("@{}", path.display()))
        };
        let (plain, mixed) = (file("plain", "-c 'a b.c'"), file("mixed", "-O2 --relpoline-form=stub -g"));
        let mut options = Options::default();
        let taken = Arguments::take([plain.clone(), mixed].into_iter(), &mut options).unwrap();
        assert_eq!(taken.given, [plain, "-O2".into(), "-g".into()]);
        assert_eq!(taken.expanded, ["-c", "a b.c", "-O2", "-g"]);
        assert_eq!(options.form, Some(crate::options::Form::Stub));
    }

    #[test]
    fn names_say_which_language() {
        for name in ["relpoline-clang++", "clang++-22", "x86_64-linux-gnu-clang++-22.1"] {
            assert!(is_cxx(name), "{name}");
        }
        assert!(!is_cxx("relpoline-clang") && !is_cxx("clang-22"));
    }

    #[test]
    fn file_names_are_no_options() {
        assert_eq!(without_dash(OsStr::new("-r")), "./-r");
        assert_eq!(without_dash(OsStr::new("-")), "-");
        assert_eq!(without_dash(OsStr::new("a.c")), "a.c");
    }
}
