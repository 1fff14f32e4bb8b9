# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The fast path against the reference path, executed."""

import ctypes
import functools
import itertools
import math
import mmap
import os
import re
from typing import NamedTuple, Tuple

import cpus
import numpy as np
import pytest
import qtx
from hypothesis import given, settings
from hypothesis import strategies as st

UNIT = np.float64(2.0**-23)
# Tails of every kind: rows of tiles of 8 and 6, lanes of vectors of 16 and 8.
ROWS = (1, 2, 3, 5, 6, 7, 8, 9, 13, 16, 23, 32, 40, 75)
OUTPUTS = (1, 7, 8, 15, 16, 17, 31, 32, 33, 47, 48, 49, 64, 96, 100, 113)
SIZES = (1, 2, 3, 4, 5, 7, 16, 31, 33, 64, 129)


def params(suffix, is_last):
    names = [name for name in cpus.MICRO_KERNELS if name.endswith(suffix) == is_last]
    return cpus.params(names, cpus.MICRO_KERNELS.get)


FLOAT_ROWS = params("-fma", True)
INTEGER_ROWS = params("-fma", False)
# Tile registers leave what they would mostly pad to the dot product. Few weights may fit short sums.
STAND_INS = {"x86-amx-int8": "x86-avx512-vnni", "x86-avx2-int16": "x86-avx2-int8"}
# The row whose weights have to fit short sums.
SHORT_ROW = "x86-avx2-int8"
MAX_SHORT_SUM = 128


def dense(array):
    """A constant of the IR, bit for bit."""
    data = np.ascontiguousarray(array)
    return f'dense<"0x{data.tobytes().hex().upper()}">' if data.size > 1 else f"dense<{data.item()!r}>"


@functools.lru_cache(maxsize=None)
def compile_both(text, row, opt_level=None):
    fast = f"module attributes {{{cpus.target(cpus.MICRO_KERNELS[row])}}} {{ {text} }}"
    configured = qtx.run_passes(fast, "builtin.module(qtx-to-storage,any(qtx-configure))")
    assert row in configured or STAND_INS.get(row, row) in configured, "expected the row to be taken"
    return qtx.compile_ir(text), qtx.compile_ir(fast, opt_level=opt_level, fast=True)


def run_both(text, row, *arrays, opt_level=None):
    reference, fast = compile_both(text, row, opt_level)
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
@pytest.mark.parametrize("size, outputs, activation",
                         [(300, 33, "relu"), (800, 17, "none"), (400, 401, "gelu")])
def test_float_linear_of_long_panels(row, size, outputs, activation):
    """Panels that are longer than the first-level cache."""
    text, weight = float_linear(size, outputs, "full", activation)
    rng = np.random.default_rng(2)
    x = rng.standard_normal((41, size)).astype(np.float32)
    b = rng.standard_normal((41, outputs)).astype(np.float32)
    reference, fast = run_both(text, row, x, b)
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


class IntegerLinear(NamedTuple):
    """A linear of integers. Groups are sizes of parts of the contracted axis."""

    rows: int
    groups: Tuple[int, ...]
    outputs: int
    dynamic: str = ""  # "", "scale", "zero_point"
    per_token: bool = False
    unsigned: bool = False
    weight: str = "i8"
    block: int = 0
    seed: bool = False
    bias: str = "none"
    activation: str = "none"
    result: str = "f32"  # "f32", "tensor", "groups", "unsigned"
    values: str = "random"
    scale: float = 1.0
    scaled: bool = False  # a scale_shift before the quantizer
    join: bool = False  # of segments in int32, where they are static

    @property
    def joins_integers(self):
        return self.join and not self.dynamic and not self.block

    @property
    def size(self):
        return sum(self.groups)


def group_type(storage, sizes, scales, zero_points):
    if len(sizes) == 1:
        return f"!quant.uniform<{storage}:f32, {scales[0]:.9e}:{zero_points[0]}>"
    pairs = ", ".join(f"{s:.9e}:{z}" for s, z in zip(scales, zero_points))
    return f"!qtx.grouped<{storage}:f32, axis=-1, {list(sizes)}, {{{pairs}}}>"


def integers(rng, kind, low, high, shape):
    if kind == "random":
        return rng.integers(low, high + 1, shape)
    return np.full(shape, low if kind == "low" else high)


def get_segments(case):
    """Begins and ends of parts of the contracted axis with one scale."""
    ends = set(np.cumsum(case.groups)) | set(range(case.block or case.size, case.size, case.block or case.size))
    return list(itertools.pairwise([0, *sorted(ends)]))


