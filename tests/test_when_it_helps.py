"""Decisions: first-sample values, break-even noise, best penalty, worth in real samples."""

import numpy as np
import pytest
from scipy.special import ndtr

from rmt_lib import Mixture, Source, predict, predict_isotropic, simulate_isotropic
from rmt_lib.topics.when_it_helps import (
    GAMMAS,
    best_gamma,
    best_gamma_isotropic,
    break_even_noise,
    first_sample_values,
    worth_in_real_samples,
    z_at_infinite_gamma_isotropic,
)


def score(**setting):
    prediction = predict_isotropic(**setting)
    return prediction.mean / np.sqrt(prediction.variance)


def slope(m, **setting):
    """Three-point forward difference of z in the number of synthetic samples, at 0."""
    none, one, two = (score(m=k * m, **setting) for k in (0, 1, 2))
    return (4 * one - two - 3 * none) / (2 * m)


def random_settings(seed, size):
    rng = np.random.default_rng(seed)
    real = dict(p=rng.uniform(20, 500, size), n=rng.uniform(20, 1000, size), mu=rng.uniform(0.2, 3, size))
    labels = dict(zip(("epsilon", "phi", "rho"), rng.random((3, size)), strict=True))
    return real, 10 ** rng.uniform(-2, 2, size), labels, 10 ** rng.uniform(1, 4, size)


@pytest.mark.parametrize("generator", ["known_mean", "held_out"])
def test_values_are_the_slope_of_the_theory_whatever_the_generator_has_seen(generator):
    real, gamma, labels, n_hat = random_settings(2410, 400)
    values = first_sample_values(**real, gamma=gamma)
    setting = dict(**real, gamma=gamma, **labels, n_hat=n_hat, generator=generator)
    right, wrong = labels["phi"] * (1 - labels["epsilon"]), labels["rho"] * labels["epsilon"]
    scale = np.abs(right * values.right) + np.abs(wrong * values.wrong) + values.drawn
    error = np.abs(slope(1e-4 * real["n"], **setting) - values.slope(**labels)) / scale
    assert error.max() < 2e-5


def test_without_1_over_n_in_the_loss_nothing_is_added_for_being_drawn():
    """At a fixed gamma N the slope is that of the kept samples alone."""
    real, gamma, labels, _ = random_settings(2411, 200)
    m = 1e-4 * real["n"]
    none, one, two = (
        score(m=k * m, gamma=gamma * real["n"] / (real["n"] + k * m), **real, **labels) for k in (0, 1, 2)
    )
    values = first_sample_values(**real, gamma=gamma)
    expected = values._replace(drawn=0.0).slope(**labels)
    scale = np.abs(values.right) + np.abs(values.wrong)
    assert (np.abs((4 * one - two - 3 * none) / (2 * m) - expected) / scale).max() < 2e-5


def test_a_right_sample_that_is_kept_is_worth_a_real_one():
    values = first_sample_values(p=120, n=100, mu=1.3, gamma=0.2)
    step = 1e-3
    around = score(p=120, n=np.array([100 - step, 100 + step]), m=0, mu=1.3, gamma=0.2)
    assert values.right + values.drawn == pytest.approx(np.diff(around)[0] / (2 * step), rel=1e-6)


def test_near_interpolation_a_clean_sample_can_hurt_and_a_wrong_one_help():
    hurt = first_sample_values(p=150, n=100, mu=1.0, gamma=1e-6)  # p / n between 1 and 1 + sqrt 2
    assert hurt.right + hurt.drawn < 0
    helped = first_sample_values(p=250, n=100, mu=1.0, gamma=1e-6)
    assert helped.right + helped.drawn > 0
    assert first_sample_values(p=95, n=100, mu=1.0, gamma=1e-6).wrong > 0
    assert break_even_noise(p=150, n=100, mu=1.0, gamma=1e-6) == 0.0
    assert break_even_noise(p=95, n=100, mu=1.0, gamma=1e-6) == 1.0


def test_a_wrong_sample_cancels_three_right_ones_at_a_large_penalty():
    values = first_sample_values(p=np.array([10, 700]), n=100, mu=[0.3, 2.0], gamma=1e8)
    np.testing.assert_allclose(values.wrong, -3 * values.right, rtol=1e-6)
    assert (values.drawn < 1e-6 * values.right).all()
    phi, rho = 0.8, 0.5
    expected = phi / (phi + 3 * rho)
    assert break_even_noise(p=50, n=100, mu=1.0, gamma=1e8, phi=phi, rho=rho) == pytest.approx(expected, rel=1e-6)


