//! Compiles a program twice, runs both, and compares.

use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A program that takes longer than this without relpolines is left out. csmith's may run for ever.
const PATIENCE: Duration = Duration::from_secs(5);

/// With them, a program that takes longer than this hangs.
const MUCH_PATIENCE: Duration = Duration::from_secs(120);

/// How a program is compiled without and with relpolines.
pub struct Compilers {
    /// Program and first arguments of the plain compiler.
    pub plain: Vec<String>,
    /// Likewise of the compiler with relpolines.
    pub relpoline: Vec<String>,
}

/// A program to be compared.
pub struct Subject<'a> {
    /// Name that the program's files begin with.
    pub name: String,
    /// Its source, with the language's extension.
    pub source: PathBuf,
    /// What compiles it.
    pub compilers: &'a Compilers,
    /// Arguments for one optimisation level.
    pub arguments: Vec<String>,
}

/// What was seen.
pub enum Outcome {
    /// Both do the same. How many branches were patched.
    Same(u64),
    /// The program as it is does not end, or never does the same twice.
    Skipped,
    /// They differ, as is said.
    Different(String),
}

/// Sums over all comparisons.
#[derive(Default)]
pub struct Sums {
    /// Programs and levels that did the same.
    pub same: AtomicUsize,
    /// Programs that were left out, others in their place.
    pub skipped: AtomicUsize,
    /// Those that differed.
    pub different: AtomicUsize,
    /// Branches that were patched.
    pub patches: AtomicUsize,
    /// Runs in which nothing was patched.
    pub unpatched: AtomicUsize,
}

impl Sums {
    /// Counts an outcome.
    pub fn add(&self, outcome: &Outcome) {
        let count = match outcome {
            Outcome::Same(patches) => {
                self.patches.fetch_add(*patches as usize, Ordering::Relaxed);
                self.unpatched.fetch_add((*patches == 0).into(), Ordering::Relaxed);
                &self.same
            }
            Outcome::Skipped => &self.skipped,
            Outcome::Different(_) => &self.different,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

impl Subject<'_> {
    /// Compiles and runs both.
    ///
    /// # Errors
    /// When a compiler cannot be started, or does not take the program as it is.
    pub fn compare(&self) -> Result<Outcome> {
        let (plain, relpoline, stats) = (self.file("plain"), self.file("relpoline"), self.file("json"));
        let outcome = self.compare_files(&plain, &relpoline, &stats);
        for file in [plain, relpoline, stats] {
            // What was never made is not there.
            let _ = fs::remove_file(file);
        }
        outcome
    }

    fn compare_files(&self, plain: &Path, relpoline: &Path, stats: &Path) -> Result<Outcome> {
        if let Err(why) = self.compile(&self.compilers.plain, plain)? {
            bail!("the generator made what no compiler takes: {why}");
        }
        let Some(expected) = self.run(plain, stats, PATIENCE)? else { return Ok(Outcome::Skipped) };
        // csmith has programs whose result depends on addresses, or on memory that nothing was written to.
        if self.run(plain, stats, PATIENCE)?.as_ref() != Some(&expected) {
            return Ok(Outcome::Skipped);
        }
        if let Err(why) = self.compile(&self.compilers.relpoline, relpoline)? {
            return Ok(Outcome::Different(format!("it cannot be compiled: {why}")));
        }
        Ok(match self.run(relpoline, stats, MUCH_PATIENCE)? {
            None => Outcome::Different("it does not end".into()),
            Some(found) if found != expected => {
                Outcome::Different(format!("expected:\n{expected}found:\n{found}"))
            }
            Some(_) => match patches(stats) {
                Ok(patches) => Outcome::Same(patches),
                Err(why) => Outcome::Different(format!("{why:#}")),
            },
        })
    }

    fn file(&self, extension: &str) -> PathBuf {
        self.source.with_file_name(format!("{}.{extension}", self.name))
    }

    /// The command that compiles `program`.
    fn command(&self, compiler: &[String], program: &Path) -> Command {
        let mut command = Command::new(&compiler[0]);
        command.args(&compiler[1..]).args(&self.arguments).arg(&self.source).arg("-o").arg(program);
        command
    }

    fn compile(&self, compiler: &[String], program: &Path) -> Result<Result<(), String>> {
        let output = self
            .command(compiler, program)
            .output()
            .with_context(|| format!("cannot run {}", compiler[0]))?;
        Ok(if output.status.success() {
            Ok(())
        } else {
            Err(format!("{:?}\n{}", self.command(compiler, program), String::from_utf8_lossy(&output.stderr)))
        })
    }

    /// How the program ended and what it said, or nothing if it did not end in time.
    fn run(&self, program: &Path, stats: &Path, patience: Duration) -> Result<Option<String>> {
        let log = self.file("output");
        let mut child = Command::new(program)
            .env("RELPOLINE_OPTIONS", format!("stats={}", stats.display()))
            .stdin(Stdio::null())
            .stdout(File::create(&log)?)
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| program.display().to_string())?;
        let start = Instant::now();
        let mut pause = Duration::from_millis(1);
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break Some(status);
            }
            if start.elapsed() > patience {
                child.kill()?;
                child.wait()?;
                break None;
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(50));
        };
        let said = fs::read(&log)?;
        fs::remove_file(&log)?;
        Ok(status.map(|status| format!("{}{status}\n", String::from_utf8_lossy(&said))))
    }
}

fn patches(stats: &Path) -> Result<u64> {
    let text = fs::read_to_string(stats).context("the program wrote no statistics")?;
    let stats: Value = serde_json::from_str(&text).context("the statistics are not JSON")?;
    stats["totals"]["patches"].as_u64().context("the statistics have no patches")
}
