"""Gap to the Bayes accuracy as the number of synthetic samples grows, in three worlds.

* ``identity``: C = I, p = 200, a mean of length 1;
* ``law``: variances i^-1.5, useful signal i^-2 in direction i, Bayes score 1, p = 300; at the best penalty;
* ``separable``: variances i^-2, useful signal i^-0.2, p = 500: the Bayes accuracy tends to one with p; best penalty.

The generator is perfect where n_hat is infinite. ``held_out`` and ``known_mean`` are fitted afresh in every trial.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from rmt_experiments.runner import Experiment, averages, summary
from rmt_lib import Mixture, Simulation, Source, simulate, simulate_isotropic
from rmt_lib.topics.scaling_laws import best_ridge, effective_samples, label_cost, power_law
from rmt_lib.topics.weights import weight_at_infinite_gamma_isotropic

NONE, WEAK, CLEAN = (
    {"epsilon": 0.3, "phi": 1.0, "rho": 1.0},
    {"epsilon": 0.3, "phi": 0.9, "rho": 0.2},
    {"epsilon": 0.0},
)
RARE = {"epsilon": 0.1}
P, N_HAT, RATIOS = 200, 2000, (1, 4, 16, 64, 256)
LAW = {"spectrum": 1.5, "tail": 1.0}
LAW_P, LAW_N_HAT, LAW_DRAWN = 300, 3000, (200, 800, 3200, 12800)
SEPARABLE = {"spectrum": 2.0, "tail": -0.8, "amplitude": 0.2}
SEPARABLE_P, SEPARABLE_DRAWN = 500, (50, 100, 200, 400)
FEWER = 4  # the larger worlds take a quarter of the trials


def law(p: int) -> Mixture:
    """The population ``law`` in dimension p: its Bayes score is 1."""
    plain = power_law(p, **LAW)
    return power_law(p, **LAW, amplitude=1 / (plain.mean**2 / plain.cov).sum())


def separable(p: int) -> Mixture:
    """The population ``separable`` in dimension p."""
    return power_law(p, **SEPARABLE)


def best_gamma(target: Mixture, m: float, n_hat: float = np.inf, **labels: float) -> float:
    """The best ridge for as many real samples as the synthetic ones are worth, turned into a penalty."""
    if np.isinf(n_hat):
        return best_ridge(target, n=0, m=m, **labels).gamma
    worth = effective_samples(m=m, n_hat=n_hat, cost=label_cost(signal=(target.mean**2 / target.cov).sum(), **labels))
    return Source(target, m, **labels).alpha * best_ridge(target, n=float(worth), m=0).ridge


def setting(world: str, m: int, gamma: float, labels: Mapping[str, float], **more: Any) -> dict[str, Any]:
    """Parameters of one row."""
    row = {"world": world, "generator": "held_out", "n": 0, "m": m, "gamma": float(f"{gamma:.3g}")}
    return {**row, "phi": 1.0, "rho": 1.0, **labels, "n_hat": np.inf, "weight": 1.0, **more}


def settings() -> Iterator[dict[str, Any]]:
    """All rows."""
    for m in (P * ratio for ratio in RATIOS):
        for gamma in (1, 1000):
            yield setting("identity", m, gamma, NONE)
            yield setting("identity", m, gamma, WEAK)
            yield setting("identity", m, gamma, WEAK, n_hat=N_HAT)
            yield setting("identity", m, gamma, WEAK, n_hat=N_HAT, generator="known_mean")
        for weight in (1.0, weight_at_infinite_gamma_isotropic(m=m, n_hat=N_HAT, generator="held_out", **WEAK).weight):
            yield setting("identity", m, 1000, WEAK, n=P, n_hat=N_HAT, weight=float(f"{weight:.4g}"))
    for m in (60, 120, 200, 290, 400, 800, 3200):
        yield setting("identity", m, 0.001, WEAK)
    for m in LAW_DRAWN:
        yield setting("law", m, best_gamma(law(LAW_P), m, **NONE), NONE)
        for n_hat in (np.inf, LAW_N_HAT):
            yield setting("law", m, best_gamma(law(LAW_P), m, n_hat, **WEAK), WEAK, n_hat=n_hat)
    for m in SEPARABLE_DRAWN:
        for labels in (CLEAN, RARE):
            yield setting("separable", m, best_gamma(separable(SEPARABLE_P), m, **labels), labels)


def simulate_fitted(
    target: Mixture, n_hat: int, gamma: float, trials: int, seed: np.random.SeedSequence, **source: Any
) -> Simulation:
    """Synthetic data alone, of a generator whose mean and covariance are fitted in every trial; `target` diagonal."""
    results = []
    for child in seed.spawn(trials):
        rng = np.random.default_rng(child)
        seen = target.mean + rng.standard_normal((n_hat, target.p)) * target.root
        mean = seen.mean(axis=0)
        fitted = Mixture(mean, (seen - mean).T @ (seen - mean) / n_hat)
        results.append(simulate(target, [Source(fitted, **source)], gamma=gamma, trials=1, seed=rng))
    return Simulation(*(np.concatenate([getattr(one, name) for one in results]) for name in ("mean", "variance")))


def columns(simulation: Simulation) -> dict[str, float]:
    """The usual columns, and the score z = mean / sqrt(variance) with its standard error."""
    return summary(simulation) | averages({"score": simulation.mean / np.sqrt(simulation.variance)})


def measure(setting: Mapping[str, Any], trials: int, seed: np.random.SeedSequence) -> dict[str, float]:
    """Mean, variance, accuracy and score of simulated classifiers."""
    values = dict(setting)
    world, gamma = values.pop("world"), values.pop("gamma")
    if world == "identity":
        return columns(simulate_isotropic(p=P, mu=1.0, gamma=gamma, trials=trials, seed=seed, **values))
    target = law(LAW_P) if world == "law" else separable(SEPARABLE_P)
    trials = -(-trials // FEWER)
    source = {"n": values["m"], **{name: values[name] for name in ("epsilon", "phi", "rho")}}
    if np.isfinite(values["n_hat"]):
        return columns(simulate_fitted(target, int(values["n_hat"]), gamma, trials, seed, **source))
    return columns(simulate(target, [Source(target, **source)], gamma=gamma, trials=trials, seed=seed))


EXPERIMENT = Experiment(name="scaling_laws", seed=2410, trials=400, settings=list(settings()), measure=measure)
