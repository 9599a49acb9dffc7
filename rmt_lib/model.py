"""The data model: populations, sources of training samples, and the isotropic setting of the paper.

Everything is said in signed features u = y x ~ N(mean, cov): a training label enters only through its sign
s = +1 (right) or -1 (flipped), because the ridge classifier depends on x and its label t only through u and s = y t.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from rmt_lib import checks
from rmt_lib.checks import Array

GENERATORS = ("known_mean", "held_out", "reused")


def apply(factor: Array, columns: Array) -> Array:
    """The matrix that `factor` stands for (a scalar, a diagonal or a full matrix) times `columns`."""
    return factor @ columns if factor.ndim == 2 else factor[..., None] * columns


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
    """

    mean: Array
    cov: Array = 1.0  # type: ignore[assignment]
    eigenvalues: Array = field(init=False, repr=False)
    eigenvectors: Array | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        mean = checks.array("mean", self.mean)
        if mean.ndim != 1 or mean.size == 0:
            raise ValueError(f"mean must have shape (p,) with p >= 1, got shape {mean.shape}")
        cov = checks.array("cov", self.cov)
        p = mean.size
        if cov.shape not in ((), (p,), (p, p)):
            raise ValueError(f"cov must be a scalar or have shape ({p},) or ({p}, {p}), got shape {cov.shape}")
        eigenvalues, eigenvectors = cov, None
        if cov.ndim == 2:
            asymmetry = np.abs(cov - cov.T).max()
            if asymmetry > 1e-10 * np.abs(cov).max():
                raise ValueError(f"cov must be symmetric, got |cov - cov'| up to {asymmetry:g}")
            cov = (cov + cov.T) / 2
            # Kept, not recomputed: `predict` at the same covariance then costs O(p^2).
            eigenvalues, eigenvectors = np.linalg.eigh(cov)
            if eigenvalues[0] < -1e-10 * np.abs(eigenvalues).max():
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


@dataclass(frozen=True, eq=False)
class Source:
    """One source of training samples: `n` draws of a mixture with label noise, a verifier and a weight.

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
        Weight omega > 0 of each kept sample in the training objective.

    Raises
    ------
    ValueError, TypeError
        A parameter outside its range, or of the wrong type.
    """

    mixture: Mixture
    n: float
    epsilon: float = field(default=0.0, kw_only=True)
    phi: float = field(default=1.0, kw_only=True)
    rho: float = field(default=1.0, kw_only=True)
    weight: float = field(default=1.0, kw_only=True)

    def __post_init__(self) -> None:
        if not isinstance(self.mixture, Mixture):
            raise TypeError(f"mixture must be a Mixture, got {self.mixture!r}")
        object.__setattr__(self, "n", checks.number("n", self.n, low=0))
        for name in ("epsilon", "phi", "rho"):
            object.__setattr__(self, name, checks.number(name, getattr(self, name), low=0, high=1))
        object.__setattr__(self, "weight", checks.number("weight", self.weight, low=0, open_low=True))

    @property
    def kept_right(self) -> float:
        """P(kept, label right) = phi (1 - epsilon)."""
        return self.phi * (1 - self.epsilon)

    @property
    def kept_wrong(self) -> float:
        """P(kept, label wrong) = rho epsilon."""
        return self.rho * self.epsilon

    @property
    def alpha(self) -> float:
        """E[q], the share of samples kept."""
        return self.kept_right + self.kept_wrong

    @property
    def lam(self) -> float:
        """lambda = E[q s], kept right minus kept wrong."""
        return self.kept_right - self.kept_wrong


