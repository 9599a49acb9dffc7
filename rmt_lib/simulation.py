"""Exact simulation: train the ridge classifier on sampled data and read off mean, variance, accuracy and risk.

Trained on Gaussian sources, the classifier depends on the data only through, for each source, the counts of kept
samples by label, their sums and one scatter matrix. The scatter is Wishart and independent of the sums, so a trial
draws these directly (Bartlett's decomposition) at a cost that does not grow with the number of samples. Where verifier
or labels look at a projection, that projection is drawn for every sample, and the rest in the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from functools import cached_property, lru_cache
from threading import Lock
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.linalg.blas import dsyrk, dtrmm
from scipy.linalg.lapack import dpocon
from threadpoolctl import ThreadpoolController

from rmt_lib import checks
from rmt_lib.checks import Array
from rmt_lib.execution import in_order_of_completion, progress
from rmt_lib.model import SIGNS, Mixture, Setting, Source, apply, check_sources
from rmt_lib.results import Simulation
from rmt_lib.selection import Axes, Rule

Method = Literal["sufficient", "samples"]
BLOCK = 4096
CHUNKS = 64
CONDITION = 1e-13  # reciprocal, below which a trained classifier has fewer than about three right digits


class Selection(NamedTuple):
    """Axes and rule of a source whose verifier or labels look at the sample."""

    axes: Axes
    rule: Rule

    def outcome(self, rng: np.random.Generator, x: Array) -> NDArray[np.integer]:
        """Group of samples with coordinates x (size, r): 0 kept and right, 1 kept and wrong, 2 dropped."""
        right, wrong = self.rule.chances(self.axes.centre + x @ self.axes.spread.T)
        level = rng.random(len(x))
        return np.where(level < right, 0, np.where(level < right + wrong, 1, 2))


class Batch(NamedTuple):
    """A source as one trial sees it: signed features are mean + root z; `root` is scalar, (p,) or (p, r).

    A sample is kept in group j with probability `groups[j]` and the label `labels[j]`, (groups, outputs), unless
    `selection` looks at its projections. `triangular` says that `root` is square and lower triangular.
    """

    mean: Array
    root: Array
    n: int
    groups: Sequence[float] | Array
    weight: float
    triangular: bool = False
    labels: Array = SIGNS
    selection: Selection | None = None

    @property
    def chances(self) -> Array:
        """Probability of each group, and of being dropped."""
        return np.array([*self.groups, max(0.0, np.subtract.reduce([1.0, *self.groups]))])

    @property
    def width(self) -> int:
        """Dimension of z."""
        return self.root.shape[1] if self.root.ndim == 2 else self.mean.size

    def spread(self, columns: Array) -> Array:
        """root times `columns` (width, k)."""
        if self.triangular:
            return dtrmm(1.0, self.root, columns, lower=1, overwrite_b=1)
        return apply(self.root, columns)


class _Training:
    """What a ridge classifier is made of: gamma I + sum omega/N q u u' (lower half) and sum omega/N q s u."""

    def __init__(self, p: int, gamma: float, total: int, outputs: int = 1) -> None:
        self.gamma, self.total = gamma, total
        self.gram = np.zeros((p, p), order="F")
        self.gram[np.diag_indices(p)] = gamma
        self.moment = np.zeros((p, outputs))

    def add_squares(self, weight: float, factor: Array) -> None:
        """Add weight factor factor' / N."""
        if not factor.size:
            return  # nothing was kept; LAPACK would print a complaint
        if factor.flags.c_contiguous:
            self.gram = dsyrk(weight / self.total, factor.T, trans=1, beta=1.0, c=self.gram, lower=1, overwrite_c=1)
        else:
            self.gram = dsyrk(weight / self.total, factor, beta=1.0, c=self.gram, lower=1, overwrite_c=1)

    def add_moment(self, weight: float, moment: Array) -> None:
        """Add weight moment / N; moment is (p, outputs)."""
        self.moment += weight / self.total * moment

    def classifier(self) -> Array:
        """w = gram^{-1} moment, (p, outputs); `gram` is used up."""
        norm = np.sqrt(2) * np.linalg.norm(self.gram)  # of its lower half: at least that of the whole matrix
        try:
            factor, lower = cho_factor(self.gram, lower=True, overwrite_a=True, check_finite=False)
            condition, _ = dpocon(factor, norm, uplo="L")
        except LinAlgError:
            condition = 0.0
        if not condition > CONDITION:
            raise ValueError(
                "gamma must be large enough for the training matrix to be well conditioned in double precision, "
                f"got {self.gamma:g}"
            )
        return cho_solve((factor, lower), self.moment)


