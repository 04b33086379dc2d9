//! relpoline-clang is clang, except for what the code looks like.

mod common;

use common::{CLANG, DISPATCH, DISPATCH_OUTPUT, Files, REAL_CLANG, RELPOLINE, clangxx, command, home};
use std::{fs, process::Stdio};

fn dispatch() -> Files {
    Files::new(&[
        ("a.c", DISPATCH),
        ("empty.s", ""),
        ("pre.S", "#ifdef __RELPOLINE__\n.globl x\nx: ret\n#endif\n"),
    ])
}

#[test]
fn what_does_not_compile_is_clangs_word_for_word() {
    let files = dispatch();
    for line in [
        "",
        "--version",
        "-v",
        "-dumpmachine",
        "-dumpversion",
        "-print-search-dirs",
        "-print-prog-name=ld",
        "--print-file-name=libc.so",
        "-E a.c",
        "-E -dM -undef -x c /dev/null -nostdinc -U__RELPOLINE__",
        "-M a.c",
        "-MM a.c -MT x",
        "-fsyntax-only a.c",
        "--no-such-option a.c -fsyntax-only",
        "-c no-such-file.c",
        "-O2",
        "-I",
        "-c empty.s -o empty.o",
        "-Wl,--version",
        "-Wl,-v -nostdlib",
        "-o no-such-directory/x a.c",
    ] {
        let (ours, clangs) = (files.run(CLANG, line), files.run(REAL_CLANG, line));
        let normal = |text: &str| text.replace("clang-22:", "clang:");
        let both = [&ours, &clangs].map(|run| (run.status, run.stdout.clone(), normal(&run.stderr)));
        // Names of temporary files differ from run to run.
        if line.starts_with("-o no-such-directory") {
            assert_eq!((both[0].0, both[0].2.lines().count()), (both[1].0, both[1].2.lines().count()));
        } else {
            assert_eq!(both[0], both[1], "{line}");
        }
    }
}

#[test]
fn every_way_of_compiling_is_silent() {
    let files = dispatch();
    files.write("only-compile.cfg", "-c");
    for line in [
        "-c a.c",
        "-Werror -Weverything -Wno-everything -Wunused-command-line-argument -c a.c",
        "-S a.c",
        "-S -emit-llvm a.c",
        "-c -emit-llvm a.c -o a.bc",
        "-O0 -g a.c -o a",
        "-c pre.S empty.s a.c",
        "-MD -MF a.d -c a.c",
        "-### a.c -o a",
        "-save-temps=obj -c a.c",
        "-pipe -pthread -c a.c",
        "-x c-header a.c -o a.pch",
        "-Werror --language c-header a.c -o a.pch",
        "-Werror --driver-mode=cpp a.c -o a.i",
        "-Werror --config ./only-compile.cfg a.c",
        "-Xclang -emit-obj -c a.c",
        "-c -flto a.c",
    ] {
        let outcome = files.run(CLANG, line).succeeds();
        if !line.starts_with("-###") {
            assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("", ""), "{line}");
        }
    }
}

#[test]
fn every_way_of_linking_works() {
    let files = dispatch();
    for line in [
        "a.c",
        "-O2 a.c",
        "-O3 -g a.c",
        "-Os a.c",
        "-O2 -static a.c",
        "-O2 -static-pie -fPIE a.c",
        "-O2 -no-pie -fno-pie a.c",
        "-O2 -fuse-ld=lld a.c",
        "-O2 -fuse-ld=lld -Wl,--gc-sections -ffunction-sections a.c",
        "-O2 -x c a.c",
        "-O2 -Wl,-z,now -Wl,--as-needed a.c",
        "-O2 -flto a.c",
        "-O2 -flto=thin a.c",
        "-O2 -flto -static a.c",
        "-O2 -x c -- a.c",
    ] {
        files.run(CLANG, &format!("-o a {line}")).in_silence();
        let mut program = command(files.path("a"));
        program.env("RELPOLINE_OPTIONS", "stats=stats.json");
        files.run_with(program, "").in_silence().prints(DISPATCH_OUTPUT);
        let stats = std::fs::read_to_string(files.path("stats.json")).expect("the runtime works");
        assert!(stats.contains("\"sites\":1"), "{line}: {stats}");
        std::fs::remove_file(files.path("stats.json")).unwrap();
        assert_eq!(files.sites("a").len(), 1, "{line}");
        assert_eq!(files.audit("a")["built_here"]["raw"], 0, "{line}");
    }
}

