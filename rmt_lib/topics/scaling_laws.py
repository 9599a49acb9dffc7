"""How accuracy grows with the number of samples: an exact formula, and what a synthetic sample is worth on the way."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import minimize, minimize_scalar

from rmt_lib import checks
from rmt_lib.checks import Array
from rmt_lib.fitted import Curves, Population, population_of
from rmt_lib.model import Coins, Mixture

RIDGES = (1e-12, 1e6)  # among which the best is looked for, as multiples of the largest eigenvalue
GRID = 61
MIX_GRID, MIX_REACH = 40, 10.0  # points and reach, in powers of e, of the scan of `best_mix`


class RidgePrediction(NamedTuple):
    """A ridge nu, the penalty gamma it belongs to, and z = mean / sqrt(variance); the accuracy is Phi(z)."""

    ridge: float
    gamma: float
    z: float


def power_law(p: int, *, spectrum: float, tail: float, amplitude: float = 1.0) -> Mixture:
    r"""Population with variances :math:`i^{-a}` and squared means :math:`\mu_i^2 = A\, i^{-a} i^{-1-b}`, i = 1..p.

    The squared z of the Bayes classifier, :math:`\mu' C^{-1} \mu = A \sum_i i^{-1-b}`, converges as p grows if b > 0.

    Parameters
    ----------
    p : int
        Dimension, >= 1.
    spectrum : float
        Exponent a >= 0 of the variances.
    tail : float
        Exponent b, any real number.
    amplitude : float
        A > 0.

    Returns
    -------
    Mixture
        With a diagonal covariance.

    Raises
    ------
    ValueError, TypeError
        Bad input.

    Examples
    --------
    >>> from rmt_lib.topics.scaling_laws import power_law
    >>> mixture = power_law(100, spectrum=1.5, tail=0.5)
    >>> print(mixture.cov[:3].round(3).tolist(), (mixture.mean[:3] ** 2).round(3).tolist())
    [1.0, 0.354, 0.192] [1.0, 0.125, 0.037]
    """
    index = np.arange(1, checks.count("p", p, low=1) + 1)
    variances = index ** -checks.number("spectrum", spectrum, low=0)
    share = index ** (-1 - checks.number("tail", tail))
    return Mixture(np.sqrt(checks.number("amplitude", amplitude, low=0, open_low=True) * variances * share), variances)


def predict_at_ridge(
    target: Population | Mixture,
    *,
    ridge: float,
    n: float,
    m: float,
    epsilon: float = 0.0,
    phi: float = 1.0,
    rho: float = 1.0,
) -> RidgePrediction:
    r"""z of n real samples and m of a perfect generator, any covariance, in closed form (label noise: ours).

    With :math:`n' = n + \alpha m`, :math:`\beta = (n + \lambda m) / n'`, the curves :math:`d, f` of `Population` at
    the ridge :math:`\nu`, :math:`d_2 = d + \nu d'` and the penalty :math:`\gamma = \nu (n' - d) / (n + m)`,

    .. math:: \frac1{z^2} = \frac{1}{1 - d_2 / n'} \Big[ \frac{f + \nu f'}{f^2}
        + \frac{d_2}{n'} \Big( \frac1{f^2} + \big(\tfrac1{\beta^2} - 1\big) \big(1 + \tfrac1f\big)^2 \Big) \Big] .

    Parameters
    ----------
    target : Population or Mixture
        The population of real and synthetic samples; its mean is not 0.
    ridge : float
        nu > 0, large enough that d(nu) < n'. (For an estimated population: the smaller ridge it is read at.)
    n, m, epsilon, phi, rho
        As in `predict_fitted`; single values.

    Returns
    -------
    RidgePrediction
        The ridge (corrected, for an estimated population), its penalty and z.

    Raises
    ------
    ValueError, TypeError
        Bad input, or a ridge that no positive penalty belongs to.

    Examples
    --------
    >>> from rmt_lib.topics.scaling_laws import power_law, predict_at_ridge
    >>> mixture = power_law(100, spectrum=1.5, tail=0.5)
    >>> result = predict_at_ridge(mixture, ridge=0.01, n=200, m=400, epsilon=0.1)
    >>> print(f"{result.gamma:.5f} {result.z:.4f}")
    0.00946 1.4437
    """
    kept, balance, total = _labels(n, m, epsilon, phi, rho)
    curves = population_of(target).curves(checks.number("ridge", ridge, low=0, open_low=True)).checked()
    if not curves.freedom < kept:
        raise ValueError(
            f"ridge must be larger: {ridge:g} leaves {curves.freedom:g} degrees of freedom to {kept:g} samples kept"
        )
    return _predict(curves, kept, balance, total)


def best_ridge(
    target: Population | Mixture, *, n: float, m: float, epsilon: float = 0.0, phi: float = 1.0, rho: float = 1.0
) -> RidgePrediction:
    """The ridge of highest accuracy in the setting of `predict_at_ridge`, found on a grid and refined.

    Looked for among `RIDGES`, at whose upper end it stops where accuracy rises all the way, as for C = I.

    Parameters
    ----------
    target, n, m, epsilon, phi, rho
        As in `predict_at_ridge`.

    Returns
    -------
    RidgePrediction
        The ridge, its penalty and z.

    Raises
    ------
    ValueError, TypeError
        Bad input, or lambda m <= -n: most kept labels are wrong, and no ridge is good.

    Examples
    --------
    >>> from rmt_lib.topics.scaling_laws import best_ridge, power_law
    >>> best = best_ridge(power_law(100, spectrum=1.5, tail=0.5), n=200, m=400, epsilon=0.1)
    >>> print(f"{best.ridge:.4f} {best.gamma:.4f} {best.z:.4f}")
    0.0126 0.0120 1.4446
    """
    kept, balance, total = _labels(n, m, epsilon, phi, rho)
    if balance <= 0:
        raise ValueError(f"n + lambda m must be > 0, got {balance * kept:g}")
    population = population_of(target)

    def loss(logarithm: float) -> float:
        curves = population.curves(np.exp(logarithm))
        if not (curves.usable and curves.freedom < kept):
            return 0.0  # no penalty > 0, or no estimate
        return -_predict(curves, kept, balance, total).z

    # At its upper end a ridge leaves a thousandth of a degree of freedom, or of the samples kept, if that is less.
    largest = float(np.max(population.mixture.eigenvalues))
    low, high = np.log(largest * RIDGES[0]), np.log(max(largest * RIDGES[1], 1e3 * population.trace / min(kept, 1.0)))
    grid = np.linspace(low, high, GRID)
    losses = [loss(x) for x in grid]
    i = int(np.argmin(losses))
    low, high = grid[max(i - 1, 0)], grid[min(i + 1, GRID - 1)]
    best = minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-8})
    x = best.x if best.fun < losses[i] else grid[i]
    return _predict(population.curves(np.exp(x)).checked(), kept, balance, total)


class MixPrediction(NamedTuple):
    """A ridge nu and a share theta of synthetic data in the load, what belongs to them, and what they give."""

    ridge: float
    share: float
    gamma: float
    weight: float
    z: float
    worth: float
    """n_eff: as many real samples have this z at the same ridge."""


def share_range(
    target: Population | Mixture,
    *,
    ridge: float,
    n: float,
    m: float,
    epsilon: float = 0.0,
    phi: float = 1.0,
    rho: float = 1.0,
    n_hat: float = np.inf,
) -> tuple[float, float]:
    """Between which shares of synthetic data there is a weight at this ridge; none, if the first is not the smaller.

    Parameters
    ----------
    target, ridge, n, m, epsilon, phi, rho, n_hat
        As in `predict_mix_at_ridge`.

    Returns
    -------
    tuple of float
        Both ends; neither belongs to the range.

    Raises
    ------
    ValueError, TypeError
        Bad input.

    Examples
    --------
    >>> from rmt_lib.topics.scaling_laws import power_law, share_range
    >>> low, high = share_range(power_law(100, spectrum=1.5, tail=0.5), ridge=0.01, n=15, m=40, epsilon=0.1)
    >>> print(round(low, 3), round(high, 3))
    0.533 1.0
    """
    freedom = population_of(target).curves(ridge).freedom
    return _Mix.of(n, m, epsilon, phi, rho, n_hat, 1.0).shares(freedom)


def predict_mix_at_ridge(
    target: Population | Mixture,
    *,
    ridge: float,
    share: float,
    n: float,
    m: float,
    epsilon: float = 0.0,
    phi: float = 1.0,
    rho: float = 1.0,
    n_hat: float = np.inf,
    label_size: float = 1.0,
) -> MixPrediction:
    r"""z of n real samples and m of a generator fitted to n_hat others, any covariance, in closed form (ours).

    The generator is ``held_out``, and the synthetic labels may be given another size :math:`\tau` than the real ones:
    :math:`\tau s`. In place of penalty and weight it takes the ridge :math:`\nu` and the share :math:`\theta` of the
    load on C that synthetic data has; each pair belongs to one penalty and weight. The formula is thm-scaling-mixed.

    Parameters
    ----------
    target : Population or Mixture
        The population of real samples; its mean is not 0.
    ridge : float
        nu > 0.
    share : float
        theta, within `share_range`.
    n, m : float
        Real and synthetic samples drawn, > 0.
    epsilon, phi, rho : float
        As in `predict_fitted`, with lambda > 0.
    n_hat : float
        Samples that mean and covariance of the generator are fitted to, >= 1 or infinite.
    label_size : float
        tau > 0. Divided by their balance lambda / alpha, synthetic labels pull scores to 1, as the real ones do.

    Returns
    -------
    MixPrediction
        Floats.

    Raises
    ------
    ValueError, TypeError
        Bad input, or a share that no weight belongs to.

    Examples
    --------
    >>> from rmt_lib.topics.scaling_laws import power_law, predict_mix_at_ridge
    >>> world = power_law(100, spectrum=1.5, tail=0.5)
    >>> mix = predict_mix_at_ridge(world, ridge=0.05, share=0.4, n=100, m=400, epsilon=0.3)
    >>> print(f"{mix.gamma:.4f} {mix.weight:.3f} {mix.z:.4f} {mix.worth:.1f}")
    0.0153 0.155 1.3794 111.3
    """
    setting = _Mix.of(n, m, epsilon, phi, rho, n_hat, label_size)
    curves = population_of(target).curves(checks.number("ridge", ridge, low=0, open_low=True)).checked()
    share = checks.number("share", share)
    low, high = setting.shares(curves.freedom)
    if not low < share < high:
        raise ValueError(f"share must be between {low:g} and {high:g} at this ridge, got {share:g}")
    return setting.at(curves, share)


def best_mix(
    target: Population | Mixture,
    *,
    n: float,
    m: float,
    epsilon: float = 0.0,
    phi: float = 1.0,
    rho: float = 1.0,
    n_hat: float = np.inf,
    label_size: float = 1.0,
) -> MixPrediction:
    """The ridge and share of highest accuracy in the setting of `predict_mix_at_ridge`: the best penalty and weight.

    A scan over both, refined by Nelder and Mead's method; shares of 0 and 1 are left out.

    Parameters
    ----------
    target, n, m, epsilon, phi, rho, n_hat, label_size
        As in `predict_mix_at_ridge`.

    Returns
    -------
    MixPrediction
        Floats.

    Raises
    ------
    ValueError, TypeError
        Bad input.

    Examples
    --------
    >>> from rmt_lib.topics.scaling_laws import best_mix, power_law
    >>> world = power_law(100, spectrum=1.5, tail=0.5)
    >>> for size in (1.0, 1 / 0.4):
    ...     print(f"{best_mix(world, n=100, m=400, epsilon=0.3, label_size=size).z:.3f}")
    1.384
    1.390
    """
    population, setting = population_of(target), _Mix.of(n, m, epsilon, phi, rho, n_hat, label_size)

    def at(logarithm: float, part: Any) -> MixPrediction | None:
        """At a ridge and parts in (0, 1) of the range of shares."""
        curves = population.curves(np.exp(logarithm))
        low, high = setting.shares(curves.freedom)
        return setting.at(curves, low + (high - low) * part) if curves.usable and low < high else None

    parts = (1 - np.cos(np.linspace(0.05, 3.1, MIX_GRID))) / 2
    centre = np.log(np.max(population.mixture.eigenvalues))
    scans = [(x, at(x, parts)) for x in centre + np.linspace(-MIX_REACH, MIX_REACH, MIX_GRID + 1)]
    found = [(x, scan) for x, scan in scans if scan is not None]
    if not found:
        raise ValueError("n and m must be larger: no ridge that was tried leaves samples to fit")
    x, scan = max(found, key=lambda pair: np.max(pair[1].z))
    start = np.array([x, parts[np.argmax(scan.z)]])

    def loss(point: Array) -> float:
        mix = at(*point) if 0 < point[1] < 1 else None
        return 0.0 if mix is None else -float(mix.z)

    simplex = start + np.array([[0, 0], [0.3, 0], [0, min(start[1], 1 - start[1]) / 4]])
    options = {"initial_simplex": simplex, "xatol": 1e-6, "fatol": 1e-11}
    best = at(*minimize(loss, start, method="Nelder-Mead", options=options).x)
    assert best is not None  # the start is usable, and no point without a value is better
    return MixPrediction(*map(float, best))


class _Mix(NamedTuple):
    """Sizes and labels of a mix."""

    n: float
    kept: float
    """alpha m."""
    total: float
    beta: float
    n_hat: float
    label_size: float

    @classmethod
    def of(cls, n: Any, m: Any, epsilon: Any, phi: Any, rho: Any, n_hat: Any, label_size: Any) -> _Mix:
        """Checked."""
        n, m, label_size = (
            checks.number(name, value, low=0, open_low=True)
            for name, value in (("n", n), ("m", m), ("label_size", label_size))
        )
        checks.single(epsilon=epsilon, phi=phi, rho=rho, n_hat=n_hat)
        n_hat = float(checks.array("n_hat", n_hat, low=1, infinite=True))
        coins = Coins(epsilon=epsilon, phi=phi, rho=rho)
        alpha, lam = float(coins.alpha), float(coins.lam)
        if not lam > 0:
            raise ValueError(f"epsilon, phi and rho must leave more right labels than wrong ones, got lambda = {lam:g}")
        return cls(n, alpha * m, n + m, lam / alpha, n_hat, label_size)

    def shares(self, freedom: float) -> tuple[float, float]:
        return max(0.0, 1 - self.n / freedom), min(1.0, self.kept / freedom, self.n_hat / freedom)

    def at(self, curves: Curves, share: Any) -> MixPrediction:
        """thm-scaling-mixed, for one share or several."""
        n, kept, total, beta, n_hat, size = self
        f, f2, d, d2 = curves.signal, curves.signal_square, curves.freedom, curves.freedom_square
        u, v = share * d / n_hat, share * d / kept
        mean = (1 - share + size * beta * share) * f / (1 + f)
        real, off = (1 - share) ** 2 / n, (size * beta - mean) ** 2
        lost = d2 * (real + share**2 * (1 / n_hat + (1 - 2 * u) / kept) / (1 - u * v))
        wrong = (size**2 * (1 - beta**2) + (1 - u) ** 2 * off) / (kept * (1 - u * v))
        noise = d2 * (real * (1 - mean) ** 2 + share**2 * (wrong + off / n_hat))
        z = mean * np.sqrt((1 - lost) / (f2 * (mean / f) ** 2 + noise))
        load = n / (1 - share) - d
        worth = d2 * (f**2 + z**2) / (f**2 - f2 * z**2)
        weight = share * load / ((1 - u) * (kept - share * d))
        return MixPrediction(curves.ridge, share, curves.ridge * load / total, weight, z, worth)


def label_cost(*, signal: Any = 0.0, epsilon: Any = 0.0, phi: Any = 1.0, rho: Any = 1.0) -> Array:
    r"""Samples drawn that are worth one with a right label, to first order in 1/m (ours).

    .. math:: \chi = \frac1\alpha \Big( 1 + \big(\tfrac1{\beta^2} - 1\big) (1 + f) \Big), \quad \beta = \lambda / \alpha

    The formula is that of the two ends of the penalty: `signal` f is 0 at a very large one, where
    :math:`\chi = \alpha / \lambda^2`, and :math:`\mu' C^{-1} \mu` at a vanishing one. In between 1 + f is
    :math:`(1 + f)^2 / (1 + f + \nu f')`. Infinite where lambda = 0.

    Parameters
    ----------
    signal : array_like
        f >= 0.
    epsilon, phi, rho : array_like
        Label noise and keep rates of right and wrong labels, in [0, 1]. All arguments broadcast.

    Returns
    -------
    array
        Of the broadcast shape.

    Raises
    ------
    ValueError, TypeError
        Bad input.

    Examples
    --------
    >>> from rmt_lib.topics.scaling_laws import label_cost
    >>> label_cost(signal=[0.0, 1.0, 4.0], epsilon=0.2).round(3).tolist()
    [2.778, 4.556, 9.889]
    """
    signal = checks.array("signal", signal, low=0)
    coins = Coins(epsilon=epsilon, phi=phi, rho=rho)
    alpha = coins.alpha
    square = np.divide(coins.lam, alpha, out=np.zeros(np.shape(alpha)), where=alpha > 0) ** 2  # beta^2
    known = np.where(square > 0, square, 1.0)
    cost = (square + (1 - square) * (1 + signal)) / (np.where(alpha > 0, alpha, 1.0) * known)
    return np.where(square > 0, cost, np.inf)[()]


def effective_samples(*, m: Any, n_hat: Any = np.inf, cost: Any = 1.0, n: Any = 0.0) -> Array:
    r""":math:`n_{\text{eff}} = n + 1 / (\chi / m + 1 / \hat n)`: what m synthetic samples beside n real ones count for.

    Exact for C = I at an infinite penalty and the best weight. For other covariances to first order at a given ridge,
    and beside real data (n > 0) only if the targets of synthetic samples are divided by
    :math:`\beta = \lambda / \alpha`: with targets +-1 the true worth can be a tenth of it.

    For m = 0 it is n.

    Parameters
    ----------
    m, n : array_like
        Synthetic and real samples, >= 0.
    n_hat : array_like
        Samples the generator is fitted to, >= 1 or infinite.
    cost : array_like
        :math:`\chi` of `label_cost`, > 0. All arguments broadcast.

    Returns
    -------
    array
        Of the broadcast shape.

    Raises
    ------
    ValueError, TypeError
        Bad input.

    Examples
    --------
    >>> from rmt_lib.topics.scaling_laws import effective_samples
    >>> effective_samples(m=[100, 1000, 10000], n_hat=500, cost=2.0, n=100).round(1).tolist()
    [145.5, 350.0, 554.5]
    """
    n, m, n_hat, cost = _sizes(n, m, n_hat, cost)
    return (n + m / (cost + m / n_hat))[()]


def price(*, m: Any, n_hat: Any = np.inf, cost: Any = 1.0) -> Array:
    r"""Synthetic samples that are worth one more real sample: :math:`\chi (1 + m / (\chi \hat n))^2`.

    Parameters
    ----------
    m, n_hat, cost : array_like
        As in `effective_samples`; all broadcast.

    Returns
    -------
    array
        Of the broadcast shape.

    Raises
    ------
    ValueError, TypeError
        Bad input.

    Examples
    --------
    >>> from rmt_lib.topics.scaling_laws import price
    >>> price(m=[0, 1000], n_hat=500, cost=2.0).round(3).tolist()
    [2.0, 8.0]
    """
    _, m, n_hat, cost = _sizes(0.0, m, n_hat, cost)
    return (cost * (1 + m / (cost * n_hat)) ** 2)[()]


def enough(*, excess: Any, n_hat: Any, cost: Any = 1.0, n: Any = 0.0, exponent: Any = 1.0) -> Array:
    r"""Synthetic samples after which the gap to the Bayes accuracy is (1 + `excess`) times its floor (ours).

    Where the gap falls as :math:`n_{\text{eff}}^{-\zeta}`,

    .. math:: m = \chi \hat n \frac{\hat n - \tau n}{\tau (n + \hat n)}, \qquad
        \tau = (1 + \text{excess})^{1 / \zeta} - 1 ,

    and 0 where the real samples alone do as well.

    Parameters
    ----------
    excess : array_like
        How far above the floor the gap may be, relative to it, > 0.
    n_hat : array_like
        Samples the generator is fitted to, >= 1 and finite.
    cost, n : array_like
        As in `effective_samples`.
    exponent : array_like
        zeta > 0. All arguments broadcast.

    Returns
    -------
    array
        Of the broadcast shape.

    Raises
    ------
    ValueError, TypeError
        Bad input.

    Examples
    --------
    >>> from rmt_lib.topics.scaling_laws import effective_samples, enough
    >>> m = enough(excess=0.5, n_hat=1000, cost=2.0, n=100)
    >>> print(f"{m:.1f} {effective_samples(m=m, n_hat=1000, cost=2.0, n=100):.1f}")
    3454.5 733.3
    """
    excess = checks.array("excess", excess, low=0, open_low=True)
    tau = (1 + excess) ** (1 / checks.array("exponent", exponent, low=0, open_low=True)) - 1
    n, _, _, cost = _sizes(n, 0.0, 1.0, cost)
    n_hat = checks.array("n_hat", n_hat, low=1)
    return np.where(n_hat > tau * n, cost * n_hat * np.abs(n_hat - tau * n) / (tau * (n + n_hat)), 0.0)[()]


def _sizes(n: Any, m: Any, n_hat: Any, cost: Any) -> tuple[Array, Array, Array, Array]:
    return (
        checks.array("n", n, low=0),
        checks.array("m", m, low=0),
        checks.array("n_hat", n_hat, low=1, infinite=True),
        checks.array("cost", cost, low=0, open_low=True, infinite=True),
    )


def _labels(n: float, m: float, epsilon: float, phi: float, rho: float) -> tuple[float, float, float]:
    """Samples kept n', their balance beta, and samples drawn N."""
    n, m = checks.number("n", n, low=0), checks.number("m", m, low=0)
    checks.single(epsilon=epsilon, phi=phi, rho=rho)
    coins = Coins(epsilon=epsilon, phi=phi, rho=rho)
    kept = n + float(coins.alpha) * m
    if kept == 0:
        raise ValueError("n and m must be such that samples are kept, got none")
    return kept, (n + float(coins.lam) * m) / kept, n + m


def _predict(curves: Curves, kept: float, balance: float, total: float) -> RidgePrediction:
    ridge, signal, share = curves.ridge, curves.signal, curves.freedom_square / kept
    gamma = ridge * (kept - curves.freedom) / total
    # 1/z^2 times (beta f)^2: nothing is divided by beta, which may be 0.
    noise = balance**2 * (curves.signal_square + share) + (1 - balance**2) * share * (1 + signal) ** 2
    return RidgePrediction(ridge, gamma, float(balance * signal * np.sqrt((1 - share) / noise)))
