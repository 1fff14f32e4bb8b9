# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Models as callers have them: files, IR as text, ONNX's messages."""

import ctypes
import os
import pathlib
import tempfile
from typing import Mapping, Optional, Protocol, Union

from . import _library
from ._errors import CompileError
from ._library import Diagnostics, library
from ._module import Handle, parse

Path = Union[str, "os.PathLike[str]"]


class Message(Protocol):
    """A message of protobuf, as `onnx.ModelProto` is one."""

    def SerializeToString(self) -> bytes: ...  # noqa: N802


# The path of a file (.onnx or .mlir), IR as text of several lines, or an
# `onnx.ModelProto` with its weights inside.
ModelSource = Union[str, "os.PathLike[str]", Message]


def _load_module(path: Path) -> Handle:
    handle = Handle("qtxModuleDestroy")
    diagnostics = Diagnostics()
    status = library().qtxModuleLoad(
        os.fsencode(path), diagnostics.handler, ctypes.byref(handle.pointer)
    )
    diagnostics.check(status, CompileError)
    return handle


def open_model(model: ModelSource) -> Handle:
    """The model as a module."""
    if isinstance(model, os.PathLike):
        return _load_module(model)
    if isinstance(model, str):
        return parse(model, "-") if "\n" in model else _load_module(model)
    if hasattr(model, "SerializeToString"):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "model.onnx")
            path.write_bytes(model.SerializeToString())
            return _load_module(path)
    raise TypeError(
        f"expected a path, IR as text or an onnx.ModelProto, found {type(model).__name__}"
    )


def make_options(options: Mapping[str, Optional[str]]) -> "ctypes.Array[_library.Option]":
    """Options of a compilation for the C interface; those without a value are switches."""
    texts = (_library.Option * len(options))()
    for text, (name, value) in zip(texts, options.items()):
        text.name = name.encode()
        text.value = None if value is None else os.fsencode(value)
    return texts
