# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Objects that use several threads: the same bits whatever their number."""

import concurrent.futures
import ctypes
import re
import subprocess

import cpus
import numpy as np
import objects
import pytest
import qtx
from encoder import Encoder
from objects import OK
from test_attention import Attention, Quant
from test_fast_attention import K, Q, UNSIGNED, V, Y
from test_kernels import dense

pytestmark = pytest.mark.skipif(not objects.QTXC.exists() or not objects.CLANG.exists(),
                                reason="qtxc or clang is not there")

LLVM = objects.CLANG.parents[1]
THREADS = 3
# Below and above the sizes that are worth several threads, and those from which on
# threads take rows and not outputs.
COUNTS = (1, 2, 7, 64, 97, 300)

X = "tensor<?x130xf32>"
SIZES = "{qtx.dims = [\"rows\", \"\"]}"


def linears():
    """Layers whose outputs fill panels and whose outputs do not, and rows between them."""
    rng = np.random.default_rng(1)
    wide = rng.normal(0, 0.1, (131, 130)).astype(np.float32)
    codes = rng.integers(-127, 128, (130, 131)).astype(np.int8)
    scales = rng.uniform(0.01, 0.02, 130).astype(np.float32)
    return f"""
    func.func @main(%x: {X} {SIZES}) -> ({X}, tensor<?x131xi8>) {{
      %w = arith.constant {dense(wide)} : tensor<131x130xf32>
      %v = arith.constant {dense(codes)} : tensor<130x131xi8>
      %s = arith.constant {dense(scales)} : tensor<130xf32>
      %0 = qtx.linear %x, %w : ({X}, tensor<131x130xf32>) -> tensor<?x131xf32>
      %1 = qtx.gelu %0 : (tensor<?x131xf32>) -> tensor<?x131xf32>
      %2 = qtx.quantize %1 to !quant.uniform<i8:f32, 0.02:-5> : tensor<?x131xf32> -> tensor<?x131xi8>
      %3 = qtx.linear %2 as !quant.uniform<i8:f32, 0.02:-5>, %v scale(%s)
          : (tensor<?x131xi8>, tensor<130x131xi8>, tensor<130xf32>) -> {X}
      %4 = qtx.add %3, %x : ({X}, {X}) -> {X}
      %5 = qtx.softmax %4 : {X}
      return %5, %2 : {X}, tensor<?x131xi8>
    }}"""


def make_linear_inputs(rows):
    return [np.random.default_rng(rows).normal(size=(rows, 130)).astype(np.float32)]


# Rows that keep values in memory of their own, of a size that is not static.
KEPT = """
func.func @main(%x: tensor<?x?x?xf32> {qtx.dims = ["batch", "rows", "columns"]}) -> tensor<?x?x?xf32> {
  %0 = qtx.gelu %x : (tensor<?x?x?xf32>) -> tensor<?x?x?xf32>
  %1 = qtx.softmax %0 : tensor<?x?x?xf32>
  return %1 : tensor<?x?x?xf32>
}"""


@pytest.fixture(scope="module")
def openmp():
    """The library that objects in this process use."""
    path = LLVM / "lib" / "libomp.so.5"
    if not path.exists():
        pytest.skip("no libomp")
    return ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)


def list_symbols(path):
    return objects.run(objects.NM, path)


def compile_pair(text, folder, *options):
    """The model for one thread, and for several."""
    for name in ("one", "several"):
        (folder / name).mkdir()
    return (objects.Library(text, folder / "one", *options),
            objects.Library(text, folder / "several", f"--threads={THREADS}", *options))


def find_dims(signature, arrays):
    sizes = {name: size for value, array in zip(signature["inputs"], arrays)
             for name, size in zip(value["shape"], array.shape)}
    return [sizes[dim["name"]] for dim in signature["dims"]]


def check_pair(pair, openmp, inputs, dims):
    one, several = pair
    status, expected = one.run(inputs, dims)
    assert status == OK
    for threads in (1, 2, THREADS, THREADS + 5):
        openmp.omp_set_num_threads(threads)
        status, found = several.run(inputs, dims)
        assert status == OK
        for first, second in zip(found, expected):
            assert first.tobytes() == second.tobytes(), (dims, threads)


