# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Calibration of whole encoders on texts of many lengths."""

import re

import numpy as np
import objects
import onnx
import pytest
import qtx
from encoder import Encoder
from onnx import helper, numpy_helper

ENCODER = Encoder(layers=1, hidden=32, heads=2, intermediate=48)


def make_texts(count, seed=0):
    """Ids and a mask with padding behind texts of 1 to 40 ids."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 41, count)
    mask = np.int64(np.arange(40) < lengths[:, None])
    # Padding must not count, whatever its ids are.
    ids = rng.integers(0, ENCODER.vocabulary, (count, 40))
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}


def calibrate(data, **options):
    return qtx.calibrate(ENCODER.ir(), data, **{"threads": 1, **options})


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    path = tmp_path_factory.mktemp("calibrate") / "texts.npz"
    np.savez(path, **make_texts(60))
    return path


def read_last_range(ir):
    """The range of the last operation: smallest and largest values."""
    last = [line for line in ir.splitlines() if "qtx.layer_norm" in line][-1]
    found = re.search(r'qtx.observed = \[dense<(?:"0x([0-9A-F]+)"|(.*?))> : tensor<2x32xf32>', last)
    if found[1]:
        return np.frombuffer(bytes.fromhex(found[1]), np.float32).reshape(2, 32)
    numbers = re.findall(r"[-+.\de]+", found[2])
    return np.float32(numbers).reshape(2, 32)


def get_values():
    """The last hidden state at all positions that count."""
    texts = make_texts(60)
    y = ENCODER.run(texts["input_ids"], texts["attention_mask"], texts["token_type_ids"])
    return y[texts["attention_mask"] != 0]


# The fast path sums in another order; values are around 1.
TOLERANCE = 1e-5


def test_min_max(archive):
    lo, hi = read_last_range(calibrate(archive))
    values = get_values()
    np.testing.assert_allclose(lo, values.min(0), atol=TOLERANCE)
    np.testing.assert_allclose(hi, values.max(0), atol=TOLERANCE)


@pytest.mark.parametrize("percentile", [99.9, 98, 75])
def test_percentile(archive, percentile):
    lo, hi = read_last_range(calibrate(archive, observer=f"percentile:{percentile}"))
    values = get_values()
    # 75 % of some thousand positions is counted in bins.
    width = 2 / 1024 if percentile == 75 else 0
    tolerance = TOLERANCE + width * (values.max() - values.min())
    np.testing.assert_allclose(lo, np.percentile(values, 100 - percentile, axis=0), atol=tolerance)
    np.testing.assert_allclose(hi, np.percentile(values, percentile, axis=0), atol=tolerance)


def test_mse_is_within_min_max(archive):
    lo, hi = read_last_range(calibrate(archive))
    narrow_lo, narrow_hi = read_last_range(calibrate(archive, observer="mse:3"))
    assert (narrow_lo >= lo).all() and (narrow_hi <= hi).all()
    assert (narrow_hi - narrow_lo).sum() < 0.95 * (hi - lo).sum()


@pytest.mark.parametrize("observer", ["min_max", "running", "percentile", "mse", "extrapolated"])
def test_same_for_any_number_of_threads(archive, observer):
    first = calibrate(archive, observer=observer)
    assert first.count("qtx.observed") > 10
    for threads in 2, 5:
        assert calibrate(archive, observer=observer, threads=threads) == first


@pytest.mark.parametrize("observer", ["min_max", "extrapolated"])
def test_silent_channels_in_front_of_activations(observer):
    """A channel that the samples do not activate is expected to reach as far as the others."""
    x = np.float32(np.random.default_rng(2).uniform(-1, 1, (100, 5)))
    x[:, 0] = -abs(x[:, 0]) - 1
    x[:, 4] *= 9
    tensor = "tensor<?x5xf32>"
    ir = qtx.calibrate(f"""
      func.func @main(%x: {tensor} {{qtx.name = "x"}}) -> {tensor} {{
        %w = arith.constant dense<{np.eye(5).tolist()}> : tensor<5x5xf32>
        %0 = qtx.linear %x, %w : ({tensor}, tensor<5x5xf32>) -> {tensor}
        %1 = qtx.gelu %0 : ({tensor}) -> {tensor}
        return %1 : {tensor}
      }}""", {"x": x}, observer=observer)
    found = re.findall(r"(qtx\.\w+) %.*qtx\.observed = \[dense<(.*?)> :", ir)
    ranges = {op: np.float32(re.findall(r"[-+.\de]+", numbers)).reshape(2, 5)
              for op, numbers in found}
    lo, hi = ranges["qtx.linear"]
    if observer == "min_max":
        assert hi[0] < -1
        return
    assert 1 < hi[0] == np.sort(hi)[2] < 1.5 and lo[0] < -1.9 and hi[4] > 8.5
    # What passes the activation has the same room.
    assert ranges["qtx.gelu"][1, 0] > 0.84


def test_single_feeds_give_the_same_ranges(archive):
    """Each text as a feed of its own length."""
    texts = make_texts(60)
    feeds = [
        {name: array[i : i + 1, :length] for name, array in texts.items()}
        for i, length in enumerate(texts["attention_mask"].sum(1))
    ]
    single = read_last_range(calibrate(feeds))
    np.testing.assert_allclose(single, read_last_range(calibrate(archive)), atol=TOLERANCE)


def test_arrays_are_an_archive(archive):
    assert calibrate(make_texts(60), threads=None) == calibrate(archive)


def test_model_as_callers_have_it(archive, tmp_path):
    """Files and ONNX's messages, as `qtx.compile` takes them."""
    path = tmp_path / "model.mlir"
    path.write_text(ENCODER.ir())
    expected = calibrate(archive)
    assert qtx.calibrate(path, archive) == qtx.calibrate(str(path), archive) == expected
    # What comes out goes in again.
    assert qtx.calibrate(expected, archive) == expected
    report = qtx.compile(expected, recipe="w8a8").report
    assert sum(edge.quantized for edge in report.edges) > 5
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], "graph",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", 2])],
        [numpy_helper.from_array(np.eye(2, dtype=np.float32), "w")])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(proto, tmp_path / "model.onnx")
    data = {"x": np.float32([[1, -2], [3, 4]])}
    ranges = "dense<[[1.000000e+00, -2.000000e+00], [3.000000e+00, 4.000000e+00]]>"
    for model in proto, tmp_path / "model.onnx":
        text = qtx.calibrate(model, data)
        assert text.count(f"qtx.observed = {ranges}") == 1  # of the argument
        assert text.count(f"qtx.observed = [{ranges}") == 1
    with pytest.raises(TypeError, match="expected a path, IR as text or an onnx.ModelProto"):
        qtx.calibrate(3, data)


