# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What computes an encoder: qtx, and the peers through their own Python interfaces.

Each function loads one and returns a callable from inputs to the last hidden state.
Peers are imported when they are asked for: the rest runs without them.
"""

import ctypes
import json

import numpy as np

import models

ELEMENTS = {"f32": np.float32, "i64": np.int64, "i32": np.int32, "i8": np.int8, "i1": np.bool_}


class QtxLibrary:
    """A shared library that qtxc made, called through its C interface."""

    def __init__(self, path):
        library = ctypes.CDLL(str(path))
        name = path.stem if not hasattr(library, "encoder_run") else "encoder"
        text = ctypes.string_at(ctypes.addressof(
            ctypes.c_char.in_dll(library, f"{name}_signature")))
        self.signature = json.loads(text)
        self._run = getattr(library, f"{name}_run")
        self._output_shape = getattr(library, f"{name}_output_shape")
        self._workspace_size = getattr(library, f"{name}_workspace_size")
        self._plans = {}

    def __call__(self, feed):
        inputs = [feed[port["name"]] for port in self.signature["inputs"]]
        key = tuple(array.shape for array in inputs)
        if key not in self._plans:
            self._plans[key] = self._plan(inputs)
        dims, shapes, workspace = self._plans[key]
        outputs = [np.empty(shape, dtype) for shape, dtype in shapes]
        status = self._run(
            *(array.ctypes.data_as(ctypes.c_void_p) for array in inputs + outputs), dims,
            ctypes.c_void_p(workspace.ctypes.data), ctypes.c_size_t(workspace.nbytes))
        if status:
            raise RuntimeError(f"status {status}")
        return outputs[0]

    def _plan(self, inputs):
        sizes = {}
        for port, array in zip(self.signature["inputs"], inputs):
            if array.dtype != ELEMENTS[port["element"]] or not array.flags.c_contiguous:
                raise RuntimeError(f"expected dense {port['element']} for {port['name']}")
            sizes |= {size: found for size, found in zip(port["shape"], array.shape)
                      if isinstance(size, str)}
        names = [dim["name"] for dim in self.signature["dims"]]
        dims = (ctypes.c_int64 * max(1, len(names)))(*(sizes[name] for name in names))
        shapes = []
        for index, port in enumerate(self.signature["outputs"]):
            shape = (ctypes.c_int64 * len(port["shape"]))()
            if self._output_shape(index, dims, shape):
                raise RuntimeError("size out of range")
            shapes.append((tuple(shape), ELEMENTS[port["element"]]))
        needed = ctypes.c_int64()
        if self._workspace_size(dims, ctypes.byref(needed)):
            raise RuntimeError("size out of range")
        return dims, shapes, np.empty(needed.value, np.uint8)


def load_qtx(recipe):
    def load(encoder, amx, threads):
        return QtxLibrary(models.get_object(encoder, recipe, amx, threads))
    return load


def load_openvino(get_model, **hints):
    def load(encoder, _amx, threads):
        import openvino

        model = openvino.Core().read_model(get_model(encoder))
        compiled = openvino.compile_model(model, "CPU", {
            "PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads,
            "ENABLE_CPU_PINNING": False, **hints})
        request = compiled.create_infer_request()

        def run(feed):
            request.infer(feed, share_inputs=True)
            return request.get_output_tensor(0).data

        run.note = f"precision {compiled.get_property('INFERENCE_PRECISION_HINT').to_string()}"
        return run
    return load


def load_onnxruntime(get_model):
    def load(encoder, _amx, threads):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(
            str(get_model(encoder)), options, providers=["CPUExecutionProvider"])
        return lambda feed: session.run(None, feed)[0]
    return load


def load_ctranslate2(encoder, _amx, threads):
    import ctranslate2

    model = ctranslate2.Encoder(str(models.get_ctranslate2_int8(encoder)), compute_type="int8",
                                intra_threads=threads)

    def run(feed):
        ids = ctranslate2.StorageView.from_array(feed["input_ids"].astype(np.int32))
        lengths = feed["attention_mask"].sum(1).astype(np.int32)
        output = model.forward_batch(ids, ctranslate2.StorageView.from_array(lengths))
        return np.asarray(output.last_hidden_state)

    return run


ENCODERS = {
    "qtx int8": load_qtx("int8"),
    "qtx none": load_qtx("none"),
    "OpenVINO NNCF int8": load_openvino(models.get_openvino_int8),
    "OpenVINO fp32": load_openvino(models.get_onnx, INFERENCE_PRECISION_HINT="f32"),
    "ONNX Runtime fp32": load_onnxruntime(models.get_onnx),
    "ONNX Runtime dynamic int8": load_onnxruntime(models.get_onnxruntime_int8),
    "CTranslate2 int8": load_ctranslate2,
}
