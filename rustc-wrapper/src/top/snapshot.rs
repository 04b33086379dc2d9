//! From the memory of a process to what its sites have become.

use super::process::{Mapping, Memory, Process};
use crate::{
    elf::{Image, Object, demangle},
    sites::{self, Site},
};
use anyhow::Result;
use relpoline_layout::{CELL_GATE, GATE_QUIET, SECTION, record, record::State};
use serde::Serialize;
use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

/// A file that the process runs code of.
pub struct Loaded<'data> {
    /// Where it is, for messages.
    path: String,
    image: Image<'data>,
    /// From an address of the file to one of the process.
    bias: u64,
    /// Its sites, one for each cell: copies of a site share what they have learned.
    pub sites: Vec<Site>,
    /// Rows of its table.
    rows: usize,
}

impl<'data> Loaded<'data> {
    /// All of them. What cannot be understood is noted, and left out.
    pub fn all(
        process: &Process,
        files: &'data [(&Mapping, Object)],
        notes: &mut Vec<String>,
    ) -> Result<Vec<Self>> {
        let memory = process.memory()?;
        let mut all: Vec<Self> = Vec::new();
        for (mapping, object) in files {
            match Self::new(&memory, mapping, object) {
                Ok(Some(loaded)) => {
                    // A file may be mapped in several pieces.
                    if !all.iter().any(|other| (&other.path, other.bias) == (&loaded.path, loaded.bias)) {
                        all.push(loaded);
                    }
                }
                Ok(None) => {}
                Err(note) if notes.contains(&note) => {}
                Err(note) => notes.push(note),
            }
        }
        Ok(all)
    }

    fn new(memory: &Memory, mapping: &Mapping, object: &'data Object) -> Result<Option<Self>, String> {
        let image = Image::parse(object).map_err(|error| error.to_string())?;
        let Some(address) = image.code_address(mapping.offset) else { return Ok(None) };
        let bias = mapping.start.wrapping_sub(address);
        let mut sites = sites::read(&image).map_err(|error| error.to_string())?;
        let rows = sites.len();
        for section in image.sections_named(SECTION).map(|section| &image.sections[section]) {
            let mut table = vec![0; section.data.len()];
            let read = memory.read(section.address.wrapping_add(bias), &mut table);
            if read.is_none() || table != section.data {
                return Err(format!(
                    "{} is not what the process runs: its table of sites differs; start the program again",
                    mapping.path.display()
                ));
            }
        }
        let mut cells = HashSet::new();
        sites.retain(|site| cells.insert(site.cell));
        Ok(Some(Self { path: mapping.path.display().to_string(), image, bias, sites, rows }))
    }

    /// The function at an address of the process.
    fn function(&self, address: u64) -> Option<String> {
        let place = self.image.place(address.wrapping_sub(self.bias))?;
        self.image.functions.at(place).map(|function| demangle(&function.name()))
    }
}

/// What the record of one site said.
struct Sample {
    state: State,
    /// Calls counted on the slow path, ever.
    counted: u64,
    /// Slow calls that it lets pass uncounted, before it counts again.
    rest: Option<i32>,
    /// Address, calls counted, whether it is called directly.
    targets: Vec<(u64, u64, bool)>,
}

impl Sample {
    /// Of the site whose cell is at `cell`. None: it has not run.
    fn take(memory: &Memory, cell: u64) -> Option<Self> {
        let gate: [u8; 8] = memory.array(cell.wrapping_add(CELL_GATE as u64))?;
        let gate = u64::from_le_bytes(gate);
        let address = gate & !(record::ALIGN as u64 - 1);
        let record: [u8; record::SIZE] = if address == 0 { None } else { memory.array(address) }?;
        let number = |offset: usize| i32::from_le_bytes(bytes(&record, offset));
        let (limit, placed) = (number(record::LIMIT), u16::from_le_bytes(bytes(&record, record::PLACED)));
        let calls: [u64; record::WAYS + 1] = std::array::from_fn(|way| {
            let pending = number(record::COUNTS + way * 4).saturating_add(limit).max(0);
            let total = u64::from_le_bytes(bytes(&record, record::TOTALS + way * 8));
            total.saturating_add(pending.unsigned_abs().into())
        });
        let target = |way: usize| {
            let address = u64::from_le_bytes(bytes(&record, record::TARGETS + way * 8));
            (address != 0).then_some((address, calls[way], placed & 1 << way != 0))
        };
        Some(Self {
            state: State::from_number(record[record::STATE]),
            counted: calls.iter().fold(0, |sum, &calls| sum.saturating_add(calls)),
            rest: (gate & GATE_QUIET as u64 != 0).then(|| number(record::REST)),
            targets: (0..record::WAYS).filter_map(target).collect(),
        })
    }

