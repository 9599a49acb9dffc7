"""The best weight of synthetic data: closed forms, limits, brute force, simulation, and what the chapter claims."""

import numpy as np
import pytest
from scipy.special import ndtr

from rmt_lib import Mixture, Source, predict, predict_isotropic, simulate_isotropic
from rmt_lib.topics.weights import (
    best_mix_isotropic,
    best_weight,
    best_weight_isotropic,
    break_even_balance,
    weight_at_infinite_gamma_isotropic,
)
from rmt_lib.topics.when_it_helps import (
    GAMMAS,
    best_gamma_isotropic,
    worth_in_real_samples,
    z_at_infinite_gamma_isotropic,
)

SETTING = dict(p=200, n=400, m=1600, mu=1.0, epsilon=0.3, n_hat=800, generator="held_out")


def score(**setting):
    prediction = predict_isotropic(**setting)
    return prediction.mean / np.sqrt(prediction.variance)


def random_setting(rng, *, noise=1.0):
    real = dict(p=rng.uniform(20, 500), n=rng.uniform(20, 1000), m=rng.uniform(20, 2000), mu=rng.uniform(0.2, 3))
    labels = dict(epsilon=noise * rng.random(), phi=rng.random(), rho=rng.random())
    return real, labels | dict(n_hat=10 ** rng.uniform(1, 4), generator=str(rng.choice(["known_mean", "held_out"])))


def balance(epsilon, phi=1.0, rho=1.0, **_):
    right, wrong = phi * (1 - epsilon), rho * epsilon
    return (right - wrong) / (right + wrong)


@pytest.mark.parametrize("generator", ["known_mean", "held_out"])
def test_large_penalty_weight_beats_a_scan_and_is_worth_what_it_says(generator):
    setting = SETTING | dict(phi=0.8, rho=0.5, generator=generator)
    labels = {name: value for name, value in setting.items() if name not in ("p", "n", "mu")}
    best = weight_at_infinite_gamma_isotropic(**labels)
    z = z_at_infinite_gamma_isotropic(**setting, weight=best.weight)
    scan = z_at_infinite_gamma_isotropic(**setting, weight=np.logspace(-3, 2, 3001))
    assert scan.max() <= z < scan.max() + 1e-6
    n_eff = SETTING["p"] * z**2 / (1 - z**2)  # mu = 1
    assert n_eff == pytest.approx(SETTING["n"] + best.worth, rel=1e-12)
    if generator == "held_out":
        assert best.worth < SETTING["n_hat"]
        assert best.weight == pytest.approx(balance(**setting) * (1 - best.worth / SETTING["n_hat"]))
        assert weight_at_infinite_gamma_isotropic(**labels | dict(m=1e9)).worth == pytest.approx(
            SETTING["n_hat"], rel=1e-5
        )


def test_a_weight_off_by_a_factor_follows_one_formula():
    n, worth = SETTING["n"], None
    labels = {name: value for name, value in SETTING.items() if name not in ("p", "n", "mu")}
    weight, worth = weight_at_infinite_gamma_isotropic(**labels)
    t = np.array([0.25, 0.5, 1, 2, 4, 1 / weight])
    z = z_at_infinite_gamma_isotropic(**SETTING, weight=t * weight)
    np.testing.assert_allclose(SETTING["p"] * z**2 / (1 - z**2), (n + t * worth) ** 2 / (n + t**2 * worth), rtol=1e-12)
    # Half the weight costs at most a quarter of the gain, twice the weight never more than the gain.
    ratio = np.logspace(-3, 3, 200)
    kept = ((1 + np.outer([0.5, 2], ratio)) ** 2 / (1 + np.outer([0.25, 4], ratio)) - 1) / ratio
    assert kept[0].min() >= 0.75 and kept[1].min() >= 0 and kept.max() <= 1


