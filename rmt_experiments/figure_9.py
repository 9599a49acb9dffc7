"""A fine-tuned transformer and ridge as students of two labellers: accuracy against the share of synthetic labels.

100 sentences keep their true labels; m others have labels by a language model or by a lexicon, half and half. A
verifier keeps all, those whose label is right ("oracle"), or those on which a weak classifier agrees. In the controls
labels are wrong and kept just as often, but on sentences drawn at random ("at random"), or drawn at random among those
of the same class ("at random in class").

The ridge penalty is chosen in every arm by a cross-validation over the 100 real sentences ("accuracy"), or 1
everywhere ("fixed"). The network is trained with equally many updates in every arm, at the same learning rate; for the
real sentences alone there are other recipes, too. "NAME_itself" is the accuracy of a labeller or of the weak verifier
on the trial's test sentences; for the labellers of movies, not asked about these, on its training sentences.

Each trial is a setting, so that rows of the same trial can be compared in pairs, and an interrupted run loses little.
Pool 0 is all sentences; each other pool is a bootstrap of it, whose units are the reviews (on movies the sentences),
with a few trials: their spread, less what the trials add to it, is what the choice of the pool leaves open.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import os
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from rmt_experiments.llm import network
from rmt_experiments.llm.features import GAMMA, GAMMAS, ridge, tuned_accuracy
from rmt_experiments.llm.texts import SEED, sentences, whole_groups
from rmt_experiments.llm.verify import opinions
from rmt_experiments.real_features import prepare_from
from rmt_experiments.runner import Experiment, Table
from rmt_lib import datasets
from rmt_lib.checks import Array
from rmt_lib.datasets import Dataset, fetch
from rmt_lib.datasets.embed_snippets import embed
from rmt_lib.fitted import Population, predict_fitted

REAL = 100
DRAWN = {"ridge": (0, 100, 300, 900), "network": (0, 900)}  # a share of synthetic labels of 0, .5, .75, .9
MOST = 900
LABELLERS = ("model", "lexicon")
VERIFICATIONS = ("none", "weak", "oracle")
CONTROLS = ("at random", "at random in class")
TEST = {"amazon": 200, "movies": 500}  # a class
MOVIES = 1600  # sentences that a trial's test sentences are drawn from
WEAK = 20  # sentences that the weak verifier has learned from
UPDATES = math.ceil((REAL + MOST) / network.BATCH)
"""Of the network, in every arm: one pass over the largest set."""
FEW = 4 * math.ceil(REAL / network.BATCH)
"""Four passes over the real sentences alone."""
RECIPES = ((UPDATES, network.RATE), (UPDATES, network.RATE / 2), (FEW, network.RATE))
"""Updates and learning rates of the network with the real sentences alone; the first one is that of every arm."""
TRIALS = {"network": 4, "ridge": 20}
POOLS, IN_POOL = 40, 8

PUBLISHED = {  # share of synthetic data: test accuracy in percent, read off the paper's picture, so to about .2
    ("Llama-3.1-8B", "oracle"): {0: 70.6, 0.40: 73.1, 0.66: 74.3, 0.82: 75.9, 0.87: 76.1},
    ("Llama-3.1-8B", "weak"): {0: 70.6, 0.51: 68.6, 0.75: 66.7, 0.88: 68.9, 0.91: 64.9},
    ("Gemma-2-2B", "oracle"): {0: 72.1, 0.40: 72.7, 0.66: 73.2, 0.82: 73.4, 0.87: 75.1},
    ("Gemma-2-2B", "weak"): {0: 72.1, 0.50: 69.3, 0.75: 68.8, 0.88: 67.1, 0.91: 65.8},
}


class Task(NamedTuple):
    """Sentences of a kind, by number; `groups` are reviews."""

    features: Array
    labels: Array
    groups: Array
    opinions: Array
    """Of each labeller, in columns; 0 where it was not asked."""
    shown: Array
    """Numbers of those set aside for prompts, which are in no training or test set."""
    train: Array
    """Numbers of those that may be in a training set."""
    test: Array
    """Numbers of those that may be in a test set."""
    known: Array
    """Numbers of those that have features."""


class Split(NamedTuple):
    """Numbers of the sentences of a trial, and what labellers and verifier make of those with synthetic labels."""

    real: Array
    drawn: Array
    test: Array
    wrong: Array
    kept: Mapping[str, Array]
    weak: Array
    """The weak verifier."""


@lru_cache(maxsize=2)
def task(kind: str) -> Task:
    """Everything that does not change from trial to trial.

    Features are embeddings with centre and scale by the sentences set aside for prompts.
    """
    asked = opinions(kind)
    numbers, shown = asked["number"].astype(int), asked["aside"] == 1
    if kind == "amazon":
        data = datasets.amazon_snippets()
        groups, test = data.groups, numbers[~shown]
        rows = np.arange(len(data.labels))
    else:
        everything = sentences(kind)
        others = np.random.default_rng(SEED).permutation(np.setdiff1d(np.arange(len(everything)), numbers))
        test = others[:MOVIES]
        rows = np.sort([*numbers, *test])
        groups = np.arange(len(everything))
        data = Dataset(
            embedded([everything[i].text for i in rows]), np.array([everything[i].label for i in rows], float), None
        )
    known = data.labels[:, None] * prepare_from(data, "scaled", np.flatnonzero(np.isin(rows, numbers[shown])))
    labels, features = np.zeros(len(groups)), np.zeros((len(groups), known.shape[1]))
    labels[rows], features[rows] = data.labels, known
    given = np.zeros((len(groups), len(LABELLERS)))
    given[numbers] = np.transpose([asked[name] for name in LABELLERS])
    return Task(features, labels, groups, given, numbers[shown], numbers[~shown], test, rows)


def resampled(data: Task, rng: np.random.Generator) -> Task:
    """A bootstrap of the sentences that are not set aside: groups, drawn with replacement.

    As many groups as there are, and further ones until the rarer class is as large as it is, so that every trial finds
    its sentences. Copies of a sentence are of the same group: a split keeps them together.
    """
    copies = [data.shown]
    # The sentences to train on and to test on are the same on Amazon, and disjoint on movies.
    parts = [data.train] if np.array_equal(data.train, data.test) else [data.train, data.test]
    for part in parts:
        members = [part[data.groups[part] == name] for name in np.unique(data.groups[part])]
        of_class = np.array([[(data.labels[own] == label).sum() for label in (-1, 1)] for own in members])
        drawn = rng.choice(len(members), 2 * len(members))
        rarer = of_class[drawn].cumsum(axis=0).min(axis=1)
        stop = max(len(members), 1 + int(np.searchsorted(rarer, of_class.sum(axis=0).min())))
        copies.append(np.concatenate([members[i] for i in drawn[:stop]]))
    ends = np.cumsum([len(part) for part in copies])
    numbers = [np.arange(end - len(part), end) for end, part in zip(ends, copies, strict=True)]
    rows = np.concatenate(copies)
    arrays = (values[rows] for values in (data.features, data.labels, data.groups, data.opinions))
    return Task(*arrays, numbers[0], numbers[1], numbers[-1], np.arange(len(rows)))


def embedded(texts: list[str]) -> Array:
    """Embeddings of texts, kept in the cache of fetched files: they take a minute."""
    path = fetch.cache() / f"embedded-{hashlib.sha256(chr(10).join(texts).encode()).hexdigest()[:16]}.npy"
    if not path.exists():
        part = path.with_suffix(f".{os.getpid()}.npy")
        np.save(part, embed(texts).astype(np.float16))
        part.replace(path)
    return np.load(path).astype(float)


def classes(numbers: Array, labels: Array, size: int, rng: np.random.Generator) -> Array:
    """`size` sentences of each class, in random order, the classes in turn."""
    return np.stack([rng.permutation(numbers[labels[numbers] == label])[:size] for label in (-1, 1)], axis=1).ravel()


def split(data: Task, kind: str, rng: np.random.Generator) -> Split:
    """Draw a trial. On Amazon whole reviews are for testing, as many as it takes; on movies other sentences are.

    Reviews that leave too few others to train on (they may in a bootstrap) are drawn again.
    """
    train, test = data.train, data.test
    while kind == "amazon":
        to_test = whole_groups(data.groups[data.test], data.labels[data.test], TEST[kind], rng)
        train, test = data.test[~to_test], data.test[to_test]
        if min((data.labels[train] == label).sum() for label in (-1, 1)) >= (REAL + MOST) // 2:
            break
    test = classes(test, data.labels, TEST[kind], rng)
    train = classes(train, data.labels, (REAL + MOST) // 2, rng)
    drawn = train[REAL:]
    given = data.opinions[drawn, rng.permutation(np.arange(len(drawn)) % len(LABELLERS))]
    wrong = given != data.labels[drawn]
    taught = classes(data.shown, data.labels, WEAK // 2, rng)
    weak = ridge(data.features[taught], data.labels[taught], WEAK)
    agrees = data.features[drawn] @ weak * given > 0
    kept = {"none": np.ones_like(wrong), "oracle": ~wrong, "weak": agrees}
    return Split(train[:REAL], drawn, test, wrong, kept, weak)


def shuffled(data: Task, trial: Split, rng: np.random.Generator, *, in_class: bool) -> Split:
    """As many labels wrong, kept or both at each m, but on sentences drawn at random, of all or of the same class."""
    order = np.arange(len(trial.drawn))
    truth = data.labels[trial.drawn]
    for low, high in itertools.pairwise(DRAWN["ridge"]):
        block = np.arange(low, high)
        for part in (block[truth[low:high] == label] for label in (-1, 1)) if in_class else (block,):
            order[part] = rng.permutation(part)
    return trial._replace(wrong=trial.wrong[order], kept={name: kept[order] for name, kept in trial.kept.items()})


def training_set(data: Task, trial: Split, m: int, verification: str) -> tuple[Array, Array]:
    """Numbers of the real sentences and, after them, of those kept of m others; and their labels."""
    wrong, kept = trial.wrong[:m], trial.kept[verification][:m]
    chosen = np.concatenate([trial.real, trial.drawn[:m][kept]])
    return chosen, data.labels[chosen] * np.concatenate([np.ones(REAL), np.where(wrong, -1, 1)[kept]])


def ridge_accuracy(data: Task, trial: Split, chosen: Array, labels: Array, total: int) -> dict[str, float]:
    """Accuracy at the penalty chosen by cross-validation and at GAMMA, and the chosen penalty."""
    tested = data.features[trial.test], data.labels[trial.test]
    found = tuned_accuracy(data.features[chosen], labels, data.groups[trial.real], *tested, total=total)
    return {"accuracy": found.tuned, "gamma": found.gamma, "fixed": found.fixed}


def network_accuracy(
    kind: str, data: Task, trial: Split, chosen: Array, labels: Array, recipe: tuple[int, float], seed: int
) -> dict[str, float]:  # fmt: skip
    """Accuracy of the network, with the columns that are ridge's alone."""
    texts = [sentence.text for sentence in sentences(kind)]
    updates, rate = recipe
    taught = network.fine_tune([texts[i] for i in chosen], labels, seed=seed, updates=updates, rate=rate)
    score = taught.scores([texts[i] for i in trial.test])
    return {"accuracy": float((data.labels[trial.test] * score > 0).mean()), "gamma": np.nan, "fixed": np.nan}