#[test]
fn shared_objects_and_programs_have_a_runtime_each() {
    let files = dispatch();
    files.write("main.c", "int dispatch(int); int main(void) { return dispatch(3) != 7; }");
    for lto in ["", "-flto", "-flto=thin"] {
        files.run(CLANG, &format!("-O2 {lto} -fPIC -shared -DLIBRARY a.c -o liba.so")).in_silence();
        assert!(files.has_runtime("liba.so"));
        files.run(CLANG, "-O2 main.c -L. -la -Wl,-rpath,. -o main").in_silence();
        files.run_built("main").succeeds();
    }
}

#[test]
fn separate_compilation_and_archives() {
    let files = dispatch();
    files.write("main.c", "int dispatch(int); int main(void) { return dispatch(3) != 7; }");
    for flag in ["-g", "-flto", "-flto=thin"] {
        files.run(CLANG, &format!("-O2 -DLIBRARY {flag} -c a.c main.c")).in_silence();
        files.run(CLANG, &format!("{flag} a.o main.o -o main")).in_silence();
        files.run_built("main").succeeds();
        assert_eq!(files.sites("main").len(), 1, "{flag}");
        files.run(common::RELPOLINE, "audit main").succeeds();
    }
    // lld takes bitcode without -flto.
    files.run(CLANG, "-fuse-ld=lld a.o main.o -o main").in_silence();
    assert_eq!(files.sites("main").len(), 1);
}

#[test]
fn cmake_finds_the_archiver_by_the_compilers_prefix() {
    let files = dispatch();
    files.run(CLANG, "-O2 -DLIBRARY -flto -c a.c").in_silence();
    let archiver = std::path::Path::new(CLANG).with_file_name("relpoline-llvm-ar");
    files.run(&archiver, "rcs liba.a a.o").in_silence();
    assert!(files.run(&archiver, "t liba.a").stdout.contains("a.o"));
}

/// Copies of plugin and runtime, where a test may change them.
fn home_of(files: &Files) {
    for part in ["librelpoline_pass.so", "librelpoline_rt.a"] {
        files.write(&format!("home/{part}"), fs::read(home().join(part)).unwrap());
    }
}

#[test]
fn ccache_takes_objects_again_until_something_changes_what_is_compiled() {
    let files = dispatch();
    home_of(&files);
    let plugin = files.path("home/librelpoline_pass.so");
    let ccache = |line: &str, variables: &[(&str, &str)]| {
        let mut ccache = command("ccache");
        ccache.env("CCACHE_DIR", files.path("cache"));
        ccache.env("CCACHE_COMPILERCHECK", "%compiler% --relpoline-version");
        ccache.env("RELPOLINE_HOME", files.path("home")).envs(variables.iter().copied());
        files.run_with(ccache, line).in_silence().stdout
    };
    let compile_with = |variables: &[(&str, &str)]| {
        ccache(&format!("{CLANG} -O2 -c a.c -o a.o"), variables);
        let stats = ccache("--print-stats", &[]);
        let number = |name: &str| -> u32 {
            let line = stats.lines().find(|line| line.starts_with(name)).unwrap();
            line.rsplit('\t').next().unwrap().parse().unwrap()
        };
        [number("cache_miss"), number("direct_cache_hit")]
    };
    let compile = || compile_with(&[]);
    let site = |form: &str| vec![(form.to_owned(), "dispatch".to_owned())];
    let disabled = [("RELPOLINE_DISABLE", "1")];
    assert_eq!([compile_with(&disabled), compile_with(&disabled)], [[1, 0], [1, 1]]);
    assert_eq!(files.sites("a.o"), []);
    assert_eq!([compile(), compile()], [[2, 1], [2, 2]]);
    assert_eq!(files.sites("a.o"), site("inline"));
    assert_eq!(compile_with(&[("RELPOLINE_FORM", "stub")]), [3, 2]);
    assert_eq!(files.sites("a.o"), site("stub"));
    let listed = [("RELPOLINE_IGNORELIST", "list")];
    files.write("list", "fun:nobody");
    assert_eq!(compile_with(&listed), [4, 2]);
    files.write("list", "fun:dispatch");
    assert_eq!(compile_with(&listed), [5, 2]);
    assert_eq!(files.sites("a.o"), []);
    fs::write(&plugin, [fs::read(&plugin).unwrap(), vec![0]].concat()).unwrap();
    assert_eq!([compile(), compile()], [[6, 2], [6, 3]]);
    // Another clang.
    let other = files.script("clang-other", &format!("# clang version 22\nexec {REAL_CLANG} \"$@\""));
    assert_eq!(compile_with(&[("RELPOLINE_CLANG", other.to_str().unwrap())]), [7, 3]);
    assert_eq!(compile(), [7, 4]);
    // A list behind an option is no part of the compiler.
    let compile_listed = || {
        let line = format!("{CLANG} -O2 -c a.c -o a.o --relpoline-ignorelist=list");
        ccache(&line, &[("CCACHE_EXTRAFILES", "list")]);
        files.sites("a.o")
    };
    assert_eq!(compile_listed(), []);
    files.write("list", "fun:nobody");
    assert_eq!(compile_listed(), site("inline"));
}

