"""How much should a synthetic sample count? The best weight, alone and together with the penalty and the amount."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import minimize
from scipy.special import ndtr

from rmt_lib import checks
from rmt_lib.checks import Array
from rmt_lib.isotropic import predict_isotropic
from rmt_lib.marchenko_pastur import shrinkage
from rmt_lib.model import Mixture, Setting, Source, check_sources
from rmt_lib.theory import predict
from rmt_lib.topics.when_it_helps import (
    GAIN,
    GAMMAS,
    GRID,
    best_gamma,
    best_gamma_isotropic,
    best_on_grid,
    spectral_unit,
    weighted_sums,
    z_at_infinite_gamma_isotropic,
    z_of_real_data,
)

RESTARTS = 5  # of a search
COARSE = 17  # penalties, and weights, of the grid for `best_weight`, where each costs a prediction


class BestWeight(NamedTuple):
    """A weight, 0 if the data is best left out, the penalty (infinite if no finite one is better) and the accuracy."""

    weight: float
    gamma: float
    accuracy: float


class BestMix(NamedTuple):
    """How many synthetic samples to draw, at which weight and penalty, and the accuracy."""

    m: float
    weight: float
    gamma: float
    accuracy: float


class WeightAtInfiniteGamma(NamedTuple):
    """The best weight at an infinite penalty, and the real samples that the synthetic data is then worth."""

    weight: Array
    worth: Array


def weight_at_infinite_gamma_isotropic(
    *, m: Any, epsilon: Any = 0.0, phi: Any = 1.0, rho: Any = 1.0, n_hat: Any = np.inf, generator: Any = "known_mean"
) -> WeightAtInfiniteGamma:
    r"""Best weight as gamma grows, in closed form, and worth of the m samples at that weight; C = I (ours).

    .. math:: \omega = \frac{\lambda}{\alpha + \lambda^2 m / \hat n}, \qquad
        n_s = \omega \lambda m, \qquad \frac1{n_s} = \frac{\alpha}{\lambda^2 m} + \frac1{\hat n},

    with :math:`\hat n = \infty` for ``known_mean``. Together with n real samples the data is worth
    :math:`n + n_s` of them. Both are 0 for ``reused``, and where :math:`\lambda \le 0`.

    Parameters
    ----------
    m, epsilon, phi, rho, n_hat, generator : array_like
        As in `predict_isotropic`; all broadcast. `n_hat` is not used for ``reused``.

    Returns
    -------
    WeightAtInfiniteGamma
        The weight omega and the worth n_s, arrays of the broadcast shape.

    Raises
    ------
    ValueError, TypeError
        Bad input.

    Examples
    --------
    >>> from rmt_lib.topics.weights import weight_at_infinite_gamma_isotropic
    >>> best = weight_at_infinite_gamma_isotropic(m=400, epsilon=0.2, n_hat=200, generator="held_out")
    >>> print(f"{best.weight:.3f} {best.worth:.1f}")
    0.349 83.7
    """
    n_hat = np.where(np.asarray(generator) == "reused", np.inf, n_hat)  # not used there
    s = Setting(n=1, m=m, epsilon=epsilon, phi=phi, rho=rho, n_hat=n_hat, generator=generator)  # for any n
    lam = np.where(s.reused, 0.0, np.maximum(s.lam, 0.0))
    shared = np.where(s.generator == "held_out", lam**2 * s.m / s.n_hat, 0.0)
    weight = lam / np.where(lam > 0, s.alpha + shared, 1.0)
    return WeightAtInfiniteGamma(weight[()], (weight * lam * s.m)[()])


def break_even_balance(*, p: Any, n: Any, m: Any, mu: Any, gamma: Any) -> Array:
    r"""Balance lambda / alpha of the kept labels above which a small weight raises accuracy; C = I (ours).

    With :math:`\eta = p / n` and :math:`\sigma` the strength of the fit on the real data alone, at the penalty
    :math:`\gamma N / n` that it has in a mix of weight 0,

    .. math:: \beta_0 = \frac{\sigma}{1 + \sigma \mu^2}
        \Big[ \mu^2 - \frac{(1 - \eta \sigma) \sigma^2 (\mu^2 + \eta)}{(1 - \eta \sigma^2)^2} \Big] .

    For the generators ``known_mean`` and ``held_out``; it does not depend on n_hat, and of m only through N. It is
    less than :math:`\sigma \mu^2 / (1 + \sigma \mu^2)`, the mean score of the real-only classifier, and tends to 0 as
    gamma grows.

    Parameters
    ----------
    p, n, m, mu, gamma : array_like
        As in `predict_isotropic`, with n and mu > 0; all broadcast.

    Returns
    -------
    array
        Of the broadcast shape. Where it is negative, labels can help that are more often wrong than right.

    Raises
    ------
    ValueError, TypeError
        Bad input.

    Examples
    --------
    >>> from rmt_lib.topics.weights import break_even_balance
    >>> break_even_balance(p=100, n=200, m=200, mu=1.0, gamma=[0.1, 1.0, 10.0]).round(3).tolist()
    [-0.021, 0.201, 0.044]
    """
    p, n, mu = (
        checks.array("p", p, low=1),
        *(checks.array(name, value, low=0, open_low=True) for name, value in (("n", n), ("mu", mu))),
    )
    m, gamma = checks.array("m", m, low=0), checks.array("gamma", gamma, low=0, open_low=True)
    eta = p / n
    own = gamma * (n + m) / n
    sigma, lost, root = shrinkage(eta, own)
    # root = (1 - eta sigma^2) / sigma, and 1 - eta sigma = gamma sigma / (1 - sigma).
    return (sigma / (1 + sigma * mu**2) * (mu**2 - own * sigma / lost * (mu**2 + eta) / root**2))[()]


def best_weight_isotropic(
    *, p: float, n: float, m: float, mu: float, gamma: float | None = None, **synthetic: Any
) -> BestWeight:
    r"""The weight of the synthetic samples with the highest accuracy, in the setting of `predict_isotropic`.

    With a number for `gamma` it is the best weight at that penalty, with None weight and penalty are best together.

    A weight of 0 leaves the synthetic data out. It is the limit of small weights, where real data alone is trained at
    the penalty gamma N / n, as N counts the samples drawn. It is returned unless a positive weight raises z by more
    than `GAIN`. Weights and penalties are looked for between `GAMMAS` on a logarithmic grid, and refined; the
    limit gamma = infinity is `weight_at_infinite_gamma_isotropic`. A finite penalty that is better by less than about
    1e-8 in z can be missed.

    Parameters
    ----------
    p, n, m, mu
        As in `predict_isotropic`, single values.
    gamma : float, optional
        Ridge penalty, > 0; None to choose it.
    **synthetic
        epsilon, phi, rho, n_hat, generator: as in `predict_isotropic`, single values.

    Returns
    -------
    BestWeight
        Without real data (n = 0) only gamma / weight matters: at a given gamma the weight is gamma divided by the
        best penalty at weight 1 (0 if that is infinite), and with gamma=None the weight is 1. Without synthetic
        data the weight is 0.

    Raises
    ------
    ValueError, TypeError
        Bad input; `weight` among the arguments, or an argument that is not a single number.

    Examples
    --------
    >>> from rmt_lib.topics.weights import best_weight_isotropic
    >>> for gamma in (0.5, None):
    ...     best = best_weight_isotropic(p=100, n=200, m=400, mu=1.0, gamma=gamma, epsilon=0.2)
    ...     print(f"{best.weight:.2f} {best.gamma} {best.accuracy:.4f}")
    0.28 0.5 0.7956
    0.60 inf 0.8106
    """
    if "weight" in synthetic:
        raise TypeError("best_weight_isotropic chooses weight: it must not be given")
    setting = dict(p=p, n=n, m=m, mu=mu, **synthetic)
    checks.single(**setting)
    s = Setting(**setting)
    if gamma is not None:
        gamma = checks.number("gamma", gamma, low=0, open_low=True)
    p, n, m, mu = (float(value) for value in (s.p, s.n, s.m, s.mu))
    if n == 0:
        best = best_gamma_isotropic(**setting)
        return BestWeight(
            1.0 if gamma is None else gamma / best.gamma, best.gamma if gamma is None else gamma, best.accuracy
        )
    if gamma is None:
        return _joint(setting, m if mu > 0 else 0.0)  # without signal nothing is better than to leave the data out
    limit = float(z_of_real_data(p / n, mu, gamma * (n + m) / n))
    if m == 0 or mu == 0:
        return BestWeight(0.0, gamma, float(ndtr(limit)))
    # The weight is one over what `best_on_grid` takes for a gamma: infinite where the data is left out.
    inverse, accuracy = best_on_grid(
        lambda value: predict_isotropic(gamma=gamma, weight=1 / value, **setting).z, limit, arrays=True
    )
    return BestWeight(1 / inverse, gamma, accuracy)


def best_mix_isotropic(*, m_max: float, **setting: Any) -> BestMix:
    r"""How many of at most `m_max` synthetic samples to draw, at which weight and penalty; C = I (ours).

    All of them, or none. A mix of m samples that is better than guessing is beaten by one of m' > m: at the penalty
    gamma N / N' and the weight omega' with

    .. math:: \frac{m' \omega'}{1 + \omega' \delta_2} = \frac{m \omega}{1 + \omega \delta_2}

    delta_2 and the mean classifier is the same and the variance is smaller.

    Parameters
    ----------
    m_max : float
        Cap on the synthetic samples, >= 0.
    **setting
        As in `best_weight_isotropic`, without m and gamma.

    Returns
    -------
    BestMix
        m is `m_max`, or 0 where the best weight is 0. Without real data and with lambda <= 0 nothing is better than
        guessing: all are 0, at an infinite penalty and accuracy 1/2.

    Raises
    ------
    ValueError, TypeError
        Bad input, such as m or gamma in the setting.

    Examples
    --------
    >>> from rmt_lib.topics.weights import best_mix_isotropic
    >>> best = best_mix_isotropic(m_max=400, p=100, n=200, mu=1.0, epsilon=0.2, n_hat=200, generator="held_out")
    >>> print(f"{best.m:g} {best.weight:.3f} {best.gamma} {best.accuracy:.4f}")
    400 0.349 inf 0.8051
    """
    for name in ("m", "gamma"):
        if name in setting:
            raise TypeError(f"best_mix_isotropic chooses {name}: it must not be given")
    m_max = checks.number("m_max", m_max, low=0)
    best = best_weight_isotropic(m=m_max, **setting)
    if best.accuracy <= 0.5:
        return BestMix(0.0, 0.0, np.inf, 0.5)
    return BestMix(m_max if best.weight > 0 else 0.0, *best)


def best_weight(target: Mixture, sources: Sequence[Source], index: int, *, gamma: float | None = None) -> BestWeight:
    r"""The best weight of one source among others, any covariances, in the setting of `predict`.

    As `best_weight_isotropic`, by search: some 60 predictions at a given `gamma`, 500 without. The weights of the other
    sources are kept. A weight of 0 means that the others alone, trained at gamma times N over their number of
    samples, are at least as good. As gamma grows, w is parallel to :math:`a + \omega b`, where b is the sum over
    the source's samples; the best weight there is

    .. math:: \omega = \frac{B V_{aa} - A V_{ab}}{A V_{bb} - B V_{ab}}

    with A, B the means of :math:`\mu' a`, :math:`\mu' b`, and V the expectations of :math:`a' C a`, :math:`a' C b`,
    :math:`b' C b`.

    Parameters
    ----------
    target : Mixture
        Population (mu, C) of the fresh samples to classify.
    sources : sequence of Source
        Training data; the weight of the source at `index` is not used.
    index : int
        Which of the sources to weigh, counted from 0.
    gamma : float, optional
        Ridge penalty, > 0; None to choose it.

    Returns
    -------
    BestWeight
        The weight, the penalty (infinite where no finite one is better) and the accuracy.

    Raises
    ------
    ValueError, TypeError
        Bad input; no other source with samples.

    Examples
    --------
    >>> from rmt_lib import Mixture, Source
    >>> from rmt_lib.topics.weights import best_weight
    >>> mixture = Mixture(np.full(20, 0.2), np.linspace(0.5, 1.5, 20))
    >>> best = best_weight(mixture, [Source(mixture, 50), Source(mixture, 100, epsilon=0.2)], 1, gamma=0.5)
    >>> print(f"{best.weight:.2f} {best.accuracy:.4f}")
    0.37 0.7807
    """
    sources = check_sources(target, sources)
    if isinstance(index, bool) or not isinstance(index, numbers.Integral):
        raise TypeError(f"index must be an int, got {checks.shown(index)}")
    if not 0 <= index < len(sources):
        raise ValueError(f"index must be in [0, {len(sources) - 1}], got {index}")
    own, others = sources[index], [source for k, source in enumerate(sources) if k != index]
    rest = sum(source.n for source in others)
    if rest == 0:
        raise ValueError("sources must hold samples besides those of the source to weigh, got none")
    share = rest / (rest + own.n)

    unit = spectral_unit(target)

    def z(gamma: float, weight: float) -> float:
        return float(predict(target, [*others, replace(own, weight=weight)], gamma=gamma).z)

    if gamma is not None:
        gamma = checks.number("gamma", gamma, low=0, open_low=True)
        limit = float(predict(target, others, gamma=gamma / share).z)
        if own.n == 0:
            return BestWeight(0.0, gamma, float(ndtr(limit)))
        inverse, accuracy = best_on_grid(lambda value: z(gamma, 1 / value), limit, arrays=False)
        return BestWeight(1 / inverse, gamma, accuracy)
    alone = best_gamma(target, others)
    best = BestWeight(0.0, alone.gamma * share, alone.accuracy)
    if own.n == 0:
        return best
    (a, b), v = _sums(target, others, own)
    up, down = b * v[0, 0] - a * v[0, 1], a * v[1, 1] - b * v[0, 1]
    if up > 0 and down > 0:
        mix = np.array([1.0, up / down])
        accuracy = float(ndtr(mix @ (a, b) / np.sqrt(mix @ v @ mix)))
        best = max(best, BestWeight(float(up / down), np.inf, accuracy), key=lambda result: result.accuracy)
    low, high = np.log(GAMMAS)
    grid = np.linspace(low, high, COARSE)
    values = np.array([[z(unit * value, weight) for weight in np.exp(grid)] for value in np.exp(grid)])
    value, weight, top = _climb(lambda value, weight: z(unit * value, weight), values, grid)
    return BestWeight(weight, unit * value, float(ndtr(top))) if ndtr(top) > best.accuracy + GAIN else best


def _joint(setting: dict[str, Any], m: float) -> BestWeight:
    labels = {name: value for name, value in setting.items() if name not in ("p", "n", "mu")}
    weight = float(weight_at_infinite_gamma_isotropic(**labels).weight) if m > 0 else 0.0
    at_limit = setting | (dict(weight=weight) if weight > 0 else dict(m=0.0))
    limit = float(z_at_infinite_gamma_isotropic(**at_limit))
    if m == 0:
        return BestWeight(0.0, np.inf, float(ndtr(limit)))

    def z(gamma: Any, weight: Any) -> Array:
        return predict_isotropic(gamma=gamma, weight=weight, **setting).z

    low, high = np.log(GAMMAS)
    grid = np.linspace(low, high, GRID)
    gamma, climbed, best = _climb(z, z(np.exp(grid)[:, None], np.exp(grid)), grid)
    if best <= limit + GAIN:
        return BestWeight(weight, np.inf, float(ndtr(limit)))
    return BestWeight(climbed, gamma, float(ndtr(best)))


def _climb(z: Callable[[Any, Any], Any], values: Array, grid: Array) -> tuple[float, float, float]:
    """gamma and weight of the highest z, from its values on a grid in their logarithms, and that z."""
    best = grid[list(np.unravel_index(np.argmax(values), values.shape))]
    top = float(values.max())
    # Along a bound or a narrow ridge the simplex may collapse early: it starts again until that brings nothing.
    for _ in range(RESTARTS):
        result = minimize(
            lambda x: -float(z(*np.exp(x))),
            best,
            method="Nelder-Mead",
            bounds=[(grid[0], grid[-1])] * 2,
            options={"xatol": 1e-5, "fatol": 1e-11, "initial_simplex": best + np.array([[0, 0], [0.2, 0], [0, 0.2]])},
        )
        gained = -float(result.fun) - top
        if gained > 0:
            best, top = result.x, -float(result.fun)
        if gained <= GAIN:
            break
    gamma, weight = np.exp(best).tolist()
    return gamma, weight, top


def _sums(target: Mixture, others: Sequence[Source], own: Source) -> tuple[Array, Array]:
    """(A, B) and the matrix V of `best_weight`."""
    sums = [weighted_sums(target, sources) for sources in (others, [replace(own, weight=1.0)])]
    pulls = np.array([pull for pull, _ in sums])
    return pulls @ target.mean, pulls @ target.dense @ pulls.T + np.diag([noise for _, noise in sums])
