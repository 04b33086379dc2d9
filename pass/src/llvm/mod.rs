//! The only place that calls LLVM. Handles are borrowed from a module that outlives the pass run, so
//! they are plain copies; every function here requires that the handle has not been erased.
#![allow(clippy::undocumented_unsafe_blocks)] // one promise for the whole folder, stated above

mod call;
mod ignore;
pub mod raw;

pub use call::{Call, CallConv, Callee};
pub use ignore::IgnoreList;

/// Types of LLVM's C interface that appear in signatures.
pub mod sys {
    pub use llvm_sys::prelude::LLVMModuleRef;
}

use inkwell::attributes::AttributeLoc;
use inkwell::values::{AsValueRef, FunctionValue};
use llvm_sys::{LLVMLinkage, comdat::*, core::*, prelude::*};
use relpoline_layout::{Cell, NEVER};
use std::collections::HashSet;
use std::ffi::{CStr, CString, c_uint};
use std::mem::ManuallyDrop;

/// Version of the LLVM that runs the pass; zeros where it is too old to say.
pub fn version() -> (u32, u32, u32) {
    let (mut major, mut minor, mut patch) = (0, 0, 0);
    unsafe { raw::relpoline_shim_version(&mut major, &mut minor, &mut patch) };
    (major, minor, patch)
}

/// A module under compilation.
pub struct Module {
    module: ManuallyDrop<inkwell::module::Module<'static>>,
}

impl Module {
    /// # Safety
    /// `raw` is valid, and nobody else uses it while the returned handle lives.
    pub unsafe fn borrow(raw: LLVMModuleRef) -> Self {
        // inkwell's module would dispose of LLVM's; ManuallyDrop leaves it to its owner.
        Self { module: ManuallyDrop::new(unsafe { inkwell::module::Module::new(raw) }) }
    }

    fn raw(&self) -> LLVMModuleRef {
        self.module.as_mut_ptr()
    }

    fn context(&self) -> LLVMContextRef {
        unsafe { LLVMGetModuleContext(self.raw()) }
    }

    /// Target triple.
    pub fn triple(&self) -> String {
        self.module.get_triple().as_str().to_string_lossy().into_owned()
    }

    /// Whether the target is an x86 whose object files are ELF.
    pub fn is_x86_elf(&self) -> bool {
        self.target_is(1)
    }

    /// Whether the target is x86-64 with 64-bit pointers.
    pub fn is_x86_64(&self) -> bool {
        self.target_is(2)
    }

    /// Whether the target is Linux.
    pub fn is_linux(&self) -> bool {
        self.target_is(4)
    }

    fn target_is(&self, bit: u32) -> bool {
        unsafe { raw::relpoline_shim_target(self.raw()) & bit != 0 }
    }

    /// Whether code and data may be more than 2 GiB apart.
    pub fn has_large_code(&self) -> bool {
        // llvm::CodeModel: tiny, small, kernel, medium, large.
        unsafe { raw::relpoline_shim_code_model(self.raw()) >= 3 }
    }

    /// Whether the module is code of the Linux kernel.
    pub fn is_kernel(&self) -> bool {
        unsafe { raw::relpoline_shim_code_model(self.raw()) == 2 }
    }

    /// Reports a warning through LLVM's diagnostics.
    pub fn warn(&self, message: &str) {
        self.diagnose(false, message);
    }

    /// Reports an error through LLVM's diagnostics: the compiler fails.
    pub fn error(&self, message: &str) {
        self.diagnose(true, message);
    }

    fn diagnose(&self, error: bool, message: &str) {
        let message = c_string(message);
        unsafe { raw::relpoline_shim_diagnose(self.raw(), error, message.as_ptr()) };
    }

    /// Path of the source file, as the compiler was given it.
    pub fn source_file(&self) -> String {
        let mut length = 0;
        let path = unsafe { LLVMGetSourceFileName(self.raw(), &mut length) };
        String::from_utf8_lossy(unsafe { std::slice::from_raw_parts(path.cast::<u8>(), length) }).into_owned()
    }

    /// Notes a text that changes nothing but the module's hash.
    pub fn note(&self, text: &str) {
        unsafe {
            let mut text = LLVMMDStringInContext2(self.context(), text.as_ptr().cast(), text.len());
            let node = LLVMMDNodeInContext2(self.context(), &mut text, 1);
            let node = LLVMMetadataAsValue(self.context(), node);
            LLVMAddNamedMetadataOperand(self.raw(), c"relpoline.identity".as_ptr(), node);
        }
    }

