"""Selection that looks at the sample: moments of a Gaussian source whose verifier and labels depend on a projection.

Along r directions A the signed features u = mean + cov^{1/2} z are told by r independent standard normal coordinates
x (zeta in the book), with A'u = centre + spread x; the rest of u is independent of them. So all that the theory asks of
the selected samples are the moments of (1, x), integrals over r = 1 or 2 dimensions.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from rmt_lib import checks
from rmt_lib.checks import Array
from rmt_lib.results import ConvergenceError

REACH = 9.0  # standard deviations of x beyond which nothing is left in double precision
PANELS = 32  # of an axis to begin with
LEVELS = 60  # of refinement
MOST_PANELS = 2000, 50_000  # rough at a level, of one row and in all: a rule with more is no function of z, or too fine
BISECTIONS = 45
SEARCHES = 2  # levels at which jumps are looked for along the outer axis, where each point is an integral
TOLERANCE = 1e-11  # of one panel
OUTER_TOLERANCE = 1e-9  # above the error of the inner integral

# A closed rule (Gauss-Lobatto): a threshold just inside the end of a panel does not escape it.
_LEGENDRE = np.polynomial.legendre.Legendre.basis(9)
NODES = np.concatenate([[-1.0], np.sort(_LEGENDRE.deriv().roots().real), [1.0]])
WEIGHTS = 2 / (90 * _LEGENDRE(NODES) ** 2)


class Chance(Protocol):
    """A probability for each projection: shape (..., r) to (...)."""

    def __call__(self, projections: Array, /) -> Any: ...


class SignedChance(Protocol):
    """The same, given also the sign of the label, shape (...)."""

    def __call__(self, projections: Array, sign: Array, /) -> Any: ...


Keep = Chance | SignedChance
Flip = Chance


class Axes(NamedTuple):
    """Where x lives: A'u = centre + spread x, and x = basis' z."""

    centre: Array
    """A' mean, (r,)."""
    spread: Array
    """Lower triangular with spread spread' = A' cov A, (r, r)."""
    basis: Array
    """Orthonormal columns, (p, r)."""

    @classmethod
    def of(cls, mean: Array, directions: Array, pushed: Array) -> Axes:
        """The axes of `directions` (p, r); `pushed` is the symmetric root of the covariance times them."""
        basis, upper = np.linalg.qr(pushed)
        signs = np.where(np.diag(upper) < 0, -1.0, 1.0)
        basis, spread = basis * signs, (upper * signs[:, None]).T
        if (np.diag(spread) <= 1e-8 * np.linalg.norm(pushed, axis=0)).any():
            raise ValueError("directions must have linearly independent projections, each with some variance under cov")
        return cls(directions.T @ mean, spread, basis)


class Rule(NamedTuple):
    """Who is kept and whose label is wrong, given the projections A'u of shape (..., r)."""

    keep: Keep | None
    flip: Flip | None
    epsilon: float
    phi: float
    rho: float

    def chances(self, projections: Array) -> Array:
        """P(kept and right), P(kept and wrong), (2, ...)."""
        shape = projections.shape[:-1]
        wrong = self.epsilon if self.flip is None else _probability("flip", self.flip(projections), shape)
        kept_right, kept_wrong = (self.phi, self.rho) if self.keep is None else _both(self.keep, projections, shape)
        return np.array(np.broadcast_arrays((1 - wrong) * kept_right, wrong * kept_wrong, np.empty(shape))[:2])


_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


@lru_cache(maxsize=256)
def takes_sign(keep: Callable[..., Any]) -> str:
    """How `keep` wants the sign of the label: by "name" as `sign`, by "place" as a second argument that has no default.

    Empty where it does not want it.
    """
    try:
        parameters = inspect.signature(keep).parameters
    except ValueError:
        return ""
    if "sign" in parameters and parameters["sign"].kind is not inspect.Parameter.POSITIONAL_ONLY:
        return "name"
    required = [p for p in parameters.values() if p.default is p.empty and p.kind in _POSITIONAL]
    return "place" if len(required) > 1 else ""


def _both(keep: Callable[..., Any], projections: Array, shape: tuple[int, ...]) -> list[Array]:
    """P(kept) of a right and of a wrong label."""
    how = takes_sign(keep)
    if not how:
        return [_probability("keep", keep(projections), shape)] * 2
    signs = [np.full(shape, sign) for sign in (1.0, -1.0)]
    values = [keep(projections, sign=sign) if how == "name" else keep(projections, sign) for sign in signs]
    return [_probability("keep", value, shape) for value in values]


def _probability(name: str, value: Any, shape: tuple[int, ...]) -> Array:
    value = np.asarray(value)
    if value.shape != shape:
        raise ValueError(
            f"{name} must give one probability for each projection, shape {shape} here, got shape {value.shape}"
        )
    return checks.array(f"values of {name}", value.astype(float), low=0, high=1)


