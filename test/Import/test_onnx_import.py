# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What the importer makes of ONNX models: types, normal forms, constants."""

import re

import numpy as np
import pytest
from import_onnx import F32, I64, import_model, ints, model, node, tensor, value
from onnx import TensorProto, helper

X = ("x", ["batch", "sequence", 8])
IDS = ("ids", ["batch", "sequence"], I64)


def expand_maps(text):
    """The IR with the maps in place of their aliases."""
    aliases = dict(re.findall(r"^(#map\d*) = (affine_map<.*>)$", text, re.MULTILINE))
    return re.sub(r"#map\d*\b", lambda match: aliases[match.group()], text)


def run(tmp_path, proto, *options):
    """The lines of the function."""
    result = import_model(tmp_path, proto, *options)
    assert result.returncode == 0, result.stderr
    text = expand_maps(result.stdout)
    return [line.strip() for line in text.splitlines() if not line.startswith("#")]


def result_of(lines):
    """Which value the function returns: the operation without its name."""
    returned = next(line for line in lines if line.startswith("return"))
    name = returned.split()[1].split("#")[0]
    made = [line for line in lines if re.match(re.escape(name) + r"(:\d+)? = ", line)]
    return made[0].split(" = ", 1)[1] if made else returned


# ---- sizes -------------------------------------------------------------------


def test_signature(tmp_path):
    lines = run(tmp_path, model([node("Flatten", "x", axis=2)], [X]))
    signature = next(line for line in lines if line.startswith("func.func"))
    assert '{qtx.dims = ["batch", "sequence", ""], qtx.name = "x"}' in signature
    assert '{qtx.dims = ["s0 * s1", ""], qtx.name = "y"}' in signature


def test_sizes_option(tmp_path):
    lines = run(tmp_path, model([node("Relu", "x")], [X]), "--size=batch=2", "--size=sequence=7")
    assert result_of(lines) == 'onnx.node "Relu"(%arg0) : (tensor<2x7x8xf32>) -> tensor<2x7x8xf32>'


def test_sizes_option_is_checked(tmp_path):
    result = import_model(tmp_path, model([node("Relu", "x")], [X]), "--size=batch")
    assert "error: expected --size=name=size, found 'batch'" in result.stderr
    assert result.returncode == 1


def test_names_that_meet_are_one_size(tmp_path):
    inputs = [("a", ["n", "s"]), ("b", ["m", "t"]), ("c", ["m", 1])]
    lines = run(tmp_path, model([node("Add", "a b", "d"), node("Add", "d c")], inputs))
    signature = next(line for line in lines if line.startswith("func.func"))
    assert signature.count('["n", "s"]') == 3 and '["n", ""]' in signature


def test_tables_limit_sizes(tmp_path):
    nodes = [
        node("Shape", "x", "length", start=1, end=2),
        node("Add", "length two", "end"),
        node("Slice", "table length end zero", "rows"),
        node("Slice", "other zero length zero", "more"),
        node("Concat", "rows more", axis=0),
    ]
    constants = [
        ints("zero", 0),
        ints("two", 2),
        tensor("table", np.ones((64, 3), np.float32)),
        tensor("other", np.ones((99, 3), np.float32)),
    ]
    lines = run(tmp_path, model(nodes, [X], constants=constants))
    assert any("qtx.max_sizes = {sequence = 62 : i64}" in line for line in lines)


def test_unnamed_sizes(tmp_path):
    lines = run(tmp_path, model([node("Relu", "x")], [("x", [None, 4])]))
    assert any('qtx.dims = ["x_dim_0", ""]' in line for line in lines)