    /// Removes a module flag.
    pub fn drop_flag(&self, name: &CStr) {
        unsafe { raw::relpoline_shim_drop_module_flag(self.raw(), name.as_ptr()) };
    }

    /// Functions that have a body.
    pub fn defined_functions(&self) -> Vec<Function> {
        self.functions().filter(|function| unsafe { LLVMIsDeclaration(function.raw()) } == 0).collect()
    }

    /// Functions, bodies or not.
    pub fn functions(&self) -> impl Iterator<Item = Function> {
        self.module.get_functions().map(Function)
    }

    /// Functions that carry an annotation of this text.
    pub fn annotated(&self, text: &str) -> HashSet<Function> {
        let mut found = HashSet::new();
        unsafe {
            let global = LLVMGetNamedGlobal(self.raw(), c"llvm.global.annotations".as_ptr());
            if global.is_null() {
                return found;
            }
            let list = LLVMGetInitializer(global);
            if list.is_null() {
                return found;
            }
            for index in 0..LLVMGetNumOperands(list).max(0) as c_uint {
                let row = LLVMGetOperand(list, index);
                if LLVMGetNumOperands(row) < 2 {
                    continue;
                }
                let (subject, note) = (LLVMGetOperand(row, 0), LLVMIsAGlobalVariable(LLVMGetOperand(row, 1)));
                if LLVMIsAFunction(subject).is_null() || note.is_null() || LLVMGetInitializer(note).is_null()
                {
                    continue;
                }
                let mut length = 0;
                let note = LLVMGetInitializer(note);
                if LLVMIsConstantString(note) == 0 {
                    continue;
                }
                let bytes = LLVMGetAsString(note, &mut length);
                let bytes = std::slice::from_raw_parts(bytes.cast::<u8>(), length);
                if bytes.strip_suffix(&[0]).unwrap_or(bytes) == text.as_bytes() {
                    found.extend(FunctionValue::new(subject).map(Function));
                }
            }
        }
        found
    }

    /// Adds a string constant that linkers may merge with its equals.
    pub fn add_string(&self, text: &str) -> Constant {
        let name = c"relpoline.file";
        unsafe {
            let bytes = LLVMConstStringInContext2(self.context(), text.as_ptr().cast(), text.len(), 0);
            let global = LLVMAddGlobal(self.raw(), LLVMTypeOf(bytes), name.as_ptr());
            LLVMSetInitializer(global, bytes);
            LLVMSetLinkage(global, LLVMLinkage::LLVMPrivateLinkage);
            LLVMSetGlobalConstant(global, 1);
            LLVMSetUnnamedAddress(global, llvm_sys::LLVMUnnamedAddr::LLVMGlobalUnnamedAddr);
            LLVMSetAlignment(global, 1);
            Constant(global)
        }
    }

    /// Adds `count` cells that live and die with `owner`.
    pub fn add_cells(&self, owner: &Function, name: &str, section: &str, count: usize) -> Constant {
        let (name, section) = (c_string(name), c_string(section));
        unsafe {
            let word = LLVMInt64TypeInContext(self.context());
            // Cell { hot: NEVER, gate: 0 }
            let mut cell = [LLVMConstInt(word, NEVER, 0), LLVMConstInt(word, 0, 0)];
            let cell = LLVMConstArray2(word, cell.as_mut_ptr(), cell.len() as u64);
            let kind = LLVMTypeOf(cell);
            let cells = LLVMConstArray2(kind, vec![cell; count].as_mut_ptr(), count as u64);
            let global = LLVMAddGlobal(self.raw(), LLVMTypeOf(cells), name.as_ptr());
            LLVMSetInitializer(global, cells);
            LLVMSetLinkage(global, LLVMLinkage::LLVMInternalLinkage);
            LLVMSetSection(global, section.as_ptr());
            LLVMSetAlignment(global, align_of::<Cell>() as c_uint);
            owner.share_comdat(global);
            Constant(global)
        }
    }

