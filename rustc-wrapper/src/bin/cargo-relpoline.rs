//! `cargo relpoline COMMAND...`: cargo with relpoline-rustc as compiler.

use anyhow::{Result, bail};
use relpoline_tools::{
    locate::executable_directory,
    options::Options,
    program, standard_library,
    toolchain::{find_rustc, is_executable},
};
use std::{
    env,
    ffi::OsString,
    process::{Command, ExitCode},
};

const NAME: &str = "cargo-relpoline";
const WRAPPER: &str = "relpoline-rustc";
const BUILD_STD: &str = "--build-std";
const HELP: &str = "\
Builds Rust programs with relpolines.

Usage: cargo [+TOOLCHAIN] relpoline [--build-std] COMMAND [ARGUMENT]...

    cargo relpoline build --release
    cargo relpoline test

--build-std builds Rust's standard library with relpolines, too; it needs its source (rustup component add rust-src).
Runs 'cargo COMMAND ARGUMENT...' with relpoline-rustc as RUSTC_WRAPPER. Everything is compiled again when
relpoline changes. RELPOLINE_DISABLE=1 builds as cargo alone does. 'relpoline info' says whether everything
needed is there.
";

fn main() -> ExitCode {
    program::run(NAME, 1, || run(env::args_os().skip(1).collect()))
}

fn run(mut arguments: Vec<OsString>) -> Result<ExitCode> {
    // cargo passes the name of the subcommand.
    if arguments.first().is_some_and(|first| first == "relpoline") {
        arguments.remove(0);
    }
    let build_std = arguments.first().is_some_and(|first| first == BUILD_STD);
    if build_std {
        arguments.remove(0);
    }
    match arguments.first().and_then(|first| first.to_str()) {
        None | Some("--help" | "-h" | "help") => return program::print(HELP).map(|()| ExitCode::SUCCESS),
        Some("--version" | "-V") => {
            return program::print(concat!("cargo-relpoline ", env!("CARGO_PKG_VERSION"), "\n"))
                .map(|()| ExitCode::SUCCESS);
        }
        _ => {}
    }
    let wrapper = executable_directory().map(|directory| directory.join(WRAPPER)).unwrap_or_default();
    if !is_executable(&wrapper) {
        bail!(
            "{} not found; run: cargo build --release -p relpoline-tools, or install relpoline again",
            wrapper.display()
        );
    }
    if let Some(other) = env::var_os("RUSTC_WRAPPER")
        && !other.is_empty()
        && !other.as_encoded_bytes().ends_with(WRAPPER.as_bytes())
    {
        program::warn(
            NAME,
            &format!("RUSTC_WRAPPER={} is not used, relpoline-rustc takes its place", other.display()),
        );
    }
    let cargo = env::var_os("CARGO").unwrap_or("cargo".into());
    let mut command = Command::new(cargo);
    // cargo remembers what the wrapper says of itself as long as the wrapper's file is the same, but the
    // plugin may have changed.
    command.env("CARGO_CACHE_RUSTC_INFO", "0").env("RUSTC_WRAPPER", wrapper).args(arguments);
    if build_std {
        let rustc = match env::var_os("RUSTC").filter(|rustc| !rustc.is_empty()) {
            Some(rustc) => rustc.into(),
            None => find_rustc(&Options::from_environment()?)?,
        };
        standard_library::request(&mut command, &rustc)?;
    }
    program::exec(&mut command)
}
