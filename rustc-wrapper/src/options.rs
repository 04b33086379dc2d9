//! The wrappers' own options. [`TABLE`] is the only list of them: parsing, help and error messages all come
//! from it.

use crate::{program::parse_switch, toolchain::llvm_major};
use std::{
    env,
    ffi::{OsStr, OsString},
    fmt::Write,
    os::unix::ffi::OsStrExt,
    path::PathBuf,
    process::Command,
};

/// Start of every option of ours on a compiler's command line.
pub const PREFIX: &str = "--relpoline-";

/// One option.
pub struct Spec {
    /// What follows [`PREFIX`].
    pub name: &'static str,
    /// The variable that means the same. The option wins.
    pub variable: Option<&'static str>,
    /// What stands behind `=`, empty for a switch.
    pub value: &'static str,
    /// One line of help.
    pub help: &'static str,
    set: fn(&mut Options, &OsStr) -> bool,
}

/// Every option.
pub const TABLE: &[Spec] = &[
    Spec {
        name: "disable",
        variable: Some("RELPOLINE_DISABLE"),
        value: "",
        help: "run the compiler as if it had been called directly",
        set: |options, value| parse_switch(value).map(|on| options.disable = on).is_some(),
    },
    Spec {
        name: "form",
        variable: Some("RELPOLINE_FORM"),
        value: "inline|stub",
        help: "form of the call sites: fast, or small (default: inline, and stub where code is built for size)",
        set: |options, value| match value.to_str() {
            Some("inline") => options.form.insert(Form::Inline) == &Form::Inline,
            Some("stub") => options.form.insert(Form::Stub) == &Form::Stub,
            _ => false,
        },
    },
    Spec {
        name: "ignorelist",
        variable: Some("RELPOLINE_IGNORELIST"),
        value: "FILE",
        help: "functions and files whose calls stay retpolines, as lines 'fun:NAME' (mangled) and, for clang, 'src:PATH' (as it is given), with *",
        set: |options, value| set_path(&mut options.ignorelist, value),
    },
    Spec {
        name: "home",
        variable: Some("RELPOLINE_HOME"),
        value: "DIR",
        help: "where plugin and runtime are (default: beside this program, then in ../lib/relpoline)",
        set: |options, value| set_path(&mut options.home, value),
    },
    Spec {
        name: "pass",
        variable: Some("RELPOLINE_PASS"),
        value: "PATH",
        help: "the compiler plugin, librelpoline_pass.so",
        set: |options, value| set_path(&mut options.pass, value),
    },
    Spec {
        name: "runtime",
        variable: Some("RELPOLINE_RUNTIME"),
        value: "PATH",
        help: "the runtime, librelpoline_rt.a",
        set: |options, value| set_path(&mut options.runtime, value),
    },
    Spec {
        name: "clang",
        variable: Some("RELPOLINE_CLANG"),
        value: "PATH",
        help: concat!("the clang that relpoline-clang runs (default: clang-", llvm_major!(), ")"),
        set: |options, value| set_path(&mut options.clang, value),
    },
    Spec {
        name: "clangxx",
        variable: Some("RELPOLINE_CLANGXX"),
        value: "PATH",
        help: concat!("the clang++ that relpoline-clang++ runs (default: clang++-", llvm_major!(), ")"),
        set: |options, value| set_path(&mut options.clangxx, value),
    },
    Spec {
        name: "rustc",
        variable: Some("RELPOLINE_RUSTC"),
        value: "PATH",
        help: "the rustc that relpoline-rustc runs where cargo does not name one (default: rustc)",
        set: |options, value| set_path(&mut options.rustc, value),
    },
    Spec {
        name: "rustdoc",
        variable: Some("RELPOLINE_RUSTDOC"),
        value: "PATH",
        help: "the rustdoc that relpoline-rustdoc runs (default: rustdoc)",
        set: |options, value| set_path(&mut options.rustdoc, value),
    },
    Spec {
        name: "version",
        variable: None,
        value: "",
        help: "print what changes with relpoline, its options and the compiler, for caches, and nothing else",
        set: |options, _| {
            options.ask = Some(Question::Version);
            true
        },
    },
    Spec {
        name: "print-plugin",
        variable: None,
        value: "",
        help: "print the path of the compiler plugin, and nothing else",
        set: |options, _| {
            options.ask = Some(Question::Plugin);
            true
        },
    },
    Spec {
        name: "help",
        variable: None,
        value: "",
        help: "print these options, and nothing else",
        set: |options, _| {
            options.ask = Some(Question::Help);
            true
        },
    },
];

