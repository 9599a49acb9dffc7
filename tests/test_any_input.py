"""Every public function over twelve decades of its arguments: finite numbers or an error that names a parameter.

Each call has ten seconds. What may be infinite is listed; nothing may be NaN, and nothing may warn.
"""

from __future__ import annotations

import inspect
import re
from dataclasses import fields, is_dataclass

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_layout import PUBLIC

from rmt_lib import ConvergenceError, Mixture, Population, Source
from rmt_lib.topics.deliberate_practice import LinearTask
from rmt_lib.topics.many_classes import class_sources, simplex
from rmt_lib.topics.unequal_classes import ClassScores, TwoClasses

decades = st.floats(-6, 6).map(lambda power: 10.0**power)
counts = st.one_of(st.just(0.0), decades)
whole = st.integers(1, 300)
rates = st.one_of(
    st.sampled_from([0.0, 0.5, 1.0]), st.floats(0, 1), st.floats(-12, 0).map(lambda power: 10.0**power)
).map(lambda rate: rate if rate > 1e-12 else 0.0)
cosines = st.one_of(st.sampled_from([-1.0, 0.0, 1.0]), st.floats(-1, 1))
generators = st.sampled_from(["known_mean", "held_out", "reused"])
fitted = st.sampled_from(["known_mean", "held_out"])
n_hats = st.one_of(st.just(np.inf), decades.filter(lambda value: value >= 1))
labels = {"epsilon": rates, "phi": rates, "rho": rates}


@st.composite
def mixtures(draw, p=6):
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    mean = rng.standard_normal(p) * draw(decades) ** 0.5
    shape = draw(st.sampled_from(["multiple", "diagonal", "full", "thin"]))
    size = draw(decades)
    if shape == "multiple":
        return Mixture(mean, size)
    if shape == "diagonal":
        return Mixture(mean, size * rng.exponential(size=p))
    factor = rng.standard_normal((p, 2 * p if shape == "full" else 2))
    return Mixture(mean, size * factor @ factor.T)


def sources(n=counts):
    one = st.builds(Source, mixtures(), n, weight=decades, **labels)
    return st.lists(one, min_size=1, max_size=3)


def classes(n=counts):
    """A world, and sources of it, both with one intercept."""
    scale = st.one_of(st.just(0.0), decades)
    worlds = st.builds(TwoClasses, mixtures(), mixtures(), scale)
    return st.tuples(worlds, n, n, rates, decades).map(
        lambda drawn: (drawn[0], drawn[0].sources(drawn[1], drawn[2], epsilon=drawn[3], weight=drawn[4]))
    )


isotropic = {"p": whole, "n": counts, "m": counts, "mu": counts, "n_hat": n_hats, "generator": generators, **labels}
fixed = {"target": mixtures(), "n": counts, "m": counts, "gamma": decades, **labels}
at_ridge = {"target": mixtures(), "n": counts, "m": counts, **labels}
mix = {**at_ridge, "n_hat": n_hats}
chain = {"generations": st.integers(1, 8), "n_hat": decades, "share": st.sampled_from([0.0, 0.2, 1.0]),
         "regime": st.sampled_from(["replace", "fresh", "accumulate"]), "balance": cosines}  # fmt: skip
real_only = {"p": whole, "n": decades, "mu": decades, "gamma": decades}
margins = {"low": counts, "high": st.one_of(st.just(np.inf), decades)}
ratios = {"ratios": st.lists(decades, min_size=1, max_size=4)}
draws = {"trials": st.just(2), "seed": st.integers(0, 9)}
few = st.integers(0, 40)

