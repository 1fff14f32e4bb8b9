# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Contractions, executed: results equal NumPy's bit by bit.

Integer sums are int64 in NumPy. The fp32 steps are np.float32 operations and `fma32`,
which rounds once. That holds for float operands too: the reference lowering adds in
ascending order, and so do these tests.
"""

import functools
import subprocess

import numpy as np
import pytest
import qtx
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numerics import fma32, quantize
from qtx._library import find_library


def integers(shape, low=-128, high=127, dtype=np.int8):
    edges = st.sampled_from([low, low + 1, 0, high - 1, high])
    return arrays(dtype, shape, elements=st.one_of(edges, st.integers(low, high)))


def floats(shape, low=-100, high=100):
    return arrays(np.float32, shape, elements=st.floats(low, high, width=32))


def scales(shape):
    return arrays(np.float32, shape, elements=st.floats(2**-20, 2, width=32))


def segments(size, *cuts):
    """Common refinement of lists of group sizes of an axis."""
    ends = {size}
    for sizes in cuts:
        ends.update(np.cumsum(sizes).tolist())
    ends = sorted(end for end in ends if end <= size)
    return [slice(begin, end) for begin, end in zip([0] + ends, ends)]


def join(a, z_a, s_a, b, z_b, s_b, cuts, start):
    """r = fma(f32(sum (a - z_a)(b - z_b)), s_a * s_b, r) over [..., M, K] x [..., N, K].

    Scales and zero points have one value per channel of the contracted axis.
    """
    a = a.astype(np.int64) - z_a
    b = b.astype(np.int64) - z_b
    result = start
    for part in cuts:
        acc = a[..., part] @ np.swapaxes(b[..., part], -1, -2)
        assert np.all(np.abs(acc) < 2**31)
        multiplier = np.float32(s_a[..., :, None, part.start] * s_b[..., None, :, part.start])
        result = fma32(acc.astype(np.float32), multiplier, result)
    return result


def compile_main(arguments, result, body):
    names = ", ".join(f"%{name}: {type}" for name, type in arguments)
    return qtx.compile_ir(f"func.func @main({names}) -> {result} {{\n{body}\n}}")


def signature(arguments, result):
    return f"({', '.join(type for _, type in arguments)}) -> {result}"


#===-- linear --------------------------------------------------------------===#

K, N = 7, 3


@functools.lru_cache(maxsize=None)
def compile_blocks(width, block, groups, activation):
    """Weight blocks and groups that cut each other; result per channel at run time."""
    blocks = -(-K // block)
    arguments = [("x", f"tensor<?x{K}xi8>"), ("s", f"tensor<{len(groups)}xf32>"),
                 ("z", f"tensor<{len(groups)}xi32>"), ("w", f"tensor<{N}x{K}xi{width}>"),
                 ("ws", f"tensor<{N}x{blocks}xf32>"), ("b", f"tensor<{N}xf32>"),
                 ("ys", f"tensor<{N}xf32>"), ("yz", f"tensor<{N}xi32>")]
    result = f"tensor<?x{N}xi8>"
    return compile_main(arguments, result, f"""
      %y = qtx.linear %x scale(%s) zero_point(%z) as !qtx.grouped<i8:f32, axis=-1, {list(groups)}, ?>,
          %w scale(%ws) block {block} bias(%b) activation {activation}
          out_scale(%ys) out_zero_point(%yz) to !qtx.grouped<i8:f32, axis=-1, [1 * {N}], ?>
          : {signature(arguments, result)}
      return %y : {result}""")


@pytest.mark.parametrize("width, block, groups, activation", [
    (4, 3, (5, 2), "none"), (8, 3, (5, 2), "relu"), (4, 1, (7,), "relu"), (4, 7, (1,) * 7, "none"),
    (8, 100, (2, 3, 2), "none")])
@given(data=st.data())
def test_linear_blocks(width, block, groups, activation, data):
    rows, blocks = data.draw(st.integers(0, 3)), -(-K // block)
    x = data.draw(integers((rows, K)))
    scale, zero_point = data.draw(scales(len(groups))), data.draw(integers(len(groups), dtype=np.int32))
    low = -(2 ** (width - 1))
    w = data.draw(integers((N, K), low, -low - 1))
    ws, b = data.draw(scales((N, blocks))), data.draw(floats(N))
    ys, yz = data.draw(scales(N)), data.draw(integers(N, dtype=np.int32))
    (y,) = compile_blocks(width, block, groups, activation).run(
        "main", x, scale, zero_point, w, ws, b, ys, yz)
    cuts = segments(K, groups, [block] * blocks)
    real = join(x, np.repeat(zero_point, groups), np.repeat(scale, groups)[None],
                w, 0, np.repeat(ws, block, axis=1)[:, :K], cuts, np.broadcast_to(b, (rows, N)))
    if activation == "relu":
        real = np.maximum(real, np.float32(0))
    np.testing.assert_array_equal(y, quantize(real, ys, yz))


@functools.lru_cache(maxsize=None)
def compile_tokens(rank):
    """Parameters per token and group, bias of the shape of the result."""
    lead = "?x" * (rank - 1)
    arguments = [("x", f"tensor<{lead}{K}xi8>"), ("s", f"tensor<{lead}2xf32>"), ("z", f"tensor<{lead}2xi32>"),
                 ("w", f"tensor<{N}x{K}xi8>"), ("ws", "tensor<1xf32>"), ("b", f"tensor<{lead}{N}xf32>")]
    result = f"tensor<{lead}{N}xf32>"
    return compile_main(arguments, result, f"""
      %y = qtx.linear %x scale(%s) zero_point(%z) as !qtx.grouped<i8:f32, axis=-1, [6, 1], ?>,
          %w scale(%ws) bias(%b) : {signature(arguments, result)}
      return %y : {result}""")


@pytest.mark.parametrize("rank", [1, 2, 3])
@given(data=st.data())
def test_linear_tokens(rank, data):
    lead = data.draw(st.tuples(*[st.integers(1, 3)] * (rank - 1)))
    x = data.draw(integers(lead + (K,)))
    s, z = data.draw(scales(lead + (2,))), data.draw(integers(lead + (2,), dtype=np.int32))
    w, ws, b = data.draw(integers((N, K))), data.draw(scales(1)), data.draw(floats(lead + (N,)))
    (y,) = compile_tokens(rank).run("main", x, s, z, w, ws, b)
    spread = functools.partial(np.repeat, repeats=(6, 1), axis=-1)
    flat = lambda values: values.reshape(-1, values.shape[-1])
    expected = join(flat(x), flat(spread(z)), flat(spread(s)), w, 0, np.broadcast_to(ws[:, None], (N, K)),
                    segments(K, (6, 1)), flat(b))
    np.testing.assert_array_equal(y, expected.reshape(y.shape))


@functools.lru_cache(maxsize=None)
def compile_seed(quantized):
    arguments = [("x", f"tensor<?x{K}xi8>"), ("w", f"tensor<{N}x{K}xi8>"), ("ws", f"tensor<{N}xf32>"),
                 ("c", f"tensor<2x{N}xi32>")]
    result = f"tensor<?x{N}xf32>"
    return compile_main(arguments, f"({result}, {result})", f"""
      %y = qtx.linear %x as {quantized}, %w scale(%ws) seed(%c) : {signature(arguments, result)}
      %z = qtx.linear %x as {quantized}, %w scale(%ws) : {signature(arguments[:3], result)}
      return %y, %z : {result}, {result}""")


@given(data=st.data())
def test_linear_seed(data):
    """A seed of -z sum w stands for the zero points."""
    module = compile_seed("!qtx.grouped<i8:f32, axis=-1, [3, 4], {0.5:-128, 0.01:77}>")
    x, w = data.draw(integers((2, K))), data.draw(integers((N, K)))
    ws = data.draw(scales(N))
    seed = np.stack([128 * w[:, :3].sum(axis=1, dtype=np.int32), -77 * w[:, 3:].sum(axis=1, dtype=np.int32)])
    with_seed, without = module.run("main", x, w, ws, seed)
    np.testing.assert_array_equal(with_seed, without)


@functools.lru_cache(maxsize=None)
def compile_weight_only(element, block):
    arguments = [("x", f"tensor<?x{K}xf32>"), ("w", f"tensor<{N}x{K}x{element}>")]
    options = ""
    if element != "f32":
        arguments.append(("ws", f"tensor<{N}x{-(-K // block)}xf32>" if block else f"tensor<{N}xf32>"))
        options = f"scale(%ws) {f'block {block}' if block else ''}"
    arguments.append(("b", f"tensor<{N}xf32>"))
    result = f"tensor<?x{N}xf32>"
    return compile_main(arguments, result, f"""
      %y = qtx.linear %x, %w {options} bias(%b) : {signature(arguments, result)}
      return %y : {result}""")


@pytest.mark.parametrize("element, block", [("f32", None), ("i8", None), ("i4", 3), ("i4", 1)])
@given(data=st.data())
def test_linear_float(element, block, data):
    rows = data.draw(st.integers(0, 3))
    x, b = data.draw(floats((rows, K))), data.draw(floats(N))
    if element == "f32":
        w = real = data.draw(floats((N, K)))
        inputs = [x, w, b]
    else:
        limit = 8 if element == "i4" else 128
        w = data.draw(integers((N, K), -limit, limit - 1))
        ws = data.draw(scales((N, -(-K // block)) if block else N))
        spread = np.repeat(ws, block, axis=1)[:, :K] if block else ws[:, None]
        real = w.astype(np.float32) * spread
        inputs = [x, w, ws, b]
    (y,) = compile_weight_only(element, block).run("main", *inputs)
    expected = np.broadcast_to(b, (rows, N))
    for k in range(K):
        expected = fma32(x[:, k, None], real[None, :, k], expected)
    np.testing.assert_array_equal(y, expected)


def test_linear_one_channel():
    """K = N = 1, a scale for one output, unsigned storage."""
    module = compile_main(
        [("x", "tensor<?x1xi8>"), ("w", "tensor<1x1xi8>"), ("s", "tensor<1xf32>")], "tensor<?x1xf32>", """
      %y = qtx.linear %x as !quant.uniform<u8:f32, 0.5:128>, %w scale(%s)
          : (tensor<?x1xi8>, tensor<1x1xi8>, tensor<1xf32>) -> tensor<?x1xf32>
      return %y : tensor<?x1xf32>""")
    x = np.arange(256, dtype=np.uint8).view(np.int8)[:, None]
    (y,) = module.run("main", x, np.int8([[-3]]), np.float32([0.25]))
    np.testing.assert_array_equal(y[:, 0], (np.arange(256) - 128) * np.float32(-0.375))


#===-- batch_matmul --------------------------------------------------------===#

# Two heads, K = 6, N = 4; the number of rows is dynamic.
HEADS, K2, N2 = 2, 6, 4


class Side:
    """One quantized operand: its type, run-time operands, parameters per element.

    `axis` is the axis of the groups in [head, row, channel] of the operand.
    """

    def __init__(self, name, axis=None, sizes=(), per_position=False, run_time=False):
        self.name, self.axis, self.sizes = name, axis, sizes
        self.per_position, self.run_time = per_position, run_time or per_position

    def type(self, transposed):
        """The element type; operands are [H, row, K] unless `transposed` to [H, K, row]."""
        if self.axis is None:
            return "!quant.uniform<i8:f32, 0.0625:-5>"
        axis = {"head": -3, "row": -1 if transposed else -2, "channel": -2 if transposed else -1}[self.axis]
        params = "?" if self.run_time else "{" + ", ".join(
            f"{2.0 ** -i * 1.25}:{(37 * i) % 255 - 128}" for i in range(len(self.sizes))) + "}"
        return f"!qtx.grouped<i8:f32, axis={axis}, {list(self.sizes)}, {params}>"

    def draw(self, data, rows):
        """Run-time inputs, then scale and zero point per [H, row, channel]."""
        shape = (HEADS, rows, K2)
        if self.axis is None:
            return [], np.full(shape, np.float32(0.0625)), np.full(shape, -5)
        groups = len(self.sizes)
        size = (HEADS, rows, groups) if self.per_position else (groups,)
        if self.run_time:
            s, z = data.draw(scales(size)), data.draw(integers(size, dtype=np.int32))
            inputs = [s, z]
        else:
            s = np.float32([2.0 ** -i * 1.25 for i in range(groups)])
            z = np.array([(37 * i) % 255 - 128 for i in range(groups)])
            inputs = []
        s, z = (np.repeat(values, self.sizes, axis=-1) for values in (s, z))
        if not self.per_position:
            where = {"head": (-1, 1, 1), "row": (1, -1, 1), "channel": (1, 1, -1)}[self.axis]
            s, z = s.reshape(where), z.reshape(where)
        return inputs, np.broadcast_to(s, shape), np.broadcast_to(z, shape)


A_SIDES = [Side("tensor"), Side("groups", "channel", (4, 2)), Side("heads", "head", (1, 1)),
           Side("tokens", "channel", (3, 3), per_position=True)]
B_SIDES = [Side("tensor"), Side("groups", "channel", (1, 5)), Side("heads", "head", (1, 1), run_time=True),
           Side("outputs", "row", (1,) * N2), Side("outputs?", "row", (1, 3), run_time=True),
           Side("groups?", "channel", (5, 1), run_time=True)]
POSITIONS = Side("positions", "channel", (2, 4), per_position=True)
PAIRS = [(a, b, t) for a in A_SIDES for b in B_SIDES for t in (False, True)]
# All pairs would take long to compile; every third keeps each side and form.
PAIRS = PAIRS[::3] + [(A_SIDES[1], POSITIONS, True), (A_SIDES[3], POSITIONS, True)]


@functools.lru_cache(maxsize=None)
def compile_batch(a, b, transposed, out):
    b_shape = f"{HEADS}x{N2}x{K2}" if transposed else f"{HEADS}x{K2}x{N2}"
    arguments, text = [("a", f"tensor<{HEADS}x?x{K2}xi8>")], {}
    arguments_b = [("b", f"tensor<{b_shape}xi8>")]
    for side, name, rows, target in ((a, "a", "?", arguments), (b, "b", N2, arguments_b)):
        text[name] = ""
        if side.run_time:
            groups = len(side.sizes)
            lead = f"{HEADS}x{rows}x" if side.per_position else ""
            target += [(f"{name}s", f"tensor<{lead}{groups}xf32>"), (f"{name}z", f"tensor<{lead}{groups}xi32>")]
            text[name] = f"scale(%{name}s) zero_point(%{name}z)"
    arguments += arguments_b
    result = f"tensor<{HEADS}x?x{N2}x{'i8' if out else 'f32'}>"
    return compile_main(arguments, result, f"""
      %y = qtx.batch_matmul %a {text['a']} as {a.type(False)}, %b {text['b']} as {b.type(not transposed)}
          {"transpose_b" if transposed else ""} {f"to {out}" if out else ""} : {signature(arguments, result)}
      return %y : {result}""")


OUT = "!qtx.grouped<i8:f32, axis=-3, [1, 1], {0.5:3, 2.0:-7}>"


@pytest.mark.parametrize("a, b, transposed", PAIRS, ids=lambda p: getattr(p, "name", None) or ("bt" if p else "b"))
@given(data=st.data())
def test_batch_matmul(a, b, transposed, data):
    out = OUT if a.axis is None else None
    rows = data.draw(st.integers(0, 3))
    x, w = data.draw(integers((HEADS, rows, K2))), data.draw(integers((HEADS, N2, K2)))
    a_inputs, s_a, z_a = a.draw(data, rows)
    b_inputs, s_b, z_b = b.draw(data, N2)
    given_w = w if transposed else np.ascontiguousarray(np.swapaxes(w, 1, 2))
    (y,) = compile_batch(a, b, transposed, out).run("main", x, *a_inputs, given_w, *b_inputs)
    cuts = segments(K2, *(side.sizes for side in (a, b) if side.axis == "channel"))
    expected = join(x, z_a, s_a, w, z_b, s_b, cuts, np.zeros((HEADS, rows, N2), np.float32))
    if out:
        expected = quantize(expected, np.float32([[[0.5]], [[2]]]), np.int32([[[3]], [[-7]]]))
    np.testing.assert_array_equal(y, expected)


@functools.lru_cache(maxsize=None)
def compile_batch_dynamic(element, transposed):
    b = "tensor<?x?x?xf32>" if element == "f32" else "tensor<?x?x?xi8>"
    a_as, b_as = ("", "") if element == "f32" else (
        "as !quant.uniform<i8:f32, 0.5:-128>", "as !quant.uniform<u8:f32, 0.25:3>")
    return compile_main([("a", b), ("b", b)], "tensor<?x?x?xf32>", f"""
      %y = qtx.batch_matmul %a {a_as}, %b {b_as} {"transpose_b" if transposed else ""}
          : ({b}, {b}) -> tensor<?x?x?xf32>
      return %y : tensor<?x?x?xf32>""")


@pytest.mark.parametrize("transposed", [False, True])
@given(data=st.data())
def test_batch_matmul_dynamic(transposed, data):
    """Every size dynamic, the contracted one too."""
    batch, m, n = (data.draw(st.integers(1, 2)) for _ in range(3))
    k = data.draw(st.integers(0, 5))
    a, b = data.draw(integers((batch, m, k))), data.draw(integers((batch, n, k)))
    given_b = b if transposed else np.ascontiguousarray(np.swapaxes(b, 1, 2))
    (y,) = compile_batch_dynamic("i8", transposed).run("main", a, given_b)
    acc = (a.astype(np.int64) + 128) @ np.swapaxes(b.view(np.uint8).astype(np.int64) - 3, 1, 2)
    np.testing.assert_array_equal(y, acc.astype(np.float32) * np.float32(0.125))


@pytest.mark.parametrize("transposed", [False, True])
@given(data=st.data())
def test_batch_matmul_float(transposed, data):
    batch, m, n, k = (data.draw(st.integers(1, 3)) for _ in range(4))
    a, b = data.draw(floats((batch, m, k))), data.draw(floats((batch, n, k)))
    given_b = b if transposed else np.ascontiguousarray(np.swapaxes(b, 1, 2))
    (y,) = compile_batch_dynamic("f32", transposed).run("main", a, given_b)
    expected = np.zeros((batch, m, n), np.float32)
    for i in range(k):
        expected = fma32(a[:, :, None, i], b[:, None, :, i], expected)
    np.testing.assert_array_equal(y, expected)


def test_batch_matmul_extremes():
    """The largest sums that the verifier admits do not overflow."""
    k = 33025
    types = ("!quant.uniform<i8:f32, 1.0:-128>", "!quant.uniform<i8:f32, 1.0:127>")
    module = compile_main([("a", f"tensor<1x{k}xi8>"), ("b", f"tensor<1x{k}xi8>")], "tensor<1x1xf32>", f"""
      %y = qtx.batch_matmul %a as {types[0]}, %b as {types[1]} transpose_b
          : (tensor<1x{k}xi8>, tensor<1x{k}xi8>) -> tensor<1x1xf32>
      return %y : tensor<1x1xf32>""")
    (y,) = module.run("main", np.full((1, k), 127, np.int8), np.full((1, k), -128, np.int8))
    np.testing.assert_array_equal(y, np.float32(-255 * 255 * k))


def test_batch_matmul_golden():
    """The grouped product of the example in test_linear.py, as one of two activations."""
    codes = np.array([[145, 0, 178, 255, 0, 103], [42, 179, 128, 0, 193, 255], [255, 11, 183, 208, 169, 242]]) - 128
    order = [4, 0, 2, 3, 5, 1]
    weight = np.int8([[3, -7, 11, 2, -5, 9], [-4, 6, 1, -8, 10, -2]])
    params = ", ".join(f"{(hi - lo) / 255:.17e}:{z - 128}" for lo, hi, z in
                       [(-0.33, 0.41, 114), (-3.01, 2.05, 152), (-8.04, 12.03, 102)])
    module = compile_main([("a", "tensor<3x6xi8>"), ("b", "tensor<2x6xi8>")], "tensor<3x2xf32>", f"""
      %y = qtx.batch_matmul %a as !qtx.grouped<i8:f32, axis=-1, [2, 2, 2], {{{params}}}>,
          %b as !quant.uniform<i8:f32, 0.05> transpose_b : (tensor<3x6xi8>, tensor<2x6xi8>) -> tensor<3x2xf32>
      return %y : tensor<3x2xf32>""")
    (y,) = module.run("main", codes[:, order].astype(np.int8), np.ascontiguousarray(weight[:, order]))
    # Three products and sums in fp32 of terms up to 20: a few units of 2^-24 * 20.
    np.testing.assert_allclose(
        y, [[3.429558824, -3.391415686], [2.645576471, 1.952972549], [7.936174510, -3.666313725]], rtol=0, atol=5e-6)


def test_linear_float_golden():
    """The products of the same example without quantization."""
    x = np.float32([[0.09, -8.04, 0.52, 2.05, -0.33, 0.06], [-0.21, 6.09, -0.47, -3.01, 0.23, 12.03],
                    [0.41, -7.15, 0.61, 1.11, 0.16, 11.01]])
    weight = np.float32([[3, -7, 11, 2, -5, 9], [-4, 6, 1, -8, 10, -2]]) * np.float32(0.05)
    module = compile_main([("x", "tensor<?x6xf32>"), ("w", "tensor<2x6xf32>")], "tensor<?x2xf32>", """
      %y = qtx.linear %x, %w : (tensor<?x6xf32>, tensor<2x6xf32>) -> tensor<?x2xf32>
      return %y : tensor<?x2xf32>""")
    (y,) = module.run("main", x, weight)
    # Inputs, products and sums in fp32 of terms up to 6: a few units of 2^-24 * 10.
    np.testing.assert_allclose(y, [[3.428, -3.395], [2.6335, 1.9615], [7.925, -3.6615]], rtol=0, atol=5e-6)


#===-- Tiling --------------------------------------------------------------===#

# Test passes are in qtx-opt only.
QTX_OPT = find_library().parents[1] / "bin" / "qtx-opt"


def tile(text, sizes):
    pipeline = f"builtin.module(test-qtx-tile{{sizes={','.join(map(str, sizes))}}},canonicalize,cse)"
    run = subprocess.run([QTX_OPT, "--pass-pipeline=" + pipeline], input=text, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "scf.for" in run.stdout
    return run.stdout


NT = 6
RESULTS = {
    "f32": ("f32", ""),
    "tensor": ("i8", "to !quant.uniform<i8:f32, 0.5:3>"),
    "groups": ("i8", "to !qtx.grouped<i8:f32, axis=-1, [4, 2], {0.5:3, 2.0}>"),
    "channels": ("i8", "out_scale(%ys) out_zero_point(%yz) to !qtx.grouped<i8:f32, axis=-1, [1 * 6], ?>"),
}


def tiled_linear(result, bias, tokens):
    lead = "?x2x" if tokens else ""
    arguments = [("x", f"tensor<?x2x{K}xi8>"), ("s", f"tensor<{lead}2xf32>"), ("z", f"tensor<{lead}2xi32>"),
                 ("w", f"tensor<{NT}x{K}xi4>"), ("ws", f"tensor<{NT}x3xf32>"),
                 ("b", f"tensor<{NT}xf32>" if bias == "vector" else f"tensor<?x2x{NT}xf32>"),
                 ("ys", f"tensor<{NT}xf32>"), ("yz", f"tensor<{NT}xi32>")]
    element, to = RESULTS[result]
    types = arguments if result == "channels" else arguments[:6]
    y = f"tensor<?x2x{NT}x{element}>"
    names = ", ".join(f"%{name}: {type}" for name, type in arguments)
    return f"""func.func @main({names}) -> {y} {{
      %y = qtx.linear %x scale(%s) zero_point(%z) as !qtx.grouped<i8:f32, axis=-1, [5, 2], ?>,
          %w scale(%ws) block 3 bias(%b) {to} : {signature(types, y)}
      return %y : {y}
    }}"""


TILINGS = [("f32", "vector", False, (2, 1, 4)), ("f32", "full", True, (3, 0, 5)), ("tensor", "full", True, (1, 2, 4)),
           ("groups", "vector", False, (2, 1, 3)), ("groups", "full", True, (2, 0, 1)),
           ("channels", "vector", True, (3, 1, 2)), ("groups", "vector", True, (2, 1)),
           ("channels", "full", False, (4, 0, 6))]


@pytest.mark.parametrize("result, bias, tokens, sizes", TILINGS)
def test_tiled_linear(result, bias, tokens, sizes):
    text = tiled_linear(result, bias, tokens)
    whole, tiled = qtx.compile_ir(text), qtx.compile_ir(tile(text, sizes))
    random = np.random.default_rng(0)
    for rows in (1, 2, 5, 7):
        lead = (rows, 2) if tokens else ()
        inputs = [
            random.integers(-128, 128, (rows, 2, K), dtype=np.int8),
            random.uniform(0.01, 1, lead + (2,)).astype(np.float32),
            random.integers(-128, 128, lead + (2,), dtype=np.int32),
            random.integers(-8, 8, (NT, K), dtype=np.int8),
            random.uniform(0.001, 0.02, (NT, 3)).astype(np.float32),
            random.normal(size=NT if bias == "vector" else (rows, 2, NT)).astype(np.float32),
            random.uniform(0.05, 1, NT).astype(np.float32),
            random.integers(-128, 128, NT, dtype=np.int32),
        ]
        (expected,), (actual,) = whole.run("main", *inputs), tiled.run("main", *inputs)
        np.testing.assert_array_equal(actual, expected)
        assert len(np.unique(expected)) > 4


def test_tiled_linear_seed():
    """Seeds, one scale for all outputs, and a float linear."""
    text = """func.func @main(%x: tensor<?x7xi8>, %w: tensor<6x7xi8>, %s: tensor<1xf32>, %c: tensor<2x6xi32>,
                              %f: tensor<6x7xf32>) -> (tensor<?x6xf32>, tensor<?x6xf32>) {
      %y = qtx.linear %x as !qtx.grouped<i8:f32, axis=-1, [3, 4], {0.5:1, 0.25}>, %w scale(%s) seed(%c)
          : (tensor<?x7xi8>, tensor<6x7xi8>, tensor<1xf32>, tensor<2x6xi32>) -> tensor<?x6xf32>
      %r = qtx.dequantize %x as !quant.uniform<i8:f32, 0.5> : tensor<?x7xi8> -> tensor<?x7xf32>
      %z = qtx.linear %r, %f : (tensor<?x7xf32>, tensor<6x7xf32>) -> tensor<?x6xf32>
      return %y, %z : tensor<?x6xf32>, tensor<?x6xf32>
    }"""
    whole, tiled = qtx.compile_ir(text), qtx.compile_ir(tile(text, (4, 5)))
    random = np.random.default_rng(1)
    inputs = [random.integers(-128, 128, (5, 7), dtype=np.int8), random.integers(-128, 128, (6, 7), dtype=np.int8),
              np.float32([0.5]), random.integers(-1000, 1000, (2, 6), dtype=np.int32),
              random.normal(size=(6, 7)).astype(np.float32)]
    for expected, actual in zip(whole.run("main", *inputs), tiled.run("main", *inputs)):
        np.testing.assert_array_equal(actual, expected)
