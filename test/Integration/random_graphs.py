# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Random ONNX graphs with dynamic sizes, and what they compute.

Each node is evaluated by ONNX's reference as soon as it is made, with several sizes: so the
next one knows what it may be given.
"""

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

# What the sizes `a` and `b` of the inputs are.
SIZES = ((3, 5), (2, 2), (7, 4))
INPUTS = {"x": ("a", "b", 4), "y": ("b", 4), "n": ("a", 1, 6)}
OPSET = 18


class Impossible(Exception):
    """A node that cannot be made of what there is."""


class Graph:
    """Nodes, and the arrays of each value: one for each of SIZES.

    Values in `exact` are the same to the last bit whoever computes them: what jumps, as
    rounding and comparisons do, takes only those.
    """

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.nodes, self.constants, self.exact = [], [], set(INPUTS)
        self.values = {name: [self._make_input(name, size) for size in SIZES] for name in INPUTS}

    def _make_input(self, name, size):
        shape = [{"a": size[0], "b": size[1]}.get(dim, dim) for dim in INPUTS[name]]
        if name == "n":
            return self.rng.integers(-5, 6, shape)
        return self.rng.normal(size=shape).astype(np.float32)

    def constant(self, array):
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(array), name))
        self.values[name] = [np.asarray(array)] * len(SIZES)
        return name

    def ints(self, *values):
        return self.constant(np.array(values, np.int64))

    def rank(self, name):
        return self.values[name][0].ndim

    def shape(self, name):
        """Each size as a tuple of what it is with each of SIZES."""
        return list(zip(*(array.shape for array in self.values[name])))

    def pick(self, kinds="f", rank=0, exact=False):
        """A value of some element kinds with at least `rank` dimensions."""
        names = [name for name, arrays in self.values.items()
                 if arrays[0].dtype.kind in kinds and arrays[0].ndim >= rank
                 and not name.startswith("c") and max(a.size for a in arrays) < 3000
                 and min(a.size for a in arrays) > 0 and (not exact or name in self.exact)]
        if not names:
            raise Impossible
        return names[self.rng.integers(len(names))]

    def axis(self, name):
        """An axis, counted from either end."""
        rank = self.rank(name)
        return int(self.rng.integers(-rank, rank))

    def flag(self):
        return int(self.rng.integers(2))

    def add(self, op, *inputs, exact=False, **attributes):
        """Adds a node and evaluates it."""
        name = f"v{len(self.nodes)}"
        node = helper.make_node(op, inputs, [name], name=name, **attributes)
        reference = ReferenceEvaluator(self._make_model([node], inputs, [name]))
        arrays = [reference.run(None, {key: self.values[key][i] for key in inputs if key})[0]
                  for i in range(len(SIZES))]
        self.nodes.append(node)
        self.values[name] = [np.asarray(array) for array in arrays]
        if exact:
            self.exact.add(name)
        return name

    def _make_model(self, nodes, inputs, outputs, constants=(), shapes=None):
        def describe(name):
            array = self.values[name][0] if name in self.values else None
            dtype = (TensorProto.UNDEFINED if array is None
                     else helper.np_dtype_to_tensor_dtype(array.dtype))
            shape = (shapes or {}).get(name)
            if shape is None and array is not None:
                shape = [None] * array.ndim
            return helper.make_tensor_value_info(name, dtype, shape)

        graph = helper.make_graph(
            nodes, "random", [describe(name) for name in dict.fromkeys(inputs) if name],
            [describe(name) for name in outputs], list(constants))
        opsets = [helper.make_opsetid("", OPSET)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=10)

    def make_model(self):
        """The model: each node's result is one of its outputs."""
        outputs = [node.output[0] for node in self.nodes]
        return self._make_model(self.nodes, INPUTS, outputs, self.constants, INPUTS)


# ---- Operators ---------------------------------------------------------------


def unary(g):
    op = g.rng.choice(["Tanh", "Sigmoid", "Erf", "Softplus", "Softsign", "Sin", "HardSwish"])
    return g.add(op, g.pick())


def exact_unary(g):
    op = g.rng.choice(["Relu", "Abs", "Neg", "Identity"])
    name = g.pick("fi")
    return g.add(op, name, exact=name in g.exact)


def jump(g):
    return g.add(g.rng.choice(["Floor", "Ceil", "Round", "Sign"]), g.pick(exact=True), exact=True)


def broadcastable(g, name):
    """Another operand: a slice of length 1 of the same value, a constant, or the value."""
    choice = g.rng.integers(3)
    rank, dtype = g.rank(name), g.values[name][0].dtype
    if choice == 0 and rank:
        axis = g.axis(name)
        return g.add("Gather", name, g.ints(0), axis=axis, exact=name in g.exact)
    if choice == 1:
        dims = [size[0] if len(set(size)) == 1 and g.flag() else 1 for size in g.shape(name)]
        dims = dims[g.rng.integers(rank + 1):]
        return g.constant(g.rng.integers(-3, 4, dims).astype(dtype))
    return name


