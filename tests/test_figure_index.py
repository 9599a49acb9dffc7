"""Every row of the index of the paper's figures leads to a chapter, a figure or theorem, a function and a seed."""

from __future__ import annotations

import importlib
import pkgutil
import re
from pathlib import Path

import nbformat
import pytest

import rmt_lib.topics
from rmt_experiments.runner import read

ROOT = Path(__file__).resolve().parent.parent
ROLE = re.compile(r"\{(?:doc|numref|prf:ref)\}`([^`]+)`")
STATUS = ("reproduced", "corrected", "extended", "not reproduced")
THEOREMS = ("General theorem", "Estimated generator", "Synthetic only")


def table_rows():
    lines = (ROOT / "chapters" / "figure_index.md").read_text("utf8").splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return [row for row in cells if not row[0].startswith(":--") and row[1] != "Here"]


ROWS = table_rows()
FOUND = [row for row in ROWS if not row[4].startswith("not reproduced")]


def notebook(name):
    return nbformat.read(ROOT / "chapters" / f"{name}.ipynb", as_version=4)


def targets(chapter):
    """Names of the figures and labels of the numbered blocks of a chapter."""
    for cell in notebook(chapter).cells:
        yield from re.findall(r"(?m)^:label: (\S+)$", cell.source)
        name = cell.metadata.get("mystnb", {}).get("figure", {}).get("name")
        if name:
            yield name


def resolve(path):
    """The object that a name stands for: of `rmt_lib` itself, of one of its modules, or of one of its topics."""
    module, _, name = path.rpartition(".")
    topics = {found.name for found in pkgutil.iter_modules(rmt_lib.topics.__path__)}
    package = "rmt_lib.topics" if module in topics else "rmt_lib"
    return getattr(importlib.import_module(f"{package}.{module}".rstrip(".")), name)


def test_every_figure_and_theorem_of_the_paper_is_listed():
    first = [row[0] for row in ROWS]
    numbers = {int(number) for name in first for number in re.findall(r"^Figure (\d+)", name)}
    assert numbers == set(range(1, 10))
    assert set(THEOREMS) <= set(first)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_a_row_is_complete(row):
    assert len(row) == 5 and all(row)
    assert row[4].startswith(STATUS)
    if row not in FOUND:
        assert row[1:4] == ["—"] * 3 and len(row[4].removeprefix("not reproduced: ")) > 20, "no reason given"


@pytest.mark.parametrize("row", FOUND, ids=lambda row: row[0])
def test_a_row_leads_to_its_target(row):
    _, here, computed, seed_and_time, status = row
    seed, seconds = re.fullmatch(r"(\d+), (\d+) s", seed_and_time).groups()
    target, chapter = ROLE.findall(here)
    assert target in set(targets(chapter))
    elsewhere = {label for other in (ROOT / "chapters").glob("*.ipynb") for label in targets(other.stem)}
    assert set(ROLE.findall(status)) <= elsewhere
    function, *script = re.findall(r"`([^`]+)`", computed)
    assert callable(resolve(function))
    code = "\n".join(cell.source for cell in notebook(chapter).cells if cell.cell_type == "code")
    assert re.search(rf"\b{function.rpartition('.')[2]}\b", code), f"{chapter} does not use {function}"
    if not script:
        assert re.search(rf"\b{seed}\b", code) and int(seconds) > 0
        return
    (name,) = re.findall(r"^rmt_experiments/(\w+)\.py$", script[0])
    provenance = read(name).provenance
    assert name in code and seed == provenance["seed"]
    # Another run takes another time.
    assert 1 / 3 < int(seconds) / float(provenance["seconds"]) < 3
