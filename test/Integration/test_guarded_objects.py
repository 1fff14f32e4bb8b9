# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Objects of integers between guard pages, for every kind of CPU.

`object_runner.c` puts inputs, outputs, workspace, dims and the file of weights between pages
that cannot be accessed, once at their end and once at their beginning, has workspaces of
several alignments and contents, and compares the bits of all calls.
"""

import cpus
import emulation
import numpy as np
import objects
import pytest
import qtx
from encoder import Encoder
from objects import OK
from test_emulation import ADDED
from test_kernels import SHORT_ROW, IntegerLinear, integer_linear

pytestmark = pytest.mark.skipif(not objects.QTXC.exists() or not objects.CLANG.exists(),
                                reason="qtxc or clang is not there")

# Sizes that leave rows, lanes and channels over. Attention reads values of 20 channels.
ENCODER = Encoder(layers=1, hidden=80, heads=4, intermediate=100)


def needs(cpu):
    lacks = cpus.missing(cpu) - ADDED.get(cpu, set())
    return pytest.param(cpu, marks=pytest.mark.skipif(bool(lacks), reason=f"no {sorted(lacks)}"))


@pytest.fixture(params=[needs(cpu) for cpu in cpus.CPUS])
def make_program(request, emulator, tmp_path):
    """Makes a program of an object for one kind of CPU, in software where it has to be."""
    cpu = request.param
    features = ",".join(f"+{feature}" for feature in cpus.CPUS[cpu])
    options = ("-mcpu=x86-64", f"-mattr={features}", f"--weights={tmp_path}/model.weights")
    is_emulated = cpu == "amx" or cpus.missing(cpu)
    variables = emulation.variables(emulator, ADDED[cpu]) if is_emulated else {}
    prefix = ("env", *(f"{name}={value}" for name, value in variables.items()))

    def make(text):
        nonlocal program
        program = objects.Program(text, None, tmp_path, options=options, emulator=prefix,
                                  change=emulation.redirect_questions if is_emulated else None)
        return program

    program = None
    yield make
    if is_emulated:
        assert emulation.read_counts(program.messages)["tiles" if cpu == "amx" else "dots"] > 0


def make_encoder_inputs(batch, size):
    rng = np.random.default_rng(batch * 100 + size)
    mask = np.int64(np.arange(size) < rng.integers(1, size + 1, (batch, 1)))
    return [rng.integers(0, ENCODER.vocabulary, (batch, size)), mask,
            rng.integers(0, 2, (batch, size))]


def test_encoder(make_program):
    text = ENCODER.quantized_ir()
    program = make_program(text)
    reference = qtx.compile_ir(text)
    for dims in ((1, 1), (2, 9), (1, 37)):
        inputs = make_encoder_inputs(*dims)
        status, (found,) = program.run(inputs, dims)
        assert status == OK
        (expected,) = reference.run("main", *inputs)
        # As in test_encoder.py: a code near a tie moves a hidden state by some hundredths.
        assert np.abs(found - expected).max() <= 0.2
        assert np.abs(found - expected).mean() <= 1e-3


LINEARS = [
    IntegerLinear(0, (130,), 49, bias="vector", result="tensor"),
    IntegerLinear(0, (64, 60, 7), 33, bias="full", activation="gelu", result="groups"),
    IntegerLinear(0, (65,), 32, dynamic="zero_point", per_token=True, weight="i4"),
]


@pytest.mark.parametrize("number", range(len(LINEARS)))
@pytest.mark.parametrize("row", (None, SHORT_ROW))
def test_linear(make_program, number, row):
    """Bit for bit, with weights of any size or such as fit short sums."""
    cases = [LINEARS[number]._replace(rows=rows) for rows in (1, 6, 32, 45)]
    text, _ = integer_linear(cases[0], 5, row)
    program = make_program(text)
    reference = qtx.compile_ir(text)
    for case in cases:
        _, arrays = integer_linear(case, 5, row)
        # Each argument has rows of its own.
        dims = (case.rows,) * len(program.signature["dims"])
        status, (found,) = program.run(arrays, dims)
        assert status == OK
        np.testing.assert_array_equal(found, reference.run("main", *arrays)[0])
