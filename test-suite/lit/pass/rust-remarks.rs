// rustc prints the remarks too, with the place in the Rust source.

// REQUIRES: rustc-nightly
// RUN: %rustc-nightly -Copt-level=2 -Cdebuginfo=1 -Cremark=relpoline --emit=obj %s -o %t.o 2>&1 | %FileCheck %s
// RUN: %rustc-nightly -Copt-level=2 --emit=obj %s -o %t.o 2>&1 | %count 0

#![crate_type = "lib"]

pub fn site(pointer: fn(u32) -> u32) -> u32 {
    // CHECK: rust-remarks.rs:[[@LINE+1]]:{{.*}}indirect call converted to a relpoline (inline form)
    pointer(1) + 1
}
