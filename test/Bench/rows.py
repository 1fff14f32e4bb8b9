# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Measures operations on rows by the fast path.

Times are the shortest of several runs in one thread, the copies of the Python package
included. Bytes are those of the operands and results.
"""

import time

import numpy as np
import qtx

CODES = "!quant.uniform<i8:f32, 0.02>"


def measure(module, inputs, runs=30):
    module.run("main", *inputs)
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        module.run("main", *inputs)
        times.append(time.perf_counter() - start)
    return min(times)


def compile_fast(text):
    return qtx.compile_ir(text, opt_level=3, fast=True)


def bench_rows(rng):
    def run(name, body, rows, width, inputs, results):
        types = [f"tensor<?x{width}xf32>"] * inputs
        arguments = ", ".join(f"%{i}: {t}" for i, t in enumerate(types))
        outs = [f"tensor<?x{width}x{'i8' if r == 1 else 'f32'}>" for r in results]
        names = ", ".join(f"%y{r}" for r in results)
        module = compile_fast(f"""
          func.func @main({arguments}, %g: tensor<{width}xf32>, %b: tensor<{width}xf32>)
              -> ({", ".join(outs)}) {{
            {body.format(x=types[0], q=f"tensor<?x{width}xi8>", c=f"tensor<{width}xf32>")}
            return {names} : {", ".join(outs)}
          }}""")
        values = [np.float32(rng.standard_normal((rows, width))) for _ in range(inputs)]
        seconds = measure(module, values + [np.ones(width, np.float32)] * 2)
        size = rows * width * (4 * inputs + sum(results))
        print(f"{name:32} {rows}x{width}: {seconds * 1e6:9.1f} us {size / seconds / 1e9:8.1f} GB/s")

    norm = """%s = qtx.add %0, %1 : ({x}, {x}) -> {x}
      %y4 = qtx.layer_norm %s gamma(%g) beta(%b) epsilon 1.0e-12 : ({x}, {c}, {c}) -> {x}"""
    quantize = f"qtx.quantize %{{}} to {CODES} : {{{{x}}}} -> {{{{q}}}}"
    for width in (384, 768):
        for rows in (128, 384):
            run("add, layer_norm", norm, rows, width, 2, [4])
            run("add, layer_norm, quantize",
                norm + "\n%y1 = " + quantize.format("y4"), rows, width, 2, [4, 1])
            run("gelu", "%y4 = qtx.gelu %0 : ({x}) -> {x}", rows, 4 * width, 1, [4])
            run("quantize", "%y1 = " + quantize.format("0"), rows, 4 * width, 1, [1])
            run("softmax", "%y4 = qtx.softmax %0 : {x}", rows, width, 1, [4])


if __name__ == "__main__":
    bench_rows(np.random.default_rng(0))
