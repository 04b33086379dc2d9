//! What a clang command line asks for, as far as the wrapper has to know. Only looks; clang itself parses.

use crate::target::Support;
use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt,
};

/// How far clang goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// To the end.
    #[default]
    Link,
    /// Assembly, an object file, bitcode.
    Compile,
    /// Nothing is generated: preprocessing, syntax check, analysis.
    Check,
    /// It only says something about itself.
    Inform,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandLine {
    /// How far clang goes.
    pub phase: Phase,
    /// Whether there is anything that can be linked. Headers are not: they are precompiled.
    pub inputs: bool,
    /// Whether some of it is code that will be compiled.
    pub sources: bool,
    /// A link that makes another object file.
    pub relocatable: bool,
    /// Link-time optimisation.
    pub lto: bool,
    /// The last level of optimisation that is named is 0.
    pub unoptimised: bool,
    /// The linker, where one is named.
    pub linker: Option<OsString>,
    /// The compiler proper is called directly (`-cc1`).
    pub frontend: bool,
    /// So is another of the programs in clang (`-cc1as`), which has options of its own.
    pub inner: bool,
    /// What keeps clang from running the plugin, or the plugin from converting, and what comes of it.
    pub unconverted: Option<&'static str>,
    /// Data is sorted into sections for hot and for cold data.
    pub partitions_data: bool,
    /// Code that functions have in common is put into functions of its own.
    pub outlines: bool,
    /// The same, where the linker generates code.
    pub linker_outlines: bool,
    /// Code of the Linux kernel (`-D__KERNEL__`).
    pub kernel: bool,
    /// Retpolines are wanted, and somebody else provides the thunks.
    pub external_thunk: bool,
    /// The linker is told from how many targets on LTO makes no branch funnels.
    pub funnels: bool,
    /// Position of `--`, behind which everything is a file.
    pub end_of_options: Option<usize>,
    /// What the next files are, where it is said (`-x`).
    language: Option<String>,
    /// As `clang-cl`, for Windows.
    like_cl: bool,
    triple: Option<String>,
    /// `-m32` and its like.
    model: Option<String>,
}

/// Options whose value is the next argument, from clang 22's own table.
const SEPARATE: &str = "
    --analyzer-output --config --define-macro --for-linker --force-link --imacros --include
    --include-directory --include-directory-after --include-prefix --include-with-prefix --language
    --library-directory --output --param --prefix --print-file-name --print-prog-name
    --serialize-diagnostics --std --sysroot --undefine-macro --vfsoverlay -A -B -D -F -G -I -L -MF -MJ
    -MQ -MT -T -U -Xanalyzer -Xarch_device -Xarch_host -Xassembler -Xclang -Xclangas -Xcuda-fatbinary
    -Xcuda-ptxas -Xlinker -Xoffload-linker -Xopenmp-target -Xopenmp-target= -Xpreprocessor -arch -b
    -bundle_loader -ccc-gcc-name -ccc-install-dir -cxx-isystem -darwin-target-variant
    -darwin-target-variant-triple -dependency-dot -dependency-file -dsym-dir -dumpdir -e
    -fdebug-compilation-dir -fexperimental-openacc-macro-override -filelist -fmodules-user-build-path
    -force_load -framework -ftrapv-handler -gen-cdb-fragment-path -hlsl-entry -iapinotes-modules
    -idirafter -iframework -iframeworkwithsysroot -imacros -image_base -imultilib -include -include-pch
    -init -install_name -iprefix -iquote -isysroot -isystem -isystem-after -ivfsoverlay -iwithprefix
    -iwithprefixbefore -iwithsysroot -l -meabi -mllvm -mmlir -module-dependency-dir -mthread-model -o
    -resource-dir -rpath -serialize-diagnostics -stdlib++-isystem -target -u -undefined
    -validator-version -vfsoverlay -weak_library -working-directory -x -z
";

