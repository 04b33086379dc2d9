; A call of which there must be only one copy is converted in the stub form, even where speed matters.

; RUN: %opt -passes=relpoline -verify-each -S %s -o - | %FileCheck %s

target triple = "x86_64-pc-linux-gnu"

; CHECK-LABEL: define void @noduplicate(
; CHECK-NEXT:  call void @noduplicate.site.0(ptr nest %f) #[[NODUPLICATE:[0-9]+]]
; CHECK-NEXT:  ret void
define void @noduplicate(ptr %f) {
  call void %f() noduplicate
  ret void
}

; CHECK-LABEL: define void @convergent(
; CHECK-NEXT:  call void @convergent.site.0(ptr nest %f) #[[CONVERGENT:[0-9]+]]
; CHECK-NEXT:  ret void
define void @convergent(ptr %f) {
  call void %f() convergent
  ret void
}

; CHECK-DAG: attributes #[[NODUPLICATE]] = { noduplicate }
; CHECK-DAG: attributes #[[CONVERGENT]] = { convergent }
