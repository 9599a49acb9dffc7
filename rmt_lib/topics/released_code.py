r"""The formulas of the paper's released code where they differ from the master theorem, for comparison only.

Nothing else in the library uses this module. Two differences enter the limits themselves:

* *pruning*: :math:`\delta_k = \frac{\alpha_k}{N} \operatorname{tr} C_k R`, where leave-one-out gives
  :math:`\frac1N \operatorname{tr} C_k R`;
* *moment*: in the closed form for a generator of known mean, :math:`\frac1N \operatorname{tr} \hat C R R` takes the
  place of :math:`\frac1N \operatorname{tr} \hat C R \hat C R`.

A third one concerns what is reported, `folded_accuracy`. All formulas are given here in the notation of this library.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rmt_lib import checks, marchenko_pastur
from rmt_lib.checks import Array
from rmt_lib.fitted import mean_classifier
from rmt_lib.isotropic import RESIDUAL_TOLERANCE, Equation
from rmt_lib.model import Mixture, Setting, Source, check_sources
from rmt_lib.resolvent import System, frame, solve
from rmt_lib.results import ConvergenceError, Prediction, accuracy_of


def predict_pruned(target: Mixture, sources: Sequence[Source], *, gamma: float) -> Prediction:
    r"""The general formula as released: that of `rmt_lib.predict`, with pruning inside the fixed point.

    .. math::

        \delta_k = \frac{\alpha_k}{N} \operatorname{tr} C_k R, \qquad
        R = \Big(\gamma I + \sum_k \frac{\pi_k \omega_k \alpha_k}{1 + \omega_k \delta_k} C_k\Big)^{-1} ;

    these :math:`\delta_k` then stand in g_k, b_k and B of the master theorem. The released code has one real and one
    synthetic source and no weights; more sources and weights are read into it here.

    Parameters
    ----------
    target, sources, gamma
        As in `rmt_lib.predict`.

    Returns
    -------
    Prediction
        Floats, and `deltas` of shape (K,). The variance can be negative; `accuracy` then raises ValueError.

    Raises
    ------
    ValueError, TypeError
        Bad input, or I - B singular.
    ConvergenceError
        The fixed point was not reached.

    Notes
    -----
    :math:`\delta_k / \alpha_k` solves the fixed point of the master theorem for sources of which no sample is dropped
    and each weighs :math:`\omega_k \alpha_k`; so it exists, is unique, and the same solver finds it.

    Examples
    --------
    >>> from rmt_lib import Mixture, Source, predict
    >>> from rmt_lib.topics.released_code import predict_pruned
    >>> mixture = Mixture(np.eye(50)[0])
    >>> sources = [Source(mixture, 100), Source(mixture, 400, epsilon=0.2, phi=0.5, rho=0.2)]
    >>> for theory in (predict_pruned, predict):
    ...     print(f"{theory(mixture, sources, gamma=0.1).accuracy:.4f}")
    0.7886
    0.7899
    """
    sources = check_sources(target, sources)
    if any(source.directions is not None for source in sources):
        raise ValueError(
            "directions must not be given: the released formula knows no selection that looks at the sample"
        )
    gamma = checks.number("gamma", gamma, low=0, open_low=True)
    n, weight, alpha, lam = np.array([(s.n, s.weight, s.alpha, s.lam) for s in sources]).T
    inside = np.where(alpha > 0, alpha, 1.0)  # where nothing is kept, delta_k does not matter
    total = n.sum()
    pi = n / total

    mixtures = [target, *(source.mixture for source in sources)]
    coordinates, index = frame(mixtures)
    at = index[1:]
    solution = solve(System(coordinates, at, pi * weight * alpha, weight * inside, gamma, total, target.p))
    delta = inside * solution.delta[at]
    g, b = pi * weight / (1 + weight * delta), pi * weight**2 / (1 + weight * delta) ** 2

    means = np.column_stack([coordinates.rotate(mixture.mean) for mixture in mixtures])
    factor = solution.resolvent.factor
    pulled = coordinates.half_transpose(factor, coordinates.half(factor, means[:, 1:]))
    inner = np.eye(pi.size) + (g * alpha)[:, None] * (means[:, 1:].T @ pulled)
    w_bar = pulled @ np.linalg.solve(inner, g * lam)
    score, spread = means.T @ w_bar, coordinates.quadratic(w_bar[:, None])[:, 0, 0]

    residual = [s.missed(mean) for s, mean in zip(sources, score[1:], strict=True)] + alpha * spread[at]
    traces = solution.resolvent.second / total
    coupling = b * alpha * traces[np.ix_(at, at)]
    amplification = np.linalg.solve(np.eye(pi.size) - coupling, traces[at, index[0]])
    variance = spread[index[0]] + float(np.sum(b * amplification * residual))
    return Prediction(float(score[0]), float(variance), delta, solution.iterations, solution.residual)


def predict_closed_form(
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
    pruning: bool = True,
    moment: bool = True,
) -> Prediction:
    r"""The closed form for C = I and a generator of known mean as released; all arguments broadcast.

    `pruning` and `moment` switch each difference on; with both off the result is that of
    `predict_isotropic(generator="known_mean")`.

    Parameters
    ----------
    p, n, m, mu, gamma, epsilon, phi, rho, n_hat
        As in `rmt_lib.predict_isotropic`. The released closed form (rmt_results.py at commit
        ddf990c) is for `n_hat` = `n`; for other values the fixed point is kept here and only `moment` carried over.
        With `n_hat` infinite `moment` changes nothing.
    pruning : bool
        Take :math:`\delta_2 = \frac\alpha N \operatorname{tr} \hat C R`.
    moment : bool
        Take :math:`B_{22} = b_2 \alpha \frac1N \operatorname{tr} \hat C R R`.

    Returns
    -------
    Prediction
        Arrays of the broadcast shape; the variance can be negative, see `defined_accuracy`.

    Raises
    ------
    ValueError, TypeError
        Bad input, or I - B singular.
    ConvergenceError
        The root was not found.

    Examples
    --------
    >>> from rmt_lib.topics.released_code import predict_closed_form
    >>> labels = dict(epsilon=0.2, phi=0.5, rho=0.2)
    >>> for on in (True, False):
    ...     result = predict_closed_form(
    ...         p=100, n=100, m=400, mu=1.0, gamma=[0.01, 1.0], n_hat=100, pruning=on, moment=on, **labels
    ...     )
    ...     print(result.variance.round(3).tolist())
    [0.825, 0.08]
    [0.785, 0.077]
    """
    setting = Setting(p=p, n=n, m=m, mu=mu, gamma=gamma, epsilon=epsilon, phi=phi, rho=rho, n_hat=n_hat)
    s = setting.block(slice(None))
    total = s.n + s.m
    ratio, c = s.p / total, s.p / s.n_hat
    real, synthetic = s.n / total, s.m / total
    alpha = s.alpha
    inside = np.where(alpha > 0, alpha, 1.0) if pruning else 1.0

    equation = Equation(s.gamma, real, np.zeros(1), alpha * synthetic, c, ratio, inside * ratio)
    trace, hat_trace, iterations, residual = equation.solve()
    if not (residual <= RESIDUAL_TOLERANCE).all():
        raise ConvergenceError(int(iterations.max()), float(residual.max()))
    delta_real, delta_synthetic = ratio * trace, inside * ratio * hat_trace
    g_real, g_synthetic = real / (1 + delta_real), synthetic / (1 + delta_synthetic)
    products = marchenko_pastur.product_traces(s.gamma + g_real, alpha * g_synthetic, c, trace)
    r_r, r_cr, cr_cr = (ratio * product for product in products)

    fit = mean_classifier(g_real, s.lam * g_synthetic, alpha * g_synthetic, s.mu**2 * trace, 0.0)
    spread, spread_hat = ((fit.along_mean * s.mu) ** 2 * product for product in (products.r_r, products.r_cr))
    residual_real = (1 - fit.mean) ** 2 + spread
    residual_synthetic = s.missed(fit.mean_generated) + alpha * spread_hat

    b_real, b_synthetic = real / (1 + delta_real) ** 2, synthetic / (1 + delta_synthetic) ** 2
    own_real, own_synthetic = 1 - b_real * r_r, 1 - b_synthetic * alpha * (r_cr if moment else cr_cr)
    to_synthetic, to_real = b_synthetic * alpha * r_cr, b_real * r_cr
    with np.errstate(divide="ignore", invalid="ignore"):  # a singular I - B is refused by Prediction
        determinant = own_real * own_synthetic - to_synthetic * to_real
        t_real = (own_synthetic * r_r + to_synthetic * r_cr) / determinant
        t_synthetic = (to_real * r_r + own_real * r_cr) / determinant
        variance = spread + b_real * t_real * residual_real + b_synthetic * t_synthetic * residual_synthetic
    deltas = np.stack(np.broadcast_arrays(delta_real, delta_synthetic), axis=-1).reshape(*setting.shape, 2)
    mean, variance, iterations, residual = (
        np.broadcast_to(value, s.p.shape).reshape(setting.shape)[()]
        for value in (fit.mean, variance, iterations, residual)
    )
    return Prediction(mean, variance, deltas, iterations, residual)


def critical_gamma(*, alpha: Any, ratio: Any) -> Array:
    r"""Penalty below which the released variance is negative: synthetic data only, C_s = C = I.

    .. math:: \gamma_*(\alpha, \eta) = \sqrt\alpha \, (\sqrt\eta - \sqrt\alpha) (1 - \sqrt{\alpha \eta}),
        \qquad \eta = p / m .

    It is positive for :math:`\alpha < \eta < 1 / \alpha` only (elsewhere the variance is positive at any penalty) and
    at most :math:`(1 - \alpha)^2 / 4`.

    Parameters
    ----------
    alpha : array_like
        Share of samples kept, in (0, 1].
    ratio : array_like
        eta > 0; both broadcast.

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
    >>> from rmt_lib.topics.released_code import critical_gamma
    >>> critical_gamma(alpha=0.25, ratio=[1.0, 2.0, 5.0]).round(3).tolist()
    [0.125, 0.134, -0.102]
    """
    a = np.sqrt(checks.array("alpha", alpha, low=0, high=1, open_low=True))
    x = np.sqrt(checks.array("ratio", ratio, low=0, open_low=True))
    return (a * (x - a) * (1 - a * x))[()]


def defined_accuracy(prediction: Prediction) -> np.ma.MaskedArray:
    r"""Accuracy :math:`\Phi(m / \sqrt v)`, masked where the variance is negative; `mask.sum()` counts those.

    Parameters
    ----------
    prediction : Prediction
        Of any shape, as from `predict_closed_form`.

    Returns
    -------
    masked array
        Of the shape of the prediction.

    Examples
    --------
    >>> from rmt_lib.topics.released_code import defined_accuracy, predict_closed_form
    >>> released = predict_closed_form(p=100, n=0, m=100, mu=1.0, gamma=[0.05, 0.5], epsilon=0.7, phi=0.25, rho=0.25)
    >>> print(released.variance.round(2).tolist(), defined_accuracy(released).round(3).tolist())
    [-2.33, 0.39] [None, 0.446]
    """
    undefined = np.asarray(prediction.variance) < 0
    return np.ma.array(accuracy_of(prediction.mean, np.where(undefined, 1.0, prediction.variance)), mask=undefined)


def folded_accuracy(prediction: Prediction) -> np.ma.MaskedArray:
    """max(a, 1 - a) of the `defined_accuracy` a, as the released code reports it.

    Parameters
    ----------
    prediction : Prediction
        Of any shape, as from `predict_closed_form`.

    Returns
    -------
    masked array
        Of the shape of the prediction, masked where the variance is negative.

    Examples
    --------
    >>> from rmt_lib.topics.released_code import folded_accuracy, predict_closed_form
    >>> released = predict_closed_form(p=100, n=0, m=100, mu=1.0, gamma=[0.05, 0.5], epsilon=0.7, phi=0.25, rho=0.25)
    >>> folded_accuracy(released).round(3).tolist()
    [None, 0.554]
    """
    accuracy = defined_accuracy(prediction)
    return np.ma.maximum(accuracy, 1 - accuracy)
