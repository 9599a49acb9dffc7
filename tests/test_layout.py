"""The house holds itself up: who may import whom, what an import loads, where a chapter's formulas live."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import rmt_lib
import rmt_lib.topics

ROOT = Path(__file__).resolve().parent.parent
LIBRARY = ROOT / "rmt_lib"
CORE = {path.stem for path in LIBRARY.glob("*.py")} - {"__init__"}
WINGS = {"figures", "datasets"}
TOPICS = {module.name for module in pkgutil.iter_modules(rmt_lib.topics.__path__)}
RAISE_NOTHING = {"best_on_grid", "defined_accuracy", "folded_accuracy", "weighted_sums", "z_of_real_data"}
"""Functions that take what others have checked."""
BUILDS_ON = {"weights": {"when_it_helps"}}
"""Topics that import another one."""


def imported(path):
    """Modules of this project that a file imports, at any depth of the file, as full names."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: imports are written in full"
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return {name for name in found if name.split(".")[0] in ("rmt_lib", "rmt_experiments")}


def modules(path):
    """The modules of `rmt_lib` that a file imports: "theory", "topics.weights", "figures.style"."""
    names = (name.removeprefix("rmt_lib.") for name in imported(path) if name.startswith("rmt_lib."))
    parts = (name.split(".") for name in names)
    return {".".join(part[:2]) if part[0] in {"topics", *WINGS} else part[0] for part in parts} - {"topics"}


def test_the_core_has_twelve_rooms():
    assert CORE == {
        "checks", "execution", "fitted", "isotropic", "marchenko_pastur", "model", "resolvent", "results", "selection",
        "simulation", "theory",
    }  # fmt: skip


@pytest.mark.parametrize("path", sorted(LIBRARY.glob("*.py")), ids=lambda path: path.stem)
def test_the_core_knows_no_wing_and_no_topic(path):
    assert modules(path) <= CORE | set(rmt_lib.__all__)


def closure(module):
    """Core modules that a core module loads, directly or not."""
    found, todo = set(), [module]
    while todo:
        new = (modules(LIBRARY / f"{todo.pop()}.py") & CORE) - found
        found |= new
        todo += new
    return found


def test_theory_and_simulation_never_import_one_another():
    theory = {"theory", "isotropic", "fitted", "resolvent", "marchenko_pastur"}
    assert not closure("simulation") & theory
    for module in theory:
        assert "simulation" not in closure(module)


def test_there_is_no_circle():
    for module in CORE:
        assert module not in closure(module), module


@pytest.mark.parametrize("topic", sorted(TOPICS))
def test_topics_import_topics_only_as_listed(topic):
    found = {name.split(".")[1] for name in modules(LIBRARY / "topics" / f"{topic}.py") if name.startswith("topics.")}
    assert found == BUILDS_ON.get(topic, set())
    assert not {name for name in modules(LIBRARY / "topics" / f"{topic}.py") if name.split(".")[0] in WINGS}


@pytest.mark.parametrize("path", sorted(LIBRARY.rglob("*.py")), ids=lambda path: path.stem)
def test_the_library_knows_no_experiment(path):
    assert not {name for name in imported(path) if name.startswith("rmt_experiments")}


@pytest.mark.parametrize("topic", sorted(TOPICS))
def test_a_topic_bears_the_name_of_its_chapter(topic):
    assert (ROOT / "chapters" / f"{topic}.ipynb").exists()


def test_topics_are_named_in_book_order():
    text = inspect.getdoc(rmt_lib)
    toc = (ROOT / "_toc.yml").read_text("utf8")
    places = [text.index(f"`{topic}`") for topic in sorted(TOPICS, key=lambda topic: toc.index(f"chapters/{topic}\n"))]
    assert places == sorted(places)


def test_the_library_loads_no_optional_package():
    code = "import sys, rmt_lib; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"matplotlib", "ipywidgets", "sklearn", "IPython", "distributed", "pandas"} & set(loaded)


def public_names():
    """(name, object) of every exported name, every public function or class of a topic, every one of a core tool."""
    for name in rmt_lib.__all__:
        yield name, getattr(rmt_lib, name)
    for module in [*(f"topics.{topic}" for topic in sorted(TOPICS)), "marchenko_pastur"]:
        loaded = importlib.import_module(f"rmt_lib.{module}")
        for name, value in vars(loaded).items():
            own = getattr(value, "__module__", None) == loaded.__name__
            if own and not name.startswith("_") and (inspect.isfunction(value) or inspect.isclass(value)):
                yield f"{module}.{name}", value


def carries_results_only(value):
    """A named tuple without an example is explained by the function that returns it."""
    return inspect.isclass(value) and issubclass(value, tuple)


PUBLIC = dict(public_names())


@pytest.mark.parametrize("name, value", PUBLIC.items(), ids=PUBLIC)
def test_a_public_name_has_an_example_and_says_what_it_raises(name, value):
    """The examples are run by doctest in the same session."""
    text = inspect.getdoc(value)
    assert text, name
    if not carries_results_only(value):
        assert ">>> " in text, f"{name} has no example"
    if inspect.isfunction(value) and name.split(".")[-1] not in RAISE_NOTHING:
        assert "Raises" in text, f"{name} does not say what it raises"
