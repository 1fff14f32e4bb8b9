# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The fast path against the reference path, executed."""

import functools
import pathlib

import numpy as np
import pytest
import qtx
from hypothesis import given
from hypothesis import strategies as st

UNIT = np.float64(2.0**-23)
# Tails of every kind: rows of tiles of 8 and 6, lanes of vectors of 16 and 8.
ROWS = (1, 2, 3, 5, 6, 7, 8, 9, 13, 16, 23, 40)
OUTPUTS = (1, 7, 8, 15, 16, 17, 31, 32, 33, 47, 48, 49, 64, 96, 100, 113)
SIZES = (1, 2, 3, 4, 5, 7, 16, 31, 33, 64, 129)

# The rows, each by the CPU features that make it the fastest.
FEATURES = {
    "x86-avx512-fma": ("avx512f",),
    "x86-avx2-fma": ("avx2", "fma"),
}


def cpu_flags():
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    return next((set(line.split()) for line in lines if line.startswith("flags")), set())


FLOAT_ROWS = [
    pytest.param(row, marks=pytest.mark.skipif(
        not cpu_flags().issuperset(FEATURES[row]), reason=f"no {FEATURES[row]}"))
    for row in FEATURES if row.endswith("-fma")
]


def dense(array):
    """A constant of the IR, bit for bit."""
    data = np.ascontiguousarray(array)
    return f'dense<"0x{data.tobytes().hex().upper()}">' if data.size > 1 else f"dense<{data.item()!r}>"


@functools.lru_cache(maxsize=None)
def compile_both(text, row):
    features = ", ".join(f'"+{feature}"' for feature in FEATURES[row])
    target = f'triple = "x86_64-unknown-linux-gnu", chip = "x86-64", features = <[{features}]>'
    fast = f"module attributes {{llvm.target = #llvm.target<{target}>}} {{ {text} }}"
    configured = qtx.run_passes(fast, "builtin.module(qtx-to-storage,any(qtx-configure))")
    assert row in configured, "expected the row to be taken"
    return qtx.compile_ir(text), qtx.compile_ir(fast, fast=True)


def run_both(text, row, *arrays):
    reference, fast = compile_both(text, row)
    return reference.run("main", *arrays)[0], fast.run("main", *arrays)[0]


def float_linear(size, outputs, bias, activation, dims="?"):
    """A linear of floats; `bias` is absent, per output, or of the result's shape."""
    x, y = f"tensor<{dims}x{size}xf32>", f"tensor<{dims}x{outputs}xf32>"
    w, b = f"tensor<{outputs}x{size}xf32>", {"vector": f"tensor<{outputs}xf32>", "full": y}.get(bias)
    rng = np.random.default_rng(size * 1000 + outputs)
    weight = rng.standard_normal((outputs, size)).astype(np.float32)
    argument = f", %b: {b}" if b else ""
    text = f"""
    func.func @main(%x: {x}{argument}) -> {y} {{
      %w = arith.constant {dense(weight)} : {w}
      %y = qtx.linear %x, %w {"bias(%b)" if b else ""} activation {activation}
          : ({x}, {w}{f", {b}" if b else ""}) -> {y}
      return %y : {y}
    }}"""
    return text, weight


def float_bound(x, weight, bias):
    """Numerics.md, "Exact and bounded results": of both paths, hence twice."""
    magnitude = np.abs(x.astype(np.float64)) @ np.abs(weight.astype(np.float64)).T
    return 2 * (x.shape[-1] + 1) * UNIT * (magnitude + np.abs(bias))


@pytest.mark.parametrize("row", FLOAT_ROWS)
@given(st.sampled_from(ROWS), st.sampled_from(SIZES), st.sampled_from(OUTPUTS),
       st.sampled_from(("none", "vector", "full")), st.sampled_from(("none", "relu")),
       st.integers(0, 2**32 - 1))
def test_float_linear(row, rows, size, outputs, bias, activation, seed):
    text, weight = float_linear(size, outputs, bias, activation)
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((rows, size)).astype(np.float32)
    shape = {"none": None, "vector": (outputs,), "full": (rows, outputs)}[bias]
    arrays = [x] if shape is None else [x, rng.standard_normal(shape).astype(np.float32)]
    reference, fast = run_both(text, row, *arrays)
    assert np.all(np.abs(reference - fast) <= float_bound(x, weight, arrays[-1] if shape else 0))


@pytest.mark.parametrize("row", FLOAT_ROWS)
@pytest.mark.parametrize("activation", ("gelu", "gelu_tanh", "silu"))
def test_float_activations(row, activation):
    text, weight = float_linear(33, 49, "vector", activation)
    rng = np.random.default_rng(1)
    x = rng.standard_normal((13, 33)).astype(np.float32)
    b = rng.standard_normal(49).astype(np.float32)
    reference, fast = run_both(text, row, x, b)
    # Slopes of the three functions are below 1.13.
    assert np.all(np.abs(reference - fast) <= 1.13 * float_bound(x, weight, b) + 4 * UNIT)


