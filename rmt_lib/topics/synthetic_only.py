"""The phase transition of a classifier trained on synthetic data alone: where it is, and how sharp."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from rmt_lib import checks, marchenko_pastur
from rmt_lib.checks import Array
from rmt_lib.isotropic import predict_isotropic
from rmt_lib.model import GENERATORS

ALLOWED = tuple(generator for generator in GENERATORS if generator != "reused")  # it needs real training data


def critical_noise(*, phi: Any, rho: Any) -> Array:
    r"""Label noise at which right and wrong labels are kept equally often: :math:`\epsilon^* = 1 / (1 + \rho / \phi)`.

    There :math:`\lambda = \phi (1 - \epsilon) - \rho \epsilon` vanishes and the accuracy of a classifier trained on
    synthetic data alone is 1/2. It is 0 for phi = 0. It is 1 for rho = 0: a verifier that keeps no wrong label has no
    critical noise below 1.

    Parameters
    ----------
    phi, rho : array_like
        Keep rates of right and wrong labels in [0, 1], not both 0; they broadcast.

    Returns
    -------
    array
        Of the broadcast shape.

    Raises
    ------
    ValueError, TypeError
        Bad input; phi = rho = 0, where nothing is kept and every noise gives lambda = 0.

    Examples
    --------
    >>> from rmt_lib.topics.synthetic_only import critical_noise
    >>> critical_noise(phi=1.0, rho=[1.0, 0.5, 0.1]).round(3).tolist()
    [0.5, 0.667, 0.909]
    """
    phi, rho = checks.array("phi", phi, low=0, high=1), checks.array("rho", rho, low=0, high=1)
    if ((phi == 0) & (rho == 0)).any():
        raise ValueError("phi and rho must not both be 0, got phi = rho = 0")
    return (phi / (phi + rho))[()]


def slope_at_critical_noise(
    *,
    p: Any,
    m: Any,
    mu: Any,
    gamma: Any,
    phi: Any,
    rho: Any,
    n_hat: Any = np.inf,
    generator: Any = "known_mean",
) -> Array:
    r"""Slope d accuracy / d epsilon at the critical noise; C = I, synthetic data only. Never positive.

    At :math:`\epsilon^*` the mean classifier vanishes, so only the score mean moves, and only through lambda, whose
    slope is :math:`-(\phi + \rho)`. In the notation of `predict_isotropic`, with
    :math:`g = 1 / (1 + \delta_2)`, :math:`R = (\gamma I + \alpha g \hat C)^{-1}`,
    :math:`G = \frac1p \operatorname{tr} R` and the squared length :math:`\ell = \mu^2` (``known_mean``) or
    :math:`\mu^2 + p / \hat n` (``held_out``) of the generator's mean,

    .. math:: -\frac{(\phi + \rho) \mu^2}{\sqrt{2 \pi \alpha \eta}} \frac{G}{1 + \alpha g G \ell}
              \sqrt{\frac{1 - \alpha \eta g^2 \frac1p \operatorname{tr} \hat C R \hat C R}
                         {\frac1p \operatorname{tr} R \hat C R}} .

    For :math:`\hat n = \infty` it grows like :math:`\sqrt{m / p}`, and for a large penalty it tends to
    :math:`-(\phi + \rho)^{3/2} \mu^2 \sqrt{m / p} / (2 \sqrt{\pi \phi \rho})`.

    Parameters
    ----------
    p, m : array_like
        Dimension >= 1 and synthetic samples drawn > 0 (any real numbers).
    mu : array_like
        Length of the mean, >= 0.
    gamma : array_like
        Ridge penalty > 0.
    phi, rho : array_like
        Keep rates of right and wrong labels, in (0, 1]: if one is 0 nothing is kept at the critical noise, and the
        slope is infinite.
    n_hat : array_like
        Samples the generator is fitted to, >= 1 or infinite.
    generator : str or array of str
        ``known_mean`` or ``held_out``; see `rmt_lib.model.Setting`.

    Returns
    -------
    array
        Of the broadcast shape.

    Raises
    ------
    ValueError, TypeError
        Bad input, also the generator ``reused``, which needs real training data.
    ConvergenceError
        The fixed point was not found.

    Examples
    --------
    >>> from rmt_lib.topics.synthetic_only import slope_at_critical_noise
    >>> slope_at_critical_noise(p=100, m=[400, 1600], mu=1.0, gamma=1.0, phi=1.0, rho=1.0).round(3).tolist()
    [-1.056, -2.123]
    """
    m = checks.array("m", m, low=0, open_low=True)
    phi, rho = _keep_rates(phi, rho)
    held_out = _is_held_out(generator)
    epsilon = critical_noise(phi=phi, rho=rho)
    setting = dict(p=p, n=0, m=m, mu=mu, gamma=gamma, phi=phi, rho=rho, n_hat=n_hat, generator=generator)
    delta = predict_isotropic(**setting, epsilon=epsilon).deltas[..., 1]  # checks the other arguments

    alpha = _kept_at_critical_noise(phi, rho)
    g, eta, c, square = 1 / (1 + delta), np.divide(p, m), np.divide(p, n_hat), np.square(mu, dtype=float)
    trace = marchenko_pastur.trace(gamma, alpha * g, c)
    products = marchenko_pastur.product_traces(gamma, alpha * g, c, trace)
    # 1 - alpha eta g^2 (1/p) tr C R C R without the subtraction:
    # delta / eta = (1/p) tr C R = gamma (1/p) tr R C R + alpha g (1/p) tr C R C R.
    slack = eta / delta * (gamma * products.r_cr + alpha * g**2 * products.cr_cr)
    length = square + np.where(held_out, c, 0.0)
    pull = square * trace / (1 + alpha * g * trace * length)
    return (-(phi + rho) * pull * np.sqrt(slack / (2 * np.pi * alpha * eta * products.r_cr)))[()]


def transition_curve(
    x: Any, *, mu: Any, gamma: Any, phi: Any, rho: Any, c: Any = 0.0, generator: Any = "known_mean"
) -> Array:
    r"""Accuracy on the scale of the transition: its limit at :math:`\epsilon = \epsilon^* - x \sqrt{p / m}`.

    The limit is m/p to infinity with :math:`c = p / \hat n` fixed; C = I, synthetic data only. With
    :math:`R = (\gamma I + \alpha \hat C)^{-1}`, :math:`G = \frac1p \operatorname{tr} R`, :math:`L = (\phi + \rho) x`,
    alpha at the critical noise and :math:`\ell` as in `slope_at_critical_noise` it is

    .. math:: \Phi\left(\frac{L \mu^2 G}{\sqrt{L^2 \ell \frac1p \operatorname{tr} R^2
              + \alpha (1 + \alpha G \ell)^2 \frac1p \operatorname{tr} R \hat C R}}\right) .

    For c = 0 it rises from 1 - Phi(mu), far above the critical noise, through 1/2 at x = 0, to Phi(mu), far below.

    Parameters
    ----------
    x : array_like
        Scaled distance below the critical noise, finite.
    mu, gamma, phi, rho, generator : array_like
        As in `slope_at_critical_noise`.
    c : array_like
        p / n_hat >= 0.

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
    >>> from rmt_lib.topics.synthetic_only import transition_curve
    >>> transition_curve([-2.0, 0.0, 2.0], mu=1.0, gamma=1.0, phi=1.0, rho=1.0).round(3).tolist()
    [0.175, 0.5, 0.825]
    """
    x, mu, c = checks.array("x", x), checks.array("mu", mu, low=0), checks.array("c", c, low=0)
    gamma = checks.array("gamma", gamma, low=0, open_low=True)
    phi, rho = _keep_rates(phi, rho)
    held_out = _is_held_out(generator)

    alpha = _kept_at_critical_noise(phi, rho)
    trace = marchenko_pastur.trace(gamma, alpha, c)
    products = marchenko_pastur.product_traces(gamma, alpha, c, trace)
    with np.errstate(over="ignore", invalid="ignore"):
        length = mu**2 + np.where(held_out, c, 0.0)
        pull = (phi + rho) * x
        noise = np.sqrt(alpha * products.r_cr) * (1 + alpha * trace * length)
        margin = pull * mu**2 * trace / np.hypot(pull * np.sqrt(length * products.r_r), noise)
    if not np.isfinite(margin).all():
        raise ValueError("margin must be finite: an input is too extreme for double precision")
    return ndtr(margin)[()]


def _keep_rates(phi: Any, rho: Any) -> tuple[Array, Array]:
    phi = checks.array("phi", phi, low=0, high=1, open_low=True)
    return phi, checks.array("rho", rho, low=0, high=1, open_low=True)


def _kept_at_critical_noise(phi: Array, rho: Array) -> Array:
    """alpha at the critical noise: half of it right labels, half of it wrong ones."""
    return 2 * critical_noise(phi=phi, rho=rho) * rho


def _is_held_out(generator: Any) -> NDArray[np.bool_]:
    return np.asarray(checks.one_of("generator", generator, ALLOWED)) == "held_out"
