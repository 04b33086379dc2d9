//! Patches as `diff -u` writes them, of several files.

use anyhow::{Context, Result, anyhow};

/// The patch of one file.
#[derive(Debug)]
pub struct FilePatch<'a> {
    path: &'a str,
    patch: diffy::Patch<'a, str>,
}

/// The files of a patch, whose names begin with `a/` and `b/`.
pub fn files(text: &str) -> Result<Vec<FilePatch<'_>>> {
    let starts: Vec<usize> = std::iter::once(0)
        .filter(|_| text.starts_with("--- "))
        .chain(text.match_indices("\n--- ").map(|(at, _)| at + 1))
        .collect();
    let ends = starts.iter().skip(1).copied().chain([text.len()]);
    starts.iter().zip(ends).map(|(&start, end)| FilePatch::parse(&text[start..end])).collect()
}

impl<'a> FilePatch<'a> {
    fn parse(text: &'a str) -> Result<Self> {
        let name = text.lines().next().and_then(|line| line.strip_prefix("--- a/"));
        let path = name.context("a patch of one file begins with '--- a/FILE'")?;
        Ok(Self { path, patch: diffy::Patch::from_str(text)? })
    }

    /// The file, below the tree.
    pub fn path(&self) -> &str {
        self.path
    }

    /// Whether the content has the patch. An error says why it can neither be taken out nor applied.
    pub fn is_in(&self, content: &str) -> Result<bool> {
        match (self.revert(content), self.apply(content)) {
            (Ok(_), _) => Ok(true),
            (Err(_), Ok(_)) => Ok(false),
            (Err(error), Err(_)) => Err(error),
        }
    }

    /// The content with the patch.
    pub fn apply(&self, content: &str) -> Result<String> {
        diffy::apply(content, &self.patch).map_err(|error| anyhow!("the patch does not apply: {error}"))
    }

    /// The content without the patch.
    pub fn revert(&self, content: &str) -> Result<String> {
        diffy::apply(content, &self.patch.reverse())
            .map_err(|error| anyhow!("the patch cannot be taken out: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATCH: &str = "--- a/x/one\n+++ b/x/one\n@@ -1,3 +1,4 @@\n a\n b\n+new\n c\n--- a/two\n+++ b/two\n@@ -1 +1 @@\n-q\n+r\n";

    #[test]
    fn each_file_is_patched_and_comes_back() {
        let files = files(PATCH).unwrap();
        assert_eq!(files.iter().map(FilePatch::path).collect::<Vec<_>>(), ["x/one", "two"]);
        // The lines may have moved.
        let patched = files[0].apply("0\n1\na\nb\nc\nd\n").unwrap();
        assert_eq!(patched, "0\n1\na\nb\nnew\nc\nd\n");
        assert_eq!(files[0].revert(&patched).unwrap(), "0\n1\na\nb\nc\nd\n");
        assert_eq!(files[1].apply("q\n").unwrap(), "r\n");
    }

    #[test]
    fn what_is_not_there_cannot_be_patched() {
        let files = files(PATCH).unwrap();
        assert!(files[0].apply("a\nx\nc\n").unwrap_err().to_string().contains("does not apply"));
        assert!(files[1].revert("q\n").is_err());
    }
}
