# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The training operations, executed."""

import functools
import math

import numpy as np
import pytest
import qtx
from hypothesis import given
from hypothesis import strategies as st

F32 = np.float32


def grid_range(grid, bits):
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if grid == "signed" else (0, 2**bits - 1)


# ---- Fake quantization -------------------------------------------------------


@functools.lru_cache(maxsize=None)
def compile_fake_quantizer(bits, grid, axis=None, options="", frozen=False, noise=False):
    """@forward and @backward of a fake quantizer of a matrix."""
    zero = grid == "asymmetric"
    size = "1" if axis is None else "?"
    x, s = "tensor<?x?xf32>", f"tensor<{size}xf32>"
    operands = [("x", x), ("s", s)]
    text = "scale(%s)"
    if zero:
        operands.append(("z", s))
        text += " zero_point(%z)"
    if frozen:
        operands += [("m", "tensor<?x?xi1>"), ("i", "tensor<?x?xi32>")]
        text += " frozen(%m, %i)"
    if noise:
        operands.append(("u", x))
        text += " noise(%u)"
    text += f" bits {bits} {grid}" + (f" axis {axis}" if axis is not None else "")
    arguments = ", ".join(f"%{name}: {type}" for name, type in operands)
    grads = [x, s] + ([s] if zero else [])
    forward = options.replace(" grad_scaling", "")
    return qtx.compile_ir(f"""
      func.func @forward({arguments}) -> ({x}, tensor<?x?xi32>) {{
        %y, %c = qtx.fake_quantize %x {text}{forward} : {x}, {s}
        return %y, %c : {x}, tensor<?x?xi32>
      }}
      func.func @backward(%g: {x}, {arguments}) -> ({", ".join(grads)}) {{
        %r:{len(grads)} = qtx.fake_quantize_backward %g, %x {text}{options} : {x}, {s}
        return {", ".join(f"%r#{k}" for k in range(len(grads)))} : {", ".join(grads)}
      }}""")


class Quantizer:
    """The same in NumPy: f32 where the result is exact, else double."""

    def __init__(self, x, s, bits, grid, axis=None, z=None, frozen=None, ints=None, noise=None):
        self.x, self.s = x, s
        self.low, self.high = grid_range(grid, bits)
        self.axis, self.frozen, self.ints = axis, frozen, ints
        shape = [1, 1]
        if axis is not None:
            shape[axis] = -1
        self.step = np.maximum(s, F32(1e-8)).reshape(shape)
        with np.errstate(invalid="ignore", over="ignore"):
            self.v = (x / self.step).astype(F32)
            self.rounded = np.rint(self.v) if noise is None else np.floor(self.v + noise)
        self.z = F32(0)
        if z is not None:
            self.z = np.clip(np.rint(z), self.low, self.high).reshape(shape).astype(F32)
            self.z_learned = (np.rint(z) >= self.low) & (np.rint(z) <= self.high)
        shifted = self.rounded + self.z
        self.codes = np.clip(np.where(np.isnan(shifted), self.low, shifted), self.low, self.high)
        self.latent_codes = self.codes
        if frozen is not None:
            self.codes = np.where(frozen, ints, self.codes)

    def forward(self):
        return self.step * (self.codes.astype(F32) - self.z), self.codes.astype(np.int32)

    def backward(self, g, surrogate="ste", parameter=None, scaled=False):
        v, r = self.v.astype(np.float64), self.rounded.astype(np.float64)
        position = (v if surrogate == "ste_paper" else r) + self.z
        mask = (position >= self.low) & (position <= self.high)
        factor = np.ones_like(v)
        if surrogate == "ewgs":
            factor = 1 + (0.2 if parameter is None else parameter) * np.sign(g) * (v - r)
        if surrogate == "stacked_sigmoid":
            alpha = 1.0 if parameter is None else parameter
            sigmoid = 1 / (1 + np.exp(-alpha * (v - np.floor(v) - 0.5)))
            top = 1 / (1 + np.exp(-alpha / 2))
            factor = alpha * sigmoid * (1 - sigmoid) / (2 * top - 1)
        dx = np.where(mask, factor, 0.0)
        ds = self.latent_codes - self.z - np.where(mask, factor * v, 0.0)
        dz = np.where(mask, 0.0, -self.step.astype(np.float64) * np.ones_like(v))
        if self.frozen is not None:
            dx = np.where(self.frozen, 0.0, dx)
            ds = np.where(self.frozen, self.ints - self.z, ds)
            dz = np.where(self.frozen, -self.step.astype(np.float64), dz)
        return g * dx, self.sum(g * ds, scaled), self.sum(g * dz, scaled)

    def sum(self, terms, scaled):
        others = tuple(d for d in range(2) if d != self.axis)
        total = terms.sum(axis=others).reshape(-1)
        if scaled:
            count = max(np.prod([terms.shape[d] for d in others]), 1)
            total = total / math.sqrt(self.high * count)
        return total


