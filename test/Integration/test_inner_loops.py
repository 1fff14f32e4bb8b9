# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The inner loops of what qtxc compiles: dot products, their loads, a line of weights fetched for
later, and loop control."""

import functools
import re
from typing import NamedTuple

import loops
import objects
import pytest

pytestmark = pytest.mark.skipif(not objects.QTXC.exists(), reason="qtxc is not there")

# A layer with one scale, one with groups, one with scales of the rows, one row, floats; attention
# whose exponentials run beside products where the CPU has the registers, and causal attention,
# which has none of that. Kernels have numbers in this order.
MODEL = """
!h = tensor<?x2x?x64xi8>
!q = !quant.uniform<i8:f32, 0.02:3>
!x = tensor<?x384xi8>
!w = tensor<96x384xi8>
!y = tensor<?x96xf32>
func.func @main(%x: !x {qtx.dims = ["n", ""]}, %one: tensor<1x384xi8>,
                %scales: tensor<?x1xf32> {qtx.dims = ["n", ""]},
                %f: tensor<?x384xf32> {qtx.dims = ["n", ""]}, %h: !h {qtx.dims = ["b", "", "s", ""]})
    -> (!y, !y, !y, tensor<1x96xf32>, !y, !h, !h) {
  %w = arith.constant dense<100> : !w
  %v = arith.constant dense<0.5> : tensor<96x384xf32>
  %s = arith.constant dense<0.5> : tensor<1xf32>
  %plain = qtx.linear %x as !q, %w scale(%s) : (!x, !w, tensor<1xf32>) -> !y
  %groups = qtx.linear %x as !qtx.grouped<i8:f32, axis=-1, [368, 16], {0.5:3, 0.25:4}>, %w scale(%s)
      : (!x, !w, tensor<1xf32>) -> !y
  %dynamic = qtx.linear %x scale(%scales) as !qtx.grouped<i8:f32, axis=-1, [384], ?>, %w scale(%s)
      : (!x, tensor<?x1xf32>, !w, tensor<1xf32>) -> !y
  %row = qtx.linear %one as !q, %w scale(%s) : (tensor<1x384xi8>, !w, tensor<1xf32>) -> tensor<1x96xf32>
  %floats = qtx.linear %f, %v : (tensor<?x384xf32>, tensor<96x384xf32>) -> !y
  %y = qtx.attention %h as !q, %h as !q, %h as !q scale 0.25 unnormalised
      probs !quant.uniform<u8:f32, 3.9215686e-03> to !q : (!h, !h, !h) -> !h
  %z = qtx.attention %h as !q, %h as !q, %h as !q causal scale 0.25 unnormalised
      probs !quant.uniform<u8:f32, 3.9215686e-03> to !q : (!h, !h, !h) -> !h
  return %plain, %groups, %dynamic, %row, %floats, %y, %z : !y, !y, !y, tensor<1x96xf32>, !y, !h, !h
}
"""
LINEARS = ["qtx_linear_kernel", *(f"qtx_linear_kernel_{i}" for i in range(4))]
ROW, FLOATS = LINEARS[3], LINEARS[4]
ATTENTION = "qtx_attention_kernel"
CAUSAL = f"{ATTENTION}_4"


class Row(NamedTuple):
    """How many dot products the tile of a CPU has, the instructions of one: of layers,
    of scores and of what values are multiplied by, whose names differ in signedness; and the
    steps of an iteration, of integers and of floats."""

    rows: int
    vectors: int
    linear: str
    context: str
    steps: int = 1
    float_steps: int = 8


CPUS = {
    "haswell": Row(6, 2, "vpmaddwd", "vpmaddwd", steps=8),
    "alderlake": Row(6, 2, "vpdpbusd", "vpdpbusd"),
    "sierraforest": Row(6, 2, "vpdpbssd", "vpdpbusd"),
    "icelake-server": Row(8, 3, "vpdpbusd", "vpdpbusd", steps=4, float_steps=1),
}
# Bytes of weights are widened as they are loaded.
LOADS = {"vmovups", "vmovaps", "vmovdqu", "vmovdqa", "vmovdqu64", "vmovdqa64", "vbroadcastss",
         "vpbroadcastd", "vpmovsxbw", "tileloadd"}
FETCH = {"prefetcht1"}


@functools.lru_cache(maxsize=None)
def compile_loops(cpu, folder):
    """The hot loops of each function."""
    path = objects.compile_model(MODEL, folder / f"{cpu}.s", f"-mcpu={cpu}", "-mtriple=x86_64-linux-gnu")
    functions = {}
    for loop in loops.list_hot_loops(path.read_text()):
        functions.setdefault(loop.function, []).append(loop)
    return functions


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("loops")


def check_clean(loop, control):
    short = loop.count({"vpmaddubsw"})
    # Short products are added up in pairs, widened and added to sums.
    sums = {"vpaddd": short // 2 or loop.count({"vpmaddwd"}), "vpaddw": short // 2}
    other = [i for i in loop.body if i.mnemonic not in loops.DOTS | set(sums) | LOADS | loops.CONTROL | FETCH]
    assert not other, f"expected dot products, loads and loop control alone, found {other}"
    assert {name: loop.count({name}) for name in sums} == sums
    assert not short or loop.count({"vpmaddwd"}) == short // 2
    # Of a tile that fills all registers LLVM may spill one in eight steps.
    spills = 1 if loop.count(loops.DOTS) >= 96 else 0
    assert sum(i.is_register_move for i in loop.body) <= spills
    assert sum(i.uses_stack for i in loop.body) <= 2 * spills, "expected no register to be spilled"
    assert loop.count(loops.CONTROL) <= control
    # Weights of the next panel: a line for each step of AVX-512, or two where floats are many bytes.
    assert loop.count(FETCH) <= (2 if loop.count({"vfmadd231ps"}) else max(1, loop.count(loops.DOTS) // 24))


@pytest.mark.parametrize("cpu", CPUS)
def test_linear(cpu, folder):
    row = CPUS[cpu]
    for name in LINEARS:
        # Others end the tile before beside their products.
        found = [loop for loop in compile_loops(cpu, folder)[name] if not loop.count({"vcvtdq2ps"})]
        for loop in found:
            # A line that is fetched has an address of its own.
            check_clean(loop, 4 + max(1, loop.count(FETCH)))
        dot = "vfmadd231ps" if name == FLOATS else row.linear
        counts = {loop.count({dot}) for loop in found}
        # One row takes up to four panels at once, and LLVM unrolls its loop.
        if name == ROW:
            assert counts <= {row.vectors * steps << i for steps in (1, row.steps) for i in range(4)}
        else:
            steps = row.float_steps if name == FLOATS else row.steps
            assert row.rows * row.vectors * steps in counts


# Two layers that share code, and two of one row: LLVM keeps weights that it knows in registers.
SHORT_SUMS = """
!q = !quant.uniform<i8:f32, 0.02:3>
!x = tensor<?x384xi8>
!w = tensor<96x384xi8>
!y = tensor<?x96xf32>
!r = tensor<1x96xf32>
func.func @main(%x: !x {qtx.dims = ["n", ""]}, %one: tensor<1x384xi8>) -> (!y, !y, !r, !r) {
  %v = arith.constant dense<3> : !w
  %w = arith.constant dense<-4> : !w
  %s = arith.constant dense<0.5> : tensor<1xf32>
  %a = qtx.linear %x as !q, %v scale(%s) : (!x, !w, tensor<1xf32>) -> !y
  %b = qtx.linear %x as !q, %w scale(%s) : (!x, !w, tensor<1xf32>) -> !y
  %c = qtx.linear %one as !q, %v scale(%s) : (tensor<1x384xi8>, !w, tensor<1xf32>) -> !r
  %d = qtx.linear %one as !q, %w scale(%s) : (tensor<1x384xi8>, !w, tensor<1xf32>) -> !r
  return %a, %b, %c, %d : !y, !y, !r, !r
}
"""


@pytest.mark.parametrize("cpu", ["haswell", "x86-64-v3", "znver3"])
def test_short_sums(cpu, folder):
    """4 rows, 2 vectors, 2 products in a short sum, 4 steps; 4 panels of one row."""
    path = objects.compile_model(SHORT_SUMS, folder / f"short-{cpu}.s", f"-mcpu={cpu}", "-mtriple=x86_64-linux-gnu")
    hot = loops.list_hot_loops(path.read_text())
    for name in ("qtx_linear_kernel", "qtx_linear_kernel_0"):
        found = [loop for loop in hot if loop.function == name]
        assert 64 in {loop.count({"vpmaddubsw"}) for loop in found}
        for loop in found:
            check_clean(loop, 4 + max(1, loop.count(FETCH)))


@pytest.mark.parametrize("cpu", CPUS)
def test_attention(cpu, folder):
    """Scores and context; tiles of one vector have half the products or less."""
    row = CPUS[cpu]
    found = compile_loops(cpu, folder)[CAUSAL]
    for loop in found:
        # Rows of probabilities are as far apart as there are keys: each has a pointer.
        check_clean(loop, row.rows + 4)
    # 64 channels of values are four vectors of AVX-512, in panels of two, or eight.
    context = row.rows * 2 * row.steps
    assert {context, 2 * context} & {loop.count({row.context}) for loop in found[-2:]}
    scores = row.rows * row.vectors * row.steps
    assert {scores, 2 * scores} & {loop.count({row.linear}) for loop in found[:2]}


def test_attention_beside_exponentials(folder):
    """Exponentials take what instructions of a cycle the products leave: none but theirs, and
    those for the largest score of a row, stand in the loops."""
    powers = {"vpsubd", "vcvtdq2ps", "vmaxps", "vfmsub213ps", "vfmsub231ps", "vaddps", "vpermps",
              "vscalefps", "vcvtps2dq", "vpaddd"}
    packs = {"vpackssdw", "vpackuswb", "vextracti64x4"}
    largest = {"vpmaxsd", "vshufi64x2", "vinserti64x4", "vpermt2q"}
    found = [loop for loop in compile_loops("icelake-server", folder)[ATTENTION]
             if loop.count({"vpermps"})]
    assert found
    for loop in found:
        count = loop.count({"vscalefps"})
        # Three coefficients, and a square polynomial.
        assert loop.count({"vpermps"}) == 3 * count and loop.count({"vfmadd231ps"}) == 2 * count
        assert loop.count({"vpdpbusd"}) in (16 * count, 32 * count)
        assert loop.count(powers) <= 14 * count
        # Codes of four rows at once, or of two beside half of the channels.
        assert count // loop.count({"vpackuswb"}) == (2 if count == 2 else 4)
        other = {i.mnemonic for i in loop.body} - powers - packs - largest - LOADS
        assert other <= {"vpdpbusd", "vfmadd231ps", "andq"} | loops.CONTROL
        # Registers are full: a few of constants and sums of powers wait in memory.
        assert sum(i.uses_stack for i in loop.body) <= max(4, 5 * count)


def test_tiles(folder):
    """Four products of tiles, four loads. Code without AMX stands beside it."""
    functions = compile_loops("sapphirerapids", folder)
    found = [loop for loop in functions[f"{ATTENTION}.1"] if loop.count({"tdpbusd"})]
    assert found
    for loop in found:
        check_clean(loop, 7)
        assert loop.count({"tdpbusd"}) == loop.count({"tileloadd"}) == 4
    # Loops of layers hold parts of the epilogue and are not one block.
    text = (folder / "sapphirerapids.s").read_text()
    assert text.count("tdpbusd") > 40
    # Weights leave the first-level cache to the rows.
    assert "tileloaddt1" in text
    assert not re.search(r"tile(loadd|stored).*%rsp", text), "expected no tile to be spilled"


GELU = """
!x = tensor<?x384xi8>
!w = tensor<96x384xi8>
!y = tensor<?x96xi8>
func.func @main(%x: !x {qtx.dims = ["n", ""]}) -> !y {
  %w = arith.constant dense<3> : !w
  %s = arith.constant dense<0.5> : tensor<1xf32>
  %y = qtx.linear %x as !quant.uniform<u8:f32, 0.02:131>, %w scale(%s) activation gelu
      to !quant.uniform<u8:f32, 0.03:10> : (!x, !w, tensor<1xf32>) -> !y
  return %y : !y
}
"""


@pytest.mark.parametrize("cpu", ["cascadelake", "icelake-server", "emeraldrapids", "znver4", "znver5"])
def test_ends_beside_products(cpu, folder):
    """Whatever scheduler LLVM has for the CPU, an activation stands between steps as it is emitted,
    so that the sums of a tile stay in registers."""
    path = objects.compile_model(GELU, folder / f"gelu-{cpu}.s", f"-mcpu={cpu}",
                                 "-mattr=-amx-tile,-amx-int8,-amx-bf16", "-mtriple=x86_64-linux-gnu")
    (loop,) = [loop for loop in loops.list_hot_loops(path.read_text()) if loop.count({"vpermps"})]
    # Two vectors, each beside four steps, end as bytes together.
    assert loop.count({"vpdpbusd"}) == 2 * 4 * 24
    assert loop.count({"vpermps"}) == 2 * 4
    assert loop.count({"vpackssdw"}) == loop.count({"vpackuswb"}) == 1
    order = [i.mnemonic for i in loop.body if i.mnemonic in ("vpdpbusd", "vpermps")]
    # Behind the look-ups of one vector come those of the next after its share of four steps.
    runs = [len(run) for run in " ".join(order).replace("vpdpbusd", "d").replace(" ", "").split("vpermps") if run]
    assert max(runs) <= 4 * 24, "expected parts of activations between steps"
    # Two sums that are ended, and three registers of constants.
    assert sum(i.uses_stack for i in loop.body) <= 8
    assert sum(i.is_register_move for i in loop.body) <= 4


# One row, whose weights of 4 bits become bytes in registers; its zero point times their sum goes
# off.
NIBBLES = """
!x = tensor<1x384xi8>
!w = tensor<512x384xi4>
func.func @main(%x: !x) -> tensor<1x512xf32> {
  %w = arith.constant dense<3> : !w
  %s = arith.constant dense<0.5> : tensor<512x12xf32>
  %y = qtx.linear %x as !quant.uniform<i8:f32, 0.02:3>, %w scale(%s) block 32
      : (!x, !w, tensor<512x12xf32>) -> tensor<1x512xf32>
  return %y : tensor<1x512xf32>
}
"""
UNPACKS = {"vpsllw", "vpsraw", "vpsrlw", "vpsrld", "vpand", "vpandd", "vpandq", "vgf2p8affineqb"}

LIMITS = {"cmovbq", "cmovaeq"}


@pytest.mark.parametrize("cpu", CPUS)
def test_nibbles_of_one_row(cpu, folder):
    path = objects.compile_model(NIBBLES, folder / f"nibbles-{cpu}.s", f"-mcpu={cpu}",
                                 "-mtriple=x86_64-linux-gnu")
    found = [loop for loop in loops.list_hot_loops(path.read_text(), share=6)
             if loop.function == LINEARS[0]]
    # Several panels at once, and those that are left.
    assert found and any(loop.count({"prefetcht0"}) for loop in found)
    for loop in found:
        # Bytes on AVX2: off goes 8, and sums of 16 bits are widened once for 32 channels, a block.
        short = ({"vpaddb", "vpaddw", "vpsubw", "vcvtdq2ps", "vfmadd231ps"} if loop.count({"vpmaddwd"})
                 else set())
        other = [i for i in loop.body if i.mnemonic not in
                 loops.DOTS | UNPACKS | short | {"vpaddd", "prefetcht0", "movl"} | LIMITS | LOADS
                 | loops.CONTROL]
        assert not other
        # What is fetched ends at the last weight.
        assert loop.count(LIMITS) <= 1
        if short:
            assert loop.count({"vpmaddubsw"}) == 9 * loop.count({"vpmaddwd"}) == 9 * loop.count({"vpsubw"})
            assert loop.count({"vpaddb"}) == 15 * loop.count({"vpsubw"})
        assert not any(i.uses_stack for i in loop.body), "expected no register to be spilled"


def test_spills_are_found():
    text = """
f:
.LBB0_1:
  vmovups 64(%rsp), %ymm0
  vpdpbusd %ymm0, %ymm1, %ymm2
  addq $1, %rax
  jne .LBB0_1
"""
    (loop,) = loops.list_hot_loops(text)
    with pytest.raises(AssertionError, match="expected no register to be spilled"):
        check_clean(loop, 4)


@pytest.mark.parametrize("cpu", CPUS)
def test_port_limit(cpu, folder):
    """By LLVM's model of the CPU, no loop over whole tiles waits for more than its ports."""
    (loop,) = [loop for loop in compile_loops(cpu, folder)[LINEARS[0]]
               if loop.count({CPUS[cpu].linear}) == CPUS[cpu].rows * CPUS[cpu].vectors * CPUS[cpu].steps]
    analysis = loops.analyse(loop, cpu)
    assert analysis.port_limit <= analysis.cycles <= 1.25 * analysis.port_limit
