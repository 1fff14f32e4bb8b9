# Part of the qtx project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The documentation is complete, and its links lead somewhere."""

import fcntl
import re
import subprocess

import pytest
from examples import check_example, extract_examples
from sources import BUILD, ROOT, list_tracked, load_ops, load_passes

PAGES = [path for path in list_tracked() if path.suffix == ".md"]
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(#[^)\s]*)?\)")


@pytest.fixture(scope="session")
def reference():
    """The generated pages, by name."""
    # Several processes may run tests; one builds at a time.
    with open(BUILD / "docs.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        subprocess.run(["ninja", "-C", BUILD, "qtx-doc"], check=True, capture_output=True)
    pages = (BUILD / "docs" / "reference").glob("*.md")
    return {path.name: path.read_text() for path in pages}


def test_every_op_has_an_entry(reference):
    missing = [n for n, _ in load_ops() if f"### `qtx.{n}`" not in reference["Dialect.md"]]
    assert missing == []


def test_every_pass_has_an_entry(reference):
    text = "\n".join(reference.values())
    assert [n for n, _ in load_passes() if f"### `-{n}`" not in text] == []


@pytest.mark.parametrize("page", PAGES, ids=[str(p.relative_to(ROOT)) for p in PAGES])
def test_links(page):
    for target, _ in LINK.findall(page.read_text()):
        if "://" in target or target.startswith("mailto:"):
            continue
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=[str(p.relative_to(ROOT)) for p in PAGES])
def test_examples(page):
    for example in extract_examples(page.read_text()):
        errors = check_example(BUILD / "bin" / "qtx-opt", example)
        assert not errors, f"an example of {page.name} is not valid:\n{example}\n{errors}"


def test_index_names_every_page():
    index = (ROOT / "docs" / "README.md").read_text()
    pages = [p for p in PAGES if ROOT / "docs" in p.parents and p.name != "README.md"]
    assert [p for p in pages if str(p.relative_to(ROOT / "docs")) not in index] == []
