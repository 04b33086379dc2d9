//! Statistics as the runtime writes them.

use crate::file::{self, Kind};
use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// What is read here.
const VERSION: u64 = 1;

/// Statistics of a process.
#[derive(Debug, Deserialize)]
pub struct Stats {
    /// The process.
    pub pid: u64,
    /// What the runtime did at the end.
    pub mode: String,
    /// Sums over all sites.
    pub totals: Totals,
    /// Those that have run.
    pub sites: Vec<Site>,
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
    /// Sites that were turned off.
    pub off: u64,
    /// Branches that were opened.
    pub patches: u64,
    /// How often sites began to learn anew.
    pub relearns: u64,
    /// Sites or targets that could not be patched.
    pub failures: u64,
}

/// A call site.
#[derive(Debug, Deserialize)]
pub struct Site {
    /// Of the compare.
    pub address: String,
    /// The same from where the object was loaded: as it is in every run.
    pub offset: String,
    /// The executable or shared object.
    pub object: Option<String>,
    /// The calling function.
    pub function: Option<String>,
    /// Its source file.
    pub file: Option<String>,
    /// The line in it, 0 where that is not known.
    pub line: u64,
    /// What became of it.
    pub state: String,
    /// What it has called.
    pub targets: Vec<Target>,
    /// Calls that the slow path saw, while it counted.
    pub calls: u64,
    /// Whether it counts still.
    pub counting: bool,
    /// Why the site, or one of its targets, stays on the retpoline.
    pub failure: Option<String>,
}

/// What a site has called.
#[derive(Debug, Deserialize)]
pub struct Target {
    /// Where it is.
    pub address: String,
    /// Its name.
    pub function: Option<String>,
    /// Calls that the slow path saw, while it counted.
    pub count: u64,
    /// It is called directly.
    pub patched: bool,
}

/// More than the statistics of any program have.
const LIMIT: u64 = 1 << 30;

impl Stats {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u64,
        }
        let name = path.display();
        let text =
            file::read(path, Kind::RegularOrPipe, LIMIT).with_context(|| format!("cannot read {name}"))?;
        let is_none = || {
            format!(
                "{name} holds no statistics; run a program with RELPOLINE_OPTIONS=stats=FILE to have them written"
            )
        };
        let found = serde_json::from_slice::<Versioned>(&text).with_context(is_none)?.version;
        ensure!(
            found == VERSION,
            "{name} holds statistics of version {found}, expected {VERSION}; use the 'relpoline' that belongs to the \
             program's runtime"
        );
        serde_json::from_slice(&text).with_context(is_none)
    }
}
