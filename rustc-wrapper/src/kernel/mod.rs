//! `relpoline kernel`: puts the runtime into a source tree of the Linux kernel, and takes it out again, so that the
//! tree is what it was, byte for byte.
//!
//! A tree gets one folder of its own, [`FOLDER`], one header, [`HEADER`], and a patch of a few lines to files of the
//! kernel, one for each version ([`VERSIONS`]). Everything is made in memory first: a patch that does not apply leaves no trace.

mod changes;
mod patch;

use crate::{
    locate::{self, Part},
    options::Options,
    program,
    toolchain::llvm_major,
};
use anyhow::{Context, Result, bail, ensure};
use changes::Changes;
use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Where the runtime lies in a tree.
const FOLDER: &str = "arch/x86/kernel/relpoline";

/// What goes into [`FOLDER`], besides the object.
const FILES: [(&str, &str); 11] = [
    ("Kconfig", include_str!("../../../runtime/kernel/tree/Kconfig")),
    ("Makefile", include_str!("../../../runtime/kernel/tree/Makefile")),
    ("compat.h", include_str!("../../../runtime/kernel/tree/compat.h")),
    ("core.c", include_str!("../../../runtime/kernel/tree/core.c")),
    ("guest.c", include_str!("../../../runtime/kernel/tree/guest.c")),
    ("hostile.c", include_str!("../../../runtime/kernel/tree/hostile.c")),
    ("refused.c", include_str!("../../../runtime/kernel/tree/refused.c")),
    ("relpoline.h", include_str!("../../../runtime/kernel/tree/relpoline.h")),
    ("test.c", include_str!("../../../runtime/kernel/tree/test.c")),
    ("test.h", include_str!("../../../runtime/kernel/tree/test.h")),
    ("test_asm.S", include_str!("../../../runtime/kernel/tree/test_asm.S")),
];

/// What all of the kernel may include: relpolines in assembly.
const HEADER: (&str, &str) =
    ("arch/x86/include/asm/relpoline.h", include_str!("../../../runtime/include/relpoline_asm.h"));

/// What tells it from a header of somebody else's that has its name.
const HEADER_MARK: &[u8] = b".macro RELPOLINE_CALL";

/// The object, as Kbuild wants what comes compiled to be called.
const OBJECT: &str = "relpoline_kernel.o_shipped";

/// Versions of the kernel, each with its patch.
const VERSIONS: [(&str, &str); 2] = [
    ("6.1", include_str!("../../../runtime/kernel/patches/6.1/relpoline.patch")),
    ("6.12", include_str!("../../../runtime/kernel/patches/6.12/relpoline.patch")),
];

/// Options of `relpoline kernel`.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    #[command(about = concat!(
        "Add the runtime to a source tree; then build it with make LLVM=-", llvm_major!(), " CC=relpoline-clang"
    ))]
    Install {
        /// The source tree
        tree: PathBuf,
    },
    /// Put this runtime into a tree that has an older one; what is the same keeps its time, for make
    Update {
        /// The source tree
        tree: PathBuf,
    },
    /// Take everything out again
    Remove {
        /// The source tree
        tree: PathBuf,
    },
}

/// Does it.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    match &arguments.action {
        Action::Install { tree } => install(tree, &Options::from_environment()?)?,
        Action::Update { tree } => update(tree, &Options::from_environment()?)?,
        Action::Remove { tree } => remove(tree)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn install(tree: &Path, options: &Options) -> Result<()> {
    let (version, patch) = version(tree)?;
    let has_some = || {
        let tree = tree.display();
        format!("{tree} has relpolines already; run: relpoline kernel remove {tree}")
    };
    ensure!(!exists(&tree.join(FOLDER)), has_some());
    let mut changes = runtime(tree, options)?;
    for file in patch::files(patch)? {
        changes.rewrite(&tree.join(file.path()), |content| {
            ensure!(!file.is_in(content).unwrap_or_default(), has_some());
            file.apply(content)
        })?;
    }
    changes.make()?;
    program::print(&format!(
        "Linux {version}: installed in {}; now choose a configuration and run: make LLVM=-{} CC={}\n",
        tree.display(),
        crate::toolchain::LLVM_MAJOR,
        locate::executable_directory().unwrap_or_default().join("relpoline-clang").display()
    ))
}