/// Form of the call sites.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Compare and direct call in the calling function.
    Inline,
    /// Everything out of line.
    Stub,
}

impl Form {
    /// As it is written in options.
    pub fn name(self) -> &'static str {
        match self {
            Self::Inline => "inline",
            Self::Stub => "stub",
        }
    }
}

/// Something to print instead of compiling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// The table of options.
    Help,
    /// Version and identity.
    Version,
    /// Where the plugin is.
    Plugin,
}

/// What was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Be the plain compiler.
    pub disable: bool,
    /// Form of the call sites, where it was chosen.
    pub form: Option<Form>,
    /// Functions and files that are left alone.
    pub ignorelist: Option<PathBuf>,
    /// Where plugin and runtime are.
    pub home: Option<PathBuf>,
    /// The plugin.
    pub pass: Option<PathBuf>,
    /// The runtime archive.
    pub runtime: Option<PathBuf>,
    /// Path or name of clang.
    pub clang: Option<PathBuf>,
    /// Path or name of clang++.
    pub clangxx: Option<PathBuf>,
    /// Path or name of rustc.
    pub rustc: Option<PathBuf>,
    /// Path or name of rustdoc.
    pub rustdoc: Option<PathBuf>,
    /// Print this instead.
    pub ask: Option<Question>,
}

/// A wrong option.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum OptionError {
    /// No such option.
    #[error("unknown option '{given}'{}; {PREFIX}help lists all", nearest.map_or(String::new(), |name| format!(" (did you mean {PREFIX}{name}?)")))]
    Unknown {
        /// As it was given.
        given: String,
        /// The most similar name in the table.
        nearest: Option<&'static str>,
    },
    /// A value that the option does not take.
    #[error("'{source_name}' is '{found}', expected {expected}; {PREFIX}help lists all options")]
    Value {
        /// Option or variable.
        source_name: String,
        /// What was found.
        found: String,
        /// What it takes.
        expected: &'static str,
    },
}

impl Spec {
    fn expected(&self) -> &'static str {
        if self.value.is_empty() { "1 or 0" } else { self.value }
    }

    fn apply(&self, options: &mut Options, source_name: &str, value: &OsStr) -> Result<(), OptionError> {
        let empty = value.is_empty() && !self.value.is_empty();
        if !empty && (self.set)(options, value) {
            return Ok(());
        }
        Err(OptionError::Value {
            source_name: source_name.to_owned(),
            found: value.to_string_lossy().into_owned(),
            expected: self.expected(),
        })
    }
}

impl Options {
    /// Has the compiler that `command` runs see what the plugin is asked for.
    pub fn pass_on(&self, command: &mut Command) {
        if let Some(form) = self.form {
            command.env("RELPOLINE_FORM", form.name());
        }
        if let Some(list) = &self.ignorelist {
            command.env("RELPOLINE_IGNORELIST", list);
        }
    }

    /// From the variables of the environment. An empty variable counts as absent.
    pub fn from_environment() -> Result<Self, OptionError> {
        Self::from_variables(|name| env::var_os(name))
    }

