// RUN: qtx-opt %s --qtx-share-kernels --split-input-file | FileCheck %s
// RUN: qtx-opt %s --qtx-share-kernels --split-input-file --remark-format=emitRemark --remarks-filter=qtx-share-kernels -o /dev/null 2>&1 | FileCheck %s --check-prefix=REMARK

// Scales differ, alone and in all lanes; one that is twice there is one
// argument, and one that is the same stays.
// CHECK-LABEL: func @layers(
// CHECK: %[[CODE:.*]] = arith.constant 1 : i32
// CHECK: %[[A:.*]] = arith.constant 2.000000e+00 : f32
// CHECK: call @kernel(%{{.*}}, %[[CODE]], %[[A]])
// CHECK: %[[OTHER:.*]] = arith.constant 4 : i32
// CHECK: %[[B:.*]] = arith.constant 3.000000e+00 : f32
// CHECK: call @kernel(%{{.*}}, %[[OTHER]], %[[B]])
// CHECK: %[[C:.*]] = arith.constant 3.000000e+00 : f32
// CHECK: call @kernel(%{{.*}}, %{{.*}}, %[[C]])
// REMARK: [Passed] ShareKernels | Category:qtx-share-kernels | Remark="'kernel' is 2 functions, with 2 numbers as arguments"
func.func @layers(%x: memref<8xf32>) {
  call @kernel(%x) : (memref<8xf32>) -> ()
  call @kernel_0(%x) : (memref<8xf32>) -> ()
  call @kernel_0(%x) : (memref<8xf32>) -> ()
  return
}

// CHECK: func private @kernel(%{{.*}}: memref<8xf32>, %[[ZERO:.*]]: i32, %[[SCALE:.*]]: f32) {
// CHECK-DAG: %[[LANES:.*]] = vector.broadcast %[[SCALE]] : f32 to vector<8xf32>
// CHECK-DAG: vector.broadcast %[[ZERO]] : i32 to vector<8xi32>
// CHECK-DAG: arith.constant 5.000000e-01 : f32
// CHECK: scf.for
// CHECK: arith.mulf %{{.*}}, %[[LANES]]
// CHECK: arith.mulf %{{.*}}, %[[SCALE]]
// CHECK-NOT: func private @kernel_0
func.func private @kernel(%x: memref<8xf32>) {
  %zero = arith.constant dense<1> : vector<8xi32>
  %lanes = arith.constant dense<2.0> : vector<8xf32>
  %scale = arith.constant 2.0 : f32
  %half = arith.constant 0.5 : f32
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  scf.for %i = %c0 to %c1 step %c1 {
    %v = vector.load %x[%i] : memref<8xf32>, vector<8xf32>
    %f = arith.sitofp %zero : vector<8xi32> to vector<8xf32>
    %w = arith.mulf %v, %lanes : vector<8xf32>
    %s = arith.mulf %half, %scale : f32
    %sum = arith.addf %w, %f : vector<8xf32>
    vector.store %sum, %x[%i] : memref<8xf32>, vector<8xf32>
    memref.store %s, %x[%i] : memref<8xf32>
  }
  return
}

func.func private @kernel_0(%x: memref<8xf32>) {
  %zero = arith.constant dense<4> : vector<8xi32>
  %lanes = arith.constant dense<3.0> : vector<8xf32>
  %scale = arith.constant 3.0 : f32
  %half = arith.constant 0.5 : f32
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  scf.for %i = %c0 to %c1 step %c1 {
    %v = vector.load %x[%i] : memref<8xf32>, vector<8xf32>
    %f = arith.sitofp %zero : vector<8xi32> to vector<8xf32>
    %w = arith.mulf %v, %lanes : vector<8xf32>
    %s = arith.mulf %half, %scale : f32
    %sum = arith.addf %w, %f : vector<8xf32>
    vector.store %sum, %x[%i] : memref<8xf32>, vector<8xf32>
    memref.store %s, %x[%i] : memref<8xf32>
  }
  return
}

// -----

