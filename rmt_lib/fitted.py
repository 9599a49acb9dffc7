"""A Gaussian generator fitted to samples, any covariance: the accuracy as a function of two curves of the population.

The curves can be computed from a known population or estimated from data without the bias of plugging in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq

from rmt_lib import checks
from rmt_lib.checks import Array
from rmt_lib.model import Isotropic, Mixture
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
    Plugging in is biased at first order: the estimated mean is too long by tr(C) / samples, and the spectrum of the
    estimated covariance is too wide. Both are undone by reading the estimate at a smaller ridge gamma_0. With
    :math:`\hat d(\gamma_0) = \operatorname{tr} \hat C (\hat C + \gamma_0)^{-1}`, :math:`\hat f(\gamma_0) = \hat\mu'
    (\hat C + \gamma_0)^{-1} \hat\mu`, and n_0, n_1 for `samples`, `mean_samples`,

    .. math:: \nu = \frac{\gamma_0}{1 - \hat d(\gamma_0) / n_0}, \quad d(\nu) \approx \hat d(\gamma_0), \quad
        f(\nu) \approx \Big(1 - \frac{\hat d(\gamma_0)}{n_0}\Big) \hat f(\gamma_0) - \frac{\hat d(\gamma_0)}{n_1}.
    """

    mixture: Mixture
    samples: float = np.inf
    mean_samples: float = np.inf

    def __post_init__(self) -> None:
        if not isinstance(self.mixture, Mixture):
            raise TypeError(f"mixture must be a Mixture, got {self.mixture!r}")
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

    @classmethod
    def of_data(cls, features: Array, labels: Array, *, corrected: bool = True) -> Population:
        """Estimate from `features` (N, p) and `labels` (N,) in {-1, +1}.

        The mean is half the difference of the class means, the covariance that within classes.

        Raises
        ------
        ValueError
            Wrong shapes, other labels, or a class of fewer than two rows.
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

    def curves(self, penalty: float) -> Curves:
        """Both curves at nu(penalty); nu is the penalty itself where the population is known."""
        eigenvalues, squares = self._eigenvalues, self._squares
        inverse = 1 / (eigenvalues + penalty)
        share = eigenvalues * inverse
        freedom, freedom_slope = share.sum(), share @ inverse
        signal, signal_slope = squares @ inverse, squares @ inverse**2
        if np.isinf(self.samples):
            return Curves(penalty, freedom, freedom_slope, share @ share, signal, squares @ (share * inverse))
        # 1 - freedom / samples, and d nu / d penalty, as sums of positive terms.
        lost, spare = penalty * inverse[eigenvalues > 0], self.samples - self._rank
        kept = (spare + lost.sum()) / self.samples
        stretch = (spare + lost @ lost) / self.samples / kept**2
        ridge = penalty / kept
        signal_slope = kept * signal_slope - freedom_slope * (signal / self.samples + 1 / self.mean_samples)
        freedom_slope, signal_slope = freedom_slope / stretch, signal_slope / stretch
        signal = kept * signal - freedom / self.mean_samples
        return Curves(
            ridge, freedom, freedom_slope, freedom - ridge * freedom_slope, signal, signal - ridge * signal_slope
        )


def population_of(target: Population | Mixture) -> Population:
    """`target` itself, or a known mixture as a population."""
    population = Population(target) if isinstance(target, Mixture) else target
    if not isinstance(population, Population):
        raise TypeError(f"target must be a Population or a Mixture, got {target!r}")
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
    n_hat: float | Sequence[float] = np.inf,
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

    Several generators in a row, t = 1, ..., T, each a Gaussian fitted to :math:`n_t` samples of the one before it (the
    first to samples of the population), have :math:`\delta_1` and :math:`\delta_2` at the ends of a chain

    .. math:: \delta^{(0)} = \delta_1, \quad
        \delta^{(t)} = \delta^{(t-1)} \Big(1 - \frac N{n_t} k \delta_2\Big), \quad \delta_2 = \delta^{(T)}

    in place of :math:`1 / \delta_2 = 1 / \delta_1 + k N / \hat n`, which is the case T = 1.

    Parameters
    ----------
    target : Population or Mixture
        The real population: known, or estimated from data with the bias of plugging in removed.
    n, m : float
        Real and synthetic samples drawn, >= 0, not both 0.
    gamma, weight : float
        Ridge penalty and weight of the synthetic samples, > 0.
    epsilon, phi, rho, generator
        As in `predict_isotropic`, single values.
    n_hat : float or sequence of float
        As in `predict_isotropic`, or a sequence :math:`(n_1, \dots, n_T)` for generators in a row, of which the last
        makes the synthetic samples. With ``known_mean`` each has the true mean, with ``held_out`` the mean of the
        samples that it is fitted to; ``reused`` takes a single number.

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
    of the training objective with respect to a term w'Cw added to it, written as a sum of positive terms.
    :math:`\delta^{(t)}` is the limit of :math:`\frac1N \operatorname{tr} C_t R` with :math:`C_t` the covariance of
    generator t, and the error e of the last mean has :math:`e'Re = \sum_t \frac N{n_t} \delta^{(t-1)}`.
    """
    population = population_of(target)
    chain = checks.array("n_hat", n_hat, low=1, infinite=True)
    if chain.ndim > 1 or chain.size == 0:
        raise ValueError(f"n_hat must be a number or a sequence of one number or more, got shape {chain.shape}")
    chain = np.atleast_1d(chain)
    setting = Isotropic(population.mixture.p, n, m, 0.0, gamma, epsilon, phi, rho, chain[0], generator, weight)
    checks.single("predict_fitted", setting.shape)
    if setting.reused and chain.size > 1:
        raise ValueError(f"n_hat must be a single number with generator 'reused', got {chain.size}")
    training = _Training.of(setting, chain)

    def excess(logarithm: float) -> float:
        curves = population.curves(np.exp(logarithm))
        return np.log(curves.ridge * training.shares(training.delta(curves)).g / training.gamma)

    low, high = np.log(training.gamma) - SEARCH, np.log(training.gamma) + SEARCH
    if excess(low) > 0:
        raise ValueError(f"gamma must be larger to be within reach of {population.samples:g} samples")
    root, report = brentq(excess, low, high, xtol=TOLERANCE, maxiter=MAX_ITERATIONS, full_output=True, disp=False)
    if not report.converged:
        raise ConvergenceError(report.iterations, abs(excess(root)))
    return training.prediction(population.curves(np.exp(root)), report.iterations, abs(excess(root)))


