"""A generator fitted to samples, any covariance: limits, simulation, and the correction of estimated populations."""

import numpy as np
import pytest

from rmt_lib import Mixture, Source, predict, predict_isotropic
from rmt_lib.fitted import Population, predict_fitted
from rmt_lib.model import GENERATORS
from rmt_lib.results import accuracy_of
from rmt_lib.topics.generations import predict_generations

P = 200
EIGENVALUES = np.geomspace(0.05, 5, P)
MEAN = np.resize([1.5, -0.5, 1.0], P) * np.sqrt(EIGENVALUES / P)
MIXTURE = Mixture(MEAN, EIGENVALUES)
NOISY = {"epsilon": 0.25, "phi": 0.9, "rho": 0.4}


def fitted_to(generator, n_hat):
    return {} if generator == "reused" else {"n_hat": n_hat}


def same(one, other, rtol):
    np.testing.assert_allclose([one.mean, one.variance], [other.mean, other.variance], rtol=rtol)


@pytest.mark.parametrize("generator", GENERATORS)
def test_identity_covariance_is_the_closed_form(generator):
    rng = np.random.default_rng(2410)
    for _ in range(40):
        p, mu = int(rng.integers(5, 400)), rng.uniform(0.1, 3)
        setting = {
            "n": float(rng.integers(1, 2000)),
            "m": float(rng.integers(0, 4000)),
            "gamma": 10 ** rng.uniform(-3, 2),
            "epsilon": rng.uniform(),
            "phi": rng.uniform(),
            "rho": rng.uniform(),
            "weight": 10 ** rng.uniform(-1, 1),
            "generator": generator,
            **fitted_to(generator, 10 ** rng.uniform(0.5, 5)),
        }
        known = predict_isotropic(p=p, mu=mu, **setting)
        found = predict_fitted(Mixture(np.full(p, mu / np.sqrt(p))), **setting)
        same(found, known, rtol=1e-9)
        np.testing.assert_allclose(found.deltas[1], known.deltas[1], rtol=1e-9)


def test_a_perfect_generator_is_the_master_theorem():
    sources = [Source(MIXTURE, 300), Source(MIXTURE, 500, weight=2.0, **NOISY)]
    same(
        predict_fitted(MIXTURE, n=300, m=500, gamma=0.2, weight=2.0, **NOISY),
        predict(MIXTURE, sources, gamma=0.2),
        rtol=1e-9,
    )


@pytest.mark.parametrize("generator", GENERATORS)
def test_without_synthetic_data_the_generator_does_not_matter(generator):
    real_only = predict(MIXTURE, [Source(MIXTURE, 300)], gamma=0.2)
    setting = {"n": 300, "m": 0, "gamma": 0.2, "generator": generator, **fitted_to(generator, 50)}
    same(predict_fitted(MIXTURE, **setting), real_only, rtol=1e-9)


@pytest.mark.parametrize("gamma", [1e-9, 1e14])
def test_extreme_penalties_are_those_of_the_closed_form(gamma):
    setting = {"n": 300, "m": 500, "gamma": gamma, "n_hat": 400, "generator": "held_out", **NOISY}
    same(predict_fitted(Mixture(np.full(P, 0.1)), **setting), predict_isotropic(p=P, mu=0.1 * P**0.5, **setting), 1e-6)


def test_the_mixture_may_be_turned():
    turn = np.linalg.qr(np.random.default_rng(1).standard_normal((P, P)))[0]
    turned = Mixture(turn @ MEAN, turn * EIGENVALUES @ turn.T)
    setting = {"n": 300, "m": 500, "gamma": 0.2, "generator": "held_out", "n_hat": 400, **NOISY}
    same(predict_fitted(turned, **setting), predict_fitted(MIXTURE, **setting), rtol=1e-8)


def test_one_drawn_generator_is_close():
    """The master theorem given the generator of one draw; what is left is of order 1/p."""
    rng = np.random.default_rng(2410)
    rows = MEAN + rng.standard_normal((400, P)) * np.sqrt(EIGENVALUES)
    drawn = Mixture(rows.mean(axis=0), np.cov(rows.T, bias=True))
    given = predict(MIXTURE, [Source(MIXTURE, 300), Source(drawn, 600, **NOISY)], gamma=0.2)
    limit = predict_fitted(MIXTURE, n=300, m=600, gamma=0.2, n_hat=400, generator="held_out", **NOISY)
    assert given.accuracy == pytest.approx(limit.accuracy, abs=0.01)
    np.testing.assert_allclose(given.deltas, limit.deltas, rtol=0.02)


