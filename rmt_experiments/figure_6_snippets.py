"""The experiment of `figure_6` on sentences of reviews, split by review or, as an ordinary split does, at random.

A resampled pool has whole reviews, drawn with replacement.
"""

from __future__ import annotations

from rmt_experiments.figure_6 import measure
from rmt_experiments.runner import Experiment

EXPERIMENT = Experiment(
    name="figure_6_snippets",
    seed=2411,
    trials=16,
    settings=[
        {"domain": "snippets", "split": split, "pool": pool}
        for split, pool in (("by review", "itself"), ("random", "itself"), ("by review", "resampled"))
    ],
    measure=measure,
)
