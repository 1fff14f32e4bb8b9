# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Resize, compiled to libraries, against ONNX Runtime, with static and dynamic sizes."""

import itertools

import numpy as np
import objects
import onnx
import onnx_models
import pytest
from onnx import TensorProto, helper, numpy_helper

COORDINATES = ["half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners",
               "asymmetric"]
NEAREST = ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]
# Larger and smaller, by whole factors and others.
SIZES = [(14, 10), (11, 3), (5, 9)]
SHAPE = (2, 3, 7, 5)


def list_nodes():
    """Options of nodes, and the last two sizes of their results."""
    for size, coordinates in itertools.product(SIZES, COORDINATES):
        options = {"coordinate_transformation_mode": coordinates}
        yield {**options, "mode": "linear"}, size
        yield {**options, "mode": "cubic"}, size
        yield {**options, "mode": "cubic", "cubic_coeff_a": -0.5, "exclude_outside": 1}, size
        # ONNX Runtime rounds symmetric coordinates such that whole ones are a little less.
        for nearest in NEAREST[:2] if coordinates == "half_pixel_symmetric" else NEAREST:
            yield {**options, "mode": "nearest", "nearest_mode": nearest}, size
    for size, mode in itertools.product(SIZES, ["linear", "cubic"]):
        yield {"mode": mode, "antialias": 1}, size


def make_model(nodes, is_dynamic):
    """One Resize for each output. Dynamic sizes are those of a second input."""
    spatial = ["height", "width"] if is_dynamic else list(SHAPE[2:])
    inputs = [helper.make_tensor_value_info(
        "x", TensorProto.FLOAT, ["batch" if is_dynamic else SHAPE[0], SHAPE[1], *spatial])]
    made, constants, outputs = [], [], []
    if is_dynamic:
        inputs.append(helper.make_tensor_value_info("like", TensorProto.FLOAT, ["m", "n"]))
        made.append(helper.make_node("Shape", ["like"], ["sizes"]))
    for index, (options, size) in enumerate(nodes):
        if not is_dynamic:
            constants.append(numpy_helper.from_array(np.int64(size), f"sizes{index}"))
        sizes = "sizes" if is_dynamic else f"sizes{index}"
        made.append(helper.make_node(
            "Resize", ["x", "", "", sizes], [f"y{index}"], axes=[2, -1], **options))
        outputs.append(helper.make_tensor_value_info(f"y{index}", TensorProto.FLOAT, [None] * 4))
    graph = helper.make_graph(made, "resize", inputs, outputs, constants)
    return helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 19)])


def check(folder, nodes, is_dynamic, feeds):
    path = folder / "model.onnx"
    onnx.save(make_model(nodes, is_dynamic), path)
    library = objects.Library.from_file(path, folder / "model.so", "--recipe=none", "-O0")
    for feed in feeds:
        actual = library.run_named(feed)
        expected = onnx_models.run_session(path, feed)
        for (options, _), got, want in zip(nodes, actual, expected):
            assert got.shape == want.shape, options
            # fp32 coordinates that are rounded in other places; the inputs are about 1.
            np.testing.assert_allclose(got, want, rtol=0, atol=2e-5, err_msg=str(options))


def make_input(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def test_static(tmp_path):
    check(tmp_path, list(list_nodes()), False, [{"x": make_input(*SHAPE)}])


def test_dynamic(tmp_path):
    nodes = [(options, None) for options, _ in list_nodes() if "antialias" not in options]
    nodes = [node for at, node in enumerate(nodes) if node not in nodes[:at]]
    feeds = [{"x": make_input(*shape), "like": np.zeros(size, np.float32)}
             for shape, size in zip([SHAPE, (1, 3, 4, 4), (3, 3, 2, 9)], SIZES)]
    check(tmp_path, nodes, True, feeds)


@pytest.mark.parametrize("dtype", [TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL])
def test_elements(dtype, tmp_path):
    """The nearest elements, of any type, by scales of a dynamic size."""
    node = helper.make_node("Resize", ["x", "", "scales"], ["y"], mode="nearest")
    graph = helper.make_graph(
        [node], "resize", [helper.make_tensor_value_info("x", dtype, ["n", 4])],
        [helper.make_tensor_value_info("y", dtype, [None] * 2)],
        [numpy_helper.from_array(np.float32([1.5, 2]), "scales")])
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(
        graph, ir_version=9, opset_imports=[helper.make_opsetid("", 19)]), path)
    library = objects.Library.from_file(path, tmp_path / "model.so", "--recipe=none", "-O0")
    array = make_input(5, 4) * 9
    feed = {"x": array.astype(helper.tensor_dtype_to_np_dtype(dtype))}
    (actual,) = library.run_named(feed)
    np.testing.assert_array_equal(actual, np.repeat(feed["x"], 2, axis=1)[[0, 0, 1, 2, 2, 3, 4]])
