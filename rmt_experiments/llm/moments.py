"""Mixtures estimated from real and generated sentences, for the theory."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from rmt_experiments.llm import features
from rmt_lib import Mixture
from rmt_lib.checks import Array

PAIRS = 2
"""Random partitions into halves that `extrapolated` averages over."""


def balanced(x: Array, labels: Array) -> Mixture:
    """Mean and covariance of the signed features of rows x (N, p), where each label (N,) counts alike."""
    weights = sum((labels == label) / (labels == label).sum() for label in np.unique(labels))
    u = labels[:, None] * x
    return Mixture(np.average(u, axis=0, weights=weights), np.cov(u.T, aweights=weights, ddof=0))


def extrapolated(predicted: Callable[[Array, Array], Array], *, seed: int, written: int | None = None) -> Array:
    """`predicted` of the numbers of all real and all generated sentences, without its bias of first order.

    There are `written` generated ones, by default those of the first set.

    Where moments are estimated from k sentences, a prediction errs by about c / k. Twice the prediction from all
    sentences less that from half of them does not; the half is a random one, and both sides of it are averaged.
    """
    sizes = [len(features.real().labels), len(features.generated().labels) if written is None else written]
    halves = []
    for rng in map(np.random.default_rng, np.random.SeedSequence(seed).spawn(PAIRS)):
        orders = [rng.permutation(size) for size in sizes]
        halves += [predicted(*(order[: len(order) // 2] for order in orders))]
        halves += [predicted(*(order[len(order) // 2 :] for order in orders))]
    return 2 * predicted(*map(np.arange, sizes)) - np.mean(halves, axis=0)