def test_golden_ste_and_lsq():
    """Mask and scale derivative of single weights on a 3-bit grid of step 0.25."""
    w = F32([[-1.3, -1.1, -0.62, 0.1, 0.37, 0.84, 0.87, 0.9]])
    mask = [[0, 1, 1, 1, 1, 1, 1, 0]]
    ds = [-4, 0.4, 0.48, -0.4, -0.48, -0.36, -0.48, 3]
    # v is rounded once, to 2^-23 of at most 6.
    for k in range(8):
        g = np.zeros((1, 8), F32)
        g[0, k] = 1
        module = compile_fake_quantizer(3, "signed")
        gx, gs = module.run("backward", g, w, F32([0.25]))
        np.testing.assert_array_equal(gx, g * mask)
        np.testing.assert_allclose(gs, [ds[k]], rtol=0, atol=1e-6)
    paper = compile_fake_quantizer(3, "signed", options=" surrogate ste_paper")
    gx, _ = paper.run("backward", np.ones((1, 8), F32), w, F32([0.25]))
    np.testing.assert_array_equal(gx, [[0, 0, 1, 1, 1, 0, 0, 0]])


def test_golden_gradient_scale():
    """g = 1 / sqrt(p N) multiplies the gradient of the scale only."""
    w = F32([[-1.3, -0.62, 0.1], [0.4, 0.37, 0.9]])
    g = np.ones((2, 3), F32)
    for axis, scale, factor in [(None, F32([0.25]), 0.23570226), (0, F32([0.25] * 2), 1 / 3)]:
        plain = compile_fake_quantizer(3, "signed", axis).run("backward", g, w, scale)
        scaled = compile_fake_quantizer(3, "signed", axis, " grad_scaling").run(
            "backward", g, w, scale)
        np.testing.assert_array_equal(plain[0], scaled[0])
        # One rounding each of g and of the product.
        np.testing.assert_allclose(scaled[1], plain[1] * factor, rtol=3e-7)


@pytest.mark.parametrize("grid,bits", [("signed", 3), ("unsigned", 3), ("signed", 2)])
def test_gradient_at_the_bounds(grid, bits):
    """The bounds belong to the mask; so does half a step beyond them if it rounds back."""
    low, high = grid_range(grid, bits)
    v = F32([[low - 1, low - 0.5, low, low + 0.5, high, high + 0.49, high + 0.5, high + 1]])
    gx, _ = compile_fake_quantizer(bits, grid).run(
        "backward", np.ones_like(v), v * F32(0.25), F32([0.25]))
    # Half to even: n - 0.5 rounds to the even n, p + 0.5 away from the odd p.
    np.testing.assert_array_equal(gx, [[0, 1, 1, 1, 1, 1, 0, 0]])
    paper = compile_fake_quantizer(bits, grid, options=" surrogate ste_paper")
    gx, _ = paper.run("backward", np.ones_like(v), v * F32(0.25), F32([0.25]))
    np.testing.assert_array_equal(gx, [[0, 0, 1, 1, 1, 0, 0, 0]])


def test_forward_special_values():
    x = F32([[np.nan, np.inf, -np.inf, 1e30, -0.0, 0.125, 0.375, -0.125]])
    y, codes = compile_fake_quantizer(4, "signed").run("forward", x, F32([0.25]))
    np.testing.assert_array_equal(codes, [[-8, 7, -8, 7, 0, 0, 2, 0]])
    np.testing.assert_array_equal(y, codes * F32(0.25))
    gx, gs = compile_fake_quantizer(4, "signed").run(
        "backward", np.ones_like(x), x, F32([0.25]))
    np.testing.assert_array_equal(gx, [[0, 0, 0, 0, 1, 1, 1, 1]])
    # Everything beyond the grid counts its bound; ties give -0.5, 0.5 and 0.5.
    np.testing.assert_allclose(gs, [-8 + 7 - 8 + 7 - 0.5 + 0.5 + 0.5], rtol=0, atol=1e-6)


def test_smallest_scale():
    """Below 1e-8 the scale is 1e-8 and does not learn."""
    x = F32([[1e-8, 3e-8, 1.0]])
    y, codes = compile_fake_quantizer(4, "signed").run("forward", x, F32([-1.0]))
    np.testing.assert_array_equal(codes, [[1, 3, 7]])
    np.testing.assert_array_equal(y, F32(1e-8) * codes.astype(F32))
    _, gs = compile_fake_quantizer(4, "signed").run(
        "backward", np.ones_like(x), x, F32([-1.0]))
    np.testing.assert_array_equal(gs, [0])


