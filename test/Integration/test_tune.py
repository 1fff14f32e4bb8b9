# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""qtxc --tune: times layers once, keeps what it found, and uses it afterwards."""

import functools
import json
import os
import pathlib
import platform
import re
import shutil
import subprocess
import tempfile

import numpy as np
import objects
import pytest

import qtx

pytestmark = pytest.mark.skipif(not objects.QTXC.exists() or platform.machine() != "x86_64",
                                reason="qtxc is not there, or has no micro-kernels for this machine")

RNG = np.random.default_rng(5)
X = RNG.integers(-128, 128, (9, 64)).astype(np.int8)


def write_model(outputs=48):
    """Two layers of one shape, and one of floats."""
    x, y = "tensor<?x64xi8>", f"tensor<?x{outputs}xi8>"
    w, s = f"tensor<{outputs}x64xi8>", f"tensor<{outputs}xf32>"
    f, v = f"tensor<?x{outputs}xf32>", f"tensor<16x{outputs}xf32>"
    quant = "!quant.uniform<i8:f32, 0.02:3>"
    linear = (f"scale(%s) to !quant.uniform<i8:f32, 0.5> : ({x}, {w}, {s}) -> {y}")
    return f"""
func.func @main(%x: {x} {{qtx.name = "x", qtx.dims = ["n", ""]}})
    -> ({y} {{qtx.name = "a"}}, {y} {{qtx.name = "b"}}, tensor<?x16xf32> {{qtx.name = "c"}}) {{
  %w = arith.constant dense<3> : {w}
  %u = arith.constant dense<-2> : {w}
  %v = arith.constant dense<0.5> : {v}
  %s = arith.constant dense<0.01> : {s}
  %a = qtx.linear %x as {quant}, %w {linear}
  %b = qtx.linear %x as {quant}, %u {linear}
  %f = qtx.dequantize %a as !quant.uniform<i8:f32, 0.5> : {y} -> {f}
  %c = qtx.linear %f, %v : ({f}, {v}) -> tensor<?x16xf32>
  return %a, %b, %c : {y}, {y}, tensor<?x16xf32>
}}
"""


@pytest.fixture(name="model")
def fixture_model(tmp_path):
    path = tmp_path / "model.mlir"
    path.write_text(write_model())
    return path


@pytest.fixture(name="tuned", scope="module")
def fixture_tuned(tmp_path_factory):
    """What --tune keeps of the model."""
    folder = tmp_path_factory.mktemp("tune")
    (folder / "model.mlir").write_text(write_model())
    compile_model(folder / "model.mlir", f"--tune={folder}/tune.json")
    return (folder / "tune.json").read_text()


def compile_model(model, *options, env=None, **arguments):
    """The IR after configure, or what qtxc said."""
    done = subprocess.run(
        [objects.QTXC, model, "-o", "-", "--recipe=none", "--quiet", "--stop-after=configure",
         *(objects.ONE_VERSION if not any("-mtriple" in option for option in options) else []), *options],
        capture_output=True, text=True, check=False, env=env, **arguments)
    return done.stdout if done.returncode == 0 else done.stderr


def read_configs(ir):
    """Kernel, rows, vectors and block of each layer."""
    assert "qtx.config" in ir, ir
    found = re.findall(r'micro_kernel<"([^"]+)", rows = (\d+), vectors = (\d+), block = (\d+)>', ir)
    return [(kernel, *map(int, numbers)) for kernel, *numbers in found]


def read_entries(path):
    (entries,) = json.loads(path.read_text())["targets"].values()
    return entries


def test_finds_keeps_and_reuses(model, tmp_path):
    path = tmp_path / "new/tune.json"
    first = compile_model(model, f"--tune={path}")
    assert first.count("qtx.tuned") == 3
    entries = read_entries(path)
    # The two equal layers share one.
    assert sorted(key.split(",")[0] for key in entries) == ["?x48 to 16", "?x64 to 48"]
    for entry in entries.values():
        assert 0 < entry["microseconds"] <= entry["model_microseconds"] < 1e5
    configs = {tuple(entry[key] for key in ("kernel", "rows", "vectors", "block"))
               for entry in entries.values()}
    assert set(read_configs(first)) == configs
    content = path.read_bytes()
    assert compile_model(model, f"--tune={path}") == first
    assert path.read_bytes() == content


