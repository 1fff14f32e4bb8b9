# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Rules for all files of the repository."""

import re

from sources import ROOT, list_files, list_tracked

LICENCE = "SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception"
MAX_BYTES = 1 << 20
BINARY_SUFFIXES = {".npz", ".npy", ".png", ".onnx", ".bin"}


def find_lines(paths, pattern):
    found = []
    for path in paths:
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if re.search(pattern, line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()}")
    return found


def list_sources(*suffixes):
    return [
        path
        for path in list_tracked()
        if path.suffix in suffixes and path.parent.name != "Lint"
    ]


def test_no_statistics():
    # The counters of LLVM's release libraries are no-ops, and in a build without
    # NDEBUG the class has another layout than in the library.
    sources = list_files("lib", ".cpp", ".h") + list_files("include", ".h", ".td")
    assert find_lines(sources, r"\bStatistic\b") == []


def test_libraries_read_no_command_line():
    sources = list_files("lib", ".cpp", ".h") + list_files("include", ".h")
    assert find_lines(sources, r"\bcl::(opt|list|bits)\b") == []


def test_no_large_file():
    assert [p for p in list_tracked() if p.stat().st_size > MAX_BYTES] == []


def test_no_path_of_a_machine():
    texts = [p for p in list_tracked() if p.suffix not in BINARY_SUFFIXES]
    assert find_lines(texts, r"/(work|root|home|Users)/\w") == []


def test_no_open_ends():
    assert find_lines(list_sources(".cpp", ".h", ".td", ".py"), r"\b(TODO|FIXME|XXX)\b") == []


def test_licence_banner():
    sources = list_sources(".c", ".cpp", ".h", ".td", ".py")
    sources = [p for p in sources if not p.name.startswith("lit.")]
    assert [p for p in sources if LICENCE not in p.read_text()] == []


def test_lit_tests_run_something():
    aside = {"Inputs", "Integration", "Fuzz"}
    tests = [p for p in list_files("test", ".mlir", ".test") if not aside & set(p.parts)]
    assert [p for p in tests if "RUN:" not in p.read_text()] == []


def test_headers_have_guards():
    assert [p for p in list_sources(".h") if "#ifndef QTX" not in p.read_text()] == []
