# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What the package accepts, refuses and returns, whatever the operations are."""

import concurrent.futures
import functools

import numpy as np
import pytest
import qtx

ELEMENTS = {
    "f16": np.float16, "f32": np.float32, "f64": np.float64, "i1": np.bool_, "i4": np.int8,
    "i8": np.int8, "i16": np.int16, "i32": np.int32, "i64": np.int64, "index": np.int64,
}


@functools.lru_cache(maxsize=None)
def compile_cached(text):
    return qtx.compile_ir(text)


def edge_values(element):
    dtype = ELEMENTS[element]
    if element == "i1":
        return np.array([True, False, True])
    if element == "i4":
        return np.arange(-8, 8, dtype=np.int8)
    if np.issubdtype(dtype, np.integer):
        info = np.iinfo(dtype)
        return np.array([info.min, -1, 0, 1, info.max], dtype)
    return np.array([0.5, -0.0, np.inf, np.nan, np.finfo(dtype).max], dtype)


@pytest.mark.parametrize("element", ELEMENTS)
def test_elements(element):
    """Arguments, constants and numbers of every element type come back unchanged."""
    values = edge_values(element)
    module = qtx.compile_ir(f"""
      func.func @same(%x: tensor<?x{element}>, %n: {element})
          -> (tensor<?x{element}>, {element}, tensor<?x{element}>) {{
        return %x, %n, %x : tensor<?x{element}>, {element}, tensor<?x{element}>
      }}
      func.func @number(%n: {element}) -> {element} {{ return %n : {element} }}""")
    x, n, twice = module.run("same", values, values[0])
    for result in (x, twice):
        assert result.dtype == values.dtype
        np.testing.assert_array_equal(result, values)
    assert n.shape == () and n.dtype == values.dtype and n == values[0]
    for value in values:
        np.testing.assert_array_equal(module.run("number", value)[0], value)


def test_constants_are_copied():
    module = qtx.compile_ir("""
      func.func @main() -> (tensor<4xi4>, tensor<2xf32>) {
        %a = arith.constant dense<[-8, 7, -1, 0]> : tensor<4xi4>
        %b = arith.constant dense<[1.5, -2.5]> : tensor<2xf32>
        return %a, %b : tensor<4xi4>, tensor<2xf32>
      }""")
    for _ in range(3):
        a, b = module.run("main")
        np.testing.assert_array_equal(a, [-8, 7, -1, 0])
        np.testing.assert_array_equal(b, [1.5, -2.5])
        a[:], b[:] = 0, 0


def test_arguments_are_not_written():
    module = qtx.compile_ir("""
      func.func @insert(%x: tensor<4xf32>, %i: index) -> tensor<4xf32> {
        %c = arith.constant 5.0 : f32
        %y = tensor.insert %c into %x[%i] : tensor<4xf32>
        return %y : tensor<4xf32>
      }
      func.func @call(%x: tensor<4xf32>, %i: index) -> tensor<4xf32> {
        %y = func.call @insert(%x, %i) : (tensor<4xf32>, index) -> tensor<4xf32>
        return %y : tensor<4xf32>
      }""")
    x = np.arange(4, dtype=np.float32)
    x.flags.writeable = False
    for name in ("insert", "call"):
        np.testing.assert_array_equal(module.run(name, x, 2)[0], [0, 1, 5, 3])
    np.testing.assert_array_equal(x, [0, 1, 2, 3])


def test_strided_results():
    module = qtx.compile_ir("""
      func.func @main(%x: tensor<?x4xi8>, %y: tensor<2x2xi8>)
          -> (tensor<?x2xi8>, tensor<?x4xi8>, tensor<?xi8>) {
        %c0 = arith.constant 0 : index
        %n = tensor.dim %x, %c0 : tensor<?x4xi8>
        %s = tensor.extract_slice %x[0, 1] [%n, 2] [1, 2] : tensor<?x4xi8> to tensor<?x2xi8>
        %i = tensor.insert_slice %y into %x[1, 1] [2, 2] [1, 1]
            : tensor<2x2xi8> into tensor<?x4xi8>
        %c = tensor.collapse_shape %x [[0, 1]] : tensor<?x4xi8> into tensor<?xi8>
        return %s, %i, %c : tensor<?x2xi8>, tensor<?x4xi8>, tensor<?xi8>
      }""")
    x = np.arange(12, dtype=np.int8).reshape(3, 4)
    y = np.array([[-1, -2], [-3, -4]], np.int8)
    inserted = x.copy()
    inserted[1:3, 1:3] = y
    results = module.run("main", x, y)
    for result, expected in zip(results, (x[:, 1:4:2], inserted, x.ravel())):
        np.testing.assert_array_equal(result, expected)


