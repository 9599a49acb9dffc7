"""The released formulas against the master theorem and simulation: the measured differences."""

import functools

import numpy as np
import pytest
from scipy.optimize import brentq

from rmt_experiments.released_sweep import EXPERIMENT, KINDS, NAMED, PARAMETERS
from rmt_experiments.runner import read
from rmt_lib import Mixture, Source, predict, predict_isotropic, simulate_isotropic
from rmt_lib.topics.released_code import (
    critical_gamma,
    defined_accuracy,
    folded_accuracy,
    predict_closed_form,
    predict_pruned,
)

MIXED = dict(p=60, n=50, m=70, mu=1.2, gamma=0.1, epsilon=0.2, phi=0.9, rho=0.4)


@pytest.fixture
def stored():
    return read("released_sweep")


def within(simulation, name, value, errors=3.0):
    estimate = simulation.estimate(name)
    return abs(estimate.value - value) <= errors * estimate.standard_error


def two_sources(phi, rho):
    """Real and synthetic data with full covariances that do not commute."""
    rng = np.random.default_rng(2410)
    squares = [rng.standard_normal((40, 80)) for _ in range(2)]
    target, generator = (Mixture(rng.standard_normal(40) / 6, a @ a.T / 80) for a in squares)
    return target, [Source(target, 50), Source(generator, 60, epsilon=0.2, phi=phi, rho=rho)]


def test_pruning_inside_the_fixed_point_moves_mean_and_variance():
    corrected, released = predict_isotropic(**NAMED["strong"]), predict_closed_form(**NAMED["strong"])
    np.testing.assert_allclose(
        [corrected.mean, corrected.variance, corrected.accuracy], [0.0876, 0.3437, 0.5594], atol=5e-5
    )
    assert released.mean == pytest.approx(0.160, abs=5e-4)
    assert released.variance == pytest.approx(-2.8, abs=0.05)
    with pytest.raises(ValueError, match=r"variance must be >= 0, got -2\.8"):
        _ = released.accuracy
    simulation = simulate_isotropic(**NAMED["strong"], trials=200, seed=2410)
    for name in ("mean", "variance", "accuracy"):
        assert within(simulation, name, getattr(corrected, name))
    assert not within(simulation, "mean", released.mean, errors=10)
    assert not within(simulation, "variance", released.variance, errors=10)


def test_pruning_inside_the_fixed_point_moves_accuracy():
    corrected, released = predict_isotropic(**NAMED["mild"]), predict_closed_form(**NAMED["mild"])
    assert corrected.accuracy == pytest.approx(0.6622, abs=5e-5)
    assert released.accuracy == pytest.approx(0.6156, abs=5e-5)
    simulation = simulate_isotropic(**NAMED["mild"], trials=400, seed=2411)
    assert within(simulation, "accuracy", corrected.accuracy)
    assert not within(simulation, "accuracy", released.accuracy, errors=10)


def test_second_moment_of_the_known_mean_closed_form():
    """Too small to be seen in the first setting; in the second, more than 10 standard errors."""
    for name, theory, released in (("large", 0.1842, 0.1848), ("small", 4.4602, 3.3808)):
        setting = NAMED[name]
        corrected = predict_isotropic(**setting)
        assert corrected.variance == pytest.approx(theory, rel=3e-4)
        assert predict_closed_form(**setting).variance == pytest.approx(released, rel=3e-4)
        simulation = simulate_isotropic(**setting, trials=300, seed=2412)
        # The O(1/p) bias of the variance is below one standard error: the stored 2400 trials do not see it either.
        assert within(simulation, "variance", corrected.variance)
    assert not within(simulation, "variance", predict_closed_form(**setting).variance, errors=10)


@pytest.mark.parametrize(("generator", "accuracy"), [("known_mean", 0.6920), ("held_out", 0.6743)])
def test_knowing_the_mean_matters(generator, accuracy):
    setting = dict(p=400, n=800, m=3200, n_hat=800, mu=0.7, gamma=1.0, epsilon=0.3, generator=generator)
    prediction = predict_isotropic(**setting)
    assert prediction.accuracy == pytest.approx(accuracy, abs=5e-5)
    assert within(simulate_isotropic(**setting, trials=80, seed=2413), "accuracy", prediction.accuracy)


