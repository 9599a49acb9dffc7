"""Counterpart of the paper's Figure 6: features of Amazon reviews, real and Gaussian; as released, and clean splits.

A split gives 800 rows to train on and 600 others to a held-out generator. Five procedures use the same splits and the
same noise:

* "released": features standardised on all rows; the generator has the mean of all rows and the covariance of the
  training rows around it; tested on all rows, training rows included.
* "fresh_test": the same classifiers, tested on the rows they were not trained on.
* "reused": everything from the training rows; tested on all others.
* "more_rows": as "reused", but the generator's mean is that of both the training rows and the 600; tested on the rest.
* "held_out": standardised on the training rows; the generator is fitted to the 600; tested on the rest.

Beside them "tuned": the training rows alone, at the penalty that is best in a fivefold cross-validation on them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.linalg import solve

from rmt_experiments.runner import Experiment, averages
from rmt_lib.checks import Array
from rmt_lib.datasets import DOMAINS, Dataset, amazon_reviews, amazon_snippets

N, N_HAT, EPSILON, GAMMA = 800, 600, 0.2, 0.1
SIZES = (0, 1, N // 4, N // 2, N, 2 * N, 5 * N, 10 * N, 15 * N)  # synthetic samples drawn
SUPERVISION = ("none", "oracle")  # (rho, phi) = (1, 1) and (0, 1)
GAMMAS = (0.1, 1.0, 3.0, 10.0)
TUNING_GAMMAS = tuple(np.geomspace(0.1, 1000, 17))
FOLDS = 5
PROCEDURES = ("released", "fresh_test", "reused", "more_rows", "held_out")


class Split(NamedTuple):
    """Numbers of rows: to train on, to fit a held-out generator to, to test on."""

    train: Array
    seen: Array
    test: Array


class Trial(NamedTuple):
    """Accuracies (procedure, supervision, m, gamma), those of "tuned" on the same rows (procedure), its penalty."""

    accuracy: Array
    tuned: Array
    tuned_gamma: float
    tested: Array


def load(domain: str) -> Dataset:
    """The task of a name: a domain of `amazon_reviews`, or "snippets"."""
    return amazon_snippets() if domain == "snippets" else amazon_reviews(domain)


def signed_features(data: Dataset, rows: Array) -> Array:
    """u = y x of all rows, centred and scaled by what `rows` say.

    Centred at the midpoint of their class means, so that their mean of u is half the difference of the class means;
    each feature divided by its standard deviation among them. A feature that is constant there becomes 0.
    """
    x, y = data.features[rows], data.labels[rows]
    midpoint = (x[y > 0].mean(axis=0) + x[y < 0].mean(axis=0)) / 2
    deviation = x.std(axis=0)
    return data.labels[:, None] * (data.features - midpoint) / np.where(deviation > 0, deviation, np.inf)


def groups_of(data: Dataset, split: str) -> Array:
    """What a split keeps together: each row by itself ("random"), or the sentences of a review ("by review")."""
    return np.arange(len(data.labels)) if split == "random" else np.unique(data.groups, return_inverse=True)[1]


def draw_split(groups: Array, rng: np.random.Generator) -> Split:
    """A random split. The group that the last training row is from gives no row to the other parts; likewise `seen`."""
    place = rng.permutation(groups.max() + 1)[groups]
    order = np.argsort(place, kind="stable")
    train = order[:N]
    others = order[N:][~np.isin(groups[order[N:]], groups[train])]
    seen, rest = others[:N_HAT], others[N_HAT:]
    return Split(train, seen, rest[~np.isin(groups[rest], groups[seen])])


def ridge(gram: Array, moment: Array, gammas: Sequence[float]) -> Array:
    """Classifiers (p, gammas) from gram = 1/N sum q u u' and moment = 1/N sum q s u."""
    identity = np.eye(len(gram))
    return np.column_stack([solve(gram + gamma * identity, moment, assume_a="pos") for gamma in gammas])


def classifiers(
    real: Array, mean: Array, deviations: Array, rng: np.random.Generator, sizes: Sequence[int], gammas: Sequence[float]
) -> Iterator[list[Array]]:
    """For each m, classifiers (p, gammas) for each supervision; the samples of a larger m contain those of a smaller.

    The generator is Gaussian with this mean and the mean square of the rows of `deviations` as its covariance.
    """
    values, vectors = np.linalg.eigh(deviations.T @ deviations / len(deviations))
    # The symmetric root: similar generators turn the same noise into similar samples.
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    right = real.T @ real, real.sum(axis=0)
    wrong = 0 * right[0], 0 * right[1]
    drawn = 0
    for m in sizes:
        flipped, noise = rng.random(m - drawn) < EPSILON, rng.standard_normal((m - drawn, len(mean)))
        synthetic, drawn = mean + noise @ root, m
        rows = synthetic[~flipped]
        right = right[0] + rows.T @ rows, right[1] + rows.sum(axis=0)
        rows = synthetic[flipped]
        wrong = wrong[0] + rows.T @ rows, wrong[1] - rows.sum(axis=0)
        unverified = right[0] + wrong[0], right[1] + wrong[1]
        total = len(real) + m
        yield [ridge(gram / total, moment / total, gammas) for gram, moment in (unverified, right)]