def drawn(mean, root, generator, size, rng):
    """Mean and root (p, size) of the covariance of a generator fitted to samples of mean + root z."""
    rows = mean + rng.standard_normal((size, root.shape[1])) @ root.T
    centre = MEAN if generator == "known_mean" else rows.mean(axis=0)
    return centre, (rows - centre).T / np.sqrt(size)


def trained(generator, n, m, n_hat, gamma, rng):
    """Mean and variance of the score after fitting a generator to sampled rows and training on sampled rows.

    The generator `reused` is fitted to the first `n_hat` training rows, any other may be a chain: `n_hat` a tuple.
    """
    real = MEAN + rng.standard_normal((n, P)) * np.sqrt(EIGENVALUES)
    if generator == "reused":
        rows = real[:n_hat]
        centre = rows.mean(axis=0)
        root = (rows - centre).T / np.sqrt(len(rows))
    else:
        centre, root = MEAN, np.diag(np.sqrt(EIGENVALUES))
        for size in np.atleast_1d(n_hat):
            centre, root = drawn(centre, root, generator, size, rng)
    synthetic = centre + rng.standard_normal((m, root.shape[1])) @ root.T
    wrong = rng.random(m) < NOISY["epsilon"]
    kept = rng.random(m) < np.where(wrong, NOISY["rho"], NOISY["phi"])
    synthetic, signs = synthetic[kept], np.where(wrong[kept], -1.0, 1.0)
    gram = (real.T @ real + synthetic.T @ synthetic) / (n + m) + gamma * np.eye(P)
    w = np.linalg.solve(gram, (real.sum(axis=0) + signs @ synthetic) / (n + m))
    return MEAN @ w, w**2 @ EIGENVALUES


@pytest.mark.parametrize("gamma", [0.02, 0.5])
@pytest.mark.parametrize(
    "generator, n_hat",
    [
        ("known_mean", 400),
        ("held_out", 400),
        ("reused", 300),
        ("reused", 120),
        ("known_mean", (300, 250, 400)),
        ("held_out", (300, 250, 400)),
    ],
)
def test_simulation_agrees(generator, n_hat, gamma):
    """40 trials; the bias of a limit at p = 200 is of order 1/p, here at most 0.7 % of mean, variance and accuracy."""
    rng = np.random.default_rng(2410)
    mean, variance = np.array([trained(generator, 300, 600, n_hat, gamma, rng) for _ in range(40)]).T
    setting = {"n": 300, "m": 600, "gamma": gamma, "generator": generator, "n_hat": n_hat, **NOISY}
    chain = np.size(n_hat) > 1
    limit = predict_generations(MIXTURE, len(n_hat), **setting) if chain else predict_fitted(MIXTURE, **setting)
    for values, expected in (
        (mean, limit.mean),
        (variance, limit.variance),
        (accuracy_of(mean, variance), limit.accuracy),
    ):
        error = values.std(ddof=1) / np.sqrt(len(values))
        assert abs(values.mean() - expected) < 4 * error + 0.007 * expected


def test_a_reused_generator_is_no_free_lunch():
    """It never beats ridge on the real data alone at the best penalty."""
    penalties = np.geomspace(1e-3, 1e3, 200)
    best = max(predict(MIXTURE, [Source(MIXTURE, 300)], gamma=gamma).accuracy for gamma in penalties)
    for m in (30, 300, 3000):
        for gamma in (0.003, 0.03, 0.3, 3.0):
            for labels in (NOISY, {}, {"epsilon": 0.3, "rho": 0.0}):
                mixed = predict_fitted(MIXTURE, n=300, m=m, gamma=gamma, generator="reused", **labels)
                assert mixed.accuracy <= best + 1e-6


