"""Should I add synthetic data? What the first sample is worth, in which penalty, in how many real samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import brentq, minimize_scalar
from scipy.special import ndtr

from rmt_lib import checks
from rmt_lib.checks import Array
from rmt_lib.isotropic import predict_isotropic
from rmt_lib.marchenko_pastur import shrinkage
from rmt_lib.model import Coins, Mixture, Setting, Source, check_sources
from rmt_lib.theory import predict

GAMMAS = (1e-6, 1e6)  # finite values among which the best is looked for
GAIN = 1e-10  # in z, by which a finite gamma must beat the infinite one
GRID = 61


class SampleValues(NamedTuple):
    """What one synthetic sample adds to z = mean / sqrt(variance), at m = 0; accuracy is Phi(z).

    Attributes
    ----------
    right : array
        Kept, with a right label.
    wrong : array
        Kept, with a wrong label.
    drawn : array
        Drawn, kept or not: N grows, and with it the penalty gamma N. Without 1/N in the loss this is 0.
    """

    right: Array
    wrong: Array
    drawn: Array

    def slope(self, *, epsilon: Any, phi: Any = 1.0, rho: Any = 1.0) -> Array:
        r"""dz / dm at m = 0: :math:`\phi (1 - \epsilon) V_{right} + \rho \epsilon V_{wrong} + V_{drawn}`.

        Parameters
        ----------
        epsilon, phi, rho : array_like
            Label noise and keep rates of right and wrong labels, in [0, 1]; they broadcast against the values.

        Returns
        -------
        array
            Of the broadcast shape, per sample drawn.

        Raises
        ------
        ValueError, TypeError
            Bad input.

        Examples
        --------
        >>> from rmt_lib.topics.when_it_helps import first_sample_values
        >>> values = first_sample_values(p=200, n=400, mu=1.0, gamma=1.0)
        >>> (1000 * values.slope(epsilon=[0.0, 0.1, 0.2])).round(3).tolist()
        [0.399, 0.131, -0.137]
        """
        coins = Coins(epsilon=epsilon, phi=phi, rho=rho)
        return coins.kept_right * self.right + coins.kept_wrong * self.wrong + self.drawn


class BestGamma(NamedTuple):
    """A ridge penalty gamma, infinite if no finite one is better, and the accuracy it gives."""

    gamma: float
    accuracy: float


def first_sample_values(*, p: Any, n: Any, mu: Any, gamma: Any) -> SampleValues:
    r"""Values of the first synthetic sample beside n real ones; C = I, generators ``known_mean`` and ``held_out``.

    With :math:`\eta = p / n`, :math:`D = (1 - \eta)^2 + 2 \gamma (1 + \eta) + \gamma^2`,
    :math:`\sigma = 2 / (1 + \eta + \gamma + \sqrt D) = G / (1 + \eta G)` and
    :math:`z = \mu^2 \sqrt{\sigma \sqrt D / (\mu^2 + \eta)}`,

    .. math::

        V_{right} = \frac{z \eta}{2 n} \Big( \frac1{\mu^2 + \eta} - \frac{1 - 2 \sigma + \sigma^2 \eta}{D} \Big), \quad
        V_{wrong} = V_{right} - \frac{2 z \eta}{n} \frac{(1 + \sigma \mu^2)^2}{\mu^2 + \eta}, \quad
        V_{drawn} = \frac{z \eta}{n} \frac{\gamma \sigma}{D} .

    They do not depend on n_hat. All arguments broadcast.

    Parameters
    ----------
    p, n, mu, gamma : array_like
        Dimension >= 1, real samples > 0, length of the mean > 0, ridge penalty > 0.

    Returns
    -------
    SampleValues
        Three arrays of the broadcast shape, per sample.

    Raises
    ------
    ValueError, TypeError
        Bad input.

    Examples
    --------
    >>> from rmt_lib.topics.when_it_helps import first_sample_values
    >>> values = first_sample_values(p=200, n=400, mu=1.0, gamma=1.0)
    >>> print(f"{1000 * values.right:.3f} {1000 * values.wrong:.3f} {1000 * values.drawn:.3f}")
    0.298 -2.379 0.100
    """
    p, n, mu, gamma = _real("p", p, low=1), _real("n", n), _real("mu", mu), _real("gamma", gamma)
    eta = p / n
    sigma, lost, root = shrinkage(eta, gamma)
    unit = z_of_real_data(eta, mu, gamma) * eta / n
    # 1 - 2 sigma + sigma^2 eta = (1 - sigma)^2 - (1 - eta) sigma^2, with nothing lost at eta = 1.
    right = unit / 2 * (1 / (mu**2 + eta) - (lost**2 - (1 - eta) * sigma**2) / root**2)
    wrong = right - 2 * unit * (1 + sigma * mu**2) ** 2 / (mu**2 + eta)
    return SampleValues(right, wrong, unit * gamma * sigma / root**2)


def break_even_noise(*, p: Any, n: Any, mu: Any, gamma: Any, phi: Any = 1.0, rho: Any = 1.0) -> Array:
    r"""Label noise below which the first synthetic samples raise accuracy; C = I, the generator is not `reused`.

    .. math:: \epsilon_0 = \frac{\phi V_{right} + V_{drawn}}{\phi V_{right} - \rho V_{wrong}}

    where the first sample helps at noise 0 and hurts at noise 1. It is 1 where that sample helps at every noise, and 0
    where it hurts already at noise 0. As gamma grows, :math:`\epsilon_0 \to \phi / (\phi + 3 \rho)`.

    Parameters
    ----------
    p, n, mu, gamma : array_like
        As in `first_sample_values`.
    phi, rho : array_like
        Keep rates of right and wrong labels, in [0, 1].

    Returns
    -------
    array
        Of the broadcast shape, in [0, 1].

    Raises
    ------
    ValueError, TypeError
        Bad input.

    Examples
    --------
    >>> from rmt_lib.topics.when_it_helps import break_even_noise
    >>> break_even_noise(p=200, n=400, mu=1.0, gamma=1.0, rho=[1.0, 0.2]).round(3).tolist()
    [0.149, 0.515]
    """
    values = first_sample_values(p=p, n=n, mu=mu, gamma=gamma)
    clean = values.slope(epsilon=0.0, phi=phi, rho=rho)
    noisy = values.slope(epsilon=1.0, phi=phi, rho=rho)
    crosses = (clean > 0) & (noisy < 0)
    root = clean / np.where(crosses, clean - noisy, 1.0)
    return np.where(crosses, root, np.where(clean > 0, 1.0, 0.0))[()]


def z_at_infinite_gamma(target: Mixture, sources: Sequence[Source]) -> float:
    r"""Limit of z = mean / sqrt(variance) as gamma grows, in the setting of `predict`.

    w is then parallel to the sum of :math:`\omega q s u` over all samples, and z tends to
    :math:`\mu' h / \sqrt{h' C h + \sum_k \pi_k \omega_k^2 \alpha_k \frac1N \operatorname{tr} C_k C}` with
    :math:`h = \sum_k \pi_k \omega_k h_k`. It is 0 where nothing is kept.

    Parameters
    ----------
    target : Mixture
        Population of the fresh samples to classify.
    sources : sequence of Source
        Training data, at least one sample drawn in all.

    Returns
    -------
    float
        The limit of z.

    Raises
    ------
    ValueError, TypeError
        Bad input.

    Examples
    --------
    >>> from rmt_lib import Mixture, Source
    >>> from rmt_lib.topics.when_it_helps import z_at_infinite_gamma
    >>> mixture = Mixture(np.eye(50)[0])
    >>> print(round(z_at_infinite_gamma(mixture, [Source(mixture, 100), Source(mixture, 200, epsilon=0.2)]), 4))
    0.8737
    """
    pull, noise = weighted_sums(target, check_sources(target, sources))
    spread = pull @ target.dense @ pull + noise
    return float(target.mean @ pull / np.sqrt(spread)) if spread > 0 else 0.0


def z_at_infinite_gamma_isotropic(
    *,
    p: Any,
    n: Any,
    m: Any,
    mu: Any,
    epsilon: Any = 0.0,
    phi: Any = 1.0,
    rho: Any = 1.0,
    n_hat: Any = np.inf,
    generator: Any = "known_mean",
    weight: Any = 1.0,
) -> Array:
    r"""Limit of z = mean / sqrt(variance) as gamma grows, in the setting of `predict_isotropic` (C = I).

    .. math:: z = \frac{\mu^2}{\sqrt{\mu^2 + p V / L^2}}, \qquad L = n + \omega \lambda m, \qquad
        V = n + \omega^2 \alpha m + E,

    with the sign of L, where the error of the fitted mean adds :math:`E = 0` (``known_mean``),
    :math:`(\omega \lambda m)^2 / \hat n` (``held_out``) or
    :math:`2 \omega \lambda m + (\omega \lambda m)^2 / \hat n` (``reused``, with n for an infinite n_hat).
    It is 0 where nothing is kept.

    Parameters
    ----------
    p, n, m, mu, epsilon, phi, rho, n_hat, generator, weight : array_like
        As in `predict_isotropic`; all broadcast.

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
    >>> from rmt_lib.topics.when_it_helps import z_at_infinite_gamma_isotropic
    >>> z_at_infinite_gamma_isotropic(p=50, n=100, m=[0, 200], mu=1.0, epsilon=0.2).round(4).tolist()
    [0.8165, 0.8737]
    """
    s = Setting(
        p=p, n=n, m=m, mu=mu, epsilon=epsilon, phi=phi, rho=rho, n_hat=n_hat, generator=generator, weight=weight
    )
    pull = s.weight * s.lam * s.m
    shared = np.where(s.reused, 2 * pull, 0.0) + pull**2 / s.fitted
    error = np.where(s.generator == "known_mean", 0.0, shared)
    length = s.n + pull
    spread = (s.mu * length) ** 2 + s.p * (s.n + s.weight**2 * s.alpha * s.m + error)
    return (s.mu**2 * length / np.sqrt(np.where(spread > 0, spread, 1.0)))[()]


def best_gamma_isotropic(**setting: Any) -> BestGamma:
    """The penalty of highest accuracy in the setting of `predict_isotropic`, a single one, given without gamma.

    The best of a logarithmic grid over `GAMMAS` is refined by `scipy.optimize.minimize_scalar` in log gamma and
    compared with the limit gamma -> infinity, `z_at_infinite_gamma_isotropic`: the result is finite only if it raises
    z by more than `GAIN`. It is `GAMMAS[0]` where accuracy rises all the way down.

    Parameters
    ----------
    **setting
        p, n, m, mu, epsilon, phi, rho, n_hat, generator, weight: as in `predict_isotropic`, single values.

    Returns
    -------
    BestGamma
        The penalty, infinite where no finite one is better, and its accuracy.

    Raises
    ------
    ValueError, TypeError
        Bad input; gamma among the arguments, or an argument that is not a single number.

    Examples
    --------
    >>> from rmt_lib.topics.when_it_helps import best_gamma_isotropic
    >>> best = best_gamma_isotropic(p=100, n=200, m=400, mu=1.0, n_hat=100)
    >>> print(f"{best.gamma:.2f} {best.accuracy:.4f}")
    8.45 0.8235
    """
    if "gamma" in setting:
        raise TypeError("best_gamma_isotropic chooses gamma: it must not be given")
    limit = z_at_infinite_gamma_isotropic(**setting)
    checks.single(**setting)
    return best_on_grid(lambda gamma: predict_isotropic(gamma=gamma, **setting).z, float(limit), arrays=True)


def best_gamma(target: Mixture, sources: Sequence[Source]) -> BestGamma:
    r"""The penalty of highest accuracy in the setting of `predict`; found as in `best_gamma_isotropic`.

    The limit at an infinite penalty is `z_at_infinite_gamma`. About 80 predictions.

    Parameters
    ----------
    target, sources
        As in `predict`.

    Returns
    -------
    BestGamma
        The penalty, infinite where no finite one is better, and its accuracy.

    Raises
    ------
    ValueError, TypeError
        Bad input.

    Examples
    --------
    >>> from rmt_lib import Mixture, Source
    >>> from rmt_lib.topics.when_it_helps import best_gamma
    >>> mixture = Mixture(np.full(20, 0.2), np.linspace(0.5, 1.5, 20))
    >>> best = best_gamma(mixture, [Source(mixture, 50), Source(mixture, 100, epsilon=0.2)])
    >>> print(f"{best.gamma:.1f} {best.accuracy:.4f}")
    12.6 0.7804
    """
    sources, limit = check_sources(target, sources), z_at_infinite_gamma(target, sources)
    unit = spectral_unit(target)
    return best_on_grid(lambda gamma: predict(target, sources, gamma=gamma).z, limit, arrays=False, unit=unit)


def worth_in_real_samples(*, p: float, n: float, mu: float, gamma: float | None = None, **synthetic: Any) -> float:
    """n' such that n + n' real samples alone are as accurate as n real and m synthetic ones; C = I.

    With `gamma` a number, both are trained at that penalty. Real data alone can then be more accurate with fewer
    samples (p / n > 1 and a small gamma): the count from which on it is at least as accurate is taken. With
    ``gamma=None`` each is trained at its best penalty, which for real data alone is infinite.

    Parameters
    ----------
    p, n, mu : float
        Dimension, real samples, length of the mean; > 0.
    gamma : float, optional
        Ridge penalty, > 0; None for the best one of each.
    **synthetic
        m, epsilon, phi, rho, n_hat, generator, weight: as in `predict_isotropic`, single numbers.

    Returns
    -------
    float
        Negative where the synthetic data does harm; ``-inf`` where the mix is no better than guessing, which any
        number of real samples is; ``inf`` where the mix reaches Phi(mu), the limit of real data.

    Raises
    ------
    ValueError, TypeError
        Bad input.

    Examples
    --------
    >>> from rmt_lib.topics.when_it_helps import worth_in_real_samples
    >>> setting = dict(p=100, n=200, m=400, mu=1.0, epsilon=0.1)
    >>> print(f"{worth_in_real_samples(**setting, gamma=1.0):.1f} {worth_in_real_samples(**setting):.1f}")
    181.5 250.7
    """
    p, n, mu = (checks.number(name, value, low=0, open_low=True) for name, value in (("p", p), ("n", n), ("mu", mu)))
    setting = dict(p=p, n=n, mu=mu, **synthetic)
    checks.single(**setting)
    if gamma is None:
        best = best_gamma_isotropic(**setting).gamma
        z = z_at_infinite_gamma_isotropic(**setting) if np.isinf(best) else predict_isotropic(gamma=best, **setting).z
    else:
        gamma = checks.number("gamma", gamma, low=0, open_low=True)
        z = predict_isotropic(gamma=gamma, **setting).z
    if z <= 0:
        return -np.inf
    missing = mu**2 * (mu**2 - z**2)
    if missing <= 0:
        return np.inf
    fewest = p * z**2 / missing  # at the best penalty
    if gamma is None:
        return float(fewest - n)

    def excess(log_count: Any) -> Array:
        return z_of_real_data(p / np.exp(log_count), mu, gamma) - z

    # At the upper end sigma = 1 would still be enough.
    counts = np.linspace(np.log(fewest), np.log(p * (mu**4 + z**2) / missing), GRID)
    last = int(np.flatnonzero(excess(counts[:-1]) <= 0)[-1]) if excess(counts[0]) <= 0 else 0
    if excess(counts[last]) >= 0:
        return float(np.exp(counts[last]) - n)
    return float(np.exp(brentq(excess, counts[last], counts[last + 1], xtol=1e-14)) - n)


def _real(name: str, value: Any, *, low: float = 0.0) -> Array:
    return checks.array(name, value, low=low, open_low=low == 0)


def z_of_real_data(eta: Any, mu: Any, gamma: Any) -> Array:
    r"""z of real data alone, C = I and eta = p / n: :math:`\mu^2 \sqrt{\sigma \sqrt D / (\mu^2 + \eta)}`.

    :math:`\sigma` and D are those of `first_sample_values`.

    Parameters
    ----------
    eta, mu, gamma : float or array
        Dimension over samples, length of the mean, ridge penalty, all > 0. They broadcast and are taken as checked.

    Returns
    -------
    array
        Of the broadcast shape.

    Examples
    --------
    >>> from rmt_lib.topics.when_it_helps import z_of_real_data
    >>> z_of_real_data(0.5, 1.0, np.array([0.1, 1.0, 10.0])).round(3).tolist()
    [0.652, 0.776, 0.815]
    """
    sigma, _, root = shrinkage(eta, gamma)
    return mu**2 * np.sqrt(sigma * root / (mu**2 + eta))


def weighted_sums(target: Mixture, sources: Sequence[Source]) -> tuple[Array, float]:
    r"""Mean of the sum of omega q s u over all samples, and what its randomness adds to the variance of the score.

    They are :math:`\sum_k n_k \omega_k h_k` and :math:`\sum_k n_k \omega_k^2 \alpha_k \operatorname{tr} C_k C`.

    Parameters
    ----------
    target : Mixture
        Population (mu, C) of the fresh samples.
    sources : sequence of Source
        Training data, taken as checked.

    Returns
    -------
    tuple of array and float
        The mean, (p,), and the addition to the variance.

    Examples
    --------
    >>> from rmt_lib import Mixture, Source
    >>> from rmt_lib.topics.when_it_helps import weighted_sums
    >>> mixture = Mixture([1.0, 0.0])
    >>> pull, noise = weighted_sums(mixture, [Source(mixture, 100), Source(mixture, 200, epsilon=0.2)])
    >>> print(pull.round(1).tolist(), round(float(noise), 1))
    [220.0, 0.0] 600.0
    """
    cov = target.dense
    noise = sum(source.n * source.weight**2 * source.alpha * np.sum(source.mixture.dense * cov) for source in sources)
    pulls = (source.n * source.weight * source.pull for source in sources)
    return sum(pulls, np.zeros(target.p)), noise


def spectral_unit(target: Mixture) -> float:
    """Mean variance of a feature, 1 for C = I: penalties in this unit do not depend on the unit of the features.

    Parameters
    ----------
    target : Mixture
        The population; where nothing varies, the mean square of its mean is taken, or 1.

    Returns
    -------
    float
        The unit, > 0.

    Raises
    ------
    TypeError
        Not a mixture.

    Examples
    --------
    >>> from rmt_lib import Mixture
    >>> from rmt_lib.topics.when_it_helps import spectral_unit
    >>> spectral_unit(Mixture([1.0, 0.0], [4.0, 2.0]))
    3.0
    """
    if not isinstance(target, Mixture):
        raise TypeError(f"target must be a Mixture, got {checks.shown(target)}")
    mean_variance = float(np.broadcast_to(target.eigenvalues, target.p).mean())
    return mean_variance or float(np.mean(target.mean**2)) or 1.0


def best_on_grid(z: Callable[[Any], Any], limit: float, *, arrays: bool, unit: float = 1.0) -> BestGamma:
    """The gamma of the highest `z(gamma)`: the best of a grid, refined between its neighbours, against the `limit`.

    Parameters
    ----------
    z : callable
        ``z(gamma)``, the quantity that accuracy rises with.
    limit : float
        Its value at an infinite gamma.
    arrays : bool
        Whether z takes the whole grid in one call, as functions built on `predict_isotropic` do; else it is called for
        one gamma after another.
    unit : float
        Of the penalty, > 0: `GAMMAS` are in this unit.

    Returns
    -------
    BestGamma
        The gamma, infinite unless a finite one raises z by more than `GAIN`, and the accuracy Phi(z).

    Examples
    --------
    >>> from rmt_lib.topics.when_it_helps import best_on_grid
    >>> best = best_on_grid(lambda gamma: 1 - (np.log(gamma) - 1) ** 2, 0.5, arrays=True)
    >>> print(f"{best.gamma:.3f} {best.accuracy:.4f}")
    2.718 0.8413
    """
    low, high = np.log(GAMMAS)
    grid = np.linspace(low, high, GRID) + np.log(unit)
    values = z(np.exp(grid)) if arrays else np.array([z(gamma) for gamma in np.exp(grid)])
    top = int(np.argmax(values))
    if np.isinf(values[top]):  # no variance: nothing to refine
        return BestGamma(np.inf if np.isinf(limit) else float(np.exp(grid[top])), float(ndtr(values[top])))
    around = grid[max(top - 1, 0)], grid[min(top + 1, GRID - 1)]
    result = minimize_scalar(lambda x: -z(np.exp(x)), bounds=around, method="bounded", options={"xatol": 1e-8})
    best, place = max((float(values[top]), grid[top]), (-float(result.fun), float(result.x)))
    if best <= limit + GAIN:
        return BestGamma(np.inf, float(ndtr(limit)))
    return BestGamma(float(np.exp(place)), float(ndtr(best)))
