"""The general theorem in its classical form (T_1, T_2), written out here, against the library's residual form."""

import numpy as np
import pytest

from rmt_experiments.general_mismatch import GAMMA, MISMATCHES, training
from rmt_experiments.runner import load, read
from rmt_lib import Mixture, Source, predict


def matrix(mixture):
    return mixture.cov if mixture.cov.ndim == 2 else mixture.cov * np.eye(mixture.p)


class Classical:
    """One real source and one synthetic source with weights 1; only the fixed point comes from the library."""

    def __init__(self, target, real, synthetic, gamma):
        self.target, self.total = target, real.n + synthetic.n
        self.delta, self.delta_s = predict(target, [real, synthetic], gamma=gamma).deltas
        self.alpha, self.lam = synthetic.alpha, synthetic.lam
        self.pi = real.n / self.total
        self.c, self.c_s = matrix(target), matrix(synthetic.mixture)
        self.mu, self.mu_s = target.mean, synthetic.mixture.mean
        self.g, self.g_s = self.pi / (1 + self.delta), (1 - self.pi) / (1 + self.delta_s)
        self.r = np.linalg.inv(gamma * np.eye(target.p) + self.g * self.c + self.alpha * self.g_s * self.c_s)
        self.second = self.c + np.outer(self.mu, self.mu)
        self.second_s = self.c_s + np.outer(self.mu_s, self.mu_s)
        loads = self.g * self.second + self.alpha * self.g_s * self.second_s
        self.q = np.linalg.inv(gamma * np.eye(target.p) + loads)
        self.pull = self.g * self.mu + self.lam * self.g_s * self.mu_s
        self.w = self.q @ self.pull

    def trace(self, a, b):
        return np.trace(a @ self.r @ b @ self.r) / self.total

    def amplifications(self):
        """T_1, T_2, and the two factors in front of the second moments."""
        real, synthetic = self.pi / (1 + self.delta) ** 2, (1 - self.pi) / (1 + self.delta_s) ** 2
        a_1, a_2 = real * self.trace(self.c, self.c), real * self.trace(self.c, self.c_s)
        b_1, b_2 = self.alpha * synthetic * np.array([self.trace(self.c, self.c_s), self.trace(self.c_s, self.c_s)])
        h = (1 - b_2) * (1 - a_1) - a_2 * b_1
        return (a_1 * (1 - b_2) + a_2 * b_1) / h, b_1 / (self.alpha * h), (1 - b_2) / h, b_1 / h

    def moments(self):
        t_1, t_2, front, front_s = self.amplifications()
        twice = self.q @ (front * self.second + front_s * self.second_s) @ self.q
        mean = self.mu @ self.w
        second = self.pull @ twice @ self.pull + t_1 * (1 - 2 * mean)
        second += t_2 * (self.alpha - 2 * self.lam * self.mu_s @ self.w)
        return mean, second - mean**2


def random_setting(seed, p=40):
    rng = np.random.default_rng(seed)

    def mixture():
        factor = rng.standard_normal((p, 2 * p)) * np.sqrt(rng.uniform(0.2, 2, 2 * p))
        return Mixture(rng.uniform(0.2, 2) * rng.standard_normal(p) / np.sqrt(p), factor @ factor.T / (2 * p))

    target = mixture()
    epsilon, phi, rho = rng.uniform(0, 0.5), *rng.uniform(0.2, 1, 2)
    n, m = p * 10 ** rng.uniform(-0.5, 1, 2)
    return target, Source(target, n), Source(mixture(), m, epsilon=epsilon, phi=phi, rho=rho), 10 ** rng.uniform(-2, 1)


@pytest.mark.parametrize("seed", range(25))
def test_the_classical_form_is_the_residual_form(seed):
    target, real, synthetic, gamma = random_setting(seed)
    limit = predict(target, [real, synthetic], gamma=gamma)
    mean, variance = Classical(target, real, synthetic, gamma).moments()
    # Off the exact fixed point the two forms differ by as much as the fixed point is off.
    tolerance = 1e-12 + limit.residual
    assert tolerance < 1e-9
    assert mean == pytest.approx(limit.mean, abs=tolerance)
    assert variance == pytest.approx(limit.variance, abs=tolerance)


