# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What an operation costs beside dot products that keep their pipes busy.

    python test/Bench/ports.py

A loop of 24 independent VPDPBUSD is timed with and without eight copies of the
operation between them; prints the difference in cycles for each copy, where a dot
product alone takes one.
"""

import ctypes
import pathlib
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
}


def emit_function(name, operation):
    lines = [f".globl {name}", f"{name}:"]
    lines += [f"vpxord %zmm{i}, %zmm{i}, %zmm{i}" for i in range(32)]
    lines += [".p2align 5", "1:"]
    for i in range(DOTS):
        lines.append(f"vpdpbusd %zmm29, %zmm29, %zmm{i}")
        if operation and i % (DOTS // COPIES) == 0:
            lines.append(operation.format(d=24 + i // (DOTS // COPIES) % 4))
    return "\n".join([*lines, "dec %rdi", "jne 1b", "vzeroupper", "ret", ""])


def time_function(function, line):
    """The least seconds of a turn."""
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        function(ctypes.c_long(TURNS), ctypes.c_void_p(line))
        times.append(time.perf_counter() - start)
    return min(times) / TURNS


def main():
    if "avx512_vnni" not in pathlib.Path("/proc/cpuinfo").read_text().split():
        sys.exit("error: expected a CPU with AVX512-VNNI")
    machine.pin(1)
    operations = {"": "", **OPERATIONS}
    with tempfile.TemporaryDirectory() as folder:
        source, library = pathlib.Path(folder, "ports.s"), pathlib.Path(folder, "ports.so")
        source.write_text('.section .note.GNU-stack,"",@progbits\n.text\n' + "".join(
            emit_function(f"f{i}", operation) for i, operation in enumerate(operations.values())))
        subprocess.run([CLANG, "-shared", "-o", library, source], check=True)
        functions = ctypes.CDLL(str(library))
    buffer = ctypes.create_string_buffer(128)
    line = ctypes.addressof(buffer) + 63 & ~63
    times = [time_function(getattr(functions, f"f{i}"), line) for i in range(len(operations))]
    for name, seconds in zip(OPERATIONS, times[1:]):
        print(f"{name:20} {(seconds / times[0] - 1) * DOTS / COPIES:5.2f}")


if __name__ == "__main__":
    main()
