# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The quantization family, executed: results equal NumPy's bit by bit.

The expected values take every fp32 step of docs/Numerics.md as one np.float32
operation; integers are int64 and the clamp of quantize is made in float64, in which
all bounds are exact.
"""

import functools

import numpy as np
import pytest
import qtx
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numerics import fma32

SPECIAL = [0.0, -0.0, np.nan, np.inf, -np.inf, 3.4028235e38, -3.4028235e38, 1e-45, 1e-38, -1e-8]


def floats(shape, special=True):
    """Arrays of ordinary values, ties, and (`special`) values without bounds."""
    ties = st.integers(-600, 600).map(lambda i: i * 0.25)
    elements = st.one_of(ties, st.floats(-1000, 1000, width=32))
    if special:
        elements = st.one_of(elements, st.sampled_from(SPECIAL), st.floats(width=32))
    return arrays(np.float32, shape, elements=elements)


def integers(shape, low, high, dtype):
    edges = st.sampled_from([low, low + 1, 0, high - 1, high])
    return arrays(dtype, shape, elements=st.one_of(edges, st.integers(low, high)))


class Params:
    """Static parameters of 7 channels in groups, and how the IR writes them."""

    def __init__(self, sizes, scales, zero_points, storage="i8"):
        self.sizes, self.storage = sizes, storage
        self.group_scales = np.float32(scales)
        self.group_zero_points = np.int64(zero_points)
        self.scale = np.repeat(self.group_scales, sizes)
        self.zero_point = np.repeat(self.group_zero_points, sizes)

    @property
    def range(self):
        width = int(self.storage[1:])
        if self.storage[0] == "u":
            return 0, 2**width - 1
        return -(2 ** (width - 1)), 2 ** (width - 1) - 1

    @property
    def stored(self):
        return "i" + self.storage[1:]

    @property
    def type(self):
        pairs = [f"{s:.17e}:{z}" for s, z in zip(self.group_scales, self.group_zero_points)]
        if len(self.sizes) == 1:
            return f"!quant.uniform<{self.storage}:f32, {pairs[0]}>"
        return f"!qtx.grouped<{self.storage}:f32, axis=-1, {list(self.sizes)}, {{{', '.join(pairs)}}}>"

    @property
    def run_time_type(self):
        return f"!qtx.grouped<{self.storage}:f32, axis=-1, {list(self.sizes)}, ?>"


def quantize(x, scale, zero_point, low, high):
    with np.errstate(invalid="ignore", over="ignore"):
        rounded = np.rint(x.astype(np.float32) * (np.float32(1) / np.float32(scale)))
    rounded = np.where(np.isnan(rounded), -np.inf, rounded).astype(np.float64)
    clamped = np.clip(rounded, low - zero_point, high - zero_point)
    return clamped.astype(np.int64) + zero_point


def dequantize(q, scale, zero_point):
    return (q.astype(np.int64) - zero_point).astype(np.float32) * np.float32(scale)


def compile_main(arguments, results, body):
    names = ", ".join(f"%{name}: {type}" for name, type in arguments)
    types = ", ".join(results)
    return qtx.compile_ir(f"func.func @main({names}) -> ({types}) {{\n{body}\n}}")


#===-- quantize, dequantize ------------------------------------------------===#

STORAGES = [
    Params((7,), (0.5,), (3,)),
    Params((1, 6), (0.02, 300.0), (-128, 127)),
    Params((1,) * 7, (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7), (-128, -1, 0, 1, 127, 5, 6)),
    Params((7,), (0.25,), (128,), "u8"),
    Params((3, 4), (0.25, 3.0), (-8, 7), "i4"),
    Params((3, 4), (0.25, 3.0), (0, 15), "u4"),
    Params((2, 5), (0.01, 2.0), (-32768, 17), "i16"),
    Params((2, 5), (1e-6, 2.0), (0, -(2**31)), "i32"),
    Params((7,), (1.0,), (2**31 - 1,), "i32"),
]


def signed_bits(q, params):
    """Stored integers as NumPy shows them: of signed type, with the same bits."""
    low, high = params.range
    size = high - low + 1
    return np.where(q >= size // 2, q - size, q) if params.storage[0] == "u" else q


@functools.lru_cache(maxsize=None)
def compile_quantize(params):
    t = f"tensor<?x7x{params.stored}>"
    return compile_main([("x", "tensor<?x7xf32>")], [t], f"""
      %q = qtx.quantize %x to {params.type} : tensor<?x7xf32> -> {t}
      return %q : {t}""")


@functools.lru_cache(maxsize=None)
def compile_dequantize(params):
    t = f"tensor<?x7x{params.stored}>"
    return compile_main([("q", t)], ["tensor<?x7xf32>"], f"""
      %x = qtx.dequantize %q as {params.type} : {t} -> tensor<?x7xf32>
      return %x : tensor<?x7xf32>""")


@pytest.mark.parametrize("params", STORAGES, ids=lambda p: p.storage)
@given(data=st.data())
def test_quantize(params, data):
    x = data.draw(floats((data.draw(st.integers(0, 3)), 7)))
    (q,) = compile_quantize(params).run("main", x)
    expected = quantize(x, params.scale, params.zero_point, *params.range)
    np.testing.assert_array_equal(q, signed_bits(expected, params))


@pytest.mark.parametrize("params", STORAGES, ids=lambda p: p.storage)
@given(data=st.data())
def test_dequantize(params, data):
    q = data.draw(integers((data.draw(st.integers(0, 3)), 7), *params.range, np.int64))
    dtype = {"4": np.int8, "8": np.int8, "16": np.int16, "32": np.int32}[params.storage[1:]]
    (x,) = compile_dequantize(params).run("main", signed_bits(q, params).astype(dtype))
    np.testing.assert_array_equal(x, dequantize(q, params.scale, params.zero_point))


#===-- requantize ----------------------------------------------------------===#

@functools.lru_cache(maxsize=None)
def compile_requantize(x, y):
    tx, ty = f"tensor<?x7x{x.stored}>", f"tensor<?x7x{y.stored}>"
    return compile_main([("q", tx)], [ty], f"""
      %y = qtx.requantize %q as {x.type} to {y.type} : ({tx}) -> {ty}
      return %y : {ty}""")


@functools.lru_cache(maxsize=None)
def compile_requantize_run_time(x, y):
    """Scales of `x` per group, of `y` per token and group."""
    gx, gy = len(x.sizes), len(y.sizes)
    tx, ty = f"tensor<?x7x{x.stored}>", f"tensor<?x7x{y.stored}>"
    arguments = [("q", tx), ("s", f"tensor<{gx}xf32>"), ("z", f"tensor<{gx}xi32>"),
                 ("t", f"tensor<?x{gy}xf32>"), ("v", f"tensor<?x{gy}xi32>")]
    return compile_main(arguments, [ty], f"""
      %y = qtx.requantize %q scale(%s) zero_point(%z) as {x.run_time_type}
          out_scale(%t) out_zero_point(%v) to {y.run_time_type}
          : ({', '.join(type for _, type in arguments)}) -> {ty}
      return %y : {ty}""")


ACCUMULATORS = Params((1,) * 7, (1e-9, 1e-4, 2e-3, 0.5, 1.0, 7e3, 1e30), (0,) * 7, "i32")
REQUANTIZED = [(STORAGES[a], STORAGES[b]) for a, b in [(0, 1), (1, 0), (2, 1), (1, 2), (6, 0), (0, 6)]]
REQUANTIZED += [(ACCUMULATORS, STORAGES[0]), (ACCUMULATORS, STORAGES[2]), (STORAGES[7], STORAGES[1])]


@pytest.mark.parametrize("x, y", REQUANTIZED, ids=lambda p: f"{p.storage}-{len(p.sizes)}")
@given(data=st.data())
def test_requantize(x, y, data):
    dtype = {"8": np.int8, "16": np.int16, "32": np.int32}[x.storage[1:]]
    q = data.draw(integers((data.draw(st.integers(0, 3)), 7), *x.range, dtype))
    with np.errstate(over="ignore"):
        real = dequantize(q, x.scale, x.zero_point)
    (result,) = compile_requantize(x, y).run("main", q)
    np.testing.assert_array_equal(result, quantize(real, y.scale, y.zero_point, *y.range))


@pytest.mark.parametrize("x, y", [REQUANTIZED[1], REQUANTIZED[2], REQUANTIZED[6]],
                         ids=lambda p: f"{p.storage}-{len(p.sizes)}")
@given(data=st.data())
def test_requantize_run_time(x, y, data):
    rows, groups = data.draw(st.integers(1, 3)), len(y.sizes)
    dtype = {"8": np.int8, "32": np.int32}[x.storage[1:]]
    q = data.draw(integers((rows, 7), *x.range, dtype))
    scale = data.draw(arrays(np.float32, (rows, groups), elements=st.floats(0.001953125, 100, width=32)))
    zero_point = data.draw(integers((rows, groups), -128, 127, np.int32))
    with np.errstate(over="ignore"):
        real = dequantize(q, x.scale, x.zero_point)
    (result,) = compile_requantize_run_time(x, y).run(
        "main", q, x.group_scales, x.group_zero_points.astype(np.int32), scale, zero_point)
    expected = quantize(real, np.repeat(scale, y.sizes, axis=1),
                        np.repeat(zero_point, y.sizes, axis=1), *y.range)
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("params", STORAGES[:7], ids=lambda p: p.storage)
def test_round_trip_is_exact(params):
    """quantize(dequantize(q)) = q for every q up to 16 bits: what the folder relies on."""
    low, high = params.range
    q = np.repeat(np.arange(low, high + 1)[:, None], 7, axis=1)
    real = dequantize(q, params.scale, params.zero_point)
    np.testing.assert_array_equal(quantize(real, params.scale, params.zero_point, low, high), q)


#===-- dynamic_quantize ----------------------------------------------------===#

@functools.lru_cache(maxsize=None)
def compile_dynamic(sizes, storage, symmetric):
    d, groups = sum(sizes), len(sizes)
    results = [f"tensor<?x{d}x{storage}>", f"tensor<?x{groups}xf32>", f"tensor<?x{groups}xi32>"]
    names = ["q", "s", "z"]
    if symmetric:
        results.pop(), names.pop()
    values = ", ".join("%" + name for name in names)
    return compile_main([("x", f"tensor<?x{d}xf32>")], results, f"""
      {values} = qtx.dynamic_quantize %x {"symmetric" if symmetric else ""}
          to !qtx.grouped<{storage}:f32, axis=-1, {list(sizes)}, ?>
          : (tensor<?x{d}xf32>) -> ({', '.join(results)})
      return {values} : {', '.join(results)}""")


def dynamic_params(x, sizes, low, high, symmetric):
    limit = np.float32(np.finfo(np.float32).max) / np.float32(2)
    scales, zero_points = [], []
    for part in np.split(x, np.cumsum(sizes)[:-1], axis=1):
        lo = np.fmin(np.fmin.reduce(part, axis=1), np.float32(0))
        hi = np.fmax(np.fmax.reduce(part, axis=1), np.float32(1e-8))
        lo, hi = np.maximum(lo, -limit), np.minimum(hi, limit)
        if symmetric:
            scales.append(np.maximum(-lo, hi) / np.float32(high))
            zero_points.append(np.zeros(len(x), np.int64))
            continue
        scale = (hi - lo) / np.float32(high - low)
        steps = np.rint(-lo * (np.float32(1) / scale)).astype(np.int64)
        scales.append(scale)
        zero_points.append(np.clip(steps + low, low, high))
    return np.stack(scales, axis=1), np.stack(zero_points, axis=1)


DYNAMIC = [((7,), "i8", False), ((7,), "i8", True), ((5, 1, 1), "i8", False),
           ((1,) * 7, "i8", True), ((1, 6), "i4", False), ((1, 6), "i4", True),
           ((4, 3), "i16", False), ((1,), "i8", False)]


@pytest.mark.parametrize("sizes, storage, symmetric", DYNAMIC)
@given(data=st.data())
def test_dynamic_quantize(sizes, storage, symmetric, data):
    width = int(storage[1:])
    low, high = -(2 ** (width - 1)), 2 ** (width - 1) - 1
    x = data.draw(floats((data.draw(st.integers(0, 4)), sum(sizes))))
    q, scale, *zero_point = compile_dynamic(sizes, storage, symmetric).run("main", x)
    expected_scale, expected_zero_point = dynamic_params(x, sizes, low, high, symmetric)
    np.testing.assert_array_equal(scale, expected_scale)
    if not symmetric:
        np.testing.assert_array_equal(zero_point[0], expected_zero_point)
    channels = [np.repeat(p, sizes, axis=1) for p in (expected_scale, expected_zero_point)]
    np.testing.assert_array_equal(q, quantize(x, *channels, low, high))
    # Whatever the values are, a scale and its reciprocal are normal numbers.
    tiny = np.finfo(np.float32).tiny
    assert np.all(np.isfinite(scale)) and np.all(scale >= tiny)
    assert np.all(np.float32(1) / scale >= tiny)


@given(data=st.data())
def test_dynamic_quantize_error(data):
    """Half a step everywhere, as the widened range holds every value."""
    x = data.draw(floats((3, 7), special=False))
    q, scale, zero_point = compile_dynamic((7,), "i8", False).run("main", x)
    back = (q.astype(np.float64) - zero_point) * scale
    # The zero point is rounded too, which moves the range by up to half a step;
    # 1e-4 covers the fp32 roundings of up to 255 steps.
    assert np.all(np.abs(back - x) <= scale.astype(np.float64) * (1 + 1e-4))


def test_dynamic_quantize_special():
    module = compile_dynamic((7,), "i8", False)
    x = np.float32([
        [0, 0, 0, 0, 0, 0, 0],
        [np.nan] * 7,
        [np.inf, 1, 0, -1, 2, 3, 4],
        [-np.inf, np.inf, np.nan, 0, 1, 2, 3],
        [1e-45, 0, 0, 0, 0, 0, -1e-45],
    ])
    q, scale, zero_point = module.run("main", x)
    empty = np.float32(1e-8) / np.float32(255)
    np.testing.assert_array_equal(scale[[0, 1, 4], 0], [empty] * 3)
    np.testing.assert_array_equal(zero_point[[0, 1, 4], 0], [-128] * 3)
    np.testing.assert_array_equal(q[:2], np.full((2, 7), -128))
    np.testing.assert_array_equal(q[2], [127] + [-128] * 6)
    # -limit and limit are 127.5 steps from zero: 128 after rounding to even.
    np.testing.assert_array_equal(zero_point[3], [0])
    np.testing.assert_array_equal(q[3], [-128, 127, -128, 0, 0, 0, 0])


def test_dynamic_requantize():
    """A quantized operand is dequantized first."""
    x = Params((1,) * 7, (1e-4, 1e-3, 0.5, 1.0, 0.01, 2.0, 0.1), (0,) * 7, "i32")
    module = compile_main(
        [("q", "tensor<?x7xi32>"), ("s", "tensor<7xf32>")],
        ["tensor<?x7xi8>", "tensor<?x2xf32>", "tensor<?x2xi32>"], f"""
      %y, %t, %z = qtx.dynamic_quantize %q scale(%s) as {x.run_time_type}
          to !qtx.grouped<i8:f32, axis=-1, [2, 5], ?>
          : (tensor<?x7xi32>, tensor<7xf32>) -> (tensor<?x7xi8>, tensor<?x2xf32>, tensor<?x2xi32>)
      return %y, %t, %z : tensor<?x7xi8>, tensor<?x2xf32>, tensor<?x2xi32>""")
    q = np.random.default_rng(0).integers(-(2**24), 2**24, (4, 7), dtype=np.int32)
    real = dequantize(q, x.scale, x.zero_point)
    scale, zero_point = dynamic_params(real, (2, 5), -128, 127, False)
    y, t, z = module.run("main", q, x.group_scales)
    np.testing.assert_array_equal(t, scale)
    np.testing.assert_array_equal(z, zero_point)
    channels = [np.repeat(p, (2, 5), axis=1) for p in (scale, zero_point)]
    np.testing.assert_array_equal(y, quantize(real, *channels, -128, 127))


#===-- Golden vectors ------------------------------------------------------===#

# 3 tokens of 6 channels; expected integers are unsigned, the code's minus 128.
X = np.float32([
    [0.09, -8.04, 0.52, 2.05, -0.33, 0.06],
    [-0.21, 6.09, -0.47, -3.01, 0.23, 12.03],
    [0.41, -7.15, 0.61, 1.11, 0.16, 11.01],
])
PER_EMBEDDING = np.array([[123, 0, 234, 255, 0, 1], [0, 255, 0, 0, 255, 255], [255, 16, 255, 208, 223, 233]])
PERMUTED = np.array([[145, 0, 178, 255, 0, 103], [42, 179, 128, 0, 193, 255], [255, 11, 183, 208, 169, 242]])


def test_golden_per_embedding():
    """Parameters per channel, found by the operation: channels are the rows."""
    q, scale, zero_point = compile_dynamic((3,), "i8", False).run("main", np.ascontiguousarray(X.T))
    np.testing.assert_array_equal(q.T, PER_EMBEDDING - 128)
    np.testing.assert_array_equal(zero_point[:, 0], np.array([86, 145, 111, 152, 150, 0]) - 128)
    # The published scales have seven digits.
    np.testing.assert_allclose(
        scale[:, 0], [.0024313725, .0554117647, .0042352941, .0198431373, .0021960784, .0471764706], rtol=1e-7)


def test_golden_per_tensor():
    q, scale, zero_point = compile_dynamic((18,), "i8", False).run("main", X.reshape(1, 18))
    expected = [[103, 0, 109, 128, 98, 103], [99, 179, 96, 64, 105, 255], [107, 11, 110, 116, 104, 242]]
    np.testing.assert_array_equal(q.reshape(3, 6), np.array(expected) - 128)
    assert zero_point[0, 0] == 102 - 128
    np.testing.assert_allclose(scale[0, 0], .0787058824, rtol=1e-7)


def test_golden_permutation():
    """Ranges observed per channel give the permutation; permute, quantize, permute back."""
    observe = compile_observe("min_max", None, False)
    lo, hi = observe.run("main", X[None], np.full(6, np.inf, np.float32), np.full(6, -np.inf, np.float32))
    np.testing.assert_allclose(hi - lo, [.62, 14.13, 1.08, 5.06, .56, 11.97], rtol=1e-6)
    order = np.argsort(hi - lo, kind="stable")
    np.testing.assert_array_equal(order, [4, 0, 2, 3, 5, 1])
    lo, hi = np.minimum(lo, 0).astype(np.float64), hi.astype(np.float64)
    pairs = [(lo[g].min(), hi[g].max()) for g in order.reshape(3, 2)]
    scales = [(b - a) / 255 for a, b in pairs]
    params = ", ".join(f"{s:.17e}:{round(-a / s) - 128}" for s, (a, _) in zip(scales, pairs))
    inverse = np.argsort(order)
    module = compile_main([("x", "tensor<?x6xf32>")], ["tensor<?x6xi8>"], f"""
      %p = arith.constant dense<{order.tolist()}> : tensor<6xi64>
      %i = arith.constant dense<{inverse.tolist()}> : tensor<6xi64>
      %y = qtx.permute %x by %p : (tensor<?x6xf32>, tensor<6xi64>) -> tensor<?x6xf32>
      %q = qtx.quantize %y to !qtx.grouped<i8:f32, axis=-1, [2, 2, 2], {{{params}}}>
          : tensor<?x6xf32> -> tensor<?x6xi8>
      %r = qtx.permute %q by %i : (tensor<?x6xi8>, tensor<6xi64>) -> tensor<?x6xi8>
      return %r : tensor<?x6xi8>""")
    (codes,) = module.run("main", X)
    np.testing.assert_array_equal(codes, PERMUTED - 128)


@pytest.mark.parametrize("name, groups, error, small", [
    ("per-tensor", [[0, 1, 2, 3, 4, 5]], .0048951, (1.1e-3, 2.7e-4)),
    ("K=3", [[0, 1], [2, 3], [4, 5]], .0019999, (1.1e-3, 4.5e-4)),
    ("K=3+P", [[4, 0], [2, 3], [5, 1]], .0019068, (1.8e-6, 1.4e-6)),
    ("per-embedding", [[0], [1], [2], [3], [4], [5]], .0006244, None)])
def test_golden_errors(name, groups, error, small):
    """Squared errors after dequantization, in all and of the smallest channels, 0 and 4."""
    params = []
    for group in groups:
        lo, hi = min(float(X[:, group].min()), 0.0), float(X[:, group].max())
        scale = (hi - lo) / 255
        params.append(f"{scale:.17e}:{round(-lo / scale) - 128}")
    order = sum(groups, [])
    sizes = [len(group) for group in groups]
    quantized = f"!quant.uniform<i8:f32, {params[0]}>" if len(groups) == 1 else \
        f"!qtx.grouped<i8:f32, axis=-1, {sizes}, {{{', '.join(params)}}}>"
    module = compile_main([("x", "tensor<3x6xf32>")], ["tensor<3x6xf32>"], f"""
      %q = qtx.quantize %x : tensor<3x6xf32> -> tensor<3x6x{quantized}>
      %y = qtx.dequantize %q : tensor<3x6x{quantized}> -> tensor<3x6xf32>
      return %y : tensor<3x6xf32>""")
    (y,) = module.run("main", np.ascontiguousarray(X[:, order]))
    squares = np.empty((3, 6))
    squares[:, order] = (y.astype(np.float64) - X[:, order]) ** 2
    # The expected values are rounded to five and two digits.
    assert squares.sum() == pytest.approx(error, abs=1e-6)
    if small:
        np.testing.assert_allclose(squares[:, [0, 4]].sum(axis=0), small, rtol=0.05)


#===-- permute -------------------------------------------------------------===#

@functools.lru_cache(maxsize=None)
def compile_permute(element, index, axis):
    x = f"tensor<?x5x3x{element}>"
    size = {-1: "3", -2: "5", -3: "?"}[axis]
    p = f"tensor<{size}x{index}>"
    return compile_main([("x", x), ("p", p)], [x], f"""
      %y = qtx.permute %x by %p axis {axis} : ({x}, {p}) -> {x}
      return %y : {x}""")


@pytest.mark.parametrize("element, index, axis", [
    ("f32", "i32", -1), ("i8", "i64", -2), ("i1", "index", -3), ("i32", "i32", -2), ("i4", "i64", -1)])
@given(data=st.data())
def test_permute(element, index, axis, data):
    shape = (data.draw(st.integers(1, 4)), 5, 3)
    order = np.array(data.draw(st.permutations(range(shape[axis]))))
    x = np.arange(np.prod(shape)).reshape(shape)
    x = {"f32": x * np.float32(0.5), "i8": x, "i1": x % 2 == 0, "i32": x - 7, "i4": x % 16 - 8}[element]
    x = x.astype({"f32": np.float32, "i8": np.int8, "i1": bool, "i32": np.int32, "i4": np.int8}[element])
    indices = order.astype(np.int32 if index == "i32" else np.int64)
    (y,) = compile_permute(element, index, axis).run("main", x, indices)
    np.testing.assert_array_equal(y, np.take(x, order, axis=axis))


def test_permute_out_of_bounds():
    x = np.arange(15, dtype=np.float32).reshape(1, 5, 3)
    (y,) = compile_permute("f32", "i32", -1).run("main", x, np.int32([-(2**31), 2**31 - 1, 1]))
    np.testing.assert_array_equal(y, x[..., [0, 2, 1]])


#===-- observe -------------------------------------------------------------===#

@functools.lru_cache(maxsize=None)
def compile_observe(observer, momentum, masked, axis=-1, channels=6):
    arguments = [("x", f"tensor<?x?x{channels}xf32>" if axis == -1 else f"tensor<?x{channels}x?xf32>"),
                 ("lo", f"tensor<{channels}xf32>"), ("hi", f"tensor<{channels}xf32>")]
    if masked:
        arguments.append(("m", "tensor<?x?xi1>" if axis == -1 else "tensor<?xi1>"))
    state = f"tensor<{channels}xf32>"
    return compile_main(arguments, [state, state], f"""
      %a, %b = qtx.observe %x, %lo, %hi {"mask(%m)" if masked else ""} axis {axis} observer {observer}
          {f"momentum {momentum}" if momentum is not None else ""}
          : ({', '.join(type for _, type in arguments)}) -> ({state}, {state})
      return %a, %b : {state}, {state}""")


def observe(x, lo, hi, mask, axis, observer, momentum):
    """Per channel, over what counts; the two fp32 steps of the average by fma32."""
    counted = ~np.isnan(x) & mask.reshape(mask.shape + (1,) * (x.ndim - mask.ndim))
    other = tuple(dim for dim in range(x.ndim) if dim != axis + x.ndim)
    low = np.where(counted, x, np.inf).min(axis=other, initial=np.inf).astype(np.float32)
    high = np.where(counted, x, -np.inf).max(axis=other, initial=-np.inf).astype(np.float32)
    if observer == "min_max":
        return np.fmin(low, lo), np.fmax(high, hi)
    new = [low, high]
    if observer == "running":
        rest = np.float32(1) - np.float32(momentum)
        with np.errstate(invalid="ignore", over="ignore"):
            new = [np.where(lo <= hi, fma32(np.float32(momentum), old, rest * bound), bound)
                   for old, bound in ((lo, low), (hi, high))]
    return tuple(np.where(low <= high, bound, old) for bound, old in zip(new, (lo, hi)))


OBSERVERS = [("min_max", None, False, -1), ("min_max", None, True, -1), ("current", None, True, -1),
             ("running", 0.9, False, -1), ("running", 0.75, True, -2), ("running", 0.0, True, -1)]


@pytest.mark.parametrize("observer, momentum, masked, axis", OBSERVERS)
@given(data=st.data())
def test_observe(observer, momentum, masked, axis, data):
    """Several batches in a row, the first with an empty state."""
    module = compile_observe(observer, momentum, masked, axis)
    lo, hi = np.full(6, np.inf, np.float32), np.full(6, -np.inf, np.float32)
    for _ in range(3):
        outer = data.draw(st.tuples(st.integers(0, 2), st.integers(0, 2)))
        shape = outer + (6,) if axis == -1 else (outer[0], 6, outer[1])
        x = data.draw(floats(shape))
        mask = data.draw(arrays(np.bool_, outer if axis == -1 else outer[:1]))
        result = module.run("main", x, lo, hi, *([mask] if masked else []))
        expected = observe(x, lo, hi, mask if masked else np.ones_like(mask), axis, observer, momentum)
        for actual, wanted in zip(result, expected):
            # Equality of values: the sign of a zero bound is not specified.
            np.testing.assert_array_equal(actual, wanted)
        lo, hi = result


#===-- Types of the quant dialect ------------------------------------------===#

def test_convert_quant_types():
    """Unsigned upstream types and casts become signed ones of qtx, with equal values."""
    types = {
        "axis": "!quant.uniform<u8:f32:1, {0.5:128, 2.0:3, 0.125}>",
        "blocks": "!quant.uniform<u8:f32:{0:2}, {{0.5:7}, {2.0:255}}>",
        "tensor": "!quant.uniform<u8:f32, 0.25:99>",
    }
    scale = {"axis": [0.5, 2, 0.125], "blocks": [[0.5]] * 2 + [[2]] * 2, "tensor": 0.25}
    zero = {"axis": [128, 3, 0], "blocks": [[7]] * 2 + [[255]] * 2, "tensor": 99}
    random = np.random.default_rng(0)
    stored = random.integers(0, 256, (4, 3), dtype=np.uint8)
    real = random.normal(scale=100, size=(4, 3)).astype(np.float32)
    for name, quantized in types.items():
        text = qtx.run_passes(f"""
          func.func @main(%i: tensor<4x3xi8>, %x: tensor<4x3xf32>) -> (tensor<4x3xf32>, tensor<4x3xi8>) {{
            %q = quant.scast %i : tensor<4x3xi8> to tensor<4x3x{quantized}>
            %y = quant.dcast %q : tensor<4x3x{quantized}> to tensor<4x3xf32>
            %r = quant.qcast %x : tensor<4x3xf32> to tensor<4x3x{quantized}>
            %j = quant.scast %r : tensor<4x3x{quantized}> to tensor<4x3xi8>
            return %y, %j : tensor<4x3xf32>, tensor<4x3xi8>
          }}""", "builtin.module(qtx-convert-quant-types)")
        assert "u8" not in text
        y, j = qtx.compile_ir(text).run("main", stored.view(np.int8), real)
        s, z = np.float32(scale[name]), np.int64(zero[name])
        np.testing.assert_array_equal(y, dequantize(stored, s, z))
        np.testing.assert_array_equal(j.view(np.uint8), quantize(real, s, z, 0, 255))
