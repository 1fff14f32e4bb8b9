# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Settings of the tests that execute code."""

import os
import pathlib
import sys

import pytest
from hypothesis import settings

# The package of this repository, whether or not another one is installed.
ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "python"), str(ROOT / "test" / "lib")]

# Most modules here are large and run on few numbers. `test_opt_levels` and the AArch64
# tests compare with optimized code.
os.environ.setdefault("QTX_OPT_LEVEL", "0")

# The same examples in every run; compilation makes the first one slow.
settings.register_profile("qtx", derandomize=True, deadline=None, max_examples=40)
settings.load_profile("qtx")


@pytest.fixture(scope="session")
def emulator(tmp_path_factory):
    """The library that executes AMX and AVX-VNNI in software (`emulation.py`)."""
    import emulation

    return emulation.build(tmp_path_factory.mktemp("emulator"))
