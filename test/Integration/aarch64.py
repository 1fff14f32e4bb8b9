# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compiles IR by the reference lowering for AArch64 Linux and runs it by qemu."""

import os
import pathlib
import shutil
import subprocess

import numpy as np

_LLVM_BIN = pathlib.Path("/usr/lib/llvm-22/bin")
_REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
_BUILD = pathlib.Path(os.environ.get("QTX_BUILD_DIR", _REPOSITORY / "build"))

_TOOLS = {
    "qtx-opt": _BUILD / "bin" / "qtx-opt",
    "mlir-translate": _LLVM_BIN / "mlir-translate",
    "llc": _LLVM_BIN / "llc",
    "aarch64-linux-gnu-gcc": None,
    "qemu-aarch64": None,
}


def missing_tools():
    return [
        name for name, path in _TOOLS.items()
        if not (path.exists() if path else shutil.which(name))
    ]


def _run(name, *arguments, **options):
    command = [str(_TOOLS[name] or name), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, **options)
    assert done.returncode == 0, f"{command}:\n{done.stderr.decode(errors='replace')}"
    return done.stdout


_PRELUDE = r"""
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static void fail(const char *text) {
  fprintf(stderr, "%s\n", text);
  exit(1);
}
static void load(void *data, size_t size) {
  if (fread(data, 1, size, stdin) != size)
    fail("input too short");
}
static void store(const void *data, size_t size) {
  if (fwrite(data, 1, size, stdout) != size)
    fail("cannot write");
}
/* Reads the sizes and the elements of one tensor into a descriptor. */
static void loadTensor(int64_t *words, int rank, size_t elementSize) {
  int64_t count = 1;
  load(words + 3, 8 * rank);
  for (int i = rank; i-- > 0;) {
    words[3 + rank + i] = count;
    count *= words[3 + i];
  }
  words[0] = words[1] = (int64_t)aligned_alloc(64, (count * elementSize + 127) / 64 * 64);
  words[2] = 0;
  load((void *)words[1], count * elementSize);
}
static void storeTensor(const int64_t *words, int rank, size_t elementSize) {
  int64_t count = 1;
  for (int i = 0; i < rank; ++i)
    count *= words[3 + i];
  store(words + 3, 8 * rank);
  store((char *)words[1] + words[2] * elementSize, count * elementSize);
}
"""


def _words(value):
    return 3 + 2 * len(value.shape)


def _driver_function(function):
    """C code that reads the inputs of one function, calls it, writes the outputs."""
    name, inputs, outputs = function
    parameters = ["int64_t *"] * (len(inputs) + bool(outputs))
    lines = [f"void _mlir_ciface_{name}({', '.join(parameters) or 'void'});",
             f"static void run_{name}(void) {{"]
    for i, value in enumerate(inputs):
        lines.append(f"  int64_t in{i}[{_words(value)}];")
        lines.append(f"  loadTensor(in{i}, {len(value.shape)}, {value.dtype.itemsize});")
    # Several results lie in one structure, one descriptor after the other.
    offsets = np.cumsum([0] + [_words(value) for value in outputs])
    lines.append(f"  int64_t out[{offsets[-1] + 1}];")
    arguments = ["out"] * bool(outputs) + [f"in{i}" for i in range(len(inputs))]
    lines.append(f"  _mlir_ciface_{name}({', '.join(arguments)});")
    for offset, value in zip(offsets, outputs):
        lines.append(f"  storeTensor(out + {offset}, {len(value.shape)}, {value.dtype.itemsize});")
    return "\n".join(lines + ["}"])


def _driver(functions):
    calls = "\n".join(
        f"  if (index == {i}) run_{function.name}();" for i, function in enumerate(functions))
    parts = [_PRELUDE, *map(_driver_function, functions)]
    return "\n".join(parts) + f"""
int main(int argc, char **argv) {{
  int index = argc > 1 ? atoi(argv[1]) : 0;
{calls}
  return 0;
}}
"""


class Program:
    """An executable with the functions of a compiled module, all tensors."""

    def __init__(self, text, functions, folder):
        self._functions = {function.name: (i, function) for i, function in enumerate(functions)}
        self._path = folder / "program"
        lowered = _run("qtx-opt", "--qtx-reference-to-llvm", input=text.encode())
        llvm = _run("mlir-translate", "--mlir-to-llvmir", input=lowered)
        _run("llc", "-O2", "-mtriple=aarch64-linux-gnu", "-filetype=obj", "-o",
             folder / "model.o", input=llvm)
        (folder / "driver.c").write_text(_driver(functions))
        _run("aarch64-linux-gnu-gcc", "-O1", "-static", "-Wall", "-Werror", folder / "driver.c",
             folder / "model.o", "-lm", "-o", self._path)

    def run(self, name, *arrays):
        index, function = self._functions[name]
        data = b"".join(
            np.array(array.shape, np.int64).tobytes() + array.tobytes() for array in arrays)
        output = _run("qemu-aarch64", self._path, index, input=data)
        results = []
        for value in function.outputs:
            rank = len(value.shape)
            shape = np.frombuffer(output, np.int64, rank)
            output = output[8 * rank:]
            count = int(np.prod(shape))
            results.append(np.frombuffer(output, value.dtype, count).reshape(shape))
            output = output[count * value.dtype.itemsize:]
        assert not output
        return tuple(results)
