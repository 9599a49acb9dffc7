"""Recursive generators: moments, spectrum and accuracy against brute force, simulation and known limits."""

import numpy as np
import pytest
from scipy.special import comb, gammaln

from rmt_experiments import generations as experiment
from rmt_experiments.runner import read
from rmt_lib import Mixture, Source, marchenko_pastur, predict, predict_isotropic, simulate
from rmt_lib.fitted import predict_fitted
from rmt_lib.topics.generations import (
    REGIMES,
    draw_generations,
    draw_tokens,
    expected_moments,
    predict_generations,
    spectral_moments,
    spectrum,
    support,
)

P = 60
POPULATION = Mixture(np.resize([1.5, -0.5, 1.0], P) / np.sqrt(P), np.geomspace(0.2, 3, P))
RECURSIONS = [
    {"regime": "replace"},
    {"regime": "replace", "balance": 0.7},
    {"regime": "fresh", "share": 0.2},
    {"regime": "fresh", "share": 0.2, "balance": 0.6},
    {"regime": "accumulate"},
    {"regime": "accumulate", "balance": 0.5},
]
TRAINING = {"n": 80, "m": 300, "gamma": 0.3}
NOISY = {"epsilon": 0.25, "phi": 0.9, "rho": 0.4}


def within(values, expected, sigmas):
    error = values.std(axis=0, ddof=1) / np.sqrt(len(values))
    np.testing.assert_array_less(np.abs(values.mean(axis=0) - expected), sigmas * error + 1e-12)


@pytest.mark.parametrize("recursion", RECURSIONS)
def test_moments_of_gaussians(recursion):
    """Exact at any size, also with fewer samples than dimensions; 80 recursions, 16 dependent numbers."""
    population = Mixture(np.full(12, 0.5), np.linspace(0.5, 2, 12))
    expected = expected_moments(15.0, 3.0, 4, n_hat=10, **recursion)
    rng = np.random.default_rng(2410)
    rows = []
    for _ in range(80):
        drawn = draw_generations(population, 4, n_hat=10, seed=rng, **recursion)
        rows.append(
            [
                [g.mean @ population.mean / 3, g.mean @ g.mean, np.sum((g.mean - 0.5) ** 2), np.trace(g.cov)]
                for g in drawn
            ]
        )
    within(np.array(rows), np.array(expected).T, 4)


@pytest.mark.parametrize("recursion", RECURSIONS[::2])
def test_diversity_of_tokens(recursion):
    probabilities = np.arange(1, 9) / 36
    signal = probabilities @ probabilities
    expected = expected_moments(1 - signal, signal, 6, n_hat=10, **recursion)
    rng = np.random.default_rng(2411)
    drawn = np.array([draw_tokens(probabilities, 6, n_hat=10, seed=rng, **recursion) for _ in range(500)])
    np.testing.assert_allclose(drawn.sum(axis=2), 1)
    within(1 - (drawn**2).sum(axis=2), expected.spread, 4)
    within(drawn[:, -1], probabilities, 4)


def test_tokens_are_gaussians_in_expectation():
    """Wrong-free recursions lose the same share of the spread, whatever trace and signal."""
    for recursion in RECURSIONS[::2]:
        one = expected_moments(7.0, 2.0, 9, n_hat=20, **recursion)
        other = expected_moments(1.0, 0.0, 9, n_hat=20, **recursion)
        np.testing.assert_allclose(one.spread / 7, other.spread, rtol=1e-12)
        np.testing.assert_allclose(one.drift, 7 - one.spread, rtol=1e-9)


