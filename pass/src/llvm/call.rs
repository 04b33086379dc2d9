//! Calls, invokes and `asm goto`.

use super::{Constant, c_string, inline_asm, raw};
use llvm_sys::{LLVMAttributeFunctionIndex, LLVMTailCallKind, core::*, debuginfo::*, prelude::*};
use std::ffi::{CStr, c_uint};

/// A call, invoke or callbr instruction.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Call(LLVMValueRef);

/// What a call names as its callee.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Callee {
    /// A function, alias or other symbol.
    Symbol,
    /// Inline assembly.
    Assembly,
    /// A computed address.
    Indirect,
}

/// Calling conventions that the pass tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallConv {
    /// The C convention.
    C,
    /// LLVM's `fastcc`, which is C's on x86-64 as far as registers are concerned.
    Fast,
    /// Any other one.
    Other,
}

/// Metadata that describes the indirect call and must not be copied to a direct one.
const INDIRECT_ONLY: [&CStr; 3] = [c"prof", c"callees", c"callee_type"];

impl Call {
    pub(super) fn new(instruction: LLVMValueRef) -> Option<Self> {
        let is_call = unsafe {
            [LLVMIsACallInst, LLVMIsAInvokeInst, LLVMIsACallBrInst]
                .iter()
                .any(|is| !is(instruction).is_null())
        };
        is_call.then_some(Self(instruction))
    }

    /// What is called.
    pub fn callee(&self) -> Callee {
        unsafe {
            let callee = LLVMGetCalledValue(self.0);
            if !LLVMIsAInlineAsm(callee).is_null() {
                Callee::Assembly
            } else if !LLVMIsAGlobalValue(callee).is_null() {
                Callee::Symbol
            } else {
                Callee::Indirect
            }
        }
    }

    /// Whether the call is `musttail`.
    pub fn is_must_tail(&self) -> bool {
        self.tail_kind() == LLVMTailCallKind::LLVMTailCallKindMustTail
    }

    /// Whether an argument is passed as the static chain (`nest`).
    pub fn passes_static_chain(&self) -> bool {
        self.has_argument(&["nest"])
    }

    /// Calling convention.
    pub fn calling_convention(&self) -> CallConv {
        match unsafe { LLVMGetInstructionCallConv(self.0) } {
            0 => CallConv::C,
            8 => CallConv::Fast,
            _ => CallConv::Other,
        }
    }

    /// Whether operand bundles are attached.
    pub fn has_operand_bundles(&self) -> bool {
        unsafe { LLVMGetNumOperandBundles(self.0) != 0 }
    }

    /// Whether an argument is built where the callee expects it.
    pub fn builds_arguments_in_place(&self) -> bool {
        self.has_argument(&["inalloca"])
    }

    /// Whether the callee may return twice.
    pub fn returns_twice(&self) -> bool {
        self.has_attribute(LLVMAttributeFunctionIndex, "returns_twice")
    }

    /// Whether there must be only one copy of the call.
    pub fn must_not_be_copied(&self) -> bool {
        ["noduplicate", "convergent"].iter().any(|name| self.has_attribute(LLVMAttributeFunctionIndex, name))
    }

    /// Whether the callee promises to preserve registers that stubs use, or is asked to preserve none.
    pub fn has_own_register_set(&self) -> bool {
        ["no_caller_saved_registers", "no_callee_saved_registers"].iter().any(|name| unsafe {
            !LLVMGetCallSiteStringAttribute(
                self.0,
                LLVMAttributeFunctionIndex,
                name.as_ptr().cast(),
                name.len() as c_uint,
            )
            .is_null()
        })
    }

    /// Whether the call may become a jump: nothing but a `ret` follows, of what it returns.
    pub fn may_become_jump(&self) -> bool {
        if self.tail_kind() != LLVMTailCallKind::LLVMTailCallKindTail {
            return false;
        }
        unsafe {
            let next = LLVMGetNextInstruction(self.0);
            if LLVMIsAReturnInst(next).is_null() {
                return leads_to_return(next);
            }
            // What the callee returns may be one of its arguments.
            if LLVMGetNumOperands(next) == 0 || self.has_argument(&["returned"]) {
                return true;
            }
            let value = LLVMGetOperand(next, 0);
            value == self.0 || LLVMIsUndef(value) != 0
        }
    }

