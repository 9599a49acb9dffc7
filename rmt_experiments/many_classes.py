"""Ten-class digits with a Gaussian generator for each class: accuracy against m, measured and predicted from moments.

A split takes 20 images of each digit to train, 50 others to fit the generators, and tests on the rest. The theory gets
mean and covariance of each digit, as if they were known, and generators of its own splits. Estimated moments bias it;
`extrapolated` removes the bias of first order. The twin is a world of ten Gaussians with the same moments, where every
assumption of the theory holds: there its error is seen alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from rmt_experiments.runner import Experiment, averages
from rmt_lib import Mixture
from rmt_lib.checks import Array
from rmt_lib.datasets import digits
from rmt_lib.topics.many_classes import ClassSource, class_sources, predict_classes, simulate_classes, win_chances

K = 10
N_REAL, N_HAT = 20, 50  # of each class
DRAWN = (0, 20, 40, 80, 160, 320)  # m of each class
GAMMA = 1.0
INTERCEPT = 10.0
LABELS = {
    "clean": {},
    "noisy": {"epsilon": 0.5},
    "verified": {"epsilon": 0.5, "rho": 0.1},
}
THEORY = 8  # splits that theory and twin are computed for
TWIN_TRIALS = 4


@lru_cache(maxsize=1)
def images() -> tuple[Array, ...]:
    """Rows of each digit: constant pixels dropped, centred at the mean of all, scaled to mean variance 1."""
    x, y = digits().features, digits().labels
    x = x[:, x.std(axis=0) > 0]
    x = (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0).mean())
    return tuple(x[y == digit] for digit in range(K))


def fit(rows: Sequence[Array], generator: str = "own") -> list[Mixture]:
    """A Gaussian for each class, with a covariance of its own ("own") or one for all ("shared")."""
    covs = [np.cov(part.T, bias=True) for part in rows]
    if generator == "shared":
        covs = [np.average(covs, axis=0, weights=[len(part) for part in rows])] * K
    return [Mixture(part.mean(axis=0), cov) for part, cov in zip(rows, covs, strict=True)]


def gaussian_rows(mixtures: Sequence[Mixture], count: int, rng: np.random.Generator) -> list[Array]:
    """`count` rows of each."""
    return [m.mean + rng.standard_normal((count, m.p)) @ m.root for m in mixtures]


def shuffled(rows: Sequence[Array], rng: np.random.Generator) -> list[Array]:
    """The rows of each class in random order."""
    return [rng.permutation(part) for part in rows]


def scores(
    real: Sequence[Array],
    test: Sequence[Array],
    generators: Sequence[Mixture],
    noise: Sequence[ClassSource],
    rng: np.random.Generator,
) -> Iterator[list[Array]]:
    """Scores (rows, K) of the test rows of each class for each m; a larger m contains the samples of the smaller."""

    def add(rows: Array, labels: Array) -> None:
        rows = np.column_stack([rows, np.full(len(rows), INTERCEPT)])
        gram[:] += rows.T @ rows
        moment[:] += rows.T @ labels

    size = real[0].shape[1] + 1
    gram, moment, eye = np.zeros((size, size)), np.zeros((size, K)), np.eye(K)
    for digit, rows in enumerate(real):
        add(rows, np.repeat(eye[[digit]], len(rows), axis=0))
    drawn = 0
    for m in DRAWN:
        synthetic = gaussian_rows(generators, m - drawn, rng)
        for rows, source in zip(synthetic, noise, strict=True):
            given = rng.choice(K, size=len(rows), p=source.labels)
            kept = rng.random(len(rows)) < source.keep[given]
            add(rows[kept], eye[given[kept]])
        drawn = m
        total = sum(map(len, real)) + K * m
        classifier = np.linalg.solve(gram / total + GAMMA * np.eye(size), moment / total)
        yield [np.column_stack([rows, np.full(len(rows), INTERCEPT)]) @ classifier for rows in test]


def measured(
    rows: Sequence[Array], generator: str, noise: Mapping[str, float], rng: np.random.Generator
) -> tuple[Array, Array]:
    """For each m: share of test rows that are right, and what Gaussian scores of the same moments would give."""
    rows = shuffled(rows, rng)
    real = [part[:N_REAL] for part in rows]
    generators = fit([part[N_REAL : N_REAL + N_HAT] for part in rows], generator)
    test = [part[N_REAL + N_HAT :] for part in rows]
    right, gaussian = [], []
    for parts in scores(real, test, generators, class_sources(generators, 1, **noise), rng):
        right.append(np.mean([(s.argmax(axis=1) == digit).mean() for digit, s in enumerate(parts)]))
        moments = [np.array(part) for part in zip(*((s.mean(axis=0), np.cov(s.T)) for s in parts), strict=True)]
        gaussian.append(win_chances(*moments, np.arange(K)).mean())
    return np.array(right), np.array(gaussian)


def worlds(population: Sequence[Mixture], generators: Sequence[Mixture], noise: Mapping[str, float]) -> Iterator[Any]:
    """Sources for each m: real samples of the population, synthetic ones of the generators."""
    for m in DRAWN:
        yield class_sources(population, N_REAL) + (class_sources(generators, m, **noise) if m else [])


def predicted(rows: Sequence[Array], generator: str, noise: Mapping[str, float], rng: np.random.Generator) -> Array:
    """For each m, the theory with the moments of these rows plugged in, given generators fitted to some of them."""
    population = fit(rows)
    generators = fit([part[:N_HAT] for part in shuffled(rows, rng)], generator)
    options = {"gamma": GAMMA, "intercept": INTERCEPT}
    laws = [predict_classes(population, sources, **options) for sources in worlds(population, generators, noise)]
    return np.array([law.overall for law in laws])


def twin(
    population: Sequence[Mixture], generator: str, noise: Mapping[str, float], rng: np.random.Generator
) -> tuple[Array, Array]:
    """For each m, simulated and predicted accuracy where each digit is the Gaussian of its moments."""
    generators = fit(gaussian_rows(population, N_HAT, rng), generator)
    options = {"gamma": GAMMA, "intercept": INTERCEPT}
    run = {"trials": TWIN_TRIALS, "seed": rng.spawn(1)[0]}
    pairs = [
        (
            simulate_classes(population, sources, **options, **run).overall.mean(),
            predict_classes(population, sources, **options).overall,
        )
        for sources in worlds(population, generators, noise)
    ]
    simulated, theory = np.array(pairs).T
    return simulated, theory


def measure(setting: Mapping[str, Any], trials: int, seed: np.random.SeedSequence) -> list[dict[str, float]]:
    """A row for each m: everything above, averaged over splits."""
    rows, generator, noise = images(), setting["generator"], LABELS[setting["labels"]]
    splits = [measured(rows, generator, noise, rng) for rng in map(np.random.default_rng, seed.spawn(trials))]
    accuracy, gaussian = np.array(splits).transpose(1, 0, 2)
    theory = []
    for rng in map(np.random.default_rng, seed.spawn(min(trials, THEORY))):
        whole = predicted(rows, generator, noise, rng)
        order = shuffled(rows, rng)
        halves = [part[: len(part) // 2] for part in order], [part[len(part) // 2 :] for part in order]
        half = np.mean([predicted(part, generator, noise, rng) for part in halves], axis=0)
        theory.append((whole, 2 * whole - half, *twin(fit(rows), generator, noise, rng)))
    plugged_in, extrapolated, simulated, twin_theory = np.array(theory).transpose(1, 0, 2)
    columns = {
        "accuracy": accuracy,
        "gaussian": gaussian,
        "plugged_in": plugged_in,
        "extrapolated": extrapolated,
        "twin": simulated,
        "twin_theory": twin_theory,
        "twin_gap": simulated - twin_theory,
    }
    table = []
    for j, m in enumerate(DRAWN):
        table.append({"m": K * m, **averages({name: values[:, j] for name, values in columns.items()})})
    return table


EXPERIMENT = Experiment(
    name="many_classes",
    seed=2410,
    trials=60,
    settings=[
        {"generator": generator, "labels": labels}
        for generator, labels in (
            ("own", "clean"),
            ("own", "noisy"),
            ("own", "verified"),
            ("shared", "clean"),
            ("shared", "noisy"),
        )
    ],
    measure=measure,
    packages=("scikit-learn",),
)