@pytest.mark.parametrize("row", FLOAT_ROWS)
def test_float_special_values(row):
    text, _ = float_linear(5, 17, "vector", "relu")
    x = np.ones((3, 5), np.float32)
    x[0, 2], x[2, 4] = np.nan, np.inf
    reference, fast = run_both(text, row, x, np.zeros(17, np.float32))
    assert np.array_equal(np.isnan(reference), np.isnan(fast))
    assert np.array_equal(np.isinf(reference), np.isinf(fast))
    assert np.isnan(fast[0]).all() and not np.isnan(fast[1]).any()


@pytest.mark.parametrize("row", FLOAT_ROWS)
@pytest.mark.parametrize("shape", [(0,), (0, 3), (2, 3), (2, 1, 4)])
def test_leading_dimensions(row, shape):
    text, weight = float_linear(6, 9, "none", "none", dims="x".join("?" * len(shape)))
    x = np.random.default_rng(0).standard_normal((*shape, 6)).astype(np.float32)
    reference, fast = run_both(text, row, x)
    assert fast.shape == (*shape, 9)
    assert np.all(np.abs(reference - fast) <= float_bound(x, weight, 0))


@pytest.mark.parametrize("row", FLOAT_ROWS)
def test_vector_input(row):
    text, weight = float_linear(6, 9, "vector", "none")
    text = text.replace("?x", "")
    x = np.random.default_rng(0).standard_normal(6).astype(np.float32)
    reference, fast = run_both(text, row, x, np.ones(9, np.float32))
    assert np.all(np.abs(reference - fast) <= float_bound(x, weight, 1))


@pytest.mark.parametrize("row", FLOAT_ROWS)
def test_strided_input(row):
    """A part of the channels, of more than one leading dimension: no matrix."""
    weight = np.random.default_rng(0).standard_normal((9, 4)).astype(np.float32)
    text = f"""
    func.func @main(%x: tensor<?x3x10xf32>) -> tensor<?x2x9xf32> {{
      %c0 = arith.constant 0 : index
      %n = tensor.dim %x, %c0 : tensor<?x3x10xf32>
      %s = tensor.extract_slice %x[0, 1, 5] [%n, 2, 4] [1, 1, 1] : tensor<?x3x10xf32> to tensor<?x2x4xf32>
      %w = arith.constant {dense(weight)} : tensor<9x4xf32>
      %y = qtx.linear %s, %w : (tensor<?x2x4xf32>, tensor<9x4xf32>) -> tensor<?x2x9xf32>
      return %y : tensor<?x2x9xf32>
    }}"""
    x = np.random.default_rng(1).standard_normal((4, 3, 10)).astype(np.float32)
    reference, fast = run_both(text, row, x)
    assert np.all(np.abs(reference - fast) <= float_bound(x[:, 1:, 5:9], weight, 0))


@pytest.mark.parametrize("row", FLOAT_ROWS)
@pytest.mark.parametrize("block", [None, 4])
def test_float_with_integer_weight(row, block):
    rng = np.random.default_rng(0)
    weight = rng.integers(-127, 128, (17, 10)).astype(np.int8)
    scale = rng.random((17, 3) if block else 17).astype(np.float32)
    shape = "x".join(map(str, scale.shape))
    text = f"""
    func.func @main(%x: tensor<?x10xf32>) -> tensor<?x17xf32> {{
      %w = arith.constant {dense(weight)} : tensor<17x10xi8>
      %s = arith.constant {dense(scale)} : tensor<{shape}xf32>
      %y = qtx.linear %x, %w scale(%s) {f"block {block}" if block else ""}
          : (tensor<?x10xf32>, tensor<17x10xi8>, tensor<{shape}xf32>) -> tensor<?x17xf32>
      return %y : tensor<?x17xf32>
    }}"""
    x = rng.standard_normal((5, 10)).astype(np.float32)
    scales = np.repeat(scale, 4, axis=1)[:, :10] if block else scale[:, None]
    reference, fast = run_both(text, row, x)
    assert np.all(np.abs(reference - fast) <= float_bound(x, weight * scales, 0))


def test_shared_code():
    """Layers of the same shape do not share their weights."""
    text = """
    func.func @main(%x: tensor<?x3xf32>) -> tensor<?x3xf32> {
      %v = arith.constant dense<2.0> : tensor<3x3xf32>
      %w = arith.constant dense<[[1.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 3.0]]> : tensor<3x3xf32>
      %y = qtx.linear %x, %v : (tensor<?x3xf32>, tensor<3x3xf32>) -> tensor<?x3xf32>
      %z = qtx.linear %y, %w : (tensor<?x3xf32>, tensor<3x3xf32>) -> tensor<?x3xf32>
      return %z : tensor<?x3xf32>
    }"""
    (z,) = qtx.compile_ir(text, fast=True).run("main", np.float32([[1, 2, 3]]))
    assert np.array_equal(z, np.float32([[12, 24, 36]]))
