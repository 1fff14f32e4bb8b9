# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Times several implementations of the same thing in turn."""

import dataclasses
import itertools
import random
import statistics
import time
from typing import Any, Callable, List


@dataclasses.dataclass
class Contender:
    """`run` computes the result for one of the inputs."""

    name: str
    run: Callable[[Any], Any]


@dataclasses.dataclass(frozen=True)
class Plan:
    """A contender is done after so many runs, or so many seconds in them."""

    runs: int = 50
    seconds: float = 25
    # Runs of one contender follow each other: it is timed on its own caches.
    burst: int = 10
    # Runs at the start of a burst that do not count.
    warm_up: int = 2
    # Seconds before a burst: threads of the one before may still spin.
    settle: float = 0

    QUICK = None

    def is_done(self, times):
        return len(times) >= self.runs or sum(times) >= self.seconds


Plan.QUICK = Plan(runs=3, seconds=1, burst=3, warm_up=1)

# A burst ends after so many seconds: others may wait for their turn.
BURST_SECONDS = 12


def run_burst(contender, inputs, plan):
    """Seconds of each run."""
    if plan.settle:
        time.sleep(plan.settle)
    for _ in range(plan.warm_up):
        contender.run(next(inputs))
    times: List[float] = []
    while len(times) < plan.burst and sum(times) < BURST_SECONDS:
        value = next(inputs)
        start = time.perf_counter()
        contender.run(value)
        times.append(time.perf_counter() - start)
    return times


def time_together(contenders, inputs, plan, turns):
    """The times of each contender, by its name, in bursts in a random order.

    Every run has the next one of `inputs`.
    """
    order = random.Random(0)
    times = {contender.name: [] for contender in contenders}
    streams = {contender.name: itertools.cycle(inputs) for contender in contenders}
    left = list(contenders)
    while left:
        order.shuffle(left)
        for contender in left:
            with turns:
                times[contender.name] += run_burst(contender, streams[contender.name], plan)
        left = [contender for contender in left if not plan.is_done(times[contender.name])]
    return {name: summarize(values) for name, values in times.items()}


def summarize(times):
    tenth = sorted(times)[len(times) // 10]
    return {"min_ms": 1e3 * min(times), "tenth_ms": 1e3 * tenth, "median_ms": 1e3 * statistics.median(times),
            "runs": len(times)}
