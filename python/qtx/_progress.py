# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""How far a stage that runs over samples has come."""

import sys
from typing import Any, Callable, Optional

from . import _library

# The name of the stage, and how many parts of its data are done, of how many.
ProgressCallback = Callable[[str, int, int], None]

_WIDTH = 40


def progress_bar(stage: str, done: int, total: int) -> None:
    """Redraws a line of the error stream, as `qtxc` does; made to be passed as `progress`."""
    filled = "=" * (_WIDTH * done // total)
    line = f"{stage:<10} [{filled:<{_WIDTH}}] {100 * done // total:>3}%"
    end = "\n" if done == total else ""
    print(f"\r{line}", end=end, file=sys.stderr, flush=True)


class Progress:
    """Passes progress on to a function of the caller while a call of the library lasts.

    The library knows no exceptions: the first one of the function is kept, and nothing is
    passed on after it.
    """

    def __init__(self, function: Optional[ProgressCallback]) -> None:
        self._function = function
        self._error: Optional[BaseException] = None
        # The attribute keeps the call-back alive.
        self._callback = _library.PROGRESS_CALLBACK(self._receive)
        self.handler = _library.ProgressHandler(self._callback, None)

    def _receive(self, stage: bytes, done: int, total: int, _user_data: Any) -> None:
        if self._function is None or self._error is not None:
            return
        try:
            self._function(stage.decode(), done, total)
        except BaseException as error:  # pylint: disable=broad-except
            self._error = error

    def check(self) -> None:
        """Raises what the function raised."""
        if self._error is not None:
            raise self._error
