//! Statistics as the runtime writes them.

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::FileTypeExt,
    path::Path,
};

/// What is read here.
const VERSION: u64 = 1;

/// Statistics of a process.
#[derive(Debug, Deserialize)]
pub struct Stats {
    pub pid: u64,
    pub mode: String,
    pub totals: Totals,
    /// Those that have run.
    pub sites: Vec<Site>,
}

/// Sums over all sites.
#[derive(Debug, Deserialize)]
pub struct Totals {
    pub sites: u64,
    pub executed: u64,
    pub monomorphic: u64,
    pub polymorphic: u64,
    pub megamorphic: u64,
    pub learning: u64,
    pub off: u64,
    pub patches: u64,
    pub relearns: u64,
    pub failures: u64,
}

/// A call site.
#[derive(Debug, Deserialize)]
pub struct Site {
    pub address: String,
    pub object: Option<String>,
    pub function: Option<String>,
    pub file: Option<String>,
    pub line: u64,
    pub state: String,
    pub targets: Vec<Target>,
    /// Calls that the slow path saw.
    pub calls: u64,
    /// Why the site, or one of its targets, stays on the retpoline.
    pub failure: Option<String>,
}

/// What a site has called.
#[derive(Debug, Deserialize)]
pub struct Target {
    pub address: String,
    pub function: Option<String>,
    /// Calls that the slow path saw.
    pub count: u64,
    /// It is called directly.
    pub patched: bool,
}

/// Pipes may be read, too (`<(zcat FILE)`), but not without an end.
fn read(path: &Path) -> io::Result<String> {
    const MOST: u64 = 1 << 30;
    let file = File::open(path)?;
    let kind = file.metadata()?.file_type();
    if !kind.is_file() && !kind.is_fifo() {
        return Err(io::Error::other("it is neither a regular file nor a pipe"));
    }
    let mut text = String::new();
    if file.take(MOST).read_to_string(&mut text)? as u64 == MOST {
        return Err(io::Error::other("it is too large, expected less than 1 GiB"));
    }
    Ok(text)
}

impl Stats {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u64,
        }
        let name = path.display();
        let text = read(path).with_context(|| format!("cannot read {name}"))?;
        let is_none = || {
            format!(
                "{name} holds no statistics; run a program with RELPOLINE_OPTIONS=stats=FILE to have them written"
            )
        };
        let found = serde_json::from_str::<Versioned>(&text).with_context(is_none)?.version;
        ensure!(
            found == VERSION,
            "{name} holds statistics of version {found}, expected {VERSION}; use the 'relpoline' that belongs to the \
             program's runtime"
        );
        serde_json::from_str(&text).with_context(is_none)
    }
}
