"""Figure 9: stored rows are those of the script, the network is the published one, and the chapter's claims hold."""

import sys

import numpy as np
import pytest

from rmt_experiments import figure_9
from rmt_experiments.figure_9 import MOST, REAL, TEST, VERIFICATIONS, curve
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


def test_a_trial_of_ridge_is_the_stored_one():
    """Without PyTorch: every row of a trial."""
    experiment = load("figure_9")
    number = next(i for i, s in enumerate(experiment.settings) if (s["task"], s["student"]) == ("amazon", "ridge"))
    rows = experiment.rows(number)
    stored = STORED.where(**experiment.settings[number])
    assert len(rows) == len(stored)
    for name in ("labels", "verification"):
        assert [row[name] for row in rows] == list(stored[name])
    for name in ("m", "kept", "epsilon", "phi", "rho", "accuracy"):
        np.testing.assert_allclose([row[name] for row in rows], stored[name], atol=1e-11)
    np.testing.assert_allclose([row["ridge_theory"] for row in rows], stored["ridge_theory"], rtol=1e-8)


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


def test_the_control_has_the_same_rates_at_every_share():
    data = figure_9.task("amazon")
    rng = np.random.default_rng(2)
    trial = figure_9.split(data, "amazon", rng)
    control = figure_9.at_random(trial, rng)
    assert (control.wrong != trial.wrong).any()
    for m in M:
        assert control.wrong[:m].sum() == trial.wrong[:m].sum()
        for name in VERIFICATIONS:
            for sort in (True, False):
                counts = [(t.kept[name] & (t.wrong == sort))[:m].sum() for t in (trial, control)]
                assert counts[0] == counts[1]


def test_students_share_their_trials():
    for name in ("epsilon", "phi", "rho", "kept", "ridge_theory"):
        for kind in TEST:
            network = STORED.where(task=kind, student="network", labels="by the labellers")
            ridge = STORED.where(task=kind, student="ridge", labels="by the labellers")
            both = {
                (t, v, m): value
                for t, v, m, value in zip(*map(ridge.__getitem__, ("trial", "verification", "m", name)), strict=True)
            }
            for trial, verification, m, value in zip(
                *map(network.__getitem__, ("trial", "verification", "m", name)), strict=True
            ):
                assert both[trial, verification, m] == pytest.approx(value, rel=1e-9)


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


@pytest.mark.parametrize(
    "texts, labels, options, message",
    [
        (TEXTS, LABELS[:-1], {}, "labels must have shape"),
        ([], [], {}, "texts must be one or more"),
        (TEXTS, 2 * LABELS, {}, "labels must be -1 or"),
        (TEXTS, LABELS, {"epochs": -1}, "epochs must be"),
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
    """The mean over trials is above `low` by two standard errors."""
    mean, error = estimate(values)
    return mean - 2 * error > low


@pytest.mark.parametrize("task", TEST)
def test_the_oracle_gains_and_weak_verification_does_not_lose(task):
    for student in ("network", "ridge"):
        assert sure(gain(task, student, "oracle")[:, -1], 0)
        mean, error = estimate(gain(task, student, "weak")[:, 1:])
        assert (mean + 2 * error > 0).all()


@pytest.mark.parametrize("task", TEST)
def test_theory_orders_weak_verification_wrongly_at_the_largest_share(task):
    weak, none = (gain(task, "ridge", name, column="ridge_theory")[:, -1] for name in ("weak", "none"))
    assert sure(weak - none, 0.9)
    if task == "movies":
        assert sure((gain(task, "ridge", "none") - gain(task, "ridge", "weak"))[:, -1], 1)


@pytest.mark.parametrize("task, most", [("movies", 0.75), ("amazon", 2.5)])
def test_theory_is_right_where_errors_are_random(task, most):
    for name in VERIFICATIONS:
        found = curve(STORED, task=task, student="ridge", verification=name, labels="at random")
        mean, _ = estimate(100 * (found["accuracy"] - found["ridge_theory"])[:, 1:])
        assert np.abs(mean).max() < most


@pytest.mark.parametrize("task", TEST)
def test_errors_that_depend_on_the_sentence(task):
    real, random = (gain(task, "ridge", "none", labels=labels) for labels in ("by the labellers", "at random"))
    assert sure((real - random)[:, 2], 0.5), "a labeller's errors harm less"
    real, random = (gain(task, "ridge", "weak", labels=labels) for labels in ("by the labellers", "at random"))
    assert sure((random - real)[:, -1], 0.5), "a verifier's easy choice helps less"
