//! What the runtime wrote for `RELPOLINE_OPTIONS=stats=FILE`, and what follows from it.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::table::Table;
use relpoline_tools::program::grouped;

/// Statistics of one process.
#[derive(Debug, Deserialize)]
pub struct Stats {
    version: u64,
    mode: String,
    /// Sums over all sites.
    pub totals: Totals,
    sites: Vec<Site>,
}

/// Sums over all sites.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct Totals {
    /// Sites in the program.
    pub sites: u64,
    /// Sites that were called.
    pub executed: u64,
    /// Sites with one target.
    pub monomorphic: u64,
    /// Sites with several.
    pub polymorphic: u64,
    /// Sites with too many.
    pub megamorphic: u64,
    /// Sites that were called, but not often enough.
    pub learning: u64,
    /// Pieces of code that were written.
    pub patches: u64,
    /// Sites or targets that could not be patched.
    pub failures: u64,
}

#[derive(Clone, Debug, Deserialize)]
struct Site {
    address: String,
    /// Of the compare, from where the object was loaded: the same in every run.
    offset: String,
    object: Option<String>,
    function: Option<String>,
    file: Option<String>,
    line: u64,
    state: String,
    targets: Vec<Target>,
    /// Calls that took the slow path while it counted.
    calls: u64,
    /// Whether the slow path counts still.
    counting: bool,
    failure: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
struct Target {
    address: String,
    /// Calls on the slow path while it counted.
    count: u64,
    /// A direct branch leads to it.
    patched: bool,
}

/// Longest name in a table.
const NAME_WIDTH: usize = 64;

/// A site and its calls, of which some were slow.
#[derive(Debug, Serialize)]
pub struct Slow {
    /// Calling function and source line.
    pub place: String,
    /// State of the site at the end.
    pub state: String,
    /// All its calls.
    pub calls: u64,
    /// Those on the slow path.
    pub slow: u64,
    /// Why they were.
    pub why: String,
}

/// All calls of a program, and those that were slow.
#[derive(Debug, Serialize)]
pub struct Share {
    /// Indirect calls of all sites.
    pub calls: u64,
    /// Those on the slow path.
    pub slow: u64,
    /// Sites with slow calls, most of them first.
    pub sites: Vec<Slow>,
}

impl Share {
    /// The part of all calls that compared and went on directly.
    pub fn fast(&self) -> f64 {
        if self.calls == 0 { 1.0 } else { 1.0 - self.slow as f64 / self.calls as f64 }
    }

    /// The sites with most slow calls.
    pub fn table(&self, rows: usize) -> String {
        let mut table = Table::new(["site", "state", "calls", "slow", "of all calls", "why"]);
        for site in self.sites.iter().take(rows) {
            let part = 100.0 * site.slow as f64 / self.calls.max(1) as f64;
            table.row([
                site.place.clone(),
                site.state.clone(),
                grouped(site.calls),
                grouped(site.slow),
                format!("{part:.3} %"),
                site.why.clone(),
            ]);
        }
        table.render()
    }
}

impl Stats {
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read or is not in the format of version 1.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| {
            format!("no statistics in {}: was the program built with relpolines?", path.display())
        })?;
        let stats: Self = serde_json::from_str(&text)
            .with_context(|| format!("{} is not what RELPOLINE_OPTIONS=stats=FILE writes", path.display()))?;
        ensure!(stats.version == 1, "{}: version {} found, 1 expected", path.display(), stats.version);
        Ok(stats)
    }

    /// Which calls were slow. `count` is a run of the same work with `mode=count`, which knows every call.
    ///
    /// A site whose slow path stopped counting is charged with all its calls in `count` but those with targets
    /// that are patched: that is more than were slow where `count` has lumped such a target together with others.
    pub fn share(&self, count: &Self) -> Share {
        let mut share =
            Share { calls: count.sites.iter().map(|site| site.calls).sum(), slow: 0, sites: Vec::new() };
        let all: HashMap<_, _> = count.sites.iter().map(|site| (site.key(), site)).collect();
        for site in &self.sites {
            let counted = all.get(&site.key());
            let calls = counted.map_or(site.calls, |counted| counted.calls.max(site.calls));
            let slow = match counted {
                Some(counted) if !site.counting => {
                    let patched: HashMap<_, _> = site.patched().collect();
                    let fast = counted.targets.iter().filter_map(|target| {
                        Some(target.count.saturating_sub(*patched.get(&counted.relative(target))?))
                    });
                    calls - fast.sum::<u64>()
                }
                _ => site.calls,
            };
            if slow > 0 {
                share.slow += slow;
                share.sites.push(Slow {
                    place: site.place(),
                    state: site.state.clone(),
                    calls,
                    slow,
                    why: site.why(),
                });
            }
        }
        share.sites.sort_by_key(|site| std::cmp::Reverse(site.slow));
        share
    }

    /// Prints the totals, and with `count` the share of fast calls.
    pub fn print(&self, count: Option<&Self>) {
        println!("{}", self.totals.describe());
        if let Some(count) = count {
            self.share(count).print(20);
        }
    }

    /// Whether the statistics come from the mode that counts every call.
    pub fn is_count(&self) -> bool {
        self.mode == "count"
    }
}

