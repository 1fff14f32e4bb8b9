# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Fused attention, 12 heads of 64: qtx in int8 and float, ONNX Runtime in float.

Queries, keys and values come as projections leave them, [batch, sequence, heads x width];
the context goes out in the same order.
"""

import numpy as np

import encoder_suite
import machine
import models
from timing import Contender, Plan, time_together

HEADS, WIDTH = 12, 64
SIZES = (128, 384)
# Where rows of scores leave the second-level cache: time per score should not rise.
LONG_SIZES = (4096, 16384)
LONG_NAMES = ("qtx int8", "qtx fp32")
LONG_PLAN = Plan(runs=5, seconds=20, burst=1, warm_up=0)
CODES = "!quant.uniform<i8:f32, 0.02>"
PROBS = "probs !quant.uniform<u8:f32, 0.00392156886>"
# Variants: clauses, whether codes come in, whether a gate does.
VARIANTS = {
    "qtx int8": (f"unnormalised {PROBS}", True, False),
    "qtx int8 clipped": (f"clip [-0.03, 1.0] {PROBS}", True, False),
    "qtx int8 gated": (f"unnormalised {PROBS} gate(%g)", True, True),
    "qtx fp32": ("", False, False),
}
PEER = "ONNX Runtime fp32"


def write_module(name):
    clauses, quantized, gated = VARIANTS[name]
    element, quant = ("i8", f" as {CODES}") if quantized else ("f32", "")
    x = f"tensor<1x?x{HEADS * WIDTH}x{element}>"
    heads = f"tensor<1x{HEADS}x?x{WIDTH}x{element}>"
    gate = f"tensor<1x{HEADS}x?xf32>"
    dims = 'qtx.dims = ["", "sequence", ""]'
    arguments = [f'%{n}: {x} {{qtx.name = "{n}", {dims}}}' for n in "qkv"]
    types = [heads] * 3
    if gated:
        arguments.append(f'%g: {gate} {{qtx.name = "g", qtx.dims = ["", "", "sequence"]}}')
        types.append(gate)
    splits = "\n".join(f"  %{n}h = qtx.split_heads %{n} : {x} -> {heads}" for n in "qkv")
    return f"""