ARGUMENTS = {
    "predict": {"target": mixtures(), "sources": sources(), "gamma": decades},
    "predict_isotropic": {**isotropic, "gamma": decades, "weight": decades},
    "predict_fitted": {**fixed, "n_hat": n_hats, "generator": generators, "weight": decades},
    "simulate": {"target": mixtures(), "sources": sources(few), "gamma": decades, **draws},
    "simulate_isotropic": {**isotropic, "p": st.integers(1, 20), "n": few, "m": few, "gamma": decades,
                           "n_hat": st.integers(1, 40), **draws},
    "marchenko_pastur.support": {"c": decades},
    "marchenko_pastur.atom": {"c": decades},
    "marchenko_pastur.density": {"x": st.floats(-1e6, 1e6), "c": decades},
    "marchenko_pastur.trace": {"a": decades, "k": counts, "c": counts},
    "topics.synthetic_only.critical_noise": {"phi": rates, "rho": rates},
    "topics.synthetic_only.slope_at_critical_noise": {
        **real_only, "n": None, "m": decades, "phi": rates, "rho": rates, "n_hat": n_hats, "generator": fitted},
    "topics.synthetic_only.transition_curve": {
        "x": st.floats(-1e3, 1e3), "mu": counts, "gamma": decades, "phi": rates, "rho": rates, "c": counts,
        "generator": fitted},
    "topics.when_it_helps.first_sample_values": real_only,
    "topics.when_it_helps.break_even_noise": {**real_only, "phi": rates, "rho": rates},
    "topics.when_it_helps.z_at_infinite_gamma_isotropic": {**isotropic, "weight": decades},
    "topics.when_it_helps.z_at_infinite_gamma": {"target": mixtures(), "sources": sources()},
    "topics.when_it_helps.best_gamma_isotropic": {**isotropic, "weight": decades},
    "topics.when_it_helps.best_gamma": {"target": mixtures(), "sources": sources()},
    "topics.when_it_helps.worth_in_real_samples": {**isotropic, "gamma": st.one_of(st.none(), decades)},
    "topics.when_it_helps.spectral_unit": {"target": mixtures()},
    "topics.released_code.predict_pruned": {"target": mixtures(), "sources": sources(), "gamma": decades},
    "topics.released_code.predict_closed_form": {**isotropic, "generator": None, "gamma": decades},
    "topics.released_code.critical_gamma": {"alpha": rates, "ratio": decades},
    "topics.weights.weight_at_infinite_gamma_isotropic": {
        **labels, "m": counts, "n_hat": n_hats, "generator": generators},
    "topics.weights.break_even_balance": {**real_only, "m": counts},
    "topics.weights.best_weight_isotropic": {**isotropic, "gamma": st.one_of(st.none(), decades)},
    "topics.weights.best_mix_isotropic": {**isotropic, "m": None, "m_max": counts},
    "topics.weights.best_weight": {
        "target": mixtures(), "sources": sources(), "index": st.integers(0, 2), "gamma": decades},
    "topics.deliberate_practice.band": {**margins, "agreement": cosines},
    "topics.deliberate_practice.student_cosine": {
        **margins, "theta": decades, "gamma_kept": decades, "labeller": cosines, "pruner": cosines, "balance": cosines},
    "topics.deliberate_practice.best_student": {
        **margins, "theta": decades, "labeller": cosines, "pruner": cosines, "balance": cosines},
    "topics.deliberate_practice.easy_margin": {"share": rates},
    "topics.deliberate_practice.hard_margin": {"share": rates},
    "topics.deliberate_practice.error_of": {"cosine": cosines},
    "topics.generations.expected_moments": {"trace": counts, "signal": counts, **chain},
    "topics.generations.predict_generations": {**fixed, **chain, "weight": decades, "generator": fitted},
    "topics.generations.draw_generations": {"target": mixtures(), **chain, "n_hat": whole, "seed": few},
    "topics.generations.draw_tokens": {
        "probabilities": st.just([0.5, 0.3, 0.2]), **chain, "balance": None, "n_hat": whole, "seed": few},
    "topics.generations.support": ratios,
    "topics.generations.spectrum": ratios,
    "topics.generations.spectral_moments": {**ratios, "order": st.integers(1, 4)},
    "topics.unequal_classes.balancing_weights": {
        "world": st.builds(TwoClasses, mixtures(), mixtures()), "n_plus": decades, "n_minus": decades,
        "gamma": decades},
    "topics.scaling_laws.power_law": {
        "p": whole, "spectrum": st.floats(0, 3), "tail": st.floats(-1, 3), "amplitude": decades},
    "topics.scaling_laws.predict_at_ridge": {**at_ridge, "ridge": decades},
    "topics.scaling_laws.best_ridge": at_ridge,
    "topics.scaling_laws.share_range": {**mix, "ridge": decades},
    "topics.scaling_laws.predict_mix_at_ridge": {**mix, "ridge": decades, "share": rates, "label_size": decades},
    "topics.scaling_laws.best_mix": {**mix, "label_size": st.floats(0.1, 10)},
    "topics.scaling_laws.label_cost": {"signal": counts, **labels},
    "topics.scaling_laws.effective_samples": {"n": counts, "m": counts, "n_hat": n_hats, "cost": decades},
    "topics.scaling_laws.price": {"m": counts, "n_hat": n_hats, "cost": decades},
    "topics.scaling_laws.enough": {
        "excess": decades, "n_hat": decades, "cost": decades, "n": counts, "exponent": st.floats(0.1, 3)},
    "topics.many_classes.exchangeable_accuracy": {"separation": st.floats(-1e6, 1e6), "classes": st.integers(2, 50)},
    "topics.many_classes.predict_exchangeable": {
        **isotropic, "classes": st.integers(2, 20), "generator": fitted, "gamma": decades, "weight": decades},
}  # fmt: skip
MAY_BE_INFINITE = {
    "hard_margin", "best_gamma", "best_gamma_isotropic", "best_mix_isotropic", "best_weight", "best_weight_isotropic",
    "label_cost",
    "slope_at_critical_noise", "worth_in_real_samples", "effective_samples", "price",
}  # fmt: skip


