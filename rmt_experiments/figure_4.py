"""Counterpart of the paper's Figure 4: accuracy against label noise, trained on synthetic data alone.

The generator has the true mean and covariance. The label noises are even, with more of them where the transition of
the largest sample is, and the critical noise itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rmt_experiments.runner import Experiment, summary
from rmt_lib import simulate_isotropic
from rmt_lib.topics.synthetic_only import critical_noise

P, MU, GAMMA = 100, 1.0, 1.0
PHI, RHO = 0.8, 0.3
SAMPLES = (P, 10 * P, 100 * P, 1000 * P)
CRITICAL = float(critical_noise(phi=PHI, rho=RHO))
NOISES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.66, 0.7, CRITICAL, 0.76, 0.8, 0.9, 1.0)


def measure(setting: Mapping[str, Any], trials: int, seed: np.random.SeedSequence) -> dict[str, float]:
    """Mean, variance and accuracy of simulated classifiers; accuracy below one half is not folded back."""
    simulation = simulate_isotropic(
        p=P, n=0, mu=MU, gamma=GAMMA, phi=PHI, rho=RHO, **setting, trials=trials, seed=seed
    )  # fmt: skip
    return summary(simulation)


EXPERIMENT = Experiment(
    name="figure_4",
    seed=2410,
    trials=2000,
    settings=[{"m": m, "epsilon": epsilon} for m in SAMPLES for epsilon in NOISES],
    measure=measure,
)
