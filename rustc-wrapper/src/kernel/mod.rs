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
    program::{self, quoted},
    toolchain::llvm_major,
};
use anyhow::{Context, Result, bail, ensure};
use changes::Changes;
use std::{
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
        format!("{} has relpolines already; run: relpoline kernel remove {}", tree.display(), quoted(tree))
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
        quoted(&locate::executable_directory().unwrap_or_default().join("relpoline-clang"))
    ))
}

fn update(tree: &Path, options: &Options) -> Result<()> {
    let (_, patch) = version(tree)?;
    if !exists(&tree.join(FOLDER)) {
        bail!("{} has no relpolines; run: relpoline kernel install {}", tree.display(), quoted(tree));
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
            let (path, name, tree) = (path.display(), tree.display(), quoted(tree));
            bail!(
                "{path} has no patch, but {name} has the rest of relpolines; run: relpoline kernel remove {tree}, \
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
    let found = version_of(tree)?;
    let folder = tree.join(FOLDER);
    let header = tree.join(HEADER.0);
    let has_ours = exists(&folder) || is_our_header(&header);
    let has_none = || format!("{} has no relpolines: there is no {FOLDER}", tree.display());
    ensure!(has_ours || has_traces(tree), has_none());
    // The tree may have become another version since, a newer one as a rule.
    let mut patches = VERSIONS;
    patches.reverse();
    patches.sort_by_key(|(version, _)| *version != found);
    let mut reversals = patches.map(|(_, patch)| Reversal::of(tree, patch)).into_iter();
    let first = reversals.next().expect("there are patches");
    let reversal = first.or_else(|error| reversals.find_map(Result::ok).ok_or(error)).with_context(|| {
        format!(
            "{} has a patch that was edited, or one that this relpoline does not know; undo the edit, or run: \
             relpoline kernel remove {} of the relpoline that installed it",
            tree.display(),
            quoted(tree)
        )
    })?;
    ensure!(has_ours || reversal.has_some, has_none());
    let (ours, others) = sort_out(&folder, &header)?;
    if !others.is_empty() {
        let names: Vec<_> = others.iter().map(|path| path.display().to_string()).collect();
        let words: Vec<_> = others.iter().map(|path| quoted(path)).collect();
        bail!(
            "not what this relpoline installs, but edited, of another version or somebody else's: {}; save what is to \
             stay, then run: rm -r {}",
            names.join(", "),
            words.join(" ")
        );
    }
    reversal.changes.make()?;
    for path in reversal.files.iter().chain([&header]) {
        changes::discard(path);
    }
    for path in ours {
        fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
    }
    // The last: as long as it is there, the tree can be seen to have some.
    match fs::remove_dir(&folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

/// Whether a file that the patches change speaks of relpolines. One whose patch was edited does; one that the patches
/// only do not fit does not.
fn has_traces(tree: &Path) -> bool {
    let speaks = |path: &str| {
        let content = fs::read(tree.join(path)).unwrap_or_default();
        ["relpoline", "RELPOLINE"]
            .iter()
            .any(|name| memchr::memmem::find(&content, name.as_bytes()).is_some())
    };
    VERSIONS
        .iter()
        .filter_map(|(_, patch)| patch::files(patch).ok())
        .flatten()
        .any(|file| speaks(file.path()))
}

/// What takes a patch out.
struct Reversal {
    changes: Changes,
    files: Vec<PathBuf>,
    /// Some of the files have the patch.
    has_some: bool,
}

impl Reversal {
    /// Fails where a file neither has the patch nor could take it.
    fn of(tree: &Path, patch: &str) -> Result<Self> {
        let mut reversal = Self { changes: Changes::default(), files: Vec::new(), has_some: false };
        for file in patch::files(patch)? {
            let path = tree.join(file.path());
            reversal.changes.rewrite(&path, |content| {
                let is_in = file.is_in(content)?;
                reversal.has_some |= is_in;
                if is_in { file.revert(content) } else { Ok(content.to_owned()) }
            })?;
            reversal.files.push(path);
        }
        Ok(reversal)
    }
}

/// What an installation put into the tree besides the patch, with what builds make of it; and what else lies there. A
/// header of somebody else's is neither.
fn sort_out(folder: &Path, header: &Path) -> Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    let mut paths = Vec::new();
    if exists(folder) {
        paths = fs::read_dir(folder)
            .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>())
            .with_context(|| format!("cannot read {}", folder.display()))?;
    }
    if is_our_header(header) {
        paths.push(header.to_owned());
    }
    // The object is another one with every build of it.
    let is_ours = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let content = if path == header {
            Some(HEADER.1)
        } else {
            FILES.iter().find(|(known, _)| *known == name).map(|(_, content)| *content)
        };
        match content {
            Some(content) => fs::read(path).is_ok_and(|found| found == content.as_bytes()),
            None => !path.is_dir() && (name == OBJECT || is_product(&name)),
        }
    };
    paths.sort();
    Ok(paths.into_iter().partition(is_ours))
}

/// Whether a build, or a run of this program that was killed, leaves a file of this name in [`FOLDER`].
fn is_product(name: &str) -> bool {
    /// What objects and modules are called, besides the sources.
    const MADE: [&str; 7] = [
        "built-in",
        "modules",
        "relpoline_kernel",
        "relpoline-guest",
        "relpoline-hostile",
        "relpoline-refused",
        "relpoline-test",
    ];
    /// How the names of products end.
    const ENDS: [&str; 15] =
        ["a", "cmd", "d", "dwo", "gcno", "i", "ko", "ll", "lst", "mod", "mod.c", "o", "order", "s", "su"];
    let hidden = name.strip_prefix('.');
    if let Some(name) = hidden.and_then(|name| name.strip_suffix(changes::BESIDE)) {
        return name == OBJECT || FILES.iter().any(|(known, _)| *known == name);
    }
    let Some((stem, end)) = hidden.unwrap_or(name).split_once('.') else { return false };
    let stem = stem.strip_prefix("tmp_").unwrap_or(stem);
    let is_known = |(known, _): &(&str, &str)| known.rsplit_once('.').is_some_and(|(known, _)| known == stem);
    (MADE.contains(&stem) || FILES.iter().any(is_known))
        && ENDS
            .iter()
            .any(|known| end.strip_suffix(known).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')))
}

/// Whether something has this name, and be it a link to nothing.
fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

fn is_our_header(path: &Path) -> bool {
    fs::read(path).is_ok_and(|content| memchr::memmem::find(&content, HEADER_MARK).is_some())
}

/// Version of the tree, and the patch for it.
fn version(tree: &Path) -> Result<(&'static str, &'static str)> {
    let found = version_of(tree)?;
    VERSIONS.into_iter().find(|(version, _)| *version == found).with_context(|| {
        let known = VERSIONS.map(|(version, _)| version).join(", ");
        format!("{} is Linux {found}, and there are patches for {known} only", tree.display())
    })
}

/// Version of the tree.
fn version_of(tree: &Path) -> Result<String> {
    if !tree.is_dir() {
        let state = if exists(tree) { "is no directory" } else { "does not exist" };
        bail!("{} {state}, expected the top directory of Linux's source", tree.display());
    }
    let path = tree.join("Makefile");
    let makefile = fs::read_to_string(&path).with_context(|| {
        format!("{} is no source tree of Linux: cannot read {}", tree.display(), path.display())
    })?;
    let value = |name: &str| {
        makefile
            .lines()
            .find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix('='))
            .map(str::trim)
    };
    let (Some(major), Some(minor)) = (value("VERSION"), value("PATCHLEVEL")) else {
        bail!("{} is no source tree of Linux: its Makefile names no VERSION and PATCHLEVEL", tree.display());
    };
    Ok(format!("{major}.{minor}"))
}