def data_set(rows, rng):
    labels = np.repeat([-1.0, 1.0], rows // 2)
    return labels[:, None] * MEAN + rng.standard_normal((rows, P)) * np.sqrt(EIGENVALUES), labels


SETTINGS = (
    {"n": 300, "m": 0, "gamma": 0.02},
    {"n": 300, "m": 0, "gamma": 0.5},
    {"n": 300, "m": 900, "gamma": 0.1, "epsilon": 0.3, "n_hat": 300, "generator": "held_out"},
)


def test_the_correction_removes_the_bias_of_plugging_in():
    """60 Gaussian data sets of 600 rows: error of the predicted accuracy, in standard errors of its mean."""
    rng = np.random.default_rng(2410)
    known = np.array([predict_fitted(MIXTURE, **setting).accuracy for setting in SETTINGS])
    errors = np.empty((60, 2, len(SETTINGS)))
    for trial in errors:
        features, labels = data_set(600, rng)
        for row, corrected in zip(trial, (False, True), strict=True):
            population = Population.of_data(features, labels, corrected=corrected)
            row[:] = [predict_fitted(population, **setting).accuracy for setting in SETTINGS] - known
    plugged_in, corrected = errors.mean(axis=0)
    standard_error = errors.std(axis=0, ddof=1) / np.sqrt(len(errors))
    assert (plugged_in > 0.04).all(), "four points too optimistic"
    # What is left is of second order: a curve of an estimate is not quite the estimate of the curve.
    assert (np.abs(corrected) < 3 * standard_error[1] + 0.002).all()


@pytest.mark.parametrize("samples", [np.inf, 250, 200])
def test_slopes_are_derivatives(samples):
    population = Population(MIXTURE, samples, 2 * samples)
    penalty, step = 0.3, 1e-5
    low, here, high = (population.curves(penalty + shift) for shift in (-step, 0, step))
    assert here.freedom_slope == pytest.approx(-(high.freedom - low.freedom) / (high.ridge - low.ridge), rel=1e-6)
    signal_slope = -(high.signal - low.signal) / (high.ridge - low.ridge)
    assert here.signal_square == pytest.approx(here.signal - here.ridge * signal_slope, rel=1e-6)
    assert here.freedom_square == pytest.approx(here.freedom - here.ridge * here.freedom_slope, rel=1e-9)
    assert here.ridge >= penalty


def test_with_few_samples_a_small_penalty_is_out_of_reach():
    features, labels = data_set(100, np.random.default_rng(2410))
    population = Population.of_data(features, labels)
    predict_fitted(population, n=100, m=0, gamma=1.0)
    with pytest.raises(ValueError, match="gamma must be larger to be within reach of 98 samples"):
        predict_fitted(population, n=2000, m=0, gamma=1e-4)


def test_a_mean_within_its_own_error_is_refused():
    population = Population(Mixture(np.full(P, 0.01)), 400, 400)
    with pytest.raises(ValueError, match="samples must be more for this mean and penalty"):
        predict_fitted(population, n=100, m=0, gamma=10.0)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"n": 0, "m": 0}, "n and m must not both be 0"),
        ({"gamma": 0.0}, "gamma must be > 0"),
        ({"epsilon": 1.5}, r"epsilon must be in \[0, 1\], got 1.5"),
        ({"weight": -1.0}, "weight must be >= 0"),
        ({"generator": "other"}, "generator must be one of known_mean, held_out, reused, got 'other'"),
        ({"generator": "reused", "n_hat": 101}, "n_hat must be infinite or <= n .* got n_hat = 101 with n = 100"),
        ({"n_hat": 0.5}, "n_hat must be >= 1, got 0.5"),
        ({"generator": "reused", "n": 0}, "n must be >= 1 with generator 'reused'"),
        ({"n_hat": np.nan}, "n_hat must be >= 1"),
    ],
)
def test_bad_parameters_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        predict_fitted(MIXTURE, **{"n": 100, "m": 100, "gamma": 1.0, **change})


def test_bad_populations_are_refused():
    with pytest.raises(TypeError, match="target must be a Population or a Mixture, got 3"):
        predict_fitted(3, n=100, m=0, gamma=1.0)
    with pytest.raises(TypeError, match="mixture must be a Mixture"):
        Population(MEAN)
    with pytest.raises(ValueError, match="cov must not be 0"):
        Population(Mixture(MEAN, 0.0))
    with pytest.raises(ValueError, match="samples must be >= 200, the rank of cov, got 150"):
        Population(MIXTURE, 150)
    with pytest.raises(ValueError, match="mean_samples must be >= 1, got 0"):
        Population(MIXTURE, 250, 0)
    features = np.eye(4)
    for labels in ([1, 1, 1, -1], [1, 1, 2, 2], [1, 1, 0, -1]):
        with pytest.raises(ValueError, match="labels must be -1 or"):
            Population.of_data(features, np.array(labels))
    with pytest.raises(ValueError, match=r"labels must have shape \(4,\), got \(3,\)"):
        Population.of_data(features, np.ones(3))
