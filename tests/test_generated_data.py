"""Sentences of a language model as training data: splits, estimates, and the stored results of three experiments."""

import numpy as np
import pytest

from rmt_experiments import language_model_rates
from rmt_experiments.llm import features
from rmt_experiments.llm.features import Sentences
from rmt_experiments.llm.moments import balanced, extrapolated
from rmt_experiments.runner import load, read
from rmt_lib import Source, predict
from rmt_lib.fitted import Population, predict_fitted

SEED = 2410


def agrees(name, number, trials, exact):
    """A small run has the same `exact` columns to the digit, and the same accuracies within 4.5 standard errors."""
    experiment, stored = load(name), read(name)
    setting = experiment.settings[number]
    for row in experiment.rows(number, trials=trials):
        there = stored.where(**{key: row[key] for key in (*setting, *exact[:2])})
        for key in exact[2:]:
            assert row[key] == pytest.approx(there[key][0], rel=1e-6)
        error = there["accuracy_se"][0] * np.sqrt(1 + experiment.trials / trials)
        assert abs(row["accuracy"] - there["accuracy"][0]) < 4.5 * error


def test_a_small_run_of_the_language_model_agrees():
    agrees("language_model", 1, 3, ("strategy", "m", "kept", "rates", "kept_moments"))


def test_a_small_run_of_figure_8_agrees():
    agrees("figure_8", 4, 4, ("share", "m", "theory", "phi", "rho"))


@pytest.mark.parametrize("number", range(4))
def test_a_small_run_of_the_rates_agrees(number):
    row, stored = load("language_model_rates").rows(number, trials=20)[0], read("language_model_rates")
    there = stored.where(verifier=row["verifier"])
    for key in ("real_accuracy", "epsilon", "phi", "rho", "kept"):
        assert row[key] == pytest.approx(there[key][0], rel=1e-9)
        # A standard deviation of 20 values errs by a sixth.
        assert row[f"{key}_se"] == pytest.approx(there[f"{key}_se"][0], rel=0.6)


def test_no_review_is_trained_on_and_tested_on():
    real = features.real()
    for seed in range(20):
        train, test = features.split(np.random.default_rng(seed))
        assert not set(real.groups[train]) & set(real.groups[test])
        assert (real.labels[test] > 0).sum() == (real.labels[test] < 0).sum() == features.TESTED
        assert real.labels[train][:800].sum() == 0 and len(train) >= 800
        assert len(set(train)) == len(train) and len(set(test)) == len(test)


def test_rates_are_found_where_they_are_known(monkeypatch):
    """Verifier and judge with known errors: every estimate within 4.5 of its standard errors."""
    rng = np.random.default_rng(SEED)
    epsilon, accuracies = 0.15, {"lexicon": 0.75, "network": 0.9}

    def opinions(truth):
        return {name: np.where(rng.random(len(truth)) < a, truth, -truth) for name, a in accuracies.items()}

    truth = np.tile([1, -1], 3000)
    given = np.where(rng.random(len(truth)) < epsilon, -truth, truth)
    groups = np.arange(len(truth)) // 6
    monkeypatch.setattr(language_model_rates, "real", lambda: Sentences(None, truth, opinions(truth), groups))
    monkeypatch.setattr(language_model_rates, "generated", lambda: Sentences(None, given, opinions(truth), groups))
    # Opinions are drawn once, not at each call.
    for name in ("real", "generated"):
        drawn = getattr(language_model_rates, name)()
        monkeypatch.setattr(language_model_rates, name, lambda drawn=drawn: drawn)
    row = language_model_rates.measure({"verifier": "lexicon"}, 40, np.random.SeedSequence(SEED))
    phi = accuracies["lexicon"]
    known = {"epsilon": epsilon, "phi": phi, "rho": 1 - phi, "kept": phi * (1 - epsilon) + (1 - phi) * epsilon}
    for key, value in known.items():
        assert abs(row[key] - value) < 4.5 * row[f"{key}_se"]
        assert row[f"{key}_se"] < 0.05


@pytest.mark.parametrize("n, m", [(50, 0), (200, 2000), (800, 500)])
def test_extrapolation_agrees_with_the_exact_correction(n, m):
    real = features.real()

    def predicted(rows, _):
        mixture = balanced(real.x[rows], real.labels[rows])
        return predict(mixture, [Source(mixture, n), Source(mixture, m, epsilon=0.2)], gamma=1.0).accuracy

    exact = predict_fitted(Population.of_data(real.x, real.labels), n=n, m=m, epsilon=0.2, gamma=1.0).accuracy
    plain = predicted(np.arange(len(real.labels)), None)
    assert abs(extrapolated(predicted, seed=SEED) - exact) < 0.3 * abs(plain - exact)
    assert abs(extrapolated(predicted, seed=SEED) - exact) < 0.006


def test_balanced_moments():
    rng = np.random.default_rng(SEED)
    x, labels = rng.standard_normal((60, 3)), np.repeat([1, -1], [40, 20])
    rows = np.concatenate([x[:40], x[:40], -np.repeat(x[40:], 4, axis=0)])  # each class 80 times
    mixture = balanced(x, labels)
    np.testing.assert_allclose(mixture.mean, rows.mean(axis=0))
    np.testing.assert_allclose(mixture.cov, np.cov(rows.T, ddof=0))
