"""Points beside those of `rmt_experiments.figure_3`: other generators, and label noise held fixed.

Rows with p = 400 compare the three generators; the others are Figure 3 with the generator `held_out` at the same label
noise, and weak supervision at p = 200 with epsilon = 0.25 at every share.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from rmt_experiments import figure_3
from rmt_experiments.runner import Experiment, summary
from rmt_lib import simulate_isotropic

SHARES = (0.3, 0.6, 0.8, 0.9, 0.95)
FIXED_EPSILON = 0.25


def settings() -> list[dict[str, Any]]:
    """All points, the cheapest first."""
    rows = []
    for generator in ("known_mean", "held_out", "reused"):
        n_hat = math.inf if generator == "reused" else 800
        verifier = {"share": 0.8, "epsilon": 0.3, "phi": 1.0, "rho": 1.0}
        rows.append(
            {"generator": generator, "p": 400, "n": 800, "n_hat": n_hat, "m": 3200, "supervision": "none", **verifier}
        )
    both = {"n": figure_3.N, "n_hat": figure_3.N}
    for p in figure_3.DIMENSIONS:
        for supervision in figure_3.SUPERVISION:
            rows += [{"generator": "held_out", **both, **figure_3.setting(p, supervision, share)} for share in SHARES]
    fixed = {"generator": "known_mean", **both}
    rows += [fixed | figure_3.setting(200, "weak", share) | {"epsilon": FIXED_EPSILON} for share in SHARES]
    return sorted(rows, key=lambda row: row["p"])


def measure(setting: Mapping[str, Any], trials: int, seed: np.random.SeedSequence) -> dict[str, float]:
    """Mean, variance and accuracy of simulated classifiers."""
    parameters = {name: value for name, value in setting.items() if name not in ("share", "supervision")}
    return summary(simulate_isotropic(**parameters, mu=figure_3.MU, gamma=figure_3.GAMMA, trials=trials, seed=seed))


EXPERIMENT = Experiment(name="figure_3_variants", seed=2412, trials=150, settings=settings(), measure=measure)
