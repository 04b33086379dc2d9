// Loads a plugin as a compiler does whose LLVM has the version on the command line, and prints what the plugin
// says about itself. Defines nothing else of LLVM, unless WITH_DATA is set: the plugin's references to data
// must be met when it is loaded, those to functions when they are first called.
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static unsigned version[3];

// What the compiler that loads the plugin has, since LLVM 16.
#ifndef WITHOUT_VERSION
void LLVMGetVersion(unsigned *major, unsigned *minor, unsigned *patch) {
  *major = version[0];
  *minor = version[1];
  *patch = version[2];
}
#endif

#ifdef WITH_DATA
#define DATA(name) \
  char name[256]
DATA(_ZN4llvm17PreservedAnalyses14AllAnalysesKeyE);
DATA(_ZTVN4llvm21DiagnosticInfoGenericE);
DATA(_ZTVN4llvm30DiagnosticInfoOptimizationBaseE);
DATA(_ZTVN4llvm18OptimizationRemarkE);
DATA(_ZTVN4llvm24OptimizationRemarkMissedE);
#endif

// llvm::PassPluginLibraryInfo
typedef struct {
  uint32_t api_version;
  const char *name, *version;
  void (*register_callbacks)(void *);
  void *pre_codegen;
} Info;

int main(int count, char **arguments) {
  for (int i = 0; i < 3; i++) version[i] = (unsigned)atoi(arguments[2 + i]);
  void *plugin = dlopen(arguments[1], RTLD_LAZY | RTLD_GLOBAL); // as LLVM and rustc load it
  if (!plugin) {
    fprintf(stderr, "%s\n", dlerror());
    return 1;
  }
  Info (*get_info)(void) = (Info(*)(void))dlsym(plugin, "llvmGetPassPluginInfo");
  Info info = get_info();
  printf("%s: version %u, %s register\n", info.name, info.api_version, info.register_callbacks ? "can" : "cannot");
  return 0;
}
