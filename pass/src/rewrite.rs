//! Turns the chosen calls of one function into relpolines.

use crate::llvm::{Call, Constant, Function, Module};
use crate::record;
use relpoline_layout::{
    CELL_SECTION_PREFIX, CELL_SYMBOL_SUFFIX, Cell, Form, STUB_COMPARE_SIZE, STUB_HOT, STUB_SECTION_PREFIX,
    STUB_SYMBOL_SUFFIX,
};
use std::collections::HashMap;

/// Converts `sites`, all of them calls of `function`.
pub fn convert(module: &Module, function: &Function, sites: &[(Call, Form)]) {
    if sites.is_empty() {
        return;
    }
    if function.has_attribute("function-instrument") || function.has_attribute("xray-instruction-threshold") {
        // XRay's code in front of a tail call uses r10, where the target is.
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

    let cells = module.add_cells(
        function,
        &format!("{name}{CELL_SYMBOL_SUFFIX}"),
        &format!("{CELL_SECTION_PREFIX}{name}"),
        sites.len(),
    );
    let lines: Vec<u32> = locations.iter().map(|&(line, _)| line).collect();
    let has_file: Vec<bool> = files.iter().map(Option::is_some).collect();
    let mut operands = vec![cells];
    operands.extend(
        sites.iter().zip(&files).filter(|((_, form), _)| *form == Form::Stub).filter_map(|(_, file)| *file),
    );
    let stubs = module.add_assembly(
        function,
        &format!("{name}{STUB_SYMBOL_SUFFIX}"),
        &format!("{STUB_SECTION_PREFIX}{name}"),
        &record::stubs(&places, &lines, &has_file),
        &operands,
    );

    for (index, &(call, form)) in sites.iter().enumerate() {
        let cold = places[index].cold;
        match form {
            Form::Stub => {
                call.remark_passed("StubForm", "indirect call converted to a relpoline (stub form)");
                let entry =
                    module.add_entry_point(stubs, cold - STUB_COMPARE_SIZE, &format!("{name}.site.{index}"));
                call.redirect(entry);
            }
            Form::Inline => {
                call.remark_passed("InlineForm", "indirect call converted to a relpoline (inline form)");
                let hot_entry =
                    module.add_entry_point(stubs, cold + STUB_HOT, &format!("{name}.hot.{index}"));
                let cold_entry = module.add_entry_point(stubs, cold, &format!("{name}.cold.{index}"));
                let mut operands = vec![module.offset(cells, index * size_of::<Cell>()), cold_entry];
                operands.extend(files[index]);
                let (hot_call, cold_call) = call.split_by_assembly(
                    &record::inline_site(lines[index], files[index].is_some()),
                    record::inline_site_constraints(files[index].is_some()),
                    &operands,
                );
                hot_call.redirect(hot_entry);
                cold_call.redirect(cold_entry).mark_cold();
            }
        }
    }
}
