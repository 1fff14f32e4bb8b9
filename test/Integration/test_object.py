# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Objects that qtxc writes, as programs in C use them."""

import ctypes
import shutil
import subprocess

import numpy as np
import objects
import pytest
import qtx
from objects import (INDEX_OUT_OF_RANGE, MISSING_CPU_FEATURE, NULL_POINTER, OK,
                     SIZE_OUT_OF_RANGE, WORKSPACE_TOO_SMALL)

pytestmark = pytest.mark.skipif(not objects.QTXC.exists() or not objects.CLANG.exists(),
                                reason="qtxc or clang is not there")

RNG = np.random.default_rng(20270)

TYPES = """
func.func @main(%x: tensor<?x4xf32> {qtx.name = "x", qtx.dims = ["batch", ""]},
                %y: tensor<?x4xf32> {qtx.name = "y", qtx.dims = ["batch", ""]},
                %i: tensor<?xi64> {qtx.dims = ["length"]}, %b: tensor<?xi1> {qtx.dims = ["length"]},
                %d: tensor<?xf64> {qtx.dims = ["length"]}, %q: tensor<?xi8> {qtx.dims = ["length"]},
                %s: f32)
    -> (tensor<?x4xf32>, tensor<?xi64>, tensor<?xi1>, tensor<?xf64>, tensor<?xi8>, f32) {
  %sum = qtx.add %x, %y : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %z = qtx.gelu %sum : (tensor<?x4xf32>) -> tensor<?x4xf32>
  %i2 = arith.addi %i, %i : tensor<?xi64>
  %d2 = arith.mulf %d, %d : tensor<?xf64>
  %b2 = arith.cmpf ogt, %d, %d2 : tensor<?xf64>
  %b3 = arith.xori %b, %b2 : tensor<?xi1>
  %q2 = arith.addi %q, %q : tensor<?xi8>
  %s2 = arith.addf %s, %s : f32
  return %z, %i2, %b3, %d2, %q2, %s2
      : tensor<?x4xf32>, tensor<?xi64>, tensor<?xi1>, tensor<?xf64>, tensor<?xi8>, f32
}
"""

STATIC = """
func.func @main(%x: tensor<3x8xf32>, %g: tensor<8xf32>) -> tensor<3x8xf32> {
  %y = qtx.layer_norm %x gamma(%g) beta(%g) epsilon 1.0e-12
      : (tensor<3x8xf32>, tensor<8xf32>, tensor<8xf32>) -> tensor<3x8xf32>
  return %y : tensor<3x8xf32>
}
"""

QUANTIZED = """
func.func @main(%x: tensor<?x?x8xf32> {qtx.dims = ["batch", "sequence", ""]}, %w: tensor<4x8xi8>,
                %s: tensor<4xf32>) -> (tensor<?x?x4xf32>, tensor<?x?x8xi8>) {
  %q = qtx.quantize %x to !quant.uniform<i8:f32, 0.11:-5> : tensor<?x?x8xf32> -> tensor<?x?x8xi8>
  %y = qtx.linear %q as !quant.uniform<i8:f32, 0.11:-5>, %w scale(%s)
      : (tensor<?x?x8xi8>, tensor<4x8xi8>, tensor<4xf32>) -> tensor<?x?x4xf32>
  return %y, %q : tensor<?x?x4xf32>, tensor<?x?x8xi8>
}
"""

# Three layers, so that buffers share the workspace.
MLP = """
func.func @main(%x: tensor<?x16xf32> {qtx.dims = ["rows", ""]}) -> tensor<?x16xf32> {
  %w = arith.constant dense<0.0625> : tensor<40x16xf32>
  %v = arith.constant dense<0.03> : tensor<16x40xf32>
  %0 = qtx.linear %x, %w : (tensor<?x16xf32>, tensor<40x16xf32>) -> tensor<?x40xf32>
  %1 = qtx.gelu %0 : (tensor<?x40xf32>) -> tensor<?x40xf32>
  %2 = qtx.linear %1, %v : (tensor<?x40xf32>, tensor<16x40xf32>) -> tensor<?x16xf32>
  %3 = qtx.add %2, %x : (tensor<?x16xf32>, tensor<?x16xf32>) -> tensor<?x16xf32>
  %4 = qtx.softmax %3 : tensor<?x16xf32>
  return %4 : tensor<?x16xf32>
}
"""