def test_layouts_of_arguments():
    module = compile_cached("""
      func.func @main(%x: tensor<?x?xi32>) -> tensor<?x?xi32> { return %x : tensor<?x?xi32> }""")
    x = np.arange(12, dtype=np.int32).reshape(3, 4)
    unaligned = np.frombuffer(b"\0" + x.tobytes(), np.int32, offset=1).reshape(3, 4)
    variants = [x, x.T, x[::2, ::-1], np.asfortranarray(x), unaligned, x.astype(">i4"),
                np.broadcast_to(x[0], (5, 4)), x.astype(np.uint8), x.astype(np.int64), x.tolist()]
    for variant in variants:
        np.testing.assert_array_equal(module.run("main", variant)[0], variant)


@pytest.mark.parametrize("shape", [(0, 4), (4, 0), (0, 0)])
def test_empty(shape):
    module = compile_cached("""
      func.func @main(%x: tensor<?x?xf32>) -> (tensor<?x?xf32>, tensor<?x?xi8>) {
        %y = arith.addf %x, %x : tensor<?x?xf32>
        %q = qtx.quantize %x to !quant.uniform<i8:f32, 0.5> : tensor<?x?xf32> -> tensor<?x?xi8>
        return %y, %q : tensor<?x?xf32>, tensor<?x?xi8>
      }""")
    y, q = module.run("main", np.zeros(shape, np.float32))
    assert y.shape == shape and q.shape == shape


@pytest.mark.parametrize("name", ["malloc", "free", "memcpy", "_mlir_f", "_mlir_ciface_main", "a b"])
def test_names_of_functions(name):
    """A function may be called as one of the C library or of the lowering."""
    module = qtx.compile_ir(f"""
      func.func @"{name}"(%x: tensor<?xf32>) -> tensor<?xf32> {{
        return %x : tensor<?xf32>
      }}
      func.func @main(%x: tensor<?xf32>) -> (tensor<?xf32>, tensor<?xf32>) {{
        %y = func.call @"{name}"(%x) : (tensor<?xf32>) -> tensor<?xf32>
        return %x, %y : tensor<?xf32>, tensor<?xf32>
      }}""")
    x = np.arange(3, dtype=np.float32)
    for result in (*module.run(name, x), *module.run("main", x)):
        np.testing.assert_array_equal(result, x)


def test_no_results_and_no_functions():
    module = qtx.compile_ir("func.func @main(%x: tensor<f32>) { return }")
    assert module.run("main", np.float32(1)) == ()
    assert qtx.compile_ir("").function_names == ()


def test_signature():
    module = qtx.compile_ir("""
      !g = !qtx.grouped<i8:f32, axis=-1, [6, 2], {0.02:3, 0.5}>
      func.func @main(%x: tensor<?x8x!g> {qtx.name = "codes"}, %n: i64)
          -> (tensor<?x8xf32> {qtx.name = "values"}) {
        %y = qtx.dequantize %x : tensor<?x8x!g> -> tensor<?x8xf32>
        return %y : tensor<?x8xf32>
      }
      func.func private @helper() { return }""")
    assert module.function_names == ("main",)
    signature = module.function("main")
    assert list(map(str, signature.inputs)) == ["codes: ?x8xi8", "arg1: i64"]
    assert list(map(str, signature.outputs)) == ["values: ?x8xf32"]


@pytest.mark.parametrize("width, dtype", [(4, np.uint8), (8, np.uint8), (16, np.uint16)])
def test_unsigned_storage(width, dtype):
    type_ = f"tensor<?x!quant.uniform<u{width}:f32, 1.0:1>>"
    module = qtx.compile_ir(f"""
      func.func @main(%x: {type_}) -> ({type_}, tensor<?xf32>) {{
        %y = qtx.dequantize %x : {type_} -> tensor<?xf32>
        return %x, %y : {type_}, tensor<?xf32>
      }}""")
    codes = np.array([0, 1, 2**width - 1], dtype)
    same, values = module.run("main", codes)
    assert same.dtype == dtype
    np.testing.assert_array_equal(same, codes)
    np.testing.assert_array_equal(values, codes.astype(np.float32) - 1)


