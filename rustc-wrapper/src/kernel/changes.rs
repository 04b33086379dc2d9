//! Changes of files that are made all or not at all.

use crate::program::quoted;
use anyhow::{Context, Result, bail};
use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::{MetadataExt, chown},
    path::{Path, PathBuf},
};

/// New contents of files.
#[derive(Debug, Default)]
pub struct Changes(Vec<Change>);

#[derive(Debug)]
struct Change {
    path: PathBuf,
    /// None: there is no such file.
    old: Option<Vec<u8>>,
    new: Vec<u8>,
}

impl Changes {
    /// Plans a new content for a file that is there.
    pub fn rewrite(&mut self, path: &Path, change: impl FnOnce(&str) -> Result<String>) -> Result<()> {
        let old = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let new = change(&old).with_context(|| path.display().to_string())?;
        self.plan(path.to_owned(), Some(old.into()), new.into())
    }

    /// Plans a file that may be new, in a folder that may be new as well.
    pub fn add(&mut self, path: PathBuf, content: Vec<u8>) -> Result<()> {
        let old = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            content => Some(content.with_context(|| format!("cannot read {}", path.display()))?),
        };
        self.plan(path, old, content)
    }

    fn plan(&mut self, path: PathBuf, old: Option<Vec<u8>>, new: Vec<u8>) -> Result<()> {
        // make goes by the time of a file.
        if old.as_ref() == Some(&new) {
            return Ok(());
        }
        // A file in the link's place would stay when the old content comes back, and what the link leads to may be in
        // another tree as well (cp -as).
        if path.is_symlink() {
            let to = path.canonicalize().unwrap_or_default();
            bail!(
                "{} is a symbolic link (expected a file of this tree's own); run: cp --remove-destination {} {}",
                path.display(),
                quoted(&to),
                quoted(&path)
            );
        }
        self.0.push(Change { path, old, new });
        Ok(())
    }

    /// Makes the changes. All contents are written beside the files first, and then put in their places; where that
    /// fails, those before it are undone.
    pub fn make(&self) -> Result<()> {
        let mut folders = Vec::new();
        let mut placed = 0;
        let result = self.try_make(&mut folders, &mut placed);
        if result.is_err() {
            for change in &self.0[placed..] {
                discard(&change.path);
            }
            for change in self.0[..placed].iter().rev() {
                // What cannot be undone is what `relpoline kernel remove` takes out.
                let _ = match &change.old {
                    Some(old) => write_beside(&change.path, old).and_then(|()| place(&change.path)),
                    None => fs::remove_file(&change.path),
                };
            }
            for folder in folders.iter().rev() {
                let _ = fs::remove_dir(folder);
            }
        }
        result
    }

    fn try_make(&self, folders: &mut Vec<PathBuf>, placed: &mut usize) -> Result<()> {
        let cannot = |change: &Change| format!("cannot write {}", change.path.display());
        for change in &self.0 {
            let mut write = || {
                make_folder(change.path.parent().unwrap_or(Path::new("")), folders)?;
                write_beside(&change.path, &change.new)
            };
            write().with_context(|| cannot(change))?;
        }
        for change in &self.0 {
            place(&change.path).with_context(|| cannot(change))?;
            *placed += 1;
        }
        Ok(())
    }
}

fn make_folder(folder: &Path, made: &mut Vec<PathBuf>) -> io::Result<()> {
    if folder.as_os_str().is_empty() || folder.is_dir() {
        return Ok(());
    }
    make_folder(folder.parent().unwrap_or(Path::new("")), made)?;
    fs::create_dir(folder)?;
    made.push(folder.to_owned());
    Ok(())
}

/// How the name of a new content ends that has not taken its place.
pub const BESIDE: &str = ".relpoline-new";

/// The name of a new content until it takes its place: always the same, so that what a run that was killed leaves is
/// found again.
fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}{BESIDE}"))
}

/// A file of its own, and not the old one written over: that may be in another tree as well (cp -al).
fn write_beside(path: &Path, content: &[u8]) -> io::Result<()> {
    let new = beside(path);
    discard(path);
    let mut file = File::options().write(true).create_new(true).open(&new)?;
    file.write_all(content)?;
    if let Ok(old) = fs::metadata(path) {
        let created = file.metadata()?;
        if (created.uid(), created.gid()) != (old.uid(), old.gid()) {
            // Who may not give files away is content with owning it.
            let _ = chown(&new, Some(old.uid()), Some(old.gid()));
        }
        file.set_permissions(old.permissions())?;
    }
    file.sync_all()
}

fn place(path: &Path) -> io::Result<()> {
    fs::rename(beside(path), path)
}

/// Removes what a run that failed, or was killed, left beside a file.
pub fn discard(path: &Path) {
    let _ = fs::remove_file(beside(path));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_in_its_place_is_taken_back_when_a_later_one_fails() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("old"), "old").unwrap();
        let mut changes = Changes::default();
        changes.rewrite(&path("old"), |_| Ok("new".into())).unwrap();
        changes.add(path("folder/new"), "new".into()).unwrap();
        changes.add(path("taken"), "new".into()).unwrap();
        // A folder cannot be replaced by a file.
        fs::create_dir(path("taken")).unwrap();
        let error = format!("{:#}", changes.make().unwrap_err());
        assert!(error.contains("cannot write") && error.contains("taken"), "{error}");
        assert_eq!(fs::read(path("old")).unwrap(), b"old");
        let names = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = names.collect();
        names.sort();
        assert_eq!(names, ["old", "taken"]);
    }
}