def binary(g):
    name = g.pick("fi")
    op = g.rng.choice(["Add", "Sub", "Mul", "Max", "Min"])
    operands = [name, broadcastable(g, name)]
    if g.flag():
        operands.reverse()
    is_exact = g.values[name][0].dtype.kind == "i" or op in ("Max", "Min")
    known = all(o in g.exact or o.startswith("c") for o in operands)
    return g.add(op, *operands, exact=is_exact and known)


def divide(g):
    name = g.pick("i")
    divisor = g.constant(np.array(g.rng.choice([-3, -1, 2, 5]), g.values[name][0].dtype))
    return g.add(g.rng.choice(["Div", "Mod"]), name, divisor, exact=True)


def compare(g):
    name = g.pick("fi", exact=True)
    other = broadcastable(g, name)
    op = g.rng.choice(["Less", "Greater", "Equal", "LessOrEqual", "GreaterOrEqual"])
    return g.add(op, name, other, exact=True)


def choose(g):
    name = g.pick("fi", exact=True)
    zero = g.constant(np.zeros((), g.values[name][0].dtype))
    condition = g.add("Less", name, zero, exact=True)
    return g.add("Where", condition, name, broadcastable(g, name), exact=True)


def cast(g):
    name = g.pick("fib", exact=True)
    types = [TensorProto.FLOAT, TensorProto.INT32, TensorProto.INT64, TensorProto.BOOL,
             TensorProto.DOUBLE, TensorProto.INT8]
    return g.add("Cast", name, to=int(g.rng.choice(types)), exact=True)


def reduce(g):
    op = g.rng.choice(["ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceL1",
                       "ReduceL2", "ReduceSumSquare", "ReduceLogSumExp"])
    name = g.pick(rank=1)
    rank = g.rank(name)
    axes = g.rng.choice(rank, g.rng.integers(1, rank + 1), replace=False) - rank * g.flag()
    inputs = [name] if g.rng.random() < 0.2 else [name, g.ints(*axes)]
    keeps = op in ("ReduceMax", "ReduceMin") and name in g.exact
    return g.add(op, *inputs, keepdims=g.flag(), exact=keeps)


def arg_extremum(g):
    name = g.pick(rank=1, exact=True)
    return g.add(g.rng.choice(["ArgMax", "ArgMin"]), name, axis=g.axis(name), exact=True,
                 keepdims=g.flag(), select_last_index=g.flag())


def softmax(g):
    name = g.pick(rank=1)
    return g.add(g.rng.choice(["Softmax", "LogSoftmax"]), name, axis=g.axis(name))


def cumulate(g):
    name = g.pick(rank=1)
    axis = g.constant(np.array(g.axis(name), np.int64))
    return g.add("CumSum", name, axis, exclusive=g.flag(), reverse=g.flag())


def normalise(g):
    name = g.pick(rank=1)
    size = g.shape(name)[-1]
    if len(set(size)) > 1:
        raise Impossible
    scale = g.constant(g.rng.normal(size=size[0]).astype(g.values[name][0].dtype))
    # Few numbers that are nearly equal have a variance that is mostly rounding.
    return g.add("LayerNormalization", name, scale, axis=-1, epsilon=0.1)


def transpose(g):
    name = g.pick("fib", rank=2)
    perm = [int(axis) for axis in g.rng.permutation(g.rank(name))]
    return g.add("Transpose", name, perm=perm, exact=name in g.exact)


def reshape(g):
    """Joins all dimensions behind one, or the last two, or turns them around."""
    name = g.pick("fib", rank=2)
    shape = [0] * int(g.rng.integers(0, g.rank(name))) + [-1]
    return g.add("Reshape", name, g.ints(*shape), exact=name in g.exact)


def reshape_to_sizes(g):
    """To a shape that is computed from sizes."""
    name = g.pick("fi", rank=2)
    shape = g.add("Shape", name, exact=True)
    order = g.ints(*g.rng.permutation(g.rank(name)))
    return g.add("Reshape", name, g.add("Gather", shape, order, exact=True),
                 exact=name in g.exact)


def unsqueeze(g):
    name = g.pick("fib")
    axis = int(g.rng.integers(-g.rank(name) - 1, g.rank(name) + 1))
    return g.add("Unsqueeze", name, g.ints(axis), exact=name in g.exact)


def cut(g):
    """A slice to either end."""
    name = g.pick("fib", rank=1)
    axis = g.axis(name)
    smallest = min(g.shape(name)[axis])
    step = int(g.rng.choice([1, 1, 2, -1, -2]))
    # A position within the smallest size need not be within any.
    smallest = smallest if len(set(g.shape(name)[axis])) == 1 else 1
    if step > 0:
        start, end = int(g.rng.integers(0, smallest)), 2**63 - 1
    else:
        start, end = -1 - int(g.rng.integers(0, smallest)), -2**63 + 1
    return g.add("Slice", name, g.ints(start), g.ints(end), g.ints(axis), g.ints(step),
                 exact=name in g.exact)


