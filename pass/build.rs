//! Compiles the C++ shim against the headers of the LLVM that the plugin is for.

use std::{env, path::Path, process::Command};

/// The major version that the plugin is built for, and loads into.
const LLVM_MAJOR: u32 = 22;

fn main() {
    println!("cargo:rerun-if-changed=shim/shim.cpp");
    println!("cargo:rerun-if-env-changed=LLVM_CONFIG");
    // LLVM's symbols come from the compiler that loads the plugin. They are bound when first called, so
    // that the version check runs, and explains itself, before an unknown symbol can stop the loader.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,lazy");

    let config = env::var("LLVM_CONFIG").unwrap_or_else(|_| format!("llvm-config-{LLVM_MAJOR}"));
    let includes = llvm_config(&config, "--includedir");
    let version = llvm_config(&config, "--version");
    if version.split('.').next() != Some(&LLVM_MAJOR.to_string()) {
        panic!(
            "{config} is of LLVM {version}, expected LLVM {LLVM_MAJOR}; run: apt-get install llvm-{LLVM_MAJOR}-dev"
        );
    }
    if !Path::new(&includes).join("llvm/Plugins/PassPlugin.h").exists() {
        panic!("{includes} lacks LLVM's C++ headers; run: apt-get install llvm-{LLVM_MAJOR}-dev");
    }
    println!("cargo:rustc-env=RELPOLINE_LLVM_MAJOR={LLVM_MAJOR}");
    println!("cargo:rustc-env=RELPOLINE_LLVM_VERSION={version}");
    cc::Build::new()
        .cpp(true)
        .file("shim/shim.cpp")
        .flag("-isystem")
        .flag(&includes)
        .std("c++17")
        .flag("-fno-rtti")
        .flag("-fno-exceptions")
        .flag("-fvisibility=hidden")
        .flag("-Wno-comment")
        .define("_GNU_SOURCE", None)
        .define("__STDC_CONSTANT_MACROS", None)
        .define("__STDC_FORMAT_MACROS", None)
        .define("__STDC_LIMIT_MACROS", None)
        .compile("relpoline_shim");
}

fn llvm_config(config: &str, query: &str) -> String {
    let output = Command::new(config).arg(query).output().unwrap_or_else(|error| {
        panic!(
            "cannot run {config} ({error}); run: apt-get install llvm-{LLVM_MAJOR}-dev, or set LLVM_CONFIG"
        )
    });
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
