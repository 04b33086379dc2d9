//! Relpolines: indirect calls that learn where they go.
//!
//! The compiler pass replaces each indirect call by a compare with the target that is hot right now, a
//! direct call behind it, and a slow path out of line that ends in a retpoline. This crate holds the slow
//! path and what it leads to; it is linked into programs as `librelpoline_rt.a`. The way of one call site:
//!
//! 1. [`layout`]: what the pass emitted;
//! 2. `site`: the table of one executable or shared object, and the branches in its code;
//! 3. `record`: what a site's slow path has counted;
//! 4. `policy`: what follows from the counts;
//! 5. `patch`: how that is written, and why no thread can make a wrong call meanwhile.
//!
//! `runtime` ties these together; `port` is what they need from the system below.
#![no_std]

#[cfg(test)]
extern crate std;

pub use relpoline_layout as layout;

pub mod control;
pub mod decode;
pub mod memory;
#[cfg(test)]
mod model;
pub mod options;
pub mod output;
pub mod patch;
pub mod policy;
pub mod port;
pub mod profile;
pub mod record;
pub mod runtime;
pub mod site;
pub mod stats;

#[cfg(test)]
mod synthetic;
