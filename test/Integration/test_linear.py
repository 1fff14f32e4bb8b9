# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Quantize and linear, executed."""

import functools

import numpy as np
import pytest
import qtx
from hypothesis import given
from hypothesis import strategies as st
from numerics import grouped_linear, joined_linear, quantize

# A hand-made example with an outlier channel: 3 tokens of 6 channels. Integers
# below are unsigned, as PEG writes them; the code uses them minus 128.
X = np.float32([
    [0.09, -8.04, 0.52, 2.05, -0.33, 0.06],
    [-0.21, 6.09, -0.47, -3.01, 0.23, 12.03],
    [0.41, -7.15, 0.61, 1.11, 0.16, 11.01],
])
PERMUTATION = [4, 0, 2, 3, 5, 1]


def scale_of(low, high):
    return (high - low) / 255


class Scheme:
    """A grouping of the channels, the parameters of each group, expected codes."""

    def __init__(self, sizes, ranges, zero_points, codes, order=range(6)):
        self.sizes, self.order = sizes, list(order)
        self.scales = [scale_of(*r) for r in ranges]
        self.zero_points = [z - 128 for z in zero_points]
        self.codes = np.array(codes, np.int32) - 128

    @property
    def type(self):
        parameters = list(zip(self.scales, self.zero_points))
        if len(self.sizes) == 1:
            return f"!quant.uniform<i8:f32, {parameters[0][0]:.17e}:{parameters[0][1]}>"
        text = ", ".join(f"{s:.17e}:{z}" for s, z in parameters)
        return f"!qtx.grouped<i8:f32, axis=-1, {self.sizes}, {{{text}}}>"


SCHEMES = {
    "per-tensor": Scheme(
        [6], [(-8.04, 12.03)], [102],
        [[103, 0, 109, 128, 98, 103], [99, 179, 96, 64, 105, 255],
         [107, 11, 110, 116, 104, 242]]),
    "K=3": Scheme(
        [2, 2, 2], [(-8.04, 6.09), (-3.01, 2.05), (-0.33, 12.03)], [145, 152, 7],
        [[147, 0, 178, 255, 0, 8], [141, 255, 128, 0, 12, 255],
         [152, 16, 183, 208, 10, 234]]),
    "K=3+P": Scheme(
        [2, 2, 2], [(-0.33, 0.41), (-3.01, 2.05), (-8.04, 12.03)], [114, 152, 102],
        [[145, 0, 178, 255, 0, 103], [42, 179, 128, 0, 193, 255],
         [255, 11, 183, 208, 169, 242]], PERMUTATION),
    "per-embedding": Scheme(
        [1] * 6,
        [(-0.21, 0.41), (-8.04, 6.09), (-0.47, 0.61), (-3.01, 2.05), (-0.33, 0.23),
         (0, 12.03)],
        [86, 145, 111, 152, 150, 0],
        [[123, 0, 234, 255, 0, 1], [0, 255, 0, 0, 255, 255],
         [255, 16, 255, 208, 223, 233]]),
}


def linear_ir(quantized, channels, outputs):
    return f"""
    func.func @main(%x: tensor<?x{channels}xi8>, %w: tensor<{outputs}x{channels}xi8>,
                    %s: tensor<{outputs}xf32>, %b: tensor<{outputs}xf32>)
        -> tensor<?x{outputs}xf32> {{
      %y = qtx.linear %x as {quantized}, %w scale(%s) bias(%b)
          : (tensor<?x{channels}xi8>, tensor<{outputs}x{channels}xi8>,
             tensor<{outputs}xf32>, tensor<{outputs}xf32>) -> tensor<?x{outputs}xf32>
      return %y : tensor<?x{outputs}xf32>
    }}"""


@functools.lru_cache(maxsize=None)
def compile_linear(quantized, channels, outputs):
    return qtx.compile_ir(linear_ir(quantized, channels, outputs))


@pytest.mark.parametrize("name", SCHEMES)
def test_quantize_golden(name):
    scheme = SCHEMES[name]
    module = qtx.compile_ir(f"""
      func.func @main(%x: tensor<?x6xf32>) -> tensor<?x6xi8> {{
        %q = qtx.quantize %x to {scheme.type} : tensor<?x6xf32> -> tensor<?x6xi8>
        return %q : tensor<?x6xi8>
      }}""")
    (codes,) = module.run("main", X[:, scheme.order])
    np.testing.assert_array_equal(codes, scheme.codes[:, scheme.order])


