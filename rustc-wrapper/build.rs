//! Makes `relpoline-clang++`, a link to `relpoline-clang` beside it: cargo cannot build a binary of that name,
//! because no crate can be called so. As with clang, the name that it is called by chooses the language.

use std::{env, fs, io, os::unix::fs::symlink, path::PathBuf};

fn main() {
    // The link itself must not be named here: cargo would follow it to the binary, which is always newer.
    println!("cargo::rerun-if-changed=build.rs");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    // target/<profile>/build/<package>/out
    let profile = out.ancestors().nth(3).expect("OUT_DIR lies in target/<profile>/build");
    let link = profile.join("relpoline-clang++");
    match fs::remove_file(&link) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            panic!("cannot replace {}: {error}", link.display())
        }
        _ => symlink("relpoline-clang", &link)
            .unwrap_or_else(|error| panic!("cannot make {}: {error}", link.display())),
    }
}
