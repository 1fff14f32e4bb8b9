# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Whole encoders: qtx and the peers, from the same Python loop.

Each combination of instruction set and threads has a process of its own: libraries look
at the machine once, when they are loaded.
"""

import concurrent.futures
import dataclasses
import functools
import multiprocessing
import os

import numpy as np

import contenders
import machine
import models
from timing import Contender, Plan, time_together

# Those that goals name; others are for the plot, and need fewer runs.
GOAL_SIZES = (128, 384)
SWEEP = (16, 32, 64, 128, 256, 384, 512)
PADDED = (4, 128)
# What holds peers to fewer instructions than the machine has.
PEER_LIMITS = {
    "avx2": {"ONEDNN_MAX_CPU_ISA": "AVX2", "CT2_FORCE_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"},
    "avx-vnni": {"ONEDNN_MAX_CPU_ISA": "AVX2_VNNI", "CT2_FORCE_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2_E1"},
}
SWEEP_PLAN = Plan(runs=20, seconds=5)


@dataclasses.dataclass(frozen=True)
class Job:
    """What one process times."""

    encoder: str
    isa: str
    threads: int
    # Pairs of batch and sequence.
    shapes: tuple
    names: tuple
    plan: Plan
    lock: str | None = None
    score_texts: int = 0


# ---- one process -------------------------------------------------------------

def load_all(job):
    """The contenders that can be had, and why the others cannot."""
    encoder, loaded, missing = models.ENCODERS[job.encoder], {}, {}
    for name in job.names:
        try:
            run = contenders.ENCODERS[name](encoder, job.isa, job.threads)
            for feed in models.make_feeds(encoder, 1, getattr(run, "sizes", (16,))[0], 2):
                run(feed)
            loaded[name] = run
        except Exception as error:  # pylint: disable=broad-except
            # Peers fail in their own ways, and none of them may end the others.
            missing[name] = describe_error(error)
    return loaded, missing


def describe_error(error):
    return f"{type(error).__name__}: {error}".splitlines()[0]


def choose_plan(job, shape):
    is_goal = shape[0] == 1 and shape[1] in GOAL_SIZES
    plan = job.plan if is_goal else dataclasses.replace(
        job.plan, runs=min(job.plan.runs, SWEEP_PLAN.runs),
        seconds=min(job.plan.seconds, SWEEP_PLAN.seconds))
    # Threads of some libraries spin for a while after a call.
    return dataclasses.replace(plan, settle=0.25 if job.threads > 1 else 0)


def enter(job):
    """Makes this process one that the job describes."""
    machine.pin(job.threads)
    # Read when libraries are loaded, of which two may bring an OpenMP of their own.
    os.environ["OMP_NUM_THREADS"] = str(job.threads)
    os.environ["KMP_DUPLICATE_LIB_OK"] = "TRUE"
    os.environ |= PEER_LIMITS.get(job.isa, {})
    if job.isa != "amx" and machine.has_amx():
        machine.refuse_amx()


def run_job(job):
    """Rows of the table; called in a process of its own."""
    enter(job)
    turns = machine.Turns(job.lock)
    encoder = models.ENCODERS[job.encoder]
    loaded, missing = load_all(job)
    base = {"model": job.encoder, "isa": job.isa, "threads": job.threads}
    rows = [{**base, "name": name, "missing": why} for name, why in missing.items()]
    for shape in job.shapes:
        feeds = models.make_feeds(encoder, *shape)
        able = [Contender(name, run) for name, run in loaded.items() if is_able(run, shape)]
        timings = time_together(able, feeds, choose_plan(job, shape), turns)
        for name, timing in timings.items():
            rows.append({**base, "name": name, "batch": shape[0], "sequence": shape[1], **timing,
                         "gop": encoder.count_operations(*shape) * 1e-9,
                         "note": getattr(loaded[name], "note", "")})
    return rows


def is_able(run, shape):
    """Whether the contender takes inputs of the shape."""
    return not hasattr(run, "sizes") or (shape[0] == 1 and shape[1] in run.sizes)


def score_job(job):
    """Errors against fp32 over the demo's evaluation texts, by contender."""
    import similarity

    enter(job)
    tokens = models.read_texts()[1]
    half = len(tokens) // 2
    tokens = tokens[:job.score_texts] + tokens[half:half + job.score_texts]
    loaded, _ = load_all(dataclasses.replace(job, names=("qtx none", *job.names)))
    if "qtx none" not in loaded:
        return {}
    embeddings = {name: embed(run, tokens) for name, run in loaded.items()}
    n, floats = job.score_texts, embeddings["qtx none"]
    return {name: similarity.compare(rows[:n], rows[n:], floats[:n], floats[n:])._asdict()
            for name, rows in embeddings.items() if name in job.names}


def embed(run, tokens):
    """Means of the hidden states of each text."""
    return np.stack([run(models.make_feed([sentence]))[0].mean(0) for sentence in tokens])


