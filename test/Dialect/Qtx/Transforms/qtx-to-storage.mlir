// RUN: qtx-opt %s -split-input-file -qtx-to-storage -verify-diagnostics | FileCheck %s
// RUN: qtx-opt %s -split-input-file -verify-diagnostics -pass-pipeline="builtin.module(qtx-to-storage,qtx-verify-storage-form)"
// RUN: not qtx-opt %s -split-input-file -qtx-to-storage --remark-format=emitRemark --remarks-filter="qtx.*" 2>&1 | FileCheck %s --check-prefix=REMARK

// REMARK: remark: [Passed] ToStorage | Category:qtx-to-storage | Remark="moved 5 quantized type(s) into attributes"

!u = !quant.uniform<i8:f32, 0.5:3>
!g = !qtx.grouped<i8:f32, axis=-1, [6, 2], {0.02:3, 0.5}>
!run = !qtx.grouped<i8:f32, axis=-1, [6, 2], ?>

// CHECK-LABEL: func.func @signature
// CHECK-SAME: (%[[X:.*]]: tensor<?x8xi8> {test.name = "x"}) -> (tensor<?x8xi8> {test.name = "y"})
// CHECK: %[[F:.*]] = qtx.dequantize %[[X]] as !qtx.grouped<i8:f32, axis=-1, [6, 2], {2.000000e-02:3, 5.000000e-01}> : tensor<?x8xi8> -> tensor<?x8xf32>
// CHECK: %[[Q:.*]] = qtx.quantize %[[F]] to !quant.uniform<i8:f32, 5.000000e-01:3> : tensor<?x8xf32> -> tensor<?x8xi8>
// CHECK: return %[[Q]] : tensor<?x8xi8>
func.func @signature(%x: tensor<?x8x!g> {test.name = "x"}) -> (tensor<?x8x!u> {test.name = "y"}) {
  %f = qtx.dequantize %x : tensor<?x8x!g> -> tensor<?x8xf32>
  %q = qtx.quantize %f : tensor<?x8xf32> -> tensor<?x8x!u>
  return %q : tensor<?x8x!u>
}

// Run-time parameters stay operands; only the type moves.
// CHECK-LABEL: func.func @run_time_parameters
// CHECK: qtx.quantize %{{.*}} scale(%{{.*}} : tensor<2xf32>) zero_point(%{{.*}} : tensor<2xi32>) to !qtx.grouped<i8:f32, axis=-1, [6, 2], ?> : tensor<4x8xf32> -> tensor<4x8xi8>
// CHECK: qtx.dequantize %{{.*}} scale(%{{.*}} : tensor<2xf32>) zero_point(%{{.*}} : tensor<2xi32>) as !qtx.grouped<i8:f32, axis=-1, [6, 2], ?> : tensor<4x8xi8> -> tensor<4x8xf32>
func.func @run_time_parameters(%x: tensor<4x8xf32>, %s: tensor<2xf32>, %z: tensor<2xi32>) -> tensor<4x8xf32> {
  %q = qtx.quantize %x scale(%s : tensor<2xf32>) zero_point(%z : tensor<2xi32>) : tensor<4x8xf32> -> tensor<4x8x!run>
  %f = qtx.dequantize %q scale(%s : tensor<2xf32>) zero_point(%z : tensor<2xi32>) : tensor<4x8x!run> -> tensor<4x8xf32>
  return %f : tensor<4x8xf32>
}

// An edge that is in storage form already keeps its attribute.
// CHECK-LABEL: func.func @mixed
// CHECK: qtx.linear %{{.*}} as !quant.uniform<i8:f32, 5.000000e-01:3>, %{{.*}} scale(%{{.*}}) to !qtx.grouped<i8:f32, axis=-1, [6, 2], {2.000000e-02:3, 5.000000e-01}>
// CHECK-SAME: -> tensor<?x8xi8>
func.func @mixed(%x: tensor<?x4xi8>, %w: tensor<8x4xi8>, %s: tensor<1xf32>) -> tensor<?x8x!g> {
  %y = qtx.linear %x as !u, %w scale(%s)
      : (tensor<?x4xi8>, tensor<8x4xi8>, tensor<1xf32>) -> tensor<?x8x!g>
  return %y : tensor<?x8x!g>
}

// CHECK-LABEL: func.func private @external(tensor<?x8xi8>) -> tensor<?x8xi8>
func.func private @external(tensor<?x8x!g>) -> tensor<?x8x!u>

