//! Which calls are indirect, and what becomes of each.

use crate::llvm::{Call, CallConv, Callee, Function, IgnoreList, Module};
use relpoline_layout::{Form, NEVER_ANNOTATION};
use std::collections::HashSet;

/// What becomes of one indirect call.
#[derive(Clone, Copy, Debug)]
pub enum Verdict {
    /// It is converted to a relpoline of this form.
    Convert(Form),
    /// It stays indirect, and a retpoline stands behind it.
    Retpoline(Why),
}

/// Why a call cannot be converted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// A guaranteed tail call needs equal prototypes, so the target cannot be passed beside the arguments.
    MustTail,
    /// The call passes a static chain in `r10` already.
    Nest,
    /// The calling convention leaves no place for the target.
    CallingConvention,
    /// The callee preserves other registers than the convention's, `r10` and `r11` perhaps.
    RegisterSet,
    /// An operand bundle (kCFI, pointer authentication, deoptimisation) belongs to the indirect call.
    Bundle,
    /// `setjmp` and its kind must not be duplicated or renamed.
    ReturnsTwice,
    /// The source says `RELPOLINE_NEVER`.
    Never,
    /// The ignore-list names the function or its source file.
    Ignored,
    /// The section is one that must not be patched while it runs.
    Section,
    /// The function's prologue uses `r10` itself.
    SplitStack,
    /// So does XRay's code in front of a tail call.
    XRay,
    /// Arguments are built where the callee expects them (`inalloca`), and there is one such place.
    InPlace,
    /// Code and data may lie too far apart for 32-bit references.
    CodeModel,
    /// No register is free on this target.
    Target,
    /// The runtime knows Linux alone.
    System,
    /// The branch is written in inline assembly, which the compiler does not change.
    Assembly,
    /// `__builtin_longjmp` becomes a jump when code is generated, whatever the function's attributes.
    LongJump,
}

impl Why {
    /// Name of the remark.
    pub fn name(self) -> &'static str {
        match self {
            Self::MustTail => "MustTail",
            Self::Nest => "StaticChain",
            Self::CallingConvention => "CallingConvention",
            Self::RegisterSet => "RegisterSet",
            Self::Bundle => "OperandBundle",
            Self::Assembly => "InlineAssembly",
            Self::LongJump => "LongJump",
            Self::ReturnsTwice => "ReturnsTwice",
            Self::Never => "Never",
            Self::Ignored => "Ignored",
            Self::Section => "Section",
            Self::SplitStack => "SplitStack",
            Self::XRay => "XRay",
            Self::InPlace => "InAlloca",
            Self::CodeModel => "CodeModel",
            Self::Target => "Target",
            Self::System => "System",
        }
    }

    /// Text of the remark.
    pub fn explain(self) -> &'static str {
        match self {
            Self::MustTail => "indirect call kept as a retpoline: guaranteed tail call (musttail)",
            Self::Nest => "indirect call kept as a retpoline: it passes a static chain in r10",
            Self::CallingConvention => {
                "indirect call kept as a retpoline: calling convention leaves r10 no room"
            }
            Self::RegisterSet => {
                "indirect call kept as a retpoline: the callee preserves registers of its own"
            }
            Self::Assembly => "indirect branch left as it is: it is written in inline assembly",
            Self::LongJump => "indirect branch left as it is: __builtin_longjmp jumps through its buffer",
            Self::Bundle => "indirect call kept as a retpoline: operand bundle belongs to the indirect call",
            Self::ReturnsTwice => "indirect call kept as a retpoline: the callee may return twice",
            Self::Never => "indirect call kept as a retpoline: function is marked RELPOLINE_NEVER",
            Self::Ignored => "indirect call kept as a retpoline: the ignore-list names its function or file",
            Self::Section => "indirect call kept as a retpoline: code of this section is not patched",
            Self::SplitStack => "indirect call kept as a retpoline: split stacks use r10",
            Self::XRay => "indirect call kept as a retpoline: XRay uses r10 in front of tail calls",
            Self::InPlace => "indirect call kept as a retpoline: its arguments are built in place (inalloca)",
            Self::CodeModel => "indirect call kept as a retpoline: code model is medium or large",
            Self::Target => "indirect call kept as a retpoline: no free register on this target",
            Self::System => "indirect call kept as a retpoline: no runtime for this system",
        }
    }
}

/// Sections of the Linux kernel whose code runs where patching is not possible or not worth it.
const UNPATCHED_SECTIONS: [&str; 3] = [".noinstr.text", ".entry.text", ".init.text"];

/// Sections that kernel code may name and be converted. What else it names runs before the kernel is mapped, goes
/// when the system is up, or must not call anything (`.head.text`, `.exit.text`, `.kprobes.text`, `.cpuidle.text`).
const KERNEL_SECTIONS: [&str; 4] = [".text", ".sched.text", ".ref.text", ".irqentry.text"];

