//! What can be done for a target. The pass itself asks LLVM.

use std::{borrow::Cow, fs, path::Path};

/// What can be done for a target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Support {
    /// x86-64 Linux: relpolines, and the runtime.
    #[default]
    Full,
    /// Other ELF targets of x86: retpolines by the plugin.
    Retpolines,
    /// Nothing.
    None,
}

/// What follows a warning that names the target.
pub const EXPECTED: &str = "is not supported (expected x86_64-*-linux-*; other ELF targets of x86 get retpolines): \
                            indirect calls stay as they are";

/// Parts of the names of targets whose object files are not ELF.
const OTHER_FORMATS: [&str; 7] = ["windows", "win32", "darwin", "apple", "macos", "uefi", "cygwin"];

impl Support {
    /// By the triple, and one of `-m64`, `-m32`, `-mx32` and `-m16` where it is given.
    pub fn of(triple: &str, model: Option<&str>) -> Self {
        let mut parts = triple.split('-');
        let wide = match parts.next().unwrap_or_default() {
            "x86_64" | "amd64" => !triple.ends_with("x32"),
            "i386" | "i486" | "i586" | "i686" | "i786" | "i886" | "i986" => false,
            _ => return Self::None,
        };
        if OTHER_FORMATS.iter().any(|other| triple.contains(other)) {
            return Self::None;
        }
        // `x86_64-pc-linux-gnu`, and `x86_64-linux-gnu` without a vendor.
        let linux = parts.take(2).any(|part| part.starts_with("linux"));
        if linux && model.map_or(wide, |model| model == "-m64") { Self::Full } else { Self::Retpolines }
    }

    /// By what rustc is given: a triple, or the file of a target of one's own.
    pub fn of_rust(target: &str) -> Self {
        Self::of(&triple(target), None)
    }
}

/// LLVM's triple of a target; of a file that does not tell, its name says as much as can be known.
fn triple(target: &str) -> Cow<'_, str> {
    let Some(name) = target.strip_suffix(".json") else { return target.into() };
    let file: Option<serde_json::Value> =
        fs::read(target).ok().and_then(|text| serde_json::from_slice(&text).ok());
    match file.as_ref().and_then(|file| file["llvm-target"].as_str()) {
        Some(triple) => triple.to_owned().into(),
        None => Path::new(name).file_name().unwrap_or_default().to_string_lossy(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn triples() {
        for target in [
            "x86_64-unknown-linux-gnu",
            "x86_64-unknown-linux-musl",
            "x86_64-linux-android",
            "x86_64-linux-gnu",
            "amd64-pc-linux-gnu",
        ] {
            assert_eq!(Support::of(target, None), Support::Full, "{target}");
        }
        for target in [
            "x86_64-unknown-linux-gnux32",
            "i686-unknown-linux-gnu",
            "i786-unknown-linux-gnu",
            "x86_64-unknown-freebsd",
            "x86_64-unknown-none",
            "i686-unknown-netbsd",
        ] {
            assert_eq!(Support::of(target, None), Support::Retpolines, "{target}");
        }
        for target in
            ["aarch64-unknown-linux-gnu", "x86_64-apple-darwin", "x86_64-pc-windows-msvc", "bpf", ""]
        {
            assert_eq!(Support::of(target, None), Support::None, "{target}");
        }
    }

    #[test]
    fn models() {
        let of = |model| Support::of("x86_64-linux-gnu", Some(model));
        assert_eq!(
            [of("-m64"), of("-m32"), of("-mx32")],
            [Support::Full, Support::Retpolines, Support::Retpolines]
        );
        assert_eq!(Support::of("i686-linux-gnu", Some("-m64")), Support::Full);
        assert_eq!(Support::of("aarch64-linux-gnu", Some("-m64")), Support::None);
    }

    #[test]
    fn files_of_targets() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &str| {
            let path = directory.path().join(name);
            fs::write(&path, content).unwrap();
            Support::of_rust(path.to_str().unwrap())
        };
        assert_eq!(file("mine.json", r#"{"llvm-target": "x86_64-unknown-linux-gnu"}"#), Support::Full);
        assert_eq!(file("x86_64-mine-linux.json", r#"{"llvm-target": "bpf"}"#), Support::None);
        assert_eq!(file("x86_64-mine-linux.json", "no JSON"), Support::Full);
        assert_eq!(Support::of_rust("/no/where/x86_64-mine.json"), Support::Retpolines);
        assert_eq!(Support::of_rust("mine.json"), Support::None);
    }
}
