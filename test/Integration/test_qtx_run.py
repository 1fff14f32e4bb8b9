# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""qtx-run on archives that NumPy writes, and NumPy on archives that it writes."""

import os
import pathlib
import subprocess

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import qtx

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("QTX_BUILD_DIR", REPOSITORY / "build"))
QTX_RUN = BUILD / "bin" / "qtx-run"

pytestmark = pytest.mark.skipif(not QTX_RUN.exists(), reason="qtx-run is not built")

ELEMENTS = {
    "f16": np.float16, "f32": np.float32, "f64": np.float64, "i1": np.bool_, "i8": np.int8,
    "i16": np.int16, "i32": np.int32, "i64": np.int64, "index": np.int64,
}
SHAPES = [(), (3,), (0, 4), (2, 3, 4), (1, 5)]


def identity_ir(types):
    arguments = ", ".join(f"%x{i}: {t} {{qtx.name = \"a/{i}\"}}" for i, t in enumerate(types))
    results = ", ".join(f"{t} {{qtx.name = \"b/{i}\"}}" for i, t in enumerate(types))
    values = ", ".join(f"%x{i}" for i in range(len(types)))
    return f"""func.func @identity({arguments}) -> ({results}) {{
      return {values} : {', '.join(types)}
    }}"""


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_numpy_archives(tmp_path, save):
    """Every element type, shape and order of elements comes through unchanged."""
    rng = np.random.default_rng(7)
    types, arrays = [], []
    for element, dtype in ELEMENTS.items():
        for n, shape in enumerate(SHAPES):
            types.append("tensor<" + "?x" * len(shape) + element + ">")
            bits = rng.integers(0, 256, (*shape, np.dtype(dtype).itemsize), np.uint8)
            bits = bits % 2 if element == "i1" else bits
            array = bits.reshape(-1).view(dtype).reshape(shape)
            arrays.append(np.asfortranarray(array) if n % 2 else array)
    (tmp_path / "model.mlir").write_text(identity_ir(types))
    save(tmp_path / "in.npz", **{f"a/{i}": array for i, array in enumerate(arrays)})
    save(tmp_path / "ref.npz", **{f"b/{i}": array for i, array in enumerate(arrays)})
    subprocess.run(
        [QTX_RUN, "model.mlir", "--inputs=in.npz", "--outputs=out.npz", "--expected=ref.npz"],
        cwd=tmp_path, check=True)
    with np.load(tmp_path / "out.npz") as outputs:
        assert list(outputs) == [f"b/{i}" for i in range(len(arrays))]
        for i, array in enumerate(arrays):
            assert outputs[f"b/{i}"].dtype == array.dtype
            assert outputs[f"b/{i}"].flags.c_contiguous
            np.testing.assert_array_equal(outputs[f"b/{i}"], array)


@pytest.mark.parametrize("dtype", [">f4", "U3", "object", "complex64", "float128"])
def test_refused_types(tmp_path, dtype):
    (tmp_path / "model.mlir").write_text(identity_ir(["tensor<?xf32>"]))
    np.savez(tmp_path / "in.npz", **{"a/0": np.zeros(3, dtype)})
    done = subprocess.run([QTX_RUN, "model.mlir", "--inputs=in.npz"], cwd=tmp_path,
                          capture_output=True, text=True)
    assert done.returncode == 1
    assert "not supported" in done.stderr and done.stderr.count("error") == 1


RNG = np.random.default_rng(5)
WEIGHTS = RNG.standard_normal((192, 96)).astype(np.float32)
X = RNG.standard_normal((24, 192)).astype(np.float32)


