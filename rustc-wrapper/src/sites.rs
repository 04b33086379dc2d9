//! `relpoline sites`: the table of call sites in a file, checked against its code.

use crate::{
    elf::{self, ElfError, Image, Place, References, demangle},
    program::{self, printable},
};
use anyhow::Result;
use relpoline_layout::{COMPARE_OPCODE, Cell, Entry, Form, LEA_OPCODE, SECTION, VERSION, owner_of};
use serde::{Serialize, Serializer};
use std::{
    fmt::Write,
    mem::offset_of,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Options of `relpoline sites`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Executables, shared objects, object files or archives
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// One row of the table.
#[derive(Clone, Debug, Serialize)]
pub struct Site {
    /// Address of the compare; in object files its offset in the section.
    #[serde(serialize_with = "hexadecimal")]
    pub address: u64,
    /// Address of the cell, likewise.
    #[serde(skip)]
    pub cell: u64,
    /// Section of the compare.
    pub section: String,
    /// `inline` or `stub`.
    pub form: &'static str,
    /// The calling function, demangled. None: the file has no symbol for it.
    pub function: Option<String>,
    /// Its symbol.
    pub symbol: Option<String>,
    /// Source file, where the code was compiled with debug information.
    pub file: Option<String>,
    /// Source line.
    pub line: Option<u32>,
}

fn hexadecimal<S: Serializer>(address: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{address:#x}"))
}

#[derive(Serialize)]
struct FileSites {
    file: String,
    /// Whether it is an object file: addresses count from the start of their section.
    relocatable: bool,
    sites: Vec<Site>,
}

/// Prints the tables. An error is exit status 2, after the other files have been printed.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let mut tables = Vec::new();
    let mut status = ExitCode::SUCCESS;
    for path in &arguments.files {
        match of_file(path) {
            Ok(mut found) => tables.append(&mut found),
            Err(error) => {
                let error = anyhow::Error::from(error);
                program::error("relpoline", &format!("{error:#}"));
                status = ExitCode::from(2);
            }
        }
    }
    if arguments.json {
        program::print(&format!("{}\n", serde_json::to_string_pretty(&tables)?))?;
    } else {
        program::print(&text(&tables)?)?;
    }
    Ok(status)
}

fn of_file(path: &Path) -> Result<Vec<FileSites>, ElfError> {
    elf::load(path)?
        .iter()
        .map(|object| {
            let image = Image::parse(object)?;
            Ok(FileSites { file: object.name.clone(), relocatable: image.relocatable, sites: read(&image)? })
        })
        .collect()
}

fn text(tables: &[FileSites]) -> Result<String> {
    let mut text = String::new();
    for table in tables {
        let sites = &table.sites;
        if sites.is_empty() {
            writeln!(text, "{}: no relpoline sites", printable(&table.file))?;
            continue;
        }
        let stubs = sites.iter().filter(|site| site.form == "stub").count();
        writeln!(
            text,
            "{}: {} ({} inline, {stubs} stub)",
            printable(&table.file),
            program::count(sites.len(), "site"),
            sites.len() - stubs
        )?;
        for site in sites {
            let function = site.function.as_deref().unwrap_or("?");
            let address = match table.relocatable {
                true => format!("{}+{:#x}", site.section, site.address),
                false => format!("{:#x}", site.address),
            };
            let source = match (&site.file, site.line) {
                (Some(file), Some(line)) => format!("  {file}:{line}"),
                (Some(file), None) => format!("  {file}"),
                _ => String::new(),
            };
            let line = format!("  {address:<18} {:<6}  {function}{source}", site.form);
            writeln!(text, "{}", printable(&line))?;
        }
    }
    Ok(text)
}

/// All sites of a file, in the order of the table.
pub fn read(image: &Image) -> Result<Vec<Site>, ElfError> {
    let mut sites = Vec::new();
    for section in image.sections_named(SECTION) {
        read_section(image, section, &mut sites).map_err(|reason| ElfError::Damaged {
            name: image.name.into(),
            reason: format!("section {SECTION}: {reason}"),
        })?;
    }
    Ok(sites)
}

fn read_section(image: &Image, section: usize, sites: &mut Vec<Site>) -> Result<(), String> {
    let data = image.sections[section].data;
    let references = References::new(image, section);
    let rows = data.chunks_exact(size_of::<Entry>());
    if !rows.remainder().is_empty() {
        return Err(format!("it has {} bytes, expected a multiple of {}", data.len(), size_of::<Entry>()));
    }
    for (index, row) in rows.enumerate() {
        let start = (index * size_of::<Entry>()) as u64;
        let site =
            read_row(image, &references, start, row).map_err(|reason| format!("entry {index}: {reason}"))?;
        sites.push(site);
    }
    Ok(())
}

fn read_row(image: &Image, references: &References, start: u64, row: &[u8]) -> Result<Site, String> {
    let word = elf::read_i32(row, offset_of!(Entry, line_and_flags)).unwrap_or_default() as u32;
    let entry = Entry { site: 0, cell: 0, stub: 0, file: 0, line_and_flags: word };
    if entry.version() != VERSION {
        return Err(format!(
            "its version is {}, expected {VERSION}; use the relpoline that built the file",
            entry.version()
        ));
    }
    let place = |field: usize, what: &str| {
        references
            .get(start + field as u64)
            .and_then(|place| place.ok_or("it is 0".into()))
            .map_err(|reason| format!("reference to the {what}: {reason}"))
    };
    let site = place(offset_of!(Entry, site), "site")?;
    let cell = place(offset_of!(Entry, cell), "cell")?;
    let stub = place(offset_of!(Entry, stub), "stub")?;
    expect_code(image, site, &COMPARE_OPCODE, "site", "compare with a cell")?;
    expect_code(image, stub, &LEA_OPCODE, "stub", "reference to a cell")?;
    let room = image.sections[cell.section].size - cell.offset;
    if image.sections[cell.section].executable || room < size_of::<Cell>() as u64 {
        return Err(format!("the cell at {:#x} is not in data", image.address(cell)));
    }
    let file = references.get(start + offset_of!(Entry, file) as u64);
    let file = file.map_err(|reason| format!("reference to the file name: {reason}"))?;
    let symbol = image.functions.at(site).map(|function| {
        let name = function.name();
        name[..owner_of(name.as_bytes()).len()].to_owned()
    });
    Ok(Site {
        address: image.address(site),
        cell: image.address(cell),
        section: image.sections[site.section].name.clone(),
        form: match entry.form() {
            Form::Inline => "inline",
            Form::Stub => "stub",
        },
        function: symbol.as_deref().map(demangle),
        symbol,
        file: file.and_then(|place| string(image, place)),
        line: Some(entry.line()).filter(|line| *line != 0),
    })
}

fn expect_code(image: &Image, place: Place, opcode: &[u8], what: &str, expected: &str) -> Result<(), String> {
    let section = &image.sections[place.section];
    let code = usize::try_from(place.offset).ok().and_then(|offset| section.data.get(offset..));
    if section.executable && code.is_some_and(|code| code.starts_with(opcode)) {
        return Ok(());
    }
    let bytes: Vec<String> =
        code.unwrap_or_default().iter().take(opcode.len()).map(|byte| format!("{byte:02x}")).collect();
    let wanted: Vec<String> = opcode.iter().map(|byte| format!("{byte:02x}")).collect();
    Err(format!(
        "the {what} at {:#x} in section {} is [{}], expected a {expected} [{}]",
        image.address(place),
        section.name,
        bytes.join(" "),
        wanted.join(" ")
    ))
}

fn string(image: &Image, place: Place) -> Option<String> {
    let data = image.sections[place.section].data.get(usize::try_from(place.offset).ok()?..)?;
    let end = data.iter().position(|byte| *byte == 0)?;
    Some(String::from_utf8_lossy(&data[..end]).into_owned())
}
