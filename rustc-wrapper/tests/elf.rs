//! relpoline audit and relpoline sites.

mod common;

use common::{CLANG, DISPATCH, Files, REAL_CLANG, RELPOLINE, command};
use std::fs;

/// An indirect call that the pass cannot see.
const HIDDEN_CALL: &str = r#"
void target(void) {}
void hidden(void (*f)(void)) { __asm__ volatile("call *%0" : : "r"(f) : "memory"); }
"#;

const GOT_CALL: &str = "void one(void); void two(void); void caller(void) { one(); two(); }";

fn dispatch() -> Files {
    Files::new(&[("a.c", DISPATCH), ("hidden.c", HIDDEN_CALL), ("got.c", GOT_CALL)])
}

#[test]
fn relpolines_that_no_list_names_are_not_said_to_be_of_others() {
    let files = Files::new(&[
        ("relpoline_asm.h", include_str!("../../runtime/include/relpoline_asm.h")),
        ("a.S", "#include \"relpoline_asm.h\"\n.text\ncaller:\nRELPOLINE_CALL %rdi\nret\n"),
    ]);
    files.run(REAL_CLANG, "-D__RELPOLINE__=100 -c a.S -o a.o").in_silence();
    let text = files.run(RELPOLINE, "audit a.o").in_silence().stdout.clone();
    assert!(text.contains("has relpolines, but lists no function built here"), "{text}");
}

#[test]
fn raw_branches_of_unprotected_code_are_found() {
    let files = dispatch();
    for line in
        ["-O2 -c a.c -o a", "-O2 -m32 -c a.c -DLIBRARY -o a -Dstdio", "-O2 a.c -o a", "-O2 -static a.c -o a"]
    {
        if line.contains("-m32") {
            files.write("a.c", DISPATCH.replace("#include <stdio.h>", ""));
        }
        files.run(REAL_CLANG, line).in_silence();
        files.write("a.c", DISPATCH);
        let outcome = files.run(RELPOLINE, "audit a");
        assert_eq!(outcome.status, 1, "{line}");
        assert!(outcome.stdout.contains("not built by relpoline"), "{}", outcome.stdout);
        let audit = files.audit("a");
        let in_dispatch: Vec<_> = audit["branches"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|branch| branch["function"] == "dispatch")
            .collect();
        assert_eq!(in_dispatch.len(), 1, "{line}");
        assert!(in_dispatch[0]["class"] == "raw" && in_dispatch[0]["built_here"] == false);
        assert!(in_dispatch[0]["instruction"].as_str().unwrap().starts_with("call *"), "{}", in_dispatch[0]);
    }
}

#[test]
fn protected_code_passes_and_what_was_linked_with_it_is_told_apart() {
    let files = dispatch();
    files.run(CLANG, "-O2 -static a.c -o a").in_silence();
    let outcome = files.run(RELPOLINE, "audit a").succeeds();
    assert!(outcome.stdout.contains("no raw indirect branch in the"), "{}", outcome.stdout);
    let audit = files.audit("a");
    assert!(audit["elsewhere"]["raw"].as_u64().unwrap() > 100, "a static libc is not protected");
    assert_eq!(audit["relpoline_sites"]["inline"], 1);
    for (option, left) in
        [("--all", " raw indirect branches"), ("--strict", " unprotected indirect branches")]
    {
        let outcome = files.run(RELPOLINE, &format!("audit {option} a"));
        assert_eq!(outcome.status, 1, "{outcome:?}");
        let verdict = outcome.stdout.lines().next().unwrap();
        assert!(verdict.contains(left) && verdict.contains(" left"), "{verdict}");
    }
    // Nothing is raw, and yet something is left.
    files.run(REAL_CLANG, "-O2 -fPIC -fno-plt -c got.c").in_silence();
    let outcome = files.run(RELPOLINE, "audit --strict got.o");
    let verdict = "got.o: not built by relpoline; 2 unprotected indirect branches left\n";
    assert!(outcome.status == 1 && outcome.stdout.starts_with(verdict), "{outcome:?}");
    let outcome = files.run(RELPOLINE, "audit got.o").succeeds();
    assert!(
        outcome.stdout.starts_with("got.o: not built by relpoline; no raw indirect branch\n"),
        "{outcome:?}"
    );
}

#[test]
fn a_raw_branch_in_code_built_here_fails() {
    let files = dispatch();
    files.run(CLANG, "-O2 -c hidden.c -o hidden.o").in_silence();
    let outcome = files.run(RELPOLINE, "audit hidden.o");
    assert_eq!(outcome.status, 1);
    assert!(outcome.stdout.contains("1 raw indirect branch left in code built here"), "{}", outcome.stdout);
    assert!(outcome.stdout.contains("hidden+0x"), "{}", outcome.stdout);
    files.run(CLANG, "-O2 -fPIC -shared hidden.c -o hidden.so").in_silence();
    assert_eq!(files.run(RELPOLINE, "audit hidden.so").status, 1);
    // Without symbols the section that lists what was built still tells.
    files.run("strip", "hidden.so").succeeds();
    assert_eq!(files.audit("hidden.so")["built_here"]["raw"], 1);
}

