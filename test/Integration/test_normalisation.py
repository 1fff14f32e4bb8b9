# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Normalisation, activations, residual sum and embedding, executed."""

import functools

import numpy as np
import pytest
import qtx
from hypothesis import given
from hypothesis import strategies as st
from numerics import fma32, quantize

U = 2.0**-23
WIDTHS = [1, 2, 3, 8, 48]
GROUPS = {"sizes": [5, 3], "scales": [0.03125, 0.2], "zero_points": [-7, 100]}
GROUPED = "!qtx.grouped<i8:f32, axis=-1, [5, 3], {0.03125:-7, 0.2:100}>"
UNIFORM = "!quant.uniform<i8:f32, 0.05:3>"


def per_channel(values):
    return np.repeat(np.float32(values), GROUPS["sizes"])


SCALES, ZERO_POINTS = per_channel(GROUPS["scales"]), per_channel(GROUPS["zero_points"])


def dequantize(q, scale, zero_point):
    return ((q.astype(np.int32) - zero_point).astype(np.float32)
            * np.asarray(scale, np.float32))


def floats(low, high):
    return st.floats(low, high, width=32, allow_subnormal=True)


@st.composite
def rows(draw, width=None):
    """Rows of one width: batch 1 included, of very different magnitude."""
    width = width or draw(st.sampled_from(WIDTHS))
    batch = draw(st.integers(1, 4))
    seed = draw(st.integers(0, 2**32 - 1))
    magnitude = draw(st.sampled_from([1e-30, 1e-4, 1.0, 50.0, 1e4, 1e15]))
    offset = draw(st.sampled_from([0.0, 0.0, 1.0, -30.0]))
    kind = draw(st.sampled_from(["normal", "constant", "outlier"]))
    x = np.random.default_rng(seed).standard_normal((batch, width)) + offset
    if kind == "constant":
        x[:] = x[:, :1]
    if kind == "outlier":
        x[:, -1] *= 1000
    return np.float32(x * magnitude)


#===-- layer_norm and rms_norm ------------------------------------------------===#


def norm_ir(name, width, operands, epsilon):
    """`name` on [?, width] with gamma and beta as `operands` says."""
    arguments = "".join(f", %{operand}: tensor<{width}xf32>" for operand in operands)
    clauses = "".join(f" {operand}(%{operand})" for operand in operands)
    types = ", ".join([f"tensor<?x{width}xf32>"] + [f"tensor<{width}xf32>"] * len(operands))
    return f"""
      func.func @main(%x: tensor<?x{width}xf32>{arguments}) -> tensor<?x{width}xf32> {{
        %y = qtx.{name} %x{clauses} epsilon {epsilon}
            : ({types}) -> tensor<?x{width}xf32>
        return %y : tensor<?x{width}xf32>
      }}"""


@functools.lru_cache(maxsize=None)
def norm(name, width, operands, epsilon):
    return qtx.compile_ir(norm_ir(name, width, operands, epsilon))


def layer_norm_reference(x, gamma, beta, epsilon):
    """The exact result and the bound of docs/Numerics.md, "Exact and bounded results"."""
    x = x.astype(np.float64)
    width = x.shape[-1]
    centred = x - x.mean(-1, keepdims=True)
    root = 1 / np.sqrt((centred**2).mean(-1, keepdims=True) + epsilon)
    y = centred * root * gamma + beta
    e = (width + 3) * U * np.abs(x).max(-1, keepdims=True) * root
    bound = (e + np.abs(centred) * root * (e**2 + 2 * e + (width + 8) * U)) * np.abs(gamma)
    bound = bound + 4 * U * (np.abs(gamma * centred * root) + np.abs(beta))
    # Where the mean is not known well enough there is only the bound of any result.
    wide = 2 * np.sqrt(width) * np.abs(gamma) + 4 * U * np.abs(beta)
    return y, np.where(e <= 0.25, bound, wide) + 2.0**-140


@given(rows(), st.sampled_from([(), ("gamma",), ("beta",), ("gamma", "beta")]),
       st.sampled_from(["1.0e-5", "1.0e-12"]), st.integers(0, 2**32 - 1))
def test_layer_norm(x, operands, epsilon, seed):
    width = x.shape[1]
    rng = np.random.default_rng(seed)
    values = {name: np.float32(rng.standard_normal(width)) for name in operands}
    module = norm("layer_norm", width, operands, epsilon)
    (y,) = module.run("main", x, *values.values())
    reference, bound = layer_norm_reference(
        x, values.get("gamma", np.ones(width)), values.get("beta", np.zeros(width)),
        float(np.float32(epsilon)))
    assert np.all(np.abs(y - reference) <= bound)


