"""Every bad input raises an error that names the parameter and what is allowed."""

import numpy as np
import pytest

from rmt_lib import ConvergenceError, Mixture, Source, predict, predict_isotropic, simulate, simulate_isotropic
from rmt_lib import marchenko_pastur as mp

MIXTURE = Mixture([1.0, 0.0])
SOURCE = Source(MIXTURE, 5)
ISOTROPIC = dict(p=4, n=10, m=10, mu=1.0, gamma=0.1)
NAN = float("nan")


@pytest.mark.parametrize(
    ("mean", "cov", "match"),
    [
        ([1.0, np.inf], 1.0, "mean must be finite, got inf"),
        ([NAN, 0.0], 1.0, "mean must be finite, got nan"),
        ([[1.0, 0.0]], 1.0, r"mean must have shape \(p,\)"),
        ([], 1.0, r"mean must have shape \(p,\)"),
        (1.0, 1.0, r"mean must have shape \(p,\)"),
        ([1.0, 0.0], -1.0, "cov must be >= 0, got -1"),
        ([1.0, 0.0], [1.0, -2.0], "cov must be >= 0, got -2"),
        ([1.0, 0.0], [1.0, 1.0, 1.0], r"cov must be a scalar or have shape \(2,\) or \(2, 2\), got shape \(3,\)"),
        ([1.0, 0.0], np.ones((2, 3)), "cov must be a scalar or have shape"),
        ([1.0, 0.0], [[1.0, 0.5], [0.0, 1.0]], "cov must be symmetric"),
        ([1.0, 0.0], [[1.0, 2.0], [2.0, 1.0]], "cov must be positive semi-definite"),
        ([1.0, 0.0], NAN, "cov must be finite, got nan"),
        ([[1.0], [0.0, 2.0]], 1.0, "mean must be a regular array"),
    ],
)
def test_mixture_values(mean, cov, match):
    with pytest.raises(ValueError, match=match):
        Mixture(mean, cov)


@pytest.mark.parametrize("bad", ["a", None, [None, 1.0], ["1", "2"], 1j, True])
def test_mixture_types(bad):
    with pytest.raises(TypeError, match="mean must be a real number"):
        Mixture(bad)
    with pytest.raises(TypeError, match="cov must be a real number"):
        Mixture([1.0, 0.0], bad)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (dict(n=-1), "n must be >= 0 and finite, got -1"),
        (dict(n=NAN), "n must be >= 0 and finite, got nan"),
        (dict(n=np.inf), "n must be >= 0 and finite, got inf"),
        (dict(epsilon=1.1), r"epsilon must be in \[0, 1\], got 1.1"),
        (dict(phi=-0.1), r"phi must be in \[0, 1\], got -0.1"),
        (dict(rho=NAN), r"rho must be in \[0, 1\], got nan"),
        (dict(weight=-1.0), "weight must be >= 0 and finite, got -1"),
        (dict(weight=1e101), "weight must be from 1e-100 to 1e.100 in size, got 1e.101"),
    ],
)
def test_source_values(change, match):
    with pytest.raises(ValueError, match=match):
        Source(**{"mixture": MIXTURE, "n": 5, **change})


@pytest.mark.parametrize("name", ["n", "epsilon", "phi", "rho", "weight"])
@pytest.mark.parametrize("bad", ["1", None, [0.5, 0.5], True])
def test_source_types(name, bad):
    with pytest.raises(TypeError, match=name):
        Source(**{"mixture": MIXTURE, "n": 5, name: bad})
    with pytest.raises(TypeError, match="mixture must be a Mixture"):
        Source([1.0, 0.0], 5)


@pytest.mark.parametrize(
    "call", [predict, lambda *a, **k: simulate(*a, **k, trials=2, seed=0)], ids=["predict", "simulate"]
)
def test_training_data(call):
    with pytest.raises(ValueError, match="sources must hold at least one Source, got none"):
        call(MIXTURE, [], gamma=1.0)
    with pytest.raises(ValueError, match="sources must share the target's dimension p = 2, got p = 3"):
        call(MIXTURE, [Source(Mixture(np.ones(3)), 5)], gamma=1.0)
    with pytest.raises(ValueError, match="n must be positive for at least one source"):
        call(MIXTURE, [Source(MIXTURE, 0)], gamma=1.0)
    for bad in (0.0, -1.0, NAN, np.inf):
        with pytest.raises(ValueError, match="gamma must be > 0 and finite"):
            call(MIXTURE, [SOURCE], gamma=bad)
    for bad in ("1", None):
        with pytest.raises(TypeError, match="gamma must be a real number"):
            call(MIXTURE, [SOURCE], gamma=bad)
    with pytest.raises(TypeError, match=r"sources must be a sequence of Source, got a single Source"):
        call(MIXTURE, SOURCE, gamma=1.0)
    with pytest.raises(TypeError, match="sources must hold Source objects"):
        call(MIXTURE, [MIXTURE], gamma=1.0)
    with pytest.raises(TypeError, match="target must be a Mixture"):
        call([1.0, 0.0], [SOURCE], gamma=1.0)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (dict(p=0), "p must be >= 1"),
        (dict(n=-1), "n must be >= 0"),
        (dict(m=-1), "m must be >= 0"),
        (dict(n=0, m=0), "n and m must not both be 0"),
        (dict(mu=-0.1), "mu must be >= 0 and finite, got -0.1"),
        (dict(gamma=0.0), "gamma must be > 0"),
        (dict(epsilon=2), r"epsilon must be in \[0, 1\], got 2"),
        (dict(phi=2), r"phi must be in \[0, 1\], got 2"),
        (dict(rho=-2), r"rho must be in \[0, 1\], got -2"),
        (dict(n_hat=0.5), "n_hat must be >= 1, got 0.5"),
        (dict(n_hat=NAN), "n_hat must be >= 1, got nan"),
        (dict(weight=-1), "weight must be >= 0"),
        (dict(generator="fresh"), "generator must be one of known_mean, held_out, reused, got"),
        (dict(generator=None), "generator must be one of known_mean, held_out, reused, got None"),
        (dict(generator=5), "generator must be one of known_mean, held_out, reused, got 5"),
        (
            dict(generator="reused", n_hat=11),
            "n_hat must be infinite or <= n with generator 'reused'.* n_hat = 11 with n",
        ),
        (dict(generator="reused", n=0), "n must be >= 1 with generator 'reused'"),
    ],
)
def test_isotropic_values(change, match):
    setting = {**ISOTROPIC, **change}
    with pytest.raises(ValueError, match=match):
        predict_isotropic(**setting)
    with pytest.raises(ValueError, match=match):
        simulate_isotropic(**setting, trials=2, seed=0)


