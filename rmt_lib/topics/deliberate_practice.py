"""The linear task: Gaussian features, labels from a direction, and samples chosen by their margin along another one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import erf, erfinv, ndtr, ndtri

from rmt_lib import checks
from rmt_lib.checks import Array
from rmt_lib.marchenko_pastur import shrinkage
from rmt_lib.model import Mixture, Source, apply
from rmt_lib.results import Prediction, Simulation

THIN = 0.05  # share kept, below which differences of closed forms lose digits
NODES, WEIGHTS = np.polynomial.legendre.leggauss(48)

Margin = Callable[[Array], ArrayLike]


class _Label(NamedTuple):
    """P(training label is -1): it is the side of the labeller, turned with probability `epsilon`."""

    labeller: tuple[float, ...]
    epsilon: float

    def __call__(self, z: Array) -> Array:
        return np.where(z @ np.array(self.labeller) < 0, 1 - self.epsilon, self.epsilon)


class _Choice(NamedTuple):
    """P(kept): by the margin along the pruner, times `phi` where label and truth agree and `rho` where not."""

    truth: tuple[float, ...]
    pruner: tuple[float, ...]
    keep: Margin | None
    phi: float
    rho: float

    def __call__(self, z: Array, sign: Array) -> Array:
        chance = np.where((z @ np.array(self.truth) < 0) == (sign < 0), self.phi, self.rho)
        return chance if self.keep is None else chance * np.asarray(self.keep(z @ np.array(self.pruner)), dtype=float)


@dataclass(frozen=True, eq=False)
class LinearTask:
    r"""Features x ~ N(0, cov) whose true label is the side of a hyperplane (task: Dohmatob et al. 2025).

    Ridge of labels t on x is the classifier of `rmt_lib.predict` with u = x and s = t: `source` gives its training
    data, `target` reads off w' cov direction and w' cov w, and `cosine` and `accuracy` turn them into

    .. math:: \chi = \frac{A_0' C w}{\sqrt{A_0' C A_0 \; w' C w}}, \qquad \text{accuracy} = 1 - \arccos(\chi) / \pi .

    Parameters
    ----------
    direction : (p,) array
        A_0, with some variance under `cov`.
    cov : float, (p,) array or (p, p) array
        Covariance C of the features.

    Raises
    ------
    ValueError, TypeError
        As `Mixture`, or a direction without variance.

    Examples
    --------
    >>> from rmt_lib import predict
    >>> from rmt_lib.topics.deliberate_practice import LinearTask, hard_margin
    >>> task = LinearTask(np.eye(50)[0])
    >>> hard = task.source(500, keep=lambda z: np.abs(z) < hard_margin(0.2))
    >>> result = predict(task.target, [hard], gamma=0.01)
    >>> print(f"{hard.alpha:.3f} {task.cosine(result):.3f} {task.accuracy(result):.3f}")
    0.200 0.834 0.814
    """

    direction: Array
    cov: Array = 1.0  # type: ignore[assignment]

    if TYPE_CHECKING:
        # What may be given; attributes hold arrays.
        def __init__(self, direction: ArrayLike, cov: ArrayLike = 1.0) -> None: ...

    def __post_init__(self) -> None:
        direction = checks.array("direction", self.direction)
        if direction.ndim != 1 or direction.size == 0:
            raise ValueError(f"direction must have shape (p,) with p >= 1, got shape {direction.shape}")
        object.__setattr__(self, "direction", checks.frozen(direction))
        if not self.target.mean @ direction > 0:
            raise ValueError("direction must have some variance under cov, got none")

    @cached_property
    def features(self) -> Mixture:
        """Where all samples come from: mean 0, covariance C."""
        return Mixture(np.zeros(self.direction.size), self.cov)

    @cached_property
    def target(self) -> Mixture:
        """The population that `predict` is given: its mean C A_0 makes mu'w the inner product of w and A_0."""
        return Mixture(apply(self.features.cov, self.direction[:, None])[:, 0], self.features.cov)

    def at_cosine(self, cosine: float, aside: Any) -> Array:
        """The direction of length 1 (under C) with this cosine to A_0, in the plane of A_0 and `aside`.

        Parameters
        ----------
        cosine : float
            Cosine under C, in [-1, 1].
        aside : (p,) array
            Another direction, with some variance; the result leans to its side.

        Returns
        -------
        (p,) array
            The direction.

        Raises
        ------
        ValueError, TypeError
            A cosine outside [-1, 1], or `aside` parallel to A_0.

        Examples
        --------
        >>> from rmt_lib.topics.deliberate_practice import LinearTask
        >>> LinearTask([3.0, 0.0]).at_cosine(0.8, [1.0, 1.0]).round(3).tolist()
        [0.8, 0.6]
        """
        cosine = checks.number("cosine", cosine, low=-1, high=1)
        truth, aside = self._unit("direction", self.direction), self._unit("aside", aside)
        rest = aside - self._inner(truth, aside) * truth
        length = self._inner(rest, rest)
        if not length > 1e-14:
            raise ValueError("aside must not be parallel to direction, got parallel ones")
        return cosine * truth + np.sqrt(1 - cosine**2) / np.sqrt(length) * rest

    def source(
        self,
        n: float,
        *,
        labeller: Any = None,
        epsilon: float = 0.0,
        pruner: Any = None,
        keep: Margin | None = None,
        phi: float = 1.0,
        rho: float = 1.0,
        weight: float = 1.0,
    ) -> Source:
        """Training data: labels sign(labeller' x), turned with probability `epsilon`, of which some are kept.

        Parameters
        ----------
        n : float
            Samples drawn.
        labeller, pruner : (p,) array, optional
            Directions; A_0 by default.
        keep : callable, optional
            ``keep(z)``: probability that a sample is kept, given its margin z = pruner' x in standard deviations.
        phi, rho : float
            Probability that a verifier who knows the truth keeps a right (`phi`) or a wrong (`rho`) label.
        epsilon, weight : float
            Share of labels turned at random; weight of each kept sample.

        Returns
        -------
        Source
            For `predict` and `simulate`, with `target`.

        Raises
        ------
        ValueError, TypeError
            Bad input, or more than two linearly independent directions: labeller, pruner if `keep` is given, and A_0
            if phi and rho differ.
        """
        epsilon, phi, rho = (
            checks.number(name, value, low=0, high=1)
            for name, value in (("epsilon", epsilon), ("phi", phi), ("rho", rho))
        )
        if pruner is not None and keep is None:
            raise ValueError("keep must be given with pruner, got None")
        # Those in use; the pruner first, whose thresholds the quadrature then meets along an axis.
        ways = {"pruner": pruner} if keep is not None else {}
        ways |= {"direction": None} if phi != rho else {}
        ways |= {"labeller": labeller}
        units = {name: self._unit(name, self.direction if way is None else way) for name, way in ways.items()}
        basis: list[Array] = []  # orthonormal under C
        for unit in units.values():
            rest = unit - sum(self._inner(axis, unit) * axis for axis in basis)
            if (length := np.sqrt(self._inner(rest, rest))) > 1e-7:
                basis.append(rest / length)
        if len(basis) > 2:
            raise ValueError("labeller, pruner and direction must lie in one plane where phi and rho differ")
        within = {name: tuple(float(self._inner(axis, unit)) for axis in basis) for name, unit in units.items()}
        label = _Label(within["labeller"], epsilon)
        choice = _Choice(within.get("direction", within["labeller"]), within.get("pruner", ()), keep, phi, rho)
        return Source(self.features, n, directions=np.column_stack(basis), keep=choice, flip=label, weight=weight)

    def _inner(self, a: Array, b: Array) -> Array:
        return a @ apply(self.features.cov, b[:, None])[:, 0]

    def _unit(self, name: str, way: Any) -> Array:
        way = checks.array(name, way)
        if way.shape != self.direction.shape:
            raise ValueError(f"{name} must have shape {self.direction.shape}, got {way.shape}")
        length = self._inner(way, way)
        if not length > 0:
            raise ValueError(f"{name} must have some variance under cov, got none")
        return way / np.sqrt(length)

    def cosine(self, result: Prediction | Simulation) -> Array:
        """Cosine chi under C of the classifier and A_0; 0 for w = 0.

        Parameters
        ----------
        result : Prediction or Simulation
            From `predict` or `simulate` with `target`.

        Returns
        -------
        array
            One number for a prediction, one for each trial of a simulation.
        """
        scale = np.sqrt(self.direction @ self.target.mean * np.asarray(result.variance))
        return np.clip(np.divide(result.mean, scale, out=np.zeros(scale.shape), where=scale > 0), -1, 1)[()]

    def accuracy(self, result: Prediction | Simulation) -> Array:
        """1 - arccos(chi) / pi: the share of fresh samples on the right side.

        Parameters
        ----------
        result : Prediction or Simulation
            As in `cosine`.

        Returns
        -------
        array
            As in `cosine`.
        """
        return 1 - error_of(self.cosine(result))


class Band(NamedTuple):
    r"""Means over the kept samples, of a margin :math:`|z|` in [low, high), z = A_q' x for the pruner A_q; C = I.

    Attributes
    ----------
    share : array
        P(kept).
    along, aside : array
        E[label z] is `along`, and E[label x] = along A_q + aside (A_l - agreement A_q), with A_l the labeller.
    spread : array
        E[z^2].
    """

    share: Array
    along: Array
    aside: Array
    spread: Array


def band(low: Any, high: Any, *, agreement: Any = 1.0) -> Band:
    """Moments of the samples kept by their margin, C = I, in closed form (see thm-practice-band).

    Parameters
    ----------
    low, high : array_like
        Bounds of the margin, 0 <= low < high; `high` may be infinite.
    agreement : array_like
        Cosine of pruner and labeller, in [-1, 1]. All arguments broadcast.

    Returns
    -------
    Band
        Four arrays of the broadcast shape.

    Raises
    ------
    ValueError, TypeError
        A negative margin, low >= high, a band that holds nothing, or an agreement outside [-1, 1].

    Examples
    --------
    >>> from rmt_lib.topics.deliberate_practice import band
    >>> kept = band([0.0, 1.0], [1.0, np.inf], agreement=0.8)
    >>> print(kept.share.round(3).tolist(), kept.spread.round(3).tolist())
    [0.683, 0.317] [0.291, 2.525]
    """
    low, high = checks.array("low", low, low=0), checks.array("high", high, low=0, infinite=True)
    agreement = checks.array("agreement", agreement, low=-1, high=1)
    if np.any(low >= high):
        raise ValueError(f"high must be > low, got high = {np.min(high):g} and low = {np.max(low):g}")
    low, high, agreement = np.broadcast_arrays(low, high, agreement)
    parts = np.array(_between(low, high, agreement))
    thin = parts[0] < THIN
    parts[:, thin] = _integrals(low[thin], high[thin], agreement[thin])
    share = parts[0]
    if np.any(share < 1e-12):
        raise ValueError(f"low and high must keep a share of at least 1e-12, got {np.min(share):g}")
    return Band(share[()], *(part / share for part in parts[1:]))


def _between(low: Array, high: Array, agreement: Array) -> tuple[Array, ...]:
    """P(kept) and the moments times it, as differences of closed forms."""
    return tuple(upper - lower for upper, lower in zip(_below(high, agreement), _below(low, agreement), strict=True))


def _below(h: Array, agreement: Array) -> tuple[Array, ...]:
    sine = np.sqrt(np.maximum(1 - agreement**2, 1e-30))
    density = np.exp(-(h**2) / 2) / np.sqrt(2 * np.pi)
    inside, wide = 2 * ndtr(h) - 1, (2 * ndtr(h / sine) - 1) / np.sqrt(2 * np.pi)
    agree = 2 * ndtr(agreement * np.where(np.isinf(h), 0.0, h) / sine) - 1
    along = 2 * (agreement * wide - density * agree)
    return inside, along, 2 * wide, inside - 2 * np.where(np.isinf(h), 0.0, h) * density


def _integrals(low: Array, high: Array, agreement: Array) -> Array:
    """The same for thin bands, where differences cancel: integrals of positive functions by Gauss's rule.

    In two parts, since the share of agreeing labels rises from one half within |z| of the order of the sine.
    """
    sine = np.sqrt(np.maximum(1 - agreement**2, 1e-30))
    top = np.minimum(high, np.sqrt(low**2 + 80))  # beyond, nothing is left in double precision
    knee = np.clip(8 * sine / np.maximum(np.abs(agreement), 1e-30), low, top)
    total = np.zeros((4, *low.shape))
    for start, end in ((low, knee), (knee, top)):
        half = (end - start)[..., None] / 2
        z = start[..., None] + half * (1 + NODES)
        density = 2 * np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
        agree = erf(agreement[..., None] * z / (sine[..., None] * np.sqrt(2)))
        aside = 2 / np.pi * np.exp(-((z / sine[..., None]) ** 2) / 2) / sine[..., None]
        total += (half * np.array([density, density * z * agree, aside, density * z**2])) @ WEIGHTS
    return total


def student_cosine(
    *,
    theta: Any,
    gamma_kept: Any,
    low: Any = 0.0,
    high: Any = np.inf,
    labeller: Any = 1.0,
    pruner: Any = 1.0,
    agreement: Any = None,
    balance: Any = 1.0,
) -> Array:
    r"""Limit of the cosine chi of student and truth, samples kept by their margin, C = I (with turned labels: ours).

    With the moments of the kept samples (`band`: along, aside and spread are :math:`h_\parallel`, :math:`h_\perp`,
    :math:`\zeta`), labeller :math:`A_\ell`, pruner :math:`A_q`, their cosine :math:`\tau`,
    :math:`\sigma = 2 / (1 + \theta + \tilde\gamma + \sqrt D)` and
    :math:`D = (1 - \theta)^2 + 2 \tilde\gamma (1 + \theta) + \tilde\gamma^2`,

    .. math::

        \bar w = \beta \sigma \Big( \frac{h_\parallel}{1 - \sigma + \sigma \zeta} A_q
            + h_\perp (A_\ell - \tau A_q) \Big), \qquad
        \chi = \frac{A_0' \bar w}{\sqrt{|\bar w|^2 + \theta \sigma r / \sqrt D}},

    where r is the squared residual per kept sample.

    Parameters
    ----------
    theta, gamma_kept : array_like
        p / kept samples, and :math:`\tilde\gamma`, gamma n / kept samples, both > 0, with n drawn samples and the gamma
        of `predict`.
    low, high : array_like
        Kept margins: keep-hard is low = 0 with a finite `high`, keep-easy an infinite `high`, keep-all both.
    labeller, pruner : array_like
        Cosines of their directions with the truth.
    agreement : array_like, optional
        Cosine of labeller and pruner; by default the product of the other two: their errors are unrelated.
    balance : array_like
        beta in [-1, 1], the mean of right (+1) and wrong (-1) where right or wrong is a coin: 1 - 2 epsilon.

    Returns
    -------
    array
        Of the broadcast shape.

    Raises
    ------
    ValueError, TypeError
        Bad input, or three cosines that no three directions have.

    Examples
    --------
    >>> from rmt_lib.topics.deliberate_practice import easy_margin, hard_margin, student_cosine
    >>> for margins in (dict(high=hard_margin(0.2)), dict(low=easy_margin(0.2))):
    ...     print(f"{student_cosine(theta=0.5, gamma_kept=0.05, **margins):.3f}")
    0.834
    0.937
    """
    theta = checks.array("theta", theta, low=0, open_low=True)
    gamma_kept = checks.array("gamma_kept", gamma_kept, low=0, open_low=True)
    labeller, pruner, balance = (
        checks.array(name, value, low=-1, high=1)
        for name, value in (("labeller", labeller), ("pruner", pruner), ("balance", balance))
    )
    tau = labeller * pruner if agreement is None else checks.array("agreement", agreement, low=-1, high=1)
    across = 1 - tau**2  # squared length of A_l - tau A_q
    lift = labeller - tau * pruner  # its inner product with the truth
    if np.any(lift**2 > across * (1 - pruner**2) + 1e-9):
        raise ValueError(
            "agreement must be the cosine of some pair of directions with these cosines labeller and pruner, "
            f"got {np.max(tau):g}"
        )
    _, along, aside, spread = band(low, high, agreement=tau)
    sigma, lost, root = shrinkage(theta, gamma_kept)
    w_along = balance * sigma * along / (lost + sigma * spread)
    w_aside = balance * sigma * aside
    fit = balance * (along * w_along + across * aside * w_aside)
    residual = np.maximum(1 - 2 * fit + spread * w_along**2 + across * w_aside**2, 0.0)
    variance = w_along**2 + across * w_aside**2 + theta * sigma / root * residual
    return np.clip((pruner * w_along + lift * w_aside) / np.sqrt(variance), -1, 1)[()]


class BestStudent(NamedTuple):
    """The gamma per kept sample that gives the largest cosine, and that cosine."""

    gamma_kept: Array
    cosine: Array


def best_student(*, theta: Any, **selection: Any) -> BestStudent:
    """`student_cosine` at its best `gamma_kept` between 1e-14 and 1e6.

    It is a limit, and at thin slices the limit is far away: of the hardest hundredth of the samples, thousands have to
    be kept before the error is near it (see the chapter).

    Where nothing good can be learned (a negative `labeller` or `balance`) it is an end of that range.

    Parameters
    ----------
    theta : array_like
        As in `student_cosine`.
    **selection
        low, high, labeller, pruner, agreement, balance: as in `student_cosine`. All arguments broadcast.

    Returns
    -------
    BestStudent
        Two arrays of the broadcast shape.

    Raises
    ------
    ValueError, TypeError
        As `student_cosine`.

    Examples
    --------
    >>> from rmt_lib.topics.deliberate_practice import best_student
    >>> best = best_student(theta=[1.0, 0.1], labeller=0.9)
    >>> print(best.gamma_kept.round(2).tolist(), best.cosine.round(3).tolist())
    [0.57, 0.06] [0.622, 0.873]
    """
    theta = checks.array("theta", theta)
    selection = {name: np.asarray(value)[..., None] for name, value in selection.items() if value is not None}
    shape = np.broadcast_shapes(theta.shape, *(value.shape[:-1] for value in selection.values()))
    centre, reach = np.full(shape, 1e-4), 10 * np.log(10)
    for points in (81, 21, 21):
        grid = np.clip(centre[..., None] * np.exp(np.linspace(-reach, reach, points)), 1e-14, 1e6)
        cosine = student_cosine(theta=theta[..., None], gamma_kept=grid, **selection)
        top = cosine.argmax(axis=-1)[..., None]
        centre = np.take_along_axis(grid, top, axis=-1)[..., 0]
        reach *= 2 / (points - 1)
    return BestStudent(centre[()], np.take_along_axis(cosine, top, axis=-1)[..., 0][()])


def easy_margin(share: Any) -> Array:
    """`low` that keeps the `share` of samples with the largest margins.

    Parameters
    ----------
    share : array_like
        In (0, 1].

    Returns
    -------
    array
        In standard deviations.

    Raises
    ------
    ValueError, TypeError
        Bad input.

    Examples
    --------
    >>> from rmt_lib.topics.deliberate_practice import easy_margin
    >>> easy_margin([0.2, 0.5]).round(3).tolist()
    [1.282, 0.674]
    """
    return -ndtri(checks.array("share", share, low=0, high=1, open_low=True) / 2)


def hard_margin(share: Any) -> Array:
    """`high` that keeps the `share` of samples with the smallest margins.

    Parameters
    ----------
    share : array_like
        In (0, 1].

    Returns
    -------
    array
        In standard deviations.

    Raises
    ------
    ValueError, TypeError
        Bad input.

    Examples
    --------
    >>> from rmt_lib.topics.deliberate_practice import hard_margin
    >>> hard_margin([0.2, 0.5]).round(3).tolist()
    [0.253, 0.674]
    """
    return np.sqrt(2) * erfinv(checks.array("share", share, low=0, high=1, open_low=True))


def error_of(cosine: Any) -> Array:
    """arccos(chi) / pi, the share of fresh samples on the wrong side.

    Parameters
    ----------
    cosine : array_like
        chi, in [-1, 1].

    Returns
    -------
    array
        In [0, 1].

    Raises
    ------
    ValueError, TypeError
        Bad input.

    Examples
    --------
    >>> from rmt_lib.topics.deliberate_practice import error_of
    >>> error_of([1.0, 0.8, 0.0]).round(3).tolist()
    [0.0, 0.205, 0.5]
    """
    return np.arccos(checks.array("cosine", cosine, low=-1, high=1)) / np.pi
