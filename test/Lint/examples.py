# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Turns the examples in descriptions into IR that qtx-opt can check.

An example uses values that it does not define. They become arguments of a function,
and their types are learned from the parser: declared with a type that nothing has,
each is reported as `use of value '%x' expects different type than prior uses: 'T'`.
"""

import re
import subprocess
import textwrap

UNKNOWN = "none"
VALUE = re.compile(r"%[\w$.-]+")
DEFINITION = re.compile(r"\s*((%[\w$.-]+(:\d+)?(\s*,\s*)?)+)\s*=")
MISMATCH = re.compile(
    r"use of value '(%[^']+)' expects different type than prior uses: '(.+)' vs"
)


def extract_examples(description):
    """The ```mlir blocks of a description."""
    blocks = re.findall(r"```mlir\n(.*?)```", description, re.DOTALL)
    return [textwrap.dedent(block).strip() for block in blocks]


def list_free_values(text):
    defined, free = set(), []
    for line in text.splitlines():
        line = line.split("//")[0]
        definition = DEFINITION.match(line)
        uses = line[definition.end() :] if definition else line
        for name in VALUE.findall(uses):
            if name not in defined and name not in free:
                free.append(name)
        if definition:
            defined.update(VALUE.findall(definition.group(1)))
    return free


def wrap(text, types):
    """A complete module around an example."""
    lines = text.splitlines()
    aliases = [line for line in lines if re.match(r"[!#]\w+ = ", line)]
    body = [line for line in lines if line not in aliases]
    if all(line.startswith("!") for line in body):
        body = [f"func.func private @type_{i}({line})" for i, line in enumerate(body)]
        return "\n".join(aliases + body)
    if any(line.startswith(("func.func", "module")) for line in body):
        return text
    arguments = ", ".join(f"{name}: {t}" for name, t in types.items())
    return "\n".join(
        [*aliases, f"func.func @example({arguments}) {{", *body, "return", "}"]
    )


def check_example(qtx_opt, text):
    """The diagnostics of an example; empty if it parses and verifies."""
    types = {name: UNKNOWN for name in list_free_values(text)}
    while True:
        result = subprocess.run(
            [qtx_opt, "--verify-roundtrip", "-o", "/dev/null"],
            input=wrap(text, types), capture_output=True, text=True,
        )
        if result.returncode == 0:
            return ""
        learned = False
        for name, expected in MISMATCH.findall(result.stderr):
            if types.get(name) == UNKNOWN:
                types[name] = expected
                learned = True
        if not learned:
            return result.stderr or f"exit status {result.returncode}"
