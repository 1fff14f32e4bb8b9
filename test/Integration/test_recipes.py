# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Recipes on a small encoder: the quantized model against the float one."""

import json
import os
import pathlib
import re
import subprocess
import sys

import numpy as np
import objects
import onnx_graphs
import pytest
import qtx
from qtx import peg

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "lib"))
from encoder import Encoder  # noqa: E402

QTXC = pathlib.Path(os.environ["QTX_BUILD_DIR"]) / "bin" / "qtxc"
ENCODER = Encoder(layers=1, hidden=32, heads=2, intermediate=64, vocabulary=50,
                  positions=32)


def make_inputs(seed):
    ids = np.random.default_rng(seed).integers(0, 50, (24, 12))
    mask = np.ones_like(ids)
    mask[::3, 8:] = 0
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recipes")
    (folder / "model.mlir").write_text(ENCODER.ir())
    np.savez(folder / "data.npz", **make_inputs(1))
    return folder


# Some times what was measured: weights of 4 bits dominate their recipe.
@pytest.mark.parametrize("recipe, bound", [
    ("int8", 0.05), ("int8-avx2", 0.05), ("int8-all", 0.08), ("w8a8", 0.06), ("w8a8-dynamic", 0.04),
    ("peg:2", 0.1), ("peg-opt:2", 0.05), ("peg-dynamic:2", 0.04), ("w4a8", 0.3)])
def test_recipe(model, recipe, bound):
    output = model / (recipe.replace(":", "-") + ".mlir")
    subprocess.run([QTXC, model / "model.mlir", "-o", output, f"--recipe={recipe}",
                    f"--calibrate={model / 'data.npz'}", "--stop-after=fold", "--quiet"],
                   check=True)
    text = output.read_text()
    assert "qtx.dequantize" not in text or recipe in ("int8-all", "peg:2")
    assert re.search(r"qtx\.attention .* probs !quant\.uniform", text)
    inputs = make_inputs(2)
    (found,) = qtx.compile_ir(text, opt_level=0).run("main", *inputs.values())
    exact = ENCODER.run(*inputs.values())
    valid = inputs["attention_mask"] != 0
    error = np.linalg.norm(found[valid] - exact[valid]) / np.linalg.norm(exact[valid])
    assert 1e-4 < error < bound


@pytest.mark.parametrize("recipe, row", [("int8", "x86-avx2-int16"), ("int8-avx2", "x86-avx2-int8")])
def test_micro_kernels_of_avx2(model, recipe, row):
    """Weights of one recipe fit short sums in every layer, also where outliers are apart."""
    path = model / f"avx2-{recipe}.json"
    subprocess.run([QTXC, model / "model.mlir", "-o", model / "model.o", f"--recipe={recipe}",
                    f"--calibrate={model / 'data.npz'}", f"--report={path}", "--quiet",
                    "-mtriple=x86_64-linux-gnu", "-mcpu=haswell"], check=True)
    kernels = [layer.kernel for layer in qtx.report.load(path).layers if layer.op == "qtx.linear"]
    assert kernels and set(kernels) == {row}


@pytest.mark.parametrize("recipe", ["int8", "int8-all", "w8a8", "w8a8-dynamic", "peg:2", "none"])
def test_report_explains_all(model, recipe):
    """What is float has a reason, and noise is that of quantization alone."""
    path = model / (recipe.replace(":", "-") + ".json")
    subprocess.run([QTXC, model / "model.mlir", "-o", model / "model.o", f"--recipe={recipe}",
                    f"--calibrate={model / 'data.npz'}", f"--report={path}", "--quiet"],
                   check=True)
    report = qtx.report.load(path)
    assert all(bool(entry.reason) != entry.quantized for entry in report.edges + report.layers)
    assert all(layer.kernel for layer in report.layers)
    # Where channels are scaled inside of the model, the float one has it, too.
    assert all(layer.output_sqnr_db > 15 for layer in report.layers
               if layer.output_sqnr_db is not None)
    assert all(layer.weight_error < 0.05 for layer in report.layers
               if layer.weight_error is not None)


def lower(path, data, recipe, stage):
    output = path.with_suffix(f".{stage}.mlir")
    subprocess.run([QTXC, path, "-o", output, f"--recipe={recipe}", f"--calibrate={data}",
                    f"--stop-after={stage}", "--quiet"], check=True)
    return output.read_text()


