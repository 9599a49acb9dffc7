"""Real data: loaders with provenance, archives fetched once, and files stored beside the script that made them."""

from rmt_lib.datasets.fetch import MissingDataError
from rmt_lib.datasets.load import (
    DOMAINS,
    Dataset,
    Provenance,
    amazon_reviews,
    amazon_snippets,
    digits,
    mnist,
)

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
