//! Makes the seeds of the corpus: real tables with their code, real ELF files, options and command lines.
//!
//!     cargo run --example seeds -- BINDIR LLVM CORPUS
//!
//! `BINDIR` holds relpoline-clang, `LLVM` lld and the LLVM tools.

use anyhow::{Context, Result, ensure};
use object::{Object, ObjectSection};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Calls of every shape that the pass knows.
const PROGRAM: &str = r"
struct wide { double numbers[4]; };
int (*one)(int, int);
struct wide (*two)(struct wide, ...);
void (*three[2])(void);
int f(int x) { return one(x, x * 3) + 1; }
double g(struct wide a) { return two(a, 1.5, 2L).numbers[1]; }
void h(int i) { three[i](); }
void loop(int n) { for (int i = 0; i < n; i++) { three[0](); three[1](); if (i % 3) one(i, n); } }
void _start(void) { f(1); loop(3); }
";

/// Lays code, data and table out closely, so that the whole image is a small input.
const SCRIPT: &str = "
SECTIONS {
    . = 0x40;
    .text : { *(.text .text.*) }
    .data : ALIGN(16) { *(.rodata .rodata.*) *(.data .data.* .bss .bss.*) }
    relpoline_sites : ALIGN(4) { *(relpoline_sites) }
    relpoline_built : { *(relpoline_built) }
    /DISCARD/ : { *(.comment .note* .eh_frame) }
}
";

const VARIANTS: [(&str, &[&str]); 5] = [
    ("inline", &["-O2", "-gline-tables-only"]),
    ("stub", &["-O2", "--relpoline-form=stub"]),
    ("small", &["-Os"]),
    ("plain", &["-O0"]),
    ("loops", &["-O3", "-march=x86-64-v4"]),
];

/// Without what would make every run's seeds different, and without what no target reads.
const FLAGS: [&str; 5] =
    ["-c", "a.c", "-ffreestanding", "-fno-asynchronous-unwind-tables", "-fdebug-compilation-dir=."];

const OPTIONS: [&str; 4] = [
    "mode=count:stats=/tmp/x.%p.json::verbose=1",
    "mode=on:help=1:verbose=0:stats=%p%p",
    "mode=off:mode=maybe:colour=red:stats=:help",
    ":::=::stats=a=b:mode",
];

const COMMAND_LINES: [&str; 5] = [
    "-c  a.c\n\t-O2 -o 'a b.o' -DX=\"y z\" \\\"quoted\\\"",
    "-flto=thin -O0 -fuse-ld=lld -Wl,-r,--gc-sections a.c b.o -lm -x c++ - -- -r",
    "-cc1 -emit-obj a.c",
    "--target=i686-linux-gnu -m64 -Xlinker --relocatable --relpoline-form=stub --relpoline-from=x -E",
    "-x none -print-search-dirs --version -target x86_64-linux-gnux32 -MF -c a.h --relpoline-disable=0",
];

fn main() -> Result<()> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [bindir, llvm, corpus] = arguments.as_slice() else {
        anyhow::bail!("usage: seeds BINDIR LLVM CORPUS");
    };
    let put = |target: &str, name: &str, content: &[u8]| -> Result<()> {
        let directory = corpus.join(target);
        fs::create_dir_all(&directory)?;
        let path = directory.join(format!("seed-{name}"));
        fs::write(&path, content).with_context(|| path.display().to_string())
    };
    for (index, text) in OPTIONS.iter().enumerate() {
        put("options", &index.to_string(), text.as_bytes())?;
    }
    for (index, text) in COMMAND_LINES.iter().enumerate() {
        put("command_line", &index.to_string(), text.as_bytes())?;
    }
    let directory = tempfile::tempdir()?;
    let path = |name: &str| directory.path().join(name);
    fs::write(path("a.c"), PROGRAM)?;
    fs::write(path("script"), SCRIPT)?;
    let run = |program: &Path, arguments: &[&str]| -> Result<()> {
        let output = Command::new(program).args(arguments).current_dir(&directory).output();
        let output = output.with_context(|| program.display().to_string())?;
        ensure!(
            output.status.success(),
            "{}: {}",
            program.display(),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    };
    let clang = bindir.join("relpoline-clang");
    for (name, flags) in VARIANTS {
        run(&clang, &[&FLAGS, flags].concat())?;
        put("elf", &format!("{name}-object"), &fs::read(path("a.o"))?)?;
        run(
            &llvm.join("ld.lld"),
            &["-N", "-T", "script", "--defsym=__relpoline_slow=0x42", "-S", "a.o", "-o", "a"],
        )?;
        let linked = fs::read(path("a"))?;
        put("elf", name, &linked)?;
        put("symbols", name, &[&0x40u64.to_le_bytes()[..], &linked].concat())?;
        let file = object::File::parse(&*linked)?;
        put("sites", name, &image(&file)?)?;
        put("decode", name, file.section_by_name(".text").context("no code")?.data()?)?;
    }
    run(&llvm.join("llvm-ar"), &["rcs", "a.a", "a.o"])?;
    put("elf", "archive", &fs::read(path("a.a"))?)?;
    run(&clang, &["-m32", "-O2", "-c", "a.c", "-ffreestanding"])?;
    put("elf", "i386", &fs::read(path("a.o"))?)
}

/// The image as the target `sites` takes it.
fn image(file: &object::File) -> Result<Vec<u8>> {
    let sections = [".text", ".data", "relpoline_sites"].map(|name| {
        file.section_by_name(name).context(name).and_then(|section| Ok((section.address(), section.data()?)))
    });
    let mut header = Vec::new();
    let mut memory = Vec::new();
    for section in sections {
        let (address, data) = section?;
        let (start, end) = (address as usize, address as usize + data.len());
        memory.resize(memory.len().max(end), 0);
        memory[start..end].copy_from_slice(data);
        for offset in [start, end] {
            header.extend(u16::try_from(offset)?.to_le_bytes());
        }
    }
    Ok([header, memory].concat())
}
