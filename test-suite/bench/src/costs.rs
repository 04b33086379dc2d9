//! What relpolines cost where they do not help (yet): calls that are learned from, the start of a program, and the
//! memory of sites that never run.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use crate::generate::{self, Calls, Order};
use crate::measure::{Program, Spread};
use crate::micro::{BATCH, Bench, Build, fastest_batch};
use crate::table::Table;
use relpoline_tools::program::grouped;

/// Sites of the program whose first calls are timed: those of a large program.
const LEARNING_SITES: usize = 4096;

/// Sites of the program whose start is timed.
const STARTING_SITES: usize = 10_000;

/// Sites of a smaller one: what the difference is divided by does not hold the runtime itself.
const FEWER_SITES: usize = 2_000;

/// Starts of each program in a round.
const STARTS: u32 = 20;

/// Measures and prints everything.
///
/// # Errors
/// When a program cannot be built or run.
pub fn run(bench: &Bench) -> Result<()> {
    let builds: Vec<&Build> = bench.builds.iter().filter(|build| build.calls == Calls::Indirect).collect();
    let costs = Costs { bench, builds };
    let learning = costs.learning()?;
    let (starts, memory) = costs.cold_sites()?;
    bench.write("costs", &(learning, starts, memory))
}

struct Costs<'a> {
    bench: &'a Bench,
    /// Unprotected, retpoline, relpoline.
    builds: Vec<&'a Build>,
}

/// A program, run in one way.
struct Column {
    name: &'static str,
    program: PathBuf,
    options: Option<&'static str>,
}

#[derive(Serialize)]
struct Line {
    name: &'static str,
    columns: Vec<&'static str>,
    values: Vec<Spread>,
}

/// Bytes of a program's image in memory when `main` begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
struct Memory {
    /// Code.
    code: u64,
    /// Other pages that are not written: the site table, unwind information, strings.
    constant: u64,
    /// Pages that may be written.
    data: u64,
    /// Of all these, what the process has a copy of its own of, because it has written there.
    written: u64,
}

impl Costs<'_> {
    /// Calls that are learned from, beside those that are not.
    fn learning(&self) -> Result<Vec<Line>> {
        println!("\n## Calls that are learned from\n");
        let one = self.columns("targets", &|build| generate::targets(build.calls))?;
        let many = self.columns(&format!("sites-{LEARNING_SITES}"), &|build| {
            generate::sites(LEARNING_SITES, build.calls)
        })?;
        let first = |calls: usize| [0, LEARNING_SITES * calls, 1];
        let lines = vec![
            self.calls("one site", &one, [BATCH / 4, BATCH, 3])?,
            self.calls("4,096 sites, the first call of each", &many, first(1))?,
            self.calls("4,096 sites, the first 32", &many, first(32))?,
            self.calls("4,096 sites, the first 512", &many, first(512))?,
        ];
        let mut table = Table::new(std::iter::once("ns a call").chain(lines[0].columns.iter().copied()));
        for line in &lines {
            table.row(std::iter::once(line.name.to_owned()).chain(line.values.iter().map(text)));
        }
        println!("\n{}", table.render());
        println!(
            "Median (minimum) of {} interleaved runs. Off, learning and on are relpolines: with",
            self.bench.rounds
        );
        println!("mode=off, with mode=count, which learns and never patches, and as they are.");
        Ok(lines)
    }

    /// Each build, and the relpolines in each mode.
    fn columns(&self, name: &str, sources: &dyn Fn(&Build) -> generate::Sources) -> Result<Vec<Column>> {
        let mut columns = Vec::new();
        for build in &self.builds {
            let dir = self.bench.dir.join(format!("{name}-{}", build.name));
            let program = build.compile(&dir, &sources(build))?;
            let column = |name, options| Column { name, program: program.clone(), options };
            if build.relpoline {
                columns.extend([
                    column("off", Some("mode=off")),
                    column("learning", Some("mode=count")),
                    column("on", None),
                ]);
            } else {
                columns.push(column(build.name, None));
            }
        }
        Ok(columns)
    }

    /// `how` are the calls to warm up, those of a batch, and batches.
    fn calls(&self, name: &'static str, columns: &[Column], how: [usize; 3]) -> Result<Line> {
        let numbers = how.map(|number| number.to_string());
        let arguments: Vec<String> =
            numbers.into_iter().chain(["1".into(), Order::RoundRobin.argument().into()]).collect();
        let mut times = vec![Vec::new(); columns.len()];
        let mut expected = None;
        for _ in 0..self.bench.rounds {
            for (column, times) in columns.iter().zip(&mut times) {
                let program = Program {
                    path: column.program.clone(),
                    arguments: arguments.clone(),
                    options: column.options.map(str::to_owned),
                };
                let (time, result) = fastest_batch(&program)?;
                let expected = expected.get_or_insert_with(|| result.clone());
                ensure!(result == *expected, "{name}: {} computed another result", column.name);
                times.push(time);
            }
        }
        Ok(Line {
            name,
            columns: columns.iter().map(|column| column.name).collect(),
            values: times.into_iter().map(Spread::of).collect(),
        })
    }

    /// Start and memory of a program with sites that never run.
    fn cold_sites(&self) -> Result<(Line, Vec<Memory>)> {
        println!("\n## {} sites, none of which runs\n", grouped(STARTING_SITES as u64));
        let mut programs = Vec::new();
        let mut memory = Vec::new();
        for build in &self.builds {
            let compile = |sites| {
                let dir = self.bench.dir.join(format!("sites-{sites}-{}", build.name));
                build.compile(&dir, &generate::sites(sites, build.calls))
            };
            let (few, many) = (compile(FEWER_SITES)?, compile(STARTING_SITES)?);
            memory.push([Memory::of(few)?, Memory::of(many.clone())?]);
            let arguments = ["0", "0", "0", "1", "round-robin"].map(str::to_owned).to_vec();
            programs.push(Program { path: many, arguments, options: None });
        }
        let mut times = vec![Vec::new(); programs.len()];
        for _ in 0..self.bench.rounds * STARTS {
            for (program, times) in programs.iter().zip(&mut times) {
                times.push(program.run()?.cpu * 1e6);
            }
        }
        let line = Line {
            name: "start and end, us",
            columns: self.builds.iter().map(|build| build.name).collect(),
            values: times.into_iter().map(Spread::of).collect(),
        };
        let mut table = Table::new(std::iter::once("").chain(line.columns.iter().copied()));
        table.row(std::iter::once(line.name.to_owned()).chain(line.values.iter().map(text)));
        let mut row = |name: &str, value: &dyn Fn(&[Memory; 2]) -> u64| {
            table.row(std::iter::once(name.to_owned()).chain(memory.iter().map(|m| grouped(value(m)))));
        };
        let a_site = |part: fn(&Memory) -> u64| {
            move |[few, many]: &[Memory; 2]| {
                (part(many).saturating_sub(part(few))).div_ceil((STARTING_SITES - FEWER_SITES) as u64)
            }
        };
        row("code, bytes a site", &a_site(|memory| memory.code));
        row("constants, bytes a site", &a_site(|memory| memory.constant));
        row("data, bytes a site", &a_site(|memory| memory.data));
        row("pages written at main, KiB", &|[_, many]| many.written >> 10);
        println!("{}", table.render());
        println!(
            "Microseconds of processor time: median (minimum) of {} interleaved runs.",
            self.bench.rounds * STARTS
        );
        println!("A site's bytes hold its share of the benchmark's program: its call, target and pointer.");
        Ok((line, memory.into_iter().map(|[_, many]| many).collect()))
    }
}

