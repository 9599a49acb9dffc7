"""A Gaussian generator fitted to samples, any covariance: the accuracy as a function of two curves of the population.

The curves can be computed from a known population or estimated from data without the bias of plugging in. What holds
for every covariance is here; `rmt_lib.isotropic` is the case C = I, in closed form and for many settings at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import brentq

from rmt_lib import checks
from rmt_lib.checks import Array
from rmt_lib.model import Kept, Mixture, Setting
from rmt_lib.results import ConvergenceError, Prediction

MAX_ITERATIONS = 200
TOLERANCE = 1e-13
SEARCH = 50.0  # how far from gamma the root is looked for, in powers of e


class Curves(NamedTuple):
    r"""The two curves at a ridge nu, each with its slope; C and mu are those of the population."""

    ridge: float
    """nu."""
    freedom: float
    r"""Degrees of freedom :math:`d = \operatorname{tr} C (C + \nu)^{-1}`."""
    freedom_slope: float
    r""":math:`\operatorname{tr} C (C + \nu)^{-2} = -d'`."""
    freedom_square: float
    r""":math:`\operatorname{tr} C (C + \nu)^{-1} C (C + \nu)^{-1} = d + \nu d'`."""
    signal: float
    r""":math:`f = \mu' (C + \nu)^{-1} \mu`."""
    signal_square: float
    r""":math:`\mu' (C + \nu)^{-1} C (C + \nu)^{-1} \mu = f + \nu f'`."""

    @property
    def usable(self) -> bool:
        """Whether no correction has made one negative that cannot be."""
        return min(self.freedom_square, self.signal, self.signal_square) >= 0

    def checked(self) -> Curves:
        """These curves; ValueError where they are not usable."""
        if not self.usable:
            raise ValueError("samples must be more for this mean and penalty: a corrected estimate is negative")
        return self


class MeanClassifier(NamedTuple):
    """w_bar = R (along_mean mu + along_error e); mu is the true mean, mu + e that of the generator."""

    along_mean: Any
    along_error: Any
    mean: Any
    """mu' w_bar, the mean score of real samples."""
    mean_generated: Any
    """(mu + e)' w_bar, that of generated ones."""


def mean_classifier(g_real: Any, pull: Any, load: Any, signal: Any, error: Any) -> MeanClassifier:
    r"""The mean classifier beside one generator, :math:`(R^{-1} + g_1 \mu \mu' + k (\mu + e)(\mu + e)')^{-1}
    (g_1 \mu + \text{pull}\, (\mu + e))`, from :math:`\mu' R \mu` (`signal`) and :math:`e' R e` (`error`).

    `g_real` is :math:`g_1`, `load` is k, and all broadcast. Everything is a sum of terms of one sign or a square.
    """
    shrink = (1 + g_real * signal) * (1 + load * error) + load * signal
    along_mean = (g_real * (1 + load * error) + pull) / shrink
    along_error = (pull * (1 + g_real * signal) - load * signal * g_real) / shrink
    mean = along_mean * signal
    return MeanClassifier(along_mean, along_error, mean, mean + along_error * error)


