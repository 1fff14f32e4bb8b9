# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""HuggingFace checkpoints of the BERT family to ONNX, without torch.

    from qtx import huggingface
    huggingface.export_onnx("all-MiniLM-L6-v2", "minilm.onnx")

    python -m qtx.huggingface all-MiniLM-L6-v2 -o minilm.onnx

The folder holds `config.json` and `model.safetensors` of a BERT, RoBERTa (also
XLM-RoBERTa and CamemBERT) or DistilBERT model. The graph is the encoder: `input_ids`,
`attention_mask` and, where the model has more than one token type, `token_type_ids`
(all int64 of shape [batch, sequence]) to `last_hidden_state`. Heads of a task and the
pooler are left out. Half-precision weights become fp32.

Needs the packages `onnx` and `safetensors`.
"""

import argparse
import contextlib
import json
import math
import os
import pathlib
import sys
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Union

import numpy as np
import onnx
import safetensors
from onnx import TensorProto, helper, numpy_helper

PathLike = Union[str, "os.PathLike[str]"]

_OPSET = 17
_IR_VERSION = 8  # the one that came with the opset
_MAX_PROTOBUF_BYTES = 2**31 - 1
_PAGE = 4096  # external tensors begin at pages, so that they can be mapped


def export_onnx(folder: PathLike, path: PathLike, *, external_data: bool = False) -> None:
    """Write the encoder in `folder` as an ONNX model with dynamic batch and sequence.

    With `external_data`, weights are in a file next to the model, `path` with the suffix
    `.data`; models beyond 2 GiB need that. Raises ValueError for a checkpoint that is
    not a supported one, before anything is written.
    """
    path = pathlib.Path(path)
    config = _read_config(pathlib.Path(folder))
    with _open_checkpoint(pathlib.Path(folder), config) as weights:
        weights.check_all()
        if not external_data and weights.count_bytes() > _MAX_PROTOBUF_BYTES:
            raise ValueError("expected external_data for weights beyond 2 GiB")
        data_path = path.with_name(path.name + ".data") if external_data else None
        with _replace_when_done(path, data_path) as (model_file, data_file):
            store = _InitializerStore(data_file, data_path.name if data_path else "")
            model_file.write(_build_model(config, weights, store).SerializeToString())


# ------------------------------------------------------------------------------------
# Configuration
# ------------------------------------------------------------------------------------


class _Config(NamedTuple):
    """What the families have in common, under one set of names."""

    family: str
    hidden: int
    intermediate: int
    layers: int
    heads: int
    vocabulary: int
    positions: int
    token_types: int
    epsilon: float
    activation: str
    padding: Optional[int]  # set where positions are counted from the padding id


class _Names(NamedTuple):
    """Where a family keeps its tensors; those of layers are relative to the layer."""

    prefix: str
    layer: str
    query: str
    key: str
    value: str
    context: str
    attention_norm: str
    intermediate: str
    output: str
    output_norm: str


_BERT_NAMES = _Names(
    prefix="bert.",
    layer="encoder.layer",
    query="attention.self.query",
    key="attention.self.key",
    value="attention.self.value",
    context="attention.output.dense",
    attention_norm="attention.output.LayerNorm",
    intermediate="intermediate.dense",
    output="output.dense",
    output_norm="output.LayerNorm",
)
_NAMES = {
    "bert": _BERT_NAMES,
    "roberta": _BERT_NAMES._replace(prefix="roberta."),
    "distilbert": _Names(
        prefix="distilbert.",
        layer="transformer.layer",
        query="attention.q_lin",
        key="attention.k_lin",
        value="attention.v_lin",
        context="attention.out_lin",
        attention_norm="sa_layer_norm",
        intermediate="ffn.lin1",
        output="ffn.lin2",
        output_norm="output_layer_norm",
    ),
}
_FAMILIES = {
    "bert": "bert",
    "roberta": "roberta",
    "xlm-roberta": "roberta",
    "camembert": "roberta",
    "distilbert": "distilbert",
}


def _read_config(folder: pathlib.Path) -> _Config:
    path = folder / "config.json"
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"expected a file config.json in {folder}") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: expected JSON: {error}") from None
    if not isinstance(raw, dict):
        raise ValueError(f"{path}: expected a JSON object")
    model_type = raw.get("model_type")
    if model_type not in _FAMILIES:
        names = ", ".join(_FAMILIES)
        raise ValueError(f"{path}: expected a model_type of {names}, found {model_type!r}")
    config = _parse_config(_Fields(path, raw), _FAMILIES[model_type])
    if config.hidden % config.heads:
        raise ValueError(
            f"{path}: expected a number of heads that divides the {config.hidden} "
            f"channels, found {config.heads}")
    return config


class _Fields:
    """Checked access to a configuration file."""

    def __init__(self, path: pathlib.Path, raw: Dict[str, Any]):
        self.path, self.raw = path, raw

    def count(self, key: str, absent: Optional[int] = None) -> int:
        value = self.raw.get(key, absent)
        if type(value) is not int or value < 1:
            raise ValueError(f"{self.path}: expected a positive {key}, found {value!r}")
        return value

    def text(self, key: str, absent: str) -> str:
        value = self.raw.get(key, absent)
        if not isinstance(value, str):
            raise ValueError(f"{self.path}: expected a name as {key}, found {value!r}")
        return value

    def epsilon(self, key: str) -> float:
        value = self.raw.get(key, 1e-12)
        if type(value) not in (int, float) or not 0 <= value < math.inf:
            raise ValueError(f"{self.path}: expected a {key} of at least 0, found {value!r}")
        return float(value)

    def expect(self, key: str, expected: Any) -> None:
        value = self.raw.get(key, expected)
        if value != expected:
            raise ValueError(f"{self.path}: expected {key} {expected!r}, found {value!r}")


def _parse_config(fields: _Fields, family: str) -> _Config:
    fields.expect("is_decoder", False)
    fields.expect("add_cross_attention", False)
    fields.expect("position_embedding_type", "absolute")
    if family == "distilbert":
        return _Config(
            family, fields.count("dim", 768), fields.count("hidden_dim", 3072),
            fields.count("n_layers", 6), fields.count("n_heads", 12),
            fields.count("vocab_size", 30522), fields.count("max_position_embeddings", 512),
            0, 1e-12, _check_activation(fields, "activation"), None)
    is_roberta = family == "roberta"
    padding = None
    if is_roberta:
        padding = fields.raw.get("pad_token_id", 1)
        if type(padding) is not int or padding < 0:
            raise ValueError(
                f"{fields.path}: expected a pad_token_id of at least 0, found {padding!r}")
    return _Config(
        family, fields.count("hidden_size", 768), fields.count("intermediate_size", 3072),
        fields.count("num_hidden_layers", 12), fields.count("num_attention_heads", 12),
        fields.count("vocab_size", 50265 if is_roberta else 30522),
        fields.count("max_position_embeddings", 512), fields.count("type_vocab_size", 2),
        fields.epsilon("layer_norm_eps"), _check_activation(fields, "hidden_act"), padding)


def _check_activation(fields: _Fields, key: str) -> str:
    name = fields.text(key, "gelu")
    if name not in _ACTIVATIONS:
        names = ", ".join(_ACTIVATIONS)
        raise ValueError(f"{fields.path}: expected a {key} of {names}, found {name!r}")
    return name


# ------------------------------------------------------------------------------------
# Weights
# ------------------------------------------------------------------------------------


def _list_shapes(config: _Config) -> Dict[str, Sequence[int]]:
    """The tensors of the encoder, without prefix, and the shapes they must have."""
    names, d, n = _NAMES[config.family], config.hidden, config.intermediate
    tables = {"word": config.vocabulary, "position": config.positions}
    if config.token_types:
        tables["token_type"] = config.token_types
    shapes: Dict[str, Sequence[int]] = {
        f"embeddings.{kind}_embeddings.weight": (rows, d) for kind, rows in tables.items()}
    norms = ["embeddings.LayerNorm"]
    for layer in range(config.layers):
        base = f"{names.layer}.{layer}."
        square = (names.query, names.key, names.value, names.context)
        linears = {name: (d, d) for name in square}
        linears.update({names.intermediate: (n, d), names.output: (d, n)})
        for name, shape in linears.items():
            shapes[f"{base}{name}.weight"] = shape
            shapes[f"{base}{name}.bias"] = shape[:1]
        norms += [base + names.attention_norm, base + names.output_norm]
    for norm in norms:
        shapes[norm + ".weight"] = shapes[norm + ".bias"] = (d,)
    return shapes


class _Checkpoint:
    """The tensors of a safetensors file, read one at a time."""

    def __init__(self, path: pathlib.Path, file: Any, config: _Config):
        self.path, self.file = path, file
        self.shapes = _list_shapes(config)
        self.stored = set(file.keys())
        self.prefix = _NAMES[config.family].prefix
        if not any(name.startswith(self.prefix) for name in self.stored):
            self.prefix = ""

    def check_all(self) -> None:
        stored = {name: self._find(name) for name in self.shapes}
        missing = [name for name, found in stored.items() if found is None]
        if missing:
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            raise ValueError(f"{self.path}: expected a tensor {self.prefix}{missing[0]}{more}")
        for name, found in stored.items():
            if found is not None:
                self._check(found, self.shapes[name])

    def _check(self, stored: str, shape: Sequence[int]) -> None:
        view = self.file.get_slice(stored)
        if tuple(view.get_shape()) != tuple(shape):
            raise ValueError(
                f"{self.path}: expected {stored} of shape {list(shape)}, found "
                f"{list(view.get_shape())}")
        if view.get_dtype() not in ("F32", "F16", "BF16"):
            raise ValueError(
                f"{self.path}: expected {stored} of F32, F16 or BF16, found {view.get_dtype()}")

    def count_bytes(self) -> int:
        return sum(4 * math.prod(shape) for shape in self.shapes.values())

    def _find(self, name: str) -> Optional[str]:
        # Checkpoints that began in TensorFlow call the parameters of norms so.
        old = name.replace("LayerNorm.weight", "LayerNorm.gamma")
        old = old.replace("LayerNorm.bias", "LayerNorm.beta")
        for candidate in (self.prefix + name, self.prefix + old):
            if candidate in self.stored:
                return candidate
        return None

    def read(self, name: str) -> np.ndarray:
        return np.asarray(self.file.get_tensor(self._find(name)), np.float32)


@contextlib.contextmanager
def _open_checkpoint(folder: pathlib.Path, config: _Config) -> Iterator[_Checkpoint]:
    path = folder / "model.safetensors"
    if not path.is_file():
        raise ValueError(f"expected a file model.safetensors in {folder}")
    try:
        file = safetensors.safe_open(path, framework="numpy")
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path}: expected a safetensors file: {error}") from None
    with file:
        yield _Checkpoint(path, file, config)


@contextlib.contextmanager
def _replace_when_done(*paths: Optional[pathlib.Path]) -> Iterator[List[Any]]:
    """Files that appear under their names when all of them are complete."""
    temporary = [p and p.with_name(f".{p.name}.{os.getpid()}") for p in paths]
    try:
        with contextlib.ExitStack() as stack:
            yield [p and stack.enter_context(open(p, "wb")) for p in temporary]
        for source, path in zip(temporary, paths):
            if source and path:
                os.replace(source, path)
    finally:
        for source in temporary:
            if source:
                source.unlink(missing_ok=True)


class _InitializerStore:
    """Makes initializers, within the model or in the external file."""

    def __init__(self, file: Any, location: str):
        self.file, self.location = file, location

    def make(self, name: str, array: np.ndarray) -> TensorProto:
        # Constants of a few bytes stay in the graph: readers look at their values.
        if not self.file or array.nbytes < 1024:
            return numpy_helper.from_array(np.asarray(array, order="C"), name)
        self.file.seek(-self.file.tell() % _PAGE, os.SEEK_CUR)
        tensor = TensorProto(
            name=name, dims=array.shape, data_location=TensorProto.EXTERNAL,
            data_type=helper.np_dtype_to_tensor_dtype(array.dtype))
        for key, value in (("location", self.location), ("offset", self.file.tell()),
                           ("length", array.nbytes)):
            tensor.external_data.add(key=key, value=str(value))
        self.file.write(np.asarray(array, array.dtype.newbyteorder("<"), order="C").data)
        return tensor


# ------------------------------------------------------------------------------------
# Graph
# ------------------------------------------------------------------------------------


class _Graph:
    """Nodes and initializers, in the order in which they are made."""

    def __init__(self, weights: _Checkpoint, store: _InitializerStore):
        self.weights, self.store = weights, store
        self.nodes: List[onnx.NodeProto] = []
        self.initializers: Dict[str, TensorProto] = {}
        self.scope = ""

    def node(self, op: str, *inputs: str, **attributes: Any) -> str:
        name = f"{self.scope}/{op}"
        same = sum(n.name.startswith(name) for n in self.nodes)
        name = f"{name}_{same}" if same else name
        output = f"{name}_output_0"
        self.nodes.append(helper.make_node(op, inputs, [output], name, **attributes))
        return output

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        array = np.asarray(value, dtype)
        name = "constant_" + "_".join(map(str, [array.dtype, *array.shape, *array.ravel()]))
        if name not in self.initializers:
            self.initializers[name] = self.store.make(name, array)
        return name

    def weight(self, name: str, *, transposed: bool = False) -> str:
        array = self.weights.read(name)
        self.initializers[name] = self.store.make(name, array.T if transposed else array)
        return name

    def linear(self, x: str, name: str) -> str:
        product = self.node("MatMul", x, self.weight(name + ".weight", transposed=True))
        return self.node("Add", product, self.weight(name + ".bias"))

    def norm(self, x: str, name: str, epsilon: float) -> str:
        gamma, beta = self.weight(name + ".weight"), self.weight(name + ".bias")
        return self.node("LayerNormalization", x, gamma, beta, axis=-1, epsilon=epsilon)


def _gelu(g: _Graph, x: str) -> str:
    erf = g.node("Erf", g.node("Div", x, g.constant(math.sqrt(2))))
    product = g.node("Mul", x, g.node("Add", erf, g.constant(1)))
    return g.node("Mul", product, g.constant(0.5))


def _gelu_tanh(g: _Graph, x: str) -> str:
    cube = g.node("Mul", g.node("Pow", x, g.constant(3)), g.constant(0.044715))
    inner = g.node("Mul", g.node("Add", x, cube), g.constant(math.sqrt(2 / math.pi)))
    outer = g.node("Add", g.node("Tanh", inner), g.constant(1))
    return g.node("Mul", g.node("Mul", x, g.constant(0.5)), outer)


def _silu(g: _Graph, x: str) -> str:
    return g.node("Mul", x, g.node("Sigmoid", x))


_ACTIVATIONS: Dict[str, Callable[[_Graph, str], str]] = {
    "gelu": _gelu,
    "gelu_new": _gelu_tanh,
    "gelu_fast": _gelu_tanh,
    "gelu_pytorch_tanh": _gelu_tanh,
    "relu": lambda g, x: g.node("Relu", x),
    "silu": _silu,
    "swish": _silu,
}


def _add_positions(g: _Graph, config: _Config) -> str:
    """The position of each token: [sequence], or [batch, sequence] with padding."""
    if config.padding is None:
        zero, one = g.constant(0, np.int64), g.constant(1, np.int64)
        size = g.node("Gather", g.node("Shape", "input_ids"), one, axis=0)
        return g.node("Range", zero, size, one)
    padding = g.constant(config.padding, np.int64)
    is_token = g.node("Not", g.node("Equal", "input_ids", padding))
    is_token = g.node("Cast", is_token, to=TensorProto.INT64)
    count = g.node("CumSum", is_token, g.constant(1, np.int64))
    return g.node("Add", g.node("Mul", count, is_token), padding)


def _add_embeddings(g: _Graph, config: _Config) -> str:
    g.scope = "/embeddings"
    table = "embeddings.{}_embeddings.weight"
    x = g.node("Gather", g.weight(table.format("word")), "input_ids")
    if config.token_types > 1:
        types = g.node("Gather", g.weight(table.format("token_type")), "token_type_ids")
        x = g.node("Add", x, types)
    elif config.token_types == 1:
        name = table.format("token_type")
        row = g.weights.read(name)[0]
        g.initializers[name] = g.store.make(name, row)
        x = g.node("Add", x, name)
    positions = _add_positions(g, config)
    x = g.node("Add", x, g.node("Gather", g.weight(table.format("position")), positions))
    return g.norm(x, "embeddings.LayerNorm", config.epsilon)


def _add_mask(g: _Graph) -> str:
    """0 for a key that takes part, else the least number: [batch, 1, 1, sequence]."""
    g.scope = "/mask"
    mask = g.node("Unsqueeze", "attention_mask", g.constant([1, 2], np.int64))
    mask = g.node("Sub", g.constant(1), g.node("Cast", mask, to=TensorProto.FLOAT))
    return g.node("Mul", mask, g.constant(np.finfo(np.float32).min))


def _add_attention(g: _Graph, config: _Config, x: str, mask: str, base: str) -> str:
    names, size = _NAMES[config.family], config.hidden // config.heads
    shape = g.constant([0, 0, config.heads, size], np.int64)

    def split(name: str, order: Sequence[int]) -> str:
        heads = g.node("Reshape", g.linear(x, base + name), shape)
        return g.node("Transpose", heads, perm=order)

    query = split(names.query, (0, 2, 1, 3))
    key = split(names.key, (0, 2, 3, 1))
    value = split(names.value, (0, 2, 1, 3))
    scores = g.node("Div", g.node("MatMul", query, key), g.constant(math.sqrt(size)))
    probabilities = g.node("Softmax", g.node("Add", scores, mask), axis=-1)
    context = g.node("Transpose", g.node("MatMul", probabilities, value), perm=(0, 2, 1, 3))
    merged = g.node("Reshape", context, g.constant([0, 0, config.hidden], np.int64))
    return g.linear(merged, base + names.context)


def _add_layer(g: _Graph, config: _Config, x: str, mask: str, layer: int) -> str:
    names = _NAMES[config.family]
    base = f"{names.layer}.{layer}."
    g.scope = f"/layer.{layer}/attention"
    attention = _add_attention(g, config, x, mask, base)
    x = g.norm(g.node("Add", attention, x), base + names.attention_norm, config.epsilon)
    g.scope = f"/layer.{layer}/feed_forward"
    hidden = g.linear(x, base + names.intermediate)
    hidden = _ACTIVATIONS[config.activation](g, hidden)
    output = g.linear(hidden, base + names.output)
    return g.norm(g.node("Add", output, x), base + names.output_norm, config.epsilon)


def _build_model(
    config: _Config, weights: _Checkpoint, store: _InitializerStore
) -> onnx.ModelProto:
    g = _Graph(weights, store)
    x = _add_embeddings(g, config)
    mask = _add_mask(g)
    for layer in range(config.layers):
        x = _add_layer(g, config, x, mask, layer)
    g.scope = ""
    g.nodes[-1].output[0] = "last_hidden_state"
    inputs = ["input_ids", "attention_mask"] + ["token_type_ids"] * (config.token_types > 1)
    sizes = ["batch", "sequence"]
    graph = helper.make_graph(
        g.nodes, config.family,
        [helper.make_tensor_value_info(i, TensorProto.INT64, sizes) for i in inputs],
        [helper.make_tensor_value_info(
            "last_hidden_state", TensorProto.FLOAT, [*sizes, config.hidden])],
        list(g.initializers.values()))
    return helper.make_model(
        graph, producer_name="qtx", ir_version=_IR_VERSION,
        opset_imports=[helper.make_opsetid("", _OPSET)])


def main(arguments: Optional[Sequence[str]] = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m qtx.huggingface",
        description="Write a HuggingFace checkpoint of the BERT family as an ONNX model.")
    parser.add_argument("folder", help="holds config.json and model.safetensors")
    parser.add_argument("-o", dest="output", required=True, metavar="MODEL.onnx")
    parser.add_argument(
        "--external-data", action="store_true", help="keep the weights in MODEL.onnx.data")
    options = parser.parse_args(arguments)
    try:
        export_onnx(options.folder, options.output, external_data=options.external_data)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
