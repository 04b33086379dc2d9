//! What tells one build of relpoline from another, so that build systems compile again when it changes.

use crate::{
    file::{self, Kind},
    options::Options,
};
use anyhow::{Context, Result, anyhow};
use std::{fmt, fs, io, path::Path};
use xxhash_rust::xxh3::Xxh3;

/// Version of this package.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Value of the macro `__RELPOLINE__`: major * 10000 + minor * 100 + patch.
pub const VERSION_NUMBER: u32 = number(env!("CARGO_PKG_VERSION_MAJOR")) * 10_000
    + number(env!("CARGO_PKG_VERSION_MINOR")) * 100
    + number(env!("CARGO_PKG_VERSION_PATCH"));

/// `text`, of a version, as a number.
pub(crate) const fn number(text: &str) -> u32 {
    match u32::from_str_radix(text, 10) {
        Ok(number) => number,
        Err(_) => panic!("the numbers of versions are decimal"),
    }
}

/// Hash of the content of files, and of what they are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity(u64);

impl Identity {
    /// Of `files`, in this order.
    pub fn of(files: &[&Path]) -> Result<Self> {
        Ok(Self(hash(files.iter().copied())?.digest()))
    }

    /// Of all that decides what `parts` make of a source with `options`.
    pub fn of_build(parts: &[&Path], options: &Options) -> Result<Self> {
        let mut hash = hash(parts.iter().copied())?;
        if let Some(list) = &options.ignorelist {
            // In the words of the plugin (pass/src/llvm/ignore.rs).
            let content = read_list(list).map_err(|why| {
                let list = list.display();
                anyhow!(
                    "RELPOLINE_IGNORELIST: cannot read '{list}': {why}; name a list that can be read, or none"
                )
            })?;
            update(&mut hash, &content);
        }
        if let Some(form) = options.form {
            hash.update(form.name().as_bytes());
        }
        Ok(Self(hash.digest()))
    }
}

fn hash<'a>(files: impl Iterator<Item = &'a Path>) -> Result<Xxh3> {
    let mut hash = Xxh3::new();
    for file in files {
        update(&mut hash, &fs::read(file).with_context(|| format!("cannot read {}", file.display()))?);
    }
    Ok(hash)
}

fn update(hash: &mut Xxh3, content: &[u8]) {
    hash.update(&(content.len() as u64).to_le_bytes());
    hash.update(content);
}

/// More bytes than an ignore-list has.
const LIST_LIMIT: u64 = 1 << 30;

/// The content of an ignore-list. What can be read only once the plugin would find empty.
pub fn read_list(list: &Path) -> io::Result<Vec<u8>> {
    file::read(list, Kind::Regular, LIST_LIMIT)
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_with_any_byte_and_with_the_split() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &str| {
            let path = directory.path().join(name);
            fs::write(&path, content).unwrap();
            path
        };
        let (a, b, c, d) = (file("a", "12"), file("b", "3"), file("c", "1"), file("d", "23"));
        let of = |files: &[&Path]| Identity::of(files).unwrap();
        assert_eq!(of(&[&a, &b]), of(&[&a, &b]));
        assert_ne!(of(&[&a, &b]), of(&[&c, &d]));
        assert_eq!(of(&[&a]).to_string().len(), 16);
        assert!(Identity::of(&[Path::new("/nowhere")]).unwrap_err().to_string().contains("/nowhere"));
    }
}