// The same numbers in another order of operands, other sizes, vectors that
// are no splats, other attributes, and functions whose names others hold.
// CHECK-LABEL: func @different(
// CHECK: call @first(%{{.*}}) :
// CHECK: call @operands(%{{.*}}) :
// CHECK: call @size(%{{.*}}) :
// CHECK: call @lanes(%{{.*}}) :
// CHECK: call @flags(%{{.*}}) :
// CHECK: call @held(%{{.*}}) :
// CHECK: call @marked(%{{.*}}) :
func.func @different(%x: f32) -> (f32, f32, f32, f32, f32, f32, f32, (f32) -> f32) {
  %0 = call @first(%x) : (f32) -> f32
  %1 = call @operands(%x) : (f32) -> f32
  %2 = call @size(%x) : (f32) -> f32
  %3 = call @lanes(%x) : (f32) -> f32
  %4 = call @flags(%x) : (f32) -> f32
  %5 = call @held(%x) : (f32) -> f32
  %6 = call @marked(%x) : (f32) -> f32
  %7 = func.constant @held : (f32) -> f32
  return %0, %1, %2, %3, %4, %5, %6, %7 : f32, f32, f32, f32, f32, f32, f32, (f32) -> f32
}

func.func private @first(%x: f32) -> f32 {
  %v = arith.constant dense<[1.0, 2.0]> : vector<2xf32>
  %c0 = arith.constant 0 : index
  %two = arith.constant 2.0 : f32
  %e = vector.extract %v[%c0] : f32 from vector<2xf32>
  %y = arith.subf %e, %two : f32
  %z = arith.addf %y, %x : f32
  return %z : f32
}

func.func private @operands(%x: f32) -> f32 {
  %v = arith.constant dense<[1.0, 2.0]> : vector<2xf32>
  %c0 = arith.constant 0 : index
  %two = arith.constant 2.0 : f32
  %e = vector.extract %v[%c0] : f32 from vector<2xf32>
  %y = arith.subf %two, %e : f32
  %z = arith.addf %y, %x : f32
  return %z : f32
}

func.func private @size(%x: f32) -> f32 {
  %v = arith.constant dense<[1.0, 2.0]> : vector<2xf32>
  %c1 = arith.constant 1 : index
  %two = arith.constant 2.0 : f32
  %e = vector.extract %v[%c1] : f32 from vector<2xf32>
  %y = arith.subf %e, %two : f32
  %z = arith.addf %y, %x : f32
  return %z : f32
}

func.func private @lanes(%x: f32) -> f32 {
  %v = arith.constant dense<[1.0, 3.0]> : vector<2xf32>
  %c0 = arith.constant 0 : index
  %two = arith.constant 2.0 : f32
  %e = vector.extract %v[%c0] : f32 from vector<2xf32>
  %y = arith.subf %e, %two : f32
  %z = arith.addf %y, %x : f32
  return %z : f32
}

func.func private @flags(%x: f32) -> f32 {
  %v = arith.constant dense<[1.0, 2.0]> : vector<2xf32>
  %c0 = arith.constant 0 : index
  %two = arith.constant 2.0 : f32
  %e = vector.extract %v[%c0] : f32 from vector<2xf32>
  %y = arith.subf %e, %two fastmath<nnan> : f32
  %z = arith.addf %y, %x : f32
  return %z : f32
}

func.func private @held(%x: f32) -> f32 {
  %v = arith.constant dense<[1.0, 2.0]> : vector<2xf32>
  %c0 = arith.constant 0 : index
  %two = arith.constant 3.0 : f32
  %e = vector.extract %v[%c0] : f32 from vector<2xf32>
  %y = arith.subf %e, %two : f32
  %z = arith.addf %y, %x : f32
  return %z : f32
}

func.func private @marked(%x: f32) -> f32 attributes {passthrough = ["noinline"]} {
  %v = arith.constant dense<[1.0, 2.0]> : vector<2xf32>
  %c0 = arith.constant 0 : index
  %two = arith.constant 3.0 : f32
  %e = vector.extract %v[%c0] : f32 from vector<2xf32>
  %y = arith.subf %e, %two : f32
  %z = arith.addf %y, %x : f32
  return %z : f32
}
