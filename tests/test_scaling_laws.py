"""Scaling laws: the exact law against the solver, the first-order law, exponents, plateaus, stored simulation."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import minimize_scalar
from scipy.special import ndtr
from scipy.stats import norm

from rmt_experiments import runner
from rmt_experiments import scaling_laws as experiment
from rmt_lib import Mixture, Source, predict, predict_isotropic
from rmt_lib.fitted import Population, predict_fitted
from rmt_lib.topics.scaling_laws import (
    best_ridge,
    effective_samples,
    enough,
    label_cost,
    power_law,
    predict_at_ridge,
    price,
)
from rmt_lib.topics.when_it_helps import z_at_infinite_gamma_isotropic

LABELS = [
    {},
    {"epsilon": 0.3},
    {"epsilon": 0.3, "phi": 0.9, "rho": 0.2},
    {"epsilon": 0.6, "phi": 0.7, "rho": 0.1},
]


def z(prediction):
    return prediction.mean / np.sqrt(prediction.variance)


def shares(epsilon=0.0, phi=1.0, rho=1.0):
    """alpha and beta."""
    right, wrong = phi * (1 - epsilon), rho * epsilon
    return right + wrong, (right - wrong) / (right + wrong)


def slope(function, m, step=1.2):
    return -np.log(function(m * step) / function(m / step)) / (2 * np.log(step))


@pytest.fixture(scope="module")
def rough():
    rng = np.random.default_rng(2410)
    root = rng.standard_normal((40, 40)) / 6
    return Mixture(rng.standard_normal(40) / 4, root @ root.T + 0.1 * np.eye(40))


@pytest.fixture(scope="module")
def wide():
    """a = 1.5, b = 1, p = 3000, Bayes score 1."""
    return Population(experiment.law(3000))


@pytest.mark.parametrize("labels", [*LABELS, {"epsilon": 0.8}, {"epsilon": 0.5}])
@pytest.mark.parametrize(("n", "m"), [(0, 150), (60, 90), (80, 0)])
@pytest.mark.parametrize("ridge", [0.2, 5.0])
def test_exact_law_is_the_master_theorem(rough, labels, n, m, ridge):
    law = predict_at_ridge(rough, ridge=ridge, n=n, m=m, **labels)
    solved = predict(rough, [Source(rough, n), Source(rough, m, **labels)], gamma=law.gamma)
    assert law.z == pytest.approx(z(solved), abs=1e-9)


def test_best_ridge_against_brute_force(rough):
    labels = LABELS[2]
    best = best_ridge(rough, n=20, m=100, **labels)
    sources = [Source(rough, 20), Source(rough, 100, **labels)]
    brute = minimize_scalar(lambda x: -z(predict(rough, sources, gamma=np.exp(x))), bounds=(-12, 8), method="bounded")
    assert best.z == pytest.approx(-brute.fun, abs=1e-9)
    assert np.log(best.gamma) == pytest.approx(brute.x, abs=1e-2)
    assert predict_at_ridge(rough, ridge=best.ridge, n=20, m=100, **labels) == pytest.approx(best)


def test_identity_asks_for_the_largest_ridge():
    best = best_ridge(Mixture(np.eye(50)[0]), n=30, m=100, epsilon=0.2)
    assert best.ridge == pytest.approx(1e6)
    limit = z_at_infinite_gamma_isotropic(p=50, n=30, m=100, mu=1.0, epsilon=0.2)
    assert best.z == pytest.approx(limit, abs=1e-6)


@pytest.mark.parametrize("generator", ["held_out", "known_mean"])
@pytest.mark.parametrize("labels", LABELS)
def test_two_errors_add_for_any_covariance(rough, labels, generator):
    """The remainder of the first-order law is of second order: ten times the data, a hundredth of the error."""
    alpha, beta = shares(**labels)
    known, errors = Population(rough), []
    for size in (1e4, 1e5):
        m, n_hat = 3 * size, size
        solved = predict_fitted(known, n=0, m=m, gamma=0.3, n_hat=n_hat, generator=generator, **labels)
        ridge = 0.3 / alpha  # to first order, and then as exactly as the next order of z needs
        d = known.curves(ridge).freedom
        ridge *= 1 + d / (alpha * m) + d / n_hat
        c = known.curves(ridge)
        t = (1 + c.signal_square) / c.signal**2
        cost = (1 + (1 / beta**2 - 1) * (1 + c.signal) ** 2 / (1 + c.signal_square)) / alpha
        own = 1 if generator == "held_out" else c.signal_square / (1 + c.signal_square)
        law = c.signal_square / c.signal**2 + c.freedom_square * t * (cost / m + own / n_hat)
        errors.append(abs(1 / z(solved) ** 2 - law))
        assert errors[-1] < 20 * (d / m / beta**2 + d / n_hat) ** 2
    assert errors[1] < errors[0] / 50


@pytest.mark.parametrize("generator", ["held_out", "known_mean"])
@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize("gamma", [1e-3, 1.0, 1e4])
def test_identity_constants(labels, generator, gamma):
    mu, p, (alpha, beta) = 1.3, 1000, shares(**labels)
    sigma = 1 / (1 + gamma / alpha)
    own = (generator == "held_out") + sigma**2 * mu**2
    cost = (1 + sigma**2 * mu**2 + (1 / beta**2 - 1) * (1 + sigma * mu**2) ** 2) / alpha
    for m, n_hat in ((1e4 * p, 3e4 * p), (1e6 * p, 1e4 * p)):
        accuracy = predict_isotropic(
            p=p, n=0, m=m, mu=mu, gamma=gamma, n_hat=n_hat, generator=generator, **labels
        ).accuracy
        law = norm.pdf(mu) / (2 * mu) * (cost * p / m + own * p / n_hat)
        assert ndtr(mu) - accuracy == pytest.approx(law, rel=3e-3)


@pytest.mark.parametrize("labels", LABELS)
def test_label_cost_at_its_two_ends(rough, labels):
    alpha, beta = shares(**labels)
    assert label_cost(**labels) == pytest.approx(1 / (alpha * beta**2))
    assert label_cost(signal=2.5, **labels) == pytest.approx((3.5 / beta**2 - 2.5) / alpha)
    # What it means: m samples have the accuracy of m / cost right ones.
    m = 1e5
    cost = label_cost(signal=Population(rough).curves(1e-9).signal, **labels)
    small = predict_at_ridge(rough, ridge=1e-6, n=0, m=m, **labels).z
    real = predict_at_ridge(rough, ridge=1e-6, n=m / cost, m=0).z
    assert small == pytest.approx(real, rel=3e-4)  # second order in d / m


def test_label_cost_without_signal_in_the_labels():
    assert label_cost(epsilon=0.5) == np.inf and label_cost(phi=0.0, rho=0.0) == np.inf
    assert label_cost(epsilon=[0.1, 0.3], rho=0.0).tolist() == pytest.approx([1 / 0.9, 1 / 0.7])
    assert effective_samples(m=100, cost=np.inf, n=7) == 7


@pytest.mark.parametrize("labels", LABELS)
def test_effective_samples_are_exact_at_a_large_penalty(labels):
    """With the best weight, n > 0; and the two limits at weight 1."""
    alpha, beta = shares(**labels)
    lam, n, n_hat, m = alpha * beta, 300.0, 800.0, np.array([50.0, 900.0, 2e4])
    setting = dict(p=200, n=n, mu=1.0, generator="held_out", **labels)

    def worth(score):
        return 200 / (1 / score**2 - 1)

    weight = lam / (alpha + lam**2 * m / n_hat)
    best = worth(z_at_infinite_gamma_isotropic(m=m, n_hat=n_hat, weight=weight, **setting))
    np.testing.assert_allclose(best, effective_samples(m=m, n_hat=n_hat, cost=label_cost(**labels), n=n))
    for factor in (0.9, 1.1):
        other = worth(z_at_infinite_gamma_isotropic(m=m, n_hat=n_hat, weight=factor * weight, **setting))
        assert (other < best).all()
    far = worth(z_at_infinite_gamma_isotropic(m=1e7, **setting)) - 1e7 / label_cost(**labels)
    assert far == pytest.approx(beta * (2 - beta) * n, abs=0.5)
    assert worth(z_at_infinite_gamma_isotropic(m=1e9, n_hat=n_hat, **setting)) == pytest.approx(n_hat, rel=1e-4)


def test_price_and_stopping():
    cost, n_hat, n = 2.3, 500.0, 60.0
    for m in (10.0, 1150.0, 1e4):
        more = effective_samples(m=m, n_hat=n_hat, cost=cost, n=n + 1e-3)
        same = effective_samples(m=m + 1e-3 * price(m=m, n_hat=n_hat, cost=cost), n_hat=n_hat, cost=cost, n=n)
        assert more == pytest.approx(same, abs=1e-7)
    assert price(m=cost * n_hat, n_hat=n_hat, cost=cost) == pytest.approx(4 * cost)
    assert price(m=50, cost=cost) == cost
    for exponent in (1.0, 0.4):
        for excess in (0.05, 1.0):
            m = enough(excess=excess, n_hat=n_hat, cost=cost, n=n, exponent=exponent)
            ratio = (n + n_hat) / effective_samples(m=m, n_hat=n_hat, cost=cost, n=n)
            assert ratio**exponent == pytest.approx(1 + excess)
    assert enough(excess=1.0, n_hat=100, n=100) == 0 == enough(excess=1.0, n_hat=100, n=300)
    assert enough(excess=1.0, n_hat=100, cost=3.0) == pytest.approx(300)


def test_no_exponent_at_the_critical_noise():
    accuracy = predict_isotropic(p=100, n=0, m=np.array([1e2, 1e6]), mu=1.0, gamma=1.0, epsilon=0.5).accuracy
    np.testing.assert_allclose(accuracy, 0.5)


def test_interpolation_peak():
    """At alpha m = p, z vanishes like gamma^(1/4)."""
    gamma = np.array([1e-6, 1e-10])
    ratio = z(predict_isotropic(p=100, n=0, m=100 / 0.69, mu=1.0, gamma=gamma, **LABELS[2])) / gamma**0.25
    assert ratio[0] == pytest.approx(ratio[1], rel=1e-3)


def test_known_mean_has_a_plateau_at_a_fixed_penalty_only():
    setting = dict(p=100, n=0, m=1e14, mu=1.0, n_hat=1e4)
    gap = ndtr(1.0) - predict_isotropic(gamma=np.array([1.0, 1e3, 1e6]), **setting).accuracy
    expected = norm.pdf(1) / 2 * 0.01 / (1 + np.array([1.0, 1e3, 1e6])) ** 2
    np.testing.assert_allclose(gap[:2], expected[:2], rtol=0.02)
    assert gap[2] < 1e-12


def test_power_law_population():
    mixture = power_law(5, spectrum=1.5, tail=0.5, amplitude=0.3)
    index = np.arange(1, 6)
    np.testing.assert_allclose(mixture.cov, index**-1.5)
    np.testing.assert_allclose(mixture.mean**2 / mixture.cov, 0.3 * index**-1.5)
    assert (experiment.law(40).mean ** 2 / experiment.law(40).cov).sum() == pytest.approx(1)


def test_constants_of_the_power_laws():
    """The closed forms of the proofs against quadrature and against sums."""
    a, b, ridge, p = 2.0, 1.0, 1e-5, 200_000
    c1 = quad(lambda x: 1 / (1 + x**a), 0, np.inf)[0]
    c2 = quad(lambda x: x ** (2 * a - 1 - b) / (1 + x**a) ** 2, 0, np.inf)[0]
    curves = Population(power_law(p, spectrum=a, tail=b)).curves(ridge)
    assert np.pi / a / np.sin(np.pi / a) == pytest.approx(c1)
    assert curves.freedom == pytest.approx(c1 * ridge ** (-1 / a), rel=0.02)
    assert curves.freedom_square == pytest.approx((1 - 1 / a) * curves.freedom, rel=0.02)
    total = np.pi**2 / 6
    bias = curves.signal_square / curves.signal**2 - 1 / total
    assert bias == pytest.approx(c2 * ridge ** (b / a) / total**2, rel=0.02)
    open_ended = Population(power_law(p, spectrum=2.0, tail=-0.8)).curves(1e-6)
    c3 = quad(lambda x: x**-0.2 / (1 + x**2), 0, np.inf)[0]
    assert np.pi / 2 / np.sin(0.4 * np.pi) == pytest.approx(c3)
    assert open_ended.signal == pytest.approx(c3 * 1e-6**-0.4, rel=0.02)
    assert open_ended.signal_square == pytest.approx((1 - 0.4) * open_ended.signal, rel=0.03)


@pytest.mark.parametrize(
    ("a", "b", "zeta", "tolerance"), [(1.5, 1.0, 1 / 2, 0.02), (2.0, 1.0, 1 / 2, 0.02), (1.2, 4.0, 2.4 / 3.4, 0.07)]
)
@pytest.mark.parametrize("labels", [LABELS[0], LABELS[2]])
def test_exponent_at_the_best_penalty(a, b, zeta, tolerance, labels):
    plain = power_law(10_000, spectrum=a, tail=b)
    known = Population(power_law(10_000, spectrum=a, tail=b, amplitude=1 / (plain.mean**2 / plain.cov).sum()))
    local = slope(lambda m: ndtr(1.0) - ndtr(best_ridge(known, n=0, m=m, **labels).z), 3e4)
    assert local == pytest.approx(zeta, abs=tolerance)


def test_exponents_of_other_penalties(wide):
    def gap(m, gamma):
        return ndtr(1.0) - predict_fitted(wide, n=0, m=m, gamma=gamma).accuracy

    assert slope(lambda m: gap(m, 1 / m), 2e3) == pytest.approx(1 / 3, abs=0.04)
    floor = gap(1e12, 0.01)
    assert floor > 0.002
    assert slope(lambda m: gap(m, 0.01) - floor, 1e6) == pytest.approx(1, abs=0.01)
    unpenalised = 1.5 + 0.5 * 1.0  # a / z*^2 + (a - 1) / z*^4
    few = predict_fitted(experiment.law(200_000), n=0, m=100, gamma=1e-10).accuracy
    assert few == pytest.approx(ndtr(unpenalised**-0.5), abs=0.004)


@pytest.mark.parametrize(("labels", "n_hat"), [(LABELS[1], np.inf), (LABELS[2], 3000.0)])
def test_curves_collapse_on_the_effective_number(wide, labels, n_hat):
    m = 3e4
    worth = float(effective_samples(m=m, n_hat=n_hat, cost=label_cost(signal=1.0, **labels)))
    real = best_ridge(wide, n=worth, m=0)
    best = minimize_scalar(
        lambda x: (
            -predict_fitted(wide, n=0, m=m, gamma=np.exp(x), n_hat=n_hat, generator="held_out", **labels).accuracy
        ),
        bounds=(np.log(real.ridge) - 3, np.log(real.ridge) + 2),
        method="bounded",
    )
    ratio = (ndtr(1.0) + best.fun) / (ndtr(1.0) - ndtr(real.z))
    assert ratio == pytest.approx(1, abs=0.02)


def test_wrong_labels_lower_the_exponent_of_separable_classes():
    known = Population(power_law(10_000, spectrum=2.0, tail=-0.8, amplitude=0.2))

    def local(m, **labels):
        return -slope(lambda m: best_ridge(known, n=0, m=m, **labels).z ** 2, m)

    assert local(1000) == pytest.approx(0.8, abs=0.04)
    assert local(10_000, epsilon=0.1) == pytest.approx(0.8 / 1.8, abs=0.03)
    assert local(1000, epsilon=0.3, rho=0.0) == pytest.approx(0.8, abs=0.04)
    # Below the change at z^2 = beta^2 / (1 - beta^2) = 44 a verifier keeps the first law.
    assert local(100, epsilon=0.1, rho=0.05) > 0.75 > 0.7 > local(100, epsilon=0.1)


def test_stored_simulation_agrees_with_theory():
    """|z| < 3.5 but where fewer than ten degrees of freedom are in use, and at the peak of a small penalty."""
    table, seen = runner.read("scaling_laws"), []
    for row in zip(*table.columns.values(), strict=True):
        row = dict(zip(table.columns, row, strict=True))
        labels = {name: row[name] for name in ("epsilon", "phi", "rho")}
        fit = {
            "n": row["n"],
            "m": row["m"],
            "gamma": row["gamma"],
            "n_hat": row["n_hat"],
            "generator": row["generator"],
        }
        if row["world"] == "identity":
            limit = predict_isotropic(p=experiment.P, mu=1.0, weight=row["weight"], **fit, **labels)
            exact = row["gamma"] != 0.001 or row["m"] != 290
        else:
            target = experiment.law(experiment.LAW_P) if row["world"] == "law" else experiment.separable(500)
            limit = predict_fitted(target, **fit, **labels)
            exact = row["world"] == "separable" or row["m"] >= 12800
        deviation = (row["score"] - z(limit)) / row["score_se"]
        if exact:
            seen.append(deviation)
            assert abs(deviation) < 3.6, row
        else:  # a bias of order one over the degrees of freedom in use, in the gap to the Bayes score
            assert abs(row["score"] - z(limit)) < 0.05
    assert len(seen) == 67 and np.sqrt(np.mean(np.square(seen))) < 1.6


def test_a_small_run_of_the_same_script_agrees_with_the_stored_one():
    made, table = experiment.EXPERIMENT, runner.read("scaling_laws")
    assert len(table) == len(made.settings)
    for world, trials in (("identity", 8), ("law", 24), ("separable", 24)):
        number = max(i for i, setting in enumerate(made.settings) if setting["world"] == world and setting["m"] < 900)
        if world == "law":  # a fitted generator
            assert np.isfinite(made.settings[number]["n_hat"])
        (row,) = made.rows(number, trials=trials)
        error = np.hypot(row["score_se"], table["score_se"][number])
        assert abs(row["score"] - table["score"][number]) < 4 * error
        assert float(table["gamma"][number]) == made.settings[number]["gamma"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: power_law(0, spectrum=1, tail=1), "p must be"),
        (lambda: power_law(5, spectrum=-1, tail=1), "spectrum must be >= 0 and finite, got -1"),
        (lambda: power_law(5, spectrum=1, tail=1, amplitude=0), "amplitude must be > 0"),
        (lambda: predict_at_ridge(power_law(50, spectrum=0, tail=1), ridge=0.1, n=10, m=0), "ridge must be larger"),
        (lambda: predict_at_ridge(power_law(5, spectrum=0, tail=1), ridge=0, n=10, m=0), "ridge must be > 0"),
        (lambda: predict_at_ridge(power_law(5, spectrum=0, tail=1), ridge=1, n=0, m=9, phi=0, rho=0), "n and m must"),
        (lambda: best_ridge(power_law(5, spectrum=0, tail=1), n=0, m=9, epsilon=0.5), r"n \+ lambda m must be > 0"),
        (lambda: best_ridge(power_law(5, spectrum=0, tail=1), n=0, m=9, epsilon=1.5), "epsilon must be in"),
        (lambda: label_cost(epsilon=-0.1), "epsilon must be in"),
        (lambda: label_cost(signal=-1), "signal must be >= 0"),
        (lambda: effective_samples(m=-1), "m must be >= 0"),
        (lambda: price(m=1, n_hat=0.5), "n_hat must be >= 1"),
        (lambda: price(m=1, cost=0), "cost must be > 0"),
        (lambda: enough(excess=0, n_hat=10), "excess must be > 0"),
        (lambda: enough(excess=1, n_hat=np.inf), "n_hat must be >= 1"),
        (lambda: enough(excess=1, n_hat=10, exponent=0), "exponent must be > 0"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_target_must_be_a_population():
    with pytest.raises(TypeError, match="target must be"):
        best_ridge(1.0, n=10, m=0)
