"""Where functions used to answer wrongly, silently or never: extreme sizes, other units, thin slices, huge intercepts.

Right values come from explicit formulas in higher precision or from samples, as each test says.
"""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scipy.special import ndtr
from threadpoolctl import ThreadpoolController

from rmt_lib import (
    ConvergenceError,
    Mixture,
    Population,
    Source,
    predict,
    predict_fitted,
    predict_isotropic,
    simulate,
    simulate_isotropic,
)
from rmt_lib.datasets import digits
from rmt_lib.figures.explore import Slider
from rmt_lib.topics.deliberate_practice import band, best_student, hard_margin, student_cosine
from rmt_lib.topics.generations import expected_moments, predict_generations, support
from rmt_lib.topics.many_classes import class_sources, predict_classes, simplex, win_chances
from rmt_lib.topics.scaling_laws import best_ridge
from rmt_lib.topics.unequal_classes import (
    ClassScores,
    TwoClasses,
    balancing_weights,
    predict_class_generators,
    predict_two_classes,
)
from rmt_lib.topics.weights import best_weight, best_weight_isotropic
from rmt_lib.topics.when_it_helps import best_gamma, break_even_noise, first_sample_values

AXIS = np.eye(30)[0]


def test_a_random_rule_is_refused_and_not_refined_for_ever():
    rng = np.random.default_rng(1)
    for directions in (AXIS, np.eye(30)[:, :2]):
        source = Source(Mixture(AXIS), 10, directions=directions, keep=lambda z: rng.random(z.shape[:-1]))
        with pytest.raises(ConvergenceError, match="integral over keep and flip not reached"):
            source.alpha  # noqa: B018


def test_a_verifier_may_ask_for_the_sign_in_any_way():
    def positional(z, sign):
        return np.where(sign > 0, 0.9, 0.2) + 0 * z[..., 0]

    def by_default(z, sign=1):
        return positional(z, sign)

    def by_name(z, *, sign):
        return positional(z, sign)

    for keep in (positional, by_default, by_name):
        source = Source(Mixture(AXIS), 10, epsilon=0.3, directions=AXIS, keep=keep)
        assert source.kept_right == pytest.approx(0.7 * 0.9) and source.kept_wrong == pytest.approx(0.3 * 0.2)
    threshold = Source(Mixture(AXIS), 10, directions=AXIS, keep=lambda z, least=1.0: z[..., 0] > least)
    assert threshold.alpha == pytest.approx(0.5)


def test_a_circle_of_kept_samples_has_its_known_share():
    """P(|z|^2 < r^2) of two standard normal coordinates is 1 - exp(-r^2 / 2)."""
    source = Source(Mixture(np.zeros(3)), 10, directions=np.eye(3)[:, :2], keep=lambda z: (z**2).sum(axis=-1) < 1.5)
    assert source.alpha == pytest.approx(1 - np.exp(-0.75), abs=2e-7)


def test_directions_are_refused_where_the_generator_has_none():
    world = TwoClasses(Mixture(AXIS), Mixture(-AXIS))
    looking = Source(world.signed[0], 60, directions=AXIS, keep=lambda z: z[..., 0] > 0)
    with pytest.raises(ValueError, match="directions must not be given"):
        predict_class_generators(world, [looking], [(world.sources(50, 50)[1], 100)], gamma=0.1)


@pytest.mark.parametrize("intercept, gamma", [(10.0, 0.1), (1e5, 1e-6), (1e8, 1e-3), (1e16, 1.0), (1e40, 1e-4)])
def test_a_huge_intercept_is_a_free_one(intercept, gamma):
    """Both functions, for perfect generators; beyond A = 1e5 sqrt(gamma) the limit is that of a free intercept."""

    def scores(scale):
        world = TwoClasses(Mixture(AXIS), Mixture(-0.5 * AXIS), intercept=scale)
        real, (plus, minus) = world.sources(40, 90), world.sources(100, 50)
        direct = predict_two_classes(world, [*real, plus, minus], gamma=gamma)
        return direct, predict_class_generators(world, real, [(plus, np.inf), (minus, np.inf)], gamma=gamma)

    direct, generators = scores(intercept)
    np.testing.assert_allclose(direct.mean, generators.mean, atol=1e-6)
    np.testing.assert_allclose(direct.variance, generators.variance, rtol=1e-5)
    if intercept**2 > 1e8 * gamma:
        free, _ = scores(3e4 * gamma**0.5)
        np.testing.assert_allclose(direct.mean, free.mean, atol=1e-6)


