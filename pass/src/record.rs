//! The assembly that the pass emits, written from the constants of `relpoline_layout`.

use relpoline_layout::{
    COMPARE_TAIL, Entry, Form, GATE_TEST, HOT_JUMP, JE, JMP, SECTION, SLOW_PATH, STUB_COMPARE_SIZE, STUB_HOT,
    STUB_LEAD, STUB_SIZE,
};
use std::fmt::Write;

/// A site's place in its function's block of stubs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StubPlace {
    /// Form of the site.
    pub form: Form,
    /// Offset of `stub.cold` from the start of the block.
    pub cold: usize,
}

/// Where the stubs of sites of these forms lie, one behind the other.
pub fn place_stubs(forms: impl IntoIterator<Item = Form>) -> Vec<StubPlace> {
    let mut end = STUB_LEAD.len();
    forms
        .into_iter()
        .map(|form| {
            let (before, behind) = match form {
                Form::Inline => (0, HOT_JUMP.len()),
                Form::Stub => (STUB_COMPARE_SIZE, 0),
            };
            let cold = end + before;
            end = cold + STUB_SIZE + behind;
            StubPlace { form, cold }
        })
        .collect()
}

/// How the rows of the table are tied to the code that they describe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// By the section's link order, so that linkers drop them with it.
    Linked,
    /// Not at all: the kernel's linker scripts gather them.
    Plain,
}

/// Where a stub can be entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// The compare of the stub form.
    Compare,
    /// `stub.cold`
    Cold,
    /// `stub.hot`
    Hot,
}

impl StubPlace {
    /// Where the stub can be entered: the place, its offset in the block, and the bytes up to the next one.
    pub fn doors(&self) -> Vec<(Door, usize, usize)> {
        match self.form {
            Form::Stub => {
                vec![(Door::Compare, self.cold - STUB_COMPARE_SIZE, STUB_COMPARE_SIZE + STUB_SIZE)]
            }
            Form::Inline => {
                vec![(Door::Cold, self.cold, STUB_SIZE), (Door::Hot, self.cold + STUB_HOT, HOT_JUMP.len())]
            }
        }
    }
}

/// What the kernel's objtool wants to know of symbols at which functions are entered: that they are functions, and
/// how long they are.
pub fn describe_function(symbol: &str, size: usize) -> String {
    format!(".type \"{symbol}\",@function\n.size \"{symbol}\", {size}\n")
}

/// The compare of an inline site, with its table entry. Operands: target in `r10`, cell, `stub.cold`, file
/// name if there is one, cold block.
pub fn inline_site(rows: Rows, line: u32, has_file: bool) -> String {
    let (file, cold_block) = if has_file { (Some("${3:c}"), 4) } else { (None, 3) };
    let mut text = compare("${1:c}");
    let _ = writeln!(text, "jne ${{{cold_block}:l}}");
    text += &entry(rows, Form::Inline, line, "${1:c}", "${2:c}", file);
    text
}

/// Constraints of [`inline_site`].
pub fn inline_site_constraints(has_file: bool) -> &'static str {
    if has_file { "{r10},i,i,i,!i,~{flags}" } else { "{r10},i,i,!i,~{flags}" }
}

/// A block of stubs. Operand 0: the function's cells; the operands after it: the file name of each site of
/// the stub form that has one, in order.
pub fn stubs(rows: Rows, places: &[StubPlace], lines: &[u32], has_file: &[bool]) -> String {
    let mut text = bytes(STUB_LEAD);
    let mut operand = 0;
    for (index, place) in places.iter().enumerate() {
        let cell = format!("${{0:c}}+{}", index * size_of::<relpoline_layout::Cell>());
        if place.form == Form::Stub {
            let file = has_file[index].then(|| {
                operand += 1;
                format!("${{{operand}:c}}")
            });
            // One function's block holds several stubs, so their labels need the index besides the uid.
            let suffix = format!("_{index}");
            text += &compare_labelled(&cell, &suffix);
            text += &bytes(&COMPARE_TAIL);
            let _ = writeln!(text, ".Lrelpoline_cold_${{:uid}}{suffix}:");
            text += &entry_labelled(
                rows,
                Form::Stub,
                lines[index],
                &cell,
                &format!(".Lrelpoline_cold_${{:uid}}{suffix}"),
                file.as_deref(),
                &suffix,
            );
        }
        let _ = writeln!(text, "leaq {cell}(%rip), %r11");
        text += &bytes(&GATE_TEST);
        text += &to_slow_path(&JE);
        text += &to_slow_path(&[JMP]);
        if place.form == Form::Inline {
            text += &bytes(&HOT_JUMP);
        }
    }
    text
}

/// A branch, written in bytes: the assembler may pad instructions, branches above all
/// (`-mbranches-within-32B-boundaries`), and the parts of a stub lie at fixed distances.
fn to_slow_path(opcode: &[u8]) -> String {
    format!("{}.long {SLOW_PATH} - . - 4\n", bytes(opcode))
}

fn compare(cell: &str) -> String {
    compare_labelled(cell, "")
}

fn compare_labelled(cell: &str, suffix: &str) -> String {
    format!(".Lrelpoline_site_${{:uid}}{suffix}:\ncmpq {cell}(%rip), %r10\n")
}

fn entry(rows: Rows, form: Form, line: u32, cell: &str, stub: &str, file: Option<&str>) -> String {
    entry_labelled(rows, form, line, cell, stub, file, "")
}

/// One row of the table, in the same group ("?") as the code it describes. The order of the fields is that of
/// [`Entry`].
fn entry_labelled(
    rows: Rows,
    form: Form,
    line: u32,
    cell: &str,
    stub: &str,
    file: Option<&str>,
    suffix: &str,
) -> String {
    let site = format!(".Lrelpoline_site_${{:uid}}{suffix}");
    let file = file.map_or("0".to_owned(), |file| format!("{file} - ."));
    let section = match rows {
        Rows::Linked => format!("\"ao?\",@progbits,{site}"),
        Rows::Plain => "\"a?\",@progbits".to_owned(),
    };
    format!(
        ".pushsection {SECTION},{section}\n\
         .p2align 2\n\
         .long {site} - .\n\
         .long {cell} - .\n\
         .long {stub} - .\n\
         .long {file}\n\
         .long {}\n\
         .popsection\n",
        Entry::pack(form, line)
    )
}

fn bytes(bytes: &[u8]) -> String {
    let list: Vec<String> = bytes.iter().map(|byte| format!("{byte:#04x}")).collect();
    format!(".byte {}\n", list.join(","))
}
