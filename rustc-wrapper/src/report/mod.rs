//! `relpoline report`: the statistics of a program as a page for people.

mod page;
mod plots;
pub mod stats;

use crate::program;
use anyhow::{Context, Result, ensure};
use stats::Stats;
use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// Options of `relpoline report`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Statistics that a program wrote (RELPOLINE_OPTIONS=stats=FILE)
    #[arg(value_name = "STATS.json")]
    file: PathBuf,
    /// Where the page goes, instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Writes the page.
pub fn run(arguments: &Arguments) -> Result<()> {
    if let Some(output) = &arguments.output {
        ensure!(
            !is_same(&arguments.file, output),
            "{} is what is read, expected another file behind --output; relpoline report STATS.json -o PAGE.html",
            output.display()
        );
    }
    let stats = Stats::read(&arguments.file)?;
    let page = page::page(&stats, &arguments.file.display().to_string())?;
    match &arguments.output {
        Some(path) => fs::write(path, page).with_context(|| format!("cannot write {}", path.display())),
        None => program::print(&page),
    }
}

/// Whether both are names of one file.
fn is_same(one: &Path, other: &Path) -> bool {
    let identity = |path: &Path| fs::metadata(path).map(|data| (data.dev(), data.ino())).ok();
    identity(one).is_some_and(|one| identity(other) == Some(one))
}
