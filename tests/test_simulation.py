"""The simulator: exact in distribution, reproducible, the same for any number of workers."""

from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest
from scipy.stats import ks_2samp, kstest, wishart

from rmt_lib import Mixture, Source, simulate, simulate_isotropic
from rmt_lib.simulation import bartlett

RNG = np.random.default_rng(3)
P = 12
FACTOR = RNG.standard_normal((P, 2 * P)) / np.sqrt(2 * P)
FULL, DIAGONAL = FACTOR @ FACTOR.T, RNG.uniform(0.3, 2, P)
MEAN = RNG.standard_normal(P) / 3
TARGET = Mixture(MEAN)
SOURCES = [
    Source(TARGET, 9),
    Source(Mixture(1.2 * MEAN, FULL), 25, epsilon=0.3, phi=0.7, rho=0.4, weight=0.6),
    Source(Mixture(-MEAN, DIAGONAL), 3, epsilon=0.1, phi=0.9, rho=0.2, weight=2.0),
]
ISOTROPIC = dict(p=12, mu=1.0, gamma=0.1, epsilon=0.2, phi=0.8, rho=0.5, weight=1.5)
# Small samples on purpose: sources with fewer samples than dimensions, none kept, and a generator of deficient rank.
ISOTROPIC_SETTINGS = [
    dict(generator="known_mean", n=10, m=30, n_hat=20),
    dict(generator="known_mean", n=0, m=5, n_hat=7),
    dict(generator="held_out", n=10, m=30, n_hat=20),
    dict(generator="held_out", n=3, m=2, n_hat=1),
    dict(generator="reused", n=15, m=30),
    dict(generator="reused", n=4, m=3),
    dict(generator="reused", n=18, m=30, n_hat=10),
    dict(generator="reused", n=9, m=12, n_hat=1),
]


def assert_same_distribution(first, second):
    """Kolmogorov-Smirnov on mean, variance and accuracy; p > 1e-4 each, so one false alarm in 3000."""
    for name in ("mean", "variance", "accuracy"):
        assert ks_2samp(getattr(first, name), getattr(second, name)).pvalue > 1e-4, name


def test_sufficient_statistics_and_samples_agree():
    draws = [simulate(TARGET, SOURCES, gamma=0.1, trials=3000, seed=seed, method=method)
             for seed, method in ((2410, "sufficient"), (2411, "samples"))]  # fmt: skip
    assert_same_distribution(*draws)


@pytest.mark.parametrize("setting", ISOTROPIC_SETTINGS, ids=lambda s: f"{s['generator']}-{s['n']}-{s['m']}")
def test_isotropic_sufficient_statistics_and_samples_agree(setting):
    draws = [simulate_isotropic(**ISOTROPIC, **setting, trials=3000, seed=seed, method=method)
             for seed, method in ((2412, "sufficient"), (2413, "samples"))]  # fmt: skip
    assert_same_distribution(*draws)


def test_the_distribution_test_can_fail():
    near = simulate_isotropic(**ISOTROPIC, n=10, m=30, trials=3000, seed=1)
    far = simulate_isotropic(**{**ISOTROPIC, "epsilon": 0.25}, n=10, m=30, trials=3000, seed=2)
    with pytest.raises(AssertionError):
        assert_same_distribution(near, far)


@pytest.mark.parametrize("degrees", [2, 5, 40])
def testbartlett_factor_is_wishart(degrees):
    """Against scipy where it is defined, and by u'Wu ~ |u|^2 chi^2 for any u."""
    rng = np.random.default_rng(2414)
    p, u = 5, np.array([1.0, -2.0, 0.5, 0.0, 3.0])
    factors = [bartlett(rng, p, degrees) for _ in range(3000)]
    assert factors[0].shape == (p, min(p, degrees))
    forms = [np.sum((u @ factor) ** 2) / (u @ u) for factor in factors]
    assert kstest(forms, "chi2", args=(degrees,)).pvalue > 1e-4
    if degrees >= p:
        reference = wishart(degrees, np.eye(p)).rvs(3000, random_state=rng)
        ours = [(factor @ factor.T)[0, 4] for factor in factors]
        assert ks_2samp(ours, reference[:, 0, 4]).pvalue > 1e-4


def assert_identical(first, second):
    np.testing.assert_array_equal(first.mean, second.mean)
    np.testing.assert_array_equal(first.variance, second.variance)


def test_workers_do_not_change_the_numbers():
    setting = dict(p=120, n=80, m=300, mu=1.0, gamma=0.1, n_hat=200, trials=70, seed=5)
    serial = simulate_isotropic(**setting)
    for workers in (1, 2):
        with ProcessPoolExecutor(workers) as executor:
            assert_identical(simulate_isotropic(**setting, executor=executor), serial)
    with ThreadPoolExecutor(2) as executor:
        assert_identical(simulate_isotropic(**setting, executor=executor), serial)


def test_general_trials_run_in_other_processes():
    with ProcessPoolExecutor(2) as executor:
        parallel = simulate(TARGET, SOURCES, gamma=0.1, trials=9, seed=5, executor=executor)
    assert_identical(parallel, simulate(TARGET, SOURCES, gamma=0.1, trials=9, seed=5))


def test_seeds():
    setting = dict(p=5, n=8, m=4, mu=1.0, gamma=0.1, trials=3)
    first = simulate_isotropic(**setting, seed=7)
    assert_identical(first, simulate_isotropic(**setting, seed=np.random.SeedSequence(7)))
    assert_identical(first, simulate_isotropic(**setting, seed=np.random.default_rng(7)))
    assert not np.array_equal(first.mean, simulate_isotropic(**setting, seed=8).mean)
    generator = np.random.default_rng(7)
    again = [simulate_isotropic(**setting, seed=generator).mean for _ in range(2)]
    assert not np.array_equal(*again)
    longer = simulate_isotropic(**{**setting, "trials": 5}, seed=7)
    np.testing.assert_array_equal(longer.mean[:3], first.mean)


def test_failures_in_workers_reach_the_caller():
    with ThreadPoolExecutor(2) as executor, pytest.raises(ValueError, match="gamma must be large enough"):
        simulate_isotropic(p=50, n=3, m=4, mu=1e6, gamma=1e-10, weight=1e8, trials=20, seed=0, executor=executor)


def test_nothing_kept_is_a_coin_flip():
    simulation = simulate_isotropic(p=10, n=0, m=20, mu=1.0, gamma=0.1, phi=0.0, rho=0.0, trials=3, seed=0)
    np.testing.assert_array_equal(simulation.accuracy, 0.5)
    np.testing.assert_array_equal(simulation.risk, 1.0)


def test_accuracy_and_risk_are_those_of_a_test_set():
    """Read off exactly from w; here against a million drawn test samples of a classifier trained in the open."""
    rng = np.random.default_rng(2415)
    u = MEAN + rng.standard_normal((30, P)) @ np.linalg.cholesky(FULL).T
    w = np.linalg.solve(0.1 * np.eye(P) + u.T @ u / 30, u.mean(axis=0))
    from rmt_lib.results import accuracy_of, risk_of

    score = (MEAN + rng.standard_normal((1_000_000, P)) @ np.linalg.cholesky(FULL).T) @ w
    mean, variance = MEAN @ w, w @ FULL @ w
    assert (score > 0).mean() == pytest.approx(float(accuracy_of(mean, variance)), abs=0.002)
    assert ((1 - score) ** 2).mean() == pytest.approx(float(risk_of(mean, variance)), abs=0.01)