def test_linear_golden():
    scheme = SCHEMES["K=3+P"]
    weight = np.int8([[3, -7, 11, 2, -5, 9], [-4, 6, 1, -8, 10, -2]])
    expected = [[3.429558824, -3.391415686], [2.645576471, 1.952972549],
                [7.936174510, -3.666313725]]
    order = scheme.order
    x = scheme.codes[:, order].astype(np.int8)
    module = compile_linear(scheme.type, 6, 2)
    (y,) = module.run(
        "main", x, weight[:, order], np.full(2, 0.05, np.float32), np.zeros(2, np.float32))
    # Three products and sums in fp32 of terms up to 20: a few units of 2^-24 * 20.
    np.testing.assert_allclose(y, expected, rtol=0, atol=5e-6)


def test_linear_golden_accumulators():
    """The integer sums of each group, read off through scales of one."""
    weight = np.int8([[3, -7, 11, 2, -5, 9], [-4, 6, 1, -8, 10, -2]])
    # sum (x - z) w = A - z C for each output and group.
    expected = [[(663, 492, 723), (-1264, -798, -614)], [(-611, -568, 838), (1078, 1192, 156)],
                [(148, 453, 1897), (-14, -417, -826)]]
    scheme = SCHEMES["K=3+P"]
    x = scheme.codes[:, scheme.order].astype(np.int8)
    for group in range(3):
        scales = [f"{1.0 if g == group else 2.0 ** -100}:{scheme.zero_points[g]}" for g in range(3)]
        quantized = f"!qtx.grouped<i8:f32, axis=-1, [2, 2, 2], {{{', '.join(scales)}}}>"
        (y,) = compile_linear(quantized, 6, 2).run(
            "main", x, weight[:, scheme.order], np.ones(2, np.float32), np.zeros(2, np.float32))
        np.testing.assert_array_equal(np.rint(y), np.array(expected)[:, :, group])


GROUPS = [
    ((7,), (0.5,), (3,)),
    ((1, 6), (0.01, 0.3), (-128, 127)),
    ((5, 1, 1), (0.02, 1.5, 0.004), (0, 5, -7)),
    ((1,) * 7, (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7), (-128, -1, 0, 1, 127, 5, 6)),
]


