"""Reused data: the limit against the real-only ridge, in every way of reusing; what the chapter says about it."""

import numpy as np
import pytest
from scipy.special import ndtr

from rmt_experiments import figure_3
from rmt_lib import Mixture, Source, predict, predict_isotropic, simulate_isotropic
from rmt_lib.fitted import Population, predict_fitted
from rmt_lib.topics.when_it_helps import best_gamma_isotropic, z_at_infinite_gamma_isotropic

P, N = 120, 180
VARIANCES = np.geomspace(0.1, 4, P)
TRUTH = Mixture(1.5 * np.sqrt(VARIANCES / P), VARIANCES)
POPULATION = Population(TRUTH)


def z_of_real_data(n, ridge):
    """The chapter's formula for z of ridge on n real samples."""
    at = POPULATION.curves(ridge)
    return at.signal * np.sqrt((1 - at.freedom_square / n) / (at.signal_square + at.freedom_square / n))


BEST = ndtr(max(z_of_real_data(N, ridge) for ridge in np.geomspace(1e-3, 1e3, 2000)))


@pytest.mark.parametrize("n", [60, 180, 1000])
@pytest.mark.parametrize("gamma", [0.01, 1.0, 30.0])
def test_the_formula_for_real_data_is_the_master_theorem(n, gamma):
    real = predict(TRUTH, [Source(TRUTH, n)], gamma=gamma)
    ridge = gamma * (1 + real.deltas[0])
    assert real.accuracy == pytest.approx(ndtr(z_of_real_data(n, ridge)), abs=1e-10)


def random_mix(rng):
    return {
        "m": N * 10 ** rng.uniform(-1.5, 2),
        "gamma": 10 ** rng.uniform(-3, 1.5),
        "epsilon": rng.uniform(0, 0.6),
        "phi": rng.uniform(),
        "rho": rng.uniform(),
        "weight": 10 ** rng.uniform(-2, 1.5),
    }


def test_all_or_a_part_reused_never_beats_real_data():
    rng = np.random.default_rng(2410)
    for _ in range(300):
        mix = random_mix(rng)
        for n_hat in (np.inf, rng.uniform(1, N)):
            assert predict_fitted(TRUTH, n=N, n_hat=n_hat, generator="reused", **mix).accuracy <= BEST + 1e-6


def test_splitting_the_data_never_beats_real_data():
    rng = np.random.default_rng(2411)
    for _ in range(300):
        share = rng.uniform(0.02, 0.98)
        split = predict_fitted(TRUTH, n=(1 - share) * N, n_hat=share * N, generator="held_out", **random_mix(rng))
        assert split.accuracy <= BEST + 1e-6


def test_all_reused_is_at_most_real_data_at_the_changed_penalty():
    rng = np.random.default_rng(2412)
    for _ in range(100):
        mix = random_mix(rng)
        found = predict_fitted(TRUTH, n=N, generator="reused", **mix)
        right, wrong = mix["phi"] * (1 - mix["epsilon"]), mix["rho"] * mix["epsilon"]
        pull = mix["m"] * mix["weight"] / (1 + mix["weight"] * found.deltas[1])
        changed = mix["gamma"] * (N + mix["m"]) / (N + (right + wrong) * pull)
        if mix["weight"] <= 1:
            assert changed >= mix["gamma"]
        alone = predict(TRUTH, [Source(TRUTH, N)], gamma=changed).accuracy
        assert found.accuracy <= max(alone, 0.5) + 1e-9
        if N + (right - wrong) * pull <= 0:
            assert found.accuracy <= 0.5


def test_equal_weights_are_best():
    """Three groups that differ in weight. Unequal targets too: those are what label noise makes of a part, above."""
    rng = np.random.default_rng(2413)
    for _ in range(200):
        sizes = rng.dirichlet([1, 1, 1]) * N
        sources = [Source(TRUTH, size, weight=10 ** rng.uniform(-2, 2)) for size in sizes]
        assert predict(TRUTH, sources, gamma=10 ** rng.uniform(-2, 2)).accuracy <= BEST + 1e-6


def test_a_part_tends_to_the_whole():
    setting = {"n": N, "m": 2 * N, "gamma": 0.2, "epsilon": 0.2, "rho": 0.5, "weight": 1.5, "generator": "reused"}
    whole = predict_fitted(TRUTH, **setting)
    for n_hat, close in ((N, 1e-12), (N * (1 - 1e-8), 1e-6)):
        found = predict_fitted(TRUTH, n_hat=n_hat, **setting)
        np.testing.assert_allclose([found.mean, found.variance], [whole.mean, whole.variance], rtol=close)


