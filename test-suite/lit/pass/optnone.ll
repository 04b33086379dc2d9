; The pass is a mitigation: it applies to functions that no optimisation may touch, and leaves alone those
; whose code is not generated from their calls.

; RUN: %opt -passes=relpoline -verify-each -S %s -o - | %FileCheck %s

target triple = "x86_64-pc-linux-gnu"

; CHECK-LABEL: define void @optnone(
; CHECK: call void @optnone.hot.0(ptr nest %f)
; CHECK: call void @optnone.cold.0(ptr nest %f)
define void @optnone(ptr %f) optnone noinline {
  call void %f()
  ret void
}

; CHECK-LABEL: define void @naked(
; CHECK-NEXT: call void asm sideeffect "jmp *%rdi", ""()
; CHECK-NEXT: unreachable
define void @naked(ptr %f) naked noinline {
  call void asm sideeffect "jmp *%rdi", ""()
  unreachable
}

; Where this body is emitted, another module's pass sees it; here it is only there to be inlined.
; CHECK-LABEL: define available_externally void @elsewhere(
; CHECK-NEXT: call void %f()
; CHECK-NEXT: ret void
define available_externally void @elsewhere(ptr %f) {
  call void %f()
  ret void
}

; Direct calls, calls of aliases, assembly and intrinsics are no indirect calls.
; CHECK-LABEL: define i64 @direct(
; CHECK-NEXT: call void @naked(ptr null)
; CHECK-NEXT: call void @alias(ptr null)
; CHECK-NEXT: call void @resolved()
; CHECK-NEXT: call void asm sideeffect "nop", ""()
; CHECK-NEXT: call i64 @llvm.readcyclecounter()
; CHECK-NEXT: ret i64
define i64 @direct() {
  call void @naked(ptr null)
  call void @alias(ptr null)
  call void @resolved()
  call void asm sideeffect "nop", ""()
  %r = call i64 @llvm.readcyclecounter()
  ret i64 %r
}

@alias = alias void (ptr), ptr @optnone
@resolved = ifunc void (), ptr @resolver
define ptr @resolver() {
  ret ptr null
}