    /// Whether it may, and LLVM might fail to make jumps of two copies of it: an argument lies on the stack or in several
    /// registers, or comes back as the result, or something stands between the call and the `ret`.
    pub fn is_delicate_tail_call(&self) -> bool {
        /// Integer arguments that travel in registers.
        const REGISTERS: c_uint = 6;
        self.may_become_jump()
            && (unsafe { LLVMIsAReturnInst(LLVMGetNextInstruction(self.0)).is_null() }
                || self.argument_count() > REGISTERS
                || self.has_argument(&["byval", "sret", "returned"])
                || (0..self.argument_count()).any(|index| !self.passes_in_one_register(index)))
    }

    /// Whether the argument has one register to itself, on every x86-64.
    fn passes_in_one_register(&self, index: c_uint) -> bool {
        use llvm_sys::{LLVMTypeKind::*, target::*};
        unsafe {
            let kind = LLVMTypeOf(LLVMGetOperand(self.0, index));
            let layout = LLVMGetModuleDataLayout(LLVMGetGlobalParent(LLVMGetBasicBlockParent(
                LLVMGetInstructionParent(self.0),
            )));
            match LLVMGetTypeKind(kind) {
                LLVMPointerTypeKind | LLVMHalfTypeKind | LLVMFloatTypeKind | LLVMDoubleTypeKind => true,
                LLVMIntegerTypeKind => LLVMSizeOfTypeInBits(layout, kind) <= 64,
                LLVMVectorTypeKind => LLVMSizeOfTypeInBits(layout, kind) <= 128,
                _ => false,
            }
        }
    }

    /// Has the call stay a call.
    pub fn forbid_tail_call(&self) {
        if self.tail_kind() == LLVMTailCallKind::LLVMTailCallKindTail {
            unsafe { LLVMSetTailCallKind(self.0, LLVMTailCallKind::LLVMTailCallKindNoTail) };
        }
    }

    /// Text of the assembly, if it is assembly that is called.
    pub fn assembly(&self) -> Option<String> {
        unsafe {
            let callee = LLVMIsAInlineAsm(LLVMGetCalledValue(self.0));
            if callee.is_null() {
                return None;
            }
            let mut length = 0;
            let text = LLVMGetInlineAsmAsmString(callee, &mut length);
            Some(String::from_utf8_lossy(std::slice::from_raw_parts(text.cast::<u8>(), length)).into_owned())
        }
    }

    /// Whether the call is one of an intrinsic whose name starts so.
    pub fn calls_intrinsic_like(&self, prefix: &str) -> bool {
        unsafe {
            let callee = LLVMIsAFunction(LLVMGetCalledValue(self.0));
            !callee.is_null()
                && inkwell::values::FunctionValue::new(callee)
                    .is_some_and(|callee| callee.get_name().to_bytes().starts_with(prefix.as_bytes()))
        }
    }

    /// Source line (0 where unknown) and file.
    pub fn location(&self) -> (u32, Option<String>) {
        unsafe {
            if LLVMInstructionGetDebugLoc(self.0).is_null() {
                return (0, None);
            }
            let mut length = 0;
            let file = LLVMGetDebugLocFilename(self.0, &mut length);
            let file = (!file.is_null() && length > 0).then(|| {
                String::from_utf8_lossy(std::slice::from_raw_parts(file.cast::<u8>(), length as usize))
                    .into_owned()
            });
            (LLVMGetDebugLocLine(self.0), file)
        }
    }

    /// Emits an optimisation remark: converted.
    pub fn remark_passed(&self, name: &str, message: &str) {
        self.remark(true, name, message);
    }

    /// Emits an optimisation remark: not converted.
    pub fn remark_missed(&self, name: &str, message: &str) {
        self.remark(false, name, message);
    }

    fn remark(&self, passed: bool, name: &str, message: &str) {
        // LLVM keeps the name by reference until the remark is printed, the message by value.
        let (name, message) = (c_string(name), c_string(message));
        unsafe { raw::relpoline_shim_remark(self.0, passed, name.as_ptr(), message.as_ptr()) };
    }

