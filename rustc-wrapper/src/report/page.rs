//! The page.

use super::{
    plots::{self, STATES},
    stats::{Site, Stats, Target},
};
use crate::{
    elf::demangle,
    program::{grouped, printable},
};
use anyhow::Result;
use maud::{DOCTYPE, Markup, PreEscaped, html};

const STYLE: &str = "
:root { color-scheme: light dark; --ink: #222; --paper: #fff; --faint: #606060; --line: #ccc }
@media (prefers-color-scheme: dark) {
:root { --ink: #ddd; --paper: #181818; --faint: #a0a0a0; --line: #444 }
svg, .state, .bar { filter: invert(1) hue-rotate(180deg) }
}
body { font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 75em; padding: 0 1em; color: var(--ink); background: var(--paper) }
h1 { font-size: 1.5em } h2 { font-size: 1.15em; margin: 2em 0 .5em }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(11em, 1fr)); gap: .6em 1.5em }
dt { color: var(--faint); font-size: .85em } dd { margin: 0; font-size: 1.3em; font-variant-numeric: tabular-nums }
.plots { display: flex; flex-wrap: wrap; gap: 1.5em } figure { margin: 0 } figcaption { font-weight: 600 }
svg { max-width: 100%; height: auto }
.wide { overflow-x: auto } table { border-collapse: collapse; width: 100% }
th { text-align: left; font-size: .85em; color: var(--faint); border-bottom: 2px solid var(--line) }
td { vertical-align: top; border-bottom: 1px solid var(--line) } th, td { padding: .35em .8em .35em 0 }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
.bar { display: block; height: .3em; background: #2b6cb0; margin-left: auto }
.name { overflow-wrap: anywhere } .place, .why, .retpoline { color: var(--faint); font-size: .85em }
.state { white-space: nowrap } ul { margin: 0; padding: 0; list-style: none }
";

/// Sites that are listed. Browsers get slow with a table of tens of thousands, and nobody reads it to its end.
const ROWS: usize = 1000;

/// The page for the statistics in the file of this name.
pub fn page(stats: &Stats, name: &str) -> Result<String> {
    let program = stats.sites.iter().find_map(|site| site.object.as_deref()).unwrap_or(name);
    let program = printable(program.rsplit('/').next().unwrap_or(program));
    let plots = plots::plots(stats)?;
    let totals = &stats.totals;
    let facts = [
        ("process", stats.pid.to_string()),
        ("mode", printable(&stats.mode)),
        ("call sites", grouped(totals.sites)),
        ("that have run", grouped(totals.executed)),
        ("branches opened", grouped(totals.patches)),
        ("relearned", grouped(totals.relearns)),
        ("refused", grouped(totals.failures)),
        ("slow calls", grouped(stats.sites.iter().fold(0, |sum, site| sum.saturating_add(site.calls)))),
    ];
    let mut sites: Vec<&Site> = stats.sites.iter().collect();
    sites.sort_by_key(|site| std::cmp::Reverse(site.calls));
    let sites_in_all = sites.len() as u64;
    sites.truncate(ROWS);
    let left_out = sites_in_all - sites.len() as u64;
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width";
                title { "relpoline: " (program) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { "Relpolines of " (program) }
                dl { @for (title, value) in &facts { div { dt { (title) } dd { (value) } } } }
                h2 { "What became of the sites" }
                div.plots { @for plot in &plots { figure { figcaption { (plot.title) } (PreEscaped(&plot.svg)) } } }
                h2 {
                    (grouped(sites_in_all)) @if sites_in_all == 1 { " site" } @else { " sites" }
                    " that ran, the slow calls first"
                }
                p {
                    "A slow call went through a retpoline: before the site was decided, with a target that has no direct \
                     branch, or because the site is megamorphic or off. Fast calls are not counted, except with "
                    code { "mode=count" } "."
                }
                @if left_out > 0 {
                    p { "The first " (grouped(sites.len() as u64)) " are listed, and " (grouped(left_out))
                        " left out; the statistics have all." }
                }
                (table(&sites))
            }
        }
    };
    Ok(page.into_string())
}

fn table(sites: &[&Site]) -> Markup {
    let most = sites.first().map_or(1, |site| site.calls.max(1));
    html! {
        div.wide { table {
            thead { tr { th { "function" } th { "state" } th.number { "slow calls" } th { "targets" } } }
            tbody { @for site in sites { tr {
                td.name {
                    (name(site.function.as_deref(), &site.address))
                    div.place { (place(site)) }
                }
                td.state style=(format!("color: {}", colour(&site.state))) { (printable(&site.state)) }
                td.number {
                    (grouped(site.calls))
                    span.bar style=(format!("width: {:.0}%", 100.0 * site.calls as f64 / most as f64)) {}
                }
                td.name {
                    ul { @for target in &site.targets { li { (one_target(target, site.calls)) } } }
                    @if let Some(why) = &site.failure { div.why { (printable(why)) } }
                }
            } } }
        } }
    }
}

fn one_target(target: &Target, calls: u64) -> Markup {
    let share = 100.0 * target.count as f64 / calls.max(1) as f64;
    html! {
        (name(target.function.as_deref(), &target.address)) " "
        span.place { (format!("{share:.0} %")) }
        @if !target.patched { span.retpoline { ", retpoline" } }
    }
}

fn name(function: Option<&str>, address: &str) -> String {
    printable(&function.map_or_else(|| address.to_owned(), demangle))
}

fn place(site: &Site) -> String {
    let place = match &site.file {
        Some(file) if site.line > 0 => format!("{file}:{}", site.line),
        Some(file) => file.clone(),
        None => site.object.clone().unwrap_or_default(),
    };
    printable(&place)
}

fn colour(state: &str) -> String {
    let known = STATES.iter().find(|known| known.0 == state).map_or(STATES[4].1, |known| known.1);
    format!("#{:02x}{:02x}{:02x}", known.0, known.1, known.2)
}
