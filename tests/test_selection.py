"""Selection that looks at the sample: moments by quadrature, the theorem that uses them, and its simulation."""

from functools import partial

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import expit, ndtr
from scipy.stats import ks_2samp, norm

from rmt_lib import Mixture, Source, predict, simulate
from rmt_lib.selection import Rule, moments
from rmt_lib.topics.released_code import predict_pruned
from rmt_lib.topics.when_it_helps import best_gamma

P = 100
RNG = np.random.default_rng(7)
FACTOR = RNG.standard_normal((P, P)) / np.sqrt(P)
MIXTURE = Mixture(np.eye(P)[0], FACTOR @ FACTOR.T + 0.3 * np.eye(P))
FIRST = MIXTURE.mean + RNG.standard_normal(P) / 10
SECOND = MIXTURE.mean + RNG.standard_normal(P) / 5
BOTH = np.column_stack([FIRST, SECOND])


def agrees(z, sign):
    return 1.0 * (sign * z[..., 0] > 0)


def near(z):
    return 0.05 + 0.9 * (np.abs(z[..., 0]) < 1.1)


def far_down(z):
    return 0.1 + 0.8 * (z[..., -1] < 0.2)


def test_hard_thresholds_are_found_wherever_they_are():
    """Truncated normal moments up to the second; a panel's edge, and what lies next to it, are among the places."""
    spread, centre = 1.7, 0.3
    places = [*np.random.default_rng(2410).normal(0.3, 2, 60), centre, np.nextafter(centre, 1), centre + 1e-3]
    for place in places:
        above = Rule(lambda z, place=place: 1.0 * (z[..., 0] > place), None, 0.2, 1.0, 1.0)
        right, wrong = moments((centre,), ((spread,),), above)
        a = (place - centre) / spread
        exact = np.array([[norm.sf(a), norm.pdf(a)], [norm.pdf(a), norm.sf(a) + a * norm.pdf(a)]])
        np.testing.assert_allclose(right, 0.8 * exact, atol=1e-12)
        np.testing.assert_allclose(wrong, 0.2 * exact, atol=1e-12)


@pytest.mark.parametrize("cosine", [-0.7, 0.3, 0.99])
def test_two_thresholds_make_an_orthant(cosine):
    sine = np.sqrt(1 - cosine**2)
    rule = Rule(lambda z: 1.0 * (z[..., 0] > 0), lambda z: 1.0 * (z[..., 1] < 0), 0.0, 1.0, 1.0)
    right, wrong = moments((0.0, 0.0), ((1.0, 0.0), (cosine, sine)), rule)
    quarter = np.arcsin(cosine) / (2 * np.pi)
    np.testing.assert_allclose([right[0, 0], wrong[0, 0]], [0.25 + quarter, 0.25 - quarter], atol=1e-9)
    # E[x_1; both positive] and E[x_2; ...] of an orthant, and what is kept in all.
    first = (1 + cosine) / np.sqrt(8 * np.pi)
    np.testing.assert_allclose(right[0, 1:], [first, sine / np.sqrt(8 * np.pi)], atol=1e-9)
    np.testing.assert_allclose((right + wrong)[1:, 1:], np.eye(2) / 2, atol=1e-9)


@pytest.mark.parametrize("slope", [4.0, 30.0, 1000.0])
def test_steep_probabilities(slope):
    right, wrong = moments((0.0,), ((1.0,),), Rule(None, lambda z: expit(slope * (z[..., 0] - 0.4)), 0.0, 0.5, 0.9))
    places = [0.4 - 20 / slope, 0.4, 0.4 + 20 / slope]
    for power, (i, j) in enumerate([(0, 0), (0, 1), (1, 1)]):
        exact, _ = quad(
            lambda x, power=power: x**power * norm.pdf(x) * expit(slope * (x - 0.4)), -9, 9, points=places, epsabs=1e-12
        )
        assert wrong[i, j] == pytest.approx(0.9 * exact, abs=1e-9)
    np.testing.assert_allclose(right / 0.5 + wrong / 0.9, np.eye(2), atol=1e-9)


