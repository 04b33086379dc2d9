; Every argument, attribute and flag of a call survives in both copies; the target is added behind the fixed
; arguments as the static chain, which is passed in r10.

; RUN: %opt -passes=relpoline -verify-each -S %s -o %t.ll && %FileCheck %s --input-file=%t.ll
; RUN: %opt '-passes=relpoline<stub>' -verify-each -S %s -o %t.stub.ll && %FileCheck %s --check-prefix=STUB --input-file=%t.stub.ll
; RUN: %llc -O0 -mattr=+avx512f -filetype=obj %t.ll -o %t.o && %objdump %t.o | %no-raw
; RUN: %llc -O2 -mattr=+avx512f -filetype=obj %t.ll -o %t.o && %objdump %t.o | %no-raw
; RUN: %llc -O2 -mattr=+avx512f -filetype=obj %t.stub.ll -o %t.o && %objdump %t.o | %no-raw

target triple = "x86_64-pc-linux-gnu"

%Big = type { i64, i64, i64 }

; CHECK-LABEL: define void @memory(
; CHECK: call void @memory.hot.0(ptr sret(%Big) align 8 %out, ptr byval(%Big) align 16 %in, ptr byref(%Big) %in, i1 inreg true, ptr nest %f){{$}}
; CHECK: call void @memory.cold.0(ptr sret(%Big) align 8 %out, ptr byval(%Big) align 16 %in, ptr byref(%Big) %in, i1 inreg true, ptr nest %f) #[[COLD:[0-9]+]]
; STUB-LABEL: define void @memory(
; STUB-NEXT: call void @memory.site.0(ptr sret(%Big) align 8 %out, ptr byval(%Big) align 16 %in, ptr byref(%Big) %in, i1 inreg true, ptr nest %f){{$}}
; STUB-NEXT: ret void
define void @memory(ptr %f, ptr %out, ptr %in) {
  call void %f(ptr sret(%Big) align 8 %out, ptr byval(%Big) align 16 %in, ptr byref(%Big) %in, i1 inreg true)
  ret void
}

; CHECK-LABEL: define {{.*}} @scalars(
; CHECK: [[HOT:%[0-9]+]] = call noundef signext i8 @scalars.hot.0(i8 zeroext 3, i16 signext 4, i128 noundef %w, x86_fp80 %x, half %h, bfloat %b, double nofpclass(nan) %d, ptr nest %f)
; CHECK: [[COLD_VALUE:%[0-9]+]] = call noundef signext i8 @scalars.cold.0(i8 zeroext 3, i16 signext 4, i128 noundef %w, x86_fp80 %x, half %h, bfloat %b, double nofpclass(nan) %d, ptr nest %f)
; CHECK: [[VALUE:%[0-9]+]] = phi i8 {{.*}}[ [[HOT]], {{.*}}
; CHECK: ret i8 [[VALUE]]
; STUB-LABEL: define {{.*}} @scalars(
; STUB-NEXT: [[VALUE:%[0-9]+]] = call noundef signext i8 @scalars.site.0(i8 zeroext 3, i16 signext 4, i128 noundef %w, x86_fp80 %x, half %h, bfloat %b, double nofpclass(nan) %d, ptr nest %f)
; STUB-NEXT: ret i8 [[VALUE]]
define i8 @scalars(ptr %f, i128 %w, x86_fp80 %x, half %h, bfloat %b, double %d) {
  %r = call noundef signext i8 %f(i8 zeroext 3, i16 signext 4, i128 noundef %w, x86_fp80 %x, half %h, bfloat %b, double nofpclass(nan) %d)
  ret i8 %r
}

; CHECK-LABEL: define {{.*}} @vectors(
; CHECK: call <16 x float> @vectors.hot.0(<4 x i32> %a, <8 x float> %b, <16 x float> %c, <2 x i1> zeroinitializer, ptr nest %f)
; CHECK: call <16 x float> @vectors.cold.0(<4 x i32> %a, <8 x float> %b, <16 x float> %c, <2 x i1> zeroinitializer, ptr nest %f)
define <16 x float> @vectors(ptr %f, <4 x i32> %a, <8 x float> %b, <16 x float> %c) "target-features"="+avx512f" {
  %r = call <16 x float> %f(<4 x i32> %a, <8 x float> %b, <16 x float> %c, <2 x i1> zeroinitializer)
  ret <16 x float> %r
}

; The features that were there stay, and the retpolines' come behind them.
; CHECK-LABEL: define {{.*}} @aggregates(
; CHECK-SAME: #[[PLAIN:[0-9]+]]
; CHECK: call { i64, <4 x float>, i128 } @aggregates.hot.0([2 x i64] %a, { float, ptr } zeroinitializer, ptr nest %f)
; CHECK: call { i64, <4 x float>, i128 } @aggregates.cold.0([2 x i64] %a, { float, ptr } zeroinitializer, ptr nest %f)
; CHECK: phi { i64, <4 x float>, i128 }
define i128 @aggregates(ptr %f, [2 x i64] %a) {
  %r = call { i64, <4 x float>, i128 } %f([2 x i64] %a, { float, ptr } zeroinitializer)
  %w = extractvalue { i64, <4 x float>, i128 } %r, 2
  ret i128 %w
}

; The target stands before the variable arguments, which keep their attributes.
; CHECK-LABEL: define {{.*}} @variadic(
; CHECK: call i32 (ptr, i32, ptr, ...) @variadic.hot.0(ptr noundef nonnull %p, i32 returned 5, ptr nest %f, double noundef 1.000000e+00, ptr byval(%Big) align 8 %p, i8 signext 1)
; CHECK: call i32 (ptr, i32, ptr, ...) @variadic.cold.0(ptr noundef nonnull %p, i32 returned 5, ptr nest %f, double noundef 1.000000e+00, ptr byval(%Big) align 8 %p, i8 signext 1)
; STUB-LABEL: define {{.*}} @variadic(
; STUB-NEXT: call i32 (ptr, i32, ptr, ...) @variadic.site.0(ptr noundef nonnull %p, i32 returned 5, ptr nest %f, double noundef 1.000000e+00, ptr byval(%Big) align 8 %p, i8 signext 1)
define i32 @variadic(ptr %f, ptr %p) {
  %r = call i32 (ptr, i32, ...) %f(ptr noundef nonnull %p, i32 returned 5, double noundef 1.0, ptr byval(%Big) align 8 %p, i8 signext 1)
  ret i32 %r
}

; CHECK-LABEL: define {{.*}} @only_variable(
; CHECK: call void (ptr, ...) @only_variable.hot.0(ptr nest %f, i32 1, double 2.000000e+00)
; CHECK: call void (ptr, ...) @only_variable.cold.0(ptr nest %f, i32 1, double 2.000000e+00)
define void @only_variable(ptr %f) {
  call void (...) %f(i32 1, double 2.0)
  ret void
}

; CHECK-LABEL: define {{.*}} @call_attributes(
; CHECK: = tail call fast noundef nofpclass(inf) double @call_attributes.hot.0(double %d, ptr nest %f) #[[CALL:[0-9]+]]
; CHECK: = tail call fast noundef nofpclass(inf) double @call_attributes.cold.0(double %d, ptr nest %f) #[[CALL_COLD:[0-9]+]]
; CHECK: = notail call fastcc noalias dereferenceable(8) ptr @call_attributes.hot.1(i64 9, ptr nest %f) #[[ALLOC:[0-9]+]]
; CHECK: = notail call fastcc noalias dereferenceable(8) ptr @call_attributes.cold.1(i64 9, ptr nest %f) #[[ALLOC_COLD:[0-9]+]]
define double @call_attributes(ptr %f, double %d) {
  %p = tail call fast noundef nofpclass(inf) double %f(double %d) nounwind memory(argmem: read) "key"="value"
  %q = notail call fastcc noalias dereferenceable(8) ptr %f(i64 9) allocsize(0) nobuiltin
  %r = load double, ptr %q
  %s = fadd double %p, %r
  ret double %s
}

; Swift's context and error registers do not collide with r10.
; CHECK-LABEL: define {{.*}} @swift(
; CHECK: call void @swift.hot.0(ptr swiftself %self, ptr swifterror %error, ptr nest %f)
; CHECK: call void @swift.cold.0(ptr swiftself %self, ptr swifterror %error, ptr nest %f)
define void @swift(ptr %f, ptr %self) {
  %error = alloca swifterror ptr
  store ptr null, ptr %error
  call void %f(ptr swiftself %self, ptr swifterror %error)
  ret void
}

; A value that reaches a block by several ways does so still.
; CHECK-LABEL: define {{.*}} @loop(
; CHECK: %i = phi i32 [ 0, %entry ], [ [[NEXT:%[0-9]+]], %[[LATCH:.*]] ]
; CHECK: call i32 @loop.hot.0(i32 %i, ptr nest %f)
; CHECK: call i32 @loop.cold.0(i32 %i, ptr nest %f)
; CHECK: [[LATCH]]:
; CHECK: [[NEXT]] = phi i32
; CHECK: icmp eq i32 [[NEXT]], 0
define void @loop(ptr %f) {
entry:
  br label %again
again:
  %i = phi i32 [ 0, %entry ], [ %next, %again ]
  %next = call i32 %f(i32 %i)
  %c = icmp eq i32 %next, 0
  br i1 %c, label %again, label %out
out:
  ret void
}

; CHECK-LABEL: define {{.*}} @no_return(
; CHECK: call void @no_return.hot.0(ptr nest %f) #[[NORETURN:[0-9]+]]
; CHECK: call void @no_return.cold.0(ptr nest %f) #[[NORETURN_COLD:[0-9]+]]
; CHECK: unreachable
define void @no_return(ptr %f) {
  call void %f() noreturn
  unreachable
}

; CHECK-DAG: attributes #[[COLD]] = { cold }
; CHECK-DAG: attributes #[[CALL]] = { nounwind memory(argmem: read) "key"="value" }
; CHECK-DAG: attributes #[[CALL_COLD]] = { cold nounwind memory(argmem: read) "key"="value" }
; CHECK-DAG: attributes #[[ALLOC]] = { nobuiltin allocsize(0) }
; CHECK-DAG: attributes #[[ALLOC_COLD]] = { cold nobuiltin allocsize(0) }
; CHECK-DAG: attributes #[[NORETURN]] = { noreturn }
; CHECK-DAG: attributes #[[NORETURN_COLD]] = { cold noreturn }
; CHECK-DAG: "target-features"="+avx512f,+retpoline-indirect-calls,+retpoline-indirect-branches"
; CHECK-DAG: attributes #[[PLAIN]] = { "target-features"="+retpoline-indirect-calls,+retpoline-indirect-branches" }
