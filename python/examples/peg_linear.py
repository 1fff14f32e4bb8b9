# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""One linear layer whose input has outlier channels: per tensor against groups.

Quantizes the same activations once with one scale and once with one scale for the
outliers and one for the rest (PEG), runs both through the compiled integer layer,
and compares with the float layer in double precision.
"""

import numpy as np
import qtx

CHANNELS, OUTLIERS, OUTPUTS, ROWS = 64, 4, 32, 100


def make_data():
    """Activations whose last channels are fifty times larger than the others."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((ROWS, CHANNELS)).astype(np.float32)
    x[:, -OUTLIERS:] *= 50
    weight = rng.standard_normal((OUTPUTS, CHANNELS)).astype(np.float32)
    bias = rng.standard_normal(OUTPUTS).astype(np.float32)
    return x, weight, bias


def quantize_weight(weight):
    """Symmetric int8, one scale per output."""
    scale = (np.abs(weight).max(axis=1) / 127).astype(np.float32)
    return np.rint(weight / scale[:, None]).astype(np.int8), scale


def symmetric_scale(x):
    return float(np.float32(np.abs(x).max() / 127))


def make_ir(element_type):
    """Quantize the input, then one integer linear with a float result."""
    return f"""
      !x = {element_type}
      func.func @main(%x: tensor<?x{CHANNELS}xf32>, %w: tensor<{OUTPUTS}x{CHANNELS}xi8>,
                      %s: tensor<{OUTPUTS}xf32>, %b: tensor<{OUTPUTS}xf32>)
          -> tensor<?x{OUTPUTS}xf32> {{
        %q = qtx.quantize %x : tensor<?x{CHANNELS}xf32> -> tensor<?x{CHANNELS}x!x>
        %y = qtx.linear %q, %w scale(%s) bias(%b)
            : (tensor<?x{CHANNELS}x!x>, tensor<{OUTPUTS}x{CHANNELS}xi8>,
               tensor<{OUTPUTS}xf32>, tensor<{OUTPUTS}xf32>) -> tensor<?x{OUTPUTS}xf32>
        return %y : tensor<?x{OUTPUTS}xf32>
      }}"""


def main():
    x, weight, bias = make_data()
    codes, weight_scale = quantize_weight(weight)
    exact = x.astype(np.float64) @ weight.T.astype(np.float64) + bias

    rest, outliers = x[:, :-OUTLIERS], x[:, -OUTLIERS:]
    schemes = {
        "per tensor": f"!quant.uniform<i8:f32, {symmetric_scale(x)!r}>",
        "two groups": (
            f"!qtx.grouped<i8:f32, axis=-1, [{CHANNELS - OUTLIERS}, {OUTLIERS}], "
            f"{{{symmetric_scale(rest)!r}, {symmetric_scale(outliers)!r}}}>"
        ),
    }
    print(f"a linear layer {CHANNELS} -> {OUTPUTS} on {ROWS} rows; the last {OUTLIERS} "
          "channels are outliers\n")
    print(f"{'activations':<12} {'relative error':>14}   element type")
    for name, element_type in schemes.items():
        module = qtx.compile_ir(make_ir(element_type))
        (y,) = module.run("main", x, codes, weight_scale, bias)
        error = np.linalg.norm(y - exact) / np.linalg.norm(exact)
        print(f"{name:<12} {error:>13.3%}   {element_type}")


if __name__ == "__main__":
    main()
