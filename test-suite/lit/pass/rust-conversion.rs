// Calls of trait objects, closures and function pointers are converted in what each rustc compiles, and what it
// would call through the GOT it calls directly: no indirect branch is left.

// REQUIRES: rustc-nightly, rustc-stable, rustc-debian

// RUN: %rustc-nightly -Copt-level=2 --emit=asm,obj %s --out-dir %t.n && %FileCheck %s --input-file=%t.n/rust-conversion.s
// RUN: %objdump %t.n/rust-conversion.o | %no-raw
// RUN: %rustc-stable -Copt-level=2 --emit=asm,obj %s --out-dir %t.s && %FileCheck %s --input-file=%t.s/rust-conversion.s
// RUN: %objdump %t.s/rust-conversion.o | %no-raw
// RUN: %rustc-debian -Copt-level=2 --emit=asm,obj %s --out-dir %t.d && %FileCheck %s --input-file=%t.d/rust-conversion.s
// RUN: %objdump %t.d/rust-conversion.o | %no-raw

// RUN: %rustc-nightly -Copt-level=0 --emit=obj %s -o %t.0.o && %objdump %t.0.o | %no-raw
// RUN: %rustc-nightly -Copt-level=1 --emit=obj %s -o %t.1.o && %objdump %t.1.o | %no-raw
// RUN: %rustc-nightly -Copt-level=3 --emit=obj %s -o %t.3.o && %objdump %t.3.o | %no-raw
// RUN: %rustc-nightly -Copt-level=s --emit=obj %s -o %t.s.o && %objdump %t.s.o | %no-raw
// RUN: %rustc-nightly -Copt-level=z --emit=obj %s -o %t.z.o && %objdump %t.z.o | %no-raw
// RUN: %rustc-nightly -Copt-level=2 -Cpanic=abort --emit=obj %s -o %t.a.o && %objdump %t.a.o | %no-raw
// RUN: %rustc-nightly -Copt-level=2 -Crelocation-model=static --emit=obj %s -o %t.r.o && %objdump %t.r.o | %no-raw

// Sixteen code generation units, with LTO among themselves and without, and a program whose LTO takes in std.
// RUN: %rustc-nightly -Copt-level=2 -Ccodegen-units=16 %s -o %t.rlib && %objdump %t.rlib | %no-raw
// RUN: %rustc-nightly -Copt-level=2 -Ccodegen-units=16 -Clto=off %s -o %t.rlib && %objdump %t.rlib | %no-raw
// RUN: %rustc-nightly -Copt-level=0 -Ccodegen-units=16 %s -o %t.rlib && %objdump %t.rlib | %no-raw
// RUN: %rustc-nightly -Copt-level=2 -Clto=fat -Ccodegen-units=1 --crate-type=bin --emit=obj %S/Inputs/dispatch.rs -o %t.lto.o
// RUN: %objdump %t.lto.o | %no-raw

// Without the plugin there are some.
// RUN: %rustc-nightly-plain -Copt-level=2 --emit=obj %s -o %t.plain.o
// RUN: %objdump %t.plain.o | %not %no-raw 2>&1 | %FileCheck %s --check-prefix=PLAIN
// PLAIN: excluded string found in input

#![crate_type = "lib"]

use std::fmt::Debug;

// In the order of the assembly, which is that of the names.
// CHECK-NOT:   {{(call|jmp)[a-z]*[[:space:]]+\*}}

// CHECK-LABEL: {{^}}by_closure:
// CHECK:       cmpq by_closure.relpoline.cells(%rip), %r10
#[unsafe(no_mangle)]
pub fn by_closure(closure: &mut dyn FnMut(u64) -> u64) -> u64 {
    closure(1) + 1
}

// CHECK-LABEL: {{^}}by_pointer:
// CHECK:       cmpq by_pointer.relpoline.cells(%rip), %r10
#[unsafe(no_mangle)]
pub fn by_pointer(pointer: extern "C" fn(u128, f32) -> [u8; 3]) -> u8 {
    pointer(7, 1.5)[0] + 1
}

// CHECK-LABEL: {{^}}by_trait_object:
// CHECK:       movq 24(%rsi), %r10
// CHECK:       cmpq by_trait_object.relpoline.cells(%rip), %r10
// CHECK:       {{call|jmp}}{{q?}} .Lby_trait_object.hot.0
#[unsafe(no_mangle)]
pub fn by_trait_object(value: &dyn Debug, formatter: &mut std::fmt::Formatter<'_>) -> bool {
    value.fmt(formatter).is_err()
}

// Dropping calls the destructor of the table, and unwinding through it drops the rest.
// CHECK-LABEL: {{^}}drops:
// CHECK:       cmpq drops.relpoline.cells{{.*}}(%rip), %r10
#[unsafe(no_mangle)]
pub fn drops(value: Box<dyn Debug>, _second: Box<dyn Debug>) {
    drop(value);
}

// CHECK-LABEL: {{^}}through_got:
// CHECK-NOT:   GOTPCREL
// CHECK:       {{call|jmp}}{{q?}} {{.*_print.*}}
// CHECK:       .size through_got,
#[unsafe(no_mangle)]
pub fn through_got(values: &[String]) {
    println!("{values:?}");
}

#[unsafe(no_mangle)]
pub fn jump_table(x: u32) -> String {
    match x {
        0 => "zero".to_owned(),
        1 => format!("{x}"),
        2 => x.to_string() + "two",
        3 => String::new(),
        4 => "four".repeat(4),
        5 => std::env::var("FIVE").unwrap_or_default(),
        _ => panic!("{x}"),
    }
}

// CHECK-NOT:   {{(call|jmp)[a-z]*[[:space:]]+\*}}
