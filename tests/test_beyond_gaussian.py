"""Features that are not Gaussian: the script's laws and exact accuracies, its stored result, the chapter's claims."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtr
from scipy.stats import t as student

from rmt_experiments import beyond_gaussian as laws
from rmt_experiments.runner import load, read
from rmt_lib import Mixture, predict

ALL = laws.INDEPENDENT + laws.DEPENDENT
KEYS = ("mean", "variance", "accuracy")


def rows(**setting):
    return read("beyond_gaussian").where(**{"generator": "same law", "features": "all", **setting})


@pytest.mark.parametrize("law", ALL)
def test_noise_has_mean_zero_and_unit_covariance(law):
    z = laws.draw(law, 100_000, 4, np.random.default_rng(2410))
    assert np.abs(z.mean(axis=0)).max() < 0.02
    if not law.endswith("t3"):  # no fourth moment: the sample covariance converges slowly
        assert np.abs(z.T @ z / len(z) - np.eye(4)).max() < 0.06


@pytest.mark.parametrize("law", ALL)
@pytest.mark.parametrize("features", ["all", "1"])
def test_exact_accuracy_against_fresh_samples(law, features):
    rng = np.random.default_rng(2411)
    p, mean = 50, laws.direction(50, features)
    w = 0.3 * mean + 0.05 * rng.standard_normal(p)
    exact = laws.exact_accuracy(law, mean @ w, w)
    right = np.mean(mean @ w + laws.draw(law, 40_000, p, rng) @ w > 0)
    assert abs(right - exact) < 4 * np.sqrt(exact * (1 - exact) / 40_000)


def test_inversion_gives_known_laws():
    one = np.array([1.0])
    assert laws.independent_accuracy("Gaussian", 0.7, 1.0, one) == pytest.approx(ndtr(0.7), abs=1e-9)
    assert laws.independent_accuracy("t3", 0.7, 1.0, one) == pytest.approx(student.cdf(0.7 * np.sqrt(3), 3), abs=1e-5)
    rademacher = laws.independent_accuracy("Rademacher", 0.5, 1.0, np.array([0.9]))
    assert rademacher == pytest.approx(np.mean(ndtr((0.5 + np.array([0.9, -0.9])) / np.sqrt(0.19))), abs=1e-9)


@pytest.mark.parametrize("nu", [3, 5, 10])
def test_quadrature_of_the_scale(nu):
    """The score of multivariate t is Student's t; E xi / (1 + xi) by sampling."""
    xi, chance = laws.student_scales(nu)
    exact = student.cdf(0.9 * np.sqrt(nu / (nu - 2)), nu)
    assert chance @ ndtr(0.9 / np.sqrt(xi)) == pytest.approx(exact, abs=1e-4)
    drawn = (nu - 2) / np.random.default_rng(2412).chisquare(nu, 1_000_000)
    assert chance @ (xi / (1 + xi)) == pytest.approx(np.mean(drawn / (1 + drawn)), abs=1e-3)


def test_training_from_moments_is_ridge_regression():
    rng = np.random.default_rng(2413)
    mean, z, s = laws.direction(20, "4"), rng.standard_normal((40, 20)), rng.choice([-1.0, 1.0], 40)
    u = mean + z
    w = np.linalg.solve(u.T @ u / 40 + laws.GAMMA * np.eye(20), s @ u / 40)
    np.testing.assert_allclose(laws.train(mean, laws.moments(z, s)), w, rtol=1e-10)


