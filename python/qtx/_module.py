# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compile IR and call its functions with NumPy arrays."""

import ctypes
import os
from typing import Any, Dict, List, NamedTuple, Optional, Tuple, Union

import numpy as np
from numpy.typing import ArrayLike

from . import _library
from ._errors import CompileError, RunError, make_run_error
from ._library import Diagnostics, library


class _Element(NamedTuple):
    """An element type of the IR and how NumPy holds it."""

    name: str
    dtype: np.dtype
    limits: Optional[Tuple[int, int]] = None  # of an integer


def _integer(name: str, dtype: str, width: int) -> _Element:
    return _Element(name, np.dtype(dtype), (-(2 ** (width - 1)), 2 ** (width - 1) - 1))


def _unsigned(name: str, dtype: str, width: int) -> _Element:
    return _Element(name, np.dtype(dtype), (0, 2**width - 1))


# In the order of QtxElement.
ELEMENTS = (
    _Element("f16", np.dtype("float16")),
    _Element("f32", np.dtype("float32")),
    _Element("f64", np.dtype("float64")),
    _Element("i1", np.dtype("bool"), (0, 1)),
    _integer("i4", "int8", 4),
    _integer("i8", "int8", 8),
    _integer("i16", "int16", 16),
    _integer("i32", "int32", 32),
    _integer("i64", "int64", 64),
    _integer("index", "int64", 64),
    _unsigned("u4", "uint8", 4),
    _unsigned("u8", "uint8", 8),
    _unsigned("u16", "uint16", 16),
    _unsigned("u32", "uint32", 32),
)


class ValueInfo(NamedTuple):
    """An input or output of a function."""

    name: str
    element: str  # as in the IR: "f32", "i4", ...
    dtype: np.dtype  # of the NumPy array; i4 values are int8
    # Dynamic sizes are their names, or None where they have none.
    shape: Tuple[Union[int, str, None], ...]

    @property
    def element_index(self) -> int:
        """The number of the element type in the C interface."""
        return next(i for i, e in enumerate(ELEMENTS) if e.name == self.element)

    def __str__(self) -> str:
        sizes = "".join(f"{'?' if size is None else size}x" for size in self.shape)
        return f"{self.name}: {sizes}{self.element}"


class Function(NamedTuple):
    """The signature of a function."""

    name: str
    inputs: Tuple[ValueInfo, ...]
    outputs: Tuple[ValueInfo, ...]


class Handle:
    """Owns a handle of the C interface."""

    def __init__(self, destroy: str) -> None:
        self.pointer = ctypes.c_void_p()
        self._destroy = getattr(library(), destroy)

    def __del__(self) -> None:
        if getattr(self, "pointer", None):
            self._destroy(self.pointer)


def parse(text: str, name: str) -> Handle:
    if not isinstance(text, str):
        raise TypeError(f"expected IR as text, found {type(text).__name__}")
    data = text.encode()
    handle = Handle("qtxModuleDestroy")
    diagnostics = Diagnostics()
    status = library().qtxModuleParse(
        data, len(data), name.encode(), diagnostics.handler, ctypes.byref(handle.pointer)
    )
    diagnostics.check(status, CompileError)
    return handle


def compile_ir(
    text: str, name: str = "-", opt_level: Optional[int] = None, fast: bool = False
) -> "Module":
    """Parses, verifies, lowers and compiles the IR in `text` for this machine.

    The reference lowering is used, or with `fast` the micro-kernels that this machine
    has some for. `name` stands in the locations of messages.
    `opt_level` is LLVM's, 0 to 3: low levels compile sooner, high ones run faster, and
    results are the same. Without one it is that of the environment variable
    QTX_OPT_LEVEL, or 2. Raises `CompileError` with the diagnostics of the compiler.
    """
    if opt_level is None:
        opt_level = int(os.environ.get("QTX_OPT_LEVEL", "2"))
    module = parse(text, name)
    program = Handle("qtxProgramDestroy")
    diagnostics = Diagnostics()
    status = library().qtxProgramCreate(
        module.pointer,
        int(fast),
        opt_level,
        diagnostics.handler,
        ctypes.byref(program.pointer),
    )
    diagnostics.check(status, CompileError)
    return Module(program)


def run_passes(text: str, pipeline: str) -> str:
    """Runs passes on the IR in `text` and returns the resulting IR.

    `pipeline` is what `qtx-opt --pass-pipeline` takes, such as
    ``builtin.module(canonicalize)``. Raises `CompileError`.
    """
    module = parse(text, "-")
    diagnostics = Diagnostics()
    status = library().qtxModuleRunPasses(module.pointer, pipeline.encode(), diagnostics.handler)
    diagnostics.check(status, CompileError)
    return print_module(module)


def print_module(module: Handle) -> str:
    """The IR of a module as text."""
    pieces: List[bytes] = []
    callback = _library.STRING_CALLBACK(
        lambda data, length, _: pieces.append(ctypes.string_at(data, length))
    )
    library().qtxModulePrint(module.pointer, callback, None)
    return b"".join(pieces).decode()