/// The indirect calls of `function`, in the order of its blocks. `form` is what the user asks for, if anything.
pub fn indirect_calls(
    module: &Module,
    function: &Function,
    excluded: &Excluded,
    form: Option<Form>,
) -> Vec<(Call, Verdict)> {
    let whole = excluded.why(function).or_else(|| whole_function(module, function));
    let form = form.unwrap_or(if function.prefers_size() { Form::Stub } else { Form::Inline });
    // Under HWASan the address of a cell, by which the inline form compares, may be tagged.
    let tagged = function.has_feature("+tagged-globals");
    function
        .calls()
        .into_iter()
        .filter(|call| call.callee() == Callee::Indirect)
        .map(|call| {
            let jumps = || (function.has_xray() && call.may_become_jump()).then_some(Why::XRay);
            let verdict = match whole.or_else(|| alone(&call)).or_else(jumps) {
                Some(why) => Verdict::Retpoline(why),
                // A call that must not be duplicated can still be made from one place.
                None if tagged || call.must_not_be_copied() || call.is_delicate_tail_call() => {
                    Verdict::Convert(Form::Stub)
                }
                None => Verdict::Convert(form),
            };
            (call, verdict)
        })
        .collect()
}

/// Indirect branches of `function` that no attribute reaches. They can only be reported.
pub fn unprotected(function: &Function) -> Vec<(Call, Why)> {
    let why = |call: &Call| {
        if call.assembly().is_some_and(|text| branches_indirectly(&text)) {
            Some(Why::Assembly)
        } else if call.calls_intrinsic_like("llvm.eh.sjlj.longjmp") {
            Some(Why::LongJump)
        } else {
            None
        }
    };
    function.calls().into_iter().filter_map(|call| why(&call).map(|why| (call, why))).collect()
}

/// Whether a line of assembly is a call or jump through a register or memory, in AT&T syntax (`call *…`) or
/// in Intel's (`call [..]`, `call rax`).
fn branches_indirectly(text: &str) -> bool {
    text.split(['\n', ';']).any(|line| {
        let mut words = line.split_whitespace().skip_while(|word| word.ends_with(':') || *word == "notrack");
        let (mnemonic, operand) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        matches!(mnemonic, "call" | "callq" | "calll" | "jmp" | "jmpq" | "jmpl")
            && (operand.starts_with(['*', '[']) || operand == "qword" || is_register(operand))
    })
}

fn is_register(operand: &str) -> bool {
    const NAMES: [&str; 16] = [
        "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11", "r12", "r13",
        "r14", "r15",
    ];
    NAMES.contains(&operand)
}

/// Attributes of functions whose calls stay retpolines. They last where names and annotations do not: on parts that are
/// split off (of coroutines), on specialised copies, and through the link step of LTO, which renames static functions.
const MARKS: [(&str, Why); 2] = [("relpoline-never", Why::Never), ("relpoline-ignored", Why::Ignored)];

/// What the user wants left alone.
pub struct Excluded {
    never: HashSet<Function>,
    ignored: Option<IgnoreList>,
    whole_file: bool,
}

impl Excluded {
    /// From the annotations of the source, and the ignore-list at `path`.
    ///
    /// # Errors
    /// Why the list cannot be read.
    pub fn of(module: &Module, path: Option<&str>) -> Result<Self, String> {
        let ignored = path.map(IgnoreList::open).transpose()?;
        let whole_file = ignored.as_ref().is_some_and(|list| list.names_source(&module.source_file()));
        Ok(Self { never: module.annotated(NEVER_ANNOTATION), ignored, whole_file })
    }

    fn why(&self, function: &Function) -> Option<Why> {
        if let Some((_, why)) = MARKS.iter().find(|(mark, _)| function.has_attribute(mark)) {
            return Some(*why);
        }
        if self.never.contains(function) {
            return Some(Why::Never);
        }
        let named = || self.ignored.as_ref().is_some_and(|list| list.names_function(&function.name()));
        (self.whole_file || named()).then_some(Why::Ignored)
    }

    /// Marks the function for later runs, if it is to be left alone.
    pub fn mark(&self, function: &Function) {
        let why = self.why(function);
        for (mark, _) in MARKS.iter().filter(|(_, meaning)| Some(*meaning) == why) {
            function.set_string_attribute(mark, "");
        }
    }
}

fn whole_function(module: &Module, function: &Function) -> Option<Why> {
    if !module.is_x86_64() {
        Some(Why::Target)
    } else if !module.is_linux() {
        Some(Why::System)
    } else if module.has_large_code() {
        Some(Why::CodeModel)
    } else if function.section().is_some_and(|section| {
        is_one_of(&section, &UNPATCHED_SECTIONS)
            || (module.is_kernel() && !is_one_of(&section, &KERNEL_SECTIONS))
    }) {
        Some(Why::Section)
    } else if function.has_attribute("split-stack") {
        Some(Why::SplitStack)
    } else {
        None
    }
}

/// Whether `section` is one of `names`, or a part of it: `.text.hot` is one of `.text`.
fn is_one_of(section: &str, names: &[&str]) -> bool {
    names
        .iter()
        .any(|name| section.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
}

fn alone(call: &Call) -> Option<Why> {
    if call.is_must_tail() {
        Some(Why::MustTail)
    } else if call.passes_static_chain() {
        Some(Why::Nest)
    } else if !matches!(call.calling_convention(), CallConv::C | CallConv::Fast) {
        Some(Why::CallingConvention)
    } else if call.has_own_register_set() {
        Some(Why::RegisterSet)
    } else if call.builds_arguments_in_place() {
        Some(Why::InPlace)
    } else if call.has_operand_bundles() {
        Some(Why::Bundle)
    } else if call.returns_twice() {
        Some(Why::ReturnsTwice)
    } else {
        None
    }
}