def in_process(function, job):
    """Calls the function elsewhere; a process that dies is an error like any other."""
    with concurrent.futures.ProcessPoolExecutor(
            1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, job).result()


# ---- the suite ---------------------------------------------------------------

def list_isas(options):
    return [isa for isa in machine.list_isas() if not options.isa or isa in options.isa]


def list_threads(options, isa):
    """One thread tells what narrower instructions cost."""
    return [n for n in options.threads if isa not in machine.SMALL_ISAS or n == options.threads[0]]


def list_shapes(options, isa, threads):
    if options.quick:
        return ((1, 16), (2, 16))
    if options.sizes:
        return tuple((1, size) for size in options.sizes)
    if isa in machine.SMALL_ISAS or threads > 1 or options.no_sweep:
        return tuple((1, size) for size in GOAL_SIZES) + (PADDED,)
    return tuple((1, size) for size in SWEEP) + (PADDED,)


def list_names(options, encoder, isa, threads):
    """Objects for one length are made where goals speak of them: of the small model. So is
    that of one thread, beside more of them. Recipes for some instructions stand beside `int8`."""
    is_small = encoder is models.MINILM
    wanted = {contenders.STATIC: is_small and threads == 1, contenders.SINGLE: is_small and threads > 1,
              "qtx int8-avx2": isa == "avx2"}
    names = [name for name in contenders.ENCODERS if wanted.get(name, True)]
    return tuple(name for name in names
                 if not options.only or any(part in name for part in options.only))


def count_threads(row):
    return 1 if row["name"] == contenders.SINGLE else row["threads"]


def get_recipe(row):
    is_own = row["name"] in (contenders.STATIC, contenders.SINGLE)
    return models.get_recipe(row["isa"]) if is_own else row["name"].split()[1]


def describe_objects(encoder, isa, rows):
    """Hash and size of qtx's files, and the time that qtx-bench finds for them."""
    for row in rows:
        if row["name"].startswith("qtx ") and "missing" not in row:
            size = row["sequence"] if row["name"] == contenders.STATIC else None
            path = models.get_object(encoder, get_recipe(row), isa, count_threads(row), size)
            row["sha256"] = models.find_sha256(path)
            row["object_mib"] = path.stat().st_size / 2**20


def add_bench_times(encoder, isa, threads, rows, options):
    """qtx-bench on the same object, for the first input of the shapes of goals."""
    for row in rows:
        if row["name"] != contenders.get_own_name(isa) or "missing" in row or row["batch"] != 1:
            continue
        if row["sequence"] not in GOAL_SIZES and not options.quick:
            continue
        path = models.get_object(encoder, models.get_recipe(isa), isa, threads)
        feed = models.make_feeds(encoder, 1, row["sequence"], 1)[0]
        found = machine.run_qtx_bench(path, feed, threads, machine.Turns(options.lock))
        row |= {"bench_ms": found["median_ms"], "version": found.get("version")}


def add_shares(rows, peaks):
    """Percent of the peak of the instruction that the mode allows, for all threads."""
    gops = peaks["peak_gops"]
    for row in rows:
        if "median_ms" not in row:
            continue
        peak = max(rate for name, rate in gops.items()
                   if name not in machine.NARROWED[row["isa"]])
        row["percent_of_peak"] = 100 * row["gop"] / (row["min_ms"] * 1e-3) / (peak * count_threads(row))


def run(options):
    peaks = machine.measure_peaks(machine.Turns(options.lock))
    print(machine.describe_peaks(peaks), flush=True)
    rows = []
    for name in options.models:
        encoder = models.ENCODERS[name]
        for isa in list_isas(options):
            for threads in list_threads(options, isa):
                rows += run_mode(encoder, isa, threads, options)
    add_shares(rows, peaks)
    return {"peaks": peaks, "rows": rows}


def run_mode(encoder, isa, threads, options):
    job = Job(encoder.name, isa, threads, list_shapes(options, isa, threads),
              list_names(options, encoder, isa, threads),
              Plan.QUICK if options.quick else Plan(seconds=options.seconds), options.lock)
    print(f"{encoder.name}, {isa}, {threads} thread(s)", flush=True)
    # Files are made here first: the process that times them stands on few cores.
    prepare(encoder, isa, threads, job.names)
    rows = in_process(run_job, job)
    describe_objects(encoder, isa, rows)
    add_bench_times(encoder, isa, threads, rows, options)
    if encoder is models.MINILM and not options.no_scores:
        texts = 20 if options.quick else models.EVALUATION_TEXTS
        scores = in_process(score_job, dataclasses.replace(
            job, score_texts=texts, names=list_scored(job)))
        for row in rows:
            row["error"] = scores.get(row["name"])
    return rows