SHAPES = {
    "minus one": (
        [node("Reshape", "x shape")],
        [ints("shape", -1, 4)],
        "()[s0, s1] -> ((s0 * s1) * 2, 4)",
    ),
    "zero copies": (
        [node("Reshape", "x shape")],
        [ints("shape", 0, -1, 2, 4)],
        "()[s0, s1] -> (s0, s1, 2, 4)",
    ),
    "split and merge": (
        [
            node("Reshape", "x shape", "flat"),
            node("Shape", "x", "size", end=2),
            node("Concat", "size rest", "back", axis=0),
            node("Reshape", "flat back"),
        ],
        [ints("shape", -1), ints("rest", -1)],
        "()[s0, s1] -> (s0, s1, 8)",
    ),
    "gathered": (
        [
            node("Shape", "x", "size"),
            node("Gather", "size one", "length", axis=0),
            node("Add", "length length", "twice"),
            node("Unsqueeze", "twice zero", "twices"),
            node("Concat", "eight twices", "shape", axis=0),
            node("ConstantOfShape", "shape"),
        ],
        [ints("zero", 0), tensor("one", np.array(1)), ints("eight", 8)],
        "()[s0, s1] -> (8, s1 * 2)",
    ),
    "range": (
        [
            node("Shape", "x", "size", start=1, end=2),
            node("Squeeze", "size", "length"),
            node("Mul", "length two", "limit"),
            node("Range", "one limit three"),
        ],
        [tensor("one", np.array(1)), tensor("two", np.array(2)), tensor("three", np.array(3))],
        "()[s0, s1] -> ((s1 * 2 + 1) floordiv 3)",
    ),
    "expand where": (
        # As PyTorch writes expand(-1, sequence, -1).
        [
            node("Shape", "x", "size", start=1, end=2),
            node("Concat", "minus size minus", "shape", axis=0),
            node("ConstantOfShape", "three", "ones", value=ints("v", 1)),
            node("Mul", "ones minus", "minuses"),
            node("Equal", "shape minuses", "same"),
            node("Where", "same ones shape", "sizes"),
            node("Expand", "table sizes"),
        ],
        [ints("minus", -1), ints("three", 3), tensor("table", np.ones((2, 1, 4), np.float32))],
        "()[s0, s1] -> (2, s1, 4)",
    ),
    "products cancel": (
        [
            node("Size", "x", "count"),
            node("Shape", "x", "size", end=1),
            node("Squeeze", "size", "batch"),
            node("Div", "count batch", "rest"),
            node("Unsqueeze", "rest zero", "rests"),
            node("ConstantOfShape", "rests"),
        ],
        [ints("zero", 0)],
        "()[s0, s1] -> (s1 * 8)",
    ),
    "differences cancel": (
        # As GPT-2 slices its causal mask.
        [
            node("Shape", "x", "length", start=1, end=2),
            node("Sub", "length length", "start"),
            node("Slice", "mask start length axis", "rows"),
        ]
        + [node("Identity", "rows")],
        [tensor("mask", np.ones((99, 3), np.float32)), ints("axis", 0)],
        "()[s0, s1] -> (s1, 3)",
    ),
    "largest": (
        [
            node("Shape", "x", "size", end=2),
            node("ReduceProd", "size", "product", keepdims=1),
            node("Max", "product one", "most"),
            node("ConstantOfShape", "most"),
        ],
        [ints("one", 1)],
        "()[s0, s1] -> (s0 * s1)",
    ),
    "modulo": (
        [
            node("Shape", "x", "size", end=1),
            node("Mod", "size four", "rest"),
            node("Sub", "four rest", "more"),
            node("ConstantOfShape", "more"),
        ],
        [ints("four", 4)],
        "()[s0] -> (-(s0 mod 4) + 4)",
    ),
    "last token": (
        [node("Slice", "x start end one")],
        [ints("start", -1), ints("end", 2**63 - 1), ints("one", 1)],
        "()[s0] -> (s0, 1, 8)",
    ),
    "reversed": (
        [node("Slice", "x start end one minus")],
        [ints("start", -1), ints("end", -(2**63)), ints("one", 1), ints("minus", -1)],
        "()[s0, s1] -> (s0, s1, 8)",
    ),
    "concatenated": (
        [node("Concat", "x x x", axis=1)],
        [],
        "()[s0, s1] -> (s0, s1 * 3, 8)",
    ),
    "padded": (
        [node("Pad", "x pads value axes")],
        [ints("pads", 1, 2), tensor("value", np.float32(0)), ints("axes", -2)],
        "()[s0, s1] -> (s0, s1 + 3, 8)",
    ),
    "resized by scales": (
        [node("Resize", "x - scales")],
        [tensor("scales", np.float32([1, 2.5, 0.5]))],
        "()[s0, s1] -> (s0, (s1 * 640) floordiv 256, 4)",
    ),
    "resized to sizes": (
        [
            node("Shape", "x", "size", start=1, end=2),
            node("Add", "size three", "more"),
            node("Resize", "x - - more", mode="linear", axes=[-2]),
        ],
        [ints("three", 3)],
        "()[s0, s1] -> (s0, s1 + 3, 8)",
    ),
    "pooled": (
        [node("AveragePool", "x", kernel_shape=[2], strides=[2])],
        [],
        "()[s0, s1] -> (s0, s1, 4)",
    ),
}


