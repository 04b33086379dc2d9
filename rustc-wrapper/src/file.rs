//! Reads files that people name. What has the name may be a device without an end, a pipe that nobody writes to, or far
//! too large.

use rustix::{
    fs::{OFlags, fcntl_getfl, fcntl_setfl},
    io::Errno,
};
use std::{
    fs::{self, File, FileType},
    io::{self, Read},
    os::unix::fs::{FileTypeExt, OpenOptionsExt},
    path::Path,
};

/// What may have the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    Regular,
    /// A regular file, or a pipe: `<(zcat FILE)`.
    RegularOrPipe,
}

impl Kind {
    fn check(self, found: FileType) -> io::Result<()> {
        match self {
            _ if found.is_file() => Ok(()),
            _ if found.is_dir() => Err(Errno::ISDIR.into()),
            Self::RegularOrPipe if found.is_fifo() => Ok(()),
            Self::RegularOrPipe => Err(io::Error::other("it is neither a regular file nor a pipe")),
            Self::Regular => Err(io::Error::other("it is no regular file")),
        }
    }
}

/// Opens a file for reading. Never waits.
pub fn open(path: &Path, kind: Kind) -> io::Result<File> {
    // Opening some devices does something.
    kind.check(fs::metadata(path)?.file_type())?;
    let file = File::options().read(true).custom_flags(OFlags::NONBLOCK.bits() as i32).open(path)?;
    // Something else may have taken its place.
    kind.check(file.metadata()?.file_type())?;
    Ok(file)
}

/// The content of a file of less than `limit` bytes.
pub fn read(path: &Path, kind: Kind, limit: u64) -> io::Result<Vec<u8>> {
    // The one device that people name for a file: one without content.
    if path == Path::new("/dev/null") {
        return Ok(Vec::new());
    }
    let file = open(path, kind)?;
    let is_pipe = file.metadata()?.file_type().is_fifo();
    if is_pipe {
        // Whoever writes to it may take a while.
        fcntl_setfl(&file, fcntl_getfl(&file)? - OFlags::NONBLOCK)?;
    }
    let bytes = rest(file, limit)?;
    if is_pipe && bytes.is_empty() {
        return Err(io::Error::other("it is a pipe, and nobody writes to it"));
    }
    Ok(bytes)
}

/// The content of an open file of less than `limit` bytes.
pub fn rest(file: File, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // Of a regular file the size is known before.
    let size = file.metadata()?.len();
    bytes.try_reserve_exact(size.min(limit) as usize)?;
    if size >= limit || file.take(limit).read_to_end(&mut bytes)? as u64 == limit {
        return Err(io::Error::other(format!("it is too large, expected less than {} MiB", limit >> 20)));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_without_an_end_is_read_or_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let (pipe, large, small) =
            (folder.path().join("pipe"), folder.path().join("large"), folder.path().join("small"));
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        File::create(&large).unwrap().set_len(1 << 40).unwrap();
        fs::write(&small, "text").unwrap();
        let fails = |path: &Path, kind, expected: &str| {
            let error = read(path, kind, 1 << 20).unwrap_err().to_string();
            assert!(error.contains(expected), "{}: {error}", path.display());
        };
        assert!(read(Path::new("/dev/null"), Kind::Regular, 1).unwrap().is_empty());
        fails(&pipe, Kind::Regular, "it is no regular file");
        fails(&pipe, Kind::RegularOrPipe, "nobody writes to it");
        for kind in [Kind::Regular, Kind::RegularOrPipe] {
            fails(&large, kind, "it is too large, expected less than 1 MiB");
            fails(folder.path(), kind, "Is a directory");
            fails(Path::new("/dev/zero"), kind, "regular file");
            assert_eq!(read(&small, kind, 5).unwrap(), b"text");
            assert!(read(&small, kind, 4).is_err());
        }
    }
}
