"""The change in accuracy when synthetic samples are added to real ones, trial by trial.

Each trial trains twice, with the same generator and the same real samples: without and with synthetic data. The
difference has a standard error far below that of either accuracy. First, a tenth of the real sample is added, for
several label noises and verifiers; then different generators are compared, for few and for many samples; last, a large
penalty with a generator that has seen less than the real data, where theory has a closed form.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rmt_experiments.runner import Experiment, averages
from rmt_lib import simulate_isotropic

P, N, MU = 200, 400, 1.0
FEW, MANY = 40, 1600
NOISES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
VERIFIERS = (1.0, 0.3, 0.0)
GENERATORS = (("known_mean", np.inf), ("known_mean", 100.0), ("held_out", 400.0), ("held_out", 100.0))


def measure(setting: Mapping[str, Any], trials: int, seed: np.random.SeedSequence) -> dict[str, float]:
    """Mean and standard error of the difference in accuracy, and the accuracy without synthetic data."""
    fixed = {"p": P, "n": N, "mu": MU, "trials": trials}
    without, mixed = (
        # A seed sequence counts what is spawned from it: each run takes a fresh copy.
        simulate_isotropic(
            **fixed, **{**setting, "m": m}, seed=np.random.SeedSequence(seed.entropy, spawn_key=seed.spawn_key)
        ).accuracy
        for m in (0, setting["m"])
    )
    return averages({"gain": mixed - without}) | {"without": without.mean()}


def _setting(m: int, epsilon: float, rho: float, generator: str, n_hat: float, gamma: float = 1.0) -> Mapping[str, Any]:
    return {"gamma": gamma, "m": m, "epsilon": epsilon, "rho": rho, "generator": generator, "n_hat": n_hat}


EXPERIMENT = Experiment(
    name="adding_data",
    seed=2410,
    trials=600,
    settings=[_setting(FEW, epsilon, rho, "held_out", 400.0) for rho in VERIFIERS for epsilon in NOISES]
    + [_setting(m, 0.15, 1.0, generator, n_hat) for m in (FEW, MANY) for generator, n_hat in GENERATORS]
    + [_setting(m, epsilon, 1.0, "held_out", 200.0, gamma=1000.0) for epsilon in (0.15, 0.35) for m in (FEW, MANY)],
    measure=measure,
)