@lru_cache(maxsize=8)
def _below_diagonal(p: int, r: int) -> NDArray[np.intp]:
    rows, columns = np.tril_indices(p, -1, r)
    return rows + columns * p


def bartlett(rng: np.random.Generator, p: int, degrees: int) -> Array:
    """Lower trapezoidal L, (p, min(p, degrees)), with L L' ~ Wishart_p(I, degrees)."""
    r = min(p, degrees)
    flat = np.zeros(p * r)
    below = _below_diagonal(p, r)
    flat[below] = rng.standard_normal(below.size)
    flat[: r * (p + 1) : p + 1] = np.sqrt(rng.chisquare(degrees - np.arange(r)))
    return flat.reshape((p, r), order="F")


def _add_sufficient(rng: np.random.Generator, batch: Batch, training: _Training) -> None:
    """One source from counts, sums and a Wishart scatter."""
    if batch.selection is not None:
        return _add_selected(rng, batch, batch.selection, training)
    counts = rng.multinomial(batch.n, batch.chances)[:-1]
    noise = batch.spread(np.asfortranarray(rng.standard_normal((batch.width, counts.size))))
    sums = batch.mean[:, None] * counts + np.sqrt(counts) * noise
    degrees = int(np.maximum(counts - 1, 0).sum())
    if degrees:
        training.add_squares(batch.weight, batch.spread(bartlett(rng, batch.width, degrees)))
    training.add_squares(batch.weight, sums / np.sqrt(np.maximum(counts, 1)))
    training.add_moment(batch.weight, sums @ batch.labels)


def _add_selected(rng: np.random.Generator, batch: Batch, selection: Selection, training: _Training) -> None:
    """A source whose selection looks at coordinates x: these for every sample, the rest u - E[u | x] as a Wishart.

    The rest is independent of x and label, so it may be turned: with U an orthonormal basis of the columns (1, x,
    label) of the kept samples, its part along U is Gaussian and goes with theirs; that across U has a Wishart scatter.
    """
    basis = selection.axes.basis
    x = rng.standard_normal((batch.n, basis.shape[1]))
    outcome = selection.outcome(rng, x)
    kept = outcome < len(batch.labels)
    labels = batch.labels[outcome[kept]]
    told = np.column_stack([np.ones(len(labels)), x[kept], labels])
    directions, size, _ = np.linalg.svd(told, full_matrices=False)
    directions = directions[:, size > 1e-10 * max(size.max(initial=0.0), 1e-300)]

    def across(z: Array) -> Array:
        return batch.spread(z - basis @ (basis.T @ z))

    along = rng.standard_normal((batch.width, directions.shape[1]))
    along = across(along) + batch.spread(basis @ (x[kept].T @ directions))
    along += batch.mean[:, None] * directions.sum(axis=0)
    degrees = len(labels) - directions.shape[1]
    if degrees > 0:
        training.add_squares(batch.weight, across(bartlett(rng, batch.width, degrees)))
    training.add_squares(batch.weight, along)
    training.add_moment(batch.weight, along @ (directions.T @ labels))


