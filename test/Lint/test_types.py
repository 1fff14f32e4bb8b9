# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The Python package is typed, as its marker `py.typed` promises."""

import subprocess
import sys

import pytest
from sources import ROOT


def test_types(tmp_path):
    pytest.importorskip("mypy", reason="./dev setup installs mypy")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", "pyproject.toml", "--cache-dir", tmp_path],
        cwd=ROOT / "python", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_everything_public_is_named():
    """`__all__` lists what the package imports for others."""
    import qtx

    public = {name for name in vars(qtx) if not name.startswith("_")}
    assert public - {"huggingface", "metrics", "peg"} == set(qtx.__all__)
