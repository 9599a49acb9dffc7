"""The master theorem: K sources, any covariances, any coin-flip verifier, label noise and weights."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rmt_lib import checks
from rmt_lib.model import Mixture, Source, check_sources
from rmt_lib.resolvent import System, frame, solve
from rmt_lib.results import Prediction


def predict(target: Mixture, sources: Sequence[Source], *, gamma: float) -> Prediction:
    r"""Limit of mean, variance, accuracy and risk of the ridge classifier trained on `sources` (master theorem).

    The classifier is :math:`w = \arg\min \frac1N \sum_i \omega_i q_i (s_i - u_i' w)^2 + \gamma |w|^2`, N the number of
    samples *drawn*. With :math:`\pi_k = n_k / N`, :math:`\alpha_k = E q`, :math:`\lambda_k = E q s` and

    .. math::

        R = \Big(\gamma I + \sum_k \frac{\pi_k \omega_k \alpha_k}{1 + \omega_k \delta_k} C_k\Big)^{-1}, \quad
        \delta_k = \tfrac1N \operatorname{tr} C_k R, \quad g_k = \frac{\pi_k \omega_k}{1 + \omega_k \delta_k},

        \bar w = \Big(R^{-1} + \sum_k g_k \alpha_k \mu_k \mu_k'\Big)^{-1} \sum_k g_k \lambda_k \mu_k, \quad
        \bar m = \mu' \bar w, \quad \bar v = \bar w' C \bar w + \sum_k b_k t_k r_k,

    where :math:`b_k = \pi_k \omega_k^2 / (1 + \omega_k \delta_k)^2`, :math:`t = (I - B)^{-1} t^0`,
    :math:`t^0_k = \frac1N \operatorname{tr} C_k R C R`, :math:`B_{kj} = b_j \alpha_j \frac1N \operatorname{tr} C_k R
    C_j R`, and :math:`r_k = E[q (s - u' \bar w)^2]` is source k's squared training residual under the mean classifier.

    Parameters
    ----------
    target : Mixture
        Population (mu, C) of the fresh samples to classify.
    sources : sequence of Source
        Training data, at least one sample drawn in all.
    gamma : float
        Ridge penalty, > 0.

    Returns
    -------
    Prediction
        Floats, and `deltas` of shape (K,). Nothing kept at all gives w = 0: mean = variance = 0, accuracy 1/2.

    Raises
    ------
    ValueError, TypeError
        Bad input.
    ConvergenceError
        The fixed point was not reached; see `rmt_lib.resolvent.solve` for why it exists and is unique.

    Notes
    -----
    Cost: O(p) a step where all covariances are multiples of the identity, diagonal, or a single full matrix beside
    multiples of the identity; O(p^3) a step otherwise.
    """
    sources = check_sources(target, sources)
    gamma = checks.number("gamma", gamma, low=0, open_low=True)
    n, weight, right, wrong = np.array([(s.n, s.weight, s.kept_right, s.kept_wrong) for s in sources]).T
    alpha, lam = right + wrong, right - wrong
    total = n.sum()
    pi = n / total

    mixtures = [target, *(source.mixture for source in sources)]
    coordinates, index = frame(mixtures)
    solution = solve(System(coordinates, index[1:], pi * weight * alpha, weight, gamma, total, target.p))
    delta = solution.delta[index[1:]]
    g = pi * weight / (1 + weight * delta)

    distinct = {id(mixture): mixture for mixture in mixtures}
    rotated = {key: coordinates.rotate(mixture.mean) for key, mixture in distinct.items()}
    means = np.column_stack([rotated[id(mixture)] for mixture in mixtures])
    factor = solution.resolvent.factor
    # Triangular coordinates of R^{1/2} mu_k: parallel means and a huge R do no harm.
    orthonormal, triangle = np.linalg.qr(coordinates.half(factor, means[:, 1:]))
    inner = np.eye(triangle.shape[0]) + (triangle * (g * alpha)) @ triangle.T
    mean_classifier = coordinates.half_transpose(
        factor, orthonormal @ np.linalg.solve(inner, triangle @ (g * lam))[:, None]
    )[:, 0]

    score = means.T @ mean_classifier
    spread = coordinates.quadratic(mean_classifier)
    residual = right * (1 - score[1:]) ** 2 + wrong * (1 + score[1:]) ** 2 + alpha * spread[index[1:]]
    b = pi * weight**2 / (1 + weight * delta) ** 2
    amplification = solution.amplify(solution.resolvent.second[:, index[0]] / total)[index[1:]]
    variance = spread[index[0]] + float(np.sum(b * amplification * residual))
    return Prediction(float(score[0]), float(variance), delta, solution.iterations, solution.residual)
