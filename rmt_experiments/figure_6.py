"""Counterpart of the paper's Figure 6: features of Amazon reviews, real and Gaussian; as released, and clean splits.

A split gives 800 rows to train on and 600 others to a held-out generator. Five procedures use the same splits and the
same noise, at fixed penalties:

* "released": features standardised on all rows; the generator has the mean of all rows and the covariance of the
  training rows around it; tested on all rows, training rows included.
* "fresh_test": the same classifiers, tested on the rows they were not trained on.
* "reused": everything from the training rows; tested on all others.
* "more_rows": as "reused", but the generator's mean is that of both the training rows and the 600; tested on the rest.
* "held_out": standardised on the training rows; the generator is fitted to the 600; tested on the rest.

Beside them is "more_real": no generator, the 600 are training rows like the others.

Then every arm at the penalty that is best in a fivefold cross-validation on its own real training rows, in a tie the
largest: "tuned", real data alone; "tuned_reused" and "tuned_held_out" for each m, with the same penalties and folds,
the synthetic rows in the training part of every fold (a generator that was fitted to rows of the fold is fitted without
them); "chosen_reused" and "chosen_held_out", where m is chosen in the same way, 0 included; "tuned_more_real".

A "resampled" pool has as many reviews as the pool itself, drawn from it with replacement; copies stay together. Its
trials are pools, each with the mean over a few splits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from rmt_experiments.runner import Experiment, averages
from rmt_lib.checks import Array
from rmt_lib.datasets import DOMAINS, Dataset, amazon_reviews, amazon_snippets

N, N_HAT, EPSILON, GAMMA = 800, 600, 0.2, 0.1
SIZES = (0, 1, N // 4, N // 2, N, 2 * N, 5 * N, 10 * N, 15 * N)  # synthetic samples drawn
SUPERVISION = ("none", "oracle")  # (rho, phi) = (1, 1) and (0, 1)
GAMMAS = (0.1, 1.0, 3.0, 10.0)
TUNING_GAMMAS = tuple(np.geomspace(0.1, 1000, 9))
TUNED_SIZES = (0, N // 2, N, 2 * N, 15 * N)
FOLDS = 5
PROCEDURES = ("released", "fresh_test", "reused", "more_rows", "held_out")
RESAMPLED_SIZES = (0, N)
SPLITS_OF_A_POOL = 2


class Split(NamedTuple):
    """Numbers of rows: to train on, to fit a held-out generator to, to test on."""

    train: Array
    seen: Array
    test: Array


class Noise(NamedTuple):
    """Sums over standard Gaussian rows z, those of right labels first, those of wrong ones second."""

    count: Array
    total: Array
    """Sum of z, (2, p)."""
    square: Array
    """Sum of z z', (2, p, p)."""


class Fit(NamedTuple):
    """Accuracies on the test rows and what was chosen on the training rows."""

    accuracy: float
    gamma: float
    m: int


class Trial(NamedTuple):
    """Accuracies (procedure, supervision, m, gamma), rows tested (procedure), and the arms besides.

    `arms` has the accuracy, penalty and m of an arm under its procedure, supervision and place among the sizes (-1
    where m is chosen); `more_real` accuracies for each penalty; `tuned` those of "tuned" on each procedure's rows.
    """

    accuracy: Array
    tested: Array
    more_real: Array
    tuned: Array
    arms: dict[tuple[str, str, int], Fit]


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


def resample(data: Dataset, groups: Array, rng: np.random.Generator) -> tuple[Dataset, Array]:
    """As many groups as there are, drawn with replacement; all copies of a group are one group."""
    drawn = rng.integers(groups.max() + 1, size=groups.max() + 1)
    order = np.argsort(groups, kind="stable")
    first = np.searchsorted(groups[order], np.arange(groups.max() + 2))
    rows = np.concatenate([order[first[group] : first[group + 1]] for group in drawn])
    pool = Dataset(data.features[rows], data.labels[rows], data.provenance)
    return pool, np.unique(groups[rows], return_inverse=True)[1]