def test_the_data_is_left_out_where_it_has_nothing_to_say():
    assert weight_at_infinite_gamma_isotropic(m=100, epsilon=0.5) == (0, 0)
    assert weight_at_infinite_gamma_isotropic(m=100, epsilon=0.7, n_hat=50, generator="held_out") == (0, 0)
    assert weight_at_infinite_gamma_isotropic(m=100, epsilon=0.1, generator="reused") == (0, 0)
    assert weight_at_infinite_gamma_isotropic(m=0, epsilon=0.3) == (pytest.approx(0.4), 0)
    setting = dict(p=100, n=150, m=300, mu=1.0)
    alone = best_gamma_isotropic(**setting | dict(m=0))
    for labels in (
        dict(epsilon=0.6),
        dict(epsilon=0.1, generator="reused"),
        dict(epsilon=0.1, generator="reused", n_hat=50),
        dict(phi=0.0, rho=0.0),
    ):
        assert best_weight_isotropic(**setting, **labels) == (0.0, np.inf, alone.accuracy)
        fixed = best_weight_isotropic(**setting, **labels, gamma=0.8)
        # N counts what is drawn: the penalty on the real data is gamma N / n.
        assert fixed.weight == 0 and fixed.gamma == 0.8
        expected = predict_isotropic(**setting | dict(m=0), gamma=0.8 * 3).accuracy
        assert fixed.accuracy == pytest.approx(expected, rel=1e-12)
    assert best_weight_isotropic(**setting | dict(m=0), gamma=0.8).weight == 0
    assert best_weight_isotropic(**setting | dict(m=0)) == (0.0, np.inf, alone.accuracy)


def test_the_limit_of_small_weights_is_the_one_that_is_compared_with():
    setting = dict(p=100, n=150, m=300, mu=1.0, gamma=0.8, epsilon=0.6)
    assert score(**setting, weight=1e-9) == pytest.approx(score(p=100, n=150, m=0, mu=1.0, gamma=2.4), rel=1e-7)


def test_without_real_data_only_the_ratio_of_penalty_and_weight_matters():
    setting = dict(p=100, n=0, m=300, mu=1.0, n_hat=100, generator="held_out")
    best = best_gamma_isotropic(**setting)
    assert best_weight_isotropic(**setting) == (1.0, *best)
    fixed = best_weight_isotropic(**setting, gamma=3.0)
    assert fixed.weight == pytest.approx(3.0 / best.gamma) and fixed.accuracy == best.accuracy
    assert predict_isotropic(**setting, gamma=3.0, weight=fixed.weight).accuracy == pytest.approx(best.accuracy)
    assert best_weight_isotropic(p=100, n=0, m=300, mu=1.0, gamma=3.0).weight == 0  # the best penalty is infinite


def test_best_weight_at_a_penalty_beats_a_scan():
    rng = np.random.default_rng(2410)
    for _ in range(8):
        real, labels = random_setting(rng)
        gamma = 10 ** rng.uniform(-2, 2)
        best = best_weight_isotropic(**real, **labels, gamma=gamma)
        scan = score(**real, **labels, gamma=gamma, weight=np.logspace(-8, 6, 3000))
        assert best.accuracy >= ndtr(scan.max()) - 1e-9
        if best.weight > 0:
            z = score(**real, **labels, gamma=gamma, weight=best.weight)
            assert best.accuracy == pytest.approx(ndtr(z), rel=1e-12)


def test_weight_and_penalty_together_beat_a_scan_and_weight_one():
    rng = np.random.default_rng(2411)
    for _ in range(4):
        real, labels = random_setting(rng, noise=0.5)
        best = best_weight_isotropic(**real, **labels)
        scan = score(**real, **labels, gamma=np.logspace(-4, 6, 120)[:, None], weight=np.logspace(-4, 4, 120))
        assert best.accuracy >= ndtr(scan.max()) - 1e-9
        assert best.accuracy >= best_gamma_isotropic(**real, **labels).accuracy - 1e-12


