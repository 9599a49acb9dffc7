"""The chapter on the estimated generator: its theorem as printed, and the stored results behind its figures.

Theory is a limit; at finite p its error is of order 1/p. Earlier measurements found a bias of 0.07 / p to 0.1 / p in
accuracy, and the chapter finds a relative bias of about 1.2 / p in delta_hat: the allowances are 0.1 / p and 3 / p.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import brentq

from rmt_experiments import figure_2, figure_3
from rmt_experiments.runner import load, read
from rmt_lib import predict_isotropic, simulate_isotropic

ACCURACY_BIAS = 0.1
RELATIVE_DELTA_BIAS = 3.0
MEASURED = {
    "figure_2": ("delta_1", "delta_2", "delta_hat"),
    "figure_3": ("accuracy", "mean", "variance"),
    "figure_3_variants": ("accuracy", "mean", "variance"),
}


def predicted(table):
    """Theory at the rows of Figure 3 or its variants."""
    optional = {name: table[name] for name in ("n", "n_hat", "generator") if name in table.columns}
    common = {"n": figure_3.N, "n_hat": figure_3.N, "mu": figure_3.MU, "gamma": figure_3.GAMMA}
    setting = {name: table[name] for name in ("p", "m", "epsilon", "phi", "rho")}
    return predict_isotropic(**common | optional | setting)


def fixed_point(p, n, m, n_hat, gamma, alpha, weight):
    """G and H = G / (1 + k c G): the root of the balance, in the unknown H."""
    eta, c, pi_1, pi_2 = p / (n + m), p / n_hat, n / (n + m), m / (n + m)

    def excess(h):
        zeta = alpha * pi_2 * weight * h / (1 + weight * eta * h)
        if c * zeta >= 1:
            return 1.0  # beyond the range of H
        g = h / (1 - c * zeta)
        return gamma * g + pi_1 * g / (1 + eta * g) + zeta - 1

    h = brentq(excess, 0, 1 / gamma, xtol=1e-15)
    return h / (1 - c * alpha * pi_2 * weight * h / (1 + weight * eta * h)), h


def theorem(p, n, m, n_hat, mu, gamma, epsilon, phi, rho, generator, weight):
    """Mean and variance of the score, line by line as the chapter states them; n and m positive."""
    alpha, lam = phi * (1 - epsilon) + rho * epsilon, phi * (1 - epsilon) - rho * epsilon
    eta, c, pi_1, pi_2 = p / (n + m), p / n_hat, n / (n + m), m / (n + m)
    g, h = fixed_point(p, n, m, n_hat, gamma, alpha, weight)
    g_1, g_2 = pi_1 / (1 + eta * g), pi_2 * weight / (1 + weight * eta * h)
    a, k, c_mu = gamma + g_1, alpha * g_2, c if generator == "held_out" else 0.0
    sigma, nu = mu**2 * g, c_mu * g
    d = (1 + g_1 * sigma) * (1 + k * nu) + k * sigma
    x, y = (g_1 * (1 + k * nu) + lam * g_2) / d, (lam * g_2 * (1 + g_1 * sigma) - g_1 * k * sigma) / d
    mean, mean_2, length = x * sigma, x * sigma + y * nu, x**2 * mu**2 + y**2 * c_mu
    shrink = 1 + k * c * g
    psi_0 = g / (a + k / shrink**2)
    psi_1 = psi_0 / shrink**2
    psi_2 = (psi_1 + c * g**2) / shrink**2
    r_1 = (1 - mean) ** 2 + length * psi_0
    r_2 = phi * (1 - epsilon) * (1 - mean_2) ** 2 + rho * epsilon * (1 + mean_2) ** 2 + alpha * length * psi_1
    b_1, b_2 = g_1**2 / pi_1, g_2**2 / pi_2
    coupling = eta * np.array([[b_1 * psi_0, alpha * b_2 * psi_1], [b_1 * psi_1, alpha * b_2 * psi_2]])
    t_1, t_2 = np.linalg.solve(np.eye(2) - coupling, [eta * psi_0, eta * psi_1])
    return mean, length * psi_0 + b_1 * t_1 * r_1 + b_2 * t_2 * r_2


@pytest.mark.parametrize("generator", ["known_mean", "held_out"])
def test_the_theorem_as_printed_is_what_the_library_computes(generator):
    rng = np.random.default_rng(2410)
    for _ in range(100):
        p, n, m, n_hat = 300 * 10 ** rng.uniform(-1, 1, 4)
        mu, gamma, weight = 10 ** rng.uniform((-1, -2, -1), (0.5, 1, 1))
        setting = dict(p=p, n=n, m=m, n_hat=n_hat, mu=mu, gamma=gamma, weight=weight, generator=generator)
        setting |= dict(zip(("epsilon", "phi", "rho"), rng.uniform(0.02, 1, 3), strict=True))
        limit = predict_isotropic(**setting)
        np.testing.assert_allclose(theorem(**setting), (limit.mean, limit.variance), rtol=1e-7, err_msg=str(setting))


@pytest.mark.parametrize(
    ("name", "number"), [("figure_2", 0), ("figure_2", 6), ("figure_3", 5), ("figure_3", 21), ("figure_3_variants", 2)]
)
def test_a_cheap_row_is_reproduced(name, number):
    """At full trials, to the last stored digits: the same draws on any machine."""
    row, table = load(name).rows(number)[0], read(name)
    for column in MEASURED[name]:
        assert row[column] == pytest.approx(table[column][number], rel=1e-9)
        assert row[f"{column}_se"] == pytest.approx(table[f"{column}_se"][number], rel=1e-6)


@pytest.mark.parametrize(
    ("name", "where", "trials"),
    [
        ("figure_2", {"p": 100, "m": 10_000}, 8),
        ("figure_2", {"p": 300, "m": 2_000}, 8),
        ("figure_3", {"p": 200, "share": 0.8, "supervision": "weak"}, 40),
        ("figure_3", {"p": 500, "share": 0.5, "supervision": "oracle"}, 10),
        ("figure_3_variants", {"p": 200, "share": 0.9, "generator": "held_out", "supervision": "oracle"}, 40),
        ("figure_3_variants", {"p": 400, "generator": "reused"}, 20),
    ],
)
def test_a_small_run_agrees_with_the_stored_result(name, where, trials):
    """Fresh draws of a setting (another row's stream): within 4 combined standard errors."""
    experiment, table = load(name), read(name).where(**where)
    (setting,) = (s for s in experiment.settings if all(s[key] == value for key, value in where.items()))
    row = experiment.measure(setting, trials, np.random.SeedSequence(7))
    for column in MEASURED[name]:
        error = np.hypot(row[f"{column}_se"], table[f"{column}_se"][0])
        # Eight draws give a standard error that is itself uncertain by a quarter.
        allowed = 6 if trials <= 10 else 4
        assert abs(row[column] - table[column][0]) <= allowed * error, column


@pytest.mark.parametrize("name", ["figure_3", "figure_3_variants"])
def test_stored_accuracy_agrees_with_theory(name):
    table = read(name)
    difference = np.abs(table["accuracy"] - predicted(table).accuracy)
    allowed = 4 * table["accuracy_se"] + ACCURACY_BIAS / table["p"]
    assert (difference <= allowed).all(), (difference / allowed).max()
    assert (allowed < 0.005).all(), "the test would miss a difference that can be seen in the figure"


def test_stored_deltas_agree_with_theory():
    table = read("figure_2")
    one, two = predict_isotropic(
        p=table["p"],
        n=figure_2.N,
        m=table["m"],
        mu=0,
        gamma=figure_2.GAMMA,
        epsilon=figure_2.EPSILON,
        phi=figure_2.PHI,
        rho=figure_2.RHO,
        n_hat=figure_2.N,
    ).deltas.T
    for name, theory in (("delta_1", one), ("delta_2", two), ("delta_hat", one / two - 1)):
        allowed = 4 * table[f"{name}_se"] + RELATIVE_DELTA_BIAS / table["p"] * theory
        assert (np.abs(table[name] - theory) <= allowed).all(), name


def test_a_factor_alpha_in_delta_2_would_be_seen():
    """The released code has one: at p = 1000 it is off by many standard errors, whatever the allowance."""
    table = read("figure_2").where(p=1000)
    two = predict_isotropic(
        p=1000, n=1000, m=table["m"], mu=0, gamma=1, epsilon=0.2, phi=0.9, rho=0.2, n_hat=1000
    ).deltas[:, 1]
    assert (np.abs(table["delta_2"] - figure_2.ALPHA * two) > 100 * table["delta_2_se"]).all()


def test_label_noise_of_figure_3_is_the_error_of_a_simulated_classifier():
    """epsilon(m) by theory, against m clean synthetic samples simulated without real ones."""
    for p, m in ((50, 111), (200, 1000)):
        alone = simulate_isotropic(
            p=p, n=0, m=m, mu=figure_3.MU, gamma=figure_3.GAMMA, n_hat=figure_3.N, trials=200, seed=2410
        )
        value, error = alone.estimate("accuracy")
        assert abs(1 - value - figure_3.synthetic_error(p, m)) <= 4 * error + ACCURACY_BIAS / p


def test_error_bars_are_smaller_than_markers():
    """Half a marker is 3 points, about 0.0014 of accuracy in the figure: two standard errors are less."""
    assert (2 * read("figure_3")["accuracy_se"]).max() < 0.0014
