//! relpoline kernel.

mod common;

use common::{Files, Outcome, RELPOLINE, command};
use relpoline_layout::{Entry, Form};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

const PATCH: &str = include_str!("../../runtime/kernel/patches/6.12/relpoline.patch");
const OLDER_PATCH: &str = include_str!("../../runtime/kernel/patches/6.1/relpoline.patch");
const HOSTILE: &str = include_str!("../../runtime/kernel/tree/hostile.c");

/// A tree that holds of each file what the patch wants to find there, with other lines around it.
fn tree(version: &str) -> Files {
    let patch = if version == "6.1" { OLDER_PATCH } else { PATCH };
    let (major, minor) = version.split_once('.').unwrap();
    let files = Files::new(&[
        ("tree/Makefile", &format!("# SPDX\nVERSION = {major}\nPATCHLEVEL = {minor}\nSUBLEVEL = 9\n")),
        ("home/relpoline_kernel.o", "object"),
        ("tree/arch/x86/include/asm/nospec-branch.h", "macros"),
    ]);
    let mut name = String::new();
    let mut contents: BTreeMap<String, String> = BTreeMap::new();
    for line in patch.lines() {
        if let Some(path) = line.strip_prefix("--- a/") {
            name = format!("tree/{path}");
        } else if line.starts_with("@@") {
            contents.entry(name.clone()).or_default().push_str("other\nlines\n");
        } else if let Some(kept) = line.strip_prefix([' ', '-']).filter(|_| !line.starts_with("--- ")) {
            contents.get_mut(&name).unwrap().push_str(&format!("{kept}\n"));
        }
    }
    for (name, content) in contents {
        files.write(&name, content + "the\nrest");
    }
    files
}

fn relpoline(files: &Files, line: &str) -> Outcome {
    let mut command = command(RELPOLINE);
    command.env("RELPOLINE_HOME", files.path("home"));
    files.run_with(command, line)
}

/// Every file below `directory`.
fn content(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.insert(path.clone(), Vec::new());
            found.append(&mut content(&path));
        } else {
            found.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    found
}

#[test]
fn a_tree_gets_the_runtime_and_is_what_it_was_without_it() {
    for (version, patch) in [("6.12", PATCH), ("6.1", OLDER_PATCH)] {
        comes_and_goes(version, patch);
    }
}

fn comes_and_goes(version: &str, patch: &str) {
    let files = tree(version);
    let before = content(&files.path("tree"));
    assert!(relpoline(&files, "kernel install tree").in_silence().stdout.contains("make LLVM=-22 CC="));
    let installed = content(&files.path("tree"));
    let folder = files.path("tree/arch/x86/kernel/relpoline");
    assert_eq!(installed[&folder.join("relpoline_kernel.o_shipped")], b"object");
    let header = &installed[&files.path("tree/arch/x86/include/asm/relpoline.h")];
    assert!(String::from_utf8_lossy(header).contains(".macro RELPOLINE_CALL"));
    let changed = |path: &PathBuf| installed[path] != before[path];
    assert_eq!(before.keys().filter(|path| changed(path)).count(), patch.matches("\n+++ b/").count());
    for line in patch.lines().filter(|line| line.starts_with('+') && !line.starts_with("+++ ")) {
        let added =
            |content: &Vec<u8>| String::from_utf8_lossy(content).lines().any(|found| found == &line[1..]);
        assert!(installed.values().any(added), "{line}");
    }
    // What a build in the tree leaves in the runtime's folder goes with it.
    files.write("tree/arch/x86/kernel/relpoline/core.o", "built");
    relpoline(&files, "kernel remove tree").in_silence();
    assert_eq!(content(&files.path("tree")), before);
}

#[test]
fn a_newer_runtime_takes_the_place_of_an_older_one() {
    let files = tree("6.12");
    relpoline(&files, "kernel update tree")
        .fails_with(2, &["has no relpolines", "relpoline kernel install tree"]);
    relpoline(&files, "kernel install tree").in_silence();
    let folder = files.path("tree/arch/x86/kernel/relpoline");
    let time = |name: &str| fs::metadata(folder.join(name)).unwrap().modified().unwrap();
    files.write("tree/arch/x86/kernel/relpoline/core.c", "old");
    files.write("home/relpoline_kernel.o", "newer object");
    let before = time("Makefile");
    relpoline(&files, "kernel update tree").in_silence();
    assert_eq!(fs::read(folder.join("relpoline_kernel.o_shipped")).unwrap(), b"newer object");
    assert_eq!(fs::read(folder.join("core.c")).unwrap(), include_bytes!("../../runtime/kernel/tree/core.c"));
    assert_eq!(time("Makefile"), before);

    files.write("tree/include/linux/module.h", "no patch here\n");
    relpoline(&files, "kernel update tree").fails_with(2, &["include/linux/module.h has not the patch"]);
}

