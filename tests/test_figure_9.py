"""Figure 9: stored rows are those of the script, the network is the published one, and the chapter's claims hold."""

import sys

import numpy as np
import pytest

from rmt_experiments import figure_9
from rmt_experiments.figure_9 import CONTROLS, MOST, POOLS, REAL, RECIPES, TEST, VERIFICATIONS, curve
from rmt_experiments.llm.features import FOLDS, GAMMAS, folds
from rmt_experiments.runner import estimate, load, read
from rmt_lib import datasets

STORED = read("figure_9")
M = figure_9.DRAWN["ridge"]
TEXTS = ["a fine machine", "it broke after a week", "works well", "do not buy this", "very good value", "useless"]
LABELS = np.array([1, -1, 1, -1, 1, -1])


@pytest.fixture(scope="module")
def network():
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from rmt_experiments.llm import network

    return network


@pytest.mark.parametrize("pool, labels", [(0, "by the labellers"), *((0, name) for name in CONTROLS), (POOLS, None)])
def test_a_trial_of_ridge_is_the_stored_one(pool, labels):
    """Without PyTorch: every row of a trial."""
    experiment = load("figure_9")
    wanted = ("amazon", "ridge", pool, labels or "by the labellers")
    settings = [(s["task"], s["student"], s["pool"], s["labels"]) for s in experiment.settings]
    number = settings.index(wanted)
    rows = experiment.rows(number)
    stored = STORED.where(**experiment.settings[number])
    assert len(rows) == len(stored)
    for name in ("labels", "verification"):
        assert [row[name] for row in rows] == list(stored[name])
    for name in ("m", "kept", "epsilon", "phi", "rho", "accuracy", "gamma", "fixed", "weak_itself", "model_itself"):
        np.testing.assert_allclose([row[name] for row in rows], stored[name], rtol=1e-11, atol=1e-11)
    for name in ("ridge_theory", "tuned_theory"):
        np.testing.assert_allclose([row[name] for row in rows], stored[name], rtol=1e-8)


def test_splits():
    data = figure_9.task("amazon")
    trial = figure_9.split(data, "amazon", np.random.default_rng(1))
    train = np.concatenate([trial.real, trial.drawn])
    assert len(np.unique(train)) == len(train) == REAL + MOST
    assert not np.isin(data.groups[trial.test], data.groups[train]).any(), "no review is on both sides"
    assert not np.isin(data.shown, np.concatenate([train, trial.test])).any()
    assert len(trial.test) == 2 * TEST["amazon"]
    for chosen in (trial.test, trial.real, *(trial.drawn[:m] for m in M[1:])):
        assert data.labels[chosen].sum() == 0, "half of each class"


def test_features_are_centred_and_scaled_by_the_sentences_set_aside():
    data = figure_9.task("amazon")
    shown, labels = data.features[data.shown], data.labels[data.shown]
    means = [shown[labels == label].mean(axis=0) for label in (-1, 1)]
    np.testing.assert_allclose(means[0], -means[1], atol=1e-12)
    assert (labels[:, None] * shown).var(axis=0).mean() == pytest.approx(1)


def test_the_penalty_is_chosen_by_cross_validation_over_the_real_sentences():
    """Against a classifier fitted anew in each fold; whole reviews, and every synthetic sentence in each fold."""
    data = figure_9.task("amazon")
    trial = figure_9.split(data, "amazon", np.random.default_rng(3))
    chosen, labels = figure_9.training_set(data, trial, 100, "weak")
    total, x = REAL + 100, data.features[chosen]
    assert (data.labels[trial.real] == labels[:REAL]).all()
    fold = folds(data.groups[trial.real])
    assert set(fold) == set(range(FOLDS))
    assert all(len(set(fold[data.groups[trial.real] == review])) == 1 for review in data.groups[trial.real])

    def fitted(rows, size, gamma):
        gram = x[rows].T @ x[rows] + size * gamma * np.eye(x.shape[1])
        return np.linalg.solve(gram, x[rows].T @ labels[rows])

    right = np.zeros(len(GAMMAS))
    for i, gamma in enumerate(GAMMAS):
        for k in range(FOLDS):
            held = np.flatnonzero(fold == k)
            w = fitted(np.setdiff1d(np.arange(len(x)), held), total - len(held), gamma)
            right[i] += (x[held] @ w * labels[held] > 0).sum()
    tied = np.flatnonzero(right == right.max())
    found = figure_9.ridge_accuracy(data, trial, chosen, labels, total)
    assert found["gamma"] == GAMMAS[int(np.median(tied))]
    for name, gamma in (("accuracy", found["gamma"]), ("fixed", 1.0)):
        score = data.features[trial.test] @ fitted(np.arange(len(x)), total, gamma)
        assert found[name] == pytest.approx((score * data.labels[trial.test] > 0).mean(), abs=1e-12)


