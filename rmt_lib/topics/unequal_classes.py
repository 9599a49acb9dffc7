"""Two classes that differ in size, covariance or noise, an intercept, a generator for each class (its worth: ours).

In signed features u = y x each class is a source of its own: class +1 has u = x, class -1 has u = -x. An intercept is
one more coordinate: constant in x, so that its mean is +A or -A in u, and its variance 0. Neither needs a new theorem.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, logit, ndtr

from rmt_lib import checks
from rmt_lib.checks import Array
from rmt_lib.model import Mixture, Source, apply, check_sources, free_intercept, with_constant
from rmt_lib.resolvent import Resolvent, System, solve
from rmt_lib.results import ConvergenceError, accuracy_of
from rmt_lib.simulation import batches_of, simulate_scores
from rmt_lib.theory import predict, score_law, training_sets

LABELS = (1, -1)
SEARCH = 12.0  # standard deviations of the score, around the class means, within which an offset is looked for
ODDS = 200.0  # log odds within which class weights are looked for
FIXED_POINT_STEPS = 100


@dataclass(frozen=True, eq=False)
class TwoClasses:
    """Features x ~ N(plus.mean, plus.cov) in class +1 and N(minus.mean, minus.cov) in class -1.

    Parameters
    ----------
    plus, minus : Mixture
        Mean and covariance of the features x (not signed) of each class.
    intercept : float
        Scale A of a constant coordinate of x: an intercept w_0 is penalised by gamma w_0^2 / A^2, so a large A leaves
        it free. 0 means no intercept.

    Raises
    ------
    ValueError, TypeError
        Not mixtures, different dimensions, a negative `intercept`.

    Examples
    --------
    >>> from rmt_lib import Mixture
    >>> from rmt_lib.topics.unequal_classes import TwoClasses
    >>> world = TwoClasses(Mixture([1.0, 0.5]), Mixture([-1.0, 0.5], 2.0), intercept=10.0)
    >>> [(source.n, source.mixture.mean.tolist()) for source in world.sources(100, 300)]
    [(100.0, [1.0, 0.5, 10.0]), (300.0, [1.0, -0.5, -10.0])]
    """

    plus: Mixture
    minus: Mixture
    intercept: float = 0.0

    def __post_init__(self) -> None:
        for name in ("plus", "minus"):
            if not isinstance(getattr(self, name), Mixture):
                raise TypeError(f"{name} must be a Mixture, got {checks.shown(getattr(self, name))}")
        if self.plus.p != self.minus.p:
            raise ValueError(f"minus must have the dimension of plus, p = {self.plus.p}, got p = {self.minus.p}")
        object.__setattr__(self, "intercept", checks.number("intercept", self.intercept, low=0))

    @cached_property
    def signed(self) -> tuple[Mixture, Mixture]:
        """The signed features of class +1 and of class -1, with the constant coordinate last if there is one."""
        plus, minus = self.plus, self.minus
        if self.intercept:
            plus, minus = with_constant(plus, self.intercept), with_constant(minus, self.intercept)
        return plus, Mixture(-minus.mean, minus.cov)

    def sources(
        self, n_plus: float, n_minus: float, *, epsilon: Any = 0.0, phi: Any = 1.0, rho: Any = 1.0, weight: Any = 1.0
    ) -> list[Source]:
        """One source for each class. A label flipped in class +1 is a training label -1 on features of class +1.

        Parameters
        ----------
        n_plus, n_minus : float
            Samples drawn of each class, >= 0.
        epsilon, phi, rho, weight : float or pair of float
            As in `Source`: a number, or a pair (class +1, class -1).

        Returns
        -------
        list of Source
            Class +1 first.

        Raises
        ------
        ValueError, TypeError
            Bad input.
        """
        pairs = {}
        for name, value in {"epsilon": epsilon, "phi": phi, "rho": rho, "weight": weight}.items():
            if np.shape(value) not in ((), (2,)):
                raise ValueError(f"{name} must be a number or a pair (class +1, class -1), got {checks.shown(value)}")
            pairs[name] = np.broadcast_to(value, 2).tolist()
        counts = [checks.number(name, n, low=0) for name, n in (("n_plus", n_plus), ("n_minus", n_minus))]
        return [
            Source(mixture, n, **{name: values[i] for name, values in pairs.items()})
            for i, (mixture, n) in enumerate(zip(self.signed, counts, strict=True))
        ]

    def fitted(self, n_hat_plus: int, n_hat_minus: int, seed: Any) -> TwoClasses:
        """A generator: mean and covariance of each class fitted to fresh samples of it.

        Parameters
        ----------
        n_hat_plus, n_hat_minus : int
            Number of samples of each class, >= 1; the covariance divides by it.
        seed : int, SeedSequence or Generator
            Where the samples come from.

        Returns
        -------
        TwoClasses
            With the same intercept.

        Raises
        ------
        ValueError, TypeError
            Bad input.
        """
        rng = checks.rng(seed)
        sides = []
        for name, side, n_hat in (("plus", self.plus, n_hat_plus), ("minus", self.minus, n_hat_minus)):
            n_hat = checks.count(f"n_hat_{name}", n_hat, low=1)
            noise = apply(side.root, rng.standard_normal((side.p, n_hat)))
            centre = noise.mean(axis=1)
            noise -= centre[:, None]
            sides.append(Mixture(side.mean + centre, noise @ noise.T / n_hat))
        return replace(self, plus=sides[0], minus=sides[1])


@dataclass(frozen=True, eq=False)
class ClassScores:
    """Mean and variance of the signed score y (w'x + w_0) by class: class +1 first, on the first axis.

    Floats (2,) from the theory, one column per trial, (2, trials), from simulation.

    Examples
    --------
    >>> from rmt_lib.topics.unequal_classes import ClassScores
    >>> scores = ClassScores(np.array([0.4, 1.4]), np.array([1.0, 1.0]))
    >>> shifted = scores.shifted(scores.best_offset())
    >>> print(scores.accuracy.round(3).tolist(), shifted.accuracy.round(3).tolist())
    [0.655, 0.919] [0.816, 0.816]
    """

    mean: Array
    variance: Array

    @property
    def accuracy(self) -> Array:
        """Accuracy in class +1 and in class -1."""
        return accuracy_of(self.mean, self.variance)

    @property
    def balanced(self) -> Array:
        """Mean of the two accuracies."""
        return self.accuracy.mean(axis=0)

    def overall(self, share_plus: float) -> Array:
        """Accuracy on fresh samples of which a share `share_plus` is of class +1.

        Parameters
        ----------
        share_plus : float
            In [0, 1].

        Returns
        -------
        array
            One number, or one for each trial.

        Raises
        ------
        ValueError, TypeError
            Bad input.
        """
        share = checks.number("share_plus", share_plus, low=0, high=1)
        return share * self.accuracy[0] + (1 - share) * self.accuracy[1]

    def shifted(self, offset: float) -> ClassScores:
        """The scores after adding `offset` to the intercept of the trained classifier.

        Parameters
        ----------
        offset : float
            Any finite number.

        Returns
        -------
        ClassScores
            With other means and the same variances.

        Raises
        ------
        ValueError, TypeError
            Bad input.
        """
        offset = checks.number("offset", offset)
        return ClassScores(np.stack([self.mean[0] + offset, self.mean[1] - offset]), self.variance)

    def best_offset(self, share_plus: float = 0.5) -> float:
        """The offset with the best `overall(share_plus)`; one half asks for balanced accuracy.

        Parameters
        ----------
        share_plus : float
            In [0, 1].

        Returns
        -------
        float
            What `shifted` takes.

        Raises
        ------
        ValueError, TypeError
            A share outside [0, 1], a score without variance, or scores of several trials.
        """
        share = checks.number("share_plus", share_plus, low=0, high=1)
        checks.single(mean=self.mean[0])
        checks.array("variance", self.variance, low=0, open_low=True)
        # Where the error is least both classes lose alike: share phi(plus) / s_+ = (1 - share) phi(minus) / s_-, a
        # quadratic equation in the offset. Beyond the ends, or without a solution, one class takes everything.
        (a, b), (s, t) = self.mean, self.variance
        with np.errstate(divide="ignore"):
            odds = 2 * logit(share) + np.log(t / s)
        coefficients = (1 / s - 1 / t, 2 * (a / s + b / t), a**2 / s - b**2 / t - odds)
        roots = _real_roots(*coefficients) if np.isfinite(odds) else []
        reach = SEARCH * np.sqrt(max(s, t))
        candidates = np.array([*roots, min(-reach - a, -reach + b), max(reach - a, reach + b)])

        def error(offset: Any) -> Any:
            return share * ndtr(-(a + offset) / np.sqrt(s)) + (1 - share) * ndtr(-(b - offset) / np.sqrt(t))

        return float(candidates[np.argmin(error(candidates))])


def _real_roots(a: float, b: float, c: float) -> list[float]:
    """Real solutions of a x^2 + b x + c = 0, in the form in which nothing cancels; a may be 0."""
    square = b**2 - 4 * a * c
    if square < 0:
        return []
    half = -(b + np.copysign(np.sqrt(square), b)) / 2
    return [x / y for x, y in ((half, a), (c, half)) if y != 0]


def predict_two_classes(target: TwoClasses, sources: Sequence[Source], *, gamma: float) -> ClassScores:
    """Limits by class of the ridge classifier trained on `sources`: the master theorem, read off for each class.

    Parameters
    ----------
    target : TwoClasses
        The populations of fresh samples.
    sources : sequence of Source
        From `TwoClasses.sources` of `target` and of generators, with one `intercept`.
    gamma : float
        Ridge penalty, > 0.

    Returns
    -------
    ClassScores
        Arrays of shape (2,).

    Raises
    ------
    ValueError, TypeError
        Bad input.
    ConvergenceError
        As in `predict`.

    Examples
    --------
    >>> from rmt_lib import Mixture
    >>> from rmt_lib.topics.unequal_classes import TwoClasses, predict_two_classes
    >>> world = TwoClasses(Mixture(np.eye(50)[0]), Mixture(-np.eye(50)[0], 2.0), intercept=10.0)
    >>> predict_two_classes(world, world.sources(100, 300), gamma=0.1).accuracy.round(3).tolist()
    [0.456, 0.901]
    """
    gamma = checks.number("gamma", gamma, low=0, open_low=True)
    classes, trained = _within_reach(target, sources, gamma)
    law = score_law(classes, training_sets(trained), gamma=gamma)
    return ClassScores(law.mean[:, 0], law.covariance[:, 0, 0])


def _checked(target: Any, sources: Any) -> tuple[Source, ...]:
    """`sources`, with the constant coordinate of `target`."""
    if not isinstance(target, TwoClasses):
        raise TypeError(f"target must be a TwoClasses, got {checks.shown(target)}")
    sources = check_sources(target.signed[0], sources)
    if target.intercept:
        for source in sources:
            cov, scale = source.mixture.cov, abs(source.mixture.mean[-1])
            if scale != target.intercept or np.any(cov[-1:] if cov.ndim else cov):
                raise ValueError(
                    f"intercept must be that of target, {target.intercept:g}, in all sources, got {scale:g}"
                )
    return sources


def _within_reach(target: Any, sources: Any, gamma: float) -> tuple[tuple[Mixture, Mixture], tuple[Source, ...]]:
    """Classes and sources, with the largest intercept that makes a difference in double precision in place of more."""
    sources = _checked(target, sources)
    scale = free_intercept(target.intercept, gamma)
    if scale == target.intercept:
        return target.signed, sources

    def shortened(mixture: Mixture) -> Mixture:
        return Mixture(np.append(mixture.mean[:-1], np.copysign(scale, mixture.mean[-1])), mixture.cov)

    plus, minus = map(shortened, target.signed)
    return (plus, minus), tuple(replace(source, mixture=shortened(source.mixture)) for source in sources)


def simulate_two_classes(
    target: TwoClasses, sources: Sequence[Source], *, gamma: float, trials: int, seed: Any, **options: Any
) -> ClassScores:
    """Train on fresh data `trials` times and score both classes with the same classifiers.

    Parameters
    ----------
    target, sources, gamma
        As in `predict_two_classes`; every `Source.n` must be a whole number.
    trials, seed
        As in `simulate`.
    **options
        method, executor: as in `simulate`.

    Returns
    -------
    ClassScores
        Arrays of shape (2, trials).

    Raises
    ------
    ValueError, TypeError
        Bad input.

    Examples
    --------
    >>> from rmt_lib import Mixture
    >>> from rmt_lib.topics.unequal_classes import TwoClasses, simulate_two_classes
    >>> world = TwoClasses(Mixture(np.eye(50)[0]), Mixture(-np.eye(50)[0], 2.0), intercept=10.0)
    >>> scores = simulate_two_classes(world, world.sources(100, 300), gamma=0.1, trials=20, seed=1)
    >>> scores.accuracy.mean(axis=1).round(3).tolist()
    [0.448, 0.904]
    """
    gamma = checks.number("gamma", gamma, low=0, open_low=True)
    classes, trained = _within_reach(target, sources, gamma)
    batches = batches_of(trained)
    means, variances = simulate_scores(classes, batches, gamma=gamma, trials=trials, seed=seed, **options)
    return ClassScores(means[:, :, 0].T, variances[:, :, 0, 0].T)


def balancing_weights(world: TwoClasses, n_plus: float, n_minus: float, *, gamma: float) -> tuple[float, float]:
    r"""Class weights at which both classes have the same load :math:`g_k = \pi_k \omega_k / (1 + \omega_k \delta_k)`.

    They are scaled to :math:`\omega_+ n_+ + \omega_- n_- = N`. All labels are right and kept.

    Parameters
    ----------
    world : TwoClasses
        The populations.
    n_plus, n_minus : float
        Samples of each class, > 0.
    gamma : float
        Ridge penalty, > 0.

    Returns
    -------
    tuple of float
        The weights of class +1 and of class -1.

    Raises
    ------
    ValueError, TypeError
        Bad input.
    ConvergenceError
        As in `predict`.

    Examples
    --------
    >>> from rmt_lib import Mixture
    >>> from rmt_lib.topics.unequal_classes import TwoClasses, balancing_weights
    >>> world = TwoClasses(Mixture(np.eye(50)[0]), Mixture(-np.eye(50)[0], 2.0), intercept=10.0)
    >>> [round(weight, 3) for weight in balancing_weights(world, 100, 300, gamma=0.1)]
    [2.059, 0.647]
    """
    counts = {"n_plus": n_plus, "n_minus": n_minus}
    n = np.array([checks.number(name, count, low=0, open_low=True) for name, count in counts.items()])

    def weights(odds: float) -> Array:
        return n.sum() * expit(np.array([odds, -odds])) / n

    def excess(odds: float) -> float:
        weight = weights(odds)
        limit = predict(world.signed[0], world.sources(*n, weight=weight), gamma=gamma)
        plus, minus = n * weight / (1 + weight * limit.deltas)
        return plus - minus

    # The share of the weight that class +1 has, as log odds: either share may be tiny.
    plus, minus = weights(brentq(excess, -ODDS, ODDS, xtol=1e-13))
    return float(plus), float(minus)


@dataclass(frozen=True)
class _Wisharts:
    """The identity and independent covariances fitted to p / c_j samples of it, as a frame of `resolvent.solve`.

    (1/p) tr R = r solves r (a + sum_j k_j / (1 + k_j c_j r)) = 1, and the other traces are its derivatives.
    """

    p: int
    c: Array

    def resolvent(self, gamma: float, loads: Array) -> Resolvent:
        a, k = gamma + loads[0], loads[1:]
        r = 1 / (a + k.sum())
        for _ in range(FIXED_POINT_STEPS):  # Newton's method on an increasing concave function, from the left
            shrink = 1 / (1 + k * self.c * r)
            step = (1 - a * r - (k * shrink).sum() * r) / (a + (k * shrink**2).sum())
            r += step
            if step <= 1e-15 * r:
                break
        else:
            raise ConvergenceError(FIXED_POINT_STEPS, float(step / r))
        shrink = 1 / (1 + k * self.c * r)
        square = np.append(1.0, shrink**2)
        second = np.outer(square, square) * r / (a + (k * shrink**2).sum())
        second[np.arange(1, square.size), np.arange(1, square.size)] += self.c * (shrink * r) ** 2
        first = r * np.append(1.0, shrink)
        return Resolvent(self.p * first, self.p * np.column_stack([second, second[:, 0]]), r)

    def traces(self) -> Array:
        return np.full(self.c.size + 1, float(self.p))


def predict_class_generators(
    target: TwoClasses, real: Sequence[Source], synthetic: Sequence[tuple[Source, float]], *, gamma: float
) -> ClassScores:
    r"""Limit by class where each synthetic source has a generator of its own, fitted to n_hat samples; C = I.

    With :math:`c_j = p / \hat n_j`, loads :math:`k_j = \alpha_j g_j` and :math:`a = \gamma + \sum_{real} \alpha_k g_k`

    .. math:: r \Big( a + \sum_j \frac{k_j}{1 + k_j c_j r} \Big) = 1, \quad \delta_{real} = \frac pN r, \quad
        \delta_j = \frac pN \frac{r}{1 + k_j c_j r} .

    Parameters
    ----------
    target : TwoClasses
        Both covariances 1 (the identity).
    real : sequence of Source
        As in `predict`, of the classes of `target`; may be empty.
    synthetic : sequence of (Source, n_hat)
        Each source as if its generator were perfect (the class that the generator was fitted to), and the number of
        samples that its mean and covariance were fitted to, > 0 or infinite.
    gamma : float
        Ridge penalty, > 0.

    Returns
    -------
    ClassScores
        Arrays of shape (2,).

    Raises
    ------
    ValueError, TypeError
        Bad input, or a covariance that is not the identity.
    ConvergenceError
        A fixed point was not reached.

    Examples
    --------
    >>> from rmt_lib import Mixture
    >>> from rmt_lib.topics.unequal_classes import TwoClasses, predict_class_generators
    >>> world = TwoClasses(Mixture(np.eye(50)[0]), Mixture(-np.eye(50)[0]), intercept=10.0)
    >>> real, (plus, minus) = world.sources(50, 150), world.sources(100, 100)
    >>> scores = predict_class_generators(world, real, [(plus, 100), (minus, 200)], gamma=0.1)
    >>> scores.accuracy.round(3).tolist()
    [0.719, 0.873]
    """
    gamma = checks.number("gamma", gamma, low=0, open_low=True)
    sources = _checked(target, [*real, *(source for source, _ in synthetic)])
    if any(source.directions is not None for source in sources):
        raise ValueError("directions must not be given: a generator of its own has no fixed direction to look along")
    n_hat = np.array([float(checks.array("n_hat", x, low=0, open_low=True, infinite=True)) for _, x in synthetic])
    p, constant = target.plus.p, int(target.intercept > 0)
    for mixture in (*target.signed, *(source.mixture for source in sources)):
        expected = np.r_[np.ones(p), np.zeros(constant)]
        if not np.array_equal(mixture.dense, np.diag(expected)):
            raise ValueError("cov must be the identity for target and sources")
    n, weight, alpha, lam = np.array([(s.n, s.weight, s.alpha, s.lam) for s in sources]).T
    total = n.sum()
    pi = n / total
    index = np.r_[np.zeros(len(real), int), 1 + np.arange(len(n_hat))]
    system = System(_Wisharts(p, p / n_hat), index, pi * weight * alpha, weight, gamma, total, p)
    solution = solve(system)
    delta, r = solution.delta[index], solution.resolvent.factor
    g, b = pi * weight / (1 + weight * delta), pi * weight**2 / (1 + weight * delta) ** 2

    # Inner products of all means: of features, where those of generators have errors of length^2 p / n_hat orthogonal
    # to all else, and of the constant. w_bar = R sum_k coefficient_k mu_k.
    means = np.array([mixture.mean for mixture in (*target.signed, *(source.mixture for source in sources))])
    products = means[:, :p] @ means[:, :p].T
    products[np.diag_indices(len(means))] += np.r_[0.0, 0.0, np.zeros(len(real)), p / n_hat]
    # The constant adds A^2 / gamma times the product of signs, which may be huge: as an unknown of its own, the
    # intercept sees only the inverse.
    size, sign = len(sources), np.sign(means[:, p]) if constant else np.zeros(len(means))
    system_of_all = np.zeros((size + 1, size + 1))
    system_of_all[:size, :size] = np.eye(size) + (g * alpha)[:, None] * r * products[2:, 2:]
    system_of_all[:size, size] = g * alpha * sign[2:]
    system_of_all[size, :size] = sign[2:]
    system_of_all[size, size] = -gamma / target.intercept**2 if constant else 1.0
    solved = np.linalg.solve(system_of_all, np.append(g * lam, 0.0))
    coefficient, intercept = solved[:size], solved[size]
    score = r * products[:, 2:] @ coefficient + sign * intercept
    length = coefficient @ products[2:, 2:] @ coefficient
    spread = length * solution.resolvent.second[:, -1] / p  # w_bar' C_k w_bar by distinct covariance
    residual = [s.missed(mean) for s, mean in zip(sources, score[2:], strict=True)] + alpha * spread[index]
    amplification = solution.amplify(solution.resolvent.second[:, 0] / total)[index]
    variance = spread[0] + float(np.sum(b * amplification * residual))
    return ClassScores(score[:2], np.full(2, variance))
