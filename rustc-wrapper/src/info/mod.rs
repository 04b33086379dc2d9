//! `relpoline info`: what is here, what is missing, and the command that mends it.

mod probe;

use crate::{
    identity::{Identity, VERSION},
    locate::{self, Part},
    options::Options,
    program,
    toolchain::{Clang, LLVM_MAJOR, Rustc, find_clang, find_llvm_tool, find_rustc},
};
use anyhow::Result;
use serde::Serialize;
use std::{
    fmt::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Options of `relpoline info`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    /// Something is not possible, but programs can be built.
    Limited,
    Missing,
}

/// One line of the list.
#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    state: State,
    path: Option<PathBuf>,
    found: String,
    /// Command, or advice.
    mend: Option<String>,
}

impl Check {
    fn ok(name: &'static str, path: Option<PathBuf>, found: impl Into<String>) -> Self {
        Self { name, state: State::Ok, path, found: found.into(), mend: None }
    }

    fn not(name: &'static str, state: State, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { name, state, path: None, found: found.into(), mend: Some(mend.into()) }
    }
}

#[derive(Serialize)]
struct Info {
    version: &'static str,
    /// The LLVM that the plugin is for.
    llvm: u32,
    ok: bool,
    checks: Vec<Check>,
}

/// Prints the list. Exit status 1: nothing can be built.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let info = Info::gather(&Options::from_environment()?);
    if arguments.json {
        program::print(&format!("{}\n", serde_json::to_string_pretty(&info)?))?;
    } else {
        program::print(&info.text()?)?;
    }
    Ok(ExitCode::from(u8::from(!info.ok)))
}

impl Info {
    fn gather(options: &Options) -> Self {
        let plugin = locate::find(Part::Plugin, options);
        let mut checks = vec![part(Part::Plugin, options), part(Part::Runtime, options)];
        let plugin = plugin.ok();
        let clang = find_clang(options, false);
        checks.push(clang_check(clang.as_ref(), options, plugin.as_deref()));
        if let Ok(clang) = &clang {
            checks.push(lld(clang));
        }
        checks.push(rustc(options, plugin.as_deref()));
        checks.push(membarrier());
        checks.push(code_writes());
        let state = |name: &str| checks.iter().find(|check| check.name == name).map(|check| check.state);
        // One compiler is enough.
        let compiler = state("clang") == Some(State::Ok) || state("rustc") == Some(State::Ok);
        let ok = compiler && state("plugin") == Some(State::Ok) && state("runtime") == Some(State::Ok);
        Self { version: VERSION, llvm: LLVM_MAJOR, ok, checks }
    }

    fn text(&self) -> Result<String> {
        let mut text = format!("relpoline {} for LLVM {}\n", self.version, self.llvm);
        for check in &self.checks {
            let state = match check.state {
                State::Ok => "ok",
                State::Limited => "limited",
                State::Missing => "missing",
            };
            write!(text, "  {state:<8} {:<12} ", check.name)?;
            match &check.path {
                Some(path) => writeln!(text, "{} ({})", path.display(), check.found)?,
                None => writeln!(text, "{}", check.found)?,
            }
            if let Some(mend) = &check.mend {
                writeln!(text, "  {:<8} {:<12} -> {mend}", "", "")?;
            }
        }
        let verdict = if self.ok {
            "Programs can be built with relpolines."
        } else {
            "Nothing can be built until the missing parts are there."
        };
        writeln!(text, "{verdict}")?;
        Ok(text)
    }
}

fn part(part: Part, options: &Options) -> Check {
    let name = match part {
        Part::Plugin => "plugin",
        Part::Runtime => "runtime",
        Part::Kernel => "kernel",
    };
    match locate::find(part, options) {
        Ok(path) => match Identity::of(&[&path]) {
            Ok(identity) => Check::ok(name, Some(path), identity.to_string()),
            Err(error) => Check::not(name, State::Missing, format!("{error:#}"), part.build_command()),
        },
        Err(error) => {
            let given = match part {
                Part::Plugin => options.pass.as_ref().map(|_| "RELPOLINE_PASS"),
                Part::Runtime => options.runtime.as_ref().map(|_| "RELPOLINE_RUNTIME"),
                Part::Kernel => None,
            };
            let home = options.home.as_ref().map(|_| "RELPOLINE_HOME");
            let mend = match (given, home) {
                (Some(variable), _) => correct(variable, &format!("the path of {}", part.file_name())),
                (None, Some(home)) => {
                    correct(home, &format!("the directory that holds {}", part.file_name()))
                }
                (None, None) => part.build_command().into(),
            };
            Check::not(name, State::Missing, error.to_string(), mend)
        }
    }
}

