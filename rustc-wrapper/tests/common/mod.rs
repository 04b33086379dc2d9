//! What the tests of the binaries share.
#![allow(dead_code)] // each test file uses a part

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};
use tempfile::TempDir;

/// Calls through a table, so that each call has several targets.
pub const DISPATCH: &str = r#"
#include <stdio.h>
static int one(int x) { return x + 1; }
static int two(int x) { return x * 2; }
int (*volatile table[2])(int) = {one, two};
__attribute__((noinline)) int dispatch(int x) { return table[x & 1](x) + 1; }
#ifndef LIBRARY
int main(void) {
  long sum = 0;
  for (int i = 0; i < 10000; i++) sum += dispatch(i);
  printf("%ld\n", sum);
  return 0;
}
#endif
"#;

/// What the program above prints.
pub const DISPATCH_OUTPUT: &str = "75010000\n";

pub const CLANG: &str = env!("CARGO_BIN_EXE_relpoline-clang");
pub const RUSTC: &str = env!("CARGO_BIN_EXE_relpoline-rustc");
pub const CARGO: &str = env!("CARGO_BIN_EXE_cargo-relpoline");
pub const RELPOLINE: &str = env!("CARGO_BIN_EXE_relpoline");
pub const REAL_CLANG: &str = "/usr/lib/llvm-22/bin/clang";

/// `relpoline-clang++`, a link beside the binary.
pub fn clangxx() -> PathBuf {
    Path::new(CLANG).with_file_name("relpoline-clang++")
}

/// The directory of plugin and runtime.
pub fn home() -> PathBuf {
    let profile = Path::new(CLANG).parent().expect("binaries lie in a directory");
    let release = profile.with_file_name("release");
    let parts = ["librelpoline_pass.so", "librelpoline_rt.a"];
    let found =
        [profile, &release].into_iter().find(|place| parts.iter().all(|part| place.join(part).exists()));
    found
        .unwrap_or_else(|| {
            panic!(
                "no librelpoline_pass.so and librelpoline_rt.a in {} or {}; run: cargo build --release",
                profile.display(),
                release.display()
            )
        })
        .to_owned()
}

/// A program, without what the caller's environment may have set for it.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let of_cargo = text.starts_with("CARGO_") && text != "CARGO_HOME";
        let of_rust = text.starts_with("RUST") && text != "RUSTUP_HOME";
        if text.starts_with("RELPOLINE_") || of_cargo || of_rust || text == "CARGO" {
            command.env_remove(&name);
        }
    }
    command.env("RELPOLINE_HOME", home());
    command
}

/// A directory of files for one test.
pub struct Files(TempDir);

impl Files {
    pub fn new(files: &[(&str, &str)]) -> Self {
        let directory = Self(tempfile::tempdir().unwrap());
        for (name, content) in files {
            directory.write(name, content);
        }
        directory
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// A shell script that can be run.
    pub fn script(&self, name: &str, content: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        self.write(name, format!("#!/bin/sh\n{content}\n"));
        let path = self.path(name);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// Runs `program` in the directory with the words of `line` as arguments.
    pub fn run(&self, program: impl AsRef<OsStr>, line: &str) -> Outcome {
        self.run_with(command(program), line)
    }

    pub fn run_with(&self, mut command: Command, line: &str) -> Outcome {
        command.args(line.split_whitespace()).current_dir(self.0.path());
        let name = format!("{:?} {line}", command.get_program());
        Outcome::of(name, relpoline_tests::output(&mut command).unwrap())
    }

    /// Runs a program that was built here.
    pub fn run_built(&self, name: &str) -> Outcome {
        self.run(self.path(name), "")
    }

    /// The sites of a file as (form, function).
    pub fn sites(&self, name: &str) -> Vec<(String, String)> {
        let tables = self.run(RELPOLINE, &format!("sites --json {name}")).succeeds().json();
        let sites = tables.as_array().unwrap().iter().flat_map(|table| table["sites"].as_array().unwrap());
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        sites.map(|site| (text(&site["form"]), text(&site["function"]))).collect()
    }

    /// The audit of a file.
    pub fn audit(&self, name: &str) -> serde_json::Value {
        let outcome = self.run(RELPOLINE, &format!("audit --json {name}"));
        assert!(outcome.status < 2, "{outcome:?}");
        outcome.json()[0].clone()
    }

    /// Whether a linked file holds the runtime.
    pub fn has_runtime(&self, name: &str) -> bool {
        let data = fs::read(self.path(name)).unwrap();
        memchr::memmem::find(&data, b"__relpoline_retpoline_r10\0").is_some()
    }
}

#[derive(Debug)]
pub struct Outcome {
    pub command: String,
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Outcome {
    fn of(command: String, output: Output) -> Self {
        Self {
            command,
            status: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    #[track_caller]
    pub fn succeeds(self) -> Self {
        assert_eq!(self.status, 0, "{}\n{}", self.command, self.stderr);
        self
    }

    /// Succeeded without a word on standard error.
    #[track_caller]
    pub fn in_silence(self) -> Self {
        assert_eq!(self.stderr, "", "{}", self.command);
        self.succeeds()
    }

    /// Failed with one line on standard error that has all of `parts` in it.
    #[track_caller]
    pub fn fails_with(self, status: i32, parts: &[&str]) {
        assert_eq!((self.status, self.stderr.lines().count()), (status, 1), "{self:?}");
        for part in parts {
            assert!(self.stderr.contains(part), "'{part}' is not in: {}", self.stderr);
        }
    }

    #[track_caller]
    pub fn prints(self, expected: &str) {
        assert_eq!(self.stdout, expected, "{}\n{}", self.command, self.stderr);
        self.succeeds();
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{}: {error}\n{self:?}", self.command))
    }
}