@pytest.mark.parametrize("cpu", cpus.params(cpus.CPUS, str))
def test_linears(cpu, openmp, tmp_path):
    features = ",".join(f"+{feature}" for feature in cpus.CPUS[cpu])
    pair = compile_pair(linears(), tmp_path, "-mcpu=x86-64", f"-mattr={features}")
    for rows in COUNTS:
        check_pair(pair, openmp, make_linear_inputs(rows), (rows,))


# Normalisations and linears that one team of threads runs from the output projection to the
# queries of the next layer.
ENCODER = Encoder(layers=2, hidden=96, heads=3, intermediate=144)


@pytest.mark.parametrize("cpu", cpus.params(cpus.CPUS, str))
def test_encoder(cpu, openmp, tmp_path):
    features = ",".join(f"+{feature}" for feature in cpus.CPUS[cpu])
    pair = compile_pair(ENCODER.quantized_ir(), tmp_path, "-mcpu=x86-64", f"-mattr={features}")
    rng = np.random.default_rng(3)
    # Rows that threads share and that they do not, and tiles that are not full.
    for batch, length in ((1, 1), (3, 9), (2, 48), (2, 49), (7, 29), (9, 57)):
        shape = batch, length
        inputs = [rng.integers(0, ENCODER.vocabulary, shape), np.ones(shape, np.int64),
                  rng.integers(0, 2, shape)]
        check_pair(pair, openmp, inputs, find_dims(pair[0].signature, inputs))


def test_teams(openmp, tmp_path):
    """One team for what lies between two attentions, and for what comes before and behind."""
    text = ENCODER.quantized_ir()
    path = objects.compile_model(text, tmp_path / "model.ll", "--threads=2", "-mcpu=x86-64-v4",
                                 "-mattr=+avx512vnni")
    regions = re.findall(r"define internal void @\S*omp_par.*?^}", path.read_text(), re.M | re.S)
    calls = [len(re.findall(r"call (?:fastcc )?void @qtx_(?:linear|rows)", region)) for region in regions]
    # 3 operations before and 6 behind the first attention, 5 behind the second one.
    assert sorted(calls)[-3:] == [2, 5, 6]


@pytest.mark.parametrize("cpu", cpus.params(["avx2"], str))
@pytest.mark.parametrize("panels", (1, 4))
def test_spans_of_panels(cpu, panels, openmp, tmp_path):
    """Parts of panels are cut into spans; rows meet all of a span."""
    config = f'qtx.config = #qtx.micro_kernel<"x86-avx2-fma", rows = 6, vectors = 2, block = 12, panels = {panels}>'
    text = linears().replace("qtx.linear %x, %w :", f"qtx.linear %x, %w {{{config}}} :")
    assert config in text
    features = ",".join(f"+{feature}" for feature in cpus.CPUS[cpu])
    pair = compile_pair(text, tmp_path, "-mcpu=x86-64", f"-mattr={features}")
    for rows in COUNTS:
        check_pair(pair, openmp, make_linear_inputs(rows), (rows,))


ATTENTIONS = [
    Attention(),
    Attention(query=Q, key=K, value=V, probs=UNSIGNED, y=Y, mask="i1"),
    Attention(heads=6, key_heads=2, causal=True),
]


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_attention(attention, openmp, tmp_path):
    """Parts end inside heads too, and heads are fewer than threads."""
    pair = compile_pair(attention.ir(), tmp_path)
    rng = np.random.default_rng(4)
    for batch, queries, keys in ((1, 1, 1000), (1, 200, 150), (2, 65, 100), (5, 3, 33)):
        arrays = list(attention.inputs(rng, batch, queries, keys).values())
        check_pair(pair, openmp, arrays, find_dims(pair[0].signature, arrays))


def test_rows(openmp, tmp_path):
    pair = compile_pair(KEPT, tmp_path)
    for dims in ((1, 1, 1), (1, 2, 9000), (3, 67, 129), (2, 1, 20000)):
        x = np.random.default_rng(5).normal(size=dims).astype(np.float32)
        check_pair(pair, openmp, [x], dims)


