//! Statistics, as JSON. The format is part of the interface: fields are added, never changed.

use crate::layout::record::{State, WAYS};
use crate::layout::{self, Form};
use crate::options::Mode;
use crate::port::{Port, Symbols, System};
use crate::record::Record;
use crate::runtime::{self, Runtime};
use crate::site::{Image, Site};
use core::ffi::CStr;
use core::mem::MaybeUninit;
use core::sync::atomic::Ordering;

/// Version of the format.
const VERSION: u64 = 1;

/// Buffered output. It formats by itself: core's formatting calls through pointers.
pub struct Out {
    output: <System as Port>::Output,
    buffer: [MaybeUninit<u8>; 1024],
    used: usize,
    error: i32,
}

impl Out {
    /// Output to `output`.
    pub const fn new(output: <System as Port>::Output) -> Self {
        Self { output, buffer: [MaybeUninit::uninit(); 1024], used: 0, error: 0 }
    }

    /// Writes bytes.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        for &byte in bytes {
            if self.used == self.buffer.len() {
                self.flush();
            }
            self.buffer[self.used].write(byte);
            self.used += 1;
        }
        self
    }

    /// Writes text.
    pub fn text(&mut self, text: &str) -> &mut Self {
        self.bytes(text.as_bytes())
    }

    /// Writes a number.
    pub fn number(&mut self, number: u64) -> &mut Self {
        self.bytes(decimal(number, &mut [0; 20]))
    }

    /// Writes a number with the digits 0 to f.
    pub fn hex(&mut self, number: u64) -> &mut Self {
        let digits = (64 - number.leading_zeros()).div_ceil(4).max(1);
        for digit in (0..digits).rev() {
            self.bytes(&[b"0123456789abcdef"[(number >> (digit * 4) & 15) as usize]]);
        }
        self
    }

    /// Writes an address as a JSON string, `"0x…"`.
    pub fn address(&mut self, address: u64) -> &mut Self {
        self.text("\"0x").hex(address).text("\"")
    }

    /// Writes a JSON string, or `null`.
    pub fn string(&mut self, text: Option<&[u8]>) -> &mut Self {
        let Some(text) = text else { return self.text("null") };
        self.text("\"");
        for chunk in text.utf8_chunks() {
            for &byte in chunk.valid().as_bytes() {
                match byte {
                    b'"' => self.text("\\\""),
                    b'\\' => self.text("\\\\"),
                    0..0x20 => {
                        let hex = b"0123456789abcdef";
                        let (high, low) = (hex[(byte >> 4) as usize], hex[(byte & 15) as usize]);
                        self.text("\\u00").bytes(&[high, low])
                    }
                    _ => self.bytes(&[byte]),
                };
            }
            if !chunk.invalid().is_empty() {
                self.text("\u{fffd}");
            }
        }
        self.text("\"")
    }

    /// What has not been flushed yet.
    pub fn written(&self) -> &[u8] {
        // SAFETY: `bytes` has written what comes before `used`.
        unsafe { core::slice::from_raw_parts(self.buffer.as_ptr().cast(), self.used) }
    }

    fn flush(&mut self) {
        if self.error == 0 {
            self.error = System::write(self.output, self.written()).err().unwrap_or(0);
        }
        self.used = 0;
    }

    /// Writes what is left.
    ///
    /// # Errors
    /// The first error that writing met.
    pub fn finish(&mut self) -> Result<(), i32> {
        self.flush();
        if self.error == 0 { Ok(()) } else { Err(self.error) }
    }
}

/// The digits of a number.
pub fn decimal(mut number: u64, room: &mut [u8; 20]) -> &[u8] {
    let mut at = room.len();
    loop {
        at -= 1;
        room[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &room[at..];
        }
    }
}

/// `path` with `%p` replaced by the process id and, for a shared object, `.` and its name added, as a C string
/// in `buffer`. `None` when it does not fit.
pub fn expand_path<'a>(
    path: &[u8],
    pid: u32,
    shared_object: Option<&[u8]>,
    buffer: &'a mut [u8],
) -> Option<&'a CStr> {
    let mut used = 0;
    let mut put = |byte: u8| -> Option<()> {
        *buffer.get_mut(used)? = byte;
        used += 1;
        Some(())
    };
    let mut rest = path;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte == b'%' && rest.first() == Some(&b'p') {
            rest = &rest[1..];
            let mut divisor = 1_000_000_000;
            while divisor > 1 && pid / divisor == 0 {
                divisor /= 10;
            }
            while divisor > 0 {
                put(b'0' + (pid / divisor % 10) as u8)?;
                divisor /= 10;
            }
        } else {
            put(byte)?;
        }
    }
    if let Some(name) = shared_object {
        put(b'.')?;
        for &byte in name {
            put(byte)?;
        }
    }
    put(0)?;
    CStr::from_bytes_until_nul(buffer).ok()
}

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
        let count = |state: State| runtime.records().filter(|record| record.state() == state).count() as u64;
        let (mut learned, mut missed) = (0, 0);
        for record in runtime.records() {
            let (l, m) = learned_and_missed(record);
            (learned, missed) = (learned + l, missed + m);
        }
        let values = [
            image.entries.len() as u64,
            runtime.records().count() as u64,
            count(State::Monomorphic),
            count(State::Polymorphic),
            count(State::Megamorphic),
            count(State::Learning),
            count(State::Off),
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
    let mut symbols = Symbols::of(image);
    for record in runtime.records() {
        out.text(if core::mem::take(first) { "\n" } else { ",\n" });
        one_site(image, &mut symbols, record, out);
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

fn one_site(image: &Image, symbols: &mut Symbols, record: &Record, out: &mut Out) {
    let site = runtime::site_of(image, record);
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
    let mut symbols = Symbols::of(image);
    for record in runtime.records() {
        let why = record.refusal().explain();
        if why.is_empty() {
            continue;
        }
        let site = runtime::site_of(image, record);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_id_is_put_into_the_path() {
        let mut buffer = [0u8; 32];
        assert_eq!(expand_path(b"/tmp/%p.%x", 407, None, &mut buffer), Some(c"/tmp/407.%x"));
        assert_eq!(expand_path(b"a", 1, Some(b"libx.so"), &mut buffer), Some(c"a.libx.so"));
        assert_eq!(expand_path(b"/tmp/long", 1, None, &mut [0u8; 4]), None);
    }

    #[test]
    fn output_is_json() {
        let mut out = Out::new(-1);
        out.string(Some(b"a\"\\\n\xffz"))
            .text(" ")
            .address(0)
            .text(" ")
            .address(0xabc)
            .text(" ")
            .number(1200);
        assert_eq!(out.written(), "\"a\\\"\\\\\\u000a\u{fffd}z\" \"0x0\" \"0xabc\" 1200".as_bytes());
    }
}
