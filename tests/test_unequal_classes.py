"""Two classes that differ, an intercept, a generator for each class: limits, brute force, simulation, the prose."""

import numpy as np
import pytest
from scipy.special import ndtr
from sklearn.linear_model import Ridge
from threadpoolctl import threadpool_limits

from rmt_lib import Mixture, Source, predict, predict_isotropic, simulate
from rmt_lib.topics.unequal_classes import (
    ClassScores,
    TwoClasses,
    balancing_weights,
    predict_class_generators,
    predict_two_classes,
    simulate_two_classes,
)


@pytest.fixture(autouse=True)
def one_thread():
    with threadpool_limits(limits=1, user_api="blas"):
        yield


FREE = 1000.0  # an intercept that the penalty does not feel


def world(p, intercept=FREE, *, centre=1.0, cov_plus=1.0, cov_minus=1.0):
    mu, middle = np.zeros(p), np.zeros(p)
    mu[0], middle[1] = 1.0, centre
    return TwoClasses(Mixture(middle + mu, cov_plus), Mixture(middle - mu, cov_minus), intercept)


def within(value, samples, bias=0.0, errors=4.0):
    """`value` agrees with the mean of `samples` up to `errors` standard errors and a bias of order 1/p."""
    error = samples.std(axis=-1, ddof=1) / np.sqrt(samples.shape[-1])
    return np.all(np.abs(samples.mean(axis=-1) - value) <= errors * error + bias)


# A source for each class


def test_equal_symmetric_classes_are_one_source():
    two = world(50, 0.0, centre=0.0)
    scores = predict_two_classes(two, two.sources(30, 90, epsilon=0.2, phi=0.9, rho=0.4), gamma=0.3)
    one = predict(two.plus, [Source(two.plus, 120, epsilon=0.2, phi=0.9, rho=0.4)], gamma=0.3)
    np.testing.assert_allclose(scores.mean, one.mean, rtol=1e-12)
    np.testing.assert_allclose(scores.variance, one.variance, rtol=1e-12)


@pytest.mark.parametrize("intercept", [0.0, 1.0, FREE])
def test_theory_and_simulation(intercept):
    two = world(100, intercept, cov_minus=np.linspace(0.5, 1.5, 100))
    sources = two.sources(40, 260, epsilon=(0.2, 0.05), phi=(1, 0.8), rho=(0.5, 0.8), weight=(3, 1))
    limit = predict_two_classes(two, sources, gamma=0.3)
    measured = simulate_two_classes(two, sources, gamma=0.3, trials=150, seed=1)
    assert within(limit.accuracy, measured.accuracy, bias=0.003)
    assert within(limit.mean, measured.mean, bias=0.005)


def test_simulation_of_a_singular_covariance_by_samples():
    two = world(30, 2.0)
    sources = two.sources(20, 60, epsilon=(0.3, 0.1))
    exact = simulate_two_classes(two, sources, gamma=0.3, trials=300, seed=1)
    drawn = simulate_two_classes(two, sources, gamma=0.3, trials=300, seed=2, method="samples")
    gap = exact.mean.mean(axis=1) - drawn.mean.mean(axis=1)
    assert np.all(np.abs(gap) < 4 * np.hypot(exact.mean.std(axis=1), drawn.mean.std(axis=1)) / np.sqrt(300))


def test_both_classes_are_scored_with_the_same_classifiers():
    """With equal covariances the two variances are those of one classifier."""
    two = world(20)
    sources = two.sources(15, 40)
    scores = simulate_two_classes(two, sources, gamma=0.5, trials=3, seed=7)
    np.testing.assert_array_equal(scores.variance[0], scores.variance[1])
    np.testing.assert_array_equal(scores.mean[1], simulate(two.signed[1], sources, gamma=0.5, trials=3, seed=7).mean)


def test_against_ridge_regression_with_an_intercept():
    """An ordinary ridge fit on features and labels, with its own intercept: no signed features anywhere."""
    p, n_plus, n_minus, gamma = 60, 30, 150, 0.3
    two = world(p)
    sources = two.sources(n_plus, n_minus, epsilon=(0.2, 0.05), weight=(3, 1))
    limit = predict_two_classes(two, sources, gamma=gamma)
    rng, accuracies = np.random.default_rng(3), []
    y = np.repeat([1, -1], [n_plus, n_minus])
    for _ in range(150):
        x = np.where(y[:, None] > 0, two.plus.mean, two.minus.mean) + rng.standard_normal((y.size, p))
        t = np.where(rng.random(y.size) < np.where(y > 0, 0.2, 0.05), -y, y)
        fit = Ridge(alpha=gamma * y.size).fit(x, t, sample_weight=np.where(y > 0, 3, 1))
        length = np.linalg.norm(fit.coef_)
        plus, minus = fit.predict([two.plus.mean, two.minus.mean])
        accuracies.append([ndtr(plus / length), ndtr(-minus / length)])
    assert within(limit.accuracy, np.array(accuracies).T, bias=0.006)