// CHECK-LABEL: func.func @calls
// CHECK: call @external(%{{.*}}) : (tensor<?x8xi8>) -> tensor<?x8xi8>
// CHECK: constant @external : (tensor<?x8xi8>) -> tensor<?x8xi8>
// CHECK: call_indirect %{{.*}}(%{{.*}}) : (tensor<?x8xi8>) -> tensor<?x8xi8>
func.func @calls(%x: tensor<?x8x!g>) -> (tensor<?x8x!u>, tensor<?x8x!u>) {
  %a = call @external(%x) : (tensor<?x8x!g>) -> tensor<?x8x!u>
  %f = constant @external : (tensor<?x8x!g>) -> tensor<?x8x!u>
  %b = call_indirect %f(%x) : (tensor<?x8x!g>) -> tensor<?x8x!u>
  return %a, %b : tensor<?x8x!u>, tensor<?x8x!u>
}

// CHECK-LABEL: func.func @control_flow
// CHECK: scf.if %{{.*}} -> (tensor<?x8xi8>)
// CHECK: scf.for {{.*}} -> (tensor<?x8xi8>)
// CHECK: cf.cond_br %{{.*}}, ^bb1(%{{.*}} : tensor<?x8xi8>), ^bb1(%{{.*}} : tensor<?x8xi8>)
// CHECK: ^bb1(%{{.*}}: tensor<?x8xi8>):
// CHECK: arith.select %{{.*}}, %{{.*}}, %{{.*}} : tensor<?x8xi8>
func.func @control_flow(%x: tensor<?x8x!g>, %p: i1, %n: index) -> tensor<?x8x!g> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %a = scf.if %p -> tensor<?x8x!g> {
    scf.yield %x : tensor<?x8x!g>
  } else {
    scf.yield %x : tensor<?x8x!g>
  }
  %b = scf.for %i = %c0 to %n step %c1 iter_args(%v = %a) -> tensor<?x8x!g> {
    scf.yield %v : tensor<?x8x!g>
  }
  cf.cond_br %p, ^bb1(%a : tensor<?x8x!g>), ^bb1(%b : tensor<?x8x!g>)
^bb1(%c: tensor<?x8x!g>):
  %d = arith.select %p, %c, %a : tensor<?x8x!g>
  return %d : tensor<?x8x!g>
}

// The axis of the groups counts from the end, so the leading dimensions may
// change.
// CHECK-LABEL: func.func @shapes
// CHECK: tensor.cast %{{.*}} : tensor<2x3x8xi8> to tensor<?x3x8xi8>
// CHECK: tensor.dim %{{.*}}, %{{.*}} : tensor<?x3x8xi8>
// CHECK: tensor.collapse_shape %{{.*}} {{\[}}[0, 1], [2]] : tensor<?x3x8xi8> into tensor<?x8xi8>
// CHECK: tensor.expand_shape %{{.*}} {{\[}}[0, 1], [2]] output_shape [%{{.*}}, 3, 8] : tensor<?x8xi8> into tensor<?x3x8xi8>
// CHECK: tensor.empty() : tensor<8xi8>
func.func @shapes(%x: tensor<2x3x8x!g>) -> (tensor<?x3x8x!g>, tensor<8x!g>) {
  %c0 = arith.constant 0 : index
  %a = tensor.cast %x : tensor<2x3x8x!g> to tensor<?x3x8x!g>
  %n = tensor.dim %a, %c0 : tensor<?x3x8x!g>
  %b = tensor.collapse_shape %a [[0, 1], [2]] : tensor<?x3x8x!g> into tensor<?x8x!g>
  %c = tensor.expand_shape %b [[0, 1], [2]] output_shape [%n, 3, 8] : tensor<?x8x!g> into tensor<?x3x8x!g>
  %e = tensor.empty() : tensor<8x!g>
  return %c, %e : tensor<?x3x8x!g>, tensor<8x!g>
}

// CHECK-LABEL: func.func @permute
// CHECK: qtx.permute %{{.*}} by %{{.*}} : (tensor<?x8xi8>, tensor<8xi32>) -> tensor<?x8xi8>
func.func @permute(%x: tensor<?x8x!g>) -> tensor<?x8x!qtx.grouped<i8:f32, axis=-1, [2, 6], {0.5, 0.02:3}>> {
  %p = arith.constant dense<[6, 7, 0, 1, 2, 3, 4, 5]> : tensor<8xi32>
  %y = qtx.permute %x by %p : (tensor<?x8x!g>, tensor<8xi32>)
      -> tensor<?x8x!qtx.grouped<i8:f32, axis=-1, [2, 6], {0.5, 0.02:3}>>
  return %y : tensor<?x8x!qtx.grouped<i8:f32, axis=-1, [2, 6], {0.5, 0.02:3}>>
}

