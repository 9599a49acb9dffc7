"""The real sentences: which of them go into prompts, and which are left for training and testing."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from rmt_lib.checks import Array
from rmt_lib.datasets.embed_snippets import clear, snippets

SEED = 2410
_PER_CLASS = 100
_LENGTHS = range(5, 41)


class Sentence(NamedTuple):
    """A sentence: its number among those of its kind, its label (1 if it says something good, -1 if bad), its text."""

    number: int
    label: int
    text: str


@lru_cache(maxsize=2)
def sentences(kind: str) -> list[Sentence]:
    """The clearly rated sentences of `amazon` or `movies`, in the order of `rmt_lib.datasets.amazon_snippets`."""
    rated = clear(snippets(kind))
    return [Sentence(number, int(np.sign(rating)), text) for number, (_, rating, text) in enumerate(rated)]


@lru_cache(maxsize=2)
def aside(kind: str) -> Array:
    """Mask of the sentences that prompts may show: whole reviews, until there are 100 sentences of each class."""
    labels = np.array([label for _, label, _ in sentences(kind)])
    reviews = np.array([review for review, _, _ in clear(snippets(kind))])
    return whole_groups(reviews, labels, _PER_CLASS, np.random.default_rng(SEED))


def whole_groups(groups: Array, labels: Array, count: int, rng: np.random.Generator) -> Array:
    """Mask of the members of groups drawn at random, one after another until there are `count` of each class."""
    names, number = np.unique(groups, return_inverse=True)
    turn = np.argsort(rng.permutation(names))[number]  # when its group is drawn
    return turn <= max(np.sort(turn[labels == label])[count - 1] for label in (-1, 1))


@lru_cache(maxsize=2)
def prompt_sentences(kind: str) -> list[Sentence]:
    """Those set aside that have 5 to 40 words."""
    shown = [sentence for sentence, may in zip(sentences(kind), aside(kind), strict=True) if may]
    return [sentence for sentence in shown if len(sentence.text.split()) in _LENGTHS]
