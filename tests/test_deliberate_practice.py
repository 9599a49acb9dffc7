"""The linear task: closed form against quadrature, sampling and simulation, its limits, and what the chapter claims."""

import numpy as np
import pytest
from scipy.optimize import brentq, minimize_scalar

from rmt_lib import predict, simulate
from rmt_lib.topics.deliberate_practice import (
    LinearTask,
    band,
    best_student,
    easy_margin,
    error_of,
    hard_margin,
    student_cosine,
)

P = 60
AXES = np.eye(P)
TASK = LinearTask(AXES[0])
HARD, EASY = hard_margin(0.3), easy_margin(0.3)


def hard(z):
    return np.abs(z) < HARD


def easy(z):
    return np.abs(z) >= EASY


def test_moments_of_a_band_against_samples():
    """A million samples; three cosines, hard, easy and a band in between."""
    rng = np.random.default_rng(2410)
    z, xi = rng.standard_normal((2, 1_000_000))
    for low, high, tau in ((0.0, 0.7, 0.8), (0.9, np.inf, -0.4), (0.3, 1.2, 1.0)):
        kept = (np.abs(z) >= low) & (np.abs(z) < high)
        label = np.sign(tau * z + np.sqrt(1 - tau**2) * xi)
        sample = [kept, label[kept] * z[kept], label[kept] * xi[kept], z[kept] ** 2]
        result = band(low, high, agreement=tau)
        closed = [result.share, result.along, result.aside * np.sqrt(1 - tau**2), result.spread]
        for values, value in zip(sample, closed, strict=True):
            assert abs(values.mean() - value) < 4 * values.std() / np.sqrt(values.size)


@pytest.mark.parametrize(
    ("labeller", "pruner", "keep", "margins", "epsilon"),
    [
        (1.0, 1.0, hard, dict(high=HARD), 0.0),
        (1.0, 1.0, easy, dict(low=EASY), 0.2),
        (1.0, 0.6, hard, dict(high=HARD), 0.1),
        (0.8, 0.9, easy, dict(low=EASY), 0.0),
    ],
)
def test_closed_form_is_what_predict_gives(labeller, pruner, keep, margins, epsilon):
    ways = dict(labeller=TASK.at_cosine(labeller, AXES[1]), pruner=TASK.at_cosine(pruner, AXES[2]))
    for n, gamma in ((100.0, 0.3), (2000.0, 0.01)):
        source = TASK.source(n, **ways, keep=keep, epsilon=epsilon)
        theory = student_cosine(
            theta=P / (0.3 * n),
            gamma_kept=gamma / 0.3,
            labeller=labeller,
            pruner=pruner,
            balance=1 - 2 * epsilon,
            **margins,
        )
        assert source.alpha == pytest.approx(0.3, abs=1e-8)
        assert TASK.cosine(predict(TASK.target, [source], gamma=gamma)) == pytest.approx(theory, abs=1e-7)


def test_any_covariance_is_the_isotropic_task_in_other_coordinates_at_a_tiny_penalty():
    """Without a penalty the student does not see the coordinates, only directions under C."""
    rng = np.random.default_rng(2411)
    root = rng.standard_normal((P, 2 * P))
    task = LinearTask(rng.standard_normal(P), root @ root.T / P)
    labeller = task.at_cosine(0.9, rng.standard_normal(P))
    result = predict(task.target, [task.source(900, labeller=labeller, pruner=labeller, keep=hard)], gamma=1e-9)
    theory = student_cosine(theta=P / 270, gamma_kept=1e-9, high=HARD, labeller=0.9, pruner=0.9, agreement=1.0)
    assert task.cosine(result) == pytest.approx(theory, abs=1e-6)
    assert task.accuracy(result) == pytest.approx(1 - error_of(theory), abs=1e-6)


def test_a_diagonal_covariance_is_the_full_matrix():
    spread = np.linspace(0.5, 2, P)
    results = []
    for cov in (spread, np.diag(spread)):
        task = LinearTask(np.ones(P), cov)
        source = task.source(200, labeller=task.at_cosine(0.8, AXES[0]), pruner=task.at_cosine(0.8, AXES[0]), keep=hard)
        results.append(task.cosine(predict(task.target, [source], gamma=0.1)))
    assert results[0] == pytest.approx(results[1], abs=1e-9)


@pytest.mark.parametrize(("rule", "margins"), [(hard, dict(high=HARD)), (easy, dict(low=EASY))])
def test_simulation(rule, margins):
    """p = 60, 256 trials: SE about 0.002; a bias of about 0.2 / p is allowed for. Both ways of drawing."""
    ways = dict(labeller=TASK.at_cosine(0.9, AXES[1]), pruner=TASK.at_cosine(0.7, AXES[2]), keep=rule)
    theory = 1 - error_of(student_cosine(theta=1 / 0.9, gamma_kept=0.1, labeller=0.9, pruner=0.7, **margins))
    for method in ("sufficient", "samples"):
        result = simulate(TASK.target, [TASK.source(3 * P, **ways)], gamma=0.03, trials=256, seed=2412, method=method)
        values = TASK.accuracy(result)
        assert abs(values.mean() - theory) < 4 * values.std(ddof=1) / 16 + 0.4 / P


