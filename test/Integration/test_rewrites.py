# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Rewrites keep results: the same IR is executed before and after a pass."""

import dataclasses
import functools
import re
from typing import Optional, Tuple

import numpy as np
import pytest
import qtx

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