#[test]
fn calls_through_the_got_are_told_from_raw_ones() {
    let files = dispatch();
    files.run(REAL_CLANG, "-O2 -fPIC -fno-plt -c got.c").in_silence();
    let audit = files.audit("got.o");
    assert_eq!((&audit["elsewhere"]["got"], &audit["elsewhere"]["raw"]), (&2.into(), &0.into()));
    files.run(REAL_CLANG, "-shared got.o -o got.so").in_silence();
    let linked = files.audit("got.so");
    let callers: Vec<_> = linked["branches"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|branch| branch["function"] == "caller")
        .collect();
    assert!(callers.len() == 2 && callers.iter().all(|branch| branch["class"] == "got"), "{linked}");
    assert!(linked["elsewhere"]["plt"].as_u64().unwrap() > 0);
}

#[test]
fn calls_of_retpolines_are_counted_with_and_without_names() {
    let files = dispatch();
    files.run(REAL_CLANG, "-O2 -mretpoline -c a.c").in_silence();
    assert_eq!(files.audit("a.o")["elsewhere"]["retpoline"], 1);
    files.run(REAL_CLANG, "-O2 -mretpoline -mretpoline-external-thunk -c a.c").in_silence();
    assert_eq!(files.audit("a.o")["elsewhere"]["retpoline"], 1);
    files.run(REAL_CLANG, "-O2 -mretpoline a.c -o a").in_silence();
    let named = files.audit("a")["elsewhere"]["retpoline"].clone();
    files.run("strip", "a").succeeds();
    assert_eq!((named.as_u64(), &files.audit("a")["elsewhere"]["retpoline"]), (Some(1), &named));
}

#[test]
fn nothing_unprotected_is_left_but_what_is_allowed_for_a_reason() {
    let files = dispatch();
    files.run(CLANG, "-O2 -fuse-ld=lld -Wl,-z,retpolineplt a.c -o a").in_silence();
    // What every program has, and nothing of the runtime's.
    let audit = files.run(RELPOLINE, "audit --strict --json a").in_silence().json()[0].clone();
    let left =
        |class| audit["elsewhere"][class].as_u64().unwrap() + audit["built_here"][class].as_u64().unwrap();
    assert_eq!((left("raw"), left("got"), left("plt"), &audit["passed"]), (0, 0, 0, &true.into()), "{audit}");
    let exceptions = audit["branches"].as_array().unwrap();
    assert!(!exceptions.is_empty() && exceptions.iter().all(|branch| branch["reason"] != ""), "{audit}");

    files.run(CLANG, "-O2 a.c hidden.c -DLIBRARY -shared -fPIC -o a.so").in_silence();
    for (name, expected) in [("a.so", 1), ("a", 0)] {
        let outcome = files.run(RELPOLINE, &format!("audit --strict {name}"));
        assert_eq!(outcome.status, expected, "{outcome:?}");
    }
    files.write("allow.toml", "[[allow]]\nfunction = 'hidden*'\nclass = 'raw'\nreason = 'written so'\n");
    files.run(RELPOLINE, "audit --allow allow.toml a.so").in_silence();
    files.write("plt.toml", "[[allow]]\nsection = '.plt*'\nreason = 'the C library is not'\n");
    let outcome =
        files.run(RELPOLINE, "audit --strict --allow allow.toml --allow plt.toml a.so").in_silence();
    assert!(
        outcome.stdout.contains("(written so)") && outcome.stdout.contains("(the C library is not)"),
        "{outcome:?}"
    );
    let outcome = files.run(RELPOLINE, "audit --allow allow.toml a");
    assert!(outcome.status == 0 && outcome.stderr.contains("function 'hidden*'"), "{outcome:?}");
    files.write("allow.toml", "[[allow]]\nfunction = 'hidden*'\n");
    let outcome = files.run(RELPOLINE, "audit --allow allow.toml a");
    assert!(outcome.status == 2 && outcome.stderr.contains("missing field `reason`"), "{outcome:?}");
    // Names are shown as they are to nobody's terminal.
    files.write("allow.toml", "[[allow]]\nfunction = \"\\u001b[2J\"\nreason = 'r'\n");
    let outcome = files.run(RELPOLINE, "audit --allow allow.toml a").succeeds();
    assert!(outcome.stderr.contains("function '\u{fffd}[2J'"), "{outcome:?}");
    files.write("allow.toml", "[[allow]]\nfunction = 'f'\nreason = 'r'\n\"\\u001b[2J\" = 1\n");
    files.run(RELPOLINE, "audit --allow allow.toml a").fails_with(2, &["line 4: ", "`\u{fffd}[2J`"]);
    files.run("mkfifo", "fifo").in_silence();
    for (list, why) in [
        ("/dev/zero", "it is neither a regular file nor a pipe"),
        ("fifo", "nobody writes to it"),
        (".", "Is a directory"),
    ] {
        let line = format!("audit --allow {list} a");
        files.run(RELPOLINE, &line).fails_with(2, &[&format!("cannot read {list}: "), why]);
    }
}

