# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Checkpoints of the BERT family as ONNX models, against the formulas in NumPy, and compiled."""

import json
import math

import ml_dtypes
import numpy as np
import onnx
import onnx_models
import pytest
import qtx
import safetensors.numpy
from onnx.reference import ReferenceEvaluator
from qtx import huggingface

BERT = {
    "model_type": "bert", "hidden_size": 12, "num_attention_heads": 3,
    "num_hidden_layers": 2, "intermediate_size": 20, "vocab_size": 31,
    "max_position_embeddings": 16, "type_vocab_size": 2, "hidden_act": "gelu",
    "layer_norm_eps": 1e-12, "pad_token_id": 0,
}
ROBERTA = {**BERT, "model_type": "roberta", "type_vocab_size": 1, "pad_token_id": 1,
           "layer_norm_eps": 1e-5}
DISTILBERT = {
    "model_type": "distilbert", "dim": 12, "n_heads": 3, "n_layers": 2, "hidden_dim": 20,
    "vocab_size": 31, "max_position_embeddings": 16, "activation": "gelu",
}
DISTILBERT_NAMES = {
    "encoder.layer": "transformer.layer",
    "attention.self.query": "attention.q_lin",
    "attention.self.key": "attention.k_lin",
    "attention.self.value": "attention.v_lin",
    "attention.output.dense": "attention.out_lin",
    "attention.output.LayerNorm": "sa_layer_norm",
    "intermediate.dense": "ffn.lin1",
    "output.dense": "ffn.lin2",
    "output.LayerNorm": "output_layer_norm",
}


def make_weights(config):
    """Random weights under BERT's names."""
    rng = np.random.default_rng(0)
    is_distilbert = config["model_type"] == "distilbert"
    d = config["dim" if is_distilbert else "hidden_size"]
    n = config["hidden_dim" if is_distilbert else "intermediate_size"]
    weights = {}

    def add(name, *shape):
        weights[name] = rng.normal(0, 0.5, shape).astype(np.float32)

    add("embeddings.word_embeddings.weight", config["vocab_size"], d)
    add("embeddings.position_embeddings.weight", config["max_position_embeddings"], d)
    if not is_distilbert:
        add("embeddings.token_type_embeddings.weight", config["type_vocab_size"], d)
    norms = ["embeddings.LayerNorm"]
    for layer in range(2):
        base = f"encoder.layer.{layer}."
        for name in ("query", "key", "value"):
            add(f"{base}attention.self.{name}.weight", d, d)
            add(f"{base}attention.self.{name}.bias", d)
        for name, shape in (("attention.output", (d, d)), ("intermediate", (n, d)),
                            ("output", (d, n))):
            add(f"{base}{name}.dense.weight", *shape)
            add(f"{base}{name}.dense.bias", shape[0])
        norms += [f"{base}attention.output.LayerNorm", f"{base}output.LayerNorm"]
    for name in norms:
        add(name + ".weight", d)
        add(name + ".bias", d)
    return weights


def write_checkpoint(folder, config, weights, *, prefix="", old_norms=False):
    folder.mkdir(exist_ok=True)
    named = {}
    for name, array in weights.items():
        if config["model_type"] == "distilbert":
            # Longest first: one name is the end of another.
            for bert, distilbert in sorted(DISTILBERT_NAMES.items(), key=lambda n: -len(n[0])):
                name = name.replace(bert, distilbert)
        if old_norms:
            name = name.replace("LayerNorm.weight", "LayerNorm.gamma")
            name = name.replace("LayerNorm.bias", "LayerNorm.beta")
        named[prefix + name] = array
    (folder / "config.json").write_text(json.dumps(config))
    safetensors.numpy.save_file(named, folder / "model.safetensors")
    return folder


