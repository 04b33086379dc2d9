//! Decodes all code, and classifies what branches indirectly.

use super::thunks;
use crate::elf::{Image, Place, Section};
use iced_x86::{
    Decoder, DecoderOptions, FlowControl, Formatter, GasFormatter, Instruction, OpKind, Register,
};
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};

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
    /// Everything else.
    Raw,
}

impl Class {
    /// Whether it is an indirect branch that nothing protects, and nobody allowed.
    pub fn is_unprotected(self) -> bool {
        matches!(self, Self::Plt | Self::Got | Self::Raw)
    }
}

/// One indirect branch.
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

/// All indirect branches, in order.
pub fn scan(image: &Image) -> Vec<Finding> {
    let thunks = thunks::find(image);
    let mut findings = Vec::new();
    for (index, section) in image.sections.iter().enumerate().filter(|(_, section)| section.executable) {
        let mut scanner = Scanner {
            image,
            thunks: &thunks,
            section: index,
            relocations: image.relocations(index),
            findings: &mut findings,
        };
        let boundaries = boundaries(image, index, section);
        for range in boundaries.windows(2) {
            scanner.range(range[0], range[1]);
        }
    }
    findings
}

/// Where decoding starts afresh: data between functions must not shift what follows it.
fn boundaries(image: &Image, index: usize, section: &Section) -> Vec<usize> {
    let end = section.data.len();
    let mut boundaries = vec![0, end];
    for function in image.functions.in_section(index) {
        boundaries.push(function.start as usize);
        boundaries.push(function.start.saturating_add(function.size) as usize);
    }
    boundaries.retain(|offset| *offset <= end);
    boundaries.sort_unstable();
    boundaries.dedup();
    boundaries
}

struct Scanner<'a, 'data> {
    image: &'a Image<'data>,
    thunks: &'a HashSet<Place>,
    section: usize,
    relocations: HashMap<u64, object::Relocation>,
    findings: &'a mut Vec<Finding>,
}

impl Scanner<'_, '_> {
    fn range(&mut self, start: usize, end: usize) {
        let section = &self.image.sections[self.section];
        let data = &section.data[start..end];
        let base = section.address.wrapping_add(start as u64);
        let mut decoder = Decoder::with_ip(self.image.bits, data, base, DecoderOptions::NONE);
        let mut instruction = Instruction::default();
        while decoder.can_decode() {
            let offset = (start + decoder.position()) as u64;
            decoder.decode_out(&mut instruction);
            let class = match instruction.flow_control() {
                FlowControl::IndirectBranch | FlowControl::IndirectCall => {
                    Some(self.indirect(&decoder, &instruction, offset))
                }
                FlowControl::Call | FlowControl::UnconditionalBranch | FlowControl::ConditionalBranch => {
                    self.is_thunk(&instruction, offset).then_some(Class::Retpoline)
                }
                _ => None,
            };
            if let Some(class) = class {
                let place = Place { section: self.section, offset };
                let instruction = match class {
                    Class::Got | Class::Exception | Class::Raw => format(&instruction),
                    Class::Plt | Class::Retpoline => String::new(),
                };
                self.findings.push(Finding { place, class, instruction, reason: None });
            }
        }
    }

    fn indirect(&self, decoder: &Decoder, instruction: &Instruction, offset: u64) -> Class {
        let section = &self.image.sections[self.section].name;
        if section.starts_with(".plt") || section.starts_with(".iplt") {
            return Class::Plt;
        }
        if instruction.op0_kind() == OpKind::Memory && self.is_got(decoder, instruction, offset) {
            return Class::Got;
        }
        Class::Raw
    }

    /// Whether the operand is a word of the global offset table.
    fn is_got(&self, decoder: &Decoder, instruction: &Instruction, offset: u64) -> bool {
        if self.image.relocatable {
            let constant = decoder.get_constant_offsets(instruction);
            let field = offset + constant.displacement_offset() as u64;
            return constant.has_displacement()
                && self.relocations.get(&field).is_some_and(|relocation| {
                    self.image
                        .target(relocation, self.bytes(field), 0)
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
        let place = self.image.place(address);
        place.is_some_and(|place| {
            matches!(self.image.sections[place.section].name.as_str(), ".got" | ".got.plt")
        })
    }

    fn is_thunk(&self, instruction: &Instruction, offset: u64) -> bool {
        // A thunk's own branches are part of it.
        if instruction.op0_kind() == OpKind::FarBranch16 || instruction.op0_kind() == OpKind::FarBranch32 {
            return false;
        }
        let place = if self.image.relocatable {
            let field = (offset + instruction.len() as u64).wrapping_sub(4);
            match self.relocations.get(&field) {
                Some(relocation) => match self.image.target(relocation, self.bytes(field), 4) {
                    Some(target) if thunks::is_name(target.symbol.as_bytes()) => return true,
                    Some(target) => target.place,
                    None => None,
                },
                None => Some(Place { section: self.section, offset: instruction.near_branch_target() }),
            }
        } else {
            // Nearly all branches go elsewhere; the look-up by address is for the few.
            self.image.place_in(instruction.near_branch_target(), self.section)
        };
        place.is_some_and(|place| self.thunks.contains(&place))
    }

    fn bytes(&self, offset: u64) -> &[u8] {
        self.image.sections[self.section].data.get(offset as usize..).unwrap_or_default()
    }
}

fn format(instruction: &Instruction) -> String {
    let mut formatter = GasFormatter::new();
    formatter.options_mut().set_branch_leading_zeros(false);
    formatter.options_mut().set_uppercase_hex(false);
    let mut text = String::new();
    formatter.format(instruction, &mut text);
    text
}
