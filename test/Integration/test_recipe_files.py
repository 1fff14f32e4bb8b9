# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Entries of recipe files for edges: what they do to the IR, and to numbers."""

import json
import re

import numpy as np
import objects
import pytest
import qtx

RNG = np.random.default_rng(3)
CHANNELS = 64
WEIGHTS = (RNG.standard_normal((2, CHANNELS, CHANNELS)) / 8).astype(np.float32)
# The last quarter of the channels spans ten times as much.
SPANS = np.where(np.arange(CHANNELS) < 48, 1, 10).astype(np.float32)
X = (RNG.uniform(-0.5, 1, (200, CHANNELS)) * SPANS).astype(np.float32)
LO, HI = X.min(), X.max()


def make_ir():
    up, down = (f'dense<"0x{w.tobytes().hex()}"> : tensor<{CHANNELS}x{CHANNELS}xf32>' for w in WEIGHTS)
    t, w = f"tensor<?x{CHANNELS}xf32>", f"tensor<{CHANNELS}x{CHANNELS}xf32>"
    return f"""
func.func @main(%x: {t} {{qtx.name = "x"}}) -> ({t} {{qtx.name = "y"}}) {{
  %u = arith.constant {up}
  %d = arith.constant {down}
  %0 = qtx.linear %x, %u : ({t}, {w}) -> {t} loc("up")
  %1 = qtx.relu %0 : ({t}) -> {t} loc("activation")
  %2 = qtx.linear %1, %d : ({t}, {w}) -> {t} loc("down")
  return %2 : {t}
}}
"""


@pytest.fixture(scope="module", name="folder")
def fixture_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recipes")
    (folder / "model.mlir").write_text(make_ir())
    np.savez(folder / "data.npz", x=X)
    return folder


def compile_with(folder, tmp_path, stage, *edges):
    """The IR at the exit of a stage, by a recipe that changes these edges."""
    recipe = tmp_path / "recipe.json"
    recipe.write_text(json.dumps({"base": "w8a8", "edges": list(edges)}))
    output = tmp_path / f"{stage}.mlir"
    objects.run(objects.QTXC, folder / "model.mlir", "-o", output, f"--recipe={recipe}",
                f"--calibrate={folder / 'data.npz'}", f"--stop-after={stage}", "--quiet")
    return output.read_text()


def find_type(text):
    """The element type that the first quantizer gives x."""
    return re.search(r"qtx\.quantize .* -> tensor<\?x64x(.*)>\s", text + "\n")[1]


def find_parameters(text):
    """Scale and zero point of x."""
    found = re.fullmatch(r"!quant\.uniform<i8:f32, ([-+.e\d]+)(?::(-?\d+))?>", find_type(text))
    return float(found[1]), int(found[2] or 0)


def measure_error(text):
    """Of the fast code for the IR after `fold`, against NumPy."""
    (found,) = qtx.compile_ir(text, fast=True).run("main", X)
    exact = np.maximum(X.astype(np.float64) @ WEIGHTS[0].T, 0) @ WEIGHTS[1].T
    return np.linalg.norm(found - exact) / np.linalg.norm(exact)


@pytest.fixture(scope="module", name="plain")
def fixture_plain(folder, tmp_path_factory):
    """The IR after `quantize`, and the error, without an entry."""
    tmp_path = tmp_path_factory.mktemp("plain")
    return (compile_with(folder, tmp_path, "quantize"),
            measure_error(compile_with(folder, tmp_path, "fold")))


def test_plain(plain):
    text, error = plain
    scale, zero_point = find_parameters(text)
    assert scale == pytest.approx((HI - LO) / 255, rel=1e-6)
    assert zero_point == round(-LO / scale) - 128
    # Codes of 8 bits whose step is 1/85 of the deviation of the wide channels.
    assert 1e-3 < error < 0.05


@pytest.mark.parametrize("margin", [0.5, 2])
def test_margin(folder, tmp_path, plain, margin):
    entry = {"match": "x", "margin": margin}
    scale, _ = find_parameters(compile_with(folder, tmp_path, "quantize", entry))
    # Each channel is widened about its own middle.
    lo, hi = X.min(0), X.max(0)
    middle, half = (lo + hi) / 2, (hi - lo) / 2 * margin
    assert scale == pytest.approx(((middle + half).max() - (middle - half).min()) / 255, rel=1e-5)
    error = measure_error(compile_with(folder, tmp_path, "fold", entry))
    assert 1.2 * plain[1] < error < 0.6


def test_quantize_false(folder, tmp_path, plain):
    entry = {"match": "x", "quantize": False}
    text = compile_with(folder, tmp_path, "quantize", entry)
    assert plain[0].count("qtx.quantize") == 2 and text.count("qtx.quantize") == 1
    assert re.search(r"qtx\.linear %arg0, .*\(tensor<\?x64xf32>, tensor<64x64xf32>\)", text)
    assert measure_error(compile_with(folder, tmp_path, "fold", entry)) < plain[1]


def test_symmetric(folder, tmp_path, plain):
    entry = {"match": "x", "symmetric": True}
    scale, zero_point = find_parameters(compile_with(folder, tmp_path, "quantize", entry))
    assert zero_point == 0 and scale == pytest.approx(HI / 127, rel=1e-6)
    # The step is a third larger: half of the negative codes are not used.
    assert plain[1] < measure_error(compile_with(folder, tmp_path, "fold", entry)) < 2 * plain[1]


def test_scale(folder, tmp_path, plain):
    entry = {"match": "x", "scale": True}
    text = compile_with(folder, tmp_path, "quantize", entry)
    assert "qtx.scale_shift" not in plain[0]
    scaled = re.search(r"(%\w+) = qtx\.scale_shift %arg0", text)[1]
    assert re.search(rf"qtx\.quantize {scaled} ", text)
    assert measure_error(compile_with(folder, tmp_path, "fold", entry)) < plain[1]


def test_groups(folder, tmp_path, plain):
    entry = {"match": "x", "groups": 2}
    text = compile_with(folder, tmp_path, "quantize", entry)
    found = re.fullmatch(r"!qtx\.grouped<i8:f32, axis=-1, \[48, 16\], "
                         r"\{([-+.e\d]+)(?::-?\d+)?, ([-+.e\d]+)(?::-?\d+)?\}>", find_type(text))
    for scale, channels in zip(found.groups(), (slice(48), slice(48, None))):
        width = X[:, channels].max() - X[:, channels].min()
        assert float(scale) == pytest.approx(width / 255, rel=1e-5)
    assert measure_error(compile_with(folder, tmp_path, "fold", entry)) < plain[1]


def test_later_entries_win(folder, tmp_path, plain):
    entries = [{"match": "*", "symmetric": True, "margin": 2}, {"match": "x", "margin": 1}]
    scale, zero_point = find_parameters(compile_with(folder, tmp_path, "quantize", *entries))
    assert zero_point == 0 and scale == pytest.approx(HI / 127, rel=1e-6)
