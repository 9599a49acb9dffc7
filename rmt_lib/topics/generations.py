"""Generators fitted to the output of generators: drift, spectrum, accuracy (ours), and draws of the recursion.

Generator 1 is fitted to n_hat real samples, generator j + 1 to samples that depend on the regime:

* ``replace``: n_hat samples of generator j;
* ``fresh``: n_hat samples, a given share of them real and the others from generator j;
* ``accumulate``: n_hat samples of generator j, together with all that generator j was fitted to.

A generator has the mean and the covariance of the samples it is fitted to (divided by their number). Real samples have
right labels; `balance` is the mean sign of the generated ones, (right - wrong) / kept, and n_hat counts those kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq

from rmt_lib import checks
from rmt_lib.checks import Array
from rmt_lib.model import Mixture, Setting, apply
from rmt_lib.results import ConvergenceError, Prediction
from rmt_lib.simulation import bartlett

REGIMES = ("replace", "fresh", "accumulate")
BISECTIONS = 60
MAX_ITERATIONS = 100
TOLERANCE = 1e-12  # of a Newton step, relative
STEP = 1e-30  # of an imaginary step, see `_System.slopes`


class _Round(NamedTuple):
    """What generator j is fitted to, in shares of all its samples."""

    old: float
    """Samples that generator j - 1 was fitted to."""
    new: float
    """Samples of generator j - 1."""
    real: float
    """Fresh real samples."""
    per_sample: float
    """Share of a single sample."""
    balance: float
    """Mean sign of the new samples."""


def _rounds(generations: Any, n_hat: Any, regime: Any, share: Any, balance: Any) -> list[_Round]:
    last = checks.count("generations", generations, low=1)
    n_hat = checks.array("n_hat", n_hat, low=1, infinite=True)
    if n_hat.shape not in ((), (last,)) or (n_hat.ndim and regime == "accumulate"):
        allowed = "a number" + ("" if regime == "accumulate" else f" or a sequence of {last}, one for each generation")
        raise ValueError(f"n_hat must be {allowed}, got shape {n_hat.shape}")
    if regime not in REGIMES:
        raise ValueError(f"regime must be one of {', '.join(REGIMES)}, got {checks.shown(regime)}")
    share = checks.number("share", share, low=0, high=1)
    if share and regime != "fresh":
        raise ValueError(f"share must be 0 in the regime {regime!r}, got {share:g}")
    balance = checks.number("balance", balance, low=-1, high=1)
    first, *others = np.broadcast_to(n_hat, last).tolist()
    rounds = [_Round(0.0, 1.0, 0.0, 1 / first, 1.0)]
    for j, fitted_to in enumerate(others, start=2):
        old = (j - 1) / j if regime == "accumulate" else 0.0
        per_sample = 1 / (j * fitted_to) if regime == "accumulate" else 1 / fitted_to
        rounds.append(_Round(old, 1 - old - share, share, per_sample, balance))
    return rounds


class Expected(NamedTuple):
    r"""Exact expectations for generators 1, ..., T.

    Attributes
    ----------
    alignment : (T,) array
        a with :math:`E \mu_j = a \mu`.
    square : (T,) array
        :math:`E |\mu_j|^2`.
    drift : (T,) array
        :math:`E |\mu_j - \mu|^2`.
    spread : (T,) array
        :math:`E \operatorname{tr} C_j`.
    """

    alignment: Array
    square: Array
    drift: Array
    spread: Array


def expected_moments(
    trace: float,
    signal: float,
    generations: int,
    *,
    n_hat: float,
    regime: str = "replace",
    share: float = 0.0,
    balance: float = 1.0,
) -> Expected:
    r"""Mean and spread of the generators of a recursion, in expectation; exact for every n_hat and dimension.

    Not only for Gaussians: any generator will do that has the mean and the covariance of what it is fitted to, such as
    token frequencies. :math:`E \operatorname{tr} C_j + E |\mu_j|^2` is the same in all generations and regimes.

    Parameters
    ----------
    trace, signal : float
        :math:`\operatorname{tr} C` and :math:`|\mu|^2` of the population, >= 0.
    generations : int
        The last generation T >= 1.
    n_hat : float
        Samples a round, >= 1.
    regime, share, balance
        See the module. `share` in [0, 1], 0 unless the regime is ``fresh``; `balance` in [-1, 1].

    Returns
    -------
    Expected
        Four arrays of shape (T,).

    Raises
    ------
    ValueError, TypeError
        Bad input.

    Examples
    --------
    >>> from rmt_lib.topics.generations import expected_moments
    >>> for regime in ("replace", "accumulate"):
    ...     print(expected_moments(10.0, 1.0, 3, n_hat=50, regime=regime).spread.round(3).tolist())
    [9.8, 9.604, 9.412]
    [9.8, 9.751, 9.729]
    """
    trace, signal = checks.number("trace", trace, low=0), checks.number("signal", signal, low=0)
    rows, alignment, square, missing, spread = [], 1.0, signal, 0.0, trace
    for r in _rounds(generations, checks.number("n_hat", n_hat, low=1), regime, share, balance):
        pull, turned = r.old + r.new * r.balance, r.new * (1 - r.balance)
        noise = r.per_sample * (r.new * (trace + signal - r.balance**2 * square) + r.real * trace)
        square = pull**2 * square + (2 * pull * alignment + r.real) * r.real * signal + noise
        # trace + signal - square, and 1 - alignment, as sums of what each round adds: nothing cancels.
        both = turned * (1 + pull - r.per_sample * (1 + r.balance))
        spread = (
            (pull**2 - r.per_sample * r.new * r.balance**2) * spread
            + (r.real * (1 + pull - r.per_sample) + both) * trace
            + (r.real * (2 * pull * missing + turned) + both) * signal
        )
        alignment, missing = pull * alignment + r.real, turned + pull * missing
        rows.append((alignment, square, square + (1 - 2 * alignment) * signal, spread))
    return Expected(*np.array(rows).T)


def predict_generations(
    target: Mixture,
    generations: int,
    *,
    n: float,
    m: float,
    gamma: float,
    n_hat: float | Sequence[float],
    regime: str = "replace",
    share: float = 0.0,
    balance: float = 1.0,
    generator: str = "held_out",
    epsilon: float = 0.0,
    phi: float = 1.0,
    rho: float = 1.0,
    weight: float = 1.0,
) -> Prediction:
    r"""Limit of the ridge classifier on n real samples and m of generator T, any covariance and regime.

    With N = n + m, :math:`k_T = \alpha g_2` and C_0 = C, every round passes its load on to the one before it,

    .. math::

        k_{j-1} = k_j (\text{old} + \text{new}\, x_j), \quad \delta_j = (\text{old} + \text{new}\, x_j)
        \delta_{j-1} + \text{real}\, y_j \delta_0, \quad x_j = \frac1{1 + N \tau_j k_j \delta_{j-1}}, \quad
        y_j = \frac1{1 + N \tau_j k_j \delta_0},

    where old, new, real are shares of what generator j is fitted to and tau that of a single sample;
    :math:`g = g_1 + k_0 + \sum_j k_j \text{real}\, y_j` is the weight of C in R, and :math:`\delta_j = \frac1N
    \operatorname{tr} C_j R`. One generation is `rmt_lib.fitted.predict_fitted`.

    Parameters
    ----------
    target : Mixture
        The real population; its covariance is not 0.
    n, m, gamma, epsilon, phi, rho, weight
        As in `predict_fitted`: what the classifier is trained on.
    generations, regime, share, balance
        As in `expected_moments`: what its generator is. With a verifier in every round, `balance` is lambda / alpha.
    n_hat : float or sequence of float
        Samples a round, >= 1 or infinite; a sequence :math:`(n_1, \dots, n_T)` where rounds differ (not with
        ``accumulate``).
    generator : {"held_out", "known_mean"}
        Whether each generator has the mean of the samples that it is fitted to, or the true one.

    Returns
    -------
    Prediction
        Floats, and `deltas` = (delta_0, delta_T). The variance is the derivative of the minimum of the training
        objective with respect to a term w'Cw added to it.

    Raises
    ------
    ValueError, TypeError
        Bad input.
    ConvergenceError
        The fixed point was not reached.

    Notes
    -----
    Every delta is made of earlier ones and of inverse loads by sums and parallel sums 1 / (1/a + 1/b), so the map of
    the deltas is increasing and concave. Newton's method from above then decreases to the only solution, as in
    `rmt_lib.resolvent.solve`.

    Examples
    --------
    >>> from rmt_lib import Mixture
    >>> from rmt_lib.topics.generations import predict_generations
    >>> world = Mixture(np.eye(50)[0])
    >>> for last in (1, 5, 20):
    ...     print(f"{predict_generations(world, last, n=100, m=400, gamma=1.0, n_hat=200).accuracy:.3f}")
    0.809
    0.774
    0.746
    """
    checks.one_of("generator", generator, ("held_out", "known_mean"))
    rounds = _rounds(generations, n_hat, regime, share, balance)
    setting = Setting(p=target.p, n=n, m=m, gamma=gamma, epsilon=epsilon, phi=phi, rho=rho, weight=weight)
    checks.single(n=n, m=m, gamma=gamma, epsilon=epsilon, phi=phi, rho=rho, weight=weight, generator=generator)
    eigenvalues = np.broadcast_to(target.eigenvalues, target.p)
    if not eigenvalues.any():
        raise ValueError("cov must not be 0")
    coordinates = target.mean if target.eigenvectors is None else target.eigenvectors.T @ target.mean
    system = _System(setting, rounds, eigenvalues)
    delta, slope, iterations, residual = system.solve()

    # From here on the imaginary part of every quantity is STEP times its derivative in tau.
    delta = delta + 1j * STEP * slope
    delta, (g_real, g_synthetic, g, inverse, passed) = system.image(delta, 1j * STEP)
    alpha, lam = float(setting.alpha), float(setting.lam)
    # mu' Q mu; with mu_j for one or both mu, alignment times it and square.
    known_mean = generator == "known_mean"
    signal = np.sum(coordinates**2 * inverse)
    signal = signal / (1 + (g_real + alpha * g_synthetic if known_mean else g) * signal)
    alignment, square = 1.0, signal
    for r, before, (x, y) in zip(rounds, delta[:-1], passed, strict=True):
        pull, fresh = r.old + r.new * r.balance * x, r.real * y
        noise = system.total * r.per_sample * (r.new * x * before + fresh * delta[0])
        square = pull**2 * square + (2 * pull * alignment + fresh) * fresh * signal + noise
        alignment = pull * alignment + fresh
    if known_mean:
        alignment, square = 1.0, signal
    mean = signal * (g_real + lam * g_synthetic * alignment)
    explained = g_real * signal * (g_real + 2 * lam * g_synthetic * alignment) + (lam * g_synthetic) ** 2 * square
    minimum = g_real + alpha * g_synthetic - explained
    deltas = np.array([delta[0].real, delta[-1].real])
    return Prediction(float(mean.real), float(minimum.imag / STEP), deltas, iterations, residual)


class _System:
    """The fixed point of `predict_generations`: delta = (delta_0, ..., delta_T), with tau C added to the penalty."""

    def __init__(self, setting: Setting, rounds: Sequence[_Round], eigenvalues: Array) -> None:
        self.rounds, self.eigenvalues = rounds, eigenvalues
        self.n, self.m, self.gamma, self.weight, self.alpha = (
            float(getattr(setting, name)) for name in ("n", "m", "gamma", "weight", "alpha")
        )
        self.total = self.n + self.m

    def image(self, delta: Array, tau: Any) -> tuple[Array, tuple[Any, ...]]:
        """The right side of the fixed point, and (g_1, g_2, g, 1 / (gamma + (g + tau) lambda), (x_j, y_j)).

        `delta` is (T + 1,) or (T + 1, k) for k points at once, with one `tau` each.
        """
        first, last = delta[0], delta[-1]
        g_real = self.n / self.total / (1 + first)
        g_synthetic = self.m / self.total * self.weight / (1 + self.weight * last)
        g, load, loads = g_real, self.alpha * g_synthetic, []
        for r, before in zip(reversed(self.rounds), delta[-2::-1], strict=True):
            x, y = (1 / (1 + self.total * r.per_sample * load * value) for value in (before, first))
            loads.append(load)
            g, load = g + load * r.real * y, load * (r.old + r.new * x)
        g = g + load
        inverse = 1 / (self.gamma + (g + tau)[..., None] * self.eigenvalues)
        chain, passed = [inverse @ self.eigenvalues / self.total], []
        for r, load in zip(self.rounds, reversed(loads), strict=True):
            x, y = (1 / (1 + self.total * r.per_sample * load * value) for value in (chain[-1], chain[0]))
            passed.append((x, y))
            chain.append((r.old + r.new * x) * chain[-1] + r.real * y * chain[0])
        return np.array(chain), (g_real, g_synthetic, g, inverse, passed)

    def slopes(self, delta: Array) -> tuple[Array, Array, Array]:
        """The image of `delta` at tau = 0, its Jacobian and its derivative in tau.

        Derivatives are taken through an imaginary step: f(x + ih) = f(x) + ih f'(x) + O(h^2) for the rational functions
        here, so that the imaginary part over h is the derivative to rounding. Nothing is subtracted, and h may be tiny.
        """
        size = delta.size
        points = np.repeat(delta[:, None].astype(complex), size + 1, axis=1)
        points[np.arange(size), np.arange(size)] += 1j * STEP * delta
        tau = np.zeros(size + 1, dtype=complex)
        tau[-1] = 1j * STEP
        image, _ = self.image(points, tau)
        return image[:, 0].real, image[:, :-1].imag / (STEP * delta), image[:, -1].imag / STEP

    def solve(self) -> tuple[Array, Array, int, float]:
        """The fixed point, its derivative in tau, iterations and the relative residual."""
        delta = np.full(len(self.rounds) + 1, self.eigenvalues.sum() / (self.total * self.gamma))
        residual = np.inf
        for iteration in range(1, MAX_ITERATIONS + 1):
            image, jacobian, in_tau = self.slopes(delta)
            # In units of delta: all entries of the matrix are then of order 1.
            matrix = np.eye(delta.size) - jacobian * delta / delta[:, None]
            step, slope = np.linalg.solve(matrix, np.stack([1 - image / delta, in_tau / delta], axis=1)).T
            residual = float(np.abs(1 - image / delta).max())
            if np.abs(step).max() <= TOLERANCE:
                return delta, slope * delta, iteration, residual
            delta = delta * (1 - step)
        raise ConvergenceError(MAX_ITERATIONS, residual)


@dataclass(frozen=True, eq=False)
class _Samples:
    """What a fit needs to know of some samples."""

    count: int
    mean: Array
    scatter: Array

    @classmethod
    def draw(cls, rng: np.random.Generator, mixture: Mixture, count: int, sign: int) -> _Samples:
        """`count` draws of sign * u: their mean, and their scatter around it, which is Wishart."""
        p, root = mixture.p, mixture.root
        if count == 0:
            return cls(0, np.zeros(p), np.zeros((p, p)))
        mean = sign * (mixture.mean + apply(root, rng.standard_normal((p, 1)))[:, 0] / np.sqrt(count))
        factor = apply(root, bartlett(rng, p, count - 1)) if count > 1 else np.zeros((p, 1))
        return cls(count, mean, factor @ factor.T)

    def __add__(self, other: _Samples) -> _Samples:
        count = self.count + other.count
        if not count:
            return self
        gap = other.mean - self.mean
        mean = self.mean + other.count / count * gap
        return _Samples(
            count, mean, self.scatter + other.scatter + self.count * other.count / count * np.outer(gap, gap)
        )

    def fit(self) -> Mixture:
        return Mixture(self.mean, self.scatter / self.count)


def _whole(generations: Any, n_hat: Any, regime: Any, share: Any, balance: Any) -> tuple[list[_Round], int, int]:
    """The rounds, n_hat, and the number of fresh real samples in a round."""
    n_hat = checks.count("n_hat", n_hat, low=1)
    rounds = _rounds(generations, n_hat, regime, share, balance)
    return rounds, n_hat, checks.count("share * n_hat", round(share * n_hat, 9), low=0)


def draw_generations(
    target: Mixture,
    generations: int,
    *,
    n_hat: int,
    seed: int | np.random.SeedSequence | np.random.Generator,
    regime: str = "replace",
    share: float = 0.0,
    balance: float = 1.0,
) -> list[Mixture]:
    """Draw a recursion of Gaussian generators; the mixtures of generations 1, ..., T.

    The draws are exact, from means and Wishart scatters. A generated sample with a wrong label enters the next fit with
    its signed features turned around.

    Parameters
    ----------
    target : Mixture
        The real population.
    generations, n_hat, regime, share, balance
        As in `expected_moments`; n_hat and share times n_hat are whole numbers.
    seed : int, SeedSequence or Generator
        Where the draws come from.

    Returns
    -------
    list of Mixture
        One for each generation.

    Raises
    ------
    ValueError, TypeError
        Bad input.

    Examples
    --------
    >>> from rmt_lib import Mixture
    >>> from rmt_lib.topics.generations import draw_generations
    >>> drawn = draw_generations(Mixture(np.eye(50)[0]), 3, n_hat=200, seed=1)
    >>> [round(float(np.trace(mixture.cov)), 1) for mixture in drawn]
    [50.0, 49.8, 50.7]
    """
    rounds, n_hat, real = _whole(generations, n_hat, regime, share, balance)
    rng = checks.rng(seed)
    samples = _Samples.draw(rng, target, n_hat, 1)
    mixtures = [samples.fit()]
    for r in rounds[1:]:
        wrong = int(rng.binomial(n_hat - real, (1 - r.balance) / 2))
        drawn = _Samples.draw(rng, mixtures[-1], n_hat - real - wrong, 1) + _Samples.draw(rng, mixtures[-1], wrong, -1)
        samples = samples + drawn if r.old else drawn + _Samples.draw(rng, target, real, 1)
        mixtures.append(samples.fit())
    return mixtures


def draw_tokens(
    probabilities: ArrayLike,
    generations: int,
    *,
    n_hat: int,
    seed: int | np.random.SeedSequence | np.random.Generator,
    regime: str = "replace",
    share: float = 0.0,
) -> Array:
    """Draw a recursion of token frequencies: each generation the frequencies among its samples.

    Parameters
    ----------
    probabilities : (tokens,) array
        The distribution of the real tokens.
    generations, n_hat, seed, regime, share
        As in `draw_generations`.

    Returns
    -------
    (T, tokens) array
        One row for each generation.

    Raises
    ------
    ValueError, TypeError
        Bad input.

    Examples
    --------
    >>> from rmt_lib.topics.generations import draw_tokens
    >>> draw_tokens([0.25, 0.25, 0.25, 0.25], 2, n_hat=20, seed=1).round(3).tolist()
    [[0.25, 0.4, 0.1, 0.25], [0.4, 0.35, 0.05, 0.2]]
    """
    target = checks.array("probabilities", probabilities, low=0)
    if target.ndim != 1 or target.size == 0 or abs(target.sum() - 1) > 1e-9:
        raise ValueError(f"probabilities must be one row that adds up to 1, got shape {target.shape}, {target.sum():g}")
    rounds, n_hat, real = _whole(generations, n_hat, regime, share, 1.0)
    rng = checks.rng(seed)
    counts = rng.multinomial(n_hat, target / target.sum())
    rows = [counts / counts.sum()]
    for r in rounds[1:]:
        drawn = rng.multinomial(n_hat - real, rows[-1])
        counts = counts + drawn if r.old else drawn + rng.multinomial(real, target / target.sum())
        rows.append(counts / counts.sum())
    return np.array(rows)


def _ratios(ratios: Any) -> Array:
    ratios = checks.array("ratios", ratios, low=0, open_low=True)
    if ratios.ndim != 1 or ratios.size == 0:
        raise ValueError(f"ratios must be a sequence (c_1, ..., c_T), got shape {ratios.shape}")
    return np.sort(np.append(ratios, 1.0))[::-1]


def support(ratios: Sequence[float]) -> tuple[float, float]:
    r"""Edges of the limiting spectrum of generator T, C = I and regime ``replace``.

    They are :math:`x(y) = \prod_{j=0}^T (1 + c_j y) / y`, :math:`c_0 = 1`, at the y > 0 and at the y between the two
    largest of the :math:`-1 / c_j` where :math:`\sum_j c_j y / (1 + c_j y) = 1`.

    Parameters
    ----------
    ratios : sequence of float
        :math:`(c_1, \dots, c_T)` = (p / n_1, ..., p / n_T), each > 0.

    Returns
    -------
    tuple of float
        The lower and the upper edge.

    Raises
    ------
    ValueError, TypeError
        Bad input.

    Examples
    --------
    >>> from rmt_lib.topics.generations import support
    >>> [round(edge, 3) for edge in support([0.5, 0.5])]
    [0.028, 4.409]
    """
    c = _ratios(ratios)

    def edge(y: float, factors: Array) -> float:
        return float(np.exp(np.sum(np.log(np.abs(factors))) - np.log(abs(y))))

    high = brentq(lambda y: np.sum(c * y / (1 + c * y)) - 1, 0.0, 2 / np.sqrt(c[0] * c[1]), xtol=1e-300, rtol=1e-14)
    upper = edge(high, 1 + c * high)
    gap = (c[0] - c[1]) / (c[0] * c[1])
    if gap == 0:
        return 0.0, upper

    def factors(t: float) -> Array:
        """1 + c_j y at y = -1 / c_1 + t gap, without cancellation at either end."""
        return np.append(-c[0] * gap * (1 - t), (c[1] - c[1:]) / c[1] + c[1:] * gap * t)

    def excess(t: float) -> float:
        """The slope times t (1 - t): of opposite signs at the ends."""
        y, rest = gap * t - 1 / c[1], (c[1] - c[1:]) / c[1] + c[1:] * gap * t
        both = np.where(c[1:] == c[1], (1 - t) * y / gap, t * (1 - t) * c[1:] * y / np.where(rest > 0, rest, 1.0))
        return float(both.sum() - t * y / gap - t * (1 - t))

    t = brentq(excess, 0.0, 1.0, xtol=1e-300, rtol=1e-14)
    return edge(gap * t - 1 / c[1], factors(t)), upper


def spectrum(ratios: Sequence[float], points: int = 200) -> tuple[Array, Array]:
    r"""Limiting spectral density of generator T: values x, increasing over the support, and the density there.

    With :math:`y = r e^{i \theta}`, r is the one number at which the angles of :math:`1 + c_j y`, j = 0..T with
    :math:`c_0 = 1`, add up to :math:`\theta \in (0, \pi)`; then :math:`x = \prod_j |1 + c_j y| / r` and the density is
    :math:`r \sin \theta / (\pi x)`. An atom of mass max(0, 1 - 1 / max c_j) at 0 is left out.

    Parameters
    ----------
    ratios : sequence of float
        As in `support`.
    points : int
        Number of values, >= 2.

    Returns
    -------
    tuple of array
        Values and density, (points,) each.

    Raises
    ------
    ValueError, TypeError
        Bad input.

    Examples
    --------
    >>> from rmt_lib.topics.generations import spectrum
    >>> x, density = spectrum([0.5, 0.5], points=400)
    >>> print(f"{np.trapezoid(density, x):.3f} {np.trapezoid(x * density, x):.3f}")
    1.000 1.000
    """
    c, points = _ratios(ratios)[:, None], checks.count("points", points, low=2)
    # Denser where the density may have a peak or an edge.
    theta = np.pi * (1 + np.cos(np.pi * (np.arange(points) + 0.5) / points)) / 2
    low, high = np.full(points, -700.0), np.full(points, 700.0)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        above = np.angle(1 + c * np.exp(middle + 1j * theta)).sum(axis=0) > theta
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    y = np.exp((low + high) / 2 + 1j * theta)
    x = np.exp(np.log(np.abs(1 + c * y)).sum(axis=0)) / np.abs(y)
    return x, y.imag / (np.pi * x)


def spectral_moments(ratios: Sequence[float], order: int) -> Array:
    r"""Limits of :math:`\frac1p \operatorname{tr} C_T^k`, k = 1, ..., `order`, for C = I and regime ``replace``.

    The k-th is 1/k times the coefficient of :math:`y^{k-1}` in :math:`\prod_{j=0}^T (1 + c_j y)^k`, :math:`c_0 = 1`.

    Parameters
    ----------
    ratios : sequence of float
        As in `support`.
    order : int
        The last k, >= 1.

    Returns
    -------
    (order,) array
        The moments.

    Raises
    ------
    ValueError, TypeError
        Bad input.

    Examples
    --------
    >>> from rmt_lib.topics.generations import spectral_moments
    >>> spectral_moments([0.5, 0.5], 3).round(3).tolist()
    [1.0, 2.0, 5.25]
    """
    factors = _ratios(ratios)
    order = checks.count("order", order, low=1)
    result = np.ones(order)
    for k in range(1, order + 1):
        series = np.array([1.0])
        for c in np.repeat(factors, k):
            series = np.convolve(series, [1.0, c])[:k]
        result[k - 1] = series[k - 1] / k
    return result
