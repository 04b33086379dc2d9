//! What the audit found, as text and as JSON.

use super::{
    built::Built,
    scan::{Class, Finding},
};
use crate::{
    elf::{Image, demangle},
    program::{count, printable},
    sites::Site,
};
use anyhow::Result;
use serde::Serialize;
use std::{fmt::Write, path::Path};

/// How many branches of code that was not built here are listed.
const SHORT_LIST: usize = 10;

/// What may hide a branch.
const UNDECODED: &str = "undecoded instruction";

/// Which branches make the audit fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Raw ones, and instructions that may be some, in code that was built here.
    BuiltHere,
    /// Raw ones anywhere.
    All,
    /// Raw ones and those through PLT and GOT, anywhere.
    Strict,
}

/// Indirect branches by class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    retpoline: usize,
    plt: usize,
    got: usize,
    exception: usize,
    undecoded: usize,
    raw: usize,
}

/// What must not be left: it makes the audit fail, and the verdict names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Left {
    /// Indirect branches without protection.
    branches: usize,
    /// What may hide some.
    undecoded: usize,
}

#[derive(Debug, Default, Serialize)]
struct SiteCounts {
    inline: usize,
    stub: usize,
}

/// One indirect branch that is no retpoline.
#[derive(Debug, Serialize)]
struct Branch {
    class: Class,
    /// Whether the code around it was compiled by relpoline.
    built_here: bool,
    address: String,
    section: String,
    instruction: String,
    /// Why it may stay.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    function: Option<String>,
    symbol: Option<String>,
    /// From the function's start.
    offset: Option<u64>,
    /// The member of the archive.
    #[serde(skip_serializing_if = "Option::is_none")]
    member: Option<String>,
}

/// Everything about one file; an archive counts as one.
#[derive(Debug, Serialize)]
pub struct Report {
    file: String,
    built_functions: usize,
    relpoline_sites: SiteCounts,
    built_here: Counts,
    elsewhere: Counts,
    branches: Vec<Branch>,
}

impl Report {
    /// With nothing found yet.
    pub fn new(path: &Path) -> Self {
        Self {
            file: path.display().to_string(),
            built_functions: 0,
            relpoline_sites: SiteCounts::default(),
            built_here: Counts::default(),
            elsewhere: Counts::default(),
            branches: Vec::new(),
        }
    }

    /// Adds what was found in the file, or in one member of the archive.
    pub fn add(&mut self, image: &Image, built: &Built, sites: &[Site], findings: Vec<Finding>) {
        let stub = sites.iter().filter(|site| site.form == "stub").count();
        self.relpoline_sites.stub += stub;
        self.relpoline_sites.inline += sites.len() - stub;
        self.built_functions += built.functions();
        for finding in findings {
            let built_here = built.holds(image, finding.place);
            let counts = if built_here { &mut self.built_here } else { &mut self.elsewhere };
            match finding.class {
                Class::Retpoline => counts.retpoline += 1,
                Class::Plt => counts.plt += 1,
                Class::Got => counts.got += 1,
                Class::Exception => counts.exception += 1,
                Class::Undecoded => counts.undecoded += 1,
                Class::Raw => counts.raw += 1,
            }
            if finding.class != Class::Retpoline {
                let branch = self.branch(image, finding, built_here);
                self.branches.push(branch);
            }
        }
    }

    fn branch(&self, image: &Image, finding: Finding, built_here: bool) -> Branch {
        let place = finding.place;
        let function = image.functions.at(place);
        let symbol = function.map(|function| function.name().into_owned());
        Branch {
            class: finding.class,
            built_here,
            address: format!("{:#x}", image.address(place)),
            section: image.sections[place.section].name.clone(),
            instruction: finding.instruction,
            reason: finding.reason,
            function: symbol.as_deref().map(demangle),
            symbol,
            offset: function.map(|function| place.offset - function.start),
            member: image
                .name
                .strip_prefix(&self.file)
                .and_then(|rest| Some(rest.strip_prefix('(')?.strip_suffix(')')?.to_owned())),
        }
    }

    /// Whether branches are left that should not be.
    pub fn fails(&self, scope: Scope) -> bool {
        self.left(scope) != Left { branches: 0, undecoded: 0 }
    }

    /// Whether only code that was built here is judged.
    fn judges_built_here_alone(&self, scope: Scope) -> bool {
        scope == Scope::BuiltHere && self.built_functions > 0
    }

    fn left(&self, scope: Scope) -> Left {
        let judged = [&self.built_here, &self.elsewhere];
        let judged = if self.judges_built_here_alone(scope) { &judged[..1] } else { &judged };
        let indirect = |counts: &Counts| if scope == Scope::Strict { counts.plt + counts.got } else { 0 };
        Left {
            branches: judged.iter().map(|counts| counts.raw + indirect(counts)).sum(),
            undecoded: judged.iter().map(|counts| counts.undecoded).sum(),
        }
    }