# Ids of a table with 8 rows, and as many positions as there are ids, of 6.
EMBEDDING = """
func.func @main(%ids: tensor<?xi64> {qtx.dims = ["sequence"]}, %table: tensor<8x4xf32>)
    -> tensor<?x4xf32> {
  %c0 = arith.constant 0 : index
  %n = tensor.dim %ids, %c0 : tensor<?xi64>
  %positions = arith.constant dense<[[1.0, 0.0, 0.0, 0.5], [2.0, 0.0, 0.0, 0.5],
      [3.0, 0.0, 0.0, 0.5], [4.0, 0.0, 0.0, 0.5], [5.0, 0.0, 0.0, 0.5], [6.0, 0.0, 0.0, 0.5]]>
      : tensor<6x4xf32>
  %e = qtx.embedding %table, %ids : (tensor<8x4xf32>, tensor<?xi64>) -> tensor<?x4xf32>
  %p = tensor.extract_slice %positions[0, 0] [%n, 4] [1, 1] : tensor<6x4xf32> to tensor<?x4xf32>
  %y = qtx.add %e, %p : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}
"""

# Two results that start from the same tensor, one of which is read again.
SHARED = """
#rows = affine_map<(i, j) -> (i)>
#all = affine_map<(i, j) -> (i, j)>
func.func @main(%x: tensor<?x4xf32> {qtx.dims = ["rows", ""]}) -> (tensor<?xf32>, tensor<?xf32>) {
  %c0 = arith.constant 0 : index
  %zero = arith.constant 0.0 : f32
  %n = tensor.dim %x, %c0 : tensor<?x4xf32>
  %empty = tensor.empty(%n) : tensor<?xf32>
  %fill = linalg.fill ins(%zero : f32) outs(%empty : tensor<?xf32>) -> tensor<?xf32>
  %sum = linalg.generic {indexing_maps = [#all, #rows], iterator_types = ["parallel", "reduction"]}
      ins(%x : tensor<?x4xf32>) outs(%fill : tensor<?xf32>) {
  ^bb0(%a: f32, %b: f32):
    %s = arith.addf %a, %b : f32
    linalg.yield %s : f32
  } -> tensor<?xf32>
  %max = linalg.generic {indexing_maps = [#all, #rows], iterator_types = ["parallel", "reduction"]}
      ins(%x : tensor<?x4xf32>) outs(%fill : tensor<?xf32>) {
  ^bb0(%a: f32, %b: f32):
    %m = arith.maximumf %a, %b : f32
    linalg.yield %m : f32
  } -> tensor<?xf32>
  return %sum, %max : tensor<?xf32>, tensor<?xf32>
}
"""

LIMITED = """
func.func @main(%x: tensor<?x?xf32> {qtx.dims = ["batch", "sequence"]}) -> tensor<?x?xf32>
    attributes {qtx.max_sizes = {sequence = 62 : i64}} {
  %y = qtx.gelu %x : (tensor<?x?xf32>) -> tensor<?x?xf32>
  return %y : tensor<?x?xf32>
}
"""


