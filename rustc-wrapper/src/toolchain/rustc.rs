//! rustc.

use super::{Fault, LLVM_MAJOR, ToolchainError, ask, cache, in_path, is_own};
use crate::{locate::correct, options::Options};
use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Command,
};

/// What `rustc -vV` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rustc {
    /// `1.95.0`, `1.97.0-nightly`.
    pub release: String,
    /// The target that it runs on, and compiles for where none is named.
    pub host: String,
    /// `22.1.2`.
    pub llvm: String,
}

/// The rustc to run where the caller does not name one.
pub fn find_rustc(options: &Options) -> Result<PathBuf, ToolchainError> {
    find("rustc", options.rustc.as_deref(), "RELPOLINE_RUSTC")
}

/// The rustdoc to run.
pub fn find_rustdoc(options: &Options) -> Result<PathBuf, ToolchainError> {
    find("rustdoc", options.rustdoc.as_deref(), "RELPOLINE_RUSTDOC")
}

/// What installs them.
const INSTALL: &str = "rustup toolchain install stable, or: apt-get install rustc-web";

fn find(name: &str, given: Option<&Path>, variable: &'static str) -> Result<PathBuf, ToolchainError> {
    let wanted = given.unwrap_or(Path::new(name));
    let found = in_path(wanted.as_os_str()).ok_or(Fault::Missing { name: wanted.into(), places: None });
    let checked = found.and_then(|path| if is_own(&path) { Err(Fault::Loop(path)) } else { Ok(path) });
    checked.map_err(|fault| {
        fault.mend_by(match given {
            Some(_) => correct_to(name, variable),
            None => format!("run: {INSTALL}; or set {variable} to the path of a {name} of LLVM {LLVM_MAJOR}"),
        })
    })
}

/// What mends a variable that names another rustc than one that can be used.
pub fn correct_to(name: &str, variable: &str) -> String {
    correct(variable, &format!("a {name} of LLVM {LLVM_MAJOR} ({INSTALL})"))
}

/// What to do about a rustc that cannot be used, wherever it came from.
fn use_another(fault: Fault) -> ToolchainError {
    fault.mend_by(format!(
        "use a toolchain whose 'rustc -vV' says LLVM version {LLVM_MAJOR}, such as Rust 1.95 ({INSTALL})"
    ))
}

impl Rustc {
    /// Asks `rustc`, once for each version of it. `toolchain` is that of `rustc +toolchain`.
    pub fn describe(rustc: &Path, toolchain: Option<&str>) -> Result<Self, ToolchainError> {
        let text = match toolchain {
            Some(toolchain) => ask(Command::new(rustc).env("RUSTUP_TOOLCHAIN", toolchain), "-vV"),
            None => cache::remember(rustc, || ask(&mut Command::new(rustc), "-vV")),
        };
        Self::understand(rustc, &text.map_err(use_another)?)
    }

    /// Asks the `rustc` that `wrapper` runs.
    pub fn describe_behind(wrapper: &Path, rustc: &OsStr) -> Result<Self, ToolchainError> {
        let text = ask(Command::new(wrapper).arg(rustc), "-vV").map_err(use_another)?;
        Self::understand(wrapper, &text)
    }

    fn understand(program: &Path, text: &str) -> Result<Self, ToolchainError> {
        Self::parse(text).ok_or_else(|| {
            use_another(Fault::Strange {
                path: program.into(),
                argument: "-vV",
                reason: "prints no lines 'host:', 'release:' and 'LLVM version:'".into(),
            })
        })
    }

    /// From what `rustc -vV` printed.
    pub fn parse(text: &str) -> Option<Self> {
        let field = |name: &str| {
            text.lines().find_map(|line| line.strip_prefix(name)).map(|text| text.trim().to_owned())
        };
        Some(Self { release: field("release:")?, host: field("host:")?, llvm: field("LLVM version:")? })
    }

    /// Whether it takes `-Z` options without being told that it may.
    pub fn takes_unstable_options(&self) -> bool {
        self.release.contains("-nightly") || self.release.contains("-dev")
    }

    /// Refuses another LLVM than the plugin's.
    pub fn check(&self, rustc: &Path) -> Result<(), ToolchainError> {
        if llvm_major_of(&self.llvm) == Some(LLVM_MAJOR) {
            return Ok(());
        }
        let found = format!("{} (rustc {})", self.llvm, self.release);
        Err(use_another(Fault::Llvm { path: rustc.into(), found }))
    }
}

/// `22` of `22.1.2`.
pub fn llvm_major_of(version: &str) -> Option<u32> {
    version.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NIGHTLY: &str = "rustc 1.97.0-nightly (e50aa6fba 2026-05-19)\nbinary: rustc\n\
        commit-date: 2026-05-19\nhost: x86_64-unknown-linux-gnu\nrelease: 1.97.0-nightly\nLLVM version: 22.1.4\n";

    #[test]
    fn reads_what_rustc_says() {
        let rustc = Rustc::parse(NIGHTLY).unwrap();
        assert_eq!((rustc.release.as_str(), rustc.llvm.as_str()), ("1.97.0-nightly", "22.1.4"));
        assert!(rustc.takes_unstable_options() && rustc.check(Path::new("rustc")).is_ok());
        assert_eq!(Rustc::parse("rustc 1.95.0"), None);
    }

    #[test]
    fn beta_and_stable_need_permission() {
        for release in ["1.95.0", "1.96.0-beta.3"] {
            let rustc = Rustc { release: release.into(), host: String::new(), llvm: "22.1.2".into() };
            assert!(!rustc.takes_unstable_options());
        }
    }

    #[test]
    fn another_llvm_is_refused() {
        let rustc = Rustc::parse(&NIGHTLY.replace("22.1.4", "21.1.8")).unwrap();
        let message = rustc.check(Path::new("/r/rustc")).unwrap_err().to_string();
        assert!(
            message.contains("/r/rustc is of LLVM 21.1.8 (rustc 1.97.0-nightly), expected LLVM 22"),
            "{message}"
        );
    }
}
