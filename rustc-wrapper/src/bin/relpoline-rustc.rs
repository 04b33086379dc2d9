//! rustc with relpolines, as `RUSTC_WRAPPER` or as `RUSTC`.

use relpoline_tools::{program, rustc};
use std::{env, process::ExitCode};

const NAME: &str = "relpoline-rustc";

fn main() -> ExitCode {
    program::run(NAME, 1, || rustc::run(NAME, env::args_os().skip(1)))
}