@dataclass(frozen=True, eq=False)
class Population:
    r"""A population as the theory of a fitted generator sees it: the curves :math:`d(\nu)` and :math:`f(\nu)`.

    Parameters
    ----------
    mixture : Mixture
        Mean and covariance; the covariance is not 0.
    samples : float
        Number of samples that the covariance was estimated from, less the number of means taken off; the curves are
        then corrected for the error of the estimate. Infinite (the default) if it is known, or to plug an estimate in
        as if it were.
    mean_samples : float
        The same for the mean, whose error has the covariance C / mean_samples.

    Raises
    ------
    ValueError, TypeError
        Bad input, such as a covariance of higher rank than `samples`.

    Notes
    -----
    Plugging in is biased at first order: the squared length of the estimated mean is too large by tr(C) / mean_samples,
    and the spectrum of the estimated covariance is too wide. Both are undone by reading the estimate at a smaller ridge
    gamma_0. With :math:`\hat d(\gamma_0) = \operatorname{tr} \hat C (\hat C + \gamma_0)^{-1}`,
    :math:`\hat f(\gamma_0) = \hat\mu' (\hat C + \gamma_0)^{-1} \hat\mu`, and n_0, n_1 for `samples`, `mean_samples`,

    .. math:: \nu = \frac{\gamma_0}{1 - \hat d(\gamma_0) / n_0}, \quad d(\nu) \approx \hat d(\gamma_0), \quad
        f(\nu) \approx \Big(1 - \frac{\hat d(\gamma_0)}{n_0}\Big) \hat f(\gamma_0) - \frac{\hat d(\gamma_0)}{n_1}.

    Examples
    --------
    >>> from rmt_lib import Mixture, Population
    >>> population = Population(Mixture([1.0, 0.0], [2.0, 0.5]))
    >>> curves = population.curves(0.5)
    >>> print(f"{curves.freedom:.4f} {curves.signal:.4f}")
    1.3000 0.4000
    """

    mixture: Mixture
    samples: float = np.inf
    mean_samples: float = np.inf
    _eigenvalues: Array = field(init=False, repr=False)
    _squares: Array = field(init=False, repr=False)
    """Squared coordinates of the mean along the eigenvectors."""
    _rank: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.mixture, Mixture):
            raise TypeError(f"mixture must be a Mixture, got {checks.shown(self.mixture)}")
        for name in ("samples", "mean_samples"):
            value = float(checks.array(name, getattr(self, name), low=1, infinite=True))
            object.__setattr__(self, name, value)
        eigenvalues = np.broadcast_to(self.mixture.eigenvalues, self.mixture.p)
        rank = int((eigenvalues > 0).sum())
        if rank == 0:
            raise ValueError("cov must not be 0")
        if rank > self.samples:
            raise ValueError(f"samples must be >= {rank}, the rank of cov, got {self.samples:g}")
        vectors = self.mixture.eigenvectors
        coordinates = self.mixture.mean if vectors is None else vectors.T @ self.mixture.mean
        object.__setattr__(self, "_eigenvalues", checks.frozen(eigenvalues))
        object.__setattr__(self, "_squares", checks.frozen(coordinates**2))
        object.__setattr__(self, "_rank", rank)

    @property
    def trace(self) -> float:
        """tr C, the limit of nu d(nu)."""
        return float(self._eigenvalues.sum())

    @classmethod
    def of_data(cls, features: Any, labels: Any, *, corrected: bool = True) -> Population:
        """Estimate from `features` (N, p) and `labels` (N,) in {-1, +1}.

        The mean is half the difference of the class means, the covariance that within classes.

        Parameters
        ----------
        features : (N, p) array
            One row for each sample.
        labels : (N,) array
            Its class.
        corrected : bool
            Whether the curves are corrected for the error of the estimate, or it is plugged in as if it were exact.

        Returns
        -------
        Population
            The estimate; `samples` is N - 2 and `mean_samples` four times the product of the class sizes over N, or
            both are infinite.

        Raises
        ------
        ValueError, TypeError
            Wrong shapes, values that are not finite numbers, other labels, a class of fewer than two rows, or features
            that do not vary within classes.

        Examples
        --------
        >>> from rmt_lib import Population
        >>> population = Population.of_data([[3.0], [1.0], [-1.0], [-3.0]], [1, 1, -1, -1])
        >>> print(population.mixture.mean, population.mixture.cov, population.samples)
        [2.] [[2.]] 2.0
        """
        features, labels = checks.array("features", features), checks.array("labels", labels)
        if features.ndim != 2 or labels.shape != features.shape[:1]:
            raise ValueError(f"labels must have shape {features.shape[:1]}, got {labels.shape}")
        rows = [features[labels == label] for label in (-1, 1)]
        sizes = np.array([len(part) for part in rows])
        if sizes.sum() != len(labels) or sizes.min() < 2:
            raise ValueError("labels must be -1 or +1, each for two rows or more")
        means = [part.mean(axis=0) for part in rows]
        centred = np.concatenate([part - mean for part, mean in zip(rows, means, strict=True)])
        samples = sizes.sum() - 2
        mixture = Mixture((means[1] - means[0]) / 2, centred.T @ centred / samples)
        return cls(mixture, samples, 4 / (1 / sizes).sum()) if corrected else cls(mixture)

    def curves(self, ridge: float) -> Curves:
        """Both curves at a ridge.

        Parameters
        ----------
        ridge : float
            nu itself, > 0, where the population is known; gamma_0, which the correction turns into nu, elsewhere.

        Returns
        -------
        Curves
            nu, the curves and their slopes.

        Raises
        ------
        ValueError
            A ridge that is not > 0.
        """
        if not ridge > 0:
            raise ValueError(f"ridge must be > 0, got {ridge:g}")
        eigenvalues, squares = self._eigenvalues, self._squares
        inverse = 1 / (eigenvalues + ridge)
        share = eigenvalues * inverse
        freedom, freedom_slope = share.sum(), np.dot(share, inverse)
        signal, signal_slope = np.dot(squares, inverse), np.dot(squares, inverse**2)
        if np.isinf(self.samples):
            freedom_square, signal_square = np.dot(share, share), np.dot(squares, share * inverse)
            return Curves(ridge, freedom, freedom_slope, freedom_square, signal, signal_square)
        # 1 - freedom / samples, and d nu / d penalty, as sums of positive terms.
        lost, spare = ridge * inverse[eigenvalues > 0], self.samples - self._rank
        kept = (spare + lost.sum()) / self.samples
        stretch = (spare + np.dot(lost, lost)) / self.samples / kept**2
        nu = ridge / kept
        signal_slope = kept * signal_slope - freedom_slope * (signal / self.samples + 1 / self.mean_samples)
        freedom_slope, signal_slope = freedom_slope / stretch, signal_slope / stretch
        signal = kept * signal - freedom / self.mean_samples
        return Curves(nu, freedom, freedom_slope, freedom - nu * freedom_slope, signal, signal - nu * signal_slope)