def test_proposition_as_printed_is_the_theorem_for_split_sources():
    """The display for random scales, line by line, for one covariance I, against `predict` with a source per scale."""
    p, gamma = 100, laws.GAMMA
    mean, (xi, chance) = laws.direction(p, "all"), laws.scales("multivariate t5")
    epsilon, phi, rho = laws.NOISE.values()
    right, wrong = np.array([[1.0, phi * (1 - epsilon)], [0.0, rho * epsilon]])
    alpha, lam, pi, eta = right + wrong, right - wrong, 0.5, 0.5  # eta = p / N
    delta = 1.0
    for _ in range(500):
        load = pi * alpha.sum() * chance @ (xi / (1 + xi * delta))
        delta = eta / (gamma + load)
    r, shrink = 1 / (gamma + load), 1 / (1 + xi * delta)
    f, length = pi * chance @ shrink, laws.LENGTH**2
    along = lam.sum() * f * length / (1 / r + alpha.sum() * f * length)
    square = along**2 / length
    coupling = eta * r**2 * pi * alpha.sum() * chance @ (xi * shrink) ** 2
    t = eta * r**2 / (1 - coupling)
    residual = (right * (1 - along) ** 2 + wrong * (1 + along) ** 2)[:, None] + alpha[:, None] * xi * square
    variance = square + pi * t * (residual @ (chance * xi * shrink**2)).sum()
    sources = laws.split("multivariate t5", mean, p) + laws.split("multivariate t5", mean, p, **laws.NOISE)
    split = predict(Mixture(mean), sources, gamma=gamma)
    assert (along, variance) == pytest.approx((split.mean, split.variance), rel=1e-8)


@pytest.mark.parametrize("number", (0, 10, 20, 30, 40))
def test_a_small_run_agrees_with_the_stored_result(number):
    experiment = load("beyond_gaussian")
    stored = read("beyond_gaussian")
    small = experiment.rows(number, trials=1)
    for row in small:
        key = {name: row[name] for name in ("law", "p", "generator", "features")}
        there = stored.where(**key)
        assert there["count"][0] == row["count"] * experiment.trials
        for name in laws.KEYS:
            error = np.hypot(row[f"{name}_se"], there[f"{name}_se"][0])
            assert abs(row[name] - there[name][0]) <= 4.5 * error + 1e-12, (key, name)


@pytest.mark.parametrize("law", laws.INDEPENDENT)
@pytest.mark.parametrize("features", laws.MEANS)
def test_mean_and_variance_are_universal(law, features):
    """Theory at p = 800, whatever the law and the mean; a bias of order p^{-1/2} is left for t3."""
    table = rows(law=law, features=features, p=800)
    theory = laws.universal(800, features)
    for name in ("mean", "variance"):
        bias = 0.25 / np.sqrt(800) if law == "t3" else 0.0
        assert abs(table[name][0] - getattr(theory, name)) < 5 * table[f"{name}_se"][0] + bias


def test_gap_to_a_gaussian_score_falls_at_the_expected_rate():
    for law, low, high in (("Rademacher", 14, 18), ("uniform", 14, 18), ("t3", 3, 5), ("t5", 8, 16)):
        first, last = (abs(rows(law=law, p=p)["gap"][0]) for p in (50, 800))
        assert low < first / last < high, law


def test_few_features_convolution():
    for law in laws.INDEPENDENT:
        if law == "t3":
            continue
        for features in ("4", "1"):
            table = rows(law=law, features=features, p=800)
            _, _, accuracy = laws.repaired(law, "same law", 800, features)
            assert abs(table["accuracy"][0] - accuracy) < 4 * table["accuracy_se"][0]
    off = {law: rows(law=law, features="1", p=800) for law in ("Rademacher", "counts")}
    assert all(abs(table["gap"][0]) > 5 * table["gap_se"][0] for table in off.values())


@pytest.mark.parametrize("law", ["two scales", "multivariate t5", "multivariate t3"])
@pytest.mark.parametrize("generator", laws.GENERATORS)
def test_a_common_scale_breaks_the_theory_at_every_dimension_and_is_repaired(law, generator):
    for p in laws.REPEATS:
        table = rows(law=law, generator=generator, p=p)
        error = table["accuracy_se"][0]
        assert table["accuracy"][0] - laws.universal(p).accuracy > 0.03 + 4 * error
        for name, value in zip(KEYS, laws.repaired(law, generator, p), strict=True):
            assert abs(table[name][0] - value) < 4.5 * table[f"{name}_se"][0] + 0.3 / p, (p, name)


def test_two_shapes():
    for features in laws.MEANS:
        table = rows(law="two shapes", features=features, p=800)
        for name, value in zip(KEYS, laws.repaired("two shapes", "same law", 800, features), strict=True):
            assert abs(table[name][0] - value) < 4 * table[f"{name}_se"][0]
