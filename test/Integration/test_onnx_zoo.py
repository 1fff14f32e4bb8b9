# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Architectures with small random weights, exported by torch, against ONNX Runtime.

Each is compiled to a library by the fast path and by the reference path.

It takes the packages torch, transformers and, for the dynamo exporter, onnxscript; where
they are absent, as in the default run, all of this is skipped. See docs/ModelZoo.md.
"""

import contextlib
import importlib.util
import io
import warnings
from typing import NamedTuple

import numpy as np
import objects
import onnx_models
import pytest

MISSING = [name for name in ("torch", "transformers")
           if importlib.util.find_spec(name) is None]
if MISSING:
    pytest.skip(f"unsupported: no package {', '.join(MISSING)}", allow_module_level=True)
HAS_DYNAMO = importlib.util.find_spec("onnxscript") is not None

import torch  # noqa: E402
import transformers  # noqa: E402

COMMON = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3,
          "intermediate_size": 40, "vocab_size": 97, "max_position_embeddings": 40}
NARROW = {**COMMON, "embedding_size": 16}
SHARED = {**COMMON, "num_key_value_heads": 1, "use_cache": False}


class Architecture(NamedTuple):
    name: str  # of the class, without Model and Config
    options: dict
    has_types: bool = False
    causal: bool = False
    flags: bool = True  # whether the mask becomes one of flags
    model: str = ""


REQUIRED = {
    "bert": Architecture("Bert", COMMON, has_types=True),
    "minilm": Architecture(
        "Bert", {**COMMON, "hidden_size": 48, "num_attention_heads": 12}, has_types=True),
    "roberta": Architecture("Roberta", {**COMMON, "type_vocab_size": 1}),
    "distilbert": Architecture("DistilBert", {
        "vocab_size": 97, "max_position_embeddings": 40, "n_layers": 2, "n_heads": 3,
        "dim": 24, "hidden_dim": 40}),
    "vit": Architecture("ViT", {
        "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3,
        "intermediate_size": 40, "image_size": 32, "patch_size": 8}, flags=False),
    "gpt2": Architecture("GPT2", {
        "vocab_size": 97, "n_positions": 40, "n_embd": 24, "n_layer": 2, "n_head": 3,
        "use_cache": False}, causal=True),
    "opt": Architecture("OPT", {
        "vocab_size": 97, "hidden_size": 24, "num_hidden_layers": 2,
        "num_attention_heads": 3, "ffn_dim": 40, "max_position_embeddings": 40,
        "word_embed_proj_dim": 24, "use_cache": False}, causal=True),
}
RELATIVES = {
    "albert": Architecture("Albert", NARROW, has_types=True),
    "electra": Architecture("Electra", NARROW, has_types=True),
    "llama": Architecture("Llama", SHARED, causal=True),
    "qwen2": Architecture("Qwen2", SHARED, causal=True),
    "t5-encoder": Architecture("T5", {
        "vocab_size": 97, "d_model": 24, "d_kv": 8, "d_ff": 40, "num_layers": 2,
        "num_heads": 3}, flags=False, model="T5EncoderModel"),
    "clip-text": Architecture(
        "CLIPText", {**COMMON, "eos_token_id": 2, "bos_token_id": 1, "pad_token_id": 0},
        causal=True),
    "deberta": Architecture("DebertaV2", {
        **COMMON, "relative_attention": True, "pos_att_type": ["p2c", "c2p"],
        "position_buckets": 8}, has_types=True, flags=False),
}


class Encoder(torch.nn.Module):
    def __init__(self, model, names):
        super().__init__()
        self.model, self.names = model, names

    def forward(self, *inputs):
        output = self.model(**dict(zip(self.names, inputs)), return_dict=True)
        return output.last_hidden_state


def make_model(architecture, attention):
    torch.manual_seed(0)
    config = getattr(transformers, architecture.name + "Config")(**architecture.options)
    config._attn_implementation = attention
    model_class = getattr(transformers, architecture.model or architecture.name + "Model")
    model = model_class(config).eval()
    for parameter in model.parameters():
        if parameter.ndim == 1:
            parameter.data += torch.randn_like(parameter) * 0.1
        else:
            parameter.data = torch.randn_like(parameter) * 0.3
    return model


def make_feeds(architecture, shape, seed=0):
    rng = np.random.default_rng(seed)
    if architecture.name == "ViT":
        return {"pixel_values": rng.normal(size=(shape[0], 3, 32, 32)).astype(np.float32)}
    mask = np.ones(shape, np.int64)
    mask[1:, shape[1] * 2 // 3:] = 0
    # 1 is the padding id of RoBERTa, whose positions follow from it.
    ids = np.where(mask == 1, rng.integers(5, 90, shape), 1)
    feeds = {"input_ids": ids, "attention_mask": mask}
    if architecture.has_types:
        feeds["token_type_ids"] = rng.integers(0, 2, shape)
    return feeds


def export(path, model, feeds, exporter, is_dynamic):
    names = list(feeds)
    inputs = tuple(torch.from_numpy(array) for array in feeds.values())
    options = {"input_names": names, "output_names": ["last_hidden_state"]}
    sizes = ["batch"] if "pixel_values" in feeds else ["batch", "sequence"]
    if exporter == "torchscript":
        options.update(dynamo=False, opset_version=17)
        if is_dynamic:
            options["dynamic_axes"] = {
                name: dict(enumerate(sizes)) for name in [*names, "last_hidden_state"]}
    else:
        options.update(dynamo=True, opset_version=18, external_data=False)
        if is_dynamic:
            dims = {0: torch.export.Dim("batch", min=1, max=64),
                    1: torch.export.Dim("sequence", min=2, max=39)}
            shape = {axis: dims[axis] for axis in range(len(sizes))}
            options["dynamic_shapes"] = ((shape,) * len(names),)
    with warnings.catch_warnings(), torch.no_grad(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        torch.onnx.export(Encoder(model, names), inputs, path, **options)


def check_operations(architecture, path):
    """Both attentions are found, with their masks."""
    found = onnx_models.list_operations(onnx_models.import_model(path), "attention")
    assert len(found) == 2
    for line in found:
        assert (" causal " in line) == architecture.causal
        assert ("xi1>" in line) == architecture.flags


def check(path, architecture, exporter, attention, is_dynamic):
    if exporter == "dynamo" and not HAS_DYNAMO:
        pytest.skip("unsupported: no package onnxscript")
    if attention == "sdpa" and architecture.name == "DebertaV2":
        pytest.skip("unsupported by transformers")
    model = make_model(architecture, attention)
    export(path, model, make_feeds(architecture, (2, 9)), exporter, is_dynamic)
    check_operations(architecture, path)

    libraries = [
        objects.Library.from_file(path, path.with_suffix(suffix), "--recipe=none", *options)
        for suffix, options in [(".fast.so", []), (".reference.so", ["--reference"])]
    ]
    for shape in [(2, 9), (3, 13)] if is_dynamic else [(2, 9)]:
        feeds = make_feeds(architecture, shape, seed=1)
        expected = onnx_models.run_onnxruntime(path, feeds)
        kept = onnx_models.get_kept(feeds, expected)
        for library in libraries:
            (actual,) = library.run_named(feeds)
            onnx_models.expect_close(actual, expected, kept)


@pytest.mark.parametrize("name", ["bert", "distilbert", "vit", "gpt2", "opt"])
def test_int8(name, tmp_path):
    """Quantized, on the inputs that it was calibrated on."""
    architecture, path = REQUIRED[name], tmp_path / "model.onnx"
    model = make_model(architecture, "sdpa")
    feeds = [make_feeds(architecture, shape, seed=1) for shape in [(2, 9), (3, 13)]]
    export(path, model, feeds[0], "torchscript", True)
    samples = {f"{key}/{i}": array for i, feed in enumerate(feeds) for key, array in feed.items()}
    np.savez(tmp_path / "data.npz", **samples)
    library = objects.Library.from_file(
        path, tmp_path / "model.so", "--recipe=int8", f"--calibrate={tmp_path}/data.npz")
    for feed in feeds:
        expected = onnx_models.run_onnxruntime(path, feed)
        (actual,) = library.run_named(feed)
        kept = onnx_models.get_kept(feed, expected)
        # Bytes have steps of about 1% of what layers this narrow compute.
        assert onnx_models.get_distance(actual, expected, kept) <= 0.1


@pytest.mark.parametrize("is_dynamic", [True, False], ids=["dynamic", "static"])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
@pytest.mark.parametrize("name", REQUIRED)
def test_required(name, exporter, attention, is_dynamic, tmp_path):
    check(tmp_path / "model.onnx", REQUIRED[name], exporter, attention, is_dynamic)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
@pytest.mark.parametrize("name", RELATIVES)
def test_relatives(name, exporter, attention, tmp_path):
    check(tmp_path / "model.onnx", RELATIVES[name], exporter, attention, True)