def tune(u: Array, groups: Array) -> tuple[Array, float]:
    """Ridge on these rows alone at the penalty of the best accuracy in a cross-validation that splits no group."""
    number = np.cumsum(np.diff(groups, prepend=groups[0]) != 0)  # the rows of a group follow one another
    fold = number * FOLDS // (number[-1] + 1)
    right = np.zeros(len(TUNING_GAMMAS))
    for k in range(FOLDS):
        rows = u[fold != k]
        values, vectors = np.linalg.eigh(rows.T @ rows / len(rows))
        moment = vectors.T @ rows.mean(axis=0)
        scores = u[fold == k] @ vectors @ (moment[:, None] / (values[:, None] + TUNING_GAMMAS))
        right += (scores > 0).sum(axis=0)
    gamma = TUNING_GAMMAS[int(right.argmax())]
    return ridge(u.T @ u / len(u), u.mean(axis=0), [gamma])[:, 0], gamma


def run_trial(
    data: Dataset,
    groups: Array,
    seed: np.random.SeedSequence,
    sizes: Sequence[int] = SIZES,
    gammas: Sequence[float] = GAMMAS,
) -> Trial:
    """One split through all procedures; fewer `sizes`, if the first ones, do not change the others."""
    split_seed, noise_seed = seed.spawn(2)
    train, seen, test = draw_split(groups, np.random.default_rng(split_seed))
    everything, others = np.arange(len(groups)), np.concatenate([seen, test])
    on_all, on_training = signed_features(data, everything), signed_features(data, train)
    # Features; rows of the generator's mean, of its covariance; tested rows, as many sets as procedures.
    families = (
        (on_all, everything, train, (everything, others)),
        (on_training, train, train, (others,)),
        (on_training, np.concatenate([train, seen]), train, (test,)),
        (on_training, seen, seen, (test,)),
    )
    accuracy = []
    for u, mean_rows, cov_rows, tested in families:
        mean = u[mean_rows].mean(axis=0)
        rng = np.random.default_rng(noise_seed)
        by_size = list(classifiers(u[train], mean, u[cov_rows] - mean, rng, sizes, gammas))
        w = np.moveaxis(np.array(by_size), 2, 0)  # (p, m, supervision, gamma)
        for rows in tested:
            accuracy.append((np.tensordot(u[rows], w, 1) > 0).mean(axis=0).swapaxes(0, 1))
    w, gamma = tune(on_training[train], groups[train])
    right = on_training @ w > 0
    tuned = [right[rows].mean() for rows in (others, others, others, test, test)]
    tested = [len(rows) for *_, sets in families for rows in sets]
    return Trial(np.array(accuracy), np.array(tuned), gamma, np.array(tested))


def measure(
    setting: Mapping[str, Any],
    trials: int,
    seed: np.random.SeedSequence,
    *,
    sizes: Sequence[int] = SIZES,
    gammas: Sequence[float] = GAMMAS,
) -> list[dict[str, Any]]:
    """A row for each procedure, supervision, penalty and m, and one for "tuned" (median penalty).

    Differences are paired by trial: from m = 0, from "released", and from "tuned" on the rows that the procedure tests
    (those outside of the training rows).
    """
    data = load(setting["domain"])
    groups = groups_of(data, setting["split"])
    results = [run_trial(data, groups, child, sizes, gammas) for child in seed.spawn(trials)]
    accuracy, tuned, chosen, tested = (np.array(values) for values in zip(*results, strict=True))
    columns = {
        "accuracy": accuracy,
        "minus_real": accuracy - accuracy[:, :, :, :1],
        "minus_released": accuracy - accuracy[:, :1],
        "minus_tuned": accuracy - tuned[:, :, None, None, None],
    }

    def estimates(index: tuple[int, ...]) -> dict[str, float]:
        chosen = {name: values[(slice(None), *index)] for name, values in columns.items()}
        return {name: _rounded(value) for name, value in averages(chosen).items()}

    rows = [
        {"procedure": procedure, "supervision": supervision, "gamma": gamma, "m": m}
        | {"tested": _rounded(tested[:, i].mean())}
        | estimates((i, j, k, g))
        for i, procedure in enumerate(PROCEDURES)
        for j, supervision in enumerate(SUPERVISION)
        for g, gamma in enumerate(gammas)
        for k, m in enumerate(sizes)
    ]
    columns = {"accuracy": tuned, **{name: 0 * tuned for name in list(columns)[1:]}}
    reference = PROCEDURES.index("reused")
    baseline = {"procedure": "tuned", "supervision": "none", "gamma": _rounded(np.median(chosen)), "m": 0}
    return [*rows, baseline | {"tested": _rounded(tested[:, reference].mean())} | estimates((reference,))]


def _rounded(value: float) -> float:
    return round(float(value), 6)


EXPERIMENT = Experiment(
    name="figure_6",
    seed=2410,
    trials=24,
    settings=[{"domain": domain, "split": "random"} for domain in DOMAINS],
    measure=measure,
)