fn update(tree: &Path, options: &Options) -> Result<()> {
    let (_, patch) = version(tree)?;
    if !exists(&tree.join(FOLDER)) {
        bail!("{} has no relpolines; run: relpoline kernel install {}", tree.display(), tree.display());
    }
    let changes = runtime(tree, options)?;
    for file in patch::files(patch)? {
        let path = tree.join(file.path());
        let content = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let is_in = file.is_in(&content).with_context(|| {
            let path = path.display();
            format!("{path} has not the patch of this version; remove with the old one, then install")
        })?;
        if !is_in {
            let (path, tree) = (path.display(), tree.display());
            bail!(
                "{path} has no patch, but {tree} has the rest of relpolines; run: relpoline kernel remove {tree}, \
                 then relpoline kernel install {tree}"
            );
        }
    }
    changes.make()
}

/// What [`FOLDER`] is to hold.
fn runtime(tree: &Path, options: &Options) -> Result<Changes> {
    let object = locate::find(Part::Kernel, options)?;
    let object = fs::read(&object).with_context(|| format!("cannot read {}", object.display()))?;
    let header = tree.join(HEADER.0);
    if exists(&header) && !is_our_header(&header) {
        bail!(
            "{} is none of relpoline's (expected no file of this name, or one that defines RELPOLINE_CALL); give it \
             another name",
            header.display()
        );
    }
    let mut changes = Changes::default();
    for (name, content) in FILES {
        changes.add(tree.join(FOLDER).join(name), content.into())?;
    }
    changes.add(tree.join(FOLDER).join(OBJECT), object)?;
    changes.add(header, HEADER.1.into())?;
    Ok(changes)
}

/// Takes out what is there: an installation, or a removal, may have ended in the middle.
fn remove(tree: &Path) -> Result<()> {
    let (_, patch) = version(tree)?;
    let folder = tree.join(FOLDER);
    let header = tree.join(HEADER.0);
    let mut changes = Changes::default();
    let mut has_some = exists(&folder) || is_our_header(&header);
    let files = patch::files(patch)?;
    for file in &files {
        changes.rewrite(&tree.join(file.path()), |content| {
            let is_in = file.is_in(content)?;
            has_some |= is_in;
            if is_in { file.revert(content) } else { Ok(content.to_owned()) }
        })?;
    }
    if !has_some {
        bail!("{} has no relpolines: there is no {FOLDER}", tree.display());
    }
    if exists(&folder) && !is_our_folder(&folder)? {
        bail!("{} is none of relpoline's (expected {} in it)", folder.display(), FILES[0].0);
    }
    changes.make()?;
    for path in files.iter().map(|file| tree.join(file.path())).chain([header.clone()]) {
        changes::discard(&path);
    }
    // A version without it may have been installed, or somebody have made another one.
    if is_our_header(&header) {
        fs::remove_file(&header).with_context(|| format!("cannot remove {}", header.display()))?;
    }
    // The last: as long as it is there, the tree can be seen to have some.
    match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

/// Whether something has this name, and be it a link to nothing.
fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

fn is_our_header(path: &Path) -> bool {
    fs::read(path).is_ok_and(|content| memchr::memmem::find(&content, HEADER_MARK).is_some())
}

/// One that an installation has begun to fill, or a removal to empty, may lack any of the files.
fn is_our_folder(path: &Path) -> Result<bool> {
    let names = fs::read_dir(path)
        .and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>())
        .with_context(|| format!("cannot read {}", path.display()))?;
    let is_ours = |name: &OsString| {
        let name = name.to_string_lossy();
        FILES.iter().map(|file| file.0).chain([OBJECT]).any(|known| name.contains(known))
    };
    Ok(names.is_empty() || names.iter().any(is_ours))
}

/// Version of the tree, and the patch for it.
fn version(tree: &Path) -> Result<(&'static str, &'static str)> {
    let makefile = fs::read_to_string(tree.join("Makefile")).unwrap_or_default();
    let value = |name: &str| {
        makefile
            .lines()
            .find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix('='))
            .map(str::trim)
    };
    let (Some(major), Some(minor)) = (value("VERSION"), value("PATCHLEVEL")) else {
        bail!("{} is no source tree of Linux: its Makefile names no VERSION and PATCHLEVEL", tree.display());
    };
    let found = format!("{major}.{minor}");
    VERSIONS.into_iter().find(|(version, _)| *version == found).with_context(|| {
        let known = VERSIONS.map(|(version, _)| version).join(", ");
        format!("{} is Linux {found}, and there are patches for {known} only", tree.display())
    })
}