def numbers(value):
    """All numbers in a result, however nested."""
    if isinstance(value, Mixture):
        yield from (value.mean.ravel(), value.cov.ravel())
    elif is_dataclass(value):
        for field in fields(value):
            yield from numbers(getattr(value, field.name))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from numbers(item)
    elif value is not None and not isinstance(value, str):
        yield np.asarray(value, dtype=float)


def check(call, names, infinite):
    """Finite, or an error that names one of the parameters."""
    try:
        result = call()
    except ConvergenceError:
        return
    except (TypeError, ValueError) as error:
        assert re.search(rf"\b({'|'.join(names)})\b", str(error)), f"names no parameter: {error}"
        return
    for found in numbers(result):
        assert not np.isnan(found).any()
        assert infinite or np.isfinite(found).all()


OTHERS = ["n", "mean", "variance", "deltas", "cov", "samples", "lambda", "margin"]
"""What an error may name instead of a parameter: a result that overflowed, or what parameters make together."""


@pytest.mark.parametrize("name", ARGUMENTS)
def test_any_size(name):
    function = PUBLIC[name]
    strategies = {key: value for key, value in ARGUMENTS[name].items() if value is not None}
    names = [*inspect.signature(function).parameters, *strategies, *OTHERS]

    @settings(max_examples=25, deadline=10_000, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(st.fixed_dictionaries(strategies))
    def run(arguments):
        check(lambda: function(**arguments), names, name.split(".")[-1] in MAY_BE_INFINITE)

    run()


@settings(max_examples=25, deadline=10_000, derandomize=True, suppress_health_check=list(HealthCheck))
@given(classes(), decades, n_hats, n_hats)
def test_any_two_classes(drawn, gamma, first, second):
    world, trained = drawn
    predict, generators = (
        PUBLIC[f"topics.unequal_classes.{name}"] for name in ("predict_two_classes", "predict_class_generators")
    )
    names = ["n", "gamma", "intercept", "cov", "n_hat", "mean", "variance", "share_plus"]
    check(lambda: predict(world, trained, gamma=gamma), names, False)
    unit = TwoClasses(Mixture(world.plus.mean), Mixture(world.minus.mean), world.intercept)
    of_unit = unit.sources(*(source.n for source in trained))
    pairs = list(zip(of_unit, (first, second), strict=True))
    check(lambda: generators(unit, [], pairs, gamma=gamma), names, False)


@settings(max_examples=50, deadline=10_000, derandomize=True)
@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=2), st.lists(decades, min_size=2, max_size=2), rates)
def test_any_offset(mean, variance, share):
    scores = ClassScores(np.array(mean), np.array(variance))
    check(lambda: scores.best_offset(share), ["share_plus", "variance"], False)


