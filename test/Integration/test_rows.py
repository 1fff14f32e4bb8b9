# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Operations on rows by the fast path, compared with the reference lowering and NumPy.

What works element by element agrees bit for bit, elementary functions included, and so
do parameters found from ranges. Only sums over a row have another order: normalisation
and softmax lie within the bounds of docs/Numerics.md, section 14.
"""

import functools
import os
import re

import numpy as np
import pytest
import qtx
from encoder import Encoder
from hypothesis import given
from hypothesis import strategies as st
from test_kernels import guard
from test_normalisation import layer_norm_reference

U = 2.0**-23
ROWS = "builtin.module(qtx-to-storage,convert-qtx-to-rows,qtx-fuse-rows,canonicalize,cse)"
# Less than a vector, whole vectors, several with a rest, more than four with one.
WIDTHS = [1, 7, 8, 32, 33, 48, 131]
UNIFORM = "!quant.uniform<i8:f32, 0.05:3>"
UNSIGNED = "!quant.uniform<u8:f32, 0.1:100>"
WIDE = "!quant.uniform<i16:f32, 0.001:-7>"
ACCUMULATOR = "!quant.uniform<i32:f32, 0.0001:5>"


def grouped(width):
    """Two groups, of one channel and of the others."""
    if width == 1:
        return UNIFORM
    return f"!qtx.grouped<i8:f32, axis=-1, [1, {width - 1}], {{0.03125:-7, 0.2:100}}>"


@functools.lru_cache(maxsize=None)
def compile_both(text):
    rows = qtx.run_passes(text, ROWS)
    assert "qtx.rows" in rows
    return qtx.compile_ir(text), qtx.compile_ir(rows, opt_level=2)


def make_rows(rng, count, width):
    """Rows of several magnitudes, with some values that are special."""
    x = rng.standard_normal((count, width)) * rng.choice([1e-3, 1.0, 20.0, 1e6], (count, 1))
    special = rng.choice([np.nan, np.inf, -np.inf, 0.0, -0.0, 3e38, 1e-42], x.shape)
    return np.float32(np.where(rng.random(x.shape) < 0.05, special, x))


def make_codes(rng, shape, dtype):
    info = np.iinfo(dtype)
    codes = rng.integers(info.min, info.max + 1, shape)
    edges = rng.choice([info.min, info.max, 0], shape)
    return np.where(rng.random(shape) < 0.2, edges, codes).astype(dtype)


def storage(quant):
    """The element type in storage form and its NumPy type."""
    if quant is None:
        return "f32", np.float32
    name = quant.split("<")[1].split(":")[0]
    return "i" + name[1:], np.dtype("int" + name[1:])


def check_exact(text, *inputs):
    reference, fast = compile_both(text)
    for expected, found in zip(reference.run("main", *inputs), fast.run("main", *inputs)):
        np.testing.assert_array_equal(found, expected)


def make_input(rng, quant, count, width):
    if quant is None:
        return make_rows(rng, count, width)
    return make_codes(rng, (count, width), storage(quant)[1])


# `x` in, `y` out; None is float.
UNARY = {
    "relu": "qtx.relu %x{as_x}{to_y}",
    "gelu": "qtx.gelu %x{as_x}{to_y}",
    "gelu_tanh": "qtx.gelu %x{as_x} approximate tanh{to_y}",
    "silu": "qtx.silu %x{as_x}{to_y}",
    "requantize": "qtx.requantize %x{as_x}{to_y}",
}


@pytest.mark.parametrize("name", UNARY)
@given(st.sampled_from(WIDTHS), st.sampled_from([None, UNIFORM, UNSIGNED, WIDE, "grouped"]),
       st.sampled_from([None, UNIFORM, UNSIGNED, WIDE, "grouped"]), st.integers(0, 2**32 - 1))
def test_unary(name, width, x_quant, y_quant, seed):
    x_quant, y_quant = (grouped(width) if q == "grouped" else q for q in (x_quant, y_quant))
    if name == "requantize":
        x_quant, y_quant = x_quant or ACCUMULATOR, y_quant or UNIFORM
    x_type = f"tensor<?x{width}x{storage(x_quant)[0]}>"
    y_type = f"tensor<?x{width}x{storage(y_quant)[0]}>"
    body = UNARY[name].format(as_x=f" as {x_quant}" * bool(x_quant),
                              to_y=f" to {y_quant}" * bool(y_quant))
    rng = np.random.default_rng(seed)
    check_exact(f"""
      func.func @main(%x: {x_type}) -> {y_type} {{
        %y = {body} : ({x_type}) -> {y_type}
        return %y : {y_type}
      }}""", make_input(rng, x_quant, rng.integers(0, 4), width))


@given(st.sampled_from(WIDTHS), st.sampled_from([UNIFORM, UNSIGNED, WIDE, ACCUMULATOR, "grouped"]),
       st.integers(0, 2**32 - 1))
def test_quantize_and_dequantize(width, quant, seed):
    quant = grouped(width) if quant == "grouped" else quant
    f_type, q_type = f"tensor<?x{width}xf32>", f"tensor<?x{width}x{storage(quant)[0]}>"
    rng = np.random.default_rng(seed)
    check_exact(f"""
      func.func @main(%x: {f_type}, %q: {q_type}) -> ({q_type}, {f_type}) {{
        %y = qtx.quantize %x to {quant} : {f_type} -> {q_type}
        %z = qtx.dequantize %q as {quant} : {q_type} -> {f_type}
        return %y, %z : {q_type}, {f_type}
      }}""", make_rows(rng, 3, width), make_input(rng, quant, 2, width))


@given(st.sampled_from(WIDTHS), st.sampled_from(["i8", "i32", "f32"]), st.integers(0, 2**32 - 1))
def test_permute(width, element, seed):
    """Alone, and where rows are written that need several passes."""
    rng = np.random.default_rng(seed)
    x_type, f_type = f"tensor<?x{width}x{element}>", f"tensor<?x{width}xf32>"
    order = rng.permutation(width)
    text = f"""
      func.func @main(%x: {x_type}, %f: {f_type}) -> ({x_type}, {f_type}, {f_type}) {{
        %p = arith.constant dense<{order.tolist()}> : tensor<{width}xi32>
        %y = qtx.permute %x by %p : ({x_type}, tensor<{width}xi32>) -> {x_type}
        %g = qtx.gelu %f : ({f_type}) -> {f_type}
        %s = qtx.softmax %g : {f_type}
        %z = qtx.permute %s by %p : ({f_type}, tensor<{width}xi32>) -> {f_type}
        return %y, %z, %s : {x_type}, {f_type}, {f_type}
      }}"""
    rows = qtx.run_passes(text, ROWS)
    assert rows.count("qtx.rows") == 2 and rows.count("column_ids") == 2
    x = np.float32(rng.standard_normal((3, width)))
    codes = rng.integers(-100, 100, x.shape).astype(
        {"i8": np.int8, "i32": np.int32, "f32": np.float32}[element])
    y, z, s = compile_both(text)[1].run("main", codes, x)
    np.testing.assert_array_equal(y, codes[:, order])
    np.testing.assert_array_equal(z, s[:, order])
    np.testing.assert_allclose(s.sum(-1), 1, rtol=1e-5)  # Sums in fp32.


@given(st.sampled_from(WIDTHS), st.booleans(), st.integers(0, 2**32 - 1))
def test_run_time_parameters(width, per_token, seed):
    """One group, with parameters of each token or of all."""
    quant = f"!qtx.grouped<i8:f32, axis=-1, [{width}], ?>"
    shape = "?x1" if per_token else "1"
    f_type, q_type = f"tensor<?x{width}xf32>", f"tensor<?x{width}xi8>"
    params = f"%s: tensor<{shape}xf32>, %z: tensor<{shape}xi32>"
    clause = f"scale(%s : tensor<{shape}xf32>) zero_point(%z : tensor<{shape}xi32>)"
    rng = np.random.default_rng(seed)
    scale = np.float32(rng.uniform(0.01, 2, (3, 1) if per_token else 1))
    zero_point = rng.integers(-128, 128, scale.shape).astype(np.int32)
    check_exact(f"""
      func.func @main(%x: {f_type}, %q: {q_type}, {params}) -> ({q_type}, {f_type}) {{
        %y = qtx.quantize %x {clause} to {quant} : {f_type} -> {q_type}
        %w = qtx.dequantize %q {clause} as {quant} : {q_type} -> {f_type}
        return %y, %w : {q_type}, {f_type}
      }}""", make_rows(rng, 3, width), make_codes(rng, (3, width), np.int8), scale, zero_point)


@given(st.sampled_from(WIDTHS), st.booleans(), st.sampled_from([None, UNIFORM]),
       st.integers(0, 2**32 - 1))
def test_dynamic_quantize(width, symmetric, x_quant, seed):
    x_type = f"tensor<?x{width}x{storage(x_quant)[0]}>"
    results = [f"tensor<?x{width}xi8>", "tensor<?x1xf32>"] + ["tensor<?x1xi32>"] * (not symmetric)
    names = ", ".join(["%y", "%s", "%z"][:len(results)])
    types = ", ".join(results)
    rng = np.random.default_rng(seed)
    check_exact(f"""
      func.func @main(%x: {x_type}) -> ({types}) {{
        {names} = qtx.dynamic_quantize %x{f" as {x_quant}" * bool(x_quant)}
            {"symmetric" * symmetric} to !qtx.grouped<i8:f32, axis=-1, [{width}], ?>
            : ({x_type}) -> ({types})
        return {names} : {types}
      }}""", make_input(rng, x_quant, 4, width))


@given(st.sampled_from(WIDTHS), st.sampled_from([None, UNIFORM]), st.sampled_from([None, "grouped"]),
       st.sampled_from([None, UNIFORM, "grouped"]), st.booleans(), st.integers(0, 2**32 - 1))
def test_add(width, lhs, rhs, y, is_trailing, seed):
    lhs, rhs, y = (grouped(width) if q == "grouped" else q for q in (lhs, rhs, y))
    types = [f"tensor<?x3x{width}x{storage(lhs)[0]}>",
             f"tensor<{'' if is_trailing else '?x'}3x{width}x{storage(rhs)[0]}>",
             f"tensor<?x3x{width}x{storage(y)[0]}>"]
    rng = np.random.default_rng(seed)
    a, b = (make_input(rng, quant, 6, width).reshape(2, 3, width) for quant in (lhs, rhs))
    check_exact(f"""
      func.func @main(%a: {types[0]}, %b: {types[1]}) -> {types[2]} {{
        %y = qtx.add %a{f" as {lhs}" * bool(lhs)}, %b{f" as {rhs}" * bool(rhs)}
            {f" to {y}" * bool(y)} : ({types[0]}, {types[1]}) -> {types[2]}
        return %y : {types[2]}
      }}""", a, b[0] if is_trailing else b)


@given(st.sampled_from(WIDTHS), st.sampled_from([None, UNIFORM]), st.integers(0, 2**32 - 1))
def test_scale_shift(width, y, seed):
    y_type = f"tensor<?x{width}x{storage(y)[0]}>"
    rng = np.random.default_rng(seed)
    check_exact(f"""
      func.func @main(%x: tensor<?x{width}xf32>, %g: tensor<{width}xf32>,
                      %s: tensor<{width}xf32>) -> {y_type} {{
        %y = qtx.scale_shift %x gain(%g) shift(%s) {f"to {y}" * bool(y)}
            : (tensor<?x{width}xf32>, tensor<{width}xf32>, tensor<{width}xf32>) -> {y_type}
        return %y : {y_type}
      }}""", make_rows(rng, 3, width), *np.float32(rng.standard_normal((2, width))))


@given(st.sampled_from(WIDTHS), st.sampled_from(["f32", "one", "rows"]),
       st.sampled_from([None, UNIFORM]), st.integers(0, 2**32 - 1))
def test_embedding(width, kind, y, seed):
    """Negative ids, and ids outside of the table, which take the nearest row."""
    rng = np.random.default_rng(seed)
    count = {"one": 1, "rows": 10}.get(kind)
    table = "f32" if kind == "f32" else "i8"
    values = [make_rows(rng, 10, width) if kind == "f32" else make_codes(rng, (10, width), np.int8)]
    scale = f"%s: tensor<{count}xf32>," * bool(count)
    types = [f"tensor<10x{width}x{table}>"] + [f"tensor<{count}xf32>"] * bool(count)
    if count:
        values.append(np.float32(rng.uniform(0.1, 2, count)))
    y_type = f"tensor<?x?x{width}x{storage(y)[0]}>"
    check_exact(f"""
      func.func @main(%t: tensor<10x{width}x{table}>, {scale} %i: tensor<?x?xi64>) -> {y_type} {{
        %y = qtx.embedding %t {"scale(%s)" * bool(count)}, %i {f"to {y}" * bool(y)}
            : ({", ".join(types)}, tensor<?x?xi64>) -> {y_type}
        return %y : {y_type}
      }}""", *values, rng.integers(-13, 13, (2, 3)))


@given(st.sampled_from([1, 3, 4]), st.sampled_from([1, 5, 16]), st.integers(0, 2**32 - 1))
def test_heads(heads, size, seed):
    x_type, y_type = f"tensor<?x?x{heads * size}xi8>", f"tensor<?x{heads}x?x{size}xi8>"
    rng = np.random.default_rng(seed)
    check_exact(f"""
      func.func @main(%x: {x_type}) -> ({y_type}, {x_type}) {{
        %y = qtx.split_heads %x : {x_type} -> {y_type}
        %n = qtx.relu %y as {UNIFORM} to {UNIFORM} : ({y_type}) -> {y_type}
        %z = qtx.merge_heads %n : {y_type} -> {x_type}
        return %y, %z : {y_type}, {x_type}
      }}""", make_codes(rng, (2, 3, heads * size), np.int8))


@given(st.sampled_from(WIDTHS), st.sampled_from([(), ("gamma",), ("beta",), ("gamma", "beta")]),
       st.sampled_from([1e-4, 1.0, 1e4]), st.integers(0, 2**32 - 1))
def test_layer_norm(width, operands, magnitude, seed):
    rng = np.random.default_rng(seed)
    x = np.float32(rng.standard_normal((3, width)) * magnitude + rng.choice([0, 3]))
    values = {name: np.float32(rng.standard_normal(width)) for name in operands}
    arguments = "".join(f", %{name}: tensor<{width}xf32>" for name in operands)
    types = ", ".join([f"tensor<?x{width}xf32>"] + [f"tensor<{width}xf32>"] * len(operands))
    _, fast = compile_both(f"""
      func.func @main(%x: tensor<?x{width}xf32>{arguments}) -> tensor<?x{width}xf32> {{
        %y = qtx.layer_norm %x {" ".join(f"{name}(%{name})" for name in operands)}
            epsilon 1.0e-5 : ({types}) -> tensor<?x{width}xf32>
        return %y : tensor<?x{width}xf32>
      }}""")
    (y,) = fast.run("main", x, *values.values())
    expected, bound = layer_norm_reference(
        x, values.get("gamma", np.ones(width)), values.get("beta", np.zeros(width)),
        float(np.float32(1e-5)))
    assert np.all(np.abs(y - expected) <= bound)


@given(st.sampled_from(WIDTHS), st.integers(0, 2**32 - 1))
def test_rms_norm(width, seed):
    rng = np.random.default_rng(seed)
    x, gamma = np.float32(rng.standard_normal((3, width))), np.float32(rng.standard_normal(width))
    _, fast = compile_both(f"""
      func.func @main(%x: tensor<?x{width}xf32>, %g: tensor<{width}xf32>) -> tensor<?x{width}xf32> {{
        %y = qtx.rms_norm %x gamma(%g) epsilon 1.0e-6
            : (tensor<?x{width}xf32>, tensor<{width}xf32>) -> tensor<?x{width}xf32>
        return %y : tensor<?x{width}xf32>
      }}""")
    wide = x.astype(np.float64)
    mean = (wide**2).mean(-1, keepdims=True)
    expected = wide / np.sqrt(mean + float(np.float32(1e-6))) * gamma
    (y,) = fast.run("main", x, gamma)
    assert np.all(np.abs(y - expected) <= (width + 8) * U * np.abs(expected) + 2.0**-140)


def norm_of_special(name):
    return compile_both(f"""
      func.func @main(%x: tensor<?x3xf32>) -> tensor<?x3xf32> {{
        %y = qtx.{name} %x epsilon 1.0e-5 : (tensor<?x3xf32>) -> tensor<?x3xf32>
        return %y : tensor<?x3xf32>
      }}""")


@pytest.mark.parametrize("name", ["layer_norm", "rms_norm"])
def test_special_values_in_rows(name):
    x = np.float32([[1, 2, np.nan], [1, 2, np.inf], [-np.inf, 2, 3], [1e30, -1e30, 0]])
    reference, fast = norm_of_special(name)
    np.testing.assert_array_equal(fast.run("main", x)[0], reference.run("main", x)[0])


@given(st.sampled_from(WIDTHS), st.sampled_from([None, (-0.1, 1.0), (-0.03, 1.1)]),
       st.integers(0, 2**32 - 1))
def test_softmax(width, clip, seed):
    rng = np.random.default_rng(seed)
    x = np.float32(rng.standard_normal((2, 3, width)) * 10)
    x[rng.random(x.shape) < 0.2] = -np.inf
    x[0, 0] = -np.inf
    name = f"qtx.clipped_softmax %x clip [{clip[0]}, {clip[1]}]" if clip else "qtx.softmax %x"
    _, fast = compile_both(f"""
      func.func @main(%x: tensor<?x3x?xf32>) -> tensor<?x3x?xf32> {{
        %y = {name} : tensor<?x3x?xf32>
        return %y : tensor<?x3x?xf32>
      }}""")
    shift = x.max(-1, keepdims=True).astype(np.float64)
    e = np.exp(x - np.where(np.isinf(shift), 0, shift))
    total = e.sum(-1, keepdims=True)
    p = e / np.where(total == 0, 1, total)
    largest = np.abs(np.where(np.isinf(x), 0, x)).max(-1, keepdims=True)
    bound = ((width + 24) * U + 2 * U * largest) * p
    if clip:
        gamma, zeta = np.float32(clip).astype(np.float64)
        p, bound = np.clip((zeta - gamma) * p + gamma, 0, 1), (zeta - gamma) * bound + 4 * U
    (y,) = fast.run("main", x)
    assert np.all(np.abs(y - p) <= bound + 2.0**-140)


def test_softmax_of_special_values():
    x = np.float32([[1, np.nan, 2], [np.inf, 1, 2], [-np.inf, -np.inf, -np.inf], [1, -np.inf, 0]])
    reference, fast = compile_both("""
      func.func @main(%x: tensor<?x3xf32>) -> tensor<?x3xf32> {
        %y = qtx.softmax %x : tensor<?x3xf32>
        return %y : tensor<?x3xf32>
      }""")
    expected = reference.run("main", x)[0]
    np.testing.assert_array_equal(np.isnan(expected), np.isnan(fast.run("main", x)[0]))
    np.testing.assert_allclose(fast.run("main", x)[0], expected, rtol=30 * U)


@given(st.sampled_from(WIDTHS), st.integers(0, 2**32 - 1))
def test_fused_chain(width, seed):
    """Sum, two normalisations and a quantization in one pass; each result is written."""
    row = f"tensor<?x{width}xf32>"
    text = f"""
      func.func @main(%a: {row}, %b: {row}, %g: tensor<{width}xf32>)
          -> ({row}, {row}, tensor<?x{width}xi8>) {{
        %s = qtx.add %a, %b : ({row}, {row}) -> {row}
        %y = qtx.layer_norm %s epsilon 1.0e-5 : ({row}) -> {row}
        %z = qtx.layer_norm %s gamma(%g) epsilon 1.0e-5 : ({row}, tensor<{width}xf32>) -> {row}
        %q = qtx.quantize %z to {UNIFORM} : {row} -> tensor<?x{width}xi8>
        return %s, %y, %q : {row}, {row}, tensor<?x{width}xi8>
      }}"""
    assert qtx.run_passes(text, ROWS).count("= qtx.rows") == 1
    rng = np.random.default_rng(seed)
    a, b = np.float32(rng.standard_normal((2, 5, width)))
    gamma = np.float32(rng.standard_normal(width))
    _, fast = compile_both(text)
    s, y, q = fast.run("main", a, b, gamma)
    np.testing.assert_array_equal(s, a + b)
    expected, bound = layer_norm_reference(s, np.ones(width), np.zeros(width), float(np.float32(1e-5)))
    assert np.all(np.abs(y - expected) <= bound)
    expected, bound = layer_norm_reference(s, gamma, np.zeros(width), float(np.float32(1e-5)))
    # A code differs only where the bound reaches a tie; twice for the two roundings.
    low, high = (np.clip(np.rint((expected + d) * 20), -131, 124) + 3 for d in (-2 * bound, 2 * bound))
    assert np.all((low <= q) & (q <= high))


@pytest.mark.parametrize("width", [100, 128])
def test_any_number_of_rows(width):
    """Passes over several rows run beside each other, and rows of a large table are fetched
    before: each row is the one that it is alone."""
    row, codes = f"tensor<?x{width}xf32>", f"tensor<?x{width}xi8>"
    _, fast = compile_both(f"""
      func.func @main(%t: tensor<3000x{width}xf32>, %i: tensor<?xi64>) -> ({row}, {codes}, {codes}) {{
        %e = qtx.embedding %t, %i : (tensor<3000x{width}xf32>, tensor<?xi64>) -> {row}
        %y = qtx.layer_norm %e epsilon 1.0e-5 : ({row}) -> {row}
        %q = qtx.quantize %y to {UNIFORM} : {row} -> {codes}
        %d, %s, %z = qtx.dynamic_quantize %e to !qtx.grouped<i8:f32, axis=-1, [{width}], ?>
            : ({row}) -> ({codes}, tensor<?x1xf32>, tensor<?x1xi32>)
        return %y, %q, %d : {row}, {codes}, {codes}
      }}""")
    rng = np.random.default_rng(width)
    table = np.float32(rng.standard_normal((3000, width)))
    ids = np.concatenate([[0, -1, 2999, -3000], rng.integers(-3000, 3000, 1100)])
    alone = [fast.run("main", table, ids[i : i + 1]) for i in range(20)]
    whole = fast.run("main", table, ids)
    for count in [0, 1, 2, 3, 4, 20]:
        for result, values in enumerate(fast.run("main", table, ids[:count])):
            assert values.shape == (count, width)
            np.testing.assert_array_equal(values, whole[result][:count])
            for i in range(count):
                np.testing.assert_array_equal(values[i], alone[i][result][0])
    expected, bound = layer_norm_reference(
        table[ids], np.ones(width), np.zeros(width), float(np.float32(1e-5)))
    assert np.all(np.abs(whole[0] - expected) <= bound)


#===-- In place ---------------------------------------------------------------===#

# Fewer rows than take turns, the fewest that do, and more.
COUNTS = (1, 2, 3, 4, 5, 6, 7, 9)


def compile_in_place(body, results, width, rows="?", inputs=1, places=1):
    """The function `body` of `%p0` and so on: the arguments with their columns reversed, which
    are not joined with it. `places` outputs take the place of these."""
    row = f"tensor<{rows}x{width}xf32>"
    arguments = ", ".join(f"%x{i}: {row}" for i in range(inputs))
    reversals = "".join(f"%p{i} = qtx.permute %x{i} by %o : ({row}, tensor<{width}xi32>) -> {row}\n"
                        for i in range(inputs))
    text = qtx.run_passes(f"""
      func.func @main({arguments}) -> ({", ".join(type for _, type in results)}) {{
        %o = arith.constant dense<{list(range(width))[::-1]}> : tensor<{width}xi32>
        {reversals}
        {body}
        return {", ".join(name for name, _ in results)} : {", ".join(type for _, type in results)}
      }}""", ROWS)
    ins, outs = re.findall(r"qtx.rows ins\((.*?) :.*outs\((.*?) :", text)[-1]
    shared = set(ins.split(", ")) & set(outs.split(", "))
    assert len(shared) == places, text
    return qtx.compile_ir(text, opt_level=2)


def norm_pair(width, rows="?"):
    row = f"tensor<{rows}x{width}xf32>"
    gamma = np.float32(np.linspace(-2, 3, width))
    module = compile_in_place(f"""
        %g = arith.constant dense<{[float(value) for value in gamma]}> : tensor<{width}xf32>
        %y = qtx.layer_norm %p0 epsilon 1.0e-5 : ({row}) -> {row}
        %z = qtx.layer_norm %p0 gamma(%g) epsilon 1.0e-5 : ({row}, tensor<{width}xf32>) -> {row}""",
        [("%y", row), ("%z", row)], width, rows)
    return module, gamma


@pytest.mark.parametrize("width", [1, 7, 16, 17, 384, 385])
def test_pair_of_norms_in_place(width):
    dynamic, gamma = norm_pair(width)
    for count in COUNTS:
        x = np.float32(np.random.default_rng(count).standard_normal((count, width)) * 3 + 1)
        argument = x.copy()
        results = dynamic.run("main", argument)
        np.testing.assert_array_equal(argument, x)
        for result, factor in zip(results, (np.ones(width), gamma)):
            expected, bound = layer_norm_reference(
                x[:, ::-1], factor, np.zeros(width), float(np.float32(1e-5)))
            assert np.all(np.abs(result - expected) <= bound)
        # A known number of rows is no other computation.
        for known, result in zip(norm_pair(width, count)[0].run("main", x), results):
            np.testing.assert_array_equal(known, result)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_special_values_stay_in_their_row(value):
    module, _ = norm_pair(17)
    for count in COUNTS:
        x = np.float32(np.random.default_rng(count).standard_normal((count, 17)))
        clean = module.run("main", x)
        for i in range(count):
            special = x.copy()
            special[i, 5] = value
            for before, after in zip(clean, module.run("main", special)):
                assert np.isnan(after[i]).all()
                np.testing.assert_array_equal(np.delete(after, i, 0), np.delete(before, i, 0))


@pytest.mark.parametrize("width", [1, 17, 385])
def test_kept_values_in_place(width):
    """Exponentials are kept for the last pass, which reads the input as well."""
    row = f"tensor<?x{width}xf32>"
    body = f"""
        %s = qtx.softmax {{0}} : {row}
        %y = qtx.add %s, {{0}} : ({row}, {row}) -> {row}"""
    in_place = compile_in_place(body.format("%p0"), [("%y", row)], width)
    _, apart = compile_both(f"""
      func.func @main(%x: {row}) -> {row} {{
        {body.format("%x")}
        return %y : {row}
      }}""")
    for count in COUNTS:
        x = np.float32(np.random.default_rng(count).standard_normal((count, width)))
        (found,) = in_place.run("main", x)
        np.testing.assert_array_equal(found, apart.run("main", x[:, ::-1].copy())[0])
        # Sums in fp32, of differences that round as `x` does.
        np.testing.assert_allclose((found - x[:, ::-1]).sum(-1), 1, atol=width * 2 * U)


@pytest.mark.parametrize("width", [1, 17, 384])
def test_results_of_every_pass_in_place(width):
    """What an early pass knows and what the last one writes take the places of both inputs."""
    row, codes = f"tensor<?x{width}xf32>", f"tensor<?x{width}xi8>"
    module = compile_in_place(f"""
        %s = qtx.add %p0, %p1 : ({row}, {row}) -> {row}
        %y = qtx.layer_norm %s epsilon 1.0e-5 : ({row}) -> {row}
        %q, %d, %z = qtx.dynamic_quantize %y to !qtx.grouped<i8:f32, axis=-1, [{width}], ?>
            : ({row}) -> ({codes}, tensor<?x1xf32>, tensor<?x1xi32>)""",
        [("%s", row), ("%y", row), ("%q", codes), ("%d", "tensor<?x1xf32>"), ("%z", "tensor<?x1xi32>")],
        width, inputs=2, places=2)
    for count in COUNTS:
        a, b = np.float32(np.random.default_rng(count).standard_normal((2, count, width)))
        s, y, q, scale, zero_point = module.run("main", a, b)
        np.testing.assert_array_equal(s, (a + b)[:, ::-1])
        expected, bound = layer_norm_reference(s, np.ones(width), np.zeros(width), float(np.float32(1e-5)))
        assert np.all(np.abs(y - expected) <= bound)
        # Half a step, and as much again for what the scale and the quotient round.
        assert np.all(np.abs((q - zero_point) * scale - y) <= scale)


@pytest.mark.parametrize("width", [1, 17, 384])
def test_kept_values_of_several_passes(width):
    """The place of a result keeps a value until the last pass that reads it."""
    row, codes = f"tensor<?x{width}xf32>", f"tensor<?x{width}xi8>"
    reference, fast = compile_both(f"""
      func.func @main(%x: {row}) -> ({row}, {codes}, tensor<?x1xf32>, tensor<?x1xi32>) {{
        %g = qtx.gelu %x : ({row}) -> {row}
        %y = qtx.rms_norm %g epsilon 1.0e-5 : ({row}) -> {row}
        %q, %d, %z = qtx.dynamic_quantize %y to !qtx.grouped<i8:f32, axis=-1, [{width}], ?>
            : ({row}) -> ({codes}, tensor<?x1xf32>, tensor<?x1xi32>)
        return %y, %q, %d, %z : {row}, {codes}, tensor<?x1xf32>, tensor<?x1xi32>
      }}""")
    x = np.float32(np.random.default_rng(width).standard_normal((5, width)))
    y, q, scale, zero_point = fast.run("main", x)
    # As in `test_rms_norm`, of both.
    np.testing.assert_allclose(y, reference.run("main", x)[0], rtol=2 * (width + 8) * U)
    assert np.all(np.abs((q - zero_point) * scale - y) <= scale)


@pytest.mark.parametrize("width", [1, 3, 17, 40])
def test_reads_stay_inside(width):
    row, codes = f"tensor<?x{width}xf32>", f"tensor<?x{width}xi8>"
    _, fast = compile_both(f"""
      func.func @main(%a: {row}, %b: {codes}, %t: tensor<5x{width}xf32>, %i: tensor<?xi64>)
          -> {codes} {{
        %s = qtx.add %a, %b as {UNIFORM} : ({row}, {codes}) -> {row}
        %e = qtx.embedding %t, %i : (tensor<5x{width}xf32>, tensor<?xi64>) -> {row}
        %m = qtx.add %s, %e : ({row}, {row}) -> {row}
        %y = qtx.layer_norm %m epsilon 1.0e-5 : ({row}) -> {row}
        %q = qtx.quantize %y to {UNIFORM} : {row} -> {codes}
        return %q : {codes}
      }}""")
    arrays = [np.ones((3, width), np.float32), np.ones((3, width), np.int8),
              np.ones((5, width), np.float32), np.array([4, 0, -1])]
    for at_end in (False, True):
        # A fault ends the process.
        child = os.fork()
        if child == 0:
            fast.run("main", *(guard(array, at_end) for array in arrays))
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0


def test_encoder():
    encoder = Encoder()
    _, fast = compile_both(encoder.ir())
    rng = np.random.default_rng(0)
    ids, types = rng.integers(0, encoder.vocabulary, (2, 9)), rng.integers(0, 2, (2, 9))
    mask = np.int64(np.arange(9) < [[9], [4]])
    (y,) = fast.run("main", ids, mask, types)
    # As in test_encoder.py.
    np.testing.assert_allclose(y, encoder.run(ids, mask, types), rtol=0, atol=2e-5)
