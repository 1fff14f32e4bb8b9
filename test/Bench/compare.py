# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Times objects of one encoder in turn: what one build gains over another.

    python test/Bench/compare.py [--size=128] [--runs=400] OBJECT.so...
"""

import argparse
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "python"))
import machine  # noqa: E402
import models  # noqa: E402
import qtx  # noqa: E402
from timing import Contender, Plan, time_together  # noqa: E402


def load(path):
    model = qtx.load(path)
    return Contender(str(path), lambda feed: model(**feed)[0])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("objects", nargs="+", type=pathlib.Path)
    parser.add_argument("--size", type=int, default=128, help="tokens")
    parser.add_argument("--runs", type=int, default=400, help="of each object")
    options = parser.parse_args()
    machine.pin(1)
    feeds = models.make_feeds(models.MINILM, 1, options.size, 16)
    found = time_together([load(path.resolve()) for path in options.objects], feeds,
                          Plan(runs=options.runs, seconds=1e9), machine.Turns(None))
    for name, times in found.items():
        print(f"{name}: shortest {times['min_ms']:.3f} ms, a tenth below {times['tenth_ms']:.3f}, "
              f"median {times['median_ms']:.3f}")


if __name__ == "__main__":
    main()
