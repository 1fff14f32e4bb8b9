# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Rewrites keep results: the same IR is executed before and after a pass."""

import dataclasses
import functools
import math
import re
from typing import Optional, Tuple

import numpy as np
import pytest
import qtx
from hypothesis import given, settings
from hypothesis import strategies as st

ROWS = 5


def run_pass(text, *passes):
    return qtx.run_passes(text, f"builtin.module(qtx-to-storage,{','.join(passes)})")


def normalised(text):
    """The lines of the simplified IR without names, in an order of their own."""
    lines = run_pass(text, "canonicalize", "cse").splitlines()
    return sorted(re.sub(r"%\w+", "%", line) for line in lines)


def assert_same_bits(actual, expected):
    assert len(actual) == len(expected)
    for a, e in zip(actual, expected):
        assert a.dtype == e.dtype and a.shape == e.shape
        # Bytes, so that NaNs and the sign of zero count.
        assert a.tobytes() == e.tobytes()


def dense(array):
    """A constant tensor, as text."""
    array = np.asarray(array)
    if array.dtype.kind == "f":
        # Hexadecimal keeps every bit.
        bits = array.astype(np.float32).view(np.uint32)
        return f"dense<{render(bits, lambda v: f'0x{v:08X}')}>"
    return f"dense<{render(array, str)}>"


def render(array, element):
    if array.ndim == 0:
        return element(array.item())
    return "[" + ", ".join(render(row, element) for row in array) + "]"


def tensor(shape, element):
    return "tensor<" + "".join(f"{'?' if d is None else d}x" for d in shape) + f"{element}>"


def grouped(sizes, scales, zero_points):
    """The element type of groups; scales of None are run-time values."""
    if scales is None:
        return f"!qtx.grouped<i8:f32, axis=-1, {list(sizes)}, ?>"
    if len(sizes) == 1:
        return f"!quant.uniform<i8:f32, {scales[0]}:{zero_points[0]}>"
    parameters = ", ".join(f"{s}:{z}" for s, z in zip(scales, zero_points))
    return f"!qtx.grouped<i8:f32, axis=-1, {list(sizes)}, {{{parameters}}}>"