def check_no_permute_runs(path, data, recipe, folder, last="tile"):
    """Channels move at most once, where the last normalisation stores its rows."""
    subprocess.run([QTXC, path, "-o", folder / "last.mlir", f"--recipe={recipe}",
                    f"--calibrate={data}", f"--stop-after={last}", f"--dump-stages={folder}",
                    *objects.ONE_VERSION, "--quiet"], check=True)
    folded, rows = (next(folder.glob(f"*{stage}.mlir")).read_text() for stage in ("fold", "tile"))
    assert "qtx.permute" not in rows
    stored = [body for body in rows.split("qtx.rows ") if "column_ids" in body.split("\n")[0]]
    assert len(stored) == folded.count("qtx.permute") <= 1
    assert all("qtx.row_reduce square_sum" in body for body in stored)
    return len(stored)


@pytest.mark.parametrize("recipe", ["int8", "int8-all", "peg:2", "peg-opt:3", "peg-dynamic:2"])
def test_permute_in_encoder(model, recipe, tmp_path):
    stored = check_no_permute_runs(model / "model.mlir", model / "data.npz", recipe, tmp_path,
                                   last="vector")
    assert stored == (recipe in ("peg:2", "peg-dynamic:2"))
    loops = (tmp_path / "last.mlir").read_text()
    assert ("vector.scatter" in loops) == bool(stored)


# Positions as a slice of a table and as an embedding, and each form of normalisation.
@pytest.mark.parametrize("style", [
    onnx_graphs.Style(), onnx_graphs.Style(norm="formula", linear="bias_first", opset=13),
    onnx_graphs.Style(dynamic=False)])
def test_permute_in_onnx(style, tmp_path):
    path = onnx_graphs.save(onnx_graphs.build(style), tmp_path)
    np.savez(tmp_path / "data.npz", **onnx_graphs.make_feeds())
    for recipe in ("int8", "peg:2", "peg-dynamic:2"):
        check_no_permute_runs(path, tmp_path / "data.npz", recipe, tmp_path)


# ---- Grouped and folded ------------------------------------------------------


def round_weights(w):
    """8 bits for each row: codes, and the scale of each."""
    scale = np.abs(w).max(1) / 127
    return np.rint(w / scale[:, None]), scale


