"""The paper's setting with C = I in closed form, for many settings at once."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize.elementwise import find_root

from rmt_lib import marchenko_pastur
from rmt_lib.checks import Array
from rmt_lib.model import Isotropic
from rmt_lib.results import ConvergenceError, Prediction

RESIDUAL_TOLERANCE = 1e-9


def _load(trace: Array, fixed: Array, share: Array, c: Array, ratio: Array, weight: Array) -> Array:
    """The positive root k of k = fixed + share / (1 + weight ratio G / (1 + k c G)): R = (a I + k C_hat)^{-1}."""
    reach = weight * ratio * trace
    square = c * trace
    linear = 1 + reach - (fixed + share) * square
    constant = fixed * (1 + reach) + share
    root = np.sqrt(linear**2 + 4 * square * constant)
    positive = linear > 0
    return np.where(
        positive,
        2 * constant / np.where(positive, linear + root, 1.0),
        (root - linear) / np.where(positive, 1.0, 2 * square),
    )


def _log_excess(log_trace: Array, gamma: Array, direct: Array, *load: Array) -> Array:
    """log of gamma G + direct G / (1 + ratio G) + k G / (1 + k c G), which is 0 at the solution and increases in G."""
    trace = np.exp(log_trace)
    _, _, c, ratio, _ = load
    k = _load(trace, *load)
    return np.log(gamma * trace + direct * trace / (1 + ratio * trace) + k * trace / (1 + k * c * trace))


def predict_isotropic(
    *,
    p: Any,
    n: Any,
    m: Any,
    mu: Any,
    gamma: Any,
    epsilon: Any = 0.0,
    phi: Any = 1.0,
    rho: Any = 1.0,
    n_hat: Any = np.inf,
    generator: Any = "known_mean",
    weight: Any = 1.0,
) -> Prediction:
    r"""Limit of the ridge classifier on n real and m synthetic samples, C = I (estimated-generator theorem).

    The master theorem of `rmt_lib.predict` with the Marchenko-Pastur resolvent in place of the generator's covariance:
    :math:`R = (a I + k \hat C)^{-1}` has :math:`G = \frac1p \operatorname{tr} R` with
    :math:`G (a + k / (1 + k c G)) = 1`, :math:`c = p / \hat n`, and with :math:`\eta = p / N`

    .. math:: \delta_1 = \eta G, \qquad \delta_2 = \tfrac1N \operatorname{tr} \hat C R = \eta G / (1 + k c G).

    All arguments broadcast against each other; see `rmt_lib.model.Isotropic` for the three generators.

    Parameters
    ----------
    p, n, m : array_like
        Dimension >= 1, real and synthetic samples drawn >= 0 (not both 0; any real numbers).
    mu : array_like
        Length of the real mean, >= 0.
    gamma, weight : array_like
        Ridge penalty and weight of the synthetic samples, both > 0.
    epsilon, phi, rho : array_like
        Label noise and the verifier's keep rates for right and wrong labels, in [0, 1].
    n_hat : array_like
        Samples the generator is fitted to, >= 1 or infinite; with ``reused`` it is n and must not be given.
    generator : str or array of str
        ``known_mean``, ``held_out`` or ``reused``.

    Returns
    -------
    Prediction
        Arrays of the broadcast shape; `deltas` has a trailing axis: real, synthetic. With ``reused`` the first is
        (1/N) tr R.

    Raises
    ------
    ValueError, TypeError
        Bad input.
    ConvergenceError
        The root was not found.

    Notes
    -----
    For a given G, k solves a quadratic with one positive root, and :math:`k G` increases with G. So
    :math:`\gamma G + g G/(1 + \eta G) + k G / (1 + k c G)` increases from 0 to infinity in G and equals 1 exactly once,
    between 1 / (gamma + share of all sources) and 1 / gamma: the solution exists, is unique, and is bracketed.
    """
    s = Isotropic(p, n, m, mu, gamma, epsilon, phi, rho, n_hat, generator, weight)
    reused = s.reused
    total = s.n + s.m
    ratio = s.p / total
    pi_real, pi_synthetic = s.n / total, s.m / total
    c = s.p / np.where(reused, np.maximum(s.n, 1), s.n_hat)
    kept_right, kept_wrong = s.phi * (1 - s.epsilon), s.rho * s.epsilon
    alpha, lam = kept_right + kept_wrong, kept_right - kept_wrong

    # A reused real sample enters through C_hat, any other through the identity.
    fixed, direct = np.where(reused, pi_real, 0.0), np.where(reused, 0.0, pi_real)
    load = (fixed, alpha * pi_synthetic * s.weight, c, ratio, s.weight)
    widen = 1e-6  # the bracket shrinks to a point where gamma dominates
    lower = -np.log(s.gamma + pi_real + load[1]) - widen
    upper = -np.log(s.gamma) + widen
    found = find_root(
        _log_excess, (lower, upper), args=(s.gamma, direct, *load), tolerances={"xatol": 1e-15, "xrtol": 1e-15}
    )
    residual = np.abs(found.f_x)
    if not (residual <= RESIDUAL_TOLERANCE).all():
        raise ConvergenceError(int(np.max(found.nit)), float(np.max(residual)))

    trace = np.exp(found.x)
    k = _load(trace, *load)
    delta_real = ratio * trace
    delta_synthetic = ratio * trace / (1 + k * c * trace)
    g_real = direct / (1 + delta_real)
    g_synthetic = pi_synthetic * s.weight / (1 + s.weight * delta_synthetic)
    a = s.gamma + g_real
    products = marchenko_pastur.product_traces(a, k, c, trace)

    # w_bar = R (along mu-direction part * mu + error part * (mu_hat - mu)), |mu_hat - mu|^2 = p / n_hat.
    error = np.where(s.generator == "known_mean", 0.0, c)
    signal = s.mu**2 * trace
    noise = error * trace
    load_real, load_hat, pull_hat = g_real, alpha * g_synthetic + fixed, lam * g_synthetic + fixed
    shrink = (1 + load_real * signal) * (1 + load_hat * noise) + load_hat * signal
    along_mu = (g_real * (1 + load_hat * noise) + pull_hat) / shrink
    along_error = (pull_hat * (1 + load_real * signal) - load_hat * signal * g_real) / shrink
    mean = along_mu * signal
    mean_hat = mean + along_error * noise
    length = along_mu**2 * s.mu**2 + along_error**2 * error
    spread, spread_hat = length * products.r_r, length * products.r_cr

    residual_real = (1 - mean) ** 2 + spread
    residual_synthetic = kept_right * (1 - mean_hat) ** 2 + kept_wrong * (1 + mean_hat) ** 2 + alpha * spread_hat
    b_real = direct / (1 + delta_real) ** 2
    b_synthetic = pi_synthetic * s.weight**2 / (1 + s.weight * delta_synthetic) ** 2
    t_real, t_synthetic = _amplification(
        s, ratio, fixed, b_real, alpha * b_synthetic, delta_real, delta_synthetic, products
    )
    variance = spread + b_real * t_real * residual_real + b_synthetic * t_synthetic * residual_synthetic
    deltas = np.stack([delta_real, delta_synthetic], axis=-1)
    return Prediction(mean, variance, deltas, found.nit, residual)


def _amplification(
    s: Isotropic,
    ratio: Array,
    fixed: Array,
    b_real: Array,
    b_synthetic: Array,
    delta_real: Array,
    delta_synthetic: Array,
    products: marchenko_pastur.Traces,
) -> tuple[Array, Array]:
    """t = (I - B)^{-1} t0 for two sources, by elimination without subtraction as in `resolvent.solve_m_matrix`."""
    r_r, r_cr, cr_cr = (ratio * product for product in products)
    to_synthetic = b_synthetic * r_cr * delta_synthetic / delta_real
    to_real = b_real * r_cr * delta_real / delta_synthetic
    slack_real = ((s.gamma + b_real) * r_r + b_synthetic / s.weight * r_cr) / delta_real
    slack_synthetic = ((s.gamma + b_real) * r_cr + (fixed + b_synthetic / s.weight) * cr_cr) / delta_synthetic
    pivot = slack_synthetic + to_real
    share = to_synthetic / pivot
    scaled_real = (r_r / delta_real + share * r_cr / delta_synthetic) / (slack_real + share * slack_synthetic)
    scaled_synthetic = (r_cr / delta_synthetic + to_real * scaled_real) / pivot
    return delta_real * scaled_real, delta_synthetic * scaled_synthetic
