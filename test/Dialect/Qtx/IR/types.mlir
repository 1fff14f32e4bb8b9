// RUN: qtx-opt %s | qtx-opt | FileCheck %s
// RUN: qtx-opt %s --emit-bytecode | qtx-opt | FileCheck %s
// RUN: qtx-opt %s --mlir-print-op-generic | qtx-opt | FileCheck %s

// Unequal groups, with and without a zero point.
// CHECK-LABEL: func private @unequal(
// CHECK-SAME: tensor<4x768x!qtx.grouped<i8:f32, axis=-1, [752, 16], {5.000000e-02:-3, 8.000000e-01}>>
func.func private @unequal(
    tensor<4x768x!qtx.grouped<i8:f32, axis=-1, [752, 16], {0.05:-3, 0.8}>>)

// Equal neighbours are printed as a product, however they were written.
// CHECK-LABEL: func private @repeated(
// CHECK-SAME: tensor<12x!qtx.grouped<i8:f32, axis=-1, [2 * 3, 6], ?>>
// CHECK-SAME: tensor<12x!qtx.grouped<i8:f32, axis=-1, [2 * 3, 6], ?>>
func.func private @repeated(
    tensor<12x!qtx.grouped<i8:f32, axis=-1, [2, 2, 2, 6], ?>>,
    tensor<12x!qtx.grouped<i8:f32, axis=-1, [2 * 2, 2*1, 6], ?>>)

// One group is allowed where its parameters are run-time values.
// CHECK-LABEL: func private @one_group(
// CHECK-SAME: tensor<?x8x!qtx.grouped<i8:f32, axis=-1, [8], ?>>
func.func private @one_group(tensor<?x8x!qtx.grouped<i8:f32, axis=-1, [8], ?>>)

// Every storage type; the limits of the zero point.
// CHECK-LABEL: func private @storage(
// CHECK-SAME: !qtx.grouped<i4:f32, axis=-1, [1 * 2], {1.000000e+00:-8, 1.000000e+00:7}>
// CHECK-SAME: !qtx.grouped<u4:f32, axis=-1, [1 * 2], {1.000000e+00, 1.000000e+00:15}>
// CHECK-SAME: !qtx.grouped<u8:f32, axis=-1, [1 * 2], {1.000000e+00, 1.000000e+00:255}>
// CHECK-SAME: !qtx.grouped<i16:f32, axis=-1, [1 * 2], {1.000000e+00:-32768, 1.000000e+00:32767}>
// CHECK-SAME: !qtx.grouped<i32:f32, axis=-1, [1 * 2], {1.000000e+00:-2147483648, 1.000000e+00:2147483647}>
func.func private @storage(
    !qtx.grouped<i4:f32, axis=-1, [1, 1], {1.0:-8, 1.0:7}>,
    !qtx.grouped<u4:f32, axis=-1, [1, 1], {1.0:0, 1.0:15}>,
    !qtx.grouped<u8:f32, axis=-1, [1, 1], {1.0:0, 1.0:255}>,
    !qtx.grouped<i16:f32, axis=-1, [1, 1], {1.0:-32768, 1.0:32767}>,
    !qtx.grouped<i32:f32, axis=-1, [1, 1], {1.0:-2147483648, 1.0:2147483647}>)

// Other axes than the last one.
// CHECK-LABEL: func private @axis(
// CHECK-SAME: tensor<6x?x4x!qtx.grouped<i8:f32, axis=-3, [4, 2], ?>>
func.func private @axis(tensor<6x?x4x!qtx.grouped<i8:f32, axis=-3, [4, 2], ?>>)

// Scales survive exactly: many digits, integers too long for a short decimal, the
// largest and the smallest normal number.
// CHECK-LABEL: func private @scales(
// CHECK-SAME: {0.333333343, 0x4B7FFFFF, 3.40282347E+38, 1.17549435E-38}
func.func private @scales(
    !qtx.grouped<i8:f32, axis=-1, [1 * 4],
                 {0.33333333, 16777215.0, 3.40282347e38, 1.17549435e-38}>)
