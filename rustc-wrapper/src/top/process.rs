//! Another process: its memory, and the files that it runs code of.

use crate::{
    elf,
    file::{self, Kind},
    program::printable,
};
use anyhow::{Context, Result, anyhow};
use std::{
    ffi::OsStr,
    fs::{self, File},
    io,
    os::unix::{ffi::OsStrExt, fs::FileExt},
    path::{Path, PathBuf},
};

/// A process.
pub struct Process {
    pid: u32,
}

/// A part of a file that a process can execute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// Its first address.
    pub start: u64,
    /// Its end.
    pub end: u64,
    /// Where it begins in the file.
    pub offset: u64,
    /// The file, as the process knows it.
    pub path: PathBuf,
}

impl Process {
    /// The process with this number.
    pub fn new(pid: u32) -> Self {
        Self { pid }
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Its name.
    pub fn name(&self) -> String {
        let name = fs::read(self.file("comm")).unwrap_or_default();
        // A process chooses its name itself.
        printable(String::from_utf8_lossy(&name).trim_end())
    }

    fn file(&self, name: &str) -> PathBuf {
        Path::new("/proc").join(self.pid.to_string()).join(name)
    }

    /// The mappings of files that can be executed. Empty once it has ended.
    pub fn code(&self) -> Result<Vec<Mapping>> {
        let text = fs::read(self.file("maps")).map_err(|error| self.explain(error))?;
        Ok(text.split(|&byte| byte == b'\n').filter_map(parse).collect())
    }

    /// Its memory.
    pub fn memory(&self) -> Result<Memory> {
        File::open(self.file("mem")).map(Memory).map_err(|error| self.explain(error))
    }

    /// The file of a mapping. By way of the mapping it is the one that runs, also where another has taken its place;
    /// that may need rights which the other way does not.
    pub fn content(&self, mapping: &Mapping) -> Result<Vec<u8>> {
        let mapped = self.file("map_files").join(format!("{:x}-{:x}", mapping.start, mapping.end));
        let seen = self.file("root").join(mapping.path.strip_prefix("/").unwrap_or(&mapping.path));
        read(&mapped)
            .or_else(|_| read(&seen))
            .with_context(|| format!("cannot read {}", mapping.path.display()))
    }

    fn explain(&self, error: io::Error) -> anyhow::Error {
        let pid = self.pid;
        match error.kind() {
            io::ErrorKind::NotFound if Path::new("/proc/self").exists() => {
                anyhow!("there is no process {pid}")
            }
            io::ErrorKind::NotFound => anyhow!("/proc is not mounted: mount -t proc proc /proc"),
            io::ErrorKind::PermissionDenied => anyhow!(
                "the memory of process {pid} ({}) cannot be read: permission denied; run this as the process's user or \
                 as root (sudo), and see /proc/sys/kernel/yama/ptrace_scope",
                self.name()
            ),
            _ => anyhow::Error::from(error).context(format!("cannot look into process {pid}")),
        }
    }
}

/// An ELF file. A process may map anything: what is none is not read as a whole.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    const MAGIC: [u8; 4] = *b"\x7fELF";
    let file = file::open(path, Kind::Regular)?;
    let mut start = [0; MAGIC.len()];
    if file.read_exact_at(&mut start, 0).is_err() || start != MAGIC {
        return Err(io::Error::other("it is no ELF file"));
    }
    file::rest(file, elf::LIMIT)
}

/// The memory of a process, as long as it runs the same program.
pub struct Memory(File);

impl Memory {
    /// What is at `address`. None: nothing is, or the process has ended.
    pub fn read(&self, address: u64, buffer: &mut [u8]) -> Option<()> {
        self.0.read_exact_at(buffer, address).ok()
    }

    /// The `N` bytes at `address`.
    pub fn array<const N: usize>(&self, address: u64) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        self.read(address, &mut bytes).map(|()| bytes)
    }
}

/// A line of `/proc/PID/maps`: `start-end perms offset device inode path`. None: nothing to execute, or no file.
fn parse(line: &[u8]) -> Option<Mapping> {
    let mut rest = line;
    let mut field = || {
        let end = rest.iter().position(|&byte| byte == b' ')?;
        let (field, tail) = rest.split_at(end);
        rest = tail.trim_ascii_start();
        std::str::from_utf8(field).ok()
    };
    let (start, end) = field()?.split_once('-')?;
    let (permissions, offset, _device, _inode) = (field()?, field()?, field()?, field()?);
    let path = rest.starts_with(b"/").then(|| PathBuf::from(OsStr::from_bytes(rest)))?;
    let number = |text| u64::from_str_radix(text, 16).ok();
    permissions.contains('x').then_some(())?;
    Some(Mapping { start: number(start)?, end: number(end)?, offset: number(offset)?, path })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_elf_files_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        for path in [&pipe, folder.path(), Path::new("/dev/zero"), Path::new("/proc/self/maps")] {
            assert!(read(path).is_err(), "{}", path.display());
        }
        assert!(read(Path::new("/proc/self/exe")).unwrap().starts_with(b"\x7fELF"));
    }

    #[test]
    fn mappings_of_code_are_found() {
        let line = b"7f00-7fff r-xp 00002000 fe:00 12    /usr/lib/a b.so (deleted)";
        let expected =
            Mapping { start: 0x7f00, end: 0x7fff, offset: 0x2000, path: "/usr/lib/a b.so (deleted)".into() };
        assert_eq!(parse(line), Some(expected));
        for line in [
            "7f00-7fff rw-p 00002000 fe:00 12    /usr/lib/a.so",
            "7f00-7fff r-xp 00000000 00:00 0                          [vdso]",
            "7f00-7fff r-xp 00000000 00:00 0 ",
            "7f00-7fff r-xp",
            "",
        ] {
            assert_eq!(parse(line.as_bytes()), None, "{line}");
        }
    }
}
