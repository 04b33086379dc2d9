//! Starting with what an earlier run has learned, and saving it for the next one.

extern crate alloc;

use super::files;
use super::members::{self, OWN};
use super::symbols::Symbols;
use super::sys::{self, Mapping};
use crate::layout::record::WAYS;
use crate::output::Out;
use crate::profile::{self, Line, Writer};
use crate::record::Record;
use crate::runtime::{Known, Runtime};
use crate::site::{Image, Site};
use alloc::vec::Vec;
use core::ffi::CStr;
use core::ops::ControlFlow;
use core::sync::atomic::Ordering;
use hashbrown::HashTable;

/// Why nothing came of a profile.
#[derive(Clone, Copy, Debug)]
pub enum Failure {
    /// The system said no, by this error number.
    System(i32),
    /// The file is not a profile.
    Format(profile::Error),
    /// It names sites of this object, and none of them is here.
    Stale,
}

impl From<i32> for Failure {
    fn from(error: i32) -> Self {
        Self::System(error)
    }
}

/// Promotes the sites of `runtime` that the profile at `path` knows. A file that does not exist knows none.
///
/// # Errors
/// Why nothing was promoted.
pub fn start(runtime: &Runtime, image: &Image, path: &CStr) -> Result<(), Failure> {
    let text = match sys::read_file(path) {
        Err(libc::ENOENT) => return Ok(()),
        text => text?,
    };
    let lines = profile::read(&text).map_err(Failure::Format)?;
    let symbols = Symbols::of(image);
    let Some(object) = symbols.object_name() else { return Ok(()) };
    let known = resolve(lines.clone(), object, image, &symbols).ok_or(libc::ENOMEM)?;
    let named = of_object(lines, object).any(|line| matches!(line, Line::Site { .. }));
    if named && known.is_empty() {
        return Err(Failure::Stale);
    }
    runtime.begin_with(known.iter().copied());
    Ok(())
}

/// The lines about one object.
fn of_object<'a>(
    lines: impl Iterator<Item = Line<'a>> + Clone,
    object: &[u8],
) -> impl Iterator<Item = Line<'a>> + Clone {
    let mut inside = false;
    lines.filter(move |line| {
        if let Line::Object(name) = line {
            inside = *name == object;
        }
        inside
    })
}

/// The sites that a profile names and the image has, with those of their targets that it has. `None` without memory.
fn resolve<'a>(
    lines: impl Iterator<Item = Line<'a>> + Clone,
    object: &[u8],
    image: &Image,
    symbols: &Symbols,
) -> Option<Vec<Known>> {
    let lines = of_object(lines, object);
    let mut names = Names::default();
    for line in lines.clone() {
        match line {
            Line::Object(_) => {}
            Line::Site { function, .. } | Line::Target { function, .. } => {
                names.entry(function)?;
            }
        }
    }
    for (name, address, size) in symbols.functions() {
        if let Some(named) = names.find(name) {
            // Of two functions with one name, neither is a target: which one was meant is not known.
            named.place =
                if named.place == Place::Unknown { Place::At(address, size) } else { Place::Several };
        }
    }
    // Which rows of the table are the sites of a function, in their order.
    let caller = |site: &Site| symbols.caller(site);
    for site in image.sites() {
        if let Some(named) = caller(&site).and_then(|name| names.find(name)) {
            named.sites += 1;
        }
    }
    let mut wanted = Wanted::default();
    let mut last = None;
    for line in lines {
        match line {
            Line::Object(_) => last = None,
            Line::Site { function, number, of } => {
                let matches = names.find(function).is_some_and(|named| named.sites == of);
                last = if matches { Some(wanted.add(function, number)?) } else { None };
            }
            Line::Target { function, offset } => {
                let Some(place) = last.and_then(|site| wanted.sites.get_mut(site)) else { continue };
                if let Some(Place::At(address, size)) = names.find(function).map(|named| named.place)
                    && offset < size.max(1)
                    && let Some(free) = place.targets.iter_mut().find(|target| **target == 0)
                {
                    *free = address as u64 + offset;
                }
            }
        }
    }
    let mut known = Vec::new();
    known.try_reserve_exact(wanted.sites.len()).ok()?;
    for site in image.sites() {
        let Some(named) = caller(&site).and_then(|name| names.find(name)) else { continue };
        let number = named.passed;
        named.passed += 1;
        // A target may be named twice, and a site too: the first counts.
        if let Some(found) = wanted.find(named.name, number).filter(|found| found.targets[0] != 0) {
            let targets = core::mem::take(&mut found.targets);
            known.push(Known { site, targets });
        }
    }
    Some(known)
}

