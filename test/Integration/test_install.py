# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The package as pip installs it, in an environment of its own."""

import importlib.metadata
import os
import pathlib
import subprocess
import sys
import sysconfig

import pytest
from packaging.version import Version

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
LIBRARY = pathlib.Path(
    os.environ.get("QTX_LIBRARY_PATH", REPOSITORY / "build" / "lib"), "libqtx-c.so")

PROGRAM = '''
import numpy as np, pathlib, qtx, sys
assert pathlib.Path(qtx.__file__).is_relative_to(sys.prefix), qtx.__file__
model = qtx.compile("""
func.func @main(%x: tensor<?xf32>) -> tensor<?xf32> {
  %0 = qtx.relu %x : (tensor<?xf32>) -> tensor<?xf32>
  return %0 : tensor<?xf32>
}""", recipe="none")
assert model(np.float32([-1, 2]))[0].tolist() == [0, 2]
'''


def run(*command, environment, folder=None):
    done = subprocess.run([str(word) for word in command], env=environment, cwd=folder,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout


def has_setuptools():
    try:
        return Version(importlib.metadata.version("setuptools")) >= Version("70.1")
    except importlib.metadata.PackageNotFoundError:
        return False


@pytest.mark.skipif(not has_setuptools() or not LIBRARY.exists(),
                    reason="there is no setuptools 70.1, or qtx-c is not built")
def test_install(tmp_path):
    kept = {key: value for key, value in os.environ.items()
            if key not in ("QTX_LIBRARY_PATH", "PYTHONPATH")}
    pip = ["--disable-pip-version-check", "--no-deps", "--no-index"]
    run(sys.executable, "-m", "pip", "wheel", *pip, "--no-build-isolation", "-w", tmp_path,
        REPOSITORY / "python", environment={**kept, "QTX_LIBRARY_PATH": str(LIBRARY)})
    (wheel,) = tmp_path.glob("qtx-*-py3-none-*.whl")
    run(sys.executable, "-m", "venv", tmp_path / "venv", environment=kept)
    python = tmp_path / "venv" / "bin" / "python"
    run(python, "-m", "pip", "install", *pip, wheel, environment=kept)
    # NumPy comes from the environment of the tests.
    folder = sysconfig.get_path("purelib", vars={"base": str(tmp_path / "venv")})
    pathlib.Path(folder, "numpy.pth").write_text(sysconfig.get_path("purelib"))
    run(python, "-c", PROGRAM, environment=kept, folder=tmp_path)
