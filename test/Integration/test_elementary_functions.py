# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Elementary functions by way of f64, within the bounds of Numerics.md, section 9."""

import numpy as np
import pytest
import qtx

FUNCTIONS = {
    "sin": (np.sin, -1000, 1000),
    "tan": (np.tan, -1000, 1000),
    "asin": (np.arcsin, -1, 1),
    "acos": (np.arccos, -1, 1),
    "atan": (np.arctan, -100, 100),
    "sinh": (np.sinh, -88, 88),
    "cosh": (np.cosh, -88, 88),
    "asinh": (np.arcsinh, -1e6, 1e6),
    "acosh": (np.arccosh, 1, 1e6),
    "atanh": (np.arctanh, -1, 1),
    "expm1": (np.expm1, -20, 80),
    "log1p": (np.log1p, -1, 1e6),
    "exp": (np.exp, -80, 80),
    "log": (np.log, 0, 1e6),
    "tanh": (np.tanh, -15, 15),
    "cos": (np.cos, -1000, 1000),
}
WIDE = ("exp", "log", "tanh", "cos")


def draw(low, high, dtype):
    """Numbers of all magnitudes within [low, high]."""
    rng = np.random.default_rng(0)
    even = rng.uniform(low, high, 4000)
    small = 10 ** rng.uniform(-30, 0, 2000) * rng.choice([-1, 1], 2000)
    x = np.concatenate([even, small, [low, high, 0.0, 1.0]]).astype(dtype)
    return x[(x >= low) & (x <= high)]


def compile_unary(name, element):
    return qtx.compile_ir(f"""
      func.func @main(%x: tensor<?x{element}>) -> tensor<?x{element}> {{
        %y = math.{name} %x : tensor<?x{element}>
        return %y : tensor<?x{element}>
      }}""")


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name not in WIDE])
def test_f32(name):
    function, low, high = FUNCTIONS[name]
    x = draw(low, high, np.float32)
    with np.errstate(all="ignore"):
        want = function(x.astype(np.float64))
    (got,) = compile_unary(name, "f32").run("main", x)
    finite = np.isfinite(want.astype(np.float32))
    unit = np.spacing(np.abs(want[finite].astype(np.float32))).astype(np.float64)
    assert np.max(np.abs(got[finite] - want[finite]) / unit) <= 0.51
    np.testing.assert_array_equal(got[~finite], want[~finite].astype(np.float32))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_f64(name):
    function, low, high = FUNCTIONS[name]
    x = draw(low, high, np.float64)
    with np.errstate(all="ignore"):
        want = function(x)
    (got,) = compile_unary(name, "f64").run("main", x)
    # The zeros of sine and cosine cancel what reduction leaves.
    absolute = 1e-11 if name in ("sin", "cos", "tan") else 0
    relative = 1e-9 if name == "tan" else 1e-13
    np.testing.assert_allclose(got, want, rtol=relative, atol=absolute)


POWERS = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0, 3.0, -3.0, 7.5, np.inf, -np.inf, np.nan]


def test_pow():
    rng = np.random.default_rng(0)
    x, y = (np.float32(grid.ravel()) for grid in np.meshgrid(POWERS, POWERS))
    x = np.concatenate([x, np.float32(rng.uniform(0, 50, 4000))])
    y = np.concatenate([y, np.float32(rng.uniform(-20, 20, 4000))])
    module = qtx.compile_ir("""
      func.func @main(%x: tensor<?xf32>, %y: tensor<?xf32>) -> tensor<?xf32> {
        %z = math.powf %x, %y : tensor<?xf32>
        return %z : tensor<?xf32>
      }""")
    (got,) = module.run("main", x, y)
    with np.errstate(all="ignore"):
        want = np.power(x.astype(np.float64), y.astype(np.float64)).astype(np.float32)
    np.testing.assert_allclose(got, want, rtol=2**-23)
