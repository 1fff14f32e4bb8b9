# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The exact arithmetic of docs/Numerics.md in NumPy, for comparison bit by bit."""

import numpy as np


def fma32(a, b, c):
    """f32 fused multiply-add with a single rounding.

    The product of two f32 is exact in f64. The sum is rounded to odd in f64, after
    which the rounding to f32 is that of the exact sum.
    """
    a, b, c = (np.asarray(v, np.float32).astype(np.float64) for v in (a, b, c))
    product = a * b
    with np.errstate(invalid="ignore", over="ignore"):
        total = product + c
        # Knuth's two-sum: the exact error of the addition.
        part = total - product
        error = (product - (total - part)) + (c - part)
        is_even = (total.view(np.int64) & 1) == 0
        is_inexact = np.isfinite(total) & (error != 0)
        odd = np.nextafter(total, np.where(error > 0, np.inf, -np.inf))
        return np.where(is_inexact & is_even, odd, total).astype(np.float32)


def quantize(x, scale, zero_point, low=-128, high=127):
    """clamp(roundeven(x * (1 / s)) + z): f32 throughout, NaN to the minimum."""
    with np.errstate(invalid="ignore", over="ignore"):
        reciprocal = np.float32(1) / np.asarray(scale, np.float32)
        value = np.rint(np.asarray(x, np.float32) * reciprocal) + np.float32(zero_point)
    value = np.where(np.isnan(value), np.float32(low), value)
    return np.clip(value, low, high).astype(np.int32)


def joined_linear(x, weight, groups, weight_scale, bias):
    """The same with an integer join: a group's sum counts as often as its scale is a multiple
    of the smallest."""
    smallest, start, total = min(scale for _, scale, _ in groups), 0, 0
    for size, scale, zero_point in groups:
        part = slice(start, start + size)
        total += round(scale / smallest) * (
            (x[:, part].astype(np.int64) - zero_point) @ weight[:, part].astype(np.int64).T)
        start += size
    assert np.all(np.abs(total) < 2**31)
    multiplier = np.float32(smallest) * np.asarray(weight_scale, np.float32)
    bias = np.broadcast_to(np.asarray(bias, np.float32), total.shape)
    return fma32(total.astype(np.float32), multiplier, bias)


def grouped_linear(x, weight, groups, weight_scale, bias):
    """`qtx.linear` on integers; `groups` is a list of (size, scale, zero point)."""
    rows, outputs = x.shape[0], weight.shape[0]
    result = np.broadcast_to(np.asarray(bias, np.float32), (rows, outputs)).copy()
    start = 0
    for size, scale, zero_point in groups:
        part = slice(start, start + size)
        centred = x[:, part].astype(np.int64) - zero_point
        acc = centred @ weight[:, part].astype(np.int64).T
        assert np.all(np.abs(acc) < 2**31)
        multiplier = np.float32(scale) * np.asarray(weight_scale, np.float32)
        result = fma32(acc.astype(np.float32), multiplier, result)
        start += size
    return result