# The intercept


def test_a_free_intercept_does_not_see_the_centre():
    near, far = (world(40, 1e4, centre=centre) for centre in (0.0, 3.0))
    a, b = (predict_two_classes(w, w.sources(20, 90, epsilon=(0.3, 0.1)), gamma=0.4) for w in (near, far))
    np.testing.assert_allclose(a.accuracy, b.accuracy, atol=1e-6)


def closed_form(p, n, gamma, *, epsilon=(0.0, 0.0), weight=(1.0, 1.0)):
    """Mean scores by class with a free intercept, from the effective shares."""
    two = world(p)
    sources = two.sources(*n, epsilon=epsilon, weight=weight)
    delta = predict(two.signed[0], sources, gamma=gamma).deltas
    total = sum(n)
    load = np.array(
        [s.alpha * s.n / total * s.weight / (1 + s.weight * d) for s, d in zip(sources, delta, strict=True)]
    )
    label = np.array([1, -1]) * np.array([s.lam / s.alpha for s in sources])
    k, share = load.sum(), load / load.sum()
    strength = 4 * k * share.prod() / (gamma + k)
    half = (label[0] - label[1]) / 2 * strength / (1 + strength)
    offset = share @ label + (share[1] - share[0]) * half
    return np.array([half + offset, half - offset])


@pytest.mark.parametrize("epsilon", [(0.0, 0.0), (0.3, 0.05)])
@pytest.mark.parametrize("weight", [(1.0, 1.0), (4.0, 0.5)])
def test_closed_form_of_the_intercept(epsilon, weight):
    two = world(50)
    limit = predict_two_classes(two, two.sources(20, 80, epsilon=epsilon, weight=weight), gamma=0.4)
    np.testing.assert_allclose(limit.mean, closed_form(50, (20, 80), 0.4, epsilon=epsilon, weight=weight), atol=1e-5)


def test_balancing_weights():
    """They are as n - f, where f is half the degrees of freedom, and both classes come out alike."""
    p, gamma = 100, 0.5
    two = world(p)
    plus, minus = balancing_weights(two, 40, 360, gamma=gamma)
    assert 40 * plus + 360 * minus == pytest.approx(400)
    sources = two.sources(40, 360, weight=(plus, minus))
    limit = predict_two_classes(two, sources, gamma=gamma)
    assert limit.accuracy[0] == pytest.approx(limit.accuracy[1], abs=1e-6)
    load = 0.1 * plus / (1 + plus * predict(two.signed[0], sources, gamma=gamma).deltas[0])
    used = load * p / (gamma + 2 * load)
    assert plus / minus == pytest.approx((360 - used) / (40 - used), rel=1e-6)
    assert plus / minus > 9 * 1.2


def test_large_penalty():
    p, n_plus, n_minus = 80, 40, 200
    two, n = world(p, 1e6), n_plus + n_minus
    z = 1 / np.sqrt(1 + p / 4 * (1 / n_plus + 1 / n_minus))
    tilt = p / 4 * (1 / n_minus - 1 / n_plus)
    inverse = predict_two_classes(
        two, two.sources(n_plus, n_minus, weight=(n / 2 / n_plus, n / 2 / n_minus)), gamma=1e5
    )
    np.testing.assert_allclose(inverse.accuracy, ndtr(z * np.array([1 + tilt, 1 - tilt])), atol=1e-4)
    for weight in (1.0, (3.0, 1.0)):
        limit = predict_two_classes(two, two.sources(n_plus, n_minus, weight=weight), gamma=1e5)
        assert limit.shifted(limit.best_offset()).balanced == pytest.approx(ndtr(z), abs=1e-4)


# Offsets


