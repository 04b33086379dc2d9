//! What the tests of whole programs share: where things are, how a program is compiled and run, and how its
//! statistics are read.

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;
use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

/// Files that must stand in the build folder before any program can be tested.
const BUILT: [&str; 4] =
    ["librelpoline_pass.so", "librelpoline_rt.a", "relpoline-clang", "relpoline-clang++"];

/// The folder of the built tools: `RELPOLINE_BINDIR`, else the release build.
///
/// # Errors
/// Names what is missing, and the command that builds it.
pub fn bindir() -> Result<PathBuf> {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release");
    let dir = std::env::var_os("RELPOLINE_BINDIR").map_or_else(default, PathBuf::from);
    for name in BUILT {
        ensure!(
            dir.join(name).exists(),
            "{} is missing; run: cargo build --release",
            dir.join(name).display()
        );
    }
    Ok(dir.canonicalize()?)
}

/// How long a program may take. What takes longer waits for something that does not come.
const LIMIT: Duration = Duration::from_secs(600);

/// Runs a program, without input. One that hangs is ended, with all that it started, and is an error.
///
/// # Errors
/// When it cannot be run, or does not end.
pub fn output(command: &mut Command) -> Result<Output> {
    output_within(command, LIMIT)
}

fn output_within(command: &mut Command, limit: Duration) -> Result<Output> {
    let name = format!("{command:?}");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let child = command.spawn().with_context(|| format!("cannot run {name}"))?;
    let group = Pid::from_child(&child);
    let (ended, end) = mpsc::channel::<()>();
    let hangs = thread::spawn(move || {
        let hangs = end.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout);
        hangs && kill_process_group(group, Signal::KILL).is_ok()
    });
    // Until nobody holds its output any more: children of its own may hang, too.
    let output = child.wait_with_output()?;
    drop(ended);
    ensure!(
        !hangs.join().expect("it only waits"),
        "{name} hangs: it had not ended after {} s\n{}{}",
        limit.as_secs(),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(output)
}

/// A program of `programs/`, compiled into a folder that goes with this value.
pub struct Program {
    dir: TempDir,
    path: PathBuf,
}

impl Program {
    /// Compiles `programs/<source>` with these arguments.
    ///
    /// # Errors
    /// What the compiler said.
    pub fn build(source: &str, arguments: &[&str]) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("program");
        compile(source, arguments, &path)?;
        Ok(Self { dir, path })
    }

    /// The executable.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder that the executable lies in.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Runs the program, with statistics, and requires that it succeeds.
    ///
    /// # Errors
    /// How the program ended otherwise.
    pub fn run<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Result<Run> {
        let output = self.try_run("", arguments)?;
        ensure!(
            output.status.success(),
            "{}: {}\n{}{}",
            self.path.display(),
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(Run { output, stats: self.stats()? })
    }

    /// Runs the program with statistics and further runtime options, however it ends.
    ///
    /// # Errors
    /// When it cannot be started, or does not end.
    pub fn try_run<S: AsRef<OsStr>>(&self, options: &str, arguments: &[S]) -> Result<Output> {
        let stats = self.dir.path().join("stats.json");
        let options = format!("stats={}:{options}", stats.display());
        output(Command::new(&self.path).args(arguments).env("RELPOLINE_OPTIONS", options))
    }

    /// Statistics of the last run.
    ///
    /// # Errors
    /// When there are none, or they are not JSON.
    pub fn stats(&self) -> Result<Value> {
        let path = self.dir.path().join("stats.json");
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        serde_json::from_str(&text).with_context(|| format!("{} is not JSON: {text}", path.display()))
    }
}

/// A finished run.
pub struct Run {
    /// Status and output.
    pub output: Output,
    /// Statistics.
    pub stats: Value,
}

impl Run {
    /// A number of the statistics' totals.
    pub fn total(&self, name: &str) -> u64 {
        self.stats["totals"][name].as_u64().unwrap_or_else(|| panic!("no total '{name}': {}", self.stats))
    }

    /// Standard output.
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.output.stdout).into_owned()
    }
}

/// Compiles `programs/<source>` to `path` with the wrapper for its language.
///
/// # Errors
/// What the compiler said.
pub fn compile(source: &str, arguments: &[&str], path: &Path) -> Result<()> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("programs").join(source);
    let plus = source.extension().is_some_and(|extension| extension == "cpp");
    let compiler = bindir()?.join(if plus { "relpoline-clang++" } else { "relpoline-clang" });
    let mut command = Command::new(&compiler);
    command
        .args(["-O2", "-g1", "-Wall", "-Werror", "-pthread"])
        .arg(&source)
        .args(arguments)
        .arg("-o")
        .arg(path);
    let output = output(&mut command)?;
    if !output.status.success() || !output.stderr.is_empty() {
        bail!("{}: {}", source.display(), String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

/// The forms and optimisation levels that every attack runs at.
pub const VARIANTS: [&[&str]; 4] =
    [&["-O2"], &["-O0"], &["-O2", "--relpoline-form=stub"], &["-Os", "-no-pie"]];

/// Why a site has no branch for a target where the linker has put it across two pages: some do among thousands.
pub const SPLIT: &str = "branch lies across two pages";

/// Why sites of these statistics stay on the retpoline, but for those that lie across two pages.
pub fn refusals(stats: &Value) -> Vec<&str> {
    failures(stats).filter(|&why| why != SPLIT).collect()
}

/// How many sites lie across two pages, so that a target has no branch.
pub fn split(stats: &Value) -> u64 {
    failures(stats).filter(|&why| why == SPLIT).count() as u64
}

/// Whether nothing was refused. Where sites lie across two pages, only that adds to the sum.
pub fn none_refused(stats: &Value) -> bool {
    refusals(stats).is_empty() && (split(stats) > 0 || stats["totals"]["failures"] == 0)
}

fn failures(stats: &Value) -> impl Iterator<Item = &str> {
    let sites = stats["sites"].as_array().map_or(&[] as &[Value], Vec::as_slice);
    sites.iter().filter_map(|site| site["failure"].as_str())
}

/// Runs a program of `programs/` in every variant. It must say `ok`, have this many patches, and none refused.
///
/// # Panics
/// When it does not.
pub fn attack(source: &str, arguments: &[&str], at_least_patches: u64) {
    for variant in VARIANTS {
        let program = Program::build(source, variant).unwrap();
        let run = program.run(arguments).unwrap_or_else(|error| panic!("{source} {variant:?}: {error}"));
        assert!(run.stdout().starts_with("ok"), "{source} {variant:?}: {}", run.stdout());
        let patches = run.total("patches");
        assert!(
            patches >= at_least_patches,
            "{source} {variant:?}: only {patches} patches: {}",
            run.stats["totals"]
        );
        assert!(none_refused(&run.stats), "{source} {variant:?}: {}", run.stats);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hangs_is_ended_and_is_no_success() {
        let run = |script: &str, limit| output_within(Command::new("sh").args(["-c", script]), limit);
        let output = run("echo out; exit 3", LIMIT).unwrap();
        assert_eq!((output.status.code(), &*output.stdout), (Some(3), &b"out\n"[..]));
        // A child that hangs while its parent has ended, and a parent that waits for it.
        for script in ["echo out; sleep 600 &", "echo out; sleep 600 & wait"] {
            let error = run(script, Duration::from_secs(1)).unwrap_err().to_string();
            assert!(error.contains("hangs: it had not ended after 1 s\nout"), "{error}");
        }
    }
}