@pytest.mark.parametrize("case", SHAPES)
def test_shape(case, tmp_path):
    nodes, constants, expected = SHAPES[case]
    lines = run(tmp_path, model(nodes, [X], constants=constants, opset=18))
    assert result_of(lines).endswith(f"affine_map<{expected}>>")


# ---- normal forms ------------------------------------------------------------

FORMS = {
    "squeeze": (
        [node("Unsqueeze", "x axes", "z"), node("Squeeze", "z")],
        [ints("axes", 0)],
        17,
        'onnx.node "Reshape"(%0)',
    ),
    "slice": (
        [node("Slice", "x start end axes")],
        [ints("start", -3), ints("end", -1), ints("axes", -1)],
        17,
        'attributes {axes = [2 : si64], starts = affine_map<() -> (5)>, steps = [1 : si64]}',
    ),
    "mean, axes as attribute": (
        [node("ReduceMean", "x", axes=[-1])],
        [],
        17,
        'attributes {axes = [2 : si64], keepdims = 1 : si64}',
    ),
    "mean, axes as input": (
        [node("ReduceMean", "x axes", keepdims=0)],
        [ints("axes", -1)],
        18,
        '"ReduceMean"(%arg0) attributes {axes = [2 : si64], keepdims = 0 : si64}',
    ),
    "mean of all": (
        [node("ReduceMean", "x")],
        [],
        18,
        'attributes {axes = [0 : si64, 1 : si64, 2 : si64], keepdims = 1 : si64}',
    ),
    "no reduction": ([node("ReduceSum", "x", noop_with_empty_axes=1)], [], 17, "return %arg0"),
    "softmax": ([node("Softmax", "x")], [], 17, "attributes {axis = 2 : si64}"),
    "sum": (
        [node("Sum", "x x x")],
        [],
        17,
        'onnx.node "Add"(%0, %arg0)',
    ),
    "identity": (
        [node("Identity", "x", "a"), node("Dropout", "a", "b"), node("Cast", "b", to=F32)],
        [],
        17,
        "return %arg0",
    ),
    "cast like": (
        [node("CastLike", "x one")],
        [ints("one", 1)],
        17,
        'onnx.node "Cast"(%arg0) : (',
    ),
    "top": (
        [node("TopK", "x k", "y -")],
        [ints("k", 3)],
        17,
        'onnx.node "TopK"(%arg0) attributes {axis = 2 : si64}',
    ),
    "gather of everything": (
        [node("Gather", "x all", axis=1)],
        [ints("all", 0, 1, 2, 3, 4)],
        17,
        "return %arg0",
    ),
    "gather of every row": (
        [node("Transpose", "x", "z", perm=[1, 2, 0]), node("GatherND", "z all")],
        [tensor("all", np.stack(np.indices((5, 8)), -1).reshape(40, 2))],
        17,
        'onnx.node "Reshape"(%0)',
    ),
    "triangle": (
        [node("Trilu", "x k", upper=0)],
        [tensor("k", np.array(-1))],
        17,
        "attributes {k = affine_map<() -> (-1)>, upper = 0 : si64}",
    ),
    "padding": (
        [node("Conv", "x w", auto_pad="SAME_UPPER")],
        [tensor("w", np.ones((4, 5, 4), np.float32))],
        17,
        "attributes {dilations = [1 : si64], group = 1 : si64, kernel_shape = [4 : si64], "
        "pads = [1 : si64, 2 : si64], strides = [1 : si64]}",
    ),
    "einsum": (
        [node("Einsum", "x x", equation="b i k, b j k")],
        [],
        17,
        'attributes {equation = "bik,bjk->ij"}',
    ),
    "einsum, ellipses": (
        [node("Einsum", "x w", equation="...k,...kn -> ...n")],
        [tensor("w", np.ones((5, 8, 2), np.float32))],
        17,
        'attributes {equation = "10k,0kn->10n"}',
    ),
    "einsum, ellipsis without an arrow": (
        [node("Einsum", "x", equation="b...")],
        [],
        17,
        'attributes {equation = "b10->10b"}',
    ),
    "crop and pad": (
        [node("CenterCropPad", "x sizes", axes=[-1, 1])],
        [ints("sizes", 5, 8)],
        18,
        "pads = affine_map<() -> (0, 1, 0, 0, 2, 0)>",
    ),
    "crop": (
        [node("CenterCropPad", "x sizes", axes=[-1])],
        [ints("sizes", 5)],
        18,
        "axes = [2 : si64], starts = affine_map<() -> (1)>",
    ),
    "resized": (
        # Axes ascend, and those along which nothing changes are gone.
        [node("Resize", "x - scales", mode="linear", axes=[2, 0, 1])],
        [tensor("scales", np.float32([0.6, 1, 3]))],
        18,
        'onnx.node "Resize"(%arg0) attributes {axes = [1 : si64, 2 : si64], mode = "linear", '
        "scales = [3.000000e+00 : f32, 6.000000e-01 : f32]} : (tensor<?x5x8xf32, "
        "affine_map<()[s0] -> (s0, 5, 8)>>) -> tensor<?x15x4xf32",
    ),
    "resized with its ratio": (
        [node("Resize", "x - - sizes", axes=[1, 2], keep_aspect_ratio_policy="not_larger")],
        [ints("sizes", 9, 9)],
        18,
        "attributes {axes = [1 : si64, 2 : si64], scales = [1.125000e+00 : f32, "
        "1.125000e+00 : f32]} : (tensor<?x5x8xf32, affine_map<()[s0] -> (s0, 5, 8)>>) -> "
        "tensor<?x6x9xf32",
    ),
    "resized region": (
        [node("Resize", "x region none sizes", axes=[2, 1],
              coordinate_transformation_mode="tf_crop_and_resize")],
        [tensor("region", np.float32([0.25, 0, 0.75, 1])), tensor("none", np.float32([])),
         ints("sizes", 4, 5)],
        18,
        '{axes = [2 : si64], coordinate_transformation_mode = "tf_crop_and_resize", '
        "roi = [2.500000e-01 : f32, 7.500000e-01 : f32]}",
    ),
    "not resized": (
        [node("Resize", "x - scales", mode="cubic")],
        [tensor("scales", np.float32([1, 1, 1]))],
        18,
        "return %arg0",
    ),
    "mask of what is kept": (
        [node("Dropout", "x", "z y")],
        [],
        17,
        'onnx.node "ConstantOfShape"() attributes {value = dense<true>',
    ),
    "depth that is a float": (
        [node("OneHot", "n depth values")],
        [tensor("n", np.arange(300)), tensor("depth", np.float32(4)), tensor("values", np.eye(2)[0])],
        17,
        "-> tensor<300x4xf64>",
    ),
    "window": (
        [node("HannWindow", "n")],
        [tensor("n", np.array(300))],
        17,
        'onnx.node "HannWindow"() : () -> tensor<300xf32>',
    ),
    "scale": (
        [node("QuantizeLinear", "x scale zero", axis=-1)],
        [tensor("scale", np.float32(0.5)), tensor("zero", np.int8(3))],
        17,
        'onnx.node "QuantizeLinear"(%arg0, %cst, %cst_0) : (',
    ),
    "absent": (
        [node("Clip", "x - most")],
        [tensor("most", np.float32(6))],
        17,
        'onnx.node "Clip"(%arg0, %0, %cst)',
    ),
    "sizes in arithmetic": (
        [
            node("Shape", "x", "size", end=1),
            node("Cast", "size", "length", to=F32),
            node("Div", "x length"),
        ],
        [],
        17,
        'onnx.node "Div"(%arg0, %1)',
    ),
}


