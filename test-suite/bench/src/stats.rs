//! What follows from what the runtime wrote for `RELPOLINE_OPTIONS=stats=FILE`.

use std::collections::HashMap;
use std::path::Path;

use serde::Serialize;

use crate::table::Table;
use relpoline_tools::program::grouped;
use relpoline_tools::report::stats::{Site, Stats, Target, Totals};

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

impl Share {
    /// Which calls of `stats` were slow. `count` is of a run of the same work with `mode=count`, which knows every call.
    ///
    /// A site whose slow path stopped counting is charged with all its calls in `count` but those with targets
    /// that are patched: that is more than were slow where `count` has lumped such a target together with others.
    pub fn of(stats: &Stats, count: &Stats) -> Self {
        let mut share =
            Self { calls: count.sites.iter().map(|site| site.calls).sum(), slow: 0, sites: Vec::new() };
        let all: HashMap<_, _> = count.sites.iter().map(|site| (key(site), site)).collect();
        for site in &stats.sites {
            let counted = all.get(&key(site));
            let calls = counted.map_or(site.calls, |counted| counted.calls.max(site.calls));
            let slow = match counted {
                Some(counted) if !site.counting => {
                    let patched: HashMap<_, _> = patched(site).collect();
                    let fast = counted.targets.iter().filter_map(|target| {
                        Some(target.count.saturating_sub(*patched.get(&relative(counted, target))?))
                    });
                    calls - fast.sum::<u64>()
                }
                _ => site.calls,
            };
            if slow > 0 {
                share.slow += slow;
                share.sites.push(Slow {
                    place: place(site),
                    state: site.state.clone(),
                    calls,
                    slow,
                    why: why(site),
                });
            }
        }
        share.sites.sort_by_key(|site| std::cmp::Reverse(site.slow));
        share
    }

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

/// Prints the totals, and with `count` the share of fast calls.
pub fn print(stats: &Stats, count: Option<&Stats>) {
    println!("{}", describe(&stats.totals));
    if let Some(count) = count {
        Share::of(stats, count).print(20);
    }
}

/// One line of text.
pub fn describe(totals: &Totals) -> String {
    let promoted = totals.monomorphic + totals.polymorphic;
    format!(
        "{} sites, {} of them called: {} promoted ({} monomorphic, {} polymorphic), {} megamorphic, {} still \
         learning; {} patches, {} failures",
        grouped(totals.sites),
        grouped(totals.executed),
        grouped(promoted),
        grouped(totals.monomorphic),
        grouped(totals.polymorphic),
        grouped(totals.megamorphic),
        grouped(totals.learning),
        grouped(totals.patches),
        grouped(totals.failures),
    )
}

fn key(site: &Site) -> (Option<&str>, &str) {
    (site.object.as_deref(), &site.offset)
}

/// Where a target is, as seen from the site: the same in every run if both are in one object.
fn relative(site: &Site, target: &Target) -> i128 {
    let number = |text: &str| i128::from_str_radix(text.trim_start_matches("0x"), 16).unwrap_or_default();
    number(&target.address) - number(&site.address)
}

/// Patched targets and how many slow calls each had before.
fn patched(site: &Site) -> impl Iterator<Item = (i128, u64)> {
    site.targets.iter().filter(|target| target.patched).map(|target| (relative(site, target), target.count))
}

fn place(site: &Site) -> String {
    let function = demangled(site.function.as_deref());
    match &site.file {
        Some(file) => {
            let name = Path::new(file).file_name().map_or(file.clone(), |name| name.to_string_lossy().into());
            format!("{function} ({name}:{})", site.line)
        }
        None => format!("{function} (+{})", site.offset),
    }
}

fn why(site: &Site) -> String {
    if let Some(failure) = &site.failure {
        return failure.clone();
    }
    match site.state.as_str() {
        "learning" => "called too seldom to be promoted".into(),
        "monomorphic" | "polymorphic" if site.counting => "before promotion, or a rare target".into(),
        _ => {
            let rest = site.targets.iter().filter(|target| !target.patched).count();
            let patched = site.targets.len() - rest;
            format!("more targets than the site can hold; {patched} are patched")
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
        let totals = r#"{"sites":9,"executed":2,"monomorphic":1,"polymorphic":1,"megamorphic":0,"learning":0,"off":0,"patches":2,"relearns":0,"failures":0}"#;
        let text =
            format!(r#"{{"version":1,"pid":1,"mode":"on","totals":{totals},"sites":[{}]}}"#, sites.join(","));
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn a_site_that_stopped_counting_is_charged_with_all_its_calls() {
        let count = stats(&[site("0x10", 900, true, ""), site("0x20", 100, true, "")]);
        let on = stats(&[site("0x10", 64, true, ""), site("0x20", 7, false, "")]);
        let share = Share::of(&on, &count);
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
        assert_eq!(Share::of(&on, &count).slow, 440);
    }

    #[test]
    fn long_names_are_cut_at_their_start() {
        assert_eq!(demangled(Some("_ZN4core3fmt5write17h0123456789abcdefE")), "core::fmt::write");
        let name = demangled(Some(&"x".repeat(100)));
        assert_eq!((name.len(), &name[..4]), (NAME_WIDTH, "...x"));
    }
}
