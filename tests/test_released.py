"""The released formulas against the master theorem and simulation: the measured differences."""

import numpy as np
import pytest

from rmt_lib import predict_isotropic, simulate_isotropic
from rmt_lib.released import predict_pruned

SHARP = dict(p=400, m=400, mu=1.0, gamma=0.05, epsilon=0.3, phi=0.3, rho=0.3)
MILD = dict(p=200, m=400, mu=1.0, gamma=0.1, epsilon=0.3, phi=0.5, rho=0.1)
FULL = dict(p=200, n=400, m=1600, n_hat=400, mu=0.7, gamma=0.1, epsilon=0.3)


def within(simulation, name, value, errors=3.0):
    estimate = simulation.estimate(name)
    return abs(estimate.value - value) <= errors * estimate.standard_error


def test_pruning_inside_the_fixed_point_moves_mean_and_variance():
    corrected, released = predict_isotropic(n=0, **SHARP), predict_pruned(**SHARP)
    np.testing.assert_allclose(
        [corrected.mean, corrected.variance, corrected.accuracy], [0.0876, 0.3437, 0.5594], atol=5e-5
    )
    assert released.mean == pytest.approx(0.160, abs=5e-4)
    assert released.variance == pytest.approx(-2.8, abs=0.05)
    with pytest.raises(ValueError, match="variance must be >= 0, got -2.8"):
        _ = released.accuracy
    simulation = simulate_isotropic(n=0, **SHARP, trials=400, seed=2410)
    for name in ("mean", "variance", "accuracy"):
        assert within(simulation, name, getattr(corrected, name))
    assert not within(simulation, "mean", released.mean, errors=10)
    assert not within(simulation, "variance", released.variance, errors=10)


def test_pruning_inside_the_fixed_point_moves_accuracy():
    corrected, released = predict_isotropic(n=0, **MILD), predict_pruned(**MILD)
    assert corrected.accuracy == pytest.approx(0.6622, abs=5e-5)
    assert released.accuracy == pytest.approx(0.6156, abs=5e-5)
    simulation = simulate_isotropic(n=0, **MILD, trials=600, seed=2411)
    assert within(simulation, "accuracy", corrected.accuracy)
    assert not within(simulation, "accuracy", released.accuracy, errors=10)


def test_released_agrees_where_nothing_is_pruned():
    setting = dict(p=150, m=[100, 1000], mu=1.3, gamma=[[0.01], [1.0]], epsilon=0.2)
    corrected, released = predict_isotropic(n=0, **setting), predict_pruned(**setting)
    np.testing.assert_allclose(released.mean, corrected.mean, rtol=1e-10)
    np.testing.assert_allclose(released.variance, corrected.variance, rtol=1e-10)


def test_second_moment_of_the_known_mean_closed_form():
    """The released value here is .1895: more than 5 standard errors from simulation, the theorem within 3."""
    corrected = predict_isotropic(**FULL)
    assert corrected.variance == pytest.approx(0.1842, abs=5e-5)
    simulation = simulate_isotropic(**FULL, trials=1000, seed=2412)
    assert within(simulation, "variance", corrected.variance)
    assert not within(simulation, "variance", 0.1895, errors=5)


@pytest.mark.parametrize(("generator", "accuracy"), [("known_mean", 0.6920), ("held_out", 0.6743)])
def test_knowing_the_mean_matters(generator, accuracy):
    setting = dict(p=400, n=800, m=3200, n_hat=800, mu=0.7, gamma=1.0, epsilon=0.3, generator=generator)
    prediction = predict_isotropic(**setting)
    assert prediction.accuracy == pytest.approx(accuracy, abs=5e-5)
    assert within(simulate_isotropic(**setting, trials=150, seed=2413), "accuracy", prediction.accuracy)


def test_accuracy_is_not_folded_back_past_the_critical_noise():
    prediction = predict_isotropic(p=100, n=0, m=1000, mu=1.0, gamma=1.0, epsilon=0.95, phi=0.8, rho=0.3)
    assert prediction.mean < 0
    assert prediction.accuracy < 0.5
