"""The data model: populations, sources of training samples, and the setting of a fitted generator.

Everything is said in signed features u = y x ~ N(mean, cov): a training label enters only through its sign
s = +1 (right) or -1 (flipped), because the ridge classifier depends on x and its label t only through u and s = y t.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rmt_lib import checks
from rmt_lib.checks import Array
from rmt_lib.selection import Axes, Flip, Keep, Rule, moments

GENERATORS = ("known_mean", "held_out", "reused")


def apply(factor: Array, columns: Array) -> Array:
    """The matrix that `factor` stands for (a scalar, a diagonal or a full matrix) times `columns`."""
    return factor @ columns if factor.ndim == 2 else factor[..., None] * columns


def _rounding(cov: Any) -> float:
    """How far rounding can take a covariance from symmetry, and an eigenvalue from 0, in units of the largest."""
    dtype = np.asarray(cov).dtype
    return max(1e-10, 100 * float(np.finfo(dtype).eps)) if dtype.kind == "f" else 1e-10


@dataclass(frozen=True, eq=False)
class Mixture:
    r"""Two-class Gaussian mixture: label y = +-1, features x = y mean + cov^{1/2} z, so u = y x ~ N(mean, cov).

    Parameters
    ----------
    mean : (p,) array
        Mean of the signed features.
    cov : float, (p,) array or (p, p) array
        Covariance: a multiple of the identity, a diagonal, or a symmetric positive semi-definite matrix.

    Raises
    ------
    ValueError
        Wrong shape, a value that is not finite, an asymmetric or indefinite `cov`.
    TypeError
        Not numeric.

    Examples
    --------
    >>> from rmt_lib import Mixture
    >>> mixture = Mixture([1.0, 0.0], [2.0, 0.5])
    >>> mixture.p
    2
    >>> mixture.dense.tolist()
    [[2.0, 0.0], [0.0, 0.5]]
    """

    mean: Array
    cov: Array = 1.0  # type: ignore[assignment]
    eigenvalues: Array = field(init=False, repr=False)
    eigenvectors: Array | None = field(init=False, repr=False)

    if TYPE_CHECKING:
        # What may be given; attributes hold arrays.
        def __init__(self, mean: ArrayLike, cov: ArrayLike = 1.0) -> None: ...

    def __post_init__(self) -> None:
        mean = checks.array("mean", self.mean)
        if mean.ndim != 1 or mean.size == 0:
            raise ValueError(f"mean must have shape (p,) with p >= 1, got shape {mean.shape}")
        rounding = _rounding(self.cov)
        cov = checks.array("cov", self.cov)
        p = mean.size
        if cov.shape not in ((), (p,), (p, p)):
            raise ValueError(f"cov must be a scalar or have shape ({p},) or ({p}, {p}), got shape {cov.shape}")
        eigenvalues, eigenvectors = cov, None
        if cov.ndim == 2:
            asymmetry = np.abs(cov - cov.T).max()
            if asymmetry > rounding * np.abs(cov).max():
                raise ValueError(f"cov must be symmetric, got |cov - cov'| up to {asymmetry:g}")
            cov = (cov + cov.T) / 2
            # Kept, not recomputed: `predict` at the same covariance then costs O(p^2).
            eigenvalues, eigenvectors = np.linalg.eigh(cov)
            if eigenvalues[0] < -rounding * np.abs(eigenvalues).max():
                raise ValueError(f"cov must be positive semi-definite, got an eigenvalue {eigenvalues[0]:g}")
            # Below its rounding error an eigenvalue is a zero: a small penalty would magnify what is left of it.
            eigenvalues = np.where(eigenvalues > p * np.finfo(float).eps * eigenvalues[-1], eigenvalues, 0.0)
        elif (cov < 0).any():
            raise ValueError(f"cov must be >= 0, got {cov.min():g}")
        object.__setattr__(self, "mean", checks.frozen(mean))
        object.__setattr__(self, "cov", checks.frozen(cov))
        object.__setattr__(self, "eigenvalues", checks.frozen(eigenvalues))
        object.__setattr__(self, "eigenvectors", None if eigenvectors is None else checks.frozen(eigenvectors))

    @property
    def p(self) -> int:
        """Dimension."""
        return self.mean.size

    @cached_property
    def root(self) -> Array:
        """The symmetric F with F F = cov: a scalar, the (p,) diagonal, or a (p, p) matrix.

        Unlike other roots it is unique, so that a seed gives the same draws whatever signs the eigenvectors have.
        """
        root = np.sqrt(self.eigenvalues)
        return checks.frozen(root if self.eigenvectors is None else (self.eigenvectors * root) @ self.eigenvectors.T)

    @property
    def dense(self) -> Array:
        """The covariance as a (p, p) matrix, whatever form it was given in."""
        return self.cov if self.cov.ndim == 2 else np.diag(np.broadcast_to(self.cov, self.p))


def with_constant(mixture: Mixture, scale: float) -> Mixture:
    """`mixture` with one more coordinate, last, that is always `scale`: what makes an intercept. Its variance is 0."""
    cov = np.zeros((mixture.p + 1,) * max(mixture.cov.ndim, 1))
    cov[(slice(mixture.p),) * cov.ndim] = mixture.cov
    return Mixture(np.append(mixture.mean, scale), cov)


def free_intercept(scale: float, gamma: float) -> float:
    """`scale` of a constant coordinate, or 1e5 sqrt(gamma) if that is less: an intercept is then free to ten digits."""
    return min(scale, 1e5 * gamma**0.5)


class Moments(NamedTuple):
    r"""What the theory asks of the kept samples of a source, by groups of equal label.

    With :math:`\tilde\zeta = (1, \zeta)`, zeta standard normal coordinates along the directions that selection looks
    at, :math:`u = D \tilde\zeta + e` and e is independent of zeta, label and verifier. Without directions D = mean.
    """

    columns: Array
    """D, (p, 1 + r)."""
    labels: Array
    """Label of each group, what the classifier is trained to answer, (groups, outputs)."""
    grams: Array
    r"""E[q 1(group) :math:`\tilde\zeta \tilde\zeta'`], (groups, 1 + r, 1 + r)."""

    @property
    def alpha(self) -> float:
        """E[q]."""
        return float(self.grams[:, 0, 0].sum())

    @property
    def pull(self) -> Array:
        r"""E[q label :math:`\tilde\zeta'`]', (1 + r, outputs): D times it is h = E[q label u]."""
        return self.grams[:, 0].T @ self.labels

    @property
    def surplus(self) -> Array:
        """What selection adds to alpha cov in S = E[q u u'] = alpha cov + D surplus D', (1 + r, 1 + r)."""
        surplus = self.grams.sum(axis=0)
        surplus[1:, 1:] -= surplus[0, 0] * np.eye(len(surplus) - 1)
        return surplus

    def residual(self, score: Array, spread: Array) -> Array:
        """E[q (label - w'u)(label - w'u)'] from the scores D'w (1 + r, outputs) and w' cov w (outputs, outputs)."""
        missed = -np.repeat(score.T[None], len(self.labels), axis=0)
        missed[:, :, 0] += self.labels
        inside = score[1:].T @ score[1:]
        return np.einsum("gia,gab,gjb->ij", missed, self.grams, missed) + self.alpha * (spread - inside)


