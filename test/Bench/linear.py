# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""How far linear layers are from the arithmetic limit of this machine.

    python test/Bench/linear.py [--rows ROW...] [--layers TEXT] [--json FILE]

Every layer runs many times within one call of compiled code, in turn with a loop of
nothing but its own dot product in registers: the peak. Clocks change by a
quarter within seconds, so a layer is compared with the peak right before and after it;
the median of the rounds counts. Bytes are unsigned, as the producers of inputs store them.

Columns: per cent of the peak with weights in the second-level cache, and with weights
that come from behind it, as in a model of many layers; then layers with their input in
groups, relative to one scale.
"""

import argparse
import ctypes
import json
import mmap
import pathlib
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "python"))
import qtx  # noqa: E402


class Layer(NamedTuple):
    """`end` is what follows the product beside a bias per output."""

    name: str
    rows: int
    size: int
    outputs: int
    end: str  # quantize, gelu (and quantize), residual, float


LAYERS = (
    Layer("square", 128, 384, 384, "quantize"),
    *(Layer(f"{name}-{rows}", rows, *rest) for rows in (128, 384) for name, *rest in (
        ("minilm-qkv", 384, 1152, "quantize"), ("minilm-out", 384, 384, "residual"),
        ("minilm-up", 384, 1536, "gelu"), ("minilm-down", 1536, 384, "residual"),
        ("bert-qkv", 768, 2304, "quantize"), ("bert-out", 768, 768, "residual"),
        ("bert-up", 768, 3072, "gelu"), ("bert-down", 3072, 768, "residual"))),
    Layer("plain-bert-up-384", 384, 768, 3072, "quantize"),
    Layer("decode", 1, 384, 384, "quantize"),
)
ROUNDS = 30
# Weights of this size come from behind the second-level cache each time.
COLD_BYTES = 16 << 20


class Dot(NamedTuple):
    """A dot product of LLVM: the types of its sums and operands, the neighbours that a
    lane takes, and its code from the operand %v and the sum {s}{i}."""

    sums: str
    operands: str
    products: int
    features: str
    code: str


def _fma(lanes, features):
    floats = f"<{lanes} x float>"
    return Dot(floats, floats, lanes, features, f"{{d}}{{i}} = call {floats} @llvm.fma.v{lanes}f32("
               f"{floats} %v, {floats} %v, {floats} {{s}}{{i}})")


DOTS = {
    "avx512-fma": _fma(16, "+avx512f"),
    "avx2-fma": _fma(8, "+avx2,+fma"),
    "avx512-vnni": Dot(
        "<16 x i32>", "<64 x i8>", 64, "+avx512f,+avx512vnni",
        "{d}{i} = call <16 x i32> @llvm.x86.avx512.vpdpbusd.512(<16 x i32> {s}{i}, <64 x i8> %v, <64 x i8> %v)"),
    "avx-vnni": Dot(
        "<8 x i32>", "<32 x i8>", 32, "+avx2,+avxvnni",
        "{d}{i} = call <8 x i32> @llvm.x86.avx512.vpdpbusd.256(<8 x i32> {s}{i}, <32 x i8> %v, <32 x i8> %v)"),
    # The product depends on the sum, or it would be the same in each turn.
    "avx2-int16": Dot(
        "<8 x i32>", "<16 x i16>", 16, "+avx2",
        """%c{t}_{i} = bitcast <8 x i32> {s}{i} to <16 x i16>
           %p{t}_{i} = call <8 x i32> @llvm.x86.avx2.pmadd.wd(<16 x i16> %v, <16 x i16> %c{t}_{i})
           {d}{i} = add <8 x i32> {s}{i}, %p{t}_{i}"""),
    "avx2-int8": Dot(
        "<8 x i32>", "<32 x i8>", 64, "+avx2",
        """%c{t}_{i} = bitcast <8 x i32> {s}{i} to <32 x i8>
           %l{t}_{i} = call <16 x i16> @llvm.x86.avx2.pmadd.ub.sw(<32 x i8> %v, <32 x i8> %c{t}_{i})
           %h{t}_{i} = call <16 x i16> @llvm.x86.avx2.pmadd.ub.sw(<32 x i8> %c{t}_{i}, <32 x i8> %v)
           %t{t}_{i} = add <16 x i16> %l{t}_{i}, %h{t}_{i}
           %p{t}_{i} = call <8 x i32> @llvm.x86.avx2.pmadd.wd(<16 x i16> %t{t}_{i}, <16 x i16> splat (i16 1))
           {d}{i} = add <8 x i32> {s}{i}, %p{t}_{i}"""),
}


# Dot products of each sum in an iteration: where another thread shares the core, each end
# of one costs cycles.
TURNS = 8


def vector_loop(dot, chains):
    """A loop of nothing but a dot product, on registers."""
    def join(line, **keys):
        return "\n          ".join(line.format(i=i, **keys) for i in range(chains))

    def join_turn(turn):
        return join(dot.code, s=f"%s{turn}_", d=f"%s{turn + 1}_", t=turn)

    return f"""
        define void @peak(ptr %memory, i64 %n) #0 {{
        entry:
          %v = load {dot.operands}, ptr %memory, align 1
          br label %loop
        loop:
          %k = phi i64 [ 0, %entry ], [ %next, %loop ]
          {join(f"%s0_{{i}} = phi {dot.sums} [ zeroinitializer, %entry ], [ %s{TURNS}_{{i}}, %loop ]")}
          {chr(10).join(map(join_turn, range(TURNS)))}
          %next = add i64 %k, 1
          %more = icmp ult i64 %next, %n
          br i1 %more, label %loop, label %exit
        exit:
          {join(f"store volatile {dot.sums} %s{TURNS}_{{i}}, ptr %memory, align 1")}
          ret void
        }}
        attributes #0 = {{ "target-features"="{dot.features}" }}"""


