// RUN: qtx-opt %s --split-input-file --verify-diagnostics --qtx-convert-quant-types | FileCheck %s
// RUN: not qtx-opt %s --split-input-file --qtx-convert-quant-types --remark-format=emitRemark --remarks-filter="qtx.*" -o /dev/null 2>&1 | FileCheck %s --check-prefix=REMARK

// One scale per channel.
// CHECK-LABEL: func @per_axis(
// CHECK-SAME: %[[X:.*]]: tensor<?x2xf32>
// CHECK: %[[Q:.*]] = qtx.quantize %[[X]] : tensor<?x2xf32> -> tensor<?x2x!qtx.grouped<i8:f32, axis=-1, [1 * 2], {5.000000e-01:1, 2.000000e+00}>>
// CHECK: %[[Y:.*]] = qtx.dequantize %[[Q]] : tensor<?x2x!qtx.grouped<{{.*}}>> -> tensor<?x2xf32>
// REMARK: remark: [Passed] ConvertQuantTypes | Category:qtx-convert-quant-types{{.*}} | Remark="becomes qtx.quantize"
// REMARK: Remark="becomes qtx.dequantize"
func.func @per_axis(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %q = quant.qcast %x : tensor<?x2xf32> to tensor<?x2x!quant.uniform<i8:f32:1, {0.5:1, 2.0}>>
  %y = quant.dcast %q : tensor<?x2x!quant.uniform<i8:f32:1, {0.5:1, 2.0}>> to tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}

// -----

// Blocks along one dimension; a dimension that is one block does not count.
// CHECK-LABEL: func @sub_channel(
// CHECK-SAME: tensor<4x6x!qtx.grouped<i8:f32, axis=-1, [2 * 3], {1.000000e+00, 2.000000e+00:3, 3.000000e+00}>>
// CHECK-SAME: tensor<4x6x!qtx.grouped<i8:f32, axis=-2, [2 * 2], {1.000000e+00, 2.000000e+00}>>
// CHECK-SAME: tensor<4x6x!quant.uniform<i8:f32, 5.000000e-01:7>>
func.func @sub_channel(%a: tensor<4x6x!quant.uniform<i8:f32:{0:4, 1:2}, {{1.0, 2.0:3, 3.0}}>>,
                       %b: tensor<4x6x!quant.uniform<i8:f32:{0:2}, {{1.0}, {2.0}}>>,
                       %c: tensor<4x6x!quant.uniform<i8:f32:{1:6}, {{0.5:7}}>>) {
  return
}

// -----

// Unsigned storage moves down by 128; the integers take part.
// CHECK-LABEL: func @unsigned(
// CHECK-SAME: %[[I:.*]]: tensor<4xi8>
// CHECK: %[[C:.*]] = arith.constant dense<-128> : tensor<4xi8>
// CHECK: %[[J:.*]] = arith.subi %[[I]], %[[C]] : tensor<4xi8>
// CHECK: %[[Q:.*]] = quant.scast %[[J]] : tensor<4xi8> to tensor<4x!quant.uniform<i8:f32, 5.000000e-01>>
// CHECK: %[[D:.*]] = quant.scast %[[Q]] : tensor<4x!quant.uniform<i8:f32, 5.000000e-01>> to tensor<4xi8>
// CHECK: %[[C:.*]] = arith.constant dense<-128> : tensor<4xi8>
// CHECK: %[[R:.*]] = arith.addi %[[D]], %[[C]] : tensor<4xi8>
// CHECK: return %[[R]]
// REMARK: Remark="subtracts half the range from unsigned storage"
// REMARK: Remark="adds half the range to signed storage"
func.func @unsigned(%i: tensor<4xi8>) -> tensor<4xi8> {
  %q = quant.scast %i : tensor<4xi8> to tensor<4x!quant.uniform<u8:f32, 0.5:128>>
  %j = quant.scast %q : tensor<4x!quant.uniform<u8:f32, 0.5:128>> to tensor<4xi8>
  return %j : tensor<4xi8>
}