def test_one_intercept_for_all():
    world, other = (TwoClasses(Mixture(AXIS), Mixture(-AXIS), intercept=scale) for scale in (10.0, 20.0))
    with pytest.raises(ValueError, match="intercept must be that of target, 10, in all sources, got 20"):
        predict_two_classes(world, other.sources(50, 50), gamma=1.0)
    with pytest.raises(TypeError, match="target must be a TwoClasses"):
        predict_two_classes(Mixture(AXIS), world.sources(5, 5), gamma=1.0)
    with pytest.raises(ValueError, match="n_plus must be >= 0"):
        world.sources(np.nan, 40)


def test_many_classes_with_a_huge_intercept():
    classes = simplex(30, 3, 1.0)
    sources = class_sources(classes, 50, epsilon=0.2)
    far, near = (predict_classes(classes, sources, gamma=0.1, intercept=scale).overall for scale in (1e30, 1e4))
    assert far == pytest.approx(near, abs=1e-6)


@pytest.mark.parametrize("agreement", [0.0, 0.5, 0.9, 0.999, 1.0, -0.7])
@pytest.mark.parametrize("low, high", [(0.0, 1e-5), (0.0, 1e-3), (1.0, 1.0001), (4.0, np.inf), (0.5, 0.55)])
def test_thin_bands(low, high, agreement):
    """Against adaptive quadrature of the densities, in units of the share kept."""
    from scipy.integrate import quad

    sine = np.sqrt(1 - agreement**2)
    top = min(high, low + 9)
    points = [x for x in (8 * sine, sine) if low < x < top] or None

    def moment(function):
        return quad(function, low, top, epsabs=0, epsrel=1e-12, limit=200, points=points)[0]

    def density(z):
        return 2 * np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)

    def pull(z):
        return np.sign(agreement) if sine == 0 else 2 * ndtr(agreement * z / sine) - 1

    found = band(low, high, agreement=agreement)
    share = moment(density)
    assert found.share == pytest.approx(share, rel=1e-8)
    assert found.spread == pytest.approx(moment(lambda z: z**2 * density(z)) / share, rel=1e-8)
    assert found.along == pytest.approx(moment(lambda z: z * pull(z) * density(z)) / share, rel=1e-8)


def test_a_thin_slice_is_learned():
    cosine = student_cosine(theta=0.25, gamma_kept=1e-15, high=hard_margin(1e-6), pruner=0.99)
    assert cosine == pytest.approx(0.998103, abs=1e-5)
    best = best_student(theta=[0.1, 3.0], high=hard_margin(0.2), balance=[1.0, -0.5])
    assert ((best.gamma_kept >= 1e-14) & (best.gamma_kept <= 1e6)).all()


@pytest.mark.parametrize(
    "ratios", [[2.0, 1.9998], [1.00001], [1.0 + 1e-12], [0.5, 0.5], [3.0, 3.0], [1.0], [1e-8], [1e6]]
)
def test_edges_of_close_ratios(ratios):
    low, high = support(ratios)
    assert 0 <= low < high
    if len(ratios) == 1:
        # To rounding of 1 - sqrt c.
        assert low == pytest.approx((1 - np.sqrt(ratios[0])) ** 2, rel=1e-6, abs=1e-20)
        assert high == pytest.approx((1 + np.sqrt(ratios[0])) ** 2, rel=1e-10)


def test_balancing_weights_at_tiny_penalties():
    world = TwoClasses(Mixture(np.eye(60)[0]), Mixture(-np.eye(60)[0]))
    plus, minus = balancing_weights(world, 10, 1000, gamma=1e-9)
    assert plus == pytest.approx(101, rel=1e-6) and minus == pytest.approx(2.55e-10, rel=0.01)


@pytest.mark.parametrize(
    "mean, variance, share",
    [([-1.36, 1.22], [900.0**2, 1.0], 0.65), ([1, 1], [1, 1], 0.3), ([0.5, 2], [4, 0.01], 0.9), ([1, 1], [1, 2], 1.0)],
)
def test_the_best_offset_is_the_best(mean, variance, share):
    scores = ClassScores(np.array(mean, float), np.array(variance, float))
    found = scores.shifted(scores.best_offset(share)).overall(share)
    reach = 14 * np.sqrt(max(variance))
    scan = max(
        scores.shifted(x).overall(share) for x in np.r_[np.linspace(-reach, reach, 4001), np.linspace(-5, 5, 4001)]
    )
    assert found >= scan - 1e-9


def test_win_chances_say_what_is_wrong():
    with pytest.raises(ValueError, match="mean must be finite, got nan"):
        win_chances(np.array([np.nan, 0.0]), np.eye(2), 0)
    with pytest.raises(ValueError, match="covariance must be positive semi-definite"):
        win_chances(np.zeros(3), np.array([[1.0, 2, 0], [2, 1, 0], [0, 0, 1]]), 0)
    with pytest.raises(ValueError, match=r"winner must be in \[0, 1\], got -1"):
        win_chances(np.zeros(2), np.eye(2), -1)
    tiny = win_chances(1e-14 * np.array([1.0, 0, 0]), np.zeros((3, 3)), 0)
    assert tiny == pytest.approx(1.0), "without spread the largest mean wins, whatever its unit"
    assert win_chances(np.zeros(3), np.zeros((3, 3)), 0) == pytest.approx(1 / 3, abs=1e-4)