class Kept:
    """What is left of a source after verification, told by the shares `kept_right` and `kept_wrong` of its draws."""

    @property
    def kept_right(self) -> Any:
        """P(kept, label right); phi (1 - epsilon) for coins."""
        raise NotImplementedError

    @property
    def kept_wrong(self) -> Any:
        """P(kept, label wrong); rho epsilon for coins."""
        raise NotImplementedError

    @property
    def alpha(self) -> Any:
        """E[q], the share of samples kept."""
        return self.kept_right + self.kept_wrong

    @property
    def lam(self) -> Any:
        """lambda = E[q s], kept right minus kept wrong."""
        return self.kept_right - self.kept_wrong

    def missed(self, mean: Any) -> Any:
        """E[q (s - mean)^2] of samples with this mean score."""
        return self.kept_right * (1 - mean) ** 2 + self.kept_wrong * (1 + mean) ** 2


SIGNS = checks.frozen([[1.0], [-1.0]])


@dataclass(frozen=True, eq=False)
class Source(Kept):
    """One source of training samples: `n` draws of a mixture with label noise, a verifier and a weight.

    Label noise and verifier are coins of the same bias for all samples, or look at a projection of the sample.

    Parameters
    ----------
    mixture : Mixture
        Where the signed features come from.
    n : float
        Samples drawn, before the verifier prunes; >= 0. The theory takes any real number, `simulate` a whole one.
    epsilon : float
        Probability that a label is flipped, in [0, 1].
    phi, rho : float
        Probability that the verifier keeps a sample with a right (`phi`) or a wrong (`rho`) label, in [0, 1].
    weight : float
        Weight omega >= 0 of each kept sample in the training objective.
    directions : (p, r) or (p,) array, optional
        r = 1 or 2 directions that `keep` and `flip` look along.
    keep : callable, optional
        ``keep(z)`` or ``keep(z, sign)``: probability that a sample is kept, given its projections z = u' directions,
        shape (..., r), and whether its label is right (sign +1) or wrong (-1), shape (...). In place of phi and rho.
    flip : callable, optional
        ``flip(z)``: probability that its label is wrong. In place of epsilon.

    Raises
    ------
    ValueError, TypeError
        A parameter outside its range, or of the wrong type; directions without `keep` and `flip` or the reverse;
        directions along which the mixture has no variance, or that are dependent.

    Notes
    -----
    `keep` and `flip` must be functions of a module's top level where trials run in other processes. Their moments are
    kept in a cache: a function must be hashable, and must not change what it returns. Thresholds may be hard. What is
    narrower than a few hundredths of a standard deviation may be missed by the quadrature behind `moments`, which
    otherwise is good to 1e-8.

    Examples
    --------
    >>> from rmt_lib import Mixture, Source
    >>> source = Source(Mixture([1.0, 0.0]), 100, epsilon=0.1, rho=0.5)
    >>> print(round(source.alpha, 4), round(source.lam, 4))
    0.95 0.85

    A verifier that keeps what lies far from the boundary:

    >>> source = Source(Mixture([1.0, 0.0]), 100, directions=[1.0, 0.0], keep=lambda z: abs(z[..., 0]) > 1)
    >>> print(round(source.alpha, 4), source.pull.round(4).tolist())
    0.5228 [0.8677, 0.0]
    """

    mixture: Mixture
    n: float
    epsilon: float = field(default=0.0, kw_only=True)
    phi: float = field(default=1.0, kw_only=True)
    rho: float = field(default=1.0, kw_only=True)
    weight: float = field(default=1.0, kw_only=True)
    directions: Array | None = field(default=None, kw_only=True)
    keep: Keep | None = field(default=None, kw_only=True)
    flip: Flip | None = field(default=None, kw_only=True)

    if TYPE_CHECKING:
        # What may be given; `directions` holds an array.
        def __init__(
            self,
            mixture: Mixture,
            n: float,
            *,
            epsilon: float = 0.0,
            phi: float = 1.0,
            rho: float = 1.0,
            weight: float = 1.0,
            directions: ArrayLike | None = None,
            keep: Keep | None = None,
            flip: Flip | None = None,
        ) -> None: ...

    def __post_init__(self) -> None:
        if not isinstance(self.mixture, Mixture):
            raise TypeError(f"mixture must be a Mixture, got {checks.shown(self.mixture)}")
        object.__setattr__(self, "n", checks.number("n", self.n, low=0))
        for name in ("epsilon", "phi", "rho"):
            object.__setattr__(self, name, checks.number(name, getattr(self, name), low=0, high=1))
        object.__setattr__(self, "weight", checks.number("weight", self.weight, low=0))
        self._check_rule()
        # Tried once: the axes exist, and the rule gives probabilities.
        if self.axes is not None:
            self.rule.chances(self.axes.centre + np.zeros((1, 1)))

    def _check_rule(self) -> None:
        if self.directions is None:
            for name in ("keep", "flip"):
                if getattr(self, name) is not None:
                    raise ValueError(f"directions must be given with {name}, which looks along them, got None")
            return
        if self.keep is None and self.flip is None:
            raise ValueError("keep or flip must be given with directions, got None for both")
        for name, coins in (("keep", ("phi", "rho")), ("flip", ("epsilon",))):
            function = getattr(self, name)
            if function is None:
                continue
            if not callable(function):
                raise TypeError(f"{name} must be callable, got {checks.shown(function)}")
            for coin in coins:
                default = type(self).__dataclass_fields__[coin].default
                if getattr(self, coin) != default:
                    raise ValueError(
                        f"{coin} must be left at {default:g} where {name} is given, got {getattr(self, coin):g}"
                    )
        directions = checks.array("directions", self.directions)
        directions = directions[:, None] if directions.ndim == 1 else directions
        p = self.mixture.p
        if directions.shape not in ((p, 1), (p, 2)):
            raise ValueError(f"directions must have shape ({p}, 1) or ({p}, 2), got {directions.shape}")
        object.__setattr__(self, "directions", checks.frozen(directions))

    @cached_property
    def axes(self) -> Axes | None:
        """The coordinates that selection looks at; None for coins."""
        if self.directions is None:
            return None
        return Axes.of(self.mixture.mean, self.directions, apply(self.mixture.root, self.directions))

    @property
    def rule(self) -> Rule:
        """Label noise and verifier as one function of the projections."""
        return Rule(self.keep, self.flip, self.epsilon, self.phi, self.rho)

    @cached_property
    def moments(self) -> Moments:
        """The selected samples as the theory sees them."""
        mean = self.mixture.mean[:, None]
        if self.axes is None:
            coins = [self.phi * (1 - self.epsilon), self.rho * self.epsilon]
            return Moments(mean, SIGNS, np.array(coins)[:, None, None])
        root, (centre, spread, basis) = self.mixture.root, self.axes
        grams = moments(tuple(centre), tuple(map(tuple, spread)), self.rule)
        return Moments(np.column_stack([mean, apply(root, basis)]), SIGNS, np.array(grams))

    @property
    def kept_right(self) -> float:
        """P(kept, label right); phi (1 - epsilon) for coins."""
        return float(self.moments.grams[0, 0, 0])

    @property
    def kept_wrong(self) -> float:
        """P(kept, label wrong); rho epsilon for coins."""
        return float(self.moments.grams[1, 0, 0])

    @property
    def pull(self) -> Array:
        """h = E[q s u], (p,); lambda times the mean for coins."""
        return (self.moments.columns @ self.moments.pull)[:, 0]


