"""What theory and simulation return, and the error of a solver that does not converge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr

from rmt_lib.checks import Array


class ConvergenceError(RuntimeError):
    """A fixed point was not reached; `iterations` and `residual` say how far the solver came."""

    def __init__(self, iterations: int, residual: float) -> None:
        super().__init__(f"fixed point not reached after {iterations} iterations: relative residual {residual:.3g}")
        self.iterations = iterations
        self.residual = residual

    def __reduce__(self) -> tuple:
        return type(self), (self.iterations, self.residual)


def z_of(mean: Array, variance: Array) -> Array:
    r""":math:`z = m / \sqrt v` of a score with mean m and variance v: 0 where both vanish, infinite where only v does.

    Raises
    ------
    ValueError
        Negative variance.
    """
    if np.any(np.asarray(variance) < 0):
        raise ValueError(f"variance must be >= 0, got {np.min(variance):g}")
    mean, deviation = np.broadcast_arrays(mean, np.sqrt(variance))
    # A score without spread is always right, always wrong, or (w = 0) a coin flip.
    limit = np.where(mean > 0, np.inf, np.where(mean < 0, -np.inf, 0.0))
    return np.divide(mean, deviation, out=limit, where=deviation > 0)


def accuracy_of(mean: Array, variance: Array) -> Array:
    r"""Accuracy :math:`\Phi(m / \sqrt v)` of a score with mean m and variance v; 1/2 where both vanish.

    Raises
    ------
    ValueError
        Negative variance.
    """
    return ndtr(z_of(mean, variance))


def risk_of(mean: Array, variance: Array) -> Array:
    """Squared risk E[(y - w'x)^2] = (1 - m)^2 + v of a score with mean m and variance v."""
    return (1 - mean) ** 2 + variance


@dataclass(frozen=True, eq=False)
class Prediction:
    """Limits given by the theory: floats from `predict`, arrays of the broadcast shape from `predict_isotropic`.

    Attributes
    ----------
    mean, variance
        Limits of m = mu' w and v = w' C w; the score w' u of a fresh signed sample is N(m, v).
    deltas
        Leave-one-out quantities delta_k, one per source along the last axis.
    iterations, residual
        Steps of the fixed-point solver and the relative residual it stopped at.

    Raises
    ------
    ValueError
        Mean, variance or deltas that are not finite: an input far outside any reasonable range has overflowed.
    """

    mean: Array
    variance: Array
    deltas: Array
    iterations: Array
    residual: Array

    def __post_init__(self) -> None:
        for name in ("mean", "variance", "deltas"):
            if not np.isfinite(getattr(self, name)).all():
                raise ValueError(f"{name} must be finite: an input is too extreme for double precision")

    @property
    def z(self) -> Array:
        """m / sqrt(v), of which the accuracy is a function: 0 where both vanish, infinite where only v does."""
        return z_of(self.mean, self.variance)[()]

    @property
    def accuracy(self) -> Array:
        """Phi(z), the probability that a fresh real sample is classified correctly."""
        return ndtr(self.z)

    @property
    def risk(self) -> Array:
        """1 - 2 m + v + m^2, the squared risk on a fresh real sample."""
        return risk_of(self.mean, self.variance)


class Estimate(NamedTuple):
    """A Monte Carlo mean and its standard error."""

    value: float
    standard_error: float


@dataclass(frozen=True, eq=False)
class Simulation:
    """One value per trial of mean m = mu' w and variance v = w' C w of the trained classifier, (trials,) each.

    Given w, accuracy and risk follow exactly, so no test set is drawn.
    """

    mean: Array
    variance: Array

    @property
    def accuracy(self) -> Array:
        """Phi(m / sqrt(v)) of each trial."""
        return accuracy_of(self.mean, self.variance)

    @property
    def risk(self) -> Array:
        """1 - 2 m + v + m^2 of each trial."""
        return risk_of(self.mean, self.variance)

    def estimate(self, name: str) -> Estimate:
        """Monte Carlo value and standard error of `name`: mean, variance, accuracy or risk.

        Raises
        ------
        ValueError
            Unknown name, or fewer than two trials, which give no standard error.
        """
        if name not in ("mean", "variance", "accuracy", "risk"):
            raise ValueError(f"name must be one of mean, variance, accuracy, risk, got {name!r}")
        values = getattr(self, name)
        if values.size < 2:
            raise ValueError(f"trials must be >= 2 for a standard error, got {values.size}")
        return Estimate(float(values.mean()), float(values.std(ddof=1) / np.sqrt(values.size)))
