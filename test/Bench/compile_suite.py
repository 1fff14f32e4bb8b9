# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What compiling costs, and how long a process waits for its first result."""

import re
import statistics
import subprocess
import sys
import tempfile
import time

import machine
import models

# Stages that read samples: what is left is compilation.
DATA_STAGES = ("calibrate", "quantize")
RECIPES = ("int8", "w8a8-dynamic", "none")
LOADS = 10


def read_stages(messages):
    """Seconds of each stage, from the progress lines of qtxc."""
    found = re.findall(r"^\[ *\d+/\d+\] (\w+) +([0-9.]+) s", messages, re.MULTILINE)
    return {name: float(seconds) for name, seconds in found}


def compile_model(encoder, recipe, options):
    data = models.get_data_flags(encoder, recipe)
    with tempfile.TemporaryDirectory() as folder, machine.Turns(options.lock):
        done = models.run_qtxc([models.get_onnx(encoder), "-o", f"{folder}/model.o",
                                f"--recipe={recipe}", *data])
    stages = read_stages(done.pop("messages"))
    data_seconds = sum(stages.get(name, 0) for name in DATA_STAGES)
    return {"model": encoder.name, "recipe": recipe, **done, "stages": stages,
            "seconds_without_data": done["seconds"] - data_seconds}


def load_once(path, encoder, sequence):
    """Milliseconds from opening the file to the first result, in a process that has
    loaded nothing of the model before."""
    import qtx

    qtx.compile_ir("")  # loads the library that calls models
    feed = models.make_feeds(encoder, 1, sequence, 1)[0]
    start = time.perf_counter()
    qtx.load(path)(**feed)
    print(1e3 * (time.perf_counter() - start))


def measure_load(encoder, options):
    """The file is in the page cache: it has been written or read before."""
    path = models.get_object(encoder, "int8", machine.list_isas()[-1], 1)
    times = []
    for _ in range(2 if options.quick else LOADS):
        with machine.Turns(options.lock):
            done = subprocess.run([sys.executable, __file__, str(path), encoder.name],
                                  capture_output=True, text=True, check=True)
        times.append(float(done.stdout))
    return {"model": encoder.name, "recipe": "int8", "load_ms": statistics.median(times),
            "load_min_ms": min(times)}


def run(options):
    rows = []
    for name in options.models:
        encoder = models.ENCODERS[name]
        for recipe in RECIPES:
            print(f"  {name} {recipe}", flush=True)
            rows.append(compile_model(encoder, recipe, options))
        rows.append(measure_load(encoder, options))
    return {"rows": rows}


def print_table(result):
    print(f"\n{'model':>10} {'recipe':>12} {'seconds':>8} {'of CPU':>7} {'without data':>12} "
          f"{'peak MiB':>8}")
    for row in result["rows"]:
        if "load_ms" in row:
            print(f"{row['model']:>10} {row['recipe']:>12} first result after "
                  f"{row['load_ms']:.1f} ms (min {row['load_min_ms']:.1f})")
        else:
            print(f"{row['model']:>10} {row['recipe']:>12} {row['seconds']:8.1f} "
                  f"{row['cpu_seconds']:7.1f} {row['seconds_without_data']:12.1f} "
                  f"{row['peak_mib']:8.0f}")


if __name__ == "__main__":
    load_once(sys.argv[1], models.ENCODERS[sys.argv[2]], 128)
