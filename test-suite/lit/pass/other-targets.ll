; On 32-bit x86 no register is free for the target, and on other systems than Linux there is no runtime: calls get
; retpolines, and a remark says why. For other
; targets there are no retpolines either: one warning says so, and the module stays as it is.

; RUN: %opt -mtriple=i386-pc-linux-gnu -passes=relpoline -S %s -o %t.ll -pass-remarks-missed=relpoline 2>%t.remarks
; RUN: %FileCheck %s --check-prefix=NO-REGISTER --input-file=%t.remarks
; RUN: %FileCheck %s --check-prefix=RETPOLINE --input-file=%t.ll
; RUN: %llc -O2 -filetype=obj %t.ll -o %t.o && %objdump %t.o | %no-raw
; RUN: %opt -mtriple=i686-unknown-linux-gnu -passes=relpoline -S %s -o - | %FileCheck %s --check-prefix=RETPOLINE
; RUN: %opt -mtriple=x86_64-pc-linux-gnux32 -passes=relpoline -S %s -o %t.ll -pass-remarks-missed=relpoline 2>%t.remarks
; RUN: %FileCheck %s --check-prefix=NO-REGISTER --input-file=%t.remarks
; RUN: %FileCheck %s --check-prefix=RETPOLINE --input-file=%t.ll

; RUN: %opt -mtriple=x86_64-unknown-freebsd -passes=relpoline -S %s -o %t.ll -pass-remarks-missed=relpoline 2>%t.remarks
; RUN: %FileCheck %s --check-prefix=NO-RUNTIME --input-file=%t.remarks
; RUN: %FileCheck %s --check-prefix=RETPOLINE --input-file=%t.ll
; RUN: %opt -mtriple=i786-unknown-linux-gnu -passes=relpoline -S %s -o - | %FileCheck %s --check-prefix=RETPOLINE
; RUN: %opt -mtriple=amd64-unknown-linux-gnu -passes=relpoline -S %s -o - | %FileCheck %s --check-prefix=SITE
; RUN: %opt -mtriple=x86_64-unknown-none-elf -passes=relpoline -S %s -o - | %FileCheck %s --check-prefix=RETPOLINE

; RUN: %opt -mtriple=aarch64-unknown-linux-gnu -passes=relpoline -S %s -o %t.ll 2>%t.warning
; RUN: %FileCheck %s --check-prefix=WARNING --input-file=%t.warning
; RUN: %count 1 < %t.warning
; RUN: %FileCheck %s --check-prefix=UNCHANGED --input-file=%t.ll

; NO-REGISTER: indirect call kept as a retpoline: no free register on this target

; NO-RUNTIME: indirect call kept as a retpoline: no runtime for this system

; SITE: call void @site.hot.0(i32 1, ptr nest %f)

; RETPOLINE:     define void @site(ptr %f) #0
; RETPOLINE:     call void %f(i32 1)
; RETPOLINE:     attributes #0 = { {{.*}}"target-features"="+retpoline-indirect-calls,+retpoline-indirect-branches" }

; WARNING: warning: relpoline: target 'aarch64-unknown-linux-gnu' is not supported (expected x86_64 or i386, and ELF): indirect calls of this module stay as they are

; UNCHANGED:      define void @site(ptr %f) {
; UNCHANGED-NEXT: call void %f(i32 1)
; UNCHANGED-NEXT: ret void
; UNCHANGED-NOT:  {{relpoline|retpoline}}

define void @site(ptr %f) {
  call void %f(i32 1)
  ret void
}
