"""How the network of Figures 5 and 7 should learn from 50 real images a class, by cross-validation over these images.

The candidates are three of the readings of `figure_5_readings` and a larger rate; all make the same number of steps.
Trials are those of `figure_5`. No test image and no synthetic one is seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rmt_experiments.figure_5 import EXPERIMENT as FIGURE_5
from rmt_experiments.networks import FOLDS, Network, folds, split, streams
from rmt_experiments.runner import Experiment, Row

CANDIDATES = (
    {"ink": 255, "momentum": 0.0, "peak": 5e-3},  # as published
    {"ink": 1, "momentum": 0.0, "peak": 5e-3},
    {"ink": 1, "momentum": 0.9, "peak": 5e-3},
    {"ink": 1, "momentum": 0.9, "peak": 1.5e-2},
)


def measure(setting: Mapping[str, Any], trials: int, seed: np.random.SeedSequence) -> list[Row]:
    """Share of the real training images that a network trained without their fold classifies, for each trial."""
    return [
        {"trial": trial, "validation": measure_one(setting, streams(seed.entropy, trial))} for trial in range(trials)
    ]


def measure_one(options: Mapping[str, float], seeds: list[np.random.SeedSequence]) -> float:
    """One trial of `measure`."""
    data, fold, right = split(seeds[0]), folds(), 0
    for k in range(FOLDS):
        network = Network(data.real[fold != k], data.real_labels[fold != k], seeds[3], **options)
        right += (network.classify(data.real[fold == k]) == data.real_labels[fold == k]).sum()
    return float(right / len(fold))


EXPERIMENT = Experiment(
    name="images_choice",
    seed=FIGURE_5.seed,
    trials=FIGURE_5.trials,
    settings=CANDIDATES,
    measure=measure,
)
