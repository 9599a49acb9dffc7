"""The critical noise, the slope there and the transition curve; the stored points of Figure 4."""

import numpy as np
import pytest
from scipy.special import ndtr

from rmt_experiments import figure_4
from rmt_experiments.runner import read
from rmt_lib import Mixture, Source, predict_isotropic, simulate, simulate_isotropic
from rmt_lib.topics.synthetic_only import critical_noise, slope_at_critical_noise, transition_curve

PAPER = dict(mu=1.0, gamma=1.0, phi=0.8, rho=0.3)


def random_settings(count=300, seed=1):
    """Settings with any generator that synthetic data alone allows, across the range where digits survive."""
    rng = np.random.default_rng(seed)
    return dict(
        p=100.0,
        m=100 * 10 ** rng.uniform(-1, 4, count),
        mu=rng.uniform(0.1, 3, count),
        gamma=10 ** rng.uniform(-3, 2, count),
        phi=rng.uniform(0.05, 1, count),
        rho=rng.uniform(0.05, 1, count),
        n_hat=np.where(rng.random(count) < 0.3, np.inf, 100 * 10 ** rng.uniform(-0.5, 2, count)),
        generator=rng.choice(["known_mean", "held_out"], count),
    )


def test_critical_noise_is_where_lambda_vanishes():
    phi, rho = np.random.default_rng(2).uniform(0.01, 1, (2, 50))
    epsilon = critical_noise(phi=phi, rho=rho)
    np.testing.assert_allclose(phi * (1 - epsilon), rho * epsilon, rtol=1e-12)
    np.testing.assert_allclose(epsilon, 1 / (1 + rho / phi), rtol=1e-12)


def test_critical_noise_broadcasts_and_knows_its_ends():
    assert critical_noise(phi=1.0, rho=1.0) == 0.5
    assert critical_noise(phi=0.0, rho=0.3) == 0.0
    assert critical_noise(phi=0.3, rho=0.0) == 1.0
    assert critical_noise(phi=[[0.2], [0.5]], rho=[0.2, 0.5, 1.0]).shape == (2, 3)
    assert isinstance(critical_noise(phi=0.8, rho=0.3), float)


