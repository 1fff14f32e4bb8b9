# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Recipes on a small encoder: the quantized model against the float one."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import onnx_graphs
import pytest
import qtx

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
    ("int8", 0.05), ("int8-all", 0.08), ("w8a8", 0.06), ("w8a8-dynamic", 0.04),
    ("peg:2", 0.1), ("peg-opt:2", 0.05), ("peg-dynamic:2", 0.04), ("w4a8", 0.3)])
def test_recipe(model, recipe, bound):
    output = model / (recipe.replace(":", "-") + ".mlir")
    subprocess.run([QTXC, model / "model.mlir", "-o", output, f"--recipe={recipe}",
                    f"--calibrate={model / 'data.npz'}", "--stop-after=fold", "--quiet"],
                   check=True)
    text = output.read_text()
    assert "qtx.dequantize" not in text or recipe in ("int8-all", "peg:2")
    inputs = make_inputs(2)
    (found,) = qtx.compile_ir(text, opt_level=0).run("main", *inputs.values())
    exact = ENCODER.run(*inputs.values())
    valid = inputs["attention_mask"] != 0
    error = np.linalg.norm(found[valid] - exact[valid]) / np.linalg.norm(exact[valid])
    assert 1e-4 < error < bound


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


def check_no_permute_runs(path, data, recipe):
    """Channels move at most once, where the last normalisation stores its rows."""
    rows = lower(path, data, recipe, "tile")
    assert "qtx.permute" not in rows
    stored = [body for body in rows.split("qtx.rows ") if "column_ids" in body.split("\n")[0]]
    assert len(stored) == lower(path, data, recipe, "fold").count("qtx.permute") <= 1
    assert all("qtx.row_reduce square_sum" in body for body in stored)
    loops = lower(path, data, recipe, "vector")
    assert ("vector.scatter" in loops) == bool(stored)
    return len(stored)


@pytest.mark.parametrize("recipe", ["int8", "int8-all", "peg:2", "peg-opt:3", "peg-dynamic:2"])
def test_permute_in_encoder(model, recipe):
    stored = check_no_permute_runs(model / "model.mlir", model / "data.npz", recipe)
    assert stored == (recipe in ("peg:2", "peg-dynamic:2"))


# Positions as a slice of a table and as an embedding, and each form of normalisation.
@pytest.mark.parametrize("style", [
    onnx_graphs.Style(), onnx_graphs.Style(norm="formula", linear="bias_first", opset=13),
    onnx_graphs.Style(dynamic=False)])
def test_permute_in_onnx(style, tmp_path):
    path = onnx_graphs.save(onnx_graphs.build(style), tmp_path)
    np.savez(tmp_path / "data.npz", **onnx_graphs.make_feeds())
    for recipe in ("int8", "peg:3", "peg-dynamic:3"):
        check_no_permute_runs(path, tmp_path / "data.npz", recipe)
