; Every function that is generated here gets retpolines by its own attributes, whatever the command line says,
; and no call goes through the GOT.

; RUN: %opt -passes=relpoline -S %s -o %t.ll && %FileCheck %s --input-file=%t.ll
; RUN: %opt -passes=relpoline-protect -S %s -o %t.protect.ll && %FileCheck %s --input-file=%t.protect.ll
; RUN: %llc -O2 -relocation-model=pic -filetype=obj %t.ll -o %t.o && %objdump %t.o | %no-raw
; RUN: %llc -O2 -relocation-model=pic %t.ll -o - | %FileCheck %s --check-prefix=ASM
; RUN: %llc -O2 -relocation-model=pic %s -o - | %FileCheck %s --check-prefix=BEFORE

target triple = "x86_64-pc-linux-gnu"

; CHECK: define void @plain() #[[PLAIN:[0-9]+]]
define void @plain() {
  ret void
}
; CHECK: define void @with_features() #[[FEATURES:[0-9]+]]
define void @with_features() "target-features"="+avx2,-bmi" {
  ret void
}
; CHECK: define void @has_them() #[[HAS:[0-9]+]]
define void @has_them() "target-features"="+retpoline-indirect-branches,+retpoline,+retpoline-indirect-calls,+retpoline-external-thunk" {
  ret void
}
; CHECK: define internal void @constructor() #[[PLAIN]]
define internal void @constructor() {
  ret void
}
@llvm.global_ctors = appending global [1 x { i32, ptr, ptr }] [{ i32, ptr, ptr } { i32 1, ptr @constructor, ptr null }]

; ASM-LABEL:    {{^}}through_got:
; ASM:          callq external@PLT
; ASM:          callq memset@PLT
; BEFORE-LABEL: {{^}}through_got:
; BEFORE:       callq *external@GOTPCREL(%rip)
; BEFORE:       callq *memset@GOTPCREL(%rip)
define i32 @through_got(ptr %p, i64 %n) {
  %r = call i32 @external()
  call void @llvm.memset.p0.i64(ptr %p, i8 0, i64 %n, i1 false)
  ret i32 %r
}
; CHECK: declare i32 @external() #[[EXTERNAL:[0-9]+]]
declare i32 @external() nonlazybind "other"

; CHECK-DAG: attributes #[[PLAIN]] = { "target-features"="+retpoline-indirect-calls,+retpoline-indirect-branches" }
; CHECK-DAG: attributes #[[FEATURES]] = { "target-features"="+avx2,-bmi,+retpoline-indirect-calls,+retpoline-indirect-branches" }
; CHECK-DAG: attributes #[[HAS]] = { "target-features"="+retpoline-indirect-branches,+retpoline,+retpoline-indirect-calls,+retpoline-external-thunk" }
; CHECK-DAG: attributes #[[EXTERNAL]] = { "other" }

; The flag for calls that code generation adds is gone, the others stay.
; CHECK-NOT: RtLibUseGOT
; CHECK: !{i32 8, !"PIC Level", i32 2}
; CHECK-NOT: RtLibUseGOT
!llvm.module.flags = !{!0, !1}
!0 = !{i32 8, !"PIC Level", i32 2}
!1 = !{i32 7, !"RtLibUseGOT", i32 1}