def compile_function(name, text):
    """A function of LLVM's IR by the compiler of C: MLIR's pipelines take no such loops. In
    which order instructions stand matters to CPUs, hence code for this one."""
    with tempfile.TemporaryDirectory() as folder:
        library = f"{folder}/peak.so"
        subprocess.run(["clang-22", "-O2", "-march=native", "-shared", "-fPIC", "-w", "-x", "ir", "-", "-o",
                        library],
                       input=text, text=True, check=True)
        return getattr(ctypes.CDLL(library), name)


class ReadPeak:
    """Reads memory: a sum of all there is, read at four places in turn, since one
    alone does not keep all requests busy that a core can have under way. Pages are small,
    as those of weights in an object file are; NumPy would ask for large ones."""

    PLACES = 4
    BYTES = 1 << 27

    def __init__(self):
        vector = "<16 x i32>"
        reads = [f"""
          %o{i} = mul i64 %n, {i}
          %l{i} = add i64 %i, %o{i}
          %p{i} = getelementptr [64 x i8], ptr %memory, i64 %l{i}
          %v{i} = load {vector}, ptr %p{i}, align 64
          %s{i + 1} = add {vector} %s{i}, %v{i}""" for i in range(self.PLACES)]
        self.function = compile_function("read", f"""
        define void @read(ptr %memory, i64 %n, ptr %sum) #0 {{
        entry:
          br label %loop
        loop:
          %i = phi i64 [ 0, %entry ], [ %next, %loop ]
          %s0 = phi {vector} [ zeroinitializer, %entry ], [ %s{self.PLACES}, %loop ]
          {"".join(reads)}
          %next = add i64 %i, 1
          %more = icmp ult i64 %next, %n
          br i1 %more, label %loop, label %exit
        exit:
          store {vector} %s{self.PLACES}, ptr %sum, align 4
          ret void
        }}
        attributes #0 = {{ "target-features"="+avx2" }}""")
        memory = mmap.mmap(-1, self.BYTES)
        memory.madvise(mmap.MADV_NOHUGEPAGE)
        self.memory = np.frombuffer(memory, np.uint8)
        self.memory[:] = 1
        self.sum = np.empty(16, np.int32)

    def run(self):
        """Seconds for a byte."""
        start = time.thread_time()
        self.function(ctypes.c_void_p(self.memory.ctypes.data),
                      ctypes.c_int64(self.BYTES // 64 // self.PLACES), ctypes.c_void_p(self.sum.ctypes.data))
        return (time.thread_time() - start) / self.BYTES


def tile_loop():
    """The same of tile registers: four sums of products of random bytes. Zeros take so little
    power that clocks are up to a quarter higher than beside any layer."""
    zeros = [f"call void @llvm.x86.tilezero(i8 {i})" for i in range(4)]
    loads = [f"call void @llvm.x86.tileloadd64(i8 {i}, ptr %operands, i64 64)" for i in range(4, 8)]
    dots = [f"call void @llvm.x86.tdpbusd(i8 {i}, i8 {4 + i // 2}, i8 {6 + i % 2})" for i in range(4)]
    return f"""
        declare void @llvm.x86.ldtilecfg(ptr)
        declare void @llvm.x86.tilezero(i8)
        declare void @llvm.x86.tileloadd64(i8, ptr, i64)
        declare void @llvm.x86.tdpbusd(i8, i8, i8)
        declare void @llvm.x86.tilerelease()
        define void @peak(ptr %memory, i64 %n) #0 {{
        entry:
          call void @llvm.x86.ldtilecfg(ptr %memory)
          %operands = getelementptr i8, ptr %memory, i64 64
          {chr(10).join(zeros + loads)}
          br label %loop
        loop:
          %i = phi i64 [ 0, %entry ], [ %next, %loop ]
          {chr(10).join(dots)}
          %next = add i64 %i, 1
          %more = icmp ult i64 %next, %n
          br i1 %more, label %loop, label %exit
        exit:
          call void @llvm.x86.tilerelease()
          ret void
        }}
        attributes #0 = {{ "target-features"="+avx512f,+amx-tile,+amx-int8" }}"""


class Peak:
    """Measures products per second of a loop that does `products` in an iteration."""

    TILE_BYTES = 1024
    # Palette 1 of tile registers: 64 bytes of a row and 16 rows in each.
    TILES = bytes([1] + [0] * 15 + [64, 0] * 8 + [0] * 16 + [16] * 8 + [0] * 8)

    def __init__(self, text, products, seconds=0.0005):
        self.function = compile_function("peak", text)
        operands = np.random.default_rng(0).bytes(self.TILE_BYTES)
        self.memory = ctypes.create_string_buffer(self.TILES + operands)
        self.products, self.count = products, 1000
        while self.time() < seconds:
            self.count *= 2

    def time(self):
        start = time.thread_time()
        self.function(self.memory, ctypes.c_int64(self.count))
        return time.thread_time() - start

    def __call__(self):
        return self.products * self.count / self.time()


def make_peak(row):
    """The peak of the instruction that a row multiplies with."""
    if row == "amx-int8":
        return Peak(tile_loop(), 4 * 16 * 16 * 64)
    dot = DOTS[row]
    # Independent sums, enough to hide the latency of two instructions a cycle; short ones have
    # registers of their own besides.
    chains = 20 if dot.sums.startswith("<16") else 8 if row == "avx2-int8" else 12
    return Peak(vector_loop(dot, chains), dot.products * chains * TURNS)


# The features that choose a row.
ROWS = {
    "avx2-fma": "avx2 fma",
    "avx2-int16": "avx2 fma",
    "avx2-int8": "avx2 fma",
    "avx-vnni": "avx2 fma avxvnni",
    "avx512-fma": "avx512f",
    "avx512-vnni": "avx512f avx512bw avx512vnni",
    "amx-int8": "avx512f avx512bw avx512vnni amx-tile amx-int8",
}


def module_ir(features, text):
    features = ", ".join(f'"+{feature}"' for feature in features.split())
    target = f'triple = "x86_64-unknown-linux-gnu", chip = "x86-64", features = <[{features}]>'
    return f"module attributes {{llvm.target = #llvm.target<{target}>}} {{ {text} }}"


def get_weight(row, number):
    """Weights of layers that differ, such as the row takes."""
    if row == "avx2-int8":
        return number % 32 + 1
    return 33 + number % 90 if row == "avx2-int16" else number % 120 + 1


def linear_ir(layer, groups, row, copies=1):
    """`n` times `copies` layers that differ in their weights."""
    _, rows, size, outputs, end = layer
    is_float = row.endswith("fma")
    element = "f32" if is_float else "i8"
    is_quantized = not is_float and end in ("quantize", "gelu")
    x, w = f"tensor<{rows}x{size}x{element}>", f"tensor<{outputs}x{size}x{element}>"
    y_element = "i8" if is_quantized else "f32"
    y, b = f"tensor<{rows}x{outputs}x{y_element}>", f"tensor<{rows}x{outputs}xf32>"
    constants, ops = [], []
    if end != "residual":
        b = f"tensor<{outputs}xf32>"
        constants.append(f"%b = arith.constant dense<0.5> : {b}")
    tail = f"bias(%b) activation {'gelu' if end == 'gelu' else 'none'}"
    if is_quantized:
        tail += " to !quant.uniform<u8:f32, 0.5:131>"
    parameters = ", ".join(f"{0.01 * (i + 1)}:{i + 131}" for i in range(len(groups)))
    quant = ("!quant.uniform<u8:f32, 0.02:131>" if len(groups) == 1 else
             f"!qtx.grouped<u8:f32, axis=-1, {list(groups)}, {{{parameters}}}>")
    for i in range(copies):
        constants.append(f"%w{i} = arith.constant dense<{0.5 + i if is_float else get_weight(row, i)}> : {w}")
        if is_float:
            op = f"qtx.linear %x, %w{i} {tail} : ({x}, {w}, {b}) -> {y}"
        else:
            op = f"qtx.linear %x as {quant}, %w{i} scale(%s) {tail} : ({x}, {w}, tensor<{outputs}xf32>, {b}) -> {y}"
        # Results that nothing reads would go away.
        ops.append(f"%y{i} = {op}")
        ops.append(f"%e{i} = tensor.extract %y{i}[%c0, %c0] : {y}")
        ops.append(f"%a{i + 1} = arith.{'xori' if is_quantized else 'maximumf'} %a{i}, %e{i} : {y_element}")
    return module_ir(ROWS[row], f"""
    func.func @main(%x: {x}, %n: index{f", %b: {b}" if end == "residual" else ""}) -> {y_element} {{
      {chr(10).join(constants)}
      %s = arith.constant dense<0.01> : tensor<{outputs}xf32>
      %c0 = arith.constant 0 : index
      %c1 = arith.constant 1 : index
      %init = arith.constant {"0" if is_quantized else "0.0"} : {y_element}
      %r = scf.for %i = %c0 to %n step %c1 iter_args(%a0 = %init) -> ({y_element}) {{
        {chr(10).join(ops)}
        scf.yield %a{copies} : {y_element}
      }}
      return %r : {y_element}
    }}""")


class Timer:
    """The time of one of `parts` of a repetition."""

    def __init__(self, text, *arrays, parts=1, seconds=0.003):
        self.module = qtx.compile_ir(text, opt_level=2, fast=True)
        self.arrays, self.parts, self.count = arrays, parts, 1
        # The first run takes longer: pages, caches.
        self.run()
        while self.run() * self.count * parts < seconds:
            self.count *= 2

    def run(self):
        start = time.thread_time()
        self.module.run("main", self.arrays[0], self.count, *self.arrays[1:])
        return (time.thread_time() - start) / self.count / self.parts


def align(array):
    """A copy where vectors do not cross lines, as in the workspace of an object."""
    memory = np.empty(array.nbytes + 64, np.uint8)
    copy = memory[-memory.ctypes.data % 64:][:array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def create_timers(layer, row, is_quick):
    _, rows, size, outputs, end = layer
    rng = np.random.default_rng(0)
    is_float = row.endswith("fma")
    x = (rng.standard_normal((rows, size)).astype(np.float32) if is_float else
         rng.integers(-128, 128, (rows, size)).astype(np.int8))
    arrays = [align(x)]
    if end == "residual":
        arrays.append(align(np.ones((rows, outputs), np.float32)))
    timers = {"warm": Timer(linear_ir(layer, (size,), row), *arrays)}
    if not is_quick:
        copies = -(-COLD_BYTES // (size * outputs * (4 if is_float else 1)))
        timers["cold"] = Timer(linear_ir(layer, (size,), row, copies), *arrays, parts=copies)
    if not is_float and not is_quick:
        timers["six"] = Timer(linear_ir(layer, (size // 6,) * 6, row), *arrays)
        timers["outliers"] = Timer(linear_ir(layer, (size - 16, 16), row), *arrays)
    return timers


def measure(layer, row, is_quick=False):
    timers = create_timers(layer, row, is_quick)
    peak = make_peak(row)
    samples = {name: [] for name in timers}
    times, peaks = {name: [] for name in timers}, []
    before = peak()
    for _ in range(ROUNDS):
        for name, timer in timers.items():
            times[name].append(timer.run())
            after = peak()
            samples[name].append(1 / ((before + after) / 2 * times[name][-1]))
            peaks.append(after)
            before = after
    products = layer.rows * layer.size * layer.outputs
    percent = {name: 100 * products * float(np.median(values))
               for name, values in samples.items()}
    result = {"layer": layer.name, "shape": list(layer[1:4]), "end": layer.end, "row": row,
              "peak_gops": 2e-9 * float(np.median(peaks)),
              "us": 1e6 * float(np.median(times["warm"])), "percent_of_peak": percent["warm"]}
    if "cold" in percent:
        result["cold_percent_of_peak"] = percent["cold"]
    for name in ("six", "outliers"):
        if name in percent:
            result[f"{name}_ratio"] = percent["warm"] / percent[name]
    return result


COLUMNS = {"layer": ("18", "layer"), "shape": ("13", "shape"), "row": ("11", "row"), "us": ("9.1f", "us"),
           "peak_gops": ("8.0f", "peak"), "percent_of_peak": ("6.1f", "%"),
           "cold_percent_of_peak": ("6.1f", "cold %"), "six_ratio": ("6.3f", "six"),
           "outliers_ratio": ("8.3f", "outliers")}


def format_line(result):
    cells = []
    for name, (form, _) in COLUMNS.items():
        value = result.get(name, "")
        if isinstance(value, list):
            value = "x".join(map(str, value))
        width = form.split(".")[0].rstrip("f")
        cells.append(format(value, ">" + form) if not isinstance(value, str) else f"{value:>{width}}")
    return " ".join(cells)


def keep_freed_memory():
    """Results are allocated anew in each repetition; pages of the kernel would cost more
    than the smaller layers."""
    trim_threshold, mmap_threshold = -1, -3  # from malloc.h
    for option in (trim_threshold, mmap_threshold):
        ctypes.CDLL(None).mallopt(option, 1 << 30)


def main():
    keep_freed_memory()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json")
    parser.add_argument("--rows", nargs="*", default=list(ROWS), choices=list(ROWS))
    parser.add_argument("--layers", default="", help="only layers whose name contains this")
    parser.add_argument("--quick", action="store_true", help="warm weights and one scale alone")
    arguments = parser.parse_args()
    results = []
    print(format_line({name: title for name, (_, title) in COLUMNS.items()}))
    for row in arguments.rows:
        for layer in LAYERS:
            if arguments.layers in layer.name:
                results.append(measure(layer, row, arguments.quick))
                print(format_line(results[-1]), flush=True)
    if arguments.json:
        pathlib.Path(arguments.json).write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