/// The kernel makes a macro of it.
#[test]
fn the_version_is_one_line_and_needs_no_plugin_where_none_is_used() {
    let files = dispatch();
    let mut disabled = command(CLANG);
    disabled.env("RELPOLINE_DISABLE", "1").env("RELPOLINE_HOME", "/nowhere");
    let disabled = files.run_with(disabled, "--relpoline-version").in_silence().stdout;
    let version = files.run(CLANG, "--relpoline-version").in_silence().stdout;
    for text in [&version, &disabled] {
        assert!(text.starts_with("relpoline 0.") && text.lines().count() == 1, "{text}");
    }
    assert_ne!(version, disabled);
    assert_ne!(version, files.run(clangxx(), "--relpoline-version --relpoline-form=stub").stdout);
}

/// A program may be built without relpolines, or only in part with them, and still include relpoline.h.
#[test]
fn the_header_can_be_compiled_out() {
    let header = concat!(env!("CARGO_MANIFEST_DIR"), "/../runtime/include/relpoline.h");
    let program = r#"
#include "HEADER"
#include <stdio.h>
RELPOLINE_NEVER static int never(int (*f)(int)) { return f(1) + 1; }
static int one(int x) { return x + 1; }
int dispatch(int x);
int main(void) {
    int (*volatile f)(int) = one;
    int (*mode)(int) = relpoline_set_mode;
    printf("%d %d\n", never(f), dispatch(1));
    printf("%d ", mode(RELPOLINE_FREEZE));
    printf("%d ", relpoline_set_mode(RELPOLINE_ON));
    printf("%d ", relpoline_set_site(0, 1));
    printf("%d ", relpoline_set_function("dispatch", 0));
    printf("%d ", relpoline_set_object("nothing", 1));
    printf("%d ", relpoline_relearn());
    printf("%d\n", relpoline_write_stats("stats.json"));
    return 0;
}
"#;
    let library = r#"
#include "HEADER"
static int one(int x) { return x + 1; }
int (*volatile table[1])(int) = {one};
RELPOLINE_NEVER static int never(int x) { return table[0](x); }
int dispatch(int x) { return table[0](x) + never(x); }
"#;
    let text = |text: &str| text.replace("HEADER", header);
    let cxx = |name: &str| text(name).replace("int dispatch", "extern \"C\" int dispatch");
    let files = Files::new(&[
        ("main.c", &text(program)),
        ("main.cpp", &cxx(program)),
        ("lib.c", &text(library)),
        ("lib.cpp", &cxx(library)),
        ("unused.c", &text("#include \"HEADER\"\nint unused;")),
        ("unused.cpp", &text("#include \"HEADER\"\nint unused;")),
    ]);
    let plain_clang = || {
        let mut clang = command(CLANG);
        clang.env("RELPOLINE_DISABLE", "1");
        clang
    };
    let strict = "-Wall -Wextra -Wpedantic -Werror -O1";
    let without = "3 4\n-1 -1 -1 -1 -1 -1 95\n";
    for (language, standards) in [("c", ["c89", "gnu17"]), ("cpp", ["c++98", "c++20"])] {
        for standard in standards {
            let flags = format!("{strict} -std={standard}");
            for unused in ["", "-O0 -Wunused-function -Wunused-macros"] {
                files.run(REAL_CLANG, &format!("{flags} {unused} -c unused.{language}")).in_silence();
                files.run("gcc", &format!("{flags} {unused} -c unused.{language}")).in_silence();
                files.run(CLANG, &format!("{flags} {unused} -c unused.{language}")).in_silence();
            }
            let both = format!("{flags} main.{language} lib.{language} -o a");
            for options in ["", "-static", "-no-pie -fno-pie", "-fPIE -pie -O0"] {
                files.run(REAL_CLANG, &format!("{both} {options}")).in_silence();
                files.run_built("a").prints(without);
                files.run("gcc", &format!("{both} {options}")).in_silence();
                files.run_built("a").prints(without);
            }
            files.run_with(plain_clang(), &both).in_silence();
            files.run_built("a").prints(without);
            // All with relpolines, and in part.
            files.run(CLANG, &both).in_silence();
            files.run_built("a").prints("3 4\n0 0 0 1 0 0 0\n");
            for compiler in ["gcc", REAL_CLANG] {
                for (compile, link) in [("", ""), ("-fno-pie", "-no-pie"), ("-fPIE -O0", "-pie")] {
                    files.run(CLANG, &format!("{flags} {compile} -c lib.{language} -o lib.o")).in_silence();
                    files
                        .run(compiler, &format!("{flags} {compile} -c main.{language} -o main.o"))
                        .in_silence();
                    files.run(CLANG, &format!("main.o lib.o {link} -o a")).in_silence();
                    files.run_built("a").prints("3 4\n0 0 0 1 0 0 0\n");
                    assert_eq!(files.sites("a").len(), 1, "the call in never() is none");
                }
            }
        }
    }
    files.run(CLANG, "-m32 -c -ffreestanding unused.c").in_silence();
}

