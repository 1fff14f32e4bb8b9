# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The benchmark runs, with whichever peers are there, and reports what it should."""

import importlib.util
import json
import math
import os
import pathlib
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
BUILD = pathlib.Path(os.environ.get("QTX_BUILD_DIR", REPOSITORY / "build"))
sys.path.insert(0, str(HERE))

import contenders
import encoder_suite  # noqa: E402
import goals  # noqa: E402
import machine  # noqa: E402
import timing  # noqa: E402

ISA = "avx512" if "avx512" in machine.list_isas() else "avx2"
is_built = all((BUILD / "bin" / name).exists() for name in ("qtxc", "qtx-bench"))


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """The files of a quick run, and what it printed."""
    if not is_built or not machine.can_run("avx2 fma"):
        pytest.skip("the tools are not built, or not for this machine")
    folder = tmp_path_factory.mktemp("bench")
    done = subprocess.run(
        [sys.executable, HERE / "bench.py", "--quick", "--no-scores", "--threads=1", f"--isa={ISA}",
         "--only=qtx int8,OpenVINO NNCF", f"--output={folder}"],
        capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}, done.stdout


def test_suites(results):
    files, _ = results
    assert set(files) == {"linear", "attention", "encoder", "compile", "goals"}
    for name in set(files) - {"goals"}:
        assert files[name]["suite"] == name and files[name]["rows"]
        assert {"cpu", "features", "cores", "packages", "qtx"} <= set(files[name]["machine"])


def test_encoder(results):
    files, text = results
    rows = files["encoder"]["rows"]
    own = [row for row in rows if row["name"] == contenders.get_own_name(ISA)]
    assert {(row["batch"], row["sequence"]) for row in own} == {(1, 16), (2, 16)}
    for row in own:
        assert 0 < row["min_ms"] <= row["median_ms"] and row["runs"] >= 3
        assert row["percent_of_peak"] > 0 and len(row["sha256"]) == 64
    assert any("bench_ms" in row for row in own)
    assert own[0]["sha256"][:12] in text
    peer = [row for row in rows if row["name"] == "OpenVINO NNCF int8"]
    if importlib.util.find_spec("openvino") is None:
        assert [row["missing"] for row in peer] == ["ModuleNotFoundError: No module named 'openvino'"]
        assert "not run: ModuleNotFoundError" in text
    else:
        assert peer


def test_linear(results):
    rows = [row for row in results[0]["linear"]["rows"] if "missing" not in row]
    if machine.can_run("avx512vnni"):
        assert {"per tensor", "int4", "quantize, 6 groups"} <= {row["kind"] for row in rows}
        ratios = [row["ratio"] for row in rows if row["kind"] == "quantize, 6 groups"]
        assert ratios and all(0.1 < ratio < 10 for ratio in ratios)
        assert any(row.get("percent_of_bandwidth") for row in rows)
        loops = [row for row in rows if row["isa"] == "avx512-vnni" and "loop_cycles" in row]
        assert loops and all(0 < row["loop_port_limit"] <= row["loop_cycles"] for row in loops)


def test_attention(results):
    rows = [row for row in results[0]["attention"]["rows"] if row["name"].startswith("qtx")]
    assert len(rows) == 4 and all(row["median_ms"] > 0 for row in rows)


def test_compile(results):
    rows = results[0]["compile"]["rows"]
    compiled = {row["recipe"]: row for row in rows if "seconds" in row}
    assert set(compiled) == {"int8", "w8a8-dynamic", "none"}
    for row in compiled.values():
        assert 0 < row["seconds_without_data"] <= row["seconds"] and row["peak_mib"] > 1
        assert {"import", "object"} <= set(row["stages"])
    assert compiled["int8"]["seconds_without_data"] < compiled["int8"]["seconds"]
    assert [row["load_ms"] > 0 for row in rows if "load_ms" in row] == [True]


def make_results(own, peer):
    base = {"model": "minilm", "isa": "avx512", "threads": 1, "batch": 1, "sequence": 128}
    return {"encoder": {"rows": [{**base, "name": "qtx int8", "median_ms": own},
                                 {**base, "name": goals.OPENVINO, "median_ms": peer}]}}