def test_all_labels_right_leaves_half_of_the_angle():
    """The bisector, at any number of samples; with many, half of the labeller's error."""
    labeller = TASK.at_cosine(0.6, AXES[1])
    angle = np.arccos(0.6)
    source = TASK.source(1e7 * P, labeller=labeller, phi=1.0, rho=0.0)
    assert source.alpha == pytest.approx(1 - angle / np.pi, abs=1e-7)
    error = 1 - TASK.accuracy(predict(TASK.target, [source], gamma=0.1))
    assert error == pytest.approx(angle / 2 / np.pi, abs=1e-3)


def test_coins_and_a_verifier_who_knows_the_truth():
    for keep, margins, share in ((None, {}, 1.0), (hard, dict(high=HARD), 0.3), (easy, dict(low=EASY), 0.3)):
        coins = TASK.source(300, epsilon=0.3, phi=0.9, rho=0.2, keep=keep)
        kept = 0.69 * share
        assert coins.alpha == pytest.approx(kept, abs=1e-9)
        cosine = student_cosine(theta=P / 300 / kept, gamma_kept=0.05 / kept, balance=(0.63 - 0.06) / 0.69, **margins)
        assert TASK.cosine(predict(TASK.target, [coins], gamma=0.05)) == pytest.approx(cosine, abs=1e-8)


def test_a_labeller_that_is_always_wrong():
    wrong = predict(TASK.target, [TASK.source(300, labeller=-AXES[0])], gamma=0.1)
    right = predict(TASK.target, [TASK.source(300)], gamma=0.1)
    assert TASK.cosine(wrong) == pytest.approx(-TASK.cosine(right), abs=1e-12)


@pytest.mark.parametrize(("theta", "beta", "labeller"), [(0.05, 1.0, 1.0), (0.8, 0.7, 0.9), (5.0, 0.4, 0.8)])
def test_best_penalty_of_random_samples(theta, beta, labeller):
    h = 2 * beta**2 / np.pi
    sigma = 2 * h / (h + theta + np.sqrt((h + theta) ** 2 - 4 * h**2 * theta))
    best = best_student(theta=theta, balance=beta, labeller=labeller)
    assert best.gamma_kept == pytest.approx(theta * (1 / h - 1), rel=2e-3)
    assert best.cosine == pytest.approx(labeller * np.sqrt(sigma), abs=1e-6)


def test_best_student_against_a_bounded_search():
    for setting in (dict(theta=0.3, high=0.4, pruner=0.8), dict(theta=2.0, low=1.0, labeller=0.7, pruner=0.9)):

        def loss(log_penalty, setting=setting):
            return -student_cosine(gamma_kept=np.exp(log_penalty), **setting)

        search = minimize_scalar(loss, bounds=(-32, 8), method="bounded", options=dict(xatol=1e-6))
        assert best_student(**setting).cosine == pytest.approx(-search.fun, abs=1e-6)


def test_thin_slice():
    for theta, tau, beta in ((0.1, 0.5, 1.0), (0.5, 0.95, 0.8), (0.8, 0.99, 0.6)):
        cosine = student_cosine(theta=theta, gamma_kept=1e-13, high=1e-3, pruner=tau, balance=beta, labeller=1.0)
        excess = theta / (1 - theta) * (np.pi / 2 / beta**2 - 1) * (1 - tau**2)
        assert 1 / cosine**2 - 1 == pytest.approx(excess, rel=1e-3)
        perfect = student_cosine(theta=theta, gamma_kept=1e-13, high=1e-2, balance=beta)
        excess = theta / (1 - theta) * (4 / 3 / beta**2 - 1) * 1e-4 / 3
        assert 1 / perfect**2 - 1 == pytest.approx(excess, rel=1e-3)


def test_hard_samples_can_be_set_right_and_easy_ones_cannot():
    """zeta < h_par / (tau h_perp) < 1 for hard samples, > zeta > 1 for easy ones."""
    for tau in (0.1, 0.5, 0.9):
        for margin in (0.1, 0.5, 1.0):
            few, many = band(0.0, margin, agreement=tau), band(margin, np.inf, agreement=tau)
            assert few.spread < few.along / (tau * few.aside) < 1
            assert many.along / (tau * many.aside) > many.spread > 1
    sizes = np.array([1e-4, 1e-6])
    hard_errors = error_of(best_student(theta=sizes, high=0.7, pruner=0.8).cosine)
    easy_errors = error_of(best_student(theta=sizes, low=0.7, pruner=0.8).cosine)
    assert np.log(hard_errors[0] / hard_errors[1]) / np.log(100) == pytest.approx(0.5, abs=0.01)
    assert easy_errors[0] / easy_errors[1] == pytest.approx(1, abs=0.02)