#[test]
fn the_assembler_proper_is_clangs() {
    let files = Files::new(&[("a.s", ".globl x\nx: ret\n")]);
    let line = "-cc1as -triple x86_64-linux-gnu -filetype obj a.s -o a.o";
    files.run(CLANG, line).in_silence();
    let ours = fs::read(files.path("a.o")).unwrap();
    files.run(clangxx(), line).in_silence();
    files.run(REAL_CLANG, line).in_silence();
    assert_eq!(ours, fs::read(files.path("a.o")).unwrap());
}

#[test]
fn the_same_source_gives_the_same_bytes_wherever_it_is_and_relpoline_is() {
    let outputs = [(); 2].map(|()| {
        let files = dispatch();
        home_of(&files);
        for line in [
            "-O2 -g -ffile-prefix-map=HERE=. a.c -o a",
            "-O2 -g -ffile-prefix-map=HERE=. -flto=thin a.c -o thin",
            "-O0 -g -ffile-prefix-map=HERE=. -c a.c -o a.o",
        ] {
            let mut clang = command(CLANG);
            clang.env("RELPOLINE_HOME", files.path("home"));
            files
                .run_with(clang, &line.replace("HERE", files.path("a.c").parent().unwrap().to_str().unwrap()))
                .in_silence();
        }
        ["a", "thin", "a.o"].map(|name| fs::read(files.path(name)).unwrap())
    });
    assert!(outputs[0] == outputs[1]);
}

#[test]
fn a_link_that_makes_an_object_file_gets_no_runtime() {
    let files = dispatch();
    for line in ["-r", "-nostdlib -no-pie -Wl,-r", "-nostdlib -no-pie -Xlinker --relocatable", "-flto -r"] {
        files.run(CLANG, &format!("-O2 {line} a.c -o whole.o")).in_silence();
        assert!(!files.has_runtime("whole.o"), "{line}");
        files.run(CLANG, "whole.o -o a").in_silence();
        files.run_built("a").prints(DISPATCH_OUTPUT);
    }
}

#[test]
fn other_targets_get_retpolines_and_no_runtime() {
    let files =
        Files::new(&[("f.c", "int f(int (*g)(int)) { return g(1) + 1; } void _start(void) { f(0); }")]);
    files.run(CLANG, "-m32 -O2 -c f.c -o f.o").in_silence();
    let audit = files.audit("f.o");
    assert_eq!((&audit["relpoline_sites"]["inline"], &audit["elsewhere"]["raw"]), (&0.into(), &0.into()));
    files.run(CLANG, "-m32 -O2 -nostdlib -static -fuse-ld=lld f.c -o f").in_silence();
    let windows = files.run(CLANG, "--driver-mode=cl -Werror -c f.c").succeeds();
    assert!(
        windows.stderr.contains("x86_64-pc-windows-msvc is not supported")
            && windows.stderr.lines().count() == 1,
        "{windows:?}"
    );
    let foreign = files.run(CLANG, "--target=aarch64-linux-gnu -Werror -c f.c").succeeds();
    assert!(
        foreign.stderr.contains("is not supported") && foreign.stderr.lines().count() == 1,
        "{foreign:?}"
    );
}