/// LLVM's option for the number of targets up to which LTO makes a branch funnel of a virtual call. It may be given once.
pub const FUNNELS: &str = "-wholeprogramdevirt-branch-funnel-threshold";

/// LLVM's option for the outliner.
const OUTLINER: &str = "-enable-machine-outliner";

/// Ends of the names of files that hold no source code.
const NO_SOURCE: &[&str] =
    &[".o", ".obj", ".lo", ".a", ".so", ".s", ".S", ".sx", ".ld", ".lds", ".map", ".ver"];

/// Ends of the names of headers.
const HEADERS: &[&str] = &[".h", ".H", ".hh", ".hp", ".hpp", ".HPP", ".hxx", ".h++"];

impl CommandLine {
    /// Looks at arguments whose response files are expanded.
    pub fn scan(arguments: &[OsString]) -> Self {
        let mut found = Self::default();
        // clang only takes it for the compiler proper in first place.
        if let Some(first) = arguments.first().map(|first| first.as_bytes())
            && first.starts_with(b"-cc1")
        {
            found.frontend = first == b"-cc1";
            found.inner = !found.frontend;
            found.phase = if found.frontend { Phase::Compile } else { Phase::Inform };
            found.inputs = true;
            found.sources = true;
            arguments.iter().for_each(|argument| found.frontend_argument(argument));
            return found;
        }
        let mut rest = arguments.iter().enumerate();
        while let Some((at, argument)) = rest.next() {
            let bytes = argument.as_bytes();
            if bytes == b"--" {
                found.end_of_options = Some(at);
                for (_, file) in rest.by_ref() {
                    found.file(file);
                }
            } else if bytes == b"-" || !bytes.starts_with(b"-") {
                found.file(argument);
            } else {
                let separate = SEPARATE.split_whitespace().any(|name| bytes == name.as_bytes());
                let value = separate.then(|| rest.next().map_or(OsStr::new(""), |(_, value)| value));
                found.option(argument, value);
            }
        }
        found
    }

    /// Whether clang will run the linker.
    pub fn links(&self) -> bool {
        self.phase == Phase::Link && self.inputs
    }

    /// Whether this is a part of the kernel that asks for no retpolines of the kernel's own: boot code, the vDSO, a
    /// test of an option. It is left alone.
    pub fn is_left_to_the_kernel(&self) -> bool {
        self.kernel && !self.external_thunk
    }

    /// Whether clang will generate code.
    pub fn generates(&self) -> bool {
        self.phase <= Phase::Compile && self.sources
    }

    /// What is compiled for.
    pub fn target(&self) -> &str {
        let default = if self.like_cl { "x86_64-pc-windows-msvc" } else { "x86_64-linux-gnu" };
        self.triple.as_deref().unwrap_or(default)
    }

    /// What can be done for it.
    pub fn support(&self) -> Support {
        Support::of(self.target(), self.model.as_deref())
    }

    fn file(&mut self, file: &OsStr) {
        let name = file.as_bytes();
        let ends = |ends: &[&str]| ends.iter().any(|end| name.ends_with(end.as_bytes()));
        let (header, source) = match self.language.as_deref() {
            Some(language) => (language.ends_with("header"), !language.starts_with("assembler")),
            None => (ends(HEADERS), !ends(NO_SOURCE) && !name.windows(4).any(|part| part == b".so.")),
        };
        self.inputs |= !header;
        self.sources |= source;
    }

