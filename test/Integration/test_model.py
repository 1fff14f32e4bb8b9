# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""qtx.compile and qtx.load: models called on NumPy arrays."""

import concurrent.futures
import re
import threading
import time

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import qtx

# Two inputs of one dynamic size, and two outputs.
TEXT = """
func.func @main(%x: tensor<?x4xf32> {qtx.name = "x", qtx.dims = ["rows", ""]},
                %i: tensor<?xi64> {qtx.name = "i", qtx.dims = ["rows"]})
    -> (tensor<?x4xf32> {qtx.name = "double"}, tensor<?xi64> {qtx.name = "same"}) {
  %0 = qtx.add %x, %x : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  return %0, %i : tensor<?x4xf32>, tensor<?xi64>
}
"""
IDENTITY = """
func.func @main(%x: tensor<4xf32> {qtx.name = "x"}) -> (tensor<4xf32> {qtx.name = "y"}) {
  return %x : tensor<4xf32>
}
"""
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module", name="model")
def fixture_model():
    return qtx.compile(TEXT, recipe="none", name="twice")


@pytest.fixture(scope="module", name="linear")
def fixture_linear():
    """A linear layer as an ONNX model, and its weights."""
    weights = RNG.standard_normal((16, 8)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "linear",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 16])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", 8])],
        [numpy_helper.from_array(weights, "w")],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return proto, weights


def test_files_appear_together(tmp_path, model):
    (tmp_path / "model.h").mkdir()
    with pytest.raises(qtx.CompileError, match="model.h: Is a directory"):
        model.save(tmp_path / "model.o")
    assert [path.name for path in tmp_path.iterdir()] == ["model.h"]
    weights = qtx.compile(TEXT, recipe="none", weights="m.h")
    with pytest.raises(qtx.CompileError, match="expected distinct files to write, found '.*m.h' twice"):
        weights.save(tmp_path / "m.o")
    with pytest.raises(qtx.CompileError, match="report: .*none/r.json: No such file or directory"):
        qtx.compile(TEXT, recipe="none", report=tmp_path / "none" / "r.json")
    assert [path.name for path in tmp_path.iterdir()] == ["model.h"]


def make_inputs(rows):
    return RNG.standard_normal((rows, 4)).astype(np.float32), np.arange(rows)


def test_signature(model):
    assert str(model.signature) == (
        "twice(x: rowsx4xf32, i: rowsxi64) -> (double: ?x4xf32, same: ?xi64)")
    assert model.signature.dims == (qtx.Dim("rows", 1, 2**20),)
    assert model.signature.inputs[0].dtype == np.float32
    assert model.signature.threads == 1
    assert repr(model) == f"<qtx.Model {model.signature}>"


@pytest.mark.parametrize("rows", [1, 3, 17])
def test_call(model, rows):
    x, i = make_inputs(rows)
    for outputs in (model(x, i), model(x, i=i), model(i=i, x=x)):
        np.testing.assert_array_equal(outputs[0], 2 * x)
        np.testing.assert_array_equal(outputs[1], i)


def test_inputs_are_converted_without_loss(model):
    x, i = make_inputs(3)
    (double, same) = model(np.asfortranarray(x), i.astype(np.int8))
    np.testing.assert_array_equal(double, 2 * x)
    np.testing.assert_array_equal(same, i)
    (double, _) = model(x[::-1], [2, 1, 0])
    np.testing.assert_array_equal(double, 2 * x[::-1])
    (double, _) = model(x.tolist(), i)
    np.testing.assert_array_equal(double, 2 * x)


class Tensor:
    """An array of another library."""

    def __init__(self, array):
        self._array = array


class ArrayTensor(Tensor):
    def __array__(self, dtype=None, copy=None):
        return np.array(self._array, dtype=dtype, copy=copy)


class DLPackTensor(Tensor):
    def __dlpack__(self, **options):
        return self._array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self._array.__dlpack_device__()


@pytest.mark.parametrize("kind", [ArrayTensor, DLPackTensor])
def test_tensors_of_other_libraries(model, kind):
    x, i = make_inputs(3)
    np.testing.assert_array_equal(model(kind(x), i)[0], 2 * x)
    # No silent rounding of what another library computed.
    with pytest.raises(qtx.RunError, match="expected an array of float32, found float64"):
        model(kind(x.astype(np.float64)), i)


def test_unaligned_input(model):
    x, i = make_inputs(3)
    raw = np.zeros(x.nbytes + 1, np.uint8)
    unaligned = raw[1:].view(np.float32).reshape(x.shape)
    unaligned[:] = x
    np.testing.assert_array_equal(model(unaligned, i)[0], 2 * x)


