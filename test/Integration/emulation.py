# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Processes in which software executes what the CPU lacks: AMX, and AVX-VNNI."""

import pathlib
import re
import subprocess

import objects

_SOURCES = pathlib.Path(__file__).with_name("emulator")
_LLVM = objects.CLANG.parent

# How the instructions begin by which objects ask the CPU and the kernel, and with what
# no instruction of 64 bits begins.
_QUESTION, _ILLEGAL = 0x0F, 0x06


def build(folder):
    """The library that processes load before others."""
    library = folder / "emulator.so"
    objects.run("cc", "-O2", *objects.WARNINGS[:3], "-shared", "-fPIC",
                *sorted(_SOURCES.glob("*.c")), "-o", library, "-ldl")
    return library


def variables(library, features, permission="granted"):
    """The environment of a process on a CPU with more features, or with less (`-avx2`)."""
    return {"LD_PRELOAD": str(library), "EMULATED_CPU": ",".join(features),
            "EMULATED_PERMISSION": permission}


def read_counts(messages):
    """What a process with the emulator says at its end: instructions of each kind."""
    return {kind: int(number) for kind, number in re.findall(r"emulated (\w+): (\d+)", messages)}


def _find_text(path):
    """Address and position in the file of the code."""
    text = objects.run(_LLVM / "llvm-readelf", "-S", "-W", path)
    (section,) = re.findall(r"\.text +PROGBITS +([0-9a-f]+) ([0-9a-f]+)", text)
    return [int(number, 16) for number in section]


def redirect_questions(path):
    """Has the object or library ask the emulator instead of the CPU and the kernel."""
    start, offset = _find_text(path)
    code = bytearray(path.read_bytes())
    listing = objects.run(_LLVM / "llvm-objdump", "-d", "--no-show-raw-insn", path)
    found = re.findall(r"^ *([0-9a-f]+):\s+(cpuid|xgetbv|syscall)\b", listing, re.MULTILINE)
    for address, _ in found:
        at = offset + int(address, 16) - start
        assert code[at] == _QUESTION
        code[at] = _ILLEGAL
    path.write_bytes(code)
    return {name for _, name in found}