@pytest.mark.parametrize("seed", range(5))
def test_the_amplifications_are_slopes_of_the_discounts(seed):
    """T_k = b_k t_k is the slope of g_k when tau C is added to the penalty."""
    target, real, synthetic, gamma = random_setting(seed)
    classical = Classical(target, real, synthetic, gamma)
    values, vectors = np.linalg.eigh(classical.c)
    step = 1e-4 * gamma / values[-1]

    def discounts(tau):
        stretch = (vectors * np.sqrt(gamma / (gamma + tau * values))) @ vectors.T
        warped = [Mixture(stretch @ s.mixture.mean, stretch @ matrix(s.mixture) @ stretch) for s in (real, synthetic)]
        sources = [
            Source(mixture, s.n, epsilon=s.epsilon, phi=s.phi, rho=s.rho)
            for mixture, s in zip(warped, (real, synthetic), strict=True)
        ]
        shares = np.array([classical.pi, 1 - classical.pi])
        return shares / (1 + predict(warped[0], sources, gamma=gamma).deltas)

    slopes = (discounts(step) - discounts(-step)) / (2 * step)
    np.testing.assert_allclose(slopes, classical.amplifications()[:2], rtol=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_the_equivalent_is_a_rank_two_correction(seed):
    c = Classical(*random_setting(seed))
    means, loads = np.column_stack([c.mu, c.mu_s]), np.diag([c.g, c.alpha * c.g_s])
    inner = np.linalg.solve(np.eye(2) + loads @ means.T @ c.r @ means, loads)
    np.testing.assert_allclose(c.r - c.r @ means @ inner @ means.T @ c.r, c.q, rtol=1e-9, atol=1e-12)


def test_the_equivalents_hold_in_simulation():
    """a' Q_N b and a' Q_N (C + mu mu') Q_N b over training sets; the bias, of order 1/p, is below the noise."""
    p, trials, gamma = 200, 100, 0.5
    target, (real, synthetic) = training(p, 2 * p, 0.2, angle=60.0, correlation=-0.5)
    classical = Classical(target, real, synthetic, gamma)
    _, _, front, front_s = classical.amplifications()
    a, b = classical.mu, classical.mu_s
    twice = classical.q @ (front * classical.second + front_s * classical.second_s) @ classical.q
    rng, values = np.random.default_rng(2410), []
    for _ in range(trials):
        gram = gamma * np.eye(p)
        for source in (real, synthetic):
            kept = rng.binomial(int(source.n), source.alpha)
            u = source.mixture.mean + rng.standard_normal((kept, p)) @ source.mixture.root
            gram += u.T @ u / classical.total
        left, right = np.linalg.solve(gram, np.column_stack([a, b])).T
        values.append((a @ right, left @ classical.second @ right, left @ classical.second @ left))
    error = np.std(values, axis=0, ddof=1) / np.sqrt(trials)
    limits = np.array([a @ classical.q @ b, a @ twice @ b, a @ twice @ a])
    # An allowance of 1/p of the limit for the bias.
    assert (np.abs(np.mean(values, axis=0) - limits) < 4 * error + np.abs(limits) / p).all()


def test_a_pruned_sample_is_dropped_not_shrunk():
    rng, delta, alpha = np.random.default_rng(2410), 1.5, 0.3
    q = rng.random(100_000) < alpha
    average = np.mean(q / (1 + q * delta))
    assert average == pytest.approx(alpha / (1 + delta), abs=0.003)
    assert average < alpha / (1 + alpha * delta) - 0.05


@pytest.mark.parametrize("gamma", [0.05, 0.5, 5.0])
@pytest.mark.parametrize("ratio", [0.5, 3])
def test_the_gain_of_a_longer_mean_in_closed_form(gamma, ratio):
    """Clean labels, right direction and covariance: slope of v / m^2 in the length l at l = 1."""
    p = 80
    target, (real, synthetic) = training(p, int(ratio * p), 0.0)
    synthetic = Source(target, synthetic.n)
    c = Classical(target, real, synthetic, gamma)
    t_1, t_2, *_ = c.amplifications()
    load = (c.g + c.g_s) * (c.mu @ c.r @ c.mu)
    slope = -2 * (1 - c.pi) * (t_1 + t_2) / load**2

    def noise(length):
        longer = Source(Mixture(length * target.mean, target.cov), synthetic.n)
        limit = predict(target, [real, longer], gamma=gamma)
        return limit.variance / limit.mean**2

    step = 1e-5
    assert (noise(1 + step) - noise(1 - step)) / (2 * step) == pytest.approx(slope, rel=1e-5)


@pytest.mark.parametrize("name", ["exact", "all"])
def test_a_small_run_of_the_experiment_agrees_with_theory(name):
    """At p = 50 the bias of the accuracy is of order 1/p; the allowance is 0.5/p."""
    target, sources = training(50, 150, 0.2, **MISMATCHES[name])
    experiment = load("general_mismatch")
    number = next(i for i, s in enumerate(experiment.settings) if s["name"] == "dimension" and s["p"] == 50)
    if name == "all":
        row = experiment.rows(number, trials=200)[0]
    else:
        setting = {**experiment.settings[number], "angle": 0.0, "length": 1.0, "scale": 1.0, "correlation": 0.5}
        row = experiment.measure(setting, 200, np.random.SeedSequence(2410))
    limit = predict(target, sources, gamma=GAMMA)
    assert abs(row["accuracy"] - limit.accuracy) < 4 * row["accuracy_se"] + 0.5 / 50


def test_the_stored_result_agrees_with_theory():
    """Every row: within 4 standard errors and an allowance of 0.5/p for the bias."""
    stored = read("general_mismatch")
    for i in range(len(stored)):
        keys = ("angle", "length", "scale", "correlation")
        p = int(stored["p"][i])
        generator = {key: stored[key][i] for key in keys}
        target, sources = training(p, int(stored["m"][i]), stored["epsilon"][i], **generator)
        limit = predict(target, sources, gamma=GAMMA)
        for quantity in ("mean", "variance", "accuracy"):
            difference = abs(stored[quantity][i] - getattr(limit, quantity))
            assert difference < 4 * stored[f"{quantity}_se"][i] + 0.5 / p, (i, quantity)


def test_the_classifier_is_that_of_scikit_learn():
    """The chapter names the call: penalty N gamma, no intercept, N counting the samples drawn."""
    linear_model = pytest.importorskip("sklearn.linear_model")
    rng, gamma, total = np.random.default_rng(2410), 0.3, 90
    x, labels = rng.standard_normal((60, 20)), rng.choice([-1.0, 1.0], 60)
    w = np.linalg.solve(gamma * np.eye(20) + x.T @ x / total, x.T @ labels / total)
    ridge = linear_model.Ridge(alpha=total * gamma, fit_intercept=False).fit(x, labels)
    np.testing.assert_allclose(ridge.coef_, w, rtol=1e-9)