@pytest.mark.parametrize("gamma", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("generator", ["known_mean", "held_out"])
def test_accuracy_crosses_one_half_at_the_critical_noise(generator, gamma):
    setting = dict(p=100, n=0, m=np.array([10.0, 1e3, 1e6]), mu=0.8, gamma=gamma, phi=0.7, rho=0.2)
    setting |= dict(n_hat=np.array([[50], [400], [np.inf]]), generator=generator)
    epsilon = critical_noise(phi=0.7, rho=0.2)
    np.testing.assert_allclose(predict_isotropic(**setting, epsilon=epsilon).accuracy, 0.5, atol=1e-12)
    assert (predict_isotropic(**setting, epsilon=epsilon - 1e-3).accuracy > 0.5).all()
    assert (predict_isotropic(**setting, epsilon=epsilon + 1e-3).accuracy < 0.5).all()


def test_slope_is_the_finite_difference():
    """A central difference errs by the square of the step in units of the width, here 1e-8, times a large constant."""
    setting = random_settings()
    epsilon, step = critical_noise(phi=setting["phi"], rho=setting["rho"]), 1e-4 * np.sqrt(setting["p"] / setting["m"])
    above, below = (predict_isotropic(n=0, epsilon=epsilon + h, **setting).accuracy for h in (step, -step))
    np.testing.assert_allclose((above - below) / (2 * step), slope_at_critical_noise(**setting), rtol=2e-5)


def test_slope_is_the_closed_form_of_a_perfect_generator():
    setting = random_settings(seed=3) | dict(n_hat=np.inf, generator="known_mean")
    phi, rho, gamma, mu = (setting[name] for name in ("phi", "rho", "gamma", "mu"))
    eta, alpha = setting["p"] / setting["m"], 2 * phi * rho / (phi + rho)
    trace = np.array([np.roots([g * e, g + a - e, -1]).max() for g, e, a in zip(gamma, eta, alpha, strict=True)])
    fit = 1 - gamma * trace
    expected = -((phi + rho) ** 1.5) * mu**2 / np.sqrt(eta) / (2 * np.sqrt(np.pi * phi * rho))
    expected *= np.sqrt(1 - eta / alpha * fit**2) / (1 + fit * mu**2)
    np.testing.assert_allclose(slope_at_critical_noise(**setting), expected, rtol=1e-8)


def test_slope_grows_like_the_square_root_of_the_sample():
    alpha = 2 * 0.8 * 0.3 / 1.1
    constant = 1.1**1.5 / (2 * np.sqrt(np.pi * 0.24))
    many = slope_at_critical_noise(p=1, m=1e10, **PAPER) / np.sqrt(1e10)
    assert many == pytest.approx(-constant / (1 + alpha / (alpha + 1)), rel=1e-8)
    strong = slope_at_critical_noise(p=[1, 3, 100], m=[1, 60, 50], **PAPER | {"gamma": 1e9})
    np.testing.assert_allclose(strong, -constant * np.sqrt([1, 20, 0.5]), rtol=1e-7)


def test_slope_of_a_generator_that_has_seen_everything_is_that_of_the_truth():
    exact = slope_at_critical_noise(p=100, m=300, **PAPER)
    for generator in ("known_mean", "held_out"):
        assert slope_at_critical_noise(p=100, m=300, n_hat=1e13, generator=generator, **PAPER) == pytest.approx(exact)


def test_slope_broadcasts():
    slope = slope_at_critical_noise(p=100, m=np.full((3, 1), 50.0), **PAPER | {"mu": [0.0, 1.0]})
    assert slope.shape == (3, 2) and (slope[:, 0] == 0).all() and (slope[:, 1] < 0).all()
    assert isinstance(slope_at_critical_noise(p=100, m=50, **PAPER), float)


def test_transition_curve_is_the_limit():
    """At m/p = 1e10 the theory differs from its limit by a term of order sqrt(p/m) = 1e-5."""
    setting = random_settings(seed=4)
    x, ratio = np.random.default_rng(5).uniform(-3, 3, setting["mu"].size), 1e10
    epsilon = critical_noise(phi=setting["phi"], rho=setting["rho"]) - x / np.sqrt(ratio)
    large = predict_isotropic(n=0, epsilon=epsilon, **setting | {"m": 100 * ratio})
    rest = {name: setting[name] for name in ("mu", "gamma", "phi", "rho", "generator")}
    np.testing.assert_allclose(large.accuracy, transition_curve(x, **rest, c=100 / setting["n_hat"]), atol=5e-5)


@pytest.mark.parametrize("generator, c", [("known_mean", 0.0), ("known_mean", 0.7), ("held_out", 0.7)])
def test_transition_curve_has_the_limiting_slope_and_plateaus(generator, c):
    rest = PAPER | dict(c=c, generator=generator)
    slope = (transition_curve(1e-5, **rest) - transition_curve(-1e-5, **rest)) / 2e-5
    n_hat = 100 / c if c else np.inf
    exact = slope_at_critical_noise(p=100, m=1e14, n_hat=n_hat, generator=generator, **PAPER) / 1e6
    assert slope == pytest.approx(-exact, rel=1e-5)
    assert transition_curve(0.0, **rest) == 0.5
    low, high = transition_curve([-1e9, 1e9], **rest)
    assert low + high == pytest.approx(1)
    assert high == pytest.approx(ndtr(1.0)) if c == 0 else high < ndtr(1.0)


SLOPE = dict(p=100, m=100, **PAPER)


@pytest.mark.parametrize(
    "function, change, message",
    [
        (critical_noise, dict(phi=0.0, rho=0.0), "phi and rho must not both be 0"),
        (critical_noise, dict(phi=[0.5, 0.0], rho=0.0), "phi and rho must not both be 0"),
        (critical_noise, dict(phi=1.2, rho=0.3), r"phi must be in \[0, 1\], got 1.2"),
        (critical_noise, dict(phi=0.2, rho=-0.3), r"rho must be in \[0, 1\], got -0.3"),
        (critical_noise, dict(phi=0.2, rho=np.nan), "rho must be"),
        (slope_at_critical_noise, SLOPE | dict(phi=0.0), r"phi must be in \(0, 1\], got 0"),
        (slope_at_critical_noise, SLOPE | dict(rho=0.0), r"rho must be in \(0, 1\], got 0"),
        (slope_at_critical_noise, SLOPE | dict(m=0), "m must be > 0 and finite, got 0"),
        (slope_at_critical_noise, SLOPE | dict(p=0), "p must be >= 1"),
        (slope_at_critical_noise, SLOPE | dict(gamma=0.0), "gamma must be > 0"),
        (slope_at_critical_noise, SLOPE | dict(n_hat=0.0), "n_hat must be >= 1"),
        (slope_at_critical_noise, SLOPE | dict(generator="reused"), "generator must be one of known_mean, held_out"),
        (slope_at_critical_noise, SLOPE | dict(mu=[1.0, 2.0], m=[1.0, 2.0, 3.0]), "arguments must broadcast"),
        (transition_curve, dict(x=np.inf, **PAPER), "x must be finite"),
        (transition_curve, dict(x=0.0, **PAPER | {"mu": -1.0}), "mu must be >= 0"),
        (transition_curve, dict(x=0.0, **PAPER | {"mu": 1e200}), "mu must be from"),
        (transition_curve, dict(x=0.0, c=-1.0, **PAPER), "c must be >= 0"),
        (transition_curve, dict(x=0.0, generator="best", **PAPER), "generator must be one of .* got 'best'"),
    ],
)
def test_bad_input_is_refused(function, change, message):
    with pytest.raises(ValueError, match=message):
        function(**change)


def within(simulated, expected, allowance=0.0):
    """Four standard errors, and what is allowed for a bias of order 1/p."""
    value, error = simulated
    assert abs(value - expected) <= 4 * error + allowance, (value, expected, error)


@pytest.mark.parametrize("generator, n_hat", [("known_mean", np.inf), ("known_mean", 15), ("held_out", 15)])
def test_simulated_accuracy_is_one_half_at_the_critical_noise(generator, n_hat):
    """At every p: w and -w have the same law, so there is no bias."""
    simulation = simulate_isotropic(
        p=10, n=0, m=25, mu=1.3, gamma=0.2, epsilon=0.75, phi=0.9, rho=0.3,
        n_hat=n_hat, generator=generator, trials=1000, seed=2410,
    )  # fmt: skip
    within(simulation.estimate("accuracy"), 0.5)


def test_simulated_accuracy_is_one_half_for_any_covariance():
    real = Mixture([1.0, 0.3, 0.0], [0.2, 1.0, 3.0])
    wrong = Mixture([0.5, -0.4, 1.0], [[1.0, 0.4, 0.0], [0.4, 2.0, 0.1], [0.0, 0.1, 0.5]])
    simulation = simulate(real, [Source(wrong, 12, epsilon=0.75, phi=0.9, rho=0.3)], gamma=0.1, trials=1000, seed=2410)
    within(simulation.estimate("accuracy"), 0.5)


@pytest.mark.parametrize("generator, n_hat", [("known_mean", np.inf), ("known_mean", 150), ("held_out", 150)])
def test_simulated_slope(generator, n_hat):
    """A quotient over a step of a tenth of the transition's width, whose curvature costs less than 2 %."""
    setting = dict(p=100, m=2000, n_hat=n_hat, generator=generator, **PAPER)
    critical, step = critical_noise(phi=0.8, rho=0.3), 0.1 * np.sqrt(100 / 2000)
    above, below = (
        simulate_isotropic(n=0, epsilon=critical + h, **setting, trials=500, seed=2410 + i).estimate("accuracy")
        for i, h in enumerate((step, -step))
    )
    quotient = (above.value - below.value) / (2 * step)
    error = np.hypot(above.standard_error, below.standard_error) / (2 * step)
    slope = slope_at_critical_noise(**setting)
    assert error < 0.05 * abs(slope)
    within((quotient, error), slope, 0.02 * abs(slope))


STORED = read("figure_4")


def test_error_bars_are_shorter_than_markers():
    """A marker is about 0.02 of the accuracy axis high."""
    assert 2 * STORED["accuracy_se"].max() < 0.0025


@pytest.mark.parametrize("quantity", ["accuracy", "mean", "variance"])
def test_the_stored_points_agree_with_theory(quantity):
    """Four standard errors of 2000 trials, and 0.05 / p for the bias."""
    theory = predict_isotropic(p=figure_4.P, n=0, m=STORED["m"], epsilon=STORED["epsilon"], **PAPER)
    difference = np.abs(STORED[quantity] - getattr(theory, quantity))
    assert (difference <= 4 * STORED[f"{quantity}_se"] + 0.05 / figure_4.P).all()


@pytest.mark.parametrize("number", [0, 13, 23, 38, 50])
def test_a_small_run_agrees_with_the_stored_points(number):
    row = figure_4.EXPERIMENT.rows(number, trials=60)[0]
    for name in ("accuracy", "mean", "variance"):
        error = np.hypot(row[f"{name}_se"], STORED[f"{name}_se"][number])
        within((row[name], error), STORED[name][number])
