//! The assembly that the pass emits, written from the constants of `relpoline_layout`.

use relpoline_layout::{
    COMPARE_TAIL, Cell, Entry, Form, GATE_TEST, HOT_JUMP, JE, JMP, SECTION, SLOW_PATH, STUB_COMPARE_SIZE,
    STUB_HOT, STUB_LEAD, STUB_SIZE,
};
use std::fmt::Write;

/// A site of a function, and the place of its stub in the function's block of stubs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stub {
    /// Form of the site.
    pub form: Form,
    /// Line of the source, 0 if it is not known.
    pub line: u32,
    /// Whether the name of the source file is known.
    pub has_file: bool,
    /// Offset of `stub.cold` from the start of the block.
    pub cold: usize,
}

/// The stubs of sites of these forms, lines and files, one behind the other.
pub fn lay_out(sites: impl IntoIterator<Item = (Form, u32, bool)>) -> Vec<Stub> {
    let mut end = STUB_LEAD.len();
    sites
        .into_iter()
        .map(|(form, line, has_file)| {
            let (before, behind) = match form {
                Form::Inline => (0, HOT_JUMP.len()),
                Form::Stub => (STUB_COMPARE_SIZE, 0),
            };
            let cold = end + before;
            end = cold + STUB_SIZE + behind;
            Stub { form, line, has_file, cold }
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

impl Stub {
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

/// The compare of an inline site, with its table entry, and its constraints. Operands: target in `r10`, cell,
/// `stub.cold`, file name if there is one, cold block.
pub fn inline_site(rows: Rows, stub: &Stub) -> (String, &'static str) {
    let (file, cold_block, constraints) = if stub.has_file {
        (Some("${3:c}"), 4, "{r10},i,i,i,!i,~{flags}")
    } else {
        (None, 3, "{r10},i,i,!i,~{flags}")
    };
    let (cell, label) = ("${1:c}", "${:uid}");
    let mut text = compare(cell, label);
    let _ = writeln!(text, "jne ${{{cold_block}:l}}");
    text += &entry(rows, stub, cell, "${2:c}", file, label);
    (text, constraints)
}

/// A block of stubs. Operand 0: the function's cells; the operands after it: the file name of each site of
/// the stub form that has one, in order.
pub fn block(rows: Rows, stubs: &[Stub]) -> String {
    let mut text = bytes(STUB_LEAD);
    let mut operand = 0;
    for (index, stub) in stubs.iter().enumerate() {
        let cell = format!("${{0:c}}+{}", index * size_of::<Cell>());
        if stub.form == Form::Stub {
            let file = stub.has_file.then(|| {
                operand += 1;
                format!("${{{operand}:c}}")
            });
            // The block holds several stubs, so their labels need the index besides the assembly's own number.
            let label = format!("${{:uid}}_{index}");
            let cold = format!(".Lrelpoline_cold_{label}");
            text += &compare(&cell, &label);
            text += &bytes(&COMPARE_TAIL);
            let _ = writeln!(text, "{cold}:");
            text += &entry(rows, stub, &cell, &cold, file.as_deref(), &label);
        }
        let _ = writeln!(text, "leaq {cell}(%rip), %r11");
        text += &bytes(&GATE_TEST);
        text += &to_slow_path(&JE);
        text += &to_slow_path(&[JMP]);
        if stub.form == Form::Inline {
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

/// Name of the place of a compare.
fn site(label: &str) -> String {
    format!(".Lrelpoline_site_{label}")
}

fn compare(cell: &str, label: &str) -> String {
    format!("{}:\ncmpq {cell}(%rip), %r10\n", site(label))
}

/// One row of the table, in the same group ("?") as the code it describes. The order of the fields is that of
/// [`Entry`].
fn entry(rows: Rows, stub: &Stub, cell: &str, cold: &str, file: Option<&str>, label: &str) -> String {
    let site = site(label);
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
         .long {cold} - .\n\
         .long {file}\n\
         .long {}\n\
         .popsection\n",
        Entry::pack(stub.form, stub.line)
    )
}

fn bytes(bytes: &[u8]) -> String {
    let list: Vec<String> = bytes.iter().map(|byte| format!("{byte:#04x}")).collect();
    format!(".byte {}\n", list.join(","))
}
