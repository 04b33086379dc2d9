//! `relpoline-rustdoc`: rustdoc whose tests are built with relpolines. rustdoc compiles and links them itself, past
//! any `RUSTC_WRAPPER`, but hands its options on.

use crate::{
    flags,
    options::Options,
    program, rustc,
    toolchain::{Rustc, find_rustdoc},
};
use anyhow::Result;
use std::{
    ffi::OsString,
    process::{Command, ExitCode},
};

/// What rustdoc itself makes use of where it builds many tests as one program.
const FEATURES: &str = "test,rustc_attrs";

/// Runs rustdoc in place of this process.
pub fn run(name: &str, arguments: impl Iterator<Item = OsString>) -> Result<ExitCode> {
    let mut options = Options::from_environment()?;
    let given = rustc::read_pipes(options.take_all(arguments)?);
    let rustdoc = match options.ask {
        Some(question) => {
            let compiler = || rustc::name_of(&find_rustdoc(&options).ok()?);
            return flags::answer(question, &options, compiler).map(|()| ExitCode::SUCCESS);
        }
        None => find_rustdoc(&options)?,
    };
    let (before, files) = rustc::at_end_of_options(&given);
    let mut command = Command::new(&rustdoc);
    command.args(before);
    let toolchain = rustc::toolchain_of(&given);
    let expanded = rustc::expand(&given[usize::from(toolchain.is_some())..]);
    let tests = expanded.iter().any(|argument| argument == "--test");
    if tests && !options.disable && !rustc::is_for_the_build(&expanded) {
        let version = Rustc::describe(&rustdoc, toolchain)?;
        rustc::compile(name, &mut command, (&rustdoc, &version), &expanded, &options, FEATURES)?;
    }
    program::exec(command.args(files))
}
