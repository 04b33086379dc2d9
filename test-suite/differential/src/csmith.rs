//! Programs by csmith, changed so that they call through pointers, and each site often enough to be patched.
//!
//! csmith makes direct calls only, and runs everything once. Here every call of its functions, and of its checked
//! arithmetic, goes through a pointer in memory; the arithmetic is there twice, so that sites have two targets. The
//! program runs many times over, each time with the globals that it began with.

use anyhow::{Context, Result, ensure};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;
use std::process::Command;

/// How often a program runs its work: first with one target for each call, then with the other.
const ROUNDS: usize = 200;

/// A program must have this many functions to be worth its while.
const FUNCTIONS: usize = 4;

/// The program of this seed, or nothing if it has hardly any calls.
pub fn generate(csmith: &str, dir: &Path, seed: u64) -> Result<Option<String>> {
    // In `dir`: csmith leaves a file where it is.
    let output = Command::new(csmith)
        .current_dir(dir)
        .args(["--seed", &seed.to_string(), "--float"])
        .args(["--max-funcs", "8", "--max-block-depth", "4", "--max-block-size", "3"])
        .output()
        .with_context(|| format!("cannot run {csmith}; it comes with Debian's package csmith"))?;
    ensure!(output.status.success(), "csmith --seed {seed}: {}", output.status);
    Ok(through_pointers(&String::from_utf8(output.stdout)?))
}

fn through_pointers(program: &str) -> Option<String> {
    let (before, rest) = program.split_once("/* --- GLOBAL VARIABLES --- */")?;
    let (globals, rest) = rest.split_once("/* --- FORWARD DECLARATIONS --- */")?;
    let (declarations, code) = rest.split_once("/* --- FUNCTIONS --- */")?;
    let functions: BTreeSet<&str> =
        declarations.lines().filter_map(|line| names(line, "func_").next()).collect();
    if functions.len() < FUNCTIONS {
        return None;
    }
    let arithmetic: BTreeSet<&str> = names(code, "safe_").collect();

    let mut text = before.replace("#include \"csmith.h\"", include_str!("csmith.h"));
    // Visible to the linker, so that the compiler must expect them to change behind its back.
    text.push_str("#pragma clang section bss=\"globals_bss\" data=\"globals_data\"\n");
    for line in globals.lines() {
        writeln!(text, "{}", line.strip_prefix("static ").unwrap_or(line)).ok()?;
    }
    text.push_str("#pragma clang section bss=\"\" data=\"\"\n");
    text.push_str(declarations);
    for name in &functions {
        writeln!(text, "__typeof__({name}) *volatile {name}_pointer = {name};").ok()?;
    }
    for name in &arithmetic {
        writeln!(text, "__typeof__({name}) *volatile {name}_pointers[2] = {{{name}, twin_{name}}};").ok()?;
    }
    for line in code.lines() {
        match line.trim() {
            "func_1();" => {
                writeln!(text, "    for (int round = 0; round < {ROUNDS}; round++) {{").ok()?;
                writeln!(text, "    begin_round(round, round >= {ROUNDS} / 2);\n    func_1_pointer();")
                    .ok()?;
            }
            end if end.starts_with("platform_main_end") => writeln!(text, "    }}\n{line}").ok()?,
            _ if line.starts_with("static ") => writeln!(text, "{line}").ok()?,
            _ => text.push_str(&redirect(line)),
        }
    }
    Some(text)
}

/// The names in `text` that begin with `prefix` and are called.
fn names<'a>(text: &'a str, prefix: &str) -> impl Iterator<Item = &'a str> {
    text.match_indices(prefix).filter_map(move |(at, _)| {
        let rest = &text[at..];
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_')?;
        rest[end..].starts_with('(').then_some(&rest[..end])
    })
}

/// The line with its calls going through pointers.
fn redirect(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some(at) = [rest.find("func_"), rest.find("safe_")].into_iter().flatten().min() {
        let end =
            rest[at..].find(|c: char| !c.is_ascii_alphanumeric() && c != '_').map_or(rest.len(), |n| at + n);
        out.push_str(&rest[..end]);
        if rest[end..].starts_with('(') {
            out.push_str(if rest[at..].starts_with("func_") { "_pointer" } else { "_pointers[turn]" });
        }
        rest = &rest[end..];
    }
    out + rest + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_go_through_pointers_and_nothing_else_does() {
        let line = "l_2 = safe_add_func_int8_t_s_s(func_3(p_1), (func_4 (g_5), func_66));";
        let expected =
            "l_2 = safe_add_func_int8_t_s_s_pointers[turn](func_3_pointer(p_1), (func_4 (g_5), func_66));\n";
        assert_eq!(redirect(line), expected);
    }
}
