# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Errors of the package."""

from typing import NamedTuple, Sequence


class Diagnostic(NamedTuple):
    """One message of the compiler, with its location."""

    severity: str  # "error", "warning", "remark" or "note"
    text: str

    def __str__(self) -> str:
        return f"{self.severity}: {self.text}"


class Error(Exception):
    """What the compiler reported; ``diagnostics`` has the single messages."""

    def __init__(self, diagnostics: Sequence[Diagnostic]):
        self.diagnostics = tuple(diagnostics)
        super().__init__("\n".join(map(str, self.diagnostics)))


class CompileError(Error):
    """The IR is not valid or could not be compiled."""


class RunError(Error):
    """A call does not match the function that it names."""


def make_run_error(text: str) -> RunError:
    return RunError([Diagnostic("error", text)])