#[test]
fn a_function_built_here_is_no_start_up_code_whatever_its_name() {
    let files = dispatch();
    files.write("hidden.c", HIDDEN_CALL.replace("hidden", "register_tm_clones"));
    files.run(CLANG, "-O2 -c hidden.c -o hidden.o").in_silence();
    assert_eq!(files.run(RELPOLINE, "audit hidden.o").status, 1);
    assert_eq!(files.audit("hidden.o")["built_here"]["raw"], 1);
}

#[test]
fn archives_are_looked_into() {
    let files = dispatch();
    files.run(CLANG, "-O2 -DLIBRARY -c a.c hidden.c").in_silence();
    files.run("ar", "rcs lib.a a.o hidden.o").succeeds();
    let audit = files.audit("lib.a");
    assert_eq!((&audit["relpoline_sites"]["inline"], &audit["built_here"]["raw"]), (&1.into(), &1.into()));
    assert_eq!(audit["branches"][0]["member"], "hidden.o");
    assert_eq!(files.sites("lib.a").len(), 1);
    files.run("ar", "rcsT thin.a a.o hidden.o").succeeds();
    assert_eq!(files.audit("thin.a")["built_here"]["raw"], 1);
    fs::remove_file(files.path("hidden.o")).unwrap();
    files.run("mkfifo", "hidden.o").succeeds();
    files.run(RELPOLINE, "audit thin.a").fails_with(2, &["cannot read hidden.o: it is no regular file"]);
}

#[test]
fn sites_are_listed_with_their_places() {
    let files = dispatch();
    files.run(CLANG, "-O2 -g a.c -o a").in_silence();
    let table = files.run(RELPOLINE, "sites --json a").in_silence().json();
    let site = &table[0]["sites"][0];
    assert_eq!((&site["function"], &site["form"]), (&"dispatch".into(), &"inline".into()));
    assert!(site["file"].as_str().unwrap().ends_with("a.c") && site["line"] == 6, "{site}");
    let text = files.run(RELPOLINE, "sites a").in_silence().stdout;
    assert!(text.contains("a: 1 site (1 inline, 0 stub)") && text.contains("a.c:6"), "{text}");
    files.run(CLANG, "-Os -DLIBRARY -c a.c").in_silence();
    assert_eq!(files.sites("a.o"), [("stub".into(), "dispatch".into())]);
    files.run(REAL_CLANG, "-O2 a.c -o a").in_silence();
    assert!(files.run(RELPOLINE, "sites a").in_silence().stdout.contains("no relpoline sites"));
}

/// Where a section's content is in a file.
fn section(files: &Files, name: &str, section: &str) -> (usize, usize) {
    use object::{Object, ObjectSection};
    let data = fs::read(files.path(name)).unwrap();
    let file = object::File::parse(&*data).unwrap();
    let (offset, size) = file.section_by_name(section).unwrap().file_range().unwrap();
    (offset as usize, size as usize)
}

#[test]
fn damaged_tables_are_refused() {
    let files = dispatch();
    files.run(CLANG, "-O2 -no-pie a.c -o a").in_silence();
    let good = fs::read(files.path("a")).unwrap();
    let (table, size) = section(&files, "a", "relpoline_sites");
    assert_eq!(size, 20);
    let refused = |change: &dyn Fn(&mut Vec<u8>), part: &str| {
        let mut bad = good.clone();
        change(&mut bad);
        files.write("bad", bad);
        for tool in ["sites", "audit"] {
            let expected = ["bad is damaged or truncated: section relpoline_sites: entry 0", part];
            files.run(RELPOLINE, &format!("{tool} bad")).fails_with(2, &expected);
        }
    };
    refused(&|bad| bad[table + 19] = 0xf0, "its version is 15, expected 3");
    refused(&|bad| bad[table] ^= 1, "expected a compare with a cell");
    refused(&|bad| bad[table + 3] ^= 0x40, "which is in no section");
    refused(&|bad| bad[table + 8] ^= 1, "expected a reference to a cell");
    refused(&|bad| bad[table + 4..table + 8].fill(0), "reference to the cell: it is 0");

    files.run(CLANG, "-O2 -c a.c").in_silence();
    let llvm = "/usr/lib/llvm-22/bin/llvm-objcopy";
    files.write("half", [0; 10]);
    files
        .run(llvm, "--remove-section=.relarelpoline_sites --update-section relpoline_sites=half a.o bad.o")
        .succeeds();
    files.run(RELPOLINE, "sites bad.o").fails_with(2, &["it has 10 bytes, expected a multiple of 20"]);
}

