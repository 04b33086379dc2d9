//! Benchmarks of call sites alone: thousands with a target each, and one with several.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use crate::generate::{self, Calls, Order, Sources};
use crate::measure::{Program, Spread};
use crate::stats::describe;
use crate::table::Table;
use relpoline_tools::report::stats::Stats;

/// Numbers of sites, as in docs and issue reports: from a loop's worth to more than the branch predictors
/// hold.
const SITES: [usize; 5] = [64, 512, 1024, 2048, 4096];

/// Numbers of targets.
const TARGETS: [usize; 8] = [1, 2, 3, 4, 8, 16, 32, 64];

const ORDERS: [Order; 4] = [Order::RoundRobin, Order::Random, Order::Skewed, Order::Phases];

/// Calls of every site before times are taken: many times what learning needs.
const WARM_CALLS: usize = 2000;

/// Calls in one batch, about a twentieth of a second.
pub const BATCH: usize = 8 << 20;

/// Batches of one run.
const BATCHES: usize = 3;

/// How a program is compiled.
pub struct Build {
    /// Name in tables.
    pub name: &'static str,
    compiler: PathBuf,
    flags: &'static [&'static str],
    /// How it calls.
    pub calls: Calls,
    /// Whether it has the runtime, which takes options.
    pub relpoline: bool,
}

/// Where and with what to measure.
pub struct Bench {
    /// Programs and results.
    pub dir: PathBuf,
    /// How often every program runs.
    pub rounds: u32,
    /// The direct calls come first.
    pub builds: Vec<Build>,
}

impl From<crate::Micro> for Bench {
    fn from(options: crate::Micro) -> Self {
        let build = |name, flags, calls| Build {
            name,
            compiler: options.clang.clone(),
            flags,
            calls,
            relpoline: false,
        };
        let mut builds = vec![
            build("direct", &[], Calls::Direct),
            build("unprotected", &[], Calls::Indirect),
            build("retpoline", &["-mretpoline"], Calls::Indirect),
        ];
        if let Some(compiler) = options.relpoline_clang {
            builds.push(Build {
                name: "relpoline",
                compiler,
                flags: &[],
                calls: Calls::Indirect,
                relpoline: true,
            });
        }
        Self { dir: options.dir, rounds: options.rounds, builds }
    }
}

/// One line of a result: a value for every build, in the order of [`Bench::builds`].
#[derive(Debug, Serialize)]
struct Row {
    name: String,
    builds: Vec<&'static str>,
    /// Nanoseconds a call.
    nanoseconds: Vec<Spread>,
    /// Nanoseconds a call against those of the direct calls in the same round.
    to_direct: Vec<Spread>,
}

impl Bench {
    /// Thousands of sites.
    pub fn sites(&self) -> Result<()> {
        println!("\n## Distinct call sites, each with its own target, all hot\n");
        let mut rows = Vec::new();
        for sites in SITES {
            let mut programs = Vec::new();
            for build in &self.builds {
                let dir = self.dir.join(format!("sites-{sites}-{}", build.name));
                programs.push(build.compile(&dir, &generate::sites(sites, build.calls))?);
            }
            let arguments = arguments(sites * WARM_CALLS, 1, Order::RoundRobin);
            rows.push(self.measure(format!("{sites} sites"), &programs, &arguments)?);
            self.check_promoted(&programs, &arguments, sites)?;
        }
        self.finish("sites", &rows)
    }

    /// One site.
    pub fn targets(&self) -> Result<()> {
        println!("\n## One call site, several targets\n");
        let mut programs = Vec::new();
        for build in &self.builds {
            let dir = self.dir.join(format!("targets-{}", build.name));
            programs.push(build.compile(&dir, &generate::targets(build.calls))?);
        }
        let mut rows = Vec::new();
        for targets in TARGETS {
            for order in ORDERS {
                let name = match targets {
                    1 if order != Order::RoundRobin => continue,
                    1 => "1 target".into(),
                    _ => format!("{targets} targets, {}", order.name()),
                };
                rows.push(self.measure(name, &programs, &arguments(BATCH / 4, targets, order))?);
            }
        }
        self.finish("targets", &rows)
    }