@given(rows(), st.booleans())
def test_rms_norm(x, has_gamma):
    width = x.shape[1]
    gamma = np.linspace(-2, 2, width, dtype=np.float32) if has_gamma else np.ones(width)
    operands = ("gamma",) if has_gamma else ()
    module = norm("rms_norm", width, operands, "1.0e-6")
    (y,) = module.run("main", x, *([gamma] if has_gamma else []))
    wide = x.astype(np.float64)
    mean = (wide**2).mean(-1, keepdims=True)
    reference = wide / np.sqrt(mean + float(np.float32(1e-6))) * gamma
    assert np.all(np.abs(y - reference) <= (width + 8) * U * np.abs(reference) + 2.0**-140)


@given(rows(width=8), st.integers(0, 2**32 - 1))
def test_scale_shift(x, seed):
    gain, shift = np.float32(np.random.default_rng(seed).standard_normal((2, 8)))
    module = scale_shift()
    (y,) = module.run("main", x, gain, shift)
    np.testing.assert_array_equal(y, fma32(x, gain, shift))
    (q,) = module.run("quantized", x, gain, shift)
    np.testing.assert_array_equal(q, quantize(y, 0.05, 3))


@functools.lru_cache(maxsize=None)
def scale_shift():
    return qtx.compile_ir("""
      func.func @main(%x: tensor<?x8xf32>, %g: tensor<8xf32>, %s: tensor<8xf32>) -> tensor<?x8xf32> {
        %y = qtx.scale_shift %x gain(%g) shift(%s)
            : (tensor<?x8xf32>, tensor<8xf32>, tensor<8xf32>) -> tensor<?x8xf32>
        return %y : tensor<?x8xf32>
      }
      func.func @quantized(%x: tensor<?x8xf32>, %g: tensor<8xf32>, %s: tensor<8xf32>) -> tensor<?x8xi8> {
        %y = qtx.scale_shift %x gain(%g) shift(%s) to !quant.uniform<i8:f32, 0.05:3>
            : (tensor<?x8xf32>, tensor<8xf32>, tensor<8xf32>) -> tensor<?x8xi8>
        return %y : tensor<?x8xi8>
      }""")


def test_rows_of_one_value():
    """The variance of one channel is 0, so the result is beta."""
    module = norm("layer_norm", 1, ("gamma", "beta"), "1.0e-5")
    (y,) = module.run("main", np.float32([[5], [-3e38], [0]]), np.float32([2]),
                      np.float32([0.25]))
    np.testing.assert_array_equal(y, np.full((3, 1), np.float32(0.25)))


def test_nan_and_infinity_in_rows():
    x = np.float32([[1, 2, np.nan], [1, 2, np.inf], [-np.inf, 2, 3], [1, 2, 3]])
    (y,) = norm("layer_norm", 3, (), "1.0e-5").run("main", x)
    np.testing.assert_array_equal(np.isnan(y), [[True] * 3] * 3 + [[False] * 3])
    (y,) = norm("rms_norm", 3, (), "1.0e-5").run("main", x)
    np.testing.assert_array_equal(
        y[:3], np.float32([[np.nan] * 3, [0, 0, np.nan], [np.nan, 0, 0]]))


def test_squares_that_overflow():
    x = np.float32([[1e30, -1e30, 0]])
    for name in ("layer_norm", "rms_norm"):
        (y,) = norm(name, 3, (), "1.0e-5").run("main", x)
        np.testing.assert_array_equal(y, np.zeros((1, 3)))


def test_no_rows():
    (y,) = norm("layer_norm", 8, (), "1.0e-5").run("main", np.zeros((0, 8), np.float32))
    assert y.shape == (0, 8)


@functools.lru_cache(maxsize=None)
def quantized_layer_norm():
    return qtx.compile_ir(f"""
      func.func @main(%x: tensor<2x?x8xi8>, %g: tensor<8xf32>, %b: tensor<8xf32>)
          -> tensor<2x?x8xi8> {{
        %y = qtx.layer_norm %x as {GROUPED} gamma(%g) beta(%b) epsilon 1.0e-12
            to {UNIFORM}
            : (tensor<2x?x8xi8>, tensor<8xf32>, tensor<8xf32>) -> tensor<2x?x8xi8>
        return %y : tensor<2x?x8xi8>
      }}""")


