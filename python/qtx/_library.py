# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The C interface (include/qtx-c/Qtx.h) through ctypes."""

import ctypes
import functools
import os
import pathlib
import warnings
from ctypes import POINTER, byref, c_char_p, c_int, c_int32, c_int64, c_size_t, c_uint32, c_void_p
from typing import List, Type

from ._errors import Diagnostic, Error

API_VERSION = 4
SEVERITIES = ("error", "warning", "remark", "note")

_DIAGNOSTIC_CALLBACK = ctypes.CFUNCTYPE(None, c_int, c_char_p, c_void_p)
STRING_CALLBACK = ctypes.CFUNCTYPE(None, c_void_p, c_size_t, c_void_p)
PROGRESS_CALLBACK = ctypes.CFUNCTYPE(None, c_char_p, c_size_t, c_size_t, c_void_p)


class DiagnosticHandler(ctypes.Structure):
    _fields_ = [("callback", _DIAGNOSTIC_CALLBACK), ("user_data", c_void_p)]


class ProgressHandler(ctypes.Structure):
    _fields_ = [("callback", PROGRESS_CALLBACK), ("user_data", c_void_p)]


class ValueInfo(ctypes.Structure):
    _fields_ = [
        ("name", c_char_p),
        ("element", c_int),
        ("rank", c_size_t),
        ("shape", POINTER(c_int64)),
    ]


class Buffer(ctypes.Structure):
    _fields_ = [
        ("data", c_void_p),
        ("element", c_int),
        ("rank", c_size_t),
        ("shape", POINTER(c_int64)),
    ]


class Option(ctypes.Structure):
    _fields_ = [("name", c_char_p), ("value", c_char_p)]


_HANDLER = POINTER(DiagnosticHandler)
_PROGRESS = POINTER(ProgressHandler)
_COUNT_ARGUMENTS = (c_int, c_void_p, c_char_p, _HANDLER, POINTER(c_size_t))
_VALUE_ARGUMENTS = (c_int, c_void_p, c_char_p, c_size_t, _HANDLER, POINTER(ValueInfo))

# Result and argument types of each function.
_PROTOTYPES = {
    "qtxGetApiVersion": (c_int32,),
    "qtxModuleParse": (c_int, c_char_p, c_size_t, c_char_p, _HANDLER, POINTER(c_void_p)),
    "qtxModuleLoad": (c_int, c_char_p, _HANDLER, POINTER(c_void_p)),
    "qtxModuleDestroy": (None, c_void_p),
    "qtxModuleRunPasses": (c_int, c_void_p, c_char_p, _HANDLER),
    "qtxModuleCalibrate": (c_int, c_void_p, POINTER(Option), c_size_t, _PROGRESS, _HANDLER),
    "qtxModulePrint": (c_int, c_void_p, STRING_CALLBACK, c_void_p),
    "qtxProgramCreate": (c_int, c_void_p, c_int, c_uint32, _HANDLER, POINTER(c_void_p)),
    "qtxProgramDestroy": (None, c_void_p),
    "qtxProgramGetNumFunctions": (c_size_t, c_void_p),
    "qtxProgramGetFunctionName": (c_char_p, c_void_p, c_size_t),
    "qtxProgramGetNumInputs": _COUNT_ARGUMENTS,
    "qtxProgramGetNumOutputs": _COUNT_ARGUMENTS,
    "qtxProgramGetInput": _VALUE_ARGUMENTS,
    "qtxProgramGetOutput": _VALUE_ARGUMENTS,
    "qtxProgramInvoke": (
        c_int, c_void_p, c_char_p, POINTER(Buffer), c_size_t, _HANDLER, POINTER(c_void_p),
    ),
    "qtxResultsGetCount": (c_size_t, c_void_p),
    "qtxResultsGet": (c_int, c_void_p, c_size_t, POINTER(Buffer)),
    "qtxResultsDestroy": (None, c_void_p),
    "qtxModelCompile": (
        c_int, c_void_p, POINTER(Option), c_size_t, _PROGRESS, _HANDLER, POINTER(c_void_p),
    ),
    "qtxModelLoad": (c_int, c_char_p, _HANDLER, POINTER(c_void_p)),
    "qtxModelDestroy": (None, c_void_p),
    "qtxModelSave": (c_int, c_void_p, c_char_p, _HANDLER),
    "qtxModelGetSignature": (c_char_p, c_void_p),
    "qtxModelGetReport": (c_char_p, c_void_p),
    "qtxModelGetDims": (
        c_int, c_void_p, POINTER(Buffer), c_size_t, _HANDLER, POINTER(c_int64),
    ),
    "qtxModelGetOutputShape": (
        c_int, c_void_p, c_size_t, POINTER(c_int64), _HANDLER, POINTER(c_int64),
    ),
    "qtxModelRun": (
        c_int, c_void_p, POINTER(c_void_p), POINTER(c_void_p), POINTER(c_int64), _HANDLER,
    ),
}


def find_library() -> pathlib.Path:
    """The path of libqtx-c.so; raises ImportError if there is none."""
    name = "libqtx-c.so"
    given = os.environ.get("QTX_LIBRARY_PATH")
    if given:
        path = pathlib.Path(given)
        candidates = [path / name if path.is_dir() else path]
    else:
        package = pathlib.Path(__file__).resolve().parent
        # That of an installed package, and that of the repository.
        candidates = [package / name, package.parents[1] / "build" / "lib" / name]
    for path in candidates:
        if path.is_file():
            return path
    raise ImportError(
        f"{name} not found at {candidates[-1]}: build the target qtx-c, or set QTX_LIBRARY_PATH"
    )


@functools.lru_cache(maxsize=None)
def library() -> ctypes.CDLL:
    """The library, loaded on first use."""
    path = find_library()
    lib = ctypes.CDLL(str(path))
    for name, (result, *arguments) in _PROTOTYPES.items():
        function = getattr(lib, name)
        function.restype = result
        function.argtypes = arguments
    version = lib.qtxGetApiVersion()
    if version != API_VERSION:
        raise ImportError(f"{path} has interface version {version}, expected {API_VERSION}")
    return lib


class Diagnostics:
    """Collects what one call reports."""

    def __init__(self) -> None:
        self.messages: List[Diagnostic] = []
        # The attribute keeps the call-back alive.
        self._callback = _DIAGNOSTIC_CALLBACK(self._receive)
        self._handler = DiagnosticHandler(self._callback, None)
        self.handler = byref(self._handler)

    def _receive(self, severity: int, text: bytes, _user_data: object) -> None:
        self.messages.append(Diagnostic(SEVERITIES[severity], text.decode(errors="replace")))

    def check(self, status: int, error: Type[Error]) -> None:
        """Raises `error` with the messages unless `status` is success."""
        if status != 0:
            raise error(self.messages)

    def warn(self) -> None:
        """Passes the warnings on to the caller of the caller of our caller."""
        for message in self.messages:
            if message.severity == "warning":
                warnings.warn(message.text, stacklevel=4)
