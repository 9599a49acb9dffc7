"""What theory and simulation return, and the error of a solver that does not converge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr

from rmt_lib.checks import Array


class ConvergenceError(RuntimeError):
    """A fixed point, or an integral, was not reached; `iterations` and `residual` say how far the solver came.

    Attributes
    ----------
    iterations : int
        Steps taken.
    residual : float
        Relative residual after the last of them.
    what : str
        What was not reached.

    Examples
    --------
    >>> from rmt_lib import ConvergenceError
    >>> error = ConvergenceError(iterations=200, residual=0.125)
    >>> print(error)
    fixed point not reached after 200 iterations: relative residual 0.125
    """

    def __init__(self, iterations: int, residual: float, what: str = "fixed point") -> None:
        super().__init__(f"{what} not reached after {iterations} iterations: relative residual {residual:.3g}")
        self.iterations, self.residual, self.what = iterations, residual, what

    def __reduce__(self) -> tuple:
        return type(self), (self.iterations, self.residual, self.what)


def z_of(mean: Any, variance: Any) -> Array:
    r""":math:`z = m / \sqrt v` of a score with mean m and variance v: 0 where both vanish, infinite where only v does.

    Parameters
    ----------
    mean, variance : array_like
        m and v >= 0; they broadcast.

    Returns
    -------
    array
        z, of the broadcast shape.

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


def accuracy_of(mean: Any, variance: Any) -> Array:
    r"""Accuracy :math:`\Phi(m / \sqrt v)` of a score with mean m and variance v; 1/2 where both vanish.

    Parameters
    ----------
    mean, variance : array_like
        m and v >= 0; they broadcast.

    Returns
    -------
    array
        The accuracy, of the broadcast shape.

    Raises
    ------
    ValueError
        Negative variance.
    """
    return ndtr(z_of(mean, variance))


def risk_of(mean: Array, variance: Array) -> Array:
    """Squared risk E[(y - w'x)^2] = (1 - m)^2 + v of a score with mean m and variance v.

    Parameters
    ----------
    mean, variance : float or array
        m and v, taken as checked; they broadcast.

    Returns
    -------
    float or array
        The risk, of the broadcast shape.
    """
    return (1 - mean) ** 2 + variance


@dataclass(frozen=True, eq=False)
class Prediction:
    """Limits given by the theory: floats from `predict`, arrays of the broadcast shape from `predict_isotropic`.

    Attributes
    ----------
    mean, variance : float or array
        Limits of m = mu' w and v = w' C w; the score w' u of a fresh signed sample is N(m, v).
    deltas : array
        Leave-one-out quantities delta_k, one per source along the last axis.
    iterations, residual : number or array
        Steps of the fixed-point solver and the relative residual it stopped at.

    Raises
    ------
    ValueError
        Mean, variance or deltas that are not finite: an input far outside any reasonable range has overflowed.

    Examples
    --------
    >>> from rmt_lib import Mixture, Source, predict
    >>> target = Mixture([1.5, 0.0, 0.0])
    >>> prediction = predict(target, [Source(target, 30)], gamma=0.1)
    >>> print(round(float(prediction.accuracy), 4), round(float(prediction.risk), 4))
    0.9203 0.3357
    """

    mean: Array
    variance: Array
    deltas: Array
    iterations: Array
    residual: Array

    if TYPE_CHECKING:
        # What may be given: `predict` gives floats, `predict_isotropic` arrays.
        def __init__(
            self,
            mean: ArrayLike,
            variance: ArrayLike,
            deltas: ArrayLike,
            iterations: ArrayLike,
            residual: ArrayLike,
        ) -> None: ...

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
    """A Monte Carlo mean and its standard error.

    Attributes
    ----------
    value : float
        Mean over the trials.
    standard_error : float
        Standard deviation over the trials, divided by the root of their number.

    Examples
    --------
    >>> from rmt_lib import Estimate
    >>> value, standard_error = Estimate(0.9, 0.01)
    >>> print(f"{value} +- {2 * standard_error}")
    0.9 +- 0.02
    """

    value: float
    standard_error: float


@dataclass(frozen=True, eq=False)
class Simulation:
    """What trained classifiers score; given w, accuracy and risk follow exactly, so no test set is drawn.

    Attributes
    ----------
    mean, variance : (trials,) array
        One value per trial of m = mu' w and v = w' C w.

    Examples
    --------
    >>> from rmt_lib import Mixture, Source, simulate
    >>> target = Mixture([1.5, 0.0, 0.0])
    >>> simulation = simulate(target, [Source(target, 30)], gamma=0.1, trials=5, seed=1)
    >>> simulation.accuracy.round(3).tolist()
    [0.924, 0.901, 0.922, 0.904, 0.93]
    >>> print(round(simulation.estimate("accuracy").value, 3))
    0.916
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
        """Monte Carlo value and standard error of a property.

        Parameters
        ----------
        name : {"mean", "variance", "accuracy", "risk"}
            Which one.

        Returns
        -------
        Estimate
            Over the trials.

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