@pytest.mark.parametrize("own, met", [(6.4, True), (6.6, False)])
def test_goals_follow_from_times(own, met):
    entry, stretch = goals.check(make_results(own, 10.0))
    assert math.isclose(entry["value"], own / 10) and entry["limit"] == 0.65 and entry["met"] == met
    assert stretch["limit"] == 0.62 and not stretch["met"]


def make_row(name, threads, median, sequence=384):
    return {"model": "minilm", "isa": "avx512", "threads": threads, "batch": 1,
            "sequence": sequence, "name": name, "median_ms": median}


def test_goals_leave_out_who_has_more_instructions():
    own = make_row("qtx int8", 1, 10.0)
    peer = make_row(goals.ONNXRUNTIME, 1, 25.0)
    (entry,) = goals.check({"encoder": {"rows": [own, peer]}})
    assert math.isclose(entry["value"], 0.4) and entry["met"]
    assert not goals.check({"encoder": {"rows": [own, peer | {"note": contenders.ALL_INSTRUCTIONS}]}})


def test_goals_of_avx2_are_of_small_weights():
    rows = [make_row(name, 1, 10.0) | {"isa": "avx2"} for name in ("qtx int8", goals.CTRANSLATE2)]
    assert not goals.check({"encoder": {"rows": rows}})
    (entry,) = goals.check({"encoder": {"rows": [*rows, make_row("qtx int8-avx2", 1, 4.0) | {"isa": "avx2"}]}})
    assert "int8-avx2 / CTranslate2" in entry["goal"] and math.isclose(entry["value"], 0.4)


@pytest.mark.parametrize("two, met", [(10.0, True), (11.0, False)])
def test_goal_of_a_second_thread(two, met):
    rows = [make_row("qtx int8 on one thread", 2, 19.0), make_row("qtx int8", 2, two)]
    (entry,) = goals.check({"encoder": {"rows": rows}})
    assert (entry["relation"], entry["limit"], entry["met"]) == ("at least", 1.85, met)


@pytest.mark.parametrize("dynamic, met", [(10.4, True), (10.6, False)])
def test_goal_of_dynamic_shapes(dynamic, met):
    rows = [make_row("qtx int8", 1, dynamic, 128), make_row("qtx int8 static", 1, 10.0, 128)]
    (entry,) = goals.check({"encoder": {"rows": rows}})
    assert (entry["limit"], entry["met"]) == (1.05, met)


def test_goal_of_long_attention():
    rows = [{"name": "qtx int8", "threads": 1, "isa": "avx512", "sequence": size, "median_ms": 1.0,
             "ns_per_score": time} for size, time in ((384, 1.0), (16384, 1.2))]
    (entry,) = [e for e in goals.check({"attention": {"rows": rows}}) if "16384" in e["goal"]]
    assert math.isclose(entry["value"], 1.2) and not entry["met"]


def test_narrow_instructions_have_their_own_peak():
    """A wider instruction's peak is not what narrower code is held to."""
    rows = [{"name": "qtx int8", "isa": isa, "median_ms": 1.0, "min_ms": 1.0, "gop": 1e-3, "threads": 1}
            for isa in ("avx2", "avx512")]
    encoder_suite.add_shares(rows, {"peak_gops": {"avx512vnni": 400.0, "avx2": 100.0, "fma": 50.0}})
    assert [row["percent_of_peak"] for row in rows] == pytest.approx([1000 / 1000, 1000 / 4000])


def test_goals_without_results():
    assert goals.check({}) == []


def test_times_are_taken_in_turn():
    """Everyone gets every input, and stops when its plan is fulfilled."""
    seen = {"a": [], "b": []}
    found = timing.time_together(
        [timing.Contender(name, seen[name].append) for name in seen], [1, 2, 3],
        timing.Plan(runs=4, burst=2, warm_up=1), machine.Turns())
    assert {name: timing["runs"] for name, timing in found.items()} == {"a": 4, "b": 4}
    assert seen["a"] == seen["b"] == [1, 2, 3, 1, 2, 3]


def test_unknown_suite():
    done = subprocess.run([sys.executable, HERE / "bench.py", "decoder"], capture_output=True,
                          text=True, check=False)
    assert done.returncode == 2
    assert "expected a suite of linear, attention, encoder, compile, found 'decoder'" in done.stderr
