# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The tests of attention again, by the fast path."""

import functools
import os

import cpus
import numpy as np
import pytest
import qtx
import test_attention
from test_attention import *
from test_kernels import guard


@functools.lru_cache(maxsize=None)
def compile_fast(text):
    return qtx.compile_ir(text, fast=True)


@pytest.fixture(scope="module", autouse=True)
def fast_path():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(test_attention, "compile_text", compile_fast)
        yield


# ---- Integers ----------------------------------------------------------------

Q = Quant((0.021,), (3,))
K = Quant((0.03,), (-128,))
V = Quant((0.015,), (127,))
UNSIGNED_Q = Quant((0.021,), (130,), storage="u8")
SYMMETRIC = Quant((0.02,), (0,))
SIGNED_PROBS = Quant((1 / 255,), (-128,))
PROBS_OFF_ZERO = Quant((1 / 200,), (20,), storage="u8")
Y = Quant((0.02,), (4,))

INTEGERS = [
    Attention(query=Q, key=K, value=V, probs=UNSIGNED, y=Y),
    Attention(query=SYMMETRIC, key=SYMMETRIC, value=SYMMETRIC, probs=UNSIGNED, unnormalised=True,
              mask="i1", key_size=32, value_size=32),
    Attention(query=UNSIGNED_Q, key=UNSIGNED_Q, value=UNSIGNED_Q, probs=SIGNED_PROBS, y=Y,
              clip=(-0.03, 1.0), gate="head", key_size=5, value_size=17),
    Attention(query=Q, key=UNSIGNED_Q, value=V, probs=PROBS_OFF_ZERO, causal=True, soft_cap=20.0,
              heads=4, key_heads=2, key_size=70, value_size=33, scale=0.1),
    Attention(query=Q, key=K, value=V, probs=SIGNED_PROBS, scores=SCORES, context=Y,
              gate="element", sink=True, mask="f32", value_size=1, y=Y),
    Attention(query=Q, value=V, probs=PROBS_OFF_ZERO, mask="i1", mask_shape=("?", 2, "?")),
    Attention(query=Q, key=K, probs=UNSIGNED),
]

@functools.lru_cache(maxsize=None)
def compile_for(text, cpu):
    """Attention by the kernels of a CPU."""
    packed = qtx.run_passes(f"module attributes {{{cpus.target(cpu)}}} {{ {text} }}",
                            "builtin.module(qtx-to-storage,qtx-pack-attention)")
    assert 'qtx.kernel "qtx.attention"' in packed
    return qtx.compile_ir(packed, opt_level=1, fast=True)


@pytest.fixture(params=cpus.params(cpus.CPUS, str))
def cpu_row(request, monkeypatch):
    monkeypatch.setattr(test_attention, "compile_text",
                        lambda text: compile_for(text, request.param))
    return request.param


@pytest.mark.parametrize("attention", FLOAT + INTEGERS)
def test_rows(attention, cpu_row):
    """By every micro-kernel: floats within the bound, codes off by one near ties."""
    if any((attention.probs, attention.scores, attention.context, attention.y)):
        test_attention.test_quantized_stages(attention)
        return
    rng = np.random.default_rng(10)
    for batch, queries, keys in ((1, 1, 1), (2, 9, 7), (1, 17, 33), (2, 3, 64), (1, 8, 130)):
        check(attention, attention.inputs(rng, batch, queries, keys))


# Scores that stay integers up to the exponential.
INTEGER_ROWS = [
    Attention(query=Q, key=K, value=V, probs=UNSIGNED, unnormalised=True, causal=True,
              mask="i1", key_size=32, value_size=32),
    Attention(query=UNSIGNED_Q, key=K, value=V, probs=SIGNED_PROBS, y=Y, causal=True,
              offset=True, clip=(-0.03, 1.05), heads=4, mask="i1", mask_shape=(1, 1, 1)),
    Attention(query=Q, key=K, value=V, probs=PROBS_OFF_ZERO, clip=(-0.1, 1.0), mask="i1",
              key_size=70, value_size=33, scale=0.1),
    Attention(query=SYMMETRIC, key=SYMMETRIC, value=V, probs=PROBS_OFF_ZERO, causal=True,
              unnormalised=True, y=Y),
    Attention(query=Q, key=K, value=SYMMETRIC, probs=Quant((1 / 300,), (0,), storage="u8"),
              context=Y, gate="head"),
    # Codes that are made beside products: heads of a group, many channels and few.
    Attention(query=Q, key=K, value=V, probs=PROBS_OFF_ZERO, unnormalised=True, heads=4, key_heads=2,
              mask="i1", key_size=70, value_size=33, scale=0.1),
    Attention(query=UNSIGNED_Q, key=K, value=V, probs=SIGNED_PROBS, unnormalised=True,
              gate="element", context=Y, key_size=128, value_size=96, scale=0.05),
    Attention(query=Q, key=SYMMETRIC, value=V, probs=Quant((1 / 300,), (7,), storage="u8"),
              unnormalised=True, key_size=3, value_size=5),
    # Fewer codes than bytes have.
    Attention(query=Q, key=K, value=SYMMETRIC, probs=Quant((1 / 255,), (0,), storage="u8<0:100>"),
              unnormalised=True),
]


