//! Whole programs, built with different protections: the same results, and what each protection costs.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use crate::measure::{Program, Spread};
use crate::stats::{Share, describe};
use crate::table::Table;
use relpoline_tools::report::stats::{Stats, Totals};

/// One program in all its builds.
#[derive(Debug)]
pub struct Workload {
    /// What it is, for people.
    title: String,
    /// Name of the file that takes the results.
    name: &'static str,
    /// Arguments of the runs whose time is taken.
    arguments: Vec<String>,
    /// A run that tells more of its results, where there is such a thing.
    verifying: Option<Verifying>,
    /// Leaves out of the output what may differ from run to run.
    stable: fn(&[u8]) -> Vec<u8>,
    variants: Vec<Variant>,
}

/// A run whose results are also in a file.
#[derive(Debug)]
struct Verifying {
    arguments: Vec<String>,
    file: PathBuf,
}

/// One build of the program, or one way to run it.
#[derive(Debug)]
struct Variant {
    name: &'static str,
    path: PathBuf,
    options: Option<&'static str>,
}

const UNPROTECTED: usize = 0;
const RETPOLINE: usize = 1;
const RELPOLINE: usize = 2;
/// The first of the variants that are only there to explain the others.
const BESIDE: usize = 4;

/// SQLite's speedtest1.
pub fn sqlite(dir: &Path) -> Workload {
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let file = dir.join("sqlite.output");
    let mut variants = four(dir, "sqlite");
    variants.push(Variant {
        name: "unprotected, no jump tables",
        path: dir.join("sqlite-unprotected-no-jump-tables"),
        options: None,
    });
    Workload {
        title: "SQLite: speedtest1 --memdb --size 30".into(),
        name: "sqlite",
        arguments: words("--memdb --size 30"),
        verifying: Some(Verifying {
            arguments: words(&format!("--memdb --size 30 --verify --output {}", file.display())),
            file,
        }),
        stable: without_times,
        variants,
    }
}

/// A script run by rhai.
pub fn rhai(dir: &Path, script: &Path) -> Workload {
    let mut variants = four(dir, "rhai");
    variants[RETPOLINE].name = "retpoline (-Zretpoline)";
    variants.push(Variant {
        name: "retpoline (-Zretpoline -Zplt=yes)",
        path: dir.join("rhai-retpoline-plt"),
        options: None,
    });
    Workload {
        title: format!("rhai: {}", script.file_name().unwrap_or(script.as_os_str()).display()),
        name: "rhai",
        arguments: vec![script.display().to_string()],
        verifying: None,
        stable: <[u8]>::to_vec,
        variants,
    }
}

fn four(dir: &Path, name: &str) -> Vec<Variant> {
    let variant = |title, file: &str, options| Variant {
        name: title,
        path: dir.join(format!("{name}-{file}")),
        options,
    };
    vec![
        variant("unprotected", "unprotected", None),
        variant("retpoline", "retpoline", None),
        variant("relpoline", "relpoline", None),
        variant("relpoline, learning off", "relpoline", Some("mode=off")),
    ]
}

/// speedtest1 ends its lines with the seconds that the test took.
fn without_times(output: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(output);
    let mut stable = String::new();
    for line in text.lines() {
        let is_time = |word: &str| word.strip_suffix('s').is_some_and(|number| number.parse::<f64>().is_ok());
        stable += match line.rsplit_once(' ') {
            Some((rest, last)) if is_time(last) => rest.trim_end(),
            _ => line,
        };
        stable.push('\n');
    }
    stable.into_bytes()
}

/// Everything that was measured of one program.
#[derive(Debug, Serialize)]
struct Results {
    title: String,
    variants: Vec<Times>,
    /// Part of what retpolines cost over unprotected that relpolines do not.
    gap_closed: f64,
    totals: Totals,
    share: Share,
}

