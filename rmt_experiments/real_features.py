"""The theory on real features: accuracy against m, measured and predicted from estimates of mean and covariance.

A split permutes the rows of a task: n to train, n_hat others for a held-out generator, the rest to test. The theory
gets the mean and covariance of all rows, plugged in or corrected for the error of both (`rmt_lib.fitted.Population`).
The twin of a task has Gaussian rows in their place, drawn once with the task's estimated mean and covariance: it shows
what error is left where every assumption holds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from scipy.special import ndtr
from scipy.stats import kurtosis, skew

from rmt_experiments.runner import Experiment, averages
from rmt_lib import datasets
from rmt_lib.checks import Array
from rmt_lib.datasets import Dataset
from rmt_lib.fitted import Population, predict_fitted

EPSILON = 0.2
RATIOS = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)  # m / n
RHO = {"none": 1.0, "oracle": 0.0}
GAMMAS = (0.1, 1.0)
SIZES = {"digits": (100, 120), "mnist": (400, 500), "snippets": (600, 700), "reviews": (800, 600)}  # n, n_hat
TWIN_SEED = 2411
MEASURED = ("accuracy", "gaussian", "mean", "variance", "skewness", "kurtosis")


def load(task: str) -> Dataset:
    """Tasks are named "digits 1 8", "mnist 4 9", "snippets" or "reviews books"."""
    kind, *rest = task.split()
    if kind == "snippets":
        return datasets.amazon_snippets()
    if kind == "reviews":
        return datasets.amazon_reviews(*rest)
    return getattr(datasets, kind)().pair(*map(int, rest))


def prepare(data: Dataset, form: str) -> Array:
    """Signed features centred between the class means, constant columns dropped, in one of four forms.

    "scaled": one scale for all features; "standardised": one for each; "equal lengths": standardised, then every row
    brought to length sqrt(p); "twin": Gaussian rows with the mean and covariance of the scaled ones.
    """
    x, y = data.features[:, data.features.std(axis=0) > 0], data.labels[:, None]

    def signed(x: Array) -> Array:
        return y * (x - (x[data.labels > 0].mean(axis=0) + x[data.labels < 0].mean(axis=0)) / 2)

    u = signed(x)
    if form in ("scaled", "twin"):
        u /= np.sqrt(u.var(axis=0).mean())
    else:
        u /= u.std(axis=0)
    if form == "equal lengths":
        u = signed(y * u * np.sqrt(u.shape[1] / (u**2).sum(axis=1, keepdims=True)))
    if form == "twin":
        factor = (u - u.mean(axis=0)) / np.sqrt(len(u))
        u = u.mean(axis=0) + np.random.default_rng(TWIN_SEED).standard_normal((len(u), len(u))) @ factor
    return u


@lru_cache(maxsize=2)
def task(name: str, form: str) -> tuple[Array, Population, Population]:
    """Signed features, and their population, plugged in and corrected."""
    data = load(name)
    u = prepare(data, form)
    features = data.labels[:, None] * u
    return u, *(Population.of_data(features, data.labels, corrected=corrected) for corrected in (False, True))


def spread_of_lengths(u: Array) -> tuple[float, float]:
    """Relative spread over the rows of u' (C + 1)^{-1} u, and what it would be for Gaussian rows.

    The theory takes this squared length, which decides how much a row counts in training, to be the same for all rows.
    """
    centred = u - u.mean(axis=0)
    cov = centred.T @ centred / len(u)
    ridge = np.linalg.inv(cov + np.eye(u.shape[1]))
    squares = ((centred @ ridge) * centred).sum(axis=1)
    share = ridge @ cov
    return float(squares.std() / squares.mean()), float(np.sqrt(2 * (share * share.T).sum()) / np.trace(share))


def scores(
    u: Array, n: int, n_hat: int, *, generator: str, gamma: float, rho: float, rng: np.random.Generator
) -> Iterator[Array]:
    """Scores of the test rows of one split for each m; the synthetic samples of a larger m contain the others."""
    rows = rng.permutation(u)
    real, seen, test = rows[:n], rows[n : n + n_hat], rows[n + n_hat :]
    fitted_to = real if generator == "reused" else seen
    mean = fitted_to.mean(axis=0)
    factor = (fitted_to - mean) / np.sqrt(len(fitted_to))
    gram, moment = real.T @ real, real.sum(axis=0)
    drawn = 0
    for m in (round(ratio * n) for ratio in RATIOS):
        more = m - drawn
        wrong = rng.random(more) < EPSILON
        kept = ~wrong | (rng.random(more) < rho)
        synthetic = (mean + rng.standard_normal((more, len(factor))) @ factor)[kept]
        gram = gram + synthetic.T @ synthetic
        moment = moment + np.where(wrong[kept], -1.0, 1.0) @ synthetic
        drawn = m
        yield test @ np.linalg.solve(gram / (n + m) + gamma * np.eye(u.shape[1]), moment / (n + m))


def measure(setting: Mapping[str, Any], trials: int, seed: np.random.SeedSequence) -> list[dict[str, float]]:
    """For each m: accuracy, that of a Gaussian with the scores' mean and variance, their moments, both predictions."""
    u, plugged_in, corrected = task(setting["task"], setting["form"])
    n, n_hat = SIZES[setting["task"].split()[0]]
    generator, gamma, rho = setting["generator"], setting["gamma"], RHO[setting["supervision"]]
    measured = np.empty((trials, len(RATIOS), len(MEASURED)))
    for trial, rng in enumerate(map(np.random.default_rng, seed.spawn(trials))):
        split = scores(u, n, n_hat, generator=generator, gamma=gamma, rho=rho, rng=rng)
        for column, score in enumerate(split):
            moments = score.mean(), score.var(), skew(score), kurtosis(score)
            measured[trial, column] = (score > 0).mean(), ndtr(moments[0] / np.sqrt(moments[1])), *moments
    theory = {"n": n, "gamma": gamma, "epsilon": EPSILON, "rho": rho, "generator": generator}
    theory |= {} if generator == "reused" else {"n_hat": n_hat}
    lengths, gaussian_lengths = spread_of_lengths(u)
    common = {"rows": len(u), "p": u.shape[1], "n": n, "n_hat": n_hat}
    common |= {"lengths": lengths, "gaussian_lengths": gaussian_lengths}
    table = []
    for ratio, columns in zip(RATIOS, measured.transpose(1, 2, 0), strict=True):
        m = round(ratio * n)
        row = {**common, "m": m, **averages(dict(zip(MEASURED, columns, strict=True)))}
        for name, population in (("plugged_in", plugged_in), ("corrected", corrected)):
            prediction = predict_fitted(population, m=m, **theory)
            row |= {f"{name}_{key}": float(getattr(prediction, key)) for key in ("accuracy", "mean", "variance")}
        table.append(row)
    return table


def settings(tasks: Mapping[str, tuple[str, ...]]) -> list[dict[str, Any]]:
    """Every combination of task, form, generator, penalty and supervision."""
    return [
        {"task": name, "form": form, "generator": generator, "gamma": gamma, "supervision": supervision}
        for name, forms in tasks.items()
        for form in forms
        for generator in ("held_out", "reused")
        for gamma in GAMMAS
        for supervision in RHO
    ]


EXPERIMENT = Experiment(
    name="real_features",
    seed=2410,
    trials=24,
    settings=settings(
        {
            "digits 1 8": ("scaled", "twin"),
            "digits 3 8": ("scaled", "twin"),
            "mnist 4 9": ("scaled", "twin"),
            "mnist 3 5": ("scaled", "twin"),
            "snippets": ("scaled", "twin"),
        }
    ),
    measure=measure,
    packages=("scikit-learn",),
)
