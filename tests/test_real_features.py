"""The theory on real features: stored results are those of their scripts, and the claims made of them hold."""

import numpy as np
import pytest
from scipy.special import ndtr

from rmt_experiments import real_features
from rmt_experiments.runner import load, read

PUBLIC, REVIEWS = read("real_features"), read("real_features_reviews")
SCALED = [name for name in dict.fromkeys(PUBLIC["task"])]
DOMAINS = list(dict.fromkeys(REVIEWS["task"]))


def off(table, prediction="corrected_accuracy", measured="accuracy"):
    """Mean absolute error in points."""
    return 100 * np.abs(table[prediction] - table[measured]).mean()


def agrees(name, number, trials):
    """A small run has the same predictions to the digit, and the same measurements within 4.5 standard errors."""
    experiment, stored = load(name), read(name)
    for row in experiment.rows(number, trials=trials):
        there = stored.where(**{key: row[key] for key in (*experiment.settings[number], "m")})
        for key in ("plugged_in_accuracy", "corrected_accuracy", "corrected_variance", "lengths", "gaussian_lengths"):
            assert row[key] == pytest.approx(there[key][0], rel=1e-6)
        for key in ("accuracy", "mean", "variance"):
            # The same population of splits: the large run's spread is that of the small one, too.
            error = there[f"{key}_se"][0] * np.sqrt(1 + experiment.trials / trials)
            assert abs(row[key] - there[key][0]) < 4.5 * error


@pytest.mark.parametrize("number", [0, 13, 69])
def test_a_small_run_agrees(number):
    agrees("real_features", number, 4)


def test_a_small_run_on_reviews_agrees(reviews):
    real_features.task.cache_clear()
    agrees("real_features_reviews", 9, 3)


@pytest.mark.parametrize("form", ["scaled", "standardised", "equal lengths", "twin"])
def test_forms(form):
    data = real_features.load("digits 1 8")
    u = real_features.prepare(data, form)
    x = data.labels[:, None] * u
    np.testing.assert_allclose(x[data.labels > 0].mean(axis=0), -x[data.labels < 0].mean(axis=0), atol=0.5)
    if form != "twin":
        np.testing.assert_allclose(x[data.labels > 0].mean(axis=0), -x[data.labels < 0].mean(axis=0), atol=1e-12)
    if form == "equal lengths":
        lengths, gaussian = real_features.spread_of_lengths(real_features.prepare(data, "standardised"))
        assert real_features.spread_of_lengths(u)[0] < lengths
    if form == "twin":
        lengths, gaussian = real_features.spread_of_lengths(u)
        assert lengths == pytest.approx(gaussian, rel=0.2)


@pytest.mark.parametrize("task", SCALED)
def test_the_corrected_theory_is_within_a_point_or_so(task):
    table = PUBLIC.where(task=task, form="scaled")
    assert off(table) < 1.1
    assert off(table) < off(table, "plugged_in_accuracy") - 0.25
    assert off(table, measured="gaussian") < 0.3, "mean and variance of the score are right"
    twin = PUBLIC.where(task=task, form="twin")
    assert off(twin) < 0.5, "what is left where all assumptions hold"


@pytest.mark.parametrize("task", DOMAINS)
def test_reviews_need_equal_lengths(task):
    plain, equal = (REVIEWS.where(task=task, form=form) for form in ("standardised", "equal lengths"))
    assert 2 < off(plain) < 3 and off(equal) < 0.7
    assert plain["lengths"][0] > 10 * plain["gaussian_lengths"][0] and equal["lengths"][0] < 0.12
    assert off(equal, "plugged_in_accuracy") > 3


def test_a_gaussian_score_is_what_its_columns_say():
    """Each split has its own mean and variance, so the average accuracy is only close to that of the averages."""
    for table in (PUBLIC, REVIEWS):
        together = ndtr(table["mean"] / np.sqrt(table["variance"]))
        assert np.abs(together - table["gaussian"]).max() < 0.01