def draw_split(groups: Array, rng: np.random.Generator, n: int = N, n_hat: int = N_HAT) -> Split:
    """A random split. The group that the last training row is from gives no row to the other parts; likewise `seen`."""
    place = rng.permutation(groups.max() + 1)[groups]
    order = np.argsort(place, kind="stable")
    train = order[:n]
    others = order[n:][~np.isin(groups[order[n:]], groups[train])]
    seen, rest = others[:n_hat], others[n_hat:]
    return Split(train, seen, rest[~np.isin(groups[rest], groups[seen])])


def ridge(gram: Array, moment: Array, gammas: Sequence[float]) -> Array:
    """Classifiers (p, gammas) from gram = 1/N sum q u u' and moment = 1/N sum q s u."""
    identity = np.eye(len(gram))
    return np.column_stack(
        [
            cho_solve(cho_factor(gram + gamma * identity, overwrite_a=True, check_finite=False), moment)
            for gamma in gammas
        ]
    )


def draw_noise(p: int, sizes: Sequence[int], rng: np.random.Generator) -> list[Noise]:
    """The noise of synthetic samples for each m; the samples of a larger m contain those of a smaller one."""
    count, total, square = np.zeros(2), np.zeros((2, p)), np.zeros((2, p, p))
    drawn, noise = 0, []
    for m in sizes:
        flipped, z = rng.random(m - drawn) < EPSILON, rng.standard_normal((m - drawn, p))
        parts, drawn = (z[~flipped], z[flipped]), m
        count = count + [len(part) for part in parts]
        total = total + [part.sum(axis=0) for part in parts]
        square = square + [part.T @ part for part in parts]
        noise.append(Noise(count, total, square))
    return noise


class Generator(NamedTuple):
    """A Gaussian: its samples are mean + z root."""

    mean: Array
    root: Array

    @classmethod
    def fitted(cls, u: Array, mean_rows: Array, cov_rows: Array) -> Generator:
        """With the mean of some rows, and the mean square of others around it as its covariance."""
        mean = u[mean_rows].mean(axis=0)
        deviations = u[cov_rows] - mean
        values, vectors = np.linalg.eigh(deviations.T @ deviations / len(deviations))
        # The symmetric root: similar generators turn the same noise into similar samples.
        return cls(mean, (vectors * np.sqrt(values.clip(0))) @ vectors.T)

    def sums(self, noise: Noise) -> list[tuple[Array, Array]]:
        """Sum q u u' and sum q s u of the samples made of this noise, for each supervision."""
        grams, moments = [], []
        for count, total, square, sign in zip(*noise, (1, -1), strict=True):
            around = self.root @ total
            cross = np.outer(self.mean, around + count / 2 * self.mean)
            grams.append(self.root @ square @ self.root + cross + cross.T)
            moments.append(sign * (around + count * self.mean))
        return [(grams[0] + grams[1], moments[0] + moments[1]), (grams[0], moments[0])]


def classifiers(
    real: Array, generator: Generator | None, noise: Sequence[Noise], gammas: Sequence[float]
) -> Iterator[list[Array]]:
    """For each m, classifiers (p, gammas) for each supervision; without a generator, those of real rows alone."""
    for by_supervision in training_sums(real, generator, noise):
        yield [ridge(gram, moment, gammas) for gram, moment in by_supervision]


def training_sums(
    real: Array, generator: Generator | None, noise: Sequence[Noise]
) -> Iterator[list[tuple[Array, Array]]]:
    """For each m, 1/N sum q u u' and 1/N sum q s u for each supervision; as in `classifiers`."""
    gram, moment = real.T @ real, real.sum(axis=0)
    if generator is None:
        yield [(gram / len(real), moment / len(real))]
        return
    for drawn in noise:
        total = len(real) + drawn.count.sum()
        yield [((gram + g) / total, (moment + h) / total) for g, h in generator.sums(drawn)]