def test_edited_entry(model, tuned, tmp_path):
    """What the file says is taken, so nothing is timed where it says something."""
    path = tmp_path / "tune.json"
    path.write_text(tuned)
    assert all(entry["rows"] != 2 for entry in read_entries(path).values())
    document = json.loads(path.read_text())
    for entries in document["targets"].values():
        for entry in entries.values():
            entry |= {"rows": 2, "vectors": 1, "block": 6}
    path.write_text(json.dumps(document))
    edited = path.read_bytes()
    configs = read_configs(compile_model(model, f"--tune={path}"))
    assert [config[1:] for config in configs] == [(2, 1, 6)] * 3
    assert path.read_bytes() == edited


def test_other_layers_and_threads_are_added(model, tuned, tmp_path):
    path = tmp_path / "tune.json"
    path.write_text(tuned)
    before = read_entries(path)
    ir = compile_model(model, f"--tune={path}", "--threads=2")
    after = read_entries(path)
    assert len(after) == 4 and before.items() <= after.items()
    splits = {entry["row_split"] for key, entry in after.items() if "2 thread(s)" in key}
    assert splits == set(map(int, re.findall(r"row_split = (\d+)", ir))) or splits == {0}


def test_results_do_not_change(tmp_path):
    """Any order of loops gives the same bits."""
    path = tmp_path / "tune.json"
    features = "-amx-tile" if objects.HAS_AMX else None
    compile_tuned = functools.partial(qtx.compile, write_model(), recipe="none", features=features, tune=path)
    plain = qtx.compile(write_model(), recipe="none")(X)
    tuned = compile_tuned()
    assert path.exists()
    for found, expected in zip(tuned(X), plain):
        np.testing.assert_array_equal(found, expected)
    document = json.loads(path.read_text())
    for entries in document["targets"].values():
        for entry in entries.values():
            entry |= {"rows": 3, "vectors": 1, "block": 4}
    path.write_text(json.dumps(document))
    for found, expected in zip(compile_tuned()(X), plain):
        np.testing.assert_array_equal(found, expected)


