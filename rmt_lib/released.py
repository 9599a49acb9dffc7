"""The closed form of the paper's released code where it departs from the master theorem, for comparison only."""

from __future__ import annotations

import numpy as np

from rmt_lib.model import Isotropic
from rmt_lib.results import Prediction


def predict_pruned(
    *, p: float, m: float, mu: float, gamma: float, epsilon: float = 0.0, phi: float = 1.0, rho: float = 1.0
) -> Prediction:
    r"""Synthetic data only, C_s = I, as released: pruning inside the fixed point.

    The released code takes :math:`\delta = \frac{\alpha}{N} \operatorname{tr} R` where leave-one-out gives
    :math:`\frac1N \operatorname{tr} R`; every other step is that of `rmt_lib.predict`. The two agree at alpha = 1 only.
    The variance can come out negative; asking for the accuracy then raises ValueError.

    Raises
    ------
    ValueError, TypeError
        Bad input.
    """
    s = Isotropic(p, 0, m, mu, gamma, epsilon, phi, rho, np.inf, "known_mean", 1.0)
    right, wrong = s.phi * (1 - s.epsilon), s.rho * s.epsilon
    alpha, lam = right + wrong, right - wrong
    ratio = s.p / s.m
    # delta (gamma (1 + delta) + alpha) = alpha ratio (1 + delta) is a quadratic in delta.
    linear = s.gamma + alpha - alpha * ratio
    delta = (-linear + np.sqrt(linear**2 + 4 * s.gamma * alpha * ratio)) / (2 * s.gamma)
    r = 1 / (s.gamma + alpha / (1 + delta))
    pull = r / (1 + delta)
    scale = lam * pull / (1 + alpha * pull * s.mu**2)
    mean, length = scale * s.mu**2, scale**2 * s.mu**2
    residual = right * (1 - mean) ** 2 + wrong * (1 + mean) ** 2 + alpha * length
    variance = length + ratio * pull**2 * residual / (1 - alpha * ratio * pull**2)
    return Prediction(mean[()], variance[()], delta[..., None], np.zeros(s.shape, int)[()], np.zeros(s.shape)[()])
