# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What the importer cannot read is one clear error."""

import subprocess

import numpy as np
import pytest
from import_onnx import (
    BUILD, F32, I64, import_bytes, import_model, ints, model, node, run_import, tensor, value,
)
from onnx import TensorProto, helper

X = ("x", ["batch", 4])
BOOL = TensorProto.BOOL


def broken_weight(**changes):
    weight = tensor("w", np.ones((4, 4), np.float32))
    for name, change in changes.items():
        if name == "dims":
            weight.dims[:] = change
        else:
            setattr(weight, name, change)
    return model([node("MatMul", "x w")], [X], constants=[weight])


def external(**entries):
    weight = TensorProto(name="w", data_type=1, dims=[4, 4], data_location=TensorProto.EXTERNAL)
    for key, text in entries.items():
        weight.external_data.add(key=key, value=text)
    return model([node("MatMul", "x w")], [X], constants=[weight])


def branch(*outputs):
    nodes = [node("Relu", "x", name) for name in outputs]
    return helper.make_graph(nodes, "branch", [], [value(name, None) for name in outputs])


def declared_output(dtype):
    proto = model([node("Relu", "x")], [X])
    proto.graph.output[0].CopyFrom(value("y", ["batch", 4], dtype))
    return proto


def with_function(body, outputs=("b",), call=None, twice=False):
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    function = helper.make_function("local", "Call", ["a"], list(outputs), body, opsets)
    call = call or node("Call", "x", domain="local")
    return model([call], [X], functions=[function] * (2 if twice else 1))


def one(op, shapes, constants=(), opset=17, outputs="y", **attributes):
    """A node on inputs of these shapes, followed by constants."""
    names = [f"x{index}" for index in range(len(shapes))]
    inputs = [
        (name, *shape) if isinstance(shape, tuple) else (name, shape)
        for name, shape in zip(names, shapes)
    ]
    names += [constant.name for constant in constants]
    nodes = [node(op, " ".join(names), outputs, **attributes)]
    return model(nodes, inputs, outputs.split(), constants, opset)


def resize(shape=(4, 5), dtype=F32, roi=(), scales=(), sizes=(), **attributes):
    constants = [tensor("roi", np.float32(roi)), tensor("scales", np.float32(scales)),
                 ints("sizes", *sizes)]
    return one("Resize", [(list(shape), dtype)], constants, 18, **attributes)


def sparse():
    proto = model([node("Relu", "x")], [X])
    values = tensor("s", np.ones(1, np.float32))
    indices = ints("i", 0)
    proto.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [4]))
    return proto


def no_opset():
    proto = model([node("Gelu", "x", domain="com.microsoft")], [X])
    del proto.opset_import[1]
    return proto


