# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Code for AMX, executed by software: on all machines with AVX-512."""

import os
import pathlib
import subprocess
import sys

import pytest
from test_kernels import cpu_flags

FOLDER = pathlib.Path(__file__).parent

# The cases of test_kernels.py, in a process that may not use AMX.
PROGRAM = """
import ctypes
import test_kernels
from test_kernels import IntegerLinear

CASES = (
    # Tiles alone; rows that are left; the last step moves back.
    IntegerLinear(32, (64,), 32, bias="vector", result="tensor"),
    IntegerLinear(75, (129,), 49, bias="full", activation="relu"),
    IntegerLinear(64, (192,), 33, unsigned=True, result="groups", activation="gelu"),
    # Segments: equal ones, a small one, steps that read the next one.
    IntegerLinear(64, (64, 64, 64, 64), 64, bias="vector"),
    IntegerLinear(96, (130, 62), 48, bias="full", result="unsigned"),
    IntegerLinear(40, (65, 60, 70), 17, dynamic="zero_point", per_token=True),
    IntegerLinear(33, (100,), 32, dynamic="scale", weight="i4", seed=True),
    # Sums that wrap around.
    IntegerLinear(32, (192,), 32, seed=True, values="high"),
)
for seed, case in enumerate(CASES):
    test_kernels.check_integer_linear(case, "x86-amx-int8", seed)
print(ctypes.c_long.in_dll(ctypes.CDLL(None), "amx_emulated").value)
"""


@pytest.fixture(scope="module")
def emulator(tmp_path_factory):
    library = tmp_path_factory.mktemp("amx") / "amx_emulator.so"
    subprocess.run(["cc", "-O2", "-Wall", "-Werror", "-shared", "-fPIC",
                    FOLDER / "amx_emulator.c", "-o", library, "-ldl"], check=True)
    return library


@pytest.mark.skipif("avx512_vnni" not in cpu_flags(), reason="no AVX512-VNNI")
@pytest.mark.skipif(bool(os.environ.get("LD_PRELOAD")), reason="another library comes first")
def test_amx_in_software(emulator):
    environment = {**os.environ, "LD_PRELOAD": str(emulator),
                   "PYTHONPATH": os.pathsep.join([str(FOLDER), *sys.path])}
    result = subprocess.run([sys.executable, "-c", PROGRAM], env=environment,
                            capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    # Eight products, at least, of tiles in each case.
    assert int(result.stdout) > 100
