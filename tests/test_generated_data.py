"""Sentences of a language model as training data: splits, penalties, estimates, and the stored results."""

import numpy as np
import pytest

from rmt_experiments import language_model, language_model_rates, language_model_sets
from rmt_experiments.llm import features
from rmt_experiments.llm.features import Sentences
from rmt_experiments.llm.moments import balanced, extrapolated
from rmt_experiments.runner import load, read
from rmt_lib import Source, predict
from rmt_lib.fitted import Population, predict_fitted

SEED = 2410


def agrees(name, number, trials, exact, drawn=("accuracy", "tuned", "tuned_gain")):
    """A small run has the same `exact` columns to the digit, and the same `drawn` ones within 4.5 standard errors."""
    experiment, stored = load(name), read(name)
    setting = experiment.settings[number]
    for row in experiment.rows(number, trials=trials):
        names = [key for key in ("strategy", "m", "share") if key in row]
        there = stored.where(**{key: row[key] for key in (*setting, *names)})
        for key in exact:
            assert row[key] == pytest.approx(there[key][0], rel=1e-6)
        for key in drawn:
            error = there[f"{key}_se"][0] * np.sqrt(1 + experiment.trials / trials)
            assert abs(row[key] - there[key][0]) <= 4.5 * error


def test_a_small_run_of_the_language_model_agrees(monkeypatch):
    """Two strategies and two m: the others change nothing in these."""
    monkeypatch.setattr(language_model, "STRATEGIES", ("all", "network"))
    monkeypatch.setattr(language_model, "M", (0, 1000))
    monkeypatch.setattr(language_model, "predictions", language_model.predictions.__wrapped__)
    agrees("language_model", 1, 3, ("kept", "rates", "kept_moments", "tuned_moments"))


def test_a_small_run_of_figure_8_agrees():
    agrees("figure_8", 4, 4, ("theory", "phi", "rho"))


@pytest.mark.parametrize("number", [3, 12])
def test_a_small_run_of_the_sets_agrees(number):
    agrees("language_model_sets", number, 4, ("predicted",), ("real", "accuracy", "gain", "fixed_gain"))


def test_a_small_run_of_the_halves_agrees():
    """The means agree; a spread over two halves is of the right size at most."""
    rows, stored = load("language_model_sets").rows(8, trials=2), read("language_model_sets")
    for row in rows:
        there = stored.where(**{key: row[key] for key in ("n", "sentences", "strategy")})
        for key in ("real", "accuracy", "gain"):
            assert 0 <= row[f"{key}_se"] < 0.03
            assert row[key] == pytest.approx(there[key][0], abs=0.03)


@pytest.mark.parametrize("number", range(4))
def test_a_small_run_of_the_rates_agrees(number):
    row, stored = load("language_model_rates").rows(number, trials=20)[0], read("language_model_rates")
    there = stored.where(verifier=row["verifier"])
    for key in ("real_accuracy", "epsilon", "phi", "rho", "kept"):
        assert row[key] == pytest.approx(there[key][0], rel=1e-9)
        # A standard deviation of 20 values errs by a sixth.
        assert row[f"{key}_se"] == pytest.approx(there[f"{key}_se"][0], rel=0.6)