@st.composite
def fake_quantizer_cases(draw):
    bits, grid, axis = draw(st.sampled_from([
        (3, "signed", None), (4, "signed", 0), (8, "signed", -1), (4, "unsigned", 1),
        (8, "asymmetric", None), (4, "asymmetric", 0)]))
    surrogate, parameter = draw(st.sampled_from([
        ("ste", None), ("ste_paper", None), ("ewgs", None), ("ewgs", 0.5),
        ("stacked_sigmoid", None), ("stacked_sigmoid", 6.0)]))
    scaled, frozen, noise = draw(st.sampled_from([
        (False, False, False), (True, True, False), (False, True, True)]))
    rows, columns = draw(st.sampled_from([(1, 1), (3, 5), (0, 4), (2, 1), (7, 3)]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    low, high = grid_range(grid, bits)
    channels = 1 if axis is None else (rows, columns)[axis]
    s = rng.uniform(0.05, 0.5, channels).astype(F32)
    # Integers, ties and values beyond the grid are all likely.
    v = rng.integers(2 * low - 4, 2 * high + 5, (rows, columns)) / 2
    v = v + np.where(rng.random(v.shape) < 0.5, rng.uniform(-0.5, 0.5, v.shape), 0)
    z = None
    if grid == "asymmetric":
        z = rng.uniform(low - 2, high + 2, channels).astype(F32)
        v = v - np.mean(z) if z.size else v
    step = s if axis is None else s.reshape([-1, 1] if axis == 0 else [1, -1])
    x = (v * step).astype(F32)
    mask = rng.random(v.shape) < 0.3 if frozen else None
    ints = rng.integers(low, high + 1, v.shape).astype(np.int32) if frozen else None
    u = rng.random(v.shape).astype(F32) if noise else None
    g = rng.normal(size=v.shape).astype(F32)
    options = f" surrogate {surrogate}" if surrogate != "ste" else ""
    options += f" parameter {parameter}" if parameter is not None else ""
    options += " grad_scaling" if scaled else ""
    module = compile_fake_quantizer(bits, grid, axis, options, frozen, noise)
    oracle = Quantizer(x, s, bits, grid, None if axis is None else axis % 2, z, mask, ints, u)
    arguments = [a for a in (x, s, z, mask, ints, u) if a is not None]
    return module, oracle, arguments, g, surrogate, parameter, scaled


@given(fake_quantizer_cases())
def test_fake_quantizer(case):
    module, oracle, arguments, g, surrogate, parameter, scaled = case
    for actual, expected in zip(module.run("forward", *arguments), oracle.forward()):
        np.testing.assert_array_equal(actual, expected)
    actual = module.run("backward", g, *arguments)
    expected = oracle.backward(g, surrogate, parameter, scaled)
    # The factor's error is a few units in the last place of a number below 6; v is at
    # most 2^9, so is each term of the sums, of which there are at most 35.
    np.testing.assert_allclose(actual[0], expected[0], rtol=2e-6, atol=1e-6)
    np.testing.assert_allclose(actual[1], expected[1], rtol=1e-5, atol=35 * 2**9 * 2**-22)
    if oracle.z is not F32(0) and len(actual) == 3:
        learned = np.where(oracle.z_learned, expected[2], 0)
        np.testing.assert_allclose(actual[2], learned, rtol=1e-5, atol=1e-5)


def test_scale_gradient_by_finite_differences():
    """LSQ holds the rounding error still while the scale moves."""
    rng = np.random.default_rng(5)
    scale, step = 0.2, 1e-6
    # Neither bound is a level here: the clamp has a kink there.
    v = np.concatenate([rng.uniform(-7.4, 6.4, 40), rng.uniform(8, 12, 5), rng.uniform(-13, -9, 4)])
    x = (v.reshape(7, 7) * scale).astype(F32)
    g = rng.normal(size=x.shape).astype(F32)
    _, gs = compile_fake_quantizer(4, "signed").run("backward", g, x, F32([scale]))

    def loss(s):
        # Straight through: round(x / s) = x / s + a constant within the grid.
        offset = np.rint(x / F32(scale)) - x / F32(scale)
        v = np.float64(x) / s + offset
        return np.sum(np.float64(g) * s * np.clip(v, -8, 7))

    expected = (loss(scale + step) - loss(scale - step)) / (2 * step)
    np.testing.assert_allclose(gs, [expected], rtol=1e-4)


# ---- Oscillation -------------------------------------------------------------

STATE = ("prev_code", "prev_direction", "frequency", "smoothed", "frozen", "frozen_int",
         "observed", "tracking")


@functools.lru_cache(maxsize=None)
def compile_tracker(semantics="latch", use_ema=True):
    kinds = ["i32", "i8", "f32", "f32", "i1", "i32"]
    types = [f"tensor<?x{kind}>" for kind in kinds] + ["tensor<i1>"] * 2
    names = [f"%{name}" for name in STATE]
    arguments = ", ".join(f"{name}: {type}" for name, type in zip(names, types))
    results = ["tensor<?xi32>", "tensor<?xi1>"] + types
    option = "" if use_ema else " {use_ema_x_int = false}"
    return qtx.compile_ir(f"""
      func.func @main(%codes: tensor<?xi32>, {arguments}, %m: tensor<f32>, %t: tensor<f32>)
          -> ({", ".join(results)}) {{
        %r:10 = qtx.oscillation_update %codes state({", ".join(names)})
            momentum(%m) threshold(%t) semantics {semantics}{option} : tensor<?xi32>
        return {", ".join(f"%r#{k}" for k in range(10))} : {", ".join(results)}
      }}""")


class Tracker:
    """The state, fed back through the compiled operation."""

    def __init__(self, size, momentum, semantics="latch", use_ema=True):
        self.module, self.momentum = compile_tracker(semantics, use_ema), F32(momentum)
        dtypes = [np.int32, np.int8, F32, F32, bool, np.int32]
        self.state = [np.zeros(size, d) for d in dtypes] + [np.zeros((), bool)] * 2

    def step(self, codes, threshold):
        out, oscillated, *self.state = self.module.run(
            "main", np.asarray(codes, np.int32), *self.state, self.momentum, F32(threshold))
        return out, oscillated

    def __getattr__(self, name):
        return self.state[STATE.index(name)]


def run_trace(tracker, codes, thresholds):
    """One weight; a row (out, o, f, frozen, frozen_int, psi) for each step."""
    rows = []
    for code, threshold in zip(codes, thresholds):
        out, oscillated = tracker.step([code], threshold)
        rows.append((out[0], oscillated[0], tracker.frequency[0], tracker.frozen[0],
                     tracker.frozen_int[0], tracker.smoothed[0]))
    return list(zip(*rows))


# A moving average of at most 60 steps in f32 against its exact value.
AVERAGE = {"rtol": 0, "atol": 2e-6}


@pytest.mark.parametrize("semantics", ["latch", "reference_compat"])
def test_golden_trace_a1(semantics):
    out, o, f, frozen, ints, psi = run_trace(
        Tracker(1, 0.1, semantics), [2, 3, 2, 3, 2, 3, 2], [0.25] * 7)
    assert out == (2, 3, 2, 3, 2, 2, 2)
    assert o == (0, 0, 1, 1, 1, 0, 0)
    np.testing.assert_allclose(f, [0, 0, 0.1, 0.19, 0.271, 0.2439, 0.21951], **AVERAGE)
    assert frozen == (0, 0, 0, 0, 1, 1, 1)
    assert ints[4:] == (2, 2, 2)
    np.testing.assert_allclose(
        psi, [2, 2.1, 2.09, 2.181, 2.1629, 2.14661, 2.131949], **AVERAGE)


def test_golden_trace_a2():
    codes, thresholds = [2, 3, 3, 3, 2, 2, 2], [0.2] * 7
    compat = run_trace(Tracker(1, 0.25, "reference_compat"), codes, thresholds)
    latch = run_trace(Tracker(1, 0.25), codes, thresholds)
    for out, _, f, frozen, ints, psi in (compat, latch):
        assert out[4] == 2 and frozen[4] and ints[4] == 3
        np.testing.assert_allclose([f[4], psi[3], psi[4]], [0.25, 2.578125, 2.43359375])
    out, o, f, _, ints, _ = compat
    assert out[5] == 3 and o[5] and f[5] == 0.4375 and ints[5] == 2 and out[6] == 2
    out, o, f, _, ints, _ = latch
    assert out[5] == 3 and o[5] and f[5] == 0.4375 and ints[5] == 3 and out[6] == 3


def test_golden_trace_a3():
    out, o, f, frozen, _, psi = run_trace(
        Tracker(1, 0.5), [0, 1, 2, 1, 1, 2, 0, -1, 1], [0.0] * 9)
    assert o == (0, 0, 0, 1, 0, 1, 1, 0, 1)
    np.testing.assert_array_equal(
        f, [0, 0, 0, 0.5, 0.25, 0.625, 0.8125, 0.40625, 0.703125])
    assert not any(frozen) and out == (0, 1, 2, 1, 1, 2, 0, -1, 1)
    assert psi == (0,) * 9  # not started


def test_golden_trace_a3b():
    tracker = Tracker(1, 0.5)
    out, _, f, frozen, ints, psi = run_trace(
        tracker, [0, 1, 0, 1, 0, 1], [0, 0, 0, 0.6, 0.6, 0.6])
    np.testing.assert_array_equal(f, [0, 0, 0.5, 0.75, 0.375, 0.1875])
    assert out == (0, 1, 0, 1, 1, 1)
    assert frozen == (0, 0, 0, 1, 1, 1) and ints[3:] == (1, 1, 1)
    assert psi[3:] == (1, 1, 1) and tracker.tracking and tracker.observed


def test_threshold_back_to_zero():
    """Frozen entries keep their integer, the smoothed integer stands still, f goes on."""
    tracker = Tracker(1, 0.5)
    run_trace(tracker, [0, 1, 0, 1], [0.4] * 4)
    assert tracker.frozen[0]
    smoothed, frequency, frozen_int = tracker.smoothed[0], tracker.frequency[0], tracker.frozen_int[0]
    out, *_ = run_trace(tracker, [1, 0], [0, 0])
    assert out == (frozen_int,) * 2 and tracker.smoothed[0] == smoothed
    assert tracker.frequency[0] < frequency and tracker.tracking


class ScalarTracker:
    """One weight in plain Python; f32 arithmetic step by step."""

    def __init__(self, momentum, compat, use_ema):
        self.m, self.compat, self.use_ema = F32(momentum), compat, use_ema
        self.prev, self.psi, self.frozen_at = None, None, None
        self.direction, self.f = 0, F32(0)

    def step(self, code, threshold):
        x = code if self.frozen_at is None else self.frozen_at
        change = 0 if self.prev is None else x - self.prev
        sign = (change > 0) - (change < 0)
        oscillated = sign != 0 and self.direction != 0 and sign != self.direction
        rest = F32(1) - self.m
        self.f = F32(self.m * F32(oscillated)) + F32(rest * self.f)
        if sign:
            self.direction = sign
        self.prev = x
        if threshold > 0:
            if self.psi is None:
                self.psi = F32(x)
            if self.f > F32(threshold) and (self.frozen_at is None or self.compat):
                self.frozen_at = int(np.rint(self.psi)) if self.use_ema else x
            self.psi = F32(self.m * F32(x)) + F32(rest * self.psi)
        return x, oscillated


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.01, 0.1, 0.25, 0.5, 1.0]),
       st.sampled_from(["latch", "reference_compat"]), st.booleans(),
       st.sampled_from([0.05, 0.2, 0.6]), st.integers(1, 4))
