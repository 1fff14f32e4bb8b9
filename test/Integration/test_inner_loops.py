# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The inner loops of micro-kernels, as LLVM compiles them."""

import os
import pathlib
import re
import subprocess

import pytest
import qtx

LLVM = pathlib.Path("/usr/lib/llvm-22/bin")
CONTROL = {"incq", "addq", "subq", "decq", "cmpq", "jne", "jb", "jl"}

# CPU, its features, type of the input, dot products of the largest tile and what else
# belongs to them, loads. A tile has 24 or 12 sums.
CASES = {
    "x86-avx512-fma": ("skylake-avx512", ("avx512f",), "f32", ("vfmadd231ps",), 24,
                       {"vmovups", "vmovaps", "vbroadcastss"}),
    "x86-avx2-fma": ("haswell", ("avx2", "fma"), "f32", ("vfmadd231ps",), 12,
                     {"vmovups", "vmovaps", "vbroadcastss"}),
    "x86-avx512-vnni": ("icelake-server", ("avx512vnni", "avx512bw"), "i8", ("vpdpbusd",), 24,
                        {"vmovdqu64", "vmovdqa64", "vpbroadcastd"}),
    "x86-avx-vnni": ("alderlake", ("avxvnni",), "i8", ("vpdpbusd",), 12,
                     {"vmovdqu", "vmovdqa", "vpbroadcastd"}),
    "x86-avx2-int16": ("haswell", ("avx2",), "i8", ("vpmaddwd", "vpaddd"), 12,
                       {"vmovdqu", "vmovdqa", "vpbroadcastd"}),
}


def compile_to_assembly(cpu, features, element):
    """A linear of 384 channels and 96 outputs, for a CPU."""
    names = ", ".join(f'"+{feature}"' for feature in features)
    target = f'triple = "x86_64-unknown-linux-gnu", chip = "{cpu}", features = <[{names}]>'
    x, w = f"tensor<?x384x{element}>", f"tensor<96x384x{element}>"
    if element == "f32":
        value, scale = "0.5", ""
        op = f"qtx.linear %x, %w : ({x}, {w}) -> tensor<?x96xf32>"
    else:
        value, scale = "3", "%s = arith.constant dense<0.5> : tensor<1xf32>"
        op = (f"qtx.linear %x as !quant.uniform<i8:f32, 0.5:3>, %w scale(%s) "
              f": ({x}, {w}, tensor<1xf32>) -> tensor<?x96xf32>")
    text = f"""
    module attributes {{llvm.target = #llvm.target<{target}>}} {{
      func.func @main(%x: {x}) -> tensor<?x96xf32> {{
        %w = arith.constant dense<{value}> : {w}
        {scale}
        %y = {op}
        return %y : tensor<?x96xf32>
      }}
    }}"""
    ir = qtx.run_passes(text, "builtin.module(qtx-fast-to-llvm)")
    options = [f"-mcpu={cpu}", "-mtriple=x86_64-unknown-linux-gnu"]
    for command in ([LLVM / "mlir-translate", "--mlir-to-llvmir"],
                    [LLVM / "opt", "-O2", "-S", *options], [LLVM / "llc", *options]):
        ir = subprocess.run(command, input=ir, capture_output=True, text=True, check=True).stdout
    return ir


def list_loops(assembly, dot):
    """The mnemonics of each block that jumps to itself and holds dot products."""
    loops = []
    label, body = None, []
    for line in assembly.splitlines():
        line = line.split("#")[0].strip().removeprefix("{vex}").strip()
        if match := re.fullmatch(r"(\.LBB\d+_\d+):", line):
            label, body = match[1], []
        elif line and not line.startswith("."):
            mnemonic, *operands = line.split(None, 1)
            # The source is the first operand.
            is_move = mnemonic.startswith("vmov") and operands[0].startswith("%")
            body.append(f"{mnemonic} of a register" if is_move else mnemonic)
            if mnemonic.startswith("j"):
                if operands == [label] and dot in body:
                    loops.append(body)
                label, body = None, []
    return loops


@pytest.mark.skipif(not os.access(LLVM / "llc", os.X_OK), reason="no llc")
@pytest.mark.parametrize("row", CASES)
def test_inner_loop(row):
    cpu, features, element, dots, count, loads = CASES[row]
    loops = list_loops(compile_to_assembly(cpu, features, element), dots[0])
    # Tiles of every height, of whole panels and of the last one.
    assert len(loops) >= 4
    largest = max(loops, key=len)
    assert [largest.count(dot) for dot in dots] == [count] * len(dots)
    extra = set(largest) - set(dots) - loads - CONTROL
    assert not extra, f"expected dot products, loads and loop control alone, found {extra}"
    assert sum(mnemonic in CONTROL for mnemonic in largest) <= 5
