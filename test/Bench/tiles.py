# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What tile registers cost beside their products.

    python test/Bench/tiles.py

Loops over a tile of 32 rows and outputs are timed, with sums in four registers and some steps of 64
channels; prints the cycles of a tile, where a product takes 16. Operands are random bytes: zeros take
less power, for which clocks are higher.
"""

import ctypes
import pathlib
import sys
import tempfile
import time

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import linear  # noqa: E402
import machine  # noqa: E402
import ports  # noqa: E402

TILE, RING, TURNS, ROUNDS = 1024, 1 << 20, 100, 300
# Of arch_prctl: asks for tile registers.
SYS_ARCH_PRCTL, ARCH_REQ_XCOMP_PERM, XTILEDATA = 158, 0x1023, 18
PRODUCTS = [f"tdpbusd %tmm{4 + v}, %tmm{6 + r}, %tmm{2 * r + v}" for r in range(2) for v in range(2)]
ZEROS = [f"tilezero %tmm{i}" for i in range(4)]
# Rows that are no bytes apart are one line.
SEEDS = [f"tileloadd (%rcx,%r11), %tmm{i}" for i in range(4)]
STORES = [f"tilestored %tmm{i}, {TILE * i}(%r10,%rdx)" for i in range(4)]


def emit_step(step, load, passes):
    """Loads and products; weights stay, or pass from a ring that the second-level cache holds."""
    weights = "%r8" if passes else "%rcx"
    at = 0 if passes else 2 * TILE * step
    next_step = [f"addq ${2 * TILE}, %rax", f"andq ${RING - 1}, %rax", "leaq (%rcx,%rax), %r8"] if passes else []
    loads = [f"{load} {at + TILE * v}({weights},%rdx), %tmm{4 + v}" for v in range(2)]
    loads += [f"tileloadd {TILE * (2 * step + r)}(%r9,%rdx), %tmm{6 + r}" for r in range(2)]
    return next_step + loads + PRODUCTS


# Beginning, steps, how weights are loaded, whether they pass, end.
LOOPS = {
    "12 steps: products alone": ([], 12, None, False, []),
    "and loads, first-level cache": ([], 12, "tileloadd", False, []),
    "weights from the second level": ([], 12, "tileloadd", True, []),
    "the same by TILELOADDT1": ([], 12, "tileloaddt1", True, []),
    "zeros, 12 steps, stores": (ZEROS, 12, "tileloaddt1", True, STORES),
    "2 steps": ([], 2, "tileloadd", False, []),
    "zeros, 2 steps, stores": (ZEROS, 2, "tileloadd", False, STORES),
    "seeds, 2 steps, stores": (SEEDS, 2, "tileloadd", False, STORES),
}


def emit_tile(name, begin, steps, load, passes, end):
    body = list(begin)
    for step in range(steps):
        body += emit_step(step, load, passes) if load else PRODUCTS
    setup = ["ldtilecfg (%rsi)", "movl $64, %edx", "xorl %r11d, %r11d", "xorl %eax, %eax",
             "leaq 64(%rsi), %r10", f"leaq {64 + 4 * TILE}(%rsi), %r9",
             f"leaq {64 + 32 * TILE}(%rsi), %rcx", "movq %rcx, %r8",
             *(f"tileloadd {TILE * i}(%r9,%rdx), %tmm{i}" for i in range(8))]
    return ports.emit_loop(name, setup, body + list(end))


def make_memory():
    """The configuration, sums, rows and weights, from a line of the cache on."""
    configuration = linear.Peak.TILES
    operands = np.random.default_rng(0).bytes(32 * TILE + RING + 2 * TILE)
    memory = ctypes.create_string_buffer(b"\0" * 64 + configuration + operands)
    first = ctypes.addressof(memory) + 63 & ~63
    ctypes.memmove(first, configuration, 64)
    return memory, first


def main():
    if not machine.can_run("amx-tile amx-int8"):
        sys.exit("error: expected a CPU with AMX")
    machine.pin(1)
    if ctypes.CDLL(None).syscall(SYS_ARCH_PRCTL, ARCH_REQ_XCOMP_PERM, XTILEDATA):
        sys.exit("error: the kernel refuses tile registers")
    memory, first = make_memory()
    with tempfile.TemporaryDirectory() as folder:
        functions = ports.load_functions(
            folder, (emit_tile(f"f{i}", *loop) for i, loop in enumerate(LOOPS.values())))

    def measure(i):
        start = time.perf_counter()
        getattr(functions, f"f{i}")(ctypes.c_long(TURNS), ctypes.c_void_p(first))
        return time.perf_counter() - start

    # Other threads of the core come and go, so each loop stands behind one of products alone.
    cycles = {name: [] for name in LOOPS}
    for _ in range(ROUNDS):
        for i, name in enumerate(LOOPS):
            clock = measure(0) / (12 * len(PRODUCTS) * 16)
            cycles[name].append(measure(i) / clock)
    del memory
    for name, values in cycles.items():
        print(f"{name:32}{np.median(values):6.0f}")


if __name__ == "__main__":
    main()