def test_generations_near_interpolation_and_at_extreme_penalties():
    world = Mixture(np.full(50, 0.2))
    found = predict_generations(world, 3, n=50, m=0, gamma=1e-7, n_hat=100).accuracy
    assert found == pytest.approx(predict(world, [Source(world, 50)], gamma=1e-7).accuracy, rel=1e-8)
    with pytest.raises(ValueError, match="gamma must be from 1e-100 to 1e.100 in size"):
        predict_generations(world, 3, n=50, m=10, gamma=1e150, n_hat=100)


def test_the_spread_of_many_generations_is_not_lost():
    """Two samples a round: each halves the spread, to 2^-60 of the first after sixty."""
    spread = expected_moments(2.0, 1.0, 60, n_hat=2).spread[-1]
    assert spread == pytest.approx(2.0 * 0.5**60, rel=1e-9)
    mixed = expected_moments(2.0, 1.0, 5, n_hat=20, regime="fresh", share=0.3, balance=0.4)
    np.testing.assert_allclose(mixed.spread + mixed.square, 3.0, rtol=1e-12)


def test_nothing_kept_is_a_coin_flip():
    limit = predict_fitted(Mixture(AXIS), n=0, m=50, gamma=0.1, phi=0, rho=0)
    assert limit.accuracy == 0.5 and limit.variance == 0
    assert simulate(
        Mixture(AXIS), [Source(Mixture(AXIS), 50, phi=0, rho=0)], gamma=0.1, trials=2, seed=1
    ).mean.tolist() == [0, 0]


def test_simulation_prints_nothing(capfd):
    """LAPACK used to complain on standard output where a source keeps nothing."""
    sources = [Source(Mixture(AXIS), 50), Source(Mixture(AXIS), 20, phi=0, rho=0)]
    for method in ("sufficient", "samples"):
        simulate(Mixture(AXIS), sources, gamma=0.1, trials=2, seed=1, method=method)
    assert capfd.readouterr().out == ""


def test_a_score_without_variance_is_always_right():
    assert predict(Mixture(AXIS, 0.0), [Source(Mixture(AXIS), 50)], gamma=0.1).z == np.inf
    assert best_gamma(Mixture(AXIS, 0.0), [Source(Mixture(AXIS), 50)]).accuracy == 1.0


@pytest.mark.parametrize("weight", [0.0, 1e-60])
def test_a_weight_of_zero_leaves_the_data_out(weight):
    alone = predict_isotropic(p=30, n=50, m=0, mu=1.0, gamma=0.1 * 150 / 50)
    for generator in ("known_mean", "held_out", "reused"):
        mixed = predict_isotropic(p=30, n=50, m=100, mu=1.0, gamma=0.1, weight=weight, generator=generator)
        assert mixed.accuracy == pytest.approx(alone.accuracy, rel=1e-9)
        fitted = predict_fitted(Mixture(AXIS), n=50, m=100, gamma=0.1, weight=weight, generator=generator)
        assert fitted.accuracy == pytest.approx(alone.accuracy, rel=1e-9)
    given = predict(Mixture(AXIS), [Source(Mixture(AXIS), 50), Source(Mixture(AXIS), 100, weight=weight)], gamma=0.1)
    assert given.accuracy == pytest.approx(alone.accuracy, rel=1e-9)
    drawn = simulate_isotropic(p=30, n=50, m=100, mu=1.0, gamma=0.1, weight=weight, trials=2, seed=1)
    assert np.isfinite(drawn.accuracy).all()


def test_threads_leave_blas_as_it_was():
    def threads():
        return [pool["num_threads"] for pool in ThreadpoolController().info() if pool["user_api"] == "blas"]

    def run(seed):
        return simulate(Mixture(AXIS), [Source(Mixture(AXIS), 50)], gamma=0.1, trials=8, seed=seed).mean.tolist()

    before = threads()
    with ThreadPoolExecutor(4) as executor:
        found = list(executor.map(run, range(12)))
    assert threads() == before
    assert found == [run(seed) for seed in range(12)]


def test_an_ill_conditioned_simulation_is_refused():
    target = Mixture(np.eye(60)[0])
    with pytest.raises(ValueError, match="gamma must be large enough for the training matrix to be well conditioned"):
        simulate(target, [Source(target, 30)], gamma=1e-15, trials=2, seed=1)