/// What mends a variable: what is installed in other places does not.
fn correct(variable: &str, expected: &str) -> String {
    format!("unset {variable}, or set it to {expected}")
}

fn clang_check(
    clang: Result<&Clang, &crate::toolchain::ToolchainError>,
    options: &Options,
    plugin: Option<&Path>,
) -> Check {
    let mut install = format!("apt-get install clang-{LLVM_MAJOR}");
    if options.clang.is_some() {
        install = correct("RELPOLINE_CLANG", &format!("a clang of LLVM {LLVM_MAJOR} ({install})"));
    }
    let clang = match clang {
        Ok(clang) => clang,
        Err(error) => return Check::not("clang", State::Missing, error.to_string(), install),
    };
    let version = probe::first_line(&clang.path, "--version");
    loads(
        "clang",
        &clang.path,
        version,
        plugin.map(|plugin| probe::clang_loads(&clang.path, plugin)),
        install,
    )
}

fn rustc(options: &Options, plugin: Option<&Path>) -> Check {
    let mut install = "rustup toolchain install stable, or: apt-get install rustc-web".to_owned();
    if options.rustc.is_some() {
        install = correct("RELPOLINE_RUSTC", &format!("a rustc of LLVM {LLVM_MAJOR} ({install})"));
    }
    let rustc = match find_rustc(options) {
        Ok(rustc) => rustc,
        Err(error) => return Check::not("rustc", State::Missing, error.to_string(), install),
    };
    let version =
        match Rustc::describe(&rustc, None).and_then(|version| version.check(&rustc).map(|()| version)) {
            Ok(version) => version,
            Err(error) => return Check::not("rustc", State::Missing, error.to_string(), install),
        };
    let text = format!("rustc {}, LLVM {}", version.release, version.llvm);
    loads("rustc", &rustc, text, plugin.map(|plugin| probe::rustc_loads(&rustc, &version, plugin)), install)
}

/// That a compiler has the right version is one thing, that it takes the plugin another.
fn loads(
    name: &'static str,
    path: &Path,
    version: String,
    loaded: Option<Result<(), String>>,
    mend: String,
) -> Check {
    match loaded {
        Some(Ok(())) => Check::ok(name, Some(path.into()), format!("{version}; loads the plugin")),
        None => Check::ok(name, Some(path.into()), version),
        Some(Err(reason)) => {
            let found = format!("{} ({version}) does not load the plugin: {reason}", path.display());
            let mend = format!("{}, or another compiler: {mend}", Part::Plugin.build_command());
            Check::not(name, State::Missing, found, mend)
        }
    }
}

fn lld(clang: &Clang) -> Check {
    match find_llvm_tool(&clang.path, "ld.lld") {
        Some(path) => {
            let version = probe::first_line(&path, "--version");
            Check::ok("lld", Some(path), version)
        }
        None => Check::not(
            "lld",
            State::Limited,
            "ld.lld not found: -flto does not work",
            format!("apt-get install lld-{LLVM_MAJOR}"),
        ),
    }
}

fn membarrier() -> Check {
    const NAME: &str = "membarrier";
    if probe::has_core_barrier() {
        Check::ok(NAME, None, "the kernel synchronises cores after code was patched")
    } else {
        Check::not(
            NAME,
            State::Limited,
            "no membarrier(SYNC_CORE): programs run here, on retpolines",
            "Linux 4.16 or later, and a sandbox that allows membarrier()",
        )
    }
}

fn code_writes() -> Check {
    const NAME: &str = "patching";
    match probe::can_write_code() {
        Ok(()) => Check::ok(NAME, None, "code can be written through /proc/self/mem"),
        Err(error) => Check::not(
            NAME,
            State::Limited,
            format!("/proc/self/mem cannot be written ({error}): programs run here, on retpolines"),
            "mount /proc, and boot without proc_mem.force_override=never",
        ),
    }
}