    /// Splits the block so that `asm goto` chooses between two copies of the call: assembly with these
    /// constraints, the target and the operands falls through to the first, or jumps to the second.
    pub fn split_by_assembly(self, text: &str, constraints: &str, operands: &[Constant]) -> (Call, Call) {
        unsafe {
            let target = LLVMGetCalledValue(self.0);
            let hot = raw::relpoline_shim_version_call_site(self.0);
            let (hot_block, cold_block) = (LLVMGetInstructionParent(hot), LLVMGetInstructionParent(self.0));
            // The branch in front is the one use of the hot block that is a terminator.
            let branch = LLVMGetUser(LLVMGetFirstUse(LLVMBasicBlockAsValue(hot_block)));
            let compare = LLVMGetCondition(branch);

            let context = LLVMGetModuleContext(LLVMGetGlobalParent(LLVMGetBasicBlockParent(hot_block)));
            let mut values = vec![target];
            values.extend(operands.iter().map(|operand| operand.0));
            let mut types: Vec<LLVMTypeRef> = values.iter().map(|&value| LLVMTypeOf(value)).collect();
            let kind = LLVMFunctionType(
                LLVMVoidTypeInContext(context),
                types.as_mut_ptr(),
                types.len() as c_uint,
                0,
            );
            let asm = inline_asm(kind, text, constraints);
            let builder = LLVMCreateBuilderInContext(context);
            LLVMPositionBuilderBefore(builder, branch);
            LLVMSetCurrentDebugLocation2(builder, LLVMInstructionGetDebugLoc(self.0));
            let mut cold = [cold_block];
            let goto = LLVMBuildCallBr(
                builder,
                kind,
                asm,
                hot_block,
                cold.as_mut_ptr(),
                1,
                values.as_mut_ptr(),
                values.len() as c_uint,
                std::ptr::null_mut(),
                0,
                c"".as_ptr(),
            );
            add_call_attribute(goto, LLVMAttributeFunctionIndex, "nounwind");
            LLVMDisposeBuilder(builder);
            LLVMInstructionEraseFromParent(branch);
            // A constant callee has been compared already.
            if !LLVMIsAInstruction(compare).is_null() {
                LLVMInstructionEraseFromParent(compare);
            }
            (Call(hot), self)
        }
    }

    /// Tells LLVM that the call is rarely made.
    pub fn mark_cold(self) {
        add_call_attribute(self.0, LLVMAttributeFunctionIndex, "cold");
    }

    /// Replaces the call by one of `callee` that passes the old callee as the static chain, in `r10`, and is
    /// its equal in all else.
    pub fn redirect(self, callee: Constant) -> Call {
        unsafe {
            let old = self.0;
            let target = LLVMGetCalledValue(old);
            let old_type = LLVMGetCalledFunctionType(old);
            let fixed = LLVMCountParamTypes(old_type) as usize;
            let count = self.argument_count() as usize;

            let mut types = vec![std::ptr::null_mut(); fixed];
            LLVMGetParamTypes(old_type, types.as_mut_ptr());
            types.push(LLVMTypeOf(target));
            let kind = LLVMFunctionType(
                LLVMGetReturnType(old_type),
                types.as_mut_ptr(),
                types.len() as c_uint,
                LLVMIsFunctionVarArg(old_type),
            );
            // The target goes behind the fixed arguments: before them stands what must be first (sret).
            let mut arguments: Vec<LLVMValueRef> =
                (0..count).map(|i| LLVMGetOperand(old, i as c_uint)).collect();
            arguments.insert(fixed, target);

            let context = LLVMGetModuleContext(LLVMGetGlobalParent(LLVMGetBasicBlockParent(
                LLVMGetInstructionParent(old),
            )));
            let builder = LLVMCreateBuilderInContext(context);
            LLVMPositionBuilderBefore(builder, old);
            LLVMSetCurrentDebugLocation2(builder, LLVMInstructionGetDebugLoc(old));
            let new = if LLVMIsAInvokeInst(old).is_null() {
                let new = LLVMBuildCall2(
                    builder,
                    kind,
                    callee.0,
                    arguments.as_mut_ptr(),
                    arguments.len() as c_uint,
                    c"".as_ptr(),
                );
                LLVMSetTailCallKind(new, self.tail_kind());
                new
            } else {
                LLVMBuildInvoke2(
                    builder,
                    kind,
                    callee.0,
                    arguments.as_mut_ptr(),
                    arguments.len() as c_uint,
                    LLVMGetNormalDest(old),
                    LLVMGetUnwindDest(old),
                    c"".as_ptr(),
                )
            };
            LLVMDisposeBuilder(builder);

            LLVMSetInstructionCallConv(new, LLVMGetInstructionCallConv(old));
            copy_attributes(old, LLVMAttributeFunctionIndex, new, LLVMAttributeFunctionIndex);
            copy_attributes(old, 0, new, 0);
            for index in 0..count {
                let shifted = if index < fixed { index } else { index + 1 };
                copy_attributes(old, index as c_uint + 1, new, shifted as c_uint + 1);
            }
            add_call_attribute(new, fixed as c_uint + 1, "nest");
            if LLVMCanValueUseFastMathFlags(old) != 0 {
                LLVMSetFastMathFlags(new, LLVMGetFastMathFlags(old));
            }
            copy_metadata(context, old, new);

            LLVMReplaceAllUsesWith(old, new);
            LLVMInstructionEraseFromParent(old);
            Call(new)
        }
    }

