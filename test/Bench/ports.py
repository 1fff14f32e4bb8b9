# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What an operation costs beside dot products that keep their pipes busy, and the end of an
iteration.

    python test/Bench/ports.py

With AVX512-VNNI a loop of 24 independent VPDPBUSD is timed with and without eight copies of
the operation between them; prints the difference in cycles for each copy, where a dot
product alone takes one.

With AVX2 loops over a tile of 6 rows and 2 vectors are timed that have several steps in an
iteration; prints the cycles of a step, where a 64-bit multiplication takes three. Then loops of
tiles whose bytes are multiplied as bytes, which add up several products in 16 bits; prints products
per cycle. Another thread on the core changes them, so loops run in turn.
"""

import ctypes
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import machine  # noqa: E402

CLANG = "/usr/lib/llvm-22/bin/clang"
DOTS, COPIES, TURNS, REPEATS = 24, 8, 200_000, 9
# Operands are zeros; `{d}` is a register that nothing reads, memory a line of its own.
OPERATIONS = {
    "fma": "vfmadd213ps %zmm28, %zmm28, %zmm{d}",
    "mul": "vmulps %zmm28, %zmm28, %zmm{d}",
    "compare": "vcmpps $1, %zmm28, %zmm28, %k1",
    "two-register lookup": "vpermi2ps %zmm28, %zmm28, %zmm{d}",
    "32-bit mul": "vpmulld %zmm28, %zmm28, %zmm{d}",
    "pair mul": "vpmaddwd %zmm28, %zmm28, %zmm{d}",
    "add": "vaddps %zmm28, %zmm28, %zmm{d}",
    "max": "vmaxps %zmm28, %zmm28, %zmm{d}",
    "integer max": "vpmaxsd %zmm28, %zmm28, %zmm{d}",
    "and": "vpandd %zmm28, %zmm28, %zmm{d}",
    "shift": "vpslld $3, %zmm28, %zmm{d}",
    "to float": "vcvtdq2ps %zmm28, %zmm{d}",
    "to integer": "vcvtps2dq %zmm28, %zmm{d}",
    "blend": "vblendmps %zmm28, %zmm28, %zmm{d}{{%k2}}",
    "one-register lookup": "vpermps %zmm28, %zmm28, %zmm{d}",
    "narrow": "vpmovusdb %zmm28, %xmm{d}",
    "narrow to memory": "vpmovusdb %zmm28, (%rsi)",
    "load": "vmovups (%rsi), %zmm{d}",
    "broadcast": "vbroadcastss (%rsi), %zmm{d}",
    "store": "vmovups %zmm28, (%rsi)",
    "store of the lower half": "vmovups %ymm28, (%rsi)",
    "store of the upper half": "vextracti64x4 $1, %zmm28, (%rsi)",
}


def emit_function(name, operation):
    lines = [f"vpxord %zmm{i}, %zmm{i}, %zmm{i}" for i in range(32)]
    body = []
    for i in range(DOTS):
        body.append(f"vpdpbusd %zmm29, %zmm29, %zmm{i}")
        if operation and i % (DOTS // COPIES) == 0:
            body.append(operation.format(d=24 + i // (DOTS // COPIES) % 4))
    return emit_loop(name, lines, body)


def emit_loop(name, before, body):
    return "\n".join([f".globl {name}", f"{name}:", *before, ".p2align 5", "1:", *body,
                      "dec %rdi", "jne 1b", "vzeroupper", "ret", ""])


def time_function(function, line):
    """The least seconds of a turn."""
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        function(ctypes.c_long(TURNS), ctypes.c_void_p(line))
        times.append(time.perf_counter() - start)
    return min(times) / TURNS


def load_functions(folder, texts):
    """A library of functions in assembly."""
    source, library = pathlib.Path(folder, "ports.s"), pathlib.Path(folder, "ports.so")
    source.write_text('.section .note.GNU-stack,"",@progbits\n.text\n' + "".join(texts))
    subprocess.run([CLANG, "-shared", "-o", library, source], check=True)
    return ctypes.CDLL(str(library))


def measure_operations(line):
    operations = {"": "", **OPERATIONS}
    with tempfile.TemporaryDirectory() as folder:
        functions = load_functions(
            folder, (emit_function(f"f{i}", operation) for i, operation in enumerate(operations.values())))
    times = [time_function(getattr(functions, f"f{i}"), line) for i in range(len(operations))]
    for name, seconds in zip(OPERATIONS, times[1:]):
        print(f"{name:24} {(seconds / times[0] - 1) * DOTS / COPIES:5.2f}")


# ---- a tile of AVX2 ----------------------------------------------------------

ROWS, VECTORS, CHAIN, STEPS, ROUNDS = 6, 2, 20, (1, 2, 4, 8), 200
LOADS = {"16 bits": ("vmovdqa", 32), "bytes": ("vpmovsxbw", 16)}


def emit_step(step, load, size):
    """A dot product for each sum of the tile, in the order in which LLVM has them."""
    body = [f"{load} {size * (VECTORS * step + v)}(%rsi), %ymm{12 + v}" for v in range(VECTORS)]
    for row in range(ROWS):
        body.append(f"vpbroadcastd {512 + 4 * step + 32 * row}(%rsi), %ymm14")
        for v, product in enumerate((15, 14)):
            sums = VECTORS * row + v
            body += [f"vpmaddwd %ymm{12 + v}, %ymm14, %ymm{product}",
                     f"vpaddd %ymm{product}, %ymm{sums}, %ymm{sums}"]
    return body


def time_in_turn(loops, line):
    """The cycles of an iteration of each loop, by its name."""
    zeros = [f"vpxor %ymm{i}, %ymm{i}, %ymm{i}" for i in range(12)]
    texts = [emit_loop("clock", [], ["imul %rax, %rax"] * CHAIN)]
    texts += [emit_loop(name, zeros, body) for name, body in loops.items()]
    with tempfile.TemporaryDirectory() as folder:
        functions = load_functions(folder, texts)
    times = {name: [] for name in ("clock", *loops)}
    for _ in range(ROUNDS):
        for name in times:
            start = time.perf_counter()
            getattr(functions, name)(ctypes.c_long(1000), ctypes.c_void_p(line))
            times[name].append((time.perf_counter() - start) / 1000)
    seconds = {name: statistics.median(values) for name, values in times.items()}
    cycle = seconds.pop("clock") / CHAIN / 3
    return {name: value / cycle for name, value in seconds.items()}


def measure_steps(line):
    cycles = time_in_turn({f"f{i}_{steps}": sum((emit_step(step, *how) for step in range(steps)), [])
                           for i, how in enumerate(LOADS.values()) for steps in STEPS}, line)
    print(f"{'steps in an iteration':24}" + "".join(f"{steps:6}" for steps in STEPS))
    for i, name in enumerate(LOADS):
        print(f"cycles, weights: {name:7}" + "".join(f"{cycles[f'f{i}_{steps}'] / steps:6.2f}" for steps in STEPS))


# Dot products of words of four channels that 16 bits add up, and rows of a tile of two vectors that leave
# registers for that.
SHORT_TILES = {1: 6, 2: 4, 4: 3}
BYTES = 32


def emit_short_steps(rows, dots):
    """Eight words of four channels for each sum, as kernels have them: the weights of the first of
    `dots` stay in registers while all rows are multiplied."""
    sums = VECTORS * rows
    kept, free = range(sums, sums + VECTORS), range(sums + VECTORS, 16)
    if dots == 1:
        x, products, ones = free[0], (free[1], free[0]), "2048(%rsi)"
    else:
        x, products, other, ones = free[0], free[1:3], free[3], f"%ymm{free[4]}"
    body = []
    for step in range(0, 8, dots):
        weights = [f"{BYTES * (VECTORS * step + i)}(%rsi)" for i in range(VECTORS * dots)]
        body += [f"vmovdqu {weights[v]}, %ymm{kept[v]}" for v in range(VECTORS)]
        for row in range(rows):
            for dot in range(dots):
                body.append(f"vpbroadcastd {1024 + 4 * (step + dot) + 64 * row}(%rsi), %ymm{x}")
                for v in range(VECTORS):
                    if dot == 0:
                        body.append(f"vpmaddubsw %ymm{kept[v]}, %ymm{x}, %ymm{products[v]}")
                    else:
                        body += [f"vpmaddubsw {weights[VECTORS * dot + v]}, %ymm{x}, %ymm{other}",
                                 f"vpaddw %ymm{other}, %ymm{products[v]}, %ymm{products[v]}"]
            for v in range(VECTORS):
                body += [f"vpmaddwd {ones}, %ymm{products[v]}, %ymm{products[v]}",
                         f"vpaddd %ymm{products[v]}, %ymm{VECTORS * row + v}, %ymm{VECTORS * row + v}"]
    return body


def measure_short_sums(line):
    loops = {f"dots{dots}": emit_short_steps(rows, dots) for dots, rows in SHORT_TILES.items()}
    loops["wide"] = sum((emit_step(step, *LOADS["bytes"]) for step in range(8)), [])
    cycles = time_in_turn(loops, line)
    print("products per cycle, by products in a sum of 16 bits")
    print(f"  none, wide operands {8 * ROWS * VECTORS * 16 / cycles['wide']:6.1f}")
    for dots, rows in SHORT_TILES.items():
        print(f"  {2 * dots}, bytes {8 * rows * VECTORS * BYTES / cycles[f'dots{dots}']:17.1f}")


def main():
    machine.pin(1)
    buffer = ctypes.create_string_buffer(4096)
    line = ctypes.addressof(buffer) + 63 & ~63
    flags = pathlib.Path("/proc/cpuinfo").read_text().split()
    if "avx512_vnni" in flags:
        measure_operations(line)
    if "avx2" not in flags:
        sys.exit("error: expected a CPU with AVX2")
    measure_steps(line)
    measure_short_sums(line)


if __name__ == "__main__":
    main()