#[test]
fn nothing_is_done_twice() {
    let files = tree("6.12");
    relpoline(&files, "kernel remove tree").fails_with(2, &["has no relpolines"]);
    relpoline(&files, "kernel install tree").in_silence();
    let installed = content(&files.path("tree"));
    relpoline(&files, "kernel install tree")
        .fails_with(2, &["has relpolines already", "relpoline kernel remove tree"]);
    assert_eq!(content(&files.path("tree")), installed);
}

#[test]
fn trees_that_do_not_fit_stay_as_they_are() {
    let other = tree("5.10");
    relpoline(&other, "kernel install tree").fails_with(2, &["tree is Linux 5.10", "6.12"]);
    relpoline(&other, "kernel install nowhere").fails_with(2, &["nowhere does not exist, expected"]);
    relpoline(&other, "kernel remove tree/Makefile")
        .fails_with(2, &["tree/Makefile is no directory, expected"]);
    relpoline(&other, "kernel install home")
        .fails_with(2, &["home is no source tree of Linux", "home/Makefile"]);

    let changed = tree("6.12");
    changed.write("tree/tools/objtool/check.c", "something else\n");
    let before = content(&changed.path("tree"));
    relpoline(&changed, "kernel install tree")
        .fails_with(2, &["tree/tools/objtool/check.c", "the patch does not apply"]);
    assert_eq!(content(&changed.path("tree")), before);
    relpoline(&changed, "kernel remove tree").fails_with(2, &["tree has no relpolines"]);

    fs::remove_file(changed.path("tree/tools/objtool/check.c")).unwrap();
    relpoline(&changed, "kernel install tree").fails_with(2, &["cannot read tree/tools/objtool/check.c"]);

    let bare = tree("6.12");
    fs::remove_file(bare.path("home/relpoline_kernel.o")).unwrap();
    let before = content(&bare.path("tree"));
    relpoline(&bare, "kernel install tree")
        .fails_with(2, &["relpoline_kernel.o not found", "unset RELPOLINE_HOME"]);
    assert_eq!(content(&bare.path("tree")), before);
}

#[test]
fn what_was_edited_meanwhile_is_not_taken_out() {
    let files = tree("6.12");
    relpoline(&files, "kernel install tree").in_silence();
    let path = files.path("tree/arch/x86/kernel/Makefile");
    let edited = fs::read_to_string(&path).unwrap().replace("+= relpoline/", "+= relpoline/ # mine");
    fs::write(&path, &edited).unwrap();
    let before = content(&files.path("tree"));
    relpoline(&files, "kernel remove tree")
        .fails_with(2, &["arch/x86/kernel/Makefile", "the patch cannot be taken out"]);
    assert_eq!(content(&files.path("tree")), before);
}

/// Runs relpoline where no file may become larger than 30 KiB.
fn relpoline_without_room(files: &Files, line: &str) -> Outcome {
    let mut command = command("sh");
    command.env("RELPOLINE_HOME", files.path("home"));
    let script = files.script("no-room", &format!("trap '' XFSZ; ulimit -f 60; exec {RELPOLINE} \"$@\""));
    files.run_with(command, &format!("{} {line}", script.display()))
}

#[test]
fn without_room_nothing_is_changed() {
    let files = tree("6.12");
    let large = files.path("tree/include/linux/module.h");
    let content_of_large = fs::read_to_string(&large).unwrap() + &"\n/* long */".repeat(10_000);
    fs::write(&large, content_of_large).unwrap();
    let before = content(&files.path("tree"));
    relpoline_without_room(&files, "kernel install tree")
        .fails_with(2, &["cannot write tree/include/linux/module.h", "File too large"]);
    assert!(content(&files.path("tree")) == before);
}

#[test]
fn an_update_that_fails_leaves_the_older_runtime() {
    let files = tree("6.12");
    relpoline(&files, "kernel install tree").in_silence();
    files.write("tree/arch/x86/kernel/relpoline/core.c", "old");
    files.write("home/relpoline_kernel.o", "newer object".repeat(10_000));
    let before = content(&files.path("tree"));
    relpoline_without_room(&files, "kernel update tree")
        .fails_with(2, &["relpoline_kernel.o_shipped", "File too large"]);
    assert!(content(&files.path("tree")) == before);
}

