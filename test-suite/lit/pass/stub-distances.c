// Options that pad or fence instructions leave the stubs as they are: they lie at fixed distances from each
// other, 25 bytes each and 37 in the stub form, behind a lead of 2 bytes.

// RUN: %clang -O2 -c %s -o %t.o && %llvm-readelf -sW %t.o | %FileCheck %s
// RUN: %clang -O0 -c %s -o %t.o && %llvm-readelf -sW %t.o | %FileCheck %s
// RUN: %clang -O2 -mbranches-within-32B-boundaries -c %s -o %t.o && %llvm-readelf -sW %t.o | %FileCheck %s
// RUN: %clang -O2 -mseses -mno-lvi-cfi -c %s -o %t.o && %llvm-readelf -sW %t.o | %FileCheck %s
// RUN: %clang -O2 -Xclang -target-feature -Xclang +lvi-load-hardening -c %s -o %t.o && %llvm-readelf -sW %t.o | %FileCheck %s
// RUN: %clang -O2 -mspeculative-load-hardening -c %s -o %t.o && %llvm-readelf -sW %t.o | %FileCheck %s
// RUN: %clang -O2 -mharden-sls=all -fcf-protection=full -c %s -o %t.o && %llvm-readelf -sW %t.o | %FileCheck %s
// RUN: %clang -O2 -pg -mfentry -fpatchable-function-entry=16 -finstrument-functions -c %s -o %t.o && %llvm-readelf -sW %t.o | %FileCheck %s
// RUN: %clang -O2 -fxray-instrument -fxray-instruction-threshold=1 -c %s -o %t.o && %llvm-readelf -sW %t.o | %FileCheck %s
// RUN: %clang -O2 -fsanitize=address,undefined -fstack-protector-all -c %s -o %t.o && %llvm-readelf -sW %t.o | %FileCheck %s
// RUN: %clang -O2 -fsanitize=kernel-memory -c %s -o %t.o && %llvm-readelf -sW %t.o | %FileCheck %s

// Some stubs cross a multiple of 32 bytes.
// CHECK-DAG: {{^ +[0-9]+: [0-9a-f]+ +}}202 FUNC LOCAL DEFAULT {{[0-9]+}} fast.relpoline{{$}}
// CHECK-DAG: {{^ +[0-9]+: [0-9a-f]+ +}}298 FUNC LOCAL DEFAULT {{[0-9]+}} small.relpoline{{$}}

int fast(int (**f)(int)) {
  return f[0](0) + f[1](1) + f[2](2) + f[3](3) + f[4](4) + f[5](5) + f[6](6) + f[7](7);
}
__attribute__((minsize)) int small(int (**f)(int)) {
  return f[0](0) + f[1](1) + f[2](2) + f[3](3) + f[4](4) + f[5](5) + f[6](6) + f[7](7);
}
