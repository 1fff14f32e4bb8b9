# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Damaged files are one error or a model, never a crash."""

import random

import numpy as np
import pytest
from import_onnx import I64, import_bytes, ints, model, node, tensor

MUTANTS_PER_SEED = 25


def small_model():
    """Something of each kind: shape arithmetic, slices, windows, products."""
    nodes = [
        node("Shape", "ids", "size"),
        node("Slice", "size one two zero", "length"),
        node("Squeeze", "length", "limit"),
        node("Range", "start limit step", "positions"),
        node("Concat", "size minus", "shape", axis=0),
        node("Gather", "table ids", "rows", axis=0),
        node("Reshape", "rows shape", "flat"),
        node("MatMul", "flat weight", "product"),
        node("Split", "product", "left right", axis=-1, num_outputs=2),
        node("Transpose", "right", "turned", perm=[0, 2, 1]),
        node("MatMul", "left turned", "scores"),
        node("Trilu", "scores", "masked", upper=0),
        node("Softmax", "masked", "soft"),
        node("ReduceMean", "soft axes"),
    ]
    constants = [
        *(ints(name, number) for name, number in [("zero", 0), ("one", 1), ("two", 2), ("minus", -1)]),
        tensor("start", np.array(0)),
        tensor("step", np.array(1)),
        ints("axes", -1),
        tensor("table", np.ones((5, 8), np.float32)),
        tensor("weight", np.ones((8, 6), np.float32)),
    ]
    inputs = [("ids", ["batch", "sequence"], I64)]
    return model(nodes, inputs, ["y", "positions"], constants, opset=18).SerializeToString()


def mutate(data, rng):
    data = bytearray(data)
    if rng.random() < 0.1:
        return bytes(data[: rng.randrange(len(data))])
    for _ in range(rng.choice([1, 1, 2, 4])):
        at = rng.randrange(len(data))
        kind = rng.randrange(4)
        if kind == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[at] = rng.choice([0, 1, 7, 8, 0x7F, 0x80, 0xFF])
        elif kind == 2:
            begin = rng.randrange(len(data))
            data[at:at] = data[begin : begin + rng.randrange(12)]
        else:
            del data[at : at + rng.randrange(6)]
    return bytes(data)


def test_model_is_valid(tmp_path):
    result = import_bytes(tmp_path, small_model())
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("seed", range(8))
def test_mutants(seed, tmp_path):
    rng = random.Random(seed)
    data = small_model()
    for _ in range(MUTANTS_PER_SEED):
        result = import_bytes(tmp_path, mutate(data, rng))
        assert result.returncode in (0, 1), result.stderr
        assert result.stderr.count("error:") == result.returncode
