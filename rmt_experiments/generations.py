"""Accuracy by generation: real samples and those of a generator that was fitted to the output of another, and so on.

A trial draws the whole recursion, and trains on samples of its generators 1, 2, 4, ... In every round the labels of
generated samples are wrong with probability epsilon, and a verifier keeps right ones with probability phi and wrong
ones with probability rho, both of what the next generator is fitted to and of what the classifier is trained on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rmt_experiments.runner import Experiment, Row, averages, estimate
from rmt_lib import Mixture, Source, predict, simulate
from rmt_lib.topics.generations import draw_generations

GENERATIONS = (1, 2, 4, 8, 16)
P, N_REAL, M, N_HAT, GAMMA = 100, 100, 1000, 500, 1.0
POPULATION = Mixture(np.full(P, P**-0.5))
REGIMES = (("replace", 0.0), ("fresh", 0.1), ("accumulate", 0.0))
LABELS = (
    {"labels": "right", "epsilon": 0.0, "phi": 1.0, "rho": 1.0},
    {"labels": "noisy", "epsilon": 0.1, "phi": 1.0, "rho": 1.0},
    {"labels": "verified", "epsilon": 0.1, "phi": 0.9, "rho": 0.1},
)


def measure(setting: Mapping[str, Any], trials: int, seed: np.random.SeedSequence) -> list[Row]:
    """Accuracy in each of `GENERATIONS`, simulated and by the master theorem given the drawn generator."""
    flips = {name: setting[name] for name in ("epsilon", "phi", "rho")}
    synthetic = Source(POPULATION, M, **flips)
    recursion = {"n_hat": N_HAT, "regime": setting["regime"], "share": setting["share"]}
    simulated, given = np.empty((2, trials, len(GENERATIONS)))
    for trial, rng in enumerate(np.random.default_rng(seed).spawn(trials)):
        balance = synthetic.lam / synthetic.alpha
        mixtures = draw_generations(POPULATION, GENERATIONS[-1], seed=rng, balance=balance, **recursion)
        for column, generation in enumerate(GENERATIONS):
            sources = [Source(POPULATION, N_REAL), Source(mixtures[generation - 1], M, **flips)]
            simulated[trial, column] = simulate(POPULATION, sources, gamma=GAMMA, trials=1, seed=rng).accuracy[0]
            given[trial, column] = predict(POPULATION, sources, gamma=GAMMA).accuracy
    rows = []
    for generation, by_simulation, by_theory in zip(GENERATIONS, simulated.T, given.T, strict=True):
        _, error = estimate(by_simulation - by_theory)
        row = {"generation": generation, **averages({"accuracy": by_simulation, "given": by_theory})}
        rows.append({**row, "difference_se": error})
    return rows


EXPERIMENT = Experiment(
    name="generations",
    seed=2410,
    trials=100,
    settings=[{"regime": regime, "share": share, **labels} for labels in LABELS for regime, share in REGIMES],
    measure=measure,
)