@pytest.mark.parametrize("case", FORMS)
def test_form(case, tmp_path):
    nodes, constants, opset, expected = FORMS[case]
    x = ("x", ["batch", 5, 8])
    lines = run(tmp_path, model(nodes, [x], constants=constants, opset=opset))
    assert expected in result_of(lines)


def test_sizes_are_one_node(tmp_path):
    nodes = [node("Shape", "x", "size"), node("Add", "size bias", "z"), node("Gather", "table z")]
    constants = [ints("bias", 1, 2, 3), ints("table", *range(99))]
    lines = run(tmp_path, model(nodes, [X], constants=constants))
    sizes = 'onnx.node "Sizes" domain "qtx"() attributes {values = affine_map<()[s0, s1] -> (s0 + 1, s1 + 2, 11)>}'
    assert any(sizes in line for line in lines)
    assert not any('"Shape"' in line or '"Add"' in line for line in lines)


def test_unused_is_gone(tmp_path):
    nodes = [node("Relu", "x"), node("Mystery", "x", "z")]
    lines = run(tmp_path, model(nodes, [X]))
    assert not any("Mystery" in line for line in lines)


def test_order_does_not_matter(tmp_path):
    lines = run(tmp_path, model([node("Abs", "z"), node("Relu", "x", "z")], [X]))
    assert 'onnx.node "Abs"(%0)' in result_of(lines)


