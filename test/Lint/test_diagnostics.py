# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Every diagnostic and remark that qtx emits is the expectation of a test."""

import ast
import re

import pytest
from sources import ROOT, list_files

LITERAL = re.compile(r'"(?:[^"\\\n]|\\.)*"')
EMIT = re.compile(r"\b(?:emitOpError|emitError|emitWarning|attachNote)\s*\(")

REMARK = re.compile(r"\bremark::(?:add|reason|suggest)\s*\(")
PLACEHOLDER = re.compile(r"\\\{\d[^}]*\\\}")


def strip_comments(text):
    return re.sub(r"^\s*//.*$", "", text, flags=re.MULTILINE)


def read_statement(text, start):
    """The text from `start` to the semicolon that ends the statement."""
    at = start
    while at < len(text) and text[at] != ";":
        literal = LITERAL.match(text, at)
        at = literal.end() if literal else at + 1
    return text[start:at]


def split_message(statement):
    """The streamed parts of a diagnostic: each a list of alternative literals."""
    statement = re.sub(r'"\s*\n\s*"', "", statement)
    literals = []

    def hold(match):
        literals.append(ast.literal_eval(match.group()))
        return f"\0{len(literals) - 1}\0"

    held = LITERAL.sub(hold, statement)
    return [
        [literals[int(index)] for index in re.findall("\0(\\d+)\0", part)]
        for part in held.split("<<")
    ]


def list_messages(emit):
    """(file:line, parts) of every message that has text."""
    messages = []
    for path in list_files("lib", ".cpp", ".h"):
        text = strip_comments(path.read_text())
        for match in emit.finditer(text):
            parts = split_message(read_statement(text, match.end()))
            if any(parts):
                line = text.count("\n", 0, match.start()) + 1
                messages.append((f"{path.relative_to(ROOT)}:{line}", parts))
    return messages


def read_expectations():
    """Everything in the tests that may be an expectation."""
    texts = [path.read_text() for path in list_files("test", ".mlir", ".test")]
    for path in list_files("test", ".py"):
        if path.parent.name != "Lint":
            texts.append(path.read_text())
    texts += [path.read_text() for path in list_files("test/Unit", ".cpp")]
    return "\n".join(texts)


def has_line(pattern, literals):
    """Whether a line of the expectations matches; only those with the longest literal may."""
    longest = max(literals, key=len)
    return any(longest in line and re.search(pattern, line) for line in LINES)


MESSAGES = list_messages(EMIT)
REMARKS = list_messages(REMARK)
EXPECTATIONS = read_expectations()
LINES = EXPECTATIONS.split("\n")


@pytest.mark.parametrize("where, parts", MESSAGES, ids=[w for w, _ in MESSAGES])
def test_diagnostic_is_expected(where, parts):
    # A part with several literals chooses among them: each must be tested. The
    # others make one pattern, with anything for the values between them.
    pattern = "".join(re.escape(p[0]) if len(p) == 1 else ".*?" for p in parts)
    fixed = [p[0] for p in parts if len(p) == 1]
    assert has_line(pattern, fixed or [""]), f"{where}: no test expects {pattern!r}"
    for part in parts:
        for literal in part:
            assert literal in EXPECTATIONS, f"{where}: no test expects {literal!r}"


@pytest.mark.parametrize("where, parts", REMARKS, ids=[w for w, _ in REMARKS])
def test_remark_is_expected(where, parts):
    for literal in (literal for part in parts for literal in part):
        pattern = PLACEHOLDER.sub(".*?", re.escape(literal))
        assert re.search(pattern, EXPECTATIONS), f"{where}: no test expects {literal!r}"
