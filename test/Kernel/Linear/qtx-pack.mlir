// RUN: qtx-opt %s -qtx-pack -split-input-file -verify-diagnostics | FileCheck %s
// RUN: not qtx-opt %s -qtx-pack -split-input-file --remark-format=emitRemark --remarks-filter="qtx.*" -o /dev/null 2>&1 | FileCheck %s --check-prefix=REMARK

#fma = #qtx.micro_kernel<"x86-avx2-fma", rows = 6, vectors = 2, block = 96>

// Outputs are innermost, 8 lanes of which 2 are outputs.
// CHECK-LABEL: func.func @float
// CHECK: %[[W:.*]] = arith.constant dense_resource<{{.*}}> : tensor<24xf32>
// CHECK: %[[INIT:.*]] = tensor.empty(%{{.*}}) : tensor<?x2xf32>
// CHECK: qtx.kernel "qtx.linear"(%{{.*}}, %[[W]]) outs(%[[INIT]]) {
// CHECK-SAME: config = #qtx.micro_kernel<"x86-avx2-fma", rows = 6, vectors = 2, block = 96>
// CHECK-SAME: operandSegmentSizes = array<i32: 1, 0, 0, 1, 0, 0, 0, 0, 0>
// CHECK-SAME: segments = array<i64: 3>
// REMARK: [Passed] Pack | Category:qtx-pack | Remark="packed for 'x86-avx2-fma'"
// CHECK: "0x400000000000803F0000804000000000000000000000000000000000000000000000000000000040
func.func @float(%x: tensor<?x3xf32>) -> tensor<?x2xf32> {
  %w = arith.constant dense<[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]> : tensor<2x3xf32>
  %y = qtx.linear %x, %w {qtx.config = #fma} : (tensor<?x3xf32>, tensor<2x3xf32>) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}

// -----

func.func @unknown(%x: tensor<?x3xf32>) -> tensor<?x2xf32> {
  %w = arith.constant dense<1.0> : tensor<2x3xf32>
  // expected-error @below {{expected a known micro-kernel, found 'abacus'}}
  %y = qtx.linear %x, %w {qtx.config = #qtx.micro_kernel<"abacus", rows = 6, vectors = 2, block = 96>}
      : (tensor<?x3xf32>, tensor<2x3xf32>) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}

// -----

// The instruction takes unsigned bytes: x + 128, and seeds -(z + 128) * sum w. The
// first segment is padded to a step. Parameters of a segment fill a vector.
// CHECK-LABEL: func.func @bytes
// CHECK: %[[X:.*]] = linalg.generic {{.*}} ins(%arg0
// CHECK: arith.xori
// CHECK-DAG: arith.constant dense_resource<[[WEIGHT:.*]]> : tensor<64xi8>
// CHECK-DAG: arith.constant dense_resource<[[SCALE:.*]]> : tensor<16xf32>
// CHECK-DAG: arith.constant dense_resource<[[SEED:.*]]> : tensor<16xi32>
// CHECK: qtx.kernel "qtx.linear"(%[[X]],
// CHECK-SAME: result_range = array<i64: -128, 127>
// CHECK-SAME: segments = array<i64: 3, 2>
// CHECK-DAG: [[WEIGHT]]: "0x40000000010203000000{{0+}}0405000000{{0+}}"
// CHECK-DAG: [[SCALE]]: "0x400000000000803E{{(00000000)+}}0000803F{{(00000000)+}}"
// CHECK-DAG: [[SEED]]: "0x40000000F4FCFFFF{{(00000000)+}}9BFBFFFF{{(00000000)+}}"
func.func @bytes(%x: tensor<?x5xi8>) -> tensor<?x1xi8> {
  %w = arith.constant dense<[[1, 2, 3, 4, 5]]> : tensor<1x5xi8>
  %s = arith.constant dense<0.5> : tensor<1xf32>
  %y = qtx.linear %x as !qtx.grouped<i8:f32, axis=-1, [3, 2], {0.5:2, 2.0:-3}>, %w scale(%s)
      to !quant.uniform<i8:f32, 0.5:1>
      {qtx.config = #qtx.micro_kernel<"x86-avx-vnni", rows = 6, vectors = 2, block = 96>}
      : (tensor<?x5xi8>, tensor<1x5xi8>, tensor<1xf32>) -> tensor<?x1xi8>
  return %y : tensor<?x1xi8>
}

// -----

// Segments that join in integers: the finest has the seed of all,
// -(4 * 2 * 6 + 3 * 9), and its scale is that of the sum.
// CHECK-LABEL: func.func @integer_join
// CHECK-DAG: arith.constant dense_resource<[[SEED:.*]]> : tensor<16xi32>
// CHECK: qtx.kernel "qtx.linear"
// CHECK-SAME: join_multipliers = array<i64: 4, 1>
// CHECK-SAME: segments = array<i64: 3, 2>
// CHECK-DAG: [[SEED]]: "0x40000000{{(00000000)+}}B5FFFFFF{{(00000000)+}}"
func.func @integer_join(%x: tensor<?x5xi8>) -> tensor<?x1xf32> {
  %w = arith.constant dense<[[1, 2, 3, 4, 5]]> : tensor<1x5xi8>
  %s = arith.constant dense<0.5> : tensor<1xf32>
  %y = qtx.linear %x as !qtx.grouped<u8:f32, axis=-1, [3, 2], {2.0:2, 0.5:3}>, %w scale(%s) integer_join
      {qtx.config = #qtx.micro_kernel<"x86-avx-vnni", rows = 6, vectors = 2, block = 96>}
      : (tensor<?x5xi8>, tensor<1x5xi8>, tensor<1xf32>) -> tensor<?x1xf32>
  return %y : tensor<?x1xf32>
}

// -----

// Nibbles make larger sums, for which an integer join has no room.
// CHECK-LABEL: func.func @integer_join_of_nibbles
// CHECK: tensor<128xi8>
// CHECK: qtx.kernel "qtx.linear"
// CHECK-NOT: nibbles
// CHECK-SAME: segments = array<i64: 8, 8>}
func.func @integer_join_of_nibbles(%x: tensor<?x16xi8>) -> tensor<?x1xf32> {
  %w = arith.constant dense<3> : tensor<1x16xi4>
  %s = arith.constant dense<0.5> : tensor<1xf32>
  %y = qtx.linear %x as !qtx.grouped<u8:f32, axis=-1, [8, 8], {0.5:2, 1.0:3}>, %w scale(%s) integer_join
      {qtx.nibbles, qtx.config = #qtx.micro_kernel<"x86-avx-vnni", rows = 6, vectors = 2, block = 96>}
      : (tensor<?x16xi8>, tensor<1x16xi4>, tensor<1xf32>) -> tensor<?x1xf32>
  return %y : tensor<?x1xf32>
}

// -----

// The input is widened once, weights as they are loaded.
// CHECK-LABEL: func.func @widened
// CHECK-DAG: arith.constant dense_resource<{{.*}}> : tensor<32xi8>
// CHECK-DAG: arith.extsi %{{.*}} : i8 to i16
// CHECK: qtx.kernel "qtx.linear"
func.func @widened(%x: tensor<?x4xi8>) -> tensor<?x1xf32> {
  %w = arith.constant dense<1> : tensor<1x4xi8>
  %s = arith.constant dense<0.5> : tensor<1xf32>
  %y = qtx.linear %x as !quant.uniform<i8:f32, 0.5>, %w scale(%s)
      {qtx.config = #qtx.micro_kernel<"x86-avx2-int16", rows = 6, vectors = 2, block = 96>}
      : (tensor<?x4xi8>, tensor<1x4xi8>, tensor<1xf32>) -> tensor<?x1xf32>
  return %y : tensor<?x1xf32>
}

// -----

// CHECK-LABEL: func.func @not_configured
// CHECK: qtx.linear
func.func @not_configured(%x: tensor<?x3xf32>, %w: tensor<2x3xf32>) -> tensor<?x2xf32> {
  %y = qtx.linear %x, %w : (tensor<?x3xf32>, tensor<2x3xf32>) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}

// -----

// Eight channels of an output are a word. Its low nibbles are one dot product of bytes,
// whose sums are 16 times as large: seeds -16 * 128 * sum w, and scales / 16.
// CHECK-LABEL: func.func @nibbles
// CHECK-DAG: arith.constant dense_resource<[[WEIGHT:.*]]> : tensor<16xi32>
// CHECK-DAG: arith.constant dense_resource<[[SCALE:.*]]> : tensor<8xf32>
// CHECK-DAG: arith.constant dense_resource<[[SEED:.*]]> : tensor<8xi32>
// CHECK: qtx.kernel "qtx.linear"
// CHECK-SAME: nibbles
// CHECK-NOT: sum_factor
// CHECK-SAME: zero_point = 128
// CHECK-DAG: [[WEIGHT]]: "0x40000000516273F4{{(00000000)+}}03000000{{(00000000)+}}"
// CHECK-DAG: [[SCALE]]: "0x400000000000803C{{(00000000)+}}"
// CHECK-DAG: [[SEED]]: "0x400000000010FFFF{{(00000000)+}}"
func.func @nibbles(%x: tensor<?x9xi8>) -> tensor<?x1xf32> {
  %w = arith.constant dense<[[1, 2, 3, 4, 5, 6, 7, -1, 3]]> : tensor<1x9xi4>
  %s = arith.constant dense<0.5> : tensor<1xf32>
  %y = qtx.linear %x as !quant.uniform<i8:f32, 0.5>, %w scale(%s)
      {qtx.config = #qtx.micro_kernel<"x86-avx-vnni", rows = 6, vectors = 2, block = 96>, qtx.nibbles}
      : (tensor<?x9xi8>, tensor<1x9xi4>, tensor<1xf32>) -> tensor<?x1xf32>
  return %y : tensor<?x1xf32>
}

// -----

// Where 16 bits add up products, nibbles are 8 larger than weights, and sums as large as others.
// CHECK-LABEL: func.func @nibbles_of_short_sums
// CHECK-DAG: arith.constant dense_resource<[[WEIGHT:.*]]> : tensor<8xi32>
// CHECK-DAG: arith.constant dense_resource<[[SCALE:.*]]> : tensor<8xf32>
// CHECK-DAG: arith.constant dense_resource<[[SEED:.*]]> : tensor<8xi32>
// CHECK: qtx.kernel "qtx.linear"
// CHECK-SAME: nibbles
// CHECK-NOT: sum_factor
// CHECK-SAME: zero_point = 128
// CHECK-DAG: [[WEIGHT]]: "0x40000000D9EAFB0C{{(88888888)+}}"
// CHECK-DAG: [[SCALE]]: "0x400000000000803E{{(00000000)+}}"
// CHECK-DAG: [[SEED]]: "0x4000000000F6FFFF{{(00000000)+}}"
func.func @nibbles_of_short_sums(%x: tensor<?x8xi8>) -> tensor<?x1xf32> {
  %w = arith.constant dense<[[1, 2, 3, 4, 5, 6, 7, -8]]> : tensor<1x8xi4>
  %s = arith.constant dense<0.5> : tensor<1xf32>
  %y = qtx.linear %x as !quant.uniform<i8:f32, 0.5>, %w scale(%s)
      {qtx.config = #qtx.micro_kernel<"x86-avx2-int8", rows = 6, vectors = 4, block = 96>, qtx.nibbles}
      : (tensor<?x8xi8>, tensor<1x8xi4>, tensor<1xf32>) -> tensor<?x1xf32>
  return %y : tensor<?x1xf32>
}

// -----

// Run-time scales cannot be divided: sums are.
// CHECK-LABEL: func.func @divided_sums
// CHECK: qtx.kernel "qtx.linear"
// CHECK-SAME: nibbles
// CHECK-SAME: sum_factor = 16
func.func @divided_sums(%x: tensor<?x8xi8>, %xs: tensor<1xf32>) -> tensor<?x1xf32> {
  %w = arith.constant dense<[[1, 2, 3, 4, 5, 6, 7, -8]]> : tensor<1x8xi4>
  %s = arith.constant dense<0.5> : tensor<1xf32>
  %y = qtx.linear %x scale(%xs) as !qtx.grouped<i8:f32, axis=-1, [8], ?>, %w scale(%s)
      {qtx.config = #qtx.micro_kernel<"x86-avx-vnni", rows = 6, vectors = 2, block = 96>, qtx.nibbles}
      : (tensor<?x8xi8>, tensor<1xf32>, tensor<1x8xi4>, tensor<1xf32>) -> tensor<?x1xf32>
  return %y : tensor<?x1xf32>
}

// -----

// Registers hold words of 16 bits for these products, which nothing makes of nibbles.
// CHECK-LABEL: func.func @words
// CHECK: qtx.kernel "qtx.linear"
// CHECK-NOT: nibbles
// CHECK: return
func.func @words(%x: tensor<?x8xi8>) -> tensor<?x1xf32> {
  %w = arith.constant dense<[[1, 2, 3, 4, 5, 6, 7, -8]]> : tensor<1x8xi4>
  %s = arith.constant dense<0.5> : tensor<1xf32>
  %y = qtx.linear %x as !quant.uniform<i8:f32, 0.5>, %w scale(%s)
      {qtx.config = #qtx.micro_kernel<"x86-avx2-int16", rows = 6, vectors = 2, block = 96>, qtx.nibbles}
      : (tensor<?x8xi8>, tensor<1x8xi4>, tensor<1xf32>) -> tensor<?x1xf32>
  return %y : tensor<?x1xf32>
}