def test_closed_forms_of_the_spread():
    n_hat, last = 25.0, 4000
    replace = expected_moments(1, 0, 50, n_hat=n_hat).spread
    np.testing.assert_allclose(replace, (1 - 1 / n_hat) ** np.arange(1, 51), rtol=1e-12)
    accumulate = expected_moments(1, 0, last, n_hat=n_hat, regime="accumulate").spread
    np.testing.assert_allclose(accumulate, np.cumprod(1 - 1 / (n_hat * np.arange(1.0, last + 1) ** 2)), rtol=1e-10)
    assert accumulate[-1] == pytest.approx(np.sinc(1 / np.sqrt(n_hat)), rel=1e-4)
    assert 1 - accumulate[-1] < np.pi**2 / 6 / n_hat
    for share in (0.05, 0.3, 1.0):
        fresh = expected_moments(1, 0, 2000, n_hat=n_hat, regime="fresh", share=share).spread
        assert 1 - fresh[-1] == pytest.approx(1 / (share * (2 - share) * n_hat + 1 - share), rel=1e-9)


def test_closed_forms_of_the_alignment():
    beta, j = 0.8, np.arange(1, 30)
    options = {"n_hat": 10, "balance": beta}
    np.testing.assert_allclose(expected_moments(1, 1, 29, **options).alignment, beta ** (j - 1), rtol=1e-12)
    slow = expected_moments(1, 1, 29, regime="accumulate", **options).alignment
    np.testing.assert_allclose(slow, np.exp(gammaln(j + beta) - gammaln(1 + beta) - gammaln(j + 1)), rtol=1e-12)
    fresh = expected_moments(1, 1, 300, regime="fresh", share=0.1, **options).alignment
    assert fresh[-1] == pytest.approx(0.1 / (1 - 0.9 * beta), rel=1e-9)