// -----

// CHECK-LABEL: func @unsigned_groups(
// CHECK-SAME: %[[I:.*]]: tensor<?x2xi4>
// CHECK: %[[H:.*]] = arith.constant -8 : i4
// CHECK: %[[S:.*]] = tensor.splat %[[H]][%{{.*}}] : tensor<?x2xi4>
// CHECK: %[[J:.*]] = arith.subi %[[I]], %[[S]]
// CHECK: %[[Q:.*]] = builtin.unrealized_conversion_cast %[[J]] : tensor<?x2xi4> to tensor<?x2x!qtx.grouped<i4:f32, axis=-1, [1 * 2], {5.000000e-01:-8, 2.000000e+00:7}>>
// CHECK: qtx.dequantize %[[Q]]
func.func @unsigned_groups(%i: tensor<?x2xi4>) -> tensor<?x2xf32> {
  %q = quant.scast %i : tensor<?x2xi4> to tensor<?x2x!quant.uniform<u4:f32:1, {0.5, 2.0:15}>>
  %x = quant.dcast %q : tensor<?x2x!quant.uniform<u4:f32:1, {0.5, 2.0:15}>> to tensor<?x2xf32>
  return %x : tensor<?x2xf32>
}

// -----

// Functions hold signed integers afterwards, as do the operations of qtx; the
// storage range moves with them.
// CHECK-LABEL: func @callee(%{{.*}}: tensor<2x!quant.uniform<i8<-128:72>:f32, 5.000000e-01:-125>>) -> tensor<2x!qtx.grouped<i8:f32, axis=-1, [1 * 2], {5.000000e-01, 1.000000e+00:-128}>>
// CHECK: qtx.requantize %{{.*}} : (tensor<2x!quant.uniform<i8<-128:72>:f32, 5.000000e-01:-125>>) -> tensor<2x!qtx.grouped<i8:f32
// REMARK: Remark="takes and returns signed integers for unsigned ones"
func.func @callee(%x: tensor<2x!quant.uniform<u8<0:200>:f32, 0.5:3>>) -> tensor<2x!qtx.grouped<u8:f32, axis=-1, [1, 1], {0.5:128, 1.0}>> {
  %y = qtx.requantize %x : (tensor<2x!quant.uniform<u8<0:200>:f32, 0.5:3>>) -> tensor<2x!qtx.grouped<u8:f32, axis=-1, [1, 1], {0.5:128, 1.0}>>
  return %y : tensor<2x!qtx.grouped<u8:f32, axis=-1, [1, 1], {0.5:128, 1.0}>>
}
// CHECK-LABEL: func @caller(
// CHECK: call @callee(%{{.*}}) : (tensor<2x!quant.uniform<i8<-128:72>{{.*}}>) -> tensor<2x!qtx.grouped<i8
func.func @caller(%x: tensor<2x!quant.uniform<u8<0:200>:f32, 0.5:3>>) {
  %y = call @callee(%x) : (tensor<2x!quant.uniform<u8<0:200>:f32, 0.5:3>>) -> tensor<2x!qtx.grouped<u8:f32, axis=-1, [1, 1], {0.5:128, 1.0}>>
  return
}

// -----

// Storage form says what it says.
// CHECK-LABEL: func @storage_form(
// CHECK: qtx.dequantize %{{.*}} as !quant.uniform<u8:f32, 5.000000e-01:128>
// REMARK: remark: [Missed] {{.*}} Reason="keeps unsigned storage in storage form"
func.func @storage_form(%q: tensor<2xi8>) -> tensor<2xf32> {
  %x = qtx.dequantize %q as !quant.uniform<u8:f32, 0.5:128> : tensor<2xi8> -> tensor<2xf32>
  return %x : tensor<2xf32>
}

// -----