@pytest.mark.parametrize("n_hat", [30, 90, 179])
def test_a_part_without_synthetic_data_is_real_data(n_hat):
    found = predict_fitted(TRUTH, n=N, m=0, gamma=0.2, generator="reused", n_hat=n_hat)
    real = predict(TRUTH, [Source(TRUTH, N)], gamma=0.2)
    np.testing.assert_allclose([found.mean, found.variance], [real.mean, real.variance], rtol=1e-9)


def test_the_best_penalty_of_reused_data():
    """`best_gamma_isotropic` takes a part, and finds no more than the limit of real data."""
    best = ndtr(z_at_infinite_gamma_isotropic(p=100, n=150, m=0, mu=1.2))
    for n_hat in (15, 75, np.inf):
        mix = best_gamma_isotropic(p=100, n=150, m=300, mu=1.2, epsilon=0.1, generator="reused", n_hat=n_hat)
        assert 0.7 < mix.accuracy < best


def test_no_procedure_beats_the_sum_even_at_small_dimension():
    setting = dict(p=12, n=9, mu=1.5, trials=250)
    best = simulate_isotropic(**setting, m=0, gamma=1e7, seed=1).estimate("accuracy")
    for i, mix in enumerate((dict(gamma=1.0), dict(gamma=1e4), dict(gamma=0.3, n_hat=5), dict(gamma=1e4, n_hat=5))):
        found = simulate_isotropic(**setting, m=60, generator="reused", seed=2 + i, **mix).estimate("accuracy")
        assert found.value < best.value + 3 * np.hypot(found.standard_error, best.standard_error)


def overlap_worth(n, n_hat, o, x, drawn):
    return (n + n_hat * x) ** 2 / (n + 2 * o * x + n_hat * (1 + n_hat / drawn) * x**2)


def overlap_best(n, n_hat, o, drawn):
    return n + n * (n_hat - o) ** 2 / (n * n_hat * (1 + n_hat / drawn) - o**2)


def test_the_worth_of_an_overlap():
    p, n, m, mu = 300, 400, 700, 1.1
    labels = dict(epsilon=0.1, phi=0.9, rho=0.5)
    right, wrong = 0.9 * 0.9, 0.5 * 0.1
    drawn = (right - wrong) ** 2 * m / (right + wrong)
    for generator, n_hat, o in (("held_out", 250, 0), ("reused", 250, 250), ("reused", 400, 400)):
        for omega in (0.2, 1.0):
            z = z_at_infinite_gamma_isotropic(
                p=p, n=n, m=m, mu=mu, n_hat=n_hat, generator=generator, weight=omega, **labels
            )  # fmt: skip
            worth = overlap_worth(n, n_hat, o, omega * (right - wrong) * m / n_hat, drawn)
            assert z == pytest.approx(mu**2 / np.sqrt(mu**2 + p / worth), rel=1e-12)
    for n_hat, o in ((250, 0), (250, 100), (250, 250), (900, 400), (900, 150)):
        scan = overlap_worth(n, n_hat, o, np.linspace(0, 20, 200_001), drawn).max()
        assert overlap_best(n, n_hat, o, drawn) == pytest.approx(scan, rel=1e-6)
        assert overlap_best(n, n_hat, o, 1e15) <= n + n_hat - o + 1e-6
    assert overlap_best(n, 900, n, 1e15) == pytest.approx(900)
    # With unlimited draws: half of the data to the generator, half to the classifier, gives all of them back.
    assert overlap_best(n / 2, n / 2, 0, 1e15) == pytest.approx(n)


def test_figure_3_with_a_generator_that_has_seen_nothing_else():
    shares = np.linspace(0, 0.96, 33)
    for p in figure_3.DIMENSIONS:
        m = figure_3.N * shares / (1 - shares)
        epsilon = figure_3.synthetic_error(p, np.maximum(m, 1))
        best = ndtr(z_at_infinite_gamma_isotropic(p=p, n=figure_3.N, m=0, mu=figure_3.MU))
        setting = dict(p=p, n=figure_3.N, m=m, mu=figure_3.MU, gamma=figure_3.GAMMA, epsilon=epsilon)
        for verifier in figure_3.SUPERVISION.values():
            assert (predict_isotropic(**setting, **verifier, generator="reused").accuracy < best).all()
        oracle = figure_3.SUPERVISION["oracle"]
        assert predict_isotropic(**setting, **oracle, n_hat=figure_3.N).accuracy.max() > best + 0.008


def test_reused_data_of_small_weight_look_helpful_at_a_small_penalty():
    real = predict_fitted(TRUTH, n=N, m=0, gamma=0.01).accuracy
    full, light = (
        predict_fitted(TRUTH, n=N, m=50 * N, gamma=0.01, weight=weight, generator="reused").accuracy
        for weight in (1.0, 0.1)
    )
    assert full < real < real + 0.03 < light < BEST
