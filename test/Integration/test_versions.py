# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Objects that hold several versions of the code and pick one."""

import os
import platform
import re
import shutil
import subprocess
import sys

import cpus
import emulation
import numpy as np
import objects
import pytest

pytestmark = pytest.mark.skipif(
    not objects.QTXC.exists() or not objects.CLANG.exists() or platform.machine() != "x86_64",
    reason="qtxc or clang is not there, or this is no x86-64")

RNG = np.random.default_rng(20271)
WEIGHT = RNG.integers(-127, 128, (256, 512)).astype(np.int8)
MULTI = ["avx2", "avxvnni", "avx512vnni", "amx-int8"]
NEEDS = ["avx2", "avx-vnni", "avx512", "amx"]

# Integers in, integers out: every version gives the same bits.
MODEL = f"""
func.func @main(%x: tensor<?x512xi8> {{qtx.name = "x", qtx.dims = ["rows", ""]}}) -> tensor<?x256xi8> {{
  %w = arith.constant dense<"0x{WEIGHT.tobytes().hex()}"> : tensor<256x512xi8>
  %s = arith.constant dense<0.001> : tensor<256xf32>
  %y = qtx.linear %x as !quant.uniform<i8:f32, 0.02:-3>, %w scale(%s) to !quant.uniform<i8:f32, 0.05>
      : (tensor<?x512xi8>, tensor<256x512xi8>, tensor<256xf32>) -> tensor<?x256xi8>
  return %y : tensor<?x256xi8>
}}
"""


def compute(x):
    # The sums are exact in float; so is the product with a scale, but for its last bits.
    real = (x.astype(np.float64) + 3) @ WEIGHT.T.astype(np.float64) * 0.02 * 0.001 / 0.05
    return np.clip(np.rint(real), -128, 127)


def check(found, x):
    """A code may be the neighbour of the one that exact numbers have, near a tie."""
    different = found != compute(x)
    assert np.abs(found - compute(x))[different].max(initial=0) <= 1 and different.mean() < 1e-3


def get_inputs():
    return [RNG.integers(-128, 128, (37, 512)).astype(np.int8)]


def get_best():
    """The number of the version that this machine runs."""
    return max([i for i, cpu in enumerate(NEEDS) if not cpus.missing(cpu)], default=-1)


@pytest.fixture(scope="module")
def multi(tmp_path_factory):
    return objects.Library(MODEL, tmp_path_factory.mktemp("multi"), "-mcpu=multi")


@pytest.mark.skipif(get_best() < 0, reason="the CPU has no AVX2")
def test_picks_the_best(multi):
    assert [version["name"] for version in multi.signature["versions"]] == MULTI
    # Permission for AMX may be refused here.
    assert multi.call("m_code_version") in {get_best(), min(get_best(), 2)}
    inputs = get_inputs()
    status, found = multi.run(inputs, (37,))
    assert status == objects.OK
    check(found[0], inputs[0])


@pytest.mark.skipif(get_best() < 0, reason="the CPU has no AVX2")
def test_threads(multi, tmp_path):
    """Every version is threaded, and gives the bits of one thread."""
    library = objects.Library(MODEL, tmp_path, "-mcpu=multi", "--threads=2")
    assert library.signature["threads"] == 2
    assert [version["name"] for version in library.signature["versions"]] == MULTI
    undefined = objects.run(objects.NM, "--undefined-only", "-D", tmp_path / "library.so")
    assert "__kmpc_fork_call" in undefined
    # Enough rows for both threads.
    inputs = [RNG.integers(-128, 128, (300, 512)).astype(np.int8)]
    status, found = library.run(inputs, (300,))
    assert status == objects.OK
    np.testing.assert_array_equal(found[0], multi.run(inputs, (300,))[1][0])


@pytest.mark.skipif(get_best() < 0, reason="the CPU has no AVX2")
def test_verify_says_which_version_ran(tmp_path):
    (tmp_path / "m.mlir").write_text(MODEL)
    done = subprocess.run(
        [objects.QTXC, "m.mlir", "-o", "m.o", "-mcpu=multi", "--recipe=none", "--verify"],
        cwd=tmp_path, capture_output=True, text=True, check=True, timeout=300)
    said = re.findall(r"verify: running the code for (\S+), which this machine chooses of 4 "
                      "versions: the others are not verified", done.stderr)
    # Permission for AMX may be refused here.
    assert said in ([MULTI[get_best()]], [MULTI[min(get_best(), 2)]])


@pytest.mark.skipif(not shutil.which("qemu-x86_64"), reason="qemu-x86_64 is not there")
def test_picks_what_runs(multi, tmp_path):
    """The same object on lesser CPUs; the last one refuses."""
    inputs = get_inputs()
    for machine, status in [("max", objects.OK), ("Haswell", objects.OK),
                            ("Nehalem", objects.MISSING_CPU_FEATURE)]:
        program = objects.Program(MODEL, multi.signature, tmp_path, options=("-mcpu=multi",),
                                  emulator=("qemu-x86_64", "-cpu", machine))
        found_status, found = program.run(inputs, (37,))
        assert found_status == status
        if status == objects.OK:
            check(found[0], inputs[0])