def test_oscillation_update(seed, momentum, semantics, use_ema, threshold, jump):
    rng = np.random.default_rng(seed)
    size, steps = 11, 25
    start = int(rng.integers(0, steps))
    tracker = Tracker(size, momentum, semantics, use_ema)
    scalars = [ScalarTracker(momentum, semantics != "latch", use_ema) for _ in range(size)]
    codes = rng.integers(-8, 8, size)
    for step in range(steps):
        now = 0.0 if step < start else threshold * (0.5 + 0.5 / (1 + step - start))
        codes = np.clip(codes + rng.integers(-jump, jump + 1, size), -8, 7)
        out, oscillated = tracker.step(codes, now)
        expected = [scalar.step(int(code), now) for scalar, code in zip(scalars, codes)]
        np.testing.assert_array_equal(out, [x for x, _ in expected])
        np.testing.assert_array_equal(oscillated, [o for _, o in expected])
    np.testing.assert_array_equal(tracker.frequency, [s.f for s in scalars])
    np.testing.assert_array_equal(tracker.prev_direction, [s.direction for s in scalars])
    np.testing.assert_array_equal(tracker.prev_code, [s.prev for s in scalars])
    np.testing.assert_array_equal(tracker.frozen, [s.frozen_at is not None for s in scalars])
    np.testing.assert_array_equal(tracker.frozen_int, [s.frozen_at or 0 for s in scalars])
    np.testing.assert_array_equal(tracker.smoothed, [s.psi or 0 for s in scalars])


