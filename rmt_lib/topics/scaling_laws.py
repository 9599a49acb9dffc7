"""How accuracy grows with the number of samples: an exact formula, and what a synthetic sample is worth on the way."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import minimize_scalar

from rmt_lib import checks
from rmt_lib.checks import Array
from rmt_lib.fitted import Curves, Population, population_of
from rmt_lib.model import Coins, Mixture, Source

RIDGES = (1e-12, 1e6)  # among which the best is looked for, as multiples of the largest eigenvalue
GRID = 61


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
    r"""z of n real samples and m of a perfect generator, any covariance, in closed form (ours).

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
    curves = population_of(target).curves(checks.number("ridge", ridge, low=0, open_low=True))
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
        return -_predict(curves, kept, balance, total).z if curves.freedom < kept else 0.0  # no penalty > 0

    largest = np.max(population.mixture.eigenvalues)
    low, high = np.log(largest * np.array(RIDGES))
    grid = np.linspace(low, high, GRID)
    losses = [loss(x) for x in grid]
    i = int(np.argmin(losses))
    low, high = grid[max(i - 1, 0)], grid[min(i + 1, GRID - 1)]
    best = minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-8})
    x = best.x if best.fun < losses[i] else grid[i]
    return _predict(population.curves(np.exp(x)), kept, balance, total)


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
    alpha, square = coins.alpha, coins.lam**2
    known = np.where(square > 0, square, 1.0)
    cost = (square + (alpha**2 - square) * (1 + signal)) / (np.where(alpha > 0, alpha, 1.0) * known)
    return np.where(square > 0, cost, np.inf)[()]


def effective_samples(*, m: Any, n_hat: Any = np.inf, cost: Any = 1.0, n: Any = 0.0) -> Array:
    r""":math:`n_{\text{eff}} = n + 1 / (\chi / m + 1 / \hat n)`: real samples that the best-weighted mix is worth.

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
    plain = Source(Mixture([1.0]), m, epsilon=epsilon, phi=phi, rho=rho)
    n = checks.number("n", n, low=0)
    kept = n + plain.alpha * plain.n
    if kept == 0:
        raise ValueError("n and m must be such that samples are kept, got none")
    return kept, (n + plain.lam * plain.n) / kept, n + plain.n


def _predict(curves: Curves, kept: float, balance: float, total: float) -> RidgePrediction:
    ridge, signal, share = curves.ridge, curves.signal, curves.freedom_square / kept
    gamma = ridge * (kept - curves.freedom) / total
    # 1/z^2 times (beta f)^2: nothing is divided by beta, which may be 0.
    noise = balance**2 * (curves.signal_square + share) + (1 - balance**2) * share * (1 + signal) ** 2
    return RidgePrediction(ridge, gamma, float(balance * signal * np.sqrt((1 - share) / noise)))
