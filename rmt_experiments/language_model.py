"""Accuracy on real sentences when a language model's are added to the training data: measured, and by the theory.

Each trial splits the real sentences, by review or at random, into a balanced test set and training sentences. It uses n
of these, and the first m of the generated ones in a random order, or those of them that a verifier keeps. The trials
share the one set of generated sentences; standard errors are over splits and orders.

Two predictions, both by the master theorem with the mean and covariance of the real sentences:

* "rates": the generated sentences have the mean and covariance that they have with the labels the jury gives them;
  their own labels are wrong with probability epsilon, and a verifier keeps right ones with probability phi and wrong
  ones with probability rho, whatever they say;
* "kept": the mean and covariance of what the verifier kept, as it was labelled, wrong labels and all.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial
from typing import Any

import numpy as np

from rmt_experiments.language_model_rates import VERIFIERS, rates
from rmt_experiments.llm import features
from rmt_experiments.llm.features import GAMMA
from rmt_experiments.llm.moments import balanced, extrapolated
from rmt_experiments.runner import Experiment, averages
from rmt_lib import Source, predict
from rmt_lib.checks import Array

SIZES = (50, 100, 200, 400, 800)
M = (0, 250, 500, 1000, 2000, 4000)
STRATEGIES = ("all", *VERIFIERS)


def kept(strategy: str) -> Array:
    """Mask of the generated sentences whose labels a verifier agrees with."""
    _, labels, opinions, _ = features.generated()
    return np.ones(len(labels), bool) if strategy == "all" else opinions[strategy] == labels


def accuracies(n: int, rng: np.random.Generator, *, by_review: bool) -> Array:
    """Test accuracy in one split, strategies by m."""
    train, test = features.split(rng, by_review=by_review)
    rows = features.Split(train[:n], test)
    labels = features.generated().labels
    order = rng.permutation(len(labels))
    measured = np.empty((len(STRATEGIES), len(M)))
    for row, strategy in zip(measured, STRATEGIES, strict=True):
        chosen = kept(strategy)
        for column, m in enumerate(M):
            added = order[:m][chosen[order[:m]]]
            row[column] = features.accuracy(rows, added, labels[added], total=n + m)
    return measured


def predictions(n: int) -> Array:
    """Accuracy by both predictions, strategies by m."""
    return extrapolated(partial(_predictions, n), seed=EXPERIMENT.seed)


def _predictions(n: int, rows: Array, written: Array) -> Array:
    """The same from these sentences only."""
    real, generated = features.real(), features.generated()
    target = balanced(real.x[rows], real.labels[rows])
    x, labels = generated.x[written], generated.labels[written]
    predicted = np.empty((2, len(STRATEGIES), len(M)))
    for i, strategy in enumerate(STRATEGIES):
        estimates, mask = assumed(strategy), kept(strategy)[written]
        mixtures = balanced(x, generated.opinions["jury"][written]), balanced(x[mask], labels[mask])
        for j, m in enumerate(M):
            drawn = Source(target, n), Source(mixtures[0], m, **estimates)
            left = Source(target, n), Source(mixtures[1], m * mask.mean())
            # The theory divides by the number of samples it is given, the classifier by n + m.
            gamma = GAMMA * (n + m) / (n + m * mask.mean())
            predicted[0, i, j] = predict(target, drawn, gamma=GAMMA).accuracy
            predicted[1, i, j] = predict(target, left, gamma=gamma).accuracy
    return predicted


@cache
def assumed(strategy: str) -> dict[str, float]:
    """epsilon, phi and rho of a strategy, as estimated."""
    counts = (np.ones(len(part.labels)) for part in (features.real(), features.generated()))
    estimates = rates(VERIFIERS[0] if strategy == "all" else strategy, *counts)
    return {name: float(estimates[name]) for name in ("epsilon", *(("phi", "rho") if strategy != "all" else ()))}


def measure(setting: Mapping[str, Any], trials: int, seed: np.random.SeedSequence) -> list[dict[str, Any]]:
    """For each strategy and m: accuracy, what it gains over m = 0 and over keeping all, both predictions."""
    n, by_review = setting["n"], setting["split"] == "by review"
    generators = map(np.random.default_rng, seed.spawn(trials))
    measured = np.array([accuracies(n, rng, by_review=by_review) for rng in generators])
    by_rates, by_kept = predictions(n)
    rows = []
    for i, strategy in enumerate(STRATEGIES):
        for j, m in enumerate(M):
            row: dict[str, Any] = {"strategy": strategy, "m": m, "kept": kept(strategy).mean() * m}
            accuracy = measured[:, i, j]
            values = {
                "accuracy": accuracy,
                "gain": accuracy - measured[:, i, 0],
                "over_all": accuracy - measured[:, 0, j],
            }
            predicted = {"rates": by_rates[i, j], "kept_moments": by_kept[i, j]}
            rows.append(row | averages(values) | predicted)
    return rows


EXPERIMENT = Experiment(
    name="language_model",
    seed=2410,
    trials=24,
    settings=[{"split": split, "n": n} for split in ("by review", "random") for n in SIZES],
    measure=measure,
    packages=("scikit-learn",),
)