def itself(kind: str, data: Task, trial: Split) -> dict[str, float]:
    """Accuracy of the weak verifier on the test sentences, and of the labellers on them or on those they labelled."""
    right = {"weak": data.features[trial.test] @ trial.weak * data.labels[trial.test] > 0}
    asked = trial.test if kind == "amazon" else trial.drawn
    right |= dict(zip(LABELLERS, (data.opinions[asked] == data.labels[asked, None]).T, strict=True))
    return {f"{name}_itself": float(values.mean()) for name, values in right.items()}


def theory(population: Population | None, m: int, rates: Mapping[str, float]) -> dict[str, float]:
    """What is expected of ridge, at the penalty GAMMA and at the best one."""
    if population is None:
        return {"ridge_theory": np.nan, "tuned_theory": np.nan}
    expected = [predict_fitted(population, n=REAL, m=m, gamma=gamma, **rates).accuracy for gamma in GAMMAS]
    return {"ridge_theory": float(expected[GAMMAS.index(GAMMA)]), "tuned_theory": float(max(expected))}


def wanted(student: str, labels: str, pool: int) -> Iterator[tuple[str, int, tuple[int, float]]]:
    """Verification, m and recipe of the rows of a setting: of the control, one row for the network."""
    if student == "network":
        if labels in CONTROLS:
            yield "none", MOST, RECIPES[0]
        else:
            yield from (("none", 0, recipe) for recipe in RECIPES)
            yield from ((verification, MOST, RECIPES[0]) for verification in VERIFICATIONS)
        return
    if labels not in CONTROLS:
        yield "none", 0, (0, 0.0)
    sizes = (MOST,) if pool else DRAWN[student][1:]
    yield from ((verification, m, (0, 0.0)) for verification in VERIFICATIONS for m in sizes)