def folds(groups: Array) -> Array:
    """The fold of each row: whole groups, in the order in which they appear."""
    names, first, number = np.unique(groups, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[number] * FOLDS // len(names)


def best_penalty(right: Array) -> Array:
    """Place of the most right answers along the last axis; in a tie, of the largest penalty."""
    return right.shape[-1] - 1 - right[..., ::-1].argmax(axis=-1)


def validated(
    u: Array,
    train: Array,
    groups: Array,
    fitted_to: Array | None,
    noise: Sequence[Noise],
    gammas: Sequence[float] = TUNING_GAMMAS,
) -> Array:
    """Right answers (m, supervision, gamma) on real training rows, each by a classifier that has not seen its fold.

    `fitted_to` are the rows of the generator (None: real rows alone, a single m and supervision). It is fitted without
    those of the fold that is left out.
    """
    fold = folds(groups[train])
    generator = None
    right = []
    for k in range(FOLDS):
        left_out, rows = train[fold == k], train[fold != k]
        if fitted_to is not None:
            others = fitted_to[~np.isin(fitted_to, left_out)]
            if generator is None or len(others) < len(fitted_to):
                generator = Generator.fitted(u, others, others)
        w = np.array(list(classifiers(u[rows], generator, noise, gammas)))  # (m, supervision, p, gamma)
        right.append((u[left_out] @ w > 0).sum(axis=2))
    return np.sum(right, axis=0)


def tuned_arms(
    u: Array, train: Array, groups: Array, fitted_to: Array | None, noise: Sequence[Noise], tested: Array
) -> tuple[Array, Array, Array]:
    """Accuracies (m, supervision), penalties and right answers in the cross-validation that chose these."""
    right = validated(u, train, groups, fitted_to, noise)
    best = best_penalty(right)
    generator = None if fitted_to is None else Generator.fitted(u, fitted_to, fitted_to)
    accuracy = np.empty(best.shape)
    chosen = np.take(TUNING_GAMMAS, best)
    for i, by_supervision in enumerate(training_sums(u[train], generator, noise)):
        for j, (gram, moment) in enumerate(by_supervision):
            w = ridge(gram, moment, [chosen[i, j]])[:, 0]
            accuracy[i, j] = (u[tested] @ w > 0).mean()
    return accuracy, chosen, right.max(axis=2)


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
    both = np.concatenate([train, seen])
    on_all, on_training = signed_features(data, everything), signed_features(data, train)
    noise = draw_noise(on_all.shape[1], sizes, np.random.default_rng(noise_seed))
    # Features; rows of the generator's mean, of its covariance; tested rows, as many sets as procedures.
    families = (
        (on_all, everything, train, (everything, others)),
        (on_training, train, train, (others,)),
        (on_training, both, train, (test,)),
        (on_training, seen, seen, (test,)),
    )
    accuracy = []
    for u, mean_rows, cov_rows, tested in families:
        generator = Generator.fitted(u, mean_rows, cov_rows)
        w = np.moveaxis(np.array(list(classifiers(u[train], generator, noise, gammas))), 2, 0)
        for rows in tested:  # w is (p, m, supervision, gamma)
            accuracy.append((np.tensordot(u[rows], w, 1) > 0).mean(axis=0).swapaxes(0, 1))
    tested = [len(rows) for *_, sets in families for rows in sets]

    arms: dict[tuple[str, str, int], Fit] = {}
    (real,) = validated(on_training, train, groups, None, ())[0]
    gamma = TUNING_GAMMAS[best_penalty(real)]
    (alone,) = classifiers(on_training[train], None, (), [gamma])
    right = on_training @ alone[0][:, 0] > 0
    tuned = np.array([right[rows].mean() for rows in (others, others, others, test, test)])
    arms["tuned", "none", 0] = Fit(tuned[PROCEDURES.index("reused")], gamma, 0)
    places = [i for i, m in enumerate(sizes) if m in TUNED_SIZES and m > 0]
    sources = {"reused": (train, others), "held_out": (seen, test)} if places else {}
    for procedure, (fitted_to, rows) in sources.items():
        found = tuned_arms(on_training, train, groups, fitted_to, [noise[i] for i in places], rows)
        for j, supervision in enumerate(SUPERVISION):
            fits = [Fit(right[rows].mean(), gamma, 0)]
            scores = [real.max()]
            for i, value, penalty, score in zip(places, *(part[:, j] for part in found), strict=True):
                fits.append(Fit(value, penalty, sizes[i]))
                scores.append(score)
                arms[f"tuned_{procedure}", supervision, i] = fits[-1]
            arms[f"chosen_{procedure}", supervision, -1] = fits[int(np.argmax(scores))]

    on_both = signed_features(data, both)
    (w,) = classifiers(on_both[both], None, (), gammas)
    more_real = (on_both[test] @ w[0] > 0).mean(axis=0)
    value, penalty, _ = tuned_arms(on_both, both, groups, None, (), test)
    arms["tuned_more_real", "none", 0] = Fit(value[0, 0], penalty[0, 0], 0)
    return Trial(np.array(accuracy), np.array(tested), more_real, tuned, arms)


def measure(
    setting: Mapping[str, Any],
    trials: int,
    seed: np.random.SeedSequence,
    *,
    sizes: Sequence[int] | None = None,
    gammas: Sequence[float] | None = None,
) -> list[dict[str, Any]]:
    """A row for each procedure, supervision, penalty and m, and for each tuned arm (median penalty, median m).

    Differences are paired by trial: from m = 0, from "released", and from "tuned" on the rows that the procedure tests
    (those outside of the training rows). Tuned arms have no difference but the last.
    """
    data = load(setting["domain"])
    groups = groups_of(data, setting["split"])
    if setting["pool"] == "resampled":
        sizes, gammas = sizes or RESAMPLED_SIZES, gammas or (GAMMA,)
        results = []
        for child in seed.spawn(trials):
            pool_seed, *split_seeds = child.spawn(1 + SPLITS_OF_A_POOL)
            pool, together = resample(data, groups, np.random.default_rng(pool_seed))
            results.append([run_trial(pool, together, s, sizes, gammas) for s in split_seeds])
    else:
        sizes, gammas = sizes or SIZES, gammas or GAMMAS
        results = [[run_trial(data, groups, child, sizes, gammas)] for child in seed.spawn(trials)]

    def over_splits(part: str) -> Array:
        return np.array([np.mean([getattr(trial, part) for trial in of_pool], axis=0) for of_pool in results])

    accuracy, tuned, tested, more_real = map(over_splits, ("accuracy", "tuned", "tested", "more_real"))
    columns = {
        "accuracy": accuracy,
        "minus_real": accuracy - accuracy[:, :, :, :1],
        "minus_released": accuracy - accuracy[:, :1],
        "minus_tuned": accuracy - tuned[:, :, None, None, None],
    }

    def estimates(measured: Mapping[str, Array]) -> dict[str, float]:
        return {name: _rounded(value) for name, value in averages(measured).items()}

    rows = [
        {"procedure": procedure, "supervision": supervision, "gamma": gamma, "m": m}
        | {"tested": _rounded(tested[:, i].mean())}
        | estimates({name: values[:, i, j, k, g] for name, values in columns.items()})
        for i, procedure in enumerate(PROCEDURES)
        for j, supervision in enumerate(SUPERVISION)
        for g, gamma in enumerate(gammas)
        for k, m in enumerate(sizes)
    ]

    def arm(name: str, supervision: str, gamma: float, m: float, values: Array) -> dict[str, Any]:
        place = PROCEDURES.index("held_out" if name.endswith(("held_out", "more_real")) else "reused")
        nothing = np.full(len(values), np.nan)
        measured = {"accuracy": values, "minus_real": nothing, "minus_released": nothing}
        return (
            {"procedure": name, "supervision": supervision, "gamma": _rounded(gamma), "m": _rounded(m)}
            | {"tested": _rounded(tested[:, place].mean())}
            | estimates(measured | {"minus_tuned": values - tuned[:, place]})
        )

    rows += [arm("more_real", "none", gamma, 0, more_real[:, g]) for g, gamma in enumerate(gammas)]
    for key in results[0][0].arms:
        fits = np.array([[trial.arms[key] for trial in of_pool] for of_pool in results])  # (trial, split, Fit)
        middle = np.median(fits, axis=(0, 1))
        rows.append(arm(*key[:2], middle[1], middle[2], fits[:, :, 0].mean(axis=1)))
    return rows


def _rounded(value: float) -> float:
    return round(float(value), 6)


EXPERIMENT = Experiment(
    name="figure_6",
    seed=2410,
    trials=16,
    settings=[
        {"domain": domain, "split": "random", "pool": pool} for pool in ("itself", "resampled") for domain in DOMAINS
    ],
    measure=measure,
)