def make_graph(operator="MatMul"):
    """A linear layer and a softmax, whose sums the fast lowering adds in another order."""
    nodes = [helper.make_node(operator, ["x", "w"], ["h"], name="layer"),
             helper.make_node("Softmax", ["h"], ["y"])]
    values = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", size])
              for name, size in (("x", 192), ("y", 96))]
    graph = helper.make_graph(
        nodes, "g", values[:1], values[1:], [numpy_helper.from_array(WEIGHTS, "w")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


@pytest.fixture(scope="module", name="folder")
def fixture_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("onnx")
    onnx.save(make_graph(), folder / "model.onnx")
    np.savez(folder / "in.npz", x=X)
    return folder


def run_onnx(folder, *options, model="model.onnx", outputs="out.npz"):
    return subprocess.run(
        [QTX_RUN, model, "--inputs=in.npz", f"--outputs={outputs}", *options], cwd=folder,
        capture_output=True, text=True)


@pytest.mark.parametrize("options, arguments", [
    ((), {"recipe": "none"}),
    (("--reference",), {"recipe": "none", "reference": True}),
    (("--recipe=w8a8", "--calibrate=in.npz"), {"recipe": "w8a8", "calibrate": {"x": X}}),
])
def test_onnx(folder, options, arguments):
    """The bits of a graph that is compiled in process are those of its object."""
    done = run_onnx(folder, *options)
    assert done.returncode == 0, done.stderr
    with np.load(folder / "out.npz") as outputs:
        (expected,) = qtx.compile(folder / "model.onnx", **arguments)(X)
        np.testing.assert_array_equal(outputs["y"], expected)


def test_reference_is_another_lowering(folder):
    """The two differ, for sums in another order, but hardly."""
    assert run_onnx(folder, outputs="fast.npz").returncode == 0
    done = run_onnx(folder, "--reference", "--expected=fast.npz")
    assert done.returncode == 1 and "'y'" in done.stderr
    done = run_onnx(folder, "--reference", "--expected=fast.npz", "--rtol=1e-4", "--atol=1e-5")
    assert done.returncode == 0, done.stderr


def test_reference_of_ir(tmp_path):
    """IR runs by the fast lowering as well, unless the reference is asked for."""
    text = """func.func @main(%x: tensor<?x192xf32> {qtx.name = "x"}, %w: tensor<96x192xf32>
        {qtx.name = "w"}) -> (tensor<?x96xf32> {qtx.name = "y"}) {
      %0 = qtx.linear %x, %w : (tensor<?x192xf32>, tensor<96x192xf32>) -> tensor<?x96xf32>
      return %0 : tensor<?x96xf32>
    }"""
    (tmp_path / "model.mlir").write_text(text)
    weights = np.ascontiguousarray(WEIGHTS.T)
    np.savez(tmp_path / "in.npz", x=X, w=weights)
    for options, fast in ((), True), (("--reference",), False):
        done = run_onnx(tmp_path, *options, model="model.mlir")
        assert done.returncode == 0, done.stderr
        (expected,) = qtx.compile_ir(text, fast=fast, opt_level=2).run("main", X, weights)
        with np.load(tmp_path / "out.npz") as outputs:
            np.testing.assert_array_equal(outputs["y"], expected)


def test_bad_graphs(folder):
    """One error each, and no outputs."""
    whole = (folder / "model.onnx").read_bytes()
    (folder / "cut.onnx").write_bytes(whole[: len(whole) // 2])
    onnx.save(make_graph("NoSuchOperator"), folder / "unknown.onnx")
    for name, message in [
        ("cut.onnx", "expected an ONNX model, found "),
        ("unknown.onnx", "NoSuchOperator"),
        ("none.onnx", "No such file or directory"),
    ]:
        done = run_onnx(folder, model=name, outputs="bad.npz")
        assert done.returncode == 1
        assert message in done.stderr and done.stderr.count("error") == 1, done.stderr
    done = run_onnx(folder, "--recipe=w8a8", outputs="bad.npz")
    assert done.returncode == 1 and "needs observed ranges" in done.stderr
    np.savez(folder / "other.npz", z=X)
    done = run_onnx(folder, "--recipe=w8a8", "--calibrate=other.npz", outputs="bad.npz")
    assert done.returncode == 1 and "no array for the input 'x'" in done.stderr
    done = run_onnx(folder, "--inputs=other.npz", outputs="bad.npz")
    assert done.returncode == 1
    assert not (folder / "bad.npz").exists()