def normal(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def types_inputs(batch, length):
    return [normal(batch, 4), normal(batch, 4), RNG.integers(-2**40, 2**40, length),
            RNG.integers(0, 2, length).astype(bool), RNG.normal(size=length),
            RNG.integers(-60, 60, length).astype(np.int8), np.array(1.25, np.float32)]


# The model, and its inputs for each list of dims.
CASES = {
    "types": (TYPES, lambda batch, length: types_inputs(batch, length),
              [(1, 1), (3, 5), (17, 33), (1, 1000)]),
    "static": (STATIC, lambda: [normal(3, 8), normal(8)], [()]),
    "quantized": (QUANTIZED, lambda b, s: [
        normal(b, s, 8), RNG.integers(-127, 128, (4, 8)).astype(np.int8),
        RNG.uniform(0.01, 1, 4).astype(np.float32)], [(1, 1), (2, 7), (5, 64)]),
    "mlp": (MLP, lambda rows: [normal(rows, 16)], [(1,), (6,), (13,), (100,)]),
    "shared": (SHARED, lambda rows: [normal(rows, 4)], [(1,), (5,)]),
    "embedding": (EMBEDDING, lambda n: [RNG.integers(-8, 8, n), normal(8, 4)], [(1,), (6,)]),
}


@pytest.fixture(scope="module", params=CASES)
def case(request):
    return CASES[request.param]


@pytest.fixture
def library(tmp_path):
    return lambda text, *options: objects.Library(text, tmp_path, *options)


def run_reference(reference, inputs):
    """All results of the function, as arrays."""
    results = reference.run("main", *inputs)
    return results if isinstance(results, (tuple, list)) else [results]


def check_results(found, expected):
    """The fast path adds in another order, elementwise results have the same bits."""
    assert len(found) == len(expected)
    for first, second in zip(found, expected):
        assert first.shape == np.shape(second) and first.dtype == np.asarray(second).dtype
        if first.dtype.kind == "f":
            np.testing.assert_allclose(first, second, rtol=2e-6, atol=2e-6)
        else:
            np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("options", [(), ("--reference",)], ids=["fast", "reference"])
def test_results(case, options, tmp_path):
    """In C, between guard pages, at all alignments: the numbers of the reference."""
    text, make_inputs, all_dims = case
    library = objects.Library(text, tmp_path, *options)
    program = objects.Program(text, library.signature, tmp_path, options=options)
    reference = qtx.compile_ir(text)
    for dims in all_dims:
        inputs = make_inputs(*dims)
        expected = run_reference(reference, inputs)
        status, found = program.run(inputs, dims)
        assert status == OK
        check_results(found, expected)
        status, loaded = library.run(inputs, dims)
        assert status == OK
        for first, second in zip(found, loaded):
            np.testing.assert_array_equal(first, second)


def test_threads(tmp_path):
    """Threads that share nothing but the inputs do not race."""
    text, make_inputs, _ = CASES["mlp"]
    signature = objects.Library(text, tmp_path).signature
    program = objects.Program(text, signature, tmp_path, flags=("-fsanitize=thread",))
    inputs = make_inputs(50)
    status, found = program.run(inputs, (50,), threads=8)
    assert status == OK
    check_results(found, run_reference(qtx.compile_ir(text), inputs))


def test_null_pointers(library):
    model = library(TYPES)
    dims = (2, 3)
    status, size = model.workspace_size(dims)
    assert status == OK
    buffers = types_inputs(*dims) + model.make_outputs(dims)
    workspace = ctypes.create_string_buffer(size)
    assert model.run_raw(buffers, dims, workspace, size) == OK
    for i in range(len(buffers)):
        some = buffers[:i] + [None] + buffers[i + 1:]
        assert model.run_raw(some, dims, workspace, size) == NULL_POINTER, i
    assert model.run_raw(buffers, None, workspace, size) == NULL_POINTER
    assert model.run_raw(buffers, dims, None, size) == NULL_POINTER
    assert model.workspace_size(None)[0] == NULL_POINTER
    assert model.output_shape(0, None)[0] == NULL_POINTER
    pair = (ctypes.c_int64 * 2)(*dims)
    assert model.call("m_workspace_size", pair, None) == NULL_POINTER
    assert model.call("m_output_shape", 0, pair, None) == NULL_POINTER


def test_dims_may_be_null_if_there_are_none(library):
    model = library(STATIC)
    status, size = model.workspace_size(None)
    assert status == OK
    assert model.output_shape(0, None) == (OK, (3, 8))
    inputs = [normal(3, 8), normal(8)]
    outputs = model.make_outputs(None)
    workspace = ctypes.create_string_buffer(size)
    assert model.run_raw(inputs + outputs, None, workspace, size) == OK
    assert outputs[0].any()


def check_refused(model, dims):
    """All functions refuse the dims, and nothing is read or written."""
    buffers = [np.zeros(1)] * (len(model.inputs) + len(model.outputs))
    workspace = ctypes.create_string_buffer(1)
    assert model.workspace_size(dims) == (SIZE_OUT_OF_RANGE, -1)
    assert model.output_shape(0, dims)[0] == SIZE_OUT_OF_RANGE
    assert model.run_raw(buffers, dims, workspace, 2**62) == SIZE_OUT_OF_RANGE

# Models that need dims of different names to be equal.
SAME_SIZES = {
    "add": """
func.func @main(%x: tensor<?x8xf32> {qtx.dims = ["a", ""]},
                %y: tensor<?x8xf32> {qtx.dims = ["b", ""]}) -> tensor<?x8xf32> {
  %z = qtx.gelu %x : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %s = qtx.add %z, %y : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32>
  return %s : tensor<?x8xf32>
}""",
    "residual": """
func.func @main(%x: tensor<?x8xf32> {qtx.dims = ["a", ""]},
                %y: tensor<?x4xf32> {qtx.dims = ["b", ""]}) -> tensor<?x4xf32> {
  %w = arith.constant dense<0.5> : tensor<4x8xf32>
  %z = qtx.linear %x, %w bias(%y)
      : (tensor<?x8xf32>, tensor<4x8xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  return %z : tensor<?x4xf32>
}""",
    "keys": """
func.func @main(%q: tensor<1x2x3x8xf32>, %k: tensor<1x2x?x8xf32> {qtx.dims = ["", "", "a", ""]},
                %v: tensor<1x2x?x8xf32> {qtx.dims = ["", "", "b", ""]}) -> tensor<1x2x3x8xf32> {
  %y = qtx.attention %q, %k, %v scale 0.5
      : (tensor<1x2x3x8xf32>, tensor<1x2x?x8xf32>, tensor<1x2x?x8xf32>) -> tensor<1x2x3x8xf32>
  return %y : tensor<1x2x3x8xf32>
}""",
    "mask": """
func.func @main(%q: tensor<?x2x3x8xf32> {qtx.dims = ["a", "", "", ""]},
                %m: tensor<?x1x1x3xf32> {qtx.dims = ["b", "", "", ""]}) -> tensor<?x2x3x8xf32> {
  %y = qtx.attention %q, %q, %q mask(%m) scale 0.5
      : (tensor<?x2x3x8xf32>, tensor<?x2x3x8xf32>, tensor<?x2x3x8xf32>, tensor<?x1x1x3xf32>)
      -> tensor<?x2x3x8xf32>
  return %y : tensor<?x2x3x8xf32>
}""",
    "parameters": """
func.func @main(%x: tensor<?x4xi8> {qtx.dims = ["a", ""]},
                %s: tensor<?x1xf32> {qtx.dims = ["b", ""]}) -> tensor<?x4xf32> {
  %y = qtx.dequantize %x scale(%s : tensor<?x1xf32>) as !qtx.grouped<i8:f32, axis=-1, [4], ?>
      : tensor<?x4xi8> -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}""",
    "elementwise": """
func.func @main(%x: tensor<?xf32> {qtx.dims = ["a"]}, %y: tensor<?xf32> {qtx.dims = ["b"]})
    -> tensor<?xf32> {
  %s = arith.mulf %x, %y : tensor<?xf32>
  return %s : tensor<?xf32>
}""",
}


def make_arrays(signature, dims):
    """Ones for each input of the signature."""
    names = [dim["name"] for dim in signature["dims"]]
    return [
        np.ones([dims[names.index(n)] if isinstance(n, str) else n for n in value["shape"]],
                objects.DTYPES[value["element"]]) for value in signature["inputs"]
    ]


@pytest.mark.parametrize("options", [(), ("--reference",)], ids=["fast", "reference"])
@pytest.mark.parametrize("name", SAME_SIZES)
def test_sizes_that_do_not_agree(name, options, tmp_path):
    """Objects refuse them before they touch a buffer; both ways to run IR say what they found."""
    text = SAME_SIZES[name]
    model = objects.Library(text, tmp_path, *options)
    program = objects.Program(text, model.signature, tmp_path, options=options)
    for size in (1, 6):
        assert program.run(make_arrays(model.signature, (size, size)), (size, size))[0] == OK
    reference = qtx.compile_ir(text, fast=not options)
    for dims in [(6, 1), (1, 6), (4096, 4097)]:
        check_refused(model, dims)
        with pytest.raises(qtx.RunError, match=f"expected sizes that agree, found {dims[0]} and {dims[1]}"):
            reference.run("main", *make_arrays(model.signature, dims))


@pytest.mark.parametrize(
    "dims", [(0, 1), (1, 0), (-1, 1), (1, -1), (2**20 + 1, 1), (1, 2**20 + 1), (2**62, 4),
             (-2**63, 1), (2**63 - 1, 1), (2**20, 2**12), (2**16, 2**15 + 1), (-1, -1)])
def test_sizes_out_of_range(library, dims):
    check_refused(library(QUANTIZED), dims)


def test_largest_sizes(library):
    """The workspace of the largest dims is computed without overflow."""
    model = library(QUANTIZED)
    status, size = model.workspace_size((2**20, 2**11))
    assert status == OK and 0 <= size < 2**40
    assert model.output_shape(0, (2**20, 2**11)) == (OK, (2**20, 2**11, 4))


def test_max_sizes(library):
    model = library(LIMITED)
    assert {dim["name"]: dim["max"] for dim in model.signature["dims"]}["sequence"] == 62
    assert model.run([normal(2, 62)], (2, 62))[0] == OK
    check_refused(model, (2, 63))


def test_slice_longer_than_its_table(library):
    model = library(EMBEDDING)
    assert model.run([np.zeros(6, np.int64), normal(8, 4)], (6,))[0] == OK
    check_refused(model, (7,))


def test_ids(library):
    model = library(EMBEDDING)
    table = normal(8, 4)
    for bad in (8, -9, 2**31, 2**32, -2**63, 2**63 - 1):
        for at in (0, 5):
            ids = np.arange(6)
            ids[at] = bad
            assert model.run([ids, table], (6,))[0] == INDEX_OUT_OF_RANGE
    _, negative = model.run([np.arange(6) - 8, table], (6,))
    _, positive = model.run([np.arange(6), table], (6,))
    np.testing.assert_array_equal(negative[0], positive[0])


def test_output_index(library):
    model = library(TYPES)
    for index in (-1, 6, 2**31 - 1, -2**31):
        assert model.output_shape(index, (1, 1))[0] == INDEX_OUT_OF_RANGE
    assert model.output_shape(5, (1, 1)) == (OK, ())


def test_workspace_too_small(library):
    model = library(MLP)
    inputs, dims = [normal(9, 16)], (9,)
    outputs = model.make_outputs(dims)
    status, size = model.workspace_size(dims)
    assert status == OK
    workspace = ctypes.create_string_buffer(size)
    for smaller in (0, 1, size - 1):
        assert model.run_raw(inputs + outputs, dims, workspace, smaller) == WORKSPACE_TOO_SMALL
        assert not outputs[0].any()
    assert model.run_raw(inputs + outputs, dims, workspace, size) == OK


@pytest.mark.parametrize("options", [(), ("--reference",)], ids=["fast", "reference"])
def test_symbols(case, options, tmp_path):
    """An object defines the six documented symbols and needs nothing of qtx."""
    path = objects.compile_model(case[0], tmp_path / "model.o", *options)
    listing = objects.run(objects.NM, "--extern-only", "-P", path).splitlines()
    kinds = {line.split()[0]: line.split()[1] for line in listing}
    defined = {name for name, kind in kinds.items() if kind != "U"}
    assert defined == {"m_run", "m_output_shape", "m_workspace_size", "m_signature",
                       "m_abi_version", "m_code_version"}
    assert set(kinds) - defined <= {"memcpy", "memmove", "memset"}


# Names that C, C++, the header itself or libc's macros take.
NAMES = ["int", "class", "NULL", "dims", "workspace", "1", "a b", "*/", "template", "size_t",
         "int32_t", "_run", "__LINE__", "a.b", "a_b", "bool", "dims_2", "a__b", "SIZE_MAX", "and", "uint8_t"]


@pytest.mark.parametrize("options", [["-xc", "-std=c11"], ["-xc", "-std=c23"],
                                     ["-xc++", "-std=c++17"], ["-xc++", "-std=c++23"]],
                         ids=lambda o: o[1])
def test_header(options, tmp_path):
    arguments = ", ".join(
        f'%x{i}: tensor<?xf32> {{qtx.name = "{name}", qtx.dims = ["*/ {i} \\\\"]}}' for i, name in enumerate(NAMES))
    objects.compile_model(
        f"func.func @main({arguments}) -> tensor<?xf32> {{\n  return %x0 : tensor<?xf32>\n}}",
        tmp_path / "odd.o")
    source = tmp_path / "source"
    source.write_text('#include "odd.h"\n#include "odd.h"\nint main(void) { return m_ok; }\n')
    objects.run(objects.CLANG, *options, *objects.WARNINGS, "-fsyntax-only", source)


def test_failure_leaves_no_file(tmp_path):
    bad = "func.func @main(%x: tensor<2xf32>) -> tensor<2xf32> { return %y : tensor<2xf32> }"
    (tmp_path / "bad.mlir").write_text(bad)
    for name in ("m.o", "m.so", "m.s", "m.h"):
        done = subprocess.run(
            [objects.QTXC, tmp_path / "bad.mlir", "-o", tmp_path / name, "--quiet"],
            capture_output=True, text=True, timeout=60)
        assert done.returncode == 1 and "error:" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["bad.mlir"]


@pytest.mark.skipif(not shutil.which("qemu-x86_64"), reason="qemu-x86_64 is not there")
@pytest.mark.parametrize("cpu, runs_on", [("x86-64-v3", {"Haswell", "max"}), ("x86-64-v4", set())])
def test_cpu_check(cpu, runs_on, tmp_path):
    """An object says that the CPU lacks a feature, instead of dying of it."""
    options = ("-mtriple=x86_64-linux-gnu", f"-mcpu={cpu}")
    text, make_inputs, _ = CASES["mlp"]
    signature = objects.Library(text, tmp_path).signature
    inputs = make_inputs(5)
    for machine in ("Nehalem", "SandyBridge", "Haswell", "max"):
        program = objects.Program(text, signature, tmp_path, options=options,
                                  emulator=("qemu-x86_64", "-cpu", machine))
        status, found = program.run(inputs, (5,))
        assert status == (OK if machine in runs_on else MISSING_CPU_FEATURE), machine
        if machine in runs_on:
            check_results(found, run_reference(qtx.compile_ir(text), inputs))


@pytest.mark.skipif(not shutil.which("qemu-aarch64") or not shutil.which("aarch64-linux-gnu-gcc"),
                    reason="qemu-aarch64 or its compiler is not there")
@pytest.mark.parametrize("name", ["types", "quantized", "mlp"])
def test_aarch64(name, tmp_path):
    text, make_inputs, all_dims = CASES[name]
    signature = objects.Library(text, tmp_path).signature
    program = objects.Program(text, signature, tmp_path,
                              compiler=("aarch64-linux-gnu-gcc", "-static"),
                              options=("-mtriple=aarch64-linux-gnu",), emulator=("qemu-aarch64",))
    reference = qtx.compile_ir(text)
    for dims in all_dims[:3]:
        inputs = make_inputs(*dims)
        status, found = program.run(inputs, dims)
        assert status == OK
        check_results(found, run_reference(reference, inputs))