@pytest.mark.skipif(get_best() < 0, reason="the CPU has no AVX2")
def test_versions_agree(multi, tmp_path):
    inputs = get_inputs()
    _, expected = multi.run(inputs, (37,))
    for i, features in enumerate(["x86-64-v3", "x86-64-v3 -mattr=+avxvnni",
                                  "x86-64-v4 -mattr=+avx512vnni"]):
        if cpus.missing(NEEDS[i]):
            continue
        folder = tmp_path / str(i)
        folder.mkdir()
        library = objects.Library(MODEL, folder, *f"-mcpu={features}".split())
        np.testing.assert_array_equal(library.run(inputs, (37,))[1][0], expected[0])


# Calls a library from a process of its own: the version that it picks, what it computes.
CALL = """
import ctypes, sys
library = ctypes.CDLL(sys.argv[1])
rows = 37
x, y = (ctypes.c_int8 * (512 * rows)), (ctypes.c_int8 * (256 * rows))()
x = x.from_buffer_copy(open(sys.argv[2], "rb").read())
workspace, dims = ctypes.create_string_buffer(1 << 20), (ctypes.c_int64 * 1)(rows)
for _ in range(2):
    status = library.m_run(x, y, dims, workspace, ctypes.c_size_t(1 << 20))
print(library.m_code_version(), status, *y)
"""
# Linux does not let a process use AMX while the signal stack of one of its threads is too
# small for the registers.
SMALL_STACK = """
import ctypes
class Stack(ctypes.Structure):
    _fields_ = [("sp", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t)]
memory = ctypes.create_string_buffer(8192)
stack = Stack(ctypes.addressof(memory), 0, 4096)
assert ctypes.CDLL(None).sigaltstack(ctypes.byref(stack), None) == 0
"""


def call_library(library, folder, program=CALL, **variables):
    """The number of the version, and what the emulator counted."""
    (x,) = get_inputs()
    (folder / "x").write_bytes(x.tobytes())
    done = subprocess.run([sys.executable, "-c", program, library, folder / "x"],
                          env={**os.environ, **variables}, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    version, status, *found = map(int, done.stdout.split())
    assert status == objects.OK
    check(np.array(found).reshape(37, 256), x)
    return version, emulation.read_counts(done.stderr)


@pytest.mark.skipif(get_best() < 3, reason="the CPU has no AMX")
@pytest.mark.parametrize("cpu, versions", [("multi", MULTI), ("sapphirerapids", MULTI[2:])])
def test_refused_permission(cpu, versions, tmp_path):
    """The next version runs where the kernel refuses AMX."""
    library = objects.compile_model(MODEL, tmp_path / "library.so", f"-mcpu={cpu}")
    version, _ = call_library(library, tmp_path, SMALL_STACK + CALL)
    assert versions[version] == "avx512vnni"


NO_AVX512 = ["-avx512f", "-avx512vnni", "-amx-tile", "-amx-int8"]
# What the CPU has more or less than this one, and what the kernel says.
MACHINES = [
    ("avx2", ["-avxvnni", *NO_AVX512], "granted", "avx2"),
    ("avx2", ["avxvnni", *NO_AVX512], "granted", "avxvnni"),
    ("avx512", ["-amx-tile", "-amx-int8"], "granted", "avx512vnni"),
    ("avx512", ["amx-tile", "amx-int8"], "granted", "amx-int8"),
    ("avx512", ["amx-tile", "amx-int8"], "refused", "avx512vnni"),
]


@pytest.fixture(scope="module")
def asking_emulator(tmp_path_factory):
    """The object for all CPUs, which asks the emulator."""
    path = tmp_path_factory.mktemp("emulated") / "library.so"
    objects.compile_model(MODEL, path, "-mcpu=multi")
    assert emulation.redirect_questions(path) == {"cpuid", "xgetbv", "syscall"}
    return path


@pytest.mark.skipif(bool(os.environ.get("LD_PRELOAD")), reason="another library comes first")
@pytest.mark.parametrize("host, features, permission, version", MACHINES,
                         ids=lambda value: value if isinstance(value, str) else "")
def test_every_version(asking_emulator, emulator, tmp_path, host, features, permission, version):
    """Each CPU runs its version, in software where this one cannot, and asks once for AMX."""
    if cpus.missing(host):
        pytest.skip(f"no {cpus.missing(host)}")
    variables = emulation.variables(emulator, features, permission)
    found, counts = call_library(asking_emulator, tmp_path, **variables)
    assert MULTI[found] == version
    assert counts["questions"] == ("amx-int8" in features)
    assert (counts["tiles"] > 0) == (version == "amx-int8")


def test_weights_are_stored_once(tmp_path):
    """Code with AMX and the code that stands in for it share their weights."""
    path = objects.compile_model(MODEL, tmp_path / "model.o", "-mcpu=sapphirerapids")
    assert path.stat().st_size < 1.9 * WEIGHT.nbytes


def test_float_models_need_no_integer_versions(tmp_path):
    text = """
func.func @main(%x: tensor<?x64xf32> {qtx.dims = ["rows", ""]}) -> tensor<?x64xf32> {
  %w = arith.constant dense<0.5> : tensor<64x64xf32>
  %y = qtx.linear %x, %w : (tensor<?x64xf32>, tensor<64x64xf32>) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}"""
    signature = objects.Library(text, tmp_path, "-mcpu=multi").signature
    assert [version["name"] for version in signature["versions"]] == ["avx2", "avx512vnni"]