def _add_samples(rng: np.random.Generator, batch: Batch, training: _Training) -> None:
    """One source, drawing every sample; in blocks, to bound the memory."""
    for start in range(0, batch.n, BLOCK):
        size = min(BLOCK, batch.n - start)
        z = np.asfortranarray(rng.standard_normal((batch.width, size)))
        if batch.selection is None:
            outcome: NDArray[np.integer] = rng.choice(len(batch.chances), size=size, p=batch.chances)
        else:
            outcome = batch.selection.outcome(rng, z.T @ batch.selection.axes.basis)
        u, kept = batch.mean[:, None] + batch.spread(z), outcome < len(batch.labels)
        training.add_squares(batch.weight, u[:, kept])
        training.add_moment(batch.weight, u[:, kept] @ batch.labels[outcome[kept]])


ADD = {"sufficient": _add_sufficient, "samples": _add_samples}


def _score(w: Array, mean: Array, root: Array) -> tuple[Array, Array]:
    """Mean w' mean and covariance |root' w|^2 of the scores of a fresh sample, (outputs,) and (outputs, outputs)."""
    pulled = apply(root.T, w)
    return mean @ w, pulled.T @ pulled


def batches_of(sources: Sequence[Source]) -> tuple[Batch, ...]:
    """`sources`, checked, as a trial sees them."""
    return tuple(
        Batch(
            source.mixture.mean,
            source.mixture.root,
            checks.count("n", source.n, low=0),
            () if source.axes else (source.kept_right, source.kept_wrong),
            source.weight,
            selection=Selection(source.axes, source.rule) if source.axes else None,
        )
        for source in sources
    )


class _Trial(NamedTuple):
    """One trial of `simulate_scores`."""

    targets: tuple[tuple[Array, Array], ...]
    """Mean and root of each."""
    batches: tuple[Batch, ...]
    gamma: float
    method: Method

    def __call__(self, rng: np.random.Generator) -> tuple[Array, Array]:
        size, outputs = self.batches[0].mean.size, self.batches[0].labels.shape[1]
        training = _Training(size, self.gamma, sum(batch.n for batch in self.batches), outputs)
        for batch in self.batches:
            ADD[self.method](rng, batch, training)
        classifier = training.classifier()
        scores = [_score(classifier, mean, root) for mean, root in self.targets]
        return np.array([mean for mean, _ in scores]), np.array([covariance for _, covariance in scores])


def simulate_scores(
    targets: Sequence[Mixture],
    batches: Sequence[Batch],
    *,
    gamma: float,
    trials: int,
    seed: Any,
    method: Method = "sufficient",
    executor: Executor | None = None,
) -> tuple[Array, Array]:
    """Train on fresh samples `trials` times; the empirical twin of `rmt_lib.theory.score_law`.

    Means (trials, targets, outputs) and covariances (trials, targets, outputs, outputs) of the scores of a fresh sample
    of each target, exact given the classifier. Other arguments as in `simulate`.
    """
    gamma = checks.number("gamma", gamma, low=0, open_low=True)
    trial = _Trial(
        tuple((target.mean, target.root) for target in targets), tuple(batches), gamma, _check_method(method)
    )
    return _run(trial, trials, seed, executor)