@dataclasses.dataclass(frozen=True)
class Linear:
    """One quantized linear, `main(x, run-time parameters..., bias) -> y`."""

    groups: Tuple[int, ...] = (3, 5)
    outputs: int = 4
    weight: str = "i8"
    weight_is_constant: bool = True
    block: Optional[int] = None
    # "static", "groups" (one value per group) or "positions" (and per row).
    parameters: str = "static"
    bias: str = "vector"
    activation: str = "none"
    out_groups: Tuple[int, ...] = ()
    seed: int = 0

    @property
    def channels(self):
        return sum(self.groups)

    @functools.cached_property
    def rng(self):
        return np.random.default_rng(self.seed)

    def build(self):
        """The IR, and arguments for it."""
        rng, text, inputs, operands = self.rng, [], [], []

        def argument(name, array, shape, element):
            inputs.append((f"%{name}: {tensor(shape, element)}", array))
            operands.append(tensor(shape, element))
            return f"%{name}"

        def constant(name, array, element):
            type_ = tensor(array.shape, element)
            text.append(f"%{name} = arith.constant {dense(array)} : {type_}")
            operands.append(type_)
            return f"%{name}"

        x = rng.integers(-128, 128, (ROWS, self.channels)).astype(np.int8)
        call = "qtx.linear " + argument("x", x, (None, self.channels), "i8")
        call += self._input_parameters(rng, argument)

        low, high = (-127, 128) if self.weight == "i8" else (-8, 8)
        weight = rng.integers(low, high, (self.outputs, self.channels)).astype(np.int8)
        if self.weight_is_constant:
            call += ", " + constant("w", weight, self.weight)
        else:
            call += ", " + argument("w", weight, weight.shape, self.weight)
        blocks = -(-self.channels // self.block) if self.block else None
        shape = (self.outputs, blocks) if blocks else (self.outputs,)
        scale = rng.uniform(1e-3, 0.1, shape).astype(np.float32)
        call += f" scale({constant('ws', scale, 'f32')})"
        call += f" block {self.block}" if self.block else ""

        if self.bias == "vector":
            bias = rng.normal(size=self.outputs).astype(np.float32)
            call += f" bias({constant('b', bias, 'f32')})"
        elif self.bias == "full":
            bias = rng.normal(size=(ROWS, self.outputs)).astype(np.float32)
            call += f" bias({argument('b', bias, (None, self.outputs), 'f32')})"
        call += f" activation {self.activation}" if self.activation != "none" else ""
        element = "f32"
        if self.out_groups:
            element = "i8"
            scales = [round(float(s), 4) for s in rng.uniform(0.01, 3, len(self.out_groups))]
            zero_points = rng.integers(-128, 128, len(self.out_groups)).tolist()
            call += f" to {grouped(self.out_groups, scales, zero_points)}"
        result = tensor((None, self.outputs), element)
        body = "\n  ".join([*text, f"%y = {call} : ({', '.join(operands)}) -> {result}"])
        arguments = ", ".join(declaration for declaration, _ in inputs)
        ir = f"func.func @main({arguments}) -> {result} {{\n  {body}\n  return %y : {result}\n}}"
        return ir, [array for _, array in inputs]

    def _input_parameters(self, rng, argument):
        count = len(self.groups)
        scales = [round(float(s), 5) for s in rng.uniform(1e-3, 2, count)]
        zero_points = rng.integers(-128, 128, count)
        if self.parameters == "static":
            return f" as {grouped(self.groups, scales, zero_points.tolist())}"
        leading, values = ((), ()) if self.parameters == "groups" else ((None,), (ROWS,))
        scale = argument("xs", np.float32(rng.uniform(1e-3, 2, (*values, count))),
                         (*leading, count), "f32")
        zero_point = argument("xz", rng.integers(-128, 128, (*values, count)).astype(np.int32),
                              (*leading, count), "i32")
        return f" scale({scale}) zero_point({zero_point}) as {grouped(self.groups, None, None)}"


LINEARS = {
    "plain": Linear(),
    "K=1 per group": Linear(groups=(1,) * 6, bias="none"),
    "one outlier channel": Linear(groups=(7, 1), activation="relu"),
    "full bias": Linear(bias="full", activation="relu", out_groups=(4,)),
    "weight argument": Linear(groups=(2, 2, 2), weight_is_constant=False),
    "i4": Linear(groups=(4, 4), weight="i4", out_groups=(1, 3)),
    "aligned blocks": Linear(groups=(4, 8, 3), block=2, weight="i4"),
    "unaligned blocks": Linear(groups=(3, 8, 1, 4), block=4, weight="i4"),
    "unaligned blocks, weight argument": Linear(
        groups=(3, 6), block=2, weight="i4", weight_is_constant=False),
    "group within a block": Linear(groups=(1, 2, 5), block=8),
    "run-time parameters": Linear(groups=(2, 5, 1), parameters="groups"),
    "parameters per row": Linear(groups=(2, 6), parameters="positions", out_groups=(2, 2)),
    "gelu, requantized": Linear(activation="gelu", out_groups=(3, 1)),
}


@functools.lru_cache(maxsize=None)
def build(name):
    """The IR of a linear, its arguments and its results."""
    text, arrays = LINEARS[name].build()
    return text, arrays, qtx.compile_ir(text).run("main", *arrays)


def check(name, *passes):
    """The IR after `passes`, which returns the same bits."""
    text, arrays, expected = build(name)
    rewritten = run_pass(text, *passes)
    assert_same_bits(qtx.compile_ir(rewritten).run("main", *arrays), expected)
    return rewritten


@pytest.mark.parametrize("name", LINEARS)
def test_split_grouped_linear(name):
    linear = LINEARS[name]
    rewritten = check(name, "qtx-split-grouped-linear")
    assert rewritten.count("qtx.linear") >= len(linear.groups)
    # One group each: per tensor, or one run-time parameter.
    inputs = [line.split(",")[0] for line in rewritten.splitlines() if "qtx.linear" in line]
    assert all("{" not in line for line in inputs)


@pytest.mark.parametrize("name", LINEARS)
def test_split_outputs(name):
    linear = LINEARS[name]
    rewritten = check(name, "qtx-split-grouped-linear{split-inputs=false split-outputs=true}")
    assert rewritten.count("qtx.linear") == max(1, len(linear.out_groups))


@pytest.mark.parametrize("name", LINEARS)
def test_split_both(name):
    check(name, "qtx-split-grouped-linear{split-outputs=true}")


@pytest.mark.parametrize("name", LINEARS)
def test_merge_split_linear(name):
    """Splitting and merging gives the original back, but for cut weight blocks."""
    rewritten = check(
        name, "qtx-split-grouped-linear", "canonicalize", "cse", "qtx-merge-split-linear")
    linear = LINEARS[name]
    edges = np.cumsum(linear.groups)[:-1]
    if not linear.block or all(edge % linear.block == 0 for edge in edges):
        assert rewritten.count("qtx.linear") == 1
        text, _, _ = build(name)
        assert normalised(rewritten) == normalised(text)


@pytest.mark.parametrize("name", LINEARS)
def test_output_groups_to_per_channel(name):
    linear = LINEARS[name]
    rewritten = check(name, "qtx-output-groups-to-per-channel")
    assert ("out_scale" in rewritten) == (len(linear.out_groups) > 1)


@pytest.mark.parametrize("name", LINEARS)
def test_fold_zero_points(name):
    linear = LINEARS[name]
    rewritten = check(name, "qtx-fold-zero-points")
    assert ("seed" in rewritten) == (
        linear.weight_is_constant and linear.parameters == "static")


@pytest.mark.parametrize("name", LINEARS)
def test_composed(name):
    """Seeds survive splitting and merging, and per-channel parameters the slicing."""
    rewritten = check(
        name, "qtx-fold-zero-points", "qtx-output-groups-to-per-channel",
        "qtx-split-grouped-linear", "canonicalize", "cse")
    again = run_pass(rewritten, "qtx-merge-split-linear")
    _, arrays, expected = build(name)
    assert_same_bits(qtx.compile_ir(again).run("main", *arrays), expected)


# ---- Projections -------------------------------------------------------------

# Heads, size of a head, parameters of the result and what else each projection has.
PROJECTIONS = {
    "equal": [(2, 3, (0.02, 5), "bias"), (2, 3, (0.02, 5), "bias"), (2, 3, (0.02, 5), "bias")],
    "scales": [(2, 3, (0.02, 5), "bias"), (2, 3, (0.7, -128), ""), (1, 1, (0.05, 0), "scalar")],
    "float": [(1, 5, None, ""), (3, 2, None, "scalar bias")],
    "two inputs": [(2, 3, (0.1, 0), ""), (2, 3, (0.2, 0), "other"), (2, 3, (0.3, 0), ""),
                   (2, 3, (0.4, 0), "other")],
}


def write_projections(parts):
    """IR that makes heads of several linears of one input, or of two."""
    rng = np.random.default_rng(0)
    lines, heads, types = [], [], []
    for i, (count, size, params, extras) in enumerate(parts):
        outputs = count * size
        weight = rng.integers(-127, 128, (outputs, 7))
        scale = np.float32(rng.uniform(1e-3, 0.1, 1 if "scalar" in extras else outputs))
        operands = [tensor((None, None, 7), "i8"), tensor(weight.shape, "i8"),
                    tensor(scale.shape, "f32")]
        lines += [f"%w{i} = arith.constant {dense(weight)} : {operands[1]}",
                  f"%s{i} = arith.constant {dense(scale)} : {operands[2]}"]
        call = (f"%y{i} = qtx.linear %{'z' if 'other' in extras else 'x'} as "
                f"{grouped((4, 3), (0.1, 0.5), (3, -7))}, %w{i} scale(%s{i})")
        if "bias" in extras:
            operands.append(tensor((outputs,), "f32"))
            bias = np.float32(rng.standard_normal(outputs))
            lines.append(f"%b{i} = arith.constant {dense(bias)} : {operands[-1]}")
            call += f" bias(%b{i})"
        if params:
            call += f" to !quant.uniform<i8:f32, {params[0]}:{params[1]}>"
        element = "i8" if params else "f32"
        result = tensor((None, None, outputs), element)
        types.append(tensor((None, count, None, size), element))
        lines += [f"{call} : ({', '.join(operands)}) -> {result}",
                  f"%h{i} = qtx.split_heads %y{i} : {result} -> {types[-1]}"]
        heads.append(f"%h{i}")
    x = tensor((None, None, 7), "i8")
    body = "\n  ".join(lines)
    return (f"func.func @main(%x: {x}, %z: {x}) -> ({', '.join(types)}) {{\n  {body}\n"
            f"  return {', '.join(heads)} : {', '.join(types)}\n}}")


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("name", PROJECTIONS)
def test_merge_projections(name, fast):
    text = write_projections(PROJECTIONS[name])
    rewritten = run_pass(text, "qtx-merge-projections")
    assert rewritten.count("qtx.linear") == (2 if name == "two inputs" else 1)
    rng = np.random.default_rng(1)
    arrays = [rng.integers(-128, 128, (2, 5, 7)).astype(np.int8) for _ in "xz"]
    expected = qtx.compile_ir(text).run("main", *arrays)
    assert_same_bits(qtx.compile_ir(rewritten, fast=fast).run("main", *arrays), expected)


# ---- Permutations ------------------------------------------------------------


class Network:
    """A random network of operations on 6 channels whose results do not depend on the
    order of any sum in fp32, so that folding permutations keeps every bit."""

    CHANNELS = 6

    def __init__(self, seed, steps):
        self.rng = np.random.default_rng(seed)
        self.lines, self.values, self.count = [], ["%x"], 0
        for _ in range(steps):
            self.values.append(getattr(self, self.rng.choice(
                ["permute", "permute", "linear", "add", "absolute", "requantize"]))())
        # Results that nothing uses would not show a mistake.
        self.results = [v for v in self.values[1:] if not any(
            f" {v}" in line.split("=", 1)[1] for line in self.lines)]

    def pick(self):
        """Mostly a recent value."""
        return self.values[-1 - min(int(self.rng.geometric(0.5)) - 1, len(self.values) - 1)]

    def emit(self, operation):
        name = f"%v{self.count}"
        self.count += 1
        self.lines.append(f"{name} = {operation}")
        return name

    def constant(self, array, element):
        array = np.asarray(array)
        return self.emit(f"arith.constant {dense(array)} : {tensor(array.shape, element)}")

    @property
    def type(self):
        return tensor((None, self.CHANNELS), "f32")

    def permute(self):
        indices = self.constant(self.rng.permutation(self.CHANNELS), "i32")
        return self.emit(f"qtx.permute {self.pick()} by {indices} : "
                         f"({self.type}, tensor<6xi32>) -> {self.type}")

    def quantized(self):
        return f"!quant.uniform<i8:f32, {self.rng.uniform(0.01, 0.1):.4f}:{self.rng.integers(-9, 9)}>"

    def requantize(self):
        codes, quantized = tensor((None, self.CHANNELS), "i8"), self.quantized()
        q = self.emit(f"qtx.quantize {self.pick()} to {quantized} : {self.type} -> {codes}")
        return self.emit(f"qtx.dequantize {q} as {quantized} : {codes} -> {self.type}")

    def linear(self):
        rng, codes, quantized = self.rng, tensor((None, self.CHANNELS), "i8"), self.quantized()
        q = self.emit(f"qtx.quantize {self.pick()} to {quantized} : {self.type} -> {codes}")
        w = self.constant(rng.integers(-127, 128, (self.CHANNELS,) * 2), "i8")
        s = self.constant(np.float32(rng.uniform(1e-3, 1e-2, self.CHANNELS)), "f32")
        b = self.constant(np.float32(rng.normal(size=self.CHANNELS)), "f32")
        # Sometimes a whole tensor is the bias.
        full = rng.random() < 0.3
        bias, bias_type = (self.pick(), self.type) if full else (b, "tensor<6xf32>")
        return self.emit(f"qtx.linear {q} as {quantized}, {w} scale({s}) bias({bias}) : ({codes}, "
                         f"tensor<6x6xi8>, tensor<6xf32>, {bias_type}) -> {self.type}")

    def add(self):
        return self.emit(f"arith.addf {self.pick()}, {self.pick()} : {self.type}")

    def absolute(self):
        return self.emit(f"math.absf {self.pick()} : {self.type}")

    @property
    def ir(self):
        types = ", ".join([self.type] * len(self.results))
        body = "\n  ".join([*self.lines, f"return {', '.join(self.results)} : {types}"])
        return f"func.func @main(%x: {self.type}) -> ({types}) {{\n  {body}\n}}"


@given(st.integers(0, 2**32 - 1), st.integers(2, 14))
@settings(max_examples=30)
def test_fold_permute_in_networks(seed, steps):
    network = Network(seed, steps)
    rewritten = run_pass(network.ir, "qtx-fold-permute")
    assert rewritten.count("qtx.permute") <= network.ir.count("qtx.permute")
    x = np.random.default_rng(seed).normal(size=(3, 6)).astype(np.float32)
    assert_same_bits(qtx.compile_ir(rewritten).run("main", x),
                     qtx.compile_ir(network.ir).run("main", x))


def permuted_ffn(order, sizes, form):
    """Quantize in permuted groups, two linears, and a residual sum in the permuted order:
    figure 4 of the paper on one side of the layer norms."""
    rng = np.random.default_rng(7)
    d, hidden = len(order), 12
    inverse = np.argsort(order)
    scales = [round(0.01 * 3**k, 4) for k in range(len(sizes))]
    zero_points = [5 * k - 3 for k in range(len(sizes))]
    groups = grouped(sizes, scales, zero_points)
    of_channel = np.repeat(np.arange(len(sizes)), sizes)[inverse]
    scattered = grouped([1] * d, [scales[k] for k in of_channel],
                        [zero_points[k] for k in of_channel])
    x, q, r, h = (tensor((None, n), e) for n, e in
                  ((d, "f32"), (d, groups), (d, scattered), (hidden, "!quant.uniform<i8:f32, 0.05>")))
    w1 = rng.integers(-127, 128, (hidden, d))
    w2 = rng.integers(-127, 128, (d, hidden))
    s1, b1 = rng.uniform(1e-3, 1e-2, hidden), rng.normal(size=hidden)
    s2, b2 = rng.uniform(1e-3, 1e-2, d), rng.normal(size=d)
    ir = f"""
    func.func @main(%x: {x}) -> {q} {{
      %p = arith.constant {dense(order)} : tensor<{d}xi32>
      %i = arith.constant {dense(inverse)} : tensor<{d}xi32>
      %w1 = arith.constant {dense(w1)} : tensor<{hidden}x{d}xi8>
      %w2 = arith.constant {dense(w2)} : tensor<{d}x{hidden}xi8>
      %s1 = arith.constant {dense(np.float32(s1))} : tensor<{hidden}xf32>
      %b1 = arith.constant {dense(np.float32(b1))} : tensor<{hidden}xf32>
      %s2 = arith.constant {dense(np.float32(s2))} : tensor<{d}xf32>
      %b2 = arith.constant {dense(np.float32(b2))} : tensor<{d}xf32>
      %xp = qtx.permute %x by %p : ({x}, tensor<{d}xi32>) -> {x}
      %q = qtx.quantize %xp : {x} -> {q}
      %r = qtx.permute %q by %i : ({q}, tensor<{d}xi32>) -> {r}
      %h = qtx.linear %r, %w1 scale(%s1) bias(%b1) activation relu
          : ({r}, tensor<{hidden}x{d}xi8>, tensor<{hidden}xf32>, tensor<{hidden}xf32>) -> {h}
      %y = qtx.linear %h, %w2 scale(%s2) bias(%b2)
          : ({h}, tensor<{d}x{hidden}xi8>, tensor<{d}xf32>, tensor<{d}xf32>) -> {x}
      %yp = qtx.permute %y by %p : ({x}, tensor<{d}xi32>) -> {x}
      %f = qtx.dequantize %q : {q} -> {x}
      %sum = arith.addf %f, %yp : {x}
      %o = qtx.quantize %sum : {x} -> {q}
      return %o : {q}
    }}"""
    return qtx.run_passes(ir, "builtin.module(qtx-to-storage)") if form == "storage" else ir


@pytest.mark.parametrize("form", ["quantized", "storage"])
@pytest.mark.parametrize("sizes", [(4, 4), (7, 1), (1, 2, 5)])
def test_fold_permute_peg(sizes, form):
    """Two of three permutations go: the first one would cut the groups."""
    order = np.random.default_rng(1).permutation(sum(sizes))
    text = permuted_ffn(order, sizes, form)
    rewritten = qtx.run_passes(text, "builtin.module(qtx-fold-permute)")
    assert rewritten.count("qtx.permute") == 1
    x = np.random.default_rng(2).normal(size=(50, sum(sizes))).astype(np.float32)
    (before,), (after,) = (qtx.compile_ir(t).run("main", x) for t in (text, rewritten))
    # The first linear joins one segment per channel before and one per group after,
    # so a sum next to a tie may move a code of the hidden layer by one, which moves
    # the result by at most one here.
    assert np.abs(before.astype(int) - after).max() <= 1
    assert np.mean(before != after) < 0.01


# ---- Scales and shifts -------------------------------------------------------


def scaled_network(rng, heads=2, d=8, hidden=12):
    """A layer norm whose result has a reader beside its scale_shift, projections that
    become heads, attention, and a GELU with a linear behind it, all scaled and
    shifted; and the results by NumPy in fp64. Gains span what recipes use."""
    text, values = [], {}

    def constant(name, array):
        values[name] = np.float32(array)
        text.append(f"%{name} = arith.constant {dense(values[name])} : {kind(name)}")

    def kind(name):
        return tensor(values[name].shape, "f32")

    for name, size in (("n", d), ("v", d), ("k", d // heads), ("h", hidden)):
        constant(f"g{name}", 4.0 ** rng.uniform(-1, 1, size))
        constant(f"s{name}", rng.normal(size=size))
    constant("gamma", rng.uniform(0.5, 2, d))
    constant("beta", rng.normal(size=d))
    for name, rows, columns in (("wk", d, d), ("wv", d, d), ("w1", hidden, d),
                                ("w2", d, hidden)):
        constant(name, rng.normal(size=(rows, columns)) / columns**0.5)
        constant(f"b{name}", rng.normal(size=rows))
    row, wide = tensor((2, 5, d), "f32"), tensor((2, 5, hidden), "f32")
    head = tensor((2, heads, 5, d // heads), "f32")

    def linear(y, x, w, of, to):
        text.append(f"%{y} = qtx.linear %{x}, %{w} bias(%b{w}) "
                    f": ({of}, {kind(w)}, {kind('b' + w)}) -> {to}")

    def scale_shift(y, x, name, type_):
        text.append(f"%{y} = qtx.scale_shift %{x} gain(%g{name}) shift(%s{name}) "
                    f": ({type_}, {kind('g' + name)}, {kind('s' + name)}) -> {type_}")

    text.append(f"%norm = qtx.layer_norm %x gamma(%gamma) beta(%beta) epsilon 1.0e-5 "
                f": ({row}, {kind('gamma')}, {kind('beta')}) -> {row}")
    scale_shift("scaled", "norm", "n", row)
    text.append(f"%sum = qtx.add %norm, %scaled : ({row}, {row}) -> {row}")
    linear("pk", "sum", "wk", row, row)
    linear("pv", "sum", "wv", row, row)
    text += [f"%{h} = qtx.split_heads %{p} : {row} -> {head}"
             for h, p in (("hk", "pk"), ("hv", "pv"))]
    scale_shift("key", "hk", "k", head)
    text.append("%context = qtx.attention %key, %key, %hv scale 0.1 "
                f": ({head}, {head}, {head}) -> {head}")
    text.append(f"%merged = qtx.merge_heads %context : {head} -> {row}")
    scale_shift("out", "merged", "v", row)
    text.append(f"%mixed = qtx.add %sum, %out : ({row}, {row}) -> {row}")
    linear("up", "mixed", "w1", row, wide)
    text.append(f"%gelu = qtx.gelu %up : ({wide}) -> {wide}")
    scale_shift("act", "gelu", "h", wide)
    linear("y", "act", "w2", wide, row)
    body = "\n  ".join(text)
    ir = f"func.func @main(%x: {row}) -> {row} {{\n  {body}\n  return %y : {row}\n}}"

    def run(x):
        c = {name: value.astype(np.float64) for name, value in values.items()}
        centred = x - x.mean(-1, keepdims=True)
        norm = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
        norm = norm * c["gamma"] + c["beta"]
        total = norm + norm * c["gn"] + c["sn"]
        key, value = ((total @ c[w].T + c["b" + w]).reshape(2, 5, heads, -1).transpose(0, 2, 1, 3)
                      for w in ("wk", "wv"))
        key = key * c["gk"] + c["sk"]
        p = np.exp(key @ key.swapaxes(-1, -2) * np.float64(np.float32(0.1)))
        context = p / p.sum(-1, keepdims=True) @ value
        mixed = total + context.transpose(0, 2, 1, 3).reshape(2, 5, d) * c["gv"] + c["sv"]
        up = mixed @ c["w1"].T + c["bw1"]
        act = up * 0.5 * (1 + np.vectorize(math.erf)(up / 2**0.5))
        return (act * c["gh"] + c["sh"]) @ c["w2"].T + c["bw2"]

    return ir, run


@pytest.mark.parametrize("seed", range(4))
def test_fold_scale_shift(seed):
    rng = np.random.default_rng(seed)
    ir, expected = scaled_network(rng)
    folded = run_pass(ir, "qtx-fold-scale-shift")
    assert "qtx.scale_shift" not in folded
    assert folded.count("qtx.layer_norm") == 2
    x = rng.normal(size=(2, 5, 8)).astype(np.float32)
    (before,), (after,) = (qtx.compile_ir(text).run("main", x) for text in (ir, folded))
    # Some hundred roundings of 2^-24 on numbers of up to about 100 on the way.
    tolerance = 2**-24 * 100 * 100
    np.testing.assert_allclose(before, expected(x.astype(np.float64)), rtol=0, atol=tolerance)
    np.testing.assert_allclose(after, expected(x.astype(np.float64)), rtol=0, atol=tolerance)


# ---- A feed-forward block ----------------------------------------------------


class Ffn:
    """The block of figure 4 of the PEG paper, with the linears around it:

    projection, layer norm, [permute, quantize in groups], linear, GELU, linear,
    [permute, quantize in groups], residual sum [in groups, permute back], layer norm,
    read-out.
    """

    INPUTS, D, HIDDEN, OUTPUTS = 5, 8, 16, 3

    def __init__(self, seed, sizes):
        self.rng = rng = np.random.default_rng(seed)
        d, hidden = self.D, self.HIDDEN
        self.sizes, self.order = sizes, rng.permutation(d)
        self.w0 = rng.normal(size=(d, self.INPUTS))
        self.w3 = rng.normal(size=(self.OUTPUTS, d))
        self.gammas = rng.uniform(0.5, 2, (2, d))
        self.betas = rng.normal(size=(2, d))
        # An outlier channel, which the permutation moves into the last group.
        self.gammas[0, self.order[-1]] *= 30
        self.w1, self.s1 = self.quantize_weight(rng.normal(size=(hidden, d)) / 3)
        self.w2, self.s2 = self.quantize_weight(rng.normal(size=(d, hidden)) / 3)
        self.b1, self.b2 = rng.normal(size=hidden), rng.normal(size=d)
        self.x = rng.normal(size=(40, self.INPUTS)).astype(np.float32)

    @staticmethod
    def quantize_weight(weight):
        scale = np.abs(weight).max(axis=1) / 127
        return np.rint(weight / scale[:, None]).astype(int), scale

    @staticmethod
    def layer_norm(x, gamma, beta):
        centred = x - x.mean(axis=-1, keepdims=True)
        return centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5) * gamma + beta

    @functools.cached_property
    def floats(self):
        """The tensors of the block in double precision: x, GELU, h, y, the result."""
        x1 = self.layer_norm(self.x.astype(float) @ self.w0.T, self.gammas[0], self.betas[0])
        hidden = x1 @ (self.w1 * self.s1[:, None]).T + self.b1
        gelu = hidden / 2 * (1 + np.vectorize(math.erf)(hidden / math.sqrt(2)))
        h = gelu @ (self.w2 * self.s2[:, None]).T + self.b2
        y = x1 + h
        return x1, gelu, h, y, self.layer_norm(y, self.gammas[1], self.betas[1]) @ self.w3.T

    def parameters(self, tensor_, sizes):
        """Scales and zero points from the ranges of groups of channels."""
        scales, zero_points, begin = [], [], 0
        for size in sizes:
            low = min(tensor_[:, begin:begin + size].min(), 0)
            high = max(tensor_[:, begin:begin + size].max(), 1e-8)
            scales.append(float(np.float32((high - low) / 255)))
            zero_points.append(int(np.clip(np.rint(-low / scales[-1]) - 128, -128, 127)))
            begin += size
        return scales, zero_points

    @property
    def ir(self):
        d, hidden = self.D, self.HIDDEN
        x1, gelu, h, y, _ = self.floats
        order, inverse = self.order, np.argsort(self.order)
        x_parameters = self.parameters(x1[:, order], self.sizes)
        qx, qh, qy = (grouped(self.sizes, *self.parameters(t[:, order], self.sizes))
                      for t in (x1, h, y))
        of_channel = np.repeat(np.arange(len(self.sizes)), self.sizes)[inverse]
        scattered = grouped([1] * d, *([p[k] for k in of_channel] for p in x_parameters))
        qg = grouped([hidden], *self.parameters(gelu, [hidden]))
        constants = {
            "w0": (self.w0, "f32"), "w1": (self.w1, "i8"), "w2": (self.w2, "i8"),
            "w3": (self.w3, "f32"), "s1": (self.s1, "f32"), "s2": (self.s2, "f32"),
            "b1": (self.b1, "f32"), "b2": (self.b2, "f32"), "p": (order, "i32"),
            "i": (inverse, "i32"), "g1": (self.gammas[0], "f32"), "g2": (self.gammas[1], "f32"),
            "a1": (self.betas[0], "f32"), "a2": (self.betas[1], "f32"),
        }
        of = {name: tensor(np.shape(array), e) for name, (array, e) in constants.items()}
        lines = [f"%{name} = arith.constant {dense(array)} : {of[name]}"
                 for name, (array, _) in constants.items()]
        f, x, o = (tensor((None, n), "f32") for n in (d, self.INPUTS, self.OUTPUTS))
        tx, tr, tg, th, ty = (tensor((None, n), e) for n, e in (
            (d, qx), (d, scattered), (hidden, qg), (d, qh), (d, qy)))
        th1 = tensor((None, hidden), "f32")
        lines += [
            f"%x0 = qtx.linear %x, %w0 : ({x}, {of['w0']}) -> {f}",
            f"%x1 = qtx.layer_norm %x0 gamma(%g1) beta(%a1) epsilon 1.0e-5"
            f" : ({f}, {of['g1']}, {of['a1']}) -> {f}",
            f"%x1p = qtx.permute %x1 by %p : ({f}, {of['p']}) -> {f}",
            f"%q = qtx.quantize %x1p : {f} -> {tx}",
            f"%r = qtx.permute %q by %i : ({tx}, {of['i']}) -> {tr}",
            f"%h1 = qtx.linear %r, %w1 scale(%s1) bias(%b1)"
            f" : ({tr}, {of['w1']}, {of['s1']}, {of['b1']}) -> {th1}",
            f"%h2 = qtx.gelu %h1 : ({th1}) -> {tg}",
            f"%h3 = qtx.linear %h2, %w2 scale(%s2) bias(%b2)"
            f" : ({tg}, {of['w2']}, {of['s2']}, {of['b2']}) -> {f}",
            f"%h3p = qtx.permute %h3 by %p : ({f}, {of['p']}) -> {f}",
            f"%h4 = qtx.quantize %h3p : {f} -> {th}",
            f"%y = qtx.add %q, %h4 : ({tx}, {th}) -> {ty}",
            f"%yf = qtx.dequantize %y : {ty} -> {f}",
            f"%yi = qtx.permute %yf by %i : ({f}, {of['i']}) -> {f}",
            f"%z = qtx.layer_norm %yi gamma(%g2) beta(%a2) epsilon 1.0e-5"
            f" : ({f}, {of['g2']}, {of['a2']}) -> {f}",
            f"%o = qtx.linear %z, %w3 : ({f}, {of['w3']}) -> {o}",
            f"return %o : {o}",
        ]
        body = "\n  ".join(lines)
        return f"func.func @main(%x: {x}) -> {o} {{\n  {body}\n}}"


FFNS = [(seed, sizes) for seed, sizes in enumerate([(4, 4), (7, 1), (2, 2, 2, 2), (1, 2, 5)])]


@functools.lru_cache(maxsize=None)
def build_ffn(seed, sizes):
    ffn = Ffn(seed, sizes)
    return ffn, qtx.compile_ir(ffn.ir).run("main", ffn.x)[0]


@pytest.mark.parametrize("seed, sizes", FFNS)
def test_ffn_against_float(seed, sizes):
    ffn, result = build_ffn(seed, sizes)
    expected = ffn.floats[-1]
    # Eight bits at four places, about 1/255 of the range each: the error is a few
    # percent of the standard deviation.
    assert np.sqrt(np.mean((result - expected) ** 2)) < 0.1 * expected.std()


@pytest.mark.parametrize("seed, sizes", FFNS)
def test_ffn_fold_permute(seed, sizes):
    """With the linears around the block, every permutation goes."""
    ffn, expected = build_ffn(seed, sizes)
    for before in ("qtx-fold-permute", "qtx-to-storage,qtx-fold-permute"):
        rewritten = qtx.run_passes(ffn.ir, f"builtin.module({before})")
        assert "qtx.permute" not in rewritten
        (result,) = qtx.compile_ir(rewritten).run("main", ffn.x)
        assert_close_but_for_codes(result, expected)


@pytest.mark.parametrize("seed, sizes", FFNS)
def test_ffn_all_rewrites(seed, sizes):
    """After the permutations, the other rewrites keep every bit, in any order."""
    ffn, _ = build_ffn(seed, sizes)
    folded = run_pass(ffn.ir, "qtx-fold-permute")
    expected = qtx.compile_ir(folded).run("main", ffn.x)
    rewrites = ["qtx-fold-zero-points", "qtx-output-groups-to-per-channel",
                "qtx-split-grouped-linear", "canonicalize"]
    for passes in (rewrites, rewrites[::-1], [*rewrites[1:], rewrites[0]]):
        rewritten = run_pass(folded, *passes)
        assert_same_bits(qtx.compile_ir(rewritten).run("main", ffn.x), expected)


@pytest.mark.parametrize("seed, sizes", FFNS)
def test_ffn_per_tensor(seed, sizes):
    """Figure 4 whole: no tensor in groups is left, and every bit is as before."""
    ffn, _ = build_ffn(seed, sizes)
    folded = run_pass(ffn.ir, "qtx-fold-permute")
    rewritten = run_pass(folded, "qtx-split-grouped-linear{split-outputs=true}",
                         "qtx-split-grouped-elementwise", "canonicalize")
    assert "!qtx.grouped" in folded and "!qtx.grouped" not in rewritten
    expected = qtx.compile_ir(folded).run("main", ffn.x)
    assert_same_bits(qtx.compile_ir(rewritten).run("main", ffn.x), expected)


def test_split_grouped_elementwise():
    """Operands and result in different groups, and run-time parameters of both kinds."""
    a = grouped((3, 5), [0.5, 0.25], [3, -128])
    b = grouped((4, 4), [0.125, 1.5], [0, 7])
    run_time = grouped((6, 2), None, None)
    text = f"""
    func.func @main(%x: tensor<?x8xi8>, %y: tensor<8xi8>, %s: tensor<?x2xf32>,
                    %z: tensor<2xi32>) -> (tensor<?x8xi8>, tensor<?x8xi8>, tensor<?x8xf32>) {{
      %0 = qtx.add %x as {a}, %y as {b} to {b}
          : (tensor<?x8xi8>, tensor<8xi8>) -> tensor<?x8xi8>
      %1 = qtx.requantize %x scale(%s) zero_point(%z) as {run_time} to {a}
          : (tensor<?x8xi8>, tensor<?x2xf32>, tensor<2xi32>) -> tensor<?x8xi8>
      %2 = qtx.gelu %x as {b} : (tensor<?x8xi8>) -> tensor<?x8xf32>
      return %0, %1, %2 : tensor<?x8xi8>, tensor<?x8xi8>, tensor<?x8xf32>
    }}"""
    rng = np.random.default_rng(3)
    arrays = (rng.integers(-128, 128, (9, 8)).astype(np.int8),
              rng.integers(-128, 128, 8).astype(np.int8),
              rng.uniform(0.01, 1, (9, 2)).astype(np.float32), np.int32([5, -9]))
    rewritten = run_pass(text, "qtx-split-grouped-elementwise")
    assert [rewritten.count(name) for name in ("qtx.add", "qtx.requantize", "qtx.gelu")] == [3, 3, 2]
    assert_same_bits(qtx.compile_ir(rewritten).run("main", *arrays),
                     qtx.compile_ir(text).run("main", *arrays))


def assert_close_but_for_codes(result, expected):
    """Equal up to the order of fp32 sums, but for rows where that moved a code."""
    close = np.isclose(result, expected, rtol=1e-4, atol=1e-4).all(axis=-1)
    assert np.mean(close) > 0.9
    # A step of one of the quantizers, against values of order one.
    assert np.abs(result - expected).max() < 0.3


# ---- Golden vectors ----------------------------------------------------------

# 3 tokens of 6 channels with an outlier channel each way, in three groups of
# permuted channels; the integers are the published ones minus 128.
GOLDEN_X = np.float32([
    [0.09, -8.04, 0.52, 2.05, -0.33, 0.06],
    [-0.21, 6.09, -0.47, -3.01, 0.23, 12.03],
    [0.41, -7.15, 0.61, 1.11, 0.16, 11.01],
])
GOLDEN_ORDER = [4, 0, 2, 3, 5, 1]
GOLDEN_GROUPS = grouped((2, 2, 2), [0.74 / 255, 5.06 / 255, 20.07 / 255], [-14, 24, -26])
GOLDEN_WEIGHT = [[3, -7, 11, 2, -5, 9], [-4, 6, 1, -8, 10, -2]]
GOLDEN_Y = [[3.429558824, -3.391415686], [2.645576471, 1.952972549],
            [7.936174510, -3.666313725]]
GOLDEN = f"""
func.func @main(%x: tensor<?x6xf32>) -> tensor<?x2xf32> {{
  %p = arith.constant {dense(GOLDEN_ORDER)} : tensor<6xi32>
  %i = arith.constant {dense(np.argsort(GOLDEN_ORDER))} : tensor<6xi32>
  %w = arith.constant {dense(GOLDEN_WEIGHT)} : tensor<2x6xi8>
  %s = arith.constant dense<0.05> : tensor<1xf32>
  %xp = qtx.permute %x by %p : (tensor<?x6xf32>, tensor<6xi32>) -> tensor<?x6xf32>
  %q = qtx.quantize %xp to {GOLDEN_GROUPS} : tensor<?x6xf32> -> tensor<?x6xi8>
  %f = qtx.dequantize %q as {GOLDEN_GROUPS} : tensor<?x6xi8> -> tensor<?x6xf32>
  %g = qtx.permute %f by %i : (tensor<?x6xf32>, tensor<6xi32>) -> tensor<?x6xf32>
  %y = qtx.linear %g, %w scale(%s)
      : (tensor<?x6xf32>, tensor<2x6xi8>, tensor<1xf32>) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}}"""
# The same with the integers contracted.
GOLDEN_INTEGER = GOLDEN.replace(
    f"%f = qtx.dequantize %q as {GOLDEN_GROUPS} : tensor<?x6xi8> -> tensor<?x6xf32>\n", "").replace(
    "%g = qtx.permute %f", "%g = qtx.permute %q").replace(
    "by %i : (tensor<?x6xf32>, tensor<6xi32>) -> tensor<?x6xf32>",
    "by %i : (tensor<?x6xi8>, tensor<6xi32>) -> tensor<?x6xi8>").replace(
    "qtx.linear %g,", "qtx.linear %g as " + grouped([1] * 6, *zip(*[
        [(0.74 / 255, -14), (5.06 / 255, 24), (20.07 / 255, -26)][k] for k in (0, 2, 1, 1, 0, 2)])) + ","
).replace(": (tensor<?x6xf32>, tensor<2x6xi8>", ": (tensor<?x6xi8>, tensor<2x6xi8>")


@pytest.mark.parametrize("text, passes, linears", [
    (GOLDEN, ["canonicalize"], 1),
    (GOLDEN, ["qtx-fold-permute"], 1),
    (GOLDEN_INTEGER, ["canonicalize"], 1),
    (GOLDEN_INTEGER, ["qtx-fold-permute"], 1),
    (GOLDEN_INTEGER, ["qtx-fold-permute", "qtx-fold-zero-points"], 1),
    (GOLDEN_INTEGER, ["qtx-fold-permute", "qtx-split-grouped-linear"], 3),
    (GOLDEN_INTEGER, ["qtx-fold-permute", "qtx-split-grouped-linear", "qtx-fold-zero-points",
                      "qtx-split-grouped-linear", "qtx-merge-split-linear"], 1),
])
def test_golden_grouped_matmul(text, passes, linears):
    rewritten = run_pass(text, *passes)
    assert rewritten.count("qtx.linear") == linears
    assert rewritten.count("qtx.permute") == (1 if "qtx-fold-permute" in passes else 2)
    (y,) = qtx.compile_ir(rewritten).run("main", GOLDEN_X)
    # Three products and sums in fp32 of terms up to 20: a few units of 2^-24 * 20.
    np.testing.assert_allclose(y, GOLDEN_Y, rtol=0, atol=5e-6)