def test_outputs_own_their_memory(model):
    x, i = make_inputs(3)
    first, second = model(x, i), model(x + 1, i)
    assert all(array.base is None and array.flags.owndata for array in first + second)
    np.testing.assert_array_equal(first[0], 2 * x)


@pytest.mark.parametrize("how", ["sequence", "mapping", "some"])
def test_out(model, how):
    x, i = make_inputs(3)
    double, same = np.zeros_like(x), np.zeros_like(i)
    out = {"sequence": [double, same], "mapping": {"same": same, "double": double},
           "some": [double, None]}[how]
    outputs = model(x, i, out=out)
    assert outputs[0] is double
    assert (outputs[1] is same) == (how != "some")
    np.testing.assert_array_equal(double, 2 * x)
    np.testing.assert_array_equal(outputs[1], i)


def test_out_of_one_output():
    identity = qtx.compile(IDENTITY, recipe="none")
    y = np.zeros(4, np.float32)
    (result,) = identity(np.float32([1, 2, 3, 4]), out=y)
    assert result is y
    assert y.tolist() == [1, 2, 3, 4]


def test_inputs_are_not_copied(monkeypatch, model):
    def fail(*_):
        raise AssertionError("converted")

    monkeypatch.setattr("qtx._model.convert", fail)
    x, i = make_inputs(3)
    np.testing.assert_array_equal(model(x, i)[0], 2 * x)


X, I = make_inputs(3)
BAD_CALLS = [
    ([X], {}, "expected 2 inputs, found 1"),
    ([X, I, I], {}, "expected 2 inputs, found 3"),
    ([X, I], {"x": X}, "input 'x': expected once, found twice"),
    ([X], {"z": I}, "unknown input 'z': expected x, i"),
    ([], {"x": X}, "missing inputs: i"),
    ([X, I, I], {"x": X}, "expected 2 inputs, found 4"),
    ([X.astype(np.float64), I], {}, "'x': expected an array of float32, found float64"),
    ([X, I.astype(np.float32)], {}, "'i': expected an array of int64, found float32"),
    ([X, np.uint64([0, 1, 2**63])], {}, "'i': values out of the range of i64"),
    ([X[:, :3], I], {}, "input 'x': expected ?x4xf32, found 3x3xf32|"
                        "input 'x': expected size 4, found 3"),
    ([X[0], I], {}, "input 'x': expected ?x4xf32, found 4xf32"),
    ([X, I[:2]], {}, "input 'i': expected 'rows' = 3 as in an input before, found 2"),
    ([X[:0], I[:0]], {}, "input 'x': expected 'rows' from 1 to 1048576, found 0"),
]


@pytest.mark.parametrize("arrays, named, message", BAD_CALLS)
def test_bad_call(model, arrays, named, message):
    expected = "|".join(re.escape("error: " + text) for text in message.split("|"))
    with pytest.raises(qtx.RunError, match=f"^({expected})$"):
        model(*arrays, **named)


READ_ONLY = np.zeros((3, 4), np.float32)
READ_ONLY.flags.writeable = False
BAD_OUTPUTS = [
    ([np.zeros((3, 4)), None],
     "output 'double': expected float32 of shape (3, 4), found float64 of shape (3, 4)"),
    ([np.zeros((2, 4), np.float32), None],
     "output 'double': expected float32 of shape (3, 4), found float32 of shape (2, 4)"),
    ([np.zeros((4, 3), np.float32).T, None],
     "output 'double': expected a writeable, aligned and C-contiguous array"),
    ([READ_ONLY, None],
     "output 'double': expected a writeable, aligned and C-contiguous array"),
    ([X, None],
     "output 'double': expected memory of its own, found some of another array of the call"),
    ([[0.0] * 4, None], "output 'double': expected a NumPy array, found list"),
    (np.zeros((3, 4), np.float32), "expected 2 outputs, found 1"),
    ({"triple": X}, "unknown outputs: triple"),
]


@pytest.mark.parametrize("out, message", BAD_OUTPUTS)
def test_bad_output(model, out, message):
    with pytest.raises(qtx.RunError, match=f"^error: {re.escape(message)}$"):
        model(X, I, out=out)


def test_outputs_of_another_kind(model):
    message = "expected an array, a sequence or a mapping of outputs, found int"
    with pytest.raises(TypeError, match=f"^{message}$"):
        model(X, I, out=5)
    with pytest.raises(qtx.RunError, match="^error: unknown outputs: 0$"):
        model(X, I, out={0: X})