@pytest.mark.parametrize("control", CONTROLS)
def test_the_controls_have_the_same_rates_at_every_share(control):
    data = figure_9.task("amazon")
    rng = np.random.default_rng(2)
    trial = figure_9.split(data, "amazon", rng)
    in_class = control == CONTROLS[1]
    moved = figure_9.shuffled(data, trial, rng, in_class=in_class)
    assert (moved.wrong != trial.wrong).any()
    truth = data.labels[trial.drawn]
    same = []
    for m in M[1:]:
        for name in VERIFICATIONS:
            for sort in (True, False):
                chosen = [(t.kept[name] & (t.wrong == sort))[:m] for t in (trial, moved)]
                assert chosen[0].sum() == chosen[1].sum()
                same.append((chosen[0] & (truth[:m] > 0)).sum() == (chosen[1] & (truth[:m] > 0)).sum())
    assert all(same) == in_class, "one control keeps the rates of each class, the other does not"


@pytest.mark.parametrize("task", TEST)
def test_a_bootstrap_of_the_pool(task):
    data = figure_9.task(task) if task == "amazon" else small()
    drawn = figure_9.resampled(data, np.random.default_rng(4))
    assert np.array_equal(drawn.groups[drawn.shown], data.groups[data.shown]), "those set aside stay"
    parts = [(drawn.test, data.test)] + ([] if task == "amazon" else [(drawn.train, data.train)])
    for copies, part in parts:
        names, count = np.unique(drawn.groups[copies], return_counts=True)
        assert np.isin(names, data.groups[part]).all()
        assert 0.55 < len(names) / len(np.unique(data.groups[part])) < 0.8, "63 percent of them, or some more"
        size = dict(zip(*np.unique(data.groups[part], return_counts=True), strict=True))
        assert all(n % size[name] == 0 for name, n in zip(names, count, strict=True)), "whole groups"
        rarer = [
            min((d.labels[chosen] == label).sum() for label in (-1, 1)) for d, chosen in ((data, part), (drawn, copies))
        ]
        assert rarer[1] >= rarer[0]
    if task == "amazon":
        trial = figure_9.split(drawn, task, np.random.default_rng(5))
        train = np.concatenate([trial.real, trial.drawn])
        assert not np.isin(drawn.groups[trial.test], drawn.groups[train]).any()


def small():
    """A task whose sentences to train on and to test on are disjoint."""
    rng = np.random.default_rng(1)
    numbers = rng.permutation(600)
    labels, opinions = rng.choice((-1.0, 1.0), 600), rng.choice((-1.0, 1.0), (600, 2))
    parts = numbers[:20], numbers[20:300], numbers[300:]
    return figure_9.Task(rng.normal(size=(600, 3)), labels, np.arange(600), opinions, *parts, np.arange(600))


def test_students_share_their_trials():
    for name in ("epsilon", "phi", "rho", "kept", "ridge_theory", "weak_itself"):
        for kind in TEST:
            students = [
                STORED.where(task=kind, student=student, labels="by the labellers", pool=0)
                for student in ("network", "ridge")
            ]
            keys = [zip(t["trial"], t["verification"], t["m"], strict=True) for t in students]
            both = dict(zip(keys[1], students[1][name], strict=True))
            for key, value in zip(keys[0], students[0][name], strict=True):
                assert both[key] == pytest.approx(value, rel=1e-9)


def test_the_network_is_trained_alike_in_every_arm():
    """Only for the real sentences alone are there other recipes."""
    rows = STORED.where(student="network")
    recipes = list(zip(rows["updates"], rows["rate"], strict=True))
    assert RECIPES[0] == (63, 1e-4)
    assert {recipe for recipe, m in zip(recipes, rows["m"], strict=True) if m} == {RECIPES[0]}
    assert {recipe for recipe, m in zip(recipes, rows["m"], strict=True) if not m} == set(RECIPES)


def test_frozen_network_is_the_stored_one(network):
    from rmt_experiments.llm.texts import sentences

    chosen = range(0, 2383, 300)
    found = network.frozen([sentences("amazon")[i].text for i in chosen])
    stored = datasets.amazon_snippets().features[chosen]
    cosines = (found * stored).sum(axis=1) / np.linalg.norm(stored, axis=1)
    assert found.shape == (8, 384) and cosines.min() > 0.98
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-6)


def test_fine_tuning_learns_and_repeats(network):
    taught, again = (network.fine_tune(TEXTS, LABELS, seed=1, epochs=12) for _ in range(2))
    first = taught.scores(TEXTS)
    np.testing.assert_array_equal(first, again.scores(TEXTS))
    assert (first * LABELS > 0).all()
    np.testing.assert_allclose(taught.scores(TEXTS[:1]), first[:1], atol=1e-4)