# ---- Dampening ---------------------------------------------------------------


@functools.lru_cache(maxsize=None)
def compile_dampening(reduction, frozen=False, axis=None, bits=3, grid="signed"):
    x, s = "tensor<?x?xf32>", f"tensor<{'1' if axis is None else '?'}xf32>"
    arguments = f"%x: {x}, %s: {s}" + (", %m: tensor<?x?xi1>, %i: tensor<?x?xi32>" if frozen else "")
    text = "scale(%s)" + (" frozen(%m, %i)" if frozen else "")
    text += f" bits {bits} {grid}" + (f" axis {axis}" if axis is not None else "")
    text += f" reduction {reduction} : {x}, {s}"
    return qtx.compile_ir(f"""
      func.func @loss({arguments}) -> tensor<f32> {{
        %l = qtx.dampening_loss %x {text}
        return %l : tensor<f32>
      }}
      func.func @grad(%g: tensor<f32>, {arguments}) -> ({x}, {s}) {{
        %gx, %gs = qtx.dampening_loss_backward %g, %x {text}
        return %gx, %gs : {x}, {s}
      }}""")


@pytest.mark.parametrize("reduction,loss,divisor", [
    ("sum", 0.0488, 1), ("mean", 0.00813333, 6), ("kernel_mean", 0.01626667, 3)])
