# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Observed ranges of the edges of a model."""

import contextlib
import ctypes
import os
import pathlib
import tempfile
from typing import Any, Dict, Iterable, Iterator, Mapping, Optional, Sequence, Union

import numpy as np
from numpy.typing import ArrayLike

from ._errors import CompileError
from ._library import Diagnostics, library
from ._module import print_module
from ._progress import Progress, ProgressCallback
from ._source import ModelSource, make_options, open_model

Samples = Union[
    str, "os.PathLike[str]", Mapping[str, ArrayLike], Sequence[Mapping[str, ArrayLike]]
]


def calibrate(
    model: ModelSource,
    data: Samples,
    *,
    observer: str = "min_max",
    threads: Optional[int] = None,
    progress: Optional[ProgressCallback] = None,
) -> str:
    """The IR of a model with the range of every edge observed on data: `qtx.observed`.

    `model` is what `qtx.compile` takes; the result is its IR at the exit of the stage
    `calibrate`, which `qtx.compile` takes as well. `data` is an archive (.npz), the arrays
    of one by name, with samples stacked along the first axis of each input, or a list of
    feeds, each the inputs of one call by name. An input `attention_mask` marks padding.
    `observer` is ``min_max``, ``running[:MOMENTUM]``, ``percentile[:PERCENT]``,
    ``mse[:BITS]`` or ``extrapolated[:SAMPLES]``. The result does not depend on `threads`,
    those that run over the data: all processors by default, at most 8. `progress` is
    called with the name of the stage and how much of the data is done, of how much;
    `qtx.progress_bar` is such a function. Raises `CompileError`.
    """
    module = open_model(model)
    with open_samples(data) as path:
        options: Dict[str, Optional[str]] = {"calibrate": str(path), "observer": observer}
        if threads is not None:
            options["calibration-threads"] = str(threads)
        texts = make_options(options)
        diagnostics, report = Diagnostics(), Progress(progress)
        status = library().qtxModuleCalibrate(
            module.pointer, texts, len(texts), ctypes.byref(report.handler), diagnostics.handler
        )
    report.check()
    diagnostics.check(status, CompileError)
    diagnostics.warn()
    return print_module(module)


@contextlib.contextmanager
def open_samples(data: Samples) -> Iterator[pathlib.Path]:
    """The samples as an archive, for a while."""
    if isinstance(data, (str, os.PathLike)):
        yield pathlib.Path(data)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "data.npz")
        arrays: Dict[str, Any] = _name_arrays(data)
        np.savez(path, **arrays)
        yield path


def _name_arrays(
    data: Union[Mapping[str, ArrayLike], Sequence[Mapping[str, ArrayLike]]],
) -> Dict[str, np.ndarray]:
    """The arrays of an archive: feeds are numbered."""
    if isinstance(data, Mapping):
        return {_check_name(name): np.asarray(array) for name, array in data.items()}
    if not isinstance(data, Iterable):
        raise TypeError(
            "expected an archive, arrays by name or a list of feeds, "
            f"found {type(data).__name__}"
        )
    feeds = list(data)
    for i, feed in enumerate(feeds):
        _check_feed(i, feed, feeds[0])
    return {
        f"{_check_name(name)}/{i}": np.asarray(array)
        for i, feed in enumerate(feeds)
        for name, array in feed.items()
    }


def _check_name(name: Any) -> str:
    if not isinstance(name, str):
        raise TypeError(f"expected the name of an input, found {name!r}")
    return name


def _check_feed(index: int, feed: Any, first: Mapping[str, ArrayLike]) -> None:
    """The archive does not say how many feeds there are: all have the same arrays."""
    if not isinstance(feed, Mapping):
        raise TypeError(f"feed {index}: expected arrays by name, found {type(feed).__name__}")
    missing = [str(name) for name in first if name not in feed]
    if missing:
        raise ValueError(f"feed {index}: expected the array '{missing[0]}' as in feed 0")
