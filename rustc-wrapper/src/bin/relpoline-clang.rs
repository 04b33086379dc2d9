//! clang with relpolines. Called as `relpoline-clang++` it is clang++.

use relpoline_tools::{clang, program};
use std::{env, path::Path, process::ExitCode};

fn main() -> ExitCode {
    let mut arguments = env::args_os();
    let called = arguments.next().unwrap_or_default();
    let cxx = Path::new(&called).file_name().is_some_and(|name| name.as_encoded_bytes().ends_with(b"++"));
    let name = if cxx { "relpoline-clang++" } else { "relpoline-clang" };
    program::run(name, 1, || clang::run(name, arguments))
}