fn text(spread: &Spread) -> String {
    format!("{:.1} ({:.1})", spread.median, spread.min)
}

impl Memory {
    /// Of a generated program.
    fn of(program: PathBuf) -> Result<Self> {
        let run = Program { path: program.clone(), arguments: Vec::new(), options: None }.run()?;
        let file = program.to_str().context("the program's path is not text")?;
        Ok(Self::read(&String::from_utf8(run.stdout).context("smaps are not text")?, file))
    }

    /// Reads `/proc/self/smaps`: the mappings of `file`, and what lies behind them for data that starts as zeros.
    fn read(smaps: &str, file: &str) -> Self {
        let mut memory = Self::default();
        let mut rights = None;
        for line in smaps.lines() {
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            match words[..] {
                [_, flags, _, _, _, path] => rights = (path == file).then_some(flags),
                // Data that starts as zeros has no file, and lies behind the data that has.
                [range, flags, _, _, _] if range.contains('-') => {
                    rights = rights.filter(|rights: &&str| rights.contains('w')).map(|_| flags);
                }
                ["Size:", size, "kB"] => {
                    let size = size.parse::<u64>().unwrap_or(0) << 10;
                    match rights {
                        Some(flags) if flags.contains('x') => memory.code += size,
                        Some(flags) if flags.contains('w') => memory.data += size,
                        Some(_) => memory.constant += size,
                        None => {}
                    }
                }
                ["Anonymous:", size, "kB"] if rights.is_some() => {
                    memory.written += size.parse::<u64>().unwrap_or(0) << 10;
                }
                _ => {}
            }
        }
        memory
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_that_of_the_programs_file() {
        let smaps = "\
55d0c000-55d0d000 r--p 00000000 fe:00 1234    /program
Size:                  4 kB
Anonymous:             0 kB
55d0d000-55d10000 r-xp 00001000 fe:00 1234    /program
Size:                 12 kB
Anonymous:             0 kB
55d10000-55d12000 rw-p 00004000 fe:00 1234    /program
Size:                  8 kB
Anonymous:             4 kB
55d12000-55d14000 rw-p 00000000 00:00 0
Size:                  8 kB
Anonymous:             8 kB
7f000000-7f001000 r-xp 00000000 fe:00 99      /libc.so
Size:                  4 kB
Anonymous:             4 kB
";
        let expected = Memory { code: 12 << 10, constant: 4 << 10, data: 16 << 10, written: 12 << 10 };
        assert_eq!(Memory::read(smaps, "/program"), expected);
    }
}
