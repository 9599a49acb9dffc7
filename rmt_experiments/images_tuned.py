"""Figures 5 and 7 with a network that learns as cross-validation over the real training images chose.

`images_choice` has the choice, one for each trial. Every arm takes it, discriminators too, and makes the same number of
steps; the arms that name a candidate, by its number, show what another choice would have given. `itself` is the
discriminator as a classifier. Trials are those of `figure_5`; `right` tells which of the 2000 test images are.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np

from rmt_experiments.figure_5 import EXPERIMENT as FIGURE_5
from rmt_experiments.figure_7 import COINS, DISCRIMINATORS, EPSILON, discriminator, verified
from rmt_experiments.images_choice import CANDIDATES
from rmt_experiments.networks import DRAWN, GENERATORS, Network, Split, as_hex, split, streams, training_set
from rmt_experiments.runner import Experiment, Row, read
from rmt_lib.checks import Array

SOME = (DRAWN[2], DRAWN[-1])


def measure(setting: Mapping[str, Any], trials: int, seed: np.random.SeedSequence) -> list[Row]:
    """Test accuracy of the network and the rates at which right and wrong labels were kept, for each trial."""
    return [{"trial": trial, **measure_one(seed.entropy, trial, **setting)} for trial in range(trials)]


def measure_one(entropy: int, trial: int, *, learning: str, **arm: Any) -> Row:
    """One trial of `measure`."""
    options = chosen(trial) if learning == "chosen" else CANDIDATES[int(learning.removeprefix("candidate "))]
    seeds = streams(entropy, trial)
    data = split(seeds[0])
    if arm["decides"] == "itself":
        network, phi, rho = discriminator(arm["verifier"], entropy, trial, **options), np.nan, np.nan
    else:
        images, labels, phi, rho = arm_rows(data, seeds, entropy, trial, **arm)
        network = Network(images, labels, seeds[3], **options)
    right = network.classify(data.test) == data.test_labels
    return {"phi": phi, "rho": rho, "network": float(right.mean()), "right": as_hex(right)}


@cache
def chosen(trial: int) -> dict[str, float]:
    """The candidate of the highest validation accuracy in this trial, the first one of equals."""
    table = read("images_choice")
    return max(CANDIDATES, key=lambda options: table.where(**options, trial=trial)["validation"][0])


def arm_rows(
    data: Split,
    seeds: list[np.random.SeedSequence],
    entropy: int,
    trial: int,
    *,
    generator: str,
    epsilon: float,
    verifier: str,
    decides: str,
    m: int,
) -> tuple[Array, Array, float, float]:
    """The training set of an arm, its labels, and the rates of keeping, which without wrong labels are not numbers."""
    if epsilon == 0:
        return *training_set(data, generator, m, seeds[1]), np.nan, np.nan
    judge = discriminator(verifier, entropy, trial, **chosen(trial)) if verifier in DISCRIMINATORS else None
    return verified(data, seeds, verifier, decides, m, judge)


def arms(*, clean: tuple[int, ...], coins: tuple[int, ...], looks: tuple[int, ...]) -> list[dict[str, Any]]:
    """The real images alone; the generators with right labels, the coins and the discriminators, each at these m."""
    right = {"epsilon": 0.0, "verifier": "none", "decides": "coin"}
    wrong = {"generator": GENERATORS[0], "epsilon": EPSILON}
    return [
        {"generator": GENERATORS[0], **right, "m": 0},
        *({"generator": generator, **right, "m": m} for generator in GENERATORS for m in clean),
        *({**wrong, "verifier": v, "decides": "coin", "m": m} for v in COINS for m in coins),
        *(
            {**wrong, "verifier": v, "decides": d, "m": m}
            for v in DISCRIMINATORS
            for d in ("network", "coin")
            for m in looks
        ),
    ]


CHOSEN = [
    *arms(clean=SOME[-1:], coins=SOME, looks=SOME),
    *({"generator": GENERATORS[0], "epsilon": 0.0, "verifier": v, "decides": "itself", "m": 0} for v in DISCRIMINATORS),
]
OTHERWISE = [
    {"generator": GENERATORS[0], "epsilon": EPSILON, "verifier": v, "decides": d, "m": SOME[-1]}
    for v, d in (("none", "coin"), ("small", "network"))
]
EXPERIMENT = Experiment(
    name="images_tuned",
    seed=FIGURE_5.seed,
    trials=FIGURE_5.trials,
    settings=[
        *({**arm, "learning": "chosen"} for arm in CHOSEN),
        *({**arm, "learning": f"candidate {k}"} for arm in OTHERWISE for k in (1, 3)),
    ],
    measure=measure,
)
