//! Branches that may stay as they are, each for a reason: those that every program has, and those of a list of the
//! user's.

use super::{
    built::Built,
    kernel,
    scan::{Class, Finding},
};
use crate::{
    elf::{Image, Place, demangle},
    file::{self, Kind},
};
use anyhow::{Context, Result, anyhow, ensure};
use serde::Deserialize;
use std::{cell::Cell, path::Path};
use wildmatch::WildMatch;

/// Start-up code of the C library and the compiler, which every program has.
const START_UP: [(&[u8], &str); 4] = [
    (b"_start", "calls the C library's start, before the program has read anything"),
    (b"_init", "calls __gmon_start__, which only profiled programs have"),
    (b"deregister_tm_clones", "calls a transactional memory library, where one is linked"),
    (b"register_tm_clones", "calls a transactional memory library, where one is linked"),
];

/// The user's list.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AllowList {
    #[serde(default)]
    allow: Vec<Entry>,
}

/// What may stay: everything that is named must fit.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    function: Option<String>,
    section: Option<String>,
    class: Option<Class>,
    reason: String,
    #[serde(skip)]
    used: Cell<bool>,
}

impl AllowList {
    /// Reads a list in TOML.
    pub fn read(path: &Path) -> Result<Self> {
        /// More than anybody writes.
        const LIMIT: u64 = 1 << 24;
        let text = file::read(path, Kind::RegularOrPipe, LIMIT)
            .with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("{} is no list of branches that may stay", path.display()))
    }

    fn parse(text: &[u8]) -> Result<Self> {
        let text = std::str::from_utf8(text)?;
        // Its own text shows the line, on lines of their own.
        let on_one_line = |error: toml::de::Error| {
            let line = error
                .span()
                .map_or(0, |span| text.as_bytes()[..span.start].split(|&byte| byte == b'\n').count());
            anyhow!("line {line}: {}", error.message().replace('\n', ", "))
        };
        let list: Self = toml::from_str(text).map_err(on_one_line)?;
        for entry in &list.allow {
            ensure!(
                entry.function.is_some() || entry.section.is_some(),
                "expected a function or a section in each entry; found none where the reason is '{}'",
                entry.reason
            );
            ensure!(!entry.reason.trim().is_empty(), "expected a reason, found none for {entry}");
        }
        Ok(list)
    }

    /// One list of several.
    pub fn of_all(lists: Vec<Self>) -> Self {
        Self { allow: lists.into_iter().flat_map(|list| list.allow).collect() }
    }

    /// Entries that no branch needed.
    pub fn unused(&self) -> impl Iterator<Item = String> {
        self.allow.iter().filter(|entry| !entry.used.get()).map(ToString::to_string)
    }

    fn reason(&self, image: &Image, finding: &Finding) -> Option<&str> {
        let entry = self.allow.iter().find(|entry| entry.fits(image, finding))?;
        entry.used.set(true);
        Some(&entry.reason)
    }
}

impl Entry {
    fn fits(&self, image: &Image, finding: &Finding) -> bool {
        let fits = |pattern: &str, name: &str| WildMatch::new(pattern).matches(name);
        let function = image.functions.at(finding.place).map(|function| function.name());
        self.class.is_none_or(|class| class == finding.class)
            && self
                .section
                .as_ref()
                .is_none_or(|pattern| fits(pattern, &image.sections[finding.place.section].name))
            && self.function.as_ref().is_none_or(|pattern| {
                function.is_some_and(|name| fits(pattern, &name) || fits(pattern, &demangle(&name)))
            })
    }
}

impl std::fmt::Display for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let named = [("function", &self.function), ("section", &self.section)];
        let parts = named.iter().filter_map(|(key, name)| Some(format!("{key} '{}'", name.as_ref()?)));
        f.write_str(&parts.collect::<Vec<_>>().join(", "))
    }
}

/// Turns unprotected branches that may stay into exceptions.
pub fn apply(list: &AllowList, image: &Image, built: &Built, is_kernel: bool, findings: &mut [Finding]) {
    for finding in findings.iter_mut().filter(|finding| finding.class.is_unprotected()) {
        let known = if is_kernel {
            kernel::exception(image, finding.place)
        } else {
            start_up(image, built, finding.place)
        };
        if let Some(reason) = known.or_else(|| list.reason(image, finding)) {
            finding.reason = Some(reason.to_owned());
            finding.class = Class::Exception;
        }
    }
}

/// Start-up code is linked, not built here: a function that merely has such a name is none of it.
fn start_up(image: &Image, built: &Built, place: Place) -> Option<&'static str> {
    if built.holds(image, place) {
        return None;
    }
    let name = image.functions.at(place)?.raw_name();
    START_UP.iter().find(|(known, _)| *known == name).map(|&(_, reason)| reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_say_what_and_why() {
        let list =
            AllowList::parse(b"[[allow]]\nsection = '.plt*'\nclass = 'plt'\nreason = 'trusted'").unwrap();
        assert_eq!(list.unused().collect::<Vec<_>>(), ["section '.plt*'"]);
        for (text, expected) in [
            ("[[allow]]\nfunction = 'f'", "missing field `reason`"),
            ("[[allow]]\nfunction = 'f'\nreason = ' '", "expected a reason, found none for function 'f'"),
            ("[[allow]]\nreason = 'r'", "expected a function or a section"),
            ("[[allow]]\nfunction = 'f'\nreason = 'r'\nfile = 'x'", "unknown field `file`"),
            ("[[allow]]\nfunction = 'f'\nreason = 'r'\nclass = 'retpoline'", "unknown variant `retpoline`"),
            ("[[allow]]\nreason = 'r'\nfun:f", "line 3: "),
            ("[[allow]]\nfunction = '\u{1b}[2J'\nreason = 'r'", "line 2: "),
        ] {
            let error = format!("{:#}", AllowList::parse(text.as_bytes()).unwrap_err());
            assert!(error.contains(expected) && error.lines().count() == 1, "{text}: {error}");
        }
    }
}