    fn option(&mut self, option: &OsStr, value: Option<&OsStr>) {
        let bytes = option.as_bytes();
        let Ok(name) = str::from_utf8(bytes) else { return };
        self.inputs |= name.starts_with("-l");
        match name {
            "-c"
            | "-S"
            | "--assemble"
            | "--compile"
            | "--precompile"
            | "-emit-ast"
            | "-emit-interface-stubs"
            | "-extract-api"
            | "-ccc-print-phases" => self.stop(Phase::Compile),
            "-E"
            | "-M"
            | "-MM"
            | "--preprocess"
            | "--dependencies"
            | "--user-dependencies"
            | "-fsyntax-only"
            | "--analyze" => self.stop(Phase::Check),
            "--version" | "--help" | "--help-hidden" | "-help" | "-dumpversion" | "-dumpmachine"
            | "-dumpspecs" => self.stop(Phase::Inform),
            "-r" | "--relocatable" => self.relocatable = true,
            "-D__KERNEL__" => self.kernel = true,
            "-mretpoline-external-thunk" => self.external_thunk = true,
            "-Xclang" => self.frontend_argument(value.unwrap_or_default()),
            "-mllvm" => outliner(value.unwrap_or_default().as_bytes(), &mut self.outlines),
            "-Xlinker" | "--for-linker" => self.linker_argument(value.unwrap_or_default().as_bytes()),
            "-flto" => self.lto = true,
            "-O0" => self.unoptimised = true,
            "-fpartition-static-data-sections" => self.partitions_data = true,
            "-fno-partition-static-data-sections" => self.partitions_data = false,
            "-fno-lto" => self.lto = false,
            "-m64" | "-m32" | "-mx32" | "-m16" => self.model = Some(name.to_owned()),
            "-x" | "--language" => self.set_language(value.unwrap_or_default().to_string_lossy().as_ref()),
            "-target" => self.triple = Some(value.unwrap_or_default().to_string_lossy().into_owned()),
            _ => self.joined(name),
        }
    }

    fn joined(&mut self, name: &str) {
        if let Some(mode) = name.strip_prefix("--driver-mode=") {
            self.like_cl = mode == "cl";
        } else if let Some(triple) = name.strip_prefix("--target=") {
            self.triple = Some(triple.to_owned());
        } else if let Some(language) = name.strip_prefix("--language=").or(name.strip_prefix("-x")) {
            self.set_language(language);
        } else if name.starts_with("-O") {
            self.unoptimised = false;
        } else if name.starts_with("-flto=") {
            self.lto = true;
        } else if name.starts_with("-fthinlto-index=") {
            self.unconverted = Some("calls stay retpolines: with -fthinlto-index= clang runs no plugin");
        } else if let Some(option) = name.strip_prefix("-mllvm=") {
            outliner(option.as_bytes(), &mut self.outlines);
        } else if let Some(linker) = name.strip_prefix("-fuse-ld=").or(name.strip_prefix("--ld-path=")) {
            self.linker = (!linker.is_empty()).then(|| linker.into());
        } else if let Some(list) = name.strip_prefix("-Wl,") {
            list.split(',').for_each(|argument| self.linker_argument(argument.as_bytes()));
        } else if ["-print-", "--print-", "--help=", "--autocomplete="]
            .iter()
            .any(|prefix| name.starts_with(prefix))
        {
            self.stop(Phase::Inform);
        }
    }

    fn set_language(&mut self, language: &str) {
        self.language = (language != "none").then(|| language.to_owned());
    }

    /// An argument for the compiler proper.
    fn frontend_argument(&mut self, argument: &OsStr) {
        if argument == "-disable-llvm-passes" || argument == "-disable-llvm-optzns" {
            self.unconverted =
                Some("indirect calls are not protected: with -disable-llvm-passes clang runs no plugin");
        }
        self.partitions_data |= argument == "-fpartition-static-data-sections";
        // The `-mllvm` before it is an argument of its own.
        outliner(argument.as_bytes(), &mut self.outlines);
    }

    fn linker_argument(&mut self, argument: &[u8]) {
        // A file, or the value of the option before; without any file nothing needs the runtime.
        self.inputs |= !argument.is_empty() && !argument.starts_with(b"-");
        self.funnels |= argument.windows(FUNNELS.len()).any(|part| part == FUNNELS.as_bytes());
        outliner(argument, &mut self.linker_outlines);
        self.relocatable |= matches!(argument, b"-r" | b"-i" | b"-Ur" | b"--relocatable" | b"-relocatable");
    }