def test_without_its_differences_the_closed_form_is_that_of_the_library():
    rng = np.random.default_rng(2413)
    setting = dict(
        p=rng.uniform(10, 500, 200), n=rng.uniform(0, 500, 200), m=rng.uniform(1, 2000, 200), mu=rng.uniform(0, 2, 200)
    )
    setting |= dict(gamma=np.exp(rng.uniform(-4, 3, 200)), n_hat=rng.choice([30, 300, np.inf], 200))
    setting |= {name: rng.uniform(0, 1, 200) for name in ("epsilon", "phi", "rho")}
    ours, again = predict_isotropic(**setting), predict_closed_form(**setting, pruning=False, moment=False)
    for name in ("mean", "variance", "deltas"):
        np.testing.assert_allclose(getattr(again, name), getattr(ours, name), rtol=1e-8, err_msg=name)


def test_the_differences_vanish_where_they_should():
    unpruned = MIXED | dict(phi=1.0, rho=1.0)
    exact = predict_isotropic(**unpruned).variance
    assert predict_closed_form(**unpruned).variance == pytest.approx(exact, rel=1e-10)
    fitted = unpruned | dict(n_hat=50)
    exact = predict_isotropic(**fitted).variance
    assert predict_closed_form(**fitted, moment=False).variance == pytest.approx(exact, rel=1e-10)
    assert predict_closed_form(**fitted).variance != pytest.approx(exact, rel=1e-3)
    pruned = predict_closed_form(**MIXED)
    assert pruned.variance == pytest.approx(predict_closed_form(**MIXED, moment=False).variance, rel=1e-10)
    assert pruned.variance != pytest.approx(predict_isotropic(**MIXED).variance, rel=1e-3)
    nothing = MIXED | dict(phi=0.0, rho=0.0)
    assert predict_closed_form(**nothing).variance == pytest.approx(predict_isotropic(**nothing).variance, rel=1e-10)


def test_the_general_formula_agrees_where_nothing_is_pruned():
    unpruned, pruned = two_sources(1.0, 1.0), two_sources(0.3, 0.2)
    for name in ("mean", "variance", "deltas"):
        exact, released = (getattr(f(*unpruned, gamma=0.1), name) for f in (predict, predict_pruned))
        np.testing.assert_allclose(released, exact, rtol=1e-10)
    assert predict_pruned(*pruned, gamma=0.1).variance != pytest.approx(predict(*pruned, gamma=0.1).variance, rel=0.05)


def test_the_general_formula_meets_the_closed_form():
    mean = np.r_[MIXED["mu"], np.zeros(MIXED["p"] - 1)]
    target = Mixture(mean)
    sources = [Source(target, 50), Source(target, 70, epsilon=0.2, phi=0.9, rho=0.4)]
    general, closed = predict_pruned(target, sources, gamma=0.1), predict_closed_form(**MIXED)
    for name in ("mean", "variance", "deltas"):
        np.testing.assert_allclose(getattr(general, name), getattr(closed, name), rtol=1e-9)


