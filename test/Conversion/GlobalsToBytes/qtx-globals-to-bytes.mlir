// RUN: qtx-opt %s --qtx-globals-to-bytes | FileCheck %s

// CHECK: llvm.mlir.global private constant @shorts(dense<[1, 2, -1, -1]> : tensor<4xi8>) {addr_space = 0 : i32, alignment = 2 : i64} : !llvm.array<4 x i8>
llvm.mlir.global private constant @shorts(dense<[513, -1]> : tensor<2xi16>) {addr_space = 0 : i32} : !llvm.array<2 x i16>

// CHECK: llvm.mlir.global private constant @floats(dense<[0, 0, -128, 63, 0, 0, 0, -64]> : tensor<8xi8>) {addr_space = 0 : i32, alignment = 64 : i64} : !llvm.array<8 x i8>
llvm.mlir.global private constant @floats(dense<[[1.0], [-2.0]]> : tensor<2x1xf32>) {addr_space = 0 : i32, alignment = 64 : i64} : !llvm.array<2 x array<1 x f32>>

// The data of a resource is not copied.
// CHECK: llvm.mlir.global private constant @resource(dense_resource<weights> : tensor<8xi8>) {addr_space = 0 : i32, alignment = 4 : i64} : !llvm.array<8 x i8>
llvm.mlir.global private constant @resource(dense_resource<weights> : tensor<2xf32>) {addr_space = 0 : i32} : !llvm.array<2 x f32>

// Bytes already, packed, or one value for all.
// CHECK: @codes(dense<[1, 2]> : tensor<2xi8>) {addr_space = 0 : i32} : !llvm.array<2 x i8>
llvm.mlir.global private constant @codes(dense<[1, 2]> : tensor<2xi8>) {addr_space = 0 : i32} : !llvm.array<2 x i8>
// CHECK: @flags(dense<[true, false]> : tensor<2xi1>) {addr_space = 0 : i32} : !llvm.array<2 x i1>
llvm.mlir.global private constant @flags(dense<[true, false]> : tensor<2xi1>) {addr_space = 0 : i32} : !llvm.array<2 x i1>
// CHECK: @zeros(dense<0.000000e+00> : tensor<4xf32>) {addr_space = 0 : i32} : !llvm.array<4 x f32>
llvm.mlir.global private constant @zeros(dense<0.0> : tensor<4xf32>) {addr_space = 0 : i32} : !llvm.array<4 x f32>
// CHECK: @missing(dense_resource<missing> : tensor<2xf32>) {addr_space = 0 : i32} : !llvm.array<2 x f32>
llvm.mlir.global private constant @missing(dense_resource<missing> : tensor<2xf32>) {addr_space = 0 : i32} : !llvm.array<2 x f32>
// As many bytes are no 64-bit number.
// CHECK: @huge(dense<1> : tensor<4611686018427387904xi32>) {addr_space = 0 : i32} : !llvm.array<4611686018427387904 x i32>
llvm.mlir.global private constant @huge(dense<1> : tensor<4611686018427387904xi32>) {addr_space = 0 : i32} : !llvm.array<4611686018427387904 x i32>
// CHECK: llvm.mlir.global internal @number(5 : i64)
llvm.mlir.global internal @number(5 : i64) {addr_space = 0 : i32} : i64

{-#
  dialect_resources: {
    builtin: {
      weights: "0x040000000000803F000000C0"
    }
  }
#-}
