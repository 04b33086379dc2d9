//! `relpoline info`: what is here, what is missing, and the command that mends it.

mod probe;

use crate::{
    identity::{self, Identity, VERSION},
    locate::{self, Part},
    options::Options,
    program,
    rustc::can_name,
    toolchain::{self, Clang, LLVM_MAJOR, Rustc, ToolchainError, find_clang, find_llvm_tool, find_rustc},
};
use anyhow::Result;
use probe::Failure;
use serde::Serialize;
use std::{
    env,
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
    /// The wrappers are told to be plain compilers.
    disabled: bool,
    /// What can be built: `c`, `c++`, `rust`.
    languages: Vec<&'static str>,
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
    fn gather(given: &Options) -> Self {
        // A plain compiler may be any.
        let options = &Options { disable: false, ..given.clone() };
        let plugin = locate::find(Part::Plugin, options).ok();
        let mut checks = vec![part(Part::Plugin, options), part(Part::Runtime, options)];
        checks.extend(options.ignorelist.as_deref().map(ignore_list));
        let clang = find_clang(options, false);
        checks.push(clang_check(clang.as_ref(), plugin.as_deref()));
        checks.push(lld(clang.as_ref().ok()));
        checks.push(rustc(options, plugin.as_deref()));
        checks.push(membarrier());
        checks.push(code_writes());
        let languages = languages(&checks);
        // One compiler is enough.
        let ok = !languages.is_empty();
        Self { version: VERSION, llvm: LLVM_MAJOR, ok, disabled: given.disable, languages, checks }
    }

    fn text(&self) -> Result<String> {
        let mut text = String::new();
        if self.disabled {
            text +=
                "RELPOLINE_DISABLE is set: the wrappers are plain compilers; run: unset RELPOLINE_DISABLE\n";
        }
        writeln!(text, "relpoline {} for LLVM {}", self.version, self.llvm)?;
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
        text += match self.languages[..] {
            [] => "Nothing can be built until the missing parts are there.",
            ["rust"] => "Rust programs can be built with relpolines, C and C++ programs cannot.",
            [.., "rust"] => "Programs can be built with relpolines.",
            _ => "C and C++ programs can be built with relpolines, Rust programs cannot.",
        };
        if self.ok && self.disabled {
            text += " Now they are built without: RELPOLINE_DISABLE is set.";
        }
        text += "\n";
        Ok(text)
    }
}

/// What can be built.
fn languages(checks: &[Check]) -> Vec<&'static str> {
    let is_ok = |name: &str| checks.iter().all(|check| check.name != name || check.state == State::Ok);
    let mut languages = Vec::new();
    if ["plugin", "runtime", IGNORE_LIST].into_iter().all(is_ok) {
        if is_ok("clang") {
            languages.extend(["c", "c++"]);
        }
        if is_ok("rustc") {
            languages.push("rust");
        }
    }
    languages
}

fn part(part: Part, options: &Options) -> Check {
    let name = match part {
        Part::Plugin => "plugin",
        Part::Runtime => "runtime",
        Part::Kernel => "kernel",
    };
    let path = match locate::find(part, options) {
        Ok(path) => path,
        Err(error) => return Check::not(name, State::Missing, error.found(), error.mend()),
    };
    if part == Part::Runtime
        && let Some(fault) = probe::is_no_runtime(&path)
    {
        let found = format!("{} {fault}", path.display());
        let mend = match &options.runtime {
            Some(_) => locate::correct("RELPOLINE_RUNTIME", &format!("the path of {}", part.file_name())),
            None => part.build_command().to_owned(),
        };
        return Check::not(name, State::Missing, found, mend);
    }
    match Identity::of(&[&path]) {
        Ok(identity) => Check::ok(name, Some(path), identity.to_string()),
        Err(error) => Check::not(name, State::Missing, format!("{error:#}"), part.build_command()),
    }
}

const IGNORE_LIST: &str = "ignore-list";

fn ignore_list(list: &Path) -> Check {
    match identity::read_list(list) {
        Ok(_) => Check::ok(IGNORE_LIST, Some(list.into()), "can be read"),
        Err(error) => Check::not(
            IGNORE_LIST,
            State::Missing,
            format!("{} cannot be read: {error}", list.display()),
            locate::correct("RELPOLINE_IGNORELIST", "a file that can be read"),
        ),
    }
}

fn clang_check(clang: Result<&Clang, &ToolchainError>, plugin: Option<&Path>) -> Check {
    let clang = match clang {
        Ok(clang) => clang,
        Err(error) => return Check::not("clang", State::Missing, error.fault.to_string(), &*error.mend),
    };
    let version = probe::first_line(&clang.path, "--version");
    loads("clang", &clang.path, version, plugin.map(|plugin| probe::clang_loads(&clang.path, plugin)))
}

fn rustc(options: &Options, plugin: Option<&Path>) -> Check {
    let missing = |error: ToolchainError| {
        let mend = match options.rustc {
            Some(_) => toolchain::correct_to("rustc", "RELPOLINE_RUSTC"),
            None => error.mend,
        };
        Check::not("rustc", State::Missing, error.fault.to_string(), mend)
    };
    let rustc = match find_rustc(options) {
        Ok(rustc) => rustc,
        Err(error) => return missing(error),
    };
    let version =
        match Rustc::describe(&rustc, None).and_then(|version| version.check(&rustc).map(|()| version)) {
            Ok(version) => version,
            Err(error) => return missing(error),
        };
    let text = format!("rustc {}, LLVM {}", version.release, version.llvm);
    if let Some(plugin) = plugin.filter(|plugin| !can_name(plugin)) {
        let found = format!("{text}, takes no plugin with a blank in its path: {}", plugin.display());
        return Check::not("rustc", State::Missing, found, "install relpoline in a directory without blanks");
    }
    loads("rustc", &rustc, text, plugin.map(|plugin| probe::rustc_loads(&rustc, &version, plugin)))
}

/// That a compiler has the right version is one thing, that it takes the plugin another.
fn loads(name: &'static str, path: &Path, version: String, loaded: Option<Result<(), Failure>>) -> Check {
    match loaded {
        Some(Ok(())) => Check::ok(name, Some(path.into()), format!("{version}; loads the plugin")),
        None => Check::ok(name, Some(path.into()), version),
        Some(Err(Failure::NoDirectory(error))) => {
            let found = format!("{} ({version}) could not be tried: {error}", path.display());
            let mend = match env::var_os("TMPDIR") {
                Some(_) => locate::correct("TMPDIR", "a directory that can be written to"),
                None => format!("make {} writable", env::temp_dir().display()),
            };
            Check::not(name, State::Missing, found, mend)
        }
        Some(Err(Failure::Refused(reason))) => {
            let found = format!("{} ({version}) does not load the plugin: {reason}", path.display());
            let mend =
                format!("{}, or use another {name} of LLVM {LLVM_MAJOR}", Part::Plugin.build_command());
            Check::not(name, State::Missing, found, mend)
        }
    }
}

fn lld(clang: Option<&Clang>) -> Check {
    const NAME: &str = "lld";
    let Some(clang) = clang else {
        return Check::not(NAME, State::Limited, "not looked for: it lies beside clang", "what mends clang");
    };
    match find_llvm_tool(&clang.path, "ld.lld") {
        Some(path) => {
            let version = probe::first_line(&path, "--version");
            Check::ok(NAME, Some(path), version)
        }
        None => Check::not(
            NAME,
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
