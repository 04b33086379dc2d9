//! Decodes all code, and classifies what branches indirectly.

use super::{aside, built::Built, frames, thunks};
use crate::elf::{Function, Image, Place, Section};
use iced_x86::{
    Decoder, DecoderOptions, FlowControl, Formatter, GasFormatter, Instruction, OpKind, Register,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{HashMap, HashSet},
    ops::Range,
};

/// What an indirect branch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// A direct call of, or jump to, a retpoline.
    #[serde(skip_deserializing)]
    Retpoline,
    /// An entry of the procedure linkage table.
    Plt,
    /// A call of, or jump to, a function whose address is in the global offset table.
    Got,
    /// An unprotected branch that may stay, for a reason.
    #[serde(skip_deserializing)]
    Exception,
    /// Bytes in a function that are no instruction which the decoder knows.
    Undecoded,
    /// Everything else.
    Raw,
}

impl Class {
    /// Whether it is an indirect branch that nothing protects, and nobody allowed, or may hide one.
    pub fn is_unprotected(self) -> bool {
        matches!(self, Self::Plt | Self::Got | Self::Undecoded | Self::Raw)
    }
}

/// One indirect branch, or what may hide one.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Where it is.
    pub place: Place,
    /// What it is.
    pub class: Class,
    /// The instruction, empty for retpolines and PLT entries.
    pub instruction: String,
    /// Why it may stay, for an exception.
    pub reason: Option<String>,
}

/// How often jumps are followed out of what was built here, and out of what they led to.
const ROUNDS: usize = 8;

/// All indirect branches, in order. What turns out to be a part of what was built here is added to that, and what is
/// none in spite of its name is taken out.
pub fn scan(image: &Image, built: &mut Built) -> Vec<Finding> {
    let (mut findings, mut branches) = decode(image, built);
    for _ in 1..ROUNDS {
        let mut found = built.add_parts(&frames::parts(image, &branches.left));
        branches.left.retain(|target| !built.lists(*target));
        found |= built.add_parts(&aside::pieces(image, &branches.left));
        if !found {
            break;
        }
        (findings, branches) = decode(image, built);
    }
    built.disown(branches.into_parts.iter().filter(|(_, from_here)| !**from_here).map(|(part, _)| *part));
    findings
}

/// Direct branches that leave a function.
#[derive(Default)]
struct Branches {
    /// Where jumps lead that leave what was built here.
    left: HashSet<Place>,
    /// Which parts of functions, by their names, jumps and calls lead into, and whether one from here does.
    into_parts: HashMap<Place, bool>,
}

/// All indirect branches, in order, and the direct ones that leave a function.
fn decode(image: &Image, built: &Built) -> (Vec<Finding>, Branches) {
    let mut scanner = Scanner {
        image,
        built,
        thunks: thunks::find(image),
        codes: (0..image.sections.len()).map(|section| Code::new(image, section)).collect(),
        paths: Vec::new(),
        is_code: true,
        range: 0..0,
        branches: Branches::default(),
        findings: Vec::new(),
    };
    for (index, section) in image.sections.iter().enumerate() {
        if section.executable {
            let boundaries = boundaries(image, built, index, section);
            let nothing_known = boundaries.len() == 2;
            for range in boundaries.windows(2) {
                let start = Place { section: index, offset: range[0] as u64 };
                scanner.is_code = nothing_known || built.lists(start) || image.functions.at(start).is_some();
                scanner.decode(index, range[0], range[1], Way::Sweep);
            }
        } else if section.beside_code {
            scanner.is_code = true;
            // Mostly data: only what is said to be a function, or is branched to, is decoded.
            for (start, end) in functions(image, built, index) {
                let way = if start == end { Way::Path } else { Way::Sweep };
                scanner.decode(index, start, if start == end { section.data.len() } else { end }, way);
            }
        }
    }
    scanner.is_code = true;
    scanner.follow();
    let mut findings = std::mem::take(&mut scanner.findings);
    findings.sort_by_key(|finding| finding.place);
    // Functions may overlap.
    findings.dedup_by_key(|finding| finding.place);
    (findings, scanner.branches)
}

