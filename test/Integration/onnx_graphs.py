# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Small transformer layers as ONNX models, written the way exporters write them."""

import math
import pathlib
from typing import Any, Callable, Dict, List, NamedTuple, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

VOCABULARY, POSITIONS = 23, 16
LOWEST = np.finfo(np.float32).min


class Style(NamedTuple):
    """How an exporter writes each part."""

    linear: str = "matmul"  # "bias_first", "gemm"
    fused: bool = False  # queries, keys and values by one layer
    norm: str = "whole"  # "formula"
    pre_norm: bool = False
    activation: str = "gelu"  # "gelu_half", "gelu_whole", "gelu_tanh", "relu", "silu", "quick"
    scale: str = "div"  # "mul", "both", "query"
    # "fill", "gather", "gather_nd", "float", "low", "none", "causal", "triangle"
    mask: str = "minus"
    infinity: bool = False  # -inf rather than the least number, and a guard against NaN
    keys: str = "direct"  # "matrices"
    clip: bool = False
    # "all_heads", "channels", "merged", "nets", "nets_mlp", "nets_stacked",
    # "nets_stacked_mlp", "nets_einsum", "nets_einsum_mlp"
    gate: str = "none"
    shared_heads: bool = False
    layers: int = 2
    dynamic: bool = True
    opset: int = 17
    hidden: int = 12
    heads: int = 3
    inner: int = 20

    @property
    def head_size(self) -> int:
        return self.hidden // self.heads


