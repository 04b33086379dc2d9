//! Names this build of the runtime, so that copies of it in one process know whether they may read each other's data.

use std::path::Path;

fn main() {
    let mut sum = 0xcbf2_9ce4_8422_2325;
    for folder in ["src", "layout/src"] {
        println!("cargo:rerun-if-changed={folder}");
        add(Path::new(folder), &mut sum);
    }
    // Copies of one build also read each other's hash tables.
    let lock = Path::new("../Cargo.lock");
    if lock.exists() {
        println!("cargo:rerun-if-changed={}", lock.display());
        let text = std::fs::read_to_string(lock).unwrap();
        let entries = text.split("\n\n").filter(|entry| entry.contains("\nname = \"hashbrown\"\n"));
        entries.for_each(|entry| add_bytes(entry.as_bytes(), &mut sum));
    }
    let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = std::process::Command::new(compiler).arg("-vV").output().map(|output| output.stdout);
    add_bytes(&version.unwrap_or_default(), &mut sum);
    println!("cargo:rustc-env=RELPOLINE_BUILD={sum}");
}

fn add(path: &Path, sum: &mut u64) {
    if path.is_dir() {
        let mut names: Vec<_> = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
        names.sort();
        names.iter().for_each(|name| add(name, sum));
    } else {
        add_bytes(&std::fs::read(path).unwrap(), sum);
    }
}

/// FNV-1a.
fn add_bytes(bytes: &[u8], sum: &mut u64) {
    for byte in bytes {
        *sum = (*sum ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
}
