# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The reference lowering gives the same bits on AArch64 as on this machine.

That holds for exact operations by definition (docs/Numerics.md, "Exact and bounded
results"), and for the others because the reference computes elementary functions
and sums in a fixed order of IEEE operations.
"""

import aarch64
import numpy as np
import pytest
import qtx

pytestmark = pytest.mark.skipif(
    bool(aarch64.missing_tools()), reason=f"not installed: {', '.join(aarch64.missing_tools())}")

GROUPED = "!qtx.grouped<i8:f32, axis=-1, [5, 1, 2], {0.02:3, 0.5:-128, 0.007}>"
OUT = "!quant.uniform<i8:f32, 0.11:-5>"

IR = f"""
func.func @quantize(%x: tensor<?x8xf32>) -> (tensor<?x8xi8>, tensor<?x8xi8>) {{
  %a = qtx.quantize %x to {GROUPED} : tensor<?x8xf32> -> tensor<?x8xi8>
  %b = qtx.quantize %x to {OUT} : tensor<?x8xf32> -> tensor<?x8xi8>
  return %a, %b : tensor<?x8xi8>, tensor<?x8xi8>
}}
func.func @dequantize(%q: tensor<?x8xi8>) -> tensor<?x8xf32> {{
  %x = qtx.dequantize %q as {GROUPED} : tensor<?x8xi8> -> tensor<?x8xf32>
  return %x : tensor<?x8xf32>
}}
func.func @requantize(%q: tensor<?x8xi8>) -> tensor<?x8xi8> {{
  %y = qtx.requantize %q as {GROUPED} to {OUT} : (tensor<?x8xi8>) -> tensor<?x8xi8>
  return %y : tensor<?x8xi8>
}}
func.func @wide(%q: tensor<?x8xi32>, %s: tensor<8xf32>, %x: tensor<?x8xf32>)
    -> (tensor<?x8xi8>, tensor<?x8xi32>) {{
  %y = qtx.requantize %q scale(%s) as !qtx.grouped<i32:f32, axis=-1, [1 * 8], ?> to {OUT}
      : (tensor<?x8xi32>, tensor<8xf32>) -> tensor<?x8xi8>
  %z = qtx.quantize %x to !quant.uniform<i32:f32, 0.00001:7> : tensor<?x8xf32> -> tensor<?x8xi32>
  return %y, %z : tensor<?x8xi8>, tensor<?x8xi32>
}}
func.func @observe(%x: tensor<?x8xf32>, %lo: tensor<8xf32>, %hi: tensor<8xf32>, %m: tensor<?xi1>)
    -> (tensor<8xf32>, tensor<8xf32>) {{
  %a, %b = qtx.observe %x, %lo, %hi mask(%m) observer running momentum 0.9
      : (tensor<?x8xf32>, tensor<8xf32>, tensor<8xf32>, tensor<?xi1>) -> (tensor<8xf32>, tensor<8xf32>)
  return %a, %b : tensor<8xf32>, tensor<8xf32>
}}
func.func @batch_matmul(%a: tensor<2x?x8xi8>, %b: tensor<2x8x5xi8>, %c: tensor<2x5x8xf32>)
    -> (tensor<2x?x5xf32>, tensor<2x?x5xf32>) {{
  %y = qtx.batch_matmul %a as {GROUPED}, %b as !qtx.grouped<i8:f32, axis=-3, [1, 1], {{0.5:9, 0.3}}>
      : (tensor<2x?x8xi8>, tensor<2x8x5xi8>) -> tensor<2x?x5xf32>
  %f = qtx.dequantize %a as {GROUPED} : tensor<2x?x8xi8> -> tensor<2x?x8xf32>
  %z = qtx.batch_matmul %f, %c transpose_b : (tensor<2x?x8xf32>, tensor<2x5x8xf32>) -> tensor<2x?x5xf32>
  return %y, %z : tensor<2x?x5xf32>, tensor<2x?x5xf32>
}}
func.func @dynamic_quantize(%x: tensor<?x8xf32>)
    -> (tensor<?x8xi8>, tensor<?x2xf32>, tensor<?x2xi32>) {{
  %q, %s, %z = qtx.dynamic_quantize %x to !qtx.grouped<i8:f32, axis=-1, [6, 2], ?>
      : (tensor<?x8xf32>) -> (tensor<?x8xi8>, tensor<?x2xf32>, tensor<?x2xi32>)
  return %q, %s, %z : tensor<?x8xi8>, tensor<?x2xf32>, tensor<?x2xi32>
}}
func.func @permute(%x: tensor<?x8xi8>, %i: tensor<8xi32>) -> tensor<?x8xi8> {{
  %y = qtx.permute %x by %i : (tensor<?x8xi8>, tensor<8xi32>) -> tensor<?x8xi8>
  return %y : tensor<?x8xi8>
}}
func.func @linear(%x: tensor<?x8xi8>, %w: tensor<4x8xi8>, %s: tensor<4xf32>, %b: tensor<4xf32>)
    -> (tensor<?x4xf32>, tensor<?x4xi8>) {{
  %y = qtx.linear %x as {GROUPED}, %w scale(%s) bias(%b)
      : (tensor<?x8xi8>, tensor<4x8xi8>, tensor<4xf32>, tensor<4xf32>) -> tensor<?x4xf32>
  %q = qtx.linear %x as {GROUPED}, %w scale(%s) bias(%b) activation relu to {OUT}
      : (tensor<?x8xi8>, tensor<4x8xi8>, tensor<4xf32>, tensor<4xf32>) -> tensor<?x4xi8>
  return %y, %q : tensor<?x4xf32>, tensor<?x4xi8>
}}
func.func @linear_i4(%x: tensor<?x8xi8>, %w: tensor<4x8xi4>, %s: tensor<4x2xf32>)
    -> tensor<?x4xf32> {{
  %y = qtx.linear %x as {OUT}, %w scale(%s) block 4
      : (tensor<?x8xi8>, tensor<4x8xi4>, tensor<4x2xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}}
func.func @linear_float(%x: tensor<?x8xf32>, %w: tensor<4x8xf32>) -> tensor<?x4xf32> {{
  %y = qtx.linear %x, %w activation gelu
      : (tensor<?x8xf32>, tensor<4x8xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}}
func.func @normalisation(%x: tensor<?x8xf32>, %g: tensor<8xf32>)
    -> (tensor<?x8xf32>, tensor<?x8xi8>) {{
  %y = qtx.layer_norm %x gamma(%g) beta(%g) epsilon 1.0e-12
      : (tensor<?x8xf32>, tensor<8xf32>, tensor<8xf32>) -> tensor<?x8xf32>
  %q = qtx.rms_norm %x gamma(%g) epsilon 1.0e-6 to {OUT}
      : (tensor<?x8xf32>, tensor<8xf32>) -> tensor<?x8xi8>
  return %y, %q : tensor<?x8xf32>, tensor<?x8xi8>
}}
func.func @attention(%q: tensor<1x2x?x8xf32>, %k: tensor<1x2x?x8xf32>, %v: tensor<1x2x?x8xf32>,
                     %m: tensor<1x1x1x?xi1>, %g: tensor<1x2x?xf32>) -> tensor<1x2x?x8xf32> {{
  %y = qtx.attention %q, %k, %v mask(%m) causal scale 0.35 clip [-0.03, 1.0] gate(%g) gain 2.0
      : (tensor<1x2x?x8xf32>, tensor<1x2x?x8xf32>, tensor<1x2x?x8xf32>, tensor<1x1x1x?xi1>,
         tensor<1x2x?xf32>) -> tensor<1x2x?x8xf32>
  return %y : tensor<1x2x?x8xf32>
}}
func.func @attention_i8(%q: tensor<1x2x?x8xi8>, %k: tensor<1x2x?x8xi8>, %v: tensor<1x2x?x8xi8>)
    -> tensor<1x2x?x8xi8> {{
  %y = qtx.attention %q as !quant.uniform<i8:f32, 0.05>,
      %k as !qtx.grouped<i8:f32, axis=-3, [1 * 2], {{0.04:3, 0.06}}>,
      %v as !quant.uniform<i8:f32, 0.02:-5> scale 0.25 soft_cap 30.0
      scores !quant.uniform<i8:f32, 0.1> unnormalised
      probs !quant.uniform<u8:f32, 0.003921569> to !quant.uniform<i8:f32, 0.03>
      : (tensor<1x2x?x8xi8>, tensor<1x2x?x8xi8>, tensor<1x2x?x8xi8>) -> tensor<1x2x?x8xi8>
  return %y : tensor<1x2x?x8xi8>
}}
func.func @softmax(%x: tensor<?x8xf32>) -> (tensor<?x8xf32>, tensor<?x8xf32>) {{
  %y = qtx.softmax %x : tensor<?x8xf32>
  %z = qtx.clipped_softmax %x clip [-0.03, 1.0] : tensor<?x8xf32>
  return %y, %z : tensor<?x8xf32>, tensor<?x8xf32>
}}
func.func @activations(%x: tensor<?xf32>)
    -> (tensor<?xf32>, tensor<?xf32>, tensor<?xf32>, tensor<?xf32>) {{
  %0 = qtx.relu %x : (tensor<?xf32>) -> tensor<?xf32>
  %1 = qtx.gelu %x : (tensor<?xf32>) -> tensor<?xf32>
  %2 = qtx.gelu %x approximate tanh : (tensor<?xf32>) -> tensor<?xf32>
  %3 = qtx.silu %x : (tensor<?xf32>) -> tensor<?xf32>
  return %0, %1, %2, %3 : tensor<?xf32>, tensor<?xf32>, tensor<?xf32>, tensor<?xf32>
}}
func.func @add(%x: tensor<?x8xi8>, %h: tensor<?x8xf32>) -> tensor<?x8xi8> {{
  %y = qtx.add %x as {GROUPED}, %h to {OUT} : (tensor<?x8xi8>, tensor<?x8xf32>) -> tensor<?x8xi8>
  return %y : tensor<?x8xi8>
}}
func.func @embedding(%t: tensor<8x8xi8>, %s: tensor<8xf32>, %i: tensor<?xi64>)
    -> tensor<?x8xf32> {{
  %y = qtx.embedding %t scale(%s), %i
      : (tensor<8x8xi8>, tensor<8xf32>, tensor<?xi64>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}}
func.func @elementary(%x: tensor<?xf32>)
    -> (tensor<?xf32>, tensor<?xf32>, tensor<?xf32>, tensor<?xf32>, tensor<?xf32>, tensor<?xf32>) {{
  %0 = math.exp %x : tensor<?xf32>
  %1 = math.log %x : tensor<?xf32>
  %2 = math.erf %x : tensor<?xf32>
  %3 = math.tanh %x : tensor<?xf32>
  %4 = math.cos %x : tensor<?xf32>
  %5 = math.rsqrt %x : tensor<?xf32>
  return %0, %1, %2, %3, %4, %5 : tensor<?xf32>, tensor<?xf32>, tensor<?xf32>, tensor<?xf32>,
                                  tensor<?xf32>, tensor<?xf32>
}}
"""


@pytest.fixture(scope="module")
def native():
    return qtx.compile_ir(IR, opt_level=2)


@pytest.fixture(scope="module")
def foreign(native, tmp_path_factory):
    functions = [native.function(name) for name in native.function_names]
    return aarch64.Program(IR, functions, tmp_path_factory.mktemp("aarch64"))


RNG = np.random.default_rng(20260)
SPECIAL = np.array(
    [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-40, -1e-45, 3.4e38, -3.4e38, 0.055, -0.055, 127.5,
     -128.5, 0.01, 0.03, 1e-8], np.float32)


def floats(rows, columns):
    """Numbers of many magnitudes, ties of the scales above, and special ones."""
    exponents = RNG.uniform(-6, 4, (rows, columns))
    values = (RNG.normal(size=(rows, columns)) * 10**exponents).astype(np.float32)
    ties = (RNG.integers(-300, 300, (rows, columns)) + 0.5) * np.float32(0.11)
    values[::3] = ties.astype(np.float32)[::3]
    flat = values.reshape(-1)
    flat[:SPECIAL.size] = SPECIAL[:flat.size]
    return values


def any_bits(count):
    """Any f32 numbers: subnormal ones, infinities and NaN included."""
    return RNG.integers(0, 2**32, count, dtype=np.uint32).view(np.float32)


def codes(*shape, low=-128, high=127):
    values = RNG.integers(low, high + 1, shape).astype(np.int8)
    values[0], values[-1] = low, high
    return values


CASES = {
    "quantize": (floats(500, 8),),
    "dequantize": (codes(64, 8),),
    "requantize": (codes(64, 8),),
    "wide": (RNG.integers(-2**31, 2**31, (64, 8), dtype=np.int32),
             (10.0 ** RNG.uniform(-9, 0, 8)).astype(np.float32), floats(64, 8)),
    "observe": (floats(64, 8), np.float32([-1, 0, 2, -5, 1, np.inf, -3, 0]),
                np.float32([1, 3, 2, 5, 0, -np.inf, 3, 1]), RNG.integers(0, 2, 64).astype(bool)),
    "batch_matmul": (codes(2, 9, 8), codes(2, 8, 5), RNG.normal(size=(2, 5, 8)).astype(np.float32)),
    "dynamic_quantize": (floats(200, 8),),
    "permute": (codes(5, 8), np.array([3, 1, 0, 2, 7, 6, 5, 4], np.int32)),
    "linear": (codes(64, 8), codes(4, 8, low=-127), RNG.uniform(1e-3, 1, 4).astype(np.float32),
               RNG.normal(size=4).astype(np.float32)),
    # In memory an i4 of a compiled function is a byte whose upper half is zero.
    "linear_i4": (codes(64, 8), codes(4, 8, low=-8, high=7),
                  RNG.uniform(1e-3, 1, (4, 2)).astype(np.float32)),
    "linear_float": (floats(64, 8), RNG.normal(size=(4, 8)).astype(np.float32)),
    "normalisation": (floats(64, 8), RNG.normal(size=8).astype(np.float32)),
    "attention": tuple(RNG.normal(size=(1, 2, 9, 8)).astype(np.float32) for _ in range(3)) + (
        RNG.integers(0, 2, (1, 1, 1, 9)).astype(bool), RNG.normal(size=(1, 2, 9)).astype(np.float32)),
    "attention_i8": tuple(codes(1, 2, 9, 8)[:, :, :n] for n in (5, 9, 9)),
    "softmax": (floats(64, 8),),
    "activations": (np.concatenate([any_bits(4000), SPECIAL, floats(100, 8).ravel()]),),
    "add": (codes(64, 8), floats(64, 8)),
    "embedding": (codes(8, 8), RNG.uniform(1e-3, 1, 8).astype(np.float32),
                  np.arange(-10, 10, dtype=np.int64)),
    "elementary": (np.concatenate([any_bits(4000), SPECIAL, floats(100, 8).ravel()]),),
}


def as_bits(array):
    """The bits, with one pattern for all NaN: their sign depends on the machine."""
    if array.dtype.kind != "f":
        return array
    return np.where(np.isnan(array), np.uint32(0x7FC00000), array.view(np.uint32))


@pytest.mark.parametrize("name", CASES)
def test_same_bits(native, foreign, name):
    inputs = CASES[name]
    here = native.run(name, *inputs)
    raw = [array & 15 if info.element == "i4" else array
           for array, info in zip(inputs, native.function(name).inputs)]
    there = foreign.run(name, *raw)
    for first, second in zip(here, there):
        np.testing.assert_array_equal(as_bits(first), as_bits(second))


def test_empty(native, foreign):
    x = np.zeros((0, 8), np.float32)
    for first, second in zip(native.run("quantize", x), foreign.run("quantize", x)):
        assert first.shape == second.shape == (0, 8)
