//! rustdoc whose tests are built with relpolines, as `RUSTDOC`.

use relpoline_tools::{program, rustdoc};
use std::{env, process::ExitCode};

const NAME: &str = "relpoline-rustdoc";

fn main() -> ExitCode {
    program::run(NAME, 1, || rustdoc::run(NAME, env::args_os().skip(1)))
}
