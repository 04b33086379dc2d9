//! Finds the compilers, and checks that they are of the LLVM that the plugin is for.

pub mod cache;
mod clang;
mod rustc;

pub use clang::{Clang, find_clang, find_llvm_tool};
pub use rustc::{Rustc, find_rustc, find_rustdoc, llvm_major_of};

use std::{
    env,
    ffi::OsStr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

/// [`LLVM_MAJOR`] where a text is put together at compile time.
macro_rules! llvm_major {
    () => {
        "22"
    };
}
pub(crate) use llvm_major;

/// The LLVM that the plugin is for.
pub const LLVM_MAJOR: u32 = crate::identity::number(llvm_major!());

/// A compiler that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ToolchainError {
    /// Not there.
    #[error("{name} not found{}; run: {mend}, or set {variable} to its path", places.as_deref().unwrap_or(" in PATH"))]
    Missing {
        /// What was looked for.
        name: String,
        /// Where.
        places: Option<String>,
        /// Command that installs it.
        mend: String,
        /// Variable that names it.
        variable: &'static str,
    },
    /// Our own wrapper, which would call itself for ever.
    #[error("{} is relpoline's own wrapper; set {variable} to the compiler itself", path.display())]
    Loop {
        /// What was found.
        path: PathBuf,
        /// Variable that names it.
        variable: &'static str,
    },
    /// Another LLVM.
    #[error(
        "{} is of LLVM {found}, expected LLVM {LLVM_MAJOR}, for which the plugin was built; {mend}",
        path.display()
    )]
    Llvm {
        /// The compiler.
        path: PathBuf,
        /// Its LLVM.
        found: String,
        /// What to do.
        mend: String,
    },
    /// It does not say what it is.
    #[error("{} {argument} failed: {reason}", path.display())]
    Silent {
        /// The compiler.
        path: PathBuf,
        /// How it was asked.
        argument: &'static str,
        /// What came instead.
        reason: String,
    },
}

/// `name` as a shell finds it, leaving this very program out: it may be installed under a compiler's name.
pub fn in_path(name: &OsStr) -> Option<PathBuf> {
    if name.as_encoded_bytes().contains(&b'/') {
        return is_executable(Path::new(name)).then(|| name.into());
    }
    let own = env::current_exe().ok().and_then(|path| path.canonicalize().ok());
    env::split_paths(&env::var_os("PATH")?)
        .map(|directory| directory.join(name))
        .find(|path| is_executable(path) && path.canonicalize().ok() != own)
}

/// A file that can be run.
pub fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

fn is_own(path: &Path) -> bool {
    let own = env::current_exe().ok().and_then(|path| path.canonicalize().ok());
    own.is_some() && path.canonicalize().ok() == own
}

/// What `program argument` prints.
fn ask(program: &mut Command, argument: &'static str) -> Result<String, ToolchainError> {
    let path = PathBuf::from(program.get_program());
    let silent = |reason: String| ToolchainError::Silent { path: path.clone(), argument, reason };
    let output = program.arg(argument).output().map_err(|error| silent(error.to_string()))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        let first = text.lines().next().unwrap_or("without a message");
        return Err(silent(format!("{}, {first}", output.status)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