class _Shares(NamedTuple):
    """Coefficients of the training problem at a value of delta_1."""

    delta: float
    """delta_2."""
    g_real: float
    g_synthetic: float
    k: float
    g: float
    kept: Array
    """delta^(t) / delta^(t-1) in (0, 1] for t = 1, ..., T."""


class _Training(NamedTuple):
    """A setting in the letters of the theorem."""

    gamma: float
    total: float
    direct: float
    """Share, of all samples, of the real ones that enter by themselves."""
    fixed: float
    """The share of those that enter through the fitted covariance."""
    pi_synthetic: float
    kept_right: float
    kept_wrong: float
    weight: float
    ratio: Array
    """N / n_t, shape (T,)."""
    mean_ratio: Array
    """N / n_t if the generators' means are fitted, else 0."""

    @classmethod
    def of(cls, setting: Isotropic, chain: Array) -> _Training:
        total = float(setting.n + setting.m)
        fixed = float(setting.fitted) if setting.reused else 0.0
        ratio = total / (np.atleast_1d(fixed) if setting.reused else chain)
        return cls(
            gamma=float(setting.gamma),
            total=total,
            direct=(float(setting.n) - fixed) / total,
            fixed=fixed / total,
            pi_synthetic=float(setting.m) / total,
            kept_right=float(setting.kept_right),
            kept_wrong=float(setting.kept_wrong),
            weight=float(setting.weight),
            ratio=ratio,
            mean_ratio=ratio * (setting.generator != "known_mean"),
        )

    @property
    def alpha(self) -> float:
        return self.kept_right + self.kept_wrong

    def delta(self, curves: Curves) -> float:
        """delta_1 = (1/N) tr C R at g = gamma / nu."""
        return curves.freedom * curves.ridge / (self.total * self.gamma)

    def shares(self, delta_real: float) -> _Shares:
        """The coefficients at a value of delta_1."""
        if self.ratio.size == 1:
            delta = self._one(delta_real, float(self.ratio[0]))
            kept = np.array([delta / delta_real])
        else:
            kept = self._chain(delta_real)
            delta = delta_real * np.prod(kept)
        g_real = self.direct / (1 + delta_real)
        g_synthetic = self.pi_synthetic * self.weight / (1 + self.weight * delta)
        k = self.fixed + self.alpha * g_synthetic
        return _Shares(delta, g_real, g_synthetic, k, g_real + k * delta / delta_real, kept)

    def _one(self, delta_real: float, ratio: float) -> float:
        """delta_2 of one generator, the positive root of constant omega delta^2 + linear delta = 1."""
        omega = self.weight
        constant = 1 / delta_real + ratio * self.fixed
        linear = constant + ratio * self.alpha * self.pi_synthetic * omega - omega
        root = np.sqrt(linear**2 + 4 * constant * omega)
        # The form in which nothing cancels.
        return 2 / (linear + root) if linear > 0 else (root - linear) / (2 * constant * omega)

    def _chain(self, delta_real: float) -> Array:
        """1 - ratio k delta_2 for several generators, where k delta_2 = alpha pi_2 omega delta_2 / (1 + omega delta_2).

        Both 1 / (1 + omega delta_2) and these are (spare + v) / (1 + v) for one unknown v > 0, with no spare negative
        and one of them 0. In log v the equation has a slope between 1 and T + 1.
        """
        load = np.concatenate([[1.0], self.ratio * self.alpha * self.pi_synthetic])
        reach = load.max()
        spare = 1 - load / reach
        target = -np.log(reach * self.weight * delta_real)

        def excess(logarithm: float) -> float:
            return np.log(spare + np.exp(logarithm)).sum() - self.ratio.size * np.logaddexp(0, logarithm) - target

        start = excess(target)
        low, high = target + min(-start, 0), target + max(-start, 0)
        root = target if start == 0 else brentq(excess, low - 1e-9, high + 1e-9, xtol=TOLERANCE, rtol=TOLERANCE)
        value = np.exp(root)
        return (spare[1:] + value) / (1 + value)

    def prediction(self, curves: Curves, iterations: int, residual: float) -> Prediction:
        delta_real = self.delta(curves)
        delta, g_real, g_synthetic, k, g, kept = self.shares(delta_real)
        chain = delta_real * np.cumprod(np.append(1, kept))
        # (1/N) tr C R C R, mu' R mu and mu' R C R mu.
        trace = curves.freedom_square / (self.total * g**2)
        signal, spread = curves.signal / g, curves.signal_square / g**2
        if min(trace, signal, spread) < 0:
            raise ValueError("samples must be more for this mean and penalty: a corrected estimate is negative")

        # w_bar = R (along_mu mu + along_error e), where e is the error of the generator's mean.
        error = self.mean_ratio @ chain[:-1]
        pull = self.fixed + (self.kept_right - self.kept_wrong) * g_synthetic
        shrink = (1 + g_real * signal) * (1 + k * error) + k * signal
        along_mu = (g_real * (1 + k * error) + pull) / shrink
        along_error = (pull * (1 + g_real * signal) - k * signal * g_real) / shrink
        mean = along_mu * signal
        mean_hat = mean + along_error * error

        # What each sort of sample adds to the variance: its residual times how fast its share grows with a term w'Cw.
        b_real = self.direct / (1 + delta_real) ** 2
        b_synthetic = self.pi_synthetic * self.weight**2 / (1 + self.weight * delta) ** 2
        # slopes[t] = d delta^(t) / d delta_1, where d (k delta_2) = pushed_synthetic d delta_2.
        pushed_synthetic = self.fixed + self.alpha * b_synthetic / self.weight
        later = 1 + np.append(np.cumsum((self.ratio / kept)[::-1])[::-1], 0) * delta * pushed_synthetic
        slopes = chain / delta_real * later / later[0]
        slope = slopes[-1]
        pushed = b_real + pushed_synthetic * slope
        amplification = 1 / (curves.ridge * curves.freedom_slope / curves.freedom + trace / delta_real * pushed)
        residual_synthetic = self.kept_right * (1 - mean_hat) ** 2 + self.kept_wrong * (1 + mean_hat) ** 2
        drift = self.mean_ratio @ slopes[:-1] * along_error**2
        noise = b_real * (1 - mean) ** 2 + b_synthetic * slope * residual_synthetic + drift
        variance = amplification * (along_mu**2 * spread + trace * noise)
        return Prediction(float(mean), float(variance), np.array([delta_real, delta]), iterations, residual)