def population_of(target: Population | Mixture) -> Population:
    """`target` itself, or a known mixture as a population."""
    population = Population(target) if isinstance(target, Mixture) else target
    if not isinstance(population, Population):
        raise TypeError(f"target must be a Population or a Mixture, got {checks.shown(target)}")
    return population


def predict_fitted(
    target: Population | Mixture,
    *,
    n: float,
    m: float,
    gamma: float,
    epsilon: float = 0.0,
    phi: float = 1.0,
    rho: float = 1.0,
    n_hat: float = np.inf,
    generator: str = "known_mean",
    weight: float = 1.0,
) -> Prediction:
    r"""Limit of the ridge classifier on n real and m synthetic samples of a fitted generator, any covariance (ours).

    Real data is N(mu, C), the generator as in `predict_isotropic`, which is the case C = I. With
    :math:`\nu = \gamma / g` and :math:`R = \frac1g (C + \nu)^{-1}`,

    .. math::

        \delta_1 = \tfrac1N \operatorname{tr} C R, \quad \frac1{\delta_2} = \frac1{\delta_1} + \frac N{\hat n} k,
        \quad g_1 = \frac{\pi_1}{1 + \delta_1}, \quad g_2 = \frac{\pi_2 \omega}{1 + \omega \delta_2},
        \quad k = \alpha g_2, \quad g = g_1 + k \frac{\delta_2}{\delta_1} .

    With ``reused``, the :math:`\hat n` fitted samples of the n are in k, and only the others in :math:`g_1`:
    :math:`k = \hat n / N + \alpha g_2`, and :math:`n - \hat n` takes the place of n in :math:`\pi_1`.

    Parameters
    ----------
    target : Population or Mixture
        The real population: known, or estimated from data with the bias of plugging in removed.
    n, m : float
        Real and synthetic samples drawn, >= 0, not both 0.
    gamma, weight : float
        Ridge penalty > 0, and weight >= 0 of the synthetic samples.
    epsilon, phi, rho, n_hat, generator
        As in `predict_isotropic`, single values.

    Returns
    -------
    Prediction
        Floats, and `deltas` = (delta_1, delta_2).

    Raises
    ------
    ValueError, TypeError
        Bad input, or an estimated population that cannot be corrected: too few samples for so small a penalty, or a
        mean that is not longer than its own error.
    ConvergenceError
        The root was not found.

    Notes
    -----
    nu g increases with nu, so the root of nu g = gamma is unique. The variance is the derivative of the minimum
    of the training objective with respect to a term w'Cw added to it, written as a sum of positive terms. For
    generators in a row see `rmt_lib.topics.generations.predict_generations`.

    Examples
    --------
    >>> from rmt_lib import Mixture, predict_fitted
    >>> real = Mixture([1.5] + 49 * [0.0], 25 * [2.0] + 25 * [0.5])
    >>> prediction = predict_fitted(real, n=100, m=400, gamma=0.1, n_hat=100, generator="held_out")
    >>> print(f"{prediction.accuracy:.4f} {prediction.risk:.4f}")
    0.7939 0.6277
    """
    population = population_of(target)
    given: dict[str, Any] = {
        "n": n, "m": m, "gamma": gamma, "epsilon": epsilon, "phi": phi, "rho": rho, "n_hat": n_hat,
        "generator": generator, "weight": weight,
    }  # fmt: skip
    checks.single(**given)
    setting = Setting(p=population.mixture.p, **given)
    training = _Training.of(setting)
    if not (training.direct or training.fixed or training.pi_synthetic * float(setting.alpha) * training.weight):
        # Nothing is kept, or all of it weighs nothing: w = 0, and R = I / gamma.
        delta = np.full(2, population.trace / (training.total * training.gamma))
        return Prediction(0.0, 0.0, delta, 0, 0.0)

    def excess(logarithm: float) -> float:
        curves = population.curves(np.exp(logarithm))
        return np.log(curves.ridge * training.shares(training.delta(curves)).g / training.gamma)

    low, high = np.log(training.gamma) - SEARCH, np.log(training.gamma) + SEARCH
    if excess(low) > 0:
        raise ValueError(f"gamma must be larger to be within reach of {population.samples:g} samples")
    root, report = brentq(excess, low, high, xtol=TOLERANCE, maxiter=MAX_ITERATIONS, full_output=True, disp=False)
    if not report.converged:
        raise ConvergenceError(report.iterations, abs(excess(root)))
    return training.prediction(population.curves(np.exp(root)).checked(), report.iterations, abs(excess(root)))