def list_scored(job):
    """Every object of qtx that takes any length is scored; peers once, for their errors do
    not depend on threads."""
    return tuple(name for name in job.names if name not in (contenders.STATIC, contenders.SINGLE) and
                 (name.startswith("qtx") or (job.threads == 1 and job.isa not in machine.SMALL_ISAS)))


def prepare(encoder, isa, threads, names):
    """Makes files; what cannot be made is found again, and told, by `load_all`."""
    own = models.get_recipe(isa)
    makers = {**{f"qtx {recipe}": functools.partial(models.get_object, encoder, recipe, isa, threads)
                 for recipe in ("int8", "int8-avx2", "none")},
              contenders.STATIC: lambda: [models.get_object(encoder, own, isa, threads, size)
                                          for size in contenders.STATIC_SIZES],
              contenders.SINGLE: lambda: models.get_object(encoder, own, isa, 1),
              "OpenVINO NNCF int8": lambda: models.get_openvino_int8(encoder),
              "ONNX Runtime dynamic int8": lambda: models.get_onnxruntime_int8(encoder),
              "CTranslate2 int8": lambda: models.get_ctranslate2_int8(encoder)}
    for name in names:
        try:
            makers.get(name, lambda: None)()
        except Exception as error:  # pylint: disable=broad-except
            print(f"  {name}: {error}".splitlines()[0], flush=True)


# ---- table -------------------------------------------------------------------

PEER = "OpenVINO NNCF int8"


def print_table(result):
    rows = result["rows"]
    for key in dict.fromkeys((r["model"], r["isa"], r["threads"]) for r in rows):
        print(f"\n{key[0]}, {key[1]}, {key[2]} thread(s)")
        print(f"{'':26} {'batch x S':>10} {'min ms':>9} {'median':>9} {'runs':>5} {'% peak':>6} "
              f"{'qtx/this':>8} {'1-cos':>8} {'qtx-bench':>9}  object or note")
        group = [r for r in rows if (r["model"], r["isa"], r["threads"]) == key]
        for row in sorted(group, key=lambda r: (r.get("batch", 0), r.get("sequence", 0),
                                                r.get("median_ms", 0))):
            print(format_row(row, group))


def format_row(row, group):
    if "missing" in row:
        return f"{row['name']:26} not run: {row['missing']}"
    shape = f"{row['batch']} x {row['sequence']}"
    own = find_time(group, contenders.get_own_name(row["isa"]), row["batch"], row["sequence"])
    ratio = f"{own / row['median_ms']:.2f}" if own else ""
    error = f"{row['error']['mean']:.1e}" if row.get("error") else ""
    bench = f"{row['bench_ms']:.3f}" if "bench_ms" in row else ""
    note = row["sha256"][:12] if "sha256" in row else row.get("note", "")
    return (f"{row['name']:26} {shape:>10} {row['min_ms']:9.3f} {row['median_ms']:9.3f} "
            f"{row['runs']:5} {row['percent_of_peak']:6.1f} {ratio:>8} {error:>8} {bench:>9}"
            f"  {note}").rstrip()


def find_time(rows, name, batch, sequence, **keys):
    """The median of a row in milliseconds, or None."""
    for row in rows:
        if (row["name"] == name and row.get("batch") == batch and row.get("sequence") == sequence
                and all(row[key] == value for key, value in keys.items())):
            return row["median_ms"]
    return None


# ---- plot --------------------------------------------------------------------

def plot(result, path):
    """Time against sequence length, one picture for each model and instruction set."""
    try:
        import matplotlib
    except ImportError as error:
        print(f"no plot: {error}")
        return
    matplotlib.use("Agg")
    from matplotlib import pyplot, ticker

    rows = [r for r in result["rows"]
            if r.get("batch") == 1 and r["threads"] == 1 and "median_ms" in r]
    panels = list(dict.fromkeys((r["model"], r["isa"]) for r in rows))
    if not panels:
        return
    figure, axes = pyplot.subplots(1, len(panels), figsize=(6 * len(panels), 5), squeeze=False)
    for axis, panel in zip(axes[0], panels):
        for name in contenders.ENCODERS:
            points = sorted((r["sequence"], r["median_ms"]) for r in rows
                            if (r["model"], r["isa"]) == panel and r["name"] == name)
            if points:
                axis.plot(*zip(*points), marker="o" if name.startswith("qtx") else ".", label=name,
                          linewidth=2.5 if name == contenders.get_own_name(panel[1]) else 1.2)
        axis.set(title=f"{panel[0]}, {panel[1]}, 1 thread", xlabel="sequence length",
                 ylabel="ms, median", xscale="log", yscale="log")
        sizes = sorted({r["sequence"] for r in rows})
        axis.set_xticks(sizes, [str(size) for size in sizes])
        axis.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
        axis.minorticks_off()
        axis.grid(alpha=0.3)
    axes[0][0].legend(loc="upper left")
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    print(os.path.relpath(path))