class _IsotropicTrial(NamedTuple):
    """One trial of `simulate_isotropic`: fit the generator, then train."""

    setting: Setting
    p: int
    n: int
    m: int
    fitted: int
    """Samples that the generator is fitted to; 0 if it is the population itself."""
    method: Method

    def __call__(self, rng: np.random.Generator) -> tuple[Array, Array]:
        add, s = ADD[self.method], self.setting
        one = np.array(1.0)
        mean = np.zeros(self.p)
        mean[0] = s.mu
        training = _Training(self.p, float(s.gamma), self.n + self.m)
        centre, root = mean, one
        if s.reused:
            centre, root = self._fit(rng, mean, centred=True)
            training.add_squares(self.fitted, root)
            training.add_squares(self.fitted, centre[:, None])
            training.add_moment(self.fitted, centre[:, None])
            if self.n > self.fitted:
                add(rng, Batch(mean, one, self.n - self.fitted, (1.0, 0.0), 1.0), training)
        else:
            if self.fitted:
                own, root = self._fit(rng, mean, centred=bool(s.generator == "held_out"))
                centre = own if s.generator == "held_out" else mean
            add(rng, Batch(mean, one, self.n, (1.0, 0.0), 1.0), training)
        triangular = self.method == "sufficient" and root.shape == (self.p, self.p)
        kept = float(s.kept_right), float(s.kept_wrong)
        add(rng, Batch(centre, root, self.m, kept, float(s.weight), triangular), training)
        score, variance = _score(training.classifier(), mean, one)
        return score[0], variance[0, 0]

    def _fit(self, rng: np.random.Generator, mean: Array, *, centred: bool) -> tuple[Array, Array]:
        """Mean of draws of N(mean, I) and a root of their covariance, around it or around the true mean."""
        if self.method == "samples":
            u = mean + rng.standard_normal((self.fitted, self.p))
            own = u.mean(axis=0)
            return own, (u - (own if centred else mean)).T / np.sqrt(self.fitted)
        own = mean + rng.standard_normal(self.p) / np.sqrt(self.fitted)
        root = bartlett(rng, self.p, self.fitted - centred)
        root /= np.sqrt(self.fitted)
        return own, root


def simulate(
    target: Mixture,
    sources: Sequence[Source],
    *,
    gamma: float,
    trials: int,
    seed: int | np.random.SeedSequence | np.random.Generator,
    method: Method = "sufficient",
    executor: Executor | None = None,
) -> Simulation:
    """Train the ridge classifier on fresh data `trials` times; the empirical twin of `predict`.

    Parameters
    ----------
    target, sources, gamma
        As in `predict`; every `Source.n` must be a whole number.
    trials : int
        Independent repetitions, >= 1.
    seed : int, SeedSequence or Generator
        Each trial draws from a stream of its own spawned from it: results do not depend on `executor`.
    method : {"sufficient", "samples"}
        Draw counts, sums and a Wishart scatter (cost independent of n), or every sample.
    executor : concurrent.futures.Executor, optional
        Where to run the trials; serial by default.

    Returns
    -------
    Simulation
        One value per trial, exact given the trained classifier.

    Raises
    ------
    ValueError, TypeError
        Bad input, or a `gamma` too small for the training matrix to be well conditioned in double precision.

    Examples
    --------
    >>> from rmt_lib import Mixture, Source, simulate
    >>> target = Mixture([1.5] + 49 * [0.0])
    >>> simulation = simulate(target, [Source(target, 100)], gamma=0.1, trials=20, seed=1)
    >>> value, standard_error = simulation.estimate("accuracy")
    >>> print(f"{value:.3f} +- {standard_error:.3f}")
    0.862 +- 0.004
    """
    batches = batches_of(check_sources(target, sources))
    mean, variance = simulate_scores(
        [target], batches, gamma=gamma, trials=trials, seed=seed, method=method, executor=executor
    )
    return Simulation(mean[:, 0, 0], variance[:, 0, 0, 0])