IDENTITY = """
  func.func @f(%a: tensor<?x3xf32>, %b: tensor<2xi4>, %c: i1) -> tensor<?x3xf32> {
    return %a : tensor<?x3xf32>
  }
  func.func private @hidden() { return }"""
A, B, C = np.zeros((2, 3), np.float32), np.zeros(2, np.int8), True


@pytest.mark.parametrize("arguments, message", [
    (("f", A, B), "function 'f': expected 3 arguments, found 2"),
    (("f", A[0], B, C), "function 'f', argument 0 ('arg0'): expected ?x3xf32, found 3xf32"),
    (("f", A[:, :2], B, C), "function 'f', argument 0 ('arg0'): expected ?x3xf32, found 2x2xf32"),
    (("f", A, B[:1], C), "function 'f', argument 1 ('arg1'): expected 2xi4, found 1xi4"),
    (("f", A, B, [C]), "function 'f', argument 2 ('arg2'): expected i1, found 1xi1"),
    (("f", A.astype(np.float64), B, C), "'arg0': expected an array of float32, found float64"),
    (("f", A.astype(np.int32), B, C), "'arg0': expected an array of float32, found int32"),
    (("f", A.astype(object), B, C), "'arg0': expected an array of float32, found object"),
    (("f", A, B + np.int8(8), C), "'arg1': values out of the range of i4"),
    (("f", A, B, 2), "'arg2': values out of the range of i1"),
    (("f", A, B.astype(np.float32), C), "'arg1': expected an array of int8, found float32"),
    (("hidden",), "no public function 'hidden'"),
    (("missing",), "no public function 'missing'"),
])
def test_bad_calls(arguments, message):
    with pytest.raises(qtx.RunError) as error:
        compile_cached(IDENTITY).run(*arguments)
    assert str(error.value) == "error: " + message


@pytest.mark.parametrize("text, message", [
    ("func.func @f(", "model:1:13: expected"),
    ("func.func private @f()", "function 'f' has no body"),
    ("func.func @f() { llvm.fence acquire }", "model:1:"),
    ("\0}", "model:1:"),
    ("""func.func @f(%x: tensor<2xf32>) -> tensor<2xi8> {
          %q = qtx.quantize %x to !quant.uniform<i8:f32, 0.5:300> : tensor<2xf32> -> tensor<2xi8>
          return %q : tensor<2xi8>
        }""", "model:2:16: 'qtx.quantize' op zero point 300"),
])
def test_bad_ir(text, message):
    with pytest.raises(qtx.CompileError) as error:
        qtx.compile_ir(text, name="model")
    assert message in str(error.value)
    assert error.value.diagnostics[0].severity == "error"


def test_no_text():
    with pytest.raises(TypeError, match="^expected IR as text, found int$"):
        qtx.compile_ir(5)
    with pytest.raises(TypeError, match="^expected IR as text, found NoneType$"):
        qtx.run_passes(None, "builtin.module()")


@pytest.mark.parametrize("type_", ["tensor<*xf32>", "memref<2xf32>", "tensor<2xcomplex<f32>>"])
def test_unsupported_arguments(type_):
    module = qtx.compile_ir(f"func.func @f(%x: {type_}) {{ return }}")
    with pytest.raises(qtx.RunError, match="argument 0 has type .*expected a ranked tensor"):
        module.run("f", A)


def test_sizes_that_do_not_agree():
    """Found before memory outside of a tensor is touched; the next call is sound."""
    module = qtx.compile_ir("""
      func.func @main(%x: tensor<?x4xf32>, %y: tensor<?x4xf32>, %z: tensor<?x4xf32>)
          -> tensor<?x4xf32> {
        %a = arith.addf %x, %y : tensor<?x4xf32>
        %b = arith.mulf %a, %z : tensor<?x4xf32>
        return %b : tensor<?x4xf32>
      }""", name="model")
    small, large = np.ones((2, 4), np.float32), np.ones((1000000, 4), np.float32)
    for arguments, line, sizes in [
        ((large, small, large), 4, "1000000 and 2"),
        ((small, large, small), 4, "2 and 1000000"),
        ((large, large, small), 5, "1000000 and 2"),
        ((large, large, small[:0]), 5, "1000000 and 0"),
    ]:
        with pytest.raises(qtx.RunError) as error:
            module.run("main", *arguments)
        assert str(error.value) == (
            f"error: function 'main': model:{line}:14: expected sizes that agree, found {sizes}")
        np.testing.assert_array_equal(module.run("main", small, small, small)[0], 2 * small)


