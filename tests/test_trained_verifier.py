"""A verifier or labeller that is itself a classifier: closed forms, claims of the chapter `selection`, its data."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import ndtr
from scipy.stats import norm

from rmt_experiments import selection as experiment
from rmt_experiments.runner import read
from rmt_experiments.selection import agrees, direction, mislabels
from rmt_lib import Mixture, Source, predict, simulate

P = 100
TRUTH = Mixture(direction(P, 1.0))
ENDLESS = 10**8


def looking(cosine, epsilon, m=1000.0):
    return Source(TRUTH, m, epsilon=epsilon, directions=direction(P, cosine), keep=agrees)


def coin(cosine, epsilon, m=1000.0):
    return Source(TRUTH, m, epsilon=epsilon, phi=ndtr(cosine), rho=ndtr(-cosine))


def labelled(cosine, m=1000.0):
    return Source(TRUTH, m, directions=direction(P, cosine), flip=mislabels)


def z_of(sources, gamma=1.0):
    prediction = predict(TRUTH, sources, gamma=gamma)
    return prediction.mean / np.sqrt(prediction.variance)


def averages(source):
    """h and S of the theorem."""
    seen = source.moments
    covariance = np.broadcast_to(source.mixture.cov, (source.mixture.p,) * 2)
    if source.mixture.cov.ndim == 0:
        covariance = source.mixture.cov * np.eye(source.mixture.p)
    return (seen.columns @ seen.pull)[:, 0], source.alpha * covariance + seen.columns @ seen.surplus @ seen.columns.T


@pytest.fixture(scope="module")
def general():
    """A mixture of general covariance, a direction, its chi and d."""
    rng = np.random.default_rng(2410)
    factor = rng.standard_normal((20, 20)) / np.sqrt(20)
    mixture = Mixture(rng.standard_normal(20) / 4, factor @ factor.T + 0.3 * np.eye(20))
    a = rng.standard_normal(20)
    deviation = np.sqrt(a @ mixture.cov @ a)
    return mixture, a / deviation, a @ mixture.mean / deviation, mixture.cov @ a / deviation


@pytest.mark.parametrize("epsilon", [0.0, 0.3, 0.9])
def test_keeping_what_agrees_in_closed_form(general, epsilon):
    mixture, a, chi, d = general
    source = Source(mixture, 10, epsilon=epsilon, directions=a, keep=agrees)
    h, s = averages(source)
    bias = 1 - 2 * epsilon
    assert source.alpha == pytest.approx((1 + bias * (2 * ndtr(chi) - 1)) / 2, abs=1e-12)
    assert source.lam == pytest.approx(ndtr(chi) - epsilon, abs=1e-12)
    np.testing.assert_allclose(h, source.lam * mixture.mean + norm.pdf(chi) * d, atol=1e-11)
    cross = np.outer(mixture.mean, d)
    whole = source.alpha * (mixture.cov + np.outer(mixture.mean, mixture.mean))
    extra = bias * norm.pdf(chi) * (cross + cross.T - chi * np.outer(d, d))
    np.testing.assert_allclose(s, whole + extra, atol=1e-11)


def test_what_is_kept_pulls_like_the_mean_of_labels_and_pseudo_labels(general):
    mixture, a, *_ = general
    kept = Source(mixture, 10, epsilon=0.2, directions=a, keep=agrees)
    guessed = Source(mixture, 10, directions=a, flip=mislabels)
    np.testing.assert_allclose(averages(kept)[0], (0.6 * mixture.mean + averages(guessed)[0]) / 2, atol=1e-11)


@pytest.mark.parametrize("tau", [-1.0, 0.4, 2.0])
def test_strict_verifier_in_closed_form(general, tau):
    mixture, a, chi, d = general
    source = Source(mixture, 10, epsilon=0.3, directions=a, keep=lambda z, sign: 1.0 * (sign * z[..., 0] > tau))
    assert source.kept_right == pytest.approx(0.7 * ndtr(chi - tau), abs=1e-12)
    assert source.kept_wrong == pytest.approx(0.3 * ndtr(-chi - tau), abs=1e-12)
    push = 0.7 * norm.pdf(chi - tau) + 0.3 * norm.pdf(chi + tau)
    np.testing.assert_allclose(averages(source)[0], source.lam * mixture.mean + push * d, atol=1e-11)


@pytest.mark.parametrize("epsilon", [0.1, 0.5])
@pytest.mark.parametrize("cosine", [0.3, 0.8])
def test_where_the_coin_overtakes(cosine, epsilon):
    """The formula of a large penalty; better below it, worse above."""
    tossed, density = coin(cosine, epsilon), norm.pdf(cosine)
    top = tossed.alpha * P * cosine * (2 * tossed.lam + density * cosine)
    crossing = top / (tossed.lam**2 * density * (1 - cosine**2))
    at = [z_of([kind(cosine, epsilon, crossing)], 1e7) for kind in (looking, coin)]
    assert at[0] == pytest.approx(at[1], rel=1e-5)
    for factor, sign in ((0.5, 1), (2.0, -1)):
        for gamma in (1e7, 1.0):
            gain = z_of([looking(cosine, epsilon, factor * crossing)], gamma)
            gain -= z_of([coin(cosine, epsilon, factor * crossing)], gamma)
            assert sign * gain > 0


@pytest.mark.parametrize("n", [50, 500])
@pytest.mark.parametrize("m", [20.0, 700.0, 1e5])
def test_condition_with_real_samples(n, m):
    cosine, epsilon = 0.5, 0.3
    tossed, density = coin(cosine, epsilon), norm.pdf(cosine)
    length = n + tossed.lam * m
    left = (n + tossed.alpha * m) * P * (2 * length * cosine + m * density * cosine**2)
    looks = left > length**2 * m * density * (1 - cosine**2)
    real = Source(TRUTH, n)
    gain = z_of([real, looking(cosine, epsilon, m)], 1e7) - z_of([real, coin(cosine, epsilon, m)], 1e7)
    assert (gain > 0) == looks


def test_a_verifier_that_points_at_the_truth_is_never_overtaken():
    for m in (50, 1000, 1e5):
        for epsilon in (0.0, 0.3, 0.9):
            assert z_of([looking(1.0, epsilon, m)]) > z_of([coin(1.0, epsilon, m)])


def test_critical_noise():
    """The coin's is the verifier's accuracy; that of looking is beyond, or there is none."""
    for cosine in (0.2, 0.6):
        assert predict(TRUTH, [coin(cosine, ndtr(cosine), 500)], gamma=1.0).accuracy == pytest.approx(0.5)
        limit = ndtr(cosine) + cosine * norm.pdf(cosine)
        assert predict(TRUTH, [looking(cosine, limit, ENDLESS)], gamma=1e7).accuracy == pytest.approx(0.5, abs=1e-5)
    assert z_of([looking(0.6, 1.0, ENDLESS)]) < 0 < z_of([looking(0.8, 1.0, ENDLESS)])
    assert min(z_of([looking(1.0, 1.0, 200)], gamma) for gamma in (1e-3, 1.0, 1e3)) > 0


@pytest.mark.parametrize("gamma", [0.01, 1.0, 100.0])
@pytest.mark.parametrize("cosine", [0.2, 0.6, 0.95])
def test_an_endless_student_is_better_than_its_labeller(cosine, gamma):
    push = 2 * norm.pdf(cosine) * cosine
    ratio = np.sqrt(1 - cosine**2) / cosine * push * (2 + gamma) / ((1 + gamma) * (2 * ndtr(cosine) - 1 + push))
    student = predict(TRUTH, [labelled(cosine, 1e12)], gamma=gamma).accuracy
    assert student == pytest.approx(ndtr(1 / np.sqrt(1 + ratio**2)), abs=1e-8)
    assert ndtr(cosine) < student < ndtr(1.0)


def test_labels_of_a_labeller_beside_random_flips():
    """Less harmful in a small number, more in an endless one."""
    for cosine in (0.5, 0.9):
        few, many = (
            predict(TRUTH, [labelled(cosine, m)], gamma=1.0).accuracy
            - predict(TRUTH, [Source(TRUTH, m, epsilon=ndtr(-cosine))], gamma=1.0).accuracy
            for m in (5 * P, ENDLESS)
        )
        assert few > 0 > many


def test_pure_noise_verified_is_the_verifier_on_half_of_the_samples():
    verified = predict(TRUTH, [looking(0.6, 0.5, 1000)], gamma=1.0)
    assert verified.accuracy == pytest.approx(predict(TRUTH, [labelled(0.6, 500)], gamma=2.0).accuracy, abs=1e-10)


def test_labeller_and_verifier_may_change_places():
    first, second = experiment.pair(0.5, 0.8, 60), experiment.pair(0.8, 0.5, 60)
    scores = [predict(s.mixture, [replace(s, n=500)], gamma=1.0) for s in (first, second)]
    assert scores[0].accuracy == pytest.approx(scores[1].accuracy, abs=1e-8)


@pytest.mark.parametrize("source", [looking(0.6, 0.3, 500), labelled(0.6, 500)], ids=["verifier", "labeller"])
def test_simulation_agrees(source):
    """120 trials at p = 100: within 4 standard errors and a bias of order 1/p."""
    sources = [Source(TRUTH, 100), source]
    value, error = simulate(TRUTH, sources, gamma=1.0, trials=120, seed=2410).estimate("accuracy")
    assert abs(value - predict(TRUTH, sources, gamma=1.0).accuracy) < 4 * error + 0.2 / P


def test_a_small_run_of_the_experiment_agrees_with_the_stored_one():
    table = read("selection")
    script = experiment.EXPERIMENT
    for number in (0, len(script.settings) - 4):
        for row in script.rows(number, 12):
            keys = ("part", "n", "drawn", "gamma", "labeller", "verifier", "angle", "what", "m")
            stored = table.where(**{key: row[key] for key in keys})
            np.testing.assert_allclose(row["theory"], stored["theory"][0], rtol=1e-8)
            if np.isfinite(row["accuracy"]):
                error = np.hypot(row["accuracy_se"], stored["accuracy_se"][0])
                assert abs(row["accuracy"] - stored["accuracy"][0]) < 5 * error


def test_what_the_stored_results_show():
    """Theory holds for verifiers of other data and for pairs; a verifier of the same data is worth less."""
    table = read("selection")
    tested = np.isfinite(table["theory"]) & np.isfinite(table["accuracy"])
    off = np.abs(table["accuracy"] - table["theory"])[tested]
    assert (off < 4 * table["accuracy_se"][tested] + 0.4 / P).all()
    loss = table.where(what="own minus other, looking")
    assert (loss["accuracy"] < -10 * loss["accuracy_se"]).all()
    assert ((-0.035 < loss["accuracy"]) & (loss["accuracy"] < -0.009)).all()
    pairs = table.where(part="pair", m=1000)
    for labeller in experiment.COSINES:
        theory = [pairs.where(labeller=labeller, verifier=v)["theory"] for v in experiment.COSINES if v >= labeller]
        assert (np.diff(theory, axis=1) > 0).all(), "the accuracy rises with the angle"
        alike = table.where(labeller=labeller, verifier=labeller, m=ENDLESS)
        assert alike.where(angle=180)["theory"] == pytest.approx(ndtr(1.0), abs=1e-5), "opposite errors cancel"
        same = alike.where(angle=0)
        assert same["alpha"] == pytest.approx(1.0), "those who err alike agree on everything"
        assert same["kept_wrong"] == pytest.approx(ndtr(-labeller))