@pytest.mark.parametrize("name", ["p", "n", "m", "mu", "gamma", "epsilon", "phi", "rho", "n_hat", "weight"])
@pytest.mark.parametrize("bad", ["1", None, 1j, True])
def test_isotropic_types(name, bad):
    with pytest.raises(TypeError, match=f"{name} must be a real number"):
        predict_isotropic(**{**ISOTROPIC, name: bad})


def test_isotropic_shapes():
    with pytest.raises(ValueError, match=r"arguments must broadcast against each other, got p \(2,\), n \(3,\)"):
        predict_isotropic(**{**ISOTROPIC, "p": [1, 2], "n": [1, 2, 3]})
    with pytest.raises(TypeError, match="n must be a single number, got an array of shape"):
        simulate_isotropic(**{**ISOTROPIC, "n": [1, 2]}, trials=2, seed=0)


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        (dict(trials=0), ValueError, "trials must be >= 1"),
        (dict(trials=2.5), ValueError, "trials must be a whole number"),
        (dict(trials="3"), TypeError, "trials must be a real number"),
        (dict(seed=None), TypeError, "seed must be an int, a SeedSequence or a numpy Generator, got None"),
        (dict(seed=-1), ValueError, "seed must be >= 0, got -1"),
        (dict(seed=1.5), TypeError, "seed must be an int"),
        (dict(method="exact"), ValueError, "method must be one of sufficient, samples, got 'exact'"),
        (dict(n=2.5), ValueError, "n must be a whole number >= 0, got 2.5"),
        (dict(p=2.5), ValueError, "p must be a whole number >= 1, got 2.5"),
        (dict(n_hat=2.5), ValueError, "n_hat must be a whole number >= 1, got 2.5"),
    ],
)
def test_simulation_arguments(change, error, match):
    with pytest.raises(error, match=match):
        simulate_isotropic(**{**ISOTROPIC, "trials": 2, "seed": 0, **change})


def test_simulation_of_a_singular_matrix_says_so():
    with pytest.raises(ValueError, match="gamma must be large enough"):
        simulate_isotropic(p=50, n=3, m=4, mu=1e6, gamma=1e-10, weight=1e8, trials=1, seed=0)


def test_estimates():
    one = simulate_isotropic(**ISOTROPIC, trials=1, seed=0)
    with pytest.raises(ValueError, match="trials must be >= 2 for a standard error, got 1"):
        one.estimate("mean")
    with pytest.raises(ValueError, match="name must be one of mean, variance, accuracy, risk, got 'loss'"):
        one.estimate("loss")


def test_marchenko_pastur_arguments():
    for function in (mp.support, mp.atom):
        with pytest.raises(ValueError, match="c must be > 0"):
            function(0.0)
    with pytest.raises(ValueError, match="x must be finite"):
        mp.density([NAN], 0.5)
    with pytest.raises(ValueError, match="a must be > 0"):
        mp.trace(0.0, 1.0, 0.5)


def test_arguments_are_not_changed_and_cannot_be():
    mean = np.ones(2)
    mixture = Mixture(mean)
    mean[0] = 7
    assert mixture.mean[0] == 1
    with pytest.raises(ValueError, match="read-only"):
        mixture.mean[0] = 7


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_overflow_is_an_error():
    with pytest.raises(ValueError, match="mu must be from 1e-100 to 1e.100 in size, got 1e.200"):
        predict_isotropic(**{**ISOTROPIC, "mu": 1e200})
    with pytest.raises(ValueError, match="gamma must be from 1e-100 to 1e.100 in size, got 1e-300"):
        predict_isotropic(**{**ISOTROPIC, "gamma": 1e-300})
    with pytest.raises((ValueError, ConvergenceError)):
        predict(Mixture([1e99, 0.0]), [Source(Mixture([1e99, 0.0]), 5)], gamma=1e-99)