    /// Adds a function whose body is assembly alone, and that lives and dies with `owner`. Each operand is
    /// an address which the text names by its index.
    pub fn add_assembly(
        &self,
        owner: &Function,
        name: &str,
        section: &str,
        text: &str,
        operands: &[Constant],
    ) -> Constant {
        let (name, section) = (c_string(name), c_string(section));
        let constraints = vec!["i"; operands.len()].join(",");
        unsafe {
            let context = self.context();
            let void = LLVMVoidTypeInContext(context);
            let kind = LLVMFunctionType(void, std::ptr::null_mut(), 0, 0);
            let function = LLVMAddFunction(self.raw(), name.as_ptr(), kind);
            LLVMSetLinkage(function, LLVMLinkage::LLVMInternalLinkage);
            LLVMSetSection(function, section.as_ptr());
            owner.share_comdat(function);
            // These keep the body as it is (KMSAN puts a call even into a naked function); optsize spares the
            // alignment.
            let wrapped = FunctionValue::new(function).expect("a new function");
            for attribute in
                ["naked", "noinline", "optsize", "nocf_check", "disable_sanitizer_instrumentation"]
            {
                add_enum_attribute(context, wrapped, attribute, 0);
            }
            if self.is_kernel() {
                // No unwind table: the kernel makes its own out of the code.
                add_enum_attribute(context, wrapped, "nounwind", 0);
            }
            // The features of the plain processor: others (SESES, LVI hardening) insert instructions.
            Function(wrapped).set_string_attribute("target-cpu", "x86-64");
            Function(wrapped).set_string_attribute("target-features", "+cx8,+fxsr,+mmx,+sse,+sse2,+x87");
            let uwtable = inkwell::attributes::Attribute::get_named_enum_kind_id("uwtable");
            if let Some(kind) = owner.0.get_enum_attribute(AttributeLoc::Function, uwtable) {
                wrapped.add_attribute(AttributeLoc::Function, kind);
            }
            let block = LLVMAppendBasicBlockInContext(context, function, c"".as_ptr());
            let builder = LLVMCreateBuilderInContext(context);
            LLVMPositionBuilderAtEnd(builder, block);
            let mut values: Vec<LLVMValueRef> = operands.iter().map(|operand| operand.0).collect();
            let mut types: Vec<LLVMTypeRef> = values.iter().map(|&value| LLVMTypeOf(value)).collect();
            let asm_type = LLVMFunctionType(void, types.as_mut_ptr(), types.len() as c_uint, 0);
            let asm = inline_asm(asm_type, text, &constraints);
            LLVMBuildCall2(builder, asm_type, asm, values.as_mut_ptr(), values.len() as c_uint, c"".as_ptr());
            LLVMBuildUnreachable(builder);
            LLVMDisposeBuilder(builder);
            Constant(function)
        }
    }

    /// Names the place `offset` bytes into `base`, as something that can be called with any prototype. The name
    /// is in the object file's symbol table only if `listed`.
    pub fn add_entry_point(&self, base: Constant, offset: usize, name: &str, listed: bool) -> Constant {
        let name = c_string(name);
        unsafe {
            let void = LLVMVoidTypeInContext(self.context());
            let kind = LLVMFunctionType(void, std::ptr::null_mut(), 0, 0);
            let alias = LLVMAddAlias2(self.raw(), kind, 0, self.offset(base, offset).0, name.as_ptr());
            let linkage =
                if listed { LLVMLinkage::LLVMInternalLinkage } else { LLVMLinkage::LLVMPrivateLinkage };
            LLVMSetLinkage(alias, linkage);
            Constant(alias)
        }
    }

    /// The address `offset` bytes into `base`.
    pub fn offset(&self, base: Constant, offset: usize) -> Constant {
        unsafe {
            let context = self.context();
            let mut index = LLVMConstInt(LLVMInt64TypeInContext(context), offset as u64, 0);
            Constant(LLVMConstGEP2(LLVMInt8TypeInContext(context), base.0, &mut index, 1))
        }
    }
}

/// An address known when linking.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Constant(LLVMValueRef);

/// A function of the module.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Function(FunctionValue<'static>);

impl Function {
    fn raw(&self) -> LLVMValueRef {
        self.0.as_value_ref()
    }

    /// Symbol name.
    pub fn name(&self) -> String {
        // A leading 0x01 tells LLVM not to mangle the name; it is no part of the symbol.
        self.0.get_name().to_string_lossy().trim_start_matches('\u{1}').to_owned()
    }

    /// Section, where one is named.
    pub fn section(&self) -> Option<String> {
        self.0
            .get_section()
            .map(|section| section.to_string_lossy().into_owned())
            .filter(|name| !name.is_empty())
    }

    /// Whether the function's body is assembly without prologue.
    pub fn is_naked(&self) -> bool {
        self.has_attribute("naked")
    }

    /// Whether the body is only there to be inlined.
    pub fn is_available_externally(&self) -> bool {
        unsafe { LLVMGetLinkage(self.raw()) == LLVMLinkage::LLVMAvailableExternallyLinkage }
    }

