//! Finds the plugin, the runtime archive and the kernel's object.

use crate::options::Options;
use std::{
    env,
    path::{Path, PathBuf},
};

/// What can be looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The compiler plugin.
    Plugin,
    /// The archive that is linked into programs.
    Runtime,
    /// The runtime as an object for the Linux kernel.
    Kernel,
}

impl Part {
    /// Name of the file.
    pub fn file_name(self) -> &'static str {
        match self {
            Self::Plugin => "librelpoline_pass.so",
            Self::Runtime => "librelpoline_rt.a",
            Self::Kernel => "relpoline_kernel.o",
        }
    }

    /// Command that builds it.
    pub fn build_command(self) -> &'static str {
        match self {
            Self::Plugin => "cargo build --release -p relpoline-pass",
            Self::Runtime => "cargo build --release -p relpoline_rt",
            Self::Kernel => "ci/kernel-object",
        }
    }

    fn option(self) -> &'static str {
        match self {
            Self::Plugin => "RELPOLINE_PASS",
            Self::Runtime => "RELPOLINE_RUNTIME",
            Self::Kernel => "RELPOLINE_KERNEL",
        }
    }
}

/// A part that is not there.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{}; {}", self.found(), self.mend())]
pub enum LocateError {
    /// A path that the user gave.
    Named {
        /// The part.
        part: Part,
        /// What was given.
        path: PathBuf,
        /// Variable that means the same as the option.
        variable: &'static str,
    },
    /// Nothing in the places where parts are looked for.
    Missing {
        /// The part.
        part: Part,
        /// Where it was looked for.
        places: Vec<PathBuf>,
        /// The user named the place.
        is_named: bool,
    },
}

impl LocateError {
    /// What is there instead.
    pub fn found(&self) -> String {
        match self {
            Self::Named { path, variable, .. } => {
                let state = if path.exists() { "is no file" } else { "does not exist" };
                format!("{} {state}, but {variable} (or its option) names it", path.display())
            }
            Self::Missing { part, places, .. } => {
                format!("{} not found in {}", part.file_name(), list(places))
            }
        }
    }

    /// What to do. Where the user has named a place, what is installed in others does not help.
    pub fn mend(&self) -> String {
        match self {
            Self::Named { part, variable, .. } => {
                correct(variable, &format!("the path of {}", part.file_name()))
            }
            Self::Missing { part, is_named: true, .. } => {
                correct("RELPOLINE_HOME", &format!("the directory that holds {}", part.file_name()))
            }
            Self::Missing { part, .. } => format!(
                "run: {}, or set RELPOLINE_HOME to the directory that holds {}",
                part.build_command(),
                part.file_name()
            ),
        }
    }
}

/// What mends a variable.
pub fn correct(variable: &str, expected: &str) -> String {
    format!("unset {variable}, or set it to {expected}")
}

/// Path of `part`, absolute.
pub fn find(part: Part, options: &Options) -> Result<PathBuf, LocateError> {
    let given = match part {
        Part::Plugin => &options.pass,
        Part::Runtime => &options.runtime,
        Part::Kernel => &None,
    };
    if let Some(path) = given {
        return absolute_file(path).ok_or_else(|| LocateError::Named {
            part,
            path: path.clone(),
            variable: part.option(),
        });
    }
    let places = places(options.home.as_deref(), executable_directory().as_deref());
    places.iter().find_map(|place| absolute_file(&place.join(part.file_name()))).ok_or(LocateError::Missing {
        part,
        places,
        is_named: options.home.is_some(),
    })
}

/// Directory of the running program, links resolved.
pub fn executable_directory() -> Option<PathBuf> {
    Some(env::current_exe().ok()?.canonicalize().ok()?.parent()?.to_owned())
}

/// A home that is named is the only place: falling back to another installation would mix two versions.
fn places(home: Option<&Path>, executable: Option<&Path>) -> Vec<PathBuf> {
    match (home, executable) {
        (Some(home), _) => {
            vec![home.into(), home.join("lib/relpoline"), home.join("lib"), home.join("bin")]
        }
        (None, Some(directory)) => {
            let prefix = directory.parent().unwrap_or(directory);
            vec![directory.into(), prefix.join("lib/relpoline")]
        }
        (None, None) => Vec::new(),
    }
}

fn absolute_file(path: &Path) -> Option<PathBuf> {
    path.is_file().then(|| std::path::absolute(path).ok()).flatten()
}

fn list(places: &[PathBuf]) -> String {
    let names: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_named_home_is_the_only_place() {
        assert_eq!(
            places(Some(Path::new("/h")), Some(Path::new("/usr/bin"))),
            ["/h", "/h/lib/relpoline", "/h/lib", "/h/bin"].map(PathBuf::from)
        );
    }

    #[test]
    fn parts_lie_beside_the_program_or_in_the_library_directory() {
        assert_eq!(
            places(None, Some(Path::new("/usr/bin"))),
            ["/usr/bin", "/usr/lib/relpoline"].map(PathBuf::from)
        );
    }

    #[test]
    fn finds_what_is_there_and_says_what_is_not() {
        let home = tempfile::tempdir().unwrap();
        let options = Options { home: Some(home.path().into()), ..Options::default() };
        let missing = find(Part::Plugin, &options).unwrap_err().to_string();
        assert!(missing.contains("librelpoline_pass.so not found in"), "{missing}");
        assert!(missing.contains("unset RELPOLINE_HOME, or set it to the directory that"), "{missing}");
        fs::create_dir_all(home.path().join("lib/relpoline")).unwrap();
        let file = home.path().join("lib/relpoline/librelpoline_pass.so");
        fs::write(&file, "").unwrap();
        assert_eq!(find(Part::Plugin, &options), Ok(file));
    }

    #[test]
    fn a_named_file_must_exist() {
        let options = Options { runtime: Some("/nowhere/rt.a".into()), ..Options::default() };
        let message = find(Part::Runtime, &options).unwrap_err().to_string();
        assert!(message.starts_with("/nowhere/rt.a does not exist, but RELPOLINE_RUNTIME"), "{message}");
        let options = Options { runtime: Some("/".into()), ..Options::default() };
        let message = find(Part::Runtime, &options).unwrap_err().to_string();
        assert!(message.starts_with("/ is no file, but RELPOLINE_RUNTIME"), "{message}");
    }
}