    /// For people.
    pub fn text(&self, scope: Scope, list: bool) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = self.write(&mut text, scope, list);
        text
    }

    fn write(&self, text: &mut String, scope: Scope, list: bool) -> std::fmt::Result {
        writeln!(text, "{}: {}", printable(&self.file), self.verdict(scope))?;
        let sites = self.relpoline_sites.inline + self.relpoline_sites.stub;
        let (here, there) = (&self.built_here, &self.elsewhere);
        writeln!(text, "  {:<28} {:>10} {:>10}", "", "built here", "elsewhere")?;
        let forms = format!("{} inline, {} stub", self.relpoline_sites.inline, self.relpoline_sites.stub);
        writeln!(text, "  {:<28} {sites:>10} {:>10}  {forms}", "relpoline", "-")?;
        for (name, here, there) in [
            ("retpoline", here.retpoline, there.retpoline),
            ("through PLT", here.plt, there.plt),
            ("through GOT", here.got, there.got),
            ("exception", here.exception, there.exception),
            ("undecoded", here.undecoded, there.undecoded),
            ("raw", here.raw, there.raw),
        ] {
            writeln!(text, "  {name:<28} {here:>10} {there:>10}")?;
        }
        if list {
            return self.list(text, "every indirect branch that is no retpoline", usize::MAX, |_| true);
        }
        let limit = if scope == Scope::BuiltHere { SHORT_LIST } else { usize::MAX };
        if scope != Scope::BuiltHere || self.built_here.exception > 0 {
            self.list(text, "exceptions", limit, |branch| branch.class == Class::Exception)?;
        }
        for (class, name) in [(Class::Raw, "raw"), (Class::Undecoded, "undecoded")] {
            self.list(text, &format!("{name}, built here"), usize::MAX, |branch| {
                branch.class == class && branch.built_here
            })?;
            self.list(text, &format!("{name}, built elsewhere"), limit, |branch| {
                branch.class == class && !branch.built_here
            })?;
        }
        if scope == Scope::Strict {
            self.list(text, "through PLT and GOT", limit, |branch| {
                matches!(branch.class, Class::Plt | Class::Got)
            })?;
        }
        Ok(())
    }

    fn verdict(&self, scope: Scope) -> String {
        let thing =
            if scope == Scope::Strict { "unprotected indirect branch" } else { "raw indirect branch" };
        let left = self.left(scope);
        let left = left_of(&[(left.branches, thing), (left.undecoded, UNDECODED)]);
        match (self.built_functions, left) {
            (0, left) => {
                let SiteCounts { inline, stub } = self.relpoline_sites;
                // Only what is linked can be told to be a kernel's.
                let what = match inline + stub {
                    0 => "not built by relpoline",
                    _ => "has relpolines, but lists no function built here (of a kernel, or assembly)",
                };
                format!("{what}; {}", left.unwrap_or(format!("no {thing}")))
            }
            (functions, left) if self.judges_built_here_alone(scope) => match left {
                Some(left) => format!("{left} in code built here"),
                None => format!("no {thing} in the {} built here", count(functions, "function")),
            },
            (_, left) => left.unwrap_or(format!("no {thing}")),
        }
    }

    fn list(
        &self,
        text: &mut String,
        title: &str,
        limit: usize,
        wanted: impl Fn(&Branch) -> bool,
    ) -> std::fmt::Result {
        let branches: Vec<&Branch> = self.branches.iter().filter(|branch| wanted(branch)).collect();
        if branches.is_empty() {
            return Ok(());
        }
        writeln!(text, "  {title}:")?;
        for branch in branches.iter().take(limit) {
            let at = match (&branch.function, branch.offset) {
                (Some(function), Some(offset)) => format!("{function}+{offset:#x}"),
                _ => branch.section.clone(),
            };
            let instruction =
                if branch.instruction.is_empty() { "entry of the PLT" } else { branch.instruction.as_str() };
            let mut line = format!("    {:<12} {instruction:<32} {at}", branch.address);
            for note in [&branch.reason, &branch.member].into_iter().flatten() {
                line += &format!("  ({note})");
            }
            writeln!(text, "{}", printable(&line))?;
        }
        let more = branches.len().saturating_sub(limit);
        if more > 0 {
            writeln!(text, "    ... and {more} more; --all lists them")?;
        }
        Ok(())
    }
}

/// `1 raw indirect branch and 2 undecoded instructions left`. None: nothing is.
fn left_of(things: &[(usize, &str)]) -> Option<String> {
    let parts: Vec<String> = things
        .iter()
        .filter(|(number, _)| *number > 0)
        .map(|&(number, thing)| count(number, thing))
        .collect();
    (!parts.is_empty()).then(|| format!("{} left", parts.join(" and ")))
}

/// All reports, each with its verdict.
pub fn json(reports: &[Report], scope: Scope) -> Result<String> {
    #[derive(Serialize)]
    struct Judged<'a> {
        #[serde(flatten)]
        report: &'a Report,
        passed: bool,
    }
    let judged: Vec<Judged> =
        reports.iter().map(|report| Judged { report, passed: !report.fails(scope) }).collect();
    Ok(serde_json::to_string_pretty(&judged)?)
}
