"""Counterpart of the paper's Figure 7: synthetic images with wrong labels, verified by a coin or by a trained network.

A wrong label is the next class. A coin keeps right labels with probability phi and wrong ones with probability rho. A
discriminator is a network that keeps a synthetic image if it would give it the same label. Its coin decides as often,
but not about the same images: the discriminator's decisions shuffled among all images with a right label, and among
those with a wrong one ("coin a class": within each class, too). Trials are those of `figure_5`, which has m = 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from rmt_experiments.figure_5 import EXPERIMENT as FIGURE_5
from rmt_experiments.networks import CLASSES, DRAWN, Network, Split, accuracies, split, streams, synthetic
from rmt_experiments.runner import Experiment, Row
from rmt_lib.checks import Array

EPSILON = 0.3
COINS = {"oracle": (1.0, 0.0), "weak": (0.9, 0.1), "none": (1.0, 1.0)}  # phi, rho
DISCRIMINATORS = ("small", "large")  # trained on the 50 real images a class, on all images of the generator

# Test accuracy in percent of the network in the paper's released results, at m = 0 and then at DRAWN; one seed.
PUBLISHED = {
    "oracle": (76.0, 77.9, 83.0, 87.0, 89.2, 89.2),
    "weak": (76.0, 78.5, 82.4, 83.4, 86.0, 85.4),
    "none": (76.0, 72.2, 76.3, 75.5, 74.5, 76.4),
}


def measure(setting: Mapping[str, Any], trials: int, seed: np.random.SeedSequence) -> list[Row]:
    """Test accuracy of both classifiers, and the rates at which right and wrong labels were kept, for each trial."""
    return [{"trial": trial, **measure_one(**setting, entropy=seed.entropy, trial=trial)} for trial in range(trials)]


def measure_one(verifier: str, decides: str, m: int, entropy: int, trial: int) -> Row:
    """One trial of `measure`."""
    seeds = streams(entropy, trial)
    data = split(seeds[0])
    judge = discriminator(verifier, entropy, trial) if verifier in DISCRIMINATORS else None
    rows, labels, phi, rho = verified(data, seeds, verifier, decides, m, judge)
    return {"phi": phi, "rho": rho, **accuracies(rows, labels, data, seeds[3])}


def verified(
    data: Split,
    seeds: Sequence[np.random.SeedSequence],
    verifier: str,
    decides: str,
    m: int,
    judge: Network | None,
) -> tuple[Array, Array, float, float]:
    """The real images and what is kept of the m synthetic ones of a class, their labels, and both rates of keeping.

    The `judge` is the network of a discriminator; a coin of COINS has none.
    """
    images = synthetic(data.generator, "all images", m, seeds[1])
    classes, rng = np.arange(CLASSES).repeat(m), np.random.default_rng(seeds[2])
    wrong, luck = rng.random((DRAWN[-1], 2, CLASSES))[:m].transpose(1, 2, 0).reshape(2, -1)
    wrong = wrong < EPSILON
    labels = (classes + wrong) % CLASSES
    if judge is None:
        phi, rho = COINS[verifier]
        kept = luck < np.where(wrong, rho, phi)
    else:
        kept = judge.classify(images) == labels
        if decides != "network":
            kept = shuffled(kept, wrong + 2 * classes if decides == "coin a class" else wrong, rng)
    rows, row_labels = np.concatenate([data.real, images[kept]]), np.concatenate([data.real_labels, labels[kept]])
    return rows, row_labels, float(kept[~wrong].mean()), float(kept[wrong].mean())


@cache
def discriminator(size: str, entropy: int, trial: int, **options: float) -> Network:
    """The network that verifies: trained on the real images of the classifier, or on those of the generator."""
    seeds = streams(entropy, trial)
    data = split(seeds[0])
    if size == "small":
        return Network(data.real, data.real_labels, seeds[4], **options)
    labels = np.repeat(np.arange(CLASSES), [len(own) for own in data.generator])
    return Network(np.concatenate(data.generator), labels, seeds[4], **options)


def shuffled(kept: Array, group: Array, rng: np.random.Generator) -> Array:
    """The same decisions in random order within each group."""
    result = kept.copy()
    for value in np.unique(group):
        result[group == value] = rng.permutation(kept[group == value])
    return result


EXPERIMENT = Experiment(
    name="figure_7",
    seed=FIGURE_5.seed,
    trials=FIGURE_5.trials,
    settings=[
        *({"verifier": v, "decides": "coin", "m": m} for v in COINS for m in DRAWN),
        *({"verifier": v, "decides": d, "m": m} for v in DISCRIMINATORS for d in ("network", "coin") for m in DRAWN),
        *({"verifier": v, "decides": "coin a class", "m": DRAWN[-1]} for v in DISCRIMINATORS),
    ],
    measure=measure,
)
