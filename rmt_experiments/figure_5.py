"""Counterpart of the paper's Figure 5: 50 real images a class and synthetic ones of four qualities.

A trial is a split of the images, with its own synthetic images and its own start of the network. All settings share it.
`ink` is the value of black as the network sees it; the released code takes 255.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rmt_experiments.networks import DRAWN, GENERATORS, accuracies, split, streams, training_set
from rmt_experiments.runner import Experiment, Row

# Test accuracy in percent of the network in the paper's released results, at m = 0 and then at DRAWN; one seed.
PUBLISHED = {
    "all images": (76.0, 80.2, 82.9, 88.0, 89.6, 90.2),
    "100 images": (76.0, 78.4, 82.2, 84.2, 84.9, 87.6),
    "10 images": (76.0, 75.9, 79.3, 79.1, 78.9, 80.9),
    "no covariance": (76.0, 75.3, 75.4, 77.7, 77.5, 74.6),
}


def measure(setting: Mapping[str, Any], trials: int, seed: np.random.SeedSequence) -> list[Row]:
    """Test accuracy of the network and of ridge regression, for each trial."""
    return [{"trial": trial, **measure_one(**setting, seeds=streams(seed.entropy, trial))} for trial in range(trials)]


def measure_one(generator: str, m: int, ink: float, seeds: list[np.random.SeedSequence]) -> Row:
    """One trial of `measure`."""
    data = split(seeds[0])
    return accuracies(*training_set(data, generator, m, seeds[1]), data, seeds[3], ink=ink)


CURVES = [("all images", 0), *((generator, m) for generator in GENERATORS for m in DRAWN)]
EXPERIMENT = Experiment(
    name="figure_5",
    seed=2410,
    trials=10,
    settings=[
        {"generator": generator, "m": m, "ink": ink}
        for ink, chosen in ((255, (0, *DRAWN)), (1, (0, DRAWN[-1])))
        for generator, m in CURVES
        if m in chosen
    ],
    measure=measure,
)