def test_golden_dampening(reduction, loss, divisor):
    w = F32([[-1.3, -0.62, 0.1], [0.4, 0.37, 0.9]])
    module = compile_dampening(reduction)
    (actual,) = module.run("loss", w, F32([0.25]))
    # The residuals carry the rounding of the weights, 2^-24, times 2 * 0.12 and six terms.
    np.testing.assert_allclose(actual, loss, rtol=0, atol=1e-7)
    gx, gs = module.run("grad", F32(1), w, F32([0.25]))
    expected = np.array([[0, -0.24, 0.2], [-0.2, 0.24, 0]]) / divisor
    np.testing.assert_allclose(gx, expected, rtol=0, atol=3e-7)
    np.testing.assert_array_equal(gs, [0])


def test_dampening_frozen_beyond_the_grid():
    """A frozen entry beyond the grid moves the scale through the bound, not the latent."""
    w, mask = F32([[-1.3, 0.9, 0.1]]), np.array([[True, True, True]])
    ints = np.int32([[2, -1, 1]])
    module = compile_dampening("sum", frozen=True)
    (loss,) = module.run("loss", w, F32([0.25]), mask, ints)
    np.testing.assert_allclose(loss, 1.5**2 + 1.0**2 + 0.15**2, rtol=1e-6)
    gx, gs = module.run("grad", F32(0.5), w, F32([0.25]), mask, ints)
    np.testing.assert_allclose(gx, [[0, 0, 0.1 - 0.25]], rtol=0, atol=1e-7)
    # (bound - target) * d bound / ds, below and above.
    np.testing.assert_allclose(gs, [(-1 - 0.5) * -4 + (0.75 + 0.25) * 3], rtol=1e-6)


@given(st.integers(0, 2**32 - 1), st.sampled_from(["sum", "mean", "kernel_mean"]),
       st.sampled_from([(None, "signed"), (0, "signed"), (1, "unsigned")]),
       st.sampled_from([(1, 1), (4, 5), (0, 3)]))
def test_dampening(seed, reduction, kind, shape):
    """Loss against double precision, gradients against finite differences."""
    rng = np.random.default_rng(seed)
    axis, grid = kind
    low, high = grid_range(grid, 3)
    s = rng.uniform(0.1, 0.4, 1 if axis is None else shape[axis]).astype(F32)
    step = s if axis is None else s.reshape([-1, 1] if axis == 0 else [1, -1])
    # Not within 1e-3 of a tie or a bound, where the derivative jumps.
    v = rng.integers(low - 3, high + 3, shape) + rng.uniform(0.05, 0.45, shape)
    x = (v * step).astype(F32)
    mask = rng.random(shape) < 0.4
    ints = rng.integers(low, high + 1, shape).astype(np.int32)
    codes = np.where(mask, ints, np.clip(np.rint(x / step), low, high))
    target = (step * codes).astype(np.float64)
    count = {"sum": 1, "mean": max(x.size, 1), "kernel_mean": max(shape[1], 1)}[reduction]

    def loss(x, step):
        return np.sum((target - np.clip(x, step * low, step * high)) ** 2) / count

    module = compile_dampening(reduction, True, axis, 3, grid)
    (actual,) = module.run("loss", x, s, mask, ints)
    wide, wide_step = x.astype(np.float64), step.astype(np.float64)
    # Residuals up to 4 with the rounding of bound and target; at most 20 terms.
    np.testing.assert_allclose(actual, loss(wide, wide_step), rtol=1e-5, atol=1e-6)

    gx, gs = module.run("grad", F32(1), x, s, mask, ints)
    h = 1e-5
    expected = np.zeros(shape)
    for index in np.ndindex(*shape):
        bump = np.zeros(shape)
        bump[index] = h
        expected[index] = (loss(wide + bump, wide_step) - loss(wide - bump, wide_step)) / (2 * h)
    np.testing.assert_allclose(gx, expected, rtol=1e-4, atol=1e-5)
    for channel in range(len(s)):
        bump = np.zeros(wide_step.shape)
        bump.reshape(-1)[channel] = h
        slope = (loss(wide, wide_step + bump) - loss(wide, wide_step - bump)) / (2 * h)
        np.testing.assert_allclose(gs[channel], slope, rtol=1e-4, atol=1e-4)


# ---- Schedules ---------------------------------------------------------------


@functools.lru_cache(maxsize=None)
def compile_schedule(text):
    return qtx.compile_ir(f"""
      func.func @main(%t: tensor<i64>) -> tensor<f32> {{
        %v = qtx.cosine_schedule %t {text} : tensor<i64>
        return %v : tensor<f32>
      }}""")