def simulate_isotropic(
    *,
    p: int,
    n: int,
    m: int,
    mu: float,
    gamma: float,
    trials: int,
    seed: int | np.random.SeedSequence | np.random.Generator,
    epsilon: float = 0.0,
    phi: float = 1.0,
    rho: float = 1.0,
    n_hat: float = np.inf,
    generator: str = "known_mean",
    weight: float = 1.0,
    method: Method = "sufficient",
    executor: Executor | None = None,
) -> Simulation:
    """Fit the generator, draw n real and m synthetic samples, train, `trials` times; twin of `predict_isotropic`.

    The generator is fitted afresh in every trial. A fitted covariance divides by the number of samples; ``known_mean``
    measures it around the true mean, the others around the fitted one. With ``reused`` the samples that it is fitted to
    enter training, beside n - n_hat others.

    Parameters
    ----------
    p, n, m
        As in `predict_isotropic`; whole numbers.
    mu, gamma, epsilon, phi, rho, generator, weight
        As in `predict_isotropic`, single values.
    n_hat : float
        As in `predict_isotropic`; a whole number or infinite.
    trials, seed, method, executor
        As in `simulate`.

    Returns
    -------
    Simulation
        One value per trial, exact given the trained classifier.

    Raises
    ------
    ValueError, TypeError
        Bad input, or a `gamma` too small for the training matrix to be well conditioned in double precision.

    Examples
    --------
    >>> from rmt_lib import simulate_isotropic
    >>> simulation = simulate_isotropic(p=50, n=100, m=200, mu=1.5, gamma=0.1, n_hat=100, trials=20, seed=1)
    >>> value, standard_error = simulation.estimate("accuracy")
    >>> print(f"{value:.3f} +- {standard_error:.3f}")
    0.901 +- 0.002
    """
    setting = Setting(
        p=p, n=n, m=m, mu=mu, gamma=gamma, epsilon=epsilon, phi=phi, rho=rho, n_hat=n_hat, generator=generator,
        weight=weight,
    )  # fmt: skip
    checks.single(
        mu=mu, gamma=gamma, epsilon=epsilon, phi=phi, rho=rho, n_hat=n_hat, generator=generator, weight=weight
    )
    p, n, m = checks.count("p", p, low=1), checks.count("n", n, low=0), checks.count("m", m, low=0)
    fitted = 0 if np.isinf(setting.fitted) else checks.count("n_hat", setting.fitted, low=1)
    trial = _IsotropicTrial(setting, p, n, m, fitted, _check_method(method))
    return Simulation(*_run(trial, trials, seed, executor))


def _check_method(method: Any) -> Method:
    if method not in ADD:
        raise ValueError(f"method must be one of {', '.join(ADD)}, got {checks.shown(method)}")
    return method


class _OneThread:
    """A context in which BLAS has one thread: sums are then added in the same order everywhere, and workers do not
    compete for cores. The number is that of the whole process: the last of several threads to leave sets it back."""

    def __init__(self) -> None:
        self.lock, self.inside = Lock(), 0

    @cached_property
    def controller(self) -> ThreadpoolController:
        return ThreadpoolController()  # takes milliseconds to look for the libraries

    def __enter__(self) -> None:
        with self.lock:
            if not self.inside:
                self.limiter = self.controller.limit(limits=1, user_api="blas")
            self.inside += 1

    def __exit__(self, *_: object) -> None:
        with self.lock:
            self.inside -= 1
            if not self.inside:
                self.limiter.restore_original_limits()


_ONE_THREAD = _OneThread()


Outcome = tuple[Array, Array]


class Trial(Protocol):
    """One trial: means and covariances of the scores of a classifier trained on fresh samples."""

    def __call__(self, rng: np.random.Generator, /) -> Outcome: ...


def _run_chunk(trial: Trial, generators: Sequence[np.random.Generator]) -> list[Outcome]:
    with _ONE_THREAD:
        return [trial(rng) for rng in generators]


def _run(trial: Trial, trials: Any, seed: Any, executor: Executor | None) -> Outcome:
    """What `trial` returns, with the trials as first axis."""
    generators = checks.rng(seed).spawn(checks.count("trials", trials, low=1))
    size = -(-len(generators) // CHUNKS)
    chunks = [generators[i : i + size] for i in range(0, len(generators), size)]
    results: list[list[Outcome]] = [[] for _ in chunks]
    with (
        progress(total=len(generators), desc="simulating", unit="trial") as bar,
        _ONE_THREAD,
    ):
        for i, result in in_order_of_completion(_run_chunk, [(trial, chunk) for chunk in chunks], executor):
            results[i] = result
            bar.update(len(result))
    means, covariances = zip(*(outcome for result in results for outcome in result), strict=True)
    return np.array(means), np.array(covariances)
