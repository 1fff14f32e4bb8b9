# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The encoders that are timed, as files of each contender, below build/bench/models.

A file is made once, and again when the compiler is newer than it.
"""

import dataclasses
import functools
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

import numpy as np

from machine import BUILD, ROOT

sys.path[:0] = [str(ROOT / name) for name in ("python", "python/examples/sentence_encoder", "test/lib")]

FOLDER = BUILD / "bench/models"
QTXC = BUILD / "bin/qtxc"
CALIBRATION_TEXTS = 256
EVALUATION_TEXTS = 2000
# What makes code for each instruction set that is timed; this machine's own has AMX.
FLAGS = {"amx": [], "avx512": ["-mattr=-amx-tile,-amx-int8,-amx-bf16"], "avx2": ["-mcpu=x86-64-v3"],
         "avx-vnni": ["-mcpu=x86-64-v3", "-mattr=+avxvnni"]}


@dataclasses.dataclass(frozen=True)
class Encoder:
    """A model of the BERT family."""

    name: str
    layers: int
    hidden: int
    heads: int
    intermediate: int
    vocabulary: int = 30522
    positions: int = 512

    def count_operations(self, batch, sequence):
        """Additions and multiplications of linears and both products of attention."""
        tokens = batch * sequence
        linears = 2 * tokens * self.hidden * (4 * self.hidden + 2 * self.intermediate)
        return self.layers * (linears + 4 * tokens * sequence * self.hidden)

    @property
    def folder(self):
        return FOLDER / self.name


MINILM = Encoder("minilm", 6, 384, 12, 1536)
BERT = Encoder("bert-base", 12, 768, 12, 3072)
TINY = Encoder("tiny", 2, 64, 4, 128, vocabulary=100, positions=512)
ENCODERS = {encoder.name: encoder for encoder in (MINILM, BERT, TINY)}


def make(path, write, newer_than=()):
    """Calls `write(temporary)` unless `path` is there and newer than some files."""
    path = pathlib.Path(path)
    if path.exists() and all(path.stat().st_mtime > other.stat().st_mtime
                             for other in newer_than):
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"new-{path.name}")
    if temporary.is_dir():
        shutil.rmtree(temporary)
    print(f"making {path.relative_to(FOLDER.parent)}", flush=True)
    write(temporary)
    if path.is_dir():
        shutil.rmtree(path)
    os.replace(temporary, path)
    return path


def find_sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# ---- checkpoints, ONNX -------------------------------------------------------

def list_shapes(encoder):
    """Names and shapes of the weights of a HuggingFace checkpoint."""
    d, n = encoder.hidden, encoder.intermediate
    shapes = {
        "embeddings.word_embeddings.weight": (encoder.vocabulary, d),
        "embeddings.position_embeddings.weight": (encoder.positions, d),
        "embeddings.token_type_embeddings.weight": (2, d),
        "embeddings.LayerNorm.weight": (d,),
        "embeddings.LayerNorm.bias": (d,),
    }
    for layer in range(encoder.layers):
        base = f"encoder.layer.{layer}"
        sizes = {"attention.self.query": (d, d), "attention.self.key": (d, d),
                 "attention.self.value": (d, d), "attention.output.dense": (d, d),
                 "intermediate.dense": (n, d), "output.dense": (d, n)}
        for name, shape in sizes.items():
            shapes |= {f"{base}.{name}.weight": shape, f"{base}.{name}.bias": shape[:1]}
        for name in ("attention.output", "output"):
            shapes |= {f"{base}.{name}.LayerNorm.{part}": (d,) for part in ("weight", "bias")}
    return shapes


def write_random_checkpoint(encoder, folder):
    """A checkpoint with the weights that training starts from."""
    from safetensors.numpy import save_file

    rng = np.random.default_rng(0)
    weights = {}
    for name, shape in list_shapes(encoder).items():
        if name.endswith("LayerNorm.weight"):
            weights[name] = np.ones(shape, np.float32)
        elif name.endswith("bias"):
            weights[name] = np.zeros(shape, np.float32)
        else:
            weights[name] = rng.standard_normal(shape, np.float32) * np.float32(0.02)
    folder.mkdir(parents=True)
    save_file(weights, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({
        "model_type": "bert", "hidden_act": "gelu", "layer_norm_eps": 1e-12,
        "hidden_size": encoder.hidden, "intermediate_size": encoder.intermediate,
        "max_position_embeddings": encoder.positions, "num_attention_heads": encoder.heads,
        "num_hidden_layers": encoder.layers, "type_vocab_size": 2,
        "vocab_size": encoder.vocabulary}))


def get_checkpoint(encoder):
    if encoder is MINILM:
        from demo import find_model
        try:
            return find_model()
        except SystemExit as error:
            raise FileNotFoundError(str(error)) from None
    return make(encoder.folder / "checkpoint", functools.partial(write_random_checkpoint, encoder))


def get_onnx(encoder):
    from qtx.huggingface import export_onnx

    return make(encoder.folder / "model.onnx",
                lambda path: export_onnx(get_checkpoint(encoder), path))


def get_sized_onnx(encoder, size):
    """The model with a batch of one and sequences of `size`."""
    def write(path):
        import onnx

        model = onnx.load(get_onnx(encoder))
        sizes = {"batch": 1, "sequence": size}
        for value in (*model.graph.input, *model.graph.output):
            for dim in value.type.tensor_type.shape.dim:
                if dim.dim_param:
                    dim.dim_value = sizes[dim.dim_param]
        onnx.save(model, path)

    return make(encoder.folder / f"model-{size}.onnx", write)


# ---- data --------------------------------------------------------------------

def make_feed(ids, mask=None):
    ids = np.ascontiguousarray(ids, np.int64)
    mask = np.ones_like(ids) if mask is None else np.ascontiguousarray(mask, np.int64)
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}


def make_feeds(encoder, batch, sequence, count=8):
    """Inputs of one shape: every fourth is padded, to a half up to the whole length."""
    rng = np.random.default_rng(batch * 1000 + sequence)
    feeds = []
    for index in range(count):
        ids = rng.integers(0, encoder.vocabulary, (batch, sequence))
        lengths = np.full(batch, sequence)
        if index % 4 == 3:
            lengths = rng.integers((sequence + 1) // 2, sequence + 1, batch)
        mask = np.arange(sequence) < lengths[:, None]
        feeds.append(make_feed(ids * mask, mask))
    return feeds


@functools.lru_cache(maxsize=None)
def read_texts():
    """Token ids of the demo's texts: for calibration, and for evaluation."""
    import demo
    import wordnet
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(demo.find_model() / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(demo.MAX_TOKENS)
    texts = wordnet.choose_texts(CALIBRATION_TEXTS, EVALUATION_TEXTS)
    return (demo.tokenize(tokenizer, texts.calibration),
            demo.tokenize(tokenizer, texts.queries + texts.definitions))


def write_calibration(encoder, path):
    """The demo's texts, or random ids where the vocabulary is another one."""
    if encoder.vocabulary == MINILM.vocabulary:
        from demo import write_calibration as write_demo

        write_demo(path, read_texts()[0])
        return
    rng = np.random.default_rng(1)
    np.savez(path, **make_feed(rng.integers(0, encoder.vocabulary, (16, 128))))


def get_calibration(encoder):
    # NumPy appends the suffix to names that lack it.
    return make(encoder.folder / "calibration.npz", functools.partial(write_calibration, encoder))


def get_sized_calibration(encoder, size):
    """The same, cut or padded to sequences of `size`."""
    def write(path):
        with np.load(get_calibration(encoder)) as arrays:
            cut = {name: array[:, :size] for name, array in arrays.items()}
        np.savez(path, **{name: np.pad(array, ((0, 0), (0, size - array.shape[1])))
                          for name, array in cut.items()})

    return make(encoder.folder / f"calibration-{size}.npz", write)


def read_calibration(encoder):
    """One feed without padding for each sample."""
    with np.load(get_calibration(encoder)) as arrays:
        for ids, mask in zip(arrays["input_ids"], arrays["attention_mask"]):
            yield make_feed(ids[None, : mask.sum()])


# ---- qtx ---------------------------------------------------------------------

class CompileError(Exception):
    """What qtxc said."""


def run_qtxc(arguments):
    """Runs the compiler; returns seconds, peak memory in MiB and its messages."""
    command = list(map(str, [QTXC, *arguments]))
    start = time.perf_counter()
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        messages = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        errors = [line for line in messages.splitlines() if "error" in line]
        raise CompileError(errors[0] if errors else f"exit code {process.returncode}")
    return {"seconds": time.perf_counter() - start, "cpu_seconds": usage.ru_utime + usage.ru_stime,
            "peak_mib": usage.ru_maxrss / 1024, "messages": messages}


def get_recipe(isa):
    """The recipe of integers that goals speak of: on AVX2 that whose weights it multiplies fastest."""
    return "int8-avx2" if isa == "avx2" else "int8"


def get_flags(isa, threads):
    return FLAGS[isa] + ([f"--threads={threads}"] if threads > 1 else [])


def get_data_flags(encoder, recipe, size=None):
    """What names the samples, where a recipe reads some."""
    if recipe in ("none", "w8a8-dynamic"):
        return []
    return [f"--calibrate={get_calibration(encoder) if size is None else get_sized_calibration(encoder, size)}"]


def get_object(encoder, recipe, isa, threads, size=None):
    """The shared library that qtxc makes of the model, or of the one that takes batches of
    one and sequences of `size` alone."""
    path = encoder.folder / f"{recipe}-{isa}-{threads}{f'-{size}' if size else ''}.so"
    model = get_onnx(encoder) if size is None else get_sized_onnx(encoder, size)

    def write(temporary):
        run_qtxc([model, "-o", temporary, "--emit=lib", "--name=encoder", f"--recipe={recipe}",
                  *get_data_flags(encoder, recipe, size), *get_flags(isa, threads)])
        temporary.with_suffix(".h").unlink()

    return make(path, write, newer_than=[QTXC, model])


# ---- peers -------------------------------------------------------------------

def get_openvino_int8(encoder):
    """The model quantized by NNCF, with its preset for transformers."""
    def write(folder):
        import nncf
        import openvino

        samples = list(read_calibration(encoder))
        model = nncf.quantize(
            openvino.Core().read_model(get_onnx(encoder)), nncf.Dataset(samples),
            model_type=nncf.ModelType.TRANSFORMER, subset_size=len(samples))
        openvino.save_model(model, folder / "model.xml", compress_to_fp16=False)

    return make(encoder.folder / "openvino-int8", write) / "model.xml"


def get_onnxruntime_int8(encoder):
    def write(path):
        from onnxruntime.quantization import QuantType, quantize_dynamic

        quantize_dynamic(get_onnx(encoder), path, per_channel=True, weight_type=QuantType.QInt8)

    return make(encoder.folder / "dynamic.onnx", write)


def get_ctranslate2_int8(encoder):
    return make(encoder.folder / "ctranslate2",
                functools.partial(write_ctranslate2, encoder, "int8"))


def write_ctranslate2(encoder, quantization, folder):
    """Converts the checkpoint; CTranslate2's own converter would need torch."""
    from ctranslate2.converters import utils
    from ctranslate2.specs import common_spec, transformer_spec
    from safetensors.numpy import load_file

    weights = load_file(get_checkpoint(encoder) / "model.safetensors")

    def fill(spec, name, norm=False):
        weight = weights[f"{name}.weight"].astype(np.float32)
        if norm:
            spec.gamma, spec.beta = weight, weights[f"{name}.bias"].astype(np.float32)
        else:
            spec.weight, spec.bias = weight, weights[f"{name}.bias"].astype(np.float32)

    body = transformer_spec.TransformerEncoderSpec(
        encoder.layers, encoder.heads, pre_norm=False, activation=common_spec.Activation.GELU,
        layernorm_embedding=True, num_source_embeddings=2,
        embeddings_merge=common_spec.EmbeddingsMerge.ADD)
    spec = transformer_spec.TransformerEncoderModelSpec(body)
    body.scale_embeddings = False
    for target, name in ((body.embeddings[0], "word"), (body.embeddings[1], "token_type")):
        target.weight = weights[f"embeddings.{name}_embeddings.weight"]
    body.position_encodings.encodings = weights["embeddings.position_embeddings.weight"]
    fill(body.layernorm_embedding, "embeddings.LayerNorm", norm=True)
    for index, layer in enumerate(body.layer):
        base = f"encoder.layer.{index}"
        parts = [common_spec.LinearSpec() for _ in range(3)]
        for part, name in zip(parts, ("query", "key", "value")):
            fill(part, f"{base}.attention.self.{name}")
        utils.fuse_linear(layer.self_attention.linear[0], parts)
        fill(layer.self_attention.linear[1], f"{base}.attention.output.dense")
        fill(layer.self_attention.layer_norm, f"{base}.attention.output.LayerNorm", norm=True)
        fill(layer.ffn.linear_0, f"{base}.intermediate.dense")
        fill(layer.ffn.linear_1, f"{base}.output.dense")
        fill(layer.ffn.layer_norm, f"{base}.output.LayerNorm", norm=True)
    spec.config.layer_norm_epsilon = 1e-12
    spec.register_vocabulary([f"token{i}" for i in range(encoder.vocabulary)])
    spec.validate()
    spec.optimize(quantization=quantization)
    folder.mkdir()
    spec.save(str(folder))
