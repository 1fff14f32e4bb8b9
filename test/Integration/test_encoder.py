# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Whole encoders, executed and compared with NumPy in double precision."""

import functools

import cpus
import numpy as np
import pytest
import qtx
from encoder import Encoder

ENCODER = Encoder()


@functools.lru_cache(maxsize=None)
def reference():
    return qtx.compile_ir(ENCODER.ir())


def make_inputs(batch, size, seed):
    """Ids, a mask that pads every row but the first, and token types."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, ENCODER.vocabulary, (batch, size))
    lengths = np.concatenate([[size], rng.integers(1, size + 1, batch - 1)])
    mask = np.int64(np.arange(size) < lengths[:, None])
    types = rng.integers(0, 2, (batch, size))
    return ids, mask, types


@pytest.mark.parametrize("batch, size", [(1, 1), (1, 17), (3, 9)])
def test_reference(batch, size):
    inputs = make_inputs(batch, size, seed=size)
    (y,) = reference().run("main", *inputs)
    # Rounding of about 2^-23 grows by the square root of some hundred additions in each
    # of two layers; normalised values have magnitude 1.
    np.testing.assert_allclose(y, ENCODER.run(*inputs), rtol=0, atol=2e-5)


def test_fast():
    """By kernels, with another order of sums."""
    inputs = make_inputs(3, 9, seed=1)
    (y,) = qtx.compile_ir(ENCODER.ir(), fast=True).run("main", *inputs)
    np.testing.assert_allclose(y, ENCODER.run(*inputs), rtol=0, atol=2e-5)


def test_quantized():
    """The fast path against the reference. Where a float lies at a tie one code may be one
    step off, which moves all hidden states of its text by some hundredths: most have none."""
    inputs = make_inputs(40, 9, seed=2)
    text = ENCODER.quantized_ir()
    (expected,) = qtx.compile_ir(text).run("main", *inputs)
    (found,) = qtx.compile_ir(text, fast=True).run("main", *inputs)
    largest = np.abs(found - expected).max(axis=(1, 2))
    # What rounding of floats alone does, as in test_reference.
    assert np.mean(largest <= 2e-5) >= 0.6
    assert largest.max() <= 0.2
    # Bytes with ranges that fit roughly.
    assert np.abs(found - ENCODER.run(*inputs)).mean() <= 0.05


@pytest.mark.parametrize("cpu", cpus.params(cpus.CPUS, str))
@pytest.mark.parametrize("text", [ENCODER.ir(), ENCODER.quantized_ir()], ids=["float", "int8"])
def test_merged_projections(text, cpu):
    """Queries, keys and values by one kernel are the same bits as by three. One row of the
    input has tiles of its own."""
    body, resources = text.split("{-#")
    module = f"module attributes {{{cpus.target(cpu)}}} {{ {body} }}\n{{-#{resources}"
    results = []
    for merge, linears in (("", 12), ("qtx-merge-projections,", 8)):
        passes = f"builtin.module(qtx-fuse-linear,qtx-to-storage,{merge}qtx-configure)"
        configured = qtx.run_passes(module, passes)
        # What is configured is not merged any more.
        assert configured.count("qtx.linear") == linears
        model = qtx.compile_ir(configured, fast=True)
        results.append([model.run("main", *make_inputs(*shape, seed=3))[0]
                        for shape in ((3, 9), (1, 1))])
    for apart, merged in zip(*results):
        assert apart.tobytes() == merged.tobytes()
