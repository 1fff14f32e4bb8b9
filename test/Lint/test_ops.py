# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Every operation and pass is described, shown by an example, and tested."""

import re

import pytest
from examples import check_example, extract_examples
from sources import BUILD, ROOT, list_files, load_instances, load_ops, load_passes

OPS = load_ops()
PASSES = load_passes()
TYPES = load_instances("include/qtx/Dialect/Qtx/IR/QtxOps.td", "TypeDef")
TYPES = [t for t in TYPES if t["dialect"]["def"] == "Qtx_Dialect"]
ROUND_TRIPS = ("qtx-opt %s | qtx-opt", "--emit-bytecode")


def read_round_trip_tests():
    """The CHECK lines of every test that goes through text and bytecode."""
    lines = []
    for path in list_files("test/Dialect", ".mlir"):
        text = path.read_text()
        if all(command in text for command in ROUND_TRIPS):
            lines += [line for line in text.splitlines() if "CHECK" in line]
    return "\n".join(lines)


def names(items):
    return [name for name, _ in items]


@pytest.mark.parametrize("name, record", OPS, ids=names(OPS))
def test_op_description(name, record):
    assert record["summary"].strip(), "expected a summary"
    examples = extract_examples(record["description"])
    shown = any(re.search(rf"qtx\.{name}\b", example) for example in examples)
    assert shown, "expected an example of the operation"
    for example in examples:
        errors = check_example(BUILD / "bin" / "qtx-opt", example)
        assert not errors, f"the example is not valid:\n{example}\n{errors}"


@pytest.mark.parametrize("name", names(OPS))
def test_op_round_trip(name):
    found = re.search(rf"CHECK.*\bqtx\.{re.escape(name)}\b", read_round_trip_tests())
    assert found, (
        f"expected a CHECK line with qtx.{name} in a test below test/Dialect that runs "
        f"{' and '.join(ROUND_TRIPS)}"
    )


@pytest.mark.parametrize("record", TYPES, ids=[t["cppClassName"] for t in TYPES])
def test_type_description(record):
    assert record["summary"].strip(), "expected a summary"
    examples = extract_examples(record["description"])
    assert examples, "expected an example"
    for example in examples:
        errors = check_example(BUILD / "bin" / "qtx-opt", example)
        assert not errors, f"the example is not valid:\n{example}\n{errors}"


@pytest.mark.parametrize("name, record", PASSES, ids=names(PASSES))
def test_pass(name, record):
    assert record["summary"].strip(), "expected a summary"
    assert record["description"].strip(), "expected a description"
    tests = [path for path in list_files("test", ".mlir") if path.stem == name]
    assert tests, f"expected a lit test named {name}.mlir"
    runs = any(re.search(rf"RUN:.*\b{name}\b", path.read_text()) for path in tests)
    assert runs, f"expected {tests[0].relative_to(ROOT)} to run the pass"