class Graph:
    """Nodes and initializers in the order in which they are made."""

    def __init__(self, style: Style):
        self.style = style
        self.nodes: List[onnx.NodeProto] = []
        self.initializers: List[TensorProto] = []
        self.inputs: List[onnx.ValueInfoProto] = []
        self.random = np.random.default_rng(0)
        self.sizes: Sequence[Any] = ("batch", "sequence") if style.dynamic else (2, 7)

    def node(self, op: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        names = [f"{op}_{len(self.nodes)}_{index}" for index in range(outputs)]
        self.nodes.append(helper.make_node(op, inputs, names, names[0], **attributes))
        return names[0] if outputs == 1 else names

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        name = f"constant_{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def integers(self, *values: int) -> str:
        return self.constant(values, np.int64)

    def input(self, name: str, dtype: int, sizes: Sequence[Any]) -> str:
        self.inputs.append(helper.make_tensor_value_info(name, dtype, sizes))
        return name

    def tokens(self, name: str) -> str:
        return self.input(name, TensorProto.INT64, self.sizes)

    def weight(self, *shape: int) -> str:
        return self.constant(self.random.normal(0, 1.7 * self.style.hidden**-0.5, shape))

    def size(self, x: str, axis: int) -> str:
        """One size as a vector of one element."""
        return self.node("Gather", self.node("Shape", x), self.integers(axis))

    def reshape(self, x: str, *shape: Any) -> str:
        """`shape` has numbers and names of vectors of one element."""
        parts = [s if isinstance(s, str) else self.integers(s) for s in shape]
        return self.node("Reshape", x, self.node("Concat", *parts, axis=0))

    # ---- layers

    def linear(self, x: str, inputs: int, outputs: int) -> str:
        weight, bias = self.weight(inputs, outputs), self.weight(outputs)
        if self.style.linear == "gemm":
            flat = self.node("Reshape", x, self.integers(-1, inputs))
            product = self.node("Gemm", flat, weight, bias)
            return self.reshape(product, self.size(x, 0), self.size(x, 1), outputs)
        product = self.node("MatMul", x, weight)
        operands = (bias, product) if self.style.linear == "bias_first" else (product, bias)
        return self.node("Add", *operands)

    def norm(self, x: str) -> str:
        gamma = self.constant(self.random.normal(1, 0.3, self.style.hidden))
        beta = self.weight(self.style.hidden)
        if self.style.norm == "whole":
            return self.node("LayerNormalization", x, gamma, beta, axis=-1, epsilon=1e-5)
        centered = self.node("Sub", x, self.mean(x))
        square = self.node("Pow", centered, self.constant(2))
        variance = self.node("Add", self.mean(square), self.constant(1e-5))
        normalized = self.node("Div", centered, self.node("Sqrt", variance))
        return self.node("Add", self.node("Mul", normalized, gamma), beta)

    def mean(self, x: str) -> str:
        if self.style.opset >= 18:
            return self.node("ReduceMean", x, self.integers(-1), keepdims=1)
        return self.node("ReduceMean", x, axes=[-1], keepdims=1)

    def activation(self, x: str) -> str:
        half, one = self.constant(0.5), self.constant(1)
        kind = self.style.activation
        if kind == "relu":
            return self.node("Relu", x)
        if kind == "gelu_whole":
            return self.node("Gelu", x)
        if kind in ("silu", "quick"):
            inner = self.node("Mul", x, self.constant(1.702)) if kind == "quick" else x
            return self.node("Mul", x, self.node("Sigmoid", inner))
        if kind == "gelu_tanh":
            cube = self.node("Mul", self.node("Pow", x, self.constant(3)), self.constant(0.044715))
            inner = self.node(
                "Mul", self.node("Add", x, cube), self.constant(math.sqrt(2 / math.pi)))
            outer = self.node("Add", self.node("Tanh", inner), one)
            return self.node("Mul", self.node("Mul", x, half), outer)
        erf = self.node("Erf", self.node("Div", x, self.constant(math.sqrt(2))))
        outer = self.node("Add", erf, one)
        if kind == "gelu_half":
            return self.node("Mul", x, self.node("Mul", half, outer))
        return self.node("Mul", self.node("Mul", x, outer), half)

    # ---- masks

    def index(self, size: str, *axes: int) -> str:
        scalar = self.node("Squeeze", size, self.integers(0))
        zero, one = self.constant(0, np.int64), self.constant(1, np.int64)
        counter = self.node("Range", zero, scalar, one)
        return self.node("Unsqueeze", counter, self.integers(*axes))

    def flags(self) -> str:
        """The flags of `attention_mask` as newer versions of transformers read them."""
        batch, keys = self.size("attention_mask", 0), self.size("attention_mask", 1)
        flags = self.node("Cast", "attention_mask", to=TensorProto.BOOL)
        b, j = self.index(batch, 1, 2, 3), self.index(keys, 0, 1, 2)
        if self.style.mask == "gather_nd":
            places = []
            shape = self.node("Shape", self.node("Max", b, j))
            for counter in (b, j):
                place = self.node("Expand", counter, shape)
                places.append(self.node("Unsqueeze", place, self.integers(-1)))
            return self.node("GatherND", flags, self.node("Concat", *places, axis=-1))
        place = self.node("Add", j, self.node("Mul", b, keys))
        flat = self.node("Flatten", flags, axis=2)
        gathered = self.node("Gather", flat, place, axis=0)
        line = self.node("Reshape", gathered, self.integers(-1))
        return self.node("Reshape", line, self.node("Shape", place))

    def causal(self) -> str:
        keys = self.size("attention_mask", 1)
        i, j = self.index(keys, 0, 1, 3), self.index(keys, 0, 1, 2)
        return self.node("LessOrEqual", j, i)

    def never(self) -> str:
        return self.constant(-np.inf if self.style.infinity else LOWEST)

    def mask(self) -> str:
        """What is added to the scores."""
        kind, zero, one = self.style.mask, self.constant(0), self.constant(1)
        if kind in ("minus", "fill", "float", "low"):
            mask = self.node("Unsqueeze", "attention_mask", self.integers(1, 2))
            mask = self.node("Sub", one, self.node("Cast", mask, to=TensorProto.FLOAT))
            if kind == "fill":
                excluded = self.node("Cast", mask, to=TensorProto.BOOL)
                return self.node("Where", excluded, self.never(), mask)
            numbers = {"float": -10000, "low": -100}
            lowest = self.constant(numbers[kind]) if kind in numbers else self.never()
            return self.node("Mul", mask, lowest)
        if kind == "triangle":
            ones = self.node(
                "ConstantOfShape", self.node("Concat", *[self.size("attention_mask", 1)] * 2, axis=0),
                value=helper.make_tensor("value", TensorProto.FLOAT, [1], [1]))
            below = self.node("Trilu", ones, upper=0)
            return self.node("Where", self.node("Equal", below, zero), self.never(), zero)
        if kind == "causal":
            kept = self.node("And", self.causal(), self.flags())
        else:
            kept = self.flags()
        return self.node("Where", kept, zero, self.never())

    # ---- attention

    def heads(self, x: str, order: Sequence[int], heads: int) -> str:
        parts = self.reshape(x, self.size(x, 0), self.size(x, 1), heads, self.style.head_size)
        return self.node("Transpose", parts, perm=order)

    def projections(self, x: str) -> List[str]:
        hidden = self.style.hidden
        if self.style.fused:
            sizes = self.integers(hidden, hidden, hidden)
            return self.node("Split", self.linear(x, hidden, 3 * hidden), sizes, outputs=3, axis=2)
        width = self.style.head_size if self.style.shared_heads else hidden
        return [self.linear(x, hidden, n) for n in (hidden, width, width)]

    def repeat(self, x: str) -> str:
        """One head for all."""
        batch, size = self.size(x, 0), self.size(x, 2)
        heads, channels = self.style.heads, self.style.head_size
        single = self.node("Unsqueeze", x, self.integers(2))
        shape = self.node(
            "Concat", batch, self.integers(1, heads), size, self.integers(channels), axis=0)
        return self.reshape(self.node("Expand", single, shape), batch, heads, size, channels)

    def keys(self, k: str) -> str:
        """[B, H, T, dk] to [B, H, dk, T]"""
        if self.style.keys == "matrices":
            batch, size = self.size(k, 0), self.size(k, 2)
            channels = self.style.head_size
            matrices = self.reshape(k, -1, size, channels)
            matrices = self.node("Transpose", matrices, perm=[0, 2, 1])
            return self.reshape(matrices, batch, self.style.heads, channels, size)
        return self.node("Transpose", k, perm=[0, 1, 3, 2])

    def scores(self, q: str, k: str) -> str:
        kind, size = self.style.scale, self.style.head_size
        if kind == "both":
            root = self.constant(size**-0.25)
            return self.node("MatMul", self.node("Mul", q, root), self.node("Mul", k, root))
        product = self.node("MatMul", q, k)
        if kind == "mul":
            return self.node("Mul", product, self.constant(size**-0.5))
        return self.node("Div", product, self.constant(size**0.5)) if kind == "div" else product

    def probabilities(self, scores: str) -> str:
        p = self.node("Softmax", scores, axis=-1)
        if self.style.infinity:
            p = self.node("Where", self.node("IsNaN", p), self.constant(0), p)
        if self.style.clip:
            p = self.node("Mul", p, self.constant(1.03))
            p = self.node("Add", p, self.constant(-0.03))
            p = self.node("Clip", p, self.constant(0), self.constant(1))
        return p

    def gate_nets(self, x: str) -> str:
        """A net for each head, which reads the head's part of the layer's input."""
        size, parts = self.style.head_size, self.heads(x, [0, 2, 1, 3], self.style.heads)
        logits = []
        for head in range(self.style.heads):
            part = self.node("Gather", parts, self.constant(head, np.int64), axis=1)
            if self.style.gate == "nets_mlp":
                part = self.node("Relu", self.linear(part, size, 3))
            logit = self.linear(part, 3 if self.style.gate == "nets_mlp" else size, 1)
            logits.append(self.node("Unsqueeze", logit, self.integers(1)))
        return self.node("Concat", *logits, axis=1)

    def stacked_nets(self, x: str) -> str:
        """The same nets, all of a layer by one product."""
        size, heads, is_mlp = self.style.head_size, self.style.heads, "mlp" in self.style.gate
        x = self.heads(x, [0, 2, 1, 3], heads)
        if is_mlp:
            hidden = self.node("MatMul", x, self.weight(heads, size, 3))
            x = self.node("Relu", self.node("Add", hidden, self.weight(heads, 1, 3)))
        logits = self.node("MatMul", x, self.weight(heads, 3 if is_mlp else size, 1))
        return self.node("Add", logits, self.weight(1, heads, 1, 1))

    def einsum_nets(self, x: str) -> str:
        """The same, by sums over letters, with heads behind the queries."""
        size, heads, is_mlp = self.style.head_size, self.style.heads, "mlp" in self.style.gate
        x = self.reshape(x, self.size(x, 0), self.size(x, 1), heads, size)
        if is_mlp:
            hidden = self.node("Einsum", x, self.weight(heads, 3, size), equation="bshd,hnd->bshn")
            x = self.node("Relu", self.node("Add", self.weight(heads, 3), hidden))
        weight = self.weight(heads, 3 if is_mlp else size)
        logits = self.node("Einsum", weight, x, equation="hd,bshd->bhs")
        return self.node("Unsqueeze", logits, self.integers(-1))

    def gated(self, context: str, x: str) -> str:
        if self.style.gate in ("none", "merged"):
            return context
        hidden, heads = self.style.hidden, self.style.heads
        if self.style.gate.startswith("nets_stacked"):
            logits = self.stacked_nets(x)
        elif self.style.gate.startswith("nets_einsum"):
            logits = self.einsum_nets(x)
        elif self.style.gate.startswith("nets"):
            logits = self.gate_nets(x)
        elif self.style.gate == "channels":
            logits = self.heads(self.linear(x, hidden, hidden), [0, 2, 1, 3], heads)
        else:
            logits = self.node("Transpose", self.linear(x, hidden, heads), perm=[0, 2, 1])
            logits = self.node("Unsqueeze", logits, self.integers(3))
        return self.node("Mul", context, self.node("Sigmoid", logits))

    def attention(self, x: str, mask: str) -> str:
        hidden, heads = self.style.hidden, self.style.heads
        q, k, v = self.projections(x)
        if self.style.scale == "query":
            q = self.node("Mul", q, self.constant(self.style.head_size**-0.5))
        shared = 1 if self.style.shared_heads else heads
        q, k, v = (self.heads(q, [0, 2, 1, 3], heads), self.heads(k, [0, 2, 1, 3], shared),
                   self.heads(v, [0, 2, 1, 3], shared))
        if self.style.shared_heads:
            k, v = self.repeat(k), self.repeat(v)
        scores = self.scores(q, self.keys(k))
        if mask:
            scores = self.node("Add", scores, mask)
        context = self.node("MatMul", self.probabilities(scores), v)
        context = self.node("Transpose", self.gated(context, x), perm=[0, 2, 1, 3])
        merged = self.reshape(context, self.size(x, 0), self.size(x, 1), hidden)
        if self.style.gate == "merged":
            logits = self.linear(x, hidden, hidden)
            merged = self.node("Mul", merged, self.node("Sigmoid", logits))
        return self.linear(merged, hidden, hidden)

    # ---- models

    def table(self, rows: int, ids: str) -> str:
        return self.node("Gather", self.weight(rows, self.style.hidden), ids)

    def embeddings(self) -> str:
        table = self.constant([list(range(POSITIONS))], np.int64)
        places = self.node(
            "Slice", table, self.integers(0), self.size("input_ids", 1), self.integers(1))
        words = self.table(VOCABULARY, "input_ids")
        return self.node("Add", words, self.table(POSITIONS, places))

    def sublayer(self, x: str, compute: Callable[[str], str]) -> str:
        """With its norm and the residual."""
        if self.style.pre_norm:
            return self.node("Add", x, compute(self.norm(x)))
        return self.norm(self.node("Add", compute(x), x))

    def feed_forward(self, x: str) -> str:
        hidden, inner = self.style.hidden, self.style.inner
        return self.linear(self.activation(self.linear(x, hidden, inner)), inner, hidden)

    def layers(self, x: str) -> str:
        mask = self.mask() if self.style.mask != "none" else ""
        x = x if self.style.pre_norm else self.norm(x)
        for _ in range(self.style.layers):
            x = self.sublayer(x, lambda y: self.attention(y, mask))
            x = self.sublayer(x, self.feed_forward)
        return self.norm(x) if self.style.pre_norm else x

    def model(self, sizes: Sequence[Any]) -> onnx.ModelProto:
        """What the last node yields, a tensor of `sizes`, is the output."""
        self.nodes[-1].output[0] = "last_hidden_state"
        output = helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, sizes)
        used = {name for node in self.nodes for name in node.input}
        constants = [tensor for tensor in self.initializers if tensor.name in used]
        model = helper.make_model(
            helper.make_graph(self.nodes, "layers", self.inputs, [output], constants),
            ir_version=8, opset_imports=[helper.make_opsetid("", self.style.opset)])
        onnx.checker.check_model(model)
        return model


def build(style: Style) -> onnx.ModelProto:
    """Embeddings and two layers."""
    graph = Graph(style)
    graph.tokens("input_ids")
    graph.tokens("attention_mask")
    graph.layers(graph.embeddings())
    return graph.model([*graph.sizes, style.hidden])


def make_feeds(seed: int = 0, shape: Sequence[int] = (2, 7)) -> Dict[str, np.ndarray]:
    """Token ids and a mask with padding at the end of some rows."""
    rng = np.random.default_rng(seed)
    mask = np.ones(shape, np.int64)
    mask[1:, shape[1] // 2 + 1:] = 0
    return {"input_ids": rng.integers(0, VOCABULARY, shape), "attention_mask": mask}


def save(model: onnx.ModelProto, folder: pathlib.Path) -> pathlib.Path:
    path = folder / "model.onnx"
    onnx.save(model, path)
    return path