def test_index_out_of_range():
    model = qtx.compile("""
func.func @main(%ids: tensor<1x3xi64> {qtx.name = "ids"}) -> (tensor<1x3x2xf32> {qtx.name = "y"}) {
  %table = arith.constant dense<1.0> : tensor<4x2xf32>
  %0 = qtx.embedding %table, %ids : (tensor<4x2xf32>, tensor<1x3xi64>) -> tensor<1x3x2xf32>
  return %0 : tensor<1x3x2xf32>
}""", recipe="none")
    with pytest.raises(qtx.RunError, match=r"^error: model_run: index out of range \(status 4\)$"):
        model(np.int64([[0, 1, 4]]))
    # The next call does not know of it.
    np.testing.assert_array_equal(model(np.int64([[0, 1, 3]]))[0], np.ones((1, 3, 2)))


@pytest.mark.parametrize("suffix", ["o", "so"])
def test_save_and_load(tmp_path, model, suffix):
    path = tmp_path / f"saved.{suffix}"
    model.save(path)
    assert "int32_t twice_run(" in path.with_suffix(".h").read_text()
    loaded = qtx.load(path)
    assert loaded.signature == model.signature
    assert loaded.report is None
    x, i = make_inputs(5)
    np.testing.assert_array_equal(loaded(x, i)[0], 2 * x)
    # A copy of what was loaded, without the header, which it does not know.
    again = tmp_path / f"again.{suffix}"
    loaded.save(again)
    assert again.read_bytes() == path.read_bytes()
    assert not again.with_suffix(".h").exists()


def test_saved_files(tmp_path, model):
    with pytest.raises(qtx.CompileError, match="expected a file that ends in .o or .so"):
        model.save(tmp_path / "model.txt")
    model.save(tmp_path / "model.so")
    with pytest.raises(qtx.CompileError, match="ends in .so, for a model from a library"):
        qtx.load(tmp_path / "model.so").save(tmp_path / "other.o")
    with pytest.raises(qtx.CompileError, match="none/model.o"):
        model.save(tmp_path / "none" / "model.o")
    (tmp_path / "broken.o").write_bytes(b"\x7fELF")
    with pytest.raises(qtx.CompileError, match="expected an ELF object or library"):
        qtx.load(tmp_path / "broken.o")
    with pytest.raises(qtx.CompileError, match="No such file"):
        qtx.load(tmp_path / "missing.o")


def test_threads(model):
    """Calls from many threads at once, each with sizes of its own."""
    start = threading.Barrier(8)

    def work(rows):
        x, i = np.full((rows, 4), rows, np.float32), np.arange(rows)
        start.wait()
        for _ in range(200):
            double, same = model(x, i)
            if (double != 2 * rows).any() or (same != i).any():
                return False
        return True

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(1, 9)))


def test_calls_leave_the_lock_to_others():
    """Python code goes on while a model runs."""
    size = 768
    weights = numpy_helper.from_array(np.ones((size, size), np.float32), "w")
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    shape = [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, ["n", size]) for n in "xy"]
    graph = helper.make_graph([node], "g", shape[:1], shape[1:], [weights])
    model = qtx.compile(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)],
                                          ir_version=9), recipe="none", reference=True)
    x = np.ones((256, size), np.float32)
    times = []

    def call():
        times.append(time.monotonic())
        model(x)
        times.append(time.monotonic())

    thread = threading.Thread(target=call)
    thread.start()
    seen = []
    while thread.is_alive():
        seen.append(time.monotonic())
    thread.join()
    begin, end = times
    assert sum(begin < moment < end for moment in seen) > 10


def test_compile_onnx(tmp_path, linear):
    proto, weights = linear
    path = tmp_path / "linear.onnx"
    onnx.save(proto, path)
    x = RNG.standard_normal((5, 16)).astype(np.float32)
    for source in (proto, path, str(path)):
        (y,) = qtx.compile(source, recipe="none")(x)
        np.testing.assert_allclose(y, x @ weights, rtol=0, atol=1e-5)


