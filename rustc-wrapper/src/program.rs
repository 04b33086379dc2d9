//! What every binary here does alike: errors on one line, output that may end early, a child in our place.

use anyhow::{Context, Result};
use rustix::fs::{FileType, fstat};
use std::{
    ffi::OsStr,
    fs,
    io::{self, ErrorKind, Write},
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::Path,
    process::{Command, ExitCode},
};

/// Runs `body`; its error becomes one line `name: error: what: why` and exit status `failure`.
pub fn run(name: &str, failure: u8, body: impl FnOnce() -> Result<ExitCode>) -> ExitCode {
    body().unwrap_or_else(|error| {
        complain(name, "error", &format!("{error:#}"));
        ExitCode::from(failure)
    })
}

/// Prints `name: warning: text`.
pub fn warn(name: &str, text: &str) {
    complain(name, "warning", text);
}

/// Prints `name: error: text`.
pub fn error(name: &str, text: &str) {
    complain(name, "error", text);
}

fn complain(name: &str, kind: &str, text: &str) {
    // There is no place left to say that standard error is closed.
    let _ = writeln!(io::stderr(), "{name}: {kind}: {}", visible(text));
}

/// Replaces this process by `command`, so that exit status and signals are the command's own. Only returns
/// when that fails.
pub fn exec(command: &mut Command) -> Result<ExitCode> {
    let error = command.exec();
    Err(error).with_context(|| format!("cannot run {}", Path::new(command.get_program()).display()))
}

/// Writes to standard output. A reader that has seen enough (`| head`) is no error.
pub fn print(text: &str) -> Result<()> {
    print_on(text).map(|_| ())
}

/// The same for those who print on and on. False: nobody reads any more.
pub fn print_on(text: &str) -> Result<bool> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        other => other.map(|()| true).context("cannot write to standard output"),
    }
}

/// Whether what is printed goes nowhere. Rust's start puts `/dev/null` where standard output is closed.
pub fn is_output_lost() -> bool {
    let null = fs::metadata("/dev/null").map(|null| null.rdev());
    fstat(io::stdout()).is_ok_and(|output| {
        FileType::from_raw_mode(output.st_mode) == FileType::CharacterDevice
            && null.is_ok_and(|null| null == output.st_rdev)
    })
}

/// `1 site`, `2 sites`, `2 branches`.
pub fn count(number: usize, thing: &str) -> String {
    let plural = match (number, thing.ends_with("ch")) {
        (1, _) => "",
        (_, true) => "es",
        _ => "s",
    };
    format!("{number} {thing}{plural}")
}

/// What a terminal shows as it is: names come from files that anybody may have made.
pub fn printable(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}

/// The same for a text that may have several lines.
fn visible(text: &str) -> String {
    text.replace(|letter: char| letter.is_control() && letter != '\n', "\u{fffd}")
}

/// A path as it must be written in a command for a shell.
pub fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |letter: char| letter.is_alphanumeric() || "_-./+,:=@%^".contains(letter);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text;
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Whether `value` of an on/off variable is on.
pub fn parse_switch(value: &OsStr) -> Option<bool> {
    match value.to_str()? {
        "1" | "on" | "yes" | "true" => Some(true),
        "" | "0" | "off" | "no" | "false" => Some(false),
        _ => None,
    }
}

/// A number with its thousands apart: `1,234,567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_quoted_where_a_shell_would_not_take_them_as_they_are() {
        for (path, word) in [
            ("../linux-6.12/arch", "../linux-6.12/arch"),
            ("a b", "'a b'"),
            ("it's", r"'it'\''s'"),
            ("$(x)", "'$(x)'"),
            ("~", "'~'"),
            ("", "''"),
        ] {
            assert_eq!(quoted(Path::new(path)), word);
        }
    }

    #[test]
    fn numbers_are_grouped() {
        for (number, text) in [
            (0, "0"),
            (7, "7"),
            (999, "999"),
            (1000, "1,000"),
            (1_234_567, "1,234,567"),
            (12_345_678, "12,345,678"),
        ] {
            assert_eq!(grouped(number), text);
        }
    }
}
