# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What the lint tests read: the sources, and the records of the TableGen files."""

import functools
import json
import os
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("QTX_BUILD_DIR", ROOT / "build"))
LLVM = pathlib.Path("/usr/lib/llvm-22")


def list_files(folder, *suffixes):
    """The files below a folder of the repository."""
    paths = (ROOT / folder).rglob("*")
    return sorted(p for p in paths if p.is_file() and p.suffix in suffixes)


def list_tracked():
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    out = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True)
    paths = (ROOT / name for name in out.stdout.split("\0") if name)
    return sorted(path for path in paths if path.is_file())


@functools.lru_cache(maxsize=None)
def load_records(td):
    """All records of a TableGen file, as llvm-tblgen's JSON."""
    command = [
        LLVM / "bin" / "llvm-tblgen", "--dump-json", "-I", LLVM / "include",
        "-I", ROOT / "include", ROOT / td,
    ]
    out = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    return json.loads(out)


def load_instances(td, tablegen_class):
    records = load_records(td)
    return [records[name] for name in records["!instanceof"][tablegen_class]]


def load_ops():
    """The operations of the dialect: (mnemonic, record)."""
    ops = load_instances("include/qtx/Dialect/Qtx/IR/QtxOps.td", "Op")
    ops = [op for op in ops if op["opDialect"]["def"] == "Qtx_Dialect"]
    return sorted(((op["opName"], op) for op in ops), key=lambda item: item[0])


def load_passes():
    """The passes of every Passes.td: (argument, record)."""
    passes = []
    for td in list_files("include", ".td"):
        if td.name == "Passes.td":
            records = load_instances(str(td.relative_to(ROOT)), "PassBase")
            passes += [(record["argument"], record) for record in records]
    return sorted(passes, key=lambda item: item[0])
