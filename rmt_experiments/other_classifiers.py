"""Logistic regression and a linear SVM beside the ridge classifier, trained on the same draws of the same mixtures.

All three are linear, so that the accuracy of each trained w is known exactly. A row is one classifier, one verifier,
one number of synthetic samples and one way to choose the penalty:

* ``best``: of a grid, by the true accuracy averaged over the trials;
* ``all``, ``real``: of the same grid in each trial, by five-fold cross-validation on all training samples or on the
  real ones among them;
* ``default``: of scikit-learn, that is alpha = 1 for ridge and C = 1 for the others;
* ``small``: 0.001, where ridge nearly interpolates.

`minus_ridge` compares with ridge on the same draws and the same way to choose, `gain` with m = 0, `cost` with ``best``.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from scipy.linalg import eigh, toeplitz
from sklearn import config_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from rmt_experiments.runner import Experiment, averages
from rmt_lib import Mixture, Source
from rmt_lib.checks import Array
from rmt_lib.results import accuracy_of

P, N, N_HAT, CORRELATION = 150, 150, 300, 0.7
DRAWN = (0, 75, 300, 1200)
WEAK = 0.5  # rho of the weak verifier; phi is 1 throughout
RHOS = (1.0, WEAK, 0.0)
TUNED_BY_FOLDS = 300  # cross-validated are m = 0 and this m, without a verifier
FOLDS = 5
SMALL_P, SMALL_N, SMALL_DRAWN, SMALL = 100, 50, (0, 25, 50, 75, 100, 150, 250), 0.001

HALF_DECADES = tuple(float(f"{10**x:.3g}") for x in np.arange(1.0, -3.0, -0.5))
GRIDS = {
    "ridge": (1000.0, *HALF_DECADES),
    "logistic": (1000.0, *HALF_DECADES),
    "svm": HALF_DECADES[:-2],  # above a data-dependent penalty the SVM does not change any more, below 0.03 it is slow
}
# What scikit-learn trains by default: the loss, and gamma times the number of samples.
DEFAULTS = {"ridge": ("ridge", 1.0), "logistic": ("logistic", 0.5), "svm": ("squared hinge", 0.5)}
Rows = tuple[Array, Array]
"""Kept signed features u and signs s of their labels."""


def population(world: str, p: int) -> Mixture:
    """C = I with a mean of length 1, or a chain with correlations 0.7^|i - j| and a mean in a random direction."""
    if world != "chain":
        return Mixture(np.eye(p)[0])
    direction = np.random.default_rng(2410).standard_normal(p)
    return Mixture(direction / np.linalg.norm(direction), toeplitz(CORRELATION ** np.arange(p)))


def training(world: str, m: float, epsilon: float, rho: float, weight: float = 1.0) -> tuple[Mixture, list[Source]]:
    """What `rmt_lib.predict` needs for the worlds with a perfect generator."""
    target = population(world, P)
    return target, [Source(target, N), Source(target, m, epsilon=epsilon, rho=rho, weight=weight)]


class Sample:
    """One trial: real samples, synthetic ones, and the luck that decides which labels are wrong and which are kept."""

    def __init__(self, rng: np.random.Generator, world: str, p: int, n: int, most: int) -> None:
        self.target = population(world, p)
        self.real = self._draw(rng, n)
        if world == "fitted":
            seen = self._draw(rng, N_HAT)
            factor = np.linalg.cholesky(np.cov(seen.T, bias=True))
            self.synthetic = seen.mean(axis=0) + rng.standard_normal((most, p)) @ factor.T
        else:
            self.synthetic = self._draw(rng, most)
        self.luck = rng.random((2, most))
        self.order = rng.permutation(n + most)  # for the folds

    def _draw(self, rng: np.random.Generator, count: int) -> Array:
        noise = rng.standard_normal((count, self.target.p))
        return self.target.mean + (noise @ self.target.root if self.target.root.ndim else noise)

    def rows(self, m: int, epsilon: float, rho: float) -> Rows:
        """Real samples, then the kept ones of the first m synthetic samples."""
        wrong = self.luck[0, :m] < epsilon
        kept = ~wrong | (self.luck[1, :m] < rho)
        signs = np.where(wrong[kept], -1.0, 1.0)
        return np.vstack([self.real, self.synthetic[:m][kept]]), np.concatenate([np.ones(len(self.real)), signs])

    def accuracy(self, w: Array) -> Array:
        """Exact accuracy on fresh real data of the classifiers in the columns of w."""
        half = self.target.root @ w if self.target.root.ndim else w
        return accuracy_of(self.target.mean @ w, (half**2).sum(axis=0))


def fit(name: str, rows: Rows, total: int, gammas: tuple[float, ...]) -> Array:
    """Minimisers of (1/total) sum loss(s u'w) + gamma |w|^2 in columns, (p, len(gammas)); large penalties first.

    A scikit-learn model minimises |w|^2 / 2 + C sum loss, so that C = 1 / (2 gamma total). It needs both labels: every
    second sample is given the true label -1, which changes neither s u nor w.
    """
    u, s = rows
    if name == "ridge":
        values, vectors = eigh(u.T @ u / total)
        return vectors @ ((vectors.T @ (s @ u))[:, None] / total / (values[:, None] + np.array(gammas)))
    y = np.resize([1.0, -1.0], len(u))
    features, labels = y[:, None] * u, y * s
    if name == "logistic":
        model = LogisticRegression(fit_intercept=False, warm_start=True, tol=1e-5, max_iter=2000)
    elif name == "svm":
        model = LinearSVC(loss="hinge", dual=True, fit_intercept=False, tol=1e-3, max_iter=100_000, random_state=0)
    else:
        model = LinearSVC(fit_intercept=False, dual=False)  # squared hinge, as in scikit-learn by default
    found = []
    with warnings.catch_warnings(), config_context(assume_finite=True):
        warnings.simplefilter("error", ConvergenceWarning)
        for gamma in gammas:
            model.set_params(C=1 / (2 * gamma * total)).fit(features, labels)
            found.append(model.coef_[0].copy())
    return np.column_stack(found)


def folds(sample: Sample, rows: Rows) -> Iterator[tuple[Array, Array]]:
    """For each fold, which rows train and which are tested; real and synthetic ones are split alike."""
    count, n = len(rows[1]), len(sample.real)
    place = sample.order[sample.order < count]
    number = np.empty(count, dtype=int)
    for part in (place[place < n], place[place >= n]):
        number[part] = np.arange(len(part)) % FOLDS
    for fold in range(FOLDS):
        yield number != fold, number == fold


def cross_validate(name: str, sample: Sample, rows: Rows, total: int) -> dict[str, int]:
    """Number of the penalty with the most right guesses; training label and guess agree if s u'w > 0."""
    n, gammas = len(sample.real), GRIDS[name]
    right = {"all": np.zeros(len(gammas)), "real": np.zeros(len(gammas))}
    for train, test in folds(sample, rows):
        w = fit(name, (rows[0][train], rows[1][train]), round(total * (1 - 1 / FOLDS)), gammas)
        agrees = rows[1][test, None] * (rows[0][test] @ w) > 0
        right["all"] += agrees.sum(axis=0)
        right["real"] += agrees[np.flatnonzero(test) < n].sum(axis=0)
    return {by: int(np.argmax(counts)) for by, counts in right.items()}  # the largest penalty of equal ones


def one_trial(rng: np.random.Generator, setting: Mapping[str, Any]) -> dict[tuple, Array]:
    """Accuracies by (rho, m, classifier, choice), on the whole grid for ``best``."""
    world, p, n, epsilon = (setting[key] for key in ("world", "p", "n", "epsilon"))
    small = setting["part"] == "small"
    drawn = SMALL_DRAWN if small else DRAWN
    sample = Sample(rng, world, p, n, drawn[-1])
    result = {}
    for rho in RHOS if epsilon and not small else RHOS[:1]:
        for m in drawn:
            rows, total = sample.rows(m, epsilon, rho), n + m
            for name, grid in GRIDS.items():
                if m == 0 and rho != RHOS[0]:
                    for choice in ("best", "default"):
                        result[rho, 0, name, choice] = result[RHOS[0], 0, name, choice]
                    continue
                if small:
                    result[rho, m, name, "small"] = sample.accuracy(fit(name, rows, total, (SMALL,)))
                    continue
                result[rho, m, name, "best"] = accuracies = sample.accuracy(fit(name, rows, total, grid))
                loss, scale = DEFAULTS[name]
                result[rho, m, name, "default"] = sample.accuracy(fit(loss, rows, total, (scale / total,)))
                if setting["folds"] and rho == 1 and m in (0, TUNED_BY_FOLDS):
                    for by, chosen in cross_validate(name, sample, rows, total).items():
                        result[rho, m, name, by] = accuracies[[chosen]]
    return result


def measure(setting: Mapping[str, Any], trials: int, seed: np.random.SeedSequence) -> list[dict[str, Any]]:
    """A row for each verifier, number of synthetic samples, classifier and way to choose the penalty."""
    results = [one_trial(np.random.default_rng(child), setting) for child in seed.spawn(trials)]
    chosen, gammas = {}, {}
    for key in results[0]:
        values = np.array([result[key] for result in results])
        best = int(values.mean(axis=0).argmax())  # the largest penalty of equal ones
        chosen[key] = values[:, best]
        gammas[key] = GRIDS[key[2]][best] if key[3] == "best" else np.nan
    rows = []
    for (rho, m, name, choice), values in chosen.items():
        compared = {
            "accuracy": values,
            "minus_ridge": values - chosen[rho, m, "ridge", choice],
            "gain": values - chosen[rho, 0, name, choice],
            "cost": chosen.get((rho, m, name, "best"), values) - values,
        }
        row = {"rho": rho, "m": m, "classifier": name, "choice": choice, "gamma": gammas[rho, m, name, choice]}
        rows.append(row | averages(compared))
    return rows


def _setting(part: str, world: str, p: int, n: int, epsilon: float, folds: bool = False) -> Mapping[str, Any]:
    return {"part": part, "world": world, "p": p, "n": n, "epsilon": epsilon, "folds": int(folds)}


EXPERIMENT = Experiment(
    name="other_classifiers",
    seed=2410,
    trials=40,
    settings=[
        *(_setting("tuned", w, P, N, e, folds=e == 0.4) for w in ("identity", "chain") for e in (0.0, 0.2, 0.4)),
        *(_setting("tuned", "fitted", P, N, e) for e in (0.0, 0.2)),
        *(_setting("small", "identity", SMALL_P, SMALL_N, e) for e in (0.0, 0.2)),
    ],
    measure=measure,
    packages=("scikit-learn",),
)
