"""What the description of the network in Figures 5 and 7 leaves open, at 50 real images a class.

`ink` is the value of black as the network sees it. Trials are those of `figure_5`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rmt_experiments.figure_5 import EXPERIMENT as FIGURE_5
from rmt_experiments.networks import DRAWN, network_accuracy, split, streams, training_set
from rmt_experiments.runner import Experiment, Row


def measure(setting: Mapping[str, Any], trials: int, seed: np.random.SeedSequence) -> list[Row]:
    """Test accuracy of the network for each trial."""
    return [
        {"trial": trial, "network": measure_one(**setting, seeds=streams(seed.entropy, trial))}
        for trial in range(trials)
    ]


def measure_one(m: int, ink: float, momentum: float, start: str, seeds: list[np.random.SeedSequence]) -> float:
    """One trial of `measure`."""
    data = split(seeds[0])
    images, labels = training_set(data, "all images", m, seeds[1])
    return network_accuracy(images, labels, data, seeds[3], ink=ink, momentum=momentum, start=start)


EXPERIMENT = Experiment(
    name="figure_5_readings",
    seed=FIGURE_5.seed,
    trials=FIGURE_5.trials,
    settings=[
        {"m": m, "ink": ink, "momentum": momentum, "start": start}
        for m in (0, DRAWN[-1])
        for ink in (255, 1)
        for momentum in (0.0, 0.9)
        for start in ("uniform", "normal")
    ],
    measure=measure,
)
