r"""Deterministic equivalent of the resolvent: the linear algebra and the fixed point of the master theorem.

For covariances C_1..C_J and loads a_j the matrix is R = (gamma I + sum_j a_j C_j)^{-1}. `frame` picks the cheapest
representation: one basis that diagonalises all C_j (O(p) a step), or dense matrices (O(p^3) a step).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import get_lapack_funcs, qr, solve_triangular

from rmt_lib.checks import Array
from rmt_lib.model import Mixture, apply
from rmt_lib.results import ConvergenceError

MAX_ITERATIONS = 200
STEP_TOLERANCE = 1e-10
RESIDUAL_TOLERANCE = 1e-9
CONDITION_LIMIT = 1e7


class Resolvent(NamedTuple):
    """R at given loads. `first[j]` = tr(C_j R); `second[j, l]` = tr(C_j R C_l R), with C_J = I as last column.

    `factor` represents B with B' B = R: `half` applies B to columns, `half_transpose` applies B'.
    """

    first: Array
    second: Array
    factor: Any


class Spectra(Protocol):
    """A list of covariances as the fixed point sees them."""

    def resolvent(self, gamma: float, loads: Array) -> Resolvent: ...
    def traces(self) -> Array: ...


class Frame(Spectra, Protocol):
    """A list of covariances in the coordinates where R is cheapest."""

    def half(self, factor: Any, columns: Array) -> Array: ...
    def half_transpose(self, factor: Any, columns: Array) -> Array: ...
    def rotate(self, vector: Array) -> Array: ...
    def quadratic(self, w: Array) -> Array: ...


@dataclass(frozen=True)
class Spectral:
    """Covariances diagonal in one orthonormal `basis` (None: the standard one).

    `eigenvalues` is (J, p), or (J, 1) where all are multiples of the identity; `multiplicity` is then p.
    """

    eigenvalues: Array
    multiplicity: int
    basis: Array | None = None

    def resolvent(self, gamma: float, loads: Array) -> Resolvent:
        r = 1 / (gamma + loads @ self.eigenvalues)
        weighted = self._with_identity * r
        first = self.multiplicity * weighted[:-1].sum(axis=1)
        return Resolvent(first, self.multiplicity * (weighted[:-1] @ weighted.T), r)

    @cached_property
    def _with_identity(self) -> Array:
        return np.vstack([self.eigenvalues, np.ones_like(self.eigenvalues[:1])])

    def half(self, factor: Array, columns: Array) -> Array:
        return np.sqrt(factor)[:, None] * columns

    half_transpose = half

    def rotate(self, vector: Array) -> Array:
        return vector if self.basis is None else vector @ self.basis

    def quadratic(self, w: Array) -> Array:
        """w' C_j w for each j, (J, outputs, outputs); w is (p, outputs)."""
        return np.array([w.T @ (values[:, None] * w) for values in self.eigenvalues])

    def traces(self) -> Array:
        """tr(C_j) for each j."""
        return self.multiplicity * self.eigenvalues.sum(axis=1)