def test_a_trained_verifier_has_the_keep_rates_of_its_accuracy():
    cosine = FIRST @ MIXTURE.mean / np.sqrt(FIRST @ MIXTURE.cov @ FIRST)
    source = Source(MIXTURE, 10, epsilon=0.3, directions=FIRST, keep=agrees)
    assert source.kept_right == pytest.approx(0.7 * ndtr(cosine), abs=1e-12)
    assert source.kept_wrong == pytest.approx(0.3 * ndtr(-cosine), abs=1e-12)
    assert source.lam == pytest.approx(source.kept_right - source.kept_wrong)


@pytest.mark.parametrize("directions", [FIRST, BOTH], ids=["one", "two"])
def test_a_coin_that_is_told_the_projections_is_a_coin(directions):
    coin = Source(MIXTURE, 150, epsilon=0.3, phi=0.8, rho=0.4)
    told = Source(
        MIXTURE,
        150,
        directions=directions,
        keep=lambda z, sign: np.where(sign > 0, 0.8, 0.4),
        flip=lambda z: np.full(z.shape[:-1], 0.3),
    )
    first, second = (predict(MIXTURE, [Source(MIXTURE, 60), source], gamma=0.1) for source in (coin, told))
    assert second.mean == pytest.approx(first.mean, rel=1e-8)
    assert second.variance == pytest.approx(first.variance, rel=1e-8)
    assert best_gamma(MIXTURE, [told]).accuracy == pytest.approx(best_gamma(MIXTURE, [coin]).accuracy, abs=1e-8)


def test_a_direction_that_nobody_looks_at_changes_nothing():
    one = Source(MIXTURE, 150, epsilon=0.2, directions=FIRST, keep=agrees)
    two = Source(MIXTURE, 150, epsilon=0.2, directions=BOTH * [3.0, -0.5], keep=agrees)
    first, second = (predict(MIXTURE, [source], gamma=0.1) for source in (one, two))
    assert second.mean == pytest.approx(first.mean, rel=1e-8)
    assert second.variance == pytest.approx(first.variance, rel=1e-8)


SELECTED = {
    "trained verifier": Source(MIXTURE, 300, epsilon=0.3, directions=FIRST, keep=agrees, weight=0.7),
    "noise near the border": Source(MIXTURE, 300, directions=FIRST, flip=lambda z: 0.5 * np.exp(-(z[..., 0] ** 2))),
    "both": Source(MIXTURE, 300, directions=BOTH, keep=near, flip=far_down),
}


def misses(theory, simulated):
    """Quantities further off than 4 standard errors and a bias of order 1/p of their size."""
    sizes = {"mean": abs(theory.mean), "variance": theory.variance, "accuracy": 0.5}
    return [
        name
        for name, size in sizes.items()
        for value, error in [simulated.estimate(name)]
        if abs(value - getattr(theory, name)) > 4 * error + size / P
    ]


@pytest.mark.parametrize("method", ["sufficient", "samples"])
@pytest.mark.parametrize("name", SELECTED)
def test_simulation_agrees(name, method):
    sources = [Source(MIXTURE, 80), SELECTED[name]]
    simulated = simulate(MIXTURE, sources, gamma=0.1, trials=200, seed=2410, method=method)
    assert not misses(predict(MIXTURE, sources, gamma=0.1), simulated)


def test_taking_selected_samples_for_coins_is_wrong():
    """The comparison can fail: a coin that keeps as many right and wrong labels is off in mean and accuracy."""
    source = SELECTED["trained verifier"]
    coin = Source(MIXTURE, 300, epsilon=0.3, phi=source.kept_right / 0.7, rho=source.kept_wrong / 0.3, weight=0.7)
    simulated = simulate(MIXTURE, [source], gamma=0.1, trials=200, seed=2410)
    assert not misses(predict(MIXTURE, [source], gamma=0.1), simulated)
    assert misses(predict(MIXTURE, [coin], gamma=0.1), simulated)


