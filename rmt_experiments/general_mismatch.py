"""Real data and a generator that is wrong in one respect or in all: mean direction, mean length, covariance.

The features are a chain: the correlation of features i and j is 0.5^|i-j|. The real mean is a wave of period 4 along
the chain, and a generator that has the direction wrong adds the same wave shifted by one feature, orthogonal to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.linalg import toeplitz

from rmt_experiments.runner import Experiment, summary
from rmt_lib import Mixture, Source, simulate

GAMMA, CORRELATION = 0.3, 0.5
EXACT = {"angle": 0.0, "length": 1.0, "scale": 1.0, "correlation": CORRELATION}
MISMATCHES = {
    "exact": {},
    "direction, 45 degrees": {"angle": 45.0},
    "mean too long, 3/2": {"length": 1.5},
    "mean too short, 1/2": {"length": 0.5},
    "covariance doubled": {"scale": 2.0},
    "covariance halved": {"scale": 0.5},
    "correlations ignored": {"correlation": 0.0},
    "correlations reversed": {"correlation": -CORRELATION},
    "all": {"angle": 45.0, "length": 0.5, "scale": 2.0, "correlation": 0.0},
}
DIMENSIONS = (50, 100, 200, 400)
ANGLES = (0.0, 15.0, 30.0, 45.0, 60.0, 75.0, 90.0)
RATIOS = (1, 5)  # m / n in the rows over the angle
REPEATS = 4  # further rows for "covariance halved", whose first 500 trials lie three standard errors off


def mixture(p: int, *, angle: float, length: float, scale: float, correlation: float) -> Mixture:
    """Mean of the given length at `angle` degrees from the real one, covariance scale * correlation^|i-j|."""
    wave, shifted = (np.resize(period, p) / np.sqrt(p) for period in ([1, 1, -1, -1], [1, -1, -1, 1]))
    turn = np.deg2rad(angle)
    mean = length * (np.cos(turn) * wave + np.sin(turn) * shifted)
    return Mixture(mean, scale * toeplitz(correlation ** np.arange(p)) if correlation else scale)


def training(p: int, m: int, epsilon: float, **generator: float) -> tuple[Mixture, list[Source]]:
    """The real population, and n = p real samples with m synthetic ones; the verifier has phi = 0.9, rho = 0.3."""
    target = mixture(p, **EXACT)
    synthetic = Source(mixture(p, **{**EXACT, **generator}), m, epsilon=epsilon, phi=0.9, rho=0.3)
    return target, [Source(target, p), synthetic]


def setting(name: str, *, p: int = 200, ratio: int = 3, epsilon: float = 0.2, **generator: float) -> dict[str, Any]:
    """Parameters of one row; m is `ratio` times n."""
    return {"name": name, "p": p, "m": ratio * p, "epsilon": epsilon, **EXACT, **generator}


def measure(setting: Mapping[str, Any], trials: int, seed: np.random.SeedSequence) -> dict[str, float]:
    """Mean, variance and accuracy of simulated classifiers, and the standard deviations over training sets."""
    target, sources = training(**{key: value for key, value in setting.items() if key != "name"})
    simulation = simulate(target, sources, gamma=GAMMA, trials=trials, seed=seed)
    spread = {f"{name}_sd": float(getattr(simulation, name).std(ddof=1)) for name in ("mean", "variance")}
    return {**summary(simulation), **spread}


EXPERIMENT = Experiment(
    name="general_mismatch",
    seed=2410,
    trials=500,
    settings=[
        *(setting(name, **generator) for name, generator in MISMATCHES.items()),
        *(setting("dimension", p=p, **MISMATCHES["all"]) for p in DIMENSIONS),
        *(setting("angle", ratio=ratio, angle=angle, correlation=0.0) for ratio in RATIOS for angle in ANGLES),
        *(setting("covariance halved, again", **MISMATCHES["covariance halved"]) for _ in range(REPEATS)),
    ],
    measure=measure,
)
