//! The functions of a file, from its symbols.

use super::{Place, Section};
use object::{Object as _, ObjectSymbol, SymbolKind};
use std::borrow::Cow;

/// A function, or a label that code starts at.
#[derive(Clone, Debug)]
pub struct Function<'data> {
    /// From the start of its section.
    pub start: u64,
    /// Size, 0 where the symbol has none.
    pub size: u64,
    name: &'data [u8],
    rank: u8,
}

impl<'data> Function<'data> {
    /// The symbol's name.
    pub fn name(&self) -> Cow<'data, str> {
        String::from_utf8_lossy(self.name)
    }

    /// The symbol's name, as it is in the file.
    pub fn raw_name(&self) -> &'data [u8] {
        self.name
    }

    /// Whether it is a label of an assembler's that nobody outside of its file sees, and no function for all that is
    /// known.
    pub fn is_local_label(&self) -> bool {
        self.rank == 0 && self.size == 0
    }
}

/// All functions: for each section, in the order of their starts, one for each start.
pub struct Functions<'data>(Vec<Vec<Function<'data>>>);

impl<'data> Functions<'data> {
    pub(super) fn of(file: &object::File<'data>, sections: &[Section]) -> Self {
        let mut functions: Vec<Vec<Function>> = vec![Vec::new(); sections.len()];
        for symbol in file.symbols().chain(file.dynamic_symbols()) {
            let Some(index) = symbol.section_index().map(|index| index.0) else { continue };
            let Some(section) = sections.get(index) else { continue };
            let Some(rank) = rank(&symbol) else { continue };
            // Among data a label is no code.
            let is_function = symbol.kind() == SymbolKind::Text;
            if !(section.executable || section.beside_code && is_function) {
                continue;
            }
            let Ok(name) = symbol.name_bytes() else { continue };
            let start = symbol.address().wrapping_sub(section.address);
            if start < section.size && !name.is_empty() {
                functions[index].push(Function { start, size: symbol.size(), name, rank });
            }
        }
        for list in &mut functions {
            list.sort_by(|a, b| (a.start, b.rank, b.size, a.name).cmp(&(b.start, a.rank, a.size, b.name)));
            list.dedup_by_key(|function| function.start);
        }
        Self(functions)
    }

    /// Those of a section.
    pub fn in_section(&self, section: usize) -> &[Function<'data>] {
        self.0.get(section).map_or(&[], Vec::as_slice)
    }

    /// All, with their sections.
    pub fn all(&self) -> impl Iterator<Item = (usize, &Function<'data>)> {
        self.0
            .iter()
            .enumerate()
            .flat_map(|(section, list)| list.iter().map(move |function| (section, function)))
    }

    /// The function that holds `place`. One without a size ends where the next one starts.
    pub fn at(&self, place: Place) -> Option<&Function<'data>> {
        let list = self.in_section(place.section);
        let next = list.partition_point(|function| function.start <= place.offset);
        // A label inside of a function does not end it.
        let mut nearest = list[..next].iter().rev();
        let first = nearest.next()?;
        let holds = |function: &Function| place.offset - function.start < function.size;
        if holds(first) {
            return Some(first);
        }
        nearest.take(16).find(|function| holds(function)).or((first.size == 0).then_some(first))
    }
}

/// Of several names of one place, the most telling one: functions before labels, global before local.
fn rank(symbol: &object::Symbol) -> Option<u8> {
    let kind = match symbol.kind() {
        SymbolKind::Text => 4,
        SymbolKind::Label | SymbolKind::Unknown => 0,
        _ => return None,
    };
    let scope = match (symbol.is_global(), symbol.is_weak()) {
        (true, false) => 2,
        (true, true) => 1,
        _ => 0,
    };
    Some(kind + scope)
}
