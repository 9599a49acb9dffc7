"""Theory against simulation over random settings, and the finite-size bias."""

import numpy as np
import pytest

from rmt_lib import Mixture, Source, predict, predict_isotropic, simulate, simulate_isotropic

QUANTITIES = ("mean", "variance", "accuracy")
TRIALS = 40
P = 300


def random_verifier(rng):
    return dict(
        epsilon=rng.uniform(0, 0.5), phi=rng.uniform(0.3, 1), rho=rng.uniform(0, 1), weight=10 ** rng.uniform(-0.7, 0.7)
    )


def isotropic_setting(rng, generator):
    setting = dict(
        p=P, n=int(P / 10 ** rng.uniform(-0.7, 0.7)), m=int(P / 10 ** rng.uniform(-1, 0.7)), mu=rng.uniform(0.5, 2),
        gamma=10 ** rng.uniform(-1.5, 1), generator=generator, **random_verifier(rng),
    )  # fmt: skip
    if generator != "reused":
        setting["n_hat"] = int(P / 10 ** rng.uniform(-0.7, 0.7))
    return predict_isotropic(**setting), simulate_isotropic(**setting, trials=TRIALS, seed=rng)


def general_setting(rng, size):
    p = 200

    def mixture(mean):
        kind = rng.integers(3)
        cov = 10 ** rng.uniform(-0.5, 0.5)
        if kind == 1:
            cov = rng.uniform(0.2, 2, p)
        elif kind == 2:
            factor = rng.standard_normal((p, 2 * p)) / np.sqrt(2 * p)
            cov = factor @ factor.T
        return Mixture(mean, cov)

    mean = rng.uniform(0.5, 2) * np.eye(p)[0]
    sources = [
        Source(
            mixture(mean + 0.3 * rng.standard_normal(p) / np.sqrt(p)), int(p / 10 ** rng.uniform(-0.7, 0.7)), **noise
        )
        for noise in [{}] + [random_verifier(rng) for _ in range(size - 1)]
    ]
    target, gamma = mixture(mean), 10 ** rng.uniform(-1.5, 1)
    return predict(target, sources, gamma=gamma), simulate(target, sources, gamma=gamma, trials=TRIALS, seed=rng)


def test_random_settings(capsys):
    """z = (simulation - theory) / standard error in 66 settings: 3 generators, and K = 1, 2, 3 general sources.

    Were the theory exact at finite p, z would follow Student's t with 39 degrees of freedom: root mean square 1.03. The
    bias, about .1 / p in accuracy (next test), adds a fifth of a standard error at these p and trials.
    """
    rng = np.random.default_rng(2410)
    pairs = {}
    for i in range(12):
        for generator in ("known_mean", "held_out", "reused"):
            pairs[generator, i] = isotropic_setting(rng, generator)
    for i in range(10):
        for size in (1, 2, 3):
            pairs[f"K = {size}", i] = general_setting(rng, size)
    z = np.array(
        [
            [
                (simulation.estimate(q).value - getattr(theory, q)) / simulation.estimate(q).standard_error
                for q in QUANTITIES
            ]
            for theory, simulation in pairs.values()
        ]
    )
    with capsys.disabled():
        print(f"\n{len(pairs)} settings, {TRIALS} trials each: z of simulation against theory")
        for name, column in zip(QUANTITIES, z.T, strict=True):
            quantiles = np.quantile(column, [0.05, 0.25, 0.5, 0.75, 0.95])
            print(f"  {name:9s} rms {np.sqrt(np.mean(column**2)):.2f}  quantiles {np.round(quantiles, 1)}"
                  f"  |z| > 3: {np.mean(np.abs(column) > 3):.0%}")  # fmt: skip
    assert len(pairs) >= 60
    assert (np.sqrt(np.mean(z**2, axis=0)) < 1.4).all()
    assert (np.mean(np.abs(z) > 3, axis=0) < 0.05).all()
    assert np.abs(z).max() < 5


@pytest.mark.parametrize("generator", ["known_mean", "reused"])
def test_bias_shrinks_as_one_over_p(generator, capsys):
    """Simulation minus theory at fixed ratios, p = 50 ... 800: a weighted fit of a / p + b must have b = 0."""
    p = np.array([50, 100, 200, 400, 800])
    trials = [8000, 4000, 2000, 600, 120]
    bias, errors = [], []
    for size, repeats in zip(p, trials, strict=True):
        setting = dict(
            p=int(size),
            n=int(size),
            m=int(2 * size),
            mu=1.0,
            gamma=0.1,
            epsilon=0.2,
            phi=0.8,
            rho=0.4,
            generator=generator,
        )
        if generator != "reused":
            setting["n_hat"] = int(2 * size)
        estimate = simulate_isotropic(**setting, trials=repeats, seed=2410).estimate("accuracy")
        bias.append(estimate.value - predict_isotropic(**setting).accuracy)
        errors.append(estimate.standard_error)
    design = np.column_stack([1 / p, np.ones(p.size)]) / np.array(errors)[:, None]
    covariance = np.linalg.inv(design.T @ design)
    slope, limit = covariance @ design.T @ (np.array(bias) / errors)
    slope_error, limit_error = np.sqrt(np.diag(covariance))
    with capsys.disabled():
        print(
            f"\n{generator}: accuracy bias = ({slope:.3f} +- {slope_error:.3f}) / p"
            f" + ({limit:.5f} +- {limit_error:.5f})"
        )
        for row in zip(p, trials, bias, errors, strict=True):
            print("  p = {:4d}, {:5d} trials: bias {:+.5f} +- {:.5f}".format(*row))
    assert abs(slope) > 3 * slope_error
    assert abs(limit) < 3 * limit_error