@pytest.mark.parametrize("generator", ["known_mean", "held_out"])
def test_the_penalty_is_finite_by_the_condition(generator):
    finite = []
    for epsilon in (0.0, 0.02, 0.1):
        for n_hat in (1600, 200):
            setting = SETTING | dict(epsilon=epsilon, n_hat=n_hat, generator=generator)
            beta = balance(epsilon)
            weight, worth = weight_at_infinite_gamma_isotropic(
                m=1600, epsilon=epsilon, n_hat=n_hat, generator=generator
            )
            wrong = 1 - beta**2 if generator == "known_mean" else beta**-2 - 1
            finite.append(200 / n_hat * worth > wrong * (400 + worth))
            best = best_weight_isotropic(**setting)
            assert np.isfinite(best.gamma) == finite[-1]
            assert finite[-1] or best.weight == weight
    assert 3 <= sum(finite) <= 5


def test_a_perfect_generator_wants_the_balance_and_no_finite_penalty():
    for epsilon, rho in ((0.0, 1.0), (0.3, 1.0), (0.4, 0.2)):
        best = best_weight_isotropic(p=100, n=150, m=300, mu=1.3, epsilon=epsilon, rho=rho)
        assert best.weight == pytest.approx(balance(epsilon, rho=rho)) and best.gamma == np.inf


def test_sources_that_know_the_population_add_their_worth():
    """Three perfect sources: no weights and penalty beat weights lambda / alpha at an infinite penalty."""
    rng = np.random.default_rng(2413)
    target = Mixture(np.eye(60)[0] * 1.2)
    labels = [dict(epsilon=0.0), dict(epsilon=0.2), dict(epsilon=0.4, phi=0.9, rho=0.5)]
    counts = (70, 90, 150)
    plain = [Source(target, n, **label) for n, label in zip(counts, labels, strict=True)]
    worth = sum(source.n * source.lam**2 / source.alpha for source in plain)
    bound = ndtr(1.44 / np.sqrt(1.44 + 60 / worth))
    weighted = [
        Source(target, n, **label, weight=source.lam / source.alpha)
        for n, label, source in zip(counts, labels, plain, strict=True)
    ]
    assert predict(target, weighted, gamma=1e7).accuracy == pytest.approx(bound, rel=1e-6)
    for _ in range(60):
        weights, gamma = 10 ** rng.uniform(-2, 1, 3), 10 ** rng.uniform(-3, 3)
        mix = [
            Source(target, n, **label, weight=weight) for n, label, weight in zip(counts, labels, weights, strict=True)
        ]
        assert predict(target, mix, gamma=gamma).accuracy < bound


def test_a_small_weight_helps_above_the_break_even_balance():
    """The sign of dz / d omega at 0, and: exactly there is the best weight positive (ours, observed)."""
    rng = np.random.default_rng(2414)
    for _ in range(25):
        real, labels = random_setting(rng)
        gamma, beta = 10 ** rng.uniform(-2, 2), balance(**labels)
        threshold = break_even_balance(**real, gamma=gamma)
        if abs(beta - threshold) < 1e-3:
            continue
        step = 1e-5 * real["n"] / real["m"] * min(1, gamma)
        z = score(**real, **labels, gamma=gamma, weight=step * np.array([1, 2]))
        total = real["n"] + real["m"]
        zero = score(**real | dict(m=0), gamma=gamma * total / real["n"])
        assert np.sign(4 * z[0] - z[1] - 3 * zero) == np.sign(beta - threshold)
        assert (best_weight_isotropic(**real, **labels, gamma=gamma).weight > 0) == (beta > threshold)


def test_break_even_balance_limits():
    real = dict(p=200, n=400, m=400, mu=1.0)
    gamma = np.logspace(-2, 4, 7)
    values = break_even_balance(**real, gamma=gamma)
    mean = predict_isotropic(**real | dict(m=0), gamma=2 * gamma).mean
    assert (values < mean).all() and 0 < values[-1] < 1e-4
    # Without a penalty even labels that say nothing help: the synthetic data acts as one.
    assert break_even_balance(p=100, n=300, m=50, mu=1.7, gamma=1e-9) == pytest.approx(-100 / (300 - 100), rel=1e-6)


