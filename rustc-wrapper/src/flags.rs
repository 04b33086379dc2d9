//! `relpoline flags`: what builds need that do without the wrappers, as `llvm-config` prints it.

use crate::{
    clang::{joined, lto_linker_flags, macro_definition},
    identity::{Identity, VERSION},
    locate::{self, Part},
    options::{self, Options, Question},
    program, rustc,
    toolchain::llvm_major,
};
use anyhow::{Result, bail};
use relpoline_layout::SLOW_PATH;
use std::{ffi::OsString, fmt::Write, path::Path};

/// Which tool the flags are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Tool {
    /// For RUSTFLAGS; a stable compiler also needs RUSTC_BOOTSTRAP=1.
    Rust,
    /// For CFLAGS.
    #[value(help = concat!("For CFLAGS, with clang-", llvm_major!()))]
    C,
    /// For CXXFLAGS.
    #[value(help = concat!("For CXXFLAGS, with clang++-", llvm_major!()))]
    Cxx,
    /// For LDFLAGS or LDLIBS.
    Ld,
}

/// Options of `relpoline flags`.
#[derive(clap::Args)]
pub struct Arguments {
    /// What the flags are for
    tool: Tool,
    /// With -flto: for `ld`, what makes lld load the plugin (with -flto=thin and -O0, also link with -Wl,--lto-O1)
    #[arg(long)]
    lto: bool,
    /// Print a JSON array
    #[arg(long)]
    json: bool,
}

/// Prints the flags on one line.
pub fn run(arguments: &Arguments) -> Result<()> {
    let flags = flags(arguments.tool, arguments.lto, &Options::from_environment()?)?;
    if arguments.json {
        let flags: Vec<_> = flags.iter().map(|flag| flag.to_string_lossy()).collect();
        return program::print(&format!("{}\n", serde_json::to_string(&flags)?));
    }
    let mut words = Vec::new();
    for flag in flags {
        let text = flag.to_string_lossy().into_owned();
        // Neither cargo nor make can be given a blank inside a flag that comes out of a variable.
        if text.contains(char::is_whitespace) {
            bail!(
                "'{text}' cannot be passed in a variable of flags, because of its blank; install relpoline in a \
                 directory without blanks, or use --json, which prints an array"
            );
        }
        words.push(text);
    }
    program::print(&format!("{}\n", words.join(" ")))
}

fn flags(tool: Tool, lto: bool, options: &Options) -> Result<Vec<OsString>> {
    let mut flags = Vec::new();
    match tool {
        Tool::Rust => {
            flags.extend(rustc::plugin_flags(&locate::find(Part::Plugin, options)?, options)?);
            // cargo names all other conditions.
            flags.push(rustc::CHECK_CFG.into());
            flags.push(rustc::runtime_flag(&locate::find(Part::Runtime, options)?));
        }
        Tool::C | Tool::Cxx => {
            let plugin = locate::find(Part::Plugin, options)?;
            flags.push(joined("-fpass-plugin=", &plugin));
            flags.push(macro_definition().into());
            // clang ignores it. Make rules that depend on the flags, and ccache, which does not look into
            // plugins and leaves macros to the preprocessor, see by it that the plugin's content changed, or what it is
            // asked for.
            let identity = Identity::of_build(&[&plugin], options)?;
            flags.push(format!("-frandom-seed=relpoline-{identity}").into());
        }
        Tool::Ld => {
            if lto {
                flags.push("-fuse-ld=lld".into());
                let plugin = locate::find(Part::Plugin, options)?;
                let linker_flags = lto_linker_flags(&plugin, options)?;
                flags.extend(linker_flags.iter().map(|flag| joined("-Wl,", Path::new(flag))));
            }
            // Linkers take from an archive what was asked for before it, and the objects may come later.
            flags.push(format!("-Wl,--undefined={SLOW_PATH}").into());
            flags.push(locate::find(Part::Runtime, options)?.into());
        }
    }
    Ok(flags)
}

/// What the compiler wrappers print when they are asked about themselves. `compiler` tells the compiler that they run
/// from others.
pub fn answer(
    question: Question,
    options: &Options,
    compiler: impl FnOnce() -> Option<String>,
) -> Result<()> {
    match question {
        Question::Help => program::print(&options::help()),
        Question::Version => version(options, compiler()),
        Question::Plugin => program::print(&format!("{}\n", locate::find(Part::Plugin, options)?.display())),
    }
}

/// Version, and what tells code that is compiled now from what was compiled otherwise: caches of objects ask. On one
/// line, of which the kernel makes a macro.
fn version(options: &Options, compiler: Option<String>) -> Result<()> {
    let mut text = format!("relpoline {VERSION}");
    if options.disable {
        text += " disabled";
    } else {
        let parts = [&*locate::find(Part::Plugin, options)?, &*locate::find(Part::Runtime, options)?];
        write!(text, " {}", Identity::of_build(&parts, options)?)?;
    }
    if let Some(compiler) = compiler {
        write!(text, " ({compiler})")?;
    }
    program::print(&(text + "\n"))
}