ERRORS = {
    # ---- the file
    "opset": (model([node("Relu", "x")], [X], opset=12), "expected operator set 13 to 23, found 12"),
    "new opset": (
        model([node("Relu", "x")], [X], opset=99),
        "expected operator set 13 to 23, found 99",
    ),
    "no opset": (no_opset(), "expected a version of the operator set 'com.microsoft', found none"),
    # ---- tensors
    "short data": (
        broken_weight(raw_data=b"1234"),
        "expected 64 bytes of tensor 'w' with type 'tensor<4x4xf32>', found 4",
    ),
    "other dims": (
        broken_weight(dims=[4, 5]),
        "expected 80 bytes of tensor 'w' with type 'tensor<4x5xf32>', found 64",
    ),
    "negative dim": (
        broken_weight(dims=[-4, 4]),
        "expected a size that can be addressed, found -4 in tensor 'w'",
    ),
    "huge dims": (
        broken_weight(dims=[1 << 32, 1 << 32]),
        "expected a size that can be addressed, found 4294967296 in tensor 'w'",
    ),
    "string tensor": (broken_weight(data_type=8), "unsupported element type 8 of tensor 'w'"),
    "unknown type": (broken_weight(data_type=77), "unsupported element type 77 of tensor 'w'"),
    "sparse": (sparse(), "unsupported sparse initializer 's'"),
    "absent external file": (
        external(location="absent.bin"),
        "cannot open external data 'absent.bin': No such file or directory",
    ),
    "external path": (
        external(location="../w.bin"),
        "expected external data in the folder of the model, found '../w.bin'",
    ),
    "absolute external path": (
        external(location="/etc/hostname"),
        "expected external data in the folder of the model, found '/etc/hostname'",
    ),
    "external offset": (
        external(location="w.bin", offset="16", length="64"),
        "expected external data within the 64 bytes of 'w.bin', found tensor 'w' at offset 16 with length 64",  # noqa: E501
    ),
    "external length": (
        external(location="w.bin", offset="16"),
        "expected 64 bytes of tensor 'w' with type 'tensor<4x4xf32>', found 48",
    ),
    # ---- inputs
    "string input": (
        model([node("Relu", "x")], [("x", [4], TensorProto.STRING)]),
        "unsupported element type 8 of input 'x'",
    ),
    "negative input": (
        model([node("Relu", "x")], [("x", [4, -2])]),
        "expected sizes of at least 0, found -2 in input 'x'",
    ),
    "no shape": (
        model([node("Relu", "x")], [("x", None)]),
        "expected a tensor with a shape as input 'x'",
    ),
    # ---- the graph
    "cycle": (
        model([node("Add", "x b", "a"), node("Relu", "a", "b")], [X], ["b"]),
        "expected a graph without cycles, found that 'b' depends on itself",
    ),
    "undefined": (
        model([node("Add", "x nothing")], [X]),
        "expected a value called 'nothing', found none",
    ),
    "undefined output": (
        model([node("Relu", "x")], [X], ["z"]),
        "expected a value called 'z', found none",
    ),
    "two nodes of one name": (
        model([node("Relu", "x"), node("Abs", "x")], [X]),
        "expected distinct names, found 'y' twice",
    ),
    "two initializers of one name": (
        model([node("Add", "w w")], constants=[ints("w", 1), ints("w", 2)]),
        "expected distinct names, found 'w' twice",
    ),
    "two inputs of one name": (
        model([node("Relu", "x")], [X, X]),
        "expected distinct names, found 'x' twice",
    ),
    "recursion": (
        with_function([node("Call", "a", "b", domain="local")]),
        "expected functions without recursion, found that 'Call' calls itself",
    ),
    "function twice": (
        with_function([node("Relu", "a", "b")], twice=True),
        "expected distinct functions, found 'Call' twice",
    ),
    "arguments of a function": (
        with_function([node("Relu", "a", "b")], call=node("Call", "x x", domain="local")),
        "expected at most 1 inputs and 1 outputs of function 'Call'",
    ),
    "branch": (
        model(
            [node("If", "c", "y z", then_branch=branch("p"), else_branch=branch("q"))],
            [X],
            constants=[tensor("c", True)],
        ),
        "expected a branch with 2 outputs",
    ),
    "condition": (
        model([node("If", "x x", then_branch=branch("p"), else_branch=branch("q"))], [X]),
        "expected 1 input, found 2",
    ),
    "constant": (model([node("Constant", "")]), "expected a value of the constant"),
    "graph attribute": (
        model([node("Relu", "x", body=branch("p"))], [X]),
        "unsupported attribute 'body'",
    ),
    # ---- nodes
    "unsupported": (
        model(
            [
                node("Loop", "x", "a"),
                node("Mystery", "a", "b"),
                node("Mystery", "x", "c", domain="far.away"),
                node("If", "f", "d", then_branch=branch("p"), else_branch=branch("q")),
                node("If", "b", "e", then_branch=branch("p"), else_branch=branch("q")),
                node("Sum", "a b c d e"),
            ],
            [X, ("f", [], BOOL)],
        ),
        "unsupported operators:\n  Loop (the_Loop)\n  Mystery (the_Mystery)\n"
        "  far.away::Mystery (the_Mystery)\n  If: condition is not constant (the_If)\n"
        "and 2 nodes behind them were not looked at: the file does not say what type their "
        "inputs have\n",
    ),
    "many unsupported": (
        model(
            [node("Bad", "x", f"a{index}") for index in range(6)]
            + [node("Sum", "a0 a1 a2 a3 a4 a5")],
            [X],
        ),
        "unsupported operators:\n  Bad (the_Bad, the_Bad, the_Bad, the_Bad, the_Bad, the_Bad)\n"
        "and 1 nodes behind",
    ),
    "too few inputs": (one("Add", [[4]]), "expected 2 or more inputs of Add, found 1"),
    "absent input": (
        model([node("Add", "- x")], [X]),
        "expected input 0 of Add, found none",
    ),
    "too many inputs": (
        one("Add", [[4], [4], [4]]),
        "expected at most 2 inputs of Add, found 3",
    ),
    "no outputs": (model([node("Relu", "x")], [X], []), "expected outputs of the model, found none"),
    "declared type": (
        declared_output(I64),
        "expected elements of type 'i64' as output 'y' is declared, found 'f32'",
    ),
    "too many elements": (
        one("Relu", [[1 << 40, 1 << 20]]),
        "expected at most 2^56 elements of input 'x0'",
    ),
    "too many outputs": (
        one("Relu", [[4]], outputs="y z"),
        "expected 1 to 1 outputs of Relu, found 2",
    ),
    "broadcast": (
        one("Add", [["n", 3], [4]]),
        "expected shapes that broadcast, found [s0, 3] and [4]",
    ),
    "element types": (
        one("Add", [[3], ([3], I64)]),
        "expected inputs of one element type, found 'f32' and 'i64'",
    ),
    "condition type": (
        one("Where", [[3], [3], [3]]),
        "expected a condition of type i1, found 'f32'",
    ),
    "rank": (one("Gemm", [[3], [3, 4]]), "expected input 0 of rank 2, found 1"),
    "least rank": (one("Trilu", [[3]]), "expected input 0 of at least rank 2, found 1"),
    "contraction": (one("MatMul", [[2, 3], [4, 5]]), "expected equal sizes, found [3, 4]"),
    "axis": (one("Softmax", [[2, 3]], axis=2), "expected an axis of 2 dimensions, found 2"),
    "axes": (
        one("ReduceSum", [[2, 3]], [ints("axes", 1, -1)]),
        "expected distinct axes, found -1 twice",
    ),
    "permutation": (
        one("Transpose", [[2, 3]], perm=[0]),
        "expected a permutation of 2 axes, found 1",
    ),
    "elements": (
        one("Reshape", [[2, 3]], [ints("shape", 4, 2)]),
        "expected [6] elements, found shape [4, 2]",
    ),
    "remainder": (
        one("Reshape", [[2, 3]], [ints("shape", 4, -1)]),
        "expected [6] elements, found shape [4, 1] times any size",
    ),
    "two unknown sizes": (
        one("Reshape", [[2, 3]], [ints("shape", -1, -1)]),
        "expected one -1 in a shape, found two",
    ),
    "copied size": (
        one("Reshape", [[2, 3]], [ints("shape", 2, 3, 0)]),
        "expected a size to copy for dimension 2, found rank 2",
    ),
    "negative size": (
        one("Reshape", [[6]], [ints("shape", -2, -3)]),
        "expected sizes of at least 0, found [-2, -3]",
    ),
    "overflow": (
        one("Tile", [[1 << 40, 2]], [ints("repeats", 1 << 40, 1)]),
        "expected sizes that fit 64 bits",
    ),
    "repeats": (one("Tile", [[2, 3]], [ints("repeats", 1)]), "expected 2 repeats, found 1"),
    "range": (
        one("Range", [([], I64)], [tensor("limit", np.float32(1)), ints("delta", 1)]),
        "expected inputs of one element type, found 'i64' and 'f32'",
    ),
    "constant of shape": (
        one("ConstantOfShape", [], [ints("shape", 3)], value=ints("value", 1, 2)),
        "expected one value, found 2",
    ),
    "absent concat": (model([node("Concat", "x - x", axis=0)], [X]), "expected all inputs"),
    "split": (
        one("Split", [[6]], [ints("split", 6)], outputs="y z"),
        "expected 2 sizes, found 1",
    ),
    "slice": (
        one("Slice", [[6]], [ints("starts", 1), ints("ends", 2, 3), ints("axes", 0)]),
        "expected 1 ends, axes and steps, found 2, 1 and 1",
    ),
    "step": (
        one("Slice", [[6]], [ints("a", 1), ints("b", 2), ints("c", 0), ints("d", 0)]),
        "expected steps other than 0",
    ),
    "index type": (
        one("Gather", [[4, 5], [3]]),
        "expected indices of type i32 or i64, found 'f32'",
    ),
    "index": (
        one("Gather", [], [ints("data", 1, 2, 3), ints("indices", 3)]),
        "expected indices within 3 elements",
    ),
    "scattered index": (
        one(
            "ScatterND",
            [],
            [ints("data", 1, 2), tensor("at", np.array([[2]])), ints("updates", 3)],
        ),
        "expected indices within 2 elements",
    ),
    "gathered depth": (
        one("GatherND", [[4, 5], ([3, 3], I64)]),
        "expected indices into 2 dimensions, found 0 and 3",
    ),
    "scattered depth": (
        one("ScatterND", [[4, 5], ([3, 3], I64), [3]]),
        "expected indices into 2 dimensions, found 0 and 3",
    ),
    "pads": (one("Pad", [[4]], [ints("pads", 1, 2, 3)]), "expected 2 pads, found 3"),
    "k": (one("TopK", [[4]], [ints("k", 1, 2)], outputs="y z"), "expected one number k, found 2"),
    "block size": (
        one("SpaceToDepth", [[1, 1, 4, 4]], blocksize=0),
        "expected a block size of at least 1, found 0",
    ),
    "blocks": (
        one("SpaceToDepth", [[1, 1, 4, 4]], blocksize=3),
        "expected sizes that are multiples of 3",
    ),
    "einsum term": (
        one("Einsum", [[2, 3]], equation="i->i"),
        "expected a term of 2 letters, found 'i'",
    ),
    "crop": (
        one("CenterCropPad", [[4]], [ints("sizes", 1, 2)], opset=18),
        "expected 1 sizes, found 2",
    ),
    "resize": (one("Resize", [[4, 5]]), "expected either scales or sizes, found none"),
    "resize by all": (
        resize(scales=[1, 2], sizes=[4, 5]),
        "expected either scales or sizes, found both",
    ),
    "scales": (resize(scales=[2]), "expected 2 scales, found 1"),
    "negative scale": (resize(scales=[1, -2]), "expected scales above 0, found -2"),
    "scale": (resize(scales=[1, np.inf]), "expected finite scales, found INF"),
    "huge scale": (resize(scales=[1, 1e9]), "expected sizes below 2^31, found 5.0"),
    "huge ratio": (
        resize(sizes=[1 << 40, 5], keep_aspect_ratio_policy="not_smaller"),
        "expected sizes below 2^31, found 1.09",
    ),
    "sizes": (resize(sizes=[4, 5, 6]), "expected 2 sizes, found 3"),
    "nothing to resize": (
        resize(sizes=[4, 5], shape=[0, 5]),
        "expected elements to resize, found none",
    ),
    "no region": (
        resize(sizes=[4, 6], coordinate_transformation_mode="tf_crop_and_resize"),
        "expected a region to crop, found none",
    ),
    "region": (
        resize(sizes=[4, 6], roi=[0, 1], coordinate_transformation_mode="tf_crop_and_resize"),
        "expected 4 bounds of regions, found 2",
    ),
    "resize mode": (
        resize(scales=[1, 2], mode="area"),
        "unsupported operators:\n  Resize: 'mode' of 'area' (the_Resize)\n",
    ),
    "resized integers": (
        resize(scales=[1, 2], mode="linear", dtype=I64),
        "unsupported operators:\n  Resize: interpolation of integers (the_Resize)\n",
    ),
    "nearest, antialiased": (
        resize(scales=[1, 2], antialias=1),
        "unsupported operators:\n  Resize: 'antialias' of the nearest elements (the_Resize)\n",
    ),
    "scales that vary": (
        one("Resize", [[4, 5], [0], [2]], opset=18),
        "unsupported operators:\n  Resize: scales that are not constant (the_Resize)\n",
    ),
    "sizes that vary": (
        one("Resize", [[4, 5], [0], [0], ([2], I64)], opset=18),
        "unsupported operators:\n  Resize: sizes that are not a function of sizes (the_Resize)\n",
    ),
    "scaled region": (
        resize(scales=[1, 2], coordinate_transformation_mode="tf_crop_and_resize"),
        "unsupported operators:\n  Resize: 'tf_crop_and_resize' by scales (the_Resize)\n",
    ),
    "scale of a dynamic size": (
        resize(scales=[0.6, 1], shape=["n", 5]),
        "unsupported operators:\n  Resize: a scale whose sizes have no expression (the_Resize)\n",
    ),
    "ratio of a dynamic size": (
        resize(sizes=[3, 5], shape=["n", 5], keep_aspect_ratio_policy="not_larger"),
        "unsupported operators:\n  Resize: 'keep_aspect_ratio_policy' of a dynamic size "
        "(the_Resize)\n",
    ),
    "einsum terms": (
        one("Einsum", [[2, 3]], equation="ij,jk->ik"),
        "expected 1 terms, found 'ij,jk->ik'",
    ),
    "einsum result": (
        one("Einsum", [[2, 3]], equation="ij->ik"),
        "expected letters of the inputs, found 'ik'",
    ),
    "window": (
        one("MaxPool", [[1, 1, 4]], kernel_shape=[5]),
        "expected a window within the input, found 5 over [4]",
    ),
    "strides": (
        one("MaxPool", [[1, 1, 4]], kernel_shape=[2], strides=[0]),
        "expected 1 values of at least 1 in 'strides'",
    ),
    "kernel": (
        one("Conv", [[1, 1, 4], [1, 1, 0]]),
        "expected a kernel of at least 1, found 0",
    ),
    "groups": (
        one("Conv", [[1, 1, 4], [1, 1, 2]], group=0),
        "expected at least one group, found 0",
    ),
    "heads": (
        one("Attention", [[1, 2, 8], [1, 2, 8], [1, 2, 8]], opset=23),
        "expected numbers of heads",
    ),
    "head size": (
        one(
            "Attention",
            [[1, 2, 8], [1, 2, 8], [1, 2, 8]],
            opset=23,
            q_num_heads=3,
            kv_num_heads=3,
        ),
        "expected sizes that are multiples of 3",
    ),
    "zero point": (
        one("DequantizeLinear", [([4], TensorProto.UINT8), [4], ([], TensorProto.UINT8)], axis=0),
        "expected a zero point of the scale's shape",
    ),
    "block": (
        one("DequantizeLinear", [([4, 4], TensorProto.UINT8), [4, 4]], axis=0, block_size=-2, opset=21),
        "expected blocks of at least 1, found -2",
    ),
}