# Codes of probabilities behind scores that become floats.
FLOAT_ROWS = [
    Attention(query=Q, key=K, value=V, probs=UNSIGNED, causal=True, offset=True, soft_cap=20.0,
              value_size=33),
    Attention(query=Q, key=K, value=V, probs=UNSIGNED, causal=True, clip=(-0.01, 1.0), sink=True,
              y=Y),
]


@pytest.mark.parametrize("attention", INTEGER_ROWS + FLOAT_ROWS)
def test_integer_rows(attention, cpu_row):
    """Whole groups of keys, vectors and keys behind them, and fewer keys than queries."""
    check_quantized(attention, ((1, 1, 1), (1, 9, 5), (2, 17, 64), (1, 12, 83), (1, 70, 197)))


@pytest.mark.parametrize("number", (0, 2, 5))
def test_many_keys(number, cpu_row):
    """Rows of scores of many groups, causal, clipped and plain."""
    check_quantized(INTEGER_ROWS[number], ((1, 9, 1234),))


@pytest.mark.parametrize("clauses", ({}, {"unnormalised": True}, {"clip": (-0.03, 1.0)}))
def test_rows_without_keys(clauses, cpu_row):
    """Rows whose keys are all excluded are zero, beside rows that are not."""
    attention = Attention(query=Q, key=K, value=V, probs=SIGNED_PROBS, mask="i1", y=Y, **clauses)
    for keys in (3, 64, 101):
        values = attention.inputs(np.random.default_rng(14), 2, 5, keys)
        values["mask"] = np.arange(2)[:, None, None, None] == np.ones((1, 1, 1, keys))
        result = attention.run(values)
        assert np.all(result[0] == Y.zero_point[0])
        assert np.any(result[1] != Y.zero_point[0])


# Codes of zero that are a number of their own, too.
@pytest.mark.parametrize("probs", (UNSIGNED, SIGNED_PROBS, PROBS_OFF_ZERO))
@pytest.mark.parametrize("clauses", ({"unnormalised": True}, {"clip": (-0.03, 1.0)}, {"causal": True}))
def test_padding(clauses, probs, cpu_row):
    """Keys behind the last one that the mask shows are left out, whatever a longer sequence of the
    batch left in their place; a hole before it is not."""
    attention = Attention(query=Q, key=K, value=V, probs=probs, mask="i1", **clauses)
    lengths = np.array([83, 1, 17, 0, 64, 83])
    values = attention.inputs(np.random.default_rng(18), len(lengths), 20, lengths.max())
    values["mask"] = (np.arange(lengths.max()) < lengths[:, None])[:, None, None]
    values["mask"][4, ..., 20:50] = False
    expected, bound = attention.expect(values)
    # A code that is one step off moves a result by one step of it.
    bound = bound + probs.scale[0] * V.scale[0] * 255
    assert np.all(np.abs(attention.run(values) - expected) <= bound)
    assert not np.any(expected[3])


# Integer scores, floats, and both of them beside codes or values of the other kind.
@pytest.mark.parametrize("clauses", (
    {"query": Q, "key": K, "value": V, "probs": UNSIGNED},
    {"query": Q, "key": K, "value": V, "probs": UNSIGNED, "soft_cap": 50.0},
    {"query": Q, "key": K, "probs": UNSIGNED},
    {},
))
@pytest.mark.parametrize("first, last", ((100, 111), (0, 64), (190, 197), (64, 65)))
def test_groups_without_probabilities(first, last, clauses, cpu_row):
    """Clipping makes codes of zero; groups of keys that have no other are skipped."""
    attention = Attention(mask="i1", clip=(-0.01, 1.0), value_size=40, **clauses)
    values = attention.inputs(np.random.default_rng(16), 1, 37, 197)
    values["mask"] = ((np.arange(197) >= first) & (np.arange(197) < last))[None, None, None]
    expected, bound = attention.expect(values)
    # A code that is one step off moves a result by one step of it.
    if attention.probs:
        largest = V.scale[0] * 255 if attention.value else np.abs(values["v"]).max()
        bound = bound + UNSIGNED.scale[0] * largest
    assert np.all(np.abs(attention.run(values) - expected) <= bound)
    assert np.count_nonzero(expected) > expected.size / 2