def test_scaling_laws():
    drawn, shares = np.array([300.0, 3000.0]), np.geomspace(5e-4, 0.5, 120)
    random = error_of(best_student(theta=1 / drawn).cosine)
    assert random * np.sqrt(drawn) == pytest.approx(np.sqrt(np.pi / 2 - 1) / np.pi, rel=0.01)
    errors = error_of(best_student(theta=1 / (drawn[:, None] * shares), high=hard_margin(shares)).cosine)
    assert errors.min(axis=1) * drawn == pytest.approx(np.sqrt(2 / np.pi) / 3, rel=0.01)
    assert shares[errors.argmin(axis=1)] * drawn == pytest.approx(2, rel=0.06)


def test_hard_wins_with_good_labels_and_many_samples_and_easy_otherwise():
    def lead(ratio, labeller, pruner):
        few, many = (
            best_student(theta=1 / ratio, labeller=labeller, pruner=pruner, **margins).cosine
            for margins in (dict(high=hard_margin(0.2)), dict(low=easy_margin(0.2)))
        )
        return few - many

    assert lead(0.5, 1.0, 0.9) < 0 < lead(3.0, 1.0, 0.9)
    assert lead(0.5, 0.8, 0.9) < 0 and lead(100.0, 0.8, 0.9) < 0
    tie = brentq(lambda labeller: lead(100.0, labeller, 0.95), 0.5, 1)
    assert tie == pytest.approx(0.95, abs=0.01)


def test_rounds_of_practice():
    """The loop of the chapter on real draws, p = 100; 8 loops, 4 SE and a bias of 0.3 / p of the error's angle."""
    kept, rounds, p = 4, 3, 100
    student, plan, share = best_student(theta=1 / kept), [], 1.0
    for _ in range(rounds):
        plan.append((error_of(student.cosine), share, student.gamma_kept))
        share = 2 * error_of(student.cosine)
        student = best_student(theta=1 / kept, high=hard_margin(share), pruner=student.cosine)
    rng, errors = np.random.default_rng(2413), []
    for _ in range(8):
        w, row = np.eye(p)[0], []
        for _, share, penalty in plan:
            z = rng.standard_normal((round(kept * p / share), p))
            x = z[np.abs(z @ w) / np.linalg.norm(w) < hard_margin(share)]
            w = np.linalg.solve(x.T @ x / len(x) + penalty * np.eye(p), x.T @ np.sign(x[:, 0]) / len(x))
            row.append(error_of(w[0] / np.linalg.norm(w)))
        errors.append(row)
    theory = np.array([row[0] for row in plan])
    errors = np.array(errors)
    assert (np.abs(errors.mean(axis=0) - theory) < 4 * errors.std(axis=0, ddof=1) / np.sqrt(8) + 0.3 / p * theory).all()
    assert (theory[1:] < theory[:-1] / 2).all()


def test_practice_contracts_from_pi_over_two_samples_per_dimension_on():
    for beta in (1.0, 0.7):
        for factor, falls in ((1.02, True), (0.98, False)):
            theta = 2 * beta**2 / np.pi / factor
            chi = np.cos(1e-2)
            cosine = student_cosine(theta=theta, gamma_kept=1e-14, high=1e-4, pruner=chi, balance=beta)
            assert (np.arccos(cosine) < 1e-2) == falls


def test_bad_input():
    with pytest.raises(ValueError, match="direction must have some variance"):
        LinearTask(AXES[0], np.r_[0.0, np.ones(P - 1)])
    with pytest.raises(ValueError, match=r"direction must have shape \(p,\)"):
        LinearTask(AXES)
    with pytest.raises(ValueError, match="keep must be given with pruner"):
        TASK.source(10, pruner=AXES[1])
    with pytest.raises(ValueError, match="must lie in one plane"):
        TASK.source(10, labeller=AXES[1], pruner=AXES[2], keep=hard, rho=0.0)
    with pytest.raises(ValueError, match="labeller must have shape"):
        TASK.source(10, labeller=[1.0])
    with pytest.raises(ValueError, match="epsilon must be in"):
        TASK.source(10, epsilon=1.5)
    with pytest.raises(ValueError, match="aside must not be parallel"):
        TASK.at_cosine(0.5, 3 * AXES[0])
    with pytest.raises(ValueError, match="cosine must be in"):
        TASK.at_cosine(1.5, AXES[1])
    with pytest.raises(ValueError, match="high must be > low"):
        band(1.0, 0.5)
    with pytest.raises(ValueError, match="low and high must keep"):
        band(20.0, np.inf)
    with pytest.raises(ValueError, match="agreement must be the cosine"):
        student_cosine(theta=1, gamma_kept=1, labeller=0.9, pruner=0.9, agreement=-0.9)
    with pytest.raises(ValueError, match="theta must be > 0"):
        student_cosine(theta=0, gamma_kept=1)
    with pytest.raises(ValueError, match="share must be"):
        hard_margin(0.0)
    with pytest.raises(TypeError, match="gamma_kept must be"):
        student_cosine(theta=1, gamma_kept="1")
