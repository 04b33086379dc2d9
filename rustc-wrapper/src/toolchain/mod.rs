//! Finds the compilers, and checks that they are of the LLVM that the plugin is for.

pub mod cache;
mod clang;
mod rustc;

pub use clang::{Clang, find_clang, find_llvm_tool};
pub use rustc::{Rustc, correct_to, find_rustc, find_rustdoc, llvm_major_of};

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
#[error("{fault}; {mend}")]
pub struct ToolchainError {
    /// What was found.
    pub fault: Fault,
    /// What to do.
    pub mend: String,
}

/// What is wrong with a compiler.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// Not there.
    #[error("{} {}", name.display(), places.as_deref().unwrap_or(absence(name)))]
    Missing {
        /// What was looked for.
        name: PathBuf,
        /// That it is not in any of several places.
        places: Option<&'static str>,
    },
    /// Our own wrapper, which would call itself for ever.
    #[error("{} is relpoline's own wrapper", .0.display())]
    Loop(PathBuf),
    /// Another LLVM.
    #[error("{} is of LLVM {found}, expected LLVM {LLVM_MAJOR}, for which the plugin was built", path.display())]
    Llvm {
        /// The compiler.
        path: PathBuf,
        /// Its LLVM.
        found: String,
    },
    /// It does not say what it is.
    #[error("{} is not the compiler that was expected: {argument} {reason}", path.display())]
    Strange {
        /// The compiler.
        path: PathBuf,
        /// How it was asked.
        argument: &'static str,
        /// What came instead.
        reason: String,
    },
}

impl Fault {
    fn mend_by(self, mend: impl Into<String>) -> ToolchainError {
        ToolchainError { fault: self, mend: mend.into() }
    }
}

/// A name with a slash is not looked for anywhere.
fn absence(name: &Path) -> &'static str {
    if !name.as_os_str().as_encoded_bytes().contains(&b'/') {
        "not found in PATH"
    } else if name.exists() {
        "is no program"
    } else {
        "does not exist"
    }
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
fn ask(program: &mut Command, argument: &'static str) -> Result<String, Fault> {
    let path = PathBuf::from(program.get_program());
    let strange = |reason: String| Fault::Strange { path: path.clone(), argument, reason };
    let output = program.arg(argument).output().map_err(|error| strange(format!("failed: {error}")))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        let first = text.lines().next().unwrap_or("without a message");
        return Err(strange(format!("failed: {}, {first}", output.status)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scripts and the plugin's build cannot ask this crate.
    #[test]
    fn all_are_of_one_llvm() {
        for (file, line) in [
            ("ci/versions", format!("\nLLVM_MAJOR={LLVM_MAJOR}\n")),
            ("pass/build.rs", format!("\nconst LLVM_MAJOR: u32 = {LLVM_MAJOR};\n")),
            ("pass/Cargo.toml", format!("features = [\"llvm{LLVM_MAJOR}-")),
            ("pass/Cargo.toml", format!("\nllvm-sys = {{ version = \"{LLVM_MAJOR}")),
        ] {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(
                text.contains(&line),
                "{file} is of another LLVM than toolchain/mod.rs, expected '{}'",
                line.trim()
            );
        }
    }
}