@pytest.mark.parametrize("generator", ["known_mean", "held_out", "reused"])
def test_more_draws_at_a_smaller_weight_keep_the_mean_and_reduce_the_variance(generator):
    setting = dict(p=200, n=300, mu=1.1, epsilon=0.3, phi=0.8, rho=0.5, generator=generator)
    setting |= {} if generator == "reused" else dict(n_hat=250)
    few = predict_isotropic(**setting, m=500, gamma=0.7, weight=1.4)
    delta = few.deltas[1]
    share = 500 * 1.4 / (1 + 1.4 * delta)
    many = predict_isotropic(**setting, m=2000, gamma=0.7 * 800 / 2300, weight=share / (2000 - share * delta))
    np.testing.assert_allclose(many.deltas, few.deltas, rtol=1e-10)
    assert many.mean == pytest.approx(few.mean, rel=1e-10) and many.variance < few.variance


def test_the_best_mix_draws_all_or_nothing():
    real = {name: value for name, value in SETTING.items() if name != "m"}
    mix = best_mix_isotropic(m_max=1000, **real)
    assert mix.m == 1000 and mix[1:] == best_weight_isotropic(**real, m=1000)
    grid = score(
        **real,
        m=np.linspace(0, 1000, 11)[:, None, None],
        gamma=np.logspace(-3, 5, 33)[:, None],
        weight=np.logspace(-3, 1, 41),
    )
    assert ndtr(grid.max()) <= mix.accuracy < ndtr(grid.max()) + 1e-3
    few = [best_mix_isotropic(m_max=m, **real).accuracy for m in (0, 10, 100, 1000, 1e5)]
    assert (np.diff(few) > 0).all()
    # At weight 1 and this noise the first samples do harm.
    assert best_gamma_isotropic(**real, m=10).accuracy < few[0]
    assert best_mix_isotropic(m_max=1000, **real | dict(epsilon=0.6)) == (0.0, 0.0, np.inf, few[0])
    for nothing in (dict(epsilon=0.6), dict(epsilon=0.5), dict(phi=0.0, rho=0.0)):
        assert best_mix_isotropic(m_max=1000, p=100, n=0, mu=1.0, **nothing) == (0.0, 0.0, np.inf, 0.5)
    assert best_mix_isotropic(m_max=1000, p=100, n=0, mu=1.0, epsilon=0.3).m == 1000


def test_share_of_the_verifier_that_weighting_buys():
    n, m, epsilon = 1000, np.array([1e-3, 500, 4000]), 0.3
    common = dict(p=500, n=n, mu=1.0, gamma=None)
    gains = []
    for amount in m:
        weight = weight_at_infinite_gamma_isotropic(m=amount, epsilon=epsilon).weight
        options = (dict(epsilon=epsilon), dict(epsilon=epsilon, weight=weight), dict(epsilon=epsilon, rho=0.0))
        gains.append([worth_in_real_samples(**common, m=amount, **option) for option in options])
    none, weighted, oracle = np.transpose(gains)
    x = n / (n + m)
    np.testing.assert_allclose(
        (weighted - none) / (oracle - none), 4 * epsilon * x / (3 - 4 * epsilon * (1 - x)), rtol=1e-4
    )
    np.testing.assert_allclose(weighted[1:] - none[1:], 4 * epsilon**2 * n * m[1:] / (n + m[1:]), rtol=1e-9)


def test_theory_at_the_best_weight_is_what_simulation_measures():
    """150 trials, p = 100: SE about 0.0005; the O(1/p) bias is below that."""
    setting = dict(p=100, n=200, m=800, mu=1.0, epsilon=0.3, n_hat=200, generator="held_out", gamma=1.0)
    best = best_weight_isotropic(**setting)
    measured = []
    for factor in (0.25, 1.0, 4.0):
        runs = simulate_isotropic(**setting, weight=factor * best.weight, trials=150, seed=2410)
        value, error = runs.estimate("accuracy")
        theory = predict_isotropic(**setting, weight=factor * best.weight).accuracy
        assert abs(value - theory) < 3.5 * error + 1e-3
        measured.append(value)
    assert measured[1] == max(measured)