def test_accuracy_turns_at_the_break_even_noise():
    real = dict(p=200, n=400, mu=1.0, gamma=1.0)
    for phi, rho in ((1.0, 1.0), (0.7, 0.3), (0.5, 1.0)):
        epsilon = break_even_noise(**real, phi=phi, rho=rho)
        below, above = (
            score(m=m, **real, phi=phi, rho=rho, epsilon=epsilon + step) for m, step in ((1e-2, -1e-3), (1e-2, 1e-3))
        )
        none = score(m=0, **real)
        assert below > none > above
    assert break_even_noise(**real, rho=0.0) == 1.0
    # What is dropped still makes N grow, and with it the penalty.
    assert break_even_noise(**real, phi=0.0, rho=0.0) == 1.0


def test_the_gain_is_that_of_simulated_classifiers():
    """Paired trials. Bias: O(1/p) of the gain, 1 % of it, far below its standard error."""
    fixed = dict(p=100, n=200, mu=1.0, gamma=1.0, n_hat=100.0, generator="held_out", rho=1.0)
    for epsilon, seed in ((0.0, 2410), (0.4, 2411)):
        runs = [simulate_isotropic(**fixed, m=m, epsilon=epsilon, trials=400, seed=seed) for m in (0, 20)]
        gain = runs[1].accuracy - runs[0].accuracy
        theory = np.diff(ndtr(score(**fixed, m=np.array([0, 20]), epsilon=epsilon)))[0]
        assert abs(gain.mean() - theory) < 3.5 * gain.std(ddof=1) / np.sqrt(gain.size)
        assert np.sign(gain.mean()) == np.sign(theory)
        # The first-order value is the gain up to curvature.
        slope_of_z = first_sample_values(p=100, n=200, mu=1.0, gamma=1.0).slope(epsilon=epsilon)
        density = np.exp(-(score(**fixed, m=0) ** 2) / 2) / np.sqrt(2 * np.pi)
        assert theory == pytest.approx(20 * density * slope_of_z, rel=0.3)


@pytest.mark.parametrize(
    "generator, n_hat", [("known_mean", 150), ("held_out", 150), ("reused", np.inf), ("reused", 30)]
)
def test_the_infinite_penalty_is_the_limit(generator, n_hat):
    setting = dict(p=100, n=[0.0, 80, 80] if generator != "reused" else 80, m=[300, 0, 700], mu=1.2, epsilon=0.3)
    setting |= dict(phi=0.9, rho=0.4, n_hat=n_hat, generator=generator, weight=0.7)
    np.testing.assert_allclose(score(**setting, gamma=1e7), z_at_infinite_gamma_isotropic(**setting), rtol=1e-5)


def test_nothing_kept_has_score_0():
    assert z_at_infinite_gamma_isotropic(p=10, n=0, m=5, mu=1.0, phi=0.0, rho=0.0) == 0


def test_with_a_perfect_generator_the_best_penalty_is_infinite():
    for epsilon, rho in ((0.0, 1.0), (0.3, 1.0), (0.4, 0.2)):
        best = best_gamma_isotropic(p=100, n=150, m=300, mu=1.0, epsilon=epsilon, rho=rho)
        assert best.gamma == np.inf
        z = z_at_infinite_gamma_isotropic(p=100, n=150, m=300, mu=1.0, epsilon=epsilon, rho=rho)
        assert best.accuracy == ndtr(z)


@pytest.mark.parametrize("generator", ["known_mean", "held_out"])
def test_best_penalty_beats_a_scan_and_is_finite_by_the_condition(generator):
    setting = dict(p=100, n=150, m=600, mu=1.0, n_hat=150, generator=generator)
    for epsilon in (0.0, 0.02, 0.3):
        best = best_gamma_isotropic(**setting, epsilon=epsilon)
        scan = ndtr(score(**setting, epsilon=epsilon, gamma=np.logspace(-5, 6, 2000)))
        assert best.accuracy >= scan.max() - 1e-9
        if generator == "known_mean":
            finite = 100 / 150 * 600 > 4 * epsilon * (150 + (1 - epsilon) * 600)
            assert np.isfinite(best.gamma) == finite
    assert np.isfinite(best_gamma_isotropic(**setting).gamma)


def test_worse_than_guessing_wants_no_penalty_at_all():
    """With the labels reversed accuracy is below 1/2, and highest where the classifier learns least."""
    assert best_gamma_isotropic(p=100, n=10, m=500, mu=1.0, epsilon=0.9).gamma == pytest.approx(GAMMAS[0])


def test_best_gamma_of_general_covariances():
    p = 40
    isotropic = Mixture(np.r_[1.1, np.zeros(p - 1)])
    assert best_gamma(isotropic, [Source(isotropic, 60), Source(isotropic, 90, epsilon=0.2)]).gamma == np.inf
    shape = 0.7 ** np.abs(np.subtract.outer(np.arange(p), np.arange(p)))
    real = Mixture(np.ones(p) / np.sqrt(p), shape)
    sources = [Source(real, 60), Source(isotropic, 90, epsilon=0.2, rho=0.5, weight=0.6)]
    best = best_gamma(real, sources)
    scan = [predict(real, sources, gamma=gamma).accuracy for gamma in np.logspace(-4, 3, 200)]
    assert max(scan) - 1e-9 <= best.accuracy < max(scan) + 1e-3
    # Where an infinite penalty is best, its accuracy is the limit.
    noisy = [Source(real, 10), Source(real, 50, epsilon=0.4)]
    limit = predict(real, noisy, gamma=1e9).accuracy
    best = best_gamma(real, noisy)
    assert best.gamma == np.inf and best.accuracy == pytest.approx(limit, abs=1e-7)


