//! Turns the chosen calls of one function into relpolines.

use crate::llvm::{Call, Constant, Function, Module};
use crate::record::{self, Door, Rows};
use relpoline_layout::{
    CELL_SECTION_PREFIX, CELL_SYMBOL_SUFFIX, Cell, Form, KERNEL_CELL_SECTION, KERNEL_STUB_SECTION,
    STUB_SECTION_PREFIX, STUB_SYMBOL_SUFFIX,
};
use std::collections::HashMap;

/// Converts `sites`, all of them calls of `function`.
pub fn convert(module: &Module, function: &Function, sites: &[(Call, Form)]) {
    if sites.is_empty() {
        return;
    }
    if function.has_xray() {
        // XRay's code in front of a tail call uses r10, where the target is. Those that are known for one are no sites.
        sites.iter().for_each(|(call, _)| call.forbid_tail_call());
    }
    let (lines, files) = locations(module, sites);
    let stubs = record::lay_out(
        sites.iter().zip(&lines).zip(&files).map(|((&(_, form), &line), file)| (form, line, file.is_some())),
    );
    let names = Names { function: function.name(), kernel: module.is_kernel() };
    let rows = if names.kernel { Rows::Plain } else { Rows::Linked };
    let cells = module.add_cells(function, &names.cells(), &names.cell_section(), sites.len());

    let mut text = record::block(rows, &stubs);
    if names.kernel {
        for (index, stub) in stubs.iter().enumerate() {
            for (door, _, size) in stub.doors() {
                text += &record::describe_function(&names.door(index, door), size);
            }
        }
    }
    let files_of_block = stubs.iter().zip(&files).filter(|(stub, _)| stub.form == Form::Stub);
    let operands: Vec<Constant> =
        std::iter::once(cells).chain(files_of_block.filter_map(|(_, &file)| file)).collect();
    let block = module.add_assembly(function, &names.block(), &names.block_section(), &text, &operands);

    // From the last call to the first: splitting a block moves what stands behind the call, which is little then.
    for (index, &(call, form)) in sites.iter().enumerate().rev() {
        let stub = &stubs[index];
        let mut doors = stub.doors().into_iter().map(|(door, offset, _)| {
            module.add_entry_point(block, offset, &names.door(index, door), names.kernel)
        });
        let mut next_door = || doors.next().expect("one for the stub form, two for the inline form");
        match form {
            Form::Stub => {
                call.remark_passed("StubForm", "indirect call converted to a relpoline (stub form)");
                call.redirect(next_door());
            }
            Form::Inline => {
                call.remark_passed("InlineForm", "indirect call converted to a relpoline (inline form)");
                let (cold_entry, hot_entry) = (next_door(), next_door());
                // Not by the entry point's name: where the linker of LTO splits the module, it may lose sight of that.
                let cell = module.offset(cells, index * size_of::<Cell>());
                let mut operands = vec![cell, module.offset(block, stub.cold)];
                operands.extend(files[index]);
                let (text, constraints) = record::inline_site(rows, stub);
                let (hot_call, cold_call) = call.split_by_assembly(&text, constraints, &operands);
                hot_call.redirect(hot_entry);
                cold_call.redirect(cold_entry).mark_cold();
            }
        }
    }
}

/// Where the sites are in the source: lines, and constants of the files' names.
fn locations(module: &Module, sites: &[(Call, Form)]) -> (Vec<u32>, Vec<Option<Constant>>) {
    let mut strings = HashMap::new();
    let mut string = |file: String| *strings.entry(file).or_insert_with_key(|file| module.add_string(file));
    sites
        .iter()
        .map(|(call, _)| {
            let (line, file) = call.location();
            (line, file.map(&mut string))
        })
        .unzip()
}

/// Names of what one function's sites need.
struct Names {
    function: String,
    kernel: bool,
}

impl Names {
    fn cells(&self) -> String {
        format!("{}{CELL_SYMBOL_SUFFIX}", self.function)
    }

    fn cell_section(&self) -> String {
        self.section(CELL_SECTION_PREFIX, KERNEL_CELL_SECTION)
    }

    fn block(&self) -> String {
        format!("{}{STUB_SYMBOL_SUFFIX}", self.function)
    }

    fn block_section(&self) -> String {
        self.section(STUB_SECTION_PREFIX, KERNEL_STUB_SECTION)
    }

    fn section(&self, prefix: &str, of_kernel: &str) -> String {
        if self.kernel { of_kernel.to_owned() } else { format!("{prefix}{}", self.function) }
    }

    /// Name of the place where the stub of site `index` is entered.
    fn door(&self, index: usize, door: Door) -> String {
        let kind = match door {
            Door::Compare => "site",
            // To objtool, ".cold" in a symbol's name means a part of another function.
            Door::Cold if self.kernel => "miss",
            Door::Cold => "cold",
            Door::Hot => "hot",
        };
        if self.kernel {
            return format!("{}.{kind}{index}", self.block());
        }
        // GNU as assigns no value to a symbol whose name must stand in quotes.
        let plain = |letter: char| letter.is_ascii_alphanumeric() || "._$".contains(letter);
        let name = self.function.replace(|letter| !plain(letter), "_");
        format!("{name}.{kind}.{index}")
    }
}