/// Where decoding starts afresh: data between functions must not shift what follows it.
fn boundaries(image: &Image, built: &Built, index: usize, section: &Section) -> Vec<usize> {
    let end = section.data.len();
    let mut boundaries = vec![0, end];
    boundaries.extend(functions(image, built, index).flat_map(|range| [range.0, range.1]));
    boundaries.retain(|offset| *offset <= end);
    boundaries.sort_unstable();
    boundaries.dedup();
    boundaries
}

/// Start and end of each function that the symbols name, and, where they are gone, of those that were built here.
fn functions(image: &Image, built: &Built, section: usize) -> impl Iterator<Item = (usize, usize)> {
    let named = image
        .functions
        .in_section(section)
        .iter()
        .map(|function| (function.start, function.start.saturating_add(function.size)));
    named.chain(built.in_section(section).iter().copied()).map(|(start, end)| (start as usize, end as usize))
}

/// How to decode.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Everything, one after the other.
    Sweep,
    /// As the processor would, until it comes to what is decoded already.
    Path,
}

/// What is known of a section's code.
struct Code {
    relocations: HashMap<u64, object::Relocation>,
    /// Where instructions begin that were decoded.
    decoded: Bits,
    /// Where direct branches lead.
    targets: Bits,
}

impl Code {
    fn new(image: &Image, index: usize) -> Self {
        let section = &image.sections[index];
        if !section.executable && !section.beside_code {
            return Self { relocations: HashMap::new(), decoded: Bits::new(0), targets: Bits::new(0) };
        }
        let size = section.data.len();
        Self { relocations: image.relocations(index), decoded: Bits::new(size), targets: Bits::new(size) }
    }
}

/// A bit for each byte of a section.
struct Bits(Vec<u64>);

impl Bits {
    fn new(size: usize) -> Self {
        Self(vec![0; size.div_ceil(64)])
    }

    /// Sets one. Whether it was not set before.
    fn set(&mut self, offset: usize) -> bool {
        let Some(word) = self.0.get_mut(offset / 64) else { return false };
        let before = *word;
        *word |= 1 << (offset % 64);
        *word != before
    }

    /// Those that are set here and not in `other`.
    fn without<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = usize> + 'a {
        self.0.iter().zip(&other.0).enumerate().filter(|(_, (word, other))| **word & !**other != 0).flat_map(
            |(index, (word, other))| {
                let left = word & !other;
                (0..64).filter(move |bit| left >> bit & 1 != 0).map(move |bit| index * 64 + bit)
            },
        )
    }
}

struct Scanner<'a, 'data> {
    image: &'a Image<'data>,
    built: &'a Built,
    thunks: HashSet<Place>,
    codes: Vec<Code>,
    /// Where to decode along yet.
    paths: Vec<Place>,
    /// Whether what is decoded is in a function, or may be for all that is known.
    is_code: bool,
    /// What is decoded, in a sweep a function.
    range: Range<usize>,
    branches: Branches,
    findings: Vec<Finding>,
}

impl Scanner<'_, '_> {
    /// Decodes where branches lead that no instruction begins at so far: over data, or into another instruction.
    fn follow(&mut self) {
        for (section, code) in self.codes.iter().enumerate() {
            let targets = code.targets.without(&code.decoded);
            self.paths.extend(targets.map(|offset| Place { section, offset: offset as u64 }));
        }
        while let Some(place) = self.paths.pop() {
            let end = self.image.sections[place.section].data.len();
            self.decode(place.section, place.offset as usize, end, Way::Path);
        }
    }