/// What is known of the functions that a profile names.
#[derive(Default)]
struct Names<'a>(HashTable<Named<'a>>);

struct Named<'a> {
    name: &'a [u8],
    place: Place,
    /// Sites in functions of this name, and those that have been passed so far.
    sites: u64,
    passed: u64,
}

#[derive(Clone, Copy, PartialEq)]
enum Place {
    Unknown,
    /// Address and size.
    At(usize, u64),
    Several,
}

impl<'a> Names<'a> {
    fn find(&mut self, name: &[u8]) -> Option<&mut Named<'a>> {
        self.0.find_mut(hash(name), |named| same(named.name, name))
    }

    /// Finds or adds a name. `None` without memory.
    fn entry(&mut self, name: &'a [u8]) -> Option<&mut Named<'a>> {
        self.0.try_reserve(1, |named| hash(named.name)).ok()?;
        let entry = self.0.entry(hash(name), |named| same(named.name, name), |named| hash(named.name));
        Some(entry.or_insert(Named { name, place: Place::Unknown, sites: 0, passed: 0 }).into_mut())
    }
}

/// Sites that a profile names, by function and number.
#[derive(Default)]
struct Wanted<'a> {
    sites: Vec<WantedSite<'a>>,
    index: HashTable<usize>,
}

struct WantedSite<'a> {
    function: &'a [u8],
    number: u64,
    targets: [u64; WAYS],
}

impl<'a> Wanted<'a> {
    /// Adds a site, and returns its place. `None` without memory.
    fn add(&mut self, function: &'a [u8], number: u64) -> Option<usize> {
        let Self { sites, index } = self;
        let place = sites.len();
        if sites.len() == sites.capacity() {
            sites.try_reserve(sites.len().max(64)).ok()?;
        }
        let hash_of = |&place: &usize| site_hash(sites[place].function, sites[place].number);
        index.try_reserve(1, hash_of).ok()?;
        index.insert_unique(site_hash(function, number), place, hash_of);
        sites.push(WantedSite { function, number, targets: [0; WAYS] });
        Some(place)
    }

    fn find(&mut self, function: &[u8], number: u64) -> Option<&mut WantedSite<'a>> {
        let is = |site: &WantedSite| site.number == number && same(site.function, function);
        let place = *self.index.find(site_hash(function, number), |&place| is(&self.sites[place]))?;
        self.sites.get_mut(place)
    }
}

/// Whether two names are the same. Not inlined: in a loop the compiler would keep the comparison's address in a
/// register, and call it indirectly.
#[inline(never)]
fn same(left: &[u8], right: &[u8]) -> bool {
    left == right
}

/// FNV-1a, mixed: the table looks at both ends of the hash.
fn hash(name: &[u8]) -> u64 {
    site_hash(name, 0)
}

