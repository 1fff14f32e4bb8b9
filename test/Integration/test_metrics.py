# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Outlier metrics and gate constants."""

import numpy as np
import pytest
from qtx import metrics


def test_golden_kurtosis():
    assert metrics.kurtosis([[0] * 7 + [10]])[0] == pytest.approx(4.70312497, abs=5e-9)
    assert metrics.kurtosis([[1, 2, 3, 4]])[0] == pytest.approx(0.92249967, abs=5e-9)


def test_kurtosis_of_sequences():
    """Sequences are flattened; a Gaussian has 3; modules are averaged evenly."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 200, 500))
    # The standard error of the estimate is sqrt(24 / 1e5), about 0.015.
    np.testing.assert_allclose(metrics.kurtosis(x), 3, atol=0.08)
    np.testing.assert_allclose(metrics.kurtosis(x), metrics.kurtosis(x.reshape(2, -1)))
    assert metrics.kurtosis([[5.0, 5.0, 5.0]])[0] == 0
    two = [[[1, 2, 3, 4]] * 3, [[0] * 7 + [10]]]
    assert metrics.average_kurtosis(two) == pytest.approx((0.92249967 + 4.70312497) / 2, abs=1e-8)


def test_infinity_norm():
    """The largest magnitude of each sequence, their mean, the largest of all modules."""
    x = [[[1, -3], [2, 0]], [[0.5, 0], [-1, 1]]]
    assert metrics.infinity_norm(x) == 2
    assert metrics.max_infinity_norm([x, [[7, 0]], [[-9, 1], [0, 0]]]) == 7


def test_golden_gate():
    assert metrics.logit(0.1) == pytest.approx(-2.19722458, abs=5e-9)
    assert metrics.logit(0.25) == pytest.approx(-1.09861229, abs=5e-9)
    assert metrics.logit(0.5) == 0
    assert metrics.gate_scale(0.5) == 2
    assert np.isfinite([metrics.logit(0), metrics.logit(1)]).all()


@pytest.mark.parametrize("call", [
    lambda: metrics.kurtosis([1.0, 2.0]),
    lambda: metrics.kurtosis([[1.0]]),
    lambda: metrics.infinity_norm(np.zeros((0, 3))),
    lambda: metrics.logit(1.5),
    lambda: metrics.gate_scale(0),
])
def test_rejected(call):
    with pytest.raises(ValueError, match="expected .*found"):
        call()
