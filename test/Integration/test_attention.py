# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The attention family, executed and compared with NumPy in double precision.

Float results lie within the bound of docs/Numerics.md, section 14. Where a stage is
quantized, its codes may differ by one step near ties; each such test states the share.
"""

import dataclasses
import functools
import pathlib
import subprocess
from typing import Optional

import numpy as np
import pytest
import qtx
from hypothesis import given
from hypothesis import strategies as st
from qtx._library import find_library

ULP = 2.0**-23


@dataclasses.dataclass(frozen=True)
class Quant:
    """Parameters: one per tensor, or one per channel of an axis."""

    scale: tuple
    zero_point: tuple
    axis: Optional[int] = None
    storage: str = "i8"

    @property
    def type(self):
        pairs = [f"{s:.17e}:{z}" for s, z in zip(self.scale, self.zero_point)]
        if self.axis is None:
            return f"!quant.uniform<{self.storage}:f32, {pairs[0]}>"
        sizes = f"[1 * {len(pairs)}]"
        return f"!qtx.grouped<{self.storage}:f32, axis={self.axis}, {sizes}, {{{', '.join(pairs)}}}>"

    @property
    def low(self):
        return -128 if self.storage == "i8" else 0

    @property
    def high(self):
        _, _, bound = self.storage.partition(":")
        return int(bound[:-1]) if bound else self.low + 255

    def expand(self, values, dtype):
        shape = [1, 1, 1, 1]
        if self.axis is not None:
            shape[self.axis] = len(values)
        return np.array(values, dtype).reshape(shape)

    def dequantize(self, codes):
        codes = codes.view(np.int8 if self.low else np.uint8).astype(np.int64)
        scale = np.float32(self.expand(self.scale, np.float64)).astype(np.float64)
        return (codes - self.expand(self.zero_point, np.int64)) * scale

    def round_trip(self, x):
        scale = np.float32(self.expand(self.scale, np.float64)).astype(np.float64)
        zero_point = self.expand(self.zero_point, np.int64)
        codes = np.clip(np.rint(x / scale) + zero_point, self.low, self.high)
        return (codes - zero_point) * scale

    def codes(self, x):
        scale = np.float32(self.expand(self.scale, np.float64)).astype(np.float64)
        zero_point = self.expand(self.zero_point, np.int64)
        return np.clip(np.rint(x / scale) + zero_point, self.low, self.high)


@dataclasses.dataclass(frozen=True)
class Attention:
    """One attention: its clauses, as IR and as NumPy."""

    heads: int = 2
    key_heads: int = 2
    key_size: int = 8
    value_size: int = 6
    scale: float = 0.25
    causal: bool = False
    offset: bool = False
    mask: Optional[str] = None  # "f32" or "i1"
    mask_shape: tuple = ("?", 1, 1)  # B, H, S
    soft_cap: Optional[float] = None
    sink: bool = False
    sink_logit: Optional[float] = None
    clip: Optional[tuple] = None  # gamma, zeta
    unnormalised: bool = False
    gate: Optional[str] = None  # "head" or "element"
    gain: float = 1.0
    query: Optional[Quant] = None
    key: Optional[Quant] = None
    value: Optional[Quant] = None
    scores: Optional[Quant] = None
    probs: Optional[Quant] = None
    context: Optional[Quant] = None
    y: Optional[Quant] = None

    def ir(self):
        """A module with dynamic batch and sequences, in storage form."""

        def tensor(shape, quant):
            return f"tensor<{'x'.join(map(str, shape))}x{'i8' if quant else 'f32'}>"

        arguments = [
            ("%q", tensor(["?", self.heads, "?", self.key_size], self.query)),
            ("%k", tensor(["?", self.key_heads, "?", self.key_size], self.key)),
            ("%v", tensor(["?", self.key_heads, "?", self.value_size], self.value)),
        ]
        result = tensor(["?", self.heads, "?", self.value_size], self.y)
        text = ", ".join(
            name + (f" as {quant.type}" if quant else "")
            for (name, _), quant in zip(arguments, (self.query, self.key, self.value))
        )
        if self.mask:
            shape = "x".join(map(str, self.mask_shape))
            arguments.append(("%mask", f"tensor<{shape}x?x{self.mask}>"))
            text += " mask(%mask)"
        text += " causal" * self.causal
        if self.offset:
            arguments.append(("%offset", "index"))
            text += " offset(%offset)"
        text += f" scale {self.scale:.17e}"
        if self.soft_cap:
            text += f" soft_cap {self.soft_cap:.17e}"
        if self.scores:
            text += f" scores {self.scores.type}"
        if self.sink:
            arguments.append(("%sink", f"tensor<{self.heads}xf32>"))
            text += " sink(%sink)"
        if self.sink_logit is not None:
            text += f" sink_logit {self.sink_logit:.17e}"
        if self.clip:
            text += f" clip [{self.clip[0]:.17e}, {self.clip[1]:.17e}]"
        text += " unnormalised" * self.unnormalised
        if self.probs:
            text += f" probs {self.probs.type}"
        if self.context:
            text += f" context {self.context.type}"
        if self.gate:
            shape = f"?x{self.heads}x?" + (f"x{self.value_size}" if self.gate == "element" else "")
            arguments.append(("%gate", f"tensor<{shape}xf32>"))
            text += f" gate(%gate) gain {self.gain:.17e}"
        if self.y:
            text += f" to {self.y.type}"
        signature = ", ".join(f"{name}: {type}" for name, type in arguments)
        types = ", ".join(type for _, type in arguments)
        return (
            f"func.func @main({signature}) -> {result} {{\n"
            f"  %y = qtx.attention {text} : ({types}) -> {result}\n"
            f"  return %y : {result}\n}}\n"
        )

    def inputs(self, rng, batch, queries, keys, spread=2.0):
        """Random inputs, by name."""

        def draw(shape, quant):
            if quant:
                return rng.integers(-128, 128, shape).astype(np.int8)
            return rng.normal(0, spread, shape).astype(np.float32)

        values = {
            "q": draw((batch, self.heads, queries, self.key_size), self.query),
            "k": draw((batch, self.key_heads, keys, self.key_size), self.key),
            "v": draw((batch, self.key_heads, keys, self.value_size), self.value),
        }
        if self.mask:
            sizes = (batch, self.heads, queries)
            shape = [n if m != 1 else 1 for n, m in zip(sizes, self.mask_shape)] + [keys]
            if self.mask == "i1":
                values["mask"] = rng.random(shape) < 0.6
            else:
                values["mask"] = rng.choice(np.float32([0, -1.5, -np.inf]), shape)
        if self.offset:
            values["offset"] = np.int64(rng.integers(-2, keys + 1))
        if self.sink:
            values["sink"] = rng.normal(0, 2, self.heads).astype(np.float32)
        if self.gate:
            shape = (batch, self.heads, queries) + (
                (self.value_size,) if self.gate == "element" else ()
            )
            values["gate"] = rng.normal(0, 2, shape).astype(np.float32)
        return values

    def run(self, values):
        return compile_text(self.ir()).run("main", *values.values())[0]

    def expect(self, values):
        """The result in double precision, before `y` is quantized, and its bound."""
        q, k, v = (
            quant.dequantize(values[name]) if quant else values[name].astype(np.float64)
            for name, quant in (("q", self.query), ("k", self.key), ("v", self.value))
        )
        share = self.heads // self.key_heads
        k, v = np.repeat(k, share, 1), np.repeat(v, share, 1)
        scale = np.float64(np.float32(self.scale))
        s = np.einsum("bhic,bhjc->bhij", q, k) * scale
        magnitude = np.einsum("bhic,bhjc->bhij", abs(q), abs(k)) * abs(scale)
        error = (self.key_size + 4) * ULP * magnitude
        if self.soft_cap:
            s = self.soft_cap * np.tanh(s / self.soft_cap)
            error = error + 4 * ULP * self.soft_cap
        if self.scores:
            s = self.scores.round_trip(s)
        excluded = np.zeros(s.shape, bool)
        if self.mask == "i1":
            excluded = excluded | ~values["mask"]
        elif self.mask:
            s = s + values["mask"]
            error = error + ULP * np.where(np.isinf(s), 0, abs(s))
            excluded = excluded | np.isinf(s)
        if self.causal:
            rows, columns = np.indices(s.shape[2:])
            offset = int(values["offset"]) if self.offset else s.shape[3] - s.shape[2]
            excluded = excluded | (columns > rows + offset)
        s = np.where(excluded, -np.inf, s)
        sink = None
        if self.sink:
            sink = np.broadcast_to(values["sink"].astype(np.float64)[:, None, None], s.shape[:3] + (1,))
        elif self.sink_logit is not None:
            sink = np.full(s.shape[:3] + (1,), self.sink_logit)
        p, peak = softmax(s, sink)
        gamma, zeta = (np.float64(np.float32(c)) for c in self.clip or (0, 1))
        clipped = np.clip((zeta - gamma) * p + gamma, 0, 1)
        if self.unnormalised:
            e = np.where(excluded, 0, np.exp(s - peak))
            total = e.sum(-1, keepdims=True) + (0 if sink is None else np.exp(sink - peak))
            weights = self.probs.round_trip(e) if self.probs else e
            weights = np.divide(weights, total, out=np.zeros_like(weights), where=total > 0)
        else:
            weights = self.probs.round_trip(clipped) if self.probs else clipped
        c = np.einsum("bhij,bhjc->bhic", weights, v)
        keys = s.shape[3]
        relative = 2 * np.where(excluded, 0, error).max(-1, initial=0, keepdims=True) + (keys + 24) * ULP
        bound = ((zeta - gamma) * relative * p + (keys + 4) * ULP * weights) @ abs(v) + 1e-37
        if self.context:
            c = self.context.round_trip(c)
        if self.gate:
            gate = values["gate"].astype(np.float64)
            gate = gate if self.gate == "element" else gate[..., None]
            opening = np.float64(np.float32(self.gain)) / (1 + np.exp(-gate))
            c, bound = c * opening, (bound + 6 * ULP * abs(c)) * abs(opening)
        return c, bound


def softmax(s, sink=None):
    """Rows without keys give zeros; the sink takes part in the sum only."""
    peak = s.max(-1, initial=-np.inf, keepdims=True)
    if sink is not None:
        peak = np.maximum(peak, sink)
    peak = np.where(np.isinf(peak), 0, peak)
    e = np.exp(s - peak)
    total = e.sum(-1, keepdims=True) + (0 if sink is None else np.exp(sink - peak))
    return np.divide(e, total, out=np.zeros_like(e), where=total > 0), peak


@functools.lru_cache(maxsize=None)
def compile_text(text):
    return qtx.compile_ir(text)


def check(attention, values):
    """A float result lies within the bound."""
    result = attention.run(values)
    expected, bound = attention.expect(values)
    assert np.all(np.abs(result - expected) <= bound)
    return result


sizes = st.tuples(
    st.integers(1, 3), st.integers(1, 6), st.sampled_from([1, 2, 3, 7, 16, 33]), st.integers(0, 2**32 - 1)
)

# ---- Softmax -----------------------------------------------------------------

LOGITS = np.float32([[4, 1, 0, -2]])
GOLDEN = {
    "b1": ((0.0, 1.03), [0.962094, 0.04789984, 0.01762137, 0.00238479], 1.03),
    "b2": ((-0.03, 1.0), [0.932094, 0.01789984, 0, 0], 0.94999384),
    "b3": ((-0.03, 1.03), [0.96011616, 0.01929498, 0, 0], 0.97941114),
    "b4": ((-0.1, 1.0), [0.92747903, 0, 0, 0], 0.92747903),
    "b5": ((-12 / 512, 1.0), [0.93252665, 0.02415715, 0, 0], 0.95668381),
}


def compile_softmax(clip, rank=2):
    shape = "?x" * rank
    op = f"qtx.clipped_softmax %x clip [{clip[0]:.17e}, {clip[1]:.17e}]" if clip else "qtx.softmax %x"
    return compile_text(
        f"func.func @main(%x: tensor<{shape}f32>) -> tensor<{shape}f32> {{\n"
        f"  %y = {op} : tensor<{shape}f32>\n  return %y : tensor<{shape}f32>\n}}\n"
    )


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_clipped_softmax(name):
    clip, expected, total = GOLDEN[name]
    y = compile_softmax(clip).run("main", LOGITS)[0]
    # The vectors are written with eight decimals.
    np.testing.assert_allclose(y[0], expected, atol=2e-7)
    np.testing.assert_allclose(y.sum(dtype=np.float64), total, atol=4e-7)
    assert np.array_equal(y[0] == 0, np.array(expected) == 0)


def test_golden_softmax():
    y = compile_softmax(None).run("main", LOGITS)[0]
    np.testing.assert_allclose(y[0], [0.93407185, 0.0465047, 0.01710812, 0.00231533], atol=1e-7)


@given(
    rows=st.integers(1, 5), columns=st.sampled_from([1, 2, 5, 64, 300]),
    clip=st.sampled_from([None, (-0.03, 1.0), (0.0, 1.03), (-0.1, 1.1)]), seed=st.integers(0, 2**32 - 1),
)
def test_softmax(rows, columns, clip, seed):
    x = np.random.default_rng(seed).normal(0, 4, (rows, columns)).astype(np.float32)
    y = compile_softmax(clip).run("main", x)[0]
    p, _ = softmax(x.astype(np.float64))
    gamma, zeta = np.float64(np.float32(clip or (0, 1)))
    relative = (columns + 24) * ULP + 2 * ULP * np.abs(x).max()
    bound = (zeta - gamma) * relative * p + 4 * ULP * (gamma < 0) + 1e-37
    assert np.all(np.abs(y - np.clip((zeta - gamma) * p + gamma, 0, 1)) <= bound)


@pytest.mark.parametrize("clip", [None, (-0.03, 1.03)])
def test_softmax_special_rows(clip):
    inf, nan = np.inf, np.nan
    x = np.float32([[-inf, -inf, -inf], [0, -inf, -inf], [0, nan, 1], [inf, 0, 0], [3e38, -3e38, 3e38]])
    y = compile_softmax(clip).run("main", x)[0]
    # A row without keys is zero, an only key has all of it.
    assert np.array_equal(y[:2], [[0, 0, 0], [1, 0, 0]])
    # NaN and +inf take the row with them.
    assert np.isnan(y[2:4]).all()
    np.testing.assert_allclose(y[4], [0.5, 0, 0.5] if clip is None else [0.5, 0, 0.5], atol=1e-6)


def test_saturating_row():
    """Probabilities from (1 - gamma) / (zeta - gamma) on are exactly 1."""
    y = compile_softmax((-0.03, 1.03)).run("main", np.float32([[5, 0, -1], [20, 0, 0]]))[0]
    assert np.array_equal(y, [[1, 0, 0], [1, 0, 0]])


# ---- Attention, float --------------------------------------------------------

FLOAT = [
    Attention(),
    Attention(heads=4, key_heads=2, clip=(-0.03, 1.0)),
    Attention(heads=3, key_heads=1, causal=True, clip=(0.0, 1.03), scale=0.3535533905932738),
    Attention(causal=True, offset=True, soft_cap=2.5),
    Attention(mask="i1", clip=(-0.05, 1.02), gate="head", gain=2.0),
    Attention(mask="f32", mask_shape=("?", 2, "?"), sink=True, gate="element"),
    Attention(mask="f32", mask_shape=(1, 1, "?"), causal=True, sink_logit=0.0, clip=(-0.01, 1.0)),
    Attention(mask="i1", mask_shape=("?", 1, "?"), causal=True, soft_cap=30.0, unnormalised=True, sink=True),
    Attention(heads=1, key_heads=1, key_size=1, value_size=1, unnormalised=True),
]


@pytest.mark.parametrize("attention", FLOAT, ids=range(len(FLOAT)))
def test_float(attention):
    @given(sizes)
    def run(size):
        batch, queries, keys, seed = size
        check(attention, attention.inputs(np.random.default_rng(seed), batch, queries, keys))

    run()


def test_causal_row_sums():
    """alpha 12, T 512: gamma is static, so long causal rows clip to zeros."""
    attention = Attention(causal=True, clip=(-12 / 512, 1.0))
    rng = np.random.default_rng(0)
    values = attention.inputs(rng, 1, 64, 64)
    values["q"][:], values["v"][:] = 0, 1
    sums = attention.run(values)[0, 0, :, 0]
    for length, total in ((1, 1), (8, 0.8359375), (32, 0.2734375), (43, 0.015625)):
        # 43 additions of numbers below 1.
        assert abs(sums[length - 1] - total) <= 43 * ULP
    assert np.all(sums[43:] == 0)


@pytest.mark.parametrize("extra", [{}, {"clip": (-0.1, 1.0)}, {"unnormalised": True}, {"sink_logit": 0.0}])
@pytest.mark.parametrize("mask", ["i1", "f32"])
def test_masked_rows(mask, extra):
    """An excluded key counts nothing, whatever it holds; a row without keys is 0."""
    attention = Attention(mask=mask, mask_shape=(1, 1, "?"), **extra)
    rng = np.random.default_rng(1)
    values = attention.inputs(rng, 2, 4, 5)
    keep = np.ones((1, 1, 4, 5), bool)
    keep[..., 3:], keep[0, 0, 2] = False, False
    values["mask"] = keep if mask == "i1" else np.where(keep, np.float32(0), np.float32(-np.inf))
    result = check(attention, values)
    assert np.all(result[:, :, 2] == 0)
    shorter = {name: value[:, :, :3] if name in "kv" else value for name, value in values.items()}
    shorter["mask"] = values["mask"][..., :3]
    assert np.array_equal(result, attention.run(shorter))
    if mask == "i1":
        values["k"][:, :, 3:] = np.nan
        assert np.array_equal(result, attention.run(values))


def test_more_queries_than_keys():
    """The first S - T causal rows have no keys."""
    attention = Attention(causal=True)
    result = check(attention, attention.inputs(np.random.default_rng(2), 1, 5, 3))
    assert np.all(result[:, :, :2] == 0) and np.all(result[:, :, 2:] != 0)


def test_decoding_step_is_the_last_row():
    attention = Attention(causal=True, clip=(-0.02, 1.0))
    values = attention.inputs(np.random.default_rng(3), 2, 6, 6)
    whole = attention.run(values)
    last = attention.run({**values, "q": values["q"][:, :, 5:]})
    assert np.array_equal(whole[:, :, 5:], last)


def test_grouped_queries_are_repeated_keys():
    grouped, repeated = Attention(heads=4, key_heads=2), Attention(heads=4, key_heads=4)
    values = grouped.inputs(np.random.default_rng(4), 2, 3, 7)
    copies = {**values, "k": np.repeat(values["k"], 2, 1), "v": np.repeat(values["v"], 2, 1)}
    assert np.array_equal(grouped.run(values), repeated.run(copies))


def test_nan_and_infinity():
    attention = Attention()
    values = attention.inputs(np.random.default_rng(5), 1, 3, 4)
    clean = attention.run(values)
    values["q"][0, 0, 1, 2] = np.nan
    values["k"][0, 1, 2, 0] = np.inf
    result = attention.run(values)
    # Its own row only; +inf or -inf among the scores by the sign of the query.
    assert np.isnan(result[0, 0, 1]).all()
    assert np.array_equal(result[0, 0, [0, 2]], clean[0, 0, [0, 2]])
    attracted = values["q"][0, 1, :, 0] > 0
    assert np.isnan(result[0, 1, attracted]).all() and np.isfinite(result[0, 1, ~attracted]).all()


@given(sizes)
def test_fused_by_log_sum_exp(size):
    """Two passes over the keys, L first, give the clipped attention."""
    batch, queries, keys, seed = size
    gamma = np.float64(np.float32(-0.03))
    attention = Attention(clip=(gamma, 1.0))
    values = attention.inputs(np.random.default_rng(seed), batch, queries, keys)
    result = attention.run(values)
    _, bound = attention.expect(values)
    q, k, v = (values[name].astype(np.float64) for name in "qkv")
    s = np.einsum("bhic,bhjc->bhij", q, k) * 0.25
    lse = np.log(np.exp(s).sum(-1, keepdims=True))
    kept = s > lse + np.log(-gamma / (1 - gamma))
    p = np.exp(s - lse)
    fused = (1 - gamma) * (kept * p) @ v + gamma * kept @ v
    assert np.all(np.abs(result - fused) <= bound + 1e-12)


def test_gate_at_initialisation_changes_nothing():
    """bias = logit(pi) and gain = 1 / pi reproduce the network without a gate."""
    plain = Attention()
    values = plain.inputs(np.random.default_rng(6), 2, 3, 7)
    for pi, logit in ((0.1, -2.19722458), (0.25, -1.09861229), (0.5, 0.0)):
        gated = dataclasses.replace(plain, gate="head", gain=1 / pi)
        gate = np.full((2, 2, 3), logit, np.float32)
        # Three roundings and the logit's own, which is worth up to 2 ulp of it.
        np.testing.assert_allclose(gated.run({**values, "gate": gate}), plain.run(values), rtol=8 * ULP)


# ---- Attention, quantized ----------------------------------------------------

TENSOR = Quant((0.021,), (3,))
HEADS = Quant((0.02, 0.035), (-4, 9), axis=-3)
CHANNELS = Quant((0.01, 0.02, 0.03, 0.015, 0.04, 0.025), (0, 5, -7, 127, -128, 1), axis=-1)
PROBS = Quant((1 / 255,), (-128,))
UNSIGNED = Quant((1 / 255,), (0,), storage="u8")
SCORES = Quant((0.05,), (10,))
SCORE_HEADS = Quant((0.05, 0.04), (10, -3), axis=-3)

QUANTIZED = [
    Attention(query=TENSOR, key=TENSOR),
    Attention(query=HEADS, key=HEADS, scale=0.3535533905932738, clip=(-0.03, 1.0), causal=True),
    Attention(heads=4, key_heads=2, query=TENSOR, key=HEADS, value=CHANNELS, soft_cap=20.0),
    Attention(query=HEADS, value=TENSOR, mask="i1", sink=True, gate="element"),
]


@pytest.mark.parametrize("attention", QUANTIZED, ids=range(len(QUANTIZED)))
def test_quantized_operands(attention):
    """Integer scores are exact, so the float bound holds for the result."""

    @given(sizes)
    def run(size):
        batch, queries, keys, seed = size
        check(attention, attention.inputs(np.random.default_rng(seed), batch, queries, keys))

    run()


def test_extreme_codes():
    attention = Attention(query=TENSOR, key=TENSOR, value=TENSOR, key_size=128)
    values = attention.inputs(np.random.default_rng(7), 1, 4, 8)
    for name in "qkv":
        values[name] = np.random.default_rng(8).choice(np.int8([-128, 127]), values[name].shape)
    check(attention, values)


ALL = {"query": TENSOR, "key": HEADS, "value": CHANNELS, "probs": PROBS, "y": Quant((0.02,), (4,))}
STAGES = [
    Attention(probs=PROBS),
    Attention(probs=PROBS, clip=(-0.03, 1.0), value=TENSOR),
    Attention(probs=UNSIGNED, unnormalised=True, value=CHANNELS, mask="i1"),
    Attention(probs=Quant((1 / 255, 1 / 128), (-128, 0), axis=-3), value=HEADS, heads=2, key_heads=2),
    Attention(context=TENSOR, gate="head", gain=2.0, causal=True),
    Attention(context=CHANNELS, sink_logit=0.0),
    Attention(scores=SCORES),
    Attention(scores=SCORE_HEADS, query=TENSOR, key=TENSOR, mask="f32", mask_shape=(1, 1, "?")),
    Attention(**ALL),
    Attention(**ALL, unnormalised=True, causal=True, gate="head"),
    Attention(**{**ALL, "y": HEADS}, clip=(-0.03, 1.0), mask="i1", soft_cap=20.0),
    Attention(y=CHANNELS, heads=4, key_heads=2),
]


@pytest.mark.parametrize("attention", STAGES, ids=range(len(STAGES)))
def test_quantized_stages(attention):
    """Nearly all results lie within the bound; the others come of a code that is one
    step off near a tie, which moves a result by at most one step of that stage."""
    check_quantized(attention, ((1, 1, 1), (2, 5, 7), (1, 6, 33), (3, 4, 16), (2, 16, 64)))


def check_quantized(attention, sizes):
    outside = total = 0
    rng = np.random.default_rng(9)
    for batch, queries, keys in sizes:
        values = attention.inputs(rng, batch, queries, keys, spread=1.5)
        result = attention.run(values)
        expected, bound = attention.expect(values)
        if attention.y:
            expected = attention.y.codes(expected)
            difference = np.abs(result.astype(np.int64) - expected)
            assert difference.max() <= 1
            outside += np.count_nonzero(difference)
        else:
            outside += np.count_nonzero(np.abs(result - expected) > bound)
            steps = [max(quant.scale) for quant in (attention.probs, attention.context, attention.scores) if quant]
            reach = 2 * max(steps) * (np.abs(expected).max() + 4) * max(attention.gain, 1)
            assert np.abs(result - expected).max() <= reach
        total += expected.size
    assert outside <= 0.005 * total


def test_masked_keys_are_exact_zeros_in_integers():
    """The zero point of the probabilities stands for an excluded key."""
    attention = Attention(**ALL, mask="i1", mask_shape=(1, 1, 1))
    values = attention.inputs(np.random.default_rng(10), 1, 3, 6)
    values["mask"] = np.array([[[[True, True, False, True, False, False]]]])
    first = attention.run(values)
    values["v"][:, :, [2, 4, 5]] = -values["v"][:, :, [2, 4, 5]]
    assert np.array_equal(first, attention.run(values))
    values["mask"][:] = False
    assert np.all(attention.run(values) == ALL["y"].zero_point[0])


# ---- Tiling ------------------------------------------------------------------

# Test passes are in qtx-opt only.
QTX_OPT = find_library().parents[1] / "bin" / "qtx-opt"


def optimize(text, passes):
    command = [QTX_OPT, f"--pass-pipeline=builtin.module({passes},canonicalize,cse)"]
    run = subprocess.run(command, input=text, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout


def tile(text, tile_sizes):
    tiled = optimize(text, f"test-qtx-tile{{sizes={','.join(map(str, tile_sizes))}}}")
    assert "scf.for" in tiled
    return tiled


SHARED = {"heads": 4, "key_heads": 2, "query": TENSOR, "key": SCORES, "value": TENSOR, "probs": PROBS}
TILINGS = [
    (Attention(**SHARED, causal=True, clip=(-0.03, 1.0), mask="i1", mask_shape=("?", 1, "?")), (1, 1, 4, 3)),
    (Attention(**SHARED, causal=True, offset=True, sink=True, gate="element", gain=2.0), (2, 1, 3, 2)),
    (Attention(**SHARED, unnormalised=True, mask="f32", mask_shape=(1, 4, 1), gate="head", y=TENSOR), (0, 1, 5)),
    (Attention(**ALL, causal=True, sink_logit=0.0), (1, 0, 2)),
    (Attention(heads=4, key_heads=4, soft_cap=5.0, causal=True), (1, 2, 2, 6)),
]


@pytest.mark.parametrize("attention, tile_sizes", TILINGS, ids=range(len(TILINGS)))
def test_tiled_attention(attention, tile_sizes):
    """Tiles put together are the whole, bit by bit."""
    tiled = compile_text(tile(attention.ir(), tile_sizes))
    rng = np.random.default_rng(13)
    for batch, queries, keys in ((1, 1, 1), (2, 5, 7), (3, 8, 8), (1, 9, 4)):
        values = attention.inputs(rng, batch, queries, keys)
        result = tiled.run("main", *values.values())[0]
        assert np.array_equal(result, attention.run(values))


# ---- Gate projections --------------------------------------------------------


def compile_gate(kind, heads, channels, hidden, quant=None):
    size = channels // heads
    element = "i8" if quant else "f32"
    arguments = [("%x", f"tensor<?x?x{channels}x{element}>")]
    text = f"{kind} %x" + (f" as {quant.type}" if quant else "")
    if kind == "mlp":
        arguments += [("%hw", f"tensor<{heads}x{hidden}x{size}xf32>"), ("%hb", f"tensor<{heads}x{hidden}xf32>")]
        text += " hidden(%hw, %hb)"
    inner = {"linear": size, "mlp": hidden, "all_heads": channels}[kind]
    arguments += [("%w", f"tensor<{heads}x{inner}xf32>"), ("%b", f"tensor<{heads}xf32>")]
    signature = ", ".join(f"{name}: {type}" for name, type in arguments)
    types = ", ".join(type for _, type in arguments)
    result = f"tensor<?x{heads}x?xf32>"
    return compile_text(
        f"func.func @main({signature}) -> {result} {{\n"
        f"  %g = qtx.gate_projection {text} weight(%w) bias(%b) : ({types}) -> {result}\n"
        f"  return %g : {result}\n}}\n"
    )


@pytest.mark.parametrize("quant", [None, TENSOR], ids=["f32", "i8"])
@pytest.mark.parametrize("kind", ["linear", "mlp", "all_heads"])
def test_gate_projection(kind, quant):
    heads, channels, hidden = 3, 12, 5
    rng = np.random.default_rng(11)
    module = compile_gate(kind, heads, channels, hidden, quant)
    for batch, rows in ((1, 1), (2, 7)):
        x = rng.normal(0, 1, (batch, rows, channels)).astype(np.float32)
        exact = x.astype(np.float64)
        if quant:
            x = rng.integers(-128, 128, x.shape).astype(np.int8)
            exact = quant.dequantize(x[None])[0]
        views = exact.reshape(batch, rows, heads, channels // heads)
        shapes = {"linear": [(3, 4)], "mlp": [(3, 5, 4), (3, 5), (3, 5)], "all_heads": [(3, 12)]}[kind] + [(3,)]
        weights = [rng.normal(0, 1, shape).astype(np.float32) for shape in shapes]
        if kind == "linear":
            expected = np.einsum("bshc,hc->bhs", views, weights[0])
        elif kind == "mlp":
            inner = np.einsum("bshc,hnc->bhsn", views, weights[0]) + weights[1][:, None]
            expected = np.einsum("bhsn,hn->bhs", np.maximum(inner, 0), weights[2])
        else:
            expected = np.einsum("bsc,hc->bhs", exact, weights[0])
        expected = expected + weights[-1][:, None]
        result = module.run("main", x, *weights)[0]
        # At most 17 additions of products that stay below 100 in sum.
        np.testing.assert_allclose(result, expected, atol=17 * 100 * ULP)


def test_linear_gate_is_block_diagonal():
    rng = np.random.default_rng(12)
    x, w, b = (rng.normal(0, 1, shape).astype(np.float32) for shape in ((2, 5, 12), (3, 4), (3,)))
    block = np.zeros((3, 12), np.float32)
    for head in range(3):
        block[head, 4 * head : 4 * head + 4] = w[head]
    per_head = compile_gate("linear", 3, 12, 0).run("main", x, w, b)[0]
    all_heads = compile_gate("all_heads", 3, 12, 0).run("main", x, block, b)[0]
    assert np.array_equal(per_head, all_heads)


@pytest.mark.parametrize("kind", ["linear", "all_heads"])
def test_gate_as_rows_of_the_projection(kind):
    """`qtx-fold-gate-projection` changes no bit."""
    rng = np.random.default_rng(14)

    def constant(name, shape):
        values = np.array2string(rng.normal(0, 1, shape).astype(np.float32), separator=", ", threshold=1000)
        return f"  %{name} = arith.constant dense<{values}> : tensor<{'x'.join(map(str, shape))}xf32>\n"

    inner = 4 if kind == "linear" else 12
    text = (
        "func.func @main(%x: tensor<?x?x12xf32>) -> (tensor<?x?x5xf32>, tensor<?x3x?xf32>) {\n"
        + constant("w", (5, 12)) + constant("b", (5,)) + constant("gw", (3, inner)) + constant("gb", (3,))
        + "  %y = qtx.linear %x, %w bias(%b)"
        " : (tensor<?x?x12xf32>, tensor<5x12xf32>, tensor<5xf32>) -> tensor<?x?x5xf32>\n"
        f"  %g = qtx.gate_projection {kind} %x weight(%gw) bias(%gb)"
        f" : (tensor<?x?x12xf32>, tensor<3x{inner}xf32>, tensor<3xf32>) -> tensor<?x3x?xf32>\n"
        "  return %y, %g : tensor<?x?x5xf32>, tensor<?x3x?xf32>\n}\n"
    )
    folded = optimize(text, "qtx-fold-gate-projection")
    assert "gate_projection" not in folded
    before, after = compile_text(text), compile_text(folded)
    for batch, rows in ((1, 1), (2, 7)):
        x = rng.normal(0, 2, (batch, rows, 12)).astype(np.float32)
        for expected, result in zip(before.run("main", x), after.run("main", x)):
            assert np.array_equal(result, expected)


@pytest.mark.parametrize("heads", [1, 3, 12])
def test_heads(heads):
    split = f"tensor<?x{heads}x?x{12 // heads}xf32>"
    module = compile_text(
        f"func.func @main(%x: tensor<?x?x12xf32>) -> ({split}, tensor<?x?x12xf32>) {{\n"
        f"  %y = qtx.split_heads %x : tensor<?x?x12xf32> -> {split}\n"
        f"  %z = qtx.merge_heads %y : {split} -> tensor<?x?x12xf32>\n"
        f"  return %y, %z : {split}, tensor<?x?x12xf32>\n}}\n"
    )
    for batch, rows in ((1, 1), (2, 5)):
        x = np.arange(batch * rows * 12, dtype=np.float32).reshape(batch, rows, 12)
        y, z = module.run("main", x)
        assert np.array_equal(y, x.reshape(batch, rows, heads, -1).transpose(0, 2, 1, 3))
        assert np.array_equal(z, x)


# ---- The whole block -----------------------------------------------------------

BLOCK = pathlib.Path(__file__).resolve().parents[1] / "Dialect/Qtx/IR/attention-block.mlir"


def test_attention_block():
    """The block that the documentation shows computes a gated, clipped attention."""
    rng = np.random.default_rng(15)
    batch, rows, width, heads = 2, 5, 768, 12
    h = rng.normal(0, 1, (batch, rows, width)).astype(np.float32)
    mask = np.ones((batch, 1, 1, rows), bool)
    mask[1, ..., 3:] = False
    gamma, beta = np.ones(width, np.float32), np.zeros(width, np.float32)
    gamma[752:] = 12  # the outlier channels
    layers = []
    for spread in (1.0, 1.0, 0.5, 1.0):
        layers += [
            rng.integers(-127, 128, (width, width)).astype(np.int8),
            (spread * rng.uniform(2e-4, 4e-4, width)).astype(np.float32),
            rng.normal(0, 0.1, width).astype(np.float32),
        ]
    gate = [rng.normal(0, 0.1, (heads, 64)).astype(np.float32), rng.normal(0, 0.1, heads).astype(np.float32)]
    inputs = [h, mask, gamma, beta, *layers[:9], *gate, *layers[9:]]
    (y,) = compile_text(BLOCK.read_text()).run("attention_block", *inputs)

    exact = h.astype(np.float64)
    centred = exact - exact.mean(-1, keepdims=True)
    x = centred / np.sqrt(centred.var(-1, keepdims=True) + 1e-5) * gamma
    project = lambda t, w, s, b: t @ (w * s[:, None].astype(np.float64)).T + b
    split = lambda t: t.reshape(batch, rows, heads, 64).transpose(0, 2, 1, 3)
    q, k, v = (split(project(x, *layers[3 * i : 3 * i + 3])) for i in range(3))
    p, _ = softmax(np.where(mask, q @ k.transpose(0, 1, 3, 2) / 8, -np.inf))
    context = np.clip(1.03 * p - 0.03, 0, 1) @ v
    logits = np.einsum("bhsc,hc->bhs", split(x), gate[0]) + gate[1][:, None]
    context *= (2 / (1 + np.exp(-logits)))[..., None]
    merged = context.transpose(0, 2, 1, 3).reshape(batch, rows, width)
    expected = project(merged, *layers[9:])
    # Eight bits on every edge: a few percent of error, and no more.
    error = np.linalg.norm(y - exact - expected) / np.linalg.norm(expected)
    assert error < 0.05