def test_one_source_among_others_agrees_with_the_isotropic_setting():
    target = Mixture(np.eye(20)[0])
    sources = [Source(target, 100), Source(target, 300, epsilon=0.3)]
    setting = dict(p=20, n=100, m=300, mu=1.0, epsilon=0.3)
    fixed, expected = best_weight(target, sources, 1, gamma=0.5), best_weight_isotropic(**setting, gamma=0.5)
    assert fixed.weight == pytest.approx(expected.weight, rel=1e-4)
    assert fixed.accuracy == pytest.approx(expected.accuracy, rel=1e-10)
    both = best_weight(target, sources, 1)
    assert both == (pytest.approx(0.4), np.inf, pytest.approx(best_weight_isotropic(**setting).accuracy))


def test_one_source_among_others_with_structure_beats_a_scan():
    p = 10
    direction = np.random.default_rng(2415).standard_normal(p)
    structured = Mixture(
        direction / np.linalg.norm(direction), 0.7 ** np.abs(np.subtract.outer(np.arange(p), np.arange(p)))
    )
    sources = [Source(structured, 60), Source(structured, 90, epsilon=0.2)]
    best = best_weight(structured, sources, 1)
    scan = max(
        predict(structured, [sources[0], Source(structured, 90, epsilon=0.2, weight=weight)], gamma=gamma).accuracy
        for weight in np.logspace(-2, 1, 16)
        for gamma in np.logspace(-3, 1, 17)
    )
    assert scan <= best.accuracy < scan + 1e-3
    assert best.weight < 0.6  # the balance, which is best at a large penalty
    flipped = [sources[0], Source(structured, 90, epsilon=0.7)]
    alone = best_weight(structured, flipped, 1)
    assert alone.weight == 0
    real = predict(structured, flipped[:1], gamma=alone.gamma * 150 / 60).accuracy
    assert alone.accuracy == pytest.approx(real, rel=1e-9)
    assert best_weight(structured, flipped, 1, gamma=10.0).weight == 0
    assert best_weight(structured, [sources[0], Source(structured, 0)], 1).weight == 0


def test_a_weight_that_would_grow_without_bound_stops_at_the_end_of_the_search():
    best = best_weight_isotropic(p=200, n=400, m=1600, mu=1.0, epsilon=0.4, n_hat=25)
    assert best.weight == pytest.approx(GAMMAS[1], rel=0.01)


def test_bad_input():
    with pytest.raises(TypeError, match="best_weight_isotropic chooses weight"):
        best_weight_isotropic(**SETTING, weight=1.0)
    with pytest.raises(ValueError, match="gamma must be > 0 and finite, got -1"):
        best_weight_isotropic(**SETTING, gamma=-1.0)
    with pytest.raises(ValueError, match=r"epsilon must be in \[0, 1\], got 2"):
        best_weight_isotropic(**SETTING | dict(epsilon=2.0))
    with pytest.raises(TypeError, match="epsilon must be a single value"):
        best_weight_isotropic(**SETTING | dict(epsilon=[0.1, 0.2]))
    for name in ("m", "gamma"):
        with pytest.raises(TypeError, match=f"best_mix_isotropic chooses {name}"):
            best_mix_isotropic(m_max=10, p=10, n=10, mu=1.0, **{name: 1.0})
    with pytest.raises(ValueError, match="m_max must be >= 0 and finite, got -1"):
        best_mix_isotropic(m_max=-1, p=10, n=10, mu=1.0)
    for name in ("n", "mu", "gamma"):
        with pytest.raises(ValueError, match=f"{name} must be > 0 and finite, got 0"):
            break_even_balance(**dict(p=10, n=10, m=10, mu=1.0, gamma=1.0) | {name: 0.0})
    target = Mixture(np.eye(5)[0])
    sources = [Source(target, 10), Source(target, 10)]
    with pytest.raises(ValueError, match=r"index must be in \[0, 1\], got 2"):
        best_weight(target, sources, 2)
    with pytest.raises(TypeError, match="index must be an int"):
        best_weight(target, sources, 1.0)
    with pytest.raises(ValueError, match="sources must hold samples besides"):
        best_weight(target, [Source(target, 0), sources[1]], 1)
