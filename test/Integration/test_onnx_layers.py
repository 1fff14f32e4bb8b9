# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Layers as exporters write them: what is found in them, and that they compute the same."""

import re

import onnx_graphs
import onnx_models
import pytest
from onnx.reference import ReferenceEvaluator
from onnx_graphs import Style

# What two layers must become, and how many norms and sums there are.
LAYERS = {"attention": 2, "split_heads": 6, "merge_heads": 2, "linear": 12, "layer_norm": 5,
          "add": 5}

STYLES = {
    "torchscript-eager": Style(),
    "torchscript-old": Style(norm="formula", linear="bias_first", opset=13),
    "torchscript-sdpa": Style(scale="both", mask="gather", infinity=True),
    "torchscript-static": Style(scale="mul", mask="gather", dynamic=False),
    "torchscript-fill": Style(mask="fill", norm="formula", opset=18),
    "dynamo-eager": Style(scale="mul", mask="gather_nd", activation="gelu_half", opset=18),
    "dynamo-sdpa": Style(scale="both", mask="gather_nd", infinity=True, keys="matrices",
                         activation="gelu_half", opset=18),
    "dynamo-static": Style(scale="both", mask="gather_nd", dynamic=False, opset=18),
    "dynamo-20": Style(activation="gelu_whole", mask="gather_nd", opset=20),
    "minus-10000": Style(mask="float", activation="relu"),
    "gpt2": Style(fused=True, mask="causal", activation="gelu_tanh"),
    "gpt2-gemm": Style(linear="gemm", mask="causal", activation="gelu_tanh"),
    "opt": Style(scale="query", mask="causal", activation="relu", infinity=True),
    "triangle": Style(mask="triangle", activation="silu"),
    "unmasked": Style(mask="none", scale="mul", activation="silu"),
    "clipped": Style(clip=True, mask="gather"),
    "gated": Style(gate="all_heads"),
    "gated-channels": Style(gate="channels", clip=True),
    "gated-merged": Style(gate="merged", mask="gather"),
    "gated-nets": Style(gate="nets"),
    "gated-nets-mlp": Style(gate="nets_mlp", dynamic=False, linear="bias_first"),
    "gated-nets-stacked": Style(gate="nets_stacked", clip=True),
    "gated-nets-stacked-mlp": Style(gate="nets_stacked_mlp"),
    "gated-nets-einsum": Style(gate="nets_einsum", dynamic=False),
    "gated-nets-einsum-mlp": Style(gate="nets_einsum_mlp", mask="gather"),
    "shared-heads": Style(shared_heads=True, scale="mul", mask="causal"),
    "quick-gelu": Style(activation="quick"),
}


@pytest.fixture(scope="module", params=STYLES, ids=str)
def layers(request, tmp_path_factory):
    """A style, its model and the IR in which operations were found."""
    style = STYLES[request.param]
    model = onnx_graphs.build(style)
    path = onnx_graphs.save(model, tmp_path_factory.mktemp("onnx"))
    return style, model, onnx_models.import_model(path)


def test_found(layers):
    style, _, ir = layers
    expected = dict(LAYERS, embedding=2 if style.dynamic else 1)  # a table may be folded
    if style.gate.startswith("nets"):
        expected["gate_projection"] = 2
    elif style.gate != "none":
        expected["linear"] += 2
    if style.gate in ("channels", "merged"):
        expected["split_heads"] += 2
    found = onnx_models.count_operations(ir)
    assert {name: found[name] for name in expected} == expected
    activations = {"gelu": 2} if style.activation.startswith("gelu") else {style.activation: 2}
    if style.activation == "quick":
        activations = {"gelu": 0, "silu": 0}
    assert {name: found[name] for name in activations} == activations

    attention = onnx_models.list_operations(ir, "attention")
    is_causal = style.mask in ("causal", "triangle")
    has_flags = style.mask not in ("none", "float", "triangle")
    for line in attention:
        assert (" causal " in line) == is_causal
        assert ("xi1>" in line) == has_flags
        assert ("xf32>) ->" in line and " mask(" in line and not has_flags) == (
            style.mask == "float")
        assert (" clip " in line) == style.clip
        assert (" gate(" in line) == (style.gate != "none")
        scale = float(re.search(r" scale (\S+) ", line).group(1))
        assert scale == pytest.approx(0.5, rel=1e-6)  # a root is squared
        assert ("x1x?x4xf32>" in line) == style.shared_heads


def test_results(layers):
    style, model, ir = layers
    module = onnx_models.compile_model(ir)
    reference = ReferenceEvaluator(model)
    for shape in [(2, 7), (1, 1), (3, 16)] if style.dynamic else [(2, 7)]:
        feeds = onnx_graphs.make_feeds(shape[1], shape)
        (expected,) = reference.run(None, feeds)
        actual = onnx_models.run_model(module, feeds)
        onnx_models.expect_close(actual, expected, feeds["attention_mask"] == 1)