def test_the_general_formula_by_hand():
    """Fixed point by iteration, second moment in the form with a_1, a_2, b_1, b_2 (real covariance I)."""
    rng = np.random.default_rng(2414)
    root = rng.standard_normal((30, 45))
    target, generator = Mixture(np.full(30, 0.2)), Mixture(np.full(30, 0.2), root @ root.T / 45)
    source = Source(generator, 50, epsilon=0.3, phi=0.7, rho=0.2)
    released = predict_pruned(target, [Source(target, 40), source], gamma=0.2)
    alpha, lam, pi, identity = source.alpha, source.lam, 40 / 90, np.eye(30)
    delta = np.zeros(2)
    for _ in range(2000):
        g = np.array([pi, 1 - pi]) / (1 + delta)
        r = np.linalg.inv(0.2 * identity + g[0] * identity + alpha * g[1] * generator.cov)
        delta = np.array([np.trace(r), alpha * np.trace(generator.cov @ r)]) / 90
    cr = generator.cov @ r
    a1, a2 = (pi / (1 + delta[0]) ** 2 * np.trace(x) / 90 for x in (r @ r, cr @ r))
    b1, b2 = (alpha * (1 - pi) / (1 + delta[1]) ** 2 * np.trace(x) / 90 for x in (cr @ r, cr @ cr))
    h = (1 - b2) * (1 - a1) - a2 * b1
    mu = target.mean
    second = g[0] * (identity + np.outer(mu, mu)) + alpha * g[1] * (generator.cov + np.outer(mu, mu))
    w = np.linalg.solve(0.2 * identity + second, (g[0] + lam * g[1]) * mu)
    score, spread, spread_hat = mu @ w, w @ w, w @ generator.cov @ w
    # The second moment E (w'u)^2, u fresh: that of w_bar in both covariances, and the label terms.
    moment = ((1 - b2) * (score**2 + spread) + b1 * (score**2 + spread_hat)) / h
    moment += (a1 * (1 - b2) + a2 * b1) / h * (1 - 2 * score) + b1 / (alpha * h) * (alpha - 2 * lam * score)
    np.testing.assert_allclose(released.deltas, delta, rtol=1e-8)
    assert released.mean == pytest.approx(score, rel=1e-8)
    assert released.variance + released.mean**2 == pytest.approx(moment, rel=1e-8)


def test_the_released_mean_is_that_of_weighted_samples():
    """Keep every sample at weight alpha, with the label noise of the kept ones: same fixed point, same mean."""
    kept = 0.9 * 0.8 + 0.4 * 0.2
    weighted = MIXED | dict(phi=1.0, rho=1.0, epsilon=0.4 * 0.2 / kept)
    released, exact = predict_closed_form(**MIXED), predict_isotropic(**weighted, weight=kept)
    assert released.mean == pytest.approx(exact.mean, rel=1e-10)
    np.testing.assert_allclose(released.deltas, exact.deltas * [1, kept], rtol=1e-10)
    assert released.variance != pytest.approx(exact.variance, rel=1e-3)


def test_where_the_variance_is_negative():
    rng = np.random.default_rng(2415)
    alpha, ratio, gamma = rng.uniform(0.02, 1, 5000), np.exp(rng.uniform(-3, 3, 5000)), np.exp(rng.uniform(-7, 0, 5000))
    released = predict_closed_form(
        p=100 * ratio, n=0, m=100, mu=1.0, gamma=gamma, epsilon=rng.uniform(0, 1, 5000), phi=alpha, rho=alpha
    )
    negative = released.variance < 0
    assert 0.05 < negative.mean() < 0.95
    np.testing.assert_array_equal(negative, gamma < critical_gamma(alpha=alpha, ratio=ratio))
    largest = (1 - alpha) ** 2 / 4
    assert (critical_gamma(alpha=alpha, ratio=ratio) <= largest + 1e-12).all()
    best = (1 + alpha) ** 2 / (4 * alpha)
    np.testing.assert_allclose(critical_gamma(alpha=alpha, ratio=best), largest, atol=1e-12)


def test_the_critical_penalty_is_a_pole():
    def slack(gamma):
        return 1 / predict_closed_form(**NAMED["strong"] | {"gamma": gamma}).variance

    assert brentq(slack, 0.05, 0.5) == pytest.approx(critical_gamma(alpha=0.3, ratio=1.0), rel=1e-6)