// CHECK-LABEL: func.func @constants
// CHECK-DAG: %[[A:.*]] = arith.constant dense_resource<codes> : tensor<2xi8>
// CHECK-DAG: %[[B:.*]] = arith.constant dense<[1, -1]> : tensor<2xi8>
// CHECK-NOT: quant.scast
// CHECK: return %[[A]], %[[B]] : tensor<2xi8>, tensor<2xi8>
func.func @constants() -> (tensor<2x!u>, tensor<2x!u>) {
  %a = arith.constant dense_resource<codes> : tensor<2x!u>
  %b = arith.constant dense<[1, -1]> : tensor<2xi8>
  %c = quant.scast %b : tensor<2xi8> to tensor<2x!u>
  return %a, %c : tensor<2x!u>, tensor<2x!u>
}

{-# dialect_resources: { builtin: { codes: "0x010000000102" } } #-}

// -----

!g = !qtx.grouped<i8:f32, axis=-1, [6, 2], {0.02:3, 0.5}>

func.func @slice(%x: tensor<4x8x!g>) -> tensor<4x6x!g> {
  // expected-error @+1 {{'tensor.extract_slice' op has no storage form: expected a qtx operation, a function, a call or control flow to use 'tensor<4x8x!qtx.grouped<i8:f32, axis=-1, [6, 2], {2.000000e-02:3, 5.000000e-01}>>'}}
  %y = tensor.extract_slice %x[0, 0] [4, 6] [1, 1] : tensor<4x8x!g> to tensor<4x6x!g>
  return %y : tensor<4x6x!g>
}

// -----

!g = !qtx.grouped<i8:f32, axis=-1, [6, 2], {0.02:3, 0.5}>

func.func @collapse_groups(%x: tensor<4x8x!g>) -> tensor<32x!g> {
  // expected-error @+1 {{'tensor.collapse_shape' op has no storage form}}
  %y = tensor.collapse_shape %x [[0, 1]] : tensor<4x8x!g> into tensor<32x!g>
  return %y : tensor<32x!g>
}

// -----

!axis = !quant.uniform<i8:f32:0, {1.0, 2.0}>

// expected-error @+1 {{'func.func' op has no storage form: expected quantized types only as '!quant.uniform' or '!qtx.grouped' elements of ranked tensors, found '(tensor<2x!quant.uniform<i8:f32:0, {1.000000e+00,2.000000e+00}>>) -> ()'}}
func.func private @per_axis(tensor<2x!axis>)

// -----

!u = !quant.uniform<i8:f32, 0.5:3>

// expected-error @+1 {{'func.func' op has no storage form: expected quantized types only as}}
func.func private @unranked(tensor<*x!u>)

// -----

// A permutation moves storage integers, whatever they mean.
// CHECK-LABEL: func.func @permute
// CHECK: qtx.permute %{{.*}} by %{{.*}} : (tensor<?x3xi8>, tensor<3xi32>) -> tensor<?x3xi8>
func.func @permute(%x: tensor<?x3x!qtx.grouped<i8:f32, axis=-1, [2, 1], {0.5, 2.0}>>)
    -> tensor<?x3x!qtx.grouped<i8:f32, axis=-1, [1, 2], {2.0, 0.5}>> {
  %p = arith.constant dense<[2, 0, 1]> : tensor<3xi32>
  %y = qtx.permute %x by %p : (tensor<?x3x!qtx.grouped<i8:f32, axis=-1, [2, 1], {0.5, 2.0}>>, tensor<3xi32>)
      -> tensor<?x3x!qtx.grouped<i8:f32, axis=-1, [1, 2], {2.0, 0.5}>>
  return %y : tensor<?x3x!qtx.grouped<i8:f32, axis=-1, [1, 2], {2.0, 0.5}>>
}

// -----

// Casts between a tensor and its storage disappear.
// CHECK-LABEL: func.func @storage_casts
// CHECK-SAME: %[[X:.*]]: tensor<3xi8>
// CHECK-NEXT: return %[[X]] : tensor<3xi8>
func.func @storage_casts(%x: tensor<3xi8>) -> tensor<3x!qtx.grouped<i8:f32, axis=-1, [2, 1], {0.5, 2.0}>> {
  %a = quant.scast %x : tensor<3xi8> to tensor<3x!quant.uniform<i8:f32, 0.5>>
  %b = quant.scast %a : tensor<3x!quant.uniform<i8:f32, 0.5>> to tensor<3xi8>
  %c = builtin.unrealized_conversion_cast %b : tensor<3xi8> to tensor<3x!qtx.grouped<i8:f32, axis=-1, [2, 1], {0.5, 2.0}>>
  return %c : tensor<3x!qtx.grouped<i8:f32, axis=-1, [2, 1], {0.5, 2.0}>>
}
