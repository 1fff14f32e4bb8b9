# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What computes an encoder: qtx, and the peers through their own Python interfaces.

Each function loads one and returns a callable from inputs to the last hidden state.
Peers are imported when they are asked for: the rest runs without them.
"""

import numpy as np

import machine
import models

# The note of a contender that is not held to the instructions of a run.
ALL_INSTRUCTIONS = "all instructions of the machine"


def load_qtx(recipe):
    def load(encoder, isa, threads):
        import qtx

        model = qtx.load(models.get_object(encoder, recipe, isa, threads))
        return lambda feed: model(**feed)[0]
    return load


def load_single_qtx(encoder, isa, _threads):
    """The object of one thread, in turn with that of more: clocks change within minutes."""
    return load_qtx(models.get_recipe(isa))(encoder, isa, 1)


def load_static_qtx(encoder, isa, threads):
    """An object of its own for each length that goals name."""
    import qtx

    objects = {size: qtx.load(models.get_object(encoder, models.get_recipe(isa), isa, threads, size))
               for size in STATIC_SIZES}

    def run(feed):
        return objects[feed["input_ids"].shape[1]](**feed)[0]

    run.sizes = STATIC_SIZES
    return run


def load_openvino(get_model, **hints):
    def load(encoder, isa, threads):
        import openvino

        model = openvino.Core().read_model(get_model(encoder))
        # It asks the CPU, not oneDNN's limit, whether bf16 is what it takes by default.
        precision = {"INFERENCE_PRECISION_HINT": "f32"} if isa in machine.SMALL_ISAS else {}
        compiled = openvino.compile_model(model, "CPU", {
            "PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads,
            "ENABLE_CPU_PINNING": False, **precision, **hints})
        request = compiled.create_infer_request()

        def run(feed):
            request.infer(feed, share_inputs=True)
            return request.get_output_tensor(0).data

        run.note = f"precision {compiled.get_property('INFERENCE_PRECISION_HINT').to_string()}"
        return run
    return load


def load_onnxruntime(get_model):
    def load(encoder, isa, threads):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(
            str(get_model(encoder)), options, providers=["CPUExecutionProvider"])

        def run(feed):
            return session.run(None, feed)[0]

        # No setting narrows what it uses.
        is_wider = isa in machine.SMALL_ISAS and any(map(machine.can_run, machine.NARROWED[isa]))
        run.note = ALL_INSTRUCTIONS if is_wider else ""
        return run
    return load


def load_ctranslate2(encoder, _isa, threads):
    import ctranslate2

    model = ctranslate2.Encoder(str(models.get_ctranslate2_int8(encoder)), compute_type="int8",
                                intra_threads=threads)

    def run(feed):
        ids = ctranslate2.StorageView.from_array(feed["input_ids"].astype(np.int32))
        lengths = feed["attention_mask"].sum(1).astype(np.int32)
        output = model.forward_batch(ids, ctranslate2.StorageView.from_array(lengths))
        return np.asarray(output.last_hidden_state)

    return run


# Sequences, and which contender is made for each of them alone.
STATIC_SIZES = (128, 384)
STATIC = "qtx int8 static"
# Beside the object of several threads.
SINGLE = "qtx int8 on one thread"


def get_own_name(isa):
    """The contender that peers are compared with."""
    return f"qtx {models.get_recipe(isa)}"


ENCODERS = {
    "qtx int8": load_qtx("int8"),
    "qtx int8-avx2": load_qtx("int8-avx2"),
    STATIC: load_static_qtx,
    SINGLE: load_single_qtx,
    "qtx none": load_qtx("none"),
    "OpenVINO NNCF int8": load_openvino(models.get_openvino_int8),
    "OpenVINO fp32": load_openvino(models.get_onnx, INFERENCE_PRECISION_HINT="f32"),
    "ONNX Runtime fp32": load_onnxruntime(models.get_onnx),
    "ONNX Runtime dynamic int8": load_onnxruntime(models.get_onnxruntime_int8),
    "CTranslate2 int8": load_ctranslate2,
}
