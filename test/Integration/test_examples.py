# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The examples show what they say."""

import importlib.util
import pathlib

import numpy as np

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "python" / "examples"


def load(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_oscillation(capsys):
    example = load("oscillation")
    results = {recipe: example.train(recipe) for recipe in example.RECIPES}
    target = results["plain"][0]
    nearest = np.rint(target / np.float32(example.SCALE))

    _, _, changes, frozen = results["plain"]
    # No target is a level, so most weights go back and forth to the end.
    assert np.count_nonzero(changes) > 0.8 * example.WEIGHTS and not frozen.any()

    _, codes, changes, frozen = results["dampening"]
    assert np.count_nonzero(changes) < 0.1 * example.WEIGHTS and not frozen.any()

    _, codes, changes, frozen = results["freezing"]
    assert np.count_nonzero(changes) < 0.2 * example.WEIGHTS
    assert np.mean(frozen) > 0.7
    # A weight stops at the level where it spent most of the time: the nearest one,
    # unless the target is about half way.
    position = np.abs(target / example.SCALE - nearest)
    clear = frozen & (position < 0.4)
    assert np.count_nonzero(clear) > 20
    np.testing.assert_array_equal(codes[clear], nearest[clear])

    example.main()
    assert "freezing" in capsys.readouterr().out
