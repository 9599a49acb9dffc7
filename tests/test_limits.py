"""Limits that hold whatever the implementation."""

import numpy as np
import pytest

from rmt_lib import Mixture, Source, predict, predict_isotropic

P = 60
RNG = np.random.default_rng(1)
MEAN = RNG.standard_normal(P) / np.sqrt(P)
FACTOR = RNG.standard_normal((P, 2 * P))
FULL = FACTOR @ FACTOR.T / (2 * P)
DIAGONAL = RNG.uniform(0.2, 3, P)
COVARIANCES = pytest.mark.parametrize("cov", [1.7, DIAGONAL, FULL], ids=["scalar", "diagonal", "full"])


def assert_same(a, b, rtol=1e-9):
    np.testing.assert_allclose([a.mean, a.variance], [b.mean, b.variance], rtol=rtol)


@COVARIANCES
def test_perfect_synthetic_data_counts_as_real(cov):
    real = Mixture(MEAN, cov)
    together = predict(real, [Source(real, 50), Source(real, 130)], gamma=0.2)
    assert_same(together, predict(real, [Source(real, 180)], gamma=0.2))


@COVARIANCES
@pytest.mark.parametrize("nothing", [dict(phi=0.0, rho=0.0), dict(weight=1e-14)], ids=["all pruned", "no weight"])
def test_without_synthetic_data_the_penalty_is_that_of_drawn_samples(cov, nothing):
    real = Mixture(MEAN, cov)
    other = Mixture(-MEAN, DIAGONAL)
    mixed = predict(real, [Source(real, 50), Source(other, 150, epsilon=0.3, **nothing)], gamma=0.2)
    assert_same(mixed, predict(real, [Source(real, 50)], gamma=0.2 * 200 / 50))


@COVARIANCES
def test_empty_sources_do_nothing(cov):
    real = Mixture(MEAN, cov)
    assert_same(
        predict(real, [Source(real, 50), Source(Mixture(-MEAN, FULL), 0)], gamma=0.2),
        predict(real, [Source(real, 50)], gamma=0.2),
    )


@COVARIANCES
def test_accuracy_is_one_half_at_the_critical_noise(cov):
    phi, rho = 0.8, 0.3
    epsilon = 1 / (1 + rho / phi)
    for n in (20, 2000):
        prediction = predict(
            Mixture(MEAN, cov), [Source(Mixture(MEAN, cov), n, epsilon=epsilon, phi=phi, rho=rho)], gamma=1.0
        )
        assert prediction.accuracy == pytest.approx(0.5, abs=1e-12)


def test_infinite_synthetic_data_switches_at_the_critical_noise():
    """Feng et al. (2024): with n = 0 and m / p to infinity accuracy jumps from Phi(mu) to 1 - Phi(mu)."""
    critical = 1 / (1 + 0.3 / 0.8)
    accuracy = predict_isotropic(
        p=100, n=0, m=1e10, mu=1.0, gamma=1.0, epsilon=critical + np.array([-0.01, 0.01]), phi=0.8, rho=0.3
    ).accuracy
    np.testing.assert_allclose(accuracy, [0.8413447, 0.1586553], atol=1e-5)


@pytest.mark.parametrize("generator", ["known_mean", "held_out"])
def test_a_generator_that_has_seen_everything_is_the_truth(generator):
    setting = dict(p=100, n=150, m=400, mu=0.8, gamma=0.1, epsilon=0.2, phi=0.9, rho=0.4, weight=0.7)
    fitted = predict_isotropic(**setting, n_hat=1e13, generator=generator)
    assert_same(fitted, predict_isotropic(**setting), rtol=1e-9)


@COVARIANCES
def test_large_penalty_gives_the_mean_direction(cov):
    real, other = Mixture(MEAN, cov), Mixture(RNG.standard_normal(P) / 5, FULL)
    prediction = predict(real, [Source(real, 50), Source(other, 70, epsilon=0.1, phi=0.8, rho=0.5)], gamma=1e9)
    h = 50 / 120 * MEAN + 70 / 120 * (0.8 * 0.9 - 0.5 * 0.1) * other.mean
    assert prediction.mean * 1e9 == pytest.approx(h @ MEAN, rel=1e-6)


@COVARIANCES
@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_scaling_weights_and_penalty_together_changes_nothing(cov, scale):
    real, other = Mixture(MEAN, cov), Mixture(-MEAN / 2, FULL)

    def at(factor):
        sources = [Source(real, 50, weight=factor), Source(other, 70, epsilon=0.1, phi=0.8, rho=0.5, weight=3 * factor)]
        return predict(real, sources, gamma=0.1 * factor)

    assert_same(at(1.0), at(scale), rtol=1e-8)


def test_nothing_kept_is_a_coin_flip():
    nothing = Source(Mixture(MEAN), 100, epsilon=0.5, phi=0.0, rho=0.0)
    prediction = predict(Mixture(MEAN), [nothing], gamma=0.3)
    assert (prediction.mean, prediction.variance, prediction.accuracy, prediction.risk) == (0, 0, 0.5, 1)
    isotropic = predict_isotropic(p=10, n=0, m=5, mu=1.0, gamma=0.3, phi=0.0, rho=0.0)
    assert (isotropic.mean, isotropic.variance, isotropic.accuracy, isotropic.risk) == (0, 0, 0.5, 1)


@COVARIANCES
def test_splitting_a_source_changes_nothing(cov):
    real = Mixture(MEAN, cov)
    noisy = dict(epsilon=0.2, phi=0.7, rho=0.4, weight=2.0)
    split = [Source(real, 30, **noisy), Source(real, 90, **noisy)]
    assert_same(predict(real, split, gamma=0.05), predict(real, [Source(real, 120, **noisy)], gamma=0.05))


def test_reused_generator_without_synthetic_data_is_real_only_ridge():
    """Two derivations of one number: ridge conditioned on its sample, and the master theorem."""
    real_only = predict_isotropic(p=80, n=50, m=0, mu=1.2, gamma=0.07)
    reused = predict_isotropic(p=80, n=50, m=0, mu=1.2, gamma=0.07, generator="reused")
    assert_same(real_only, reused)
    np.testing.assert_allclose(reused.deltas[0], real_only.deltas[0], rtol=1e-10)


def test_reused_generator_never_beats_the_best_real_only_ridge():
    rng = np.random.default_rng(2410)
    size = 500
    p, n = 100, rng.uniform(10, 1000, size)
    mu = rng.uniform(0.2, 2, size)
    best = predict_isotropic(p=p, n=n, m=0, mu=mu, gamma=np.logspace(-6, 6, 400)[:, None]).accuracy.max(axis=0)
    reused = predict_isotropic(
        p=p,
        n=n,
        m=rng.uniform(0, 10_000, size),
        mu=mu,
        gamma=10 ** rng.uniform(-3, 2, size),
        epsilon=rng.uniform(0, 1, size),
        phi=rng.uniform(0, 1, size),
        rho=rng.uniform(0, 1, size),
        weight=10 ** rng.uniform(-2, 2, size),
        generator="reused",
    ).accuracy
    # The grid over gamma misses its optimum by less than 1e-4.
    assert (reused <= best + 1e-4).all()
