"""How much of what generated sentences add is the luck of one set of them, or of one pool of reviews.

The gain over real data alone, penalty tuned on both sides, with m = 1000 sentences of the whole set, of each third of
its prompts, of other answers to the prompts of the first third ("generated_again") and of answers to prompts in
other words that show both classes ("generated_mixed"). All sets of an n share their splits: they differ by less than
the standard errors over splits suggest.

The setting "halves" measures what the pools of reviews and prompts leave open, at the same n and m. Each trial draws
half of the reviews and half of the prompts, and averages over 12 splits of these. A mean over half as many units, drawn
without replacement, varies about the mean over all of them as much as that one varies about the truth; and no sentence
is there twice, as it would be in a bootstrap. There a standard error is the standard deviation over the halves, without
what 12 splits add to it.

The strategy "aside" adds the real sentences that were set aside for prompts and thresholds instead: whoever generates
and verifies has those, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from rmt_experiments.language_model import PREDICTED, kept
from rmt_experiments.llm import features
from rmt_experiments.llm.generate import PROMPTS
from rmt_experiments.llm.moments import balanced, extrapolated
from rmt_experiments.runner import Experiment, estimate
from rmt_lib import Source, predict
from rmt_lib.checks import Array

SIZES = (100, 400)
M = 1000
STRATEGIES = ("aside", "all", "network", "jury")
SETS = ("generated", "third 1", "third 2", "third 3", "halves", "generated_again", "generated_mixed")
SPLITS = 12
TESTED = 100
"""Test sentences of each class in half of the pool."""


def candidates(sentences: str) -> tuple[str, Array]:
    """The file that a set is in, and the numbers of its sentences."""
    if not sentences.startswith("third"):
        return sentences, np.arange(len(features.generated(sentences).labels))
    third = features.generated().groups * 3 // PROMPTS
    return "generated", np.flatnonzero(third == int(sentences[-1]) - 1)


def accuracies(rows: features.Split, name: str, drawn: Array) -> Array:
    """Tuned and untuned accuracy (2, 1 + strategies): of the real sentences alone, and with what a strategy adds."""
    sentences, aside, n = features.generated(name), features.real(aside=True), len(rows.train)
    added = [(aside.x[:0], aside.labels[:0], 0), (aside.x, aside.labels, len(aside.labels))]
    for strategy in STRATEGIES[1:]:
        left = drawn[kept(strategy, name)[drawn]]
        added.append((sentences.x[left], sentences.labels[left], len(drawn)))
    measured = [features.accuracy(rows, x, labels, total=n + count) for x, labels, count in added]
    return np.array([[one.tuned, one.fixed] for one in measured]).T


def one_split(n: int, sentences: str, rng: np.random.Generator) -> Array:
    """`accuracies` in a split of all reviews."""
    train, test = features.split(rng)
    name, numbers = candidates(sentences)
    return accuracies(features.Split(train[:n], test), name, rng.permutation(numbers)[:M])


def one_half(n: int, rng: np.random.Generator) -> Array:
    """`accuracies` in each split of half of the reviews, with the sentences of half of the prompts."""
    pools = [_half(part.groups, rng) for part in (features.real(), features.generated())]
    measured = []
    for _ in range(SPLITS):
        train, test = features.split(rng, pool=pools[0], count=TESTED)
        if len(train) < n:
            raise ValueError(f"n must be at most {len(train)} in this half of the reviews, got {n}")
        measured.append(accuracies(features.Split(train[:n], test), "generated", rng.permutation(pools[1])[:M]))
    return np.array(measured)


def predictions(n: int, sentences: str) -> Array:
    """Gain of each strategy by the theory, from the moments of what it adds, at its own best penalties."""
    name, numbers = candidates("generated" if sentences == "halves" else sentences)
    predicted = partial(_predictions, n, name, numbers)
    best = extrapolated(predicted, seed=EXPERIMENT.seed, written=len(numbers)).max(axis=1)
    return best[1:] - best[0]


def _predictions(n: int, name: str, numbers: Array, rows: Array, drawn: Array) -> Array:
    """Accuracy (1 + strategies, penalties), alone and by strategy, from these sentences only."""
    real, generated = features.real(), features.generated(name)
    target = balanced(real.x[rows], real.labels[rows])
    more = n + len(features.real(aside=True).labels)
    arms = [([Source(target, n)], n), ([Source(target, more)], more)]
    for strategy in STRATEGIES[1:]:
        left = numbers[drawn][kept(strategy, name)[numbers[drawn]]]
        mixture = balanced(generated.x[left], generated.labels[left])
        arms.append(([Source(target, n), Source(mixture, M * len(left) / len(drawn))], n + M))
    # The theory divides by the number of samples it is given, the classifier by that of those drawn.
    ratios = [total / sum(source.n for source in sources) for sources, total in arms]
    return np.array(
        [
            [predict(target, sources, gamma=gamma * ratio).accuracy for gamma in PREDICTED]
            for (sources, _), ratio in zip(arms, ratios, strict=True)
        ]
    )


def measure(setting: Mapping[str, Any], trials: int, seed: np.random.SeedSequence) -> list[dict[str, Any]]:
    """For each strategy: tuned accuracy alone and with it, the gain, tuned and at the penalty 1, and as predicted."""
    n, sentences = setting["n"], setting["sentences"]
    # The seed's own number is left out: all sets see the same splits.
    generators = map(np.random.default_rng, np.random.SeedSequence((seed.entropy, n)).spawn(trials))
    halves = sentences == "halves"
    measured = np.array([one_half(n, rng) if halves else [one_split(n, sentences, rng)] for rng in generators])
    rows = []
    for i, (strategy, predicted) in enumerate(zip(STRATEGIES, predictions(n, sentences), strict=True), start=1):
        row: dict[str, Any] = {"strategy": strategy, "predicted": predicted}
        gain = measured[..., i] - measured[..., 0]
        values = {"real": measured[..., 0, 0], "accuracy": measured[..., 0, i], "gain": gain[..., 0]}
        for name, value in (values | {"fixed_gain": gain[..., 1]}).items():
            row[name], error = estimate(value.mean(axis=1))
            row[f"{name}_se"] = _between(value) if halves else error
        rows.append(row)
    return rows


def _half(groups: Array, rng: np.random.Generator) -> Array:
    """Numbers of the rows of half of the groups."""
    names = rng.permutation(np.unique(groups))
    return np.flatnonzero(np.isin(groups, names[: len(names) // 2]))


def _between(values: Array) -> float:
    """Standard deviation of the trials' means, of values (trials, splits), without what the splits add to it."""
    noise = values.var(axis=1, ddof=1).mean() / values.shape[1]
    return float(np.sqrt(max(values.mean(axis=1).var(ddof=1) - noise, 0)))


EXPERIMENT = Experiment(
    name="language_model_sets",
    seed=2410,
    trials=48,
    settings=[{"n": n, "sentences": sentences} for sentences in SETS for n in SIZES],
    measure=measure,
    packages=("scikit-learn",),
)
