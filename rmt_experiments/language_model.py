"""Accuracy on real sentences when a language model's are added to the training data: measured, and by the theory.

Each trial splits the real sentences, by review or at random, into a balanced test set and training sentences. It uses n
of these, and the first m of the generated ones in a random order, or those of them that a verifier keeps. The ridge
penalty is tuned in every arm ("tuned"), or 1 everywhere ("accuracy"); "itself" is the accuracy of the verifier's own
opinions on the same test sentences. The trials share one set of real and one set of generated sentences; standard
errors are over splits and orders.

Two predictions at the penalty 1, both by the master theorem with the mean and covariance of the real sentences:

* "rates": the generated sentences have the mean and covariance that they have with the labels the jury gives them;
  their own labels are wrong with probability epsilon, and a verifier keeps right ones with probability phi and wrong
  ones with probability rho, whatever they say;
* "kept": the mean and covariance of what the verifier kept, as it was labelled, wrong labels and all.

"tuned_moments" is the second one at the penalty that it says is best.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial
from typing import Any

import numpy as np

from rmt_experiments.language_model_rates import VERIFIERS, rates
from rmt_experiments.llm import features, verify
from rmt_experiments.llm.features import GAMMA
from rmt_experiments.llm.moments import balanced, extrapolated
from rmt_experiments.runner import Experiment, averages
from rmt_lib import Source, predict
from rmt_lib.checks import Array

SIZES = (50, 100, 200, 400, 800)
M = (0, 250, 500, 1000, 2000, 4000)
STRATEGIES = ("all", *VERIFIERS)
PREDICTED = (GAMMA, 0.1, 3.0, 10.0, 100.0)
"""Penalties of the predictions from what is kept."""


def kept(strategy: str, name: verify.Kind = "generated") -> Array:
    """Mask of the sentences of a generated set whose labels a verifier agrees with."""
    _, labels, opinions, _ = features.generated(name)
    return np.ones(len(labels), bool) if strategy == "all" else opinions[strategy] == labels


def accuracies(n: int, rng: np.random.Generator, *, by_review: bool) -> tuple[Array, Array]:
    """In one split `features.Accuracy`, strategies by m by its three; and the accuracy of each verifier itself."""
    train, test = features.split(rng, by_review=by_review)
    rows = features.Split(train[:n], test)
    sentences, truth = features.generated(), features.real()
    order = rng.permutation(len(sentences.labels))
    measured = np.empty((len(STRATEGIES), len(M), 3))
    for i, strategy in enumerate(STRATEGIES):
        chosen = kept(strategy)
        for j, m in enumerate(M):
            added = order[:m][chosen[order[:m]]]
            if i and not m:
                measured[i, j] = measured[0, j]
            else:
                measured[i, j] = features.accuracy(rows, sentences.x[added], sentences.labels[added], total=n + m)
    right = [(truth.opinions[name] == truth.labels)[test].mean() for name in VERIFIERS]
    return measured, np.array([np.nan, *right])


@cache
def predictions(n: int) -> Array:
    """Accuracy by the three predictions, by strategies, by m."""
    predicted = extrapolated(partial(_predictions, n), seed=EXPERIMENT.seed)
    return np.concatenate([predicted[:2], predicted[1:].max(axis=0, keepdims=True)])


def _predictions(n: int, rows: Array, written: Array) -> Array:
    """From these sentences only: by rates, and from what is kept at each penalty."""
    real, generated = features.real(), features.generated()
    target = balanced(real.x[rows], real.labels[rows])
    x, labels = generated.x[written], generated.labels[written]
    predicted = np.empty((1 + len(PREDICTED), len(STRATEGIES), len(M)))
    for i, strategy in enumerate(STRATEGIES):
        estimates, mask = assumed(strategy), kept(strategy)[written]
        mixtures = balanced(x, generated.opinions["jury"][written]), balanced(x[mask], labels[mask])
        for j, m in enumerate(M):
            drawn = Source(target, n), Source(mixtures[0], m, **estimates)
            left = Source(target, n), Source(mixtures[1], m * mask.mean())
            predicted[0, i, j] = predict(target, drawn, gamma=GAMMA).accuracy
            # The theory divides by the number of samples it is given, the classifier by n + m.
            ratio = (n + m) / (n + m * mask.mean())
            predicted[1:, i, j] = [predict(target, left, gamma=gamma * ratio).accuracy for gamma in PREDICTED]
    return predicted


@cache
def assumed(strategy: str) -> dict[str, float]:
    """epsilon, phi and rho of a strategy, as estimated."""
    counts = (np.ones(len(part.labels)) for part in (features.real(), features.generated()))
    estimates = rates(VERIFIERS[0] if strategy == "all" else strategy, *counts)
    return {name: float(estimates[name]) for name in ("epsilon", *(("phi", "rho") if strategy != "all" else ()))}


def measure(setting: Mapping[str, Any], trials: int, seed: np.random.SeedSequence) -> list[dict[str, Any]]:
    """For each strategy and m: accuracy, what it gains over m = 0 and over keeping all, and the predictions.

    "gamma" is the geometric mean of the tuned penalties.
    """
    n, by_review = setting["n"], setting["split"] == "by review"
    results = [accuracies(n, np.random.default_rng(child), by_review=by_review) for child in seed.spawn(trials)]
    measured, itself = (np.array(values) for values in zip(*results, strict=True))
    predicted = predictions(n)
    rows = []
    for i, strategy in enumerate(STRATEGIES):
        for j, m in enumerate(M):
            row: dict[str, Any] = {"strategy": strategy, "m": m, "kept": kept(strategy).mean() * m}
            values = {}
            for prefix, everything in (("", measured[..., 0]), ("tuned_", measured[..., 1])):
                accuracy = everything[:, i, j]
                values[prefix.rstrip("_") or "accuracy"] = accuracy
                values[f"{prefix}gain"] = accuracy - everything[:, i, 0]
                values[f"{prefix}over_all"] = accuracy - everything[:, 0, j]
            row |= averages(values | {"itself": itself[:, i]})
            row["gamma"] = np.exp(np.log(measured[:, i, j, 2]).mean())
            rows.append(row | dict(zip(("rates", "kept_moments", "tuned_moments"), predicted[:, i, j], strict=True)))
    return rows


EXPERIMENT = Experiment(
    name="language_model",
    seed=2410,
    trials=24,
    settings=[{"split": split, "n": n} for split in ("by review", "random") for n in SIZES],
    measure=measure,
    packages=("scikit-learn",),
)
