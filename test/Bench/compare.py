# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Times objects of one encoder in turn: what one build gains over another.

    python test/Bench/compare.py [--size=128] [--threads=1] [--rounds=8] [--runs=120] FIRST.so OTHER.so...

Two copies of one file differ by up to half a percent for as long as they lie where they do in
memory. So each round has copies of its own, in a process of its own, and the error of the ratio is
that of the mean over rounds.
"""

import argparse
import os
import pathlib
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "python"))


def time_round(paths, size, threads, runs):
    """Prints the milliseconds of each run, a line for each object."""
    import machine
    import models
    import qtx

    machine.pin(threads)
    loaded = [qtx.load(path) for path in paths]
    feeds = models.make_feeds(models.MINILM, 1, size, 16)
    times = [[] for _ in loaded]
    order = list(range(len(loaded)))
    for run in range(-2, runs):
        random.shuffle(order)
        for i in order:
            start = time.perf_counter()
            loaded[i](**feeds[(run + i) % len(feeds)])
            if run >= 0:
                times[i].append(1e3 * (time.perf_counter() - start))
    for values in times:
        print(*values)


def run_round(paths, options):
    with tempfile.TemporaryDirectory() as folder:
        copies = [shutil.copy(path, f"{folder}/{i}.so") for i, path in enumerate(paths)]
        command = [sys.executable, __file__, "--round", f"--size={options.size}",
                   f"--threads={options.threads}", f"--runs={options.runs}", *copies]
        environment = os.environ | {"OMP_NUM_THREADS": str(options.threads)}
        lines = subprocess.run(command, check=True, capture_output=True, text=True,
                               env=environment).stdout.splitlines()
    return [[float(value) for value in line.split()] for line in lines]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("objects", nargs="+", type=pathlib.Path)
    parser.add_argument("--size", type=int, default=128, help="tokens")
    parser.add_argument("--threads", type=int, default=1, help="that a call uses")
    parser.add_argument("--rounds", type=int, default=8, help="with copies of their own")
    parser.add_argument("--runs", type=int, default=120, help="of each object in a round")
    parser.add_argument("--round", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.round:
        return time_round(options.objects, options.size, options.threads, options.runs)
    rounds = [run_round(options.objects, options) for _ in range(options.rounds)]
    for i, path in enumerate(options.objects):
        shortest = min(min(times[i]) for times in rounds)
        tenth = statistics.mean(sorted(times[i])[len(times[i]) // 10] for times in rounds)
        # Neighbouring runs have much of the noise in common.
        ratios = [statistics.median(x / y for x, y in zip(times[i], times[0])) for times in rounds]
        error = statistics.stdev(ratios) / len(ratios) ** 0.5 if len(ratios) > 1 else float("nan")
        print(f"{path}: shortest {shortest:.3f} ms, a tenth below {tenth:.3f}, "
              f"{statistics.mean(ratios):.4f} of the first (+- {error:.4f})")
    return None


if __name__ == "__main__":
    main()