def test_best_offset():
    scores = ClassScores(np.array([-0.3, 0.8]), np.array([0.3, 0.3]))
    assert scores.best_offset() == pytest.approx(0.55, abs=1e-6)
    assert scores.best_offset(0.1) == pytest.approx(0.55 + 0.3 / 0.5 * np.log(1 / 9), abs=1e-6)
    uneven = ClassScores(np.array([0.3, 0.8]), np.array([0.5, 0.1]))
    offsets = np.linspace(-2, 2, 401)
    best = uneven.shifted(uneven.best_offset(0.3)).overall(0.3)
    assert best == pytest.approx(max(uneven.shifted(offset).overall(0.3) for offset in offsets), abs=1e-4)
    assert best >= max(uneven.shifted(offset).overall(0.3) for offset in offsets) - 1e-12


# A generator for each class


def labels():
    return dict(epsilon=(0.2, 0.1), phi=(1, 0.9), rho=(0.4, 0.9), weight=(1.5, 0.7))


@pytest.mark.parametrize("intercept", [0.0, FREE])
def test_perfect_generators(intercept):
    two = world(60, intercept)
    real, synthetic = two.sources(20, 90), two.sources(120, 30, **labels())
    limit = predict_class_generators(two, real, [(source, np.inf) for source in synthetic], gamma=0.2)
    exact = predict_two_classes(two, real + synthetic, gamma=0.2)
    np.testing.assert_allclose(limit.mean, exact.mean, atol=1e-8)
    np.testing.assert_allclose(limit.variance, exact.variance, atol=1e-8)


@pytest.mark.parametrize("intercept", [0.0, FREE])
def test_equal_classes_fitted_apart_are_the_estimated_generator(intercept):
    p, n, m, n_hat = 80, 100, 300, 160
    two = world(p, intercept, centre=0.0)
    synthetic = two.sources(m / 2, m / 2, epsilon=0.2, rho=0.5, weight=0.7)
    limit = predict_class_generators(two, two.sources(n / 2, n / 2), [(s, n_hat / 2) for s in synthetic], gamma=0.2)
    pooled = predict_isotropic(
        p=p, n=n, m=m, mu=1.0, gamma=0.2, epsilon=0.2, rho=0.5, weight=0.7, n_hat=n_hat, generator="held_out"
    )
    np.testing.assert_allclose(limit.mean, pooled.mean, rtol=1e-6)
    np.testing.assert_allclose(limit.variance, pooled.variance, rtol=1e-6)


@pytest.mark.parametrize("intercept", [0.0, FREE])
def test_fitted_generators_against_simulation(intercept):
    """Generators fitted afresh in every trial; unequal classes, label noise, verifiers, weights."""
    p, gamma = 40, 0.2
    two = world(p, intercept)
    real = two.sources(12, 60)
    fits = list(zip(two.sources(120, 40, **labels()), (48, 80), strict=True))
    limit = predict_class_generators(two, real, fits, gamma=gamma)
    rng, scores = np.random.default_rng(5), []
    for trial in range(100):
        sources = real + two.fitted(48, 80, rng).sources(120, 40, **labels())
        scores.append(simulate_two_classes(two, sources, gamma=gamma, trials=1, seed=trial))
    assert within(limit.mean, np.hstack([x.mean for x in scores]), bias=0.01)
    assert within(limit.accuracy, np.hstack([x.accuracy for x in scores]), bias=0.008)


def test_given_its_generators_the_master_theorem_agrees():
    p, gamma = 80, 0.2
    two = world(p)
    real, synthetic = two.sources(24, 120), two.sources(160, 80, **labels())
    limit = predict_class_generators(two, real, list(zip(synthetic, (80, 160), strict=True)), gamma=gamma)
    rng = np.random.default_rng(6)
    given = [
        predict_two_classes(two, real + two.fitted(80, 160, rng).sources(160, 80, **labels()), gamma=gamma)
        for _ in range(12)
    ]
    assert within(limit.variance, np.array([x.variance for x in given]).T, bias=0.005)


# What the prose says