def activate(name, x):
    if name == "relu":
        return np.maximum(x, 0)
    if name == "silu":
        return x / (1 + np.exp(-x))
    if name == "gelu_new":
        return x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    assert name == "gelu"
    return x / 2 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def run_formulas(config, weights, ids, mask, types):
    """The encoder in double precision."""
    w = {name: array.astype(np.float64) for name, array in weights.items()}
    heads = config.get("num_attention_heads", config.get("n_heads"))
    epsilon = config.get("layer_norm_eps", 1e-12)

    def linear(x, name):
        return x @ w[name + ".weight"].T + w[name + ".bias"]

    def norm(x, name):
        scaled = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + epsilon)
        return scaled * w[name + ".weight"] + w[name + ".bias"]

    def split(x):
        return x.reshape(*x.shape[:2], heads, -1).transpose(0, 2, 1, 3)

    positions = np.broadcast_to(np.arange(ids.shape[1]), ids.shape)
    if config["model_type"] == "roberta":
        is_token = ids != config["pad_token_id"]
        positions = np.cumsum(is_token, axis=1) * is_token + config["pad_token_id"]
    x = w["embeddings.word_embeddings.weight"][ids]
    x = x + w["embeddings.position_embeddings.weight"][positions]
    if "embeddings.token_type_embeddings.weight" in w:
        x = x + w["embeddings.token_type_embeddings.weight"][types]
    x = norm(x, "embeddings.LayerNorm")
    for layer in range(2):
        base = f"encoder.layer.{layer}."
        q, k, v = (split(linear(x, f"{base}attention.self.{n}"))
                   for n in ("query", "key", "value"))
        scores = q @ k.transpose(0, 1, 3, 2) / math.sqrt(q.shape[-1])
        scores = np.where(mask[:, None, None, :] == 1, scores, -np.inf)
        p = np.exp(scores - scores.max(-1, keepdims=True))
        context = (p / p.sum(-1, keepdims=True)) @ v
        context = context.transpose(0, 2, 1, 3).reshape(x.shape)
        x = norm(x + linear(context, base + "attention.output.dense"),
                 base + "attention.output.LayerNorm")
        h = activate(config.get("hidden_act", config.get("activation")),
                     linear(x, base + "intermediate.dense"))
        x = norm(x + linear(h, base + "output.dense"), base + "output.LayerNorm")
    return x


def make_inputs(config, shape=(3, 7)):
    rng = np.random.default_rng(1)
    ids = rng.integers(4, config["vocab_size"], shape)
    mask = np.ones(shape, np.int64)
    mask[1, 4:] = 0
    mask[2, 1:] = 0
    ids[mask == 0] = config.get("pad_token_id", 0)
    return ids, mask, rng.integers(0, config.get("type_vocab_size", 1), shape)


def check_model(path, config, weights):
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    ids, mask, types = make_inputs(config)
    feeds = {"input_ids": ids, "attention_mask": mask}
    if config.get("type_vocab_size", 1) > 1:
        feeds["token_type_ids"] = types
    assert [i.name for i in model.graph.input] == list(feeds)
    assert [o.name for o in model.graph.output] == ["last_hidden_state"]
    (actual,) = ReferenceEvaluator(model).run(None, feeds)
    expected = run_formulas(config, weights, ids, mask, types)
    # fp32 rounding through two layers whose values are of magnitude 1.
    np.testing.assert_allclose(actual[mask == 1], expected[mask == 1], rtol=0, atol=2e-5)


@pytest.mark.parametrize("config", [
    BERT,
    {**BERT, "hidden_act": "gelu_new", "layer_norm_eps": 0.25},
    {**BERT, "hidden_act": "relu", "type_vocab_size": 1},
    {**BERT, "hidden_act": "silu", "type_vocab_size": 4, "num_attention_heads": 1},
    ROBERTA,
    {**ROBERTA, "pad_token_id": 3},
    DISTILBERT,
    {**DISTILBERT, "activation": "relu"},
], ids=lambda c: "-".join(str(c.get(k)) for k in ("model_type", "hidden_act", "activation")))
def test_formulas(config, tmp_path):
    weights = make_weights(config)
    huggingface.export_onnx(
        write_checkpoint(tmp_path, config, weights), tmp_path / "model.onnx")
    check_model(tmp_path / "model.onnx", config, weights)


@pytest.mark.parametrize("config", [BERT, ROBERTA, DISTILBERT], ids=lambda c: c["model_type"])
def test_compiled(config, tmp_path):
    """From a checkpoint to an object, which computes what ONNX Runtime does."""
    weights = make_weights(config)
    path = tmp_path / "model.onnx"
    huggingface.export_onnx(
        write_checkpoint(tmp_path, config, weights), path, external_data=True)
    qtx.compile(path, recipe="none").save(tmp_path / "model.o")
    model = qtx.load(tmp_path / "model.o")
    for shape in [(3, 7), (3, 13)]:
        ids, mask, types = make_inputs(config, shape)
        feeds = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
        feeds = {value.name: feeds[value.name] for value in model.signature.inputs}
        expected = onnx_models.run_onnxruntime(path, feeds)
        (actual,) = model(**feeds)
        onnx_models.expect_close(actual, expected, mask == 1)


