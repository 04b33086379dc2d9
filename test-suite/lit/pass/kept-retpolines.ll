; What cannot be converted stays an indirect call, gets a retpoline, and is named in a remark.

; RUN: %opt -passes=relpoline -verify-each -S %s -o %t.ll -pass-remarks-missed=relpoline 2>%t.remarks
; RUN: %FileCheck %s --check-prefix=REMARK --implicit-check-not=remark: --input-file=%t.remarks
; RUN: %FileCheck %s --input-file=%t.ll
; RUN: %llc -O2 %t.ll -o - | %FileCheck %s --check-prefix=ASM
; RUN: %llc -O0 -filetype=obj %t.ll -o %t.o && %objdump %t.o | %no-raw
; RUN: %llc -O2 -filetype=obj %t.ll -o %t.o && %objdump %t.o | %no-raw

target triple = "x86_64-pc-linux-gnu"

; REMARK: remark: {{.*}} indirect call kept as a retpoline: guaranteed tail call (musttail)
; CHECK-LABEL: define {{.*}} @musttail(
; CHECK: musttail call i32 %f(i32 %x, ptr %f)
; ASM-LABEL: {{^}}musttail:
; ASM: jmp __llvm_retpoline_r11
define i32 @musttail(i32 %x, ptr %f) {
  %r = musttail call i32 %f(i32 %x, ptr %f)
  ret i32 %r
}

; REMARK: remark: {{.*}} indirect call kept as a retpoline: it passes a static chain in r10
; CHECK-LABEL: define {{.*}} @nest(
; CHECK: call i32 %f(ptr nest %chain, i32 1)
; ASM-LABEL: {{^}}nest:
; ASM: movq %{{r[a-z0-9]+}}, %r10
; ASM: callq __llvm_retpoline_r11
define i32 @nest(ptr %f, ptr %chain) {
  %r = call i32 %f(ptr nest %chain, i32 1)
  ret i32 %r
}

; REMARK-COUNT-7: remark: {{.*}} indirect call kept as a retpoline: calling convention leaves r10 no room
; CHECK-LABEL: define {{.*}} @conventions(
; CHECK-NOT: hot
; CHECK: call x86_regcallcc i32 %f(i32 1, i32 2)
; CHECK: call win64cc void %f(i32 3)
; CHECK: call preserve_mostcc void %f(i32 4)
; CHECK: call preserve_allcc void %f(i32 5)
; CHECK: call ghccc void %f(i64 6)
; CHECK: call preserve_nonecc void %f(i64 7)
; CHECK: call tailcc void %f(i64 8)
; ASM-LABEL: {{^}}conventions:
; ASM-COUNT-7: call{{q?}} __llvm_retpoline_r11
define void @conventions(ptr %f) {
  %r = call x86_regcallcc i32 %f(i32 1, i32 2)
  call win64cc void %f(i32 3)
  call preserve_mostcc void %f(i32 4)
  call preserve_allcc void %f(i32 5)
  call ghccc void %f(i64 6)
  call preserve_nonecc void %f(i64 7)
  call tailcc void %f(i64 8)
  ret void
}

; REMARK: remark: {{.*}} indirect call kept as a retpoline: operand bundle belongs to the indirect call
; CHECK-LABEL: define {{.*}} @bundles(
; CHECK: call void %f() [ "kcfi"(i32 12345) ]
; ASM-LABEL: {{^}}bundles:
; ASM: movl ${{[0-9]+}}, %r10d
; ASM: addl -4(%r11), %r10d
; ASM: callq __llvm_retpoline_r11
define void @bundles(ptr %f) {
  call void %f() [ "kcfi"(i32 12345) ]
  ret void
}

; REMARK: remark: {{.*}} indirect call kept as a retpoline: the callee may return twice
; CHECK-LABEL: define {{.*}} @setjmp_like(
; CHECK: call i32 %f(ptr %buffer) #[[TWICE:[0-9]+]]
; ASM-LABEL: {{^}}setjmp_like:
; ASM: callq __llvm_retpoline_r11
define i32 @setjmp_like(ptr %f, ptr %buffer) {
  %r = call i32 %f(ptr %buffer) returns_twice
  ret i32 %r
}

; REMARK: remark: {{.*}} indirect call kept as a retpoline: split stacks use r10
; CHECK-LABEL: define {{.*}} @split_stack(
; CHECK: call void %f()
define void @split_stack(ptr %f) "split-stack" {
  call void %f()
  ret void
}

; REMARK: remark: {{.*}} indirect call kept as a retpoline: function is marked RELPOLINE_NEVER
; REMARK: remark: {{.*}} indirect call kept as a retpoline: function is marked RELPOLINE_NEVER
; CHECK-LABEL: define {{.*}} @never(
; CHECK: call void %f()
; CHECK: call void %f()
define void @never(ptr %f) {
  call void %f()
  call void %f()
  ret void
}

; Only that annotation counts: the other function is converted.
; CHECK-LABEL: define {{.*}} @annotated_otherwise(
; CHECK: call void @annotated_otherwise.hot.0(ptr nest %f)
define void @annotated_otherwise(ptr %f) {
  call void %f()
  ret void
}

; REMARK-COUNT-4: remark: {{.*}} indirect call kept as a retpoline: code of this section is not patched
; CHECK-LABEL: define {{.*}} @noinstr(
; CHECK: call void %f()
define void @noinstr(ptr %f) section ".noinstr.text" {
  call void %f()
  ret void
}
; CHECK-LABEL: define {{.*}} @entry(
; CHECK: call void %f()
define void @entry(ptr %f) section ".entry.text" {
  call void %f()
  ret void
}
; CHECK-LABEL: define {{.*}} @init(
; CHECK: call void %f()
define void @init(ptr %f) section ".init.text" {
  call void %f()
  ret void
}
; CHECK-LABEL: define {{.*}} @init_suffix(
; CHECK: call void %f()
define void @init_suffix(ptr %f) section ".init.text.unlikely" {
  call void %f()
  ret void
}
; A section that merely begins alike is none of them.
; CHECK-LABEL: define {{.*}} @other_section(
; CHECK: call void @other_section.hot.0(ptr nest %f)
define void @other_section(ptr %f) section ".init.texture" {
  call void %f()
  ret void
}

; REMARK: remark: {{.*}} indirect call kept as a retpoline: its arguments are built in place (inalloca)
; CHECK-LABEL: define {{.*}} @in_place(
; CHECK: call void %f(ptr inalloca(i32) %a)
define void @in_place(ptr %f) {
  %a = alloca inalloca i32
  store i32 7, ptr %a
  call void %f(ptr inalloca(i32) %a)
  ret void
}

; CHECK: attributes #[[TWICE]] = { returns_twice }

@never.text = private unnamed_addr constant [16 x i8] c"relpoline_never\00", section "llvm.metadata"
@other.text = private unnamed_addr constant [6 x i8] c"other\00", section "llvm.metadata"
@file = private unnamed_addr constant [4 x i8] c"a.c\00", section "llvm.metadata"
@llvm.global.annotations = appending global [2 x { ptr, ptr, ptr, i32, ptr }] [
  { ptr, ptr, ptr, i32, ptr } { ptr @never, ptr @never.text, ptr @file, i32 1, ptr null },
  { ptr, ptr, ptr, i32, ptr } { ptr @annotated_otherwise, ptr @other.text, ptr @file, i32 1, ptr null }
], section "llvm.metadata"

!llvm.module.flags = !{!0}
!0 = !{i32 4, !"kcfi", i32 1}
