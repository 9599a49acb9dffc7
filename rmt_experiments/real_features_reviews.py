"""The theory on the paper's review features: `real_features` for the files in the folder `RMT_AMAZON_DIR`."""

from __future__ import annotations

from rmt_experiments.real_features import measure, settings
from rmt_experiments.runner import Experiment
from rmt_lib.datasets import DOMAINS

EXPERIMENT = Experiment(
    name="real_features_reviews",
    seed=2412,
    trials=16,
    settings=settings({f"reviews {domain}": ("standardised", "equal lengths") for domain in DOMAINS}),
    measure=measure,
)