fn site_hash(name: &[u8], number: u64) -> u64 {
    let mixed = (profile::checksum(name) ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ mixed >> 32
}

/// Saves what this runtime, or `all` of the process, have learned to the profile at `path`, which keeps what it
/// holds of other objects.
///
/// # Errors
/// The error number of the system; `ELOOP` when what is there is a link, `EEXIST` when it is no profile: a device, or
/// another file.
pub fn save(path: &CStr, all: bool) -> Result<(), i32> {
    // The new file takes the place of what is there.
    let (old, rights) = match sys::kind_and_rights(path) {
        Err(libc::ENOENT) => (Mapping::default(), None),
        Err(error) => return Err(error),
        Ok((libc::S_IFREG, rights)) => (sys::read_file(path)?, Some(rights)),
        Ok((libc::S_IFLNK, _)) => return Err(libc::ELOOP),
        Ok(_) => return Err(libc::EEXIST),
    };
    if !profile::may_be_replaced(&old) {
        return Err(libc::EEXIST);
    }
    files::replace(path, rights, |fd| write(fd, &old, all))
}

fn write(fd: i32, old: &[u8], all: bool) -> Result<(), i32> {
    let mut out = Out::new(fd);
    let mut writer = Writer::new(&mut out);
    let mut names: Vec<u64> = Vec::new();
    let mut result = Ok(());
    let mut add = |runtime: &Runtime| {
        let Some(image) = runtime.image() else { return ControlFlow::Continue(()) };
        let symbols = Symbols::of(image);
        let Some(name) = symbols.object_name() else { return ControlFlow::Continue(()) };
        // Nothing can be said of it now; what was said before may hold.
        if symbols.functions().next().is_none() {
            return ControlFlow::Continue(());
        }
        let written = names.try_reserve(1).ok().and_then(|()| learned(&mut writer, name, image, &symbols));
        match written {
            Some(true) => names.push(hash(name)),
            // Where the system refuses to patch, what was learned before it did is all that there is.
            Some(false) => {}
            None => {
                result = Err(libc::ENOMEM);
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    };
    if all {
        members::each(|member| add(member));
    } else {
        let _ = add(&OWN);
    }
    if let Ok(lines) = profile::read(old) {
        let mut keep = false;
        for line in lines {
            if let Line::Object(name) = line {
                keep = !names.contains(&hash(name));
            }
            if keep {
                writer.line(line);
            }
        }
    }
    writer.end();
    out.finish().and(result)
}

/// Writes what the sites of an image have learned. Returns whether they have learned anything, `None` without memory.
fn learned(writer: &mut Writer, object: &[u8], image: &Image, symbols: &Symbols) -> Option<bool> {
    let mut names = Names::default();
    for site in image.sites() {
        if let Some(name) = symbols.caller(&site) {
            names.entry(name)?.sites += 1;
        }
    }
    let mut is_begun = false;
    for site in image.sites() {
        let Some(named) = symbols.caller(&site).and_then(|name| names.find(name)) else { continue };
        let (function, number, of) = (named.name, named.passed, named.sites);
        named.passed += 1;
        let Some(record) = record_of(image, &site) else { continue };
        let mut targets =
            hottest_first(record).map(|target| symbols.locate(target as usize)).into_iter().flatten();
        let Some(first) = targets.next() else { continue };
        if !is_begun && !writer.line(Line::Object(object)) {
            break;
        }
        is_begun = true;
        if !writer.line(Line::Site { function, number, of }) {
            continue;
        }
        for (target, offset) in core::iter::once(first).chain(targets) {
            writer.line(Line::Target { function: target, offset });
        }
    }
    Some(is_begun)
}

fn record_of(image: &Image, site: &Site) -> Option<&'static Record> {
    let gate = site.cell_in(image)?.gate.load(Ordering::Relaxed);
    // SAFETY: it was read from a cell of the image.
    unsafe { Record::of_gate(gate) }
}

/// The targets that a site has open branches to, 0 behind the last: the inline one, then by their calls so far.
fn hottest_first(record: &Record) -> [u64; WAYS] {
    let placed = record.placed.load(Ordering::Relaxed);
    let inline = record.inline.load(Ordering::Relaxed);
    let mut targets: [(u64, u64); WAYS] = core::array::from_fn(|way| {
        let target = record.targets[way].load(Ordering::Relaxed);
        let calls = record.totals[way].load(Ordering::Relaxed).saturating_add(1);
        match placed >> way & 1 {
            0 => (0, 0),
            _ if target == inline => (u64::MAX, target),
            _ => (calls, target),
        }
    });
    targets.sort_unstable_by(|one, other| other.cmp(one));
    targets.map(|(_, target)| target)
}
