# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Per-embedding-group (PEG) parameters from observed ranges.

Bondarenko et al., "Understanding and Overcoming the Challenges of Efficient Transformer
Quantization" (EMNLP 2021): the channels of an activation are sorted by their range and
cut into groups, each with a scale and a zero point of its own.

    low, high = peg.channel_ranges(x)
    order = peg.permutation(low, high)
    groups = peg.parameters(low[order], high[order], peg.equal_groups(len(low), 6))
    text = groups.type_text()       # !qtx.grouped<i8:f32, axis=-1, ...>
"""

from typing import NamedTuple, Sequence, Tuple

import numpy as np
from numpy.typing import ArrayLike


def channel_ranges(x: ArrayLike) -> Tuple[np.ndarray, np.ndarray]:
    """Least and largest value of each channel, the last axis of `x`."""
    rows = np.asarray(x, np.float32)
    if rows.ndim < 1 or rows.size == 0:
        raise ValueError(f"expected values of at least one channel, found shape {rows.shape}")
    rows = rows.reshape(-1, rows.shape[-1])
    return rows.min(axis=0), rows.max(axis=0)


def permutation(low: ArrayLike, high: ArrayLike) -> np.ndarray:
    """Channels by ascending range `high - low`; equal ranges keep their order.

    Position `i` of the permuted tensor is channel `result[i]` of the original.
    """
    low, high = _check_ranges(low, high)
    return np.argsort(high.astype(np.float64) - low, kind="stable")


def equal_groups(channels: int, groups: int) -> Tuple[int, ...]:
    """`groups` groups of the same size."""
    if groups < 1 or channels < 1 or channels % groups:
        raise ValueError(f"expected a number of groups that divides {channels}, found {groups}")
    return (channels // groups,) * groups


class GroupParameters(NamedTuple):
    """The static quantization parameters of a tensor."""

    sizes: Tuple[int, ...]
    scales: np.ndarray  # f32
    zero_points: np.ndarray  # i32
    bits: int

    def type_text(self) -> str:
        """The quantized element type in the IR."""
        # 17 digits name a double exactly, and so an f32.
        pairs = [f"{float(s):.17e}:{z}" for s, z in zip(self.scales, self.zero_points)]
        if len(pairs) == 1:
            return f"!quant.uniform<i{self.bits}:f32, {pairs[0]}>"
        sizes = ", ".join(map(str, self.sizes))
        return f"!qtx.grouped<i{self.bits}:f32, axis=-1, [{sizes}], {{{', '.join(pairs)}}}>"


def parameters(
    low: ArrayLike, high: ArrayLike, sizes: Sequence[int], bits: int = 8
) -> GroupParameters:
    """Asymmetric parameters of groups of adjacent channels with the given ranges.

    The storage is signed. In fp32, as docs/Numerics.md, "Parameters from ranges", fixes
    it: every range includes zero and is not empty.
    """
    low, high = _check_ranges(low, high)
    if any(size < 1 for size in sizes) or sum(sizes) != len(low):
        raise ValueError(f"expected positive sizes that sum to {len(low)}, found {list(sizes)}")
    if bits not in (4, 8, 16):
        raise ValueError(f"expected 4, 8 or 16 bits, found {bits}")
    starts = np.cumsum([0, *sizes[:-1]])
    half = np.float32(np.finfo(np.float32).max / 2)
    lowest = np.maximum(np.minimum(np.minimum.reduceat(low, starts), np.float32(0)), -half)
    highest = np.minimum(np.maximum(np.maximum.reduceat(high, starts), np.float32(1e-8)), half)
    minimum, maximum = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    scales = (highest - lowest) / np.float32(maximum - minimum)
    offsets = np.rint(-lowest * (np.float32(1) / scales)) + np.float32(minimum)
    zero_points = np.clip(offsets, minimum, maximum).astype(np.int32)
    return GroupParameters(tuple(map(int, sizes)), scales, zero_points, bits)


def _check_ranges(low: ArrayLike, high: ArrayLike) -> Tuple[np.ndarray, np.ndarray]:
    low, high = np.asarray(low, np.float32), np.asarray(high, np.float32)
    if low.ndim != 1 or low.shape != high.shape or not low.size:
        raise ValueError(f"expected two vectors of one size, found {low.shape} and {high.shape}")
    if np.isnan(low).any() or np.isnan(high).any() or not np.all(low <= high):
        raise ValueError("expected ranges with low <= high")
    return low, high
