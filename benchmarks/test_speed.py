"""Ratios of running times, each measured within one run; `make bench` prints them beside their targets."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest
from scipy.linalg import cholesky
from threadpoolctl import threadpool_limits

from rmt_lib import Mixture, Source, predict, predict_isotropic, simulate_isotropic

P = 400
SIMULATED = dict(p=P, n=800, n_hat=800, mu=0.7, gamma=0.1, epsilon=0.3, phi=0.9, rho=0.4)
ROWS: list[tuple[str, float, str, float]] = []


@pytest.fixture(scope="module", autouse=True)
def one_blas_thread():
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="module", autouse=True)
def table():
    yield
    print("\n\nratio                                                                measured     target")
    for what, ratio, sense, target in ROWS:
        print(f"{what:67s} {ratio:9.2f}   {sense:>2s} {target:g}")


def best_time(call: Callable[[], object], repeats: int) -> float:
    """Shortest of `repeats` times in seconds: what the call costs when nothing else disturbs it."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def check(what: str, ratio: float, sense: str, target: float) -> None:
    ROWS.append((what, ratio, sense, target))
    assert ratio >= target if sense == ">=" else ratio <= target, f"{what}: {ratio:.2f}, target {sense} {target:g}"


def covariance(rng: np.random.Generator) -> np.ndarray:
    factor = rng.standard_normal((P, 2 * P)) / np.sqrt(2 * P)
    return factor @ factor.T


def one_cholesky(rng: np.random.Generator) -> Callable[[], object]:
    matrix = covariance(rng) + np.eye(P)
    return lambda: cholesky(matrix, lower=True, check_finite=False)


def plain_loop(
    p: float, n: float, m: float, gamma: float, alpha: float, weight: float, c: float
) -> tuple[float, float]:
    """The fixed point of `predict_isotropic` by plain iteration, one setting at a time."""
    total = n + m
    ratio, real, synthetic = p / total, n / total, m / total
    delta_real = delta_synthetic = ratio / gamma
    for _ in range(100_000):
        k = alpha * synthetic * weight / (1 + weight * delta_synthetic)
        a = gamma + real / (1 + delta_real)
        linear = a + k * (1 - c)
        root = (linear * linear + 4 * a * k * c) ** 0.5
        trace = 2 / (linear + root) if linear > 0 else (root - linear) / (2 * a * k * c)
        new_real, new_synthetic = ratio * trace, ratio * trace / (1 + k * c * trace)
        change = max(abs(new_real / delta_real - 1), abs(new_synthetic / delta_synthetic - 1))
        delta_real, delta_synthetic = new_real, new_synthetic
        if change < 1e-10:
            break
    return delta_real, delta_synthetic


def test_isotropic_predictions_against_a_loop(benchmark):
    rng = np.random.default_rng(2410)
    size, looped = 100_000, 2_000
    n, m = 10 ** rng.uniform(0, 4, size), 10 ** rng.uniform(0, 4, size)
    gamma, weight = 10 ** rng.uniform(-6, 2, size), 10 ** rng.uniform(-2, 2, size)
    phi, n_hat = rng.uniform(0, 1, size), 10 ** rng.uniform(0, 4, size)
    setting = dict(p=100, n=n, m=m, mu=1.0, gamma=gamma, phi=phi, weight=weight, n_hat=n_hat)
    prediction = benchmark.pedantic(lambda: predict_isotropic(**setting), rounds=3)

    def loop():
        return [
            plain_loop(100, *row)
            for row in zip(*(x[:looped].tolist() for x in (n, m, gamma, phi, weight, 100 / n_hat)), strict=True)
        ]

    np.testing.assert_allclose(loop(), prediction.deltas[:looped], rtol=1e-6)
    ratio = (best_time(loop, 4) / looped) / (best_time(lambda: predict_isotropic(**setting), 15) / size)
    check("plain Python loop / predict_isotropic, per setting", ratio, ">=", 50)


def test_simulation_against_drawing_every_sample(benchmark):
    trials = 20
    ours = benchmark.pedantic(lambda: simulate_isotropic(**SIMULATED, m=16_000, trials=trials, seed=1), rounds=5)
    assert ours.mean.size == trials
    trial = best_time(lambda: simulate_isotropic(**SIMULATED, m=16_000, trials=trials, seed=1), 5) / trials
    samples = best_time(lambda: simulate_isotropic(**SIMULATED, m=16_000, trials=2, seed=1, method="samples"), 1) / 2
    many = best_time(lambda: simulate_isotropic(**SIMULATED, m=64 * 16_000, trials=trials, seed=1), 5) / trials
    rng = np.random.default_rng(0)
    factorise = one_cholesky(rng)
    floor = best_time(lambda: [(factorise(), rng.standard_normal(2 * P * P)) for _ in range(trials)], 5) / trials
    check("samples drawn / sufficient statistics, p = 400, m = 16,000", samples / trial, ">=", 20)
    check("trial / (one Cholesky + 2 p^2 normals)", trial / floor, "<=", 3.5)
    check("trial at 64 times the m / trial", many / trial, "<=", 1.2)


def further_settings(target: Mixture, real: Mixture, synthetic: Mixture, repeats: int) -> float:
    """Time of `predict` at a setting not seen before, covariances as before."""
    calls = iter(range(1, repeats + 2))

    def call():
        i = next(calls)
        sources = [Source(real, 300 + i), Source(synthetic, 2000 + 10 * i, epsilon=0.2, phi=0.8, rho=0.1 + 0.01 * i)]
        return predict(target, sources, gamma=0.1 + 0.01 * i)

    call()
    return best_time(call, repeats)


def test_prediction_at_known_covariances(benchmark):
    rng = np.random.default_rng(2411)
    mean = rng.standard_normal(P) / 20
    isotropic, one, other = Mixture(mean), Mixture(mean, covariance(rng)), Mixture(mean, covariance(rng))
    benchmark.pedantic(lambda: predict(isotropic, [Source(isotropic, 300), Source(one, 900)], gamma=0.1), rounds=20)
    unit = best_time(one_cholesky(rng), 50)
    check(
        "further setting, C = I and one full covariance / Cholesky",
        further_settings(isotropic, isotropic, one, 40) / unit,
        "<=",
        1,
    )
    check("two full covariances that do not commute / Cholesky", further_settings(one, one, other, 8) / unit, "<=", 60)