@pytest.mark.parametrize("n", [3, 40])
def test_sufficient_statistics_and_samples_agree(n):
    """Fewer kept samples than dimensions included."""
    p = 12
    mixture = Mixture(MIXTURE.mean[:p] * 0.7, MIXTURE.cov[:p, :p])
    sources = [Source(mixture, 5), Source(mixture, n, directions=BOTH[:p], keep=near, flip=far_down)]
    draws = [
        simulate(mixture, sources, gamma=0.1, trials=2000, seed=seed, method=method)
        for seed, method in ((2410, "sufficient"), (2411, "samples"))
    ]
    for name in ("mean", "variance", "accuracy"):
        assert ks_2samp(*(getattr(draw, name) for draw in draws)).pvalue > 1e-4, name


def test_nothing_kept_is_nothing_learned():
    nothing = Source(MIXTURE, 50, directions=FIRST, keep=lambda z: np.zeros(z.shape[:-1]))
    assert predict(MIXTURE, [nothing], gamma=0.1).accuracy == 0.5
    assert simulate(MIXTURE, [nothing], gamma=0.1, trials=2, seed=1).accuracy == pytest.approx(0.5)
    empty = Source(MIXTURE, 0, directions=FIRST, keep=near)
    assert np.isfinite(simulate(MIXTURE, [Source(MIXTURE, 9), empty], gamma=0.1, trials=2, seed=1).mean).all()


SOURCE = partial(Source, MIXTURE, 5)


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (partial(SOURCE, keep=near), "directions must be given with keep"),
        (partial(SOURCE, directions=FIRST), "keep or flip must be given with directions"),
        (partial(SOURCE, directions=FIRST, keep=near, phi=0.5), "phi must be left at 1 where keep is given, got 0.5"),
        (partial(SOURCE, directions=FIRST, keep=near, rho=0.5), "rho must be left at 1 where keep is given, got 0.5"),
        (partial(SOURCE, directions=FIRST, flip=near, epsilon=0.5), "epsilon must be left at 0 where flip is given"),
        (partial(SOURCE, directions=FIRST[1:], keep=near), r"directions must have shape \(100, 1\) or \(100, 2\)"),
        (partial(SOURCE, directions=np.eye(P)[:, :3], keep=near), r"directions must have shape"),
        (partial(SOURCE, directions=BOTH[:, [0, 0]], keep=near), "directions must have linearly independent"),
        (partial(SOURCE, directions=0 * FIRST, keep=near), "directions must have linearly independent"),
        (partial(SOURCE, directions=FIRST, keep=lambda z: z + 0.5), "keep must give one probability for each"),
        (partial(SOURCE, directions=FIRST, keep=lambda z: 2 + z[..., 0]), "values of keep must be in"),
    ],
)
def test_bad_sources_are_refused(build, match):
    with pytest.raises(ValueError, match=match):
        build()


def test_what_is_no_probability_far_out_is_refused_when_it_is_met():
    source = SOURCE(directions=FIRST, keep=lambda z: 0.5 + 0.4 * z[..., 0] ** 3)
    with pytest.raises(ValueError, match=r"values of keep must be in \[0, 1\], got"):
        predict(MIXTURE, [source], gamma=0.1)


def test_a_number_is_no_rule():
    with pytest.raises(TypeError, match="keep must be callable, got 0.5"):
        SOURCE(directions=FIRST, keep=0.5)


def test_the_released_formula_knows_coins_only():
    with pytest.raises(ValueError, match="directions must not be given"):
        predict_pruned(MIXTURE, [SOURCE(directions=FIRST, keep=near)], gamma=0.1)
