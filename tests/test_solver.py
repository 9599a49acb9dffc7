"""The fixed points over the whole valid domain: they converge, and independent routes agree."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rmt_lib import ConvergenceError, Mixture, Source, predict, predict_isotropic, resolvent
from rmt_lib import marchenko_pastur as mp

GENERATORS = ("known_mean", "held_out", "reused")


def log_uniform(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high).map(lambda exponent: 10.0**exponent)


PROBABILITY = st.floats(0, 1) | st.sampled_from([0.0, 1.0])
GAMMA, WEIGHT = log_uniform(-10, 10), log_uniform(-8, 8)


@st.composite
def covariances(draw, p: int, *, shared_basis: bool):
    kind = draw(st.sampled_from(["scalar", "diagonal"] + ([] if shared_basis else ["full", "low rank"])))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    if kind == "scalar":
        return draw(st.just(0.0) | log_uniform(-3, 3))
    if kind == "diagonal":
        return 10 ** rng.uniform(-3, 3, p) * (rng.random(p) < 0.8)
    columns = p + 2 if kind == "full" else max(1, p // 2)
    factor = rng.standard_normal((p, columns))
    return factor @ factor.T / columns


@st.composite
def problems(draw, *, shared_basis: bool):
    p = draw(st.integers(1, 12))
    size = draw(st.integers(1, 3))
    total = p / draw(log_uniform(-6, 6))
    shares = np.array([draw(PROBABILITY) for _ in range(size - 1)] + [1.0])
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))

    def mixture():
        return Mixture(
            rng.standard_normal(p) * draw(log_uniform(-2, 2)), draw(covariances(p, shared_basis=shared_basis))
        )

    sources = [
        Source(
            mixture(),
            float(n),
            epsilon=draw(PROBABILITY),
            phi=draw(PROBABILITY),
            rho=draw(PROBABILITY),
            weight=draw(WEIGHT),
        )
        for n in total * shares / shares.sum()
    ]
    return mixture(), sources, draw(GAMMA)


def assert_valid(prediction):
    values = np.hstack(
        [np.ravel(getattr(prediction, name)) for name in ("mean", "variance", "accuracy", "risk", "deltas")]
    )
    assert np.isfinite(values).all()
    assert np.all(np.asarray(prediction.variance) >= 0)
    assert np.all((0 <= np.asarray(prediction.accuracy)) & (np.asarray(prediction.accuracy) <= 1))
    assert np.all(np.asarray(prediction.deltas) >= 0)
    assert np.max(prediction.residual) <= 1e-9


@settings(max_examples=200, deadline=None, derandomize=True)
@given(problems(shared_basis=True))
def test_converges_in_a_shared_basis(problem):
    target, sources, gamma = problem
    assert_valid(predict(target, sources, gamma=gamma))


@settings(max_examples=120, deadline=None, derandomize=True)
@given(problems(shared_basis=False))
def test_converges_without_a_shared_basis(problem):
    target, sources, gamma = problem
    assert_valid(predict(target, sources, gamma=gamma))


def random_settings(size: int, seed: int) -> dict:
    rng = np.random.default_rng(seed)

    def probability():
        return np.where(rng.random(size) < 0.2, rng.integers(0, 2, size), rng.random(size))

    p = 10 ** rng.uniform(0, 6, size)
    total = p / 10 ** rng.uniform(-6, 6, size)
    share = probability()
    n = total * (1 - share)
    generator = rng.choice(GENERATORS, size)
    generator = np.where((generator == "reused") & (n < 1), "known_mean", generator)
    setting = dict(
        p=p,
        n=n,
        m=total * share,
        mu=rng.choice([0, 0.7, 3, 100], size),
        gamma=10 ** rng.uniform(-10, 10, size),
        epsilon=probability(),
        phi=probability(),
        rho=probability(),
        n_hat=np.where(rng.random(size) < 0.1, np.inf, 10 ** rng.uniform(0, 7, size)),
        generator=generator,
        weight=10 ** rng.uniform(-8, 8, size),
    )
    setting["n_hat"] = np.where((generator == "reused") & (setting["n_hat"] > n), np.inf, setting["n_hat"])
    return setting


def test_isotropic_converges_everywhere():
    assert_valid(predict_isotropic(**random_settings(100_000, seed=2410)))


def test_isotropic_converges_on_the_corners_of_the_domain():
    corners = itertools.product(
        [1e-10, 1e10], [1e-6, 1.0, 1e6], [0.0, 0.5, 1.0], [0, 1], [0, 1], [0, 1], [1e-8, 1e8], GENERATORS, [1.0, 1e7]
    )
    gamma, ratio, share, epsilon, phi, rho, weight, generator, n_hat = (
        np.array(column) for column in zip(*corners, strict=True)
    )
    total = 1e6 / ratio
    generator = np.where((generator == "reused") & (total * (1 - share) < 1), "held_out", generator)
    n_hat = np.where((generator == "reused") & (n_hat > 1), np.inf, n_hat)
    prediction = predict_isotropic(
        p=1e6, n=total * (1 - share), m=total * share, mu=1.0, gamma=gamma, epsilon=epsilon, phi=phi, rho=rho,
        weight=weight, generator=generator, n_hat=n_hat,
    )  # fmt: skip
    assert_valid(prediction)


def test_isotropic_settings_are_independent_of_their_company():
    setting = random_settings(300, seed=2411)
    together = predict_isotropic(**setting)
    for i in range(0, 300, 29):
        alone = predict_isotropic(**{name: values[i] for name, values in setting.items()})
        np.testing.assert_allclose([alone.mean, alone.variance], [together.mean[i], together.variance[i]], rtol=1e-9)


def test_isotropic_broadcasts():
    prediction = predict_isotropic(p=50, n=[10, 20, 30], m=np.array([[0], [5]]), mu=1.0, gamma=0.1)
    assert prediction.mean.shape == prediction.iterations.shape == prediction.residual.shape == (2, 3)
    assert prediction.deltas.shape == (2, 3, 2)
    same = np.broadcast_to(0.1, 3)
    assert predict_isotropic(p=50, n=10, m=5, mu=1.0, gamma=same).mean.shape == (3,)
    assert predict_isotropic(p=50, n=10, m=5, mu=1.0, gamma=[]).mean.shape == (0,)
    scalar = predict_isotropic(p=50, n=10, m=5, mu=1.0, gamma=0.1)
    assert np.ndim(scalar.accuracy) == 0
    assert scalar.deltas.shape == (2,)


def test_general_and_isotropic_agree_with_a_perfect_generator():
    rng = np.random.default_rng(2412)
    for _ in range(150):
        p = int(rng.integers(1, 300))
        total = p / 10 ** rng.uniform(-6, 6)
        share = rng.choice([0, 0.3, 1])
        noise = dict(epsilon=rng.random(), phi=rng.random(), rho=rng.random(), weight=10 ** rng.uniform(-8, 8))
        mu, gamma = rng.uniform(0, 3), 10 ** rng.uniform(-10, 10)
        mean = np.zeros(p)
        mean[-1] = mu
        real = Mixture(mean)
        general = predict(real, [Source(real, total * (1 - share)), Source(real, total * share, **noise)], gamma=gamma)
        closed = predict_isotropic(p=p, n=total * (1 - share), m=total * share, mu=mu, gamma=gamma, **noise)
        np.testing.assert_allclose(general.accuracy, closed.accuracy, rtol=1e-8)
        np.testing.assert_allclose(general.mean, closed.mean, rtol=1e-8)
        np.testing.assert_allclose(general.variance, closed.variance, rtol=1e-8, atol=1e-300)
        np.testing.assert_allclose(general.deltas, closed.deltas, rtol=1e-8)


@pytest.mark.parametrize("gamma", [1e-8, 1e-3, 1.0, 1e6])
def test_dense_and_diagonal_routes_agree(gamma):
    """The same problem in the basis where all is diagonal, and in a rotated one where nothing is."""
    rng = np.random.default_rng(2413)
    p = 40
    rotation, _ = np.linalg.qr(rng.standard_normal((p, p)))
    spectra = rng.uniform(0.1, 5, (3, p))
    means = rng.standard_normal((3, p)) / 5

    def problem(rotate: bool):
        mixtures = [
            Mixture(rotation @ mean, (rotation * spectrum) @ rotation.T) if rotate else Mixture(mean, spectrum)
            for mean, spectrum in zip(means, spectra, strict=True)
        ]
        sources = [Source(mixtures[1], 30), Source(mixtures[2], 50, epsilon=0.2, phi=0.8, rho=0.4, weight=1e4)]
        return predict(mixtures[0], sources, gamma=gamma)

    dense, diagonal = problem(rotate=True), problem(rotate=False)
    np.testing.assert_allclose(dense.deltas, diagonal.deltas, rtol=1e-7)
    np.testing.assert_allclose([dense.mean, dense.variance], [diagonal.mean, diagonal.variance], rtol=1e-7)


def test_the_solution_satisfies_the_equations_as_written():
    """A plain transcription of the theorem, with dense matrices and plain iteration, in an easy regime."""
    rng = np.random.default_rng(2414)
    p, gamma = 30, 0.5
    factors = rng.standard_normal((3, p, 2 * p)) / np.sqrt(2 * p)
    target, *others = (Mixture(rng.standard_normal(p) / 4, factor @ factor.T) for factor in factors)
    sources = [Source(others[0], 40), Source(others[1], 70, epsilon=0.3, phi=0.8, rho=0.5, weight=1.5)]
    prediction = predict(target, sources, gamma=gamma)

    total = 110
    pi, omega = np.array([40, 70]) / total, np.array([1, 1.5])
    alpha = np.array([1, 0.8 * 0.7 + 0.5 * 0.3])
    lam = np.array([1, 0.8 * 0.7 - 0.5 * 0.3])
    covs, means = np.array([m.cov for m in others]), np.array([m.mean for m in others])
    delta = np.ones(2)
    for _ in range(2000):
        r = np.linalg.inv(gamma * np.eye(p) + np.einsum("k,kij->ij", pi * omega * alpha / (1 + omega * delta), covs))
        delta = np.array([np.trace(c @ r) for c in covs]) / total
    g, b = pi * omega / (1 + omega * delta), pi * omega**2 / (1 + omega * delta) ** 2
    second = [a * (c + np.outer(mean, mean)) for a, c, mean in zip(alpha, covs, means, strict=True)]
    q = np.linalg.inv(gamma * np.eye(p) + sum(x * s for x, s in zip(g, second, strict=True)))
    w = q @ ((g * lam) @ means)
    coupling = np.array(
        [[b[j] * alpha[j] * np.trace(covs[k] @ r @ covs[j] @ r) / total for j in range(2)] for k in range(2)]
    )
    t = np.linalg.solve(np.eye(2) - coupling, [np.trace(c @ r @ target.cov @ r) / total for c in covs])
    residual = [alpha[k] - 2 * lam[k] * means[k] @ w + w @ second[k] @ w for k in range(2)]
    np.testing.assert_allclose(prediction.deltas, delta, rtol=1e-10)
    assert prediction.mean == pytest.approx(target.mean @ w, rel=1e-10)
    assert prediction.variance == pytest.approx(w @ target.cov @ w + np.sum(b * t * residual), rel=1e-10)


def test_m_matrix_solver_is_accurate_where_elimination_is_not():
    coupling = np.array([[0.0, 1.0], [1.0, 0.0]])
    for slack in (1e-3, 1e-12, 1e-20):
        x = resolvent.solve_m_matrix(coupling, np.array([slack, slack]), np.array([1.0, 1.0]))
        np.testing.assert_allclose(x, 1 / slack, rtol=1e-14)
    rng = np.random.default_rng(0)
    coupling, slack, right = rng.random((5, 5)), rng.random(5), rng.random(5)
    matrix = np.diag(slack + coupling.sum(axis=1)) - coupling
    np.testing.assert_allclose(matrix @ resolvent.solve_m_matrix(coupling, slack, right), right, rtol=1e-12)


def test_an_exhausted_solver_raises(monkeypatch):
    monkeypatch.setattr(resolvent, "MAX_ITERATIONS", 1)
    mixture = Mixture(np.ones(4), [1.0, 10.0, 100.0, 1000.0])
    with pytest.raises(
        ConvergenceError, match="fixed point not reached after 1 iterations: relative residual"
    ) as caught:
        predict(mixture, [Source(mixture, 4)], gamma=1e-6)
    assert caught.value.iterations == 1
    assert caught.value.residual > 1e-9


@settings(max_examples=100, deadline=None, derandomize=True)
@given(log_uniform(-8, 8), log_uniform(-8, 8), log_uniform(-6, 6))
def test_marchenko_pastur_trace_solves_its_equation(a, k, c):
    trace = float(mp.trace(a, k, c))
    assert trace * (a + k / (1 + k * c * trace)) == pytest.approx(1, rel=1e-9)


@pytest.mark.parametrize("c", [0.05, 0.5, 1.0, 3.0])
def test_marchenko_pastur_density_has_the_moments_and_traces(c):
    low, high = mp.support(c)
    # x = centre + half-width cos(t) removes the square-root ends.
    t = (np.arange(4000) + 0.5) * np.pi / 4000
    x = (low + high) / 2 + (high - low) / 2 * np.cos(t)
    mass = mp.density(x, c) * np.sin(t) * (high - low) / 2 * np.pi / 4000
    assert mass.sum() == pytest.approx(1 - mp.atom(c), abs=2e-3)
    assert (mass * x).sum() == pytest.approx(1, abs=1e-3)
    a, k = 0.3, 0.7
    assert (mass / (a + k * x)).sum() + mp.atom(c) / a == pytest.approx(float(mp.trace(a, k, c)), abs=5e-3)
    traces = mp.product_traces(a, k, c, mp.trace(a, k, c))
    assert (mass * x / (a + k * x) ** 2).sum() == pytest.approx(traces.r_cr, abs=1e-3)
    assert (mass * x**2 / (a + k * x) ** 2).sum() == pytest.approx(traces.cr_cr, abs=1e-3)
    assert (mass / (a + k * x) ** 2).sum() + mp.atom(c) / a**2 == pytest.approx(traces.r_r, abs=2e-2)


@pytest.mark.parametrize("generator", ["known_mean", "held_out"])
def test_general_theorem_given_a_fitted_generator_averages_to_the_closed_form(generator):
    """60 fitted generators at p = 200: mean of the general theorem against the closed form, which is off by O(1/p)."""
    rng = np.random.default_rng(2415)
    p, n, m, n_hat = 200, 300, 900, 400
    labels = dict(epsilon=0.2, phi=0.8, rho=0.4, weight=0.7)
    mean = np.eye(p)[0]
    real = Mixture(mean)
    accuracies = []
    for _ in range(60):
        u = mean + rng.standard_normal((n_hat, p))
        fitted = u.mean(axis=0) if generator == "held_out" else mean
        synthetic = Mixture(fitted, (u - fitted).T @ (u - fitted) / n_hat)
        accuracies.append(predict(real, [Source(real, n), Source(synthetic, m, **labels)], gamma=0.2).accuracy)
    closed = predict_isotropic(p=p, n=n, m=m, mu=1.0, gamma=0.2, n_hat=n_hat, generator=generator, **labels)
    error = np.std(accuracies, ddof=1) / np.sqrt(60)
    assert abs(np.mean(accuracies) - closed.accuracy) < 3 * error + 0.2 / p
    # The test tells the two generators apart.
    other = "held_out" if generator == "known_mean" else "known_mean"
    wrong = predict_isotropic(p=p, n=n, m=m, mu=1.0, gamma=0.2, n_hat=n_hat, generator=other, **labels)
    assert abs(np.mean(accuracies) - wrong.accuracy) > 6 * error + 0.4 / p
