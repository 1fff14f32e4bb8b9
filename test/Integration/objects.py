# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compiles models to objects with qtxc and calls them from C programs and by ctypes."""

import ctypes
import json
import os
import pathlib
import re
import subprocess

import numpy as np

_REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
_BUILD = pathlib.Path(os.environ.get("QTX_BUILD_DIR", _REPOSITORY / "build"))
_RUNNER = pathlib.Path(__file__).with_name("object_runner.c")

QTXC = _BUILD / "bin" / "qtxc"
CLANG = pathlib.Path("/usr/lib/llvm-22/bin/clang")
NM = pathlib.Path("/usr/lib/llvm-22/bin/llvm-nm")

# What compiles one version of the code for this machine: for AMX there would be another one, which
# runs where the kernel refuses tile registers.
HAS_AMX = "amx_tile" in pathlib.Path("/proc/cpuinfo").read_text().split()
ONE_VERSION = ["-mattr=-amx-tile"] if HAS_AMX else []

WARNINGS = ["-Wall", "-Wextra", "-Werror", "-pedantic"]

(OK, NULL_POINTER, SIZE_OUT_OF_RANGE, WORKSPACE_TOO_SMALL, INDEX_OUT_OF_RANGE,
 MISSING_CPU_FEATURE) = range(6)

DTYPES = {
    "f32": np.float32, "f64": np.float64, "i1": np.bool_, "i8": np.int8, "i16": np.int16,
    "i32": np.int32, "i64": np.int64, "u8": np.uint8,
}


def run(*command, **options):
    command = [str(word) for word in command]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=300, **options)
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stderr}"
    return done.stdout


def compile_file(model, path, *options):
    """Compiles the file `model` to what the name of `path` asks for."""
    run(QTXC, model, "-o", path, "--name=m", "--quiet", *options)
    return path


def compile_model(text, path, *options):
    """Writes the object, or what else the name of `path` asks for, and its header."""
    source = path.with_suffix(".mlir")
    source.write_text(text)
    return compile_file(source, path, "--recipe=none", *options)


def read_signature(library):
    first = ctypes.c_char.in_dll(library, "m_signature")
    return json.loads(ctypes.string_at(ctypes.addressof(first)))


class Library:
    """A model as a shared library, opened by dlopen."""

    def __init__(self, text, folder, *options):
        self._open(compile_model(text, folder / "library.so", *options))

    @classmethod
    def from_file(cls, model, path, *options):
        """Compiles the file `model` to the library `path`."""
        self = cls.__new__(cls)
        self._open(compile_file(model, path, *options))
        return self

    def _open(self, path):
        self._library = ctypes.CDLL(str(path))
        self.signature = read_signature(self._library)
        self.inputs, self.outputs = self.signature["inputs"], self.signature["outputs"]

    def workspace_size(self, dims):
        size = ctypes.c_int64(-1)
        return self._library.m_workspace_size(_dims(dims), ctypes.byref(size)), size.value

    def output_shape(self, output, dims):
        """The status, and the sizes of the output."""
        rank = len(self.outputs[output]["shape"]) if 0 <= output < len(self.outputs) else 8
        shape = (ctypes.c_int64 * max(rank, 1))()
        return self._library.m_output_shape(output, _dims(dims), shape), tuple(shape[:rank])

    def call(self, symbol, *arguments):
        return getattr(self._library, symbol)(*arguments)

    def make_outputs(self, dims):
        return [
            np.zeros(self.output_shape(i, dims)[1], DTYPES[value["element"]])
            for i, value in enumerate(self.outputs)
        ]

    def run_raw(self, buffers, dims, workspace, size):
        """Calls the model with pointers; None is null."""
        pointers = [b if b is None else ctypes.c_void_p(b.ctypes.data) for b in buffers]
        return self._library.m_run(*pointers, _dims(dims), workspace, ctypes.c_size_t(size))

    def run(self, inputs, dims):
        """The status and the outputs."""
        inputs = [np.ascontiguousarray(x) for x in inputs]
        status, size = self.workspace_size(dims)
        if status:
            return status, None
        outputs = self.make_outputs(dims)
        workspace = ctypes.create_string_buffer(size)
        return self.run_raw(inputs + outputs, dims, workspace, size), outputs

    def run_named(self, feeds):
        """The outputs of a call that succeeds, from the inputs by name."""
        arrays = [feeds[value["name"]] for value in self.inputs]
        sizes = {size: extent for value, array in zip(self.inputs, arrays)
                 for size, extent in zip(value["shape"], array.shape)}
        status, outputs = self.run(arrays, [sizes[dim["name"]] for dim in self.signature["dims"]])
        assert status == OK
        return outputs