def measure(setting: Mapping[str, Any], trials: int, seed: np.random.SeedSequence) -> list[dict[str, Any]]:
    """Every training set of a trial: its rates, the student's accuracy, and what theory expects of ridge.

    The theory has the mean and covariance of all sentences but those in the groups of the test sentences.
    """
    kind, student, labels, pool, number = (setting[key] for key in ("task", "student", "labels", "pool", "trial"))
    data = task(kind)
    if pool:
        data = resampled(data, np.random.default_rng(np.random.SeedSequence(seed.entropy, spawn_key=(pool,))))
    rng = np.random.default_rng([seed.entropy, number, pool][: 3 if pool else 2])  # the same in all settings of a trial
    trial = split(data, kind, rng)
    own = itself(kind, data, trial)
    if labels in CONTROLS:
        trial = shuffled(data, trial, rng, in_class=labels == CONTROLS[1])
    population = None
    if not pool:  # the estimate would take copies of a sentence for different ones
        others = data.known[~np.isin(data.groups[data.known], data.groups[trial.test])]
        population = Population.of_data(data.features[others], data.labels[others])
    rows = []
    for verification, m, recipe in wanted(student, labels, pool):
        wrong, kept = trial.wrong[:m], trial.kept[verification][:m]
        rates = {"epsilon": wrong.mean(), "phi": kept[~wrong].mean(), "rho": kept[wrong].mean()} if m else {}
        chosen, given = training_set(data, trial, m, verification)
        rows.append(
            {"verification": verification, "m": m, "share": m / (REAL + m), "kept": int(kept.sum())}
            | {"updates": recipe[0], "rate": recipe[1]}
            | {"epsilon": 0.0, "phi": 1.0, "rho": 1.0}
            | {name: float(rate) for name, rate in rates.items()}
            | (
                ridge_accuracy(data, trial, chosen, given, REAL + m)
                if student == "ridge"
                else network_accuracy(kind, data, trial, chosen, given, recipe, number)
            )
            | theory(population, m, rates)
            | own
        )
    return rows


