//! Tries things out.

use crate::{
    file::{self, Kind},
    toolchain::Rustc,
};
use object::read::archive::ArchiveFile;
use relpoline_layout::SLOW_PATH;
use rustix::thread::{MembarrierCommand, membarrier_query};
use std::{
    ffi::OsString,
    fs::File,
    io::{self, Write},
    os::unix::fs::FileExt,
    path::Path,
    process::{Command, Stdio},
};

/// What a program says about itself, on one line.
pub fn first_line(program: &Path, argument: &str) -> String {
    match Command::new(program).arg(argument).output() {
        Ok(output) => {
            String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or("no answer").to_owned()
        }
        Err(error) => error.to_string(),
    }
}

/// Why a compiler could not be seen to load the plugin.
pub enum Failure {
    /// It ended with this error, or could not be run.
    Refused(String),
    /// There is no directory for what it writes.
    NoDirectory(io::Error),
}

/// Compiles a function with the plugin.
pub fn clang_loads(clang: &Path, plugin: &Path) -> Result<(), Failure> {
    let mut load = OsString::from("-fpass-plugin=");
    load.push(plugin);
    let mut command = Command::new(clang);
    command.arg(load).args(["-x", "c", "-c", "-o", "/dev/null", "-"]);
    compile(command, "void probe(void) {}\n")
}

/// Compiles a function with the plugin.
pub fn rustc_loads(rustc: &Path, version: &Rustc, plugin: &Path) -> Result<(), Failure> {
    let directory = tempfile::tempdir().map_err(Failure::NoDirectory)?;
    let mut load = OsString::from("-Zllvm-plugins=");
    load.push(plugin);
    let mut command = Command::new(rustc);
    command.arg(load).args(["--crate-name=probe", "--crate-type=lib", "--emit=obj", "--out-dir"]);
    command.arg(directory.path()).arg("-");
    if !version.takes_unstable_options() {
        command.env("RUSTC_BOOTSTRAP", "1");
    }
    compile(command, "pub fn probe() {}\n")
}

fn compile(mut command: Command, source: &str) -> Result<(), Failure> {
    // That a list cannot be read is not the plugin's fault.
    command.env_remove("RELPOLINE_IGNORELIST");
    let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let mut child = child.map_err(|error| Failure::Refused(error.to_string()))?;
    if let Some(mut input) = child.stdin.take() {
        // A compiler that has ended without reading explains itself.
        let _ = input.write_all(source.as_bytes());
    }
    let output = child.wait_with_output().map_err(|error| Failure::Refused(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let error = text.lines().find(|line| line.contains("error: ")).unwrap_or("no message");
    Err(Failure::Refused(error.to_owned()))
}

/// Why a file is not the runtime.
pub fn is_no_runtime(path: &Path) -> Option<String> {
    const LIMIT: u64 = 1 << 30;
    let content = match file::read(path, Kind::Regular, LIMIT) {
        Ok(content) => content,
        Err(error) => return Some(format!("cannot be read: {error}")),
    };
    let Ok(archive) = ArchiveFile::parse(&*content) else { return Some("is no archive".into()) };
    let names = archive.symbols().ok().flatten().into_iter().flatten().flatten();
    let mut names = names.map(|symbol| symbol.name().to_vec());
    let has_it = names.any(|name| name == SLOW_PATH.as_bytes());
    (!has_it).then(|| format!("is an archive without the symbol {SLOW_PATH}"))
}

/// Whether the kernel can make every core fetch patched code anew.
pub fn has_core_barrier() -> bool {
    membarrier_query().contains_command(MembarrierCommand::PrivateExpeditedSyncCore)
}

/// Whether a page that is not writable can be written the way the runtime writes code.
pub fn can_write_code() -> io::Result<()> {
    static CONSTANT: [u8; 8] = *b"relpolin";
    let memory = File::options().write(true).open("/proc/self/mem")?;
    // The same bytes again: what is tried is whether the kernel lets them through.
    memory.write_all_at(&CONSTANT, CONSTANT.as_ptr() as u64)
}