def concatenate(g):
    name = g.pick("fib", rank=1)
    return g.add("Concat", name, name, axis=g.axis(name), exact=name in g.exact)


def pad(g):
    name = g.pick("fi", rank=1)
    smallest = [min(size) for size in g.shape(name)]
    mode = g.rng.choice(["constant", "edge", "reflect", "wrap"])
    pads = [int(g.rng.integers(0, min(size, 3))) for size in smallest * 2]
    return g.add("Pad", name, g.ints(*pads), mode=mode, exact=name in g.exact)


def gather(g):
    name = g.pick("fib", rank=1)
    axis = g.axis(name)
    smallest = min(g.shape(name)[axis])
    indices = g.constant(g.rng.integers(-smallest, smallest, (2, 3)[: g.rng.integers(3)]))
    return g.add("Gather", name, indices, axis=axis, exact=name in g.exact)


def gather_elements(g):
    """Where the extremum is."""
    name = g.pick("fi", rank=1, exact=True)
    # ONNX's reference fails on axes from the end.
    axis = g.axis(name) % g.rank(name)
    indices = g.add("ArgMin", name, axis=axis, exact=True)
    return g.add("GatherElements", name, indices, axis=axis, exact=True)


def scatter(g):
    name = g.pick("fi", rank=1)
    axis = g.axis(name)
    smallest = min(g.shape(name)[axis])
    shape = [1] * g.rank(name)
    shape[axis] = min(2, smallest)
    updates = g.rng.integers(-9, 9, shape).astype(g.values[name][0].dtype)
    indices = np.reshape(g.rng.permutation(smallest)[: shape[axis]], shape)
    return g.add("ScatterElements", name, g.constant(indices), g.constant(updates), axis=axis,
                 exact=name in g.exact)


def expand(g):
    """To the shape of another value, in front of its own."""
    name, other = g.pick("fib"), g.pick("fi", rank=1)
    sizes = g.add("Shape", other, exact=True, end=1)
    if g.rank(name) > 3:
        raise Impossible
    shape = g.add("Concat", sizes, g.add("Shape", name, exact=True), axis=0, exact=True)
    return g.add("Expand", name, shape, exact=name in g.exact)


def tile(g):
    name = g.pick("fib", rank=1)
    repeats = g.ints(*g.rng.integers(1, 3, g.rank(name)))
    return g.add("Tile", name, repeats, exact=name in g.exact)


def triangle(g):
    name = g.pick("fi", rank=2)
    diagonal = g.constant(np.array(g.rng.integers(-2, 3), np.int64))
    return g.add("Trilu", name, diagonal, upper=g.flag(), exact=name in g.exact)


def resize(g):
    """By scales, or to more than the size along one axis."""
    name = g.pick(rank=1)
    axis = g.axis(name) % g.rank(name)
    mode = g.rng.choice(["nearest", "linear", "cubic"])
    options = {"coordinate_transformation_mode": g.rng.choice(
        ["half_pixel", "half_pixel_symmetric", "asymmetric", "align_corners"])}
    if mode == "nearest":
        # Where two elements are equally near, rounding decides.
        options["coordinate_transformation_mode"] = "asymmetric"
        options["nearest_mode"] = "floor"
    if g.flag():
        scales = g.constant(np.float32([g.rng.choice([0.5, 1.5, 2, 3])]))
        return g.add("Resize", name, "", scales, mode=mode, axes=[axis], **options)
    size = g.add("Shape", name, exact=True, start=axis, end=axis + 1)
    more = g.add("Add", size, g.ints(g.rng.integers(1, 4)), exact=True)
    return g.add("Resize", name, "", "", more, mode=mode, axes=[axis], **options)


def product(g):
    name = g.pick(rank=2)
    perm = [*range(g.rank(name) - 2), g.rank(name) - 1, g.rank(name) - 2]
    turned = g.add("Transpose", name, perm=perm)
    return g.add("MatMul", *((name, turned) if g.flag() else (turned, name)))


def einsum(g):
    name = g.pick(rank=2)
    equation = g.rng.choice(["...ij,...kj->...ik", "...ij,...ij->...i", "...ij,...ij->...ji"])
    return g.add("Einsum", name, name, equation=equation)


OPERATORS = [
    unary, exact_unary, jump, binary, divide, compare, choose, cast, reduce, arg_extremum,
    softmax, cumulate, normalise, transpose, reshape, reshape_to_sizes, unsqueeze, cut,
    concatenate, pad, gather, gather_elements, scatter, expand, tile, triangle, resize, product,
    einsum,
]


def make_graph(seed, count):
    """A graph of about `count` operators, every kind of which comes up in its turn."""
    graph = Graph(seed)
    order = list(np.random.default_rng(seed).permutation(len(OPERATORS)))
    while len(graph.nodes) < count:
        operator = OPERATORS[order[0]]
        order = order[1:] + order[:1]
        try:
            operator(graph)
        except Impossible:
            continue
    return graph
