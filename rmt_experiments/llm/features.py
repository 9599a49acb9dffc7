"""Real and generated sentences as a ridge classifier sees them. Needs the stored files only: no model, no network.

Features are embeddings, shifted so that 0 is midway between the class means of the sentences set aside for prompts, and
scaled so that their variance within a class is 1 on average. Those sentences are used for nothing else here.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from rmt_experiments.llm import embed, generate, verify
from rmt_experiments.llm.texts import whole_groups
from rmt_lib.checks import Array
from rmt_lib.datasets import amazon_snippets

GAMMA = 1.0
"""Penalty of the ridge classifier."""
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


@lru_cache(maxsize=1)
def real() -> Sentences:
    """The Amazon sentences that no prompt may show."""
    data, table = amazon_snippets(), verify.opinions("amazon")
    left = table.pop("aside") == 0
    opinions = {name: values[left] for name, values in table.items() if name not in ("number", "label")}
    return Sentences(_scaled(data.features[left]), data.labels[left], opinions, data.groups[left])


@lru_cache(maxsize=1)
def generated() -> Sentences:
    """The generated sentences, with the labels of their prompts."""
    with np.load(embed.OUTPUT) as stored:
        x = _scaled(stored["embeddings"].astype(float))
    table = verify.opinions("generated")
    opinions = {name: values for name, values in table.items() if name not in ("number", "label", "aside")}
    return Sentences(x, table["label"], opinions, generate.prompt_numbers())


def split(rng: np.random.Generator, *, by_review: bool = True) -> Split:
    """Test on 300 sentences of each class from reviews drawn at random, train on the other reviews.

    Unless `by_review`, on sentences drawn at random; then a review has sentences on both sides.
    """
    _, labels, _, groups = real()
    reviews = groups if by_review else np.arange(len(labels))
    order = rng.permutation(len(labels))
    to_test = whole_groups(reviews, labels, TESTED, rng)
    tested = [order[((labels == label) & to_test)[order]][:TESTED] for label in (-1, 1)]
    left = [order[((labels == label) & ~to_test)[order]] for label in (-1, 1)]
    size = min(map(len, left))
    return Split(np.column_stack([part[:size] for part in left]).ravel(), np.concatenate(tested))


def ridge(x: Array, labels: Array, total: int) -> Array:
    """The ridge classifier (p,) of kept samples, of a `total` drawn."""
    return np.linalg.solve(x.T @ x / total + GAMMA * np.eye(x.shape[1]), x.T @ labels / total)


def accuracy(rows: Split, written: Array, labels: Array, *, total: int) -> float:
    """Accuracy on the test sentences of ridge regression on the training sentences and generated ones.

    `written` are the numbers of the generated ones and `labels` their labels; `total` samples were drawn, kept or not.
    """
    x = np.concatenate([real().x[rows.train], generated().x[written]])
    y = np.concatenate([real().labels[rows.train], labels])
    return float((np.sign(real().x[rows.test] @ ridge(x, y, total)) == real().labels[rows.test]).mean())


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
