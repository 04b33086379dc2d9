//! Statistics, as JSON. The format is part of the interface: fields are added, never changed.

use crate::layout::record::{State, WAYS};
use crate::layout::{self, Form};
use crate::options::Mode;
use crate::output::Out;
use crate::port::{Port, Symbols, System};
use crate::record::Record;
use crate::runtime::{self, Runtime};
use crate::site::{Image, Index, Site};
use core::ffi::CStr;
use core::sync::atomic::Ordering;

/// Version of the format.
const VERSION: u64 = 1;

/// Calls that went through the slow path of a site while it counted.
fn calls(record: &Record) -> [u64; WAYS + 1] {
    let limit = record.limit.load(Ordering::Relaxed);
    core::array::from_fn(|way| {
        let pending = record.counts[way].load(Ordering::Relaxed).saturating_add(limit).max(0) as u64;
        record.totals[way].load(Ordering::Relaxed) + pending
    })
}

/// Calls counted while learning, and since the site was promoted.
fn learned_and_missed(record: &Record) -> (u64, u64) {
    let all: u64 = calls(record).iter().sum();
    let (learned, missed) =
        (record.learned_calls.load(Ordering::Relaxed), record.misses.load(Ordering::Relaxed));
    let pending = all.saturating_sub(learned + missed);
    if record.state() == State::Learning { (learned + pending, missed) } else { (learned, missed + pending) }
}

/// Sums over the sites of one or several images, in the order of the report.
#[derive(Debug, Default)]
pub struct Totals([u64; TOTALS.len()]);

const TOTALS: [&str; 13] = [
    "sites",
    "executed",
    "monomorphic",
    "polymorphic",
    "megamorphic",
    "learning",
    "off",
    "patches",
    "written",
    "relearns",
    "learned_calls",
    "misses",
    "failures",
];

impl Totals {
    /// Adds what `runtime` has counted.
    pub fn add(&mut self, runtime: &Runtime, image: &Image) {
        let (mut learned, mut missed) = (0, 0);
        let mut states = [0; State::ALL.len()];
        for record in runtime.records() {
            let (l, m) = learned_and_missed(record);
            (learned, missed) = (learned + l, missed + m);
            states[record.state() as usize] += 1;
        }
        let in_state = |state: State| states[state as usize];
        let values = [
            image.entries.len() as u64,
            states.iter().sum(),
            in_state(State::Monomorphic),
            in_state(State::Polymorphic),
            in_state(State::Megamorphic),
            in_state(State::Learning),
            in_state(State::Off),
            runtime.patches(),
            runtime.written(),
            runtime.relearns(),
            learned,
            missed,
            runtime.failures(),
        ];
        self.0.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
    }
}

/// Writes the report of runtimes that share one mode.
pub fn report<'a>(images: impl Iterator<Item = (&'a Runtime, &'a Image)> + Clone, out: &mut Out) {
    let mut totals = Totals::default();
    images.clone().for_each(|(runtime, image)| totals.add(runtime, image));
    begin(images.clone().next().map_or(Mode::Off, |(runtime, _)| runtime.mode()), &totals, out);
    let mut first = true;
    images.for_each(|(runtime, image)| sites(runtime, image, &mut first, out));
    end(out);
}

/// Begins a report.
pub fn begin(mode: Mode, totals: &Totals, out: &mut Out) {
    out.text("{\"version\":").number(VERSION).text(",\"pid\":").number(System::process_id().into());
    out.text(",\"mode\":\"").text(mode.name()).text("\",\"totals\":{");
    for (index, (name, &value)) in TOTALS.iter().zip(&totals.0).enumerate() {
        out.text(if index == 0 { "\"" } else { ",\"" }).text(name).text("\":").number(value);
    }
    out.text("},\"sites\":[");
}

/// Writes the sites of one runtime. `first` is true until a site of any has been written.
pub fn sites(runtime: &Runtime, image: &Image, first: &mut bool, out: &mut Out) {
    let (mut symbols, mut index) = (Symbols::of(image), Index::new());
    for record in runtime.records() {
        out.text(if core::mem::take(first) { "\n" } else { ",\n" });
        let site = runtime::site_of(image, &mut index, record);
        one_site(image, &mut symbols, site, record, out);
    }
}