// A narrow range of weights is dropped where nothing saturates to it.
// CHECK-LABEL: func @narrow(
// CHECK-SAME: tensor<2x!qtx.grouped<i8:f32, axis=-1, [1 * 2], {5.000000e-01, 1.000000e+00}>>
func.func @narrow(%w: tensor<2x!quant.uniform<i8<-127:127>:f32:0, {0.5, 1.0}>>) {
  return
}

// -----

func.func @narrow_saturates(%x: tensor<2xf32>) {
  // expected-error@+1 {{'quant.qcast' op cannot be converted: expected the whole storage range of 'tensor<2x!quant.uniform<i8<-127:127>:f32:0, {5.000000e-01,1.000000e+00}>>' to quantize to}}
  %q = quant.qcast %x : tensor<2xf32> to tensor<2x!quant.uniform<i8<-127:127>:f32:0, {0.5, 1.0}>>
  return
}

// -----

// expected-error@+1 {{cannot convert the quantized type of '(tensor<?x!quant.uniform<i8:f32:0, {5.000000e-01,1.000000e+00}>>) -> ()': its dimension has no static size equal to its scales}}
func.func @dynamic_axis(%w: tensor<?x!quant.uniform<i8:f32:0, {0.5, 1.0}>>) {
  return
}

// -----

// expected-error@+1 {{it has blocks along several dimensions}}
func.func @two_axes(%w: tensor<4x4x!quant.uniform<i8:f32:{0:2, 1:2}, {{0.5, 1.0}, {1.0, 2.0}}>>) {
  return
}

// -----

// expected-error@+1 {{its dimension has no static size that the blocks divide}}
func.func @dynamic_blocks(%w: tensor<2x?x!quant.uniform<i8:f32:{1:2}, {{0.5, 1.0}}>>) {
  return
}

// -----

// expected-error@+1 {{its scales have another rank than the tensor}}
func.func @blocks_rank(%w: tensor<4x!quant.uniform<i8:f32:{1:2}, {{0.5, 1.0}}>>) {
  return
}

// -----

// expected-error@+1 {{its expressed type is not f32}}
func.func @expressed(%w: tensor<2x!quant.uniform<i8:f64:0, {0.5, 1.0}>>) {
  return
}

// -----

// expected-error@+1 {{its storage width is not 4, 8, 16 or 32 bits}}
func.func @width(%w: tensor<2x!quant.uniform<i7:f32:0, {0.5, 1.0}>>) {
  return
}

// -----

// expected-error@+1 {{a scale is not a positive, finite, normal f32 number}}
func.func @scale(%w: tensor<2x!quant.uniform<i8:f32:0, {1.0e-40, 1.0}>>) {
  return
}

// -----

// expected-error@+1 {{a zero point is outside the storage range}}
func.func @zero_point(%w: tensor<2x!quant.uniform<i8:f32:0, {0.5:300, 1.0}>>) {
  return
}

// -----

// expected-error@+1 {{unsigned run-time zero points are not known}}
func.func @run_time(%w: tensor<2x!qtx.grouped<u8:f32, axis=-1, [1, 1], ?>>) {
  return
}

// -----

// expected-error@+1 {{'func.func' op cannot be converted: expected a body, since '(tensor<2x!quant.uniform<u8:f32, 5.000000e-01>>) -> ()' would change}}
func.func private @external(tensor<2x!quant.uniform<u8:f32, 0.5>>)

// -----

func.func @other(%w: tensor<2x2x!quant.uniform<u8:f32, 0.5>>) {
  // expected-error@+1 {{'tensor.extract_slice' op cannot be converted: expected a function, a call, control flow, a cast or a qtx operation to use 'tensor<2x2x!quant.uniform<u8:f32, 5.000000e-01>>'}}
  %s = tensor.extract_slice %w[0, 0] [1, 2] [1, 1] : tensor<2x2x!quant.uniform<u8:f32, 0.5>> to tensor<1x2x!quant.uniform<u8:f32, 0.5>>
  return
}