def test_break_even_at_p_equal_to_n():
    """At eta = 1 and a vanishing penalty; the values are those of 50-digit arithmetic."""
    assert break_even_noise(p=10, n=10, mu=1, gamma=1e-16) == pytest.approx(0.09375, rel=1e-6)
    values = first_sample_values(p=10, n=10, mu=1.0, gamma=1e-16)
    near = first_sample_values(p=10, n=10, mu=1.0, gamma=1e-8)
    # Every value is proportional to z, which falls with the fourth root of gamma.
    assert values.right / near.right == pytest.approx(1e-8**0.25, rel=1e-3)


@pytest.mark.parametrize("scale", [1e-9, 1e-4, 1.0, 1e9])
def test_the_unit_of_the_features_does_not_matter(scale):
    rng = np.random.default_rng(2410)
    cov = rng.standard_normal((20, 40))
    cov = cov @ cov.T / 40
    mean, other = rng.standard_normal((2, 20)) / 4
    real, generated = (Mixture(scale * m, scale**2 * c) for m, c in ((mean, cov), (other, 0.5 * cov)))
    unit_real, unit_generated = Mixture(mean, cov), Mixture(other, 0.5 * cov)

    def results(real, generated, square):
        sources = [Source(real, 40), Source(generated, 100, epsilon=0.2)]
        gamma = 0.1 * square
        best = best_gamma(real, sources)
        weight = best_weight(real, sources, 1, gamma=gamma)
        ridge = best_ridge(real, n=40, m=100, epsilon=0.2)
        return [
            predict(real, sources, gamma=gamma).accuracy,
            simulate(real, sources, gamma=gamma, trials=3, seed=1).accuracy.mean(),
            predict_fitted(real, n=40, m=100, gamma=gamma, n_hat=50, generator="held_out").accuracy,
            predict_generations(real, 3, n=40, m=100, gamma=gamma, n_hat=50).accuracy,
            best.accuracy, best.gamma / square, weight.accuracy, weight.weight, ridge.z, ridge.ridge / square,
        ]  # fmt: skip

    np.testing.assert_allclose(results(real, generated, scale**2), results(unit_real, unit_generated, 1.0), rtol=1e-5)


def test_the_best_penalty_in_a_large_unit():
    target = Mixture(np.sqrt(1e9) * np.ones(2), 1e9 * np.array([1.0, 4.0]))
    best = best_gamma(target, [Source(target, 3)])
    assert best.accuracy == pytest.approx(0.760398, abs=1e-5) and best.gamma == pytest.approx(1.134e9, rel=1e-2)


def test_best_ridge_never_answers_nan_or_negative_penalties():
    for seed in range(40):
        rng = np.random.default_rng(seed)
        rows, labels = rng.standard_normal((30, 20)), np.resize([1.0, -1.0], 30)
        population = Population.of_data(rows + 0.5 * labels[:, None] * np.eye(20)[0], labels)
        try:
            best = best_ridge(population, n=40, m=0)
        except ValueError as error:
            assert "samples must be more" in str(error)
            continue
        assert best.gamma > 0 and np.isfinite(best.z)
    assert best_ridge(Mixture([1.0, 1.0], [1.0, 2.0]), n=1e-9, m=0).gamma > 0


def test_no_signal_and_no_data():
    assert best_weight_isotropic(p=30, n=50, m=100, mu=0.0, gamma=0.1).weight == 0
    assert best_weight_isotropic(p=30, n=50, m=100, mu=0.0).accuracy == 0.5


def test_inputs_that_came_through_silently():
    with pytest.raises(TypeError, match="mean must not be a masked array"):
        Mixture(np.ma.array([1.0, 2.0], mask=[0, 1]))
    rng = np.random.default_rng(1)
    thin = rng.standard_normal((30, 5)).astype(np.float32)
    low_rank = Mixture(AXIS, thin @ thin.T)
    assert predict(low_rank, [Source(low_rank, 40)], gamma=0.1).accuracy > 0.5
    mixture = Mixture(AXIS)
    sources = [Source(mixture, 20), Source(mixture, 30)]
    assert best_weight(mixture, sources, np.int64(1), gamma=1.0).weight > 0
    with pytest.raises(TypeError, match="sources must be a sequence of Source, got 3"):
        predict(mixture, 3, gamma=1.0)
    with pytest.raises(TypeError) as caught:
        Mixture(["a"] * 100_000)
    assert len(str(caught.value)) < 300
    with pytest.raises(ValueError, match="ridge must be > 0"):
        Population(mixture).curves(-1.0)


def test_a_dataset_can_be_pickled():
    data = digits()
    again = pickle.loads(pickle.dumps(data))
    assert again.provenance == data.provenance and (again.features == data.features).all()


def test_a_live_slider_shows_a_default_between_integers():
    slider = Slider("n", (0.5, 1), label="n", default=0.5, live_range=(0, 3, 1)).widget(live=True)
    assert slider.value == 0.5
