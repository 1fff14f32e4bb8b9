# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""How far linear layers are from the arithmetic limit of this machine.

    python test/Bench/linear.py [--json FILE]

Every layer runs many times within one call of compiled code, in turn with a loop of
nothing but FMAs in registers: the peak. For bytes it is a multiple of that, since CPUs
start as many VPDPBUSD as FMAs in a cycle, and one TDPBUSD in sixteen. The best of several rounds counts. The last columns
have the layer with its input in groups, relative to one scale. Bytes are unsigned, as
the producers of inputs store them.
"""

import argparse
import json
import pathlib
import sys
import time

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "python"))
import qtx  # noqa: E402

SHAPES = ((128, 384, 384), (128, 384, 1536), (384, 768, 3072), (1, 384, 384))
ROUNDS = 30
# Independent sums, enough to hide the latency of two instructions a cycle.
CHAINS = 20


def peak_ir():
    """Sums of products of a register with itself."""
    sums = "vector<16xf32>"
    names = [f"%s{i}" for i in range(CHAINS)]
    dots = [f"%d{i} = math.fma %v, %v, {name} : {sums}" for i, name in enumerate(names)]
    total = [f"%t0 = arith.addf %r#0, %r#1 : {sums}"] + [
        f"%t{i} = arith.addf %t{i - 1}, %r#{i + 1} : {sums}" for i in range(1, CHAINS - 1)]
    return f"""
    func.func @main(%x: f32, %n: index) -> f32 {{
      %c0 = arith.constant 0 : index
      %c1 = arith.constant 1 : index
      %v = vector.broadcast %x : f32 to {sums}
      %z = arith.constant dense<0.0> : {sums}
      %r:{CHAINS} = scf.for %i = %c0 to %n step %c1
          iter_args({", ".join(f"{name} = %z" for name in names)}) -> ({", ".join([sums] * CHAINS)}) {{
        {chr(10).join(dots)}
        scf.yield {", ".join(f"%d{i}" for i in range(CHAINS))} : {", ".join([sums] * CHAINS)}
      }}
      {chr(10).join(total)}
      %y = vector.reduction <add>, %t{CHAINS - 2} : {sums} into f32
      return %y : f32
    }}"""


# What a row multiplies at once, as a multiple of an FMA; how to choose the row.
ROWS = {
    "avx512-fma": (1, "avx512f"),
    "avx512-vnni": (4, "avx512f avx512bw avx512vnni"),
    # TDPBUSD takes 16 cycles for 16384 products.
    "amx-int8": (32, "avx512f avx512bw avx512vnni amx-tile amx-int8"),
}


def linear_ir(shape, groups, row):
    """`n` times the same layer."""
    is_float = row == "avx512-fma"
    features = ", ".join(f'"+{feature}"' for feature in ROWS[row][1].split())
    target = f'triple = "x86_64-unknown-linux-gnu", chip = "x86-64", features = <[{features}]>'
    rows, size, outputs = shape
    element = "f32" if is_float else "i8"
    x, y = f"tensor<{rows}x{size}x{element}>", f"tensor<{rows}x{outputs}x{element}>"
    w = f"tensor<{outputs}x{size}x{element}>"
    value = "0.5" if is_float else "3"
    scale = f"%s = arith.constant dense<0.01> : tensor<{outputs}xf32>"
    if is_float:
        op = f"qtx.linear %x, %w bias(%b) : ({x}, {w}, tensor<{outputs}xf32>) -> {y}"
    else:
        parameters = ", ".join(f"{0.01 * (i + 1)}:{i + 131}" for i in range(len(groups)))
        quant = ("!quant.uniform<u8:f32, 0.02:131>" if len(groups) == 1 else
                 f"!qtx.grouped<u8:f32, axis=-1, {list(groups)}, {{{parameters}}}>")
        op = (f"qtx.linear %x as {quant}, %w scale(%s) bias(%b) to !quant.uniform<i8:f32, 0.5:3> "
              f": ({x}, {w}, tensor<{outputs}xf32>, tensor<{outputs}xf32>) -> {y}")
    return f"""
    module attributes {{llvm.target = #llvm.target<{target}>}} {{
    func.func @main(%x: {x}, %n: index) -> {y} {{
      %w = arith.constant dense<{value}> : {w}
      %b = arith.constant dense<0.5> : tensor<{outputs}xf32>
      {"" if is_float else scale}
      %c0 = arith.constant 0 : index
      %c1 = arith.constant 1 : index
      %init = tensor.empty() : {y}
      %r = scf.for %i = %c0 to %n step %c1 iter_args(%a = %init) -> ({y}) {{
        %y = {op}
        scf.yield %y : {y}
      }}
      return %r : {y}
    }} }}"""


class Timer:
    """The best time of one repetition."""

    def __init__(self, text, x, seconds=0.003):
        self.module, self.x, self.best = qtx.compile_ir(text, opt_level=2, fast=True), x, 1e9
        self.count = 1
        while self.run() < seconds:
            self.count *= 2

    def run(self):
        start = time.thread_time()
        self.module.run("main", self.x, self.count)
        elapsed = time.thread_time() - start
        self.best = min(self.best, elapsed / self.count)
        return elapsed


def measure(shape, row):
    rows, size, outputs = shape
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((rows, size)).astype(np.float32) if row == "avx512-fma" else
         rng.integers(-128, 128, (rows, size)).astype(np.int8))
    peak = Timer(peak_ir(), np.float32(1))
    timers = {"one": Timer(linear_ir(shape, (size,), row), x)}
    if row != "avx512-fma":
        timers["six"] = Timer(linear_ir(shape, (size // 6,) * 6, row), x)
        timers["outliers"] = Timer(linear_ir(shape, (size - 16, 16), row), x)
    for _ in range(ROUNDS):
        for timer in (peak, *timers.values()):
            timer.run()
    products = rows * size * outputs
    peak_rate = ROWS[row][0] * CHAINS * 16 / peak.best
    result = {"shape": list(shape), "row": row,
              "peak_gops": 2e-9 * peak_rate, "us": 1e6 * timers["one"].best,
              "gops": 2e-9 * products / timers["one"].best,
              "percent_of_peak": 100 * products / timers["one"].best / peak_rate}
    for name in timers.keys() - {"one"}:
        result[f"{name}_ratio"] = timers[name].best / timers["one"].best
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json")
    parser.add_argument("--rows", nargs="*", default=list(ROWS), choices=list(ROWS))
    arguments = parser.parse_args()
    results = []
    print(f"{'layer':>16} {'row':>12} {'us':>9} {'GOP/s':>8} {'peak':>8} {'%':>6} "
          f"{'six groups':>10} {'outliers':>8}")
    for row in arguments.rows:
        for shape in SHAPES:
            result = measure(shape, row)
            results.append(result)
            ratios = [f"{result[k]:.3f}" if k in result else "" for k in ("six_ratio", "outliers_ratio")]
            print(f"{'x'.join(map(str, shape)):>16} {row:>12} {result['us']:9.1f} "
                  f"{result['gops']:8.1f} {result['peak_gops']:8.1f} {result['percent_of_peak']:6.1f} "
                  f"{ratios[0]:>10} {ratios[1]:>8}", flush=True)
    if arguments.json:
        pathlib.Path(arguments.json).write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