/// Rust's archives hold arithmetic of their own, which linkers would come to before the C library's.
#[test]
fn arithmetic_is_the_c_librarys() {
    const SOURCE: &str = r#"
#include <cmath>
#include <cstdio>
static double twice(double x) { return x * 2; }
double (*volatile function)(double) = twice;
int main() {
  double x = 0;
  std::sscanf("3.25", "%lf", &x);
  for (int i = 0; i < 1000; i++) x = std::fmod(function(std::cbrt(x)) + std::fma(x, x, 0.5), 7.5);
  std::printf("%a %Lg\n", x, (long double)x);
}
"#;
    let files = Files::new(&[("a.cc", SOURCE)]);
    files.run(format!("{REAL_CLANG}++"), "-O1 -fno-builtin a.cc -o plain").in_silence();
    let expected = files.run_built("plain").succeeds().stdout;
    for options in ["", "-fuse-ld=lld", "-static", "-static -fuse-ld=lld", "-static -flto"] {
        files.run(clangxx(), &format!("-O1 -fno-builtin {options} a.cc -o a")).in_silence();
        files.run_built("a").prints(&expected);
        assert_eq!(files.sites("a").len(), 1, "{options}");
    }
}

#[test]
fn standard_input_and_response_files() {
    let files = dispatch();
    let mut child = command(CLANG)
        .args(["-O2", "-x", "c", "-", "-o"])
        .arg(files.path("a"))
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(child.stdin.as_mut().unwrap(), DISPATCH.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
    files.run_built("a").prints(DISPATCH_OUTPUT);

    files.write("my dir/b.c", DISPATCH);
    files.write("inner", "-flto 'my dir/b.c'");
    files.write("outer", "-O2\n-o \"b\" @inner");
    files.run(CLANG, "@outer").in_silence();
    files.run_built("b").prints(DISPATCH_OUTPUT);
    assert_eq!(files.sites("b").len(), 1);

    files.write("ours", "--relpoline-form=stub -O2 -c a.c -o stub.o");
    files.run(CLANG, "@ours").in_silence();
    assert_eq!(files.sites("stub.o")[0].0, "stub");

    // Read by the wrapper, a pipe is empty.
    let mut piped = command("bash");
    piped.args(["-c", r#""$0" @<(echo -O2 a.c -o c)"#]).arg(CLANG);
    files.run_with(piped, "").in_silence();
    files.run_built("c").prints(DISPATCH_OUTPUT);
}

#[test]
fn thin_lto_without_optimisation_converts_too() {
    let files = dispatch();
    files.run(CLANG, "-O0 -flto=thin a.c -o a").in_silence();
    files.run_built("a").prints(DISPATCH_OUTPUT);
    assert_eq!(files.sites("a").len(), 1);
    files.run(CLANG, "-O1 -flto=thin -c a.c -o a.o").in_silence();
    files.run(CLANG, "-O0 -flto=thin a.o -o b").in_silence();
    assert_eq!(files.sites("b").len(), 1);
}

#[test]
fn options_and_variables() {
    let files = dispatch();
    files.run(CLANG, "-O2 -c a.c --relpoline-form=stub").in_silence();
    assert_eq!(files.sites("a.o"), [("stub".into(), "dispatch".into())]);
    let mut with_variable = command(CLANG);
    with_variable.env("RELPOLINE_FORM", "stub");
    files.run_with(with_variable, "-O2 -c a.c --relpoline-form=inline").in_silence();
    assert_eq!(files.sites("a.o"), [("inline".into(), "dispatch".into())]);

    files.write("list", "fun:disp*");
    files.run(CLANG, "-O2 -c a.c --relpoline-ignorelist=list").in_silence();
    assert_eq!(files.sites("a.o"), []);

    let mut disabled = command(CLANG);
    disabled.env("RELPOLINE_DISABLE", "1").env("RELPOLINE_HOME", "/nowhere");
    files.run_with(disabled, "-O2 a.c -o a").in_silence();
    assert!(files.sites("a").is_empty() && !files.has_runtime("a"));
    files.run(CLANG, "-O2 a.c -o a --relpoline-disable").in_silence();
    assert!(files.sites("a").is_empty());

    let help = files.run(CLANG, "--relpoline-help").in_silence().stdout;
    assert!(help.contains("--relpoline-form=inline|stub") && help.contains("RELPOLINE_CLANG=PATH"), "{help}");
    assert!(files.run(CLANG, "--relpoline-version").in_silence().stdout.starts_with("relpoline 0."));
}

#[test]
fn ignore_lists_name_files_and_static_functions_with_link_time_optimisation_too() {
    let files = Files::new(&[
        (
            "a.c",
            "__attribute__((noinline)) static int f(int (*g)(int)) { return g(1) + 1; }\n\
                 int a(int (*g)(int)) { return f(g) * 3; }\n",
        ),
        (
            "b.c",
            "__attribute__((noinline)) static int f(int (*g)(int)) { return g(2) + 2; }\n\
                 int b(int (*g)(int)) { return f(g) * 5; }\n",
        ),
        (
            "main.c",
            "int a(int (*)(int)), b(int (*)(int));\n\
                    static int one(int x) { return x; }\n\
                    int (*volatile p)(int) = one;\n\
                    int main(void) { return a(p) + b(p) != 26; }\n",
        ),
        ("list", "fun:f"),
        ("one", "src:a.*"),
    ]);
    for lto in ["", "-flto", "-flto=thin"] {
        files.run(CLANG, &format!("-O2 {lto} a.c b.c main.c -o a")).in_silence();
        assert_eq!(files.sites("a").len(), 2, "{lto}");
        let line = format!("-O2 {lto} a.c b.c main.c -o a --relpoline-ignorelist=list");
        files.run(CLANG, &line).in_silence();
        assert_eq!(files.sites("a"), [], "{lto}");
        files.run_built("a").succeeds();
        files.run(CLANG, &line.replace("=list", "=one")).in_silence();
        assert_eq!(files.sites("a").len(), 1, "{lto}");
    }
}

#[test]
fn caches_of_the_linker_are_keyed_by_form_ignore_list_and_plugin() {
    let files = dispatch();
    let plugin = files.run(CLANG, "--relpoline-print-plugin").in_silence().stdout;
    files.write("plugin.so", fs::read(plugin.trim_end()).unwrap());
    let build = |options: &str| {
        let line = format!("-O2 -flto=thin -Wl,--thinlto-cache-dir=cache a.c -o a {options}");
        files.run(CLANG, &line).in_silence();
        files.run_built("a").prints(DISPATCH_OUTPUT);
        files.sites("a")
    };
    let entries = || fs::read_dir(files.path("cache")).unwrap().count();
    let site = |form: &str| vec![(form.to_owned(), "dispatch".to_owned())];
    assert_eq!(build(""), site("inline"));
    let first = entries();
    assert_eq!((build(""), entries()), (site("inline"), first), "nothing has changed");
    assert_eq!(build("--relpoline-form=stub"), site("stub"));
    files.write("list", "fun:nobody");
    assert_eq!(build("--relpoline-ignorelist=list"), site("inline"));
    files.write("list", "fun:dispatch");
    assert_eq!(build("--relpoline-ignorelist=list"), []);

    assert_eq!(build("--relpoline-pass=plugin.so"), site("inline"));
    let before = entries();
    files.write("plugin.so", [fs::read(files.path("plugin.so")).unwrap(), b"another".to_vec()].concat());
    assert_eq!((build("--relpoline-pass=plugin.so"), entries()), (site("inline"), before + 1));
}

/// The module may be the same: it was compiled elsewhere.
#[test]
fn caches_of_the_linker_are_keyed_by_what_only_the_link_is_told() {
    let files = dispatch();
    files.write("list", "fun:dispatch");
    files.write("plugin.so", fs::read(home().join("librelpoline_pass.so")).unwrap());
    files.run(REAL_CLANG, "-O2 -flto=thin -c a.c").in_silence();
    let link = |compiler: &str, options: &str| {
        let line = format!("-O2 -flto=thin -fuse-ld=lld -Wl,--thinlto-cache-dir=cache a.o -o a {options}");
        files.run(compiler, &line).in_silence();
        files.run_built("a").prints(DISPATCH_OUTPUT);
        let forms: Vec<_> = files.sites("a").into_iter().map(|site| site.0).collect();
        forms.concat()
    };
    let plain = || link(REAL_CLANG, "");
    let flags = |variable: &str, value: &str| {
        let mut command = command(RELPOLINE);
        command.env(variable, value);
        files.run_with(command, "flags ld --lto").in_silence().stdout
    };
    assert_eq!((plain(), link(CLANG, ""), plain()), (String::new(), "inline".into(), String::new()));
    for _ in 0..2 {
        assert_eq!(link(CLANG, ""), "inline");
        assert_eq!(link(CLANG, "--relpoline-form=stub"), "stub");
        assert_eq!(link(CLANG, "--relpoline-ignorelist=list"), "");
    }
    let entries = || fs::read_dir(files.path("cache")).unwrap().count();
    let all = entries();
    // So do the flags that do without the wrapper.
    assert_eq!(link(REAL_CLANG, &flags("RELPOLINE_FORM", "")), "inline");
    assert_eq!(entries(), all, "the key is the same");
    files.write("plugin.so", [fs::read(files.path("plugin.so")).unwrap(), b"another".to_vec()].concat());
    assert_eq!(link(CLANG, "--relpoline-pass=plugin.so"), "inline");
    assert_eq!(entries(), all + 1);
    assert_ne!(flags("RELPOLINE_FORM", "stub"), flags("RELPOLINE_FORM", ""));
    // Before there is anything to be put into the cache.
    let unreadable = "-flto=thin a.o -o a --relpoline-ignorelist=/nowhere";
    files.run(CLANG, unreadable).fails_with(1, &["cannot read '/nowhere'", "name a list that can be read"]);
    // lld puts what it has made into the cache, whatever the plugin said, and takes it out the next time.
    files.write("list", "dispatch");
    let broken =
        "-O2 -flto=thin -fuse-ld=lld -Wl,--thinlto-cache-dir=cache a.o -o a --relpoline-ignorelist=list";
    assert_ne!(files.run(CLANG, broken).status, 0);
    files.run(CLANG, broken).in_silence();
    assert_eq!(files.audit("a")["elsewhere"]["raw"], 0);
}

#[test]
fn code_can_tell() {
    let files = Files::new(&[("a.c", "#if __RELPOLINE__ < 100\n#error no\n#endif\n")]);
    files.run(CLANG, "-c a.c").in_silence();
    files.run(REAL_CLANG, "-c a.c").fails_with_clang();
}

impl common::Outcome {
    fn fails_with_clang(self) {
        assert!(self.status != 0 && self.stderr.contains("#error"), "{self:?}");
    }
}

#[test]
fn cxx_with_exceptions() {
    let files = Files::new(&[(
        "a.cpp",
        r#"
        #include <cstdio>
        #include <memory>
        #include <vector>
        struct Base { virtual ~Base() = default; virtual int f(int x) = 0; };
        struct A : Base { int f(int x) override { return x + 1; } };
        struct B : Base { int f(int x) override { if (x % 7 == 0) throw x; return x * 2; } };
        int main() {
          std::vector<std::unique_ptr<Base>> all;
          all.emplace_back(new A); all.emplace_back(new B);
          long sum = 0;
          for (int i = 0; i < 1000; i++)
            for (auto &b : all) try { sum += b->f(i); } catch (int x) { sum -= x; }
          std::printf("%ld\n", sum);
        }"#,
    )]);
    for level in ["-O0", "-O2", "-Oz", "-O2 -flto"] {
        files.run(clangxx(), &format!("{level} -Wall -Werror a.cpp -o a")).in_silence();
        files.run_built("a").prints("1286287\n");
        assert_eq!(files.audit("a")["built_here"]["raw"], 0);
    }
}

#[test]
fn compiling_without_plugin_and_linking_without_runtime_fail() {
    let files = dispatch();
    files.run(CLANG, "-c a.c").in_silence();
    let nowhere = || {
        let mut command = command(CLANG);
        command.env("RELPOLINE_HOME", "/nowhere");
        command
    };
    let plugin = [
        "relpoline-clang: error: librelpoline_pass.so not found in /nowhere",
        "unset RELPOLINE_HOME, or set it to the directory that holds librelpoline_pass.so",
    ];
    for line in ["-c a.c", "-S a.c", "a.c -o a", "-flto a.o -o a", "-cc1 -emit-obj a.c"] {
        files.run_with(nowhere(), line).fails_with(1, &plugin);
    }
    files.run_with(nowhere(), "a.o -o a").fails_with(
        1,
        &["relpoline-clang: error: librelpoline_rt.a not found in /nowhere", "unset RELPOLINE_HOME"],
    );
    for line in ["-E a.c", "-M a.c", "--version", "-c empty.s", "-fsyntax-only a.c", "-r a.o -o b.o"] {
        files.run_with(nowhere(), line).in_silence();
    }
    files
        .run(CLANG, "-c a.c --relpoline-pass=/nowhere/p.so")
        .fails_with(1, &["/nowhere/p.so does not exist", "RELPOLINE_PASS"]);
}

#[test]
fn the_compiler_proper_takes_the_plugin_too() {
    let files = dispatch();
    files.write("b.c", "int f(int (*g)(int)) { return g(1) + 1; }");
    files.run(CLANG, "-cc1 -triple x86_64-linux-gnu -O2 -emit-obj b.c -o b.o").in_silence();
    assert_eq!(files.sites("b.o").len(), 1);
}

#[test]
fn wrong_compilers_are_refused() {
    let files = dispatch();
    let old = files.script("old-clang", "echo 'clang version 19.1.7'");
    let line = format!("-c a.c --relpoline-clang={}", old.display());
    files
        .run(CLANG, &line)
        .fails_with(1, &["old-clang is of LLVM 19, expected LLVM 22", "apt-get install clang-22"]);
    for (name, expected) in [
        ("no-clang", "no-clang not found in PATH; unset RELPOLINE_CLANG, or set it to a clang of LLVM 22"),
        ("/nowhere/clang", "/nowhere/clang does not exist; unset RELPOLINE_CLANG"),
        ("/etc/passwd", "/etc/passwd is no program; unset RELPOLINE_CLANG"),
        (
            "/bin/true",
            "/bin/true is not the compiler that was expected: --version prints no line 'clang version",
        ),
    ] {
        files.run(CLANG, &format!("-c a.c --relpoline-clang={name}")).fails_with(1, &[expected]);
    }
    let own = format!("-c a.c --relpoline-clang={CLANG}");
    files.run(CLANG, &own).fails_with(1, &["is relpoline's own wrapper"]);
    files.run(CLANG, "-c a.c --relpoline-from=stub").fails_with(1, &["did you mean --relpoline-form?"]);
}

#[test]
fn lto_with_another_linker_is_protected_and_says_so() {
    let files = dispatch();
    let outcome = files.run(CLANG, "-O2 -flto -fuse-ld=bfd a.c -o a").succeeds();
    assert!(outcome.stderr.contains("warning: calls stay retpolines") && outcome.stderr.lines().count() == 1);
    files.run_built("a").prints(DISPATCH_OUTPUT);
    // No branch funnels, be it by the wrapper's word or the user's: two are an error.
    for given in ["", "-Wl,-plugin-opt=-wholeprogramdevirt-branch-funnel-threshold=0"] {
        let commands =
            files.run(CLANG, &format!("-flto -fuse-ld=bfd a.c -o a {given} -###")).succeeds().stderr;
        assert_eq!(commands.matches("branch-funnel-threshold=0").count(), 1, "{commands}");
    }
    assert!(files.sites("a").is_empty());
    let audit = files.audit("a");
    assert!(audit["elsewhere"]["retpoline"].as_u64().unwrap() >= 1, "{audit}");
    assert_eq!(
        audit["branches"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|branch| branch["function"] == "dispatch")
            .count(),
        0
    );
}

#[test]
fn what_llvm_cannot_combine_with_retpolines_is_refused() {
    let files = dispatch();
    let combined = |options: &str| files.run(CLANG, &format!("-O2 {options} -c a.c"));
    for (option, mend) in [
        ("-fpartition-static-data-sections", "add -fno-partition-static-data-sections"),
        ("-mllvm -enable-machine-outliner=always", "leave it out"),
        ("-mllvm -enable-machine-outliner", "leave it out"),
    ] {
        combined(option).fails_with(1, &["with retpolines", mend, "RELPOLINE_DISABLE=1"]);
        combined(&format!("{option} --relpoline-disable")).in_silence();
    }
    for option in ["-fpartition-static-data-sections", "-Wl,-mllvm,-enable-machine-outliner"] {
        files.run(CLANG, &format!("-O2 -flto {option} a.c -o a")).fails_with(1, &["with retpolines"]);
    }
    files.run(CLANG, "-O2 -flto -mllvm -enable-machine-outliner a.c -o a").in_silence();
    files.run_built("a").prints(DISPATCH_OUTPUT);
    for option in [
        "-mllvm -enable-machine-outliner=never",
        "-fpartition-static-data-sections -fno-partition-static-data-sections",
    ] {
        combined(option).in_silence();
        assert_eq!(files.sites("a.o").len(), 1, "{option}");
    }
}

#[test]
fn what_the_plugin_does_not_see_is_said() {
    let files = dispatch();
    let warns = |line: &str, text: &str| {
        let outcome = files.run(CLANG, line).succeeds();
        assert!(outcome.stderr.contains(text) && outcome.stderr.lines().count() == 1, "{outcome:?}");
    };
    warns("-O2 -Xclang -disable-llvm-passes -c a.c", "warning: indirect calls are not protected");
    files.run(CLANG, "-O2 -flto=thin -c a.c").in_silence();
    files.run(CLANG, "-O2 -flto=thin -fuse-ld=lld -Wl,--thinlto-index-only a.o -o a").succeeds();
    warns("-O2 -x ir a.o -fthinlto-index=a.o.thinlto.bc -c -o b.o", "warning: calls stay retpolines");
    assert!(files.audit("b.o")["elsewhere"]["raw"] == 0);
}

#[test]
fn the_status_is_clangs() {
    let files = Files::new(&[("bad.c", "int main( {")]);
    let outcome = files.run(CLANG, "-c bad.c");
    assert_eq!(outcome.status, files.run(REAL_CLANG, "-c bad.c").status);
    assert_ne!(outcome.status, 0);
    let odd = files.script("clang-22", "exit 42");
    assert_eq!(files.run(CLANG, &format!("-c bad.c --relpoline-clang={}", odd.display())).status, 42);
}
