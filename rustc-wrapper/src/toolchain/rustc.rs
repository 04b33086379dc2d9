//! rustc.

use super::{LLVM_MAJOR, ToolchainError, ask, cache, in_path, is_own};
use crate::options::Options;
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
    find(options.rustc.as_deref().unwrap_or(Path::new("rustc")), "RELPOLINE_RUSTC")
}

/// The rustdoc to run.
pub fn find_rustdoc(options: &Options) -> Result<PathBuf, ToolchainError> {
    find(options.rustdoc.as_deref().unwrap_or(Path::new("rustdoc")), "RELPOLINE_RUSTDOC")
}

fn find(name: &Path, variable: &'static str) -> Result<PathBuf, ToolchainError> {
    let path = in_path(name.as_os_str()).ok_or_else(|| ToolchainError::Missing {
        name: name.display().to_string(),
        places: None,
        mend: "apt-get install rustc-web, or: rustup toolchain install stable".into(),
        variable,
    })?;
    if is_own(&path) {
        return Err(ToolchainError::Loop { path, variable });
    }
    Ok(path)
}

impl Rustc {
    /// Asks `rustc`, once for each version of it. `toolchain` is that of `rustc +toolchain`.
    pub fn describe(rustc: &Path, toolchain: Option<&str>) -> Result<Self, ToolchainError> {
        let text = match toolchain {
            Some(toolchain) => ask(Command::new(rustc).env("RUSTUP_TOOLCHAIN", toolchain), "-vV")?,
            None => cache::remember(rustc, || ask(&mut Command::new(rustc), "-vV"))?,
        };
        Self::understand(rustc, &text)
    }

    /// Asks the `rustc` that `wrapper` runs.
    pub fn describe_behind(wrapper: &Path, rustc: &OsStr) -> Result<Self, ToolchainError> {
        Self::understand(wrapper, &ask(Command::new(wrapper).arg(rustc), "-vV")?)
    }

    fn understand(program: &Path, text: &str) -> Result<Self, ToolchainError> {
        Self::parse(text).ok_or_else(|| ToolchainError::Silent {
            path: program.into(),
            argument: "-vV",
            reason: "no lines 'host:', 'release:' and 'LLVM version:'".into(),
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
        Err(ToolchainError::Llvm {
            path: rustc.into(),
            found: format!("{} (rustc {})", self.llvm, self.release),
            mend: format!(
                "use a toolchain whose 'rustc -vV' says LLVM version {LLVM_MAJOR}, such as Rust 1.95"
            ),
        })
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