@pytest.mark.parametrize("case", ERRORS)
def test_error(case, tmp_path):
    (tmp_path / "w.bin").write_bytes(bytes(64))
    proto, message = ERRORS[case]
    result = import_model(tmp_path, proto)
    assert message in result.stderr
    assert result.stderr.count("error:") == 1
    assert result.returncode == 1 and not result.stdout


@pytest.mark.parametrize("data", [b"", b"not a model", bytes(1000)], ids=["empty", "text", "zeros"])
def test_no_model(data, tmp_path):
    result = import_bytes(tmp_path, data)
    message = f"expected an ONNX model, found {len(data)} bytes that are none or are incomplete"
    assert message in result.stderr
    assert result.returncode == 1


def test_truncated(tmp_path):
    data = broken_weight().SerializeToString()
    result = import_bytes(tmp_path, data[:-40])
    assert "bytes that are none or are incomplete" in result.stderr
    assert result.returncode == 1


def test_too_large(tmp_path):
    path = tmp_path / "model.onnx"
    with path.open("wb") as file:
        file.truncate((1 << 31) + 5)
    result = run_import(path)
    message = "expected a model of at most 2147483647 bytes with larger tensors in external files, found 2147483653 bytes"  # noqa: E501
    assert message in result.stderr
    assert result.returncode == 1


