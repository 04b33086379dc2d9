; What describes the call stays on both copies; what describes its targets is dropped, because they are the
; stubs now.

; RUN: %opt -passes=relpoline -verify-each -S %s -o - | %FileCheck %s

target triple = "x86_64-pc-linux-gnu"

; CHECK-LABEL: define {{.*}} @kept(
; CHECK: callbr void asm
; CHECK-NEXT: to label %{{.*}} [label %{{.*}}], !dbg [[LOCATION:![0-9]+]]
; CHECK-NOT: {{!prof|!callees|!callee_type}}
; CHECK: call ptr @kept.hot.0(i64 8, ptr nest %f), !dbg [[LOCATION]], !noalias [[SCOPE:![0-9]+]], !annotation [[NOTE:![0-9]+]], !heapallocsite [[HEAP:![0-9]+]], !srcloc [[SOURCE:![0-9]+]], !custom [[CUSTOM:![0-9]+]]
; CHECK-NOT: {{!prof|!callees|!callee_type}}
; CHECK: call ptr @kept.cold.0(i64 8, ptr nest %f) #{{[0-9]+}}, !dbg [[LOCATION]], !noalias [[SCOPE]], !annotation [[NOTE]], !heapallocsite [[HEAP]], !srcloc [[SOURCE]], !custom [[CUSTOM]]
; CHECK-NOT: {{!prof|!callees|!callee_type}}
; CHECK: ret ptr
define ptr @kept(ptr %f) !dbg !4 {
  %r = call ptr %f(i64 8), !dbg !7, !noalias !20, !annotation !11, !heapallocsite !12, !srcloc !13, !custom !14, !prof !15, !callees !16, !callee_type !18
  ret ptr %r, !dbg !8
}

; A call without location gets none; the entry says line 0.
; CHECK-LABEL: define {{.*}} @nowhere(
; CHECK: callbr void asm sideeffect "{{.*}}.long 0\0A.long 805306368\0A
; CHECK: call void @nowhere.hot.0(ptr nest %f){{$}}
define void @nowhere(ptr %f) {
  call void %f()
  ret void
}

; Of an inlined call, the entry names the place where it was written (line 77 of other.h).
; CHECK-LABEL: define {{.*}} @inlined(
; CHECK: callbr void asm sideeffect "{{.*}}.long 805306445\0A{{.*}}", "{r10},i,i,i,!i,~{flags}"(ptr %f, ptr @inlined.relpoline.cells, ptr getelementptr (i8, ptr @inlined.relpoline, i64 2), ptr @[[OTHER:relpoline.file[.0-9]*]])
; CHECK: call void @inlined.hot.0(ptr nest %f), !dbg
define void @inlined(ptr %f) !dbg !21 {
  call void %f(), !dbg !22
  ret void
}

; A line beyond the 24 bits that an entry has is recorded as the largest one.
; CHECK-LABEL: define {{.*}} @far_down(
; CHECK: callbr void asm sideeffect "{{.*}}.long 822083583\0A
define void @far_down(ptr %f) !dbg !26 {
  call void %f(), !dbg !27
  ret void
}

declare ptr @callee(i64)

!llvm.module.flags = !{!0}
!llvm.dbg.cu = !{!1}
!0 = !{i32 2, !"Debug Info Version", i32 3}
!1 = distinct !DICompileUnit(language: DW_LANG_C11, file: !2, emissionKind: FullDebug)
!2 = !DIFile(filename: "file.c", directory: "/source")
!3 = !DISubroutineType(types: !10)
!4 = distinct !DISubprogram(name: "kept", file: !2, line: 1, type: !3, scopeLine: 1, unit: !1, spFlags: DISPFlagDefinition)
!5 = !DIFile(filename: "other.h", directory: "/source")
!6 = distinct !DISubprogram(name: "helper", file: !5, line: 70, type: !3, scopeLine: 70, unit: !1, spFlags: DISPFlagDefinition)
!7 = !DILocation(line: 3, column: 5, scope: !4)
!8 = !DILocation(line: 4, column: 5, scope: !4)
!10 = !{}
!11 = !{!"a remark"}
!12 = !DIBasicType(name: "int", size: 32, encoding: DW_ATE_signed)
!13 = !{i64 1234}
!14 = !{!"anything"}
!15 = !{!"VP", i32 0, i64 1600, i64 1030, i64 410}
!16 = !{ptr @callee}
!18 = !{!19}
!19 = !{i64 0, !"_ZTSFPvmE.generalized"}
!20 = !{!24}
!21 = distinct !DISubprogram(name: "inlined", file: !2, line: 20, type: !3, scopeLine: 20, unit: !1, spFlags: DISPFlagDefinition)
!22 = !DILocation(line: 77, column: 3, scope: !6, inlinedAt: !23)
!23 = distinct !DILocation(line: 21, column: 3, scope: !21)
!24 = distinct !{!24, !25}
!25 = distinct !{!25}
!26 = distinct !DISubprogram(name: "far_down", file: !2, line: 1, type: !3, scopeLine: 1, unit: !1, spFlags: DISPFlagDefinition)
!27 = !DILocation(line: 99999999, column: 3, scope: !26)