/// Times of one variant.
#[derive(Debug, Serialize)]
struct Times {
    name: &'static str,
    /// Processor time of every run, in seconds.
    cpu: Vec<f64>,
    /// Elapsed time of every run, in seconds.
    wall: Vec<f64>,
    /// Processor time against the unprotected run of the same round.
    ratio: Spread,
    /// Elapsed time, likewise.
    wall_ratio: Spread,
}

impl Workload {
    /// Checks, measures, prints, and writes the results to a file.
    ///
    /// # Errors
    /// When a program fails or two builds give different results.
    pub fn run(&self, dir: &Path, rounds: u32) -> Result<()> {
        println!("\n## {}\n", self.title);
        let expected = self.check()?;
        let variants = self.times(rounds, &expected)?;
        let (stats, share) = self.counts(dir)?;
        let cost = |variant: usize| variants[variant].ratio.median - 1.0;
        let gap_closed = (cost(RETPOLINE) - cost(RELPOLINE)) / cost(RETPOLINE);
        let results =
            Results { title: self.title.clone(), variants, gap_closed, totals: stats.totals, share };
        results.print(rounds);
        let file = dir.join(format!("{}.json", self.name));
        std::fs::write(&file, serde_json::to_vec_pretty(&results)?)
            .with_context(|| format!("cannot write {}", file.display()))?;
        println!("every number: {}", file.display());
        Ok(())
    }

    fn program(&self, variant: &Variant, arguments: &[String]) -> Program {
        Program {
            path: variant.path.clone(),
            arguments: arguments.to_vec(),
            options: variant.options.map(str::to_owned),
        }
    }

    /// Compares the results of all builds; returns what the timed runs must print.
    fn check(&self) -> Result<Vec<u8>> {
        let mut expected: Option<(Vec<u8>, Vec<u8>)> = None;
        for variant in &self.variants {
            let output =
                |arguments| self.program(variant, arguments).run().map(|run| (self.stable)(&run.stdout));
            let timed = output(&self.arguments)?;
            let mut verifying = Vec::new();
            if let Some(Verifying { arguments, file }) = &self.verifying {
                verifying = output(arguments)?;
                verifying.extend(
                    std::fs::read(file).with_context(|| format!("no results in {}", file.display()))?,
                );
                std::fs::remove_file(file)?;
            }
            let expected = expected.get_or_insert_with(|| (timed.clone(), verifying.clone()));
            for (found, expected) in [(timed, &expected.0), (verifying, &expected.1)] {
                ensure!(
                    found == *expected,
                    "{}: the results of \"{}\" differ from those of \"{}\":\n{}",
                    self.title,
                    variant.name,
                    self.variants[UNPROTECTED].name,
                    first_difference(&found, expected),
                );
            }
        }
        let (timed, verifying) = expected.unwrap_or_default();
        println!("same results in all builds: {} bytes compared\n", timed.len() + verifying.len());
        Ok(timed)
    }

    /// Runs all variants in turn, round after round.
    fn times(&self, rounds: u32, expected: &[u8]) -> Result<Vec<Times>> {
        let mut cpu = vec![Vec::new(); self.variants.len()];
        let mut wall = vec![Vec::new(); self.variants.len()];
        for round in 1..=rounds {
            let mut line = Vec::new();
            for (number, variant) in self.variants.iter().enumerate() {
                let run = self.program(variant, &self.arguments).run()?;
                ensure!(
                    (self.stable)(&run.stdout) == expected,
                    "{}: \"{}\" gave another result in round {round}:\n{}",
                    self.title,
                    variant.name,
                    first_difference(&(self.stable)(&run.stdout), expected),
                );
                cpu[number].push(run.cpu);
                wall[number].push(run.wall);
                line.push(format!("{} {:.2} s", variant.name, run.cpu));
            }
            println!("round {round} of {rounds}: {}", line.join(", "));
        }
        let ratio = |times: &[Vec<f64>], number: usize| {
            Spread::of(
                times[number].iter().zip(&times[UNPROTECTED]).map(|(time, unprotected)| time / unprotected),
            )
        };
        let times = self.variants.iter().enumerate().map(|(number, variant)| Times {
            name: variant.name,
            ratio: ratio(&cpu, number),
            wall_ratio: ratio(&wall, number),
            cpu: cpu[number].clone(),
            wall: wall[number].clone(),
        });
        Ok(times.collect())
    }