class _Shares(NamedTuple):
    """Coefficients of the training problem at a value of delta_1."""

    delta: float
    """delta_2."""
    g_real: float
    g_synthetic: float
    k: float
    g: float


class _Training(NamedTuple):
    """A setting in the letters of the theorem."""

    gamma: float
    total: float
    direct: float
    """Share, of all samples, of the real ones that enter by themselves."""
    fixed: float
    """The share of those that enter through the fitted covariance."""
    pi_synthetic: float
    kept: Kept
    weight: float
    ratio: float
    """N / n_hat."""
    mean_ratio: float
    """N / n_hat if the generator's mean is fitted, else 0."""

    @classmethod
    def of(cls, setting: Setting) -> _Training:
        total = float(setting.n + setting.m)
        fixed = float(setting.fitted) if setting.reused else 0.0
        ratio = total / float(setting.fitted)
        return cls(
            gamma=float(setting.gamma),
            total=total,
            direct=(float(setting.n) - fixed) / total,
            fixed=fixed / total,
            pi_synthetic=float(setting.m) / total,
            kept=setting,
            weight=float(setting.weight),
            ratio=ratio,
            mean_ratio=ratio * (setting.generator != "known_mean"),
        )

    def delta(self, curves: Curves) -> float:
        """delta_1 = (1/N) tr C R at g = gamma / nu."""
        return curves.freedom * curves.ridge / (self.total * self.gamma)

    def shares(self, delta_real: float) -> _Shares:
        """The coefficients at a value of delta_1."""
        # delta_2 is the positive root of constant omega delta^2 + linear delta = 1, in a form in which nothing cancels.
        alpha, omega = float(self.kept.alpha), self.weight
        constant = 1 / delta_real + self.ratio * self.fixed
        linear = constant + self.ratio * alpha * self.pi_synthetic * omega - omega
        root = np.sqrt(linear**2 + 4 * constant * omega)
        delta = 2 / (linear + root) if linear > 0 else (root - linear) / (2 * constant * omega)
        g_real = self.direct / (1 + delta_real)
        g_synthetic = self.pi_synthetic * omega / (1 + omega * delta)
        k = self.fixed + alpha * g_synthetic
        return _Shares(delta, g_real, g_synthetic, k, g_real + k * delta / delta_real)

    def prediction(self, curves: Curves, iterations: int, residual: float) -> Prediction:
        delta_real = self.delta(curves)
        delta, g_real, g_synthetic, k, g = self.shares(delta_real)
        # (1/N) tr C R C R, mu' R mu and mu' R C R mu.
        trace = curves.freedom_square / (self.total * g**2)
        signal, spread = curves.signal / g, curves.signal_square / g**2

        pull = self.fixed + float(self.kept.lam) * g_synthetic
        fit = mean_classifier(g_real, pull, k, signal, self.mean_ratio * delta_real)

        # What each sort of sample adds to the variance: its residual times how fast its share grows with a term w'Cw.
        b_real = self.direct / (1 + delta_real) ** 2
        c_synthetic = self.pi_synthetic * self.weight / (1 + self.weight * delta) ** 2
        b_synthetic = c_synthetic * self.weight
        # d (k delta_2) = pushed_synthetic d delta_2, and slope = d delta_2 / d delta_1.
        pushed_synthetic = self.fixed + float(self.kept.alpha) * c_synthetic
        kept = delta / delta_real
        slope = kept / (1 + self.ratio / kept * delta * pushed_synthetic)
        pushed = b_real + pushed_synthetic * slope
        amplification = 1 / (curves.ridge * curves.freedom_slope / curves.freedom + trace / delta_real * pushed)
        drift = self.mean_ratio * fit.along_error**2
        noise = b_real * (1 - fit.mean) ** 2 + b_synthetic * slope * float(self.kept.missed(fit.mean_generated)) + drift
        variance = amplification * (fit.along_mean**2 * spread + trace * noise)
        return Prediction(float(fit.mean), float(variance), np.array([delta_real, delta]), iterations, residual)