@pytest.mark.parametrize("c", [1e-4, 0.1, 0.9, 1.0, 2.0, 50.0])
def test_one_generation_is_marchenko_pastur(c):
    x, density = spectrum([c])
    np.testing.assert_allclose(support([c]), marchenko_pastur.support(c), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(density, marchenko_pastur.density(x, c), rtol=1e-5, atol=1e-5 * density.max())


@pytest.mark.parametrize("ratios", [[0.1] * 5, [0.1, 0.5, 2.0], [0.5] * 10, [0.3, 0.3, 4.0], [0.05] * 40])
def test_spectrum_solves_the_polynomial(ratios):
    x, density = spectrum(ratios, 400)
    assert (np.diff(x) > 0).all() and (density >= 0).all()
    low, high = support(ratios)
    assert low <= x[0] and x[-1] <= high
    np.testing.assert_allclose([x[0], x[-1]], [low, high], rtol=2e-3)
    factors = np.polynomial.Polynomial([1.0])
    for c in [1.0, *ratios]:
        factors *= np.polynomial.Polynomial([1.0, c])
    for value, height in zip(x[50::50], density[50::50], strict=True):
        roots = (factors - np.polynomial.Polynomial([0.0, value])).roots()
        assert np.abs(roots.imag / (np.pi * value) - height).min() < 1e-6 * height
    areas = [np.trapezoid(x**k * density, x) for k in range(4)]
    mass = min(1.0, 1 / max(ratios))
    np.testing.assert_allclose(areas, [mass, *spectral_moments(ratios, 3)], rtol=3e-3)


def test_spectral_moments():
    np.testing.assert_allclose(spectral_moments([0.1, 0.2, 0.4], 2), [1, 1.7])
    fuss_catalan = [comb(4 * k, k - 1) / k for k in range(1, 6)]
    np.testing.assert_allclose(spectral_moments([1.0] * 3, 5), fuss_catalan)


def test_spectrum_of_a_draw():
    """One recursion in dimension 250; the bias of the third moment is of order 1/p."""
    ratios = [0.5, 0.5, 0.5]
    drawn = draw_generations(Mixture(np.zeros(250)), 3, n_hat=500, seed=2412)[-1]
    values = np.linalg.eigvalsh(drawn.cov)
    moments = [np.mean(values**k) for k in (1, 2, 3)]
    np.testing.assert_allclose(moments, spectral_moments(ratios, 3), rtol=0.06)
    low, high = support(ratios)
    assert 0.9 * low < values[0] and values[-1] < 1.05 * high


CHAINS = ([400, np.inf], [np.inf, 400], [np.inf, 400, np.inf, np.inf], [400])


@pytest.mark.parametrize("generator", ["known_mean", "held_out"])
@pytest.mark.parametrize("gamma", [1e-9, 0.2, 1e9])
def test_a_perfect_generation_changes_nothing(generator, gamma):
    for m in (0, 500, 50_000):
        setting = {"n": 50, "m": m, "gamma": gamma, "generator": generator, "weight": 2.0, **NOISY}
        once = predict_fitted(POPULATION, n_hat=400, **setting)
        for chain in CHAINS:
            found = predict_generations(POPULATION, len(chain), n_hat=chain, **setting)
            np.testing.assert_allclose([found.mean, found.variance], [once.mean, once.variance], rtol=1e-8)
            np.testing.assert_allclose(found.deltas, once.deltas, rtol=1e-8)


def test_the_equations_of_a_chain_hold():
    n, m, chain, omega, gamma = 100, 700, np.array([150, 400, 90]), 1.5, 0.03
    alpha = 0.9 * 0.75 + 0.4 * 0.25
    first, last = predict_generations(POPULATION, 3, n=n, m=m, gamma=gamma, n_hat=chain, weight=omega, **NOISY).deltas
    load = alpha * m * omega * last / (1 + omega * last)  # N k delta_2
    assert first * np.prod(1 - load / chain) == pytest.approx(last, rel=1e-11)
    slope = (n / (1 + first) + load / first) / (n + m)
    assert np.mean(POPULATION.cov / (gamma + slope * POPULATION.cov)) * P / (n + m) == pytest.approx(first, rel=1e-11)


@pytest.mark.parametrize("gamma", [1e-6, 0.1])
@pytest.mark.parametrize("generator", ["known_mean", "held_out"])
def test_the_variance_of_a_chain_is_a_derivative(generator, gamma):
    """Of the minimum of the objective with tau w'Cw added, here by differences; near interpolation at gamma = 1e-6."""
    n, m, chain, omega = 50, 500, np.array([120, 90]), 0.7
    right, wrong = 0.9 * 0.75, 0.4 * 0.25

    def minimum(tau):
        # In the features (I + tau C / gamma)^{-1/2} u the penalty is gamma again.
        factor = 1 / (1 + tau * POPULATION.cov / gamma)
        turned = Mixture(POPULATION.mean * np.sqrt(factor), POPULATION.cov * factor)
        options = {"gamma": gamma, "n_hat": chain, "generator": generator, "weight": omega, **NOISY}
        limit = predict_generations(turned, 2, n=n, m=m, **options)
        first, last = limit.deltas
        g_real, g_synthetic = n / (1 + first) / (n + m), m * omega / (1 + omega * last) / (n + m)
        k = (right + wrong) * g_synthetic
        kept = 1 - (n + m) / chain * k * last
        signal = np.sum(turned.mean**2 / (gamma + (g_real + k * last / first) * turned.cov))
        error = (n + m) * first * np.sum(np.cumprod([1, *kept[:-1]]) / chain) * (generator == "held_out")
        forms = signal * np.ones((2, 2)) + [[0, 0], [0, error]]  # of R between the means of real and synthetic samples
        pull = np.array([g_real, (right - wrong) * g_synthetic])
        seen = np.linalg.solve(np.eye(2) + forms * [g_real, k], forms @ pull)
        return g_real + k - pull @ seen, seen[0], limit

    step = 1e-4 * gamma
    _, mean, limit = minimum(0.0)
    slope = (minimum(step)[0] - minimum(-step)[0]) / (2 * step)
    assert limit.mean == pytest.approx(mean, rel=1e-8)
    assert limit.variance == pytest.approx(slope, rel=1e-5)


def test_limits_of_the_accuracy():
    def same(one, other, rtol):
        np.testing.assert_allclose([one.mean, one.variance], [other.mean, other.variance], rtol=rtol)

    real = predict(POPULATION, [Source(POPULATION, 80)], gamma=0.3)
    many = predict(POPULATION, [Source(POPULATION, 380)], gamma=0.3)
    first = predict_generations(POPULATION, 1, n_hat=200, **TRAINING)
    for recursion in RECURSIONS:
        same(predict_generations(POPULATION, 5, n_hat=200, n=80, m=0, gamma=0.3, **recursion), real, 1e-9)
        same(predict_generations(POPULATION, 1, n_hat=200, **TRAINING, **recursion), first, 1e-12)
        if "balance" not in recursion:
            same(predict_generations(POPULATION, 5, n_hat=1e12, **TRAINING, **recursion), many, 1e-6)
    same(predict_generations(POPULATION, 5, n_hat=200, regime="fresh", share=1.0, **TRAINING), first, 1e-9)
    isotropic = predict_isotropic(p=P, mu=1.2, n_hat=200, generator="held_out", **TRAINING)
    same(
        predict_generations(Mixture(np.full(P, 1.2 / np.sqrt(P))), 1, n_hat=200, **TRAINING),
        isotropic,
        1e-9,
    )
    turn = np.linalg.qr(np.random.default_rng(2413).standard_normal((P, P)))[0]
    turned = Mixture(turn @ POPULATION.mean, turn * POPULATION.cov @ turn.T)
    same(
        predict_generations(turned, 3, n_hat=200, regime="accumulate", **TRAINING),
        predict_generations(POPULATION, 3, n_hat=200, regime="accumulate", **TRAINING),
        1e-9,
    )


@pytest.mark.parametrize("recursion", RECURSIONS)
def test_accuracy_against_the_recursion(recursion):
    """40 recursions, given each the master theorem and one classifier; bias of order 1/p = 0.017 times the spread."""
    labels = {"epsilon": 0.15, "phi": 0.9, "rho": 0.5}
    limit = predict_generations(POPULATION, 3, n_hat=200, **TRAINING, **labels, **recursion)
    given, trained = [], []
    for rng in np.random.default_rng(2414).spawn(40):
        last = draw_generations(POPULATION, 3, n_hat=200, seed=rng, **recursion)[-1]
        sources = [Source(POPULATION, TRAINING["n"]), Source(last, TRAINING["m"], **labels)]
        given.append(predict(POPULATION, sources, gamma=0.3).accuracy)
        trained.append(simulate(POPULATION, sources, gamma=0.3, trials=1, seed=rng).accuracy[0])
    for values in (np.array(given), np.array(trained)):
        error = values.std(ddof=1) / np.sqrt(40)
        assert abs(values.mean() - limit.accuracy) < 3.5 * error + 0.003


def test_stored_experiment():
    """A short run of the same script agrees with the stored result, and the limit with all of it."""
    table = read("generations")
    settings = experiment.EXPERIMENT.settings
    assert len(table) == len(settings) * len(experiment.GENERATIONS)
    for row in experiment.EXPERIMENT.rows(5, trials=4):
        stored = table.where(labels=row["labels"], regime=row["regime"], generation=row["generation"])
        assert abs(row["accuracy"] - stored["accuracy"][0]) < 5 * 5 * stored["accuracy_se"][0]
    for setting in settings:
        flips = {name: setting[name] for name in ("epsilon", "phi", "rho")}
        source = Source(experiment.POPULATION, experiment.M, **flips)
        stored = table.where(labels=setting["labels"], regime=setting["regime"])
        for last, accuracy, error in zip(stored["generation"], stored["accuracy"], stored["accuracy_se"], strict=True):
            limit = predict_generations(
                experiment.POPULATION,
                last,
                n=experiment.N_REAL,
                m=experiment.M,
                gamma=experiment.GAMMA,
                n_hat=experiment.N_HAT,
                regime=setting["regime"],
                share=setting["share"],
                balance=source.lam / source.alpha,
                **flips,
            ).accuracy
            assert abs(accuracy - limit) < 3.5 * error + 0.001


def test_remedies_repair_different_things():
    """The claims of the chapter about regimes, labels and the true mean."""
    setting = {"n": 100, "m": 1000, "gamma": 1.0, "n_hat": 500}
    population = experiment.POPULATION
    alone = predict(population, [Source(population, 100)], gamma=1.0).accuracy

    def accuracy(regime, labels, last):
        share = 0.1 if regime == "fresh" else 0.0
        source = Source(population, 1, **labels)
        options = {"share": share, "balance": source.lam / source.alpha, **labels}
        return predict_generations(population, last, regime=regime, **options, **setting).accuracy

    right, noisy, verified = {}, {"epsilon": 0.1}, {"epsilon": 0.1, "phi": 0.9, "rho": 0.1}
    assert accuracy("replace", right, 16) < alone < accuracy("fresh", right, 200)
    assert accuracy("accumulate", right, 200) > accuracy("accumulate", right, 1) - 0.01
    assert accuracy("accumulate", noisy, 73) < alone < accuracy("accumulate", noisy, 72)
    for regime in REGIMES:
        assert accuracy(regime, noisy, 16) < accuracy(regime, verified, 16) < accuracy(regime, right, 16)
    setting.pop("n_hat")
    true_mean = predict_generations(population, 16, n_hat=500, generator="known_mean", **setting).accuracy
    assert true_mean > predict_fitted(population, n_hat=500, **setting).accuracy - 0.01


def test_seeds():
    options = {"n_hat": 50, "regime": "accumulate", "balance": 0.9}
    one, two, other = (draw_generations(POPULATION, 3, seed=seed, **options)[-1] for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.cov, two.cov)
    assert not np.array_equal(one.mean, other.mean)


def test_collapse_to_a_point_stays_valid():
    """Hundreds of generations of a tiny sample: the covariance underflows to nothing, without an error."""
    drawn = draw_generations(Mixture(np.ones(3)), 400, n_hat=4, seed=2415)
    assert np.trace(drawn[-1].cov) < 1e-20
    assert expected_moments(3, 3, 400, n_hat=4).spread[-1] < 1e-12


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"regime": "forget"}, "regime must be one of replace, fresh, accumulate, got 'forget'"),
        ({"share": 0.1}, "share must be 0 in the regime 'replace', got 0.1"),
        ({"regime": "fresh", "share": 1.5}, r"share must be in \[0, 1\], got 1.5"),
        ({"balance": -2.0}, r"balance must be in \[-1, 1\], got -2"),
        ({"n_hat": 0}, "n_hat must be"),
        ({"generations": 0}, "generations must be"),
    ],
)
def test_bad_input(change, message):
    options = {"generations": 3, "n_hat": 50, **change}
    last = options.pop("generations")
    for call in (
        lambda: expected_moments(1, 1, last, **options),
        lambda: draw_generations(POPULATION, last, seed=1, **options),
        lambda: predict_generations(POPULATION, last, **TRAINING, **options),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_bad_input_of_single_functions():
    with pytest.raises(ValueError, match=r"share \* n_hat must be a whole number"):
        draw_generations(POPULATION, 2, n_hat=25, seed=1, regime="fresh", share=0.1)
    with pytest.raises(ValueError, match="probabilities must be one row that adds up to 1"):
        draw_tokens([0.5, 0.6], 2, n_hat=5, seed=1)
    with pytest.raises(ValueError, match="ratios must be > 0"):
        spectrum([0.1, 0.0])
    with pytest.raises(ValueError, match="ratios must be a sequence"):
        support(0.1)
    with pytest.raises(ValueError, match="cov must not be 0"):
        predict_generations(Mixture(np.ones(2), 0.0), 2, n_hat=5, **TRAINING)
    with pytest.raises(ValueError, match="gamma must be > 0"):
        predict_generations(POPULATION, 2, n=5, m=5, gamma=0.0, n_hat=5)
