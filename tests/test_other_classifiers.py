"""The stored comparison of classifiers: reproduced in small, its parts checked, and the claims of the chapter."""

import numpy as np
import pytest
from scipy.optimize import minimize

from rmt_experiments.other_classifiers import GRIDS, RHOS, SMALL, N, P, Sample, cross_validate, fit, folds, training
from rmt_experiments.runner import load, read
from rmt_lib import predict, predict_isotropic
from rmt_lib.topics.when_it_helps import best_gamma, best_gamma_isotropic, z_at_infinite_gamma_isotropic

NAMES = ("ridge", "logistic", "svm")


@pytest.fixture(scope="module")
def stored():
    return read("other_classifiers")


def draw(seed=2410, world="chain", p=30, n=40, m=60, epsilon=0.3, rho=1.0):
    sample = Sample(np.random.default_rng(seed), world, p, n, m)
    return sample, sample.rows(m, epsilon, rho)


@pytest.mark.parametrize("part, world, epsilon", [("tuned", "chain", 0.0), ("small", "identity", 0.2)])
def test_a_small_run_agrees_with_the_stored_one(stored, part, world, epsilon):
    experiment = load("other_classifiers")
    wanted = {"part": part, "world": world, "epsilon": epsilon}
    number = next(i for i, setting in enumerate(experiment.settings) if wanted.items() <= setting.items())
    table, trials = stored.where(**wanted), 4
    scale = np.sqrt(1 + experiment.trials / trials)  # stored standard errors, for the difference of the two runs
    rows = experiment.rows(number, trials=trials)
    assert len(rows) == len(table)
    for i, row in enumerate(rows):
        assert all(row[name] == table[name][i] for name in ("rho", "m", "classifier", "choice"))
        assert abs(row["accuracy"] - table["accuracy"][i]) < 4.5 * scale * table["accuracy_se"][i]


def test_stored_ridge_agrees_with_theory(stored):
    """At the penalties it was trained at, in every world; the bias, of order 1/p, is below 0.4 points."""
    table = stored.where(classifier="ridge", choice="best")
    for world, m, epsilon, rho, gamma, value, error in zip(
        *(table[name] for name in ("world", "m", "epsilon", "rho", "gamma", "accuracy", "accuracy_se")), strict=True
    ):
        if world == "chain":
            theory = predict(*training("chain", m, epsilon, rho), gamma=gamma).accuracy
        else:
            kind = {"n_hat": 300, "generator": "held_out"} if world == "fitted" else {}
            theory = predict_isotropic(p=P, n=N, m=m, mu=1.0, gamma=gamma, epsilon=epsilon, rho=rho, **kind).accuracy
        assert abs(value - theory) < 3 * error + 0.004


def test_stored_small_penalty_ridge_agrees_with_theory(stored):
    table = stored.where(part="small", classifier="ridge")
    theory = predict_isotropic(p=100, n=50, m=table["m"], mu=1.0, gamma=SMALL, epsilon=table["epsilon"]).accuracy
    assert (np.abs(table["accuracy"] - theory) < 4 * table["accuracy_se"]).all()


def objective(loss, rows, total, gamma):
    return lambda w: loss(rows[1] * (rows[0] @ w)).sum() / total + gamma * w @ w


@pytest.mark.parametrize(
    "name, loss",
    [
        ("ridge", lambda z: (1 - z) ** 2),
        ("logistic", lambda z: np.logaddexp(0, -z)),
        ("squared hinge", lambda z: np.maximum(0, 1 - z) ** 2),
    ],
)
def test_fit_minimises_the_loss_of_the_book(name, loss):
    _, rows = draw()
    for gamma, w in zip((1.0, 0.1, 0.01), fit(name, rows, 100, (1.0, 0.1, 0.01)).T, strict=True):
        best = minimize(objective(loss, rows, 100, gamma), np.zeros(30), method="BFGS", options={"gtol": 1e-8})
        # BFGS reports lost precision where its gradient, taken by differences, is as small as it can get.
        assert np.linalg.norm(best.jac) < 1e-5
        np.testing.assert_allclose(w, best.x, atol=2e-3 * np.linalg.norm(best.x))


def test_fit_minimises_the_hinge_loss():
    """Against the dual: w = sum a_i s_i u_i with 0 <= a_i <= C, in a general solver."""
    _, (u, s) = draw()
    v = s[:, None] * u
    for gamma, w in zip((1.0, 0.1, 0.05), fit("svm", (u, s), 100, (1.0, 0.1, 0.05)).T, strict=True):
        cap = 1 / (2 * gamma * 100)
        dual = minimize(
            lambda a: (0.5 * (a @ v) @ (a @ v) - a.sum(), v @ (a @ v) - 1),
            np.zeros(len(s)),
            jac=True,
            bounds=[(0, cap)] * len(s),
            options={"ftol": 1e-14, "gtol": 1e-9, "maxiter": 5000},
        )
        assert dual.success
        np.testing.assert_allclose(w, dual.x @ v, atol=5e-3 * np.linalg.norm(w))