    /// Decodes what begins between `start` and `end`. The last instruction may end behind it: a symbol can be anywhere.
    fn decode(&mut self, section: usize, start: usize, end: usize, way: Way) {
        self.range = start..end;
        let code = &self.image.sections[section];
        let base = code.address.wrapping_add(start as u64);
        let data = code.data.get(start..).unwrap_or_default();
        let mut decoder = Decoder::with_ip(self.image.bits, data, base, DecoderOptions::NONE);
        let mut instruction = Instruction::default();
        let mut undecoded = None;
        while start + decoder.position() < end && decoder.can_decode() {
            let offset = start + decoder.position();
            if !self.codes[section].decoded.set(offset) && way == Way::Path {
                return;
            }
            decoder.decode_out(&mut instruction);
            let place = Place { section, offset: offset as u64 };
            if instruction.is_invalid() {
                // One for all bytes in a row.
                if undecoded.replace(start + decoder.position()) != Some(offset) {
                    self.undecoded(place, &data[offset - start..decoder.position()]);
                }
            } else {
                self.classify(&decoder, &instruction, place, way);
            }
            if way == Way::Path && ends(&instruction) {
                return;
            }
        }
    }

    fn classify(&mut self, decoder: &Decoder, instruction: &Instruction, place: Place, way: Way) {
        let class = match instruction.flow_control() {
            FlowControl::IndirectBranch | FlowControl::IndirectCall => {
                self.indirect(decoder, instruction, place)
            }
            _ if is_direct(instruction) => {
                let Some(target) = self.target(instruction, place) else { return };
                if let Target::Place(target) = target
                    // What looks like a branch in data between functions leads nowhere.
                    && self.is_code
                {
                    self.reach(target, way);
                    if way == Way::Sweep {
                        self.leave(place, target, instruction.flow_control() == FlowControl::Call);
                    }
                }
                let is_thunk = match target {
                    Target::Place(target) => self.thunks.contains(&target),
                    Target::Thunk => true,
                };
                if !is_thunk {
                    return;
                }
                Class::Retpoline
            }
            _ => return,
        };
        let instruction = match class {
            Class::Plt | Class::Retpoline => String::new(),
            _ => format(instruction),
        };
        self.findings.push(Finding { place, class, instruction, reason: None });
    }

    /// Code that this decoder does not know could hide any branch. Between functions is data.
    fn undecoded(&mut self, place: Place, bytes: &[u8]) {
        let in_function = |function: &Function| place.offset - function.start < function.size;
        if self.built.lists(place) || self.image.functions.at(place).is_some_and(in_function) {
            let bytes: String = bytes.iter().map(|byte| format!(" {byte:02x}")).collect();
            let instruction = format!("undecoded{bytes}");
            self.findings.push(Finding { place, class: Class::Undecoded, instruction, reason: None });
        }
    }

    fn leave(&mut self, place: Place, target: Place, is_call: bool) {
        let stays = target.section == place.section && self.range.contains(&(target.offset as usize));
        let section = self.image.sections.get(target.section);
        let is_code = section.is_some_and(|section| section.executable && !is_plt(section));
        if stays || !is_code {
            return;
        }
        if let Some(part) = self.built.part(self.image, target) {
            let from_here = self.branches.into_parts.entry(part).or_default();
            *from_here |= self.built.holds(self.image, place);
        } else if !is_call && self.built.lists(place) && !self.built.lists(target) {
            self.branches.left.insert(target);
        }
    }

    fn reach(&mut self, target: Place, way: Way) {
        let Some(code) = self.codes.get_mut(target.section) else { return };
        if code.targets.set(target.offset as usize) && way == Way::Path {
            self.paths.push(target);
        }
    }

    fn indirect(&self, decoder: &Decoder, instruction: &Instruction, place: Place) -> Class {
        let in_plt = is_plt(&self.image.sections[place.section]);
        let through_memory = instruction.op0_kind() == OpKind::Memory;
        if through_memory && in_plt && self.is_plt_of_i386(instruction) {
            return Class::Plt;
        }
        if through_memory && self.is_got(decoder, instruction, place) {
            return if in_plt { Class::Plt } else { Class::Got };
        }
        Class::Raw
    }

