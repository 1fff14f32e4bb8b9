# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Small ONNX models, and what the importer makes of them."""

import os
import pathlib
import subprocess

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("QTX_BUILD_DIR", ROOT / "build"))
F32, I64 = TensorProto.FLOAT, TensorProto.INT64


def value(name, shape, dtype=F32):
    return helper.make_tensor_value_info(name, dtype, shape)


def tensor(name, array):
    return numpy_helper.from_array(np.asarray(array), name)


def ints(name, *values):
    return tensor(name, np.array(values, np.int64))


def model(nodes, inputs=(), outputs=("y",), constants=(), opset=17, **settings):
    """A model of nodes; inputs are (name, shape) or (name, shape, type)."""
    graph = helper.make_graph(
        list(nodes),
        "graph",
        [value(*item) for item in inputs],
        [onnx.ValueInfoProto(name=name) for name in outputs],
        list(constants),
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10, **settings)


def node(op, inputs, outputs="y", **attributes):
    """A node; inputs and outputs are names with spaces between, "-" is none."""
    split = [["" if name == "-" else name for name in names.split()] for names in (inputs, outputs)]
    return helper.make_node(op, *split, name=f"the_{op}", **attributes)


def run_import(path, *options):
    tool = BUILD / "bin" / "qtx-translate"
    command = [tool, "--import-onnx", path, *options]
    return subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=120)


def import_bytes(folder, data, *options):
    path = pathlib.Path(folder) / "model.onnx"
    path.write_bytes(data)
    return run_import(path, *options)


def import_model(folder, proto, *options):
    return import_bytes(folder, proto.SerializeToString(), *options)
