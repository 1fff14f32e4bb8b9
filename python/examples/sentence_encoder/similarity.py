# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What quantization does to sentence embeddings, against those of the float model."""

from typing import NamedTuple

import numpy as np


class Quality(NamedTuple):
    """Errors of embeddings: `1 - cosine` to the float ones, and what retrieval notices."""

    mean: float
    p99: float
    worst: float
    spearman: float
    same_top1: float
    recall_at_1: float


def _rank(values: np.ndarray) -> np.ndarray:
    """Ranks from 0; ties in order of position (similarities hardly tie)."""
    ranks = np.empty(len(values))
    ranks[np.argsort(values, kind="stable")] = np.arange(len(values))
    return ranks


def _normalise(rows: np.ndarray) -> np.ndarray:
    """Rows of length 1, in double precision."""
    rows = np.asarray(rows, np.float64)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """The rank correlation of two lists."""
    return float(np.corrcoef(_rank(a), _rank(b))[0, 1])


def compare(
    queries: np.ndarray,
    definitions: np.ndarray,
    float_queries: np.ndarray,
    float_definitions: np.ndarray,
) -> Quality:
    """Compares embeddings, `[texts, d]`, with those of the float model.

    `queries[i]` should find `definitions[i]`. Similarities are those of all pairs of
    the first 500 definitions.
    """
    queries, definitions = _normalise(queries), _normalise(definitions)
    float_queries, float_definitions = _normalise(float_queries), _normalise(float_definitions)
    error = 1 - np.concatenate(
        [
            np.sum(queries * float_queries, axis=1),
            np.sum(definitions * float_definitions, axis=1),
        ]
    )
    pairs = np.triu_indices(min(500, len(definitions)), 1)
    similar = (definitions[:500] @ definitions[:500].T)[pairs]
    float_similar = (float_definitions[:500] @ float_definitions[:500].T)[pairs]
    best = np.argmax(queries @ definitions.T, axis=1)
    float_best = np.argmax(float_queries @ float_definitions.T, axis=1)
    return Quality(
        float(error.mean()),
        float(np.quantile(error, 0.99)),
        float(error.max()),
        spearman(similar, float_similar),
        float(np.mean(best == float_best)),
        float(np.mean(best == np.arange(len(best)))),
    )
