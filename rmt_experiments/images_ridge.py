"""Ridge regression on the training sets of Figures 5 and 7, its penalty chosen by cross-validation in every one.

The folds are those of the real training images; what the arm adds to them stays in each fold's training part. The
discriminators are the networks of `images_tuned`. Trials are those of `figure_5`; `right` tells which test images are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rmt_experiments.figure_5 import EXPERIMENT as FIGURE_5
from rmt_experiments.figure_7 import DISCRIMINATORS, EPSILON
from rmt_experiments.images_tuned import SOME, arm_rows, arms
from rmt_experiments.networks import DRAWN, GENERATORS, Ridge, as_hex, split, streams
from rmt_experiments.runner import Experiment, Row


def measure(setting: Mapping[str, Any], trials: int, seed: np.random.SeedSequence) -> list[Row]:
    """Test accuracy and penalty of the ridge classifier, for each trial."""
    return [{"trial": trial, **measure_one(seed.entropy, trial, **setting)} for trial in range(trials)]


def measure_one(entropy: int, trial: int, **arm: Any) -> Row:
    """One trial of `measure`."""
    seeds = streams(entropy, trial)
    data = split(seeds[0])
    images, labels, *_ = arm_rows(data, seeds, entropy, trial, **arm)
    ridge = Ridge(images, labels)
    gamma = ridge.choose()
    right = ridge.classes(data.test, (gamma,))[0] == data.test_labels
    return {"gamma": gamma, "ridge": float(right.mean()), "right": as_hex(right)}


EXPERIMENT = Experiment(
    name="images_ridge",
    seed=FIGURE_5.seed,
    trials=FIGURE_5.trials,
    settings=[
        *arms(clean=DRAWN, coins=DRAWN, looks=SOME),
        *(
            {"generator": GENERATORS[0], "epsilon": EPSILON, "verifier": v, "decides": "coin a class", "m": DRAWN[-1]}
            for v in DISCRIMINATORS
        ),
    ],
    measure=measure,
)