@given(st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_quantized_layer_norm(length, seed):
    rng = np.random.default_rng(seed)
    x = rng.integers(-128, 128, (2, length, 8), dtype=np.int8)
    gamma, beta = np.float32(rng.standard_normal((2, 8)))
    (y,) = quantized_layer_norm().run("main", x, gamma, beta)
    reference, bound = layer_norm_reference(dequantize(x, SCALES, ZERO_POINTS), gamma, beta,
                                            float(np.float32(1e-12)))
    # Codes differ only where the value lies within the bound of a tie.
    low, high = (quantize(reference + side * bound, 0.05, 3) for side in (-2, 2))
    assert np.all((low <= y) & (y <= high))


#===-- Quantized forms ---------------------------------------------------------===#


@functools.lru_cache(maxsize=None)
def quantized_silu():
    return qtx.compile_ir(f"""
      func.func @main(%x: tensor<?x8x{GROUPED}>) -> tensor<?x8x{UNIFORM}> {{
        %y = qtx.silu %x : (tensor<?x8x{GROUPED}>) -> tensor<?x8x{UNIFORM}>
        return %y : tensor<?x8x{UNIFORM}>
      }}
      func.func @run_time(%x: tensor<?x8xi8>, %s: tensor<?x2xf32>, %z: tensor<2xi32>)
          -> tensor<?x8xf32> {{
        %y = qtx.relu %x scale(%s) zero_point(%z) as !qtx.grouped<i8:f32, axis=-1, [5, 3], ?>
            : (tensor<?x8xi8>, tensor<?x2xf32>, tensor<2xi32>) -> tensor<?x8xf32>
        return %y : tensor<?x8xf32>
      }}""")


@given(st.integers(0, 2**32 - 1))
def test_quantized_silu(seed):
    x = np.random.default_rng(seed).integers(-128, 128, (3, 8), dtype=np.int8)
    (y,) = quantized_silu().run("main", x)
    wide = dequantize(x, SCALES, ZERO_POINTS).astype(np.float64)
    reference = wide / (1 + np.exp(-wide))
    low, high = (quantize(reference * (1 + side * 4 * U), 0.05, 3) for side in (-1, 1))
    assert np.all((np.minimum(low, high) <= y) & (y <= np.maximum(low, high)))


def test_run_time_parameters():
    x = np.arange(-8, 8, dtype=np.int8).reshape(2, 8)
    scale = np.float32([[0.5, 1], [2, 4]])
    zero_point = np.int32([-3, 5])
    (y,) = quantized_silu().run("run_time", x, scale, zero_point)
    expected = dequantize(x, np.repeat(scale, [5, 3], -1), np.repeat(zero_point, [5, 3]))
    np.testing.assert_array_equal(y, np.maximum(expected, 0))


#===-- add ---------------------------------------------------------------------===#


@functools.lru_cache(maxsize=None)
def add_module():
    return qtx.compile_ir(f"""
      func.func @float(%x: tensor<?x8xf32>, %h: tensor<?x8xf32>) -> tensor<?x8xf32> {{
        %y = qtx.add %x, %h : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
        return %y : tensor<?x8xf32>
      }}
      func.func @trailing(%x: tensor<?x?x8xf32>, %h: tensor<?x8xf32>) -> tensor<?x?x8xf32> {{
        %y = qtx.add %x, %h : (tensor<?x?x8xf32>, tensor<?x8xf32>) -> tensor<?x?x8xf32>
        return %y : tensor<?x?x8xf32>
      }}
      func.func @quantized(%x: tensor<?x8xi8>, %h: tensor<?x8xi8>) -> tensor<?x8xi8> {{
        %y = qtx.add %x as {GROUPED}, %h as {UNIFORM} to {GROUPED}
            : (tensor<?x8xi8>, tensor<?x8xi8>) -> tensor<?x8xi8>
        return %y : tensor<?x8xi8>
      }}
      func.func @mixed(%x: tensor<?x8xf32>, %h: tensor<8xi8>) -> tensor<?x8xi8> {{
        %y = qtx.add %x, %h as {UNIFORM} to {UNIFORM}
            : (tensor<?x8xf32>, tensor<8xi8>) -> tensor<?x8xi8>
        return %y : tensor<?x8xi8>
      }}""")


@given(rows(8), st.integers(0, 2**32 - 1))
def test_add(x, seed):
    """One rounding: exact."""
    rng = np.random.default_rng(seed)
    h = np.float32(rng.standard_normal(x.shape))
    (y,) = add_module().run("float", x, h)
    np.testing.assert_array_equal(y, x + h)
    batch = np.stack([x, -x])
    (y,) = add_module().run("trailing", batch, h)
    np.testing.assert_array_equal(y, batch + h)
    q, r = rng.integers(-128, 128, (2, *x.shape), dtype=np.int8)
    (y,) = add_module().run("quantized", q, r)
    expected = dequantize(q, SCALES, ZERO_POINTS) + dequantize(r, 0.05, 3)
    np.testing.assert_array_equal(y, quantize(expected, SCALES, ZERO_POINTS))
    (y,) = add_module().run("mixed", x, q[0])
    np.testing.assert_array_equal(y, quantize(x + dequantize(q[0], 0.05, 3), 0.05, 3))


def test_add_nan_and_infinity():
    x = np.float32([[np.nan, np.inf, -np.inf, np.inf, 1, 2, 3, 4]])
    h = np.float32([[0, 0, 0, -np.inf, 0, 0, 0, 0]])
    with np.errstate(invalid="ignore"):
        (y,) = add_module().run("float", x, h)
        np.testing.assert_array_equal(y, x + h)
    (y,) = add_module().run("mixed", x, np.full(8, 3, np.int8))
    np.testing.assert_array_equal(y[0, :4], [-128, 127, -128, 127])


#===-- embedding ---------------------------------------------------------------===#


@functools.lru_cache(maxsize=None)
def embedding_module(element, scales, ids):
    scale_argument = f", %s: tensor<{scales}xf32>" if scales else ""
    scale_clause = "scale(%s)" if scales else ""
    scale_type = f"tensor<{scales}xf32>, " if scales else ""
    return qtx.compile_ir(f"""
      func.func @main(%t: tensor<7x3x{element}>{scale_argument}, %i: tensor<2x?x{ids}>)
          -> tensor<2x?x3xf32> {{
        %y = qtx.embedding %t {scale_clause}, %i
            : (tensor<7x3x{element}>, {scale_type}tensor<2x?x{ids}>) -> tensor<2x?x3xf32>
        return %y : tensor<2x?x3xf32>
      }}""")


@pytest.mark.parametrize("ids", ["i8", "i32", "i64"])
@pytest.mark.parametrize("element, scales", [("f32", 0), ("i8", 1), ("i8", 7), ("i4", 7)])
def test_embedding(element, scales, ids):
    rng = np.random.default_rng(1)
    if element == "f32":
        table = values = np.float32(rng.standard_normal((7, 3)))
        operands = [table]
    else:
        bound = 8 if element == "i4" else 128
        table = rng.integers(-bound, bound, (7, 3), dtype=np.int8)
        scale = np.float32(rng.uniform(0.01, 1, scales))
        values = table.astype(np.float32) * scale[:, None]
        operands = [table, scale]
    index = rng.integers(-7, 7, (2, 5)).astype(ids.replace("i", "int"))
    (y,) = embedding_module(element, scales, ids).run("main", *operands, index)
    np.testing.assert_array_equal(y, values[index])


def test_embedding_ids_out_of_range():
    """Nothing is read out of bounds: the nearest row is taken."""
    table = np.arange(21, dtype=np.float32).reshape(7, 3)
    index = np.int64([[7, -8, 2**62], [-2**63, 2**63 - 1, -7]])
    (y,) = embedding_module("f32", 0, "i64").run("main", table, index)
    np.testing.assert_array_equal(y, table[[[6, 0, 6], [0, 6, 0]]])


def test_embedding_quantized():
    module = qtx.compile_ir(f"""
      func.func @main(%t: tensor<4x8xf32>, %i: tensor<index>) -> tensor<8xi8> {{
        %y = qtx.embedding %t, %i to {GROUPED} : (tensor<4x8xf32>, tensor<index>) -> tensor<8xi8>
        return %y : tensor<8xi8>
      }}""")
    table = np.linspace(-4, 4, 32, dtype=np.float32).reshape(4, 8)
    (y,) = module.run("main", table, np.array(-2, np.int64))
    np.testing.assert_array_equal(y, quantize(table[-2], SCALES, ZERO_POINTS))


def test_small_ranks():
    """A row alone, and a tensor without dimensions."""
    module = qtx.compile_ir("""
      func.func @row(%x: tensor<4xf32>) -> tensor<4xf32> {
        %y = qtx.layer_norm %x epsilon 1.0e-5 : (tensor<4xf32>) -> tensor<4xf32>
        return %y : tensor<4xf32>
      }
      func.func @scalar(%x: tensor<f32>, %h: tensor<i8>) -> tensor<i16> {
        %y = qtx.relu %x : (tensor<f32>) -> tensor<f32>
        %z = qtx.add %y, %h as !quant.uniform<i8:f32, 0.5>
            to !quant.uniform<i16:f32, 0.001>
            : (tensor<f32>, tensor<i8>) -> tensor<i16>
        return %z : tensor<i16>
      }""")
    (y,) = module.run("row", np.float32([1, 2, 3, 4]))
    reference, bound = layer_norm_reference(np.float32([[1, 2, 3, 4]]), np.ones(4), np.zeros(4),
                                            float(np.float32(1e-5)))
    assert np.all(np.abs(y - reference) <= bound)
    (z,) = module.run("scalar", np.float32(-3), np.int8(7))
    assert z == 3500
