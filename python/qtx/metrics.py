# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Outlier metrics of activations, and the constants of output gates.

The definitions are those of Bondarenko et al., "Quantizable Transformers" (NeurIPS
2023), as its authors' code computes them. Everything is in double precision.
"""

import math
from typing import Iterable

import numpy as np
from numpy.typing import ArrayLike


def kurtosis(x: ArrayLike, epsilon: float = 1e-6) -> np.ndarray:
    """The kurtosis of each sequence; `x` is `[sequences, ...]`.

    Each sequence is flattened. It is the fourth central moment over the squared
    *unbiased* variance (plus `epsilon`), and not the excess: a Gaussian has 3. A
    sequence needs two values or more.
    """
    rows = _rows(x)
    if rows.shape[1] < 2:
        raise ValueError(f"expected two or more values in a sequence, found {rows.shape[1]}")
    centred = rows - rows.mean(axis=1, keepdims=True)
    variance = np.sum(centred**2, axis=1) / (rows.shape[1] - 1)
    return np.asarray(np.mean(centred**4, axis=1) / (variance**2 + epsilon))


def average_kurtosis(modules: Iterable[ArrayLike], epsilon: float = 1e-6) -> float:
    """The mean over modules of the mean kurtosis of their sequences."""
    return float(np.mean([np.mean(kurtosis(x, epsilon)) for x in modules]))


def infinity_norm(x: ArrayLike) -> float:
    """The mean over sequences of the largest magnitude; `x` is `[sequences, ...]`."""
    rows = _rows(x)
    if rows.size == 0:
        raise ValueError("expected a sequence with a value, found none")
    return float(np.mean(np.max(np.abs(rows), axis=1)))


def max_infinity_norm(modules: Iterable[ArrayLike]) -> float:
    """The largest `infinity_norm` of all modules."""
    return max(infinity_norm(x) for x in modules)


def logit(p: float, epsilon: float = 1e-16) -> float:
    """The bias of a gate that is open with probability `p`: `-ln(1 / p - 1)`.

    `p` is kept `epsilon` away from 0 and 1.
    """
    if not 0 <= p <= 1:
        raise ValueError(f"expected a probability, found {p}")
    p = min(max(p, epsilon), 1 - epsilon)
    return -math.log(1 / p - 1)


def gate_scale(p: float) -> float:
    """The gain `1 / p` with which a gate that is open with probability `p` passes 1."""
    if not 0 < p <= 1:
        raise ValueError(f"expected a probability above 0, found {p}")
    return 1 / p


def _rows(x: ArrayLike) -> np.ndarray:
    array = np.asarray(x, np.float64)
    if array.ndim < 2:
        raise ValueError(f"expected an array [sequences, ...], found rank {array.ndim}")
    return array.reshape(array.shape[0], math.prod(array.shape[1:]))
