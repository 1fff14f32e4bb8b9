# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""English text from WordNet (Debian's wordnet-base): definitions and example sentences.

The format is that of wndb(5WN). A synset has lemmas, a definition and examples; the
retrieval task asks for the definition that belongs to an example sentence.
"""

import pathlib
import random
from typing import Iterator, List, NamedTuple, Tuple

FOLDER = pathlib.Path("/usr/share/wordnet")


class Synset(NamedTuple):
    """A sense: its first lemma, its definition and its example sentences."""

    lemma: str
    definition: str
    examples: Tuple[str, ...]


class Texts(NamedTuple):
    """Texts of one experiment; no synset gives texts to both calibration and evaluation.

    `queries[i]` belongs to `definitions[i]`.
    """

    calibration: List[str]
    queries: List[str]
    definitions: List[str]


def read_synsets(folder: pathlib.Path = FOLDER) -> Iterator[Synset]:
    """All synsets, in the order of the files."""
    for part in ("noun", "verb", "adj", "adv"):
        path = folder / f"data.{part}"
        if not path.exists():
            raise FileNotFoundError(f"expected {path} of Debian's wordnet-base, found no file")
        with path.open(encoding="utf-8") as lines:
            # The licence comes first, on indented lines.
            yield from (_parse(line) for line in lines if not line.startswith(" "))


def _parse(line: str) -> Synset:
    fields, _, gloss = line.partition(" | ")
    lemma = fields.split(" ")[4].replace("_", " ")
    pieces = gloss.strip().split('"')
    examples = tuple(p.strip() for p in pieces[1::2] if len(p.split()) > 2)
    return Synset(lemma, pieces[0].strip(" ;"), examples)


def choose_texts(calibration: int, evaluation: int, seed: int = 0, skip: int = 0) -> Texts:
    """Draws `calibration` texts, and `evaluation` queries with their definitions.

    Half of the calibration texts are definitions, half are queries, of synsets that
    the evaluation does not use. No two definitions of the evaluation are equal.
    Another `skip` gives other calibration texts for the same evaluation.
    """
    synsets = [s for s in read_synsets() if s.examples and len(s.definition.split()) > 2]
    random.Random(seed).shuffle(synsets)
    chosen = list({s.definition: s for s in synsets}.values())
    if len(chosen) < evaluation + skip + calibration:
        raise ValueError(f"expected at most {len(chosen)} texts in all")
    # The evaluation comes first: it is the same for any number of calibration texts.
    tested, rest = chosen[:evaluation], chosen[evaluation + skip :][:calibration]
    return Texts(
        [s.definition if i % 2 else _query(s) for i, s in enumerate(rest)],
        [_query(s) for s in tested],
        [s.definition for s in tested],
    )


def _query(synset: Synset) -> str:
    return f"{synset.lemma}: {synset.examples[0]}"
