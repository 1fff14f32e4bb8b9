# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""qtxc at every stage: what it writes is IR again, and holds what the stage promises."""

import numpy as np
import objects
import pytest
from encoder import Encoder

ENCODER = Encoder(layers=1, hidden=16, heads=2, intermediate=32, vocabulary=20, positions=16)
QTX_OPT = objects.QTXC.with_name("qtx-opt")
# What there is from a stage on, up to the exit of another one, by either path.
STAGES = {
    "import": "qtx.layer_norm",
    "calibrate": "qtx.observed = ",
    "quantize": "!quant.uniform<i8:f32",
    "fold": "qtx.quantize",
    "fuse": "qtx.linear",
    "storage": "memref<",
    "configure": "qtx.config = #qtx.micro_kernel",
    "pack": 'qtx.kernel "qtx.linear"',
    "tile": "linalg.",
    "bufferize": "memref.alloc",
    "vector": "memref.view",
    "object": "llvm.func @encoder_run",
}
ONLY_FAST = {"configure", "pack"}


@pytest.fixture(scope="module", name="folder")
def fixture_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stages")
    (folder / "model.mlir").write_text(ENCODER.ir())
    rng = np.random.default_rng(0)
    np.savez(folder / "data.npz", input_ids=rng.integers(0, 20, (4, 8)),
             attention_mask=np.ones((4, 8), np.int64), token_type_ids=np.zeros((4, 8), np.int64))
    return folder


@pytest.mark.parametrize("options", [["-mcpu=x86-64-v3"], ["--reference"]], ids=["fast", "reference"])
@pytest.mark.parametrize("stage", STAGES)
def test_stop_after(folder, tmp_path, stage, options):
    output, dumps = tmp_path / "encoder.mlir", tmp_path / "dumps"
    objects.run(objects.QTXC, folder / "model.mlir", "-o", output, f"--stop-after={stage}",
                f"--dump-stages={dumps}", "--recipe=w8a8", f"--calibrate={folder / 'data.npz'}",
                "-mtriple=x86_64-linux-gnu", "--quiet", *options)
    names = list(STAGES)
    expected = [f"{i:02}-{name}.mlir" for i, name in enumerate(names[: names.index(stage) + 1], 1)]
    assert sorted(path.name for path in dumps.iterdir()) == expected
    for name, path in zip(names, sorted(dumps.iterdir())):
        if "--reference" not in options or name not in ONLY_FAST:
            assert STAGES[name] in path.read_text(), f"expected '{STAGES[name]}' after {name}"
    objects.run(QTX_OPT, output, f"--qtx-verify-stage=stage={stage}", "-o", tmp_path / "again.mlir")
    # With constants: the last dump but for them is the output.
    assert len(output.read_text()) >= len((dumps / expected[-1]).read_text())
