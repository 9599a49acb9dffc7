"""A mix of real and synthetic data at any covariance: the law in closed form, what it is worth, where rules end."""

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import ndtr

from rmt_lib import Mixture, Source, predict
from rmt_lib.fitted import Population, predict_fitted
from rmt_lib.model import SIGNS, Coins
from rmt_lib.theory import TrainingSet, score_law
from rmt_lib.topics.scaling_laws import _Mix, best_mix, best_ridge, label_cost, predict_at_ridge
from rmt_lib.topics.weights import best_weight, weight_at_infinite_gamma_isotropic


def chain():
    """The population of `weights`: p = 40, correlations 0.7^|i - j|, a mean of length 1."""
    direction = np.random.default_rng(2410).standard_normal(40)
    places = np.arange(40)
    return Mixture(direction / np.linalg.norm(direction), 0.7 ** np.abs(np.subtract.outer(places, places)))


def mix(curves, share, *, n, m, alpha, beta, n_hat=np.inf, target=1.0):
    """thm-scaling-mixed at given curves: z, n_eff, weight and gamma N."""
    found = _Mix(n, alpha * m, n + m, beta, n_hat, target).at(curves, share)
    return found.z, found.worth, found.weight, found.gamma * (n + m)


def limits(curves, *, n, m, alpha, n_hat=np.inf):
    """Between which shares there is a weight."""
    return _Mix(n, alpha * m, n + m, 1.0, n_hat, 1.0).shares(curves.freedom)


def cost(curves, alpha, beta):
    """chi at a ridge."""
    return (1 + (1 / beta**2 - 1) * (1 + curves.signal) ** 2 / (1 + curves.signal_square)) / alpha


def worth(target, z, n, most):
    """Real samples that have the score z at their best penalty, less n."""
    return brentq(lambda size: best_ridge(target, n=size, m=0).z - z, n, n + most, xtol=1e-4) - n


def random_setting(rng):
    target = Mixture(rng.standard_normal(30) * 0.3, rng.uniform(0.05, 3, 30))
    labels = dict(epsilon=rng.uniform(0, 0.45), phi=rng.uniform(0.4, 1), rho=rng.random())
    coins = Coins(**labels)
    sizes = dict(n=rng.uniform(10, 300), m=rng.uniform(10, 600), n_hat=rng.uniform(10, 300))
    return target, labels, sizes, float(coins.alpha), float(coins.lam / coins.alpha)


def test_law_of_a_mix_is_that_of_a_fitted_generator():
    rng, seen = np.random.default_rng(1), 0
    while seen < 60:
        target, labels, sizes, alpha, beta = random_setting(rng)
        curves = Population(target).curves(10 ** rng.uniform(-2, 2))
        low, high = limits(curves, alpha=alpha, **sizes)
        if low >= high:
            continue
        seen += 1
        z, _, weight, total = mix(curves, rng.uniform(low, high), alpha=alpha, beta=beta, **sizes)
        penalty = total / (sizes["n"] + sizes["m"])
        solved = predict_fitted(target, gamma=penalty, weight=weight, generator="held_out", **sizes, **labels)
        assert z == pytest.approx(solved.z, abs=1e-10)


def test_law_of_a_mix_with_other_targets_is_the_master_theorem():
    """And n_eff is what the name says: as many real samples have the same z at the same ridge."""
    rng, seen = np.random.default_rng(2), 0
    while seen < 20:
        target, labels, sizes, alpha, beta = random_setting(rng)
        n, m = sizes["n"], sizes["m"]
        curves = Population(target).curves(10 ** rng.uniform(-2, 2))
        low, high = limits(curves, n=n, m=m, alpha=alpha)
        if low >= high:
            continue
        seen += 1
        scale = rng.uniform(0.3, 3)
        share = rng.uniform(low, high)
        z, size, weight, total = mix(curves, share, n=n, m=m, alpha=alpha, beta=beta, target=scale)
        made = Source(target, m, **labels).moments._replace(labels=scale * SIGNS)
        sets = [TrainingSet(target, n, 1.0, Source(target, n).moments), TrainingSet(target, m, weight, made)]
        law = score_law([target], sets, gamma=total / (n + m))
        assert z == pytest.approx(law.mean[0, 0] / np.sqrt(law.covariance[0, 0, 0]), abs=1e-9)
        if size > curves.freedom:
            assert predict_at_ridge(target, ridge=curves.ridge, n=size, m=0).z == pytest.approx(z, abs=1e-9)


@pytest.mark.parametrize("beta", [0.2, 0.6, 0.9, 1.0])
@pytest.mark.parametrize("ridge", [0.1, 0.5, 5.0])
def test_divided_targets_at_the_best_weight(beta, ridge):
    """The exact n_eff of a perfect generator, between n + m / chi and e more, and the best share."""
    sizes = dict(n=80.0, m=300.0, alpha=0.8)
    curves = Population(chain()).curves(ridge)
    chi = cost(curves, 0.8, beta)
    extra = curves.freedom_square * (1 - 1 / (0.8 * chi))
    size = brentq(lambda k: 80 / k + 300 / chi / (k - extra) - 1, extra + 1e-9, 1e4, xtol=1e-12)
    assert 80 + 300 / chi - 1e-9 <= size <= 80 + 300 / chi + extra + 1e-9
    low, high = limits(curves, **sizes)
    shares = np.linspace(low, high, 4003)[1:-1]
    scan = mix(curves, shares, beta=beta, target=1 / beta, **sizes)[1]
    assert scan.max() == pytest.approx(size, rel=1e-6)
    assert mix(curves, 1 - 80 / size, beta=beta, target=1 / beta, **sizes)[1] == pytest.approx(size, rel=1e-12)