# ---- operators of ONNX Runtime -----------------------------------------------


def ops_of(lines):
    return re.findall(r'onnx.node "(\w+)"', "\n".join(lines))


def contrib(op, inputs, outputs="y", **attributes):
    return node(op, inputs, outputs, domain="com.microsoft", **attributes)


VECTOR = tensor("v", np.ones(8, np.float32))
MATRIX = tensor("w", np.ones((8, 24), np.float32))
TABLE = tensor("t", np.ones((9, 8), np.float32))
ATTENTION_BIAS = tensor("b", np.ones(24, np.float32))

CONTRIB = {
    "gelu": ([contrib("BiasGelu", "x v")], ["Add", "Gelu"]),
    "tanh gelu": ([contrib("FastGelu", "x")], ["Gelu"]),
    "quick gelu": ([contrib("QuickGelu", "x")], ["Mul", "Sigmoid", "Mul"]),
    "skip": (
        [contrib("SkipLayerNormalization", "x x v v v", "z - - s"), node("Add", "z s")],
        ["Add", "Add", "LayerNormalization", "Add"],
    ),
    "rms skip": (
        [contrib("SkipSimplifiedLayerNormalization", "x x v")],
        ["Add", "RMSNormalization"],
    ),
    "embedding": (
        [contrib("EmbedLayerNormalization", "ids ids t t t v v mask", "y n")],
        ["Range", "Gather", "Gather", "Add", "Gather", "Add", "LayerNormalization"],
    ),
    "product": (
        [contrib("FusedMatMul", "x x", alpha=0.5, transB=1)],
        ["Transpose", "MatMul", "Mul"],
    ),
    "packed attention": (
        [contrib("Attention", "x w b mask", num_heads=2)],
        ["MatMul", "Add", "Split", "Cast", "Reshape", "Attention"],
    ),
    "attention with counts": (
        [
            node("ReduceSum", "mask one", "n", keepdims=0),
            contrib("Attention", "x w - n", num_heads=2, unidirectional=1),
        ],
        ["ReduceSum", "MatMul", "Split", "Reshape", "Range", "Cast", "Less", "Attention"],
    ),
    "attention": (
        [contrib("MultiHeadAttention", "x x x b", num_heads=2, scale=0.5)],
        ["Add", "Add", "Add", "Attention"],
    ),
}


