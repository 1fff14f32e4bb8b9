# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compile models to machine code and call them with NumPy arrays."""

import ctypes
import json
import os
import threading
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Union

import numpy as np
from numpy.typing import ArrayLike

from . import _library
from . import report as _report
from ._calibrate import Samples, open_samples
from ._errors import CompileError, RunError, make_run_error
from ._library import Diagnostics, library
from ._module import ELEMENTS, Handle, ValueInfo, convert
from ._progress import Progress, ProgressCallback
from ._source import ModelSource, Path, make_options, open_model

Outputs = Union[np.ndarray, Sequence[Optional[np.ndarray]], Mapping[str, np.ndarray]]


class Dim(NamedTuple):
    """A dynamic size, which inputs share by its name."""

    name: str
    minimum: int
    maximum: int


class Signature(NamedTuple):
    """What a model takes and gives, and the machine that it needs."""

    name: str
    inputs: Tuple[ValueInfo, ...]
    outputs: Tuple[ValueInfo, ...]
    dims: Tuple[Dim, ...]
    threads: int
    triple: str
    cpu: str
    features: str

    def __str__(self) -> str:
        inputs = ", ".join(map(str, self.inputs))
        return f"{self.name}({inputs}) -> ({', '.join(map(str, self.outputs))})"


class _Plan(NamedTuple):
    """What calls with inputs of the same shapes share."""

    dims: Any  # array of c_int64
    shapes: Tuple[Tuple[int, ...], ...]  # of the outputs


# More combinations of shapes than a caller with dynamic sizes keeps coming back to.
_MAX_PLANS = 4096


