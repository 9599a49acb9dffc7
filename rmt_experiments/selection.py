"""Verifiers that look at the sample, where theory takes a second a point or does not apply.

Part "pair": labels given by a linear labeller, of which a linear verifier keeps those that it agrees with; both have a
given cosine to the mean, and `angle` degrees between their components across it. Labeller and verifier may change
places. Part "same data": a verifier trained on the real samples of the training set, or on as many others, beside the
coin of its own keep rates; `labeller`, `verifier` and `angle` mean nothing there and are 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.special import ndtr

from rmt_experiments.runner import Experiment, Row, estimate
from rmt_lib import Mixture, Source, predict, predict_isotropic, simulate
from rmt_lib.checks import Array

COSINES = (0.5, 0.7, 0.9)
ANGLES = (0, 30, 60, 90, 120, 150, 180)
AMOUNTS = (400, 1000, 4000, 10**8)  # synthetic samples; the last stands for infinitely many
P, GAMMA = 200, 1.0  # of the pairs
SAME_P, EPSILON = 100, 0.3  # of verifiers that share data with the student
SAME = ((100, 300, 0.1), (100, 1000, 0.1), (200, 400, 0.1), (100, 300, 1.0), (100, 1000, 1.0), (200, 400, 1.0))


def agrees(z: Array, sign: Array) -> Array:
    """Keep the labels that the direction of the last projection would give."""
    return 1.0 * (sign * z[..., -1] > 0)


def mislabels(z: Array) -> Array:
    """The labels that the direction of the first projection would give."""
    return 1.0 * (z[..., 0] < 0)


def direction(p: int, cosine: float, angle: float = 0.0) -> Array:
    """A unit vector with this cosine to the first axis; `angle` degrees turn what is across it."""
    across, turn = np.sqrt(1 - cosine**2), np.radians(angle)
    unit = np.zeros(p)
    unit[:3] = cosine, across * np.cos(turn), across * np.sin(turn)
    return unit


def pair(labeller: float, verifier: float, angle: float) -> Source:
    """Samples labelled along one direction, of which those are kept that another direction agrees with."""
    mixture = Mixture(direction(P, 1.0))
    first, second = direction(P, labeller), direction(P, verifier, angle)
    if np.allclose(first, second):
        return Source(mixture, 0, directions=first, flip=mislabels)
    return Source(mixture, 0, directions=np.column_stack([first, second]), flip=mislabels, keep=agrees)


def _measure_pair(setting: Mapping[str, Any], trials: int, seed: np.random.SeedSequence) -> list[Row]:
    source = pair(setting["labeller"], setting["verifier"], setting["angle"])
    rows = []
    for m in AMOUNTS:
        drawn = [replace(source, n=m)]
        simulated = (np.nan, np.nan)
        if m <= 1000:
            run = simulate(source.mixture, drawn, gamma=GAMMA, trials=max(2, trials // 4), seed=seed)
            simulated = run.estimate("accuracy")
        theory = predict(source.mixture, drawn, gamma=GAMMA).accuracy
        rows.append(_row("kept", m, theory, simulated, source.alpha, source.kept_wrong))
    return rows


def _row(what: str, m: float, theory: float, simulated: tuple[float, float], alpha: float, wrong: float) -> Row:
    value, error = simulated
    return {
        "what": what,
        "m": m,
        "theory": theory,
        "accuracy": value,
        "accuracy_se": error,
        "alpha": alpha,
        "kept_wrong": wrong,
    }


def _ridge(u: Array, s: Array, total: int, gamma: float) -> Array:
    return cho_solve(cho_factor(gamma * np.eye(len(u)) + u @ u.T / total), u @ s / total)


def _accuracy(w: Array) -> float:
    return float(ndtr(w[0] / np.linalg.norm(w)))


def _shared_trial(rng: np.random.Generator, n: int, m: int, gamma: float) -> list[float]:
    """Accuracies: own data looking, coin; other data looking, coin."""
    mean = direction(SAME_P, 1.0)[:, None]
    own, other = (mean + rng.standard_normal((SAME_P, n)) for _ in range(2))
    synthetic, level = mean + rng.standard_normal((SAME_P, m)), rng.random(m)
    right = np.ones(n)
    signs = np.where(rng.random(m) < EPSILON, -1.0, 1.0)
    accuracies = []
    for real in (own, other):
        verifier = _ridge(real, right, n, gamma)
        phi = _accuracy(verifier)
        for kept in (signs * (verifier @ synthetic) > 0, level < np.where(signs > 0, phi, 1 - phi)):
            u, s = np.hstack([own, synthetic[:, kept]]), np.concatenate([right, signs[kept]])
            accuracies.append(_accuracy(_ridge(u, s, n + m, gamma)))
    return accuracies


def _measure_shared(setting: Mapping[str, Any], trials: int, seed: np.random.SeedSequence) -> list[Row]:
    n, m, gamma = setting["n"], setting["drawn"], setting["gamma"]
    rngs = np.random.default_rng(seed).spawn(trials)
    measured = np.array([_shared_trial(rng, n, m, gamma) for rng in rngs])
    trained = predict_isotropic(p=SAME_P, n=n, m=0, mu=1.0, gamma=gamma)
    cosine = float(trained.mean / np.sqrt(trained.variance))
    mixture, phi = Mixture(direction(SAME_P, 1.0)), float(ndtr(cosine))
    looking = Source(mixture, m, epsilon=EPSILON, directions=direction(SAME_P, cosine), keep=agrees)
    coin = Source(mixture, m, epsilon=EPSILON, phi=phi, rho=1 - phi)
    by_look, by_coin = (
        float(predict(mixture, [Source(mixture, n), source], gamma=gamma).accuracy) for source in (looking, coin)
    )
    # Theory for the verifier's average cosine; for a verifier that saw the training set there is none.
    columns = {
        "own, looking": (measured[:, 0], np.nan),
        "own, coin": (measured[:, 1], by_coin),
        "other, looking": (measured[:, 2], by_look),
        "other, coin": (measured[:, 3], by_coin),
        "own, looking minus coin": (measured[:, 0] - measured[:, 1], np.nan),
        "other, looking minus coin": (measured[:, 2] - measured[:, 3], by_look - by_coin),
        "own minus other, looking": (measured[:, 0] - measured[:, 2], np.nan),
    }
    return [
        _row(what, m, theory, tuple(map(float, estimate(values))), looking.alpha, looking.kept_wrong)
        for what, (values, theory) in columns.items()
    ]


MEASURES = {"pair": _measure_pair, "same data": _measure_shared}


def measure(setting: Mapping[str, Any], trials: int, seed: np.random.SeedSequence) -> list[Row]:
    """Accuracies of one pair or of one sharing of data."""
    return MEASURES[setting["part"]](setting, trials, seed)


PAIRS = [
    {"part": "pair", "n": 0, "drawn": 0, "gamma": GAMMA, "labeller": labeller, "verifier": verifier, "angle": angle}
    for labeller in COSINES
    for verifier in COSINES
    if verifier >= labeller
    for angle in ANGLES
]
SHARED = [
    {"part": "same data", "n": n, "drawn": m, "gamma": gamma, "labeller": 0.0, "verifier": 0.0, "angle": 0}
    for n, m, gamma in SAME
]
EXPERIMENT = Experiment(name="selection", seed=2410, trials=200, settings=SHARED + PAIRS, measure=measure)
