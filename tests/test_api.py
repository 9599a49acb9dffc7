"""The page of functions lists what there is to call, and its note on scikit-learn holds to rounding."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import Ridge, RidgeClassifier

import rmt_lib
import rmt_lib.topics

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "chapters" / "api.md").read_text("utf8")
TOPICS = [f"rmt_lib.topics.{module.name}" for module in pkgutil.iter_modules(rmt_lib.topics.__path__)]

# An entry of the reference, with the options below it.
ENTRY = re.compile(r"^\.\. auto(\w+):: (\S+)\n((?:   :.*\n)*)", re.MULTILINE)
ENTRIES = [(kind, name, options) for kind, name, options in ENTRY.findall(PAGE)]
WHOLE_MODULES = {name for kind, name, options in ENTRIES if kind == "module" and ":members:\n" in options}

TABLE = [line for line in PAGE.splitlines() if line.startswith("| ")]
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in TABLE[1:]]
LINK = re.compile(r"\{py:(?:func|class|meth)\}`[^`<]+<([\w.]+)>`")
CHAPTER = re.compile(r"\{doc\}`(\w+)`")


def resolve(name):
    """The object of a full name such as `rmt_lib.Population.of_data`."""
    parts = name.split(".")
    for size in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:size]))
        except ModuleNotFoundError:
            continue
        for part in parts[size:]:
            found = getattr(found, part)
        return found
    raise ModuleNotFoundError(name)


# ------------------------------------------------------------------------------------------------ what is listed


def test_every_exported_name_has_an_entry():
    listed = {name for _, name, _ in ENTRIES}
    assert {f"rmt_lib.{name}" for name in rmt_lib.__all__} <= listed


@pytest.mark.parametrize("topic", TOPICS)
def test_every_public_function_of_a_topic_has_an_entry(topic):
    module = importlib.import_module(topic)
    public = {
        f"{topic}.{name}"
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (inspect.isfunction(value) or inspect.isclass(value))
        and value.__module__ == topic
    }
    assert public
    assert topic in WHOLE_MODULES or public <= {name for _, name, _ in ENTRIES}


def test_every_entry_is_there():
    module = ""
    for kind, name, _ in ENTRIES:
        if kind == "module":
            module = name
        resolve(name if "." in name else f"{module}.{name}")


# -------------------------------------------------------------------------------------------- the table of questions


def test_the_table_is_read_as_meant():
    assert TABLE[0].split("|")[1].strip() == "Question"
    assert 25 <= len(ROWS) <= 40


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:40])
def test_a_row_names_what_can_be_called_and_a_chapter(row):
    question, function, chapter = row
    assert question.endswith("?")
    names = LINK.findall(function)
    assert names
    for name in names:
        assert callable(resolve(name)), name
    chapters = CHAPTER.findall(chapter)
    assert chapters
    for name in chapters:
        assert any((ROOT / "chapters" / f"{name}{suffix}").exists() for suffix in (".ipynb", ".md")), name


# ------------------------------------------------------------------------------------------------ scikit-learn

N_REAL, N_SYNTHETIC, GAMMA, OMEGA = 60, 90, 0.3, 0.4


@pytest.fixture
def data():
    """Features, given labels, true classes, kept rows and weights of real and synthetic samples."""
    rng = np.random.default_rng(2410)
    size = N_REAL + N_SYNTHETIC
    y = rng.choice([-1.0, 1.0], size)
    x = 0.4 * y[:, None] + 0.5 + rng.standard_normal((size, 20))
    synthetic = np.arange(size) >= N_REAL
    labels = np.where(synthetic & (rng.random(size) < 0.3), -y, y)
    kept = ~synthetic | (rng.random(size) < 0.6)
    return x, labels, y, kept, np.where(synthetic, OMEGA, 1.0)


def minimiser(u, s, q):
    """The w of 1/N sum_i q_i (s_i - u_i' w)^2 + gamma |w|^2, N counting dropped samples (q = 0), too."""
    size = len(u)
    return np.linalg.solve(GAMMA * np.eye(u.shape[1]) + (q * u.T) @ u / size, (q * u.T) @ s / size)


@pytest.mark.parametrize("kind", [Ridge, RidgeClassifier])
def test_gamma_is_alpha_over_the_samples_drawn(data, kind):
    x, labels, y, kept, weight = data
    assert 0 < (~kept).sum()
    w = minimiser(y[:, None] * x, y * labels, kept * weight)
    theirs = kind(alpha=GAMMA * len(x), fit_intercept=False).fit(x[kept], labels[kept], sample_weight=weight[kept])
    np.testing.assert_allclose(theirs.coef_.ravel(), w, rtol=1e-10, atol=1e-12)


def test_a_large_constant_coordinate_is_their_intercept(data):
    x, labels, y, kept, weight = data
    scale = 1e4
    w = minimiser(y[:, None] * np.column_stack([x, np.full(len(x), scale)]), y * labels, kept * weight)
    theirs = Ridge(alpha=GAMMA * len(x)).fit(x[kept], labels[kept], sample_weight=weight[kept])
    # What is left of the penalty on the intercept is of order gamma / scale^2.
    np.testing.assert_allclose([*theirs.coef_, theirs.intercept_], [*w[:-1], scale * w[-1]], rtol=0, atol=1e-7)


def test_many_classes_are_coded_otherwise_and_guessed_alike(data):
    x, _, _, kept, weight = data
    labels = np.random.default_rng(2411).integers(0, 4, len(x))
    ours = minimiser(x, np.eye(4)[labels], kept * weight)
    theirs = RidgeClassifier(alpha=GAMMA * len(x), fit_intercept=False)
    theirs.fit(x[kept], labels[kept], sample_weight=weight[kept])
    np.testing.assert_array_equal((x @ ours).argmax(axis=1), theirs.predict(x))