    /// Whether XRay may put its code into the function.
    pub fn has_xray(&self) -> bool {
        self.has_attribute("function-instrument") || self.has_attribute("xray-instruction-threshold")
    }

    /// Whether small code matters more than fast code.
    pub fn prefers_size(&self) -> bool {
        ["minsize", "optsize", "cold"].iter().any(|name| self.has_attribute(name))
    }

    /// Whether the function carries the attribute, be it one of LLVM's own or a string.
    pub fn has_attribute(&self, name: &str) -> bool {
        let kind = inkwell::attributes::Attribute::get_named_enum_kind_id(name);
        (kind != 0 && self.0.get_enum_attribute(AttributeLoc::Function, kind).is_some())
            || self.0.get_string_attribute(AttributeLoc::Function, name).is_some()
    }

    /// Value of a string attribute.
    pub fn string_attribute(&self, name: &str) -> Option<String> {
        let attribute = self.0.get_string_attribute(AttributeLoc::Function, name)?;
        Some(attribute.get_string_value().to_string_lossy().into_owned())
    }

    /// Whether the function is compiled with this feature of the target, which its sign begins.
    pub fn has_feature(&self, feature: &str) -> bool {
        self.string_attribute("target-features")
            .is_some_and(|features| features.split(',').any(|found| found == feature))
    }

    /// Sets a string attribute.
    pub fn set_string_attribute(&self, name: &str, value: &str) {
        unsafe {
            let context = LLVMGetModuleContext(LLVMGetGlobalParent(self.raw()));
            let attribute = LLVMCreateStringAttribute(
                context,
                name.as_ptr().cast(),
                name.len() as c_uint,
                value.as_ptr().cast(),
                value.len() as c_uint,
            );
            LLVMAddAttributeAtIndex(self.raw(), llvm_sys::LLVMAttributeFunctionIndex, attribute);
        }
    }

    /// Removes one of LLVM's own attributes.
    pub fn remove_attribute(&self, name: &str) {
        let kind = inkwell::attributes::Attribute::get_named_enum_kind_id(name);
        self.0.remove_enum_attribute(AttributeLoc::Function, kind);
    }

    /// Lists the function's start and size in `section` of the object file.
    pub fn mark_built(&self, section: &str) {
        unsafe {
            let context = LLVMGetModuleContext(LLVMGetGlobalParent(self.raw()));
            let kind =
                LLVMGetMDKindIDInContext(context, c"pcsections".as_ptr(), "pcsections".len() as c_uint);
            let mut name = LLVMMDStringInContext2(context, section.as_ptr().cast(), section.len());
            LLVMGlobalSetMetadata(self.raw(), kind, LLVMMDNodeInContext2(context, &mut name, 1));
        }
    }

    /// Calls, invokes and `asm goto`.
    pub fn calls(&self) -> Vec<Call> {
        let mut calls = Vec::new();
        for block in self.0.get_basic_block_iter() {
            unsafe {
                let mut instruction = LLVMGetFirstInstruction(block.as_mut_ptr());
                while !instruction.is_null() {
                    calls.extend(Call::new(instruction));
                    instruction = LLVMGetNextInstruction(instruction);
                }
            }
        }
        calls
    }

    /// Puts `global` into this function's COMDAT group, if it has one.
    fn share_comdat(&self, global: LLVMValueRef) {
        unsafe {
            let comdat = LLVMGetComdat(self.raw());
            if !comdat.is_null() {
                LLVMSetComdat(global, comdat);
            }
        }
    }
}

fn add_enum_attribute(context: LLVMContextRef, function: FunctionValue, name: &str, value: u64) {
    let kind = inkwell::attributes::Attribute::get_named_enum_kind_id(name);
    unsafe {
        let attribute = LLVMCreateEnumAttribute(context, kind, value);
        LLVMAddAttributeAtIndex(function.as_value_ref(), llvm_sys::LLVMAttributeFunctionIndex, attribute);
    }
}

fn inline_asm(kind: LLVMTypeRef, text: &str, constraints: &str) -> LLVMValueRef {
    unsafe {
        LLVMGetInlineAsm(
            kind,
            text.as_ptr().cast(),
            text.len(),
            constraints.as_ptr().cast(),
            constraints.len(),
            1,
            0,
            llvm_sys::LLVMInlineAsmDialect::LLVMInlineAsmDialectATT,
            0,
        )
    }
}

/// Text for an interface that takes C strings; LLVM's names may contain a NUL, C's cannot.
fn c_string(text: &str) -> CString {
    CString::new(text.replace('\0', "?")).expect("no NUL is left")
}