/// Ends a report.
pub fn end(out: &mut Out) {
    out.text("\n]}\n");
}

/// Writes one line for each row of the table: address, state, object, function, and the targets that are called
/// directly.
pub fn list(image: &Image, out: &mut Out) {
    let mut symbols = Symbols::of(image);
    for site in image.sites() {
        let address = site.compare();
        // SAFETY: checked next: the cell lies in the image's data.
        let record = image.check(&site).ok().and_then(|()| unsafe { Record::of_cell(site.cell()) });
        let state = record.map_or("idle", |record| record.state().name());
        out.text("0x").hex(address as u64).text(" ").text(state).text(" ");
        out.bytes(symbols.object().unwrap_or(b"?")).text(" ");
        out.bytes(caller(&mut symbols, &site).unwrap_or(b"?"));
        let placed = record.map_or(0, |record| record.placed.load(Ordering::Relaxed));
        for (way, target) in record.iter().flat_map(|record| record.targets.iter()).enumerate() {
            if placed & 1 << way != 0 {
                let target = target.load(Ordering::Relaxed);
                out.text(" ").bytes(symbols.function(target as usize).unwrap_or(b"?"));
            }
        }
        out.text("\n");
    }
}

fn one_site(image: &Image, symbols: &mut Symbols, site: Option<Site>, record: &Record, out: &mut Out) {
    let address = site.map_or(0, |site| site.compare());
    out.text("{\"address\":").address(address as u64);
    out.text(",\"offset\":").address(address.saturating_sub(image.base) as u64);
    out.text(",\"object\":").string(symbols.object());
    let function = site.and_then(|site| caller(symbols, &site));
    out.text(",\"function\":").string(function);
    out.text(",\"file\":").string(site.and_then(|site| image.file(&site)).map(CStr::to_bytes));
    out.text(",\"line\":").number(site.map_or(0, |site| site.line()).into());
    let form = if site.is_some_and(|site| site.form() == Form::Stub) { "stub" } else { "inline" };
    out.text(",\"form\":\"").text(form);
    out.text("\",\"state\":\"").text(record.state().name()).text("\",\"targets\":[");
    let calls = calls(record);
    let placed = record.placed.load(Ordering::Relaxed);
    let mut first = true;
    for (way, &count) in calls.iter().enumerate().take(WAYS) {
        let target = record.targets[way].load(Ordering::Relaxed);
        if target == 0 {
            continue;
        }
        out.text(if first { "{\"address\":" } else { ",{\"address\":" }).address(target);
        out.text(",\"function\":").string(symbols.function(target as usize));
        out.text(",\"count\":").number(count);
        out.text(",\"patched\":").text(if placed & 1 << way == 0 { "false}" } else { "true}" });
        first = false;
    }
    let (_, missed) = learned_and_missed(record);
    let gate = record.cell().gate.load(Ordering::Relaxed);
    out.text("],\"misses\":").number(missed);
    out.text(",\"calls\":").number(calls.iter().sum());
    out.text(",\"counting\":").text(if gate & crate::layout::GATE_QUIET == 0 { "true" } else { "false" });
    let refusal = record.refusal().explain();
    out.text(",\"failure\":").string((!refusal.is_empty()).then_some(refusal.as_bytes())).text("}");
}

/// Name of the function that `site` was compiled in.
pub(crate) fn caller<'a>(symbols: &'a mut Symbols, site: &Site) -> Option<&'a [u8]> {
    symbols.function(site.compare()).map(layout::function_of)
}

/// Says which sites were refused, and why.
pub fn explain(runtime: &Runtime, image: &Image, out: &mut Out) {
    let (mut symbols, mut index) = (Symbols::of(image), Index::new());
    for record in runtime.records() {
        let why = record.refusal().explain();
        if why.is_empty() {
            continue;
        }
        let site = runtime::site_of(image, &mut index, record);
        out.text("relpoline: ").bytes(site.and_then(|site| caller(&mut symbols, &site)).unwrap_or(b"?"));
        if let Some(file) = site.and_then(|site| image.file(&site)) {
            out.text(" (")
                .bytes(file.to_bytes())
                .text(":")
                .number(site.map_or(0, |s| s.line()).into())
                .text(")");
        }
        out.text(": stays on the retpoline: ").text(why).text("\n");
    }
}