@pytest.mark.parametrize("case", CONTRIB)
def test_contrib(case, tmp_path):
    nodes, expected = CONTRIB[case]
    inputs = [X, IDS, ("mask", ["batch", "sequence"], TensorProto.INT32)]
    constants = [VECTOR, MATRIX, TABLE, ATTENTION_BIAS, ints("one", 1)]
    lines = run(tmp_path, model(nodes, inputs, constants=constants))
    assert [op for op in ops_of(lines) if op != "Sizes"] == expected
    assert "tensor<?x?x8xf32" in result_of(lines).rsplit("->", 2)[1] or case == "product"


# ---- constants ---------------------------------------------------------------


def fold(tmp_path, nodes, constants=(), opset=18):
    return result_of(run(tmp_path, model(nodes, constants=constants, opset=opset)))


FOLDS = {
    "arithmetic": (
        [node("Div", "a b", "q"), node("Mod", "a b", "r"), node("Concat", "q r", axis=0)],
        [ints("a", -7, 7), ints("b", 2, -2)],
        "dense<[-3, -3, 1, -1]>",
    ),
    "wrapping": (
        [node("Add", "a a")],
        [tensor("a", np.array([100, -100], np.int8))],
        "dense<[-56, 56]>",
    ),
    "rounding": ([node("Round", "a")], [tensor("a", np.float32([0.5, 1.5, -2.5]))], "[0.000000e+00, 2.000000e+00, -2.000000e+00]"),
    "bits": ([node("BitwiseAnd", "a b")], [ints("a", 12), ints("b", 10)], "dense<8>"),
    "comparison": ([node("Less", "a b")], [ints("a", 1, 2), ints("b", 2, 2)], "dense<[true, false]>"),
    "choice": (
        [node("Where", "c a b")],
        [tensor("c", np.array([True, False])), ints("a", 1), ints("b", 2, 3)],
        "dense<[1, 3]>",
    ),
    "cast": ([node("Cast", "a", to=I64)], [tensor("a", np.float32([1.9, -1.9]))], "dense<[1, -1]>"),
    "to bool": (
        [node("Cast", "a", to=TensorProto.BOOL)],
        [tensor("a", np.float32([0.1, 0]))],
        "dense<[true, false]>",
    ),
    "transpose": (
        [node("Transpose", "a")],
        [tensor("a", np.arange(6).reshape(2, 3))],
        "dense<[[0, 3], [1, 4], [2, 5]]>",
    ),
    "slice": (
        [node("Slice", "a start end axes steps")],
        [ints("a", 0, 1, 2, 3, 4), ints("start", -1), ints("end", -9), ints("axes", 0), ints("steps", -2)],
        "dense<[4, 2, 0]>",
    ),
    "gather": ([node("Gather", "a i")], [ints("a", 5, 6, 7), ints("i", -1, 0)], "dense<[7, 5]>"),
    "expand": (
        [node("Expand", "a shape")],
        [ints("a", 1, 2), ints("shape", 2, 1)],
        "dense<[[1, 2], [1, 2]]>",
    ),
    "tile": ([node("Tile", "a n")], [ints("a", 1, 2), ints("n", 2)], "dense<[1, 2, 1, 2]>"),
    "split": (
        [node("Split", "a", "b c d", num_outputs=3), node("Concat", "d c b", axis=0)],
        [ints("a", 1, 2, 3, 4, 5)],
        "dense<[5, 3, 4, 1, 2]>",
    ),
    "range": (
        [node("Range", "a b c")],
        [tensor("a", np.array(5)), tensor("b", np.array(-2)), tensor("c", np.array(-3))],
        "dense<[5, 2, -1]>",
    ),
    "triangle": (
        [node("Trilu", "a", upper=0)],
        [tensor("a", np.ones((2, 2), np.float32))],
        "dense<[[1.000000e+00, 0.000000e+00], [1.000000e+00, 1.000000e+00]]>",
    ),
    "scatter": (
        [node("ScatterND", "a i u")],
        [ints("a", 1, 2, 3), tensor("i", np.array([[-1], [0]])), ints("u", 8, 9)],
        "dense<[9, 2, 8]>",
    ),
    "reduction": (
        [node("ReduceMax", "a axes", keepdims=0)],
        [tensor("a", np.array([[1, 5], [7, 2]])), ints("axes", 0)],
        "dense<[7, 5]>",
    ),
}


