"""The master theorem: K sources, any covariances, any verifier and label noise, weights, several outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from rmt_lib import checks
from rmt_lib.checks import Array
from rmt_lib.model import Mixture, Moments, Source, check_sources
from rmt_lib.resolvent import System, frame, solve
from rmt_lib.results import Prediction


def predict(target: Mixture, sources: Sequence[Source], *, gamma: float) -> Prediction:
    r"""Limit of mean, variance, accuracy and risk of the ridge classifier trained on `sources` (master theorem).

    The classifier is :math:`w = \arg\min \frac1N \sum_i \omega_i q_i (s_i - u_i' w)^2 + \gamma |w|^2`, N the number of
    samples *drawn*. With :math:`\pi_k = n_k / N`, :math:`\alpha_k = E q`, :math:`\lambda_k = E q s` and

    .. math::

        R = \Big(\gamma I + \sum_k \frac{\pi_k \omega_k \alpha_k}{1 + \omega_k \delta_k} C_k\Big)^{-1}, \quad
        \delta_k = \tfrac1N \operatorname{tr} C_k R, \quad g_k = \frac{\pi_k \omega_k}{1 + \omega_k \delta_k},

        \bar w = \Big(\gamma I + \sum_k g_k S_k\Big)^{-1} \sum_k g_k h_k, \quad
        \bar m = \mu' \bar w, \quad \bar v = \bar w' C \bar w + \sum_k b_k t_k r_k,

    where :math:`b_k = \pi_k \omega_k^2 / (1 + \omega_k \delta_k)^2`, :math:`t = (I - B)^{-1} t^0`,
    :math:`t^0_k = \frac1N \operatorname{tr} C_k R C R`, :math:`B_{kj} = b_j \alpha_j \frac1N \operatorname{tr} C_k R
    C_j R`, and :math:`r_k = E[q (s - u' \bar w)^2]` is source k's squared training residual under the mean classifier.
    Where verifier and label noise are coins, :math:`h_k = E[q s u] = \lambda_k \mu_k` and :math:`S_k = E[q u u'] =
    \alpha_k (C_k + \mu_k \mu_k')`; where they look at the sample, both are integrals (`rmt_lib.selection`).

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

    Examples
    --------
    >>> from rmt_lib import Mixture, Source, predict
    >>> real, generated = Mixture([1.5] + 49 * [0.0]), Mixture([1.2] + 49 * [0.0], 1.1)
    >>> sources = [Source(real, 100), Source(generated, 400, epsilon=0.2, rho=0.1)]
    >>> prediction = predict(real, sources, gamma=0.1)
    >>> print(f"{prediction.accuracy:.4f} {prediction.risk:.4f}")
    0.9120 0.3532
    """
    sources = check_sources(target, sources)
    gamma = checks.number("gamma", gamma, low=0, open_low=True)
    law = score_law([target], training_sets(sources), gamma=gamma)
    return Prediction(float(law.mean[0, 0]), float(law.covariance[0, 0, 0]), law.deltas, law.iterations, law.residual)


class TrainingSet(NamedTuple):
    """A source as the theorem sees it."""

    mixture: Mixture
    n: float
    weight: float
    moments: Moments


def training_sets(sources: Sequence[Source]) -> list[TrainingSet]:
    """`sources`, checked, as the theorem sees them."""
    return [TrainingSet(source.mixture, source.n, source.weight, source.moments) for source in sources]


class ScoreLaw(NamedTuple):
    """Limits of the scores W'u of fresh samples, one row for each target, W (p, outputs)."""

    mean: Array
    """(targets, outputs)."""
    covariance: Array
    """(targets, outputs, outputs)."""
    deltas: Array
    """(sources,)."""
    iterations: int
    residual: float


def score_law(targets: Sequence[Mixture], sources: Sequence[TrainingSet], *, gamma: float) -> ScoreLaw:
    r"""The master theorem for ridge classifiers with several outputs, each trained on its own labels (see `predict`).

    All outputs share the resolvent and the deltas. The covariance of outputs i and j of a fresh sample of target c is
    :math:`\bar w_i' C_c \bar w_j + \sum_k b_k t_{kc} E[q (s_i - u' \bar w_i)(s_j - u' \bar w_j)]`: the variance of
    the classifier :math:`w_i + w_j`, polarised. Arguments are taken as checked.
    """
    n, weight, alpha = np.array([(s.n, s.weight, s.moments.alpha) for s in sources]).T
    total = n.sum()
    pi = n / total
    mixtures = [*targets, *(source.mixture for source in sources)]
    coordinates, index = frame(mixtures)
    at_target, at_source = index[: len(targets)], index[len(targets) :]
    solution = solve(System(coordinates, at_source, pi * weight * alpha, weight, gamma, total, targets[0].p))
    delta = solution.delta[at_source]
    g = pi * weight / (1 + weight * delta)

    moments = [source.moments for source in sources]
    columns = coordinates.rotate(np.column_stack([part.columns for part in moments]).T).T
    factor = solution.resolvent.factor
    # Triangular coordinates of R^{1/2} D: parallel columns and a huge R do no harm.
    orthonormal, triangle = np.linalg.qr(coordinates.half(factor, columns))
    ends = np.cumsum([part.columns.shape[1] for part in moments])[:-1]
    parts = list(zip(g, moments, np.split(triangle, ends, axis=1), strict=True))
    inner = np.eye(len(triangle)) + sum(share * (t @ part.surplus @ t.T) for share, part, t in parts)
    pull = sum(share * (t @ part.pull) for share, part, t in parts)
    classifier = coordinates.half_transpose(factor, orthonormal @ np.linalg.solve(inner, pull))

    spread = coordinates.quadratic(classifier)
    scores = np.split(columns.T @ classifier, ends)
    b = pi * weight**2 / (1 + weight * delta) ** 2
    residual = np.array(
        [part.residual(score, spread[j]) for part, score, j in zip(moments, scores, at_source, strict=True)]
    )
    means = coordinates.rotate(np.array([target.mean for target in targets])) @ classifier
    noise = {
        j: np.tensordot(b * solution.amplify(solution.resolvent.second[:, j] / total)[at_source], residual, 1)
        for j in set(at_target.tolist())
    }
    covariance = np.array([spread[j] + noise[j] for j in at_target.tolist()])
    return ScoreLaw(means, covariance, delta, solution.iterations, solution.residual)