@dataclass(frozen=True)
class Dense:
    """Covariances that do not share a basis: scalars, diagonals and full matrices."""

    mixtures: Sequence[Mixture]

    @property
    def p(self) -> int:
        return self.mixtures[0].p

    def _times(self, j: int, matrix: Array) -> Array:
        return apply(self.mixtures[j].cov, matrix)

    def resolvent(self, gamma: float, loads: Array) -> Resolvent:
        """By Cholesky where R^{-1} is well conditioned, else by QR of its factors."""
        matrix = np.zeros((self.p, self.p))
        diagonal = np.full(self.p, gamma)
        for load, mixture in zip(loads, self.mixtures, strict=True):
            if mixture.cov.ndim == 2:
                matrix += load * mixture.cov
            else:
                diagonal += load * mixture.cov
        matrix[np.diag_indices(self.p)] += diagonal
        potrf, potri = get_lapack_funcs(("potrf", "potri"), (matrix,))
        lower, fault = potrf(matrix.T, lower=True, clean=True)
        if fault:
            return self._by_factors(gamma, loads)
        inverse, _ = potri(lower, lower=True)
        inverse = inverse.T + inverse
        inverse[np.diag_indices(self.p)] /= 2
        if np.linalg.norm(matrix) * np.linalg.norm(inverse) > CONDITION_LIMIT:
            return self._by_factors(gamma, loads)
        products = [self._times(j, inverse) for j in range(len(self.mixtures))]
        first = np.array([product.trace() for product in products])
        second = np.array([[np.einsum("ij,ji->", a, b) for b in (*products, inverse)] for a in products])
        return Resolvent(first, second, (lower, np.arange(self.p)))

    def _by_factors(self, gamma: float, loads: Array) -> Resolvent:
        """R from the QR decomposition of [sqrt(a_j) root_j'; sqrt(gamma) I], all traces as sums of squares.

        Rows sorted by size and pivoted columns keep small rows accurate beside large ones (Cox and Higham), so this
        holds to the square of the condition number that Cholesky allows.
        """
        eye = np.eye(self.p)
        roots = [apply(mixture.root, eye) for mixture in self.mixtures]
        rows = np.vstack([np.sqrt(gamma) * eye, *(np.sqrt(a) * root.T for a, root in zip(loads, roots, strict=True))])
        rows = rows[np.argsort(-np.abs(rows).max(axis=1))]
        upper, order = qr(rows, mode="r", pivoting=True)
        factor = (upper[: self.p].T, order)
        halves = [self.half(factor, root) for root in roots]
        first = np.array([np.sum(half**2) for half in halves])
        second = np.array(
            [
                [*(np.sum((left.T @ right) ** 2) for right in halves), np.sum(self.half_transpose(factor, left) ** 2)]
                for left in halves
            ]
        )
        return Resolvent(first, second, factor)

    def half(self, factor: tuple[Array, NDArray[np.intp]], columns: Array) -> Array:
        lower, order = factor
        return solve_triangular(lower, columns[order], lower=True)

    def half_transpose(self, factor: tuple[Array, NDArray[np.intp]], columns: Array) -> Array:
        lower, order = factor
        result = np.empty_like(columns)
        result[order] = solve_triangular(lower, columns, lower=True, trans="T")
        return result

    def rotate(self, vector: Array) -> Array:
        return vector

    def quadratic(self, w: Array) -> Array:
        """w' C_j w for each j, (J, outputs, outputs); w is (p, outputs)."""
        return np.array([w.T @ self._times(j, w) for j in range(len(self.mixtures))])

    def traces(self) -> Array:
        """tr(C_j) for each j."""
        return np.array([np.broadcast_to(mixture.eigenvalues, self.p).sum() for mixture in self.mixtures])

    def commuting(self) -> Spectral:
        """The same spectra in one basis, paired as if at random: a start a Newton step closer than multiples of I."""
        golden = (5**0.5 - 1) / 2
        orders = [np.argsort(j * golden * np.arange(self.p) % 1, stable=True) for j in range(len(self.mixtures))]
        spectra = [np.broadcast_to(mixture.eigenvalues, self.p) for mixture in self.mixtures]
        return Spectral(np.array([values[order] for values, order in zip(spectra, orders, strict=True)]), 1)