#[test]
fn what_cannot_be_examined_says_why() {
    let files = dispatch();
    files.run(CLANG, "-O2 a.c -o a").in_silence();
    let whole = fs::read(files.path("a")).unwrap();
    files.write("cut", &whole[..whole.len() / 2]);
    files.write("head", &whole[..40]);
    files.write("text", "hello");
    files.write("none", "");
    files.run(CLANG, "-c -flto a.c").in_silence();
    files.run(REAL_CLANG, "--target=aarch64-linux-gnu -c got.c -o arm.o").in_silence();
    for (name, part) in [
        ("cut", "is damaged or truncated"),
        ("head", "is damaged or truncated"),
        ("text", "is no ELF file (it starts with 68 65 6c 6c)"),
        ("none", "is empty, expected an ELF"),
        ("missing", "cannot read missing: No such file"),
        ("a.o", "is LLVM bitcode (-flto)"),
        ("arm.o", "is for Aarch64, expected x86-64 or i386"),
        (".", "cannot read .: Is a directory"),
    ] {
        for tool in ["audit", "sites"] {
            files.run(RELPOLINE, &format!("{tool} {name}")).fails_with(2, &[part]);
        }
    }
    let both = files.run(RELPOLINE, "audit text a");
    assert_eq!(both.status, 2);
    assert!(
        both.stdout.starts_with("a: no raw indirect branch"),
        "the other file is examined all the same: {both:?}"
    );
}

#[test]
fn random_damage_never_stops_the_tools() {
    let files = dispatch();
    files.run(CLANG, "-O2 a.c -o a").in_silence();
    files.run(CLANG, "-O2 -c a.c").in_silence();
    let mut state = 1u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize
    };
    for name in ["a", "a.o"] {
        let good = fs::read(files.path(name)).unwrap();
        for _ in 0..60 {
            let mut bad = good.clone();
            // Headers are at the start and at the end.
            for _ in 0..4 {
                let near = random() % 2048.min(bad.len());
                let at = if random() % 2 == 0 { near } else { bad.len() - 1 - near };
                bad[at] = random() as u8;
            }
            files.write("bad", bad);
            for tool in ["audit", "sites"] {
                let outcome = files.run(RELPOLINE, &format!("{tool} bad"));
                assert!(
                    (0..=2).contains(&outcome.status) && !outcome.stderr.contains("panicked"),
                    "{outcome:?}"
                );
            }
        }
    }
}

#[test]
fn the_audit_of_kernel_code_lists_exceptions() {
    let assembly = |name: &str, line: &str| format!("asm(\".section {name},\\\"ax\\\"; {line}; .text\");\n");
    let code = "int site(int (*f)(int)) { return f(1) + 1; }\n";
    let replacement = assembly(".altinstr_replacement", "jmp *%rax");
    let files = Files::new(&[
        ("kernel.c", &format!("{code}{replacement}")),
        ("raw.c", &format!("{code}{replacement}void raw(void) {{ asm(\"jmp *%rcx\"); }}\n")),
        ("plain.c", &format!("{code}{}", assembly(".other", "jmp *%rax"))),
    ]);
    let flags = "-O2 -fno-pic -mcmodel=kernel -mretpoline-external-thunk -D__KERNEL__ -c";
    for (name, exceptions, raw) in [("kernel", 1, 0), ("raw", 1, 1), ("plain", 0, 1)] {
        files.run(CLANG, &format!("{flags} {name}.c -o {name}.o")).in_silence();
        let audit = files.audit(&format!("{name}.o"));
        let (here, elsewhere) = (&audit["built_here"], &audit["elsewhere"]);
        assert_eq!(here["exception"], exceptions, "{name}");
        assert_eq!(here["raw"].as_u64().unwrap() + elsewhere["raw"].as_u64().unwrap(), raw, "{name}");
        assert_eq!(audit["passed"], raw == 0, "{name}");
    }
}

/// A function built here whose assembly is `line`, with the target in a register as `%0`.
fn assembly_in_c(line: &str) -> String {
    format!("void hidden(void *target) {{ __asm__ volatile(\"{line}\" : : \"r\"(target)); }}\n")
}

