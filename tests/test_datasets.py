"""Data sets: what `digits` returns, that it cannot be changed by accident, and what it refuses."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest

datasets = pytest.importorskip("rmt_lib.datasets")
pytest.importorskip("sklearn")


def test_digits_are_the_published_rows():
    from sklearn.datasets import load_digits

    pixels, classes = load_digits(return_X_y=True)
    data = datasets.digits(8, 1)
    chosen = (classes == 1) | (classes == 8)
    np.testing.assert_array_equal(data.features, pixels[chosen])
    np.testing.assert_array_equal(data.labels, np.where(classes[chosen] == 8, -1, 1))
    assert data.features.shape == (356, 64)
    assert data.features.dtype == data.labels.dtype == np.float64


def test_exchanging_the_digits_exchanges_the_labels():
    one, other = datasets.digits(3, 8), datasets.digits(8, 3)
    np.testing.assert_array_equal(one.features, other.features)
    np.testing.assert_array_equal(one.labels, -other.labels)


@pytest.mark.parametrize("first", range(10))
def test_every_pair_has_two_classes_of_similar_size(first):
    for second in set(range(10)) - {first}:
        data = datasets.digits(first, second)
        assert set(np.unique(data.labels)) == {-1.0, 1.0}
        assert abs(data.labels.mean()) < 0.05


def test_provenance_says_what_the_data_is():
    provenance = datasets.digits(np.int64(1), 8).provenance
    assert (provenance.negative, provenance.positive) == ("1", "8")
    assert provenance.image_shape == (8, 8)
    assert all(getattr(provenance, name) for name in ("name", "origin", "access", "licence"))
    # If this fails, the data changed and the book's numbers with it.
    assert provenance.sha256 == "d2e4dd26413bf01d84b43e62ba46e3210f45caa5263c1997377bb04e490a7274"


def test_nothing_can_be_changed_by_accident():
    data = datasets.digits(1, 8)
    with pytest.raises(ValueError, match="read-only"):
        data.features[0, 0] = 1
    with pytest.raises(ValueError, match="read-only"):
        data.labels[0] = 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        data.provenance.name = "other"
    with pytest.raises(dataclasses.FrozenInstanceError):
        data.features = data.labels


@pytest.mark.parametrize("value", [-1, 10, 1.5, 3.0, True, "3", None, [3], float("nan")])
@pytest.mark.parametrize("name", ["first", "second"])
def test_what_is_not_a_digit_is_refused(name, value):
    with pytest.raises(ValueError, match=rf"{name} must be a whole number from 0 to 9, got "):
        datasets.digits(**{"first": 1, "second": 8, name: value})


def test_the_same_digit_twice_is_refused():
    with pytest.raises(ValueError, match="second must differ from first = 4, got 4"):
        datasets.digits(4, 4)


def test_a_missing_scikit_learn_names_the_remedy(monkeypatch):
    datasets._load_digits.cache_clear()
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ImportError, match=r"pip install .*rmt_lib\[notebooks\]"):
        datasets.digits(1, 8)


def test_the_library_does_not_need_scikit_learn():
    code = "import sys, rmt_lib; sys.exit('sklearn' in sys.modules or 'rmt_lib.datasets' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