@pytest.mark.parametrize("case", FOLDS)
def test_fold(case, tmp_path):
    nodes, constants, expected = FOLDS[case]
    folded = fold(tmp_path, nodes, constants)
    assert folded.startswith("arith.constant") and expected in folded


def typed(dtype, dims, **fields):
    proto = TensorProto(name="a", data_type=dtype, dims=dims)
    for name, values in fields.items():
        if isinstance(values, bytes):
            setattr(proto, name, values)
        else:
            getattr(proto, name).extend(values)
    return proto


TENSORS = {
    "floats": (typed(1, [2], float_data=[1, 2]), "dense<[1.000000e+00, 2.000000e+00]> : tensor<2xf32>"),
    "doubles": (typed(11, [1], double_data=[0.5]), "dense<5.000000e-01> : tensor<1xf64>"),
    "longs": (typed(7, [2], int64_data=[1, -2]), "dense<[1, -2]> : tensor<2xi64>"),
    "ints": (typed(6, [2], int32_data=[1, -2]), "dense<[1, -2]> : tensor<2xi32>"),
    "shorts": (typed(5, [2], int32_data=[1, -2]), "dense<[1, -2]> : tensor<2xi16>"),
    "bytes": (typed(2, [2], int32_data=[1, 254]), "dense<[1, 254]> : tensor<2xui8>"),
    "bools": (typed(9, [2], int32_data=[1, 0]), "dense<[true, false]> : tensor<2xi1>"),
    "unsigned": (typed(12, [1], uint64_data=[4294967295]), "dense<4294967295> : tensor<1xui32>"),
    "halves": (typed(10, [2], int32_data=[0x3C00, 0xC000]), "dense<[1.000000e+00, -2.000000e+00]> : tensor<2xf16>"),
    "bfloat16": (typed(16, [1], raw_data=b"\x80\x3f"), "dense<1.000000e+00> : tensor<1xbf16>"),
    "float8": (typed(17, [2], raw_data=b"\x38\xb8"), "dense<[1.000000e+00, -1.000000e+00]> : tensor<2xf8E4M3FN>"),
    "int4": (typed(22, [3], raw_data=b"\x71\x0f"), "dense<[1, 7, -1]> : tensor<3xi4>"),
    "uint4": (typed(21, [3], int32_data=[0xF1, 0x2]), "dense<[1, 15, 2]> : tensor<3xui4>"),
    "nothing": (typed(1, [0, 3]), "dense<> : tensor<0x3xf32>"),
}


@pytest.mark.parametrize("case", TENSORS)
def test_tensor(case, tmp_path):
    proto, expected = TENSORS[case]
    assert result_of(run(tmp_path, model([node("Identity", "a")], constants=[proto]))) == (
        f"arith.constant {expected}"
    )


def hex_of(lines, name):
    """The bytes of a resource, behind four bytes that say the alignment."""
    line = next(line for line in lines if line.startswith(f"{name}: "))
    return line.split('"')[1][len("0x00000000") :]


def test_large_tensor_is_a_resource(tmp_path):
    array = np.arange(64, dtype=np.float32)
    lines = run(tmp_path, model([node("Add", "x w")], [("x", [64])], constants=[tensor("w", array)]))
    assert any("dense_resource<w> : tensor<64xf32>" in line for line in lines)
    assert hex_of(lines, "w") == array.tobytes().hex().upper()


@pytest.mark.parametrize("offset", [0, 4096, 4098])
def test_external_data(offset, tmp_path):
    """Mapped where it is aligned, copied where it is not."""
    array = np.arange(64, dtype=np.float32)
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "w.bin").write_bytes(bytes(offset) + array.tobytes() + b"rest")
    weight = TensorProto(name="w", data_type=1, dims=[64], data_location=TensorProto.EXTERNAL)
    for key, text in {"location": "weights/w.bin", "offset": str(offset), "length": "256"}.items():
        weight.external_data.add(key=key, value=text)
    lines = run(tmp_path, model([node("Add", "x w")], [("x", [64])], constants=[weight]))
    assert hex_of(lines, "w") == array.tobytes().hex().upper()


