// The few things that LLVM's C interface lacks. Everything that decides anything is in Rust.

#include "llvm/Analysis/OptimizationRemarkEmitter.h"
#include "llvm/IR/DiagnosticInfo.h"
#include "llvm/IR/InstrTypes.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/SpecialCaseList.h"
#include "llvm/Support/VirtualFileSystem.h"
#include "llvm/Transforms/Utils/CallPromotionUtils.h"
#include "llvm-c/Types.h"

using namespace llvm;

// Data that the shim refers to is looked up when the plugin is loaded, functions when they are called. Weak,
// a symbol that another version of LLVM lacks does not stop the loader before the version check has run.
asm(".weak _ZN4llvm17PreservedAnalyses14AllAnalysesKeyE");
asm(".weak _ZTVN4llvm21DiagnosticInfoGenericE");
asm(".weak _ZTVN4llvm30DiagnosticInfoOptimizationBaseE");
asm(".weak _ZTVN4llvm18OptimizationRemarkE");
asm(".weak _ZTVN4llvm24OptimizationRemarkMissedE");

// LLVM before 16 does not have it.
extern "C" void LLVMGetVersion(unsigned *, unsigned *, unsigned *) __attribute__((weak));

// The version of the LLVM that loaded the plugin; zeros where it cannot say.
extern "C" void relpoline_shim_version(unsigned *Major, unsigned *Minor, unsigned *Patch) {
  if (LLVMGetVersion)
    LLVMGetVersion(Major, Minor, Patch);
}

// What a run of the pass is asked to do; the values are shared with src/lib.rs.
enum class Task : uint32_t { Convert = 0, Protect = 1, StubForm = 2, Mark = 3 };

// The pass itself, in Rust. Returns whether the module was changed.
extern "C" bool relpoline_run(LLVMModuleRef M, uint32_t Task);

namespace {
class RelpolinePass : public PassInfoMixin<RelpolinePass> {
  Task What;

public:
  explicit RelpolinePass(Task What) : What(What) {}
  PreservedAnalyses run(Module &M, ModuleAnalysisManager &) {
    bool Changed = relpoline_run(wrap(&M), static_cast<uint32_t>(What));
    return Changed ? PreservedAnalyses::none() : PreservedAnalyses::all();
  }
  // A mitigation also applies to optnone functions and at -O0.
  static bool isRequired() { return true; }
};
} // namespace

// Where callers have retpolines, LTO makes one function for all targets of a virtual call (a "branch funnel") and takes
// it for one that throws nothing, so that exceptions would end the program. A plugin cannot run in front of the pass that
// makes them wherever that runs; it can set the number of targets up to which one is made.
static bool forbidBranchFunnels() {
  auto &Options = cl::getRegisteredOptions();
  auto Found = Options.find("wholeprogramdevirt-branch-funnel-threshold");
  if (Found == Options.end())
    return false;
  static_cast<cl::opt<unsigned> *>(Found->second)->setValue(0);
  return true;
}

extern "C" void relpoline_shim_register(PassBuilder &PB) {
  // Once: ThinLTO registers the plugin in each of its threads.
  static const bool Forbidden = forbidBranchFunnels();
  (void)Forbidden;
  PB.registerPipelineParsingCallback(
      [](StringRef Name, ModulePassManager &MPM, ArrayRef<PassBuilder::PipelineElement>) {
        if (Name == "relpoline")
          MPM.addPass(RelpolinePass(Task::Convert));
        else if (Name == "relpoline-protect")
          MPM.addPass(RelpolinePass(Task::Protect));
        else if (Name == "relpoline<stub>")
          MPM.addPass(RelpolinePass(Task::StubForm));
        else
          return false;
        return true;
      });
  PB.registerPipelineStartEPCallback(
      [](ModulePassManager &MPM, OptimizationLevel) { MPM.addPass(RelpolinePass(Task::Mark)); });
  PB.registerOptimizerLastEPCallback(
      [](ModulePassManager &MPM, OptimizationLevel, ThinOrFullLTOPhase Phase) {
        // Before the link step of LTO, calls are only made safe: a later run, after functions have been
        // inlined across modules, converts those that are left then.
        bool PreLink = Phase == ThinOrFullLTOPhase::ThinLTOPreLink ||
                       Phase == ThinOrFullLTOPhase::FullLTOPreLink;
        MPM.addPass(RelpolinePass(PreLink ? Task::Protect : Task::Convert));
      });
  PB.registerFullLinkTimeOptimizationLastEPCallback(
      [](ModulePassManager &MPM, OptimizationLevel) { MPM.addPass(RelpolinePass(Task::Convert)); });
}

