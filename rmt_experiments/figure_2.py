"""Counterpart of the paper's Figure 2: the three leave-one-out quantities, measured on sampled data.

Means change a trace by O(1/N) only, so they are left out. The generator's own quantity is measured on the directions of
the samples that it was fitted to: the ratio of |z|^2 tr Q_N / p to z' Q_N z, averaged over them, is 1 + delta_hat.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rmt_experiments.runner import Experiment, averages

N = 1000  # real samples, and samples the generator is fitted to
GAMMA, EPSILON, PHI, RHO = 1.0, 0.2, 0.9, 0.2
ALPHA = PHI * (1 - EPSILON) + RHO * EPSILON
AMOUNTS = (2, 5, 10)  # synthetic samples per real one
DIMENSIONS = (10, 30, 100, 300, 1000, 2000)


def gram(rng: np.random.Generator, samples: int, width: int) -> np.ndarray:
    """Sum of z z' over `samples` standard normal vectors."""
    z = rng.standard_normal((samples, width))
    return z.T @ z


def deltas(rng: np.random.Generator, p: int, m: int) -> tuple[float, float, float]:
    """delta_1 = (1/N) tr Q_N, delta_2 = (1/N) tr C_hat Q_N and delta_hat of one draw."""
    total = N + m
    fitted = rng.standard_normal((p, N)) / np.sqrt(N)
    covariance = fitted @ fitted.T
    root = np.linalg.cholesky(covariance) if p < N else fitted
    synthetic = root @ gram(rng, rng.binomial(m, ALPHA), root.shape[1]) @ root.T
    resolvent = np.linalg.inv(GAMMA * np.eye(p) + (gram(rng, N, p) + synthetic) / total)
    one, two = np.trace(resolvent) / total, np.sum(covariance * resolvent) / total
    return one, two, one * np.trace(covariance) / p / two - 1


def measure(setting: Mapping[str, Any], trials: int, seed: np.random.SeedSequence) -> dict[str, float]:
    """Mean and standard error of the three quantities over `trials` draws."""
    draws = [deltas(np.random.default_rng(child), setting["p"], setting["m"]) for child in seed.spawn(trials)]
    return averages(dict(zip(("delta_1", "delta_2", "delta_hat"), np.transpose(draws), strict=True)))


EXPERIMENT = Experiment(
    name="figure_2",
    seed=2411,
    trials=8,
    settings=[{"p": p, "m": amount * N} for amount in AMOUNTS for p in DIMENSIONS],
    measure=measure,
)
