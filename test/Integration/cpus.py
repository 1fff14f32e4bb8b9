# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""CPUs whose micro-kernels are tested, and whether this process runs their code."""

import ctypes
import functools
import os
import platform

import pytest

_VECTORS = ("avx2", "fma", "avx512f", "avx512bw", "avx512vl", "avx512vnni")

# The features of each, as LLVM names them.
CPUS = {
    "avx2": ("avx2", "fma"),
    "avx-vnni": ("avx2", "fma", "avxvnni"),
    "avx-vnni-int8": ("avx2", "fma", "avxvnni", "avxvnniint8"),
    "avx512": _VECTORS,
    "amx": (*_VECTORS, "amx-tile", "amx-int8"),
}
# The CPU on which a micro-kernel is the fastest of its elements.
MICRO_KERNELS = {
    "x86-avx512-fma": "avx512",
    "x86-avx2-fma": "avx2",
    "x86-amx-int8": "amx",
    "x86-avx512-vnni": "avx512",
    "x86-avx-vnni": "avx-vnni",
    "x86-avx-vnni-int8": "avx-vnni-int8",
    "x86-avx2-int16": "avx2",
    "x86-avx2-int8": "avx2",
}


@functools.lru_cache(maxsize=None)
def host_features():
    """What this machine has, or software executes for it (`emulation.py`)."""
    library = ctypes.CDLL("/usr/lib/llvm-22/lib/libLLVM.so.22.1")
    library.LLVMGetHostCPUFeatures.restype = ctypes.c_char_p
    names = library.LLVMGetHostCPUFeatures().decode().split(",")
    emulated = set(filter(None, os.environ.get("EMULATED_CPU", "").split(",")))
    return {name[1:] for name in names if name.startswith("+")} | emulated


def is_emulated():
    return "EMULATED_CPU" in os.environ


def missing(cpu):
    """The features of `cpu` that are not there."""
    if platform.machine() != "x86_64":
        return set(CPUS[cpu])
    return set(CPUS[cpu]) - host_features()


def need(cpu):
    """A mark for tests of code for `cpu`."""
    return pytest.mark.skipif(bool(missing(cpu)), reason=f"no {', '.join(sorted(missing(cpu)))}")


def params(names, cpu_of):
    """Parameters that each need a CPU; those of the emulated one alone if there is one."""
    only = os.environ.get("EMULATED_NAME")
    return [pytest.param(name, marks=need(cpu_of(name))) for name in names
            if only in (None, cpu_of(name))]


def target(cpu):
    """The attribute of a module whose code is for `cpu`."""
    features = ", ".join(f'"+{feature}"' for feature in CPUS[cpu])
    return (f'llvm.target = #llvm.target<triple = "x86_64-unknown-linux-gnu", chip = "x86-64", '
            f"features = <[{features}]>>")