def test_default_file(model, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    compile_model(model, "--tune")
    assert read_entries(tmp_path / "cache/qtx/tune.json")


def test_report(model, tmp_path):
    report = tmp_path / "report.json"
    done = subprocess.run(
        [objects.QTXC, model, "-o", tmp_path / "model.o", "--recipe=none", "--quiet",
         f"--tune={tmp_path}/tune.json", f"--report={report}"],
        capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    layers = json.loads(report.read_text())["layers"]
    kernels = [layer["kernel"] for layer in layers if layer["op"] == "qtx.linear"]
    assert len(kernels) == 3 and all(re.search(r", tuned: \d+ x \d+ in blocks of \d+$", name) for name in kernels)


def test_concurrent_compilations(tmp_path):
    """The file is whole at any time, and nothing that was there goes away."""
    path = tmp_path / "tune.json"
    models = []
    for outputs in (16, 32, 64):
        models.append(tmp_path / f"model{outputs}.mlir")
        models[-1].write_text(write_model(outputs))
    compile_model(models[0], f"--tune={path}")
    before = read_entries(path)
    processes = [
        subprocess.Popen([objects.QTXC, model, "-o", "-", "--recipe=none", "--quiet",
                          "--stop-after=configure", *objects.ONE_VERSION, f"--tune={path}"],
                         stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        for model in models[1:]]
    for process in processes:
        _, messages = process.communicate()
        assert process.returncode == 0, messages
    assert before.items() < read_entries(path).items()
    assert [file.name for file in tmp_path.glob("tune*")] == ["tune.json"]


FORMAT = '"format": "qtx-tuning", "version": 2'
BAD_FILES = {
    "no JSON": ("{", "': expected JSON: "),
    "another program's": ('{"layers": []}', "': expected a file that --tune has written"),
    "a list": ("[1]", "': expected a file that --tune has written"),
    "without targets": (f"{{{FORMAT}}}", "': expected a file that --tune has written"),
    "newer": ('{"format": "qtx-tuning", "version": 3, "targets": {}}',
              "': expected version 2 of the format, found 3"),
    "other types": (f'{{{FORMAT}, "targets": {{"t": {{"c": {{"kernel": 3}}}}}}}}', "': expected string at targets"),
}


@pytest.mark.parametrize("content, message", BAD_FILES.values(), ids=BAD_FILES)
def test_bad_files(model, tmp_path, content, message):
    path = tmp_path / "tune.json"
    path.write_text(content)
    said = compile_model(model, f"--tune={path}")
    assert f"error: --tune: '{path}{message}" in said and said.count("error:") == 1
    assert path.read_text() == content


TILE = (r"expected a tile that 'x86-[a-z0-9-]+' has registers for, found -?\d+ x -?\d+ "
        r"in blocks of -?\d+ for 'x86-[a-z0-9-]+' \(\?x\d+ to ")


@pytest.mark.parametrize("change, message", [
    ({"rows": 60}, TILE), ({"vectors": 0}, TILE), ({"block": -1}, TILE), ({"kernel": "x86-other"}, TILE),
    ({"panels": -1}, r"expected panels and a row split of 0 or more, found -1 and \d+ \(\?x\d+ to "),
    ({"row_split": -1}, r"expected panels and a row split of 0 or more, found \d+ and -1 \(\?x\d+ to ")])
def test_impossible_entries(model, tuned, tmp_path, change, message):
    path = tmp_path / "tune.json"
    document = json.loads(tuned)
    for entries in document["targets"].values():
        for entry in entries.values():
            entry |= change
    path.write_text(json.dumps(document))
    said = compile_model(model, f"--tune={path}")
    assert re.search(message, said)


def test_unreadable_and_unwritable(model, tmp_path):
    said = compile_model(model, f"--tune={tmp_path}")
    assert f"--tune: '{tmp_path}': Is a directory" in said
    (tmp_path / "file").write_text("")
    said = compile_model(model, f"--tune={tmp_path}/file/tune.json")
    assert f"--tune: '{tmp_path}/file/tune.json': Not a directory" in said


def test_target_of_another_machine(model, tmp_path):
    path = tmp_path / "tune.json"
    said = compile_model(model, f"--tune={path}", "-mtriple=aarch64-unknown-linux-gnu", "-mcpu=neoverse-v2")
    assert "--tune: expected a target that this machine can time, found 'aarch64-unknown-linux-gnu'" in said
    if objects.HAS_AMX:
        pytest.skip("there is no x86 CPU in LLVM's list that certainly has more than this one")
    said = compile_model(model, f"--tune={path}", "-mcpu=sapphirerapids")
    assert "--tune: expected a target that this machine can time, found one with '+" in said
    assert not path.exists()


@pytest.mark.skipif(os.getuid() != 0, reason="needs a user that does not exist")
def test_no_cache_folder():
    """A user without a home has to name a file."""
    folder = pathlib.Path(tempfile.mkdtemp())
    try:
        folder.chmod(0o755)
        model = folder / "model.mlir"
        model.write_text(write_model())
        said = compile_model(model, "--tune", env={}, user=54321)
        assert "--tune: expected a file, as there is no cache folder for this user" in said
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize("options, message", [
    (["--reference"], "--tune: expected fast code to time, found --reference"),
    (["--stop-after=fuse"], "--tune: expected to compile as far as to the stage configure")])
def test_options_that_do_not_go_together(model, options, message):
    assert message in compile_model(model, "--tune", *options)