    /// Runs all programs in turn.
    fn measure(&self, name: String, programs: &[PathBuf], arguments: &[String]) -> Result<Row> {
        let mut times = vec![Vec::new(); programs.len()];
        let mut results: Vec<Option<String>> = vec![None; programs.len()];
        for _ in 0..self.rounds {
            for (number, path) in programs.iter().enumerate() {
                let program = Program { path: path.clone(), arguments: arguments.to_vec(), options: None };
                let (time, result) = fastest_batch(&program)?;
                times[number].push(time);
                results[number] = Some(result);
            }
        }
        // The direct calls of the one-site program go to one target only, so their result is another.
        let indirect: Vec<_> =
            self.builds.iter().zip(&results).filter(|(build, _)| build.calls == Calls::Indirect).collect();
        for (build, result) in &indirect {
            ensure!(
                *result == indirect[0].1,
                "{name}: {} computed another result than {}",
                build.name,
                indirect[0].0.name
            );
        }
        let direct = &times[0];
        let to_direct =
            times.iter().map(|t| Spread::of(t.iter().zip(direct).map(|(time, direct)| time / direct)));
        let row = Row {
            name,
            builds: self.builds.iter().map(|build| build.name).collect(),
            to_direct: to_direct.collect(),
            nanoseconds: times.iter().map(|times| Spread::of(times.iter().copied())).collect(),
        };
        let values = row.builds.iter().zip(&row.nanoseconds);
        let text: Vec<String> =
            values.map(|(name, spread)| format!("{name} {:.2} ns", spread.median)).collect();
        println!("{}: {}", row.name, text.join(", "));
        Ok(row)
    }

    /// The times mean what they say only if the sites were promoted before they were taken.
    fn check_promoted(&self, programs: &[PathBuf], arguments: &[String], sites: usize) -> Result<()> {
        let Some((_, path)) = self.builds.iter().zip(programs).find(|(build, _)| build.relpoline) else {
            return Ok(());
        };
        let file = path.with_extension("stats.json");
        let _ = std::fs::remove_file(&file);
        let options = Some(format!("stats={}", file.display()));
        Program { path: path.clone(), arguments: arguments.to_vec(), options }.run()?;
        let totals = Stats::read(&file)?.totals;
        if totals.monomorphic < sites as u64 {
            println!("only {} of {sites} sites were promoted: {}", totals.monomorphic, describe(&totals));
        }
        Ok(())
    }

    fn finish(&self, name: &str, rows: &[Row]) -> Result<()> {
        let mut header = vec![String::new()];
        header.extend(self.builds.iter().map(|build| format!("{}, ns", build.name)));
        header.extend(self.builds.iter().skip(1).map(|build| format!("{} / direct", build.name)));
        let mut table = Table::new(header.iter().map(String::as_str));
        for row in rows {
            let mut cells = vec![row.name.clone()];
            cells.extend(row.nanoseconds.iter().map(|ns| format!("{:.2} ({:.2})", ns.median, ns.min)));
            let fastest = row.nanoseconds[0].min;
            let ratios = row.to_direct.iter().zip(&row.nanoseconds).skip(1);
            cells.extend(ratios.map(|(ratio, ns)| format!("{:.2} ({:.2})", ratio.median, ns.min / fastest)));
            table.row(cells);
        }
        println!("\n{}", table.render());
        println!(
            "Nanoseconds of processor time a call, median (minimum) of {} interleaved runs.",
            self.rounds
        );
        println!("Ratios: median of those of each round (ratio of the minima).");
        self.write(name, &rows)
    }

    /// Writes every number to a file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, name: &str, rows: &impl Serialize) -> Result<()> {
        let file = self.dir.join(format!("{name}.json"));
        std::fs::write(&file, serde_json::to_vec_pretty(rows)?)
            .with_context(|| format!("cannot write {}", file.display()))?;
        println!("every number: {}", file.display());
        Ok(())
    }
}

/// Runs a program. Returns the nanoseconds that a call takes in the fastest of its batches (what disturbed the others
/// was not the program), and what it computed.
pub fn fastest_batch(program: &Program) -> Result<(f64, String)> {
    let output = String::from_utf8(program.run()?.stdout).context("output is not text")?;
    let mut lines: Vec<&str> = output.lines().collect();
    let result = lines.pop().context("no output")?.to_owned();
    let batches = lines.iter().map(|line| line.parse()).collect::<Result<Vec<f64>, _>>();
    Ok((Spread::of(batches.context("output is not times")?).min, result))
}

fn arguments(warm: usize, targets: usize, order: Order) -> Vec<String> {
    let numbers = [warm, BATCH, BATCHES, targets].map(|number| number.to_string());
    numbers.into_iter().chain([order.argument().to_owned()]).collect()
}

impl Build {
    /// Compiles the sources in a directory of their own; returns the program.
    ///
    /// # Errors
    /// When the compiler fails.
    pub fn compile(&self, dir: &Path, sources: &Sources) -> Result<PathBuf> {
        std::fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        let mut command = Command::new(&self.compiler);
        command.current_dir(dir).arg("-O2").args(self.flags).args(["-o", "program"]);
        for (name, text) in sources {
            std::fs::write(dir.join(name), text).with_context(|| format!("cannot write {name}"))?;
            if name.ends_with(".c") {
                command.arg(name);
            }
        }
        let output = command.output().with_context(|| format!("cannot run {}", self.compiler.display()))?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{command:?} in {} failed:\n{errors}", dir.display());
        Ok(dir.join("program"))
    }
}