@st.composite
def linear_cases(draw):
    sizes, scales, zero_points = draw(st.sampled_from(GROUPS))
    rows = draw(st.integers(0, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kind = draw(st.sampled_from(["random", "low", "high"]))
    x = {"random": rng.integers(-128, 128, (rows, 7)), "low": np.full((rows, 7), -128),
         "high": np.full((rows, 7), 127)}[kind].astype(np.int8)
    weight = rng.integers(-127, 128, (3, 7)).astype(np.int8)
    weight_scale = rng.uniform(1e-3, 1, 3).astype(np.float32)
    bias = rng.normal(size=3).astype(np.float32)
    return list(zip(sizes, scales, zero_points)), x, weight, weight_scale, bias


@given(linear_cases())
def test_linear_bit_exact(case):
    groups, x, weight, weight_scale, bias = case
    if len(groups) == 1:
        quantized = f"!quant.uniform<i8:f32, {groups[0][1]}:{groups[0][2]}>"
    else:
        parameters = ", ".join(f"{s}:{z}" for _, s, z in groups)
        quantized = f"!qtx.grouped<i8:f32, axis=-1, {[g[0] for g in groups]}, {{{parameters}}}>"
    (y,) = compile_linear(quantized, 7, 3).run("main", x, weight, weight_scale, bias)
    np.testing.assert_array_equal(y, grouped_linear(x, weight, groups, weight_scale, bias))


@pytest.mark.parametrize("multiples", [(1, 21), (6, 1, 3), (1, 1, 1000), (4,)])
def test_integer_join(multiples):
    """The extremes of codes and weights among them, and scales that are decimal fractions."""
    rng = np.random.default_rng(len(multiples))
    groups = [(size, 0.02 * multiple, zero_point) for size, multiple, zero_point in
              zip((20, 3, 9), multiples, (-128, 127, 5))]
    size = sum(group[0] for group in groups)
    parameters = ", ".join(f"{s:.9e}:{z}" for _, s, z in groups)
    quantized = (f"!qtx.grouped<i8:f32, axis=-1, {[g[0] for g in groups]}, {{{parameters}}}>"
                 if len(groups) > 1 else f"!quant.uniform<i8:f32, {parameters}>")
    x = rng.integers(-128, 128, (19, size)).astype(np.int8)
    x[:2] = np.int8([[-128], [127]])
    weight = rng.integers(-127, 128, (33, size)).astype(np.int8)
    weight[:2] = np.int8([[-127], [127]])
    weight_scale, bias = rng.uniform(1e-3, 1, 33).astype(np.float32), rng.normal(size=33).astype(np.float32)
    text = linear_ir(quantized, size, 33).replace("bias(%b)", "bias(%b) integer_join")
    (y,) = qtx.compile_ir(text).run("main", x, weight, weight_scale, bias)
    np.testing.assert_array_equal(y, joined_linear(x, weight, groups, weight_scale, bias))


@pytest.mark.parametrize("opt_level", [0, 1, 2, 3])
def test_opt_levels(opt_level):
    """Vectorized and unrolled code computes the same bits."""
    rng = np.random.default_rng(5)
    groups = [(60, 0.02, 3), (4, 0.5, -128), (64, 0.001, 127)]
    parameters = ", ".join(f"{s}:{z}" for _, s, z in groups)
    quantized = f"!qtx.grouped<i8:f32, axis=-1, {[g[0] for g in groups]}, {{{parameters}}}>"
    module = qtx.compile_ir(linear_ir(quantized, 128, 32), opt_level=opt_level)
    x = rng.integers(-128, 128, (17, 128)).astype(np.int8)
    weight = rng.integers(-127, 128, (32, 128)).astype(np.int8)
    weight_scale = rng.uniform(1e-3, 1, 32).astype(np.float32)
    bias = rng.normal(size=32).astype(np.float32)
    (y,) = module.run("main", x, weight, weight_scale, bias)
    np.testing.assert_array_equal(y, grouped_linear(x, weight, groups, weight_scale, bias))


@pytest.mark.parametrize("sizes", [(33, 48, 34), (64, 64), (97, 1, 1)])
def test_quantize_in_groups(sizes):
    """Each group is a run of columns with a tail, or too short for one."""
    rng, width = np.random.default_rng(1), sum(sizes)
    scales, zero_points = rng.uniform(0.01, 0.1, len(sizes)).astype(np.float32), rng.integers(-128, 128, len(sizes))
    parameters = ", ".join(f"{s:.9e}:{z}" for s, z in zip(scales, zero_points))
    code = f"tensor<?x{width}xi8>"
    module = qtx.compile_ir(f"""
      func.func @main(%x: tensor<?x{width}xf32>) -> {code} {{
        %q = qtx.quantize %x to !qtx.grouped<i8:f32, axis=-1, {list(sizes)}, {{{parameters}}}>
            : tensor<?x{width}xf32> -> {code}
        return %q : {code}
      }}""", fast=True)
    x = (8 * rng.standard_normal((5, width))).astype(np.float32)
    x[0, ::7], x[1, ::5], x[2, ::3] = np.nan, np.inf, -np.inf
    (codes,) = module.run("main", x)
    np.testing.assert_array_equal(codes, quantize(x, np.repeat(scales, sizes), np.repeat(zero_points, sizes)))


@functools.lru_cache(maxsize=None)
def compile_quantize():
    return qtx.compile_ir("""
      func.func @main(%x: tensor<?xf32>) -> tensor<?xi8> {
        %q = qtx.quantize %x to !quant.uniform<i8:f32, 0.3:-5> : tensor<?xf32> -> tensor<?xi8>
        return %q : tensor<?xi8>
      }""")


@given(st.lists(st.floats(width=32)))
def test_quantize_bit_exact(values):
    x = np.array(values, np.float32)
    (q,) = compile_quantize().run("main", x)
    np.testing.assert_array_equal(q, quantize(x, 0.3, -5))
