"""The theory on real features: accuracy against m, measured and predicted from estimates of mean and covariance.

A split gives n rows to train on, n_hat others to a held-out generator, the rest to test; the sentences of a review stay
together. Centre and scale of the features come from the n training rows. The theory gets a mean and a covariance, read
off the training rows alone ("trained"), as it would be used, or off all rows, test rows included ("corrected"), to see
what is left when they are known well; "plugged_in" are the same estimates as if they were exact
(`rmt_lib.fitted.Population`). The twin of a task has Gaussian rows in their place, drawn once with the task's estimated
mean and covariance: it shows what error is left where every assumption holds.

Penalties are fixed, or "tuned" for each m: the best of GRID in a fivefold cross-validation on the real training rows,
as in `figure_6`. Tuned predictions are the best of GRID, too. A cross-validation also says which m is best, and whether
synthetic samples help: the theory's rival.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from scipy.special import ndtr
from scipy.stats import kurtosis, skew

from rmt_experiments.figure_6 import (
    EPSILON,
    Generator,
    best_penalty,
    classifiers,
    draw_noise,
    draw_split,
    groups_of,
    validated,
)
from rmt_experiments.runner import Experiment, averages
from rmt_lib import datasets
from rmt_lib.checks import Array
from rmt_lib.datasets import Dataset
from rmt_lib.fitted import Population, predict_fitted

RATIOS = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)  # m / n
RHO = {"none": 1.0, "oracle": 0.0}
GENERATORS = ("held_out", "reused")
GRID = (0.01, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0)
GAMMAS = (0.1, 1.0)
SIZES = {"digits": (100, 120), "mnist": (400, 500), "snippets": (600, 700), "reviews": (800, 600)}  # n, n_hat
TUNED_FORMS = ("scaled", "equal lengths")
TWIN_SEED = 2411
MEASURED = ("accuracy", "gaussian", "mean", "variance", "skewness", "kurtosis")
SOURCES = ("plugged_in", "corrected", "trained_plugged_in", "trained")


def load(task: str) -> Dataset:
    """Tasks are named "digits 1 8", "mnist 4 9", "snippets" or "reviews books"."""
    kind, *rest = task.split()
    if kind == "snippets":
        return datasets.amazon_snippets()
    if kind == "reviews":
        return datasets.amazon_reviews(*rest)
    return getattr(datasets, kind)().pair(*map(int, rest))


def prepare_from(data: Dataset, form: str, rows: Array) -> Array:
    """Signed features of all rows, with centre, scale and choice of columns by what `rows` say.

    Centred between the class means; columns that are constant among `rows` dropped. "scaled": one scale for all
    features; "standardised": one for each; "equal lengths": standardised, then every row brought to length sqrt(p).
    """
    x, y = data.features[:, data.features[rows].std(axis=0) > 0], data.labels[:, None]
    positive, negative = rows[data.labels[rows] > 0], rows[data.labels[rows] < 0]

    def signed(x: Array) -> Array:
        return y * (x - (x[positive].mean(axis=0) + x[negative].mean(axis=0)) / 2)

    u = signed(x)
    if form == "scaled":
        u /= np.sqrt(u[rows].var(axis=0).mean())
    else:
        u /= u[rows].std(axis=0)
    if form == "equal lengths":
        u = signed(y * u * np.sqrt(u.shape[1] / (u**2).sum(axis=1, keepdims=True)))
    return u


def prepare(data: Dataset, form: str) -> Array:
    """`prepare_from` all rows, or "twin": Gaussian rows with the mean and covariance of the scaled ones."""
    u = prepare_from(data, "scaled" if form == "twin" else form, np.arange(len(data.labels)))
    if form == "twin":
        factor = (u - u.mean(axis=0)) / np.sqrt(len(u))
        u = u.mean(axis=0) + np.random.default_rng(TWIN_SEED).standard_normal((len(u), len(u))) @ factor
    return u


@lru_cache(maxsize=2)
def task(name: str, form: str) -> tuple[Dataset, Array]:
    """The rows of a task, or those of its twin, and the groups that a split keeps whole."""
    data = load(name)
    groups = groups_of(data, "by review" if name == "snippets" and form != "twin" else "random")
    if form == "twin":
        data = dataclasses.replace(data, features=data.labels[:, None] * prepare(data, form))
    return data, groups


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


def populations(u: Array, labels: Array, train: Array) -> dict[str, Population]:
    """What the theory is given: `SOURCES`."""
    found = {}
    for prefix, rows in (("", np.arange(len(u))), ("trained_", train)):
        corrected = Population.of_data(labels[rows, None] * u[rows], labels[rows])
        found[f"{prefix}plugged_in"] = Population(corrected.mixture)
        found["trained" if prefix else "corrected"] = corrected
    return found


def predictions(
    population: Population, n: int, n_hat: int, *, generator: str, rho: float, gammas: tuple[float, ...]
) -> Array:
    """Accuracy, mean and variance for each m and penalty, (m, gamma, 3); NaN where the estimate does not reach."""
    of_generator = {"generator": generator} | ({} if generator == "reused" else {"n_hat": n_hat})
    found = np.full((len(RATIOS), len(gammas), 3), np.nan)
    for i, ratio in enumerate(RATIOS):
        for j, gamma in enumerate(gammas):
            try:
                limit = predict_fitted(
                    population, n=n, m=round(ratio * n), gamma=gamma, epsilon=EPSILON, rho=rho, **of_generator
                )
            except ValueError:
                continue
            found[i, j] = limit.accuracy, limit.mean, limit.variance
    return found


def run_split(data: Dataset, form: str, groups: Array, sizes: tuple[int, int], rng: np.random.Generator) -> Array:
    """Columns of every curve of a split, (generator, supervision, penalty, m, column); names in `columns`."""
    n, n_hat = sizes
    train, seen, test = draw_split(groups, rng, n, n_hat)
    u = prepare_from(data, "scaled" if form == "twin" else form, train)
    noise = draw_noise(u.shape[1], [round(ratio * n) for ratio in RATIOS], rng)
    tuned = form in TUNED_FORMS
    gammas = GRID if tuned else GAMMAS
    fixed = [gammas.index(gamma) for gamma in GAMMAS]
    places = np.arange(len(RATIOS))[:, None]
    known = populations(u, data.labels, train)
    curves = []
    for generator in GENERATORS:
        fitted_to = train if generator == "reused" else seen
        source = Generator.fitted(u, fitted_to, fitted_to)
        w = np.array(list(classifiers(u[train], source, noise, gammas)))  # (m, supervision, p, gamma)
        score = np.moveaxis(u[test] @ w, 2, -1)  # (m, supervision, gamma, row)
        mean, variance = score.mean(axis=-1), score.var(axis=-1)
        measured = np.stack(
            [
                (score > 0).mean(axis=-1),
                ndtr(mean / np.sqrt(variance)),
                mean,
                variance,
                skew(score, axis=-1),
                kurtosis(score, axis=-1),
            ],
            axis=-1,
        )
        right = validated(u, train, groups, fitted_to, noise, gammas) if tuned else None
        for j, rho in enumerate(RHO.values()):
            theory = [
                predictions(known[name], n, n_hat, generator=generator, rho=rho, gammas=gammas if tuned else GAMMAS)
                for name in SOURCES
            ]
            chosen = [np.broadcast_to(k, (len(RATIOS), 1)) for k in fixed]
            best = [chosen] * len(SOURCES)
            by_validation = chosen
            if tuned:
                by_validation = [*chosen, best_penalty(right[:, j])[:, None]]
                best = [[*chosen, np.where(np.isnan(t[..., 0]), -1, t[..., 0]).argmax(axis=1)[:, None]] for t in theory]
            for penalty, at in enumerate(by_validation):
                columns = [measured[places, j, at][:, 0], np.take(gammas, at)]
                for t, of_source in zip(theory, best, strict=True):
                    values = t[places, of_source[penalty]][:, 0]
                    change = values[:, 0] - values[0, 0]
                    pick = np.full(len(change), np.nan)
                    if not np.isnan(change).any():
                        pick = 1.0 * (np.arange(len(change)) == change.argmax())
                    columns += [values, pick[:, None], np.where(np.isnan(change), np.nan, change > 0)[:, None]]
                if tuned:
                    folds = right[places, j, at][:, 0]
                    columns += [(np.arange(len(folds)) == folds.argmax())[:, None], (folds > folds[0])[:, None]]
                else:
                    columns.append(np.full((len(RATIOS), 2), np.nan))
                curves.append(np.concatenate(columns, axis=1))
    return np.array(curves).reshape(len(GENERATORS), len(RHO), -1, len(RATIOS), curves[0].shape[1])


COLUMNS = (
    *MEASURED,
    "gamma",
    *(f"{source}_{part}" for source in SOURCES for part in ("accuracy", "mean", "variance", "picks", "up")),
    "validated_picks",
    "validated_up",
)
"""Of a split. "picks": this m is the best, "up": it is better than m = 0, by the theory or in the cross-validation."""


def measure(setting: Mapping[str, Any], trials: int, seed: np.random.SeedSequence) -> list[dict[str, Any]]:
    """For each curve and m: `COLUMNS`, averaged over splits; standard errors of those that are measured.

    `minus_real` is the change of accuracy from m = 0, paired by split. `trained_error` is the root mean square, over
    splits, of the prediction from the training rows of one split less the accuracy averaged over splits.
    `trained_fails` is the share of splits whose estimate does not reach; other columns of predictions are averages over
    the rest.
    """
    form = setting["form"]
    data, groups = task(setting["task"], form)
    n, n_hat = SIZES[setting["task"].split()[0]]
    splits = np.array(
        [run_split(data, form, groups, (n, n_hat), np.random.default_rng(child)) for child in seed.spawn(trials)]
    )
    u = prepare_from(data, "scaled" if form == "twin" else form, np.arange(len(groups)))
    lengths, gaussian_lengths = spread_of_lengths(u)
    common = {"rows": len(u), "p": u.shape[1], "n": n, "n_hat": n_hat}
    common |= {"lengths": lengths, "gaussian_lengths": gaussian_lengths}
    table = []
    for place in np.ndindex(splits.shape[1:5]):
        generator, supervision, penalty, i = place
        values = dict(zip(COLUMNS, np.moveaxis(splits[:, *place], 1, 0), strict=True))
        start = splits[:, generator, supervision, penalty, 0, 0]
        row = {"generator": GENERATORS[generator], "supervision": list(RHO)[supervision]}
        row |= {"penalty": "fixed" if penalty < len(GAMMAS) else "tuned"}
        row |= {"gamma": float(np.median(values.pop("gamma"))), "m": round(RATIOS[i] * n)} | common
        row |= averages({name: values.pop(name) for name in MEASURED} | {"minus_real": splits[:, *place, 0] - start})
        trained = values["trained_accuracy"]
        reached = ~np.isnan(trained)
        row["trained_fails"] = float(1 - reached.mean())
        row["trained_error"] = float(np.sqrt(np.mean((trained[reached] - row["accuracy"]) ** 2)))
        for name, column in values.items():
            there = column[~np.isnan(column)]
            row[name] = float(there.mean()) if len(there) else np.nan
        table.append(row)
    return table


def settings(tasks: Mapping[str, tuple[str, ...]]) -> list[dict[str, Any]]:
    """Every combination of task and form."""
    return [{"task": name, "form": form} for name, forms in tasks.items() for form in forms]


EXPERIMENT = Experiment(
    name="real_features",
    seed=2410,
    trials=16,
    settings=settings(
        {
            "digits 1 8": ("scaled", "twin"),
            "digits 3 8": ("scaled", "twin"),
            "snippets": ("scaled", "twin"),
            "mnist 4 9": ("scaled", "twin"),
            "mnist 3 5": ("scaled", "twin"),
        }
    ),
    measure=measure,
    packages=("scikit-learn",),
)