EXPERIMENT = Experiment(
    name="figure_9",
    seed=2410,
    trials=1,
    settings=[
        {"task": kind, "student": student, "labels": labels, "trial": trial, "pool": 0}
        for labels in ("by the labellers", *CONTROLS)
        for student, trials in TRIALS.items()
        if (student, labels) != ("network", CONTROLS[1])
        for trial in range(trials)
        for kind in TEST
    ]
    + [
        {"task": kind, "student": "ridge", "labels": "by the labellers", "trial": trial, "pool": pool}
        for pool in range(1, POOLS + 1)
        for kind in TEST
        for trial in range(IN_POOL)
    ],
    measure=measure,
    packages=("torch", "transformers", "tokenizers", "onnxruntime"),
)


def curve(table: Table, **chosen: Any) -> dict[str, Array]:
    """Columns over the shares, one row a trial, of the rows chosen; each curve begins with the real sentences alone."""
    chosen = {"pool": 0} | chosen
    alone = {name: chosen[name] for name in ("task", "student", "pool")} | {"m": 0}
    if chosen["student"] == "network":
        alone |= dict(zip(("updates", "rate"), RECIPES[0], strict=True))
    start = table.where(**alone)
    rows = [start, *(table.where(**chosen, m=m) for m in np.unique(table.where(**chosen)["m"]) if m)]
    return {name: np.transpose([part[name] for part in rows]) for name in table.columns}
