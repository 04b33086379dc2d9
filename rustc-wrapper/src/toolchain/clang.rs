//! clang, clang++ and lld.

use super::{Fault, LLVM_MAJOR, ToolchainError, ask, cache, in_path, is_executable, is_own, llvm_major};
use crate::{locate::correct, options::Options};
use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// A clang of the right LLVM.
#[derive(Clone, Debug)]
pub struct Clang {
    /// How it is run.
    pub path: PathBuf,
    /// Arguments that make a C++ compiler of it.
    pub mode: Option<&'static str>,
}

const DIRECTORY: &str = concat!("/usr/lib/llvm-", llvm_major!(), "/bin");
/// Where a clang is looked for.
const PLACES: &str = concat!("not found in PATH or /usr/lib/llvm-", llvm_major!(), "/bin");
/// Makes a C++ compiler of a clang.
const CXX_MODE: &str = "--driver-mode=g++";

/// The clang, or clang++, to run.
pub fn find_clang(options: &Options, cxx: bool) -> Result<Clang, ToolchainError> {
    let given = match (&options.clang, &options.clangxx) {
        (_, Some(path)) if cxx => Some((path, "RELPOLINE_CLANGXX")),
        (Some(path), _) => Some((path, "RELPOLINE_CLANG")),
        _ => None,
    };
    let clang = match given {
        Some((path, variable)) => named(path, (cxx && variable == "RELPOLINE_CLANG").then_some(CXX_MODE)),
        None => choose(cxx),
    };
    let checked = clang.and_then(|clang| check(&clang, options).map(|()| clang));
    checked.map_err(|fault| {
        let install = format!("apt-get install clang-{LLVM_MAJOR}");
        let expected = format!("a clang of LLVM {LLVM_MAJOR}");
        fault.mend_by(match given {
            Some((_, variable)) => correct(variable, &format!("{expected} ({install})")),
            None => format!("run: {install}, or set RELPOLINE_CLANG to {expected}"),
        })
    })
}

fn check(clang: &Clang, options: &Options) -> Result<(), Fault> {
    if is_own(&clang.path) {
        return Err(Fault::Loop(clang.path.clone()));
    }
    if options.disable {
        return Ok(());
    }
    match major(&clang.path)? {
        found if found == LLVM_MAJOR.to_string() => Ok(()),
        found => Err(Fault::Llvm { path: clang.path.clone(), found }),
    }
}

fn named(path: &Path, mode: Option<&'static str>) -> Result<Clang, Fault> {
    let found =
        in_path(path.as_os_str()).ok_or_else(|| Fault::Missing { name: path.into(), places: None })?;
    Ok(Clang { path: found, mode })
}

fn choose(cxx: bool) -> Result<Clang, Fault> {
    if cxx {
        let versioned = format!("clang++-{LLVM_MAJOR}");
        let plain = Path::new(DIRECTORY).join("clang++");
        if let Some(path) = in_path(versioned.as_ref()).or_else(|| is_executable(&plain).then_some(plain)) {
            return Ok(Clang { path, mode: None });
        }
    }
    let versioned = format!("clang-{LLVM_MAJOR}");
    let plain = Path::new(DIRECTORY).join("clang");
    // A plain `clang` comes last: it may well be of another LLVM, which is then said.
    let path = in_path(versioned.as_ref())
        .or_else(|| is_executable(&plain).then_some(plain))
        .or_else(|| in_path("clang".as_ref()))
        .ok_or(Fault::Missing { name: versioned.into(), places: Some(PLACES) })?;
    Ok(Clang { path, mode: cxx.then_some(CXX_MODE) })
}

/// A program of LLVM's (`ld.lld`, `llvm-ar`) where this clang looks for it.
pub fn find_llvm_tool(clang: &Path, name: &str) -> Option<PathBuf> {
    let beside = clang.canonicalize().ok()?.with_file_name(name);
    if is_executable(&beside) { Some(beside) } else { in_path(name.as_ref()) }
}

/// LLVM's major version: by the name of the file where it tells, else by asking.
fn major(clang: &Path) -> Result<String, Fault> {
    if let Some(major) = clang.canonicalize().ok().and_then(|path| major_in_path(&path)) {
        return Ok(major);
    }
    let text = cache::remember(clang, || ask(&mut Command::new(clang), "--version"))?;
    major_in_version(&text).ok_or_else(|| Fault::Strange {
        path: clang.into(),
        argument: "--version",
        reason: "prints no line 'clang version ...'".into(),
    })
}

/// `/usr/lib/llvm-22/bin/clang`, `/opt/bin/clang-22`.
fn major_in_path(path: &Path) -> Option<String> {
    let digits = |text: &str| {
        (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.to_owned())
    };
    let name = path.file_name()?.to_str()?;
    if let Some(major) = name.strip_prefix("clang-").and_then(digits) {
        return Some(major);
    }
    let mut directories = path.components().rev().skip(1).map(|part| part.as_os_str().to_str());
    let bin = directories.next()?? == "bin";
    let major = directories.next()??.strip_prefix("llvm-").and_then(digits);
    if bin && name.starts_with("clang") { major } else { None }
}

fn major_in_version(text: &str) -> Option<String> {
    let line = text.lines().find(|line| line.contains("clang version "))?;
    let version = line.split("clang version ").nth(1)?;
    // Apple's versions are not LLVM's.
    if line.starts_with("Apple ") {
        return Some(format!("{version} (Apple)"));
    }
    let major: String = version.chars().take_while(char::is_ascii_digit).collect();
    (!major.is_empty()).then_some(major)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn major_by_path() {
        let major = |path: &str| major_in_path(Path::new(path));
        assert_eq!(major("/usr/lib/llvm-22/bin/clang").as_deref(), Some("22"));
        assert_eq!(major("/opt/bin/clang-19").as_deref(), Some("19"));
        assert_eq!(major("/usr/bin/clang"), None);
        assert_eq!(major("/usr/lib/llvm-22/bin/ccache"), None);
        assert_eq!(major("/src/llvm-22/build/bin/clang"), None);
        assert_eq!(major("/usr/lib/llvm-tot/bin/clang"), None);
    }

    #[test]
    fn major_by_version() {
        let major = |text: &str| major_in_version(text);
        assert_eq!(major("Debian clang version 22.1.8 (1~deb12u1)\nTarget: x").as_deref(), Some("22"));
        assert_eq!(major("clang version 19.0.0git (https://...)").as_deref(), Some("19"));
        assert_ne!(major("Apple clang version 22.0.0").as_deref(), Some("22"));
        assert_eq!(major("gcc (Debian 12.2.0) 12.2.0"), None);
    }
}