def test_constants(tmp_path):
    nodes = [
        node("Constant", "", "a", value=ints("v", 1, 2)),
        node("Constant", "", "b", value_ints=[3, 4]),
        node("Constant", "", "c", value_int=10),
        node("Mul", "b c", "d"),
        node("Add", "a d"),
    ]
    assert "dense<[31, 42]>" in fold(tmp_path, nodes)
    nodes = [
        node("Constant", "", "a", value_floats=[1.0, 2.0]),
        node("Constant", "", "b", value_float=0.5),
        node("Mul", "a b"),
    ]
    assert "dense<[5.000000e-01, 1.000000e+00]>" in fold(tmp_path, nodes)


def test_newer_ir_version(tmp_path):
    proto = model([node("Relu", "x")], [X])
    proto.ir_version = 99
    assert '"Relu"' in result_of(run(tmp_path, proto))


def test_initializer_among_inputs(tmp_path):
    proto = model([node("Add", "x w")], [X, ("w", [8])], constants=[tensor("w", np.ones(8, np.float32))])
    lines = run(tmp_path, proto)
    assert not any("%arg1" in line for line in lines)


# ---- graphs in graphs --------------------------------------------------------


def branch(name, *nodes):
    return helper.make_graph(list(nodes), name, [], [value(f"{name}_y", None)])


@pytest.mark.parametrize("rank, op", [(3, "Relu"), (4, "Neg")])
def test_if_on_a_constant(rank, op, tmp_path):
    nodes = [
        node("Shape", "x", "size"),
        node("Size", "size", "rank"),
        node("Equal", "rank wanted", "same"),
        node(
            "If",
            "same",
            then_branch=branch("then", node("Relu", "x", "then_y")),
            else_branch=branch("else", node("Neg", "x", "z"), node("Identity", "z", "else_y")),
        ),
    ]
    lines = run(tmp_path, model(nodes, [X], constants=[tensor("wanted", np.array(rank))]))
    assert f'onnx.node "{op}"(%arg0)' in result_of(lines)


def test_function(tmp_path):
    """Calls are inlined, with attributes and defaults."""
    opsets = [helper.make_opsetid("", 18)]
    inner = helper.make_node("Softmax", ["a"], ["m"], name="soft")
    reference = inner.attribute.add(name="axis", ref_attr_name="which", type=2)
    assert reference.ref_attr_name == "which"
    slope = helper.make_node("LeakyRelu", ["m"], ["b"], name="leaky")
    slope.attribute.add(name="alpha", ref_attr_name="slope", type=1)
    function = helper.make_function(
        "local", "Call", ["a"], ["b"], [inner, slope], opsets,
        ["which"], [helper.make_attribute("slope", 0.25)],
    )
    calls = [
        node("Call", "x", "z", domain="local", which=1),
        node("Call", "z", domain="local", which=0, slope=0.5),
    ]
    lines = [line for line in run(tmp_path, model(calls, [X], functions=[function])) if "onnx.node" in line]
    assert [re.search(r"attributes \{(.*?)\}", line).group(1) for line in lines] == [
        "axis = 1 : si64",
        "alpha = 2.500000e-01 : f32",
        "axis = 0 : si64",
        "alpha = 5.000000e-01 : f32",
    ]


def test_overloads(tmp_path):
    opsets = [helper.make_opsetid("", 18)]
    functions = [
        helper.make_function("local", "Call", ["a"], ["b"], [node(op, "a", "b")], opsets, overload=name)
        for name, op in [("first", "Relu"), ("second", "Neg")]
    ]
    call = node("Call", "x", domain="local")
    call.overload = "second"
    lines = run(tmp_path, model([call], [X], functions=functions))
    assert 'onnx.node "Neg"(%arg0)' in result_of(lines)