// Splits the block of Call so that it is reached by two edges of one conditional branch, and returns the
// copy of Call that runs where the branch is taken. Call itself becomes the other copy.
extern "C" LLVMValueRef relpoline_shim_version_call_site(LLVMValueRef Call) {
  auto *CB = cast<CallBase>(unwrap(Call));
  auto *Type = cast<PointerType>(CB->getCalledOperand()->getType());
  return wrap(&versionCallSite(*CB, ConstantPointerNull::get(Type), nullptr));
}

// -Rpass=relpoline and -Rpass-missed=relpoline.
extern "C" void relpoline_shim_remark(LLVMValueRef Call, bool Passed, const char *Name,
                                      const char *Message) {
  auto *I = cast<Instruction>(unwrap(Call));
  OptimizationRemarkEmitter ORE(I->getFunction());
  if (Passed)
    ORE.emit([&] { return OptimizationRemark("relpoline", Name, I) << Message; });
  else
    ORE.emit([&] { return OptimizationRemarkMissed("relpoline", Name, I) << Message; });
}

extern "C" void relpoline_shim_diagnose(LLVMModuleRef M, bool Error, const char *Message) {
  unwrap(M)->getContext().diagnose(DiagnosticInfoGeneric(Message, Error ? DS_Error : DS_Warning));
}

// An ignore-list of the kind that sanitizers take. Null, and the reason in Error, where it cannot be read; the
// reason belongs to the caller (LLVMDisposeMessage).
extern "C" SpecialCaseList *relpoline_shim_open_ignorelist(const char *Path, char **Error) {
  std::string Reason;
  auto List = SpecialCaseList::create({Path}, *vfs::getRealFileSystem(), Reason);
  if (!List)
    *Error = strdup(Reason.c_str());
  return List.release();
}

extern "C" bool relpoline_shim_is_ignored(const SpecialCaseList *List, const char *Section, const char *Prefix,
                                          const char *Name) {
  return List->inSection(Section, Prefix, Name);
}

extern "C" void relpoline_shim_close_ignorelist(SpecialCaseList *List) { delete List; }

// What the target is, as bits that src/llvm/mod.rs reads.
extern "C" uint32_t relpoline_shim_target(LLVMModuleRef M) {
  const Triple &T = unwrap(M)->getTargetTriple();
  bool Wide = T.getArch() == Triple::x86_64 && !T.isX32();
  return (T.isX86() && T.isOSBinFormatELF() ? 1 : 0) | (Wide ? 2 : 0) | (T.isOSLinux() ? 4 : 0);
}

// Drops a module flag. True if it was there.
extern "C" bool relpoline_shim_drop_module_flag(LLVMModuleRef M, const char *Name) {
  NamedMDNode *Flags = unwrap(M)->getModuleFlagsMetadata();
  if (!Flags)
    return false;
  SmallVector<MDNode *, 8> Kept;
  for (MDNode *Flag : Flags->operands())
    if (cast<MDString>(Flag->getOperand(1))->getString() != Name)
      Kept.push_back(Flag);
  if (Kept.size() == Flags->getNumOperands())
    return false;
  Flags->clearOperands();
  for (MDNode *Flag : Kept)
    Flags->addOperand(Flag);
  return true;
}

// The code model, or -1 where the module does not name one.
extern "C" int relpoline_shim_code_model(LLVMModuleRef M) {
  auto Model = unwrap(M)->getCodeModel();
  return Model ? static_cast<int>(*Model) : -1;
}
