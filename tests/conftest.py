"""The environment of the kernels that the tests start, and the data that may not be distributed."""

import os
from pathlib import Path

import pytest

# No progress bars, and the live form of a figure: the static one belongs to the build of the book.
os.environ["TQDM_DISABLE"] = "1"
os.environ.pop("RMT_LIB_STATIC", None)

SHARED = Path(__file__).resolve().parent.parent.parent / "shared" / "data" / "amazon"


@pytest.fixture
def reviews(monkeypatch):
    """The folder of the paper's review features, in RMT_AMAZON_DIR."""
    from rmt_lib import datasets

    folder = os.environ.get("RMT_AMAZON_DIR") or (str(SHARED) if SHARED.is_dir() else None)
    if folder is None:
        pytest.skip("RMT_AMAZON_DIR does not name a folder with the paper's review features")
    monkeypatch.setenv("RMT_AMAZON_DIR", folder)
    datasets.amazon_reviews.cache_clear()
