; A second run finds nothing left to convert, whatever LLVM did in between.

; RUN: %opt -passes=relpoline -S %s -o %t.once.ll
; RUN: %opt -passes=relpoline,relpoline -verify-each -S %s -o %t.twice.ll && %FileCheck %s --input-file=%t.twice.ll
; RUN: %opt -passes=relpoline,relpoline,relpoline -verify-each -S %s -o - | diff - %t.twice.ll
; RUN: %opt -passes=relpoline %t.once.ll -S -o - -pass-remarks=relpoline -pass-remarks-missed=relpoline 2>&1 | %FileCheck %s --check-prefix=SILENT
; RUN: %opt -passes='relpoline,default<O3>,relpoline' -verify-each -S %s -o - | %FileCheck %s
; RUN: %opt -passes='relpoline,lto-pre-link<O2>,lto<O3>,relpoline' -verify-each -S %s -o - | %FileCheck %s
; RUN: %opt -passes='relpoline,thinlto-pre-link<O2>,thinlto<O2>,relpoline' -verify-each -S %s -o - | %FileCheck %s
; RUN: %opt -passes='relpoline,default<Oz>,relpoline<stub>' -verify-each -S %s -o - | %FileCheck %s
; RUN: %opt -passes='relpoline,mergefunc,strip-dead-prototypes,globalopt,globaldce,constmerge,hotcoldsplit,relpoline' -verify-each -S %s -o - | %FileCheck %s
; RUN: %opt -passes='relpoline-protect,default<O2>' -verify-each -S %s -o - | %FileCheck %s
; RUN: %opt -passes='relpoline,default<O3>,relpoline' %s -o - | %llc -O2 -filetype=obj -o %t.o && %objdump %t.o | %no-raw
; The loop has been unrolled into four copies of one site: four entries, one cell.
; RUN: %llvm-readelf -SW %t.o | %FileCheck %s --check-prefix=SITES

; SILENT-NOT: remark

; SITES-COUNT-7: {{]}} relpoline_sites
; SITES-NOT:     {{]}} relpoline_sites

target triple = "x86_64-pc-linux-gnu"

; CHECK-LABEL: define {{.*}} @result(
; CHECK-COUNT-1: callbr void asm
; CHECK: call i32 @result.hot.0({{.*}}, ptr nest
; CHECK: call i32 @result.cold.0({{.*}}, ptr nest
; CHECK-NOT: {{^ .*}}call 
; CHECK: ret i32
define i32 @result(ptr %f) {
  %r = call i32 %f(i32 1)
  %s = add i32 %r, 1
  ret i32 %s
}

; The same body, so that functions could be merged.
; CHECK-LABEL: define {{.*}} @same_body(
; CHECK-COUNT-1: callbr void asm
; CHECK: call i32 @same_body.hot.0({{.*}}, ptr nest
; CHECK: call i32 @same_body.cold.0({{.*}}, ptr nest
; CHECK-NOT: {{^ .*}}call 
; CHECK: ret i32
define i32 @same_body(ptr %f) {
  %r = call i32 %f(i32 1)
  %s = add i32 %r, 1
  ret i32 %s
}

; CHECK-LABEL: define {{.*}} @small(
; CHECK: call void @small.site.0(ptr nest
; CHECK-NOT: {{^ .*}}call 
; CHECK: ret void
define void @small(ptr %f) minsize optsize {
  call void %f()
  ret void
}

; CHECK-LABEL: define void @loop(
; CHECK: callbr void asm {{.*}}, ptr {{(nonnull )?}}@loop.relpoline.cells, ptr {{.*}}@loop.relpoline, i64 2))
; CHECK: call void @loop.hot.0(i32 {{.*}}, ptr nest %f)
; CHECK-NOT: call void %f
; CHECK: ret void
define void @loop(ptr %f) {
entry:
  br label %again
again:
  %i = phi i32 [ 0, %entry ], [ %next, %again ]
  call void %f(i32 %i)
  %next = add i32 %i, 1
  %c = icmp ult i32 %next, 4
  br i1 %c, label %again, label %out
out:
  ret void
}
