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
    ffi::{OsStr, OsString},
    path::{self, PathBuf},
    process::{Command, ExitCode},
};

const NAME: &str = "cargo-relpoline";
const WRAPPER: &str = "relpoline-rustc";
const RUSTDOC: &str = "relpoline-rustdoc";
const BUILD_STD: &str = "--build-std";
const HELP: &str = "\
Builds Rust programs with relpolines.

Usage: cargo [+TOOLCHAIN] relpoline [--build-std] COMMAND [ARGUMENT]...

    cargo relpoline build --release
    cargo relpoline test

--build-std builds Rust's standard library with relpolines, too; it needs its source (rustup component add rust-src).
Runs 'cargo COMMAND ARGUMENT...' with relpoline-rustc as RUSTC_WRAPPER, in place of another one there or in
'build.rustc-wrapper', and relpoline-rustdoc as RUSTDOC, which runs what RUSTDOC names (but not what 'build.rustdoc'
does). Everything is compiled again when relpoline changes.
RELPOLINE_DISABLE=1 builds as cargo alone does. 'relpoline info' says whether everything needed is there.
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
        Some(command) if arguments.iter().take_while(|next| *next != "--").any(|next| next == BUILD_STD) => {
            bail!("{BUILD_STD} must stand in front of the command: cargo relpoline {BUILD_STD} {command}");
        }
        // rustup reads it, and the cargo that runs us is behind rustup already.
        Some(toolchain) if toolchain.starts_with('+') && env::var_os("CARGO").is_some() => {
            let mut words = vec!["cargo".into(), toolchain.into(), "relpoline".into()];
            words.extend(build_std.then_some(BUILD_STD.into()));
            words.extend(arguments[1..].iter().map(|argument| argument.to_string_lossy()));
            bail!("{toolchain} must stand in front of relpoline: {}", words.join(" "));
        }
        _ => {}
    }
    let (wrapper, rustdoc) = (beside(WRAPPER)?, beside(RUSTDOC)?);
    if let Some(other) = env::var_os("RUSTC_WRAPPER").filter(|other| is_other(other, WRAPPER)) {
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
    if let Some(other) = env::var_os("RUSTDOC").filter(|other| is_other(other, RUSTDOC)) {
        // cargo runs it elsewhere.
        let is_path = other.as_encoded_bytes().contains(&b'/');
        let absolute = if is_path { path::absolute(&other)?.into() } else { other };
        command.env("RELPOLINE_RUSTDOC", absolute);
    }
    command.env("RUSTDOC", rustdoc);
    if build_std {
        let rustc = match env::var_os("RUSTC").filter(|rustc| !rustc.is_empty()) {
            Some(rustc) => rustc.into(),
            None => find_rustc(&Options::from_environment()?)?,
        };
        standard_library::request(&mut command, &rustc)?;
    }
    program::exec(&mut command)
}

/// A program of ours.
fn beside(name: &str) -> Result<PathBuf> {
    let path = executable_directory().map(|directory| directory.join(name)).unwrap_or_default();
    if !is_executable(&path) {
        bail!(
            "{} not found; run: cargo build --release -p relpoline-tools, or install relpoline again",
            path.display()
        );
    }
    Ok(path)
}

/// Whether a variable names another program than ours.
fn is_other(value: &OsStr, ours: &str) -> bool {
    !value.is_empty() && !value.as_encoded_bytes().ends_with(ours.as_bytes())
}
