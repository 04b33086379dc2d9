//! Changes of files that are made all or not at all.

use anyhow::{Context, Result};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// New contents of files.
#[derive(Debug, Default)]
pub struct Changes {
    rewritten: Vec<Rewritten>,
    added: Vec<(PathBuf, Vec<u8>)>,
}

#[derive(Debug)]
struct Rewritten {
    path: PathBuf,
    old: String,
    new: String,
}

impl Changes {
    /// Plans a new content for a file that is there.
    pub fn rewrite(&mut self, path: &Path, change: impl FnOnce(&str) -> Result<String>) -> Result<()> {
        let old = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let new = change(&old).with_context(|| path.display().to_string())?;
        self.rewritten.push(Rewritten { path: path.to_owned(), old, new });
        Ok(())
    }

    /// Plans a new file, in a folder that may be new as well.
    pub fn add(&mut self, path: PathBuf, content: Vec<u8>) {
        // make goes by the time of a file.
        if fs::read(&path).ok().as_ref() != Some(&content) {
            self.added.push((path, content));
        }
    }

    /// Makes the changes. Where one fails, those before it are undone.
    pub fn make(&self) -> Result<()> {
        let result = self.try_make();
        if result.is_err() {
            for file in &self.rewritten {
                // What could not be written was not changed, or cannot be helped.
                let _ = fs::write(&file.path, &file.old);
            }
            for (path, _) in &self.added {
                let _ = fs::remove_file(path);
                let _ = path.parent().map(fs::remove_dir);
            }
        }
        result
    }

    fn try_make(&self) -> Result<()> {
        for (path, content) in &self.added {
            let write = || {
                fs::create_dir_all(path.parent().unwrap_or(Path::new("")))?;
                fs::write(path, content)
            };
            write().with_context(|| format!("cannot write {}", path.display()))?;
        }
        for file in &self.rewritten {
            fs::write(&file.path, &file.new)
                .with_context(|| format!("cannot write {}", file.path.display()))?;
        }
        Ok(())
    }
}