@pytest.mark.parametrize("text,expected", [
    ("from 0.1 to 0.01 steps 1000 zero_before", [0, 0.1, 0.09140576, 0.055, 0.02488912, 0.01]),
    ("from 0.0 to 0.1 steps 1000", [0, 0, 0.00954915, 0.05, 0.08345653, 0.1]),
    ("from 0.1 to 0.01 steps 1000 anneal_start 0.25",
     [0.1, 0.1, 0.09140576, 0.055, 0.02488912, 0.01])])
def test_golden_schedule(text, expected):
    module = compile_schedule(text)
    actual = [module.run("main", np.int64(t))[0] for t in (249, 250, 400, 625, 800, 1000)]
    # The cosine is good to about 2^-23, the rest is rounded to that once or twice.
    np.testing.assert_allclose(actual, expected, rtol=0, atol=3e-8)


@given(st.integers(-5, 3000))
def test_schedule(t):
    (actual,) = compile_schedule("from 1.0 to -2.0 steps 777 anneal_start 0.3").run(
        "main", np.int64(t))
    start = float(F32(0.3)) * 777
    progress = min((t - start) / (777 - start), 1)
    expected = -2 + 1.5 * (1 + math.cos(math.pi * progress)) if t >= start else 1.0
    # t - t0 is rounded to 2^-17 (t0 about 233), the slope is at most 0.009 a step.
    np.testing.assert_allclose(actual, expected, rtol=0, atol=2e-6)


# ---- Clipped softmax ---------------------------------------------------------


@functools.lru_cache(maxsize=None)
def compile_clipped_backward(zeta, gamma, rank=2):
    t = f"tensor<{'?x' * rank}f32>"
    return qtx.compile_ir(f"""
      func.func @main(%g: {t}, %p: {t}) -> {t} {{
        %gx = qtx.clipped_softmax_backward %g, %p clip [{gamma}, {zeta}] : {t}
        return %gx : {t}
      }}""")


def softmax(x):
    with np.errstate(invalid="ignore"):
        e = np.exp(x - np.max(x, axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True)


def test_golden_clipped_jacobian():
    p = np.tile(softmax(np.array([4.0, 1, 0, -2])), (4, 1)).astype(F32)
    # Row i of the Jacobian is the gradient of y_i.
    (jacobian,) = compile_clipped_backward(1.0, -0.03).run("main", np.eye(4, dtype=F32), p)
    expected = [[0.06342908, -0.04474189, -0.01645962, -0.00222757],
                [-0.04474189, 0.04567227, -0.00081948, -0.0001109], [0] * 4, [0] * 4]
    np.testing.assert_allclose(jacobian, expected, rtol=0, atol=2e-7)


@given(st.integers(0, 2**32 - 1),
       st.sampled_from([(1.0, 0.0), (1.03, 0.0), (1.0, -0.03), (1.1, -0.1), (1.0, -0.75)]),
       st.sampled_from([(1, 1), (3, 4), (2, 9), (0, 3)]))
def test_clipped_softmax_backward(seed, bounds, shape):
    """Against finite differences of the forward in double precision."""
    zeta, gamma = bounds
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 2, shape)
    g = rng.normal(size=shape).astype(F32)

    def loss(x):
        y = np.clip((zeta - gamma) * softmax(x) + gamma, 0, 1)
        return np.sum(g * y, axis=-1)

    stretched = (zeta - gamma) * softmax(x) + gamma
    is_smooth = np.all((np.abs(stretched) > 1e-4) & (np.abs(stretched - 1) > 1e-4), axis=-1)
    (actual,) = compile_clipped_backward(zeta, gamma).run("main", g, softmax(x).astype(F32))
    h = 1e-6
    for column in range(shape[1]):
        bump = np.zeros(shape[1])
        bump[column] = h
        expected = (loss(x + bump) - loss(x - bump)) / (2 * h)
        np.testing.assert_allclose(
            actual[is_smooth, column], expected[is_smooth], rtol=1e-4, atol=3e-6)


def test_clipped_softmax_backward_degenerate():
    """Masked rows, rows clipped to zero and a saturated entry get no gradient."""
    p = F32([[0, 0, 0, 0], [0.25, 0.25, 0.25, 0.25], [1, 0, 0, 0]])
    g = np.ones((3, 4), F32)
    (gx,) = compile_clipped_backward(1.0, -0.5).run("main", g, p)
    np.testing.assert_array_equal(gx, np.zeros((3, 4)))
    # The corrected D: the product of output and its gradient alone would not do.
    p = F32([[0.7, 0.2, 0.1]])
    (gx,) = compile_clipped_backward(1.0, -0.15).run("main", F32([[1, 2, 3]]), p)
    kept = 1.15 * np.array([1, 2, 0])
    expected = p * (kept - np.sum(p * kept))
    np.testing.assert_allclose(gx, expected, rtol=1e-6)


