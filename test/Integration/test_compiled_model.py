# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""qtx-run and qtx-bench on objects and libraries: here written in C, by the interface
that compiled models have."""

import json
import os
import pathlib
import platform
import shutil
import subprocess

import numpy as np
import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("QTX_BUILD_DIR", REPOSITORY / "build"))
QTX_RUN = BUILD / "bin" / "qtx-run"
QTX_BENCH = BUILD / "bin" / "qtx-bench"
CLANG = pathlib.Path("/usr/lib/llvm-22/bin/clang")

pytestmark = pytest.mark.skipif(
    not (QTX_RUN.exists() and QTX_BENCH.exists() and CLANG.exists()),
    reason="qtx-run or qtx-bench is not built, or there is no clang")

SIGNATURE = {
    "qtx_abi": 1,
    "name": "scale",
    "dims": [{"name": "n", "min": 1, "max": 8}],
    "inputs": [{"name": "x", "element": "f32", "shape": ["n", 2]},
               {"name": "i", "element": "i64", "shape": ["n"]}],
    "outputs": [{"name": "y", "element": "f32", "shape": ["n", 2]},
                {"name": "z", "element": "i64", "shape": [None]}],
    "threads": 1,
    "target": {"triple": "", "cpu": "", "features": ""},
    "weights": None,
}

SOURCE = r"""
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static int check(const int64_t *dims) {
  return !dims ? 1 : dims[0] < 1 || dims[0] > 8 ? 2 : 0;
}
int32_t scale_output_shape(int32_t output, const int64_t *dims, int64_t *shape) {
  if (check(dims))
    return check(dims);
  if (output == 0) {
    shape[0] = dims[0];
    shape[1] = 2;
  }
  if (output == 1)
    shape[0] = 2 * dims[0];
  return output > 1 ? 4 : 0;
}
int32_t scale_workspace_size(const int64_t *dims, int64_t *bytes) {
  *bytes = 64 * dims[0];
  return check(dims);
}
int32_t scale_run(const float *x, const int64_t *i, float *y, int64_t *z,
                  const int64_t *dims, void *workspace, size_t bytes) {
  if (!x || !i || !y || !z || !workspace)
    return 1;
  if (check(dims))
    return check(dims);
  if (bytes < 64 * (size_t)dims[0])
    return 3;
  memset(workspace, 7, 64 * dims[0]);
  for (int64_t k = 0; k < dims[0]; ++k) {
    if (i[k] < 0 || i[k] > 9)
      return i[k] == 77 ? 99 : 4;
    y[2 * k] = 2 * x[2 * k];
    y[2 * k + 1] = x[2 * k + 1] + i[k];
    z[2 * k] = i[k];
    z[2 * k + 1] = -i[k];
  }
  return 0;
}
"""


def build(folder, suffix, signature=None, source=SOURCE, flags=()):
    text = signature if isinstance(signature, str) else json.dumps(signature or SIGNATURE)
    path = folder / f"model{suffix}"
    (folder / "model.c").write_text(
        f"const char scale_signature[] = {json.dumps(text)};\n{source}")
    link = ["-shared"] if suffix == ".so" else ["-c"]
    subprocess.run([CLANG, "-O1", "-fPIC", *link, *flags, "model.c", "-o", path], cwd=folder,
                   check=True)
    return path


def run(*arguments):
    return subprocess.run(list(map(str, arguments)), capture_output=True, text=True)


def save(folder, rows=3, ids=None, **arrays):
    x = np.arange(2 * rows, dtype=np.float32).reshape(rows, 2)
    i = np.arange(rows, dtype=np.int32) if ids is None else np.array(ids, np.int32)
    np.savez(folder / "in.npz", **{"x": x, "i": i, **arrays})
    return x, i


@pytest.mark.parametrize("suffix", [".o", ".so"])
def test_run(tmp_path, suffix):
    """Inputs are converted, outputs have the shapes that the object says."""
    path = build(tmp_path, suffix)
    x, i = save(tmp_path)
    done = run(QTX_RUN, path, f"--inputs={tmp_path}/in.npz", f"--outputs={tmp_path}/out.npz")
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "out.npz") as outputs:
        assert list(outputs) == ["y", "z"]
        assert outputs["z"].dtype == np.int64
        np.testing.assert_array_equal(outputs["y"], np.stack([2 * x[:, 0], x[:, 1] + i], 1))
        np.testing.assert_array_equal(outputs["z"], np.stack([i, -i], 1).ravel())


@pytest.mark.parametrize("suffix", [".o", ".so"])
@pytest.mark.parametrize("message, inputs", [
    ("scale_run: index out of range (status 4)", {"ids": [1, 2, 30]}),
    ("scale_run: unknown status (status 99)", {"ids": [1, 2, 77]}),
    ("input 'x': expected 'n' from 1 to 8, found 9", {"rows": 9}),
    ("input 'i': expected 'n' = 3 as in an input before, found 2", {"ids": [1, 2]}),
    ("input 'x': expected size 2, found 3", {"x": np.zeros((3, 3), np.float32)}),
    ("input 'x': expected ?x2xf32, found 3xf32", {"x": np.zeros(3, np.float32)}),
    ("input 'x': expected f32, found float64", {"x": np.zeros((3, 2))}),
])
def test_bad_inputs(tmp_path, suffix, message, inputs):
    path = build(tmp_path, suffix)
    save(tmp_path, **inputs)
    done = run(QTX_RUN, path, f"--inputs={tmp_path}/in.npz", f"--outputs={tmp_path}/out.npz")
    assert done.returncode == 1
    assert message in done.stderr and done.stderr.count("error") == 1
    assert not (tmp_path / "out.npz").exists()


def change(**changes):
    return {**SIGNATURE, **changes}


@pytest.mark.parametrize("message, signature", [
    ("signature: ", "{"),
    ("signature: expected an object with 'qtx_abi'", "[]"),
    ("signature: expected an object with 'qtx_abi'", "{}"),
    ("expected an object with version 1 of the C interface, found 2", change(qtx_abi=2)),
    ("expected string at signature.name", change(name=3)),
    ("expected array at signature.dims", change(dims=3)),
    ("expected object at signature.dims[0]", change(dims=[3])),
    ("missing value at signature.dims[0].name", change(dims=[{}])),
    ("expected array at signature.inputs", change(inputs=None)),
    ("expected element type at signature.inputs[0].element",
     change(inputs=[{"name": "x", "element": "f31", "shape": []}])),
    ("expected array at signature.inputs[0].shape", change(inputs=[{"name": "x", "element": "f32"}])),
    ("expected size, name of a dim or null at signature.inputs[0].shape[1]",
     change(inputs=[{"name": "x", "element": "f32", "shape": [1, "m"]}])),
    ("expected size, name of a dim or null at signature.outputs[0].shape[0]",
     change(outputs=[{"name": "x", "element": "f32", "shape": [-1]}])),
    ("expected input whose sizes are numbers or dims at signature.inputs",
     change(inputs=[{"name": "x", "element": "f32", "shape": [None]}])),
    ("missing value at signature.weights.hash", change(weights={"file": "w", "bytes": 3})),
    ("w: No such file or directory", change(weights={"file": "w", "bytes": 3, "hash": ""})),
])
def test_bad_signatures(tmp_path, message, signature):
    done = run(QTX_RUN, build(tmp_path, ".o", signature))
    assert done.returncode == 1
    assert message in done.stderr and done.stderr.count("error:") == 1


@pytest.mark.parametrize("suffix", [".o", ".so"])
def test_bad_symbols(tmp_path, suffix):
    done = run(QTX_RUN, build(tmp_path, suffix, source=""))
    assert done.returncode == 1
    assert "expected one symbol NAME_signature beside NAME_run, found 0" in done.stderr
    done = run(QTX_RUN, build(tmp_path, suffix, source="int scale_run(void) { return 0; }"))
    assert done.returncode == 1
    assert "symbol 'scale_output_shape' is missing" in done.stderr


def test_bad_files(tmp_path):
    (tmp_path / "empty.o").write_bytes(b"")
    done = run(QTX_RUN, tmp_path / "empty.o")
    assert done.returncode == 1 and "expected an ELF object or library" in done.stderr
    whole = build(tmp_path, ".o").read_bytes()
    for size in range(1, len(whole), len(whole) // 8):
        (tmp_path / "cut.o").write_bytes(whole[:size])
        done = run(QTX_RUN, tmp_path / "cut.o")
        assert done.returncode == 1 and done.stderr.count("error:") >= 1
    done = run(QTX_RUN, tmp_path / "missing.o")
    assert done.returncode == 1 and "missing.o: No such file or directory" in done.stderr
    for option, kinds in ("--reference", ".onnx or .mlir"), ("--entry=main", ".mlir"):
        done = run(QTX_RUN, tmp_path / "model.o", option)
        assert done.returncode == 1
        assert f"{option.split('=')[0]}: expected a model in {kinds}, found " in done.stderr


@pytest.mark.skipif(not shutil.which("aarch64-linux-gnu-gcc"), reason="no cross compiler")
def test_other_processor(tmp_path):
    path = build(tmp_path, ".o", flags=("--target=aarch64-linux-gnu",))
    done = run(QTX_RUN, path)
    assert done.returncode == 1 and "found code for aarch64" in done.stderr


@pytest.mark.parametrize("suffix", [".o", ".so"])
def test_bench(tmp_path, suffix):
    path = build(tmp_path, suffix)
    save(tmp_path)
    done = run(QTX_BENCH, path, f"--inputs={tmp_path}/in.npz", f"--json={tmp_path}/out.json")
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "out.json").read_text())
    assert 0 < result["min_ms"] <= result["median_ms"] < 1000
    assert result["runs"] >= 50 and result["threads"] == 1
    assert result["cpu"] and result["isa"]
    # No core does less than a billion operations per second, or more than 100 trillion.
    assert 1 < result["peak_gops"] < 1e5
    assert "median" in done.stdout


@pytest.mark.parametrize("features, isa", [("+fma,+avx2", "avx2-bytes"), ("+avx2,+avx512f,+fma,-avx512f", "avx2-bytes"),
                                           ("+neon", "neon")])
def test_peak_of_features(tmp_path, features, isa):
    """The last mention of a feature counts."""
    if platform.machine() != ("aarch64" if isa == "neon" else "x86_64"):
        pytest.skip("features of another machine")
    target = {"triple": "", "cpu": "", "features": features}
    path = build(tmp_path, ".o", signature={**SIGNATURE, "target": target})
    save(tmp_path)
    done = run(QTX_BENCH, path, f"--inputs={tmp_path}/in.npz", f"--json={tmp_path}/out.json")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "out.json").read_text())["isa"] == isa


def test_peaks(tmp_path):
    done = run(QTX_BENCH, "--peaks", f"--json={tmp_path}/out.json")
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "out.json").read_text())
    assert result["peak_gops"] and all(1 < gops < 1e5 for gops in result["peak_gops"].values())
    assert 0.1 < result["memory_gb_per_s"] < 1e4
    assert all(isa in done.stdout for isa in ["memory", *result["peak_gops"]])


@pytest.mark.parametrize("message, arguments", [
    ("expected a model, as 'MODEL.o'", []),
    ("--peaks: expected no model, found 'model.o'", ["--peaks", "model.o"]),
])
def test_bad_command(message, arguments):
    done = run(QTX_BENCH, *arguments)
    assert done.returncode == 1 and done.stderr == f"qtx-bench: error: {message}\n"


@pytest.mark.parametrize("message, arguments", [
    ("--threads: expected 1 to 1, for which the model was compiled, found 2", ["--threads=2"]),
    ("--threads: expected 1 to 1, for which the model was compiled, found 0", ["--threads=0"]),
    ("no array for the input 'x'", []),
    ("no-such-file.npz", ["--inputs=no-such-file.npz"]),
])
def test_bad_bench(tmp_path, message, arguments):
    done = run(QTX_BENCH, build(tmp_path, ".o"), *arguments)
    assert done.returncode == 1
    assert message in done.stderr and done.stderr.count("error:") == 1
