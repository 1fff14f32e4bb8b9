# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Adds up what the suites of `./dev test` left in a folder; the last line counts.

usage: summarize.py RESULTS_FOLDER
"""

import json
import pathlib
import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter

LIT_OUTCOMES = {
    "PASS": "passed",
    "XFAIL": "passed",
    "FLAKYPASS": "passed",
    "UNSUPPORTED": "skipped",
    "SKIPPED": "skipped",
    "EXCLUDED": "skipped",
}


def read_format(results):
    outcome = "passed" if (results / "format.ok").exists() else "failed"
    return [(outcome, "clang-format")]


def read_lit(results):
    tests = json.loads((results / "lit.json").read_text())["tests"]
    return [(LIT_OUTCOMES.get(t["code"], "failed"), t["name"]) for t in tests]


def read_pytest(results):
    outcomes = []
    root = ElementTree.parse(results / "pytest.xml").getroot()
    for case in root.iter("testcase"):
        outcome = "passed"
        if case.find("skipped") is not None:
            outcome = "skipped"
        if case.find("failure") is not None or case.find("error") is not None:
            outcome = "failed"
        name = f"{case.get('classname')}.{case.get('name')}"
        outcomes.append((outcome, name))
    return outcomes


def read_suite(read, results):
    """A suite that left no result, or not a single test, counts as one failure."""
    try:
        outcomes = read(results)
    except (OSError, ValueError, KeyError, ElementTree.ParseError) as error:
        return [("failed", f"the suite left no result ({error})")]
    return outcomes or [("failed", "the suite has no tests")]


def print_features(results):
    log = results / "lit.log"
    if not log.exists():
        return
    mark = "feature off: "
    lines = [line for line in log.read_text().splitlines() if mark in line]
    names = sorted({line.split(mark, 1)[1] for line in lines})
    print("lit features off on this machine:", ", ".join(names) or "none")


def main():
    results = pathlib.Path(sys.argv[1])
    suites = {"format": read_format, "lit": read_lit, "pytest": read_pytest}
    total = Counter()
    failures = []
    for suite, read in suites.items():
        outcomes = read_suite(read, results)
        total.update(outcome for outcome, _ in outcomes)
        failures += [f"{suite}: {name}" for outcome, name in outcomes if outcome == "failed"]
    print_features(results)
    for failure in failures:
        print("FAILED", failure)
    print(f"{total['passed']} passed, {total['failed']} failed, {total['skipped']} skipped")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