def test_accuracy_is_masked_where_the_variance_is_negative():
    gamma = np.array([0.05, 0.2, 1.0])
    released = predict_closed_form(**NAMED["strong"] | {"gamma": gamma})
    accuracy = defined_accuracy(released)
    assert accuracy.mask.tolist() == [True, False, False]
    assert np.isfinite(accuracy.data).all()
    kept = predict_closed_form(**NAMED["strong"] | {"gamma": gamma[1:]})
    np.testing.assert_array_equal(accuracy.compressed(), kept.accuracy)
    assert folded_accuracy(released).mask.tolist() == [True, False, False]


def test_accuracy_past_the_critical_noise():
    """The library reports what simulation gives, below one half; the released code its reflection."""
    setting = dict(p=100, n=0, m=1000, mu=1.0, gamma=1.0, epsilon=[0.3, 0.95], phi=0.8, rho=0.3)
    corrected = predict_isotropic(**setting)
    assert corrected.accuracy[1] < 0.5 < corrected.accuracy[0]
    np.testing.assert_allclose(folded_accuracy(corrected), np.abs(corrected.accuracy - 0.5) + 0.5)
    simulation = simulate_isotropic(**setting | {"epsilon": 0.95}, trials=200, seed=2416)
    assert within(simulation, "accuracy", corrected.accuracy[1])
    assert not within(simulation, "accuracy", folded_accuracy(corrected)[1], errors=10)


@pytest.mark.parametrize("call", [critical_gamma, functools.partial(critical_gamma, alpha=0.5)])
def test_a_bad_penalty_request_is_refused(call):
    arguments = {"ratio": 0.0} if isinstance(call, functools.partial) else {"alpha": 1.2, "ratio": 1.0}
    with pytest.raises(ValueError, match="must be"):
        call(**arguments)


@pytest.mark.parametrize(("name", "value"), [("gamma", 0.0), ("phi", 1.1), ("n_hat", 0.5)])
def test_bad_input_of_the_closed_form_is_refused(name, value):
    with pytest.raises(ValueError, match=f"{name} must be"):
        predict_closed_form(**MIXED | {name: value})


def test_cheap_rows_of_the_sweep_are_as_stored(stored):
    random = [i for i, setting in enumerate(EXPERIMENT.settings) if setting["group"] in KINDS]
    for number in sorted(random, key=lambda i: EXPERIMENT.settings[i]["p"])[:4]:
        row = EXPERIMENT.rows(number)[0]
        for name in ("mean", "variance", "accuracy", "accuracy_se"):
            assert stored[name][number] == pytest.approx(row[name], rel=1e-6), (number, name)


@pytest.mark.parametrize("number", [0, 1, 3, 10, 60, 110, 160])
def test_a_small_run_of_the_sweep_agrees_with_what_is_stored(stored, number):
    """Same script, other draws."""
    setting = EXPERIMENT.settings[number]
    seed = np.random.SeedSequence(2417, spawn_key=(number,))
    row = EXPERIMENT.measure(setting, max(1, 30 // setting["repeat"]), seed)
    for name in ("mean", "variance", "accuracy"):
        error = np.hypot(row[f"{name}_se"], stored[f"{name}_se"][number])
        assert abs(row[name] - stored[name][number]) < 4 * error, name


def test_the_sweep_agrees_with_the_theorem(stored):
    """At p from 100 to 400 the O(1/p) bias is below the standard error of 60 trials: almost all z within 3."""
    random = np.isin(stored["group"], KINDS)
    setting = {name: stored[name][random] for name in PARAMETERS}
    corrected, released = predict_isotropic(**setting), predict_closed_form(**setting)
    undefined = released.variance < 0

    def z(theory):
        return np.abs(stored["accuracy"][random] - theory) / stored["accuracy_se"][random]

    assert (z(corrected.accuracy) > 3).mean() < 0.03
    assert (undefined | (z(defined_accuracy(released).data) > 3)).mean() > 0.2


def test_repeat_multiplies_the_trials():
    setting = EXPERIMENT.settings[60] | {"repeat": 3}
    tripled = EXPERIMENT.measure(setting, 2, np.random.SeedSequence(1))
    assert tripled == EXPERIMENT.measure(setting | {"repeat": 1}, 6, np.random.SeedSequence(1))
