"""A fine-tuned transformer and ridge as students of two labellers: accuracy against the share of synthetic labels.

100 sentences keep their true labels; m others have labels by a language model or by a lexicon, half and half. A
verifier keeps all, those whose label is right ("oracle"), or those on which a weak classifier agrees. In the control
labels are wrong and kept just as often, but on sentences drawn at random ("at random").

Each trial is a setting, so that rows of the same trial can be compared in pairs, and an interrupted run loses little.
"""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from rmt_experiments.llm import network
from rmt_experiments.llm.features import GAMMA, ridge
from rmt_experiments.llm.texts import SEED, sentences, whole_groups
from rmt_experiments.llm.verify import opinions
from rmt_experiments.real_features import prepare
from rmt_experiments.runner import Experiment, Table
from rmt_lib import datasets
from rmt_lib.checks import Array
from rmt_lib.datasets import Dataset, fetch
from rmt_lib.datasets.embed_snippets import embed
from rmt_lib.fitted import Population, predict_fitted

REAL = 100
DRAWN = {"ridge": (0, 100, 300, 900), "network": (0, 100, 900)}  # a share of synthetic labels of 0, .5, .75, .9
MOST = 900
LABELLERS = ("model", "lexicon")
VERIFICATIONS = ("none", "weak", "oracle")
TEST = {"amazon": 200, "movies": 500}  # a class
MOVIES = 1600  # sentences that a trial's test sentences are drawn from
WEAK = 20  # sentences that the weak verifier has learned from
READ = 400  # a network passes over its training set once, or as often as it takes to read so many sentences
TRIALS = {"network": 5, "ridge": 20}

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
    population: Population


class Split(NamedTuple):
    """Numbers of the sentences of a trial, and what labellers and verifier make of those with synthetic labels."""

    real: Array
    drawn: Array
    test: Array
    wrong: Array
    kept: Mapping[str, Array]


@lru_cache(maxsize=2)
def task(kind: str) -> Task:
    """Everything that does not change from trial to trial."""
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
    known = data.labels[:, None] * prepare(data, "scaled")
    labels, features = np.zeros(len(groups)), np.zeros((len(groups), known.shape[1]))
    labels[rows], features[rows] = data.labels, known
    given = np.zeros((len(groups), len(LABELLERS)))
    given[numbers] = np.transpose([asked[name] for name in LABELLERS])
    population = Population.of_data(known, data.labels)
    return Task(features, labels, groups, given, numbers[shown], numbers[~shown], test, population)


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
    """Draw a trial. On Amazon whole reviews are for testing, as many as it takes; on movies other sentences are."""
    train, test = data.train, data.test
    if kind == "amazon":
        to_test = whole_groups(data.groups[test], data.labels[test], TEST[kind], rng)
        train, test = test[~to_test], test[to_test]
    test = classes(test, data.labels, TEST[kind], rng)
    train = classes(train, data.labels, (REAL + MOST) // 2, rng)
    drawn = train[REAL:]
    given = data.opinions[drawn, rng.permutation(np.arange(len(drawn)) % len(LABELLERS))]
    wrong = given != data.labels[drawn]
    taught = classes(data.shown, data.labels, WEAK // 2, rng)
    agrees = data.features[drawn] @ ridge(data.features[taught], data.labels[taught], WEAK) * given > 0
    return Split(train[:REAL], drawn, test, wrong, {"none": np.ones_like(wrong), "oracle": ~wrong, "weak": agrees})


def at_random(trial: Split, rng: np.random.Generator) -> Split:
    """As many labels wrong, kept or both at each m, but on sentences drawn at random."""
    blocks = itertools.pairwise(DRAWN["ridge"])
    order = np.concatenate([rng.permutation(np.arange(low, high)) for low, high in blocks])
    return trial._replace(wrong=trial.wrong[order], kept={name: kept[order] for name, kept in trial.kept.items()})


def scores(
    student: str, kind: str, data: Task, trial: Split, m: int, wrong: Array, kept: Array, seed: int
) -> Array:  # fmt: skip
    """Scores of the test sentences by a student of the real and the kept sentences."""
    chosen = np.concatenate([trial.real, trial.drawn[:m][kept]])
    labels = data.labels[chosen] * np.concatenate([np.ones(REAL), np.where(wrong, -1, 1)[kept]])
    if student == "ridge":
        return data.features[trial.test] @ ridge(data.features[chosen], labels, REAL + m)
    texts = [sentence.text for sentence in sentences(kind)]
    epochs = max(1, round(READ / len(chosen)))
    taught = network.fine_tune([texts[i] for i in chosen], labels, seed=seed, epochs=epochs)
    return taught.scores([texts[i] for i in trial.test])


def wanted(student: str, labels: str) -> Iterator[tuple[str, int]]:
    """Verification and m of the rows of a setting: of the control, only the largest set for the network."""
    if (student, labels) == ("network", "at random"):
        yield "none", MOST
        return
    if labels == "by the labellers":
        yield "none", 0
    yield from ((verification, m) for verification in VERIFICATIONS for m in DRAWN[student][1:])


def measure(setting: Mapping[str, Any], trials: int, seed: np.random.SeedSequence) -> list[dict[str, Any]]:
    """Every training set of a trial: its rates, the student's accuracy, and what theory expects of ridge."""
    kind, student, labels = setting["task"], setting["student"], setting["labels"]
    data = task(kind)
    rng = np.random.default_rng([seed.entropy, setting["trial"]])  # the same in all settings of a trial
    trial = split(data, kind, rng)
    trial = trial if labels == "by the labellers" else at_random(trial, rng)
    rows = []
    for verification, m in wanted(student, labels):
        wrong, kept = trial.wrong[:m], trial.kept[verification][:m]
        rates = {"epsilon": wrong.mean(), "phi": kept[~wrong].mean(), "rho": kept[wrong].mean()} if m else {}
        score = scores(student, kind, data, trial, m, wrong, kept, setting["trial"])
        theory = predict_fitted(data.population, n=REAL, m=m, gamma=GAMMA, **rates).accuracy
        rows.append(
            {"verification": verification, "m": m, "share": m / (REAL + m), "kept": int(kept.sum())}
            | {"epsilon": 0.0, "phi": 1.0, "rho": 1.0}
            | {name: float(rate) for name, rate in rates.items()}
            | {"accuracy": float((data.labels[trial.test] * score > 0).mean()), "ridge_theory": float(theory)}
        )
    return rows


EXPERIMENT = Experiment(
    name="figure_9",
    seed=2410,
    trials=1,
    settings=[
        {"task": kind, "student": student, "labels": labels, "trial": trial}
        for labels in ("by the labellers", "at random")
        for student, trials in TRIALS.items()
        for trial in range(trials)
        for kind in TEST
    ],
    measure=measure,
    packages=("torch", "transformers", "tokenizers", "onnxruntime"),
)


def curve(table: Table, **chosen: Any) -> dict[str, Array]:
    """Columns over the shares, one row a trial, of the rows chosen; each curve begins with the real sentences alone."""
    start = table.where(task=chosen["task"], student=chosen["student"], m=0)
    rows = [start, *(table.where(**chosen, m=m) for m in np.unique(table.where(**chosen)["m"]) if m)]
    return {name: np.transpose([part[name] for part in rows]) for name in table.columns}