    fn from_variables(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, OptionError> {
        let mut options = Self::default();
        for spec in TABLE {
            let Some(name) = spec.variable else { continue };
            match variable(name) {
                Some(value) if !value.is_empty() => spec.apply(&mut options, name, &value)?,
                _ => {}
            }
        }
        Ok(options)
    }

    /// Takes ours among `arguments` in, and returns the others.
    pub fn take_all(
        &mut self,
        arguments: impl Iterator<Item = OsString>,
    ) -> Result<Vec<OsString>, OptionError> {
        let mut others = Vec::new();
        for argument in arguments {
            if !self.take(&argument)? {
                others.push(argument);
            }
        }
        Ok(others)
    }

    /// Takes `argument` in if it is one of ours. False: it belongs to the compiler.
    pub fn take(&mut self, argument: &OsStr) -> Result<bool, OptionError> {
        let Some(rest) = argument.as_bytes().strip_prefix(PREFIX.as_bytes()) else { return Ok(false) };
        let (name, value) = match rest.iter().position(|&byte| byte == b'=') {
            Some(at) => (&rest[..at], Some(OsStr::from_bytes(&rest[at + 1..]))),
            None => (rest, None),
        };
        let Some(spec) = TABLE.iter().find(|spec| spec.name.as_bytes() == name) else {
            return Err(OptionError::Unknown {
                given: argument.to_string_lossy().into_owned(),
                nearest: nearest(&String::from_utf8_lossy(name)),
            });
        };
        // A switch without a value is on.
        let value = value.unwrap_or(OsStr::new(if spec.value.is_empty() { "1" } else { "" }));
        spec.apply(self, &format!("{PREFIX}{}", spec.name), value)?;
        Ok(true)
    }
}

/// Help text of the options that both compiler wrappers take.
pub fn help() -> String {
    let mut text =
        String::from("Options of relpoline's compiler wrappers; every other argument is the compiler's.\n\n");
    for spec in TABLE {
        let separator = if spec.value.is_empty() { "" } else { "=" };
        let _ = writeln!(text, "  {PREFIX}{}{separator}{}", spec.name, spec.value);
        let _ = writeln!(text, "      {}", spec.help);
        if let Some(variable) = spec.variable {
            let _ =
                writeln!(text, "      {variable}={}", if spec.value.is_empty() { "1" } else { spec.value });
        }
    }
    text
}

fn nearest(name: &str) -> Option<&'static str> {
    TABLE
        .iter()
        .map(|spec| (strsim::jaro_winkler(spec.name, name), spec.name))
        .filter(|(similarity, _)| *similarity > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

fn set_path(path: &mut Option<PathBuf>, value: &OsStr) -> bool {
    *path = Some(value.into());
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(argument: &str) -> Result<(bool, Options), OptionError> {
        let mut options = Options::default();
        options.take(OsStr::new(argument)).map(|ours| (ours, options))
    }

    #[test]
    fn compiler_arguments_are_left_alone() {
        for argument in ["-c", "--relpoline", "-relpoline-disable", "--target=x", "relpoline-disable"] {
            assert_eq!(take(argument), Ok((false, Options::default())));
        }
    }

    #[test]
    fn options_are_taken() {
        assert!(take("--relpoline-disable").unwrap().1.disable);
        assert!(!take("--relpoline-disable=0").unwrap().1.disable);
        assert_eq!(take("--relpoline-form=stub").unwrap().1.form, Some(Form::Stub));
        assert_eq!(take("--relpoline-pass=/a=b").unwrap().1.pass, Some("/a=b".into()));
        assert_eq!(take("--relpoline-help").unwrap().1.ask, Some(Question::Help));
    }

    #[test]
    fn wrong_options_say_what_is_expected() {
        let message = |argument: &str| take(argument).unwrap_err().to_string();
        assert_eq!(
            message("--relpoline-from=stub"),
            "unknown option '--relpoline-from=stub' (did you mean --relpoline-form?); --relpoline-help lists all"
        );
        assert_eq!(
            message("--relpoline-form=fast"),
            "'--relpoline-form' is 'fast', expected inline|stub; --relpoline-help lists all options"
        );
        assert!(message("--relpoline-pass").contains("expected PATH"));
        assert!(message("--relpoline-disable=maybe").contains("expected 1 or 0"));
    }

    #[test]
    fn variables_mean_the_same_and_options_win() {
        let variable = |name: &str| match name {
            "RELPOLINE_FORM" => Some("stub".into()),
            "RELPOLINE_PASS" => Some(OsString::new()),
            "RELPOLINE_HOME" => Some("/opt".into()),
            _ => None,
        };
        let mut options = Options::from_variables(variable).unwrap();
        assert_eq!((options.form, options.pass.clone()), (Some(Form::Stub), None));
        assert_eq!(options.home, Some("/opt".into()));
        assert!(options.take(OsStr::new("--relpoline-form=inline")).unwrap());
        assert_eq!(options.form, Some(Form::Inline));
        let wrong = Options::from_variables(|name| (name == "RELPOLINE_DISABLE").then(|| "2".into()));
        assert!(wrong.unwrap_err().to_string().starts_with("'RELPOLINE_DISABLE' is '2'"));
    }

    #[test]
    fn help_names_every_option_and_variable() {
        let help = help();
        for spec in TABLE {
            assert!(help.contains(&format!("{PREFIX}{}", spec.name)));
            assert!(spec.variable.is_none_or(|variable| help.contains(variable)));
            assert!(
                spec.variable.is_some() == spec.variable.is_some_and(|name| name.starts_with("RELPOLINE_"))
            );
        }
    }
}
