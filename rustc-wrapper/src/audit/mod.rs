//! `relpoline audit`: every indirect call and jump of a file.

mod built;
mod kernel;
mod report;
mod scan;
mod thunks;

use crate::{
    elf::{self, ElfError, Image, Object},
    program, sites,
};
use anyhow::Result;
use built::Built;
pub use report::Report;
use scan::Class;
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
    #[arg(long, visible_alias = "strict")]
    all: bool,
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
    for path in &arguments.files {
        match audit(path) {
            Ok(report) => {
                status = status.max(u8::from(report.fails(arguments.all)));
                reports.push(report);
            }
            Err(error) => {
                let error = anyhow::Error::from(error);
                program::error("relpoline", &format!("{error:#}"));
                status = 2;
            }
        }
    }
    if arguments.json {
        program::print(&format!("{}\n", report::json(&reports, arguments.all)?))?;
    } else {
        let texts: Vec<String> =
            reports.iter().map(|report| report.text(arguments.all, arguments.list)).collect();
        program::print(&texts.join("\n"))?;
    }
    Ok(ExitCode::from(status))
}

fn audit(path: &Path) -> Result<Report, ElfError> {
    examine(path, &elf::load(path)?)
}

/// What is in the objects of one file.
pub fn examine(path: &Path, objects: &[Object]) -> Result<Report, ElfError> {
    let mut report = Report::new(path);
    for object in objects {
        let image = Image::parse(object)?;
        let mut built = Built::read(&image)?;
        let sites = sites::read(&image)?;
        let mut findings = scan::scan(&image);
        if kernel::is_kernel(&image) && !sites.is_empty() {
            built.set_everything(&image);
            for finding in findings.iter_mut().filter(|finding| finding.class == Class::Raw) {
                if let Some(reason) = kernel::exception(&image, finding.place) {
                    finding.class = Class::Exception;
                    finding.instruction += &format!("  ({reason})");
                }
            }
        }
        report.add(&image, &built, &sites, findings);
    }
    Ok(report)
}
