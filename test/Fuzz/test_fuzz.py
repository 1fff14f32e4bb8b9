# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A short run of the fuzzer with a fixed seed.

Its length is a number of mutants, not a time, so that a fast and a slow machine
test the same ones.
"""

import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
BUILD = pathlib.Path(os.environ.get("QTX_BUILD_DIR", HERE.parents[1] / "build"))
BATCHES = os.environ.get("QTX_FUZZ_BATCHES", "24")


def test_no_crash_on_mutated_tests():
    command = [
        sys.executable, HERE / "fuzz.py", "--build", BUILD, "--batches", BATCHES, "--seed", "1",
    ]
    result = subprocess.run(command, capture_output=True, text=True)
    print(result.stdout)
    assert result.returncode == 0, result.stdout + result.stderr