@pytest.mark.parametrize("clauses", (
    {"mask": "i1", "mask_shape": (1, 1, 1), "clip": (-0.01, 1.0)},
    {"causal": True, "offset": True},
))
@pytest.mark.parametrize("value", (np.nan, np.inf))
def test_values_without_probabilities(value, clauses, cpu_row):
    """A value that is not finite reaches every row, whatever its probability."""
    attention = Attention(**clauses)
    values = attention.inputs(np.random.default_rng(17), 2, 9, 197)
    if attention.causal:
        values["offset"] = np.int64(4)
    else:
        values["mask"] = (np.arange(197) < 5)[None, None, None]
    values["v"][1, 0, 100, 2] = value
    result = np.isnan(attention.run(values))
    assert np.all(result[1, 0, :, 2])
    result[1, 0, :, 2] = False
    assert not np.any(result)


def test_extreme_integers(cpu_row):
    attention = Attention(query=Q, key=K, value=V, probs=SIGNED_PROBS, key_size=128)
    values = attention.inputs(np.random.default_rng(11), 1, 4, 40)
    for name in "qkv":
        shape = values[name].shape
        values[name] = np.random.default_rng(12).choice(np.int8([-128, 127]), shape)
    reference = qtx.compile_ir(attention.ir()).run("main", *values.values())[0]
    # A probability that is one step off moves a result by one step of it.
    reach = SIGNED_PROBS.scale[0] * V.scale[0] * 255
    assert np.abs(attention.run(values) - reference).max() <= reach


def runs_inside(module, arrays):
    """Whether a call reads nothing beside its inputs; a fault ends the process."""
    for at_end in (False, True):
        child = os.fork()
        if child == 0:
            module.run("main", *(guard(array, at_end) for array in arrays))
            os._exit(0)
        if os.waitpid(child, 0)[1] != 0:
            return False
    return True


@pytest.mark.parametrize("number", range(3))
def test_reads_stay_inside(number, cpu_row):
    attention = (FLOAT[5], INTEGERS[2], INTEGERS[3])[number]
    module = compile_for(attention.ir(), cpu_row)
    for batch, queries, keys in ((1, 1, 1), (2, 9, 7), (1, 3, 33)):
        values = attention.inputs(np.random.default_rng(13), batch, queries, keys)
        assert runs_inside(module, values.values())


@pytest.mark.parametrize("value_size", (8, 16, 37))
def test_scaled_context(value_size, cpu_row):
    """Gain and shift of every channel and a quantizer behind merged heads."""
    width = 3 * value_size
    heads, merged = f"tensor<?x3x?x{value_size}x{{}}>", f"tensor<?x?x{width}x{{}}>"
    channels = f"tensor<{width}xf32>"
    text = f"""
    module attributes {{{cpus.target(cpu_row)}}} {{
      func.func @main(%x: {heads.format("i8")}, %gain: {channels}, %shift: {channels})
          -> (RESULTS) {{
        %c = qtx.attention %x as {Q.type}, %x as {Q.type}, %x as {Q.type} scale 0.25 unnormalised
            probs {UNSIGNED.type} : ({", ".join([heads.format("i8")] * 3)}) -> {heads.format("f32")}
        %m = qtx.merge_heads %c : {heads.format("f32")} -> {merged.format("f32")}
        %s = qtx.scale_shift %m gain(%gain) shift(%shift)
            : ({merged.format("f32")}, {channels}, {channels}) -> {merged.format("f32")}
        %q = qtx.quantize %s to {Y.type} : {merged.format("f32")} -> {merged.format("i8")}
        return VALUES : RESULTS
      }}
    }}"""
    rng = np.random.default_rng(15)
    x = rng.integers(-128, 128, (2, 3, 19, value_size)).astype(np.int8)
    gain, shift = np.float32(rng.standard_normal((2, width)))
    results = []
    for value, element in (("%q", "i8"), ("%s", "f32")):
        module = text.replace("VALUES", value).replace("RESULTS", merged.format(element))
        results.append(qtx.compile_ir(module, fast=True).run("main", x, gain, shift)[0])
    reciprocal = np.float32(1) / np.float32(Y.scale[0])
    codes = np.clip(np.rint(results[1] * reciprocal) + Y.zero_point[0], -128, 127)
    assert np.array_equal(results[0], codes)
