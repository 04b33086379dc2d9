//! Builds Rust's standard library anew (`cargo relpoline --build-std`): the precompiled one keeps its indirect calls.

use crate::toolchain::Rustc;
use anyhow::{Context, Result, ensure};
use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

/// Tells `relpoline-rustc` that cargo was asked for it.
const REQUESTED: &str = "__RELPOLINE_BUILD_STD";

/// What cargo is to build of it; other parts follow.
const CRATES: &str = "std,panic_unwind";

/// Has `cargo` build the standard library with the program.
pub fn request(cargo: &mut Command, rustc: &Path) -> Result<()> {
    let version = Rustc::describe(rustc, None)?;
    let source = sysroot(rustc)?.join("lib/rustlib/src/rust/library/std");
    ensure!(
        source.is_dir(),
        "the standard library's source is not in {}; run: rustup component add rust-src, or with Debian's rustc: \
         apt-get install rust-web-src",
        source.display()
    );
    cargo.env("CARGO_UNSTABLE_BUILD_STD", CRATES).env(REQUESTED, "1");
    // With a target of its own, even if it is that of the compiler, cargo keeps build scripts and procedural macros
    // apart, and so out of this.
    if env::var_os("CARGO_BUILD_TARGET").is_none() {
        cargo.env("CARGO_BUILD_TARGET", &version.host);
    }
    if !version.takes_unstable_options() {
        cargo.env("RUSTC_BOOTSTRAP", "1");
    }
    Ok(())
}

fn sysroot(rustc: &Path) -> Result<PathBuf> {
    let output = Command::new(rustc)
        .args(["--print", "sysroot"])
        .output()
        .with_context(|| format!("cannot run {}", rustc.display()))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().into())
}

/// Whether `relpoline-rustc` runs for such a build.
pub fn is_requested() -> bool {
    env::var_os(REQUESTED).is_some()
}

/// Whether it compiles a crate of the standard library.
pub fn is_part(arguments: &[String]) -> bool {
    arguments.iter().any(|argument| argument.contains("force-unstable-if-unmarked"))
}
