// RUN: qtx-opt %s -qtx-configure -split-input-file -verify-diagnostics

module attributes {llvm.target = #llvm.target<triple = "x86_64-unknown-linux-gnu", chip = "x86-64", features = <["+avx2", "+fma"]>>} {
func.func @main(%x: tensor<?x4xf32>) -> tensor<?x2xf32> {
  %w = arith.constant dense<1.0> : tensor<2x4xf32>
  // expected-error@+1 {{expected a micro-kernel that the target has and that takes the operation, found 'x86-no-such'}}
  %y = qtx.linear %x, %w {qtx.config = #qtx.micro_kernel<"x86-no-such", rows = 6, vectors = 2, block = 6>} : (tensor<?x4xf32>, tensor<2x4xf32>) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}
}

// -----

module attributes {llvm.target = #llvm.target<triple = "x86_64-unknown-linux-gnu", chip = "x86-64", features = <["+avx2", "+fma"]>>} {
func.func @main(%x: tensor<?x4xf32>) -> tensor<?x2xf32> {
  %w = arith.constant dense<1.0> : tensor<2x4xf32>
  // expected-error@+1 {{expected a micro-kernel that the target has and that takes the operation, found 'x86-avx512-fma'}}
  %y = qtx.linear %x, %w {qtx.config = #qtx.micro_kernel<"x86-avx512-fma", rows = 6, vectors = 2, block = 6>} : (tensor<?x4xf32>, tensor<2x4xf32>) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}
}

// -----

module attributes {llvm.target = #llvm.target<triple = "x86_64-unknown-linux-gnu", chip = "x86-64", features = <["+avx2", "+fma"]>>} {
func.func @main(%x: tensor<?x4xf32>) -> tensor<?x2xf32> {
  %w = arith.constant dense<1.0> : tensor<2x4xf32>
  // expected-error@+1 {{expected a micro-kernel that the target has and that takes the operation, found 'x86-avx2-int16'}}
  %y = qtx.linear %x, %w {qtx.config = #qtx.micro_kernel<"x86-avx2-int16", rows = 6, vectors = 2, block = 6>} : (tensor<?x4xf32>, tensor<2x4xf32>) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}
}

// -----

module attributes {llvm.target = #llvm.target<triple = "x86_64-unknown-linux-gnu", chip = "x86-64", features = <["+avx2", "+fma"]>>} {
func.func @main(%x: tensor<?x4xf32>) -> tensor<?x2xf32> {
  %w = arith.constant dense<1.0> : tensor<2x4xf32>
  // expected-error@+1 {{expected a tile that 'x86-avx2-fma' has registers for, found 6 x 3 in blocks of 6}}
  %y = qtx.linear %x, %w {qtx.config = #qtx.micro_kernel<"x86-avx2-fma", rows = 6, vectors = 3, block = 6>} : (tensor<?x4xf32>, tensor<2x4xf32>) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}
}

// -----

module attributes {llvm.target = #llvm.target<triple = "x86_64-unknown-linux-gnu", chip = "x86-64", features = <["+avx2", "+fma"]>>} {
func.func @main(%x: tensor<?x4xf32>) -> tensor<?x2xf32> {
  %w = arith.constant dense<1.0> : tensor<2x4xf32>
  // expected-error@+1 {{expected a tile that 'x86-avx2-fma' has registers for, found 6 x 2 in blocks of 0}}
  %y = qtx.linear %x, %w {qtx.config = #qtx.micro_kernel<"x86-avx2-fma", rows = 6, vectors = 2, block = 0>} : (tensor<?x4xf32>, tensor<2x4xf32>) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}
}

// -----

module attributes {llvm.target = #llvm.target<triple = "x86_64-unknown-linux-gnu", chip = "x86-64", features = <["+avx2", "+fma"]>>} {
func.func @main(%x: tensor<?x4xf32>) -> tensor<?x2xf32> {
  %w = arith.constant dense<1.0> : tensor<2x4xf32>
  // expected-error@+1 {{expected spans of panels that are not negative, found -1}}
  %y = qtx.linear %x, %w {qtx.config = #qtx.micro_kernel<"x86-avx2-fma", rows = 6, vectors = 2, block = 6, panels = -1>} : (tensor<?x4xf32>, tensor<2x4xf32>) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}
}

// -----

module attributes {llvm.target = #llvm.target<triple = "x86_64-unknown-linux-gnu", chip = "x86-64", features = <["+avx2"]>>} {
func.func @main(%x: tensor<?x4xi8>) -> tensor<?x2xf32> {
  // Two products do not fit 16 bits.
  %w = arith.constant dense<65> : tensor<2x4xi8>
  %s = arith.constant dense<1.0> : tensor<1xf32>
  // expected-error@+1 {{expected a micro-kernel that the target has and that takes the operation, found 'x86-avx2-int8'}}
  %y = qtx.linear %x as !quant.uniform<i8:f32, 0.5>, %w scale(%s) {qtx.config = #qtx.micro_kernel<"x86-avx2-int8", rows = 4, vectors = 2, block = 4>} : (tensor<?x4xi8>, tensor<2x4xi8>, tensor<1xf32>) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}
}