    /// Slow calls since an earlier look.
    fn since(&self, before: Option<&Self>) -> u64 {
        let counted = self.counted.saturating_sub(before.map_or(0, |before| before.counted));
        let passed = match (before.and_then(|before| before.rest), self.rest) {
            // A new rest has begun, or one for ever.
            (Some(before), Some(now)) if before == i32::MAX || now > before => 0,
            (Some(before), Some(now)) => i64::from(before) - i64::from(now),
            _ => 0,
        };
        counted.saturating_add(u64::try_from(passed).unwrap_or(0))
    }
}

fn bytes<const N: usize>(record: &[u8], offset: usize) -> [u8; N] {
    std::array::from_fn(|at| record[offset + at])
}

/// What the records of all sites said, in the order of objects and sites.
pub struct Samples(Vec<Vec<Option<Sample>>>);

impl Samples {
    /// Looks at them.
    pub fn take(process: &Process, loaded: &[Loaded]) -> Self {
        // A process that has just ended has no memory, nor code: the caller notices.
        let memory = process.memory().ok();
        let of_site = |object: &Loaded, site: &Site| {
            memory.as_ref().and_then(|memory| Sample::take(memory, site.cell.wrapping_add(object.bias)))
        };
        let of_object =
            |object: &Loaded| object.sites.iter().map(|site| of_site(object, site)).collect::<Vec<_>>();
        Self(loaded.iter().map(of_object).collect())
    }
}

/// One look at a process.
#[derive(Serialize)]
pub struct Snapshot<'a> {
    pub pid: u32,
    pub program: String,
    /// Seconds since the last look, 0 at the first one.
    pub seconds: f64,
    /// Objects with sites.
    pub objects: usize,
    /// Sites in their tables.
    pub sites_in_all: usize,
    /// Sites that have run, by state.
    pub states: BTreeMap<&'static str, usize>,
    /// What could not be looked at.
    pub notes: &'a [String],
    /// Sites that have run, those with the most slow calls first.
    pub sites: Vec<Row>,
}

/// A site that has run.
#[derive(Serialize)]
pub struct Row {
    pub address: String,
    pub object: String,
    pub function: Option<String>,
    pub file: Option<String>,
    pub line: Option<u32>,
    pub state: &'static str,
    /// Calls counted on the slow path, ever.
    pub calls: u64,
    /// Calls on the slow path, counted or not, in a second. None: this is the first look.
    pub slow_calls_per_second: Option<f64>,
    pub targets: Vec<Target>,
}

/// What a site has called.
#[derive(Serialize)]
pub struct Target {
    pub address: String,
    pub function: Option<String>,
    pub count: u64,
    /// It is called directly.
    pub patched: bool,
}

impl<'a> Snapshot<'a> {
    /// From what was seen now and before.
    pub fn new(
        process: &Process,
        loaded: &[Loaded],
        samples: &Samples,
        before: Option<(&Samples, Duration)>,
        notes: &'a [String],
    ) -> Self {
        let function = |address: u64| loaded.iter().find_map(|object| object.function(address));
        let mut states: BTreeMap<_, _> = State::ALL.iter().map(|state| (state.name(), 0)).collect();
        let mut rows = Vec::new();
        for (index, object) in loaded.iter().enumerate() {
            for (number, site) in object.sites.iter().enumerate() {
                let Some(sample) = &samples.0[index][number] else { continue };
                *states.entry(sample.state.name()).or_default() += 1;
                let rate = before.map(|(before, seconds)| {
                    sample.since(before.0[index][number].as_ref()) as f64 / seconds.as_secs_f64()
                });
                let targets = sample.targets.iter().map(|&(address, count, patched)| Target {
                    address: format!("{address:#x}"),
                    function: function(address),
                    count,
                    patched,
                });
                rows.push(Row {
                    address: format!("{:#x}", site.address.wrapping_add(object.bias)),
                    object: object.path.clone(),
                    function: site.function.clone(),
                    file: site.file.clone(),
                    line: site.line,
                    state: sample.state.name(),
                    calls: sample.counted,
                    slow_calls_per_second: rate,
                    targets: targets.collect(),
                });
            }
        }
        let key = |row: &Row| (row.slow_calls_per_second.unwrap_or(0.0), row.calls);
        rows.sort_by(|a, b| key(b).partial_cmp(&key(a)).unwrap_or(std::cmp::Ordering::Equal));
        Self {
            pid: process.pid(),
            program: process.name(),
            seconds: before.map_or(0.0, |(_, time)| time.as_secs_f64()),
            objects: loaded.iter().filter(|object| object.rows > 0).count(),
            sites_in_all: loaded.iter().map(|object| object.rows).sum(),
            states,
            notes,
            sites: rows,
        }
    }
}
