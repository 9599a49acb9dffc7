"""What the chapters beyond the core say, checked: steps of proofs, borders, and limits set against small dimensions."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.special import ndtr, ndtri
from scipy.stats import chi2

from rmt_experiments import beyond_gaussian as laws
from rmt_lib import Mixture, Source, predict
from rmt_lib.topics.deliberate_practice import error_of, hard_margin, student_cosine
from rmt_lib.topics.generations import predict_generations
from rmt_lib.topics.many_classes import predict_exchangeable

CHAPTERS = Path(__file__).resolve().parent.parent / "chapters"


def cell(chapter, name):
    """Source of a cell of a chapter."""
    notebook = json.loads((CHAPTERS / f"{chapter}.ipynb").read_text("utf8"))
    return next("".join(cell["source"]) for cell in notebook["cells"] if cell["id"] == name)


def parallel(*branches):
    """1 / (1/a + 1/b + ...); an infinite branch drops out."""
    return 1 / sum(1 / branch for branch in branches)


# ---------------------------------------------------------------- generations: the fixed point and its slope


class Chain:
    """The map H of the chapter, built from sums and parallel sums, and the limit of the minimum at any tau."""

    def __init__(self, rng, regime):
        p = 40
        self.cov = rng.uniform(0.1, 2, p)
        self.mean = rng.standard_normal(p) * rng.uniform(0.1, 0.4)
        self.n, self.m, self.n_hat = rng.integers(20, 200, 3)
        self.gamma, self.weight = 10 ** rng.uniform(-2, 0.5), rng.uniform(0.3, 2)
        self.last, self.regime = int(rng.integers(2, 6)), regime
        self.share = rng.uniform(0.05, 0.9) if regime == "fresh" else 0.0
        self.balance = rng.uniform(-0.5, 1)
        self.epsilon, self.phi, self.rho = rng.uniform(0, [0.5, 1, 1])
        right, wrong = self.phi * (1 - self.epsilon), self.rho * self.epsilon
        self.alpha, self.lam, self.total = right + wrong, right - wrong, self.n + self.m

    def rounds(self):
        """(o_j, l_j, f_j, N / n_j, beta_j), j = 1, ..., T."""
        yield 0.0, 1.0, 0.0, self.total / self.n_hat, 1.0
        for j in range(2, self.last + 1):
            if self.regime == "accumulate":
                yield 1 - 1 / j, 1 / j, 0.0, self.total / (j * self.n_hat), self.balance
            else:
                yield 0.0, 1 - self.share, self.share, self.total / self.n_hat, self.balance

    def image(self, delta, tau=0.0):
        """H(delta), and the inverse loads 1 / k_0, ..., 1 / k_T and 1 / g that it passes through."""
        with np.errstate(divide="ignore"):
            inverse = [(1 + self.weight * delta[-1]) * self.total / (self.alpha * self.m * self.weight)]
            branches = [(1 + delta[0]) * self.total / self.n]
            for j, (old, new, real, ratio, _) in reversed(list(enumerate(self.rounds()))):
                branches.append(np.divide(inverse[0] + ratio * delta[0], real))
                inverse.insert(0, parallel(np.divide(inverse[0], old), np.divide(inverse[0] + ratio * delta[j], new)))
            inverse_g = parallel(*branches, inverse[0])
            result = [np.sum(parallel(self.cov / (self.gamma + tau * self.cov), inverse_g)) / self.total]
            for j, (old, new, real, ratio, _) in enumerate(self.rounds()):
                before, one = result[j], inverse[j + 1] / ratio
                result.append(old * before + new * parallel(before, one) + real * parallel(result[0], one))
        return np.array(result), inverse, inverse_g

    def top(self):
        return np.full(self.last + 1, 2 * self.cov.sum() / (self.total * self.gamma))

    def fixed_point(self, tau=0.0):
        delta = self.top()
        for _ in range(20_000):
            new = self.image(delta, tau)[0]
            if np.abs(new / delta - 1).max() < 1e-14:
                return new
            delta = new
        raise AssertionError("not converged")

    def minimum(self, tau):
        """F-bar at tau, by the recursion of the theorem."""
        delta = self.fixed_point(tau)
        _, inverse, inverse_g = self.image(delta, tau)
        form = np.sum(self.mean**2 / (self.gamma + (tau + 1 / inverse_g) * self.cov))
        j0 = form / (1 + form / inverse_g)
        along, square = 1.0, j0
        for j, (old, new, real, ratio, beta) in enumerate(self.rounds()):
            x, y = (1 / (1 + ratio * value / inverse[j + 1]) for value in (delta[j], delta[0]))
            chi = old + new * beta * x
            noise = ratio * (new * x * delta[j] + real * y * delta[0])
            square = chi**2 * square + (2 * chi * along + real * y) * real * y * j0 + noise
            along = chi * along + real * y
        first = self.n / self.total / (1 + delta[0])
        second = self.m / self.total * self.weight / (1 + self.weight * delta[-1])
        explained = first**2 * j0 + 2 * first * self.lam * second * along * j0 + (self.lam * second) ** 2 * square
        return first + self.alpha * second - explained, (first + self.lam * second * along) * j0

    def predict(self):
        return predict_generations(
            Mixture(self.mean, self.cov),
            self.last,
            n=self.n,
            m=self.m,
            gamma=self.gamma,
            n_hat=self.n_hat,
            regime=self.regime,
            share=self.share,
            balance=self.balance,
            epsilon=self.epsilon,
            phi=self.phi,
            rho=self.rho,
            weight=self.weight,
        )


CHAINS = [(seed, regime) for regime in ("replace", "fresh", "accumulate") for seed in range(3)]


@pytest.mark.parametrize(("seed", "regime"), CHAINS)
def test_the_map_of_a_chain_is_increasing_concave_and_bounded(seed, regime):
    """200 pairs of points, also at negative tau, as the proof of thm-generations-accuracy uses."""
    rng = np.random.default_rng(seed)
    chain = Chain(rng, regime)
    top, edge = chain.top(), chain.gamma / (2 * chain.cov.max())
    for tau in (-edge, 0.0, edge):
        assert (chain.image(top, tau)[0] <= top).all()
        for _ in range(70):
            one, two = top * 10 ** rng.uniform(-4, 0, (2, top.size))
            half = chain.image((one + two) / 2, tau)[0]
            assert (half >= (chain.image(one, tau)[0] + chain.image(two, tau)[0]) / 2 * (1 - 1e-12)).all()
            assert (chain.image(np.maximum(one, two), tau)[0] >= chain.image(one, tau)[0] * (1 - 1e-12)).all()


@pytest.mark.parametrize(("seed", "regime"), CHAINS)
def test_the_library_solves_the_fixed_point_and_the_slope_is_two_sided(seed, regime):
    """The variance is the slope of F-bar at 0, which is concave: quotients to either side enclose it."""
    chain = Chain(np.random.default_rng(seed), regime)
    found, delta = chain.predict(), chain.fixed_point()
    np.testing.assert_allclose(found.deltas, delta[[0, -1]], rtol=1e-10)
    step = 1e-4 * chain.gamma / chain.cov.max()
    (low, _), (here, mean), (high, _) = (chain.minimum(tau) for tau in (-step, 0.0, step))
    assert found.mean == pytest.approx(mean, rel=1e-9)
    assert found.variance == pytest.approx((high - low) / (2 * step), rel=1e-5)
    assert (high - here) / step < found.variance < (here - low) / step


@pytest.mark.parametrize(("seed", "regime"), CHAINS)
def test_nearly_a_solution_is_near_the_solution(seed, regime):
    """s - 1 <= s eta / c with c the least entry of H(0); and B delta <= delta - H(0) at the solution."""
    rng = np.random.default_rng(seed)
    chain = Chain(rng, regime)
    delta, start = chain.fixed_point(), chain.image(np.zeros(chain.last + 1))[0]
    for _ in range(50):
        other = delta * rng.uniform(0.5, 2, delta.size)
        eta = np.abs(chain.image(other)[0] - other).max()
        above, below = np.max(delta / other), np.max(other / delta)
        assert above - 1 <= above * eta / start.min() * (1 + 1e-9)
        assert below - 1 <= eta / start.min() * (1 + 1e-9)
    step = 1e-7
    along = (chain.image(delta * (1 + step))[0] - chain.image(delta * (1 - step))[0]) / (2 * step)
    assert (along <= (delta - start) * (1 + 1e-6)).all()


def test_lost_directions_count_at_a_small_penalty():
    """With the true mean sixteen generations cost less than a point at gamma = 1 and five at 0.01 (the example)."""
    population = Mixture(np.full(100, 0.1))
    loss = {}
    for gamma in (1.0, 0.01):
        setting = {"n": 100, "m": 1000, "gamma": gamma, "n_hat": 500, "generator": "known_mean"}
        first, last = (predict_generations(population, j, **setting).accuracy for j in (1, 16))
        loss[gamma] = first - last
    assert loss[1.0] < 0.01
    assert loss[0.01] == pytest.approx(0.052, abs=0.002)


# ---------------------------------------------------------------- beyond Gaussian features


def score(parts, dropped=0.0, p=60):
    """Mean and variance of the score trained on 2p samples with scales in `parts`, a share of them dropped."""
    mean = laws.direction(p, "all")
    size = sum(map(len, parts))
    sources = [Source(Mixture(mean, part.mean()), 2 * p * (1 - dropped) * len(part) / size) for part in parts]
    sources.append(Source(Mixture(mean), 2 * p * dropped, phi=0.0, rho=0.0))
    limit = predict(Mixture(mean), sources, gamma=laws.GAMMA)
    return np.array([limit.mean, limit.variance])


@pytest.mark.parametrize("nu", [2.5, 3.0])
def test_dropping_long_samples_and_rounding_the_others_changes_little(nu):
    """The truncation in the proof of prop-beyond-elliptical: mean and variance change by less than 1 / K.

    The law of xi is that of 40,000 quantiles; neighbours are put together in 150 groups.
    """
    xi = np.sort((nu - 2) / chi2(nu).ppf((np.arange(40_000) + 0.5) / 40_000))
    exact = score(np.array_split(xi, 150))
    for level in (2, 8, 32, 128):
        rounded = np.floor(xi[xi <= level] * level) / level
        changed = score(np.array_split(rounded, 150), dropped=1 - rounded.size / xi.size)
        assert np.abs(changed - exact).max() < 1 / level


def test_quadrature_of_the_t_laws():
    """32 nodes against 128: accuracy within 0.0001 for nu >= 3 and 0.0003 for nu = 2.5, both generators."""
    mean = laws.direction(60, "all")
    for nu, bound in ((2.5, 3e-4), (3, 1e-4), (4, 1e-4), (6, 1e-4), (10, 1e-4)):
        for same in (True, False):
            accuracy = []
            for nodes in (32, 128):
                xi, chance = laws.student_scales(nu, nodes)
                sources = [Source(Mixture(mean, x), 60 * share) for x, share in zip(xi, chance, strict=True)]
                pairs = zip(xi, chance, strict=True) if same else [(1.0, 1.0)]
                sources += [Source(Mixture(mean, x), 60 * share, **laws.NOISE) for x, share in pairs]
                limit = predict(Mixture(mean), sources, gamma=laws.GAMMA)
                accuracy.append(chance @ ndtr(limit.mean / np.sqrt(xi * limit.variance)))
            assert abs(accuracy[0] - accuracy[1]) < bound


# ---------------------------------------------------------------- reused data


def test_a_verifier_trained_on_the_training_set_adds_nothing():
    """thm-reused-bayes, p = 20, n = 15, 1500 data sets: below the sum of the samples, whatever weight and penalty.

    The generator is reused, its labels are as meant, and the verifier is the sum of the real samples. One that knows
    the truth, in the same place and at a large penalty, is above.
    """
    rng = np.random.default_rng(2410)
    p, n, m, mu = 20, 15, 100, 0.7
    accuracy = []
    for _ in range(1500):
        real = rng.standard_normal((n, p))
        real[:, 0] += mu
        draws = real.mean(axis=0) + rng.standard_normal((m, n)) @ (real - real.mean(axis=0)) / np.sqrt(n)
        rows = []
        for way in (real.sum(axis=0), np.eye(p)[0]):
            kept = draws[draws @ way > 0]
            rows.append(np.linalg.solve(real.T @ real + kept.T @ kept + 0.1 * n * np.eye(p), real.sum(0) + kept.sum(0)))
            rows.append(real.sum(axis=0) + n / m * kept.sum(axis=0))
        rows.append(real.sum(axis=0))
        accuracy.append([ndtr(mu * w[0] / np.linalg.norm(w)) for w in rows])
    own_small, own_large, _, true_large, alone = np.transpose(accuracy)
    for values in (own_small, own_large):
        gap = values - alone
        assert gap.mean() < 3 * gap.std(ddof=1) / np.sqrt(gap.size)
    gap = true_large - alone
    assert gap.mean() > 5 * gap.std(ddof=1) / np.sqrt(gap.size)


# ---------------------------------------------------------------- many classes: the border of the break-even


@pytest.mark.parametrize("K", [2, 5, 10])
def test_at_the_break_even_noise_the_generator_decides(K):
    """At alpha = 2 lambda and a large penalty samples help if and only if n_hat > n; beside it the slope decides."""
    n, rho = 300, 0.6
    border = 1 / (1 + rho * (K + 1) / (K - 1))

    def gain(epsilon, m, n_hat):
        setting = {"p": 150, "n": n, "mu": 2.0, "gamma": 1e8, "rho": rho, "n_hat": n_hat, "generator": "held_out"}
        start, end = (predict_exchangeable(K, m=x, epsilon=epsilon, **setting) for x in (0, m))
        return float(end - start)

    for m in (100, 3000):
        assert gain(border, m, 2 * n) > 1e-5
        assert gain(border, m, n // 2) < -1e-5
        assert abs(gain(border, m, n)) < 1e-6
    assert gain(border - 0.02, 3, n // 2) > 0 > gain(border + 0.02, 3, 2 * n)


# ---------------------------------------------------------------- deliberate practice: a slice can be too thin


def sliced(share, pruner, rng, p, kept):
    """Error of one student of right labels on samples drawn in a slice, without a penalty."""
    way = np.zeros(p)
    way[:2] = pruner, np.sqrt(1 - pruner**2)
    x = rng.standard_normal((kept * p, p))
    x += np.outer(ndtri(0.5 + share * (rng.random(len(x)) - 0.5)) - x @ way, way)
    w = np.linalg.solve(x.T @ x, x.T @ np.sign(x[:, 0]))
    return error_of(w[0] / np.linalg.norm(w))


def too_thin(share, pruner, p, kept):
    """eq-practice-too-thin: the error of a thin slice with p + 3 sin^2 / z^2 in place of p in the numerator."""
    more = p + 3 * (1 - pruner**2) / hard_margin(share) ** 2
    return np.arctan(np.sqrt((np.pi / 2 - 1) * (1 - pruner**2) * more / (p * (kept - 1)))) / np.pi


def test_a_slice_can_be_too_thin():
    """p = 100, n' = 4 p, pruner .99. At 4 % the correction agrees within 4 SE and the limit does not; 1 % fails."""
    rng = np.random.default_rng(2411)
    values = np.array([sliced(0.04, 0.99, rng, 100, 4) for _ in range(400)])
    error = values.std(ddof=1) / np.sqrt(values.size)
    limit = error_of(student_cosine(theta=0.25, gamma_kept=1e-14, high=hard_margin(0.04), pruner=0.99))
    assert limit < too_thin(0.04, 0.99, 100, 4)
    assert abs(values.mean() - too_thin(0.04, 0.99, 100, 4)) < 4 * error < values.mean() - limit
    thin = np.array([sliced(0.01, 0.99, rng, 100, 4) for _ in range(100)])
    assert thin.mean() > 4 * limit