#[test]
fn what_fails_at_the_last_file_is_undone() {
    let files = tree("6.12");
    let last = PATCH.lines().filter_map(|line| line.strip_prefix("--- a/")).next_back().unwrap();
    let before = content(&files.path("tree"));
    // A name that is taken by a folder cannot be the new content's.
    let (folder, name) = last.rsplit_once('/').unwrap();
    let taken = format!("tree/{folder}/.{name}.relpoline-new");
    files.write(&format!("{taken}/file"), "");
    relpoline(&files, "kernel install tree").fails_with(2, &["cannot write", last]);
    fs::remove_dir_all(files.path(&taken)).unwrap();
    assert_eq!(content(&files.path("tree")), before);
}

#[test]
fn a_tree_that_has_a_part_of_it_is_cleaned() {
    let files = tree("6.12");
    let before = content(&files.path("tree"));
    relpoline(&files, "kernel install tree").in_silence();
    let installed = content(&files.path("tree"));
    let folder = files.path("tree/arch/x86/kernel/relpoline");
    let patched: Vec<&PathBuf> = before.keys().filter(|path| installed[*path] != before[*path]).collect();
    assert!(patched.len() > 3);
    for kept in 0..=patched.len() {
        // Some files are patched, and the others not yet, or no longer.
        for (index, path) in patched.iter().enumerate() {
            fs::write(path, if index < kept { &installed[*path] } else { &before[*path] }).unwrap();
        }
        match kept % 3 {
            0 => fs::create_dir_all(&folder).unwrap(),
            1 => files.write("tree/arch/x86/kernel/relpoline/.Kconfig.relpoline-new", "cut o"),
            _ => {}
        }
        files.write("tree/include/linux/.module.h.relpoline-new", "cut o");
        if kept == 1 {
            relpoline(&files, "kernel update tree").fails_with(2, &["run: relpoline kernel remove tree"]);
        }
        relpoline(&files, "kernel install tree").fails_with(2, &["run: relpoline kernel remove tree"]);
        relpoline(&files, "kernel remove tree").in_silence();
        assert_eq!(content(&files.path("tree")), before, "{kept}");
        relpoline(&files, "kernel remove tree").fails_with(2, &["has no relpolines"]);
    }
}

#[test]
fn a_tree_that_shares_its_files_stays_as_it_is() {
    use std::os::unix::fs::PermissionsExt;
    let files = tree("6.12");
    let before = content(&files.path("tree"));
    let header = files.path("tree/include/linux/module.h");
    fs::set_permissions(&header, fs::Permissions::from_mode(0o640)).unwrap();
    files.run("cp", "-al tree linked").in_silence();
    let shared = content(&files.path("linked"));
    relpoline(&files, "kernel install linked").in_silence();
    assert_ne!(content(&files.path("linked")), shared);
    assert_eq!(content(&files.path("tree")), before);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&files.path("linked/include/linux/module.h")), 0o640);
    relpoline(&files, "kernel remove linked").in_silence();
    assert_eq!((content(&files.path("linked")), content(&files.path("tree"))), (shared, before));
}

#[test]
fn files_of_others_are_left_alone() {
    let files = tree("6.12");
    let header = "tree/arch/x86/include/asm/relpoline.h";
    files.write(header, "mine");
    let before = content(&files.path("tree"));
    relpoline(&files, "kernel install tree").fails_with(2, &[header, "is none of relpoline's"]);
    assert_eq!(content(&files.path("tree")), before);
    fs::remove_file(files.path(header)).unwrap();
    relpoline(&files, "kernel install tree").in_silence();
    files.write(header, "mine");
    relpoline(&files, "kernel update tree").fails_with(2, &[header, "is none of relpoline's"]);
    relpoline(&files, "kernel remove tree").in_silence();
    assert_eq!(content(&files.path("tree")), before);

    files.write("tree/arch/x86/kernel/relpoline/notes", "mine");
    let before = content(&files.path("tree"));
    relpoline(&files, "kernel remove tree")
        .fails_with(2, &["run: rm -r tree/arch/x86/kernel/relpoline/notes"]);
    assert_eq!(content(&files.path("tree")), before);
}