    /// Two more runs of the relpoline build: statistics as it runs, and all calls counted.
    fn counts(&self, dir: &Path) -> Result<(Stats, Share)> {
        let run = |mode: &str| -> Result<Stats> {
            let file = dir.join(format!("{}.stats-{mode}.json", self.name));
            // What an earlier run wrote must not be taken for this run's.
            let _ = std::fs::remove_file(&file);
            let mut program = self.program(&self.variants[RELPOLINE], &self.arguments);
            program.options = Some(format!("mode={mode}:stats={}", file.display()));
            program.run()?;
            Stats::read(&file)
        };
        let (on, count) = (run("on")?, run("count")?);
        ensure!(
            count.mode == "count",
            "the runtime does not know mode=count: run cargo build --release again"
        );
        let share = Share::of(&on, &count);
        Ok((on, share))
    }
}

impl Results {
    fn print(&self, rounds: u32) {
        let mut table = Table::new(["build", "seconds", "ratio", "min - max", "ratio of minima"]);
        let cpu = |times: &Times| Spread::of(times.cpu.iter().copied());
        let fastest = cpu(&self.variants[UNPROTECTED]).min;
        for (number, times) in self.variants.iter().enumerate() {
            let name = if number < BESIDE { times.name.to_owned() } else { format!("({})", times.name) };
            table.row([
                name,
                format!("{:.3}", cpu(times).median),
                format!("{:.3}", times.ratio.median),
                format!("{:.2} - {:.2}", times.ratio.min, times.ratio.max),
                format!("{:.3}", cpu(times).min / fastest),
            ]);
        }
        println!("\n{}", table.render());
        println!(
            "Processor time, medians of {rounds} interleaved runs. \"ratio\" is to the unprotected run of the"
        );
        println!(
            "same round; \"ratio of minima\" compares the fastest runs, which other load disturbs least.\n"
        );
        println!(
            "{:.0} % of the gap between retpoline and unprotected is closed.\n",
            100.0 * self.gap_closed
        );
        println!("{}", describe(&self.totals));
        self.share.print(8);
    }
}

/// Where two outputs part.
fn first_difference(found: &[u8], expected: &[u8]) -> String {
    let (found, expected) = (String::from_utf8_lossy(found), String::from_utf8_lossy(expected));
    let lines = found.lines().map(Some).chain(std::iter::repeat(None));
    let others = expected.lines().map(Some).chain(std::iter::repeat(None));
    let (number, (found, expected)) =
        (1..).zip(lines.zip(others)).find(|(_, (a, b))| a != b || a.is_none()).unwrap_or((0, (None, None)));
    let show = |line: Option<&str>| line.map_or_else(|| "nothing".to_owned(), |line| format!("{line:?}"));
    format!("line {number}: {} found, {} expected", show(found), show(expected))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_left_out_and_nothing_else() {
        let output =
            b" 100 - 500 INSERTs......    0.007s\n       TOTAL......   12.300s\nVerification Hash: 38 27a8\n";
        let text = String::from_utf8(without_times(output)).unwrap();
        assert_eq!(text, " 100 - 500 INSERTs......\n       TOTAL......\nVerification Hash: 38 27a8\n");
    }

    #[test]
    fn the_first_difference_is_named() {
        assert_eq!(first_difference(b"a\nb\n", b"a\nc\n"), "line 2: \"b\" found, \"c\" expected");
        assert_eq!(first_difference(b"a\n", b"a\nc\n"), "line 2: nothing found, \"c\" expected");
    }
}
