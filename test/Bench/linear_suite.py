# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Linear layers alone: how far they are from the arithmetic limit, or that of memory.

The layers of a shape are objects, as users have them, and run in turn; linear.py looks closer at
single micro-kernels. Codes are unsigned, as the producers of inputs store them.
"""

import ctypes
import pathlib
import tempfile
import time

import numpy as np

import machine
import models

SHAPES = ((128, 384, 384), (128, 384, 1536), (128, 1536, 384), (384, 768, 3072), (384, 3072, 768))
# More weights than caches hold.
DECODE = (1, 8192, 16384)
QUICK_SHAPES = ((16, 192, 64),)
QUICK_DECODE = (1, 192, 256)
ROUNDS = 30
# With AVX-512 two 512-bit units, as LLVM 22 describes them. It gives Sapphire Rapids one, and
# Zen 4 a VPDPBUSD in more than two cycles.
LOOP_CPUS = {"avx512": "cascadelake", "avx2": "znver3", "avx": "alderlake"}

# What multiplies, and the features that choose it.
ROWS = {
    "amx-int8": "avx512f avx512bw avx512vl avx512vnni amx-tile amx-int8",
    "avx512-vnni": "avx512f avx512bw avx512vl avx512vnni",
    "avx512-fma": "avx512f",
    "avx-vnni": "avx2 fma avxvnni",
    "avx2-int16": "avx2 fma",
    "avx2-int8": "avx2 fma",
    "avx2-fma": "avx2 fma",
}
# Kinds of layers: groups of the input, blocks of weights of 4 bits or None for those of 8,
# whether the input is quantized in the layer. A kind is compared with another one.
KINDS = {
    "per tensor": (None, None, False, None),
    "int4": (None, 32, False, "per tensor"),
    "int4, blocks of 128": (None, 128, False, "per tensor"),
    "quantize, per tensor": (None, None, True, None),
    "quantize, 6 groups": (6, None, True, "quantize, per tensor"),
    "quantize, 16 outliers": (-16, None, True, "quantize, per tensor"),
    "quantize, 32 outliers": (-32, None, True, "quantize, per tensor"),
}


def split(size, groups):
    """Sizes of groups: one, so many equal ones, or one less some outliers."""
    if groups is None:
        return (size,)
    return (size + groups, -groups) if groups < 0 else (size // groups,) * groups


def type_of(groups):
    parameters = ", ".join(f"{0.02 * (i + 1):.2f}:{i + 131}" for i in range(len(groups)))
    if len(groups) == 1:
        return "!quant.uniform<u8:f32, 0.02:131>"
    return f"!qtx.grouped<u8:f32, axis=-1, {list(groups)}, {{{parameters}}}>"


def get_weight(row):
    """A weight that the row takes: VPMADDUBSW small ones, and other products of AVX2 the rest."""
    return 100 if row == "avx2-int16" else 3


def write_layer(shape, kind, row):
    """Constants and operations of one layer from %x to %y, and the types of both."""
    rows, size, outputs = shape
    groups, block, quantizes, _ = KINDS[kind]
    code, quant = f"tensor<{rows}x{size}xi8>", type_of(split(size, groups))
    x = f"tensor<{rows}x{size}xf32>" if quantizes else code
    y = f"tensor<{rows}x{outputs}xi8>"
    w = f"tensor<{outputs}x{size}xi{4 if block else 8}>"
    blocks = f"x{-(-size // block)}" if block else ""
    s, b = f"tensor<{outputs}{blocks}xf32>", f"tensor<{outputs}xf32>"
    constants = f"""
      %w = arith.constant dense<{get_weight(row)}> : {w}
      %s = arith.constant dense<0.01> : {s}
      %b = arith.constant dense<0.5> : {b}"""
    quantize = f"%q = qtx.quantize %x to {quant} : {x} -> {code}" if quantizes else ""
    block = f"block {block}" if block else ""
    # The scale of outliers is a multiple of the other, as recipes have it where that costs little.
    join = "integer_join" if groups is not None and groups < 0 else ""
    return constants, f"""
        {quantize}
        %y = qtx.linear {"%q" if quantizes else "%x"} as {quant}, %w scale(%s) {block} bias(%b) {join}
            to !quant.uniform<i8:f32, 0.5:3> : ({code}, {w}, {s}, {b}) -> {y}""", x, y


def write_float_layer(shape):
    rows, size, outputs = shape
    x, y = f"tensor<{rows}x{size}xf32>", f"tensor<{rows}x{outputs}xf32>"
    w, b = f"tensor<{outputs}x{size}xf32>", f"tensor<{outputs}xf32>"
    return f"""
      %w = arith.constant dense<0.5> : {w}
      %b = arith.constant dense<0.5> : {b}""", f"""
        %y = qtx.linear %x, %w bias(%b) : ({x}, {w}, {b}) -> {y}""", x, y


def write_function(layer):
    constants, body, x, y = layer
    return f"func.func @main(%x: {x}) -> {y} {{{constants}{body}\n  return %y : {y}\n}}\n"


def compile_layer(layer, row, path):
    """Compiles a layer for the features of a row to what the suffix of `path` says."""
    source = path.with_suffix(".mlir")
    source.write_text(write_function(layer))
    attributes = ",".join(f"+{feature}" for feature in ROWS[row].split())
    emit = ["--emit=lib", "--name=layer"] if path.suffix == ".so" else []
    models.run_qtxc([source, "-o", path, "--recipe=none", "-mcpu=x86-64", f"-mattr={attributes}", *emit])


class ObjectTimer:
    """The time of a layer in a shared library, called through C: code and weights lie in memory as
    those of users do. What an empty call takes from Python, half a microsecond, is taken off.
    """

    def __init__(self, layer, row, x, y, seconds=0.003):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "layer.so"
            compile_layer(layer, row, path)
            library = ctypes.CDLL(str(path))
        size = ctypes.c_int64()
        library.layer_workspace_size(None, ctypes.byref(size))
        self.arrays = x, y, np.empty(size.value, np.uint8)
        self.function = library.layer_run
        self.arguments = [ctypes.c_void_p(x.ctypes.data), ctypes.c_void_p(y.ctypes.data), None,
                          ctypes.c_void_p(self.arrays[2].ctypes.data), ctypes.c_size_t(size.value)]
        # As many arguments to convert, which it does not read.
        self.nothing = library.layer_code_version
        # The first run takes longer: pages, caches.
        self.count = 1
        if status := self.function(*self.arguments):
            raise RuntimeError(f"the layer returned {status}")
        while self.run() * self.count < seconds:
            self.count *= 2

    def time_calls(self, function):
        start = time.thread_time()
        for _ in range(self.count):
            function(*self.arguments)
        return (time.thread_time() - start) / self.count

    def run(self):
        return self.time_calls(self.function) - self.time_calls(self.nothing)


def analyse_loop(shape, row):
    """What `llvm-mca` says of the loop of whole tiles; nothing where a loop is
    not one block, as with tile registers, whose loop holds parts of the epilogue."""
    import loops

    layer = write_float_layer(shape) if row.endswith("fma") else write_layer(shape, "per tensor", row)
    with tempfile.TemporaryDirectory() as folder:
        assembly = pathlib.Path(folder) / "layer.s"
        compile_layer(layer, row, assembly)
        found = loops.list_hot_loops(assembly.read_text())
    if not found or row.startswith("amx"):
        return {}
    tile = max(found, key=lambda loop: loop.count(loops.DOTS))
    analysis = loops.analyse(tile, LOOP_CPUS[row.split("-")[0]])
    return {"loop_dots": tile.count(loops.DOTS), "loop_cycles": analysis.cycles,
            "loop_port_limit": analysis.port_limit}


def make_timers(shape, row, kinds):
    """Arrays begin at lines of the cache, as values in the workspace of a model do."""
    from linear import align

    rng = np.random.default_rng(0)
    rows, size, outputs = shape
    floats = align(rng.standard_normal((rows, size)).astype(np.float32))
    codes = align(rng.integers(-128, 128, (rows, size)).astype(np.int8))
    if row.endswith("fma"):
        y = align(np.empty((rows, outputs), np.float32))
        return {"float": ObjectTimer(write_float_layer(shape), row, floats, y)}
    y = align(np.empty((rows, outputs), np.int8))
    return {kind: ObjectTimer(write_layer(shape, kind, row), row, floats if KINDS[kind][2] else codes, y)
            for kind in kinds}


def time_layers(timers, limit, rounds):
    """Seconds of each timer, and that times the limit: products, or bytes, that there was
    time for.

    Clocks change within seconds, so each layer stands between two runs of the limit.
    """
    seconds = {name: [] for name in timers}
    possible = {name: [] for name in timers}
    before = limit()
    for _ in range(rounds):
        for name, timer in timers.items():
            seconds[name].append(timer.run())
            after = limit()
            possible[name].append(seconds[name][-1] * (before + after) / 2)
            before = after
    return ({name: float(np.median(values)) for name, values in seconds.items()},
            {name: float(np.median(values)) for name, values in possible.items()})


def make_bandwidth():
    """Returns a function that measures bytes per second that a core reads."""
    import linear

    memory = linear.ReadPeak()
    return lambda: 1 / memory.run()


def measure(shape, row, kinds, options):
    """One row of the table for each kind of layer. One row of the input waits for memory,
    more of them for products."""
    import linear

    timers = make_timers(shape, row, kinds)
    limit = make_bandwidth() if shape[0] == 1 else linear.make_peak(row)
    with machine.Turns(options.lock):
        seconds, possible = time_layers(timers, limit, 2 if options.quick else ROUNDS)
    loop = analyse_loop(shape, row)
    return [describe_layer(shape, row, kind, seconds, possible[kind])
            | (loop if kind in ("per tensor", "float") else {}) for kind in timers]


def count_bytes(shape, kind):
    """What has to be read for a row: weights, and a scale for each block or output. What a
    format stores beside these does not count."""
    _, size, outputs = shape
    block = KINDS[kind][1]
    scales = outputs * (-(-size // block) if block else 1)
    return size * outputs * (0.5 if block else 1) + 4 * scales


def describe_layer(shape, row, kind, seconds, possible):
    products = int(np.prod(shape, dtype=np.int64))
    result = {"shape": list(shape), "isa": row, "kind": kind, "us": 1e6 * seconds[kind],
              "gops": 2e-9 * products / seconds[kind]}
    other = KINDS.get(kind, (None,) * 4)[3]
    if other in seconds:
        result["ratio"] = seconds[kind] / seconds[other]
    if shape[0] > 1:
        return result | {"percent_of_peak": 100 * products / possible}
    size = count_bytes(shape, kind)
    return result | {"gb_per_s": 1e-9 * size / seconds[kind], "percent_of_bandwidth": 100 * size / possible}


def run(options):
    shapes, decode = (QUICK_SHAPES, QUICK_DECODE) if options.quick else (SHAPES, DECODE)
    names = [name for name in ROWS if not options.isa or name.startswith(options.isa)]
    rows = []
    for name in names:
        if not machine.can_run(ROWS[name]):
            rows.append({"isa": name, "missing": "not on this machine"})
            continue
        # Nibbles are multiplied as bytes.
        kinds = [kind for kind in KINDS if name != "avx2-int16" or not KINDS[kind][1]]
        jobs = [(shape, kinds) for shape in shapes]
        # Memory decides what one token needs, if weights are no more bytes than they have to be.
        if name in ("avx512-vnni", "avx-vnni", "avx2-int16", "avx2-int8"):
            jobs.append((decode, [kind for kind in ("per tensor", "int4", "int4, blocks of 128") if kind in kinds]))
        for shape, kinds in jobs:
            try:
                rows += measure(shape, name, kinds, options)
            except (models.CompileError, RuntimeError) as error:
                rows.append({"isa": name, "shape": list(shape), "missing": str(error)})
            print(f"  {name} {'x'.join(map(str, shape))}", flush=True)
    return {"rows": rows}


def format_loop(row):
    if "loop_cycles" not in row:
        return ""
    return f"{row['loop_dots']} dots: {row['loop_cycles']:.1f}, {row['loop_port_limit']:.1f}"


def print_table(result):
    print(f"\n{'layer':>16} {'isa':>12} {'kind':22} {'us':>9} {'GOP/s':>8} {'% peak':>7} "
          f"{'ratio':>6} {'GB/s':>6} {'% memory':>8} {'loop: cycles, port limit':>25}")
    for row in result["rows"]:
        shape = "x".join(map(str, row.get("shape", ())))
        if "missing" in row:
            print(f"{shape:>16} {row['isa']:>12} not run: {row['missing']}")
            continue
        cells = [f"{row[key]:.{digits}f}" if key in row else "" for key, digits in
                 (("percent_of_peak", 1), ("ratio", 3), ("gb_per_s", 1), ("percent_of_bandwidth", 1))]
        print(f"{shape:>16} {row['isa']:>12} {row['kind']:22} {row['us']:9.1f} "
              f"{row['gops']:8.1f} {cells[0]:>7} {cells[1]:>6} {cells[2]:>6} {cells[3]:>8} "
              f"{format_loop(row):>25}")