@pytest.mark.parametrize("recipe", ["int8", "w4a8", "peg-opt:2"])
def test_quantized_for_any_number_of_threads(archive, tmp_path, recipe):
    """Second moments, rounding and biases as well: the same bits."""
    (tmp_path / "model.mlir").write_text(ENCODER.ir())
    texts = []
    for threads in 1, 2, 5:
        path = tmp_path / f"{threads}.mlir"
        objects.run(objects.QTXC, tmp_path / "model.mlir", "-o", path, f"--recipe={recipe}",
                    f"--calibrate={archive}", f"--calibration-threads={threads}",
                    "--stop-after=quantize", "--quiet")
        texts.append(path.read_text())
    assert "!q" in texts[0] and texts[1] == texts[0] and texts[2] == texts[0]


def compile_observed(archive, folder, observer):
    """Through qtxc to code; returns the scales of the quantized edges."""
    (folder / "model.mlir").write_text(ENCODER.ir())
    objects.run(objects.QTXC, folder / "model.mlir", "-o", folder / "model.o", "--recipe=w8a8",
                f"--calibrate={archive}", f"--observer={observer}", f"--dump-stages={folder}", "--quiet")
    return read_scales(next(folder.glob("*quantize.mlir")))


@pytest.fixture(scope="module")
def plain_scales(archive, tmp_path_factory):
    return compile_observed(archive, tmp_path_factory.mktemp("plain"), "min_max")


@pytest.mark.parametrize("observer", ["running", "percentile:90", "mse:4", "extrapolated"])
def test_observers_of_qtxc(archive, plain_scales, tmp_path, observer):
    """The ranges are those of the observer, and the code computes."""
    scales = compile_observed(archive, tmp_path, observer)
    assert len(plain_scales) > 5
    # The first is of the embeddings, on which every observer but min_max cuts or widens.
    sign = 1 if observer == "extrapolated" else -1
    assert (sign * (scales - plain_scales) > 0).all()
    texts = make_texts(10, seed=1)
    (y,) = qtx.load(tmp_path / "model.o")(**texts)
    valid = texts["attention_mask"] != 0
    exact = ENCODER.run(texts["input_ids"], texts["attention_mask"], texts["token_type_ids"])
    error = np.linalg.norm(y[valid] - exact[valid]) / np.linalg.norm(exact[valid])
    # A tenth of the values cut off at either end costs much, and is still the same model.
    assert 1e-4 < error < 0.5


def read_scales(path):
    """Of the quantized edges, in the order of the IR."""
    found = re.findall(r"qtx.quantize .*-> tensor<[^!]*!quant.uniform<i8:f32, ([-+.e\d]+)",
                       path.read_text())
    return np.array(found, float)


def test_errors_name_the_cause():
    texts = make_texts(3)
    del texts["token_type_ids"]
    with pytest.raises(qtx.CompileError, match="no array for the input 'token_type_ids'"):
        calibrate(texts)
    with pytest.raises(qtx.CompileError, match="nonexistent/data.npz: .*o such file"):
        calibrate("/nonexistent/data.npz")