def check_sources(target: Mixture, sources: Any) -> tuple[Source, ...]:
    """`sources` as a tuple, checked against `target`: at least one, same dimension, at least one sample drawn."""
    if not isinstance(target, Mixture):
        raise TypeError(f"target must be a Mixture, got {target!r}")
    if isinstance(sources, Source):
        raise TypeError("sources must be a sequence of Source, got a single Source: write [source]")
    sources = tuple(sources)
    if not sources:
        raise ValueError("sources must hold at least one Source, got none")
    for source in sources:
        if not isinstance(source, Source):
            raise TypeError(f"sources must hold Source objects, got {source!r}")
        if source.mixture.p != target.p:
            raise ValueError(f"sources must share the target's dimension p = {target.p}, got p = {source.mixture.p}")
    if sum(source.n for source in sources) == 0:
        raise ValueError("n must be positive for at least one source, got 0 for all")
    return sources


@dataclass(frozen=True, eq=False)
class Isotropic:
    """The paper's setting with C = I, any number of settings at once: all arguments broadcast against each other.

    Real data is N(mu e, I) with |e| = 1; the generator is a Gaussian fitted to `n_hat` samples:

    * ``known_mean``: mean exactly mu e, covariance that of n_hat samples independent of the training set;
    * ``held_out``: mean and covariance both fitted to n_hat samples independent of the training set;
    * ``reused``: both fitted to the n training samples themselves; `n_hat` is not used and must stay infinite.

    Raises
    ------
    ValueError, TypeError
        A parameter outside its range, shapes that do not broadcast, n = m = 0, an unknown generator, n_hat given
        with ``reused``, or ``reused`` without training samples.
    """

    p: Array
    n: Array
    m: Array
    mu: Array
    gamma: Array
    epsilon: Array
    phi: Array
    rho: Array
    n_hat: Array
    generator: Any
    weight: Array

    def __post_init__(self) -> None:
        values = {
            "p": checks.array("p", self.p, low=1),
            "n": checks.array("n", self.n, low=0),
            "m": checks.array("m", self.m, low=0),
            "mu": checks.array("mu", self.mu, low=0),
            "gamma": checks.array("gamma", self.gamma, low=0, open_low=True),
            "epsilon": checks.array("epsilon", self.epsilon, low=0, high=1),
            "phi": checks.array("phi", self.phi, low=0, high=1),
            "rho": checks.array("rho", self.rho, low=0, high=1),
            "n_hat": checks.array("n_hat", self.n_hat, low=1, infinite=True),
            "weight": checks.array("weight", self.weight, low=0, open_low=True),
            "generator": np.asarray(self.generator),
        }
        known = np.isin(values["generator"], GENERATORS)
        if not known.all():
            first = values["generator"][~known].tolist()[0]
            raise ValueError(f"generator must be one of {', '.join(GENERATORS)}, got {first!r}")
        try:
            broadcast = np.broadcast_arrays(*values.values())
        except ValueError as error:
            shapes = ", ".join(f"{name} {value.shape}" for name, value in values.items() if value.ndim)
            raise ValueError(f"arguments must broadcast against each other, got {shapes}") from error
        for name, value in zip(values, broadcast, strict=True):
            object.__setattr__(self, name, value)
        if (self.n + self.m == 0).any():
            raise ValueError("n and m must not both be 0, got n = m = 0")
        if (self.reused & np.isfinite(self.n_hat)).any():
            given = self.n_hat[self.reused & np.isfinite(self.n_hat)].flat[0]
            raise ValueError(f"n_hat is not used with generator 'reused' and must not be given, got {given:g}")
        if (self.reused & (self.n < 1)).any():
            raise ValueError(
                "n must be >= 1 with generator 'reused', which is fitted to the training samples, got n < 1"
            )

    @property
    def reused(self) -> np.ndarray:
        """Where the generator is fitted to the training samples."""
        return self.generator == "reused"

    @property
    def shape(self) -> tuple[int, ...]:
        """Broadcast shape of the settings."""
        return self.p.shape

    def block(self, part: slice) -> Isotropic:
        """The settings of the flattened slice `part`, unchecked; but for `p`, what all share has shape (1,)."""
        block = object.__new__(Isotropic)
        for name, values in vars(self).items():
            constant = name != "p" and not any(values.strides)
            object.__setattr__(block, name, values.reshape(-1)[:1] if constant else values.reshape(-1)[part])
        return block