    /// The option that stops earliest wins.
    fn stop(&mut self, phase: Phase) {
        self.phase = self.phase.max(phase);
    }
}

/// Whether code is outlined, where an option of LLVM's says so; tools have several ways to pass it on.
fn outliner(option: &[u8], is_on: &mut bool) {
    let Some(at) = memchr::memmem::find(option, OUTLINER.as_bytes()) else { return };
    match &option[at + OUTLINER.len()..] {
        b"=never" => *is_on = false,
        b"" | [b'=', ..] => *is_on = true,
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(line: &str) -> CommandLine {
        let arguments: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        CommandLine::scan(&arguments)
    }

    #[test]
    fn phases() {
        let phase = |line: &str| (scan(line).phase, scan(line).links());
        assert_eq!(phase("a.c -o a"), (Phase::Link, true));
        assert_eq!(phase("-c a.c"), (Phase::Compile, false));
        assert_eq!(phase("-S -E a.c"), (Phase::Check, false));
        assert_eq!(phase("-fsyntax-only a.c"), (Phase::Check, false));
        assert_eq!(phase("--version"), (Phase::Inform, false));
        assert_eq!(phase("-print-search-dirs a.o"), (Phase::Inform, false));
        assert_eq!(phase("-MD -MF -c a.c"), (Phase::Link, true));
        assert_eq!(phase("-MMD -MP a.c"), (Phase::Link, true));
    }

    #[test]
    fn without_inputs_nothing_is_linked() {
        for line in [
            "",
            "-v",
            "-o a",
            "-O2 -Wall -std=c11",
            "-x c",
            "-include a.h -I dir -L dir",
            "-rdynamic",
            "-u x -T y",
        ] {
            assert!(!scan(line).links(), "{line}");
        }
        for line in [
            "--language=c-header a.c",
            "--language c-header a.c",
            "a.h",
            "-x c-header a.c",
            "-xc++-header a.hpp",
            "a.h -o a.pch",
        ] {
            assert!(!scan(line).links() && scan(line).generates(), "{line}");
        }
        for line in [
            "a.o",
            "-x c -",
            "a.h b.c",
            "-x c-header a.c -x none b.c",
            "-x c a.h",
            "-lfoo",
            "-l foo",
            "-Wl,foo.o",
            "-Xlinker foo.o",
            "-v a.c",
        ] {
            assert!(scan(line).links(), "{line}");
        }
    }

    #[test]
    fn sources() {
        for line in ["-c a.c", "-x c a.o", "a.o b.cpp", "-x c -", "-c a.ll", "a.c++", "a"] {
            assert!(scan(line).generates(), "{line}");
        }
        for line in [
            "a.o b.a -o c",
            "-x assembler a.c",
            "-xassembler-with-cpp a.c",
            "-c a.s",
            "liba.so libb.so.1.2",
            "-E a.c",
            "-fsyntax-only a.c",
            "-o a.c",
        ] {
            assert!(!scan(line).generates(), "{line}");
        }
    }

    #[test]
    fn relocatable_links() {
        for line in [
            "-r a.o",
            "-Wl,-r a.o",
            "-Wl,-Ur a.o",
            "-nostdlib -Wl,-z,now,--relocatable a.o",
            "-Xlinker -r a.o",
        ] {
            assert!(scan(line).relocatable, "{line}");
        }
        for line in ["-rdynamic a.o", "-o -r a.o", "-Wl,-rpath,/r a.o", "-I -r a.c"] {
            assert!(!scan(line).relocatable, "{line}");
        }
    }

    #[test]
    fn targets() {
        for line in [
            "a.c",
            "--target=x86_64-linux-gnu a.c",
            "-target x86_64-pc-linux-gnu a.c",
            "-m32 -m64 a.c",
            "--target=i686-linux-gnu -m64 a.c",
        ] {
            assert_eq!(scan(line).support(), Support::Full, "{line}");
        }
        for line in ["-m32 a.c", "-target i686-linux-gnu", "-mx32", "--target=x86_64-unknown-none-elf"] {
            assert_eq!(scan(line).support(), Support::Retpolines, "{line}");
        }
        assert_eq!(scan("--target=aarch64-linux-gnu -m64 a.c").support(), Support::None);
    }

    #[test]
    fn what_llvm_cannot_do_with_retpolines() {
        for line in [
            "-mllvm -enable-machine-outliner a.c",
            "-mllvm=--enable-machine-outliner=always a.c",
            "-Xclang -mllvm -Xclang -enable-machine-outliner=always a.c",
            "-cc1 -mllvm -enable-machine-outliner a.c",
        ] {
            assert!(scan(line).outlines, "{line}");
        }
        for line in
            ["-Wl,-mllvm,-enable-machine-outliner a.o", "-Xlinker -plugin-opt=-enable-machine-outliner a.o"]
        {
            assert!(scan(line).linker_outlines && !scan(line).outlines, "{line}");
        }
        for line in
            ["-mllvm -enable-machine-outliner=never a.c", "-moutline a.c", "-Wl,x-enable-machine-outliner.o"]
        {
            assert!(!scan(line).outlines && !scan(line).linker_outlines, "{line}");
        }
        let partitions = |line: &str| scan(line).partitions_data;
        assert!(partitions("-fpartition-static-data-sections a.c"));
        assert!(partitions("-Xclang -fpartition-static-data-sections a.c"));
        assert!(!partitions("-fpartition-static-data-sections -fno-partition-static-data-sections a.c"));
    }

    #[test]
    fn link_time_optimisation_and_linkers() {
        assert!(scan("-flto a.c").lto && scan("-flto=thin a.c").lto);
        assert!(!scan("-flto -fno-lto a.c").lto && !scan("a.c").lto);
        assert!(scan("-O2 -O0 a.c").unoptimised && !scan("-O0 -Og a.c").unoptimised);
        assert_eq!(scan("-fuse-ld=gold -fuse-ld=lld").linker, Some("lld".into()));
        assert_eq!(scan("--ld-path=/opt/ld").linker, Some("/opt/ld".into()));
    }

    #[test]
    fn kernel() {
        assert!(scan("-D__KERNEL__ -m16 -c a.c").is_left_to_the_kernel());
        assert!(!scan("-D__KERNEL__ -mretpoline-external-thunk -c a.c").is_left_to_the_kernel());
        assert!(!scan("-mretpoline-external-thunk -c a.c").is_left_to_the_kernel());
        assert!(!scan("-c a.c").is_left_to_the_kernel());
    }

    #[test]
    fn branch_funnels() {
        assert!(scan("-Wl,-plugin-opt=-wholeprogramdevirt-branch-funnel-threshold=9 a.o").funnels);
        assert!(!scan("-Wl,-plugin-opt=O2 a.o").funnels);
    }

    #[test]
    fn end_of_options() {
        let found = scan("-c -- -r -flto.c");
        assert_eq!((found.end_of_options, found.relocatable, found.lto), (Some(1), false, false));
    }

    #[test]
    fn what_keeps_the_plugin_from_its_work() {
        for line in [
            "-Xclang -disable-llvm-passes -c a.c",
            "-cc1 -disable-llvm-optzns -emit-obj a.c",
            "-x ir a.o -fthinlto-index=a.bc -c",
        ] {
            assert!(scan(line).unconverted.is_some(), "{line}");
        }
        assert!(scan("-Xclang -emit-obj -c a.c -o -disable-llvm-passes").unconverted.is_none());
    }

    #[test]
    fn compiler_proper() {
        assert!(scan("-cc1 -emit-obj a.c").frontend && scan("-cc1 a.c").generates());
        assert!(scan("-cc1as a.s").inner && !scan("-cc1 a.c").inner && !scan("-c -cc1as").inner);
        assert_eq!(scan("-cc1as a.s").phase, Phase::Inform);
        assert!(!scan("-c -cc1").frontend);
    }
}
