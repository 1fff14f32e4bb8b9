# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Random ONNX graphs of dynamic sizes against ONNX's reference, each with several sizes.

Each runs as its import is lowered, and as the library that qtxc makes of it.

QTX_RANDOM_GRAPHS=N runs N graphs instead of the few of the default run.
"""

import os

import numpy as np
import objects
import pytest

pytest.importorskip("onnx")

import onnx  # noqa: E402
import onnx_models  # noqa: E402
import random_graphs  # noqa: E402

COUNT = int(os.environ.get("QTX_RANDOM_GRAPHS", 6))
NODES = 24


def expect_same(got, want, is_exact, message):
    assert got.shape == want.shape and got.dtype == want.dtype, message
    if is_exact:
        np.testing.assert_array_equal(got, want, message)
        return
    # A few roundings per node, of numbers of the largest magnitude.
    scale = max(1, np.abs(want).max(initial=0))
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=2e-5 * scale, err_msg=message)


def compile_reference(path):
    """A function of named inputs that runs what the importer makes of the model."""
    module = onnx_models.compile_model(onnx_models.import_model(path))
    names = [value.name for value in module.function("main").inputs]
    return lambda feeds: module.run("main", *[feeds[name] for name in names])


def compile_library(path):
    """The same for the library that qtxc makes."""
    options = ["--recipe=none", "-O0"]
    return objects.Library.from_file(path, path.with_suffix(".so"), *options).run_named


@pytest.mark.parametrize("seed", range(COUNT))
@pytest.mark.parametrize("compile_path", [compile_reference, compile_library])
def test_random_graph(compile_path, seed, tmp_path):
    graph = random_graphs.make_graph(seed, NODES)
    path = tmp_path / "model.onnx"
    onnx.save(graph.make_model(), path)
    run = compile_path(path)
    for i, sizes in enumerate(random_graphs.SIZES):
        results = run({name: graph.values[name][i] for name in random_graphs.INPUTS})
        for node, got in zip(graph.nodes, results):
            name = node.output[0]
            message = f"{name} of {sizes}: {node.op_type}({', '.join(node.input)})"
            expect_same(got, graph.values[name][i], name in graph.exact, message)