@lru_cache(maxsize=256)
def moments(centre: tuple[float, ...], spread: tuple[tuple[float, ...], ...], rule: Rule) -> tuple[Array, Array]:
    """E[(1, x)(1, x)'; kept and right] and the same for kept and wrong, (1 + r, 1 + r) each.

    By Gauss-Lobatto rules on panels, halved and cut where they change most until they agree with their halves, so that
    thresholds are found to rounding. What is narrower than a few hundredths of a standard deviation may be missed.

    Raises
    ------
    ValueError
        A rule that does not give probabilities.
    ConvergenceError
        Panels still disagree after `LEVELS` refinements, or too many do: `keep` or `flip` is not a function of z (it
        draws at random), or changes too often.
    """
    where, slant = np.array(centre), np.array(spread)
    if len(where) == 1:

        def line(_: Rows, x: Array) -> Array:
            return _weighted(rule.chances(where + x[..., None] * slant[0]), x)

        right, wrong = _integrate(line, 1, TOLERANCE, LEVELS)[0].reshape(2, 3)[:, [[0, 1], [1, 2]]]
        return checks.frozen(right), checks.frozen(wrong)

    def inner(first: Array) -> Array:
        """Moments of the second coordinate given the first, (size, 2, 3)."""

        def line(row: Rows, x: Array) -> Array:
            pair = np.stack(np.broadcast_arrays(first[row][:, None], x), axis=-1)
            return _weighted(rule.chances(where + pair @ slant.T), x)

        return _integrate(line, first.size, TOLERANCE, LEVELS).reshape(-1, 2, 3)

    def outer(_: Rows, x: Array) -> Array:
        second = inner(x.ravel()).reshape(*x.shape, 2, 3)
        powers = (x[..., None] ** [0, 1, 2] * _density(x)[..., None])[..., None, :, None] * second[..., None, :]
        return np.moveaxis(powers.reshape(*x.shape, 18), -1, 0)

    # Entry (i, j) of the table is the moment of x_1^i x_2^j.
    table = _integrate(outer, 1, OUTER_TOLERANCE, SEARCHES)[0].reshape(2, 3, 3)
    right, wrong = (
        np.array([[t[0, 0], t[1, 0], t[0, 1]], [t[1, 0], t[2, 0], t[1, 1]], [t[0, 1], t[1, 1], t[0, 2]]]) for t in table
    )
    return checks.frozen(right), checks.frozen(wrong)


def _density(x: Array) -> Array:
    return np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)


def _weighted(chances: Array, x: Array) -> Array:
    """Both chances times 1, x, x^2 and the normal density, (6, ...)."""
    density = _density(x)
    return (chances[:, None] * np.stack([density, density * x, density * x**2])).reshape(6, *x.shape)


Rows = NDArray[np.intp]
Integrand = Callable[[Rows, Array], Array]
"""Of a row (k,) and points x (k, nodes), giving (outputs, k, nodes)."""


def _integrate(function: Integrand, rows: int, tolerance: float, searches: int) -> Array:
    """Integrals of `function` over x, for each row, (rows, outputs); jumps are looked for at the first levels only."""

    def panel(row: Rows, low: Array, high: Array) -> Array:
        half = (high - low) / 2
        x = (low + half)[:, None] + half[:, None] * NODES
        x[:, 0], x[:, -1] = low, high  # to the digit: an end may be a threshold
        return (function(row, x) @ WEIGHTS).T * half[:, None]

    edges = np.linspace(-REACH, REACH, PANELS + 1)
    row, low, high = np.repeat(np.arange(rows), PANELS), np.tile(edges[:-1], rows), np.tile(edges[1:], rows)
    total: Array = np.zeros(())
    for level in range(LEVELS):
        middle = (low + high) / 2
        halves = panel(row, low, middle) + panel(row, middle, high)
        error = np.abs(halves - panel(row, low, high)).max(axis=1)
        rough = error > tolerance
        total = total + np.stack([np.bincount(row[~rough], part, rows) for part in halves[~rough].T], axis=1)
        if not rough.any():
            return total
        row, low, high = row[rough], low[rough], high[rough]
        if len(row) > min(MOST_PANELS[0] * rows, MOST_PANELS[1]):
            break
        around = _steepest(function, row, low, high) if level < searches else ()
        cuts = np.sort(np.column_stack([low, middle[rough], *around, high]), axis=1)
        row, low, high = np.repeat(row, cuts.shape[1] - 1), cuts[:, :-1].ravel(), cuts[:, 1:].ravel()
    raise ConvergenceError(level + 1, float(error.max()), "integral over keep and flip")


def _steepest(function: Integrand, row: Rows, low: Array, high: Array) -> tuple[Array, Array]:
    """Ends of a tiny interval in each panel, found by bisection into the half that changes more: around a jump.

    Of two jumps in a panel the values at its ends may tell nothing, so the search begins between the two neighbouring
    nodes that differ most.
    """
    x = (low + (high - low) / 2)[:, None] + (high - low)[:, None] / 2 * NODES
    values = function(row, x)
    first = np.abs(np.diff(values, axis=-1)).max(axis=0).argmax(axis=1)[:, None]
    low, high = (np.take_along_axis(x, first + side, axis=1)[:, 0] for side in (0, 1))
    left, right = (np.take_along_axis(values, (first + side)[None], axis=2)[..., 0] for side in (0, 1))
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        value = function(row, middle[:, None])[..., 0]
        after = np.abs(right - value).max(axis=0) > np.abs(value - left).max(axis=0)
        low, high = np.where(after, middle, low), np.where(after, high, middle)
        left, right = np.where(after, value, left), np.where(after, right, value)
    return low, high