/// The branches of an object file that is built here of such a function: class and instruction.
fn branches_of(line: &str) -> Vec<(String, String)> {
    let files = Files::new(&[("a.c", &assembly_in_c(line))]);
    files.run(CLANG, "-O2 -c a.c").in_silence();
    let audit = files.audit("a.o");
    let branches = audit["branches"].as_array().unwrap();
    assert!(branches.iter().all(|branch| branch["built_here"] == true), "{audit}");
    assert_eq!(audit["passed"], branches.is_empty(), "{audit}");
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    branches.iter().map(|branch| (text(&branch["class"]), text(&branch["instruction"]))).collect()
}

fn is_one_raw(branches: &[(String, String)], instruction: &str) -> bool {
    matches!(branches, [(class, found)] if class == "raw" && found == instruction)
}

#[test]
fn symbols_inside_of_instructions_hide_nothing() {
    for line in [
        r"jmp *%0\n.globl patch_here\n.set patch_here, .-1",
        r"jmp *%0\n.globl patch_here\n.set patch_here, .-1\n.type patch_here,@function\n.size patch_here,9",
    ] {
        let branches = branches_of(line);
        assert!(is_one_raw(&branches, "jmp *%rdi"), "{line}: {branches:?}");
    }
    let branches = branches_of(r"jmp *0x1234(%0)\n.globl patch_here\n.set patch_here, .-4");
    assert!(is_one_raw(&branches, "jmpq *0x1234(%rdi)"), "{branches:?}");
}

#[test]
fn branches_over_data_and_into_instructions_are_followed() {
    for line in [
        // The byte begins an instruction that takes in the next one.
        r"jmp 1f\n.byte 0xb8\n1: jmp *%0\nnop\nnop\nnop",
        r"call 1f\n.byte 0xb8\n1: jmp *%0\nnop\nnop\nnop",
        // ff e7 is the branch, in the constant.
        r"1: movl $0xe7ff, %%ecx\njmp 1b+1",
        r#"jmp 1f\n.pushsection .text.other,\"ax\"\n.byte 0xb8\n1: jmp *%0\nnop\nnop\n.popsection"#,
    ] {
        let files = Files::new(&[("a.c", &assembly_in_c(line))]);
        files.run(CLANG, "-O2 -c a.c").in_silence();
        let audit = files.audit("a.o");
        let raw = |from: &str| audit[from]["raw"].as_u64().unwrap();
        assert_eq!(raw("built_here") + raw("elsewhere"), 1, "{line}: {audit}");
        assert_eq!(audit["branches"][0]["instruction"], "jmp *%rdi", "{line}: {audit}");
    }
}

#[test]
fn instructions_that_are_not_known_may_be_branches() {
    // jmpabs, and imul %r31, %r31: of APX.
    let branches = branches_of(r".byte 0xd5, 0x00, 0xa1, 0, 0, 0, 0, 0, 0, 0, 0");
    assert!(branches.iter().any(|(class, _)| class == "undecoded"), "{branches:?}");
    let line = r".byte 0xd5, 0xd5, 0xaf, 0xff\njmp *%0";
    let branches = branches_of(line);
    assert!(branches.iter().any(|(class, _)| class == "undecoded"), "{branches:?}");
    assert!(branches[0].1.starts_with("undecoded d5"), "{branches:?}");

    let files = Files::new(&[("a.c", &assembly_in_c(r".byte 0x06"))]);
    files.run(CLANG, "-O2 -c a.c").in_silence();
    let outcome = files.run(RELPOLINE, "audit a.o");
    assert_eq!(outcome.status, 1);
    assert!(
        outcome.stdout.contains("1 undecoded instruction left in code built here")
            && outcome.stdout.contains("undecoded, built here:")
            && outcome.stdout.contains("hidden+0x0"),
        "{outcome:?}"
    );
    files.write("allow.toml", "[[allow]]\nfunction = 'hidden'\nclass = 'undecoded'\nreason = 'never runs'\n");
    files.run(RELPOLINE, "audit --allow allow.toml a.o").in_silence();

    // Between functions is data.
    files.write("a.c", "int f(void) { return 1; } asm(\".byte 0x06, 0x06\");\n");
    files.run(CLANG, "-O2 -c a.c").in_silence();
    files.run(RELPOLINE, "audit --all a.o").in_silence();
}

/// Sixteen bytes of which the last two begin an instruction of ten.
const TABLE: &str =
    ".text\n.p2align 4\n.zero 14\n.byte 0x48, 0xb8\n.section .note.GNU-stack,\"\",@progbits\n";

