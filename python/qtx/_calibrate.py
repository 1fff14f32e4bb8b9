# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Observed ranges of the edges of a model."""

import contextlib
import os
import pathlib
import tempfile
from typing import Dict, Iterator, Mapping, Optional, Sequence, Union

import numpy as np
from numpy.typing import ArrayLike

from ._module import run_passes

Samples = Union[
    str, "os.PathLike[str]", Mapping[str, ArrayLike], Sequence[Mapping[str, ArrayLike]]
]


def calibrate(
    text: str,
    data: Samples,
    *,
    observer: str = "min_max",
    entry: str = "main",
    threads: Optional[int] = None,
) -> str:
    """The IR in `text` with the range of every edge observed on data: `qtx.observed`.

    `data` is an archive (.npz), the arrays of one by name, with samples stacked along
    the first axis of each input, or a list of feeds, each the inputs of one call by
    name. An input `attention_mask` marks padding. `observer` is ``min_max``,
    ``running[:MOMENTUM]``, ``percentile[:PERCENT]``, ``mse[:BITS]`` or
    ``extrapolated[:SAMPLES]``. The result does not depend on `threads`, all processors
    by default. Raises `CompileError`.
    """
    with open_samples(data) as path:
        options = {
            "data": path,
            "entry": entry,
            "observer": observer,
            "threads": threads or os.cpu_count() or 1,
        }
        words = " ".join(f"{key}={value}" for key, value in options.items())
        return run_passes(text, f"builtin.module(qtx-calibrate{{{words}}})")


@contextlib.contextmanager
def open_samples(data: Samples) -> Iterator[pathlib.Path]:
    """The samples as an archive, for a while."""
    with tempfile.TemporaryDirectory() as folder:
        # Under a name that needs no quotes in a pipeline.
        path = pathlib.Path(folder, "data.npz")
        if isinstance(data, (str, os.PathLike)):
            path.symlink_to(pathlib.Path(data).absolute())
        else:
            np.savez(path, **_name_arrays(data))
        yield path


def _name_arrays(
    data: Union[Mapping[str, ArrayLike], Sequence[Mapping[str, ArrayLike]]],
) -> Dict[str, np.ndarray]:
    """The arrays of an archive: feeds are numbered."""
    if isinstance(data, Mapping):
        return {name: np.asarray(array) for name, array in data.items()}
    return {
        f"{name}/{i}": np.asarray(array)
        for i, feed in enumerate(data)
        for name, array in feed.items()
    }
