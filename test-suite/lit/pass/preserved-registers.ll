; Where the callee of the original call preserves more registers than the C convention asks for, none of them is
; lost on the way through a stub, which needs r10 and r11.

; RUN: %opt -passes=relpoline -verify-each %s -o - | %llc -O2 -o - | %FileCheck %s
; RUN: %opt '-passes=relpoline<stub>' -verify-each %s -o - | %llc -O2 -o - | %FileCheck %s

target triple = "x86_64-pc-linux-gnu"

%Values = type { i64, i64, i64, i64, i64, i64, i64, i64, i64, i64 }

; CHECK-LABEL: {{^}}cold_convention:
; CHECK:       {{call|jmp}}
; CHECK-NOT:   # kept {{.*}}%r11
; CHECK:       .size cold_convention,
define void @cold_convention(ptr %f) {
  %v = call %Values asm sideeffect "", "=r,=r,=r,=r,=r,=r,=r,=r,=r,=r"()
  %v0 = extractvalue %Values %v, 0
  %v1 = extractvalue %Values %v, 1
  %v2 = extractvalue %Values %v, 2
  %v3 = extractvalue %Values %v, 3
  %v4 = extractvalue %Values %v, 4
  %v5 = extractvalue %Values %v, 5
  %v6 = extractvalue %Values %v, 6
  %v7 = extractvalue %Values %v, 7
  %v8 = extractvalue %Values %v, 8
  %v9 = extractvalue %Values %v, 9
  call coldcc void %f(i32 1)
  call void asm sideeffect "# kept $0 $1 $2 $3 $4 $5 $6 $7 $8 $9", "r,r,r,r,r,r,r,r,r,r"(i64 %v0, i64 %v1, i64 %v2, i64 %v3, i64 %v4, i64 %v5, i64 %v6, i64 %v7, i64 %v8, i64 %v9)
  ret void
}

; CHECK-LABEL: {{^}}no_caller_saved_registers:
; CHECK:       {{call|jmp}}
; CHECK-NOT:   # kept {{.*}}%r11
; CHECK:       .size no_caller_saved_registers,
define void @no_caller_saved_registers(ptr %f) {
  %v = call %Values asm sideeffect "", "=r,=r,=r,=r,=r,=r,=r,=r,=r,=r"()
  %v0 = extractvalue %Values %v, 0
  %v1 = extractvalue %Values %v, 1
  %v2 = extractvalue %Values %v, 2
  %v3 = extractvalue %Values %v, 3
  %v4 = extractvalue %Values %v, 4
  %v5 = extractvalue %Values %v, 5
  %v6 = extractvalue %Values %v, 6
  %v7 = extractvalue %Values %v, 7
  %v8 = extractvalue %Values %v, 8
  %v9 = extractvalue %Values %v, 9
  call void %f(i32 1) "no_caller_saved_registers"
  call void asm sideeffect "# kept $0 $1 $2 $3 $4 $5 $6 $7 $8 $9", "r,r,r,r,r,r,r,r,r,r"(i64 %v0, i64 %v1, i64 %v2, i64 %v3, i64 %v4, i64 %v5, i64 %v6, i64 %v7, i64 %v8, i64 %v9)
  ret void
}