@pytest.mark.parametrize("target", [1.0, "divided", 1.7])
def test_first_order_of_a_mix(target):
    """Ten times the data: a hundredth of the error of the three-term law."""
    beta, alpha, share, errors = 0.5, 0.8, 0.4, []
    target = 1 / beta if target == "divided" else target
    curves = Population(chain()).curves(0.5)
    f, f2 = curves.signal, curves.signal_square
    x = 1 / (1 - share + target * beta * share)
    real, fitted = (f2 + ((1 + f) * x - f) ** 2) / (1 + f2), (f2 + ((1 + f) * target * beta * x - f) ** 2) / (1 + f2)
    made = fitted + (1 - beta**2) * ((1 + f) * target * x) ** 2 / (1 + f2)
    if target == 1 / beta:
        assert (real, made, fitted) == pytest.approx((1.0, alpha * cost(curves, alpha, beta), 1.0))
    for size in (1e4, 1e5):
        n, m, n_hat = size, 3 * size, 2 * size
        law = (1 - share) ** 2 / n * real + share**2 * (made / (alpha * m) + fitted / n_hat)
        exact = mix(curves, share, n=n, m=m, alpha=alpha, beta=beta, n_hat=n_hat, target=target)[1]
        errors.append(abs(1 / exact - law))
    assert errors[1] < errors[0] / 80


def test_first_order_of_divided_targets_adds():
    curves, beta = Population(chain()).curves(0.3), 0.4
    n, m, n_hat = 1e5, 1e6, 3e5
    made = 1 / (cost(curves, 1.0, beta) / m + 1 / n_hat)
    size = mix(curves, made / (n + made), n=n, m=m, alpha=1.0, beta=beta, n_hat=n_hat, target=1 / beta)[1]
    assert size == pytest.approx(n + made, rel=3e-4)
    around = [
        mix(curves, t * made / (n + made), n=n, m=m, alpha=1.0, beta=beta, n_hat=n_hat, target=1 / beta)[1]
        for t in (0.95, 1.05)
    ]
    assert max(around) < size


@pytest.mark.parametrize("beta", [0.9, 0.6, 0.2, 0.05])
def test_first_samples_at_plain_targets(beta):
    """kappa, and the balance below which no small weight helps at this ridge."""
    curves, n, alpha = Population(chain()).curves(0.28), 80.0, 0.7
    f, f2, ratio = curves.signal, curves.signal_square, curves.freedom_square / 80
    loss = (1 - beta) * (1 + f) / (1 + f2)
    kappa = alpha * max(1 - (1 - ratio) * loss, 0) ** 2 / (1 + 2 * (1 - ratio) * loss * f)
    m = 1e-3
    shares = limits(curves, n=n, m=m, alpha=alpha)[1] * np.linspace(0, 1, 4002)[1:-1]
    best = mix(curves, shares, n=n, m=m, alpha=alpha, beta=beta)[1].max()
    assert max(best - n, 0) / m == pytest.approx(kappa, rel=1e-3, abs=1e-6)
    threshold = 1 - (1 + f2) / ((1 - ratio) * (1 + f))
    assert 0.05 < threshold < 0.2
    for m in (100.0, 2000.0):
        assert (mix(curves, 1e-7, n=n, m=m, alpha=alpha, beta=beta)[1] > n) == (beta > threshold)


def test_closed_form_at_its_best_is_the_search():
    target = chain()
    for epsilon, m in ((0.2, 160.0), (0.4, 1600.0)):
        found = best_weight(target, [Source(target, 80), Source(target, m, epsilon=epsilon)], 1)
        z = best_mix(target, n=80, m=m, epsilon=epsilon).z
        assert ndtr(z) == pytest.approx(found.accuracy, abs=1e-6)


def test_simple_count_fails_for_plain_targets_and_not_for_divided_ones():
    """n = 80, m = 1600, noise 0.4: worth 2.5 where m / chi is 17.7 (small penalty), 23.7 with divided targets."""
    target = chain()
    signal = target.mean @ np.linalg.solve(target.dense, target.mean)
    plain, divided = (
        worth(target, best_mix(target, n=80, m=1600, epsilon=0.4, label_size=size).z, 80, 100) for size in (1.0, 5.0)
    )
    assert 1600 / label_cost(signal=signal, epsilon=0.4) == pytest.approx(17.7, abs=0.05)
    assert plain == pytest.approx(2.5, abs=0.05)
    assert divided == pytest.approx(23.7, abs=0.05)


def test_simple_count_is_exact_at_identity_covariance():
    """With either target, at the largest ridge."""
    target = Mixture(np.eye(40)[0])
    curves = Population(target).curves(1e7)
    setting = dict(n=80.0, m=1600.0, alpha=1.0, beta=0.2)
    for scale in (1.0, 5.0):
        shares = np.linspace(0, 1, 20001)[1:-1]
        size = mix(curves, shares, target=scale, **setting)[1].max()
        made = weight_at_infinite_gamma_isotropic(m=1600, epsilon=0.4).worth
        assert size == pytest.approx(80 + made, rel=1e-4)


def test_rule_for_identity_covariance_fails_on_the_chain():
    """Noise 0.2: the balance as weight and a large penalty give .774, real data alone .897, the best .909."""
    target = chain()
    sources = [Source(target, 80), Source(target, 160, epsilon=0.2, weight=0.6)]
    assert predict(target, sources, gamma=1e6).accuracy == pytest.approx(0.774, abs=5e-4)
    assert ndtr(best_ridge(target, n=80, m=0).z) == pytest.approx(0.897, abs=5e-4)
    assert best_weight(target, sources, 1).accuracy == pytest.approx(0.909, abs=5e-4)
