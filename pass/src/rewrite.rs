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
    let name = function.name();
    let places = record::place_stubs(sites.iter().map(|&(_, form)| form));
    let locations: Vec<(u32, Option<String>)> = sites.iter().map(|(call, _)| call.location()).collect();
    let mut strings = HashMap::new();
    let files: Vec<Option<Constant>> = locations
        .iter()
        .map(|(_, file)| {
            let file = file.as_ref()?;
            Some(*strings.entry(file.clone()).or_insert_with(|| module.add_string(file)))
        })
        .collect();

    let kernel = module.is_kernel();
    let section = |prefix: &str, kernel_section: &str| {
        if kernel { kernel_section.to_owned() } else { format!("{prefix}{name}") }
    };
    let cells = module.add_cells(
        function,
        &format!("{name}{CELL_SYMBOL_SUFFIX}"),
        &section(CELL_SECTION_PREFIX, KERNEL_CELL_SECTION),
        sites.len(),
    );
    let lines: Vec<u32> = locations.iter().map(|&(line, _)| line).collect();
    let has_file: Vec<bool> = files.iter().map(Option::is_some).collect();
    let mut operands = vec![cells];
    operands.extend(
        sites.iter().zip(&files).filter(|((_, form), _)| *form == Form::Stub).filter_map(|(_, file)| *file),
    );
    let rows = if kernel { Rows::Plain } else { Rows::Linked };
    let mut text = record::stubs(rows, &places, &lines, &has_file);
    let door_name = |index: usize, door: Door| {
        let kind = match door {
            Door::Compare => "site",
            Door::Cold => "cold",
            Door::Hot => "hot",
        };
        // To objtool, ".cold" in a symbol's name means a part of another function.
        if kernel {
            format!("{name}{STUB_SYMBOL_SUFFIX}.{}{index}", kind.replace("cold", "miss"))
        } else {
            // GNU as assigns no value to a symbol whose name must stand in quotes.
            let plain = |letter: char| letter.is_ascii_alphanumeric() || "._$".contains(letter);
            let name: String = name.chars().map(|letter| if plain(letter) { letter } else { '_' }).collect();
            format!("{name}.{kind}.{index}")
        }
    };
    if kernel {
        for (index, place) in places.iter().enumerate() {
            for (door, _, size) in place.doors() {
                text += &record::describe_function(&door_name(index, door), size);
            }
        }
    }
    let stubs = module.add_assembly(
        function,
        &format!("{name}{STUB_SYMBOL_SUFFIX}"),
        &section(STUB_SECTION_PREFIX, KERNEL_STUB_SECTION),
        &text,
        &operands,
    );

    // From the last call to the first: splitting a block moves what stands behind the call, which is little then.
    for (index, &(call, form)) in sites.iter().enumerate().rev() {
        let mut doors = places[index]
            .doors()
            .into_iter()
            .map(|(door, offset, _)| module.add_entry_point(stubs, offset, &door_name(index, door), kernel));
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
                let mut operands = vec![cell, module.offset(stubs, places[index].cold)];
                operands.extend(files[index]);
                let (hot_call, cold_call) = call.split_by_assembly(
                    &record::inline_site(rows, lines[index], files[index].is_some()),
                    record::inline_site_constraints(files[index].is_some()),
                    &operands,
                );
                hot_call.redirect(hot_entry);
                cold_call.redirect(cold_entry).mark_cold();
            }
        }
    }
}
