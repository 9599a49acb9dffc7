"""Rules for the notebooks as they are stored in git; nbval runs them in the same test session."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import nbformat
import pytest
import yaml
from refresh_notebooks import CHECKED, as_text, normalise

ROOT = Path(__file__).resolve().parent.parent
CHAPTERS = sorted((ROOT / "chapters").glob("*.ipynb"))
pytestmark = pytest.mark.skipif(not CHAPTERS, reason="no notebook in chapters/")


@pytest.fixture(params=CHAPTERS, ids=lambda path: path.name)
def path(request):
    return request.param


@pytest.fixture
def notebook(path):
    return nbformat.read(path, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def called_names(cell):
    """Names of the functions and methods a cell calls; lines of IPython's own syntax are left out."""
    source = re.sub(r"(?m)^(\s*)[%!].*$", r"\1pass", cell.source)
    calls = (node.func for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    return {func.attr if isinstance(func, ast.Attribute) else getattr(func, "id", "") for func in calls}


def test_is_in_the_table_of_contents(path):
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text("utf8"))
    files = [toc["root"]] + [chapter["file"] for part in toc["parts"] for chapter in part["chapters"]]
    assert path.relative_to(ROOT).with_suffix("").as_posix() in files


def test_is_run_by_nbval(path, request):
    """A session told to use nbval has collected this notebook."""
    if not (request.config.option.nbval or request.config.option.nbval_lax):
        pytest.skip("this session does not use nbval: run make test")
    collected = {item.path for item in request.session.items if item.path.suffix == ".ipynb"}
    assert path in collected


def test_is_stored_in_normal_form(path, notebook):
    """Text outputs of checked cells only, no images or widgets, no counts, stable ids."""
    # Not compared in the assertion itself: its report would print the whole notebook.
    same = path.read_text("utf8") == as_text(normalise(notebook))
    assert same, f"{path.name} is not in normal form: run make notebooks"


def test_checked_cells_hold_their_output(notebook):
    empty = [
        cell.source for cell in code_cells(notebook) if CHECKED in cell.metadata.get("tags", []) and not cell.outputs
    ]
    assert not empty, f"tagged {CHECKED} but without text: " + "\n---\n".join(empty)


def test_printed_numbers_are_checked(notebook):
    """Every cell that prints has its output stored and compared."""
    loose = [
        cell.source
        for cell in code_cells(notebook)
        if "print" in called_names(cell) and CHECKED not in cell.metadata.get("tags", [])
    ]
    assert not loose, f"prints, but is not tagged {CHECKED}:\n" + "\n---\n".join(loose)


def test_figures_have_alternative_text(notebook):
    """A cell that shows a matplotlib figure says in words what it shows."""
    bare = [
        cell.source
        for cell in code_cells(notebook)
        if "show" in called_names(cell) and not cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "").strip()
    ]
    assert not bare, "plt.show() without mystnb.image.alt in the metadata of the cell:\n" + "\n---\n".join(bare)


def test_heading_levels_are_in_order(notebook):
    """One title, first; no level is skipped."""
    text = "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    text = re.sub(r"(?ms)^(`{3,}|:{3,}|~{3,}).*?^\1", "", text)
    levels = [len(marks) for marks in re.findall(r"(?m)^(#{1,6}) ", text)]
    assert levels and levels[0] == 1 and levels.count(1) == 1, levels
    assert all(after <= before + 1 for before, after in zip(levels, levels[1:], strict=False)), levels


def test_a_chapter_with_a_theorem_has_a_figure_that_moves(notebook):
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    if "{prf:theorem}" in text or "{prf:proposition}" in text:
        assert any("explore" in called_names(cell) for cell in code_cells(notebook))