#[test]
fn data_in_front_of_a_function_hides_nothing_in_stripped_files() {
    let files = Files::new(&[("table.s", TABLE), ("a.c", &assembly_in_c("jmp *%0"))]);
    files.run(CLANG, "-O2 -fPIC -fvisibility=hidden -shared table.s a.c -o a.so").in_silence();
    assert_eq!(files.audit("a.so")["built_here"]["raw"], 1);
    files.run("strip", "a.so").succeeds();
    assert_eq!(files.audit("a.so")["built_here"]["raw"], 1);
    assert_eq!(files.run(RELPOLINE, "audit a.so").status, 1);
}

#[test]
fn a_section_is_no_plt_by_its_name() {
    let code = ".section .plt.mine,\"ax\",@progbits\nf: jmp *%rax\ncall *(%rbx)\njmp *8(%rip)\n\
                .section .note.GNU-stack,\"\",@progbits\n";
    let files = Files::new(&[("a.s", code), ("got.c", GOT_CALL)]);
    files.run(REAL_CLANG, "-c a.s").in_silence();
    let audit = files.audit("a.o");
    assert_eq!((&audit["elsewhere"]["raw"], &audit["elsewhere"]["plt"]), (&3.into(), &0.into()), "{audit}");
    files.run(REAL_CLANG, "-shared a.o -o a.so").in_silence();
    assert!(files.audit("a.so")["elsewhere"]["raw"].as_u64().unwrap() >= 3);

    // What linkers make of calls is one: lazily bound or not, with and without IBT, for both processors.
    for (compiler, linker) in [
        ("", "-fuse-ld=bfd -Wl,-z,lazy"),
        ("", "-fuse-ld=bfd -Wl,-z,now"),
        ("-fcf-protection", "-fuse-ld=bfd -Wl,-z,ibtplt"),
        ("", "-fuse-ld=lld -Wl,-z,lazy"),
        ("-fcf-protection", "-fuse-ld=lld -Wl,-z,force-ibt"),
        ("-m32", "-fuse-ld=bfd -Wl,-z,lazy"),
        ("-m32", "-fuse-ld=bfd -Wl,-z,now"),
        ("-m32", "-fuse-ld=lld"),
    ] {
        files.run(REAL_CLANG, &format!("-O2 -fPIC {compiler} -c got.c -o got.o")).in_silence();
        files.run(REAL_CLANG, &format!("-shared -nostdlib {compiler} {linker} got.o -o got.so")).in_silence();
        let audit = files.audit("got.so");
        let (raw, plt) = (&audit["elsewhere"]["raw"], audit["elsewhere"]["plt"].as_u64().unwrap());
        assert!(*raw == 0 && plt >= 2, "{compiler} {linker}: {audit}");
    }
}

#[test]
fn files_without_their_code_are_not_passed() {
    let files = dispatch();
    // As gcc -flto marks an object file that holds nothing else.
    files.write(
        "slim.s",
        ".section .gnu.lto_.opts,\"e\",@progbits\n.byte 1\n.text\n.comm __gnu_lto_slim,1,1\n",
    );
    files.run(REAL_CLANG, "-c slim.s").in_silence();
    files.run(CLANG, "-O2 -DLIBRARY -c a.c").in_silence();
    files.run("ar", "rcs slim.a a.o slim.o").succeeds();
    files.run("ar", "rcs inner.a a.o").succeeds();
    files.run("ar", "rcs outer.a a.o inner.a").succeeds();
    files.run(CLANG, "-O2 -fPIC -shared hidden.c -o hidden.so").in_silence();
    files.run("objcopy", "--only-keep-debug hidden.so hidden.debug").succeeds();
    for (name, parts) in [
        ("slim.o", ["slim.o is GCC's intermediate code (-flto)", "examine the linked file"]),
        ("slim.a", ["slim.a(slim.o) is GCC's intermediate code (-flto)", "examine the linked file"]),
        ("outer.a", ["outer.a(inner.a) is an archive in an archive", "ar x outer.a inner.a"]),
        ("hidden.debug", ["hidden.debug holds no code: section ", "examine the file that it belongs to"]),
    ] {
        for tool in ["audit", "sites"] {
            files.run(RELPOLINE, &format!("{tool} {name}")).fails_with(2, &parts);
        }
    }
}

#[test]
fn code_among_data_that_can_be_executed_is_found() {
    let code = ".section .mine,\"a\",@progbits\n.byte 0xff, 0xe1\n.globl hid\n.type hid,@function\n\
                hid: jmp *%rax\n.size hid,.-hid\n.byte 0xff, 0xe2\n.section .note.GNU-stack,\"\",@progbits\n";
    let files = Files::new(&[
        ("code.s", code),
        ("a.c", "void hid(void); int main(int c, char **v) { if (c > 5) hid(); return 0; }\n"),
    ]);
    let raw = |strip: &str, layout: &str| {
        let line = format!("-O2 a.c code.s -fuse-ld=lld {strip} {layout} -o a");
        files.run(CLANG, &line).in_silence();
        let audit = files.audit("a");
        let branches = audit["branches"].as_array().unwrap();
        branches.iter().filter(|branch| branch["section"] == ".mine").count()
    };
    for strip in ["", "-s"] {
        assert_eq!(raw(strip, "-Wl,--no-rosegment"), 1, "{strip}");
        assert_eq!(raw(strip, "-Wl,--rosegment"), 0, "{strip}");
    }
    assert_eq!(files.run(RELPOLINE, "audit a").status, 0);
}

