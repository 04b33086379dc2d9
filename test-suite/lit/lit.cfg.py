"""FileCheck tests of what relpoline emits, links and reports.

Every setting below is a `--param NAME=VALUE` or the variable RELPOLINE_LIT_NAME:

  bindir     where the plugin, the runtime and the tools are (default: target/release)
  llvm       LLVM's tools (default: /usr/lib/llvm-22/bin)
  nightly    rustc of rustup's nightly, stable, and Debian's (default: what rustup knows; /usr/bin/rustc)
  stable
  debian
  exec_root  where tests write (default: target/lit)
  no_skip    1: a test that this machine cannot run fails instead of being skipped
"""

import glob
import os
import re
import shutil
import subprocess
import sys

import lit.formats

# Provided by lit when it runs this file.
config = config  # noqa: F821
lit_config = lit_config  # noqa: F821

SOURCE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(SOURCE))

sys.path.insert(0, SOURCE)
from no_skip import NoSkip  # noqa: E402


def setting(name, default=None):
    """A setting of the list above; empty means absent."""
    return lit_config.params.get(name) or os.environ.get("RELPOLINE_LIT_" + name.upper()) or default


def answer(*command):
    """What a command prints, or None where it fails or is missing."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


no_skip = setting("no_skip", "0") not in ("0", "no", "off", "")
bindir = os.path.abspath(setting("bindir", os.path.join(TOP, "target", "release")))
llvm = setting("llvm", "/usr/lib/llvm-22/bin")

config.name = "relpoline"
config.test_format = NoSkip() if no_skip else lit.formats.ShTest()
config.test_source_root = SOURCE
config.test_exec_root = os.path.abspath(setting("exec_root", os.path.join(TOP, "target", "lit")))
config.suffixes = [".S", ".c", ".cpp", ".ll", ".rs", ".test"]
config.excludes = ["Inputs"]

for variable in ("RUSTUP_HOME", "CARGO_HOME", "TMPDIR"):
    if variable in os.environ:
        config.environment[variable] = os.environ[variable]
# A compiler that crashes leaves its report with the test's other files.
config.environment["CLANG_CRASH_DIAGNOSTICS_DIR"] = config.test_exec_root
# Whatever the caller's shell has set for programs or compilers of its own.
for variable in ("RELPOLINE_OPTIONS", "RELPOLINE_DISABLE", "RUSTFLAGS", "RUSTC_BOOTSTRAP"):
    config.environment.pop(variable, None)

# ---- What is tested -----------------------------------------------------------------------------------

plugin = os.path.join(bindir, "librelpoline_pass.so")
if not os.path.exists(plugin):
    lit_config.fatal(f"{plugin} does not exist; run: cargo build --release -p relpoline-pass, or set bindir")

substitutions = {"%plugin": plugin, "%rt": os.path.join(bindir, "librelpoline_rt.a"), "%inputs": f"{SOURCE}/Inputs",
                 "%include": f"{TOP}/runtime/include"}
for tool in ("relpoline-clang++", "relpoline-clang", "relpoline-rustc", "cargo-relpoline", "relpoline"):
    path = os.path.join(bindir, tool)
    substitutions["%" + tool] = path
    if os.path.exists(path):
        config.available_features.add(tool)
if os.path.exists(substitutions["%rt"]):
    config.available_features.add("runtime")

# ---- LLVM's tools -------------------------------------------------------------------------------------

for tool in ("FileCheck", "count", "not", "llc", "llvm-ar", "llvm-dis", "llvm-dwarfdump", "llvm-link", "llvm-nm",
             "llvm-objcopy", "llvm-objdump", "llvm-readelf", "llvm-mc", "ld.lld"):
    path = os.path.join(llvm, tool)
    if not os.path.exists(path):
        lit_config.fatal(f"{path} does not exist; run: apt-get install clang-22 lld-22 llvm-22-tools, or set llvm")
    substitutions["%" + tool] = path

substitutions |= {
    "%clang": f"{llvm}/clang -fpass-plugin={plugin}",
    "%clangxx": f"{llvm}/clang++ -fpass-plugin={plugin}",
    "%clang-plain": f"{llvm}/clang",
    "%clangxx-plain": f"{llvm}/clang++",
    "%opt": f"{llvm}/opt -load-pass-plugin={plugin}",
    # Disassembly of an object file, with the names that it refers to.
    "%objdump": f"{llvm}/llvm-objdump -d -r --no-show-raw-insn",
    # Reads a disassembly and fails at any indirect call or jump, or if there is nothing to read.
    "%no-raw": f"{llvm}/FileCheck {SOURCE}/Inputs/no-raw.check",
    "%python": os.path.realpath(shutil.which("python3") or "python3"),
}

for target in (answer(f"{llvm}/llc", "--version") or "").splitlines():
    if match := re.match(r"\s+(\S+)\s+- ", target):
        config.available_features.add(match[1] + "-registered-target")
if shutil.which("ld.bfd"):
    config.available_features.add("gnu-ld")
    substitutions["%ld.bfd"] = shutil.which("ld.bfd")
if shutil.which("as"):
    config.available_features.add("gnu-as")
if glob.glob((answer(f"{llvm}/clang", "-print-runtime-dir") or "") + "/libclang_rt.asan-x86_64.a"):
    config.available_features.add("asan")

# ---- rustc --------------------------------------------------------------------------------------------

RUST_FLAGS = "--edition 2024 -Dwarnings"
compilers = {
    "nightly": setting("nightly") or answer("rustup", "which", "rustc", "--toolchain", "nightly"),
    "stable": setting("stable") or answer("rustup", "which", "rustc", "--toolchain", "stable"),
    "debian": setting("debian", "/usr/bin/rustc"),
}
for name, rustc in compilers.items():
    version = answer(rustc, "-vV") if rustc else None
    # A plugin fits one major version of LLVM; a compiler with another one is as good as none.
    if version and "LLVM version: 22." in version:
        config.available_features.add("rustc-" + name)
    # Only a nightly compiler takes -Z options without being told that it may.
    command = rustc if name == "nightly" else f"env RUSTC_BOOTSTRAP=1 {rustc}"
    substitutions[f"%rustc-{name}"] = f"{command} {RUST_FLAGS} -Zllvm-plugins={plugin}"
    substitutions[f"%rustc-{name}-plain"] = f"{command} {RUST_FLAGS}"

# Longer names first, and whole names only: %clang is a prefix of others.
for name in sorted(substitutions, key=len, reverse=True):
    config.substitutions.append((re.escape(name) + r"(?![\w+-])", substitutions[name]))
