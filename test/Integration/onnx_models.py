# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Import ONNX models, find operations in them, and run them by the reference lowering."""

import collections
import os
import pathlib
import re
import subprocess
from typing import Counter, Dict, List, Union

import numpy as np
import onnx
import onnxruntime
import qtx

ROOT = pathlib.Path(__file__).resolve().parents[2]
TRANSLATE = pathlib.Path(os.environ.get("QTX_BUILD_DIR", ROOT / "build")) / "bin/qtx-translate"


def import_model(path: pathlib.Path) -> str:
    """The IR of a model in which qtx operations were found."""
    done = subprocess.run(
        [TRANSLATE, "--import-onnx", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return qtx.run_passes(done.stdout, "builtin.module(onnx-recognize)")


def list_operations(ir: str, name: str) -> List[str]:
    return re.findall(rf"^.* = qtx\.{name} .*$", ir, re.MULTILINE)


def count_operations(ir: str) -> Counter[str]:
    """The qtx operations by name, and the nodes that stay by their operator."""
    names = re.findall(r" = qtx\.(\w+) ", ir)
    return collections.Counter(names + re.findall(r'onnx\.node "(\w+)"', ir))


def compile_model(ir: str) -> qtx.Module:
    """`ir` is what `import_model` returns."""
    return qtx.compile_ir(qtx.run_passes(ir, "builtin.module(convert-onnx-to-linalg)"))


def run_model(module: qtx.Module, feeds: Dict[str, np.ndarray]) -> np.ndarray:
    """The only result of a model, from its inputs by name."""
    inputs = module.function("main").inputs
    (result,) = module.run("main", *[feeds[value.name] for value in inputs])
    return result


def run_session(
    model: Union[pathlib.Path, onnx.ModelProto], feeds: Dict[str, np.ndarray],
    *, optimize: bool = True,
) -> List[np.ndarray]:
    """The results of a model by ONNX Runtime."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # no warnings of what a graph could do without
    if not optimize:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    source = model if isinstance(model, pathlib.Path) else model.SerializeToString()
    session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    return session.run(None, {value.name: feeds[value.name] for value in session.get_inputs()})


def run_onnxruntime(
    model: Union[pathlib.Path, onnx.ModelProto], feeds: Dict[str, np.ndarray],
    *, optimize: bool = True,
) -> np.ndarray:
    """The only result of a model by ONNX Runtime."""
    (result,) = run_session(model, feeds, optimize=optimize)
    return result


def get_kept(feeds: Dict[str, np.ndarray], result: np.ndarray) -> np.ndarray:
    """Which positions of a model's only result are no padding."""
    return feeds.get("attention_mask", np.ones(result.shape[:2])) == 1


def get_distance(actual: np.ndarray, expected: np.ndarray, kept: np.ndarray) -> float:
    """The norm of the difference over that of what is expected, without padding."""
    assert actual.shape == expected.shape and actual.dtype == expected.dtype
    expected = expected[kept].astype(np.float64)
    return np.linalg.norm(actual[kept] - expected) / np.linalg.norm(expected)


def expect_close(actual: np.ndarray, expected: np.ndarray, kept: np.ndarray) -> None:
    """Compares what fp32 layers yield at the positions that are not padding."""
    assert actual.shape == expected.shape and actual.dtype == expected.dtype
    expected = expected[kept].astype(np.float64)
    difference = actual[kept] - expected
    assert np.isfinite(difference).all()
    # The bounds for a float model: fp32 sums in another order.
    assert np.linalg.norm(difference) <= 1e-5 * np.linalg.norm(expected)
    assert np.abs(difference).max() <= 1e-4 * np.abs(expected).max()
