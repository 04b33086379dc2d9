//! Makes the names that `relpoline-clang` has besides its own, as links beside it. `relpoline-clang++` cannot be
//! a binary of this package, because no crate can be called so.

use std::{env, fs, io, os::unix::fs::symlink, path::PathBuf};

/// As with clang, the name that it is called by chooses the language. CMake takes "relpoline-" for the prefix of
/// a cross compiler, and looks for the archiver of -flto under it.
const NAMES: [&str; 3] = ["relpoline-clang++", "relpoline-llvm-ar", "relpoline-llvm-ranlib"];

fn main() {
    // The links themselves must not be named here: cargo would follow them to the binary, which is always newer.
    println!("cargo::rerun-if-changed=build.rs");
    // cargo asks a RUSTC_WRAPPER for its version only when the wrapper's own file has changed, so a new plugin or
    // runtime makes new wrappers.
    for part in ["../pass/src", "../pass/shim", "../runtime"] {
        println!("cargo::rerun-if-changed={part}");
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    // target/<profile>/build/<package>/out
    let profile = out.ancestors().nth(3).expect("OUT_DIR lies in target/<profile>/build");
    for name in NAMES {
        let link = profile.join(name);
        match fs::remove_file(&link) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                panic!("cannot replace {}: {error}", link.display())
            }
            _ => symlink("relpoline-clang", &link)
                .unwrap_or_else(|error| panic!("cannot make {}: {error}", link.display())),
        }
    }
}