def check_sources(target: Mixture, sources: Any) -> tuple[Source, ...]:
    """`sources` as a tuple, checked against `target`: at least one, same dimension, at least one sample drawn."""
    if not isinstance(target, Mixture):
        raise TypeError(f"target must be a Mixture, got {checks.shown(target)}")
    if isinstance(sources, Source):
        raise TypeError("sources must be a sequence of Source, got a single Source: write [source]")
    if not isinstance(sources, Iterable):
        raise TypeError(f"sources must be a sequence of Source, got {checks.shown(sources)}")
    sources = tuple(sources)
    if not sources:
        raise ValueError("sources must hold at least one Source, got none")
    for source in sources:
        if not isinstance(source, Source):
            raise TypeError(f"sources must hold Source objects, got {checks.shown(source)}")
        if source.mixture.p != target.p:
            raise ValueError(f"sources must share the target's dimension p = {target.p}, got p = {source.mixture.p}")
    if sum(source.n for source in sources) == 0:
        raise ValueError("n must be positive for at least one source, got 0 for all")
    return sources


@dataclass(frozen=True, eq=False, kw_only=True)
class Coins(Kept):
    """Label noise and a verifier that are coins, any number of settings at once: all arguments broadcast.

    Parameters
    ----------
    epsilon : array_like
        Probability that a label is flipped, in [0, 1].
    phi, rho : array_like
        Probability that the verifier keeps a sample with a right (`phi`) or a wrong (`rho`) label, in [0, 1].

    Raises
    ------
    ValueError, TypeError
        A parameter outside its range, or shapes that do not broadcast.

    Examples
    --------
    >>> from rmt_lib.model import Coins
    >>> coins = Coins(epsilon=[0.1, 0.3], rho=0.5)
    >>> coins.alpha.round(4).tolist()
    [0.95, 0.85]
    >>> coins.lam.round(4).tolist()
    [0.85, 0.55]
    """

    epsilon: Array = 0.0  # type: ignore[assignment]
    phi: Array = 1.0  # type: ignore[assignment]
    rho: Array = 1.0  # type: ignore[assignment]

    if TYPE_CHECKING:
        # What may be given; attributes hold arrays.
        def __init__(self, *, epsilon: ArrayLike = 0.0, phi: ArrayLike = 1.0, rho: ArrayLike = 1.0) -> None: ...

    def __post_init__(self) -> None:
        self._store(self._probabilities())

    def _probabilities(self) -> dict[str, Array]:
        return {name: checks.array(name, getattr(self, name), low=0, high=1) for name in ("epsilon", "phi", "rho")}

    def _store(self, values: Mapping[str, Any]) -> None:
        """Keep `values` in their common shape."""
        try:
            broadcast = np.broadcast_arrays(*values.values())
        except ValueError as error:
            shapes = ", ".join(f"{name} {value.shape}" for name, value in values.items() if value.ndim)
            raise ValueError(f"arguments must broadcast against each other, got {shapes}") from error
        for name, value in zip(values, broadcast, strict=True):
            object.__setattr__(self, name, value)

    @property
    def kept_right(self) -> Array:
        """P(kept, label right) of a synthetic sample."""
        return self.phi * (1 - self.epsilon)

    @property
    def kept_wrong(self) -> Array:
        """P(kept, label wrong) of a synthetic sample."""
        return self.rho * self.epsilon


