"""Counterpart of the paper's Figure 8: more synthetic data under strong and weak supervision, label noise .1 and .5.

The synthetic data are generated sentences whose labels the jury of verifiers confirms; a label is then flipped with
probability epsilon. A coin keeps right labels with probability phi and wrong ones with rho; a third supervision is the
language model's own opinion of the sentence. The share of synthetic data is counted before verification. All
supervisions and shares of a trial use the same split and the same flips. The ridge penalty is tuned in every arm
("tuned"), or 1 everywhere ("accuracy", and the theory's).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from rmt_experiments.language_model import kept
from rmt_experiments.llm import features
from rmt_experiments.llm.moments import balanced, extrapolated
from rmt_experiments.runner import Experiment, averages
from rmt_lib import Source, predict
from rmt_lib.checks import Array

SHARES = (0.0, 0.58, 0.74, 0.81, 0.85, 0.88)
SUPERVISION = {"strong": (0.9, 0.2), "weak": (0.5, 0.5), "model": None}
"""phi and rho of the coin."""


def sizes(n: int) -> list[int]:
    """m for each share m / (n + m)."""
    return [round(share / (1 - share) * n) for share in SHARES]


def rates(supervision: str) -> tuple[float, float]:
    """phi and rho: of the coin, or as the language model's opinion has them on these sentences."""
    _, labels, opinions, _ = features.generated()
    confirmed = kept("jury")
    right = (opinions["model"] == labels)[confirmed].mean()
    return SUPERVISION[supervision] or (right, 1 - right)


def accuracies(n: int, epsilon: float, supervision: str, rng: np.random.Generator) -> list[features.Accuracy]:
    """In one split for each share."""
    generated = features.generated()
    train, test = features.split(rng)
    rows = features.Split(train[:n], test)
    order = rng.permutation(np.flatnonzero(kept("jury")))
    wrong, coin = rng.random((2, len(order)))
    wrong = wrong < epsilon
    given = np.where(wrong, -1, 1) * generated.labels[order]
    if supervision == "model":
        chosen = generated.opinions["model"][order] == given
    else:
        phi, rho = rates(supervision)
        chosen = coin < np.where(wrong, rho, phi)
    measured = []
    for m in sizes(n):
        added, labels = order[:m][chosen[:m]], given[:m][chosen[:m]]
        measured.append(features.accuracy(rows, generated.x[added], labels, total=n + m))
    return measured


def predictions(n: int, epsilon: float, supervision: str, rows: Array, written: Array) -> Array:
    """By the master theorem, for each share, from these real and generated sentences."""
    real, generated = features.real(), features.generated()
    target = balanced(real.x[rows], real.labels[rows])
    written = written[kept("jury")[written]]
    mixture = balanced(generated.x[written], generated.labels[written])
    phi, rho = rates(supervision)
    sources = ([Source(target, n), Source(mixture, m, epsilon=epsilon, phi=phi, rho=rho)] for m in sizes(n))
    return np.array([predict(target, drawn, gamma=features.GAMMA).accuracy for drawn in sources])


def measure(setting: Mapping[str, Any], trials: int, seed: np.random.SeedSequence) -> list[dict[str, float]]:
    """For each share: accuracy, what the synthetic data add to the real, the prediction."""
    arguments = tuple(setting[name] for name in ("n", "epsilon", "supervision"))
    # The seed's own number is left out: all settings see the same splits.
    generators = map(np.random.default_rng, np.random.SeedSequence(seed.entropy).spawn(trials))
    measured = np.array([accuracies(*arguments, rng) for rng in generators])
    theory = extrapolated(partial(predictions, *arguments), seed=EXPERIMENT.seed)
    phi, rho = rates(setting["supervision"])
    table = []
    for j, (share, m) in enumerate(zip(SHARES, sizes(setting["n"]), strict=True)):
        row = {"share": share, "m": m, "phi": phi, "rho": rho, "theory": theory[j]}
        gain = measured[:, j] - measured[:, 0]
        values = {
            "accuracy": measured[:, j, 0],
            "gain": gain[:, 0],
            "tuned": measured[:, j, 1],
            "tuned_gain": gain[:, 1],
        }
        table.append(row | averages(values) | {"gamma": np.exp(np.log(measured[:, j, 2]).mean())})
    return table


EXPERIMENT = Experiment(
    name="figure_8",
    seed=2410,
    trials=48,
    settings=[
        {"n": n, "epsilon": epsilon, "supervision": supervision}
        for n in (100, 400)
        for epsilon in (0.1, 0.5)
        for supervision in SUPERVISION
    ],
    measure=measure,
    packages=("scikit-learn",),
)