def direct(rows, added, labels, total):
    """`features.accuracy`, a classifier for each penalty and fold."""
    real = features.real()

    def right(train, test, size):
        x, y = np.concatenate([real.x[train], added]), np.concatenate([real.labels[train], labels])
        fitted = [
            np.linalg.solve(x.T @ x / size + gamma * np.eye(384), x.T @ y / size) for gamma in features.GAMMAS[::4]
        ]
        return np.array([(real.x[test] @ w * real.labels[test] > 0).sum() for w in fitted])

    names = list(dict.fromkeys(real.groups[rows.train]))  # in the order in which they appear
    folds = [names.index(group) * features.FOLDS // len(names) for group in real.groups[rows.train]]
    validated = np.zeros(len(features.GAMMAS[::4]))
    for k in range(features.FOLDS):
        held = np.array(folds) == k
        validated += right(rows.train[~held], rows.train[held], total - held.sum())
    return validated, right(rows.train, rows.test, total) / len(rows.test)


@pytest.mark.parametrize(("n", "m"), [(60, 0), (60, 150)])
def test_the_penalty_is_that_of_a_cross_validation(n, m, monkeypatch):
    generated = features.generated()
    rng = np.random.default_rng(SEED)
    train, test = features.split(rng)
    rows, drawn = features.Split(train[:n], test), rng.permutation(len(generated.labels))[:m]
    added = generated.x[drawn], generated.labels[drawn]
    validated, tested = direct(rows, *added, n + m)
    monkeypatch.setattr(features, "GAMMAS", features.GAMMAS[::4])
    found = features.accuracy(rows, *added, total=n + m)
    best = np.flatnonzero(validated == validated.max())
    assert found.gamma == features.GAMMAS[int(np.median(best))]
    assert found.tuned == pytest.approx(tested[features.GAMMAS.index(found.gamma)])
    assert found.fixed == pytest.approx(tested[features.GAMMAS.index(features.GAMMA)])


def test_the_spread_of_halves_is_found_where_it_is_known():
    """Means of trials with the standard deviation 2, under noise of 3 in each of 12 splits."""
    rng = np.random.default_rng(SEED)
    values = 2 * rng.standard_normal((4000, 1)) + 3 * rng.standard_normal((4000, 12))
    assert language_model_sets._between(values) == pytest.approx(2, abs=4.5 * 4.75 * np.sqrt(2 / 4000) / 4)
    assert language_model_sets._between(np.tile([-1.0, 1.0], (5, 6))) == 0


def test_no_review_is_trained_on_and_tested_on():
    real = features.real()
    for seed in range(20):
        train, test = features.split(np.random.default_rng(seed))
        assert not set(real.groups[train]) & set(real.groups[test])
        assert (real.labels[test] > 0).sum() == (real.labels[test] < 0).sum() == features.TESTED
        assert real.labels[train][:800].sum() == 0 and len(train) >= 800
        assert len(set(train)) == len(train) and len(set(test)) == len(test)
        groups = features.real().groups[train[:100]]
        folds = features.folds(groups)
        assert set(folds) == set(range(features.FOLDS))
        assert all(len(set(folds[groups == group])) == 1 for group in groups)


def test_a_split_of_a_pool_stays_in_it():
    rng = np.random.default_rng(SEED)
    pool = language_model_sets._half(features.real().groups, rng)
    groups = set(features.real().groups)
    assert len(set(features.real().groups[pool])) == len(groups) // 2
    train, test = features.split(rng, pool=pool, count=language_model_sets.TESTED)
    assert set(train) | set(test) <= set(pool)
    assert len(test) == 2 * language_model_sets.TESTED
    assert not set(features.real().groups[train]) & set(features.real().groups[test])


def test_rates_are_found_where_they_are_known(monkeypatch):
    """Verifier and judge with known errors: every estimate within 4.5 of its standard errors."""
    rng = np.random.default_rng(SEED)
    epsilon, accuracies = 0.15, {"lexicon": 0.75, "network": 0.9}

    def opinions(truth):
        return {name: np.where(rng.random(len(truth)) < a, truth, -truth) for name, a in accuracies.items()}

    truth = np.tile([1, -1], 3000)
    given = np.where(rng.random(len(truth)) < epsilon, -truth, truth)
    groups = np.arange(len(truth)) // 6
    monkeypatch.setattr(language_model_rates, "real", lambda: Sentences(None, truth, opinions(truth), groups))
    monkeypatch.setattr(language_model_rates, "generated", lambda: Sentences(None, given, opinions(truth), groups))
    # Opinions are drawn once, not at each call.
    for name in ("real", "generated"):
        drawn = getattr(language_model_rates, name)()
        monkeypatch.setattr(language_model_rates, name, lambda drawn=drawn: drawn)
    row = language_model_rates.measure({"verifier": "lexicon"}, 40, np.random.SeedSequence(SEED))
    phi = accuracies["lexicon"]
    known = {"epsilon": epsilon, "phi": phi, "rho": 1 - phi, "kept": phi * (1 - epsilon) + (1 - phi) * epsilon}
    for key, value in known.items():
        assert abs(row[key] - value) < 4.5 * row[f"{key}_se"]
        assert row[f"{key}_se"] < 0.05


@pytest.mark.parametrize("n, m", [(50, 0), (200, 2000), (800, 500)])
def test_extrapolation_agrees_with_the_exact_correction(n, m):
    real = features.real()

    def predicted(rows, _):
        mixture = balanced(real.x[rows], real.labels[rows])
        return predict(mixture, [Source(mixture, n), Source(mixture, m, epsilon=0.2)], gamma=1.0).accuracy

    exact = predict_fitted(Population.of_data(real.x, real.labels), n=n, m=m, epsilon=0.2, gamma=1.0).accuracy
    plain = predicted(np.arange(len(real.labels)), None)
    assert abs(extrapolated(predicted, seed=SEED) - exact) < 0.3 * abs(plain - exact)
    assert abs(extrapolated(predicted, seed=SEED) - exact) < 0.006


def test_balanced_moments():
    rng = np.random.default_rng(SEED)
    x, labels = rng.standard_normal((60, 3)), np.repeat([1, -1], [40, 20])
    rows = np.concatenate([x[:40], x[:40], -np.repeat(x[40:], 4, axis=0)])  # each class 80 times
    mixture = balanced(x, labels)
    np.testing.assert_allclose(mixture.mean, rows.mean(axis=0))
    np.testing.assert_allclose(mixture.cov, np.cov(rows.T, ddof=0))


def test_what_is_kept_is_a_source_with_the_same_total_penalty():
    """`prop-llm-kept`: the classifier, and the moments in a population where q and s are independent of v."""
    rng = np.random.default_rng(SEED)
    n, m, gamma = 30, 50, 0.7
    u, kept = rng.standard_normal((n + m, 4)), np.arange(n + m) < n
    kept[n:] = rng.random(m) < 0.6
    total = kept.sum()
    drawn = np.linalg.solve(u[kept].T @ u[kept] / (n + m) + gamma * np.eye(4), u[kept].sum(axis=0) / (n + m))
    scaled = gamma * (n + m) / total
    left = np.linalg.solve(u[kept].T @ u[kept] / total + scaled * np.eye(4), u[kept].mean(axis=0))
    np.testing.assert_allclose(drawn, left)

    v, epsilon, phi, rho = rng.standard_normal((40, 4)) + 1, 0.2, 0.9, 0.3
    right, wrong = phi * (1 - epsilon), rho * epsilon
    rows, weights = np.concatenate([v, -v]), np.repeat([right, wrong], 40) / 40
    mean, cov = np.average(rows, axis=0, weights=weights), np.cov(rows.T, aweights=weights, ddof=0)
    alpha, lam = right + wrong, right - wrong
    np.testing.assert_allclose(alpha * mean, lam * v.mean(axis=0))
    np.testing.assert_allclose(alpha * (cov + np.outer(mean, mean)), alpha * v.T @ v / 40)


def test_what_the_chapter_says_of_tuned_penalties():
    """Gains shrink where real data alone is tuned, to nothing at n = 400 and 800; good verifiers beat all students."""
    table = read("language_model")
    for n, at_most in ((50, 0.045), (100, 0.025), (200, 0.017), (400, 0.001), (800, 0.003)):
        rows = table.where(split="by review", n=n)
        assert rows["tuned_gain"].max() < at_most
        assert (rows["tuned_gain"] > 2 * rows["tuned_gain_se"]).any() == (n < 400)
        assert (n > 200) or (rows["tuned_gain"].max() < rows["gain"].max())
    for name in ("model", "network", "jury"):
        rows = table.where(split="by review", strategy=name)
        assert rows["itself"].min() > max(table["tuned"].max(), table["accuracy"].max())


def test_what_the_chapter_says_of_other_sets():
    table = read("language_model_sets")
    for n in (100, 400):
        gains = {name: table.where(n=n, sentences=name)["gain"] for name in language_model_sets.SETS}
        predicted = {name: table.where(n=n, sentences=name)["predicted"] for name in gains}
        for name in ("generated", "generated_again"):
            assert np.abs(gains[name] - predicted[name]).max() < 0.005
        assert (gains["generated_mixed"] - gains["generated"])[1:].min() > 0.008
        assert (gains["generated_mixed"] - predicted["generated_mixed"])[1:].max() < 0.0155
        aside, _, network, _ = gains["generated"]
        assert aside > network - 0.001
