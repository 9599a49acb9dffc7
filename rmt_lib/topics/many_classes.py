"""Many classes: one-versus-rest ridge on a K-class mixture, the law of its K scores, accuracy (binary twin: ours).

Features x are not signed here. A sample carries a label vector, the unit vector of its given class, and each class is a
source of its own, so the master theorem gives mean and covariance of the K scores; a guess is the largest of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr, ndtri
from scipy.stats.qmc import Sobol

from rmt_lib import checks
from rmt_lib.checks import Array
from rmt_lib.isotropic import predict_isotropic
from rmt_lib.model import Coins, Mixture, Moments, free_intercept, with_constant
from rmt_lib.simulation import Batch, Method, simulate_scores
from rmt_lib.theory import TrainingSet, score_law

LOG_POINTS = 11  # of the points behind `win_chances`, to base 2
BLOCK = 2**20
NODES = 120  # of Gauss-Hermite quadrature


@dataclass(frozen=True, eq=False)
class ClassSource:
    """Training samples of one class: `n` draws of a mixture, each given a label, kept or not.

    Parameters
    ----------
    mixture : Mixture
        Mean and covariance of the features x (not signed).
    n : float
        Samples drawn, >= 0; a whole number in `simulate_classes`.
    labels : (K,) array
        Probability of each given label; they sum to 1.
    keep : float or (K,) array
        Probability that a sample is kept, by its given label.
    weight : float
        Weight > 0 of each kept sample in the training objective.

    Raises
    ------
    ValueError, TypeError
        A parameter outside its range, of the wrong type or shape.

    Examples
    --------
    >>> from rmt_lib import Mixture
    >>> from rmt_lib.topics.many_classes import ClassSource
    >>> source = ClassSource(Mixture([1.0, 0.0]), 100, labels=[0.8, 0.1, 0.1], keep=[1.0, 0.5, 0.5])
    >>> source.groups.round(3).tolist()
    [0.8, 0.05, 0.05]
    """

    mixture: Mixture
    n: float
    labels: Array = field(kw_only=True)
    keep: Array = field(default=1.0, kw_only=True)  # type: ignore[arg-type]
    weight: float = field(default=1.0, kw_only=True)

    if TYPE_CHECKING:
        # What may be given; `labels` and `keep` hold arrays.
        def __init__(
            self, mixture: Mixture, n: float, *, labels: ArrayLike, keep: ArrayLike = 1.0, weight: float = 1.0
        ) -> None: ...

    def __post_init__(self) -> None:
        if not isinstance(self.mixture, Mixture):
            raise TypeError(f"mixture must be a Mixture, got {checks.shown(self.mixture)}")
        object.__setattr__(self, "n", checks.number("n", self.n, low=0))
        object.__setattr__(self, "weight", checks.number("weight", self.weight, low=0, open_low=True))
        labels = checks.array("labels", self.labels, low=0, high=1)
        if labels.ndim != 1 or labels.size < 2:
            raise ValueError(f"labels must have shape (K,) with K >= 2, got {labels.shape}")
        if abs(labels.sum() - 1) > 1e-9:
            raise ValueError(f"labels must sum to 1, got {labels.sum():g}")
        keep = checks.array("keep", self.keep, low=0, high=1)
        if keep.shape not in ((), labels.shape):
            raise ValueError(f"keep must be a number or have shape {labels.shape}, got {keep.shape}")
        object.__setattr__(self, "labels", checks.frozen(labels))
        object.__setattr__(self, "keep", checks.frozen(np.broadcast_to(keep, labels.shape)))

    @property
    def groups(self) -> Array:
        """P(given this label and kept), (K,)."""
        return self.labels * self.keep


def class_sources(
    mixtures: Sequence[Mixture],
    n: Any,
    *,
    epsilon: Any = 0.0,
    phi: Any = 1.0,
    rho: Any = 1.0,
    weight: float = 1.0,
    wrong: Any = None,
) -> list[ClassSource]:
    """One source for each class: `n` samples drawn of each, labelled wrongly with probability `epsilon`.

    Parameters
    ----------
    mixtures : sequence of Mixture
        Features of the classes, two or more.
    n, epsilon, phi, rho : float or (K,) array
        Samples drawn, label noise, and probability that the verifier keeps a right (`phi`) or a wrong (`rho`) label: a
        number, or one for each class.
    weight : float
        Weight > 0 of each kept sample.
    wrong : (K, K) array, optional
        Row c is the distribution of the wrong labels of class c, with 0 on the diagonal; by default they spread evenly
        over the other classes.

    Returns
    -------
    list of ClassSource
        In the order of the classes.

    Raises
    ------
    ValueError, TypeError
        Bad input.

    Examples
    --------
    >>> from rmt_lib.topics.many_classes import class_sources, simplex
    >>> first, *_ = class_sources(simplex(20, 3, 1.0), 100, epsilon=0.2, rho=0.5)
    >>> print(first.labels.round(3).tolist(), first.keep.tolist())
    [0.8, 0.1, 0.1] [1.0, 0.5, 0.5]
    """
    mixtures = tuple(mixtures)
    size = len(mixtures)
    if size < 2:
        raise ValueError(f"mixtures must be two or more, one for each class, got {size}")
    columns = {}
    for name, value in {"n": n, "epsilon": epsilon, "phi": phi, "rho": rho}.items():
        value = checks.array(name, value, low=0, high=np.inf if name == "n" else 1)
        if value.shape not in ((), (size,)):
            raise ValueError(f"{name} must be a number or have one value for each of {size} classes, got {value.shape}")
        columns[name] = np.broadcast_to(value, size)
    eye = np.eye(size)
    wrong = (1 - eye) / (size - 1) if wrong is None else checks.array("wrong", wrong, low=0, high=1)
    if wrong.shape != eye.shape or wrong.trace() != 0 or np.abs(wrong.sum(axis=1) - 1).max() > 1e-9:
        raise ValueError(
            f"wrong must be ({size}, {size}) with 0 on the diagonal and rows that sum to 1, got {checks.shown(wrong)}"
        )
    flipped, right, kept = (columns[name][:, None] for name in ("epsilon", "phi", "rho"))
    labels, keep = (1 - flipped) * eye + flipped * wrong, right * eye + kept * (1 - eye)
    return [
        ClassSource(mixture, count, labels=given, keep=chance, weight=weight)
        for mixture, count, given, chance in zip(mixtures, columns["n"].tolist(), labels, keep, strict=True)
    ]


def simplex(p: int, classes: int, mu: float) -> list[Mixture]:
    """Classes at equal distances: C = I and centred means, any two of them 2 mu apart as in the binary mixture.

    Parameters
    ----------
    p, classes : int
        Dimension and number K of classes, 2 <= K <= p.
    mu : float
        Half the distance, >= 0.

    Returns
    -------
    list of Mixture
        One for each class.

    Raises
    ------
    ValueError, TypeError
        Fewer than two classes, more of them than dimensions, or a negative `mu`.

    Examples
    --------
    >>> from rmt_lib.topics.many_classes import simplex
    >>> first, second, third = simplex(20, 3, 1.0)
    >>> print(round(float(np.linalg.norm(first.mean - second.mean)), 4))
    2.0
    """
    p, classes = checks.count("p", p, low=1), checks.count("classes", classes, low=2)
    if classes > p:
        raise ValueError(f"classes must be at most p = {p}, got {classes}")
    corners = np.eye(classes, p)
    return [Mixture(mean) for mean in np.sqrt(2) * checks.number("mu", mu, low=0) * (corners - corners.mean(axis=0))]


@dataclass(frozen=True, eq=False)
class ClassLaw:
    """Gaussian law of the K scores of fresh samples of each class; from simulation, with the trials as first axis.

    Attributes
    ----------
    means : (..., K, K) array
        Mean score by class (rows) and output (columns).
    covariances : (..., K, K, K) array
        Covariance of the scores by class.
    shares : (K,) array
        Share of each class among fresh samples.

    Examples
    --------
    >>> from rmt_lib.topics.many_classes import ClassLaw
    >>> law = ClassLaw(np.array([[1.0, 0.0], [0.5, 1.0]]), np.array([np.eye(2), np.eye(2)]), np.array([0.5, 0.5]))
    >>> print(law.confusion.round(3).tolist(), round(float(law.overall), 3))
    [[0.76, 0.24], [0.362, 0.638]] 0.699
    """

    means: Array
    covariances: Array
    shares: Array

    @property
    def accuracy(self) -> Array:
        """P(largest score is that of the right class) by class, (..., K); ties are broken at random."""
        return win_chances(self.means, self.covariances, np.arange(self.shares.size))

    @property
    def overall(self) -> Array:
        """Accuracy on fresh samples of all classes."""
        return (self.accuracy @ self.shares)[()]

    @property
    def confusion(self) -> Array:
        """P(guess) by class (rows) and guess (columns), (..., K, K)."""
        outputs = np.arange(self.shares.size)
        return win_chances(self.means[..., None, :], self.covariances[..., None, :, :], outputs)


def win_chances(mean: Array, covariance: Array, winner: ArrayLike) -> Array:
    """P(score `winner` is the largest) for scores N(mean, covariance); ties are broken at random.

    The K - 1 differences to the others must be positive: Genz's transformation takes this orthant to the unit cube, and
    a Sobol sequence averages over it. Exact for K = 2, good to 1e-5 for K = 3 and to 2e-4 for ten classes; to 3e-4 and
    1e-3 where the covariance is nearly singular.

    Parameters
    ----------
    mean : (..., K) array
        Mean of the scores.
    covariance : (..., K, K) array
        Their covariance.
    winner : (...) array of int
        Broadcast against the leading axes of the others.

    Returns
    -------
    (...) array
        Of the broadcast shape of the leading axes.

    Raises
    ------
    ValueError, TypeError
        Values that are not finite, shapes that do not fit, a covariance that is not positive semi-definite, a winner
        that is not one of the outputs.

    Examples
    --------
    >>> from rmt_lib.topics.many_classes import win_chances
    >>> win_chances(np.array([1.0, 0.0, 0.0]), np.eye(3), np.arange(3)).round(3).tolist()
    [0.634, 0.183, 0.183]
    """
    mean, covariance = checks.array("mean", mean), checks.array("covariance", covariance)
    size = mean.shape[-1] if mean.ndim else 0
    if size < 2 or covariance.shape[-2:] != (size, size):
        raise ValueError(f"covariance must have shape (..., K, K) with K >= 2, got {covariance.shape} for {mean.shape}")
    winner = checks.array("winner", winner, low=0, high=size - 1).astype(int)
    shape = np.broadcast_shapes(mean.shape[:-1], covariance.shape[:-2], np.shape(winner))
    mean = np.broadcast_to(mean, (*shape, size)).reshape(-1, size)
    covariance = np.broadcast_to(covariance, (*shape, size, size)).reshape(-1, size, size)
    winner = np.broadcast_to(winner, shape).ravel()
    # Noise of no account: it breaks ties, and a singular covariance has a Cholesky factor.
    trace = np.trace(covariance, axis1=1, axis2=2)
    length = (mean**2).sum(axis=1)
    noise = np.where(trace > 0, 1e-13 * trace, np.where(length > 0, 1e-26 * length, 1.0))
    covariance = covariance + noise[:, None, None] * np.eye(size)

    others = np.argsort(np.arange(size) == winner[:, None], axis=1, kind="stable")[:, :-1]
    lead = np.take_along_axis(mean, winner[:, None], axis=1) - np.take_along_axis(mean, others, axis=1)
    contrast = np.eye(size)[winner][:, None] - np.eye(size)[others]
    spread = contrast @ covariance @ contrast.transpose(0, 2, 1)
    squares = np.diagonal(spread, axis1=1, axis2=2)
    if not (squares > 0).all():
        raise ValueError("covariance must be positive semi-definite, got one that is not")
    deviation = np.sqrt(squares)
    lead, spread = lead / deviation, spread / (deviation[:, :, None] * deviation[:, None])
    order = np.argsort(lead, axis=1)  # the closest rivals first: the integrand then varies least
    lead = np.take_along_axis(lead, order, axis=1)
    ordered = np.take_along_axis(np.take_along_axis(spread, order[:, :, None], 1), order[:, None], 2)
    try:
        factor = np.linalg.cholesky(ordered)
    except np.linalg.LinAlgError as error:
        raise ValueError("covariance must be positive semi-definite, got one that is not") from error
    block = max(1, BLOCK // (2**LOG_POINTS * size))
    parts = [_orthant(lead[i : i + block], factor[i : i + block]) for i in range(0, len(lead), block)]
    return np.concatenate(parts).reshape(shape)[()]


@lru_cache(maxsize=8)
def _points(dimension: int) -> Array:
    """Centred points of a Sobol sequence in the unit cube."""
    return checks.frozen(Sobol(dimension, scramble=False).random_base2(LOG_POINTS) + 0.5**LOG_POINTS / 2)


def _orthant(lead: Array, factor: Array) -> Array:
    """P(factor y < lead) for standard normal y; `lead` is (B, K - 1), `factor` lower triangular."""
    chance = ndtr(lead[:, :1] / factor[:, :1, 0])
    rivals = lead.shape[1]
    if rivals == 1:
        return chance[:, 0]
    points = _points(rivals - 1)
    product, y = chance, np.empty((len(lead), len(points), rivals - 1))
    for j in range(1, rivals):
        y[:, :, j - 1] = ndtri(np.maximum(points[:, j - 1] * chance, 1e-300))
        pulled = (y[:, :, :j] @ factor[:, j, :j, None])[:, :, 0]
        chance = ndtr((lead[:, j, None] - pulled) / factor[:, j, j, None])
        product = product * chance
    return product.mean(axis=1)


def predict_classes(
    targets: Sequence[Mixture],
    sources: Sequence[ClassSource],
    *,
    gamma: float,
    shares: Any = None,
    intercept: float = 0.0,
) -> ClassLaw:
    r"""Limit of the law of the K scores :math:`W'x`, from the master theorem with several outputs.

    :math:`W = \arg\min \frac1N \sum_i \omega_i q_i |t_i - W'x_i|^2 + \gamma |W|^2`, :math:`t_i` the unit vector of the
    given label. A vector added to all labels that is the same in every entry shifts all scores alike and changes no
    guess.

    Parameters
    ----------
    targets : sequence of Mixture
        Features of fresh samples of each class, in the order of the labels.
    sources : sequence of ClassSource
        Training data, any number of sources, at least one sample drawn in all.
    gamma : float
        Ridge penalty, > 0.
    shares : (K,) array, optional
        Share of each class among fresh samples; equal by default.
    intercept : float
        Scale of a constant coordinate that is added to all features: a large one leaves the intercept free, 0 means
        none.

    Returns
    -------
    ClassLaw
        Means (K, K) and covariances (K, K, K).

    Raises
    ------
    ValueError, TypeError
        Bad input.
    ConvergenceError
        As in `predict`.

    Examples
    --------
    >>> from rmt_lib.topics.many_classes import class_sources, predict_classes, simplex
    >>> classes = simplex(20, 3, 1.0)
    >>> law = predict_classes(classes, class_sources(classes, 100, epsilon=0.3, rho=0.5), gamma=0.1)
    >>> print(round(float(law.overall), 3), law.confusion[0].round(3).tolist())
    0.682 [0.682, 0.159, 0.159]
    """
    targets, sources, gamma, shares = _checked(targets, sources, gamma, shares, intercept)
    eye = np.eye(len(targets))
    trained = [
        TrainingSet(s.mixture, s.n, s.weight, Moments(s.mixture.mean[:, None], eye, s.groups[:, None, None]))
        for s in sources
    ]
    law = score_law(targets, trained, gamma=gamma)
    return ClassLaw(law.mean, law.covariance, shares)


def simulate_classes(
    targets: Sequence[Mixture],
    sources: Sequence[ClassSource],
    *,
    gamma: float,
    trials: int,
    seed: int | np.random.SeedSequence | np.random.Generator,
    shares: Any = None,
    intercept: float = 0.0,
    method: Method = "sufficient",
    executor: Executor | None = None,
) -> ClassLaw:
    """Train on fresh data `trials` times; given W the scores of a fresh sample are exactly Gaussian.

    Parameters
    ----------
    targets, sources, gamma, shares, intercept
        As in `predict_classes`; every `ClassSource.n` must be a whole number.
    trials, seed, method, executor
        As in `simulate`.

    Returns
    -------
    ClassLaw
        Means (trials, K, K) and covariances (trials, K, K, K).

    Raises
    ------
    ValueError, TypeError
        Bad input.

    Examples
    --------
    >>> from rmt_lib.topics.many_classes import class_sources, simplex, simulate_classes
    >>> classes = simplex(20, 3, 1.0)
    >>> sources = class_sources(classes, 100, epsilon=0.3, rho=0.5)
    >>> law = simulate_classes(classes, sources, gamma=0.1, trials=10, seed=1)
    >>> print(law.means.shape, round(float(law.overall.mean()), 3))
    (10, 3, 3) 0.682
    """
    targets, sources, gamma, shares = _checked(targets, sources, gamma, shares, intercept)
    eye = np.eye(len(targets))
    batches = tuple(
        Batch(s.mixture.mean, s.mixture.root, checks.count("n", s.n, low=0), s.groups, s.weight, labels=eye)
        for s in sources
    )
    means, covariances = simulate_scores(
        targets, batches, gamma=gamma, trials=trials, seed=seed, method=method, executor=executor
    )
    return ClassLaw(means, covariances, shares)


def _checked(
    targets: Any, sources: Any, gamma: Any, shares: Any, intercept: Any
) -> tuple[tuple[Mixture, ...], tuple[ClassSource, ...], float, Array]:
    targets, sources = tuple(targets), tuple(sources)
    size = len(targets)
    for name, values, kind in (("targets", targets, Mixture), ("sources", sources, ClassSource)):
        for value in values:
            if not isinstance(value, kind):
                raise TypeError(f"{name} must hold {kind.__name__} objects, got {checks.shown(value)}")
    if size < 2:
        raise ValueError(f"targets must be two or more, got {size}")
    if sum(source.n for source in sources) == 0:
        raise ValueError("n must be positive for at least one source, got 0 for all")
    for source in sources:
        if source.labels.size != size:
            raise ValueError(f"labels must have one entry for each of {size} targets, got {source.labels.size}")
    for mixture in (*targets, *(source.mixture for source in sources)):
        if mixture.p != targets[0].p:
            raise ValueError(f"mixtures must share one dimension, got p = {targets[0].p} and p = {mixture.p}")
    shares = np.full(size, 1 / size) if shares is None else checks.array("shares", shares, low=0, high=1)
    if shares.shape != (size,) or abs(shares.sum() - 1) > 1e-9:
        raise ValueError(f"shares must be {size} numbers that sum to 1, got {checks.shown(shares)}")
    gamma = checks.number("gamma", gamma, low=0, open_low=True)
    intercept = free_intercept(checks.number("intercept", intercept, low=0), gamma)
    if intercept:
        targets = tuple(with_constant(target, intercept) for target in targets)
        sources = tuple(replace(source, mixture=with_constant(source.mixture, intercept)) for source in sources)
    return targets, sources, gamma, checks.frozen(shares)


def exchangeable_accuracy(separation: Any, classes: int) -> Array:
    r""":math:`E \Phi(d + \xi)^{K-1}`: the chance that d + g_1 exceeds g_2, ..., g_K, all standard normal.

    Parameters
    ----------
    separation : array_like
        d, finite or infinite.
    classes : int
        K >= 2.

    Returns
    -------
    array
        Of the shape of `separation`.

    Raises
    ------
    ValueError, TypeError
        Bad input.

    Examples
    --------
    >>> from rmt_lib.topics.many_classes import exchangeable_accuracy
    >>> exchangeable_accuracy([0.0, 1.0, 2.0], 10).round(3).tolist()
    [0.1, 0.341, 0.674]
    """
    separation = checks.array("separation", separation, infinite=True)[..., None]
    power = checks.count("classes", classes, low=2) - 1
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    return (ndtr(separation + nodes) ** power @ (weights / weights.sum()))[()]


def predict_exchangeable(
    classes: int,
    *,
    mu: Any,
    epsilon: Any = 0.0,
    phi: Any = 1.0,
    rho: Any = 1.0,
    generator: Any = "known_mean",
    **setting: Any,
) -> Array:
    r"""Limit of the accuracy for K equally large classes at the corners of a simplex, C = I: a binary task in disguise.

    Exchangeable scores with separation :math:`d = \sqrt K z`, where z is that of `predict_isotropic` at the squared
    signal :math:`2 \mu^2 / K`, all samples kept with probability :math:`\alpha = \phi (1 - \epsilon) + \rho \epsilon`
    and labels flipped with probability :math:`(1 - \lambda / \alpha) / 2`, where :math:`\lambda = \phi (1 - \epsilon) -
    \rho \epsilon / (K - 1)`.

    Parameters
    ----------
    classes : int
        K >= 2.
    mu : float or array
        Half the distance between any two classes.
    epsilon, phi, rho
        Label noise of the synthetic samples, spread evenly over the other classes, and verifier.
    generator : {"known_mean", "held_out"}
        Fitted to `n_hat` samples, in equal parts of all classes, with one covariance for all.
    **setting
        p, n, m, gamma, n_hat and weight of `predict_isotropic`; n, m and n_hat count the samples of all classes. All
        broadcast against each other.

    Returns
    -------
    array
        Of the broadcast shape.

    Raises
    ------
    ValueError, TypeError
        Bad input.

    Examples
    --------
    >>> from rmt_lib.topics.many_classes import predict_exchangeable
    >>> predict_exchangeable(10, p=100, n=1000, m=[0, 1000], mu=1.0, gamma=1.0, epsilon=0.2).round(3).tolist()
    [0.387, 0.413]
    """
    classes = checks.count("classes", classes, low=2)
    mu = checks.array("mu", mu, low=0)
    coins = Coins(epsilon=epsilon, phi=phi, rho=rho)
    checks.one_of("generator", generator, ("known_mean", "held_out"))
    alpha = coins.alpha
    flipped = np.divide(
        coins.kept_wrong * classes, 2 * (classes - 1) * alpha, out=np.zeros(alpha.shape), where=alpha > 0
    )
    binary = predict_isotropic(
        mu=np.sqrt(2 / classes) * mu,
        epsilon=np.minimum(flipped, 1),
        phi=np.minimum(alpha, 1),
        rho=np.minimum(alpha, 1),
        generator=generator,
        **setting,
    )
    return exchangeable_accuracy(np.sqrt(classes) * binary.z, classes)
