# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""docs/Numerics.md, "Elementary functions" and "Activations", measured."""

import functools
import math

import numpy as np
import pytest
import qtx

# Every 1009th f32: all binades of both signs, subnormal numbers, infinities, NaNs.
EVERY = np.arange(0, 2**32, 1009, dtype=np.uint64).astype(np.uint32).view(np.float32)
SPECIAL = np.float32([
    0.0, -0.0, 1.0, -1.0, 0.5, np.inf, -np.inf, np.nan, 1e-45, -1e-45, 2**-126,
    88.72283, 88.72284, -87.33655, -103.97208, -104.0, 3.4028235e38, -3.4028235e38,
    0.93, 0.6, 4.0, 10.0, math.pi / 2, math.pi, 2 * math.pi, 2**18])


# One type per kind of storage: its name, its range, the zero point that is tried.
STORAGE = [("i4", -8, 7, -3), ("u4", 0, 15, 15), ("i8", -128, 127, 5), ("u8", 0, 255, 128),
           ("i16", -2**15, 2**15 - 1, -2**15), ("u16", 0, 2**16 - 1, 1),
           ("i32", -2**31, 2**31 - 1, -7), ("i32", -2**31, 2**31 - 1, 2**31 - 1),
           ("u32", 0, 2**32 - 1, 2**31)]


def exact_codes(x, scale, zero_point, low, high):
    """docs/Numerics.md, "Quantize", in integers of any size."""
    with np.errstate(over="ignore", invalid="ignore"):
        products = np.float32(x) * (np.float32(1) / np.float32(scale))
    codes = []
    for product in products:
        if np.isnan(product):
            codes.append(low)
        elif np.isinf(product):
            codes.append(high if product > 0 else low)
        else:
            # Python rounds half to even, too.
            codes.append(min(max(round(float(product)) + zero_point, low), high))
    return codes


@pytest.mark.parametrize("storage, low, high, zero_point", STORAGE)
@pytest.mark.parametrize("scale", [1.0, 0.75, 2.0**-126, 2.0**127])
def test_quantize_edges(storage, low, high, zero_point, scale):
    width = storage[1:]
    kind = f"{storage}:f32" if storage[0] == "i" else f"u{width}:f32"
    module = qtx.compile_ir(f"""
      func.func @main(%x: tensor<?xf32>) -> tensor<?xi{width}> {{
        %q = qtx.quantize %x to !quant.uniform<{kind}, {scale:.17e}:{zero_point}>
            : tensor<?xf32> -> tensor<?xi{width}>
        return %q : tensor<?xi{width}>
      }}""")
    ties = np.arange(-20, 20) + 0.5
    bounds = np.float64([low, high, low - 0.5, high + 0.5, low - zero_point, high - zero_point,
                         high - zero_point - 0.5, low - zero_point + 0.5])
    with np.errstate(over="ignore"):
        x = np.concatenate([SPECIAL, np.float32(ties * scale), np.float32(bounds * scale),
                            np.nextafter(np.float32(bounds * scale), np.float32(0))])
    (q,) = module.run("main", x)
    # The codes are returned as signed integers of the width, u4 as the low bits.
    bits = int(width)
    expected = [code % 2**bits for code in exact_codes(x, scale, zero_point, low, high)]
    assert [int(code) % 2**bits for code in q] == expected


@functools.lru_cache(maxsize=None)
def inputs():
    return np.concatenate([EVERY, SPECIAL])


@functools.lru_cache(maxsize=None)
def compiled():
    functions = {"exp": "math.exp %x : tensor<?xf32>",
                 "log": "math.log %x : tensor<?xf32>",
                 "erf": "math.erf %x : tensor<?xf32>",
                 "tanh": "math.tanh %x : tensor<?xf32>",
                 "cos": "math.cos %x : tensor<?xf32>",
                 "rsqrt": "math.rsqrt %x : tensor<?xf32>",
                 "relu": "qtx.relu %x : (tensor<?xf32>) -> tensor<?xf32>",
                 "gelu": "qtx.gelu %x : (tensor<?xf32>) -> tensor<?xf32>",
                 "gelu_tanh": "qtx.gelu %x approximate tanh : (tensor<?xf32>) -> tensor<?xf32>",
                 "silu": "qtx.silu %x : (tensor<?xf32>) -> tensor<?xf32>"}
    return qtx.compile_ir("\n".join(
        f"func.func @{name}(%x: tensor<?xf32>) -> tensor<?xf32> {{ %y = {body} "
        "return %y : tensor<?xf32> }" for name, body in functions.items()))


def run(name, x):
    (y,) = compiled().run(name, np.asarray(x, np.float32))
    return y


def ulp(reference):
    """The distance of neighbouring f32 numbers at `reference` (double)."""
    magnitude = np.abs(np.where(reference == 0, 1, reference))
    exponent = np.where(reference == 0, -126, np.floor(np.log2(magnitude)))
    return np.ldexp(1.0, np.clip(exponent, -126, 127).astype(int) - 23)


def erf(x):
    return np.vectorize(math.erf, otypes=[np.float64])(x)


def exponent_of(x):
    return np.exp(-np.abs(x))


def sigmoid(x):
    return np.where(x < 0, exponent_of(x), 1) / (1 + exponent_of(x))