func.func @main({", ".join(arguments)}) -> ({x} {{qtx.name = "c", {dims}}}) {{
{splits}
  %c = qtx.attention %qh{quant}, %kh{quant}, %vh{quant} scale {WIDTH**-0.5:.9e}
      {clauses} {f"to {CODES}" * quantized} : ({", ".join(types)}) -> {heads}
  %y = qtx.merge_heads %c : {heads} -> {x}
  return %y : {x}
}}
"""


def load_qtx(name, isa, threads):
    import qtx

    stem = f"{name.replace(' ', '-')}-{isa}-{threads}"
    folder = models.FOLDER / "attention"
    source = folder / f"{stem}.mlir"
    folder.mkdir(parents=True, exist_ok=True)
    if not source.exists() or source.read_text() != write_module(name):
        source.write_text(write_module(name))
    path = models.make(
        folder / f"{stem}.so",
        lambda out: models.run_qtxc([source, "-o", out, "--emit=lib", "--recipe=none", *models.get_flags(isa, threads)]),
        newer_than=[models.QTXC, source])
    model = qtx.load(path)
    names = [info.name for info in model.signature.inputs]
    kind = "codes" if VARIANTS[name][1] else "floats"
    return lambda feed: model(*(feed[kind][n] for n in names))[0]


def load_onnxruntime(threads):
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper

    x = [1, "sequence", HEADS * WIDTH]
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, x) for n in "qkvc"]
    node = helper.make_node("MultiHeadAttention", list("qkv"), ["c"], domain="com.microsoft",
                            num_heads=HEADS)
    graph = helper.make_graph([node], "attention", values[:3], values[3:])
    model = helper.make_model(graph, ir_version=10, opset_imports=[
        helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)])
    onnx.checker.check_model(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model.SerializeToString(), options,
                                           providers=["CPUExecutionProvider"])
    return lambda feed: session.run(None, {n: feed["floats"][n] for n in "qkv"})[0]


def make_feeds(size, count=4):
    rng = np.random.default_rng(size)
    feeds = []
    for _ in range(count):
        values = rng.standard_normal((3, 1, size, HEADS * WIDTH)).astype(np.float32)
        gate = rng.standard_normal((1, HEADS, size)).astype(np.float32)
        codes = np.clip(np.rint(values * 50), -128, 127).astype(np.int8)
        feeds.append({"floats": dict(zip("qkv", values)), "codes": dict(zip("qkvg", [*codes, gate]))})
    return feeds


def run_job(job):
    """Rows of one process, as in the suite of encoders."""
    encoder_suite.enter(job)
    base = {"isa": job.isa, "threads": job.threads}
    rows, runs = [], {}
    loaders = {name: lambda name=name: load_qtx(name, job.isa, job.threads) for name in VARIANTS}
    loaders[PEER] = lambda: load_onnxruntime(job.threads)
    for name, load in loaders.items():
        try:
            runs[name] = load()
        except Exception as error:  # pylint: disable=broad-except
            rows.append({**base, "name": name, "missing": encoder_suite.describe_error(error)})
    turns = machine.Turns(job.lock)
    for _, size in job.shapes:
        chosen = LONG_NAMES if size in LONG_SIZES else tuple(runs)
        timings = time_together(
            [Contender(name, run) for name, run in runs.items() if name in chosen],
            make_feeds(size), LONG_PLAN if size in LONG_SIZES else job.plan, turns)
        gop = 4e-9 * HEADS * WIDTH * size**2
        rows += [{**base, "name": name, "sequence": size, "gop": gop,
                  "ns_per_score": 1e6 * timing["median_ms"] / (HEADS * size**2), **timing}
                 for name, timing in timings.items()]
    return rows


def run(options):
    rows = []
    for isa in encoder_suite.list_isas(options):
        for threads in encoder_suite.list_threads(options, isa):
            sizes = SIZES + (LONG_SIZES if threads == 1 else ())
            job = encoder_suite.Job(
                "", isa, threads, tuple((1, size) for size in ((32,) if options.quick else sizes)), (),
                Plan.QUICK if options.quick else Plan(runs=100, seconds=options.seconds),
                options.lock)
            rows += encoder_suite.in_process(run_job, job)
    peaks = machine.measure_peaks(machine.Turns(options.lock))
    encoder_suite.add_shares(rows, peaks)
    return {"peaks": peaks, "rows": rows}


def print_table(result):
    print(f"\n{'':20} {'isa':>7} {'threads':>7} {'S':>5} {'min ms':>8} {'median':>8} {'ns/score':>8} {'% peak':>6} "
          f"{'of peer':>7} {'of plain':>8}")
    for row in result["rows"]:
        if "missing" in row:
            print(f"{row['name']:20} {row['isa']:>7} {row['threads']:7} not run: {row['missing']}")
            continue
        ratios = [divide(row, find(result["rows"], row, name)) for name in (PEER, "qtx int8")]
        print(f"{row['name']:20} {row['isa']:>7} {row['threads']:7} {row['sequence']:5} "
              f"{row['min_ms']:8.3f} {row['median_ms']:8.3f} {row['ns_per_score']:8.3f} "
              f"{row['percent_of_peak']:6.1f} "
              f"{ratios[0]:>7} {ratios[1] if 'int8 ' in row['name'] else '':>8}")


def find(rows, like, name):
    """The row of another contender in the same place."""
    keys = ("isa", "threads", "sequence")
    for row in rows:
        if row["name"] == name and all(row.get(key) == like[key] for key in keys):
            return row
    return None


def divide(row, other):
    return f"{row['median_ms'] / other['median_ms']:.3f}" if other else ""