def test_updates_in_place_of_epochs(network):
    """Two passes over six texts are two batches; a third pass is another result."""
    by_epochs, by_updates, more = (
        network.fine_tune(TEXTS, LABELS, seed=1, **options).scores(TEXTS)
        for options in ({"epochs": 2}, {"updates": 2}, {"updates": 3})
    )
    np.testing.assert_array_equal(by_epochs, by_updates)
    assert np.abs(more - by_updates).max() > 1e-3


@pytest.mark.parametrize(
    "texts, labels, options, message",
    [
        (TEXTS, LABELS[:-1], {}, "labels must have shape"),
        ([], [], {}, "texts must be one or more"),
        (TEXTS, 2 * LABELS, {}, "labels must be -1 or"),
        (TEXTS, LABELS, {"epochs": -1}, "epochs must be"),
        (TEXTS, LABELS, {"updates": -1}, "updates must be"),
        (TEXTS, LABELS, {"rate": 0}, "rate must be"),
        (TEXTS, LABELS, {"threads": 0}, "threads must be"),
        (TEXTS, LABELS, {"seed": -1}, "seed must be"),
    ],
)
def test_bad_input_is_refused(texts, labels, options, message):
    from rmt_experiments.llm import network

    with pytest.raises(ValueError, match=message):
        network.fine_tune(texts, labels, **{"seed": 1, **options})


def test_without_pytorch_it_says_so(monkeypatch):
    from rmt_experiments.llm import network

    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(datasets.MissingDataError, match="requirements.txt"):
        network.fine_tune(TEXTS, LABELS, seed=1)


def gain(task, student, verification, labels="by the labellers", column="accuracy"):
    """Points over the 100 real sentences at each share, a row a trial."""
    found = curve(STORED, task=task, student=student, verification=verification, labels=labels)
    return 100 * (found[column] - found[column][:, :1])


def sure(values, low):
    """The mean over trials is above `low` by two standard errors over splits."""
    mean, error = estimate(values)
    return mean - 2 * error > low


@pytest.mark.parametrize("task", TEST)
def test_the_oracle_gains_and_nothing_loses(task):
    for student, column in (("network", "accuracy"), ("ridge", "accuracy"), ("ridge", "fixed")):
        assert sure(gain(task, student, "oracle", column=column)[:, -1], 0)
        for name in VERIFICATIONS:
            mean, error = estimate(gain(task, student, name, column=column)[:, 1:])
            assert (mean + 2 * error > 0).all(), "no loss is beyond two standard errors"


@pytest.mark.parametrize("task", TEST)
def test_a_part_of_the_gain_at_a_fixed_penalty_is_shrinkage(task):
    fixed, tuned = (gain(task, "ridge", "oracle", column=column)[:, -1] for column in ("fixed", "accuracy"))
    assert sure(fixed - tuned, 0.5)
    assert 0.2 < 1 - tuned.mean() / fixed.mean() < 0.4


@pytest.mark.parametrize("task", TEST)
def test_weak_verification_is_worse_than_none_for_tuned_ridge(task):
    weak, none = (gain(task, "ridge", name)[:, 2:] for name in ("weak", "none"))
    assert sure((none - weak)[:, 0], 0) and sure((none - weak)[:, 1], 0)
    weak, none = (gain(task, "ridge", name, column="tuned_theory")[:, -1] for name in ("weak", "none"))
    assert sure(weak - none, 0.1), "the theory has it the other way round"


@pytest.mark.parametrize("task", TEST)
def test_no_ridge_student_is_as_good_as_the_language_model_itself(task):
    """And the weak verifier is a worse classifier than ridge on the real sentences alone."""
    for name in VERIFICATIONS:
        found = curve(STORED, task=task, student="ridge", verification=name, labels="by the labellers")
        for best in (found["accuracy"].T, found["fixed"].T):
            assert all(sure(100 * (found["model_itself"][:, 0] - value), 0) for value in best)
    assert sure(100 * (found["accuracy"] - found["weak_itself"])[:, 0], 3)


@pytest.mark.parametrize("task, most", [("movies", 1), ("amazon", 3)])
def test_theory_is_right_where_errors_are_random(task, most):
    for name in VERIFICATIONS:
        found = curve(STORED, task=task, student="ridge", verification=name, labels="at random")
        mean, _ = estimate(100 * (found["fixed"] - found["ridge_theory"])[:, 1:])
        assert np.abs(mean).max() < most


@pytest.mark.parametrize("control", CONTROLS)
@pytest.mark.parametrize("task", TEST)
def test_errors_that_depend_on_the_sentence(task, control):
    real, random = (gain(task, "ridge", "none", labels, column="fixed") for labels in ("by the labellers", control))
    assert sure((real - random)[:, 2], 0.5), "a labeller's errors harm less"
    for column in ("fixed", "accuracy"):
        real, random = (gain(task, "ridge", "weak", labels, column=column) for labels in ("by the labellers", control))
        assert sure((random - real)[:, -1], 0), "a verifier's easy choice helps less"