#[test]
fn nothing_is_removed_that_was_not_installed_or_was_edited() {
    let files = tree("6.12");
    let before = content(&files.path("tree"));
    relpoline(&files, "kernel install tree").in_silence();
    let folder = "tree/arch/x86/kernel/relpoline";
    let products = [
        ".core.o.cmd",
        ".core.o.d",
        ".tmp_core.o",
        "built-in.a",
        "modules.order",
        ".modules.order.cmd",
        "relpoline-test.mod.c",
        ".relpoline-test.mod.o.cmd",
        "relpoline-test.ko",
        "relpoline_kernel.o",
        ".relpoline_kernel.o_shipped.relpoline-new",
        "test_asm.o",
    ];
    products.iter().for_each(|name| files.write(&format!("{folder}/{name}"), "built"));
    let added = [
        (format!("{folder}/core.c"), Some(include_str!("../../runtime/kernel/tree/core.c"))),
        (format!("{folder}/core.patch"), None),
        (format!("{folder}/more/notes"), None),
        (
            "tree/arch/x86/include/asm/relpoline.h".into(),
            Some(include_str!("../../runtime/include/relpoline_asm.h")),
        ),
    ];
    for (name, old) in added {
        files.write(&name, format!("{}// mine\n", old.unwrap_or_default()));
        let edited = content(&files.path("tree"));
        let named = name.strip_suffix("/notes").unwrap_or(&name);
        relpoline(&files, "kernel remove tree").fails_with(2, &["not what this relpoline installs", named]);
        assert_eq!(content(&files.path("tree")), edited, "{name}");
        match old {
            Some(old) => files.write(&name, old),
            None => {
                files.run("rm", &format!("-r {named}")).in_silence();
            }
        }
    }
    relpoline(&files, "kernel remove tree").in_silence();
    assert_eq!(content(&files.path("tree")), before);
}

#[test]
fn a_tree_whose_version_moved_is_what_it_was() {
    for (installed, patch) in [("6.12", "6.13"), ("6.1", "6.12")] {
        let files = tree(installed);
        relpoline(&files, "kernel install tree").in_silence();
        let makefile = |version: &str| format!("VERSION = 6\nPATCHLEVEL = {}\n", &version[2..]);
        files.write("tree/Makefile", makefile(patch));
        relpoline(&files, "kernel remove tree").in_silence();
        relpoline(&files, "kernel remove tree").fails_with(2, &["has no relpolines"]);
        files.write("tree/Makefile", makefile(installed));
        relpoline(&files, "kernel install tree").in_silence();
    }
}

#[test]
fn a_patch_of_another_relpoline_is_its_to_take_out() {
    let files = tree("6.12");
    relpoline(&files, "kernel install tree").in_silence();
    let path = files.path("tree/arch/x86/Makefile");
    let other = fs::read_to_string(&path).unwrap().replace("RELPOLINE_PLUGIN", "RELPOLINE_OLDER");
    fs::write(&path, other).unwrap();
    let before = content(&files.path("tree"));
    for version in ["12", "13"] {
        files.write("tree/Makefile", format!("VERSION = 6\nPATCHLEVEL = {version}\n"));
        relpoline(&files, "kernel remove tree").fails_with(
            2,
            &["tree/arch/x86/Makefile", "kernel remove tree of the relpoline that installed it"],
        );
    }
    let makefile = files.path("tree/Makefile");
    let but = |mut content: BTreeMap<PathBuf, Vec<u8>>| {
        content.remove(&makefile);
        content
    };
    assert_eq!(but(content(&files.path("tree"))), but(before));
}

#[test]
fn commands_that_are_printed_can_be_run() {
    let files = tree("6.12");
    fs::rename(files.path("tree"), files.path("a tree")).unwrap();
    let kernel = |action: &str| {
        let mut kernel = command(RELPOLINE);
        kernel.args(["kernel", action, "a tree"]).env("RELPOLINE_HOME", files.path("home"));
        files.run_with(kernel, "")
    };
    kernel("update").fails_with(2, &["run: relpoline kernel install 'a tree'"]);
    kernel("install").in_silence();
    kernel("install").fails_with(2, &["run: relpoline kernel remove 'a tree'"]);
    files.write("a tree/arch/x86/kernel/relpoline/notes", "mine");
    kernel("remove").fails_with(2, &["run: rm -r 'a tree/arch/x86/kernel/relpoline/notes'"]);
}

#[test]
fn a_tree_of_links_is_refused_before_anything_changes() {
    let files = tree("6.12");
    let home = files.path("tree");
    files.run("cp", &format!("-as {} farm", home.display())).in_silence();
    let (before, farm) = (content(&home), content(&files.path("farm")));
    relpoline(&files, "kernel install farm")
        .fails_with(2, &["farm/arch/x86/Kconfig is a symbolic link", "run: cp --remove-destination"]);
    assert_eq!((content(&home), content(&files.path("farm"))), (before, farm));
    assert!(files.path("farm/arch/x86/Kconfig").is_symlink());
}

/// One of another version is refused for that alone, and what else is wrong with it goes untested.
#[test]
fn the_hostile_table_is_of_this_version() {
    let last = format!(", {:#x}\\n", Entry::pack(Form::Inline, 0));
    assert!(HOSTILE.contains(&last), "no row ends with {last}");
}