    /// Whether the operand is a word of the global offset table.
    fn is_got(&self, decoder: &Decoder, instruction: &Instruction, place: Place) -> bool {
        if self.image.relocatable {
            let constant = decoder.get_constant_offsets(instruction);
            let field = place.offset + constant.displacement_offset() as u64;
            return constant.has_displacement()
                && self.codes[place.section].relocations.get(&field).is_some_and(|relocation| {
                    self.image
                        .target(relocation, self.bytes(place.section, field), 0)
                        .is_some_and(|target| target.through_got)
                });
        }
        let address = if instruction.is_ip_rel_memory_operand() {
            instruction.ip_rel_memory_address()
        } else if instruction.memory_base() == Register::None && instruction.memory_index() == Register::None
        {
            instruction.memory_displacement64()
        } else {
            return false;
        };
        self.is_in_got(address)
    }

    /// `jmp *offset(%ebx)`: position-independent code for i386 calls its PLT with the GOT's address in ebx.
    fn is_plt_of_i386(&self, instruction: &Instruction) -> bool {
        self.image.bits == 32
            && instruction.memory_base() == Register::EBX
            && instruction.memory_index() == Register::None
            && self.image.sections.iter().filter(|section| is_got(section)).any(|got| {
                let address = got.address as u32;
                self.is_in_got(u64::from(address.wrapping_add(instruction.memory_displacement32())))
            })
    }

    fn is_in_got(&self, address: u64) -> bool {
        self.image.place(address).is_some_and(|place| is_got(&self.image.sections[place.section]))
    }

    /// Where a direct branch leads. None: to another file.
    fn target(&self, instruction: &Instruction, place: Place) -> Option<Target> {
        let address = instruction.near_branch_target();
        if !self.image.relocatable {
            // Nearly all branches stay in their section; the look-up by address is for the few.
            return self.image.place_in(address, place.section).map(Target::Place);
        }
        let field = (place.offset + instruction.len() as u64).wrapping_sub(4);
        let Some(relocation) = self.codes[place.section].relocations.get(&field) else {
            return Some(Target::Place(Place { section: place.section, offset: address }));
        };
        let target = self.image.target(relocation, self.bytes(place.section, field), 4)?;
        match thunks::is_name(target.symbol.as_bytes()) {
            true => Some(Target::Thunk),
            false => target.place.map(Target::Place),
        }
    }

    fn bytes(&self, section: usize, offset: u64) -> &[u8] {
        self.image.sections[section].data.get(offset as usize..).unwrap_or_default()
    }
}

/// Where a direct branch leads.
#[derive(Clone, Copy)]
enum Target {
    Place(Place),
    /// A thunk, by its name.
    Thunk,
}

fn is_plt(section: &Section) -> bool {
    section.name.starts_with(".plt") || section.name.starts_with(".iplt")
}

fn is_got(section: &Section) -> bool {
    matches!(section.name.as_str(), ".got" | ".got.plt")
}

/// Whether it is a branch whose target is in the instruction.
pub fn is_direct(instruction: &Instruction) -> bool {
    matches!(instruction.op0_kind(), OpKind::NearBranch16 | OpKind::NearBranch32 | OpKind::NearBranch64)
}

/// Whether the processor does not go on behind it.
pub fn ends(instruction: &Instruction) -> bool {
    instruction.is_invalid()
        || matches!(
            instruction.flow_control(),
            FlowControl::UnconditionalBranch
                | FlowControl::IndirectBranch
                | FlowControl::Return
                | FlowControl::Exception
        )
}

fn format(instruction: &Instruction) -> String {
    let mut formatter = GasFormatter::new();
    formatter.options_mut().set_branch_leading_zeros(false);
    formatter.options_mut().set_uppercase_hex(false);
    let mut text = String::new();
    formatter.format(instruction, &mut text);
    text
}
