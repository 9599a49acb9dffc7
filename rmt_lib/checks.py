"""Argument checks shared by the library: every message names the parameter, its value and what is allowed."""

from __future__ import annotations

import numbers
import reprlib
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

SMALLEST, LARGEST = 1e-100, 1e100
"""Sizes of finite numbers that are taken: beyond, a square leaves double precision."""

_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = 60


def shown(value: Any) -> str:
    """`value` as a message shows it: cut where it is long."""
    return _REPR.repr(value)


def _allowed(low: float, high: float, open_low: bool, infinite: bool) -> str:
    if (low, high) == (-np.inf, np.inf):
        return "finite"
    if high < np.inf:
        return f"in {'(' if open_low else '['}{low:g}, {high:g}]"
    return f"{'>' if open_low else '>='} {low:g}" + ("" if infinite else " and finite")


def array(
    name: str,
    value: Any,
    *,
    low: float = -np.inf,
    high: float = np.inf,
    open_low: bool = False,
    infinite: bool = False,
) -> Array:
    """`value` as a float64 array whose entries are numbers in the allowed range.

    Raises
    ------
    TypeError
        Not numeric (a string, None, a bool, a complex number), or a masked array.
    ValueError
        NaN, infinite (unless `infinite`), outside the range, larger than `LARGEST` in size, or positive and smaller
        than `SMALLEST` where 0 is not allowed.
    """
    try:
        raw = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} must be a regular array of numbers, got {shown(value)}") from error
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name} must not be a masked array, whose mask would be lost: fill or leave out what it hides")
    if raw.dtype.kind not in "iuf":
        raise TypeError(f"{name} must be a real number or an array of them, got {shown(value)}")
    result = raw.astype(np.float64)
    bad = np.isnan(result) | (result <= low if open_low else result < low) | (result > high)
    if not infinite:
        bad |= np.isinf(result)
    if bad.any():
        raise ValueError(f"{name} must be {_allowed(low, high, open_low, infinite)}, got {result[bad].flat[0]:g}")
    size = np.abs(result)
    extreme = np.isfinite(size) & (size > LARGEST)
    if open_low and low == 0:
        extreme |= size < SMALLEST
    if extreme.any():
        raise ValueError(f"{name} must be from {SMALLEST:g} to {LARGEST:g} in size, got {result[extreme].flat[0]:g}")
    return result


def number(name: str, value: Any, *, low: float = -np.inf, high: float = np.inf, open_low: bool = False) -> float:
    """`value` as a finite float; like `array`, for a single number."""
    if (
        type(value) in (int, float)
        and -LARGEST <= value <= LARGEST
        and low <= value <= high
        and not (open_low and value < low + SMALLEST)
    ):
        return float(value)  # the common case, without the cost of an array
    result = array(name, value, low=low, high=high, open_low=open_low)
    if result.ndim:
        raise TypeError(f"{name} must be a single number, got an array of shape {result.shape}")
    return float(result)


def count(name: str, value: Any, *, low: int) -> int:
    """`value` as an int >= low; an integer-valued float is accepted."""
    result = number(name, value, low=low)
    if result != int(result):
        raise ValueError(f"{name} must be a whole number >= {low}, got {result:g}")
    return int(result)


def frozen(value: Any) -> Array:
    """A read-only float64 copy of `value`."""
    copy = np.array(value, dtype=np.float64, order="C")
    copy.flags.writeable = False
    return copy


def single(**values: Any) -> None:
    """TypeError for the first of these arguments that is not a single value."""
    for name, value in values.items():
        if np.ndim(value):
            raise TypeError(f"{name} must be a single value, got an array of shape {np.shape(value)}")


def one_of(name: str, value: Any, allowed: Iterable[str]) -> Any:
    """`value`, or an array of values, all of which are among `allowed`."""
    values, known = np.asarray(value), tuple(allowed)
    unknown = values[~np.isin(values, known)]
    if unknown.size:
        raise ValueError(f"{name} must be one of {', '.join(known)}, got {shown(unknown.tolist()[0])}")
    return value


def rng(seed: Any) -> np.random.Generator:
    """A numpy Generator from an explicit seed: an int >= 0, a SeedSequence or a Generator."""
    if isinstance(seed, np.random.Generator | np.random.SeedSequence):
        return np.random.default_rng(seed)
    if isinstance(seed, bool) or not isinstance(seed, numbers.Integral):
        raise TypeError(f"seed must be an int, a SeedSequence or a numpy Generator, got {shown(seed)}")
    if seed < 0:
        raise ValueError(f"seed must be >= 0, got {seed}")
    return np.random.default_rng(int(seed))
