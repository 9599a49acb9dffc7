"""Simulation for the comparison with the released code: named settings, a sweep over pruning, and random settings.

The random settings come in the three kinds the released formulas are for: synthetic data only and a generator of known
mean and covariance ("synthetic"), the same generator beside real data ("perfect"), and a covariance fitted to as many
samples as there are real ones ("fitted").
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from rmt_experiments.runner import Experiment, summary
from rmt_lib import simulate_isotropic

SEED = 2410
PARAMETERS = ("p", "n", "m", "n_hat", "mu", "gamma", "epsilon", "phi", "rho")
NAMED = {
    "strong": dict(p=400, n=0, m=400, n_hat=np.inf, mu=1.0, gamma=0.05, epsilon=0.3, phi=0.3, rho=0.3),
    "mild": dict(p=200, n=0, m=400, n_hat=np.inf, mu=1.0, gamma=0.1, epsilon=0.3, phi=0.5, rho=0.1),
    "large": dict(p=200, n=400, m=1600, n_hat=400, mu=0.7, gamma=0.1, epsilon=0.3, phi=1.0, rho=1.0),
    "small": dict(p=200, n=100, m=100, n_hat=100, mu=0.7, gamma=0.01, epsilon=0.3, phi=1.0, rho=1.0),
}
KEPT = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.85, 1.0)
GAMMAS = (0.02, 0.05, 0.1, 0.25, 1.0)
KINDS = ("synthetic", "perfect", "fitted")
RANDOM = 50  # settings of each kind


def draw(kind: str, rng: np.random.Generator) -> dict[str, Any]:
    """A random setting: ratios and penalty log-uniform, probabilities uniform."""

    def log_uniform(low: float, high: float) -> float:
        return float(np.exp(rng.uniform(np.log(low), np.log(high))))

    p = round(log_uniform(100, 400))
    m, n = round(p * log_uniform(0.25, 16)), round(p * log_uniform(0.25, 4))
    mu, gamma = round(rng.uniform(0.5, 2), 3), float(f"{log_uniform(0.01, 10):.3g}")
    epsilon, phi, rho = (round(rng.uniform(low, high), 3) for low, high in ((0, 0.5), (0.1, 1), (0, 1)))
    real = 0 if kind == "synthetic" else n
    n_hat = n if kind == "fitted" else np.inf
    return dict(p=p, n=real, m=m, n_hat=n_hat, mu=mu, gamma=gamma, epsilon=epsilon, phi=phi, rho=rho)


def settings() -> Iterator[dict[str, Any]]:
    """All rows; `repeat` multiplies the number of trials."""
    for name, values in NAMED.items():
        yield {"group": name, "repeat": 40, **values}
    for gamma in GAMMAS:
        for kept in KEPT:
            values = dict(p=200, n=0, m=200, n_hat=np.inf, mu=1.0, gamma=gamma, epsilon=0.2, phi=kept, rho=kept)
            yield {"group": "kept", "repeat": 6, **values}
    rng = np.random.default_rng(SEED)
    for kind in KINDS:
        for _ in range(RANDOM):
            yield {"group": kind, "repeat": 1, **draw(kind, rng)}


def measure(setting: Mapping[str, Any], trials: int, seed: np.random.SeedSequence) -> dict[str, float]:
    """Mean, variance and accuracy of simulated classifiers."""
    parameters = {name: setting[name] for name in PARAMETERS}
    return summary(simulate_isotropic(**parameters, trials=trials * setting["repeat"], seed=seed))


EXPERIMENT = Experiment(name="released_sweep", seed=SEED, trials=60, settings=list(settings()), measure=measure)
