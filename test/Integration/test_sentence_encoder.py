# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The parts of the demo that need neither the model nor the text."""

import pathlib
import sys

import numpy as np
import pytest

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
    with pytest.raises(ValueError, match="expected at most 40 texts"):
        wordnet.choose_texts(31, 10)


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