def test_symbols(tmp_path):
    """OpenMP comes with `--threads` alone, and the header says how to link it."""
    text = linears()
    for threads in (1, 2):
        path = objects.compile_model(text, tmp_path / f"t{threads}.o", f"--threads={threads}")
        symbols, header = list_symbols(path), path.with_suffix(".h").read_text()
        assert bool(re.search("kmpc|omp_", symbols)) == (threads > 1)
        assert ("-lomp" in header) == (threads > 1)
        folder = tmp_path / str(threads)
        folder.mkdir()
        library = objects.Library(text, folder, f"--threads={threads}")
        assert library.signature["threads"] == threads


def test_program(openmp, tmp_path):
    """A C program, linked as the header says, between guard pages."""
    text, flags = linears(), (f"-L{LLVM}/lib", "-lomp", f"-Wl,-rpath,{LLVM}/lib")
    signature = objects.Library(text, tmp_path).signature
    program = objects.Program(text, signature, tmp_path, flags=flags,
                              options=(f"--threads={THREADS}",))
    one = objects.Library(text, tmp_path)
    for rows in (1, 200):
        inputs = make_linear_inputs(rows)
        status, found = program.run(inputs, (rows,))
        assert status == OK
        for first, second in zip(found, one.run(inputs, (rows,))[1]):
            np.testing.assert_array_equal(first, second)


def test_concurrent_calls(openmp, tmp_path):
    """Callers share nothing but threads that wait for work."""
    one, several = compile_pair(linears(), tmp_path)
    inputs = {rows: make_linear_inputs(rows) for rows in (150, 200, 250, 300)}

    def call(rows):
        openmp.omp_set_num_threads(2)
        return [several.run(inputs[rows], (rows,))[1] for _ in range(10)]

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for rows, calls in zip(inputs, pool.map(call, inputs)):
            expected = one.run(inputs[rows], (rows,))[1]
            for found in calls:
                for first, second in zip(found, expected):
                    assert first.tobytes() == second.tobytes()


# One linear after another, and rows, on floats alone: one output.
RACE = """
func.func @main(%x: tensor<?x130xf32> {qtx.dims = ["rows", ""]}) -> tensor<?x130xf32> {
  %w = arith.constant dense<0.01> : tensor<131x130xf32>
  %v = arith.constant dense<0.02> : tensor<130x131xf32>
  %0 = qtx.linear %x, %w : (tensor<?x130xf32>, tensor<131x130xf32>) -> tensor<?x131xf32>
  %1 = qtx.linear %0, %v : (tensor<?x131xf32>, tensor<130x131xf32>) -> tensor<?x130xf32>
  %2 = qtx.softmax %1 : tensor<?x130xf32>
  return %2 : tensor<?x130xf32>
}"""


def test_tools(openmp, tmp_path):
    """qtx-run and qtx-bench choose the number of threads, up to that of the model."""
    path = objects.compile_model(RACE, tmp_path / "model.o", "--threads=2")
    np.savez(tmp_path / "in.npz", x=np.ones((300, 130), np.float32), arg0=make_linear_inputs(300)[0])
    inputs, outputs = f"--inputs={tmp_path}/in.npz", tmp_path / "out.npz"
    run = objects.QTXC.with_name("qtx-run")
    objects.run(run, path, inputs, f"--outputs={outputs}", "--threads=1")
    objects.run(run, path, inputs, f"--expected={outputs}", "--threads=2")
    text = objects.run(objects.QTXC.with_name("qtx-bench"), path, inputs, "--threads=2")
    assert "2 thread(s)" in text
    done = subprocess.run([run, path, inputs, "--threads=3"], capture_output=True, text=True)
    assert done.returncode == 1
    assert "--threads: expected 1 to 2, for which the model was compiled, found 3" in done.stderr


def test_functions_of_ir(openmp):
    """Code in process takes the number from the module."""
    one = qtx.compile_ir(RACE, fast=True)
    several = qtx.compile_ir(f"module attributes {{qtx.threads = {THREADS} : i64}} {{ {RACE} }}",
                             fast=True)
    for rows in COUNTS:
        (x,) = make_linear_inputs(rows)
        assert one.run("main", x)[0].tobytes() == several.run("main", x)[0].tobytes()


def test_python(openmp):
    one, several = (qtx.compile(RACE, recipe="none", threads=threads) for threads in (1, 2))
    assert (one.signature.threads, several.signature.threads) == (1, 2)
    (x,) = make_linear_inputs(300)
    assert one(x)[0].tobytes() == several(x)[0].tobytes()
