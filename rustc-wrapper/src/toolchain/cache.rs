//! Remembers what a compiler said about itself, so that it is not asked again at every compilation.

use std::{
    env, fs,
    io::Write,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};
use xxhash_rust::xxh3::xxh3_64;

/// The answer that is remembered for `program`, or that of `ask`.
pub fn remember<E>(program: &Path, ask: impl FnOnce() -> Result<String, E>) -> Result<String, E> {
    let place = key(program).and_then(|key| Some((entry(&key)?, key)));
    if let Some((path, key)) = &place
        && let Ok(text) = fs::read_to_string(path)
        && let Some(answer) = text.strip_prefix(key.as_str())
    {
        return Ok(answer.to_owned());
    }
    let answer = ask()?;
    if let Some((path, key)) = &place {
        // Only time is lost where this fails.
        let _ = store(path, &format!("{key}{answer}"));
    }
    Ok(answer)
}

/// What the answer depends on, ended by a newline. None: the file does not determine the answer.
fn key(program: &Path) -> Option<String> {
    let path = program.canonicalize().ok()?;
    if is_proxy(&path) {
        return None;
    }
    Some(format!("{} {}\n", stamp(&path)?, fs::metadata(&path).ok()?.ino()))
}

/// What tells a compiler from others without reading it: path, length and time of change.
pub fn stamp(program: &Path) -> Option<String> {
    let path = program.canonicalize().ok()?;
    let data = fs::metadata(&path).ok()?;
    Some(format!("{} {} {}.{:09}", path.display(), data.len(), data.mtime(), data.mtime_nsec()))
}

/// rustup's and ccache's stand-ins run another program, chosen by variables and by the directory.
fn is_proxy(path: &Path) -> bool {
    let name = |path: &Path| path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
    if matches!(name(path).as_deref(), Some("rustup" | "ccache" | "sccache" | "distcc" | "icecc")) {
        return true;
    }
    let rustup = path.with_file_name("rustup");
    match (fs::metadata(path), fs::metadata(rustup)) {
        (Ok(program), Ok(rustup)) => (program.dev(), program.ino()) == (rustup.dev(), rustup.ino()),
        _ => false,
    }
}

/// Not in a directory that others can write: what stands there decides which compiler is trusted.
fn entry(key: &str) -> Option<PathBuf> {
    let directory = match env::var_os("XDG_CACHE_HOME") {
        Some(directory) if !directory.is_empty() => PathBuf::from(directory),
        _ => PathBuf::from(env::var_os("HOME").filter(|home| !home.is_empty())?).join(".cache"),
    };
    Some(directory.join("relpoline").join(format!("compiler-{:016x}", xxh3_64(key.as_bytes()))))
}

fn store(path: &Path, text: &str) -> std::io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(directory)?;
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(text.as_bytes())?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_changes_with_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("rustc");
        fs::write(&program, "1").unwrap();
        let before = key(&program).unwrap();
        assert_eq!(key(&program).unwrap(), before);
        fs::write(&program, "12").unwrap();
        assert_ne!(key(&program).unwrap(), before);
        assert_eq!(key(Path::new("/nowhere/rustc")), None);
    }

    #[test]
    fn proxies_are_asked_every_time() {
        let directory = tempfile::tempdir().unwrap();
        let rustup = directory.path().join("rustup");
        fs::write(&rustup, "").unwrap();
        let (link, copy) = (directory.path().join("rustc"), directory.path().join("cargo"));
        std::os::unix::fs::symlink("rustup", &link).unwrap();
        fs::hard_link(&rustup, &copy).unwrap();
        assert_eq!((key(&link), key(&copy)), (None, None));
    }
}