def test_clipped_softmax_forward_and_backward():
    """Both directions in one module, from logits with masked keys."""
    t = "tensor<?x5xf32>"
    module = qtx.compile_ir(f"""
      func.func @main(%x: {t}, %g: {t}) -> ({t}, {t}) {{
        %y = qtx.clipped_softmax %x clip [-0.1, 1.03] : {t}
        %p = qtx.softmax %x : {t}
        %gx = qtx.clipped_softmax_backward %g, %p clip [-0.1, 1.03] : {t}
        return %y, %gx : {t}, {t}
      }}""")
    x = np.array([[4, 1, 0, -2, 3], [0.5, -np.inf, 0.25, 0, -np.inf], [-np.inf] * 5], np.float32)
    g = np.random.default_rng(1).normal(size=x.shape).astype(F32)
    y, gx = module.run("main", x, g)
    p = np.where(np.isneginf(x[:, :1]), 0, softmax(x.astype(np.float64)))
    stretched = 1.13 * p - 0.1
    # The softmax of five keys is good to a few units in the last place.
    np.testing.assert_allclose(y, np.clip(stretched, 0, 1), rtol=0, atol=1e-6)
    kept = 1.13 * g * ((stretched > 0) & (stretched < 1))
    expected = p * (kept - np.sum(p * kept, axis=1, keepdims=True))
    np.testing.assert_allclose(gx, expected, rtol=0, atol=1e-6)


# ---- A finished model --------------------------------------------------------


def dense(array):
    kind = {"f": "f32", "b": "i1", "i": "i32"}[array.dtype.kind]
    text = array.tolist() if kind != "f32" else [
        f"0x{v:08X}" for v in array.astype(F32).view(np.uint32).reshape(-1).tolist()]
    if kind == "f32" and array.ndim == 2:
        text = [text[r * array.shape[1]:(r + 1) * array.shape[1]] for r in range(array.shape[0])]
    shape = "x".join(map(str, array.shape))
    text = str(text).replace("'", "").lower() if kind == "i1" else str(text).replace("'", "")
    return f"arith.constant dense<{text}> : tensor<{shape}x{kind}>"


def finished_model(w, s, mask, ints, text):
    rows, columns = w.shape
    weight = f"tensor<{rows}x{columns}xf32>"
    return f"""
      func.func @main(%x: tensor<?x{columns}xf32>)
          -> (tensor<?x{rows}xf32>, {weight}, tensor<{rows}x{columns}xi32>) {{
        %w = {dense(w)}
        %s = {dense(s)}
        %m = {dense(mask)}
        %i = {dense(ints)}
        %z = arith.constant dense<5.3> : tensor<{len(s)}xf32>
        %q, %c = qtx.fake_quantize %w scale(%s) {text} : {weight}, tensor<{len(s)}xf32>
        %y = qtx.linear %x, %q : (tensor<?x{columns}xf32>, {weight}) -> tensor<?x{rows}xf32>
        return %y, %q, %c : tensor<?x{rows}xf32>, {weight}, tensor<{rows}x{columns}xi32>
      }}"""


@pytest.mark.parametrize("text,per_channel,integer_weight", [
    ("frozen(%m, %i) bits 3 signed", None, True),
    ("frozen(%m, %i) bits 4 signed axis 0", 0, True),
    ("bits 8 signed axis -2", 0, True),
    ("bits 4 signed axis 1", 1, False),
    ("bits 8 unsigned", None, False),
    ("zero_point(%z) frozen(%m, %i) bits 8 asymmetric axis 1", 1, False),
    ("zero_point(%z) bits 4 asymmetric", None, True),
    ("frozen(%m, %i) bits 11 signed", None, False),
])
def test_freeze_to_constants(text, per_channel, integer_weight):
    """The frozen model computes the same bits, and its integers are constants."""
    rng = np.random.default_rng(3)
    shape = (5, 4)
    s = rng.uniform(0.05, 0.3, 1 if per_channel is None else shape[per_channel]).astype(F32)
    # Many exact ties between two levels, some values far outside.
    w = (rng.integers(-9, 16, shape) / 2 * s.max() * rng.choice([1, 1, 40], shape)).astype(F32)
    mask, ints = rng.random(shape) < 0.4, rng.integers(0, 4, shape).astype(np.int32)
    model = finished_model(w, s, mask, ints, text)
    frozen = qtx.run_passes(model, "builtin.module(qtx-freeze-to-constants)")
    assert "fake_quantize" not in frozen
    assert ("tensor<?x4xf32>, tensor<5x4xi" in frozen) == integer_weight
    x = rng.normal(size=(3, 4)).astype(F32)
    for before, after in zip(qtx.compile_ir(model).run("main", x),
                             qtx.compile_ir(frozen).run("main", x)):
        np.testing.assert_array_equal(before, after)
