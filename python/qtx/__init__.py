# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compile and run quantized transformers.

The package drives the C interface of the compiler, ``libqtx-c.so``. An installed package
holds it; one that is used in the repository looks into ``build/lib``. The environment
variable ``QTX_LIBRARY_PATH`` names another file, or the folder it is in.

    import numpy as np, qtx
    model = qtx.compile("encoder.onnx", calibrate="samples.npz", recipe="int8")
    (states,) = model(input_ids=ids, attention_mask=mask)
    model.save("encoder.o")

IR is compiled and called function by function:

    module = qtx.compile_ir('''
      func.func @main(%x: tensor<?xf32>) -> tensor<?xi8> {
        %q = qtx.quantize %x to !quant.uniform<i8:f32, 0.5:3> : tensor<?xf32> -> tensor<?xi8>
        return %q : tensor<?xi8>
      }''')
    (q,) = module.run("main", np.float32([0.2, -1.0, 100.0]))
"""

from . import report
from ._calibrate import Samples, calibrate
from ._errors import CompileError, Diagnostic, Error, RunError
from ._model import Dim, Model, Signature, compile, load
from ._module import Function, Module, ValueInfo, compile_ir, run_passes
from ._progress import ProgressCallback, progress_bar
from ._source import ModelSource

__all__ = [
    "CompileError",
    "Diagnostic",
    "Dim",
    "Error",
    "Function",
    "Model",
    "ModelSource",
    "Module",
    "ProgressCallback",
    "RunError",
    "Samples",
    "Signature",
    "ValueInfo",
    "calibrate",
    "compile",
    "compile_ir",
    "load",
    "progress_bar",
    "report",
    "run_passes",
]