def _as_array(value: Any) -> np.ndarray:
    """`value` as an array, without a copy if it lies in memory as one."""
    if hasattr(value, "__dlpack__") and not hasattr(value, "__array__"):
        return np.from_dlpack(value)
    return np.asarray(value)


def convert(value: ArrayLike, info: ValueInfo) -> np.ndarray:
    """`value` as a dense array of the dtype of an input.

    Integers and booleans of another width are converted if no value changes; Python
    numbers and lists of them take the dtype of the input. A floating-point array of
    another width is an error.
    """
    element = ELEMENTS[info.element_index]
    array = _as_array(value)
    is_plain = isinstance(value, (bool, int, float, list, tuple))
    if array.dtype.kind in "biu" and element.limits is not None:
        minimum, maximum = element.limits
        if array.size and (int(array.min()) < minimum or int(array.max()) > maximum):
            raise make_run_error(f"'{info.name}': values out of the range of {element.name}")
    elif array.dtype != element.dtype and not (
        is_plain and (array.dtype.kind in "biuf" or array.size == 0) and element.dtype.kind == "f"
    ):
        raise make_run_error(
            f"'{info.name}': expected an array of {element.dtype}, found {array.dtype}"
        )
    # Not ascontiguousarray: it makes rank 0 into rank 1.
    return np.asarray(array, dtype=element.dtype.newbyteorder("="), order="C")


class Module:
    """Compiled functions. Calls may run concurrently."""

    def __init__(self, program: Handle) -> None:
        self._program = program
        self._functions: Dict[str, Function] = {}

    @property
    def function_names(self) -> Tuple[str, ...]:
        """The public functions, in the order of the IR."""
        lib, pointer = library(), self._program.pointer
        count = lib.qtxProgramGetNumFunctions(pointer)
        return tuple(lib.qtxProgramGetFunctionName(pointer, i).decode() for i in range(count))

    def function(self, name: str) -> Function:
        """The signature of a function. Raises `RunError` if it cannot be called."""
        if name not in self._functions:
            self._functions[name] = Function(
                name,
                self._values(name, "qtxProgramGetNumInputs", "qtxProgramGetInput"),
                self._values(name, "qtxProgramGetNumOutputs", "qtxProgramGetOutput"),
            )
        return self._functions[name]

    def _values(self, name: str, count: str, get: str) -> Tuple[ValueInfo, ...]:
        lib, pointer, encoded = library(), self._program.pointer, name.encode()
        diagnostics = Diagnostics()
        number = ctypes.c_size_t()
        status = getattr(lib, count)(pointer, encoded, diagnostics.handler, ctypes.byref(number))
        diagnostics.check(status, RunError)
        values = []
        for index in range(number.value):
            raw = _library.ValueInfo()
            status = getattr(lib, get)(
                pointer, encoded, index, diagnostics.handler, ctypes.byref(raw)
            )
            diagnostics.check(status, RunError)
            element = ELEMENTS[raw.element]
            sizes = (raw.shape[i] for i in range(raw.rank))
            shape = tuple(None if size < 0 else size for size in sizes)
            values.append(ValueInfo(raw.name.decode(), element.name, element.dtype, shape))
        return tuple(values)

    def run(self, name: str, *arrays: ArrayLike) -> Tuple[np.ndarray, ...]:
        """Calls a function with one array per argument and returns its results.

        Quantized arguments and results are their storage integers, i4 values lie in
        int8 arrays, and numbers are arrays of rank 0. Raises `RunError` if an array
        does not fit its argument.
        """
        inputs = self.function(name).inputs
        if len(arrays) != len(inputs):
            raise make_run_error(
                f"function '{name}': expected {len(inputs)} arguments, found {len(arrays)}"
            )
        buffers = (_library.Buffer * len(inputs))()
        # Keeps the memory that the buffers point to.
        kept: List[Any] = []
        for buffer, info, value in zip(buffers, inputs, arrays):
            array = convert(value, info)
            shape = (ctypes.c_int64 * array.ndim)(*array.shape)
            kept += [array, shape]
            buffer.data = array.ctypes.data
            buffer.element, buffer.rank, buffer.shape = info.element_index, array.ndim, shape
        return self._invoke(name, buffers)

    def _invoke(self, name: str, buffers: Any) -> Tuple[np.ndarray, ...]:
        lib = library()
        results = Handle("qtxResultsDestroy")
        diagnostics = Diagnostics()
        status = lib.qtxProgramInvoke(
            self._program.pointer,
            name.encode(),
            buffers,
            len(buffers),
            diagnostics.handler,
            ctypes.byref(results.pointer),
        )
        diagnostics.check(status, RunError)
        return tuple(
            _copy_result(results, i) for i in range(lib.qtxResultsGetCount(results.pointer))
        )


def _copy_result(results: Handle, index: int) -> np.ndarray:
    buffer = _library.Buffer()
    library().qtxResultsGet(results.pointer, index, ctypes.byref(buffer))
    shape = tuple(buffer.shape[i] for i in range(buffer.rank))
    array = np.empty(shape, dtype=ELEMENTS[buffer.element].dtype)
    ctypes.memmove(array.ctypes.data, buffer.data, array.nbytes)
    return array
