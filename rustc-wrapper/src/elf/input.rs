//! From a path to the ELF files behind it.

use super::ElfError;
use crate::file::{self, Kind};
use object::read::archive::ArchiveFile;
use std::path::{Path, PathBuf};

/// An ELF file, or one in an archive.
pub struct Object {
    /// `path`, or `path(member)`.
    pub name: String,
    /// Its content, aligned as a file is.
    pub bytes: Vec<u8>,
}

/// More bytes than any program has, with all that debuggers want to know.
pub const LIMIT: u64 = 1 << 34;

/// The ELF file at `path`, or those in the archive at `path`.
pub fn load(path: &Path) -> Result<Vec<Object>, ElfError> {
    objects(path, read(path)?)
}

/// The ELF file that is `bytes`, or those in the archive that it is. It came from `path`: what a thin archive names
/// is read from beside it.
pub fn objects(path: &Path, bytes: Vec<u8>) -> Result<Vec<Object>, ElfError> {
    let name = path.display().to_string();
    match Found::of(&bytes) {
        Found::Archive => members(path, &name, &bytes),
        Found::Elf => Ok(vec![Object { name, bytes }]),
        Found::Bitcode => Err(ElfError::Bitcode { name }),
        Found::Other => Err(ElfError::Kind { name, found: describe(&bytes) }),
    }
}

/// An archive, too, can name what is no file.
fn read(path: &Path) -> Result<Vec<u8>, ElfError> {
    file::read(path, Kind::Regular, LIMIT).map_err(|source| ElfError::Read { path: path.into(), source })
}

fn members(path: &Path, name: &str, bytes: &[u8]) -> Result<Vec<Object>, ElfError> {
    let damaged = |reason: String| ElfError::Damaged { name: name.into(), reason };
    let archive = ArchiveFile::parse(bytes).map_err(|error| damaged(error.to_string()))?;
    let mut objects = Vec::new();
    for member in archive.members() {
        let member = member.map_err(|error| damaged(error.to_string()))?;
        let member_name = String::from_utf8_lossy(member.name()).into_owned();
        let content = if archive.is_thin() {
            read(&thin_member(path, &member_name))?
        } else {
            member.data(bytes).map_err(|error| damaged(format!("{member_name}: {error}")))?.to_vec()
        };
        let archive = name;
        let name = format!("{archive}({member_name})");
        match Found::of(&content) {
            Found::Elf => objects.push(Object { name, bytes: content }),
            // Code that is generated later cannot be judged, and must not be passed over.
            Found::Bitcode => return Err(ElfError::Bitcode { name }),
            Found::Archive => {
                return Err(ElfError::Nested { name, archive: archive.into(), member: member_name });
            }
            Found::Other => {}
        }
    }
    if objects.is_empty() {
        return Err(ElfError::Kind { name: name.into(), found: "an archive without ELF files".into() });
    }
    Ok(objects)
}

/// A thin archive names its members relative to itself.
fn thin_member(archive: &Path, member: &str) -> PathBuf {
    archive.parent().unwrap_or(Path::new("")).join(member)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Archive,
    Elf,
    Bitcode,
    Other,
}

impl Found {
    fn of(bytes: &[u8]) -> Self {
        if bytes.starts_with(b"!<arch>\n") || bytes.starts_with(b"!<thin>\n") {
            Self::Archive
        } else if bytes.starts_with(b"\x7fELF") {
            Self::Elf
        } else if bytes.starts_with(b"BC\xc0\xde") || bytes.starts_with(&[0xde, 0xc0, 0x17, 0x0b]) {
            Self::Bitcode
        } else {
            Self::Other
        }
    }
}

fn describe(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "empty".into();
    }
    let start: Vec<String> = bytes.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    format!("no ELF file (it starts with {})", start.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(content: &[u8]) -> String {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        load(file.path()).err().unwrap().to_string()
    }

    #[test]
    fn says_what_else_it_is() {
        assert!(complaint(b"").contains("is empty, expected an ELF"));
        assert!(complaint(b"#!/bin/sh\n").contains("starts with 23 21 2f 62"));
        assert!(complaint(b"BC\xc0\xde....").contains("is LLVM bitcode (-flto)"));
        assert!(complaint(b"!<arch>\n").contains("an archive without ELF files"));
        assert!(complaint(b"!<arch>\nrubbish").contains("damaged or truncated"));
        let error = load(Path::new("/nowhere")).err().unwrap();
        assert_eq!(error.to_string(), "cannot read /nowhere");
    }
}
