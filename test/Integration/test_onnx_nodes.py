# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""ONNX's own tests of single nodes: import, plain operations, reference code.

Each operator's first cases run by default; QTX_ONNX_NODES=all runs them all.
onnx_nodes_unsupported.txt lists the cases that do not pass, with the reason; one that passes
although it is listed is a failure too.
"""

import collections
import os
import pathlib
import subprocess
import warnings

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

import qtx  # noqa: E402
from onnx.backend.test.case.node import collect_testcases  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("QTX_BUILD_DIR", ROOT / "build"))
LIST = pathlib.Path(__file__).with_name("onnx_nodes_unsupported.txt")
# The operator sets that the importer reads.
OPSETS = (13, 23)
CASES_PER_OPERATOR = 2

# Integers that are data, and inputs that are all about the shape.
INDEXED = ("Attention", "Gather", "GatherElements", "GatherND", "ReverseSequence")
INDEXED += ("RotaryEmbedding", "ScatterElements", "ScatterND", "TensorScatter")
INDEXED += ("Add", "Sub", "Mul", "Div", "Mod", "Pow", "Max", "Min", "BitShift")
SHAPED = ("BlackmanWindow", "ConstantOfShape", "HammingWindow", "HannWindow", "Range")


class ImportFailure(Exception):
    """What the importer reported."""


def read_list():
    """The reasons by the name of the case."""
    lines = (line.partition(": ") for line in LIST.read_text().splitlines())
    return {name: reason for name, _, reason in lines if not name.startswith("#")}


def collect():
    """The cases by operator."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = collect_testcases(None)
    groups = collections.defaultdict(list)
    for case in cases:
        groups[case.model.graph.node[0].op_type].append(case)
    if os.environ.get("QTX_ONNX_NODES") == "all":
        return groups
    return {op: group[:CASES_PER_OPERATOR] for op, group in groups.items()}


UNSUPPORTED = read_list()
GROUPS = collect()


def to_array(value):
    """Narrow elements come as messages."""
    if isinstance(value, onnx.TensorProto):
        value = onnx.numpy_helper.to_array(value)
    array = np.asarray(value)
    if array.dtype.name == "bfloat16":
        return array.astype(np.float32)
    if array.dtype.name.startswith(("float8", "float4")):
        return array.view(np.int8)
    bytes_of = {"int4": np.int8, "uint4": np.uint8}
    return array.astype(bytes_of.get(array.dtype.name, array.dtype))


def freeze(case):
    """Makes constants of the inputs that say shapes, axes, counts and scales.

    The importer resolves shapes, so it refuses those that are data.
    """
    graph = case.model.graph
    op = graph.node[0].op_type
    if len(graph.node) == 1 and op in INDEXED:
        return
    inputs = [to_array(value) for value in case.data_sets[0][0]]
    for index, (info, array) in enumerate(zip(graph.input, inputs)):
        is_list = array.ndim <= 1 and array.dtype in (np.int32, np.int64)
        if len(graph.node) > 1:
            is_list = info.name in ("axes", "depth", "shape", "size")
        if op == "OneHot":
            is_list = index == 1
        if op in SHAPED or (index > 0 and (is_list or op == "Resize")):
            graph.initializer.append(onnx.numpy_helper.from_array(array, info.name))


def widen_results(graph):
    """Lets a model of bf16, which no array of Python holds, take and yield f32.

    Both ways are exact, so the nodes between compute the same.
    """
    bf16, f32 = onnx.TensorProto.BFLOAT16, onnx.TensorProto.FLOAT
    frozen = {tensor.name for tensor in graph.initializer}
    renamed, casts = {}, []
    for value in [*graph.input, *graph.output]:
        if value.type.tensor_type.elem_type != bf16 or value.name in frozen:
            continue
        value.type.tensor_type.elem_type = f32
        narrow = renamed.setdefault(value.name, f"{value.name}_bf16")
        is_input = value in graph.input
        names = [value.name, narrow] if is_input else [narrow, value.name]
        to = bf16 if is_input else f32
        casts.append((is_input, onnx.helper.make_node("Cast", names[:1], names[1:], to=to)))
    nodes = list(graph.node)
    for node in nodes:
        node.input[:] = [renamed.get(name, name) for name in node.input]
        node.output[:] = [renamed.get(name, name) for name in node.output]
    del graph.node[:]
    graph.node.extend([cast for is_input, cast in casts if is_input] + nodes)
    graph.node.extend(cast for is_input, cast in casts if not is_input)


def lower(case, folder):
    """The plain IR of a case's model."""
    for opset in case.model.opset_import:
        if not opset.domain:
            opset.version = min(max(opset.version, OPSETS[0]), OPSETS[1])
    freeze(case)
    widen_results(case.model.graph)
    path = folder / "model.onnx"
    path.write_bytes(case.model.SerializeToString())
    command = [BUILD / "bin" / "qtx-translate", "--import-onnx", path]
    result = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=60)
    if result.returncode:
        raise ImportFailure(result.stderr)
    return qtx.run_passes(result.stdout, "builtin.module(convert-onnx-to-linalg)")


def compare(got, want, case, name):
    assert got.shape == want.shape, name
    if want.dtype.kind in "biu":
        np.testing.assert_array_equal(got.astype(want.dtype), want, name)
    else:
        np.testing.assert_allclose(
            got.astype(np.float64), want.astype(np.float64), case.rtol, case.atol, err_msg=name
        )


def run(case, folder):
    module = qtx.compile_ir(lower(case, folder))
    function = module.function("main")
    graph = case.model.graph
    for inputs, outputs in case.data_sets:
        arrays = (to_array(value) for value in inputs)
        feeds = dict(zip((value.name for value in graph.input), arrays))
        results = module.run("main", *(feeds[value.name] for value in function.inputs))
        for value, got, want in zip(graph.output, results, outputs):
            compare(got, to_array(want), case, value.name)


@pytest.mark.parametrize("operator", sorted(GROUPS))
def test_operator(operator, tmp_path):
    wrong = []
    for case in GROUPS[operator]:
        try:
            run(case, tmp_path)
        except (qtx.Error, ImportFailure, AssertionError, TypeError, ValueError) as error:
            if case.name not in UNSUPPORTED:
                wrong.append(f"{case.name}: {error}")
        else:
            if case.name in UNSUPPORTED:
                wrong.append(f"{case.name}: passes, but is listed as unsupported")
    assert not wrong, "\n".join(wrong)


def test_list_names_cases():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        names = {case.name for case in collect_testcases(None)}
    assert not set(UNSUPPORTED) - names
    assert all(UNSUPPORTED.values())
