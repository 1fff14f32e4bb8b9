# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Calibration of whole encoders on texts of many lengths."""

import re

import numpy as np
import pytest
import qtx
from encoder import Encoder

ENCODER = Encoder(layers=1, hidden=32, heads=2, intermediate=48)


def make_texts(count, seed=0):
    """Ids and a mask with padding behind texts of 1 to 40 ids."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 41, count)
    mask = np.int64(np.arange(40) < lengths[:, None])
    # Padding must not count, whatever its ids are.
    ids = rng.integers(0, ENCODER.vocabulary, (count, 40))
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}


def calibrate(data, **options):
    return qtx.calibrate(ENCODER.ir(), data, **{"threads": 1, **options})


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    path = tmp_path_factory.mktemp("calibrate") / "texts.npz"
    np.savez(path, **make_texts(60))
    return path


def read_last_range(ir):
    """The range of the last operation: smallest and largest values."""
    last = [line for line in ir.splitlines() if "qtx.layer_norm" in line][-1]
    found = re.search(r'qtx.observed = \[dense<(?:"0x([0-9A-F]+)"|(.*?))> : tensor<2x32xf32>', last)
    if found[1]:
        return np.frombuffer(bytes.fromhex(found[1]), np.float32).reshape(2, 32)
    numbers = re.findall(r"[-+.\de]+", found[2])
    return np.float32(numbers).reshape(2, 32)


def get_values():
    """The last hidden state at all positions that count."""
    texts = make_texts(60)
    y = ENCODER.run(texts["input_ids"], texts["attention_mask"], texts["token_type_ids"])
    return y[texts["attention_mask"] != 0]


# The fast path sums in another order; values are around 1.
TOLERANCE = 1e-5


def test_min_max(archive):
    lo, hi = read_last_range(calibrate(archive))
    values = get_values()
    np.testing.assert_allclose(lo, values.min(0), atol=TOLERANCE)
    np.testing.assert_allclose(hi, values.max(0), atol=TOLERANCE)


@pytest.mark.parametrize("percentile", [99.9, 98, 75])
def test_percentile(archive, percentile):
    lo, hi = read_last_range(calibrate(archive, observer=f"percentile:{percentile}"))
    values = get_values()
    # 75 % of some thousand positions is counted in bins.
    width = 2 / 1024 if percentile == 75 else 0
    tolerance = TOLERANCE + width * (values.max() - values.min())
    np.testing.assert_allclose(lo, np.percentile(values, 100 - percentile, axis=0), atol=tolerance)
    np.testing.assert_allclose(hi, np.percentile(values, percentile, axis=0), atol=tolerance)


def test_mse_is_within_min_max(archive):
    lo, hi = read_last_range(calibrate(archive))
    narrow_lo, narrow_hi = read_last_range(calibrate(archive, observer="mse:3"))
    assert (narrow_lo >= lo).all() and (narrow_hi <= hi).all()
    assert (narrow_hi - narrow_lo).sum() < 0.95 * (hi - lo).sum()


@pytest.mark.parametrize("observer", ["min_max", "running", "percentile", "mse", "extrapolated"])
def test_same_for_any_number_of_threads(archive, observer):
    first = calibrate(archive, observer=observer)
    assert first.count("qtx.observed") > 10
    for threads in 2, 5:
        assert calibrate(archive, observer=observer, threads=threads) == first


def test_single_feeds_give_the_same_ranges(archive):
    """Each text as a feed of its own length."""
    texts = make_texts(60)
    feeds = [
        {name: array[i : i + 1, :length] for name, array in texts.items()}
        for i, length in enumerate(texts["attention_mask"].sum(1))
    ]
    single = read_last_range(calibrate(feeds))
    np.testing.assert_allclose(single, read_last_range(calibrate(archive)), atol=TOLERANCE)


def test_arrays_are_an_archive(archive):
    assert calibrate(make_texts(60), threads=None) == calibrate(archive)


def test_errors_name_the_cause():
    texts = make_texts(3)
    del texts["token_type_ids"]
    with pytest.raises(qtx.CompileError, match="no array for the input 'token_type_ids'"):
        calibrate(texts)
    with pytest.raises(qtx.CompileError, match=r"data.npz: No such file|cannot open|o such file"):
        calibrate("/nonexistent/data.npz")
