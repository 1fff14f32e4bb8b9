# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Micro-kernels for instructions that this CPU lacks, executed by software.

The tests of linear layers and of attention run again, in a process that may not use the
instructions. Products of AVX-VNNI take their turn where the CPU has none.
"""

import os
import pathlib
import re
import subprocess
import sys

import cpus
import emulation
import pytest

FOLDER = pathlib.Path(__file__).parent
# Fewer tests than where the CPU executes them: the rest differ by loops that all rows share.
NAMES = {
    "test_kernels": "integer_linear or optimized or integer_activations or fused or seed_behind "
                    "or stay_inside or tiles",
    "test_fast_attention": "integer_rows or without or extreme or stay_inside or test_rows or many_keys",
}
# Executed by each test, at least: a few products of each of its cases.
FEWEST = 500


# What software executes.
ADDED = {"amx": {"amx-tile", "amx-int8"}, "avx-vnni": {"avxvnni"},
         "avx-vnni-int8": {"avxvnni", "avxvnniint8"}}


def needs_emulation(cpu):
    """Tiles always do, since a process could be refused them; the host has the others or not."""
    lacks = cpus.missing(cpu) - ADDED[cpu]
    is_native = cpu != "amx" and not cpus.missing(cpu)
    reason = f"no {', '.join(sorted(lacks))}" if lacks else "the CPU executes it itself"
    return pytest.param(cpu, marks=pytest.mark.skipif(bool(lacks) or is_native, reason=reason))


@pytest.mark.skipif(bool(os.environ.get("LD_PRELOAD")), reason="another library comes first")
@pytest.mark.parametrize("module", NAMES)
@pytest.mark.parametrize("cpu", [needs_emulation(cpu) for cpu in ADDED])
def test_in_software(emulator, cpu, module):
    # The fault handler would take the signals from the emulator.
    command = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "-p", "no:faulthandler",
               FOLDER / f"{module}.py", "-k", NAMES[module]]
    environment = {**os.environ, **emulation.variables(emulator, ADDED[cpu]), "EMULATED_NAME": cpu}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    # Tests of other rows have no parameters here.
    reasons = re.findall(r"^SKIPPED .*?: (.*)", done.stdout, re.MULTILINE)
    assert all("empty parameter set" in reason for reason in reasons), reasons
    assert emulation.read_counts(done.stderr)["tiles" if cpu == "amx" else "dots"] > FEWEST


# Clipped attention of as many keys in all groups of 32, in the last one, or before padding.
SKIPPING = """
import sys
import numpy as np
from test_attention import Attention, UNSIGNED
from test_fast_attention import K, Q, V, compile_for
attention = Attention(query=Q, key=K, value=V, probs=UNSIGNED, mask="i1", clip=(-0.01, 1.0),
                      heads=2, value_size=40)
values = attention.inputs(np.random.default_rng(16), 1, 37, 192, spread=0.2)
keys = np.arange(192)
seen = {"spread": keys % 32 == 31, "together": keys >= 186, "padded": keys < 6}
values["mask"] = seen[sys.argv[1]][None, None, None]
compile_for(attention.ir(), "avx-vnni").run("main", *values.values())
"""


@pytest.mark.skipif(bool(os.environ.get("LD_PRELOAD")), reason="another library comes first")
@pytest.mark.parametrize("cpu", [needs_emulation("avx-vnni")])
def test_groups_are_skipped(emulator, cpu):
    """What clipping leaves no probability is not multiplied, nor is padding: products are counted."""
    counts = {}
    for kind in ("spread", "together", "padded"):
        environment = {**os.environ, **emulation.variables(emulator, ADDED[cpu]),
                       "PYTHONPATH": os.pathsep.join([str(FOLDER), *sys.path])}
        done = subprocess.run([sys.executable, "-c", SKIPPING, kind], env=environment,
                              capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        counts[kind] = emulation.read_counts(done.stderr)["dots"]
    # A group of keys has 8 steps for each row and vector of a tile; 37 queries make 7 blocks.
    rows, vectors, steps, blocks, heads, skipped = 6, 40 // 8, 8, 7, 2, 5
    most = rows * vectors * steps * blocks * heads * skipped
    # A key that stands alone in its group may itself have no probability in a block.
    assert 0.9 * most <= counts["spread"] - counts["together"] <= most
    # One vector of 24 has keys that are no padding, and two steps of eight their values.
    assert 6 * counts["padded"] <= counts["together"]