REFERENCES = {
    "exp": np.exp,
    "log": np.log,
    "erf": erf,
    "tanh": np.tanh,
    "cos": np.cos,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "silu": lambda x: x * sigmoid(x),
}

# The bounds of the table in docs/Numerics.md.
ULP_BOUNDS = {"exp": 1.0, "log": 0.8, "erf": 1.0, "tanh": 1.4, "cos": 1.6, "rsqrt": 1.5,
              "silu": 3.0}


@pytest.mark.parametrize("name", sorted(ULP_BOUNDS))
def test_error_in_ulp(name):
    x = inputs()
    if name == "cos":
        x = x[~(np.abs(x) > 2**18)]
    if name == "silu":
        x = x[~(x < -87)]
    y = run(name, x)
    with np.errstate(all="ignore"):
        reference = REFERENCES[name](x.astype(np.float64))
        rounded = reference.astype(np.float32)
        np.testing.assert_array_equal(np.isnan(y), np.isnan(reference))
        np.testing.assert_array_equal(np.isinf(y), np.isinf(rounded))
        finite = np.isfinite(rounded)
        error = np.abs(y[finite] - reference[finite]) / ulp(reference[finite])
    worst = error.argmax()
    assert error[worst] <= ULP_BOUNDS[name], x[finite][worst]


def test_tail_of_silu():
    """Below -87 the sigmoid is subnormal and carries fewer digits."""
    x = inputs()
    x = x[(x < -87) & (x > -np.inf)]
    wide = x.astype(np.float64)
    assert np.all(np.abs(run("silu", x) - wide * exponent_of(wide)) <= 2**-142)


@pytest.mark.parametrize("name, scale", [("gelu", math.sqrt(0.5)), ("gelu_tanh", None)])
def test_gelu(name, scale):
    x = inputs()
    x = x[np.isfinite(x)]
    wide = x.astype(np.float64)
    if name == "gelu":
        reference = 0.5 * wide * (1 + erf(wide * scale))
    else:
        with np.errstate(over="ignore"):
            inner = math.sqrt(2 / math.pi) * (wide + 0.044715 * wide**3)
        reference = 0.5 * wide * (1 + np.tanh(inner))
    y = run(name, x)
    assert np.all(np.abs(y - reference) <= np.abs(wide) * 2**-22 + 2**-149)


def same(actual, expected):
    """Equal bits but for the payload of NaN."""
    expected = np.float32(expected)
    np.testing.assert_array_equal(actual, expected)
    number = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(actual)[number], np.signbit(expected)[number])


INF, NAN = np.inf, np.nan


@pytest.mark.parametrize("name, x, y", [
    ("exp", [0, -0.0, INF, -INF, NAN, 88.73, -104], [1, 1, INF, 0, NAN, INF, 0]),
    ("log", [1, 0, -0.0, INF, -INF, NAN, -1], [0, -INF, -INF, INF, NAN, NAN, NAN]),
    ("erf", [0, -0.0, INF, -INF, NAN], [0, -0.0, 1, -1, NAN]),
    ("tanh", [0, -0.0, INF, -INF, NAN], [0, -0.0, 1, -1, NAN]),
    ("rsqrt", [1, 0, -0.0, INF, -INF, NAN, 4], [1, INF, -INF, 0, NAN, NAN, 0.5]),
    ("cos", [0, -0.0, INF, -INF, NAN, math.pi], [1, 1, NAN, NAN, NAN, -1]),
    ("relu", [0, -0.0, INF, -INF, NAN, 2, -2], [0, 0, INF, 0, NAN, 2, 0]),
    ("gelu", [0, -0.0, INF, -INF, NAN, -3e38], [0, -0.0, INF, -0.0, NAN, -0.0]),
    ("gelu_tanh", [0, -0.0, INF, -INF, NAN, -3e38], [0, -0.0, INF, -0.0, NAN, -0.0]),
    ("silu", [0, -0.0, INF, -INF, NAN, -3e38], [0, -0.0, INF, -0.0, NAN, -0.0]),
])
def test_special_values(name, x, y):
    same(run(name, x), y)


@pytest.mark.parametrize("name", ["erf", "tanh"])
def test_odd(name):
    x = inputs()
    same(run(name, -x), -run(name, x))


def test_cosine_is_even():
    x = EVERY[np.abs(EVERY) <= 2**18]
    same(run("cos", -x), run("cos", x))


def test_subnormal_results_are_kept():
    (y,) = run("exp", [-100.0])
    assert 0 < y < 2**-126
    assert y == np.float32(math.exp(-100.0))


@pytest.mark.parametrize("activation", ["relu", "gelu", "gelu_tanh", "silu"])
def test_epilogue_of_linear(activation):
    """The epilogue computes what the operation of that name does."""
    module = qtx.compile_ir(f"""
      func.func @main(%x: tensor<?x1xf32>, %w: tensor<1x1xf32>) -> tensor<?x1xf32> {{
        %y = qtx.linear %x, %w activation {activation}
            : (tensor<?x1xf32>, tensor<1x1xf32>) -> tensor<?x1xf32>
        return %y : tensor<?x1xf32>
      }}""")
    # A product with one plus zero turns -0 into 0.
    x = np.abs(SPECIAL)
    x = np.concatenate([x, -x[x != 0]])
    (y,) = module.run("main", x[:, None], np.float32([[1]]))
    same(y[:, 0], run(activation, x))