def test_topping_up_from_ones_own_minority_is_a_class_weight():
    """Given the same real samples, its mean score is that of a weighted fit and its variance is larger."""
    p, n_plus, n_minus, m, gamma = 50, 30, 120, 90, 1.0
    mu, total = np.eye(p)[0], n_plus + n_minus + m

    def fit(x, t, weight):
        share = weight / weight.sum()
        centre, mean = share @ x, share @ t
        gram = ((x - centre).T * weight) @ (x - centre) / total + gamma * np.eye(p)
        w = np.linalg.solve(gram, (x - centre).T @ (weight * (t - mean)) / total)
        beta = mean - centre @ w
        return np.array([mu @ w + beta, mu @ w - beta]), w @ w

    def delta(weight):
        two = world(p)
        return predict(
            two.signed[0], two.sources(n_plus, n_minus, weight=(weight, 1)), gamma=gamma * total / (n_plus + n_minus)
        ).deltas[0]

    weight = 1.0
    for _ in range(30):
        own = delta(weight) / (1 + weight * delta(weight))
        weight = 1 + m / n_plus / (1 + own)
    rng, gaps, extra = np.random.default_rng(8), [], []
    t = np.repeat([1.0, -1.0, 1.0], [n_plus, n_minus, m])
    for _ in range(100):
        x = t[:-m, None] * mu + rng.standard_normal((n_plus + n_minus, p))
        own = x[:n_plus]
        centred = (own - own.mean(axis=0)) / np.sqrt(n_plus)
        made = own.mean(axis=0) + rng.standard_normal((m, n_plus)) @ centred
        topped, topped_variance = fit(np.vstack([x, made]), t, np.ones(total))
        weighted, variance = fit(x, t[:-m], np.where(t[:-m] > 0, weight, 1.0))
        gaps.append(topped - weighted)
        extra.append(topped_variance - variance)
    assert within(0.0, np.array(gaps).T, bias=0.01)
    assert np.mean(extra) > 10 * np.std(extra) / np.sqrt(len(extra))


def test_the_practical_ranking():
    """Balanced accuracy at 40 against 360 samples, p = 100, gamma = 1: offset, weights, topping up."""
    two = world(100)
    real = two.sources(40, 360)
    plain = predict_two_classes(two, real, gamma=1.0)
    inverse = predict_two_classes(two, two.sources(40, 360, weight=(5, 5 / 9)), gamma=1.0)
    assert plain.balanced < 0.51 and plain.overall(0.1) > 0.9
    assert plain.balanced < inverse.balanced < plain.shifted(plain.best_offset()).balanced
    assert inverse.shifted(inverse.best_offset()).balanced < plain.shifted(plain.best_offset()).balanced
    topped = {
        n_hat: predict_class_generators(two, real, [(Source(two.signed[0], 320), n_hat)], gamma=1.0)
        for n_hat in (40, 200, np.inf)
    }
    assert topped[40].balanced < plain.shifted(plain.best_offset()).balanced < topped[200].balanced
    assert topped[200].balanced < topped[np.inf].balanced


# Bad input


def test_bad_input():
    one, two = Mixture(np.ones(3)), world(5)
    with pytest.raises(TypeError, match="plus must be a Mixture"):
        TwoClasses(np.ones(3), one)
    with pytest.raises(ValueError, match="minus must have the dimension of plus, p = 3, got p = 2"):
        TwoClasses(one, Mixture(np.ones(2)))
    with pytest.raises(ValueError, match="intercept must be >= 0"):
        TwoClasses(one, one, -1.0)
    with pytest.raises(ValueError, match="epsilon must be a number or a pair"):
        two.sources(5, 5, epsilon=(0.1, 0.2, 0.3))
    with pytest.raises(ValueError, match="phi must be in"):
        two.sources(5, 5, phi=(0.1, 2.0))
    with pytest.raises(ValueError, match="n_hat_plus must be >= 1"):
        two.fitted(0, 5, 1)
    with pytest.raises(TypeError, match="seed must be an int"):
        simulate_two_classes(two, two.sources(5, 5), gamma=1.0, trials=2, seed=1.5)
    with pytest.raises(ValueError, match="n_minus must be > 0"):
        balancing_weights(two, 5, 0, gamma=1.0)
    with pytest.raises(ValueError, match="cov must be the identity"):
        predict_class_generators(world(5, cov_plus=2.0), two.sources(5, 5), [], gamma=1.0)
    with pytest.raises(ValueError, match="n_hat must be > 0"):
        predict_class_generators(two, two.sources(5, 5), [(two.sources(5, 5)[0], 0)], gamma=1.0)
    scores = ClassScores(np.array([1.0, 1.0]), np.array([0.0, 1.0]))
    with pytest.raises(ValueError, match="variance must be > 0"):
        scores.best_offset()
    with pytest.raises(ValueError, match="share_plus must be in"):
        scores.overall(1.5)
