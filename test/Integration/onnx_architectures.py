# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Small models of well-known architectures with random weights, as exporters write them."""

from typing import Callable, Dict, NamedTuple, Sequence

import numpy as np
import onnx
from onnx import TensorProto
from onnx_graphs import POSITIONS, VOCABULARY, Graph, Style

# What RoBERTa pads with; its positions follow from it.
PADDING = 1
IMAGE, PATCH = 24, 8
PATCHES = (IMAGE // PATCH) ** 2

# How each exporter writes either kind of attention, with older and newer versions of the
# libraries that models are from.
EXPORTERS = {
    "torchscript-eager": Style(norm="formula", linear="bias_first", opset=13),
    "torchscript-sdpa": Style(scale="both", mask="gather", infinity=True, dynamic=False),
    "dynamo-eager": Style(scale="mul", mask="gather_nd", activation="gelu_half", opset=18,
                          dynamic=False),
    "dynamo-sdpa": Style(scale="both", mask="gather_nd", infinity=True, keys="matrices",
                         activation="gelu_whole", opset=20),
}


class Architecture(NamedTuple):
    """`embed` makes the inputs of a model and what its first layer reads."""

    embed: Callable[[Graph], str]
    style: Dict[str, object]  # what is other than the exporter's


# ---- Embeddings ----------------------------------------------------------------


def embed_words(graph: Graph) -> str:
    graph.tokens("input_ids")
    graph.tokens("attention_mask")
    return graph.embeddings()


def embed_types(graph: Graph) -> str:
    x = embed_words(graph)
    return graph.node("Add", x, graph.table(2, graph.tokens("token_type_ids")))


def embed_from_padding(graph: Graph) -> str:
    """Positions are counted from the ids that are no padding."""
    ids = graph.tokens("input_ids")
    graph.tokens("attention_mask")
    padding = graph.constant(PADDING, np.int64)
    kept = graph.node("Not", graph.node("Equal", ids, padding))
    kept = graph.node("Cast", kept, to=TensorProto.INT32)
    count = graph.node("CumSum", kept, graph.constant(1, np.int64))
    places = graph.node("Cast", graph.node("Mul", count, kept), to=TensorProto.INT64)
    rows = graph.table(POSITIONS + PADDING + 1, graph.node("Add", places, padding))
    return graph.node("Add", graph.table(VOCABULARY, ids), rows)


def embed_from_mask(graph: Graph) -> str:
    """Positions are counted from the mask, two rows into the table."""
    ids, mask = graph.tokens("input_ids"), graph.tokens("attention_mask")
    count = graph.node("Mul", graph.node("CumSum", mask, graph.constant(1, np.int64)), mask)
    places = graph.node("Sub", count, graph.constant(1, np.int64))
    rows = graph.table(POSITIONS + 2, graph.node("Add", places, graph.constant(2, np.int64)))
    return graph.node("Add", graph.table(VOCABULARY, ids), rows)


def embed_patches(graph: Graph) -> str:
    """Patches of an image behind a token for the class."""
    hidden, batch = graph.style.hidden, graph.sizes[0]
    image = graph.input("pixel_values", TensorProto.FLOAT, [batch, 3, IMAGE, IMAGE])
    weight = graph.constant(graph.random.normal(0, 0.1, (hidden, 3, PATCH, PATCH)))
    patches = graph.node("Conv", image, weight, graph.weight(hidden), strides=[PATCH, PATCH])
    flat = graph.reshape(patches, graph.size(patches, 0), hidden, -1)
    rows = graph.node("Transpose", flat, perm=[0, 2, 1])
    shape = graph.node("Concat", graph.size(image, 0), graph.integers(-1, -1), axis=0)
    ones = graph.node("ConstantOfShape", graph.integers(3), value=onnx.helper.make_tensor(
        "value", TensorProto.INT64, [1], [1]))
    kept = graph.node("Equal", shape, graph.integers(-1, -1, -1))
    token = graph.node("Expand", graph.weight(1, 1, hidden),
                       graph.node("Where", kept, ones, shape))
    rows = graph.node("Concat", token, rows, axis=1)
    return graph.node("Add", rows, graph.weight(1, PATCHES + 1, hidden))


DECODER = {"mask": "causal", "pre_norm": True}

ARCHITECTURES = {
    "bert": Architecture(embed_types, {"hidden": 48, "heads": 3, "inner": 80}),
    "minilm": Architecture(embed_types, {"hidden": 96, "heads": 12, "inner": 64}),
    "roberta": Architecture(embed_from_padding, {"hidden": 32, "heads": 2, "inner": 72}),
    "distilbert": Architecture(embed_words, {"hidden": 40, "heads": 5, "inner": 33}),
    "vit": Architecture(embed_patches, {"mask": "none", "pre_norm": True, "hidden": 48}),
    "gpt2": Architecture(embed_words, {
        **DECODER, "linear": "gemm", "fused": True, "activation": "gelu_tanh", "hidden": 48}),
    "opt": Architecture(embed_from_mask, {
        **DECODER, "scale": "query", "activation": "relu", "hidden": 64, "heads": 4}),
}


def build(name: str, exporter: str, **changes: object) -> onnx.ModelProto:
    architecture = ARCHITECTURES[name]
    graph = Graph(EXPORTERS[exporter]._replace(**architecture.style, **changes))
    graph.layers(architecture.embed(graph))
    rows = PATCHES + 1 if name == "vit" else graph.sizes[1]
    return graph.model([graph.sizes[0], rows, graph.style.hidden])


def make_feeds(name: str, shape: Sequence[int], seed: int = 0) -> Dict[str, np.ndarray]:
    """Inputs with padding at the end of all rows but the first."""
    rng = np.random.default_rng(seed)
    if name == "vit":
        return {"pixel_values": np.float32(rng.normal(size=(shape[0], 3, IMAGE, IMAGE)))}
    mask = np.ones(shape, np.int64)
    mask[1:, shape[1] // 2 + 1:] = 0
    ids = np.where(mask == 1, rng.integers(PADDING + 1, VOCABULARY, shape), PADDING)
    feeds = {"input_ids": ids, "attention_mask": mask}
    if ARCHITECTURES[name].embed is embed_types:
        feeds["token_type_ids"] = rng.integers(0, 2, shape)
    return feeds
