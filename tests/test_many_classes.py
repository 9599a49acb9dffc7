"""Many classes: the law of the scores, its integration, the closed form, bad input, the digits and the prose."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from rmt_experiments import many_classes as digits
from rmt_experiments.runner import load, read
from rmt_lib import Mixture, Source, predict, predict_isotropic
from rmt_lib.topics.many_classes import (
    ClassSource,
    class_sources,
    exchangeable_accuracy,
    predict_classes,
    predict_exchangeable,
    simplex,
    simulate_classes,
    win_chances,
)
from rmt_lib.topics.when_it_helps import break_even_noise

NEXT = np.roll(np.eye(4), 1, axis=1)


def uneven(p):
    """Four classes of different covariances."""
    shapes = [np.linspace(0.5, 1.5, p), np.linspace(1.5, 0.5, p), np.ones(p), np.full(p, 1.5)]
    return [Mixture(corner.mean + 0.1, shape) for corner, shape in zip(simplex(p, 4, 2.0), shapes, strict=True)]


def uneven_sources(classes):
    real = class_sources(classes, (20, 40, 60, 80))
    return real + class_sources(classes, 80, epsilon=0.3, phi=0.9, rho=0.6, weight=0.7, wrong=NEXT)


def errors(samples):
    return samples.std(axis=0, ddof=1) / np.sqrt(len(samples))


# The law of the scores


@pytest.mark.parametrize("intercept", [0.0, 10.0])
def test_theory_and_simulation(intercept):
    classes = uneven(80)
    options = {"gamma": 0.5, "intercept": intercept}
    limit = predict_classes(classes, uneven_sources(classes), **options)
    runs = simulate_classes(classes, uneven_sources(classes), trials=100, seed=1, **options)
    for name, bias in (("means", 0.006), ("covariances", 0.002), ("accuracy", 0.006)):
        value, samples = getattr(limit, name), getattr(runs, name)
        assert np.all(np.abs(samples.mean(axis=0) - value) < 4 * errors(samples) + bias), name


def test_sufficient_statistics_and_samples_agree():
    classes = uneven(20)
    runs = [
        simulate_classes(classes, uneven_sources(classes), gamma=0.5, trials=150, seed=seed, method=method)
        for seed, method in ((1, "sufficient"), (2, "samples"))
    ]
    for name in ("means", "covariances", "overall"):
        one, other = (getattr(run, name) for run in runs)
        assert np.all(np.abs(one.mean(axis=0) - other.mean(axis=0)) < 4.5 * np.hypot(errors(one), errors(other)))


def test_given_the_classifier_the_law_is_that_of_fresh_samples():
    """W by least squares on one-hot labels, and the share of fresh samples that it guesses right."""
    classes = uneven(20)
    rng = np.random.default_rng(3)
    x = [c.mean + rng.standard_normal((30, 20)) * c.root for c in classes]
    rows, labels = np.concatenate(x), np.repeat(np.eye(4), 30, axis=0)
    w = np.linalg.solve(rows.T @ rows / 120 + 0.5 * np.eye(20), rows.T @ labels / 120)
    for y, c in enumerate(classes):
        fresh = (c.mean + rng.standard_normal((100_000, 20)) * c.root) @ w
        chances = win_chances(c.mean @ w, w.T @ np.diag(c.cov) @ w, np.arange(4))
        np.testing.assert_allclose(np.bincount(fresh.argmax(axis=1), minlength=4) / 1e5, chances, atol=0.006)
        assert y == chances.argmax()


def test_a_linear_combination_of_outputs_is_a_ridge_classifier():
    """Two classes with opposite means: the difference of the outputs is the binary classifier."""
    p, cov = 40, np.linspace(0.5, 1.5, 40)
    mean = np.linspace(0, 0.3, p)
    plus, minus = Mixture(mean, cov), Mixture(-mean, cov)
    sources = class_sources([plus, minus], 30, epsilon=0.2, phi=0.9, rho=0.4, weight=2.0)
    law = predict_classes([plus, minus], sources, gamma=0.3)
    binary = predict(plus, [Source(plus, 60, epsilon=0.2, phi=0.9, rho=0.4, weight=2.0)], gamma=0.3)
    a = np.array([1.0, -1.0])
    np.testing.assert_allclose(law.means @ a, [binary.mean, -binary.mean], rtol=1e-10)
    np.testing.assert_allclose(a @ law.covariances @ a, binary.variance, rtol=1e-10)
    np.testing.assert_allclose(law.accuracy, binary.accuracy, rtol=1e-9)
    assert law.overall == pytest.approx(binary.accuracy, rel=1e-9)


def test_nothing_kept_is_a_guess():
    classes = simplex(20, 3, 1.0)
    sources = class_sources(classes, 10, phi=0.0, rho=0.0)
    np.testing.assert_allclose(predict_classes(classes, sources, gamma=1.0).accuracy, 1 / 3, atol=2e-5)
    runs = simulate_classes(classes, sources, gamma=1.0, trials=2, seed=1)
    np.testing.assert_allclose(runs.overall, 1 / 3, atol=2e-5)


def test_shares_weigh_the_classes():
    classes = uneven(40)
    law = predict_classes(classes, uneven_sources(classes), gamma=0.5, shares=(0.7, 0.1, 0.1, 0.1))
    assert law.overall == pytest.approx(law.accuracy @ (0.7, 0.1, 0.1, 0.1))
    np.testing.assert_allclose(law.confusion.sum(axis=1), 1, atol=1e-4)
    np.testing.assert_allclose(np.diagonal(law.confusion), law.accuracy)


# Integration


@pytest.mark.parametrize("size", [2, 3, 5])
def test_integration_against_scipy(size):
    rng = np.random.default_rng(size)
    root, mean = rng.standard_normal((size, size)), 0.7 * rng.standard_normal(size)
    cov = root @ root.T
    for y in range(size):
        contrast = np.delete(np.eye(size)[y] - np.eye(size), y, axis=0)
        law = multivariate_normal(np.zeros(size - 1), contrast @ cov @ contrast.T, abseps=1e-7, maxpts=10**6, seed=1)
        assert win_chances(mean, cov, np.array(y)) == pytest.approx(law.cdf(contrast @ mean), abs=1e-4)


@pytest.mark.parametrize("size", [3, 5, 10])
def test_integration_against_one_dimension(size):
    lead = np.array([0.0, 0.5, 1.0, 2.0, 3.0])
    mean = np.zeros((5, size))
    mean[:, 0] = lead
    chances = win_chances(mean, np.eye(size), np.zeros(5, int))
    np.testing.assert_allclose(chances, exchangeable_accuracy(lead, size), atol=2e-4)


def test_integration_against_samples():
    rng = np.random.default_rng(5)
    root, mean = rng.standard_normal((10, 10)), rng.standard_normal(10)
    draws = mean + rng.standard_normal((200_000, 10)) @ root.T
    share = np.bincount(draws.argmax(axis=1), minlength=10) / len(draws)
    np.testing.assert_allclose(win_chances(mean, root @ root.T, np.arange(10)), share, atol=0.005)


def test_singular_laws():
    """A constant score, and scores without any spread, whose ties are broken at random."""
    assert win_chances(np.array([1.0, 0.0]), np.diag([1.0, 0.0]), np.array(0)) == pytest.approx(0.8413447, abs=1e-6)
    flat = np.zeros((3, 3))
    np.testing.assert_allclose(win_chances(np.array([1.0, 0.0, 0.0]), flat, np.arange(3)), [1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(win_chances(np.array([1.0, 1.0, 0.0]), flat, np.arange(3)), [0.5, 0.5, 0], atol=1e-6)


def test_exchangeable_accuracy_has_its_limits():
    np.testing.assert_allclose([exchangeable_accuracy(0.0, size) for size in (2, 5, 10)], [1 / 2, 1 / 5, 1 / 10])
    assert exchangeable_accuracy(np.sqrt(2) * 0.7, 2) == pytest.approx(0.7580363477769270, rel=1e-12)


# Exchangeable classes


@pytest.mark.parametrize("size", [2, 3, 5, 10])
def test_closed_form_is_the_general_one(size):
    labels = {"epsilon": 0.4, "phi": 0.9, "rho": 0.5}
    classes = simplex(60, size, 1.5)
    sources = class_sources(classes, 120 / size) + class_sources(classes, 240 / size, **labels, weight=0.6)
    law = predict_classes(classes, sources, gamma=0.3)
    closed = predict_exchangeable(size, p=60, n=120, m=240, mu=1.5, gamma=0.3, weight=0.6, **labels)
    np.testing.assert_allclose(law.accuracy, closed, atol=2e-4)


def test_two_classes_are_the_binary_task():
    setting = {"p": 60, "n": 120, "m": np.array([0, 60, 600]), "gamma": 0.3, "n_hat": 80, "generator": "held_out"}
    labels = {"epsilon": 0.4, "phi": 0.9, "rho": 0.5}
    binary = predict_isotropic(mu=1.2, **setting, **labels).accuracy
    np.testing.assert_allclose(predict_exchangeable(2, mu=1.2, **setting, **labels), binary, rtol=1e-9)


@pytest.mark.parametrize("shared", [True, False])
def test_fitted_generators(shared):
    """Theory given the generators, averaged over them, against the closed form; the bias is of order 1/p."""
    p, size, n_hat = 120, 3, 180
    classes, values = simplex(p, size, 1.5), []
    for rng in np.random.default_rng(7).spawn(8):
        rows = [c.mean + rng.standard_normal((n_hat // size, p)) for c in classes]
        covs = [np.cov(part.T, bias=True) for part in rows]
        covs = [np.mean(covs, axis=0)] * size if shared else covs
        generators = [Mixture(part.mean(axis=0), cov) for part, cov in zip(rows, covs, strict=True)]
        sources = class_sources(classes, 60) + class_sources(generators, 240, epsilon=0.3)
        values.append(predict_classes(classes, sources, gamma=0.5).overall)
    closed = predict_exchangeable(
        size, p=p, n=180, m=720, mu=1.5, gamma=0.5, epsilon=0.3, n_hat=n_hat, generator="held_out"
    )
    assert abs(np.mean(values) - closed) < 4 * errors(np.array(values)) + 0.006


def test_the_switch():
    """At lambda = 0 synthetic data alone is a guess; beyond it is worse."""
    setting = {"p": 50, "n": 0, "m": 400, "mu": 2.0, "gamma": 0.5}
    for size in (2, 5, 10):
        switch = 1 / (1 + 0.5 / (size - 1))
        accuracy = predict_exchangeable(size, epsilon=switch + np.array([-0.02, 0, 0.02]), rho=0.5, **setting)
        assert accuracy[0] > 1 / size > accuracy[2]
        assert accuracy[1] == pytest.approx(1 / size, abs=1e-10)


def test_large_penalty():
    n, m, mu, n_hat, size = 300, 500, 1.5, 200, 5
    alpha, lam = 0.7 + 0.3 * 0.5, 0.7 - 0.3 * 0.5 / 4
    effective = (n + lam * m) ** 2 / (n + alpha * m + lam**2 * m**2 / n_hat)
    zeta = 2 * mu**2 / np.sqrt(2 * mu**2 + size * 100 / effective)
    accuracy = predict_exchangeable(
        size, p=100, n=n, m=m, mu=mu, gamma=1e7, epsilon=0.3, rho=0.5, n_hat=n_hat, generator="held_out"
    )
    assert accuracy == pytest.approx(exchangeable_accuracy(zeta, size), abs=1e-5)


def test_break_even_noise_grows_with_the_number_of_classes():
    real = {"p": 200, "n": 400, "mu": 2.0, "gamma": 1e6}

    def gain(size, epsilon):
        more = predict_exchangeable(size, m=0.4, epsilon=epsilon, **real)
        return more - predict_exchangeable(size, m=0, **real)

    for size in (2, 3, 10):
        limit = 1 / (1 + (size + 1) / (size - 1))
        assert gain(size, limit - 0.005) > 0 > gain(size, limit + 0.005)
    assert break_even_noise(**real) == pytest.approx(1 / 4, abs=1e-3)


def test_noise_with_one_rival_switches_at_one_half():
    classes = simplex(50, 4, 2.0)
    right = [
        predict_classes(classes, class_sources(classes, 100, epsilon=e, wrong=NEXT), gamma=1.0).confusion[0, :2]
        for e in (0.45, 0.5, 0.55)
    ]
    assert right[0][0] > right[0][1] and right[2][0] < right[2][1]
    assert right[1][0] == pytest.approx(right[1][1], abs=1e-4)


# Bad input


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": (0.5, 0.4)}, "labels must sum to 1, got 0.9"),
        ({"labels": (1.5, -0.5)}, r"labels must be in \[0, 1\]"),
        ({"labels": (1.0,)}, r"labels must have shape \(K,\) with K >= 2"),
        ({"keep": (1.0, 0.5, 0.5)}, r"keep must be a number or have shape \(2,\)"),
        ({"keep": 1.5}, r"keep must be in \[0, 1\], got 1.5"),
        ({"n": -1}, "n must be >= 0"),
        ({"weight": 0}, "weight must be > 0"),
    ],
)
def test_bad_source(change, message):
    arguments = {"mixture": Mixture(np.ones(3)), "n": 10, "labels": (0.5, 0.5)} | change
    with pytest.raises(ValueError, match=message):
        ClassSource(**arguments)


def test_bad_input():
    classes = simplex(10, 3, 1.0)
    sources = class_sources(classes, 5)
    for message, call in {
        "epsilon must be a number or have one value": lambda: class_sources(classes, 5, epsilon=(0.1, 0.2)),
        "wrong must be": lambda: class_sources(classes, 5, wrong=np.eye(3)),
        "mixtures must be two or more": lambda: class_sources(classes[:1], 5),
        "targets must be two or more": lambda: predict_classes(classes[:1], sources, gamma=1.0),
        "labels must have one entry for each of 2": lambda: predict_classes(classes[:2], sources, gamma=1.0),
        "shares must be 3 numbers that sum to 1": lambda: predict_classes(classes, sources, gamma=1, shares=(1, 1, 1)),
        "gamma must be > 0": lambda: predict_classes(classes, sources, gamma=0),
        "n must be positive": lambda: predict_classes(classes, class_sources(classes, 0), gamma=1),
        "share one dimension": lambda: predict_classes(simplex(11, 3, 1.0), sources, gamma=1),
        "intercept must be >= 0": lambda: predict_classes(classes, sources, gamma=1, intercept=-1),
        "method must be one of": lambda: simulate_classes(classes, sources, gamma=1, trials=1, seed=1, method="exact"),
        "classes must be at most p": lambda: simplex(3, 4, 1.0),
        "generator must be one of known_mean, held_out": lambda: predict_exchangeable(
            3, p=10, n=10, m=0, mu=1, gamma=1, generator="reused"
        ),
        "classes must be >= 2": lambda: predict_exchangeable(1, p=10, n=10, m=0, mu=1, gamma=1),
        "epsilon must be in": lambda: predict_exchangeable(3, p=10, n=10, m=0, mu=1, gamma=1, epsilon=2),
    }.items():
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(TypeError, match="sources must hold ClassSource"):
        predict_classes(classes, [classes[0]], gamma=1)
    with pytest.raises(TypeError, match="mixture must be a Mixture"):
        ClassSource(3, 10, labels=(0.5, 0.5))


# The digits


def test_a_small_run_agrees_with_the_stored_measurement():
    rows, noise = digits.images(), digits.LABELS["clean"]
    stored = read("many_classes").where(generator="own", labels="clean")
    splits = [digits.measured(rows, "own", noise, np.random.default_rng(seed))[0] for seed in range(4)]
    spread = stored["accuracy_se"] * np.sqrt(load("many_classes").trials / 4)
    assert np.all(np.abs(np.mean(splits, axis=0) - stored["accuracy"]) < 4 * spread)


def test_the_stored_prediction_is_that_of_the_plugged_in_digits():
    population = digits.fit(digits.images())
    real = class_sources(population, digits.N_REAL)
    law = predict_classes(population, real, gamma=digits.GAMMA, intercept=digits.INTERCEPT)
    assert law.overall == pytest.approx(read("many_classes").where(m=0)["plugged_in"][0], abs=1e-6)


def test_what_the_prose_says_of_the_digits():
    stored = read("many_classes")
    assert np.all(np.abs(stored["gaussian"] - stored["accuracy"] - 0.0235) < 0.003)
    own = {kind: stored.where(generator="own", labels=kind) for kind in digits.LABELS}
    assert np.abs(own["clean"]["extrapolated"] - own["clean"]["gaussian"]).max() < 0.0025
    assert (own["noisy"]["extrapolated"] - own["noisy"]["gaussian"]).max() < 0.0095
    assert np.abs(stored["twin_gap"]).max() < 0.01
    # What m = 800 samples change: right for clean labels, too optimistic for wrong ones.
    change = {
        kind: [rows[name][3] - rows[name][0] for name in ("accuracy", "extrapolated", "twin_gap")]
        for kind, rows in own.items()
    }
    assert abs(change["clean"][0] - change["clean"][1]) < 0.002
    np.testing.assert_allclose(change["noisy"], [-0.006, 0.001, -0.0045], atol=0.001)
    np.testing.assert_allclose(change["verified"], [0.002, 0.008, -0.005], atol=0.001)
