//! The compiler wrappers and the `relpoline` tool.
//!
//! * [`clang`], [`rustc`], [`rustdoc`]: the wrappers. They find plugin and runtime ([`locate`]) and the compiler
//!   ([`toolchain`]), add what is missing on the command line, and become the compiler.
//! * [`flags`], [`info`]: what builds need that use no wrapper, and whether everything is there.
//! * [`kernel`]: relpolines in a source tree of the Linux kernel.
//! * [`sites`], [`audit`]: what was built, read from ELF files ([`elf`]).
//! * [`top`], [`report`]: what becomes of it while it runs, and what became of it.
//! * [`file`]: what people name is read with care.
//! * [`options`]: the wrappers' own options.
//! * [`identity`]: what tells one build of relpoline from another.

pub mod audit;
pub mod clang;
pub mod elf;
pub mod file;
pub mod flags;
pub mod identity;
pub mod info;
pub mod kernel;
pub mod locate;
pub mod options;
pub mod program;
pub mod report;
pub mod rustc;
pub mod rustdoc;
pub mod sites;
pub mod standard_library;
pub mod target;
pub mod toolchain;
pub mod top;
