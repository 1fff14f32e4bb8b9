# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Objects under the thread sanitizer, which sees the accesses of the model itself.

It looks at accesses of up to 16 bytes, so vectors are taken apart before. Each case has a
mistake beside it that has to be found.
"""

import re
import subprocess

import cpus
import numpy as np
import objects
import pytest
from encoder import Encoder
from objects import OK
from test_threads import RACE, THREADS, make_linear_inputs

LLVM = objects.CLANG.parents[1]
pytestmark = pytest.mark.skipif(not objects.QTXC.exists() or not objects.CLANG.exists(),
                                reason="qtxc or clang is not there")

# Linears, attention, and rows in between, on bytes. So much is worth several threads.
ENCODER = Encoder(layers=1, hidden=96, heads=3, intermediate=144)

# Threads share these rows in whole tiles otherwise than one by one.
TEXTS, TOKENS = 6, 29


def make_encoder_inputs():
    rng = np.random.default_rng(1)
    shape = TEXTS, TOKENS
    ids, types = rng.integers(0, ENCODER.vocabulary, shape), rng.integers(0, 2, shape)
    return [ids, np.int64(np.arange(TOKENS) < [[TOKENS], [5], [17], [28], [1], [9]]), types]


MODELS = {
    "floats": (RACE, make_linear_inputs(100), (100,)),
    "encoder": (ENCODER.quantized_ir(), make_encoder_inputs(), (TEXTS, TOKENS)),
}


def instrument(path, *options, edit=lambda text: text):
    """Compiles the model of an object again, with calls of the sanitizer."""
    code = objects.compile_model(path.with_suffix(".mlir").read_text(), path.with_suffix(".ll"), *options)
    scalar = objects.run(LLVM / "bin" / "opt", "-S", code, "-o", "-",
                         "-passes=scalarizer<load-store>,scalarize-masked-mem-intrin")
    text = re.sub(r"^(define [^#\n]*) {$", r"\1 sanitize_thread {", edit(scalar), flags=re.MULTILINE)
    code.write_text(re.sub(r"^attributes (#\d+) = {", r"attributes \1 = { sanitize_thread", text,
                           flags=re.MULTILINE))
    # Functions of several versions say what they are for themselves.
    machine = [option.replace("-mcpu", "-march") for option in options
               if option.startswith("-mcpu=") and option != "-mcpu=multi"]
    objects.run(objects.CLANG, "-O1", "-g0", "-fsanitize=thread", "-Wno-override-module", "-fPIC",
                *machine, "-c", code, "-o", path)


def make_program(text, folder, *options, flags=()):
    return objects.Program(text, None, folder, options=options, flags=("-fsanitize=thread", *flags),
                           change=lambda path: instrument(path, *options))


@pytest.mark.parametrize("name", MODELS)
def test_callers(name, tmp_path):
    """Callers of an object of one thread share the inputs alone; or a workspace as well."""
    text, inputs, dims = MODELS[name]
    program = make_program(text, tmp_path, "-mcpu=x86-64-v3")
    status, _ = program.run(inputs, dims, threads=3)
    assert status == OK
    assert "data race" in program.start(inputs, dims, threads=-3).stderr


def without_atomics(text):
    changed = re.sub(r"(load|store) atomic (.*?) (?:monotonic|acquire|release|unordered)", r"\1 \2", text)
    assert changed != text
    return changed


# The first calls of two threads: no other function has been called, which would find the
# version before.
FIRST_CALLS = """
#include "model.h"
#include <pthread.h>

static void *call(void *version) {
  *(int32_t *)version = m_code_version();
  return NULL;
}

int main(void) {
  int32_t versions[2];
  pthread_t threads[2];
  for (int i = 0; i < 2; ++i)
    pthread_create(&threads[i], NULL, call, &versions[i]);
  for (int i = 0; i < 2; ++i)
    pthread_join(threads[i], NULL);
  return versions[0] < 0 || versions[0] != versions[1];
}
"""


@pytest.mark.skipif(bool(cpus.missing("avx2")), reason="no AVX2")
@pytest.mark.parametrize("edit, races", [(lambda text: text, False), (without_atomics, True)],
                         ids=["atomic", "plain"])
def test_choice_of_version(edit, races, tmp_path):
    """Callers whose first calls meet find the same version."""
    path = objects.compile_model(RACE, tmp_path / "model.o", "-mcpu=multi")
    instrument(path, "-mcpu=multi", edit=edit)
    source, program = tmp_path / "program.c", tmp_path / "program"
    source.write_text(FIRST_CALLS)
    objects.run(objects.CLANG, "-std=c11", *objects.WARNINGS, "-fsanitize=thread", f"-I{tmp_path}", source,
                path, "-pthread", "-o", program)
    done = subprocess.run([program], capture_output=True, text=True, timeout=60)
    assert ("data race" in done.stderr) == races, done.stderr
    assert races or done.returncode == 0


@pytest.mark.parametrize("name", MODELS)
def test_openmp(name, tmp_path):
    """Archer explains OpenMP to the sanitizer."""
    if not (LLVM / "lib" / "libarcher.so").exists():
        pytest.skip("no libarcher")
    text, inputs, dims = MODELS[name]
    program = make_program(text, tmp_path, "-mcpu=x86-64-v3", f"--threads={THREADS}",
                           flags=("-fopenmp", f"-L{LLVM}/lib"))
    # Threads that spin while they wait are slow to look at.
    variables = {"LD_LIBRARY_PATH": str(LLVM / "lib"), "ARCHER_OPTIONS": "verbose=1",
                 "OMP_WAIT_POLICY": "passive", "TSAN_OPTIONS": "ignore_noninstrumented_modules=1"}
    done = program.start(inputs, dims, threads=2, **variables)
    assert "Archer detected OpenMP application" in done.stdout
    assert done.returncode == 0 and "data race" not in done.stderr, done.stderr
    assert "data race" in program.start(inputs, dims, threads=-2, **variables).stderr