@pytest.mark.parametrize("seed", range(5))
def test_the_proposition_on_large_penalties(seed):
    """|2 gamma w / |l'(0)| - h| <= (L |S| / gamma) |h|, and equality of the SVM above its threshold."""
    _, (u, s) = draw(seed)
    h, norm = s @ u / len(s), np.linalg.norm(u.T @ u / len(s), 2)
    gammas = (100.0, 10.0, 3.0)
    for name, slope, curvature in (("ridge", 2, 2), ("logistic", 0.5, 0.25)):
        for gamma, w in zip(gammas, fit(name, (u, s), len(s), gammas).T, strict=True):
            off = np.linalg.norm(2 * gamma * w / slope - h)
            assert 0 < off <= curvature * norm / gamma * np.linalg.norm(h) * (1 + 1e-3)
    threshold = (s * (u @ h)).max() / 2
    above, below = fit("svm", (u, s), len(s), (1.001 * threshold, 0.9 * threshold)).T
    np.testing.assert_allclose(2 * 1.001 * threshold * above, h, rtol=1e-6, atol=1e-9)
    assert np.linalg.norm(2 * 0.9 * threshold * below - h) > 1e-4


@pytest.mark.parametrize("epsilon", (0.0, 0.2, 0.4))
def test_the_best_ridge_penalty_is_infinite_without_structure(epsilon):
    for rho in RHOS:
        for m in (75, 1200):
            setting = dict(p=P, n=N, m=m, mu=1.0, epsilon=epsilon, rho=rho)
            assert np.isinf(best_gamma_isotropic(**setting).gamma)
            assert z_at_infinite_gamma_isotropic(**setting) > 0
            assert best_gamma(*training("chain", m, epsilon, rho)).gamma < 1


def test_folds_split_real_and_synthetic_rows_alike():
    sample, rows = draw(rho=0.5)
    tested = np.zeros(len(rows[1]), dtype=int)
    for train, test in folds(sample, rows):
        assert (train ^ test).all()
        assert test[:40].sum() == 8 and abs(test[40:].sum() - (len(test) - 40) / 5) < 1
        tested += test
    assert (tested == 1).all()


def test_cross_validation_takes_the_largest_of_equal_penalties():
    sample, (u, s) = draw(epsilon=0.0)
    u = u.copy()
    u[:, 0] = 1000.0  # whatever the penalty, every guess is right
    for name in NAMES:
        assert cross_validate(name, sample, (u, s), 100) == {"all": 0, "real": 0}


def cell(stored, world, m, epsilon, rho, choice="best"):
    """minus_ridge, gain and their standard errors in points, by classifier."""
    table = stored.where(part="tuned", world=world, m=m, epsilon=epsilon, rho=rho, choice=choice)
    columns = ("minus_ridge", "minus_ridge_se", "gain", "gain_se")
    return {name: [100 * table.where(classifier=name)[column][0] for column in columns] for name in NAMES}


def test_without_structure_the_tuned_classifiers_are_one(stored):
    table = stored.where(part="tuned", world="identity", choice="best")
    assert np.abs(table["minus_ridge"]).max() < 2e-4


def test_in_the_chain_the_svm_is_behind_with_right_labels_and_ahead_with_wrong_ones(stored):
    for m in (0, 75, 300, 1200):
        off, error, *_ = cell(stored, "chain", m, 0.0, 1.0)["svm"]
        assert off < -2 * error
    for epsilon in (0.2, 0.4):
        off, error, *_ = cell(stored, "chain", 1200, epsilon, 1.0)["svm"]
        assert off > 2 * error


def test_noise_decides_differently_for_the_svm_at_one_place(stored):
    found = cell(stored, "chain", 300, 0.4, 0.5)
    for name, sign in (("ridge", -1), ("logistic", -1), ("svm", 1)):
        assert sign * found[name][2] > 2 * found[name][3]
    theory = [best_gamma(*training("chain", m, 0.4, 0.5)).accuracy for m in (0, 300)]
    assert theory[1] - theory[0] < -0.01


def test_default_penalties_reverse_the_verdict(stored):
    found = cell(stored, "chain", 300, 0.2, 1.0, "default")
    assert found["ridge"][2] > 2 * found["ridge"][3]
    assert found["logistic"][2] < -2 * found["logistic"][3]


def test_the_end_of_the_grid_hides_nothing():
    """In the chain logistic regression is best at the smallest penalty of its grid, and a smaller one is no better."""
    gammas = (GRIDS["logistic"][-1], 0.001)
    gain = []
    for rng in np.random.default_rng(2415).spawn(10):
        sample = Sample(rng, "chain", P, N, 0)
        gain.append(np.diff(sample.accuracy(fit("logistic", sample.rows(0, 0.0, 1.0), N, gammas)))[0])
    assert np.mean(gain) < 0.003
