"""Training on features that are not Gaussian, with the mean and covariance (the identity) of Gaussian ones.

Signed features are u = mean + y z: both classes have the same noise z. Its entries are independent with a law of their
own, or share a random scale (z = sqrt(xi) times a Gaussian vector), or have a covariance that depends on the class y.
There are p real and p synthetic samples; the synthetic ones come from the Gaussian of the same mean and covariance, or
from the same law. Each accuracy is exact, given the classifier: by inverting the characteristic function of its score.

A trial uses its noise for both generators and for all three means. Smaller dimensions have more trials: `REPEATS`
times the number of the experiment.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.special import ndtr, roots_genlaguerre

from rmt_experiments.runner import Experiment, averages
from rmt_lib import Mixture, Prediction, Source, predict

GAMMA, LENGTH, RATE, TILT = 0.1, 1.5, 0.05, 0.8
NOISE = {"epsilon": 0.2, "phi": 0.9, "rho": 0.3}
INDEPENDENT = ("Gaussian", "Rademacher", "uniform", "t5", "t3", "counts")
DEPENDENT = ("multivariate t5", "multivariate t3", "two scales", "two shapes")
GENERATORS = ("Gaussian", "same law")
MEANS = ("all", "4", "1")  # the features that carry the mean
REPEATS = {50: 200, 100: 100, 200: 40, 400: 12, 800: 3}
KEYS = ("mean", "variance", "accuracy", "gap", "largest")


def draw(law: str, count: int, p: int, rng: np.random.Generator, labels: np.ndarray | None = None) -> np.ndarray:
    """Rows y z of noise with mean 0 and covariance I; the classes y are drawn, too, where they are not given."""
    if law in ("t5", "t3"):
        nu = int(law[1])
        return rng.standard_t(nu, (count, p)) * np.sqrt((nu - 2) / nu)
    if law == "Rademacher":
        return rng.choice([-1.0, 1.0], (count, p))
    if law == "uniform":
        return rng.uniform(-np.sqrt(3), np.sqrt(3), (count, p))
    label = rng.choice([-1.0, 1.0], (count, 1)) if labels is None else labels[:, None]
    if law == "counts":
        return label * (rng.poisson(RATE, (count, p)) - RATE) / np.sqrt(RATE)
    z = rng.standard_normal((count, p))
    if law.startswith("multivariate"):
        nu = int(law[-1])
        return z * np.sqrt((nu - 2) / rng.chisquare(nu, (count, 1)))
    if law == "two scales":
        return z * np.sqrt(1 + TILT * label)
    if law == "two shapes":
        return z * np.sqrt(1 + TILT * label * alternating(p))
    return z


def alternating(p: int) -> np.ndarray:
    """1, -1, 1, -1, ...: where the first class of "two shapes" varies more, and less."""
    return np.resize([1.0, -1.0], p)


def student_scales(nu: float, nodes: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """Values and probabilities of xi = (nu - 2) / chi-square: Gauss quadrature in half the chi-square."""
    half, chance = roots_genlaguerre(nodes, nu / 2 - 1)
    chance /= chance.sum()
    return (nu - 2) / (2 * half[chance > 1e-12]), chance[chance > 1e-12]


def scales(law: str) -> tuple[np.ndarray, np.ndarray]:
    """Values xi and their probabilities: of a law with a random scale, else the value 1."""
    if law.startswith("multivariate"):
        return student_scales(int(law[-1]))
    if law == "two scales":
        return np.array([1 - TILT, 1 + TILT]), np.array([0.5, 0.5])
    return np.ones(1), np.ones(1)


def characteristic(law: str, t: np.ndarray) -> np.ndarray:
    """Characteristic function of an independent entry."""
    if law == "Rademacher":
        return np.cos(t)
    if law == "uniform":
        return np.sinc(np.sqrt(3) / np.pi * t)
    if law == "t5":
        t = np.sqrt(3) * np.abs(t)
        return np.exp(-t) * (1 + t + t**2 / 3)
    if law == "t3":
        t = np.abs(t)
        return np.exp(-t) * (1 + t)
    if law == "counts":
        t = t / np.sqrt(RATE)
        return np.exp(RATE * (np.exp(1j * t) - 1 - 1j * t))
    return np.exp(-(t**2) / 2)


def independent_accuracy(law: str, mean: float, variance: float, w: np.ndarray) -> float:
    """P(mean + y (w'z + g) > 0), z with independent entries, g Gaussian: what `variance` has beyond |w|^2."""
    t = 0.1 * (np.arange(320) + 0.5)  # Gil-Pelaez inversion by the midpoint rule, in units of the standard deviation
    w, centre = w / np.sqrt(variance), mean / np.sqrt(variance)
    transform = characteristic(law, np.outer(t, w)).prod(axis=1).real * np.exp(-(1 - w @ w) * t**2 / 2)
    return float(0.5 + np.sum(np.sin(centre * t) * transform / t) * 0.1 / np.pi)


def exact_accuracy(law: str, mean: float, w: np.ndarray) -> float:
    """Accuracy of the classifier w on fresh samples of a law, where the mean of its score is `mean`."""
    variance = w @ w
    if law in INDEPENDENT:
        return independent_accuracy(law, mean, variance, w)
    if law == "two shapes":
        tilt = TILT * np.sum(alternating(w.size) * w**2)
        return float(ndtr(mean / np.sqrt([variance + tilt, variance - tilt])).mean())
    xi, chance = scales(law)
    return float(chance @ ndtr(mean / np.sqrt(xi * variance)))


def direction(p: int, features: str) -> np.ndarray:
    """Mean of length LENGTH, spread evenly over "all" features, or over the first ones."""
    support = p if features == "all" else int(features)
    return np.where(np.arange(p) < support, LENGTH / np.sqrt(support), 0.0)


def universal(p: int, features: str = "all") -> Prediction:
    """The master theorem from mean and covariance alone."""
    target = Mixture(direction(p, features))
    return predict(target, [Source(target, p), Source(target, p, **NOISE)], gamma=GAMMA)


def split(law: str, mean: np.ndarray, n: float, **labels: float) -> list[Source]:
    """A source of a law with a random scale or with two shapes as several Gaussian sources."""
    if law == "two shapes":
        covs = [1 + TILT * side * alternating(mean.size) for side in (1, -1)]
        return [Source(Mixture(mean, cov), n / 2, **labels) for cov in covs]
    return [Source(Mixture(mean, xi), n * chance, **labels) for xi, chance in zip(*scales(law), strict=True)]


def repaired(law: str, generator: str, p: int, features: str = "all") -> tuple[float, float, float]:
    """Mean, variance and accuracy by the master theorem for split sources, and the law of the few features that
    carry the mean (the score of all others is taken for Gaussian)."""
    mean = direction(p, features)
    sources = split(law, mean, p) + split(law if generator == "same law" else "Gaussian", mean, p, **NOISE)
    limit = predict(Mixture(mean), sources, gamma=GAMMA)
    w = limit.mean * mean / LENGTH**2
    if law in INDEPENDENT:
        few = w[: int(features)] if features != "all" else np.zeros(1)
        return limit.mean, limit.variance, independent_accuracy(law, limit.mean, limit.variance, few)
    if law == "two shapes":
        accuracy = np.mean([predict(s.mixture, sources, gamma=GAMMA).accuracy for s in split(law, mean, p)])
        return limit.mean, limit.variance, float(accuracy)
    xi, chance = scales(law)
    return limit.mean, limit.variance, float(chance @ ndtr(limit.mean / np.sqrt(xi * limit.variance)))


def moments(z: np.ndarray, s: np.ndarray) -> tuple[Any, ...]:
    """What training needs of noise z with label signs s, whatever the mean; sources add up."""
    return z.T @ z, z.sum(axis=0), s @ z, len(s), s.sum()


def train(mean: np.ndarray, statistics: tuple[Any, ...]) -> np.ndarray:
    """The ridge classifier on u = mean + z, with 2p samples drawn."""
    squares, total, signed, count, signs = statistics
    cross = np.outer(mean, total)
    gram = (squares + cross + cross.T + count * np.outer(mean, mean)) / (2 * mean.size)
    gram[np.diag_indices_from(gram)] += GAMMA
    return cho_solve(cho_factor(gram, overwrite_a=True), (signed + signs * mean) / (2 * mean.size))


def trial(law: str, p: int, rng: np.random.Generator) -> list[list[float]]:
    """KEYS for each generator and mean; "largest" is the largest feature's share of the variance of the score."""
    real = moments(draw(law, p, p, rng), np.ones(p))
    values = []
    for source in ("Gaussian", law):
        z = draw(source, p, p, rng)
        s = np.where(rng.random(p) < NOISE["epsilon"], -1.0, 1.0)
        kept = rng.random(p) < np.where(s > 0, NOISE["phi"], NOISE["rho"])
        statistics = tuple(a + b for a, b in zip(real, moments(z[kept], s[kept]), strict=True))
        for features in MEANS:
            mean = direction(p, features)
            w = train(mean, statistics)
            m, v = mean @ w, w @ w
            accuracy = exact_accuracy(law, m, w)
            values.append([m, v, accuracy, accuracy - ndtr(m / np.sqrt(v)), np.max(w**2) / v])
    return values


def measure(setting: Mapping[str, Any], trials: int, seed: np.random.SeedSequence) -> list[dict[str, Any]]:
    """A row for each generator and mean; "gap" is the accuracy minus Phi(m / sqrt v) of the same classifier."""
    count = trials * REPEATS[setting["p"]]
    values = np.array([trial(**setting, rng=np.random.default_rng(child)) for child in seed.spawn(count)])
    columns = averages(dict(zip(KEYS, np.moveaxis(values, -1, 0), strict=True)))
    return [
        {"generator": generator, "features": features, "count": count, **{k: x[i] for k, x in columns.items()}}
        for i, (generator, features) in enumerate((g, f) for g in GENERATORS for f in MEANS)
    ]


EXPERIMENT = Experiment(
    name="beyond_gaussian",
    seed=2410,
    trials=20,
    settings=[{"law": law, "p": p} for law in INDEPENDENT + DEPENDENT for p in REPEATS],
    measure=measure,
)
