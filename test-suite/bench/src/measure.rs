//! Runs programs in turn and takes their times.

use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

/// The variable by which the runtime takes its options.
pub const OPTIONS: &str = "RELPOLINE_OPTIONS";

/// A program to run.
#[derive(Clone, Debug)]
pub struct Program {
    /// Its file.
    pub path: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Value of [`OPTIONS`].
    pub options: Option<String>,
}

/// What one run took, in seconds, and printed.
#[derive(Debug)]
pub struct Run {
    /// Processor time of the program, in user mode and in the kernel. Less noisy than `wall` where other
    /// programs run too.
    pub cpu: f64,
    /// Time from start to end.
    pub wall: f64,
    /// What the program wrote to its standard output.
    pub stdout: Vec<u8>,
}

impl Program {
    /// Runs it once.
    ///
    /// # Errors
    /// When it cannot be started, does not succeed, or writes to its standard error.
    pub fn run(&self) -> Result<Run> {
        let name = || format!("{} {}", self.path.display(), self.arguments.join(" "));
        let mut command = Command::new(&self.path);
        command.args(&self.arguments).env_remove(OPTIONS);
        if let Some(options) = &self.options {
            command.env(OPTIONS, options);
        }
        let before = children_cpu()?;
        let start = Instant::now();
        let output = command.output().with_context(|| format!("cannot run {}", name()))?;
        let wall = start.elapsed().as_secs_f64();
        let cpu = children_cpu()? - before;
        let stderr = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{} failed: {}\n{stderr}", name(), output.status);
        ensure!(stderr.is_empty(), "{} complained:\n{stderr}", name());
        Ok(Run { cpu, wall, stdout: output.stdout })
    }
}

/// Processor time of all children that have ended, in seconds.
fn children_cpu() -> Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).context("getrusage")?;
    Ok((usage.user_time() + usage.system_time()).num_microseconds() as f64 / 1e6)
}

/// Median, least and greatest of some numbers.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct Spread {
    /// The middle one, or the mean of the two in the middle.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
}

impl Spread {
    /// Of at least one number.
    pub fn of(numbers: impl IntoIterator<Item = f64>) -> Self {
        let mut numbers: Vec<f64> = numbers.into_iter().collect();
        numbers.sort_by(f64::total_cmp);
        let middle = numbers.len() / 2;
        let median = if numbers.len() % 2 == 1 {
            numbers[middle]
        } else {
            (numbers[middle - 1] + numbers[middle]) / 2.0
        };
        Self { median, min: numbers[0], max: numbers[numbers.len() - 1] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        let spread = Spread::of([3.0, 1.0, 2.0]);
        assert_eq!((spread.median, spread.min, spread.max), (2.0, 1.0, 3.0));
        assert_eq!(Spread::of([4.0, 1.0, 2.0, 3.0]).median, 2.5);
    }

    #[test]
    fn a_program_that_fails_or_complains_is_an_error() {
        let shell = |script: &str| Program {
            path: "sh".into(),
            arguments: vec!["-c".into(), script.into()],
            options: Some("mode=off".into()),
        };
        assert!(shell("exit 3").run().is_err());
        assert!(shell("echo oops >&2").run().is_err());
        assert_eq!(shell("echo $RELPOLINE_OPTIONS").run().unwrap().stdout, b"mode=off\n");
    }
}