#[test]
fn names_do_not_reach_the_terminal_as_they_are() {
    let files = Files::new(&[("a.s", "\"evil\u{1b}[31m\": jmp *%rax\n"), ("\u{1b}[2Jno", "hello")]);
    files.run(REAL_CLANG, "-c a.s -o \u{1b}[2Ja.o").in_silence();
    let outcome = files.run(RELPOLINE, "audit --all \u{1b}[2Ja.o \u{1b}[2Jno");
    let texts = [&outcome.stdout, &outcome.stderr];
    assert!(outcome.stdout.contains("evil\u{fffd}[31m"), "{outcome:?}");
    assert!(texts.iter().all(|text| !text.contains('\u{1b}') && text.contains("\u{fffd}[2J")), "{outcome:?}");
}

#[test]
fn names_of_sites_do_not_reach_the_terminal_as_they_are() {
    let source = "int f(int (*g)(int)) __asm__(\"f\\033[31m\");\nint f(int (*g)(int)) { return g(1) + 1; }\n";
    let files = Files::new(&[("a.c", source)]);
    files.run(CLANG, "-O2 -c a.c -o a.o").in_silence();
    let text = files.run(RELPOLINE, "sites a.o").in_silence().stdout;
    assert!(text.contains("f\u{fffd}[31m") && !text.contains('\x1b'), "{text:?}");
    assert_eq!(files.sites("a.o")[0].1, "f\x1b[31m");
}

#[test]
fn what_may_have_no_end_is_refused() {
    let files = Files::new(&[]);
    let made = std::process::Command::new("mkfifo").arg(files.path("pipe")).status().unwrap();
    assert!(made.success());
    for tool in ["sites", "audit"] {
        for name in ["/dev/zero", "pipe"] {
            // Not for ever, and not with all memory.
            let mut limited = command("timeout");
            limited.args(["60", "prlimit", "--as=4000000000", RELPOLINE]);
            files
                .run_with(limited, &format!("{tool} {name}"))
                .fails_with(2, &["cannot read", "it is no regular file"]);
        }
    }
}

#[test]
fn parts_of_functions_are_known_in_stripped_files() {
    // What -fsplit-machine-functions makes of a function with a profile.
    let code = "void hidden(void *target, long n) {\n\
        __asm__ volatile(\"test %1, %1\\n\\tje 1f\\n2:\\n\\t\"\n\
        \".cfi_endproc\\n\\t.pushsection .text.split.hidden,\\\"ax\\\",@progbits\\n\\t\"\n\
        \"1:\\n\\t.cfi_startproc\\n\\t.cfi_def_cfa_offset 16\\n\\t\"\n\
        \"call *%0\\n\\tjmp 2b\\n\\t.cfi_endproc\\n\\t.popsection\\n\\t.cfi_startproc\"\n\
        : : \"r\"(target), \"r\"(n) : \"memory\");\n}\n";
    let elsewhere = "void elsewhere(void *target) { __asm__ volatile(\"jmp *%0\" : : \"r\"(target)); }\n";
    let caller = "void elsewhere(void *); void hidden(void *, long);\n\
        int main(int c, char **v) { if (c > 5) hidden(v, c); if (c > 6) { elsewhere(v); } return 0; }\n\
        int puts(const char *); int tail(const char *text) { return puts(text); }\n\
        void other_tail(void *target) { elsewhere(target); }\n";
    let files = Files::new(&[("a.c", code), ("b.c", elsewhere), ("c.c", caller)]);
    files.run(REAL_CLANG, "-O2 -c b.c").in_silence();
    files.run(CLANG, "-O2 a.c b.o c.c -o a").in_silence();
    files.run("strip", "a").succeeds();
    let audit = files.audit("a");
    // A function of somebody else's that is jumped to is none, nor is the PLT.
    assert_eq!(audit["built_here"]["raw"], 1, "{audit}");
    assert_eq!(audit["built_here"]["plt"], 0, "{audit}");
    let branches = audit["branches"].as_array().unwrap();
    let here = branches.iter().find(|branch| branch["built_here"] == true && branch["class"] == "raw");
    assert_eq!(here.unwrap()["instruction"], "call *%rdi", "{audit}");
}