class Model:
    """A compiled model. Calls may run concurrently, and without Python's lock."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle
        text = library().qtxModelGetSignature(handle.pointer)
        self._signature = _read_signature(json.loads(text))
        inputs, outputs = self._signature.inputs, self._signature.outputs
        self._input_dtypes = tuple(info.dtype for info in inputs)
        self._output_dtypes = tuple(info.dtype for info in outputs)
        self._positions = {info.name: i for i, info in enumerate(inputs)}
        self._input_pointers = ctypes.c_void_p * len(inputs)
        self._output_pointers = ctypes.c_void_p * len(outputs)
        self._run = library().qtxModelRun
        self._plans: Dict[Tuple[Tuple[int, ...], ...], _Plan] = {}
        self._local = threading.local()

    @property
    def signature(self) -> Signature:
        return self._signature

    @property
    def report(self) -> Optional[_report.Report]:
        """What became of each edge and layer; None if the model was loaded."""
        text = library().qtxModelGetReport(self._handle.pointer)
        return None if text is None else _report.loads(text.decode())

    def __repr__(self) -> str:
        return f"<qtx.Model {self._signature}>"

    def save(self, path: Path) -> None:
        """Writes an object file (.o) or a shared library (.so).

        The C header comes beside it, unless the model was loaded from a file. Raises
        `CompileError`.
        """
        diagnostics = Diagnostics()
        status = library().qtxModelSave(
            self._handle.pointer, os.fsencode(path), diagnostics.handler
        )
        diagnostics.check(status, CompileError)

    def __call__(
        self, *arrays: ArrayLike, out: Optional[Outputs] = None, **named: ArrayLike
    ) -> Tuple[np.ndarray, ...]:
        """Runs the model on one array per input, by position, then by name.

        C-contiguous arrays of the dtype of the input are read where they are; others
        are converted first, if no value changes by it. Returns the outputs in the order
        of the model, in new arrays or in those of `out`: the array of the only output, a
        sequence with None for those to be made, or a mapping from the names of some.
        These must have the very dtype and shape of the output, be C-contiguous and
        share no memory with anything else. Raises `RunError` where arrays do not fit.
        """
        values = arrays if not named else self._order(arrays, named)
        if len(values) != len(self._input_dtypes):
            raise make_run_error(
                f"expected {len(self._input_dtypes)} inputs, found {len(values)}"
            )
        inputs = [
            value
            if type(value) is np.ndarray
            and value.dtype == dtype
            and value.flags.c_contiguous
            and value.flags.aligned
            else convert(value, self._signature.inputs[i])
            for i, (value, dtype) in enumerate(zip(values, self._input_dtypes))
        ]
        plan = self._find_plan(inputs)
        if out is None:
            outputs = tuple(map(np.empty, plan.shapes, self._output_dtypes))
        else:
            outputs = self._take_outputs(out, plan, inputs)
        diagnostics = self._diagnostics()
        status = self._run(
            self._handle.pointer,
            self._input_pointers(*map(_get_address, inputs)),
            self._output_pointers(*map(_get_address, outputs)),
            plan.dims,
            diagnostics.handler,
        )
        if status:
            diagnostics.check(status, RunError)
        return outputs

    def _diagnostics(self) -> Diagnostics:
        """Those of this thread: they take longer to make than a small model to run."""
        diagnostics: Optional[Diagnostics] = getattr(self._local, "diagnostics", None)
        if diagnostics is None:
            diagnostics = self._local.diagnostics = Diagnostics()
        diagnostics.messages.clear()
        return diagnostics

    def _order(
        self, arrays: Tuple[ArrayLike, ...], named: Mapping[str, ArrayLike]
    ) -> List[ArrayLike]:
        """All inputs in the order of the signature."""
        infos = self._signature.inputs
        if len(arrays) > len(infos):
            raise make_run_error(
                f"expected {len(infos)} inputs, found {len(arrays) + len(named)}"
            )
        values: Dict[str, ArrayLike] = dict(zip(self._positions, arrays))
        for name, value in named.items():
            if name not in self._positions:
                raise make_run_error(
                    f"unknown input '{name}': expected {', '.join(self._positions)}"
                )
            if name in values:
                raise make_run_error(f"input '{name}': expected once, found twice")
            values[name] = value
        missing = [name for name in self._positions if name not in values]
        if missing:
            raise make_run_error(f"missing inputs: {', '.join(missing)}")
        return [values[name] for name in self._positions]

    def _find_plan(self, inputs: List[np.ndarray]) -> _Plan:
        key = tuple([array.shape for array in inputs])
        plan = self._plans.get(key)
        if plan is None:
            plan = self._make_plan(inputs)
            if len(self._plans) >= _MAX_PLANS:
                self._plans.clear()
            self._plans[key] = plan
        return plan

    def _make_plan(self, inputs: List[np.ndarray]) -> _Plan:
        diagnostics = Diagnostics()
        buffers = (_library.Buffer * len(inputs))()
        for buffer, array, info in zip(buffers, inputs, self._signature.inputs):
            buffer.element = info.element_index
            buffer.rank = array.ndim
            buffer.shape = (ctypes.c_int64 * array.ndim)(*array.shape)
        # A pointer even where there is no dim.
        dims = (ctypes.c_int64 * max(len(self._signature.dims), 1))()
        status = library().qtxModelGetDims(
            self._handle.pointer, buffers, len(buffers), diagnostics.handler, dims
        )
        diagnostics.check(status, RunError)
        shapes = []
        for index, info in enumerate(self._signature.outputs):
            sizes = (ctypes.c_int64 * max(len(info.shape), 1))()
            status = library().qtxModelGetOutputShape(
                self._handle.pointer, index, dims, diagnostics.handler, sizes
            )
            diagnostics.check(status, RunError)
            shapes.append(tuple(sizes[: len(info.shape)]))
        return _Plan(dims, tuple(shapes))

    def _take_outputs(
        self, out: Outputs, plan: _Plan, inputs: List[np.ndarray]
    ) -> Tuple[np.ndarray, ...]:
        infos = self._signature.outputs
        if isinstance(out, np.ndarray):
            out = [out]
        if isinstance(out, Mapping):
            unknown = [name for name in out if all(name != info.name for info in infos)]
            if unknown:
                raise make_run_error(f"unknown outputs: {', '.join(map(str, unknown))}")
            given: List[Optional[np.ndarray]] = [out.get(info.name) for info in infos]
        elif isinstance(out, Sequence):
            given = list(out)
        else:
            raise TypeError(
                "expected an array, a sequence or a mapping of outputs, "
                f"found {type(out).__name__}"
            )
        if len(given) != len(infos):
            raise make_run_error(f"expected {len(infos)} outputs, found {len(given)}")
        outputs: List[np.ndarray] = []
        for array, info, shape in zip(given, infos, plan.shapes):
            if array is None:
                array = np.empty(shape, info.dtype)
            else:
                _check_output(array, info, shape, inputs + outputs)
            outputs.append(array)
        return tuple(outputs)


def _get_address(array: np.ndarray) -> int:
    # A third of the time that `array.ctypes.data` takes.
    address: int = array.__array_interface__["data"][0]
    return address


def _check_output(
    array: Any, info: ValueInfo, shape: Tuple[int, ...], others: List[np.ndarray]
) -> None:
    """Raises unless the model can write this output to `array`."""

    def fail(text: str) -> None:
        raise make_run_error(f"output '{info.name}': {text}")

    if not isinstance(array, np.ndarray):
        fail(f"expected a NumPy array, found {type(array).__name__}")
    if array.dtype != info.dtype or array.shape != shape:
        fail(f"expected {info.dtype} of shape {shape}, found {array.dtype} of shape {array.shape}")
    if not array.flags.c_contiguous or not array.flags.behaved:
        fail("expected a writeable, aligned and C-contiguous array")
    if any(np.may_share_memory(array, other) for other in others):
        fail("expected memory of its own, found some of another array of the call")


def _read_value(value: Dict[str, Any]) -> ValueInfo:
    index = next(i for i, e in enumerate(ELEMENTS) if e.name == value["element"])
    shape = tuple(value["shape"])
    return ValueInfo(value["name"], value["element"], ELEMENTS[index].dtype, shape)


def _read_signature(text: Dict[str, Any]) -> Signature:
    target = text["target"]
    return Signature(
        text["name"],
        tuple(map(_read_value, text["inputs"])),
        tuple(map(_read_value, text["outputs"])),
        tuple(Dim(dim["name"], dim["min"], dim["max"]) for dim in text["dims"]),
        text["threads"],
        target["triple"],
        target["cpu"],
        target["features"],
    )


def load(path: Path) -> Model:
    """The model in an object file or a shared library. Raises `CompileError`."""
    handle = Handle("qtxModelDestroy")
    diagnostics = Diagnostics()
    status = library().qtxModelLoad(
        os.fsencode(path), diagnostics.handler, ctypes.byref(handle.pointer)
    )
    diagnostics.check(status, CompileError)
    return Model(handle)


def compile(  # pylint: disable=redefined-builtin
    model: ModelSource,
    *,
    calibrate: Optional[Samples] = None,
    recipe: str = "int8",
    observer: Optional[str] = None,
    name: str = "model",
    cpu: Optional[str] = None,
    features: Optional[str] = None,
    opt_level: int = 2,
    threads: int = 1,
    weights: Optional[str] = None,
    reference: bool = False,
    simulate: bool = False,
    verify: bool = False,
    tune: Union[bool, Path] = False,
    report: Optional[Path] = None,
    dump_stages: Optional[Path] = None,
    progress: Optional[ProgressCallback] = None,
) -> Model:
    """Compiles a model to machine code.

    `model` is the path of a file (.onnx or .mlir), IR as text of several lines, or an
    `onnx.ModelProto` with its weights inside.

    `calibrate`: samples that `recipe` takes ranges from, as `qtx.calibrate` takes them;
    `observer`: how. `recipe`: how to quantize (docs/Recipes.md), ``none`` for float.
    `name`: prefix of the C functions. `cpu`, `features`: what the code may use, as
    LLVM has it, ``sapphirerapids`` and ``+avx2,-fma`` for example; that of this machine
    by default. `opt_level`: LLVM's, 0 to 3. `threads`: the most that a call uses
    (docs/HowTo/LinkAModel.md). `weights`: the name of a file that `save` writes beside
    the code, which then holds no weights. `reference`: lower everything by the
    reference path. `simulate`: compute in float what the quantized model computes in
    integers (docs/HowTo/Verify.md). `verify`: fail unless the code agrees with the reference on
    the samples (docs/HowTo/Verify.md). `tune`: time configurations of linear layers on this machine, and
    keep the best in a file, the named one or the user's (docs/HowTo/Tune.md). `report`: a
    file (.json or .html) for the report, which then also says what quantization costs.
    `dump_stages`: a folder for the IR after each stage.
    `progress`: called while stages run over samples, as by `qtx.calibrate`.

    Raises `CompileError` with the diagnostics of the compiler.
    """
    options: Dict[str, Optional[str]] = {
        "recipe": os.fspath(recipe), "name": name, "O": str(opt_level), "observer": observer,
        "threads": str(threads), "mcpu": cpu, "mattr": features, "weights": weights,
        "report": None if report is None else os.fspath(report),
        "dump-stages": None if dump_stages is None else os.fspath(dump_stages),
    }
    options = {key: value for key, value in options.items() if value is not None}
    switches = {"reference": reference, "simulate": simulate, "verify": verify}
    options.update((key, None) for key, value in switches.items() if value)
    if tune is not False:
        options["tune"] = None if tune is True else os.fspath(tune)
    module = open_model(model)
    if calibrate is None:
        return _compile(module, options, progress)
    with open_samples(calibrate) as path:
        return _compile(module, {**options, "calibrate": str(path)}, progress)


def _compile(
    module: Handle, options: Mapping[str, Optional[str]], progress: Optional[ProgressCallback]
) -> Model:
    texts = make_options(options)
    handle = Handle("qtxModelDestroy")
    diagnostics, report = Diagnostics(), Progress(progress)
    status = library().qtxModelCompile(
        module.pointer, texts, len(texts), ctypes.byref(report.handler), diagnostics.handler,
        ctypes.byref(handle.pointer),
    )
    report.check()
    diagnostics.check(status, CompileError)
    diagnostics.warn()
    return Model(handle)
