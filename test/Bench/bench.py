# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Measures qtx and its peers side by side: ./dev bench [SUITE...] [OPTIONS]

Each suite prints a table and writes SUITE.json into the output folder; the goals that
the results speak of come last.
"""

import argparse
import json
import pathlib
import sys

import attention_suite
import compile_suite
import encoder_suite
import goals
import linear_suite
import machine

SUITES = {"linear": linear_suite, "attention": attention_suite, "encoder": encoder_suite,
          "compile": compile_suite}


def parse_arguments(arguments):
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__)
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=f"of {', '.join(SUITES)}")
    parser.add_argument("--quick", action="store_true",
                        help="few runs of small models: whether everything works")
    parser.add_argument("--output", type=pathlib.Path, default=machine.BUILD / "bench")
    parser.add_argument("--threads", type=_list_of(int), default=(1, 2), help="default: 1,2")
    parser.add_argument("--isa", type=_list_of(str), help="of amx, avx512, avx-vnni, avx2; default: all")
    parser.add_argument("--models", type=_list_of(str), help="default: minilm,bert-base")
    parser.add_argument("--sizes", type=_list_of(int), help="lengths of sequences")
    parser.add_argument("--only", type=_list_of(str), help="parts of names of contenders")
    parser.add_argument("--seconds", type=float, default=25,
                        help="a contender is done after 50 runs, or so many seconds in them")
    parser.add_argument("--no-sweep", action="store_true", help="only the lengths of goals")
    parser.add_argument("--no-scores", action="store_true", help="no errors of embeddings")
    parser.add_argument("--lock", help="file: measure in turns with others, with priority")
    options = parser.parse_args(arguments)
    options.suites = options.suites or list(SUITES)
    options.models = options.models or (("tiny",) if options.quick else ("minilm", "bert-base"))
    cores = machine.count_cores()
    options.threads = [n for n in options.threads if n <= cores][:1 if options.quick else None]
    if unknown := [name for name in options.suites if name not in SUITES]:
        parser.error(f"expected a suite of {', '.join(SUITES)}, found '{unknown[0]}'")
    return options


def _list_of(convert):
    return lambda text: tuple(convert(part) for part in text.split(","))


def main(arguments=None):
    options = parse_arguments(arguments)
    options.output.mkdir(parents=True, exist_ok=True)
    description = machine.describe()
    print(json.dumps(description, indent=1))
    results = {}
    for name in options.suites:
        print(f"\n== {name}", flush=True)
        suite = SUITES[name]
        result = {"suite": name, "machine": description, **suite.run(options)}
        results[name] = result
        suite.print_table(result)
        (options.output / f"{name}.json").write_text(json.dumps(result, indent=2) + "\n")
        if hasattr(suite, "plot"):
            suite.plot(result, options.output / f"{name}.png")
    summary = goals.check(results)
    goals.print_table(summary)
    (options.output / "goals.json").write_text(json.dumps(summary, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