def multiply(x, w, form):
    """x w^T by the integers of two equal groups, in double precision."""
    low, high = peg.channel_ranges(x)
    order = peg.permutation(low, high)
    groups = peg.parameters(low[order], high[order], peg.equal_groups(x.shape[1], 2))
    scale, zero_point = np.empty(x.shape[1]), np.empty(x.shape[1])
    scale[order] = np.repeat(groups.scales, x.shape[1] // 2)
    zero_point[order] = np.repeat(groups.zero_points, x.shape[1] // 2)
    codes = np.clip(np.rint(x / scale) + zero_point, -128, 127)
    if form == "grouped":
        weight, factor = round_weights(w)
        return ((codes - zero_point) * scale) @ weight.T * factor
    # The parameters of the first group serve all: the integers are the same.
    weight, factor = round_weights(w * scale / groups.scales[0])
    bias = w @ ((groups.zero_points[0] - zero_point) * scale)
    return (codes - groups.zero_points[0]) @ weight.T * groups.scales[0] * factor + bias


@pytest.mark.parametrize("form", ["grouped", "folded"])
def test_form(form, tmp_path):
    """Each against its own integers; the fast path has the bits of the reference."""
    rng = np.random.default_rng(5)
    x = np.float32(rng.standard_normal((64, 16)))
    x[:, [2, 7, 11]] = x[:, [2, 7, 11]] * 9 + 4
    w = np.float32(rng.standard_normal((8, 16)))
    (tmp_path / "model.mlir").write_text(f"""
      func.func @main(%x: tensor<?x16xf32> {{qtx.name = "x"}}) -> tensor<?x8xf32> {{
        %w = arith.constant dense<{w.tolist()}> : tensor<8x16xf32>
        %y = qtx.linear %x, %w : (tensor<?x16xf32>, tensor<8x16xf32>) -> tensor<?x8xf32>
        return %y : tensor<?x8xf32>
      }}""")
    recipe = tmp_path / "recipe.json"
    recipe.write_text(json.dumps({"base": "w8a8", "edges": [
        {"match": "*", "grouping": "equal", "groups": 2, "form": form}]}))
    np.savez(tmp_path / "data.npz", x=x)
    text = lower(tmp_path / "model.mlir", tmp_path / "data.npz", recipe, "fold")
    assert ("!qtx.grouped<" in text) == (form == "grouped")
    (found,) = qtx.compile_ir(text, opt_level=0).run("main", x)
    # Sums in fp32.
    expected = multiply(x.astype(np.float64), w.astype(np.float64), form)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    library = objects.Library.from_file(
        tmp_path / "model.mlir", tmp_path / "model.so", f"--recipe={recipe}",
        f"--calibrate={tmp_path / 'data.npz'}")
    np.testing.assert_array_equal(library.run_named({"x": x})[0], found)
    other = multiply(x, w, "folded" if form == "grouped" else "grouped")
    assert np.abs(other - expected).max() > 1e-3 * np.abs(expected).max()


@pytest.mark.parametrize("recipe", ["int8", "int8-all", "w8a8-dynamic", "peg:2", "w4a8"])
def test_simulation(recipe):
    """The integer code loses what its simulation in float loses."""
    inputs = make_inputs(2)
    valid = inputs["attention_mask"] != 0
    exact = ENCODER.run(*inputs.values())[valid]
    results = []
    for simulate in (False, True):
        model = qtx.compile(ENCODER.ir(), calibrate=make_inputs(1), recipe=recipe,
                            simulate=simulate)
        (states,) = model(**inputs)
        results.append(states[valid])
    integer, simulated = results

    def error(a, b):
        return np.linalg.norm(a - b) / np.linalg.norm(b)
    # Single codes at ties differ, by one step of some hundred.
    assert error(integer, simulated) < 3e-3
    assert error(integer, exact) < 1.03 * error(simulated, exact)


def write_focused_attention():
    """Attention whose queries all look at the first of five tokens, and its projection."""
    rng = np.random.default_rng(0)
    constants = {
        "wq": np.zeros((8, 8)), "bq": np.full(8, 4.0), "wk": np.eye(8), "bk": np.zeros(8),
        "wv": rng.standard_normal((8, 8)), "bv": np.zeros(8),
        "wo": rng.standard_normal((8, 8)), "bo": np.zeros(8)}
    types = {name: "x".join(map(str, value.shape)) + "xf32" for name, value in constants.items()}
    lines = [f"%{name} = arith.constant dense<{value.tolist()}> : tensor<{types[name]}>"
             for name, value in constants.items()]
    x, heads = "tensor<?x5x8xf32>", "tensor<?x1x5x8xf32>"
    linear = ("%{0} = qtx.linear %{1}, %w{0} bias(%b{0}) : "
              f"({x}, tensor<8x8xf32>, tensor<8xf32>) -> {x}")
    lines += [linear.format(name, "x") for name in "qkv"]
    lines += [f"%{name}h = qtx.split_heads %{name} : {x} -> {heads}" for name in "qkv"]
    lines += [
        f"%a = qtx.attention %qh, %kh, %vh scale 1.0 : ({heads}, {heads}, {heads}) -> {heads}",
        f"%m = qtx.merge_heads %a : {heads} -> {x}", linear.format("o", "m")]
    body = "\n  ".join(lines)
    return (f'func.func @main(%x: {x} {{qtx.name = "x", qtx.dims = ["batch", "", ""]}})\n'
            f'    -> ({x} {{qtx.name = "y"}}) {{\n  {body}\n  return %o : {x}\n}}\n')


def test_bias_takes_up_errors_of_attention(tmp_path):
    """The error of one token's values is in all results: the bias makes up for its mean."""
    x = np.float32(np.random.default_rng(1).standard_normal((64, 5, 8)))
    x[:, 0] = np.linspace(1, 2, 8) + 0.01 * x[:, 0]
    # Attention and its projection alone.
    recipe = tmp_path / "recipe.json"
    recipe.write_text('{"base": "int8", "edges": [{"match": "x", "quantize": false}]}')
    model = qtx.compile(write_focused_attention(), calibrate={"x": x}, recipe=recipe)
    exact = qtx.compile(write_focused_attention(), recipe="none")
    error = (model(x=x)[0] - exact(x=x)[0]).reshape(-1, 8)
    # A quarter without a correction; what is left is that of sums in fp32.
    assert np.linalg.norm(error.mean(0)) < 0.01 * np.sqrt(np.mean(np.sum(error**2, 1)))


def test_rounding_leaves_means_to_biases(tmp_path):
    """Weights need not keep the mean of the outputs where biases do: other errors get smaller."""
    rng = np.random.default_rng(5)
    # The mean is most of the second moments, and no input varies with another.
    x = np.float32(rng.standard_normal((2000, 24)) + 20)
    weights = rng.standard_normal((24, 24)).tolist()
    tensor, w = "tensor<?x24xf32>", "tensor<24x24xf32>"
    text = f"""
      func.func @main(%x: {tensor} {{qtx.name = "x"}}) -> {tensor} {{
        %w = arith.constant dense<{weights}> : {w}
        %0 = qtx.linear %x, %w : ({tensor}, {w}) -> {tensor}
        return %0 : {tensor}
      }}"""
    exact = qtx.compile(text, recipe="none")(x=x)[0]
    deviations = []
    for corrected in True, False:
        recipe = tmp_path / "recipe.json"
        recipe.write_text(json.dumps({"base": "peg-dynamic:1", "bias_correction": corrected,
                                      "layers": [{"match": "*", "bits": 4}]}))
        error = qtx.compile(text, calibrate={"x": x}, recipe=recipe)(x=x)[0] - exact
        deviations.append(np.linalg.norm(error - error.mean(0)))
    assert deviations[0] < 0.9 * deviations[1]


def write_dominated_sum(also_returned):
    """A sum whose channel 0 is 2000 in some rows, and its normalisation."""
    rng = np.random.default_rng(3)
    # Channel 0 of `a` is a large weight alone, as in the outliers of encoders.
    a = rng.standard_normal((8, 8)) / 4
    a[0] = 0
    a[:, 0] = 0
    a[0, 0] = 2000
    b = rng.standard_normal((8, 8)) / 4
    x, w = "tensor<?x8xf32>", "tensor<8x8xf32>"
    linear = f"({x}, {w}) -> {x}"
    results = ["%n", "%s"] if also_returned else ["%n"]
    types = ", ".join([x] * len(results))
    return f"""
      func.func @main(%x: {x} {{qtx.name = "x", qtx.dims = ["batch", ""]}}) -> ({types}) {{
        %wa = arith.constant dense<{a.tolist()}> : {w}
        %wb = arith.constant dense<{b.tolist()}> : {w}
        %a = qtx.linear %x, %wa : {linear}
        %b = qtx.linear %x, %wb : {linear}
        %s = qtx.add %a, %b : ({x}, {x}) -> {x}
        %n = qtx.layer_norm %s epsilon 1.0e-5 : ({x}) -> {x}
        return {", ".join(results)} : {types}
      }}"""


def test_dominant_channel_of_normalised_sum(tmp_path):
    """Rows without the outlier keep their resolution, and those with it their result."""
    x = np.float32(np.random.default_rng(4).uniform(-1, 1, (400, 8)))
    x[:, 0] = np.arange(400) % 8 == 0
    np.savez(tmp_path / "data.npz", x=x)
    steps, errors = [], []
    for also_returned in False, True:
        text = write_dominated_sum(also_returned)
        (tmp_path / "model.mlir").write_text(text)
        quantized = lower(tmp_path / "model.mlir", tmp_path / "data.npz", "int8-all", "quantize")
        # Of channel 0: of the summand that brings the outlier, the other one, and the sum.
        steps.append([float(step) for step in re.findall(
            r"qtx\.quantize .*\[1 \* 8\], \{([^:]+):", quantized)])
        exact = qtx.compile(text, recipe="none", opt_level=0)(x=x)[0]
        found = qtx.compile(text, recipe="int8-all", calibrate={"x": x}, opt_level=0)(x=x)[0]
        errors.append(found - exact)
        # The others change by 0.02 of a standard deviation, and by rounding.
        assert np.sqrt(np.mean(errors[-1][x[:, 0] == 1] ** 2)) < 0.04
    (summand, other, total), wide = steps
    assert wide[0] > 2000 / 256 and wide[2] > 2000 / 256 and wide[1] == other
    # The summand needs what the sum holds, less the other summand.
    assert total < 1 and abs(summand - total) <= other
    ordinary = x[:, 0] == 0
    assert np.linalg.norm(errors[0][ordinary, 0]) < 0.7 * np.linalg.norm(errors[1][ordinary, 0])


def read_last_scales(text):
    """Of the channels in front of the last quantizer that scales them."""
    gain = re.findall(r"qtx\.scale_shift %\S+ gain\((%\w+)\)", text)[-1]
    values = re.search(rf"{gain} = arith\.constant dense<\[(.*?)\]>", text)[1]
    return 1 / np.array([float(value) for value in values.split(", ")])


@pytest.mark.parametrize("recipe, power", [("int8", 0.9), ("w4a8", 0.75)])
def test_scales_of_normalised_rows(recipe, power, tmp_path):
    """They come closer to one range than others, unless weights are coarse."""
    spans = np.repeat([1.0, 2.0, 4.0], [3, 10, 3]).tolist()
    weights = np.random.default_rng(8).standard_normal((16, 16)).tolist()
    tensor = "tensor<?x16xf32>"
    (tmp_path / "model.mlir").write_text(f"""
      func.func @main(%x: {tensor} {{qtx.name = "x"}}) -> {tensor} {{
        %gamma = arith.constant dense<{spans}> : tensor<16xf32>
        %w = arith.constant dense<{weights}> : tensor<16x16xf32>
        %0 = qtx.layer_norm %x gamma(%gamma) epsilon 1.0e-5 : ({tensor}, tensor<16xf32>) -> {tensor}
        %1 = qtx.linear %0, %w : ({tensor}, tensor<16x16xf32>) -> {tensor}
        return %1 : {tensor}
      }}""")
    # All channels reach the same normalised values in turn.
    row = np.float32(np.random.default_rng(9).standard_normal(16))
    np.savez(tmp_path / "data.npz", x=np.stack([np.roll(row, i) for i in range(16)] * 2))
    text = lower(tmp_path / "model.mlir", tmp_path / "data.npz", recipe, "quantize")
    np.testing.assert_allclose(read_last_scales(text), (np.array(spans) / 2) ** power, rtol=0.01)


@pytest.mark.parametrize("recipe, smallest", [("int8", 0.25), ("w4a8", 1)])
def test_scales_of_outliers(recipe, smallest, tmp_path):
    """The widest outlier keeps its scale; others come closer to it for weights of 8 bits."""
    x = np.float32(np.random.default_rng(6).uniform(-1, 1, (200, 32)))
    spans = np.ones(32)
    spans[:4] = 100, 40, 20, 5
    up, down = np.diag(spans), np.random.default_rng(7).standard_normal((32, 32))
    tensor, w = "tensor<?x32xf32>", "tensor<32x32xf32>"
    linear = f"({tensor}, {w}) -> {tensor}"
    (tmp_path / "model.mlir").write_text(f"""
      func.func @main(%x: {tensor} {{qtx.name = "x"}}) -> {tensor} {{
        %up = arith.constant dense<{up.tolist()}> : {w}
        %down = arith.constant dense<{down.tolist()}> : {w}
        %0 = qtx.linear %x, %up : {linear}
        %1 = qtx.relu %0 : ({tensor}) -> {tensor}
        %2 = qtx.linear %1, %down : {linear}
        return %2 : {tensor}
      }}""")
    np.savez(tmp_path / "data.npz", x=x)
    text = lower(tmp_path / "model.mlir", tmp_path / "data.npz", recipe, "quantize")
    scales = read_last_scales(text)[:4]
    expected = np.maximum((spans[:4] / 100) ** 0.75, smallest)
    # Ranges are those of samples, extrapolated.
    np.testing.assert_allclose(scales, expected, rtol=0.05)
    # One scale is a multiple of the other where sums can join in integers: not in blocks.
    grouped = re.search(r"\[28, 4\], \{([\d.e+-]+)\S*, ([\d.e+-]+)", text)
    fine, coarse = np.float32(grouped.groups())
    assert (coarse == np.rint(coarse / fine) * fine) == (recipe == "int8") == ("integer_join" in text)
