//! `relpoline audit`: every indirect call and jump of a file.

mod allow;
mod aside;
mod built;
mod frames;
mod kernel;
mod report;
mod scan;
mod thunks;

use crate::{
    elf::{self, ElfError, Image, Object},
    program, sites,
};
pub use allow::AllowList;
use anyhow::Result;
use built::Built;
pub use report::{Report, Scope};
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Options of `relpoline audit`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Executables, shared objects, object files or archives
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Exit with 1 for raw branches in code that was not built by relpoline, too, and list all of them
    #[arg(long)]
    all: bool,
    /// As --all, and for branches through PLT and GOT, too
    #[arg(long)]
    strict: bool,
    /// Branches that may stay, each for a reason (TOML, see docs/audit.md)
    #[arg(long, value_name = "FILE")]
    allow: Vec<PathBuf>,
    /// List every indirect branch, those through PLT and GOT too
    #[arg(long)]
    list: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Prints what was found. Exit status 1: a raw branch is left; 2: a file could not be examined.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let mut reports = Vec::new();
    let mut status = 0;
    let lists = arguments.allow.iter().map(|path| AllowList::read(path)).collect::<Result<Vec<_>>>()?;
    let list = AllowList::of_all(lists);
    let scope = match (arguments.all, arguments.strict) {
        (_, true) => Scope::Strict,
        (true, false) => Scope::All,
        (false, false) => Scope::BuiltHere,
    };
    for path in &arguments.files {
        match audit(path, &list) {
            Ok(report) => {
                status = status.max(u8::from(report.fails(scope)));
                reports.push(report);
            }
            Err(error) => {
                let error = anyhow::Error::from(error);
                program::error("relpoline", &program::printable(&format!("{error:#}")));
                status = 2;
            }
        }
    }
    if arguments.json {
        program::print(&format!("{}\n", report::json(&reports, scope)?))?;
    } else {
        let texts: Vec<String> = reports.iter().map(|report| report.text(scope, arguments.list)).collect();
        program::print(&texts.join("\n"))?;
    }
    for entry in list.unused() {
        let entry = program::printable(&entry);
        program::warn("relpoline", &format!("no branch needs what is allowed for {entry}; remove the entry"));
    }
    Ok(ExitCode::from(status))
}

fn audit(path: &Path, list: &AllowList) -> Result<Report, ElfError> {
    examine(path, &elf::load(path)?, list)
}

/// What is in the objects of one file.
pub fn examine(path: &Path, objects: &[Object], list: &AllowList) -> Result<Report, ElfError> {
    let mut report = Report::new(path);
    for object in objects {
        let image = Image::parse(object)?;
        let mut built = Built::read(&image)?;
        let sites = sites::read(&image)?;
        let is_kernel = kernel::is_kernel(&image) && !sites.is_empty();
        if is_kernel {
            built.set_everything(&image);
        }
        let mut findings = scan::scan(&image, &mut built);
        allow::apply(list, &image, &built, is_kernel, &mut findings);
        report.add(&image, &built, &sites, findings);
    }
    Ok(report)
}