impl Share {
    /// Prints the share, and the sites with most slow calls.
    pub fn print(&self, rows: usize) {
        println!(
            "{:.3} % of {} indirect calls took the fast path; {} did not, {} of them at these sites:\n",
            100.0 * self.fast(),
            grouped(self.calls),
            grouped(self.slow),
            grouped(self.sites.iter().take(rows).map(|site| site.slow).sum()),
        );
        println!("{}", self.table(rows));
    }
}

impl Totals {
    /// One line of text.
    pub fn describe(&self) -> String {
        let promoted = self.monomorphic + self.polymorphic;
        format!(
            "{} sites, {} of them called: {} promoted ({} monomorphic, {} polymorphic), {} megamorphic, {} still \
             learning; {} patches, {} failures",
            grouped(self.sites),
            grouped(self.executed),
            grouped(promoted),
            grouped(self.monomorphic),
            grouped(self.polymorphic),
            grouped(self.megamorphic),
            grouped(self.learning),
            grouped(self.patches),
            grouped(self.failures),
        )
    }
}

impl Site {
    fn key(&self) -> (Option<&str>, &str) {
        (self.object.as_deref(), &self.offset)
    }

    /// Where a target is, as seen from the site: the same in every run if both are in one object.
    fn relative(&self, target: &Target) -> i128 {
        let number = |text: &str| i128::from_str_radix(text.trim_start_matches("0x"), 16).unwrap_or_default();
        number(&target.address) - number(&self.address)
    }

    /// Patched targets and how many slow calls each had before.
    fn patched(&self) -> impl Iterator<Item = (i128, u64)> {
        self.targets
            .iter()
            .filter(|target| target.patched)
            .map(|target| (self.relative(target), target.count))
    }

    fn place(&self) -> String {
        let function = demangled(self.function.as_deref());
        match &self.file {
            Some(file) => {
                let name =
                    Path::new(file).file_name().map_or(file.clone(), |name| name.to_string_lossy().into());
                format!("{function} ({name}:{})", self.line)
            }
            None => format!("{function} (+{})", self.offset),
        }
    }

    fn why(&self) -> String {
        if let Some(failure) = &self.failure {
            return failure.clone();
        }
        match self.state.as_str() {
            "learning" => "called too seldom to be promoted".into(),
            "monomorphic" | "polymorphic" if self.counting => "before promotion, or a rare target".into(),
            _ => {
                let rest = self.targets.iter().filter(|target| !target.patched).count();
                let patched = self.targets.len() - rest;
                format!("more targets than the site can hold; {patched} are patched")
            }
        }
    }
}

/// A function's name for people, cut where it is too long for a table.
fn demangled(name: Option<&str>) -> String {
    let name = name.map_or_else(|| "?".into(), |name| format!("{:#}", rustc_demangle::demangle(name)));
    if name.chars().count() <= NAME_WIDTH {
        return name;
    }
    // The end tells more: the crate's and the modules' names are the same for many.
    let start = name.char_indices().rev().nth(NAME_WIDTH - 4).map_or(0, |(start, _)| start);
    format!("...{}", &name[start..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(offset: &str, calls: u64, counting: bool, targets: &str) -> String {
        let state = if counting { "monomorphic" } else { "megamorphic" };
        format!(
            r#"{{"address":"0x1000","offset":"{offset}","object":"a","function":"f","file":"/x/f.c","line":3,"state":
            "{state}","targets":[{targets}],"misses":0,"calls":{calls},"counting":{counting},"failure":null}}"#
        )
    }

    fn target(address: &str, count: u64, patched: bool) -> String {
        format!(r#"{{"address":"{address}","count":{count},"patched":{patched}}}"#)
    }

    fn stats(sites: &[String]) -> Stats {
        let totals = r#"{"sites":9,"executed":2,"monomorphic":1,"polymorphic":1,"megamorphic":0,"learning":0,"patches":2,"failures":0}"#;
        let text =
            format!(r#"{{"version":1,"pid":1,"mode":"on","totals":{totals},"sites":[{}]}}"#, sites.join(","));
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn a_site_that_stopped_counting_is_charged_with_all_its_calls() {
        let count = stats(&[site("0x10", 900, true, ""), site("0x20", 100, true, "")]);
        let on = stats(&[site("0x10", 64, true, ""), site("0x20", 7, false, "")]);
        let share = on.share(&count);
        assert_eq!((share.calls, share.slow), (1000, 164));
        assert_eq!(share.sites[0].place, "f (f.c:3)");
        assert_eq!(share.sites[0].slow, 100);
        assert!((share.fast() - 0.836).abs() < 1e-9);
    }

    #[test]
    fn calls_of_patched_targets_are_fast_once_patched() {
        let targets = [target("0x2000", 600, false), target("0x3000", 300, false)].join(",");
        let count = stats(&[site("0x10", 1000, true, &targets)]);
        let on = stats(&[site("0x10", 50, false, &target("0x2000", 40, true))]);
        assert_eq!(on.share(&count).slow, 440);
    }

    #[test]
    fn long_names_are_cut_at_their_start() {
        assert_eq!(demangled(Some("_ZN4core3fmt5write17h0123456789abcdefE")), "core::fmt::write");
        let name = demangled(Some(&"x".repeat(100)));
        assert_eq!((name.len(), &name[..4]), (NAME_WIDTH, "...x"));
    }
}
