# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Architectures as exporters write them, compiled by the fast path, against ONNX Runtime."""

import onnx_architectures
import pytest
import qtx
from onnx_architectures import ARCHITECTURES, EXPORTERS
from onnx_models import expect_close, get_distance, get_kept, run_onnxruntime


@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_float(name, exporter):
    model = onnx_architectures.build(name, exporter)
    compiled = qtx.compile(model, recipe="none")
    for shape in [(2, 7), (1, 1), (3, 16)] if EXPORTERS[exporter].dynamic else [(2, 7)]:
        feeds = onnx_architectures.make_feeds(name, shape, seed=shape[1])
        expected = run_onnxruntime(model, feeds)
        (actual,) = compiled(**feeds)
        expect_close(actual, expected, get_kept(feeds, expected))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_int8(name):
    """The fast path against the reference path, and both against the float model."""
    model = onnx_architectures.build(name, "dynamo-sdpa")
    feeds = [onnx_architectures.make_feeds(name, (2, size), seed=size) for size in (7, 16)]
    fast = qtx.compile(model, recipe="int8", calibrate=feeds)
    # Its bits are the same at every level, and optimizing these loops takes long.
    reference = qtx.compile(model, recipe="int8", calibrate=feeds, reference=True, opt_level=0)
    for feed in feeds:
        exact = run_onnxruntime(model, feed)
        kept = get_kept(feed, exact)
        (actual,), (expected,) = fast(**feed), reference(**feed)
        # Within fp32 rounding, unless a float near the tie of two codes gets the other one:
        # one in 255 of its range, which is seen in all that comes behind it.
        assert get_distance(actual, expected, kept) <= 0.05
        # Bytes have steps of about 1% of what layers this narrow compute, and each layer
        # adds its own: 2 to 11% have been seen, more in narrower ones.
        assert get_distance(actual, exact, kept) <= 0.2