@pytest.mark.parametrize("gamma", [0.01, 1.0, None])
def test_clean_samples_of_a_perfect_generator_are_worth_themselves(gamma):
    for n in (150, 400):
        assert worth_in_real_samples(p=100, n=n, mu=1.0, gamma=gamma, m=50) == pytest.approx(50, rel=1e-5)


def test_worth_is_a_solution_and_nothing_beyond_it_is_worse():
    real = dict(p=100, n=90, mu=1.0)
    synthetic = dict(m=200, epsilon=0.2, rho=0.5, n_hat=80, generator="held_out")
    for gamma in (1e-4, 0.05, 1.0, 20.0):
        worth = worth_in_real_samples(**real, gamma=gamma, **synthetic)
        mixed = score(**real, gamma=gamma, **synthetic)
        assert score(**real | {"n": 90 + worth}, m=0, gamma=gamma) == pytest.approx(mixed, rel=1e-8)
        beyond = score(**real | {"n": (90 + worth) * np.logspace(1e-6, 3, 300)}, m=0, gamma=gamma)
        assert (beyond >= mixed).all()


def test_worth_at_the_best_penalties():
    real = dict(p=100, n=90, mu=1.0)
    worth = worth_in_real_samples(**real, m=300, epsilon=0.1, generator="held_out", n_hat=60)
    best = best_gamma_isotropic(**real, m=300, epsilon=0.1, generator="held_out", n_hat=60)
    alone = best_gamma_isotropic(p=100, n=90 + worth, mu=1.0, m=0)
    assert alone.gamma == np.inf
    assert alone.accuracy == pytest.approx(best.accuracy, rel=1e-9)


def test_to_first_order_the_worth_is_the_ratio_of_values():
    real = dict(p=200, n=400, mu=1.0, gamma=0.5)
    values = first_sample_values(**real)
    expected = values.slope(epsilon=0.3, rho=0.2) / (values.right + values.drawn)
    worth = worth_in_real_samples(**real, m=0.01, epsilon=0.3, rho=0.2, n_hat=50, generator="held_out")
    assert worth / 0.01 == pytest.approx(expected, rel=1e-3)


def test_worth_is_negative_or_infinitely_so():
    real = dict(p=100, n=90, mu=1.0, gamma=1.0)
    assert -90 < worth_in_real_samples(**real, m=50, epsilon=0.6) < 0
    assert worth_in_real_samples(**real, m=5000, epsilon=0.9) == -np.inf
    assert worth_in_real_samples(**real, m=0) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("gamma", [1e-8, 1e-3, 1.0, 1e5])
@pytest.mark.parametrize("mu", [0.01, 1.0, 8.0])
def test_extreme_settings_stay_finite(gamma, mu):
    for n in (1, 100, 1e6):
        values = first_sample_values(p=100, n=n, mu=mu, gamma=gamma)
        assert np.isfinite(values).all()
        assert 0 <= break_even_noise(p=100, n=n, mu=mu, gamma=gamma) <= 1
        assert not np.isnan(worth_in_real_samples(p=100, n=n, mu=mu, gamma=gamma, m=50, epsilon=0.2))


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: first_sample_values(p=10, n=0, mu=1, gamma=1), ValueError, "n must be > 0"),
        (lambda: first_sample_values(p=0.5, n=5, mu=1, gamma=1), ValueError, "p must be >= 1"),
        (lambda: break_even_noise(p=10, n=5, mu=0, gamma=1), ValueError, "mu must be > 0"),
        (lambda: break_even_noise(p=10, n=5, mu=1, gamma=1, phi=2), ValueError, "phi must be in"),
        (lambda: best_gamma_isotropic(p=10, n=5, m=5, mu=1, gamma=1), TypeError, "gamma"),
        (lambda: best_gamma_isotropic(p=10, n=5, m=[5, 6], mu=1), TypeError, "m must be a single value"),
        (lambda: worth_in_real_samples(p=10, n=5, mu=1, gamma=0, m=5), ValueError, "gamma must be > 0"),
        (lambda: worth_in_real_samples(p=10, n=5, mu=1, gamma=1, m=[5, 6]), TypeError, "m must be a single value"),
        (lambda: worth_in_real_samples(p=10, n=0, mu=1, gamma=1, m=5), ValueError, "n must be > 0"),
        (lambda: best_gamma(Mixture(np.ones(3)), []), ValueError, "sources"),
    ],
)
def test_bad_input_is_named(call, error, words):
    with pytest.raises(error, match=words):
        call()
