# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The demo without the model and the text: its parts, and a run on tiny ones."""

import functools
import importlib
import json
import pathlib
import re
import sys
import types

import numpy as np
import objects
import pytest
from test_huggingface import BERT, make_weights, run_formulas, write_checkpoint

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "python/examples/sentence_encoder"
sys.path.insert(0, str(FOLDER))

import similarity  # noqa: E402
import wordnet  # noqa: E402

LICENCE = "  1 This software and database is being provided to you\n"


def write_database(folder, lines):
    for part in ("noun", "verb", "adj", "adv"):
        (folder / f"data.{part}").write_text(LICENCE + "".join(lines.get(part, [])))


def make_line(lemma, gloss):
    return f"00001740 03 n 02 {lemma} 0 other 0 000 | {gloss}  \n"


def test_synset(tmp_path):
    line = make_line("living_thing", 'a thing that lives; "all living things", "it lives and grows"')
    write_database(tmp_path, {"noun": [line]})
    (synset,) = wordnet.read_synsets(tmp_path)
    assert synset.lemma == "living thing"
    assert synset.definition == "a thing that lives"
    assert synset.examples == ("all living things", "it lives and grows")


def test_missing_database(tmp_path):
    with pytest.raises(FileNotFoundError, match="wordnet-base, found no file"):
        list(wordnet.read_synsets(tmp_path))


def test_texts_are_disjoint(tmp_path, monkeypatch):
    lines = [make_line(f"w{i}", f'the thing number {i}; "take thing {i} now"') for i in range(40)]
    write_database(tmp_path, {"verb": lines})
    read = wordnet.read_synsets
    monkeypatch.setattr(wordnet, "read_synsets", lambda: read(tmp_path))
    texts = wordnet.choose_texts(20, 10)
    assert (len(texts.calibration), len(texts.queries), len(texts.definitions)) == (20, 10, 10)
    assert not set(texts.calibration) & set(texts.queries + texts.definitions)
    numbers = [int(text.split()[-1]) for text in texts.definitions]
    assert [f"w{n}: take thing {n} now" for n in numbers] == texts.queries
    # The number of calibration texts does not change the evaluation.
    assert wordnet.choose_texts(5, 10).queries == texts.queries
    others = wordnet.choose_texts(14, 10, skip=6)
    assert others.queries == texts.queries and others.calibration == texts.calibration[6:]
    with pytest.raises(ValueError, match="expected at most 40 texts"):
        wordnet.choose_texts(31, 10)


@pytest.fixture(name="demo")
def fixture_demo(monkeypatch):
    """The demo, with a tokenizer that knows the words w0, w1, ...: its package is installed
    by ./dev demo only."""

    class Tokenizer:
        @classmethod
        def from_file(cls, path):
            assert path.endswith("tokenizer.json")
            return cls()

        def no_padding(self):
            pass

        def enable_truncation(self, length):
            self.length = length

        def encode_batch(self, texts):
            return [types.SimpleNamespace(ids=[int(number) for number in re.findall(r"\d+", text)])
                    for text in texts]

    stub = types.SimpleNamespace(Tokenizer=Tokenizer)
    monkeypatch.setitem(sys.modules, "tokenizers", stub)
    monkeypatch.delitem(sys.modules, "demo", raising=False)
    yield importlib.import_module("demo")
    sys.modules.pop("demo", None)


@pytest.mark.skipif(not objects.QTXC.exists() or not objects.CLANG.exists(),
                    reason="qtxc or clang is not there")
def test_demo(demo, tmp_path, monkeypatch, capfd):
    """Export, recipes, the C program and the table, on a tiny checkpoint."""
    weights = make_weights(BERT)
    checkpoint = write_checkpoint(tmp_path / "checkpoint", BERT, weights)
    lines = [make_line(f"w{i}", f"the w{i} w{(7 * i) % 29} thing; \"take w{i} w1 w{i} now\"")
             for i in range(1, 31)]
    write_database(tmp_path, {"noun": lines})
    monkeypatch.setattr(wordnet, "read_synsets", functools.partial(wordnet.read_synsets, tmp_path))
    monkeypatch.setattr(demo, "find_model", lambda: checkpoint)
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "build").symlink_to(objects.QTXC.parents[1])
    monkeypatch.setattr(demo, "ROOT", tmp_path / "root")
    out = tmp_path / "out"
    monkeypatch.setattr(sys, "argv", [
        "demo.py", f"--output={out}", "--recipes=none,w8a8,peg:2,int8", "--calibration=10",
        "--evaluation=12"])
    assert demo.main() == 0

    rows = json.loads((out / "report.json").read_text())["rows"]
    assert [row["recipe"] for row in rows] == ["none", "w8a8", "peg:2", "int8"]
    assert rows[0]["worst"] < 1e-12 and rows[0]["same_top1"] == 1
    assert all(0 < row["mean"] < 0.1 for row in rows[1:])
    assert all((out / name / "report.html").exists() for name in ("w8a8", "peg-2", "int8"))
    table = capfd.readouterr().out.splitlines()
    assert all(any(line.startswith(row["recipe"] + " ") for line in table) for row in rows)

    # Only the default has a simulation, which loses about the same.
    assert [row["recipe"] for row in rows if "simulation" in row] == ["int8"]
    assert 0 < rows[3]["simulation"]["mean"] < 2 * rows[3]["mean"]
    assert any(line.startswith("int8 in float: ") for line in table)

    # The C program: the mean of the hidden states, of length 1.
    embeddings = np.fromfile(out / "none" / "embeddings.f32", np.float32).reshape(24, -1)
    tokens = np.fromfile(out / "tokens.i64", np.int64)
    ids = tokens[2 : 2 + tokens[1]][None]
    hidden = run_formulas(BERT, weights, ids, np.ones_like(ids), np.zeros_like(ids))[0]
    # fp32 rounding through two layers.
    np.testing.assert_allclose(embeddings[0], normalise(hidden.mean(0)[None])[0], atol=2e-5)


def normalise(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_equal_embeddings_have_no_error():
    rng = np.random.default_rng(0)
    queries, definitions = (normalise(rng.normal(size=(5, 8))) for _ in range(2))
    quality = similarity.compare(queries, definitions, queries, definitions)
    assert quality.worst < 1e-12 and quality.same_top1 == 1
    assert quality.spearman == pytest.approx(1)


def test_error_is_one_minus_cosine():
    eye = np.eye(4)
    turned = normalise(eye + [[0.1, 0, 0, 0]] * 4)
    quality = similarity.compare(turned, eye, eye, eye)
    expected = 1 - np.concatenate([np.sum(turned * eye, axis=1), np.ones(4)])
    assert quality.mean == pytest.approx(expected.mean())
    assert quality.worst == pytest.approx(expected.max())
    assert quality.recall_at_1 == 1


def test_spearman_counts_order_only():
    a = np.array([1.0, 2.0, 3.0, 4.0])
    assert similarity.spearman(a, np.exp(a)) == pytest.approx(1)
    assert similarity.spearman(a, -a) == pytest.approx(-1)
    # One exchange of neighbours among four: 1 - 6 * 2 / (4 * 15).
    assert similarity.spearman(a, np.array([1.0, 3.0, 2.0, 4.0])) == pytest.approx(0.8)
