# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""One MLIR per process, and one shared library that exports the C interface only."""

import re
import subprocess

import pytest
from sources import BUILD, LLVM

TOOLS = sorted(path for path in (BUILD / "bin").iterdir() if path.is_file())
LIBRARY = BUILD / "lib" / "libqtx-c.so"


def run(*command):
    result = subprocess.run(command, capture_output=True, check=True, text=True)
    return result.stdout


@pytest.mark.parametrize("path", [*TOOLS, LIBRARY], ids=lambda path: path.name)
def test_mlir_is_shared(path):
    needed = run(LLVM / "bin" / "llvm-readelf", "--needed-libs", path)
    assert "libMLIR.so" in needed
    # A strong definition of MLIR's core would be a second copy of it.
    symbols = run(LLVM / "bin" / "llvm-nm", "--defined-only", path)
    assert re.findall(r" [TD] (_ZN4mlir(?:11MLIRContext|9Operation)\w*)", symbols) == []


def test_library_exports_the_c_interface_only():
    symbols = run(LLVM / "bin" / "llvm-nm", "-D", "--defined-only", LIBRARY)
    names = [line.split()[-1].split("@")[0] for line in symbols.splitlines()]
    sanitizer = r"__(asan|odr_asan|ubsan|lsan|sanitizer)"
    names = [name for name in names if not re.match(sanitizer, name)]
    assert names != []
    assert [name for name in names if not name.startswith(("qtx", "QTX"))] == []
