"""Real and generated sentences as a ridge classifier sees them. Needs the stored files only: no model, no network.

Features are embeddings, shifted so that 0 is midway between the class means of the sentences set aside for prompts, and
scaled so that their variance within a class is 1 on average. Those sentences are used for nothing else here.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from rmt_experiments.figure_6 import FOLDS, folds
from rmt_experiments.llm import generate, verify
from rmt_experiments.llm.texts import whole_groups
from rmt_lib.checks import Array
from rmt_lib.datasets import amazon_snippets

GAMMA = 1.0
"""Penalty of the ridge classifier where it is not tuned."""
GAMMAS = tuple(10 ** (k / 4) for k in range(-4, 13))
"""Penalties that are tried, .1 to 1000."""
TESTED = 300
"""Test sentences of each class."""


class Sentences(NamedTuple):
    """Features (N, p), labels (N,), opinions (N,) of each verifier, and the review or prompt that each belongs to."""

    x: Array
    labels: Array
    opinions: dict[str, Array]
    groups: Array


class Split(NamedTuple):
    """Numbers of the real sentences to train on, alternating between the classes, and to test on, balanced."""

    train: Array
    test: Array


@lru_cache(maxsize=2)
def real(*, aside: bool = False) -> Sentences:
    """The Amazon sentences that no prompt may show, or those set aside, which prompts may show."""
    data, table = amazon_snippets(), verify.opinions("amazon")
    part = table.pop("aside") == aside
    opinions = {name: values[part] for name, values in table.items() if name not in ("number", "label")}
    return Sentences(_scaled(data.features[part]), data.labels[part], opinions, data.groups[part])


@lru_cache(maxsize=len(generate.SETS))
def generated(name: verify.Kind = "generated") -> Sentences:
    """The sentences of a generated set, with the labels of their prompts."""
    source = generate.OUTPUT.with_stem(name)
    with np.load(source.with_suffix(".npz")) as stored:
        x = _scaled(stored["embeddings"].astype(float))
    table = verify.opinions(name)
    opinions = {who: values for who, values in table.items() if who not in ("number", "label", "aside")}
    return Sentences(x, table["label"], opinions, generate.prompt_numbers(source))


def split(rng: np.random.Generator, *, by_review: bool = True, pool: Array | None = None, count: int = TESTED) -> Split:
    """Test on `count` sentences of each class from reviews drawn at random, train on the other reviews.

    Unless `by_review`, on sentences drawn at random; then a review has sentences on both sides. All sentences are from
    a `pool` of numbers, by default all.
    """
    pool = np.arange(len(real().labels)) if pool is None else pool
    labels = real().labels[pool]
    reviews = real().groups[pool] if by_review else pool
    order = rng.permutation(len(labels))
    to_test = whole_groups(reviews, labels, count, rng)
    tested = [order[((labels == label) & to_test)[order]][:count] for label in (-1, 1)]
    left = [order[((labels == label) & ~to_test)[order]] for label in (-1, 1)]
    size = min(map(len, left))
    return Split(pool[np.column_stack([part[:size] for part in left]).ravel()], pool[np.concatenate(tested)])


def ridge(x: Array, labels: Array, total: int) -> Array:
    """The ridge classifier (p,) of kept samples, of a `total` drawn."""
    return np.linalg.solve(x.T @ x / total + GAMMA * np.eye(x.shape[1]), x.T @ labels / total)


class Accuracy(NamedTuple):
    """On test sentences: at the penalty GAMMA, at the penalty chosen by cross-validation, and that penalty."""

    fixed: float
    tuned: float
    gamma: float


def accuracy(rows: Split, added: Array, labels: Array, *, total: int) -> Accuracy:
    """Ridge regression on the real training sentences and on `added` ones, features (k, p) and `labels` (k,).

    `total` samples were drawn, kept or not.
    """
    x, y = (np.concatenate(pair) for pair in ((real().x[rows.train], added), (real().labels[rows.train], labels)))
    tested = real().x[rows.test], real().labels[rows.test]
    return tuned_accuracy(x, y, real().groups[rows.train], *tested, total=total)


def tuned_accuracy(
    x: Array, labels: Array, groups: Array, tested: Array, tested_labels: Array, *, total: int
) -> Accuracy:
    """Ridge regression on rows x, of which the first ones are real and have `groups`, of a `total` drawn.

    The penalty is chosen by a cross-validation over the real rows, whose folds keep groups whole; the other rows are in
    every fold's training part. Of several penalties that are equally good there, the middle one is taken.
    """
    values, vectors = np.linalg.eigh(x.T @ x)
    moment = (vectors.T @ (x.T @ labels))[:, None]

    def scores(rotated: Array, size: int) -> tuple[Array, Array]:
        """Of rows (k, p) by each classifier, and the inverses (p, gammas) at penalties that grow with the size."""
        inverse = 1 / (values[:, None] + size * np.array(GAMMAS))
        return rotated @ (moment * inverse), inverse

    right, fold, real_rows = np.zeros(len(GAMMAS)), folds(groups), slice(len(groups))
    for k in range(FOLDS):
        held, truth = x[real_rows][fold == k] @ vectors, labels[real_rows][fold == k][:, None]
        fitted, inverse = scores(held, total - len(held))
        # Leaving rows out divides their residuals by 1 - their leverage: no classifier is fitted anew.
        leverage = (held * inverse.T[:, None]) @ held.T
        residual = np.linalg.solve(np.eye(len(held)) - leverage, (truth - fitted).T[:, :, None])[:, :, 0].T
        right += ((truth - residual) * truth > 0).sum(axis=0)
    score, _ = scores(tested @ vectors, total)
    measured = (score * tested_labels[:, None] > 0).mean(axis=0)
    best = int(np.median(np.flatnonzero(right == right.max())))
    return Accuracy(float(measured[GAMMAS.index(GAMMA)]), float(measured[best]), GAMMAS[best])


@lru_cache(maxsize=1)
def _frame() -> tuple[Array, float]:
    """Shift and scale."""
    data, shown = amazon_snippets(), verify.scores("amazon")["aside"] == 1
    classes = [data.features[shown & (data.labels == label)] for label in (-1, 1)]
    spread = np.concatenate([rows - rows.mean(axis=0) for rows in classes])
    return (classes[0].mean(axis=0) + classes[1].mean(axis=0)) / 2, float(np.sqrt((spread**2).mean()))


def _scaled(embeddings: Array) -> Array:
    shift, scale = _frame()
    return (embeddings - shift) / scale