def frame(mixtures: Sequence[Mixture]) -> tuple[Frame, NDArray[np.intp]]:
    """The frame of the distinct covariances of `mixtures`, and for each mixture the index of its covariance."""
    distinct: list[Mixture] = []
    index = []
    for mixture in mixtures:
        same = (
            j
            for j, known in enumerate(distinct)
            if known is mixture or (known.cov.shape == mixture.cov.shape and np.array_equal(known.cov, mixture.cov))
        )
        j = next(same, len(distinct))
        if j == len(distinct):
            distinct.append(mixture)
        index.append(j)
    p = mixtures[0].p
    dims = [mixture.cov.ndim for mixture in distinct]
    full = [mixture for mixture in distinct if mixture.cov.ndim == 2]
    if len(full) > 1 or (full and 1 in dims):
        return Dense(distinct), np.array(index)
    width = 1 if max(dims) == 0 else p
    eigenvalues = np.array([np.broadcast_to(mixture.eigenvalues, width) for mixture in distinct])
    return Spectral(eigenvalues, p // width, full[0].eigenvectors if full else None), np.array(index)


def solve_m_matrix(coupling: Array, slack: Array, right: Array) -> Array:
    """Solve A x = right for A = diag(slack + row sums of coupling) - coupling, coupling >= 0, slack >= 0.

    Elimination in which nothing is subtracted, so each component keeps full relative accuracy even where A is nearly
    singular, as at the interpolation threshold with a small penalty (Grassmann, Taksar and Heyman's device).
    """
    # Plain floats: for the handful of unknowns there are, arrays cost far more.
    coupling, slack, x = coupling.tolist(), slack.tolist(), right.tolist()
    size = len(x)
    pivots = [0.0] * size
    for k in reversed(range(size)):
        pivots[k] = slack[k] + sum(coupling[k][:k])
        for i in range(k):
            share = coupling[i][k] / pivots[k]
            for j in range(k):
                coupling[i][j] += share * coupling[k][j]
            slack[i] += share * slack[k]
            x[i] += share * x[k]
    for k in range(size):
        x[k] = (x[k] + sum(coupling[k][j] * x[j] for j in range(k))) / pivots[k]
    return np.array(x)


@dataclass(frozen=True)
class System:
    """The fixed point's data. Source k: covariance `index[k]`, `share` pi_k alpha_k omega_k, weight omega_k."""

    frame: Spectra
    index: NDArray[np.intp]
    share: Array
    weight: Array
    gamma: float
    total: float
    p: int


class Solution(NamedTuple):
    """Where the solver stopped, by distinct covariance; `scale` is delta, or 1 where delta = 0."""

    delta: Array
    scale: Array
    resolvent: Resolvent
    coupling: Array
    slack: Array
    iterations: int
    residual: float

    def amplify(self, start: Array) -> Array:
        """t = (I - B)^{-1} start, by distinct covariance."""
        return self.scale * solve_m_matrix(self.coupling, self.slack, start / self.scale)


def _isotropic_start(system: System, traces: Array) -> Array:
    """delta if each C_j were tr(C_j)/p I: then delta_j = tr(C_j) x / N with one unknown x."""
    gamma, size = system.gamma, system.p
    mean = (traces[system.index] / size).tolist()
    load = [share * c for share, c in zip(system.share.tolist(), mean, strict=True)]
    slope = [weight * c * size / system.total for weight, c in zip(system.weight.tolist(), mean, strict=True)]
    x, change = 1 / gamma, np.inf
    for _ in range(MAX_ITERATIONS):
        shrunk = [a / (1 + k * x) for a, k in zip(load, slope, strict=True)]
        image = 1 / (gamma + sum(shrunk))
        tangent = image**2 * sum(a * k / (1 + k * x) for a, k in zip(shrunk, slope, strict=True))
        change = (x - image) / (1 - tangent)
        x -= change
        if change <= 1e-3 * x:
            break
    return traces * x / system.total


def solve(system: System) -> Solution:
    r"""Solve delta_j = 1/N tr(C_j R(delta)), R = (gamma I + sum_k share_k / (1 + weight_k delta_k) C_k)^{-1}.

    Existence and uniqueness: R is a parallel sum of positive matrices affine in delta, hence operator concave and
    increasing, so the right-hand side T is positive, increasing and concave, bounded by T(infinity) = tr C / (N gamma).
    Iterating T from infinity decreases to a fixed point; two fixed points delta != delta' would contradict
    T(s delta) < s T(delta) for s > 1 (strict because gamma > 0).

    Newton's method on delta - T(delta): wherever T(delta) <= delta, concavity gives T'(delta) delta <= T(delta) - T(0)
    < delta, so I - T' is an M-matrix, and the convex function stays nonnegative at the next iterate: from such a point
    the iterates decrease to the solution, in the end quadratically. The start is the solution for simpler covariances
    (multiples of I, or the same spectra in one basis), or T(infinity) should I - T' not be an M-matrix there.

    Raises
    ------
    ConvergenceError
        Not converged after `MAX_ITERATIONS` steps, or R not positive definite in floating point.
    """
    frame, total, weight = system.frame, system.total, system.weight
    traces = frame.traces()
    upper = traces / (total * system.gamma)
    if isinstance(frame, Dense):
        delta = solve(replace(system, frame=frame.commuting())).delta
    else:
        delta = _isotropic_start(system, traces)
    member = (system.index == np.arange(delta.size)[:, None]).astype(float)
    zero = traces == 0  # such a covariance decouples: delta = 0
    last_size = residual = np.inf
    for iteration in range(1, MAX_ITERATIONS + 1):
        shrink = 1 / (1 + weight * delta[system.index])
        load = system.share * shrink
        resolvent = frame.resolvent(system.gamma, member @ load)
        scale = delta + zero
        tau = resolvent.second / (total * scale)[:, None]
        load *= shrink
        coupling = tau[:, :-1] * (scale * (member @ (load * weight)))
        # (T - T' delta) / delta as a sum of positive terms: nothing cancels near the interpolation threshold.
        slack = system.gamma * tau[:, -1] + tau[:, :-1] @ (member @ load) + zero
        excess = (delta - resolvent.first / total) / scale
        residual = max(map(abs, excess.tolist()))
        diagonal = slack + excess
        if diagonal.min() <= 0:
            delta = upper
            continue
        step = solve_m_matrix(coupling, diagonal, excess)
        size = max(map(abs, step.tolist()))
        # Rounding can end the descent above the tolerance; the residual then decides.
        stalled = size < 1e-6 and size >= last_size / 2
        if size <= STEP_TOLERANCE or (stalled and residual <= RESIDUAL_TOLERANCE):
            return Solution(delta, scale, resolvent, coupling, slack, iteration, residual)
        delta, last_size = delta - scale * step, size
    raise ConvergenceError(MAX_ITERATIONS, residual)