def test_calibrate(tmp_path, linear):
    proto, weights = linear
    x = RNG.standard_normal((64, 16)).astype(np.float32)
    np.savez(tmp_path / "data.npz", x=x)
    report = tmp_path / "report.html"
    models = [
        qtx.compile(proto, calibrate={"x": x}, recipe="w8a8"),
        qtx.compile(proto, calibrate=[{"x": x[:32]}, {"x": x[32:]}], recipe="w8a8"),
        qtx.compile(proto, calibrate=tmp_path / "data.npz", recipe="w8a8", observer="min_max",
                    report=report),
        qtx.compile(proto, calibrate={"x": x}, recipe="w8a8", reference=True),
    ]
    outputs = [model(x)[0] for model in models]
    assert all((y == outputs[0]).all() for y in outputs)
    # Two roundings to 8 bits of values around one, 16 of them summed.
    np.testing.assert_allclose(outputs[0], x @ weights, rtol=0, atol=0.3)
    assert (outputs[0] != qtx.compile(proto, recipe="none")(x)[0]).any()
    assert [layer.quantized for layer in models[0].report.layers] == [True]
    assert models[0].report.recipe == "w8a8"
    assert "<html" in report.read_text()


def test_verify(linear):
    x = RNG.standard_normal((8, 16)).astype(np.float32)
    model = qtx.compile(linear[0], calibrate={"x": x}, recipe="w8a8", verify=True)
    assert model(x)[0].shape == (8, 8)


def test_warnings(linear):
    x = RNG.standard_normal((8, 16)).astype(np.float32)
    with pytest.warns(UserWarning, match="the model has no input 'y'"):
        qtx.compile(linear[0], calibrate={"x": x, "y": x}, recipe="w8a8")


def test_options(tmp_path, linear):
    model = qtx.compile(linear[0], recipe="none", name="lin", cpu="x86-64-v3",
                        features="-fma", opt_level=0, dump_stages=tmp_path / "stages")
    assert model.signature.name == "lin"
    assert model.signature.cpu == "x86-64-v3"
    assert model.signature.features == "-fma"
    assert (tmp_path / "stages" / "01-import.mlir").exists()


BAD_OPTIONS = [
    ({"recipe": "int9"}, "error: recipe: expected a recipe (int8, "),
    ({"recipe": "none", "opt_level": 4}, "O: expected a level from 0 to 3, found '4'"),
    ({"recipe": "none", "cpu": "none-such"}, "-mcpu: expected a CPU of x86_64, found 'none-such'"),
    ({"recipe": "w8a8"}, "recipe 'w8a8' needs observed ranges"),
    ({"observer": "min_max"}, "--observer: expected samples to observe"),
    ({"observer": "best", "calibrate": {"x": X}}, "observer: "),
    ({"calibrate": {"y": X}}, "no array for the input 'x' (?x16xf32)"),
    ({"calibrate": "missing.npz"}, "missing.npz: "),
    ({"recipe": "none", "report": "report.txt"}, "report: expected"),
    ({"recipe": "none", "verify": True, "reference": True}, "--verify: expected fast code"),
]


@pytest.mark.parametrize("options, message", BAD_OPTIONS)
def test_bad_option(linear, options, message):
    with pytest.raises(qtx.CompileError, match=re.escape(message)):
        qtx.compile(linear[0], **options)


BAD_SAMPLES = [
    (3, TypeError, "expected an archive, arrays by name or a list of feeds, found int"),
    (X, TypeError, "feed 0: expected arrays by name, found ndarray"),
    ([{"x": X}, None], TypeError, "feed 1: expected arrays by name, found NoneType"),
    ({0: X}, TypeError, "expected the name of an input, found 0"),
    ([{"x": X}, {"y": X}], ValueError, "feed 1: expected the array 'x' as in feed 0"),
]


@pytest.mark.parametrize("samples, error, message", BAD_SAMPLES)
def test_bad_samples(linear, samples, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        qtx.compile(linear[0], recipe="w8a8", calibrate=samples)


def test_bad_models(tmp_path):
    with pytest.raises(TypeError, match="expected a path, IR as text or an onnx.ModelProto, "
                                        "found int"):
        qtx.compile(3)
    with pytest.raises(qtx.CompileError, match="expected a model that ends in .onnx or .mlir"):
        qtx.compile("model.pb")
    with pytest.raises(qtx.CompileError, match="missing.onnx: .*No such file"):
        qtx.compile(tmp_path / "missing.onnx")
    (tmp_path / "broken.mlir").write_text("func.func @main(")
    with pytest.raises(qtx.CompileError, match=r"broken.mlir:1:16: expected"):
        qtx.compile(tmp_path / "broken.mlir")
    with pytest.raises(qtx.CompileError, match="-:2:1: custom op 'b' is unknown"):
        qtx.compile("\nb")
