# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The inner loops of compiled code, and what `llvm-mca` says of them."""

import pathlib
import re
import subprocess
from typing import List, NamedTuple

LLVM = pathlib.Path("/usr/lib/llvm-22/bin")
CONTROL = {"incq", "addq", "subq", "decq", "leaq", "movq", "cmpq", "jne", "jb", "jae", "jl"}
DOTS = {"vfmadd231ps", "vpdpbusd", "vpdpbssd", "vpmaddwd", "vpmaddubsw", "tdpbusd"}


class Instruction(NamedTuple):
    mnemonic: str
    operands: str

    @property
    def is_register_move(self):
        # The source is the first operand.
        return self.mnemonic.startswith("vmov") and self.operands.startswith("%")

    @property
    def uses_stack(self):
        # Of a vector; what is below the frame pointer, if it is one.
        return self.mnemonic.startswith("v") and bool(re.search(r"\(%rsp|-\d+\(%rbp", self.operands))


class Loop(NamedTuple):
    function: str
    body: List[Instruction]

    def count(self, mnemonics):
        return sum(instruction.mnemonic in mnemonics for instruction in self.body)


def list_hot_loops(assembly, share=4):
    """Blocks of instructions that jump to themselves, one of `share` of which is a dot product.

    Others that hold some run once for many of these: they pack keys, or sum up codes.
    """
    loops = []
    function, label, body = "", None, []
    for line in assembly.splitlines():
        line = line.split("#")[0].strip().removeprefix("{vex}").strip()
        # Labels that nothing jumps to keep the order of instructions.
        if re.fullmatch(r"\.Lannotation\d+:", line):
            continue
        if match := re.fullmatch(r"(\.LBB\d+_\d+):", line):
            label, body = match[1], []
        elif match := re.fullmatch(r"([\w.$\"]+):", line):
            function, label, body = match[1], None, []
        elif line and not line.startswith("."):
            mnemonic, *operands = line.split(None, 1)
            body.append(Instruction(mnemonic, operands[0] if operands else ""))
            if mnemonic.startswith("j"):
                loop = Loop(function, body)
                if operands == [label] and share * loop.count(DOTS) >= len(body):
                    loops.append(loop)
                label, body = None, []
    return loops


class Analysis(NamedTuple):
    """Cycles of one iteration, and those that the busiest port needs."""

    cycles: float
    port_limit: float


def analyse(loop, cpu):
    """What `llvm-mca` makes of many iterations of a loop on a CPU."""
    text = "loop:\n" + "\n".join(
        f"{i.mnemonic} {'loop' if i.mnemonic.startswith('j') else i.operands}" for i in loop.body)
    iterations = 100
    report = subprocess.run([LLVM / "llvm-mca", "-mtriple=x86_64", f"-mcpu={cpu}", f"-iterations={iterations}"],
                            input=text, capture_output=True, text=True, check=True).stdout
    cycles = int(re.search(r"Total Cycles: +(\d+)", report)[1])
    # Units of division and unused ports have a dash.
    pressure = report.split("Resource pressure per iteration:")[1].split("\n")[2]
    return Analysis(cycles / iterations, max(float(value) for value in pressure.split() if value != "-"))
