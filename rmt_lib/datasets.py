"""Real data for binary tasks: features as published, labels -1 and +1, and where they come from.

One function per data set. They need scikit-learn, an optional extra, so `rmt_lib` itself does
not import this module.
"""

from __future__ import annotations

import hashlib
import numbers
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from rmt_lib.checks import Array, frozen

__all__ = ["Dataset", "Provenance", "digits"]


@dataclass(frozen=True)
class Provenance:
    """Where a data set comes from and what was taken from it.

    Attributes
    ----------
    name
        The data set.
    negative, positive
        The classes labelled -1 and +1.
    origin
        Who made the data, and when.
    access
        The package and version it was read from.
    licence
        Terms of use.
    sha256
        Checksum of features and labels as returned (float64, little endian, row by row).
    image_shape
        Height and width where a row is an image, None otherwise.
    """

    name: str
    negative: str
    positive: str
    origin: str
    access: str
    licence: str
    sha256: str
    image_shape: tuple[int, int] | None = None


@dataclass(frozen=True, eq=False)
class Dataset:
    """A binary task: `features` (N, p) as published and `labels` (N,) in {-1, +1}, both read-only."""

    features: Array
    labels: Array
    provenance: Provenance


def digits(first: int, second: int) -> Dataset:
    """Two classes of the 8 x 8 handwritten digits that come with scikit-learn: about 360 images, p = 64.

    Parameters
    ----------
    first, second : int
        Two different digits from 0 to 9; `first` is labelled -1 and `second` +1.

    Returns
    -------
    Dataset
        Rows in their published order; each of the 64 features counts ink, from 0 to 16.

    Raises
    ------
    ValueError
        Not a whole number from 0 to 9, or twice the same digit.
    ImportError
        scikit-learn is not installed.
    """
    for name, value in (("first", first), ("second", second)):
        if not _is_digit(value):
            raise ValueError(f"{name} must be a whole number from 0 to 9, got {value!r}")
    if first == second:
        raise ValueError(f"second must differ from first = {first}, got {second}")
    pixels, classes, version = _load_digits()
    chosen = np.isin(classes, (first, second))
    features, labels = frozen(pixels[chosen]), frozen(np.where(classes[chosen] == first, -1.0, 1.0))
    provenance = Provenance(
        name="Optical recognition of handwritten digits, test part",
        negative=str(first),
        positive=str(second),
        origin="E. Alpaydin and C. Kaynak, 1998, UCI Machine Learning Repository",
        access=f"scikit-learn {version}, sklearn.datasets.load_digits",
        licence="CC BY 4.0 (the data), BSD 3-clause (scikit-learn's copy)",
        sha256=_checksum(features, labels),
        image_shape=(8, 8),
    )
    return Dataset(features, labels, provenance)


@lru_cache(maxsize=1)
def _load_digits() -> tuple[Array, Array, str]:
    try:
        import sklearn
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError('the digits come with scikit-learn: pip install "rmt_lib[notebooks]"') from error
    return *load_digits(return_X_y=True), sklearn.__version__


def _is_digit(value: Any) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool) and 0 <= value <= 9


def _checksum(*arrays: Array) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(array.astype("<f8").tobytes())
    return digest.hexdigest()
