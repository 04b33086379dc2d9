//! clang with relpolines. Called as `relpoline-clang++` it is clang++; build.rs makes its other names.

use relpoline_tools::{clang, program};
use std::{env, path::Path, process::ExitCode};

fn main() -> ExitCode {
    let mut arguments = env::args_os();
    let called = arguments.next().unwrap_or_default();
    let name = Path::new(&called).file_name().unwrap_or(called.as_ref()).to_string_lossy().into_owned();
    program::run(&name, 1, || clang::run(&name, arguments))
}
