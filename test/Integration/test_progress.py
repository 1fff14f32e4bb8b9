# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""How far calibration has come: the bar of qtxc, and the function that Python calls."""

import os
import pty
import re
import subprocess

import numpy as np
import objects
import pytest
import qtx

# More feeds than run at once.
NUM_FEEDS = 40
MODEL = """
func.func @main(%x: tensor<?x8xf32> {qtx.name = "x"}) -> tensor<?x8xf32> {
  %w = arith.constant dense<0.5> : tensor<8x8xf32>
  %0 = qtx.linear %x, %w : (tensor<?x8xf32>, tensor<8x8xf32>) -> tensor<?x8xf32>
  return %0 : tensor<?x8xf32>
}
"""
FEEDS = [{"x": np.full((i + 1, 8), i, np.float32)} for i in range(NUM_FEEDS)]


def read_all(descriptor):
    """What was written to a terminal, until everyone has closed it."""
    pieces = []
    while True:
        try:
            piece = os.read(descriptor, 1 << 16)
        except OSError:  # The other side is closed.
            break
        if not piece:
            break
        pieces.append(piece)
    return b"".join(pieces).decode()


def run_on_terminal(*command):
    """The status, and what a terminal got as error stream."""
    terminal, side = pty.openpty()
    with subprocess.Popen([str(word) for word in command], stderr=side) as process:
        os.close(side)
        text = read_all(terminal)
    os.close(terminal)
    return process.returncode, text


@pytest.fixture(name="command")
def fixture_command(tmp_path):
    (tmp_path / "model.mlir").write_text(MODEL)
    np.savez(tmp_path / "data.npz", **{f"x/{i}": feed["x"] for i, feed in enumerate(FEEDS)})
    return [objects.QTXC, tmp_path / "model.mlir", "-o", tmp_path / "out.mlir",
            "--stop-after=calibrate", f"--calibrate={tmp_path / 'data.npz'}",
            "--calibration-threads=2"]


def check_bar(lines, stage):
    """Lines of a bar that fills."""
    found = [re.fullmatch(rf"{stage} +\[(=*)( *)\] +(\d+)%", line) for line in lines]
    assert found and all(found), lines
    percents = [int(match[3]) for match in found]
    assert percents == sorted(percents) and percents[-1] == 100
    for match in found:
        assert len(match[1]) + len(match[2]) == 40
        assert len(match[1]) == pytest.approx(40 * int(match[3]) / 100, abs=1)


def test_bar(command):
    status, text = run_on_terminal(*command)
    assert status == 0
    *bars, last = re.findall(r"\r\[ 2/12\] ([^\r\n]*)", text)
    # The line of the finished stage takes the place of the bar.
    assert re.fullmatch(r"calibrate +\d+\.\d\d s", last)
    assert re.search(r"100%\r +\r\[ 2/12\] calibrate", text)
    check_bar(bars, "calibrate")


def test_no_bar_for_files(command):
    done = subprocess.run([str(word) for word in command], stderr=subprocess.PIPE, text=True,
                          check=True)
    assert "[ 2/12] calibrate" in done.stderr and "%" not in done.stderr
    status, text = run_on_terminal(*command, "--quiet")
    assert status == 0 and text == ""


@pytest.mark.parametrize("observer", ["min_max", "percentile:75"])
def test_callback(observer):
    calls = []
    qtx.calibrate(MODEL, FEEDS, observer=observer, progress=lambda *call: calls.append(call))
    assert {stage for stage, _, _ in calls} == {"calibrate"}
    # Percentiles take two passes over the data, which are one progress.
    total = NUM_FEEDS * (2 if observer == "percentile:75" else 1)
    assert {number for _, _, number in calls} == {total}
    done = [number for _, number, _ in calls]
    assert done == sorted(done) and done[-1] == total


def test_callback_of_compile():
    stages = []
    qtx.compile(MODEL, calibrate=FEEDS, progress=lambda stage, *_: stages.append(stage))
    assert list(dict.fromkeys(stages)) == ["calibrate", "quantize"]


def test_callback_that_raises():
    calls = []

    def stop(*call):
        calls.append(call)
        raise KeyError("stop")

    with pytest.raises(KeyError, match="stop"):
        qtx.calibrate(MODEL, FEEDS, progress=stop)
    assert len(calls) == 1


def test_bar_of_the_package(capsys):
    qtx.calibrate(MODEL, FEEDS, progress=qtx.progress_bar)
    text = capsys.readouterr().err
    assert text.endswith("100%\n")
    check_bar(text.strip().split("\r"), "calibrate")