def test_sizes_of_operations():
    module = qtx.compile_ir("""
      func.func @main(%x: tensor<?x4xi8>, %s: tensor<?x2xf32>) -> tensor<?x4xf32> {
        %y = qtx.dequantize %x scale(%s : tensor<?x2xf32>) as !qtx.grouped<i8:f32, axis=-1, [2, 2], ?>
            : tensor<?x4xi8> -> tensor<?x4xf32>
        return %y : tensor<?x4xf32>
      }""")
    x = np.ones((3, 4), np.int8)
    assert module.run("main", x, np.ones((3, 2), np.float32))[0].shape == (3, 4)
    with pytest.raises(qtx.RunError, match="found 3 and 2"):
        module.run("main", x, np.ones((2, 2), np.float32))


def test_assertions():
    module = qtx.compile_ir("""
      func.func @main(%x: i32) -> i32 {
        %c7 = arith.constant 7 : i32
        %small = arith.cmpi slt, %x, %c7 : i32
        cf.assert %small, "expected a number below 7"
        return %x : i32
      }""", name="model")
    assert module.run("main", 6) == (6,)
    with pytest.raises(qtx.RunError, match="model:5:9: expected a number below 7"):
        module.run("main", 7)


def test_loops():
    """Every iteration of a loop carries on with the tensor of the one before."""
    module = qtx.compile_ir("""
      func.func @counted(%x: tensor<?xf32>, %n: index) -> tensor<?xf32> {
        %c0 = arith.constant 0 : index
        %c1 = arith.constant 1 : index
        %y = scf.for %i = %c0 to %n step %c1 iter_args(%a = %x) -> tensor<?xf32> {
          %s = qtx.add %a, %x : (tensor<?xf32>, tensor<?xf32>) -> tensor<?xf32>
          scf.yield %s : tensor<?xf32>
        }
        return %y : tensor<?xf32>
      }
      func.func @conditional(%x: tensor<?xf32>, %n: index) -> tensor<?xf32> {
        %c0 = arith.constant 0 : index
        %c1 = arith.constant 1 : index
        %y:2 = scf.while (%a = %x, %i = %c0) : (tensor<?xf32>, index) -> (tensor<?xf32>, index) {
          %more = arith.cmpi slt, %i, %n : index
          scf.condition(%more) %a, %i : tensor<?xf32>, index
        } do {
        ^bb0(%a: tensor<?xf32>, %i: index):
          %s = qtx.add %a, %x : (tensor<?xf32>, tensor<?xf32>) -> tensor<?xf32>
          %next = arith.addi %i, %c1 : index
          scf.yield %s, %next : tensor<?xf32>, index
        }
        return %y#0 : tensor<?xf32>
      }""")
    x = np.array([1, -2, 3], np.float32)
    for function in ("counted", "conditional"):
        for n in (0, 1, 5):
            np.testing.assert_array_equal(module.run(function, x, np.int64(n))[0], (n + 1) * x)


def test_run_passes():
    text = qtx.run_passes("func.func @f() { %c = arith.constant 1 : i32 return }",
                          "builtin.module(canonicalize)")
    assert "arith.constant" not in text
    with pytest.raises(qtx.CompileError, match="no-such-pass"):
        qtx.run_passes("", "builtin.module(no-such-pass)")
    with pytest.raises(qtx.CompileError, match="expected a pipeline on builtin.module"):
        qtx.run_passes("", "func.func(canonicalize)")


def test_concurrent_calls():
    module = qtx.compile_ir("""
      func.func @main(%x: tensor<?xf32>) -> tensor<?xf32> {
        %y = arith.mulf %x, %x : tensor<?xf32>
        return %y : tensor<?xf32>
      }""")

    def call(n):
        x = np.full(1000 + n, n, np.float32)
        return np.array_equal(module.run("main", x)[0], x * x)

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert all(pool.map(call, range(100)))


def test_foreign_target():
    """The code is for the target of the module: that has to be some machine of this kind."""
    target = '#llvm.target<triple = "riscv64-unknown-linux-gnu", chip = "generic">'
    with pytest.raises(qtx.CompileError, match="expected a target of .*, found 'riscv64-unknown-linux-gnu'"):
        qtx.compile_ir(f"module attributes {{llvm.target = {target}}} {{ func.func @main() {{ return }} }}")
