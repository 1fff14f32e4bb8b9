# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Reports written by the compiler, read in Python."""

import json

import pytest
import qtx.report

TEXT = {
    "version": 1,
    "model": "m.onnx",
    "recipe": "int8",
    "calibration": {"data": "x.npz", "observer": "mse", "samples": 3, "positions": 9, "feeds": 1},
    "stages": [{"name": "import", "seconds": 0.5}],
    "totals": {"edges": 3, "seconds": 0.5},
    "edges": [
        {"name": "a", "block": "", "op": "qtx.add", "type": "f32", "reason": "residual"},
        {"name": "b", "block": "", "op": "qtx.gelu", "type": "i8", "lo": [-1, 0], "hi": [1, 9],
         "outliers": [1], "group_of_channel": [0, 1], "sqnr_db": 30.5, "later": True,
         "observer": "mse", "margin": 1.5, "shifted": True,
         "groups": [{"size": 1, "scale": 0.5, "zero_point": 3},
                    {"size": 1, "scale": 2, "zero_point": 0}]},
        {"name": "c", "block": "", "op": "qtx.gelu", "type": "i8", "sqnr_db": 20},
    ],
    "layers": [{"name": "l", "block": "", "op": "qtx.linear", "shape": [4, 2], "type": "i8",
                "method": "gptq", "bias_corrected": True, "weight_error": 0.01},
               {"name": "m", "block": "", "op": "qtx.batch_matmul", "shape": [], "type": "f32",
                "kernel": "reference", "kernel_reason": "no kernel"}],
    "remarks": [{"pass": "qtx-configure", "name": "m", "text": "no kernel"}],
}


def test_load(tmp_path):
    path = tmp_path / "report.json"
    path.write_text(json.dumps(TEXT))
    report = qtx.report.load(path)
    assert report.calibration.samples == 3
    assert report.stages == {"import": 0.5}
    a, b, c = report.edges
    assert not a.quantized and a.reason == "residual" and a.sqnr_db is None
    assert b.quantized and b.groups[1] == qtx.report.Group(1, 2, 0) and b.hi == (1, 9)
    assert (b.observer, b.margin, b.scaled, b.shifted) == ("mse", 1.5, False, True)
    assert [edge.name for edge in report.noisiest(5)] == ["c", "b"]
    assert report.noisiest(1) == [c]
    assert report.layers[0].shape == (4, 2) and report.layers[0].weight_error == 0.01
    assert report.layers[0].bias_corrected and not report.layers[0].scale_search
    assert report.layers[1].kernel == "reference" and report.layers[1].shape == ()
    assert report.layers[1].kernel_reason == "no kernel"
    assert report.remarks == (qtx.report.Remark("qtx-configure", "m", "no kernel"),)


def test_without_calibration():
    text = {key: value for key, value in TEXT.items() if key != "calibration"}
    assert qtx.report.loads(json.dumps(text)).calibration is None


@pytest.mark.parametrize("root, found", [({"version": 2}, "2"), ([], "None"), ({}, "None")])
def test_other_versions(root, found):
    with pytest.raises(ValueError, match=f"expected a report of version 1, found {found}"):
        qtx.report.loads(json.dumps(root))


def test_truncated():
    with pytest.raises(ValueError, match="expected a report of version 1, found one without 'model'"):
        qtx.report.loads('{"version": 1}')
