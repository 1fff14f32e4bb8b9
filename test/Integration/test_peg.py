# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""PEG parameters from ranges, and the integers they give."""

import functools

import numpy as np
import pytest
import qtx
from hypothesis import given
from hypothesis import strategies as st
from qtx import peg

X = np.float32([
    [0.09, -8.04, 0.52, 2.05, -0.33, 0.06],
    [-0.21, 6.09, -0.47, -3.01, 0.23, 12.03],
    [0.41, -7.15, 0.61, 1.11, 0.16, 11.01],
])
IDENTITY, SORTED = [0, 1, 2, 3, 4, 5], [4, 0, 2, 3, 5, 1]

# (K, order, scales, zero points, integers in the order of the channels, SSE of all and
# of channels 0 and 4). Zero points and integers are unsigned here.
GOLDEN = {
    "per-tensor": (
        1, IDENTITY, [0.0787058824], [102],
        [[103, 0, 109, 128, 98, 103], [99, 179, 96, 64, 105, 255],
         [107, 11, 110, 116, 104, 242]], (0.0048951, 1.1e-3, 2.7e-4)),
    "K=3": (
        3, IDENTITY, [0.0554117647, 0.0198431373, 0.0484705882], [145, 152, 7],
        [[147, 0, 178, 255, 0, 8], [141, 255, 128, 0, 12, 255],
         [152, 16, 183, 208, 10, 234]], (0.0019999, 1.1e-3, 4.5e-4)),
    "K=3+P": (
        3, SORTED, [0.0029019608, 0.0198431373, 0.0787058824], [114, 152, 102],
        [[145, 0, 178, 255, 0, 103], [42, 179, 128, 0, 193, 255],
         [255, 11, 183, 208, 169, 242]], (0.0019068, 1.8e-6, 1.4e-6)),
    "per-embedding": (
        6, IDENTITY,
        [0.0024313725, 0.0554117647, 0.0042352941, 0.0198431373, 0.0021960784, 0.0471764706],
        [86, 145, 111, 152, 150, 0],
        [[123, 0, 234, 255, 0, 1], [0, 255, 0, 0, 255, 255],
         [255, 16, 255, 208, 223, 233]], (0.0006244, None, None)),
}


@functools.lru_cache(maxsize=None)
def compile_quantizer(type_text, channels):
    """@quantize and @dequantize."""
    f, i = f"tensor<?x{channels}xf32>", f"tensor<?x{channels}xi8>"
    return qtx.compile_ir(f"""
      func.func @quantize(%x: {f}) -> {i} {{
        %q = qtx.quantize %x to {type_text} : {f} -> {i}
        return %q : {i}
      }}
      func.func @dequantize(%q: {i}) -> {f} {{
        %x = qtx.dequantize %q as {type_text} : {i} -> {f}
        return %x : {f}
      }}""")


def test_golden_permutation():
    low, high = peg.channel_ranges(X)
    np.testing.assert_allclose(
        high - low, [0.62, 14.13, 1.08, 5.06, 0.56, 11.97], rtol=0, atol=1e-6)
    np.testing.assert_array_equal(peg.permutation(low, high), SORTED)


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_schemes(name):
    groups, order, scales, zero_points, codes, (sse, sse0, sse4) = GOLDEN[name]
    low, high = peg.channel_ranges(X)
    actual = peg.parameters(low[order], high[order], peg.equal_groups(6, groups))
    np.testing.assert_allclose(actual.scales, scales, rtol=2e-7)
    np.testing.assert_array_equal(actual.zero_points + 128, zero_points)

    module = compile_quantizer(actual.type_text(), 6)
    (stored,) = module.run("quantize", X[:, order])
    np.testing.assert_array_equal(stored.astype(int) + 128, np.array(codes)[:, order])
    (back,) = module.run("dequantize", stored)
    errors = np.empty(6)
    errors[order] = np.sum((back.astype(np.float64) - X[:, order]) ** 2, axis=0)
    # Printed to seven and to two digits.
    assert errors.sum() == pytest.approx(sse, abs=1e-7)
    if sse0 is not None:
        assert errors[0] == pytest.approx(sse0, rel=0.06)
        assert errors[4] == pytest.approx(sse4, rel=0.06)


def test_equal_ranges_keep_their_order():
    """Unlike an unstable sort, which reorders from 17 channels on."""
    low = np.zeros(40, np.float32)
    high = np.tile(np.float32([2, 1]), 20)
    expected = [*range(1, 40, 2), *range(0, 40, 2)]
    np.testing.assert_array_equal(peg.permutation(low, high), expected)


def test_guards():
    """Ranges of zeros, one-sided and infinite ranges give usable parameters."""
    low = np.float32([0, 0.5, -2, -np.inf])
    high = np.float32([0, 1.0, -1, np.inf])
    p = peg.parameters(low, high, [1, 1, 1, 1])
    assert np.all(np.isfinite(p.scales)) and np.all(p.scales >= np.finfo(np.float32).tiny)
    np.testing.assert_array_equal(p.zero_points[:3], [-128, -128, 127])
    np.testing.assert_allclose(p.scales[:3], [1e-8 / 255, 1 / 255, 2 / 255], rtol=1e-6)
    qtx.compile_ir(f"""
      func.func @main(%x: tensor<?x4xf32>) -> tensor<?x4xi8> {{
        %q = qtx.quantize %x to {p.type_text()} : tensor<?x4xf32> -> tensor<?x4xi8>
        return %q : tensor<?x4xi8>
      }}""")


@pytest.mark.parametrize("call", [
    lambda: peg.equal_groups(6, 4),
    lambda: peg.equal_groups(6, 0),
    lambda: peg.parameters([0.0], [1.0], [2]),
    lambda: peg.parameters([0.0, 0.0], [1.0, 1.0], [2, 0]),
    lambda: peg.parameters([0.0], [1.0], [1], bits=7),
    lambda: peg.permutation([0.0, 1.0], [1.0]),
    lambda: peg.permutation([0.0, np.nan], [1.0, 1.0]),
    lambda: peg.permutation([2.0], [1.0]),
    lambda: peg.channel_ranges(np.zeros((0, 3))),
])
def test_rejected(call):
    with pytest.raises(ValueError, match="expected"):
        call()


@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 2, 3, 6]))
def test_error_bound(seed, groups):
    """A value of the range moves by at most a step, and zero not at all."""
    rng = np.random.default_rng(seed)
    x = (rng.normal(size=(4, 6)) * np.exp2(rng.integers(-8, 9, 6))).astype(np.float32)
    x[0] = 0
    low, high = peg.channel_ranges(x)
    order = peg.permutation(low, high)
    p = peg.parameters(low[order], high[order], peg.equal_groups(6, groups))
    module = compile_quantizer.__wrapped__(p.type_text(), 6)
    (stored,) = module.run("quantize", x[:, order])
    (back,) = module.run("dequantize", stored)
    np.testing.assert_array_equal(back[0], np.zeros(6))
    steps = np.repeat(p.scales, p.sizes)
    # Rounding moves it by half a step, saturation (the zero point is rounded) by another.
    assert np.all(np.abs(back - x[:, order]) <= steps * 1.001)
