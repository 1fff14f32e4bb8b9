# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Measures attention, operations on rows and whole encoders by the fast path.

usage: bench_rows.py [attention|rows|encoder]...

Times are the shortest of several runs in one thread, the copies of the Python package
included. Bytes are those of the operands and results.
"""

import sys
import time

import numpy as np
import qtx
from encoder import NAMED

CODES = "!quant.uniform<i8:f32, 0.02>"
PROBS = " probs !quant.uniform<u8:f32, 0.00392156886>"


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


def bench_attention(rng):
    def run(size, width, is_quantized, clauses):
        element, quant = ("i8", f" as {CODES}") if is_quantized else ("f32", "")
        x = f"tensor<?x?x{12 * width}x{element}>"
        heads = f"tensor<?x12x?x{width}x{element}>"
        splits = "\n".join(f"%{n}h = qtx.split_heads %{n} : {x} -> {heads}" for n in "qkv")
        module = compile_fast(f"""
          func.func @main(%q: {x}, %k: {x}, %v: {x}) -> {x} {{
            {splits}
            %c = qtx.attention %qh{quant}, %kh{quant}, %vh{quant} scale {width**-0.5:.9e}
                {clauses} {f"to {CODES}" * is_quantized} : ({heads}, {heads}, {heads}) -> {heads}
            %y = qtx.merge_heads %c : {heads} -> {x}
            return %y : {x}
          }}""")
        values = rng.standard_normal((3, 1, size, 12 * width)) * (50 if is_quantized else 1)
        seconds = measure(module, values.astype(np.int8 if is_quantized else np.float32))
        rate = 4 * 12 * size * size * width / seconds / 1e9
        print(f"attention 12x{width}, {size} keys, {element}{clauses:64}"
              f"{seconds * 1e3:9.3f} ms {rate:8.1f} Gop/s")

    for width in (32, 64):
        for size in (128, 384):
            run(size, width, False, "")
            for clauses in (PROBS, " unnormalised" + PROBS, " clip [-0.03, 1.0]" + PROBS):
                run(size, width, True, clauses)


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


def bench_encoder(rng):
    for name in ("minilm", "bert"):
        encoder = NAMED[name]
        for kind, text in (("f32", encoder.ir()), ("i8", encoder.quantized_ir())):
            start = time.perf_counter()
            module = compile_fast(text)
            print(f"{name} {kind}: compiled in {time.perf_counter() - start:.1f} s")
            for size in (16, 128, 384):
                ids = rng.integers(0, encoder.vocabulary, (1, size))
                inputs = ids, np.ones_like(ids), np.zeros_like(ids)
                print(f"{name} {kind}, {size} tokens: {measure(module, inputs, 10) * 1e3:9.2f} ms")


SUITES = {"attention": bench_attention, "rows": bench_rows, "encoder": bench_encoder}


def main():
    names = sys.argv[1:] or list(SUITES)
    if unknown := [name for name in names if name not in SUITES]:
        sys.exit(f"usage: bench_rows.py [{'|'.join(SUITES)}]..., found {unknown[0]}")
    for name in names:
        SUITES[name](np.random.default_rng(0))


if __name__ == "__main__":
    main()
