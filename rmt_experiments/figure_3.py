"""Counterpart of the paper's Figure 3: accuracy against the share of synthetic data, with a generator of known mean.

As the released script has it, the label noise is not a free parameter: it is the error, in theory, of a classifier
trained on the same number of clean synthetic samples alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rmt_experiments.runner import Experiment, summary
from rmt_lib import predict_isotropic, simulate_isotropic

N = 1000  # real samples, and samples the generator is fitted to
MU, GAMMA = 0.7, 1.0
DIMENSIONS = (50, 200, 500)
SUPERVISION = {"oracle": {"phi": 1.0, "rho": 0.0}, "weak": {"phi": 0.5, "rho": 1.0}}
SHARES = (0.001, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)


def synthetic_error(p: Any, m: Any, *, n_hat: Any = N, generator: Any = "known_mean") -> Any:
    """Error 1 - accuracy of the theory for m clean synthetic samples and no real ones; arguments broadcast."""
    alone = predict_isotropic(p=p, n=0, m=m, mu=MU, gamma=GAMMA, n_hat=n_hat, generator=generator)
    return 1 - alone.accuracy


def setting(p: int, supervision: str, share: float) -> dict[str, Any]:
    """Parameters of one point; m is share N / (1 - share), rounded."""
    m = round(share * N / (1 - share))
    epsilon = float(synthetic_error(p, m))
    return {"p": p, "supervision": supervision, "share": share, "m": m, "epsilon": epsilon, **SUPERVISION[supervision]}


def measure(setting: Mapping[str, Any], trials: int, seed: np.random.SeedSequence) -> dict[str, float]:
    """Mean, variance and accuracy of simulated classifiers."""
    parameters = {name: setting[name] for name in ("p", "m", "epsilon", "phi", "rho")}
    return summary(simulate_isotropic(n=N, mu=MU, gamma=GAMMA, n_hat=N, **parameters, trials=trials, seed=seed))


EXPERIMENT = Experiment(
    name="figure_3",
    seed=2410,
    trials=150,
    settings=[setting(p, name, share) for p in DIMENSIONS for name in SUPERVISION for share in SHARES],
    measure=measure,
)
