//! `relpoline top`: what the call sites of a running process have become, again and again, read from its memory.

mod page;
mod process;
mod snapshot;

use crate::{
    elf::{self, Object},
    program,
};
use anyhow::{Result, bail, ensure};
use process::{Mapping, Process};
use snapshot::{Loaded, Samples, Snapshot};
use std::{
    collections::HashMap,
    path::Path,
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

/// Options of `relpoline top`.
#[derive(clap::Args)]
pub struct Arguments {
    /// The process
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pid: u32,
    /// Seconds between two looks
    #[arg(short, long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    delay: Duration,
    /// How often to look; until the process ends, if it is not said
    #[arg(short = 'n', long, value_name = "TIMES", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Sites to show at most; as many as fit on the terminal, or 20
    #[arg(short, long, value_name = "LINES")]
    lines: Option<usize>,
    /// Print JSON: an object with all sites, on a line of its own, for each look
    #[arg(long)]
    json: bool,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let expected = "expected seconds, such as 0.5";
    let seconds: f64 = text.parse().map_err(|_| expected)?;
    let shortest = Duration::from_millis(10);
    Duration::try_from_secs_f64(seconds).ok().filter(|delay| *delay >= shortest).ok_or(expected.into())
}

/// Shows the sites until the process ends.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let process = Process::new(arguments.pid);
    let mut code = process.code()?;
    let none = || {
        format!(
            "process {} ({}) runs no code with relpolines (expected a section relpoline_sites in its program or in a \
             shared object); build it with relpoline-clang or cargo relpoline",
            arguments.pid,
            process.name()
        )
    };
    ensure!(!code.is_empty(), none());
    ensure!(
        arguments.count.is_some() || !program::is_output_lost(),
        "standard output is closed, or /dev/null, expected somebody who reads what goes on; say how often to look: \
         relpoline top --count TIMES {}",
        arguments.pid
    );
    let mut looks = arguments.count.unwrap_or(u64::MAX);
    // Again from here whenever the process has loaded or unloaded code.
    while !code.is_empty() {
        let files = load(&process, &code);
        let mut notes = Vec::new();
        let loaded = Loaded::all(&process, &files, &mut notes)?;
        if loaded.iter().all(|object| object.sites.is_empty()) {
            bail!(notes.into_iter().next().unwrap_or_else(none));
        }
        let mut before: Option<(Samples, Instant)> = None;
        let now = loop {
            let samples = Samples::take(&process, &loaded);
            let now = process.code().unwrap_or_default();
            if now != code {
                // What changes all the time must not keep us busy.
                if !now.is_empty() {
                    thread::sleep(arguments.delay);
                }
                break now;
            }
            let taken = Instant::now();
            let since = before.as_ref().map(|(samples, at)| (samples, taken.duration_since(*at)));
            let snapshot = Snapshot::new(&process, &loaded, &samples, since, &notes);
            let text = match arguments.json {
                true => format!("{}\n", serde_json::to_string(&snapshot)?),
                false => page::page(&snapshot, arguments.lines, arguments.count != Some(1)),
            };
            looks -= 1;
            if !program::print_on(&text)? || looks == 0 {
                return Ok(ExitCode::SUCCESS);
            }
            before = Some((samples, taken));
            thread::sleep(arguments.delay);
        };
        code = now;
    }
    Ok(ExitCode::SUCCESS)
}

/// The files that the process runs code of. What is no ELF file has no sites.
fn load<'a>(process: &Process, code: &'a [Mapping]) -> Vec<(&'a Mapping, Object)> {
    let read = |mapping: &'a Mapping| {
        let object = elf::objects(&mapping.path, process.content(mapping).ok()?).ok()?.pop()?;
        Some((mapping, object))
    };
    first_of_each_file(code).filter_map(read).collect()
}

/// A file is loaded some times at most, in some pieces, but may be mapped as often as a process likes.
fn first_of_each_file(code: &[Mapping]) -> impl Iterator<Item = &Mapping> {
    const MOST: usize = 32;
    let mut seen: HashMap<&Path, usize> = HashMap::new();
    code.iter().filter(move |mapping| {
        let times = seen.entry(&mapping.path).or_default();
        *times += 1;
        *times <= MOST
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_mapped_again_and_again_is_read_some_times() {
        let mapping = |at: usize| Mapping {
            start: at as u64 * 4096,
            end: at as u64 * 4096 + 4096,
            offset: 0,
            path: if at.is_multiple_of(2) { "/a" } else { "/b" }.into(),
        };
        let code: Vec<Mapping> = (0..60_000).map(mapping).collect();
        assert_eq!(first_of_each_file(&code[..6]).count(), 6);
        assert_eq!(first_of_each_file(&code).count(), 64);
    }
}