@settings(max_examples=20, deadline=10_000, derandomize=True, suppress_health_check=list(HealthCheck))
@given(decades, decades, counts, rates, rates, counts)
def test_any_number_of_classes(mu, gamma, n, epsilon, rho, intercept):
    predict = PUBLIC["topics.many_classes.predict_classes"]
    corners = simplex(8, 4, mu)

    def call():
        law = predict(corners, class_sources(corners, n, epsilon=epsilon, rho=rho), gamma=gamma, intercept=intercept)
        return law.overall, law.confusion

    check(call, ["n", "gamma", "intercept", "epsilon", "mean", "covariance"], False)


def test_every_public_function_is_tried():
    """Besides classes, and functions that take what others have checked or that the tests above call themselves."""
    apart = {
        "product_traces", "shrinkage", "z_of_real_data", "weighted_sums", "best_on_grid", "defined_accuracy",
        "folded_accuracy", "win_chances", "class_sources", "simplex", "predict_classes", "simulate_classes",
        "predict_two_classes", "simulate_two_classes", "predict_class_generators",
    }  # fmt: skip
    functions = {name for name, value in PUBLIC.items() if inspect.isfunction(value)}
    assert {name for name in functions if name.split(".")[-1] not in apart} == set(ARGUMENTS)


@pytest.mark.parametrize("scale", [1e-9, 1e-3, 1e5, 1e9])
def test_the_unit_of_the_features_does_not_matter(scale):
    """Features times s, covariances times s^2, penalties and ridges times s^2: nothing else changes."""
    rng = np.random.default_rng(2410)
    factor = rng.standard_normal((12, 30))
    cov, means = factor @ factor.T / 30, rng.standard_normal((3, 12)) / 3

    def results(s):
        real, made, other = (
            Mixture(s * mean, s**2 * size * cov) for mean, size in zip(means, (1, 0.5, 2), strict=True)
        )
        trained, gamma = [Source(real, 30), Source(made, 80, epsilon=0.2, weight=0.7)], 0.1 * s**2
        world = TwoClasses(real, other, 5 * s)
        given = {name: PUBLIC[name] for name in PUBLIC}
        topic = {name.split(".")[-1]: value for name, value in given.items()}
        rows = means[0] * np.resize([1.0, -1.0], 60)[:, None] + rng_rows @ factor.T / 30**0.5
        population = Population.of_data(s * rows, np.resize([1.0, -1.0], 60))
        task = LinearTask(means[0] / s, s**2 * cov)
        best, ridge = topic["best_gamma"](real, trained), topic["best_ridge"](real, n=30, m=80, epsilon=0.2)
        mixed = topic["best_mix"](real, n=30, m=80, epsilon=0.3)
        several = [Mixture(s * mean, s**2 * cov) for mean in means]
        return [
            topic["predict"](real, trained, gamma=gamma).accuracy,
            topic["simulate"](real, trained, gamma=gamma, trials=3, seed=1).accuracy.mean(),
            topic["predict_fitted"](real, n=30, m=80, gamma=gamma, n_hat=40, generator="held_out").accuracy,
            topic["predict_fitted"](population, n=30, m=0, gamma=gamma).accuracy,
            topic["predict_generations"](real, 3, n=30, m=80, gamma=gamma, n_hat=40).accuracy,
            topic["predict_pruned"](real, trained, gamma=gamma).accuracy,
            topic["z_at_infinite_gamma"](real, trained),
            best.accuracy, best.gamma / s**2,
            topic["best_weight"](real, trained, 1, gamma=gamma).weight,
            topic["predict_at_ridge"](real, ridge=0.2 * s**2, n=30, m=80).z,
            ridge.z, ridge.ridge / s**2, mixed.z, mixed.share, mixed.gamma / s**2,
            topic["predict_two_classes"](world, world.sources(30, 40), gamma=gamma).accuracy[0],
            topic["balancing_weights"](world, 30, 90, gamma=gamma)[0],
            topic["predict_classes"](several, class_sources(several, 30), gamma=gamma, intercept=s).overall,
            topic["expected_moments"](s**2, 2 * s**2, 3, n_hat=20).drift[-1] / s**2,
            task.accuracy(topic["predict"](task.target, [task.source(50, keep=_hard)], gamma=gamma)),
        ]  # fmt: skip

    rng_rows = rng.standard_normal((60, 30))
    np.testing.assert_allclose(results(scale), results(1.0), rtol=2e-4)


def _hard(z):
    return np.abs(z) < 1