@dataclass(frozen=True, eq=False, kw_only=True)
class Setting(Coins):
    """Real and synthetic samples of one fitted generator, any number of settings at once: all arguments broadcast.

    Real data has a mean of length `mu`; the generator is a Gaussian fitted to `n_hat` samples:

    * ``known_mean``: the mean is the true one, the covariance that of n_hat samples independent of the training set;
    * ``held_out``: mean and covariance both fitted to n_hat samples independent of the training set;
    * ``reused``: both fitted to training samples: to n_hat of the n, or to all of them where `n_hat` is infinite.

    Parameters
    ----------
    n, m : array_like
        Real and synthetic samples drawn, >= 0, not both 0 (any real numbers).
    p : array_like
        Dimension, >= 1.
    mu : array_like
        Length of the real mean, >= 0.
    gamma, weight : array_like
        Ridge penalty > 0, and weight >= 0 of the synthetic samples.
    epsilon, phi, rho : array_like
        As in `Coins`, of the synthetic samples.
    n_hat : array_like
        Samples the generator is fitted to, >= 1 or infinite; with ``reused`` at most n, or infinite for all n.
    generator : str or array of str
        ``known_mean``, ``held_out`` or ``reused``.

    Raises
    ------
    ValueError, TypeError
        A parameter outside its range, shapes that do not broadcast, n = m = 0, an unknown generator, a finite n_hat
        above n with ``reused``, or ``reused`` without training samples.

    Examples
    --------
    >>> from rmt_lib.model import Setting
    >>> setting = Setting(n=[100, 200], m=500, p=50, generator="reused")
    >>> setting.shape
    (2,)
    >>> setting.fitted.tolist()
    [100.0, 200.0]
    """

    n: Array
    m: Array
    p: Array = 1.0  # type: ignore[assignment]
    mu: Array = 1.0  # type: ignore[assignment]
    gamma: Array = 1.0  # type: ignore[assignment]
    n_hat: Array = np.inf  # type: ignore[assignment]
    generator: Any = "known_mean"
    weight: Array = 1.0  # type: ignore[assignment]

    if TYPE_CHECKING:
        # What may be given; attributes hold arrays.
        def __init__(
            self,
            *,
            n: ArrayLike,
            m: ArrayLike,
            p: ArrayLike = 1.0,
            mu: ArrayLike = 1.0,
            gamma: ArrayLike = 1.0,
            epsilon: ArrayLike = 0.0,
            phi: ArrayLike = 1.0,
            rho: ArrayLike = 1.0,
            n_hat: ArrayLike = np.inf,
            generator: ArrayLike = "known_mean",
            weight: ArrayLike = 1.0,
        ) -> None: ...

    def __post_init__(self) -> None:
        values = {
            "p": checks.array("p", self.p, low=1),
            "n": checks.array("n", self.n, low=0),
            "m": checks.array("m", self.m, low=0),
            "mu": checks.array("mu", self.mu, low=0),
            "gamma": checks.array("gamma", self.gamma, low=0, open_low=True),
            **self._probabilities(),
            "n_hat": checks.array("n_hat", self.n_hat, low=1, infinite=True),
            "weight": checks.array("weight", self.weight, low=0),
            "generator": np.asarray(checks.one_of("generator", self.generator, GENERATORS)),
        }
        self._store(values)
        if (self.n + self.m == 0).any():
            raise ValueError("n and m must not both be 0, got n = m = 0")
        if (self.reused & (self.n < 1)).any():
            raise ValueError(
                "n must be >= 1 with generator 'reused', which is fitted to the training samples, got n < 1"
            )
        above = self.reused & np.isfinite(self.n_hat) & (self.n_hat > self.n)
        if above.any():
            raise ValueError(
                "n_hat must be infinite or <= n with generator 'reused', which is fitted to training samples, got "
                f"n_hat = {self.n_hat[above].flat[0]:g} with n = {self.n[above].flat[0]:g}"
            )

    @property
    def reused(self) -> NDArray[np.bool_]:
        """Where the generator is fitted to training samples."""
        return self.generator == "reused"

    @property
    def fitted(self) -> Array:
        """Samples that the generator is fitted to: `n_hat`, or all n where ``reused`` leaves it infinite."""
        return np.where(self.reused, np.minimum(self.n, self.n_hat), self.n_hat)

    @property
    def shape(self) -> tuple[int, ...]:
        """Broadcast shape of the settings."""
        return self.p.shape

    def block(self, part: slice) -> Self:
        """The settings of the flattened slice `part`, unchecked; but for `p`, what all share has shape (1,)."""
        block = object.__new__(type(self))
        for name, values in vars(self).items():
            constant = name != "p" and not any(values.strides)
            object.__setattr__(block, name, values.reshape(-1)[:1] if constant else values.reshape(-1)[part])
        return block
