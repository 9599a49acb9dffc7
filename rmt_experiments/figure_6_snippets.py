"""The experiment of `figure_6` on sentences of reviews, split by review or, as an ordinary split does, at random."""

from __future__ import annotations

from rmt_experiments.figure_6 import measure
from rmt_experiments.runner import Experiment

EXPERIMENT = Experiment(
    name="figure_6_snippets",
    seed=2411,
    trials=24,
    settings=[{"domain": "snippets", "split": split} for split in ("by review", "random")],
    measure=measure,
)
