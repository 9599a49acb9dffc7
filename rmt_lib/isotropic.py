"""The paper's setting with C = I in closed form, for many settings at once."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from rmt_lib import marchenko_pastur
from rmt_lib.checks import SMALLEST, Array
from rmt_lib.fitted import mean_classifier
from rmt_lib.model import Setting
from rmt_lib.results import ConvergenceError, Prediction

MAX_ITERATIONS = 200
FREE_STEPS = 3  # taken by all settings: few converge earlier, and sorting them out costs more
STEP_TOLERANCE = 1e-14
RESIDUAL_TOLERANCE = 1e-9
BLOCK = 8192  # settings worked on at a time: their arrays stay in the processor's cache


class Equation(NamedTuple):
    r"""The fixed point of the isotropic setting as one equation for :math:`G = \frac1p \operatorname{tr} R`.

    :math:`R = (a I + k \hat C)^{-1}` has :math:`a = \gamma + \text{direct} / (1 + \text{ratio}\, G)`, the penalty and
    the real samples, and :math:`k = \text{fixed} + \text{share} / (1 + \text{reach}\, H)`, all that enters through the
    fitted covariance, where :math:`H = \frac1p \operatorname{tr} \hat C R = G / (1 + k c G)`. As :math:`a G + k H = 1`,

    .. math:: \gamma G + \frac{\text{direct}\; G}{1 + \text{ratio}\, G} + \text{fixed}\; H
        + \frac{\text{share}\; H}{1 + \text{reach}\, H} = 1, \qquad H = G (1 - c\, k H) .
    """

    gamma: Array
    direct: Array
    """Share, of all samples, of the real ones that enter by themselves."""
    fixed: Array
    """Share of the real samples that enter through the covariance fitted to them (generator ``reused``)."""
    share: Array
    """alpha pi_2 omega: the synthetic samples that are kept, with their weight."""
    c: Array
    """p over the samples that the generator is fitted to."""
    ratio: Array
    """p / N, so that delta_1 = ratio G: the leverage of a real sample on its own score."""
    reach: Array
    """omega p / N, so that omega delta_2 = reach H: the leverage of a synthetic sample."""

    def evaluate(self, trace: Array) -> tuple[Array, Array, Array]:
        """H, the left side minus the right side, and its derivative in G."""
        # H is the positive root of a quadratic, in the form in which nothing cancels for either sign of `linear`.
        square = self.reach * (1 + self.c * self.fixed * trace)
        linear = 1 + (self.c * (self.fixed + self.share) - self.reach) * trace
        total = np.abs(linear) + np.sqrt(linear**2 + 4 * square * trace)
        hat = np.where(linear > 0, 2 * trace / total, total / (2 * square))
        shrink, shrink_real = 1 / (1 + self.reach * hat), 1 / (1 + self.ratio * trace)
        pull, pull_real = self.share * shrink, self.direct * shrink_real
        excess = (self.gamma + pull_real) * trace + (self.fixed + pull) * hat - 1
        slope = self.fixed + pull * shrink
        return hat, excess, self.gamma + pull_real * shrink_real + slope * hat / (trace * (1 + self.c * trace * slope))

    def solve(self) -> tuple[Array, Array, Array, Array]:
        """G, H, iterations and residual by Newton's method from the lower end, where it increases to the solution."""
        shape = np.broadcast_shapes(*(value.shape for value in self))
        trace, hat, residual = np.full((3, *shape), np.inf)
        iterations = np.full(shape, MAX_ITERATIONS)
        equation, active = self, np.arange(trace.size)
        here = np.broadcast_to(1 / (self.gamma + self.direct + self.fixed + self.share), shape)
        for _ in range(FREE_STEPS):
            _, excess, slope = self.evaluate(here)
            here = here - excess / slope
        for iteration in range(FREE_STEPS + 1, MAX_ITERATIONS + 1):
            hat_here, excess, slope = equation.evaluate(here)
            step = -excess / slope
            moving = step > STEP_TOLERANCE * here
            still = ~moving
            done = active[still]
            trace[done], hat[done], residual[done] = here[still], hat_here[still], np.abs(excess[still])
            iterations[done] = iteration
            if still.all():
                break
            here = here + step
            if still.any():
                active, here = active[moving], here[moving]
                equation = Equation(*(value if value.size == 1 else value[moving] for value in equation))
        return trace, hat, iterations, residual


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

    All arguments broadcast against each other; see `rmt_lib.model.Setting` for the three generators.

    Parameters
    ----------
    p, n, m : array_like
        Dimension >= 1, real and synthetic samples drawn >= 0 (not both 0; any real numbers).
    mu : array_like
        Length of the real mean, >= 0.
    gamma, weight : array_like
        Ridge penalty > 0, and weight >= 0 of the synthetic samples.
    epsilon, phi, rho : array_like
        Label noise and the verifier's keep rates for right and wrong labels, in [0, 1].
    n_hat : array_like
        Samples the generator is fitted to, >= 1 or infinite; with ``reused`` at most n, or infinite for all n.
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
    With :math:`H = \frac1p \operatorname{tr} \hat C R` the left side of
    :math:`\gamma G + \pi_1 G / (1 + \eta G) + k H = 1` increases from 0 to infinity with G: the solution exists and is
    unique. It is also concave in G (:math:`1/G` is a convex function of :math:`x = 1/H`, and :math:`k H` is a sum of
    multiples of :math:`1/x` and :math:`1/(x + \omega \eta)`), so Newton steps from the left increase to the solution.

    Examples
    --------
    >>> from rmt_lib import predict_isotropic
    >>> prediction = predict_isotropic(p=100, n=200, m=[0, 500], mu=1.5, gamma=0.1, epsilon=0.2, rho=0.1, n_hat=400)
    >>> prediction.accuracy.round(4).tolist()
    [0.8606, 0.9017]
    """
    s = Setting(
        p=p, n=n, m=m, mu=mu, gamma=gamma, epsilon=epsilon, phi=phi, rho=rho, n_hat=n_hat, generator=generator,
        weight=weight,
    )  # fmt: skip
    size = math.prod(s.shape)
    blocks = [_predict(s.block(slice(i, i + BLOCK))) for i in range(0, max(size, 1), BLOCK)]
    mean, variance, deltas, iterations, residual = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    if not (residual <= RESIDUAL_TOLERANCE).all():
        raise ConvergenceError(int(iterations.max()), float(residual.max()))
    mean, variance, iterations, residual = (
        values.reshape(s.shape)[()] for values in (mean, variance, iterations, residual)
    )
    return Prediction(mean, variance, deltas.reshape(*s.shape, 2), iterations, residual)


def _predict(s: Setting) -> tuple[Array, Array, Array, Array, Array]:
    """Mean, variance, deltas, iterations and residual of a one-dimensional block of settings."""
    reused = s.reused
    total = s.n + s.m
    ratio = s.p / total
    pi_real, pi_synthetic = s.n / total, s.m / total
    c = s.p / s.fitted
    alpha = s.alpha

    # A reused real sample enters through C_hat, any other through the identity.
    fixed = np.where(reused, s.fitted / total, 0.0)
    direct = np.where(reused, (s.n - s.fitted) / total, pi_real)
    share = alpha * pi_synthetic * s.weight
    reach = np.maximum(s.weight * ratio, SMALLEST)  # a weight of 0 is a limit
    trace, hat_trace, iterations, residual = Equation(s.gamma, direct, fixed, share, c, ratio, reach).solve()
    delta_real, delta_synthetic = ratio * trace, ratio * hat_trace
    g_real = direct / (1 + delta_real)
    g_synthetic = pi_synthetic * s.weight / (1 + s.weight * delta_synthetic)
    a, k = s.gamma + g_real, alpha * g_synthetic + fixed
    products = marchenko_pastur.product_traces(a, k, c, trace)

    # |mu_hat - mu|^2 = p / n_hat.
    error = np.where(s.generator == "known_mean", 0.0, c)
    fit = mean_classifier(g_real, s.lam * g_synthetic + fixed, k, s.mu**2 * trace, error * trace)
    length = fit.along_mean**2 * s.mu**2 + fit.along_error**2 * error
    spread, spread_hat = length * products.r_r, length * products.r_cr

    residual_real = (1 - fit.mean) ** 2 + spread
    residual_synthetic = s.missed(fit.mean_generated) + alpha * spread_hat
    b_real = direct / (1 + delta_real) ** 2
    c_synthetic = pi_synthetic * s.weight / (1 + s.weight * delta_synthetic) ** 2
    b_synthetic = c_synthetic * s.weight
    t_real, t_synthetic = _amplification(
        s, ratio, fixed, b_real, alpha * c_synthetic, delta_real, delta_synthetic, products
    )
    variance = spread + b_real * t_real * residual_real + b_synthetic * t_synthetic * residual_synthetic
    deltas = np.stack(np.broadcast_arrays(delta_real, delta_synthetic), axis=-1)
    return fit.mean, variance, deltas, iterations, residual


def _amplification(
    s: Setting,
    ratio: Array,
    fixed: Array,
    b_real: Array,
    c_synthetic: Array,
    delta_real: Array,
    delta_synthetic: Array,
    products: marchenko_pastur.Traces,
) -> tuple[Array, Array]:
    """t = (I - B)^{-1} t0 for two sources, by elimination without subtraction as in `resolvent.solve_m_matrix`.

    `c_synthetic` is alpha b_2 / omega, so that nothing is divided by a weight of 0.
    """
    r_r, r_cr, cr_cr = (ratio * product for product in products)
    to_synthetic = s.weight * c_synthetic * r_cr * delta_synthetic / delta_real
    to_real = b_real * r_cr * delta_real / delta_synthetic
    slack_real = ((s.gamma + b_real) * r_r + (fixed + c_synthetic) * r_cr) / delta_real
    slack_synthetic = ((s.gamma + b_real) * r_cr + (fixed + c_synthetic) * cr_cr) / delta_synthetic
    pivot = slack_synthetic + to_real
    share = to_synthetic / pivot
    scaled_real = (r_r / delta_real + share * r_cr / delta_synthetic) / (slack_real + share * slack_synthetic)
    scaled_synthetic = (r_cr / delta_synthetic + to_real * scaled_real) / pivot
    return delta_real * scaled_real, delta_synthetic * scaled_synthetic