    fn tail_kind(&self) -> LLVMTailCallKind {
        unsafe {
            if LLVMIsACallInst(self.0).is_null() {
                return LLVMTailCallKind::LLVMTailCallKindNone;
            }
            LLVMGetTailCallKind(self.0)
        }
    }

    fn argument_count(&self) -> c_uint {
        unsafe { LLVMGetNumArgOperands(self.0) }
    }

    /// Whether an argument has one of these attributes.
    fn has_argument(&self, names: &[&str]) -> bool {
        (1..=self.argument_count()).any(|index| names.iter().any(|name| self.has_attribute(index, name)))
    }

    fn has_attribute(&self, index: c_uint, name: &str) -> bool {
        unsafe { !LLVMGetCallSiteEnumAttribute(self.0, index, attribute_kind(name)).is_null() }
    }
}

/// Whether a `ret` follows after nothing that generates code, or what LLVM may find to generate none.
fn leads_to_return(mut instruction: LLVMValueRef) -> bool {
    /// Blocks followed: a chain of empty ones is short.
    const BLOCKS: usize = 8;
    const SILENT: [&str; 6] = [
        "llvm.lifetime.",
        "llvm.dbg.",
        "llvm.assume",
        "llvm.pseudoprobe",
        "llvm.fake.use",
        "llvm.experimental.noalias",
    ];
    let mut blocks = 0;
    unsafe {
        while !instruction.is_null() {
            if !LLVMIsAReturnInst(instruction).is_null() {
                return true;
            }
            let call = LLVMIsACallInst(instruction);
            if !LLVMIsABranchInst(instruction).is_null()
                && LLVMIsConditional(instruction) == 0
                && blocks < BLOCKS
            {
                blocks += 1;
                instruction = LLVMGetFirstInstruction(LLVMGetSuccessor(instruction, 0));
            } else if !LLVMIsAPHINode(instruction).is_null()
                || is_cast_or_part(instruction)
                || !call.is_null() && SILENT.iter().any(|prefix| Call(call).calls_intrinsic_like(prefix))
            {
                instruction = LLVMGetNextInstruction(instruction);
            } else {
                return false;
            }
        }
    }
    false
}

/// Whether the instruction takes a value as one of another type, a part of it, or puts it together.
fn is_cast_or_part(instruction: LLVMValueRef) -> bool {
    use llvm_sys::LLVMOpcode::*;
    matches!(
        unsafe { LLVMGetInstructionOpcode(instruction) },
        LLVMTrunc | LLVMPtrToInt | LLVMIntToPtr | LLVMBitCast | LLVMExtractValue | LLVMInsertValue
    )
}

fn attribute_kind(name: &str) -> c_uint {
    unsafe { LLVMGetEnumAttributeKindForName(name.as_ptr().cast(), name.len()) }
}

fn add_call_attribute(call: LLVMValueRef, index: c_uint, name: &str) {
    unsafe {
        let context = LLVMGetModuleContext(LLVMGetGlobalParent(LLVMGetBasicBlockParent(
            LLVMGetInstructionParent(call),
        )));
        LLVMAddCallSiteAttribute(call, index, LLVMCreateEnumAttribute(context, attribute_kind(name), 0));
    }
}

fn copy_attributes(from: LLVMValueRef, from_index: c_uint, to: LLVMValueRef, to_index: c_uint) {
    unsafe {
        let count = LLVMGetCallSiteAttributeCount(from, from_index) as usize;
        let mut attributes = vec![std::ptr::null_mut(); count];
        if count > 0 {
            LLVMGetCallSiteAttributes(from, from_index, attributes.as_mut_ptr());
        }
        for attribute in attributes {
            LLVMAddCallSiteAttribute(to, to_index, attribute);
        }
    }
}

fn copy_metadata(context: LLVMContextRef, from: LLVMValueRef, to: LLVMValueRef) {
    unsafe {
        let skipped = INDIRECT_ONLY
            .map(|name| LLVMGetMDKindIDInContext(context, name.as_ptr(), name.count_bytes() as c_uint));
        let mut count = 0;
        let entries = LLVMInstructionGetAllMetadataOtherThanDebugLoc(from, &mut count);
        for index in 0..count as c_uint {
            let kind = LLVMValueMetadataEntriesGetKind(entries, index);
            if !skipped.contains(&kind) {
                let node = LLVMValueMetadataEntriesGetMetadata(entries, index);
                LLVMSetMetadata(to, kind, LLVMMetadataAsValue(context, node));
            }
        }
        LLVMDisposeValueMetadataEntries(entries);
    }
}