@pytest.mark.parametrize("external", [False, True])
def test_names_of_task_models(external, tmp_path):
    weights = make_weights(BERT)
    folder = write_checkpoint(tmp_path, BERT, {**weights, "unrelated.weight": np.ones(3)},
                              prefix="bert.", old_norms=True)
    path = folder / "model.onnx"
    huggingface.export_onnx(folder, path, external_data=external)
    check_model(path, BERT, weights)
    written = {"model.onnx", "model.onnx.data"} if external else {"model.onnx"}
    assert {p.name for p in folder.iterdir()} == written | {"config.json", "model.safetensors"}


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_half_precision(dtype, tmp_path):
    weights = {n: a.astype(dtype) for n, a in make_weights(BERT).items()}
    huggingface.export_onnx(
        write_checkpoint(tmp_path, BERT, weights), tmp_path / "model.onnx")
    check_model(tmp_path / "model.onnx", BERT, weights)


def test_external_data_is_aligned(tmp_path):
    config = {**BERT, "vocab_size": 301, "max_position_embeddings": 302}
    folder = write_checkpoint(tmp_path, config, make_weights(config))
    huggingface.export_onnx(folder, folder / "model.onnx", external_data=True)
    model = onnx.load(folder / "model.onnx", load_external_data=False)
    entries = [{e.key: e.value for e in t.external_data} for t in model.graph.initializer
               if t.data_location == onnx.TensorProto.EXTERNAL]
    assert len(entries) == 2  # small tensors stay in the model
    assert {e["location"] for e in entries} == {"model.onnx.data"}
    assert {int(e["offset"]) % 4096 for e in entries} == {0}


def without(dictionary, key):
    return {k: v for k, v in dictionary.items() if k != key}


@pytest.mark.parametrize("config, message", [
    ({**BERT, "model_type": "t5"}, "expected a model_type of bert, roberta, .*, found 't5'"),
    (without(BERT, "model_type"), "expected a model_type of .*, found None"),
    ([], "expected a JSON object"),
    ({**BERT, "hidden_act": "mish"}, "expected a hidden_act of gelu, .*, found 'mish'"),
    ({**BERT, "hidden_act": 3}, "expected a name as hidden_act, found 3"),
    ({**BERT, "hidden_size": "12"}, "expected a positive hidden_size, found '12'"),
    ({**BERT, "num_attention_heads": 5}, "expected a number of heads that divides the 12 "),
    ({**BERT, "num_hidden_layers": 0}, "expected a positive num_hidden_layers, found 0"),
    ({**BERT, "layer_norm_eps": -1}, "expected a layer_norm_eps of at least 0, found -1"),
    ({**BERT, "is_decoder": True}, "expected is_decoder False, found True"),
    ({**BERT, "position_embedding_type": "relative_key"},
     "expected position_embedding_type 'absolute', found 'relative_key'"),
    ({**ROBERTA, "pad_token_id": None}, "expected a pad_token_id of at least 0, found None"),
    ({**BERT, "vocab_size": 32},
     r"expected embeddings.word_embeddings.weight of shape \[32, 12\], found \[31, 12\]"),
    ({**BERT, "num_hidden_layers": 3},
     "expected a tensor encoder.layer.2.attention.self.query.weight and 15 more"),
])
def test_unsupported_checkpoints(config, message, tmp_path):
    write_checkpoint(tmp_path, BERT, make_weights(BERT))
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=message):
        huggingface.export_onnx(tmp_path, tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()


def test_bad_element_type(tmp_path):
    weights = make_weights(BERT)
    name = "embeddings.LayerNorm.bias"
    weights[name] = weights[name].astype(np.float64)
    with pytest.raises(ValueError, match=f"expected {name} of F32, F16 or BF16, found F64"):
        huggingface.export_onnx(write_checkpoint(tmp_path, BERT, weights), tmp_path / "m.onnx")


@pytest.mark.parametrize("name, content, message", [
    ("config.json", None, "expected a file config.json in "),
    ("config.json", b"{", "config.json: expected JSON: "),
    ("config.json", b"\xff", "config.json: expected JSON: "),
    ("model.safetensors", None, "expected a file model.safetensors in "),
    ("model.safetensors", b"short", "model.safetensors: expected a safetensors file: "),
])
def test_bad_files(name, content, message, tmp_path, capsys):
    write_checkpoint(tmp_path, BERT, make_weights(BERT))
    (tmp_path / name).unlink()
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert huggingface.main([str(tmp_path), "-o", str(tmp_path / "model.onnx")]) == 1
    printed = capsys.readouterr().err
    assert printed.startswith("error: ") and message in printed
    assert not (tmp_path / "model.onnx").exists()


def test_command_line(tmp_path):
    folder = write_checkpoint(tmp_path, DISTILBERT, make_weights(DISTILBERT))
    path = tmp_path / "model.onnx"
    assert huggingface.main([str(folder), "-o", str(path), "--external-data"]) == 0
    check_model(path, DISTILBERT, make_weights(DISTILBERT))