/// As the assembly of interpreters has it.
#[test]
fn hand_written_functions_may_begin_with_a_frame() {
    let files = Files::new(&[
        ("a.c", "long theirs(long); long f(long x) { return theirs(x); } int main(void) { return f(0); }\n"),
        (
            "theirs.S",
            ".globl theirs\n.type theirs,@function\ntheirs: .cfi_startproc simple\n.cfi_def_cfa %rsp, 16\n\
             push %rbx\njmp *%rdi\n.cfi_endproc\n.size theirs,.-theirs\n\
             .section .note.GNU-stack,\"\",@progbits\n",
        ),
    ]);
    files.run(REAL_CLANG, "-c theirs.S").in_silence();
    files.run(CLANG, "-O2 a.c theirs.o -o a").in_silence();
    let audit = files.audit("a");
    assert_eq!((&audit["built_here"]["raw"], &audit["elsewhere"]["raw"]), (&0.into(), &1.into()), "{audit}");
}

#[test]
fn a_part_belongs_to_the_function_that_jumps_to_it_not_to_all_of_its_name() {
    let part = |function: &str| {
        format!(
            ".pushsection .text.unlikely,\\\"ax\\\",@progbits\\n.type {function}.cold,@function\\n\\\n\
             {function}.cold: call *%%rdi\\n ret\\n.size {function}.cold,.-{function}.cold\\n.popsection\\n"
        )
    };
    // As gcc splits a function.
    let function = |name: &str| {
        format!(
            "__attribute__((noinline)) static void {name}(void *target, long n) {{\n\
             __asm__ volatile(\"test %0, %0\\n je {name}.cold\\n{}\" : : \"r\"(n), \"D\"(target)); }}\n",
            part(name)
        )
    };
    let files = Files::new(&[
        ("theirs.c", &format!("{}void theirs(void *p, long n) {{ parse(p, n); }}\n", function("parse"))),
        (
            "a.c",
            &format!(
                "{}void theirs(void *, long);\n__attribute__((noinline)) static long parse(long n) {{\n\
                 __asm__ volatile(\"\"); return n; }}\n\
                 int main(int c, char **v) {{ if (parse(c) > 5) {{ theirs(v, c); mine(v, c); }} return 0; }}\n",
                function("mine")
            ),
        ),
    ]);
    files.run(REAL_CLANG, "-O2 -c theirs.c").in_silence();
    files.run(CLANG, "-O2 a.c theirs.o -o a").in_silence();
    let audit = files.audit("a");
    let raw = |here: bool| {
        let branches = audit["branches"].as_array().unwrap().iter();
        let raw = branches.filter(|branch| branch["class"] == "raw" && branch["built_here"] == here);
        raw.map(|branch| branch["function"].as_str().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!((raw(true), raw(false)), (vec!["mine.cold"], vec!["parse.cold"]), "{audit}");
}

#[test]
fn code_that_inline_assembly_puts_aside_belongs_to_its_function() {
    let aside = |start: &str, end: &str| {
        format!(
            "void target(void) {{}}\nvoid NAME(void *p) {{ __asm__ volatile(\"{start}\\n1: test %0, %0\\n je 3f\\n\\\n\
             3: jmp *%0\\n{end}\\n test %0, %0\\n je 1b\\n\" : : \"r\"(p)); }}\n"
        )
    };
    let main = "void theirs(void *); void mine(void *);\n\
        int main(int c, char **v) { if (c > 5) { theirs(v); mine(v); } return 0; }\n";
    for (start, end) in [
        (".pushsection .text.fixup,\\\"ax\\\"", ".popsection"),
        (".pushsection .fixup,\\\"ax\\\"\\nput_aside:", ".popsection"),
        (".subsection 1", ".previous"),
    ] {
        let code = aside(start, end);
        let theirs = code.replace("NAME", "theirs").replace("put_aside", "too").replace("target", "other");
        let files =
            Files::new(&[("mine.c", &code.replace("NAME", "mine")), ("theirs.c", &theirs), ("main.c", main)]);
        files.run(REAL_CLANG, "-O2 -c theirs.c").in_silence();
        files.run(CLANG, "-O2 -c mine.c main.c").in_silence();
        assert_eq!(files.audit("mine.o")["built_here"]["raw"], 1, "{start}");
        for line in ["mine.o theirs.o main.o", "-fuse-ld=lld theirs.o mine.o main.o"] {
            files.run(CLANG, &format!("{line} -o a")).in_silence();
            let audit = files.audit("a");
            let counts = (&audit["built_here"]["raw"], &audit["elsewhere"]["raw"]);
            assert_eq!(counts, (&1.into(), &1.into()), "{start} {line}: {audit}");
        }
    }
}
