//! What the documentation says of the repository itself.

use anyhow::{Context, Result, ensure};
use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
};

/// Folders whose Rust sources hold tests.
const SOURCES: [&str; 4] = ["pass", "runtime", "rustc-wrapper", "test-suite"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Words in backticks in the last cell of the rows of all tables whose last heading speaks of tests.
fn named_tests(text: &str) -> Vec<&str> {
    let mut of_tests = false;
    let mut in_table = false;
    let mut names = Vec::new();
    for line in text.lines() {
        let row = line.strip_prefix('|').and_then(|line| line.strip_suffix('|'));
        let last = row.and_then(|row| row.rsplit('|').next());
        if let Some(last) = last {
            if !in_table {
                of_tests = last.contains("test");
            } else if of_tests {
                names.extend(last.split('`').skip(1).step_by(2));
            }
        }
        in_table = last.is_some();
    }
    // Other words are files and steps of commands.
    names.retain(|name| {
        name.contains('_') && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
    });
    names
}

/// Names of all functions of these folders.
fn functions(folder: &Path, found: &mut HashSet<String>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            functions(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path)?;
            let names = text.split("fn ").skip(1).filter_map(|rest| rest.split(['(', '<']).next());
            found.extend(names.map(str::to_owned));
        }
    }
    Ok(())
}

#[test]
fn every_test_that_a_claim_names_is_there() -> Result<()> {
    let mut known = HashSet::new();
    for folder in SOURCES {
        functions(&root().join(folder), &mut known)?;
    }
    for (document, at_least) in [("docs/design.md", 50), ("docs/kernel.md", 1)] {
        let text = fs::read_to_string(root().join(document))?;
        let named = named_tests(&text);
        ensure!(
            named.len() >= at_least,
            "{document} names {} tests, expected {at_least} or more",
            named.len()
        );
        let missing: Vec<_> = named.into_iter().filter(|name| !known.contains(*name)).collect();
        ensure!(missing.is_empty(), "{document} names tests that are not there: {}", missing.join(", "));
    }
    Ok(())
}
