; Stubs, cells and sections are named after the function, however that is called, and the names do not clash.

; RUN: %opt -passes=relpoline -verify-each %s -o %t.bc
; RUN: %llc -O2 -filetype=obj %t.bc -o %t.o
; RUN: %objdump %t.o | %no-raw
; RUN: %llvm-readelf -sSW %t.o | %FileCheck %s
; RUN: %llc -O2 %t.bc -o %t.s && %llvm-mc -filetype=obj -triple=x86_64-pc-linux-gnu %t.s -o %t.s.o
; RUN: %llvm-readelf -sSW %t.s.o | %FileCheck %s

target triple = "x86_64-pc-linux-gnu"

; CHECK-DAG: .text.unlikely.relpoline._RNvC5crate4main
; CHECK-DAG: .data.relpoline._RNvC5crate4main
; CHECK-DAG: OBJECT LOCAL DEFAULT {{[0-9]+}} with space, "quotes" and $1.relpoline.cells
; CHECK-DAG: FUNC LOCAL DEFAULT {{[0-9]+}} with space, "quotes" and $1.relpoline
; CHECK-DAG: FUNC LOCAL DEFAULT {{[0-9]+}} _RNvC5crate4main.relpoline
; CHECK-DAG: FUNC LOCAL DEFAULT {{[0-9]+}} $dollar.relpoline
; CHECK-DAG: FUNC LOCAL DEFAULT {{[0-9]+}} {{.*}}.llvm.123.relpoline
; CHECK-DAG: FUNC LOCAL DEFAULT {{[0-9]+}} unmangled.relpoline

define void @_RNvC5crate4main(ptr %f) {
  call void %f()
  ret void
}
define void @"with space, \22quotes\22 and $1"(ptr %f) {
  call void %f()
  %g = load ptr, ptr %f
  call void %g()
  ret void
}
define void @"with space, \22quotes\22 and $1.small"(ptr %f) minsize {
  call void %f()
  ret void
}
define void @"$dollar"(ptr %f) {
  call void %f()
  ret void
}
define void @"\C3\A9t\C3\A9.llvm.123"(ptr %f) {
  call void %f()
  ret void
}
define void @"\01unmangled"(ptr %f) {
  call void %f()
  ret void
}
; Two functions share the name of the other's stubs; a section of one's own stays.
define internal void @clash(ptr %f) section ".custom" {
  call void %f()
  ret void
}
define void @clash.relpoline(ptr %f) {
  call void %f()
  ret void
}
; CHECK-DAG: .custom
@used = global ptr @clash