def _dims(dims):
    return None if dims is None else (ctypes.c_int64 * max(len(dims), 1))(*dims)


def _adapter(signature):
    """C code that calls the model through its header with arrays of buffers."""
    inputs, outputs = len(signature["inputs"]), len(signature["outputs"])
    sizes = [DTYPES[v["element"]]().itemsize for v in signature["inputs"] + signature["outputs"]]
    ranks = [len(v["shape"]) for v in signature["outputs"]]
    arguments = [f"buffers[{i}]" for i in range(inputs + outputs)]
    has_weights = signature.get("weights") is not None
    if has_weights:
        arguments.append("weights")
    return f"""
#include "model.h"
#define NUM_INPUTS {inputs}
#define NUM_OUTPUTS {outputs}
#define HAS_WEIGHTS {int(has_weights)}
static const size_t element_sizes[] = {{{', '.join(map(str, sizes))}}};
static const int output_ranks[] = {{{', '.join(map(str, ranks))}}};
static int32_t call_model(void **buffers, const void *weights, const int64_t *dims, void *workspace,
                          size_t bytes) {{
  (void)weights;
  return m_run({', '.join(arguments)}, dims, workspace, bytes);
}}
"""


def _find_signature(path):
    """The signature in an object."""
    listing = run(CLANG.with_name("llvm-readelf"), "-S", "-s", "-W", path)
    value, size, section = re.search(
        r" ([0-9a-f]+) +(\d+) OBJECT .* (\d+) m_signature$", listing, re.MULTILINE).groups()
    position = re.search(rf"\[ *{section}\] \S+ +\S+ +[0-9a-f]+ ([0-9a-f]+)", listing)[1]
    start = int(position, 16) + int(value, 16)
    return json.loads(path.read_bytes()[start:start + int(size)].rstrip(b"\0"))


class Program:
    """A C program that is linked with the object of a model, which `change` may edit."""

    def __init__(self, text, signature, folder, compiler=(CLANG,), flags=(), options=(),
                 emulator=(), change=None):
        self._folder, self._emulator = folder, emulator
        self.object = compile_model(text, folder / "model.o", *options)
        self.signature = signature = signature or _find_signature(self.object)
        if change:
            change(self.object)
        (folder / "adapter.h").write_text(_adapter(signature))
        self._program = folder / "program"
        run(*compiler, "-std=c11", "-D_GNU_SOURCE", "-O1", *WARNINGS, *flags, f"-I{folder}",
            _RUNNER, self.object, "-pthread", "-o", self._program)

    def start(self, inputs, dims, threads=0, **variables):
        """The finished process; threads 0 asks for calls with guard pages. Its environment has
        `variables` in addition."""
        # What instruments this process is none of the program's.
        environment = {**os.environ, **variables}
        environment.pop("LD_PRELOAD", None)
        for i, array in enumerate(inputs):
            (self._folder / f"in{i}").write_bytes(np.ascontiguousarray(array).tobytes())
        command = [*self._emulator, self._program, threads, *dims]
        return subprocess.run([str(word) for word in command], cwd=self._folder, capture_output=True,
                              text=True, timeout=300, env=environment)

    def run(self, inputs, dims, threads=0):
        """The status and the outputs of a process that succeeds."""
        done = self.start(inputs, dims, threads)
        assert done.returncode == 0, done.stderr
        text, self.messages = done.stdout, done.stderr
        status, *shapes = text.strip().split("\n")
        outputs = []
        for i, (shape, value) in enumerate(zip(shapes, self.signature["outputs"])):
            data = np.fromfile(self._folder / f"out{i}", DTYPES[value["element"]])
            outputs.append(data.reshape([int(size) for size in shape.split()[1:]]))
        return int(status), outputs
