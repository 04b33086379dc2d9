//! `@FILE` arguments, read as clang reads them.

use std::{
    ffi::{OsStr, OsString},
    fs,
    os::unix::ffi::{OsStrExt, OsStringExt},
};

/// A file that names itself, by way of others, is left to clang to complain about.
const MAX_DEPTH: usize = 16;

/// What an argument stands for.
#[derive(Debug, Default)]
pub struct Expanded {
    /// The arguments of its file if it is `@FILE`, else itself.
    pub arguments: Vec<OsString>,
    /// A file was a pipe, as `@<(...)` of a shell is: the compiler would find nothing in it any more.
    pub is_spent: bool,
}

/// Reads what `argument` stands for.
pub fn expand(argument: &OsStr) -> Expanded {
    let mut expanded = Expanded::default();
    expand_into(argument, 0, &mut expanded);
    expanded
}

fn expand_into(argument: &OsStr, depth: usize, expanded: &mut Expanded) {
    let file = argument.as_bytes().strip_prefix(b"@").filter(|_| depth < MAX_DEPTH).map(OsStr::from_bytes);
    match file.and_then(|file| Some((file, fs::read(file).ok()?))) {
        Some((file, content)) => {
            expanded.is_spent |= is_spent(file);
            for token in tokenize(&content) {
                expand_into(&token, depth + 1, expanded);
            }
        }
        // As with clang, a file that is not there makes an ordinary argument.
        None => expanded.arguments.push(argument.to_owned()),
    }
}

/// Whether what was read of `file` cannot be read once more.
pub fn is_spent(file: &OsStr) -> bool {
    !fs::metadata(file).is_ok_and(|data| data.is_file())
}

/// The arguments in a file, by the rules of LLVM's `TokenizeGNUCommandLine`: white space separates, either quote joins, and a backslash
/// takes the next character as it is, inside quotes too.
pub fn tokenize(content: &[u8]) -> Vec<OsString> {
    let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
    let mut tokens = Vec::new();
    let mut token = Vec::new();
    let mut quote = None;
    let mut bytes = content.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => token.push(bytes.next().unwrap_or(byte)),
            _ if quote == Some(byte) => quote = None,
            _ if quote.is_some() => token.push(byte),
            b'"' | b'\'' => quote = Some(byte),
            b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => {
                if !token.is_empty() {
                    tokens.push(OsString::from_vec(std::mem::take(&mut token)));
                }
            }
            _ => token.push(byte),
        }
    }
    if !token.is_empty() {
        tokens.push(OsString::from_vec(token));
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn split(content: &str) -> Vec<String> {
        tokenize(content.as_bytes()).into_iter().map(|token| token.into_string().unwrap()).collect()
    }

    #[test]
    fn quoting_is_clangs() {
        assert_eq!(split("-c  a.c\n\t-O2\r\n"), ["-c", "a.c", "-O2"]);
        assert_eq!(split(r#""a b" 'c "d"' e"f"g"#), ["a b", "c \"d\"", "efg"]);
        assert_eq!(split(r#"a\ b "c\"d" 'e\'f' g\\h"#), ["a b", "c\"d", "e'f", "g\\h"]);
        assert_eq!(split("\u{feff}-c '' x\\"), ["-c", "x\\"]);
    }

    #[test]
    fn files_name_files() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, content: String| {
            let path = directory.path().join(name);
            fs::write(&path, content).unwrap();
            format!("@{}", path.display())
        };
        let inner = file("inner", "-flto 'a b.c'".into());
        let outer = file("outer", format!("-c {inner} @nowhere"));
        let expand = |argument: &OsStr| super::expand(argument).arguments;
        assert_eq!(expand(OsStr::new(&outer)), ["-c", "-flto", "a b.c", "@nowhere"]);
        let name = directory.path().join("self");
        let own = file("self", format!("-c @{}", name.display()));
        assert!(expand(OsStr::new(&own)).len() <= MAX_DEPTH + 1);
        assert_eq!(expand(Path::new("a.c").as_os_str()), ["a.c"]);
    }
}
