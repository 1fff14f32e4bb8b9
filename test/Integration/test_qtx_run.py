# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""qtx-run on archives that NumPy writes, and NumPy on archives that it writes."""

import os
import pathlib
import subprocess

import numpy as np
import pytest

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