def test_too_many_nodes(tmp_path):
    """Functions that call each other twice grow without bound."""
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    functions = [helper.make_function("local", "F0", ["a"], ["b"], [node("Relu", "a", "b")], opsets)]
    for level in range(1, 24):
        body = [
            node(f"F{level - 1}", "a", "m", domain="local"),
            node(f"F{level - 1}", "m", "b", domain="local"),
        ]
        functions.append(helper.make_function("local", f"F{level}", ["a"], ["b"], body, opsets))
    call = node("F23", "x", domain="local")
    result = import_model(tmp_path, model([call], [X], functions=functions))
    assert "expected at most 1000000 nodes" in result.stderr
    assert result.returncode == 1


def test_location(tmp_path):
    result = import_model(tmp_path, one("MatMul", [[2, 3], [4, 5]]))
    assert "model.onnx:the_MatMul: error: expected equal sizes" in result.stderr


def declare(proto, *values):
    """Adds what a file may say of the values of nodes."""
    proto.graph.value_info.extend(value(*item) for item in values)
    proto.graph.output[0].CopyFrom(value("y", ["n", 4]))
    return proto


def compile_model(folder, proto):
    path = folder / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    command = [BUILD / "bin" / "qtxc", path, "-o", folder / "out.mlir", "--stop-after=import"]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_all_unsupported(tmp_path):
    """One error lists what no rule takes, what a rule refuses and what has no lowering, also
    behind one another, where the file states types."""
    nodes = [
        node("Loop", "x", "a"),
        node("Mystery", "a", "c", domain="far.away"),
        node("If", "f", "d", then_branch=branch("p"), else_branch=branch("q")),
        node("Cast", "d", "e", to=TensorProto.FLOAT8E4M3FN),
        node("Neg", "e", "g"),
        node("Cast", "g", "h", to=F32),
        node("Loop", "h", "l"),
        node("Sum", "a c l"),
    ]
    proto = declare(model(nodes, [("x", ["n", 4]), ("f", [], BOOL)]), ("a", ["n", 4]),
                    ("c", ["m", 4]), ("d", ["n", 4]), ("l", ["n", 4]))
    assert "onnx.unsupported" in import_model(tmp_path, proto).stdout
    done = compile_model(tmp_path, proto)
    assert done.returncode == 1 and done.stderr.count("error:") == 1
    assert done.stderr.endswith(
        "unsupported operators:\n  Loop (the_Loop, the_Loop)\n  far.away::Mystery (the_Mystery)\n"
        "  If: condition is not constant (the_If)\n"
        "  Neg: elements that are not computed with (the_Neg)\n")
    assert not (tmp_path / "out.mlir").exists()


def test_wrong_behind_unsupported(tmp_path):
    """A node may be wrong for what the file says of one that is not known: both are told."""
    nodes = [node("Loop", "x", "a"), node("Add", "a x")]
    proto = declare(model(nodes, [("x", ["n", 4])]), ("a", [3, 3]))
    done = import_model(tmp_path, proto)
    assert done.returncode == 1 and not done.stdout
    assert "expected shapes that broadcast, found [3, 3] and [s0, 4]" in done.stderr
    assert done.stderr.endswith("unsupported operators:\n  Loop (the_Loop)\n")
