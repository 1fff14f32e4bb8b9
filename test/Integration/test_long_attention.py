# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Attention whose rows of scores are too long to be kept: keys come in stretches."""

import functools
import re

import cpus
import numpy as np
import objects
import pytest
import qtx
import test_attention
from test_attention import FLOAT, Attention, check, check_quantized
from test_fast_attention import K, Q, SYMMETRIC, UNSIGNED, UNSIGNED_Q, V, Y, runs_inside
from test_threads import check_pair, compile_pair, openmp  # noqa: F401

# Small enough that rows of some hundred keys have several stretches, the last one short,
# and blocks several tiles.
LIMIT, KEYS, QUERIES = 100, 48, 24
# At the limit, behind it, whole stretches, one key more, and few queries.
SIZES = ((1, 9, 100), (1, 9, 101), (2, 30, 144), (1, 25, 145), (1, 1, 197), (1, 49, 240))

needs_objects = pytest.mark.skipif(not objects.QTXC.exists() or not objects.CLANG.exists(),
                                   reason="qtxc or clang is not there")


@functools.lru_cache(maxsize=None)
def compile_stretched(text, cpu, threads=1):
    """Attention by the kernels of a CPU, with small stretches."""
    packed = qtx.run_passes(
        f"module attributes {{{cpus.target(cpu)}, qtx.threads = {threads} : i64}} {{ {text} }}",
        "builtin.module(qtx-to-storage,qtx-pack-attention)")
    stretches = f"{{keys = {KEYS} : i64, limit = {LIMIT} : i64, queries = {QUERIES} : i64}}"
    packed, count = re.subn(r"(?<=stretches = )\{[^}]*\}", stretches, packed)
    assert count == 1
    return qtx.compile_ir(packed, opt_level=1, fast=True)


@pytest.fixture(params=cpus.params(("avx2", "avx512"), str))
def cpu_row(request, monkeypatch):
    monkeypatch.setattr(test_attention, "compile_text",
                        lambda text: compile_stretched(text, request.param))
    return request.param


@pytest.mark.parametrize("attention", FLOAT, ids=range(len(FLOAT)))
def test_float(attention, cpu_row):
    rng = np.random.default_rng(20)
    for batch, queries, keys in SIZES:
        check(attention, attention.inputs(rng, batch, queries, keys))


QUANTIZED = [
    Attention(query=Q, key=K, probs=UNSIGNED),
    Attention(query=UNSIGNED_Q, key=K, probs=UNSIGNED, unnormalised=True, mask="i1",
              causal=True, key_size=32, value_size=20),
    Attention(query=Q, key=K, context=Y, clip=(-0.01, 1.0), gate="element", heads=4),
    Attention(query=SYMMETRIC, probs=UNSIGNED, soft_cap=20.0, sink=True, y=Y),
]


@pytest.mark.parametrize("attention", QUANTIZED)
def test_quantized(attention, cpu_row):
    """Codes of probabilities come from the maximum and sum of the whole row."""
    check_quantized(attention, SIZES)


@pytest.mark.parametrize("clauses", ({}, {"clip": (-0.002, 1.0)}, {"sink": True}))
@pytest.mark.parametrize("slope", (-40.0, -1.0, 1.0, 40.0))
def test_growing_maximum(clauses, slope, cpu_row):
    """What is summed up is scaled down, to nothing where scores grow fast, or stays."""
    attention = Attention(key_size=1, scale=1.0, **clauses)
    values = attention.inputs(np.random.default_rng(21), 1, 10, 240)
    values["q"][:] = 1
    values["k"][0, :, :, 0] = slope * np.arange(240) / KEYS
    check(attention, values)


def test_excluded_stretches(cpu_row):
    """Stretches without a key that counts, before others and behind them; rows of no key."""
    attention = Attention(mask="i1", mask_shape=("?", 1, 1))
    values = attention.inputs(np.random.default_rng(22), 4, 9, 240)
    positions = np.arange(240)
    for batch, (first, last) in enumerate(((150, 160), (0, 5), (239, 240), (0, 0))):
        values["mask"][batch] = (positions >= first) & (positions < last)
    result = check(attention, values)
    assert np.all(result[3] == 0) and np.all(np.any(result[:3] != 0, -1))


@pytest.mark.parametrize("clauses", ({}, {"clip": (-0.002, 1.0)}))
def test_special_values(clauses, cpu_row):
    """NaN among the keys takes the rows that see it; among the values, all rows."""
    attention = Attention(heads=1, key_heads=1, causal=True, offset=True, **clauses)
    for name, first in (("k", 5), ("v", 0)):
        values = attention.inputs(np.random.default_rng(23), 1, 40, 200)
        values["offset"] = np.int64(145)
        values[name][0, 0, 150, 3] = np.nan
        result = np.isnan(attention.run(values)[0, 0])
        channels = slice(None) if name == "k" else slice(3, 4)
        assert np.all(result[first:, channels])
        assert not np.any(result[:first])
        assert not np.any(np.delete(result, np.r_[:6][channels], 1))


@pytest.mark.parametrize("attention", (FLOAT[1], FLOAT[6], QUANTIZED[1]))
def test_reads_stay_inside(attention, cpu_row):
    module = compile_stretched(attention.ir(), cpu_row)
    for batch, queries, keys in ((1, 1, 101), (2, 25, 145)):
        values = attention.inputs(np.random.default_rng(24), batch, queries, keys)
        assert runs_inside(module, values.values())


# ---- Objects -----------------------------------------------------------------

# Heads so small have long rows behind some 5,700 keys.
HASWELL = "-mcpu=haswell"
LONG = ((1, 3, 6000), (1, 20, 6001))


def list_dims(batch, queries, keys):
    """Sizes of queries, keys and values."""
    return [batch, queries, batch, keys, batch, keys]


@needs_objects
@cpus.need("avx2")
@pytest.mark.parametrize("clauses", ({}, {"clip": (-0.001, 1.0)}))
def test_memory(clauses, tmp_path):
    """The workspace of long rows does not grow with the keys, and suffices."""
    attention = Attention(heads=1, key_heads=1, **clauses)
    text = attention.ir()
    library = objects.Library(text, tmp_path, HASWELL)
    sizes = []
    for keys in (100, 200, 5000, 6000, 6001, 20000):
        status, size = library.workspace_size(list_dims(1, 3, keys))
        assert status == objects.OK
        sizes.append(size)
    assert sizes[0] < sizes[1] < sizes[2] < sizes[3] == sizes[4] == sizes[5] < 1 << 20
    program = objects.Program(text, library.signature, tmp_path, options=(HASWELL,))
    for size in LONG:
        values = attention.inputs(np.random.default_rng(26), *size)
        status, found = program.run(list(values.values()), list_dims(*size))
        assert status == objects.OK
        expected, bound = attention.expect(values)
        assert np.all(np.abs(found[0] - expected) <= bound)


@needs_objects
@cpus.need("avx2")
def test_threads(openmp, tmp_path):
    """Blocks are smaller where many threads share them; results do not change."""
    attention = Attention(heads=2, key_heads=1)
    pair = compile_pair(attention.ir(), tmp_path, HASWELL)
    for size in LONG:
        arrays = list(attention.inputs(np.random.default_rng(27), *size).values())
        check_pair(pair, openmp, arrays, list_dims(*size))