def test_a_perfect_pruner_may_be_as_thin_as_one_likes():
    rng = np.random.default_rng(2412)
    for share in (0.05, 0.001):
        values = np.array([sliced(share, 1.0, rng, 100, 4) for _ in range(40)])
        limit = error_of(student_cosine(theta=0.25, gamma_kept=1e-14, high=hard_margin(share)))
        assert abs(values.mean() / limit - 1) < 4 * values.std(ddof=1) / np.sqrt(40) / limit + 1 / 100


def test_rounds_stay_thick_enough():
    """A share of twice the error adds about five dimensions, whatever the error."""
    for error in (0.1, 0.01, 0.001):
        assert 3 * np.sin(np.pi * error) ** 2 / hard_margin(2 * error) ** 2 == pytest.approx(4.7, abs=0.3)


# ---------------------------------------------------------------- digits: leave-one-out on the real rows


def test_leave_one_out_beside_synthetic_rows():
    """The choice of the penalty in the tuned tables is that of brute force, two classes and ten."""
    rng = np.random.default_rng(2413)
    real, synthetic, signs = rng.standard_normal((12, 5)) + 0.4, rng.standard_normal((30, 5)), rng.choice([-1, 1], 30)
    space = {"np": np, "VERIFIERS": {}, "N_HAT": 0, "N_REAL": 0}
    exec(cell("digits", "digits-tuned-code"), space)
    grid, total = space["GRID"], 42
    left = np.empty((12, grid.size))
    for i in range(12):
        rows = np.delete(real, i, axis=0)
        gram, pull = (rows.T @ rows + synthetic.T @ synthetic) / total, (rows.sum(0) + signs @ synthetic) / total
        left[i] = [real[i] @ np.linalg.solve(gram + gamma * np.eye(5), pull) for gamma in grid]
    classifiers, chosen = space["over_penalties"](real, synthetic, signs, total)
    assert chosen == np.argmax(left.mean(axis=0) / left.std(axis=0))
    gram = (real.T @ real + synthetic.T @ synthetic) / total
    expected = np.linalg.solve(gram + grid[chosen] * np.eye(5), (real.sum(0) + signs @ synthetic) / total)
    np.testing.assert_allclose(classifiers[:, chosen], expected, rtol=1e-9)
    assert np.any(np.isclose(grid, 1))

    rows, labels = rng.standard_normal((40, 5)), np.eye(10)[rng.integers(0, 10, 40)]
    test = [rng.standard_normal((3, 5)) for _ in range(10)]
    space = {"np": np}
    exec(cell("many_classes", "many-tuned"), space)
    hits = []
    for gamma in space["GRID"]:
        guesses = []
        for i in range(15):
            others, given = np.delete(rows, i, axis=0), np.delete(labels, i, axis=0)
            w = np.linalg.solve(others.T @ others / 40 + gamma * np.eye(5), others.T @ given / 40)
            guesses.append((rows[i] @ w).argmax() == labels[i].argmax())
        hits.append(sum(guesses))
    best = np.flatnonzero(np.array(hits) == max(hits))
    *accuracy, tuned = space["over_penalties"](rows, labels, 15, 40, test)
    assert tuned == accuracy[best[best.size // 2]]
