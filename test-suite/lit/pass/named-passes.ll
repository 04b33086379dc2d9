; The pass can be asked for by name, in three ways.

; RUN: %opt -passes=relpoline -S %s -o - | %FileCheck %s --check-prefixes=CHECK,INLINE
; RUN: %opt '-passes=relpoline<stub>' -S %s -o - | %FileCheck %s --check-prefixes=CHECK,STUB
; RUN: %opt -passes=relpoline-protect -S %s -o - | %FileCheck %s --check-prefixes=CHECK,PROTECT
; RUN: %opt -passes='module(relpoline)' -S %s -o - | %FileCheck %s --check-prefixes=CHECK,INLINE
; RUN: %not %opt -passes='relpoline<nonsense>' -S %s -o - 2>&1 | %FileCheck %s --check-prefix=UNKNOWN

; A pipeline that ends in its usual passes runs it without being asked.
; RUN: %opt -passes='default<O0>' -S %s -o - | %FileCheck %s --check-prefixes=CHECK,INLINE
; RUN: %opt -passes='default<O2>' -S %s -o - | %FileCheck %s --check-prefixes=CHECK,INLINE
; RUN: %opt -passes='lto-pre-link<O2>' -S %s -o - | %FileCheck %s --check-prefixes=CHECK,PROTECT
; RUN: %opt -passes='thinlto-pre-link<O2>' -S %s -o - | %FileCheck %s --check-prefixes=CHECK,PROTECT
; RUN: %opt -passes='lto<O2>' -S %s -o - | %FileCheck %s --check-prefixes=CHECK,INLINE
; RUN: %opt -passes='thinlto<O2>' -S %s -o - | %FileCheck %s --check-prefixes=CHECK,INLINE

; INLINE:      @site.relpoline.cells = internal global
; STUB:        @site.relpoline.cells = internal global
; PROTECT-NOT: relpoline.cells
; CHECK-LABEL: define {{.*}}i32 @site(
; CHECK-SAME:  #[[ATTRIBUTES:[0-9]+]]
; INLINE:      callbr void asm
; INLINE:      call i32 @site.hot.0(ptr nest %f)
; INLINE:      call i32 @site.cold.0(ptr nest %f)
; STUB-NOT:    callbr
; STUB:        call i32 @site.site.0(ptr nest %f)
; PROTECT:     call i32 %f()
; CHECK:       ret i32
; Listed as seen are the functions in which calls were converted, not those that were made safe only.
; PROTECT-NOT: relpoline_built
; CHECK:       attributes #[[ATTRIBUTES]] = {{.*}}+retpoline-indirect-calls,+retpoline-indirect-branches
; INLINE:      !"relpoline_built"
; STUB:        !"relpoline_built"
; PROTECT-NOT: relpoline_built

; UNKNOWN: unknown pass name 'relpoline<nonsense>'

target triple = "x86_64-pc-linux-gnu"

define i32 @site(ptr %f) {
  %r = call i32 %f()
  %s = add i32 %r, 1
  ret i32 %s
}