def fit_row(row, weight, segments):
    """Weights that a row takes. Those of `SHORT_ROW` are so small that 16 bits add up the products of
    two words of four channels of a segment: the first halves of both in one sum, the second
    halves in another."""
    if row != SHORT_ROW:
        return weight
    weight = weight.copy()
    for begin, end in segments:
        for k in range(begin, end):
            step = begin + (k - begin) // 8 * 8
            before = weight[:, [i for i in range(step, k) if (i - step) // 2 % 2 == (k - step) // 2 % 2]]
            low = -MAX_SHORT_SUM - np.minimum(before, 0).sum(axis=1)
            high = MAX_SHORT_SUM - np.maximum(before, 0).sum(axis=1)
            weight[:, k] = np.clip(weight[:, k], low, high)
    return weight


def result_type(case, rng):
    """The type attribute of the result and of its tensor's elements."""
    if case.result == "f32":
        return "", "f32"
    if case.result == "groups":
        sizes = [n for n in (case.outputs // 2, case.outputs - case.outputs // 2) if n]
        scales, zero_points = rng.uniform(1e-3, 1, len(sizes)), rng.integers(-128, 128, len(sizes))
        return "to " + group_type("i8", sizes, scales, zero_points), "i8"
    storage, shift = ("u8", 128) if case.result == "unsigned" else ("i8", 0)
    zero_point = rng.integers(-128, 128) + shift
    return f"to !quant.uniform<{storage}:f32, {rng.uniform(1e-3, 1):.9e}:{zero_point}>", "i8"


def integer_linear(case, seed, row):
    """The text of a module, which is the same for all numbers of rows, and its arguments."""
    rng, inputs = np.random.default_rng(seed), np.random.default_rng((seed, case.rows))
    size, outputs, count = case.size, case.outputs, len(case.groups)
    low = 0 if case.unsigned else -128
    dims, arrays, arguments, clauses, types = f"?x{size}", [], [], [], []

    def add(name, type, array, clause):
        arguments.append(f"%{name}: {type}")
        arrays.append(array)
        use(name, type, clause)

    def use(name, type, clause):
        clauses.append(clause.format(f"%{name}"))
        types.append(type)

    x = integers(inputs, case.values, low, low + 255, (case.rows, size))
    add("x", f"tensor<{dims}xi8>", x.astype(np.uint8).view(np.int8), "{}")
    storage = "u8" if case.unsigned else "i8"
    if case.dynamic:
        shape = (case.rows, count) if case.per_token else (count,)
        text = f"?x{count}" if case.per_token else f"{count}"
        scale = inputs.uniform(1e-3, 1, shape).astype(np.float32)
        add("xs", f"tensor<{text}xf32>", scale, "scale({})")
        if case.dynamic == "zero_point":
            zero_point = inputs.integers(low, low + 256, shape).astype(np.int32)
            add("xz", f"tensor<{text}xi32>", zero_point, "zero_point({})")
        clauses.append(f"as !qtx.grouped<{storage}:f32, axis=-1, {list(case.groups)}, ?>")
    else:
        scales, zero_points = rng.uniform(1e-3, 1, count), rng.integers(low, low + 256, count)
        if case.joins_integers:
            # Multiples up to rounding, of which the smallest counts.
            scales = rng.uniform(1e-3, 1) * rng.choice((1, 1 + 2e-7, 3, 6, 30), count)
        clauses.append("as " + group_type(storage, case.groups, scales, zero_points))
    clauses.append(",")

    constants = []

    def constant(name, array, type, clause):
        constants.append(f"%{name} = arith.constant {dense(array)} : {type}")
        use(name, type, clause)

    least, most = (-127, 127) if case.weight == "i8" else (-8, 7)
    weight = integers(rng, case.values, least, most, (outputs, size))
    if case.weight == "i8":
        weight = fit_row(row, weight, get_segments(case))
    weight = weight.astype(np.int8)
    if case.weight == "i4":
        text = "[" + ", ".join(str(list(map(int, row))) for row in weight) + "]"
        constants.append(f"%w = arith.constant dense<{text}> : tensor<{outputs}x{size}xi4>")
        use("w", f"tensor<{outputs}x{size}xi4>", "{}")
    else:
        constant("w", weight, f"tensor<{outputs}x{size}xi8>", "{}")
    shape = (outputs, -(-size // case.block)) if case.block else (outputs,)
    scale = (case.scale * rng.uniform(1e-3, 1, shape)).astype(np.float32)
    constant("ws", scale, f"tensor<{'x'.join(map(str, shape))}xf32>", "scale({})")
    if case.block:
        clauses.append(f"block {case.block}")
    y_text, y_element = result_type(case, rng)
    epilogue = ""
    if case.scaled and y_text:
        y, codes = f"tensor<?x{outputs}xf32>", f"tensor<?x{outputs}xi8>"
        for name in ("gain", "shift"):
            values = rng.standard_normal(outputs).astype(np.float32)
            constants.append(f"%{name} = arith.constant {dense(values)} : tensor<{outputs}xf32>")
        epilogue = f"""
          %scaled = qtx.scale_shift %y gain(%gain) shift(%shift)
              : ({y}, tensor<{outputs}xf32>, tensor<{outputs}xf32>) -> {y}
          %codes = qtx.quantize %scaled {y_text} : {y} -> {codes}
          return %codes : {codes}"""
        y_text, y_element = "", "f32"
    y_type = f"tensor<?x{outputs}x{y_element}>"
    if case.bias != "none":
        shape = (case.rows, outputs) if case.bias == "full" else (outputs,)
        text = f"{outputs}" if case.bias != "full" else f"?x{outputs}"
        source = rng if case.bias == "constant" else inputs
        bias = source.standard_normal(shape).astype(np.float32)
        if bias.size > 2 and case.bias != "constant":
            bias.flat[1] = np.nan
            bias.flat[2] = -np.inf
        if case.bias == "constant":
            constant("b", bias, f"tensor<{text}xf32>", "bias({})")
        else:
            add("b", f"tensor<{text}xf32>", bias, "bias({})")
    if case.seed:
        segments = len(get_segments(case))
        seeds = rng.integers(-1000, 1000, (segments, outputs)).astype(np.int32)
        constant("seed", seeds, f"tensor<{segments}x{outputs}xi32>", "seed({})")
    if case.joins_integers:
        clauses.append("integer_join")
    text = f"""
    func.func @main({", ".join(arguments)}) -> {y_type} {{
      {"".join(line + chr(10) for line in constants)}
      %y = qtx.linear {" ".join(clauses)} activation {case.activation} {y_text}
          : ({", ".join(types)}) -> {y_type}
      {epilogue or f"return %y : {y_type}"}
    }}"""
    if epilogue:
        text = text.replace(f"-> {y_type} {{", f"-> {codes} {{", 1)
    return text, arrays


def takes_table(case, row):
    """Whether the activation may come from a table: to bytes, from sums whose size is known."""
    return (row in ("x86-avx512-vnni", "x86-amx-int8") and case.activation not in ("none", "relu")
            and case.result != "f32" and case.bias in ("none", "constant")
            and not case.dynamic and not case.seed)


def view_bits(array):
    """Bits, for the sign of zero too. Which sign NaN has depends on the order of operands, which
    compilers may change: only where it is counts."""
    if array.dtype == np.float32:
        array = np.where(np.isnan(array), np.float32(np.nan), array)
    return array.view(np.uint8)


def check_integer_linear(case, row, seed, opt_level=None):
    text, arrays = integer_linear(case, seed, row)
    reference, fast = run_both(text, row, *arrays, opt_level=opt_level)
    if takes_table(case, row):
        # How many may differ, `check_codes_of_activation` knows; inputs here may all be equal.
        codes = np.uint8 if case.result == "unsigned" else np.int8
        assert np.abs(fast.view(codes).astype(int) - reference.view(codes)).max() <= 1
        return
    np.testing.assert_array_equal(view_bits(fast), view_bits(reference))


def check_codes_of_activation(reference, fast):
    """Numerics.md, section 14: a table moves a quotient by 2^-7 before it is rounded, so that
    one code in 64 changes on average; twice that is allowed, and a few in small samples."""
    difference = np.abs(fast.astype(int) - reference)
    assert difference.max() <= 1
    assert difference.sum() <= difference.size / 32 + 3


PARTITIONS = ((1,), (2,), (3,), (4,), (7,), (64,), (129,), (6, 1), (5, 3, 9), (8, 8, 8), (64, 3),
              (1,) * 5, (3,) * 11, (32, 32, 32, 32, 1), (4, 4, 5, 5, 5, 4), (192,), (64, 64, 128, 3), (130, 62), (65, 60, 70))


LINEARS = st.builds(
    IntegerLinear, st.sampled_from(ROWS), st.sampled_from(PARTITIONS), st.sampled_from(OUTPUTS),
    dynamic=st.sampled_from(("", "", "scale", "zero_point")), per_token=st.booleans(),
    unsigned=st.booleans(), weight=st.sampled_from(("i8", "i8", "i4")),
    block=st.sampled_from((0, 0, 3, 32)), seed=st.booleans(),
    bias=st.sampled_from(("none", "vector", "constant", "full")),
    activation=st.sampled_from(("none", "relu", "gelu", "gelu_tanh", "silu")),
    result=st.sampled_from(("f32", "tensor", "groups", "unsigned")),
    values=st.sampled_from(("random", "random", "low", "high")),
    scale=st.sampled_from((1.0, 1.0, 1e30)), scaled=st.booleans(), join=st.booleans())


# Each example compiles a module of its own.
@pytest.mark.parametrize("row", INTEGER_ROWS)
@settings(max_examples=8 if cpus.is_emulated() else 25)
@given(LINEARS, st.integers(0, 2**32 - 1))
def test_integer_linear(row, case, seed):
    check_integer_linear(case, row, seed)


# Tails of words of nibbles, and of blocks. The smallest scales leave none to divide.
@pytest.mark.parametrize("row", INTEGER_ROWS)
@settings(max_examples=25)
@given(st.builds(
    IntegerLinear, st.sampled_from(ROWS), st.sampled_from(PARTITIONS + ((256,), (100,), (320,), (12, 45))),
    st.sampled_from(OUTPUTS + (192, 210)), dynamic=st.sampled_from(("", "", "scale", "zero_point")),
    per_token=st.booleans(), unsigned=st.booleans(), weight=st.just("i4"),
    block=st.sampled_from((0, 8, 20, 32, 64, 128)), bias=st.sampled_from(("none", "full")),
    activation=st.sampled_from(("none", "gelu")), result=st.sampled_from(("f32", "tensor", "groups", "unsigned")),
    values=st.sampled_from(("random", "random", "low", "high")), scale=st.sampled_from((1.0, 1.0, 1e30, 2e-35)),
    scaled=st.booleans()), st.integers(0, 2**32 - 1))
def test_nibbles(row, case, seed):
    check_integer_linear(case, row, seed)


@pytest.mark.parametrize("row", INTEGER_ROWS)
@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("dynamic", ("", "zero_point"))
def test_rows_of_nibbles(row, rows, dynamic):
    """Few rows sum up the weights, others read the sums."""
    check_integer_linear(IntegerLinear(rows, (64, 32, 7), 209, dynamic=dynamic, per_token=True, weight="i4",
                                       block=32, result="tensor"), row, 0)


@pytest.mark.parametrize("row", INTEGER_ROWS)
@pytest.mark.parametrize("rows", (1, 2, 7))
@pytest.mark.parametrize("block", (32, 128))
@pytest.mark.parametrize("weight", (-8, 7))
@pytest.mark.parametrize("code, zero_point", ((255, 0), (0, 255), (255, 255)))
def test_largest_sums_of_nibbles(row, rows, block, weight, code, zero_point):
    """What is added up in 16 bits is as large as can be; channels that fill no word are left."""
    size, outputs = 300, 75
    blocks = -(-size // block)
    x, w, s = f"tensor<?x{size}xi8>", f"tensor<{outputs}x{size}xi4>", f"tensor<{outputs}x{blocks}xf32>"
    text = f"""
    func.func @main(%x: {x}) -> tensor<?x{outputs}xf32> {{
      %w = arith.constant dense<{weight}> : {w}
      %s = arith.constant dense<0.5> : {s}
      %y = qtx.linear %x as !quant.uniform<u8:f32, 0.5:{zero_point}>, %w scale(%s) block {block}
          : ({x}, {w}, {s}) -> tensor<?x{outputs}xf32>
      return %y : tensor<?x{outputs}xf32>
    }}"""
    reference, fast = run_both(text, row, np.full((rows, size), code, np.uint8).view(np.int8))
    np.testing.assert_array_equal(fast, reference)


@pytest.mark.parametrize("row", INTEGER_ROWS)
@settings(max_examples=5)
@given(LINEARS, st.integers(0, 2**32 - 1))
def test_optimized_linear(row, case, seed):
    """As objects are compiled."""
    check_integer_linear(case, row, seed, opt_level=2)


# Rows and channels that tile registers take, and what they leave.
TILED = [
    # Tiles alone; rows that are left; the last step moves back.
    IntegerLinear(32, (64,), 32, bias="vector", result="tensor"),
    IntegerLinear(75, (129,), 49, bias="full", activation="relu"),
    IntegerLinear(64, (192,), 33, unsigned=True, result="groups", activation="gelu"),
    # Segments: equal ones, a small one, steps that read the next one.
    IntegerLinear(64, (64, 64, 64, 64), 64, bias="vector"),
    IntegerLinear(64, (64, 64, 64, 64), 64, bias="vector", join=True),
    IntegerLinear(75, (130, 12), 49, unsigned=True, result="groups", join=True),
    IntegerLinear(96, (130, 62), 48, bias="full", result="unsigned"),
    IntegerLinear(40, (65, 60, 70), 17, dynamic="zero_point", per_token=True),
    IntegerLinear(33, (100,), 32, dynamic="scale", weight="i4", seed=True),
    # Sums that wrap around.
    IntegerLinear(32, (192,), 32, seed=True, values="high"),
    # More steps than a tile has rows, and some that are left; rows that the first-level cache does
    # not hold, whose tiles fetch the next panel.
    IntegerLinear(64, (2240,), 49, bias="vector", result="tensor"),
    IntegerLinear(160, (1600,), 97, bias="vector", result="unsigned"),
]


@pytest.mark.parametrize("row", cpus.params(["x86-amx-int8"], cpus.MICRO_KERNELS.get))
@pytest.mark.parametrize("number", range(len(TILED)))
def test_tiles(row, number):
    check_integer_linear(TILED[number], row, number)


@pytest.mark.parametrize("row", INTEGER_ROWS)
@pytest.mark.parametrize("panels", (1, 2, 3, 9))
def test_spans_of_panels(row, panels):
    """All rows meet some panels before the next ones; the last span is shorter."""
    text, arrays = integer_linear(IntegerLinear(75, (70, 31), 241, bias="vector", result="tensor"), 0, row)
    fast = f"module attributes {{{cpus.target(cpus.MICRO_KERNELS[row])}}} {{ {text} }}"
    configured = qtx.run_passes(fast, "builtin.module(qtx-to-storage,any(qtx-configure))")
    spans, count = re.subn(r"block = \d+>", f"block = 32, panels = {panels}>", configured)
    assert count == 1
    result, = qtx.compile_ir(spans, fast=True).run("main", *arrays)
    expected, = qtx.compile_ir(text).run("main", *arrays)
    np.testing.assert_array_equal(result, expected)


# Several tiles and panels, and as many steps as a tile has vectors or more: tiles end
# beside the products of the next ones, a vector at a time.
STAGED = [
    # A short segment behind a long one, before it, and with both beside rows alone.
    IntegerLinear(40, (100, 8), 97, bias="vector", result="groups"),
    IntegerLinear(33, (8, 105), 96, bias="full", activation="relu"),
    IntegerLinear(75, (40, 5), 49, bias="vector", result="unsigned"),
    IntegerLinear(19, (108, 5), 48, dynamic="zero_point", per_token=True),
    IntegerLinear(24, (256, 16), 96, weight="i4", bias="vector", result="tensor"),
    IntegerLinear(16, (120, 12), 96, seed=True, values="high"),
]


@pytest.mark.parametrize("row", INTEGER_ROWS)
@pytest.mark.parametrize("number", range(len(STAGED)))
def test_ends_beside_products(row, number):
    check_integer_linear(STAGED[number], row, number)


@pytest.mark.parametrize("row", INTEGER_ROWS)
@pytest.mark.parametrize("rows", ROWS)
def test_integer_rows(row, rows):
    check_integer_linear(IntegerLinear(rows, (64, 32, 7), 49, bias="vector", result="tensor"), row, 0)


@pytest.mark.parametrize("row", INTEGER_ROWS)
@pytest.mark.parametrize("activation", ("gelu", "gelu_tanh", "silu"))
def test_integer_activations(row, activation):
    """The same sums and the same polynomials: no bound is needed. Sums of any size and
    results in f32 take no table."""
    case = IntegerLinear(13, (33, 8), 49, bias="full", activation=activation, result="tensor")
    check_integer_linear(case, row, 0)
    check_integer_linear(case._replace(result="f32", bias="constant"), row, 1)


@pytest.mark.parametrize("row", INTEGER_ROWS)
@pytest.mark.parametrize("activation", ("gelu", "gelu_tanh", "silu"))
@pytest.mark.parametrize("scaled", (False, True))
@pytest.mark.parametrize("groups", ((33, 8), (120, 9)))
def test_tabulated_activations(row, activation, scaled, groups):
    case = IntegerLinear(130, groups, 49, bias="constant", activation=activation,
                         result="groups", scaled=scaled)
    text, arrays = integer_linear(case, 1, row)
    check_codes_of_activation(*run_both(text, row, *arrays))


@pytest.mark.parametrize("row", INTEGER_ROWS)
@pytest.mark.parametrize("activation", ("gelu", "gelu_tanh", "silu"))
def test_activations_over_their_range(row, activation):
    """Every interval of a table and what lies beyond: codes against exact functions."""
    exact = {"gelu": lambda x: x / 2 * (1 + np.vectorize(math.erf)(x / math.sqrt(2))),
             "gelu_tanh": lambda x: x / 2 * (
                 1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
             "silu": lambda x: x / (1 + np.exp(-x))}[activation]
    text = f"""
    func.func @main(%x: tensor<?x2xi8>) -> tensor<?x16xi8> {{
      %w = arith.constant dense<"0x{np.tile(np.int8([127, 1]), 16).tobytes().hex()}"> : tensor<16x2xi8>
      %s = arith.constant dense<1.0e-3> : tensor<1xf32>
      %y = qtx.linear %x as !quant.uniform<i8:f32, 1.0>, %w scale(%s) activation {activation}
          to !quant.uniform<i8:f32, 0.07:-100>
          : (tensor<?x2xi8>, tensor<16x2xi8>, tensor<1xf32>) -> tensor<?x16xi8>
      return %y : tensor<?x16xi8>
    }}"""
    codes = np.stack(np.meshgrid(np.arange(-128, 128), np.arange(-128, 128)), -1)
    x = codes.reshape(-1, 2).astype(np.int8)
    reference, fast = run_both(text, row, x)
    check_codes_of_activation(reference, fast)
    quotient = exact((x @ np.array([127, 1])) * 1e-3) / 0.07
    nearest = np.clip(np.rint(quotient) - 100, -128, 127)
    assert np.abs(fast[:, 0] - nearest).max() <= 1
    # Away from ties every code is that of the exact function.
    is_clear = np.abs(quotient - np.floor(quotient) - 0.5) > 0.01
    np.testing.assert_array_equal(fast[is_clear, 0], nearest[is_clear])


def guard(array, at_end):
    """A copy of `array` that begins or ends beside a page that cannot be read."""
    page = mmap.PAGESIZE
    size = -(-array.nbytes // page) * page
    memory = mmap.mmap(-1, size + 2 * page)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for offset in (0, page + size):
        assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(start + offset), page, 0) == 0
    offset = page + (size - array.nbytes if at_end else 0)
    copy = np.frombuffer(memory, array.dtype, array.size, offset).reshape(array.shape)
    copy[...] = array
    return copy


@pytest.mark.parametrize("row", FLOAT_ROWS + INTEGER_ROWS)
@pytest.mark.parametrize("at_end", [False, True])
def test_reads_stay_inside(row, at_end):
    for size, rows in ((1, 1), (3, 2), (5, 9), (66, 7), (31, 16), (61, 2), (70, 33)):
        if row.endswith("-fma"):
            text, _ = float_linear(size, 17, "full", "none")
            arrays = [np.ones((rows, size), np.float32), np.ones((rows, 17), np.float32)]
        else:
            weight = "i4" if rows % 2 else "i8"
            case = IntegerLinear(rows, (size,), 17, unsigned=True, weight=weight, bias="full")
            text, arrays = integer_linear(case, 0, row)
        _, fast = compile_both(text, row)
        # A fault ends the process.
        child = os.fork()
        if child == 0:
            fast.run("main", *(guard(array, at_end) for array in arrays))
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0


def hoist_packed(text):
    """The function with its packed constants as arguments, and these."""
    resources = dict(re.findall(r'(\w+): "0x([0-9A-F]+)"', text))
    arguments, arrays = [], []

    def take(match):
        name, resource, type, element = match.groups()
        arguments.append(f"{name}: {type}")
        # The first four bytes are the alignment.
        data = bytes.fromhex(resources[resource])[4:]
        arrays.append(np.frombuffer(data, {"i8": np.int8, "i16": np.int16, "i32": np.int32,
                                           "f32": np.float32}[element]))
        shape = [int(size) for size in re.findall(r"(\d+)x", type)]
        arrays[-1] = arrays[-1].reshape(shape)
        return ""

    text = re.sub(r"(%\w+) = arith.constant dense_resource<(\w+)> : (tensor<[\dx]+x(\w+)>)", take,
                  text.split("{-#")[0])
    return re.sub(r"(func.func @main\([^)]*)", rf"\1, {', '.join(arguments)}", text), arrays


@pytest.mark.parametrize("row", INTEGER_ROWS)
@pytest.mark.parametrize("rows, weight", [(45, "i8"), (45, "i4"), (1, "i4")])
def test_reads_of_packed_operands_stay_inside(row, rows, weight):
    """Weights, scales, seeds, reciprocals and zero points, each between pages of its own."""
    case = IntegerLinear(rows, (66, 31), 49, weight=weight, bias="constant", result="groups")
    text, arrays = integer_linear(case, 1, row)
    fast = f"module attributes {{{cpus.target(cpus.MICRO_KERNELS[row])}}} {{ {text} }}"
    packed, operands = hoist_packed(qtx.run_passes(
        fast, "builtin.module(qtx-to-storage,any(qtx-configure),qtx-pack)"))
    assert len(operands) >= 5
    module = qtx.compile_ir(packed, fast=True)
    expected = qtx.compile_ir(text).run("main", *arrays)[0]
    for at_end in (False, True):
        # A fault ends the process.
        child = os.fork()
        if child == 0:
            (found,) = module.run("main", *(guard(array, at_end) for array in arrays + operands))
            os._exit(0 if np.array_equal(found, expected) else 1)
        assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize("row", INTEGER_ROWS)
def test_fused_epilogue(row):
    """Activations and quantizers that become epilogues."""
    rng = np.random.default_rng(3)
    weight = fit_row(row, rng.integers(-127, 128, (33, 70)), [(0, 70)]).astype(np.int8)
    quant, w = "!quant.uniform<i8:f32, 0.05:-3>", "tensor<33x70xi8>"
    text = f"""
    func.func @main(%x: tensor<?x70xf32>) -> tensor<?x33xi8> {{
      %w = arith.constant {dense(weight)} : {w}
      %s = arith.constant dense<0.01> : tensor<1xf32>
      %q = qtx.quantize %x to {quant} : tensor<?x70xf32> -> tensor<?x70xi8>
      %y = qtx.linear %q as {quant}, %w scale(%s)
          : (tensor<?x70xi8>, {w}, tensor<1xf32>) -> tensor<?x33xf32>
      %a = qtx.gelu %y : (tensor<?x33xf32>) -> tensor<?x33xf32>
      %z = qtx.quantize %a to {quant} : tensor<?x33xf32> -> tensor<?x33xi8>
      return %z : tensor<?x33xi8>
    }}"""
    x = (3 * rng.standard_normal((40, 70))).astype(np.float32)
    reference, fast = run_both(text, row, x)
    check_codes_of_activation(reference, fast)


@pytest.mark.parametrize("row", INTEGER_ROWS)
def test_seed_behind_a_quantizer(row):
    """A seed is about the integers as they were stored, whatever the producer stores."""
    rng = np.random.default_rng(4)
    weight = fit_row(row, rng.integers(-127, 128, (20, 70)), [(0, 70)]).astype(np.int8)
    seed = rng.integers(-9999, 9999, (1, 20)).astype(np.int32)
    quant, w = "!quant.uniform<i8:f32, 0.05:-3>", "tensor<20x70xi8>"
    text = f"""
    func.func @main(%x: tensor<?x70xf32>) -> tensor<?x20xf32> {{
      %w = arith.constant {dense(weight)} : {w}
      %s = arith.constant dense<0.01> : tensor<1xf32>
      %seed = arith.constant {dense(seed)} : tensor<1x20xi32>
      %q = qtx.quantize %x to {quant} : tensor<?x70xf32> -> tensor<?x70xi8>
      %y = qtx.linear %q as {quant}, %w scale(%s) seed(%seed)
          : (tensor<?x70xi8>, {w}, tensor<1xf32>, tensor<1x20xi32>) -> tensor<?x20xf32>
      return %y : tensor<?x20xf32>
    }}"""
    x = (3 * rng.standard_normal((9, 70))).astype(np.float32)
    reference, fast = run_both(text, row, x)
    np.testing.assert_array_equal(reference, fast)


#===-- Residual sums ----------------------------------------------------------===#

# One row, rows that no tile takes whole, several tiles and a rest.
RESIDUAL_ROWS = (1, 2, 7, 8, 9, 33, 75)
PACKED = "builtin.module(qtx-to-storage,any(qtx-configure),qtx-pack,qtx-fuse-kernels)"


def add_residual(text, outputs, before="%y"):
    """What `text` returns and `relu(%r)`, which is computed here, added up."""
    y = f"tensor<?x{outputs}xf32>"
    text = re.sub(r"(func.func @main\(.*)\) ->", rf"\1, %r: {y}) ->", text)
    return text.replace(f"return %y : {y}", f"""%s = qtx.relu %r : ({y}) -> {y}
      %z = qtx.add {"%s, %y" if before == "%s" else "%y, %s"} : ({y}, {y}) -> {y}
      return %z : {y}""")


def count_residuals(text, row):
    fast = f"module attributes {{{cpus.target(cpus.MICRO_KERNELS[row])}}} {{ {text} }}"
    return qtx.run_passes(fast, PACKED).count("{accumulate")


def make_residual(rows, outputs):
    return np.float32(np.random.default_rng(rows).standard_normal((rows, outputs)))


@pytest.mark.parametrize("row", FLOAT_ROWS)
@pytest.mark.parametrize("size, outputs, bias, activation",
                         [(5, 1, "none", "none"), (33, 17, "vector", "none"), (16, 24, "full", "relu"),
                          (33, 49, "none", "gelu"), (300, 113, "vector", "none")])
def test_float_residual(row, size, outputs, bias, activation):
    text, weight = float_linear(size, outputs, bias, activation)
    text = add_residual(text, outputs, before="%s" if outputs == 17 else "%y")
    assert count_residuals(text, row) == 1
    for rows in RESIDUAL_ROWS:
        rng = np.random.default_rng(rows)
        x = np.float32(rng.standard_normal((rows, size)))
        shape = {"none": 0, "vector": outputs, "full": (rows, outputs)}[bias]
        b = np.float32(rng.standard_normal(shape))
        r = make_residual(rows, outputs)
        reference, fast = run_both(text, row, x, *([b] if shape else []), r)
        # Slopes are below 1.13; each path rounds the sum once.
        bound = 1.13 * float_bound(x, weight, b if shape else 0) + 4 * UNIT
        assert np.all(np.abs(reference - fast) <= bound + UNIT * np.abs(reference))
        if activation == "none":
            exact = x @ weight.T.astype(np.float64) + (b if shape else 0) + np.maximum(r, 0)
            assert np.all(np.abs(exact - fast) <= bound + UNIT * np.abs(exact))


RESIDUALS = [
    IntegerLinear(0, (5,), 1),
    IntegerLinear(0, (64,), 17, bias="vector"),
    IntegerLinear(0, (64, 32, 7), 49, bias="constant", activation="relu"),
    IntegerLinear(0, (129,), 32, bias="full", activation="gelu"),
    IntegerLinear(0, (64, 64), 96, dynamic="zero_point", per_token=True),
    IntegerLinear(0, (100,), 33, weight="i4", block=32, unsigned=True),
]


@pytest.mark.parametrize("row", INTEGER_ROWS)
@pytest.mark.parametrize("number", range(len(RESIDUALS)))
def test_integer_linear_residual(row, number):
    """Both paths add up the same two numbers, in which order does not count: no bound is needed.
    A product of two NaN may have the sign of either."""
    for rows in RESIDUAL_ROWS:
        case = RESIDUALS[number]._replace(rows=rows)
        text, arrays = integer_linear(case, number, row)
        text = add_residual(text, case.outputs, before="%s" if number % 2 else "%y")
        assert rows > 1 or count_residuals(text, row) == 1
        r = make_residual(rows, case.outputs)
        reference, fast = run_both(text, row, *arrays, r)
        np.testing.assert_array_equal(fast, reference)


@functools.lru_cache(maxsize=None)
def compile_streams(row, threads):
    """Sums in turn, of which one is read later; and one with an argument, which stays."""
    weights = np.float32(np.random.default_rng(5).integers(-3, 4, (3, 24, 24)))
    y, w = "tensor<?x24xf32>", "tensor<24x24xf32>"
    constants = "".join(f"%w{i} = arith.constant {dense(weight)} : {w}\n" for i, weight in enumerate(weights))
    text = f"""
    func.func @main(%x: {y}, %v: tensor<?x1x24xf32>) -> ({y}, {y}, {y}) {{
      {constants}
      %r = qtx.relu %x : ({y}) -> {y}
      %a = qtx.linear %r, %w0 : ({y}, {w}) -> {y}
      %s = qtx.add %r, %a : ({y}, {y}) -> {y}
      %b = qtx.linear %s, %w1 : ({y}, {w}) -> {y}
      %t = qtx.add %b, %s : ({y}, {y}) -> {y}
      %c = qtx.linear %t, %w2 : ({y}, {w}) -> {y}
      %u = qtx.add %c, %t : ({y}, {y}) -> {y}
      %k = tensor.collapse_shape %v [[0, 1], [2]] : tensor<?x1x24xf32> into {y}
      %d = qtx.linear %x, %w2 : ({y}, {w}) -> {y}
      %m = qtx.add %d, %k : ({y}, {y}) -> {y}
      return %t, %u, %m : {y}, {y}, {y}
    }}"""
    target = cpus.target(cpus.MICRO_KERNELS[row])
    module = f"module attributes {{{target}, qtx.threads = {threads} : i64}} {{ {text} }}"
    assert qtx.run_passes(module, PACKED).count("{accumulate") == 2
    return qtx.compile_ir(module, fast=True), weights


@pytest.mark.parametrize("row", FLOAT_ROWS)
@pytest.mark.parametrize("threads", [1, 3])
def test_streams(row, threads):
    """Integers that floats hold: exact."""
    module, weights = compile_streams(row, threads)
    rng = np.random.default_rng(6)
    for rows in RESIDUAL_ROWS:
        x, v = np.float32(rng.integers(-9, 10, (2, rows, 24)))
        found = module.run("main", x, v[:, None])
        s = np.maximum(x, 0)
        s = s + s @ weights[0].T
        t = s + s @ weights[1].T
        for expected, result in zip((t, t + t @ weights[2].T, v + x @ weights[2].T), found):
            np.testing.assert_array_equal(result, expected)
