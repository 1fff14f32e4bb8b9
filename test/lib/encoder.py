# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""BERT-like encoders with random weights, as import leaves them, and in NumPy.

`Encoder(...).ir()` is the text of a module whose `@main` takes ids, attention mask and
token types and returns the last hidden state; `Encoder(...).run(...)` computes it in
double precision. As a script it writes the module: `encoder.py minilm > minilm.mlir`.
"""

import dataclasses
import functools
import math
import sys

import numpy as np

EPSILON = 1e-12


@dataclasses.dataclass(frozen=True)
class Encoder:
    """Sizes and seed of one encoder. `scale` of the weights as in BERT: 0.02."""

    layers: int = 2
    hidden: int = 64
    heads: int = 4
    intermediate: int = 128
    vocabulary: int = 100
    positions: int = 64
    seed: int = 0

    @functools.cached_property
    def weights(self):
        """Name to f32 array; matrices are [outputs, inputs]."""
        rng = np.random.default_rng(self.seed)
        d, n = self.hidden, self.intermediate

        def matrix(rows, columns):
            deviation = 1 / math.sqrt(columns)
            return np.float32(rng.standard_normal((rows, columns)) * deviation)

        def norm(name):
            return {
                f"{name}.gamma": np.float32(1 + 0.2 * rng.standard_normal(d)),
                f"{name}.beta": np.float32(0.1 * rng.standard_normal(d)),
            }

        def linear(name, outputs, inputs):
            return {
                f"{name}.weight": matrix(outputs, inputs),
                f"{name}.bias": np.float32(0.1 * rng.standard_normal(outputs)),
            }

        weights = {
            "words": np.float32(rng.standard_normal((self.vocabulary, d))),
            "positions": np.float32(rng.standard_normal((self.positions, d))),
            "types": np.float32(rng.standard_normal((2, d))),
            **norm("embedding_norm"),
        }
        for layer in range(self.layers):
            for name in "query", "key", "value", "output":
                weights |= linear(f"{layer}.{name}", d, d)
            weights |= norm(f"{layer}.attention_norm")
            weights |= linear(f"{layer}.up", n, d)
            weights |= linear(f"{layer}.down", d, n)
            weights |= norm(f"{layer}.output_norm")
        return weights

    # ---- IR ------------------------------------------------------------------

    def ir(self):
        return _Writer(self).write()

    def quantized_ir(self):
        """Linears and both products of attention on bytes. The ranges are those of
        normalised rows, not calibrated: for measuring speed."""
        return _QuantizedWriter(self).write()

    # ---- NumPy ---------------------------------------------------------------

    def run(self, ids, mask, types):
        """The last hidden state, in double precision."""
        w = {name: value.astype(np.float64) for name, value in self.weights.items()}
        x = w["words"][ids] + w["positions"][: ids.shape[1]] + w["types"][types]
        x = _normalise(x, w, "embedding_norm")
        for layer in range(self.layers):
            context = self._attend(x, w, layer, np.asarray(mask) != 0)
            x = _normalise(x + _project(context, w, f"{layer}.output"), w,
                           f"{layer}.attention_norm")
            h = _gelu(_project(x, w, f"{layer}.up"))
            x = _normalise(x + _project(h, w, f"{layer}.down"), w, f"{layer}.output_norm")
        return x

    def _attend(self, x, w, layer, mask):
        batch, size, _ = x.shape

        def split(name):
            y = _project(x, w, f"{layer}.{name}")
            return y.reshape(batch, size, self.heads, -1).transpose(0, 2, 1, 3)

        query, key, value = map(split, ("query", "key", "value"))
        scores = query @ key.transpose(0, 1, 3, 2) / math.sqrt(query.shape[-1])
        scores = np.where(mask[:, None, None, :], scores, -np.inf)
        shift = scores.max(-1, keepdims=True)
        p = np.exp(scores - np.where(np.isinf(shift), 0, shift))
        total = p.sum(-1, keepdims=True)
        context = p / np.where(total == 0, 1, total) @ value
        return context.transpose(0, 2, 1, 3).reshape(x.shape)


def _project(x, w, name):
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def _normalise(x, w, name):
    c = x - x.mean(-1, keepdims=True)
    root = 1 / np.sqrt((c**2).mean(-1, keepdims=True) + EPSILON)
    return c * root * w[f"{name}.gamma"] + w[f"{name}.beta"]


_ERF = np.vectorize(math.erf)


def _gelu(x):
    return x / 2 * (1 + _ERF(x / math.sqrt(2)))


class _Writer:
    """Writes the IR of an encoder line by line."""

    def __init__(self, encoder):
        self.encoder = encoder
        self.lines = []
        self.count = 0

    def _constants(self):
        return self.encoder.weights

    def write(self):
        e = self.encoder
        self.x_type = f"tensor<?x?x{e.hidden}xf32>"
        self.constants = self._constants()
        for name in self.constants:
            self._weight(name)
        self._inputs()
        x = self._embedding()
        for layer in range(e.layers):
            x = self._layer(x, layer)
        body = "\n".join(f"  {line}" for line in self.lines)
        ids = 'tensor<?x?xi64> {{qtx.name = "{}", qtx.dims = ["batch", "sequence"]}}'
        arguments = ", ".join(
            f"%{short}: {ids.format(name)}"
            for short, name in (("ids", "input_ids"), ("mask", "attention_mask"),
                                ("types", "token_type_ids")))
        result = (f'{self.x_type} {{qtx.name = "last_hidden_state", '
                  'qtx.dims = ["batch", "sequence", ""]}')
        return (f"func.func @main({arguments})\n    -> ({result}) {{\n{body}\n"
                f"  return {x} : {self.x_type}\n}}\n{self._resources()}")

    def _resources(self):
        # The first four bytes are the alignment.
        blobs = ",\n".join(
            f'      "{name}": "0x04000000{value.tobytes().hex()}"'
            for name, value in self.constants.items())
        return "{-#\n  dialect_resources: {\n    builtin: {\n" + blobs + "\n    }\n  }\n#-}\n"

    def _emit(self, text):
        """Appends an operation; returns the name of its result."""
        self.count += 1
        self.lines.append(f"%{self.count} = {text}")
        return f"%{self.count}"

    def _weight_type(self, name):
        value = self.constants[name]
        shape = "x".join(map(str, value.shape))
        return f"tensor<{shape}x{'i8' if value.dtype == np.int8 else 'f32'}>"

    def _weight(self, name):
        self.lines.append(f'{self._w(name)} = arith.constant dense_resource<"{name}"> : '
                          f"{self._weight_type(name)}")

    @staticmethod
    def _w(name):
        return f"%w_{name}"

    def _inputs(self):
        self.lines += [
            "%c0 = arith.constant 0 : index",
            "%c1 = arith.constant 1 : index",
            "%batch = tensor.dim %ids, %c0 : tensor<?x?xi64>",
            "%sequence = tensor.dim %ids, %c1 : tensor<?x?xi64>",
            "%zero = arith.constant 0 : i64",
            "%empty = tensor.splat %zero[%batch, %sequence] : tensor<?x?xi64>",
            "%valid = arith.cmpi ne, %mask, %empty : tensor<?x?xi64>",
            "%keys = tensor.expand_shape %valid [[0, 1, 2], [3]] "
            "output_shape [%batch, 1, 1, %sequence] : tensor<?x?xi1> into tensor<?x1x1x?xi1>",
        ]

    def _embedding(self):
        d = self.encoder.hidden

        def lookup(table, ids):
            return self._emit(f"qtx.embedding {self._w(table)}, %{ids} : "
                              f"({self._weight_type(table)}, tensor<?x?xi64>) -> {self.x_type}")

        words, types = lookup("words", "ids"), lookup("types", "types")
        positions = self._emit(
            f"tensor.extract_slice {self._w('positions')}[0, 0] [%sequence, {d}] [1, 1] : "
            f"{self._weight_type('positions')} to tensor<?x{d}xf32>")
        total = self._emit(f"qtx.add {words}, {types} : ({self.x_type}, {self.x_type}) "
                           f"-> {self.x_type}")
        total = self._emit(f"qtx.add {total}, {positions} : ({self.x_type}, "
                           f"tensor<?x{d}xf32>) -> {self.x_type}")
        return self._norm(total, "embedding_norm")

    def _norm(self, x, name):
        vector = f"tensor<{self.encoder.hidden}xf32>"
        return self._emit(
            f"qtx.layer_norm {x} gamma({self._w(name)}.gamma) beta({self._w(name)}.beta) "
            f"epsilon {EPSILON:.1e} : ({self.x_type}, {vector}, {vector}) -> {self.x_type}")

    def _linear(self, x, name, x_type=None):
        outputs = self.encoder.weights[f"{name}.weight"].shape[0]
        weight, bias = f"{name}.weight", f"{name}.bias"
        return self._emit(
            f"qtx.linear {x}, {self._w(weight)} bias({self._w(bias)}) : "
            f"({x_type or self.x_type}, {self._weight_type(weight)}, {self._weight_type(bias)}) "
            f"-> tensor<?x?x{outputs}xf32>")

    def _add(self, x, y):
        return self._emit(f"qtx.add {x}, {y} : ({self.x_type}, {self.x_type}) -> {self.x_type}")

    def _layer(self, x, layer):
        e = self.encoder
        heads = f"tensor<?x{e.heads}x?x{e.hidden // e.heads}xf32>"
        projections = [self._linear(x, f"{layer}.{name}") for name in ("query", "key", "value")]
        query, key, value = (
            self._emit(f"qtx.split_heads {p} : {self.x_type} -> {heads}") for p in projections)
        scale = 1 / math.sqrt(e.hidden // e.heads)
        context = self._emit(
            f"qtx.attention {query}, {key}, {value} mask(%keys) scale {scale:.9e} : "
            f"({heads}, {heads}, {heads}, tensor<?x1x1x?xi1>) -> {heads}")
        merged = self._emit(f"qtx.merge_heads {context} : {heads} -> {self.x_type}")
        x = self._norm(self._add(x, self._linear(merged, f"{layer}.output")),
                       f"{layer}.attention_norm")
        h_type = f"tensor<?x?x{e.intermediate}xf32>"
        up = self._linear(x, f"{layer}.up")
        h = self._emit(f"qtx.gelu {up} : ({h_type}) -> {h_type}")
        down = self._linear(h, f"{layer}.down", h_type)
        return self._norm(self._add(x, down), f"{layer}.output_norm")


class _QuantizedWriter(_Writer):
    """The same with quantized layers."""

    ACTIVATION = "!quant.uniform<i8:f32, 0.05>"
    HEADS = {"query": "!quant.uniform<i8:f32, 0.05>", "key": "!quant.uniform<i8:f32, 0.06>",
             "value": "!quant.uniform<i8:f32, 0.045:3>"}
    GELU = "!quant.uniform<i8:f32, 0.03:-120>"
    PROBABILITY = "!quant.uniform<u8:f32, 0.00392156886>"

    def _constants(self):
        constants = {}
        for name, value in self.encoder.weights.items():
            constants[name] = value
            if name.endswith(".weight"):
                scale = np.float32(np.abs(value).max(1) / 127)
                codes = np.clip(np.rint(value / scale[:, None]), -127, 127)
                constants |= {name: codes.astype(np.int8), f"{name}.scale": scale}
        return constants

    def _quantize(self, x):
        d = self.encoder.hidden
        return self._emit(f"qtx.quantize {x} to {self.ACTIVATION} : {self.x_type} "
                          f"-> tensor<?x?x{d}xi8>")

    def _quantized_linear(self, x, name, quant, result=None, activation=""):
        weight, scale, bias = (f"{name}.{part}" for part in ("weight", "weight.scale", "bias"))
        outputs, inputs = self.constants[weight].shape
        types = ", ".join([f"tensor<?x?x{inputs}xi8>",
                           *map(self._weight_type, (weight, scale, bias))])
        return self._emit(
            f"qtx.linear {x} as {quant}, {self._w(weight)} scale({self._w(scale)}) "
            f"bias({self._w(bias)}){activation}{f' to {result}' * bool(result)} : ({types}) "
            f"-> tensor<?x?x{outputs}x{'i8' if result else 'f32'}>")

    def _layer(self, x, layer):
        e, quant = self.encoder, self.ACTIVATION
        heads = f"tensor<?x{e.heads}x?x{e.hidden // e.heads}xi8>"
        codes = f"tensor<?x?x{e.hidden}xi8>"
        quantized = self._quantize(x)
        query, key, value = (
            self._emit(f"qtx.split_heads {p} : {codes} -> {heads}")
            for p in [self._quantized_linear(quantized, f"{layer}.{name}", quant, result)
                      for name, result in self.HEADS.items()])
        scale = 1 / math.sqrt(e.hidden // e.heads)
        context = self._emit(
            f"qtx.attention {query} as {self.HEADS['query']}, {key} as {self.HEADS['key']}, "
            f"{value} as {self.HEADS['value']} "
            f"mask(%keys) scale {scale:.9e} unnormalised probs {self.PROBABILITY} to {quant} : "
            f"({heads}, {heads}, {heads}, tensor<?x1x1x?xi1>) -> {heads}")
        merged = self._emit(f"qtx.merge_heads {context} : {heads} -> {codes}")
        output = self._quantized_linear(merged, f"{layer}.output", quant)
        x = self._norm(self._add(x, output), f"{layer}.attention_norm")
        up = self._quantized_linear(self._quantize(x), f"{layer}.up", quant, self.GELU,
                                    " activation gelu")
        down = self._quantized_linear(up, f"{layer}.down", self.GELU)
        return self._norm(self._add(x, down), f"{layer}.output_norm")


NAMED = {
    "small": Encoder(),
    "minilm": Encoder(6, 384, 12, 1536, 30522, 512),
    "bert": Encoder(12, 768, 12, 3072, 30522, 512),
}


def main():
    if len(sys.argv) != 2 or sys.argv[1] not in NAMED:
        sys.exit(f"usage: encoder.py {'|'.join(NAMED)}")
    sys.stdout.write(NAMED[sys.argv[1]].ir())


if __name__ == "__main__":
    main()
