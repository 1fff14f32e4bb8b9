# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Weights in a file of their own: written by qtxc, found by the tools, mapped in C."""

import json
import subprocess

import numpy as np
import objects
import onnx
import pytest
from onnx import helper, numpy_helper

import qtx

pytestmark = pytest.mark.skipif(not objects.QTXC.exists() or not objects.CLANG.exists(),
                                reason="qtxc or clang is not there")

RNG = np.random.default_rng(9)
WEIGHTS = RNG.standard_normal((2, 64, 64)).astype(np.float32)
X = RNG.standard_normal((5, 64)).astype(np.float32)

# Maps the file, and calls the model with and without it.
PROGRAM = r"""
#include "model.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

int main(void) {
  static float x[5 * 64], y[5 * 64];
  int64_t dims[1] = {5}, bytes;
  FILE *in = fopen("x.f32", "rb"), *out = fopen("y.f32", "wb");
  int file = open("model.weights", O_RDONLY);
  struct stat status;
  if (fread(x, sizeof(x), 1, in) != 1 || fstat(file, &status) != 0 ||
      model_workspace_size(dims, &bytes) != model_ok)
    return 1;
  const void *weights = mmap(NULL, status.st_size, PROT_READ, MAP_PRIVATE, file, 0);
  void *workspace = malloc(bytes);
  if (model_run(x, y, NULL, dims, workspace, bytes) != model_null_pointer ||
      model_run(x, y, weights, dims, workspace, bytes) != model_ok)
    return 2;
  fwrite(y, sizeof(y), 1, out);
  return fclose(out);
}
"""


@pytest.fixture(scope="module", name="folder")
def fixture_folder(tmp_path_factory):
    """The model, compiled with and without a file of weights."""
    folder = tmp_path_factory.mktemp("weights")
    nodes = [helper.make_node("MatMul", ["x", "v"], ["h"]), helper.make_node("Relu", ["h"], ["r"]),
             helper.make_node("MatMul", ["r", "w"], ["y"])]
    values = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", 64])
              for name in "xy"]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], [
        numpy_helper.from_array(WEIGHTS[0], "v"), numpy_helper.from_array(WEIGHTS[1], "w")])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9),
              folder / "model.onnx")
    np.savez(folder / "x.npz", x=X)
    (folder / "x.f32").write_bytes(X.tobytes())
    for name, options in ("model", ["--weights=model.weights"]), ("whole", []):
        compile_model(folder, f"{name}.o", *options)
    return folder


def compile_model(folder, output, *options):
    return objects.run(objects.QTXC, "model.onnx", "-o", output, "--recipe=none", "--quiet",
                       *options, cwd=folder)


def run_model(folder, name):
    return subprocess.run(
        [objects.QTXC.with_name("qtx-run"), name, "--inputs=x.npz", "--outputs=y.npz"],
        cwd=folder, capture_output=True, text=True)


@pytest.fixture(scope="module", name="expected")
def fixture_expected(folder):
    return qtx.load(folder / "whole.o")(X)[0]


def test_files(folder):
    """The object holds no weights, and says where they are."""
    assert WEIGHTS.nbytes <= (folder / "model.weights").stat().st_size < 2 * WEIGHTS.nbytes
    assert (folder / "model.o").stat().st_size < WEIGHTS.nbytes
    header = (folder / "model.h").read_text()
    assert "const void *weights, const int64_t *dims" in header
    assert " * weights is the content of 'model.weights', " in header
    assert "weights" not in (folder / "whole.h").read_text()


@pytest.mark.parametrize("recipe", [[], ["--reference"], ["--recipe=w8a8", "--calibrate=x.npz"],
                                    ["-mcpu=x86-64-v3"], ["-mcpu=multi"], ["--threads=2"], ["--verify"]])
@pytest.mark.parametrize("suffix", ["o", "so"])
def test_tools_find_the_file(folder, recipe, suffix):
    compile_model(folder, f"found.{suffix}", "--weights=found.weights", *recipe)
    compile_model(folder, f"inside.{suffix}", *recipe)
    done = run_model(folder, f"found.{suffix}")
    assert done.returncode == 0, done.stderr
    with np.load(folder / "y.npz") as outputs:
        np.testing.assert_array_equal(outputs["y"], qtx.load(folder / f"inside.{suffix}")(X)[0])


def test_c_program(folder, expected):
    (folder / "program.c").write_text(PROGRAM)
    objects.run(objects.CLANG, "-std=c11", "-D_GNU_SOURCE", *objects.WARNINGS, "program.c",
                "model.o", "-o", "program", cwd=folder)
    objects.run("./program", cwd=folder)
    found = np.fromfile(folder / "y.f32", np.float32).reshape(X.shape)
    np.testing.assert_array_equal(found, expected)


def test_python(tmp_path, folder, expected):
    model = qtx.compile(folder / "model.onnx", recipe="none", name="model", weights="w.bin")
    np.testing.assert_array_equal(model(X)[0], expected)
    model.save(tmp_path / "model.o")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.h", "model.o", "w.bin"]
    loaded = qtx.load(tmp_path / "model.o")
    np.testing.assert_array_equal(loaded(X)[0], expected)
    (tmp_path / "copy").mkdir()
    loaded.save(tmp_path / "copy" / "model.o")
    np.testing.assert_array_equal(qtx.load(tmp_path / "copy" / "model.o")(X)[0], expected)


def test_wrong_files(tmp_path, folder):
    (tmp_path / "model.o").write_bytes((folder / "model.o").read_bytes())
    (tmp_path / "x.npz").write_bytes((folder / "x.npz").read_bytes())
    weights = bytearray((folder / "model.weights").read_bytes())

    def check(message):
        done = run_model(tmp_path, "model.o")
        assert done.returncode == 1 and done.stderr.count("error") == 1
        assert message in done.stderr, done.stderr
        with pytest.raises(qtx.CompileError, match=message):
            qtx.load(tmp_path / "model.o")

    check("model.weights: No such file or directory")
    (tmp_path / "model.weights").write_bytes(weights[:-1])
    check(f"model.weights: expected {len(weights)} bytes of weights, found {len(weights) - 1}")
    weights[100] ^= 1
    (tmp_path / "model.weights").write_bytes(weights)
    check("model.weights: expected weights with the hash ")


def test_bad_options(folder):
    for output, message in [("none.mlir", "--weights: expected to compile as far as to code"),
                            ("none/none.o", "none.o")]:
        done = subprocess.run(
            [objects.QTXC, "model.onnx", "-o", output, "--recipe=none", "--quiet",
             "--weights=none.weights"], cwd=folder, capture_output=True, text=True)
        assert done.returncode == 1 and message in done.stderr
        assert not (folder / "none.weights").exists()
    done = subprocess.run(
        [objects.QTXC, "model.onnx", "-o", "none.o", "--recipe=none", "--quiet",
         "--weights=none/none.weights"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 1 and "none.weights" in done.stderr
    assert not (folder / "none.o").exists()


def test_signature(folder):
    """The hash stands in the object, for programs that check it themselves."""
    text = (folder / "model.o").read_bytes()
    start = text.index(b'"weights":') + len(b'"weights":')
    weights = json.loads(text[start : text.index(b"}", start) + 1])
    assert weights["file"] == "model.weights"
    assert weights["bytes"] == (folder / "model.weights").stat().st_size
    assert len(weights["hash"]) == 32
