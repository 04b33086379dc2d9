//! A look at a process, for people.

use super::snapshot::{Row, Snapshot};
use crate::program::{count, grouped, printable};
use relpoline_layout::record::State;
use rustix::termios;
use std::{
    env,
    io::{self, IsTerminal},
};

/// Sites shown where the size of the page is not known.
const LINES: usize = 20;
/// Moves to the start of the screen and clears it.
const CLEAR: &str = "\x1b[H\x1b[J";

/// The page. On a terminal it is no larger than the screen, and takes the place of the one before it, if it is one of
/// `several` and the terminal can do so.
pub fn page(snapshot: &Snapshot, lines: Option<usize>, several: bool) -> String {
    let terminal = io::stdout().is_terminal();
    let size = if terminal { termios::tcgetwinsize(io::stdout()).ok() } else { None };
    let (rows, columns) = size.map_or((0, 0), |size| (usize::from(size.ws_row), usize::from(size.ws_col)));
    let mut text = head(snapshot);
    let left = if rows == 0 { LINES } else { rows.saturating_sub(text.len() + 1).max(1) };
    text.extend(snapshot.sites.iter().take(lines.unwrap_or(left)).map(line));
    let cut = text.iter().map(|line| cut(&printable(line), columns));
    let page = cut.fold(String::new(), |page, line| page + &line + "\n");
    let clear = several && terminal && env::var_os("TERM").is_none_or(|name| name != "dumb");
    if clear { format!("{CLEAR}{page}") } else { page + "\n" }
}

fn head(snapshot: &Snapshot) -> Vec<String> {
    let states: Vec<String> = State::ALL
        .iter()
        .map(|state| format!("{} {}", grouped(snapshot.states[state.name()] as u64), state.name()))
        .collect();
    let rates = snapshot.sites.iter().filter_map(|site| site.slow_calls_per_second);
    let rate = if snapshot.seconds > 0.0 { grouped(rates.sum::<f64>() as u64) } else { "?".into() };
    let mut head = vec![
        format!(
            "{} ({}): {} in {}, {} have run: {}",
            snapshot.program,
            snapshot.pid,
            count(snapshot.sites_in_all, "site"),
            count(snapshot.objects, "object"),
            grouped(snapshot.sites.len() as u64),
            states.join(", ")
        ),
        format!("{rate} calls a second on the slow path; direct calls are not counted"),
    ];
    head.extend(snapshot.notes.iter().cloned());
    head.push(String::new());
    head.push(format!(
        "{:>11} {:>13}  {:<11}  CALLER -> DIRECT TARGETS (ON THE SLOW PATH)",
        "SLOW/S", "COUNTED", "STATE"
    ));
    head
}

fn line(site: &Row) -> String {
    let rate = site.slow_calls_per_second.map_or("?".into(), |rate| grouped(rate as u64));
    let mut text = format!(
        "{rate:>11} {:>13}  {:<11}  {}",
        grouped(site.calls),
        site.state,
        site.function.as_deref().unwrap_or(&site.address)
    );
    match (&site.file, site.line) {
        (Some(file), Some(line)) => text += &format!(" {file}:{line}"),
        (Some(file), None) => text += &format!(" {file}"),
        _ => {}
    }
    let mut targets: Vec<_> = site.targets.iter().collect();
    targets.sort_by_key(|target| (!target.patched, std::cmp::Reverse(target.count)));
    for (index, target) in targets.into_iter().enumerate() {
        let name = target.function.as_deref().unwrap_or(&target.address);
        text += if index == 0 { " -> " } else { ", " };
        text += &if target.patched { name.into() } else { format!("({name})") };
    }
    text
}

/// The first `columns` characters; all, where that is 0.
fn cut(line: &str, columns: usize) -> String {
    match line.char_indices().nth(columns) {
        Some((end, _)) if columns > 0 => line[..end].to_owned(),
        _ => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_at_characters() {
        for (columns, expected) in [(0, "añb"), (1, "a"), (2, "añ"), (3, "añb"), (9, "añb")] {
            assert_eq!(cut("añb", columns), expected);
        }
    }
}
