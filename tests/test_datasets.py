"""Data sets: what each returns, that nothing changes it by accident, what is refused, what happens if it is missing."""

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
    data = datasets.digits().pair(8, 1)
    chosen = (classes == 1) | (classes == 8)
    np.testing.assert_array_equal(data.features, pixels[chosen])
    np.testing.assert_array_equal(data.labels, np.where(classes[chosen] == 8, -1, 1))
    assert data.features.shape == (356, 64)
    assert data.features.dtype == data.labels.dtype == np.float64


def test_exchanging_the_digits_exchanges_the_labels():
    one, other = datasets.digits().pair(3, 8), datasets.digits().pair(8, 3)
    np.testing.assert_array_equal(one.features, other.features)
    np.testing.assert_array_equal(one.labels, -other.labels)


@pytest.mark.parametrize("first", range(10))
def test_every_pair_has_two_classes_of_similar_size(first):
    for second in set(range(10)) - {first}:
        data = datasets.digits().pair(first, second)
        assert set(np.unique(data.labels)) == {-1.0, 1.0}
        assert abs(data.labels.mean()) < 0.05


def test_provenance_says_what_the_data_is():
    provenance = datasets.digits().pair(np.int64(1), 8).provenance
    assert provenance.classes == {-1: "1", 1: "8"}
    assert provenance.image_shape == (8, 8)
    assert all(getattr(provenance, name) for name in ("name", "origin", "access", "licence"))
    # If this fails, the data changed and the book's numbers with it.
    assert provenance.sha256 == "d2e4dd26413bf01d84b43e62ba46e3210f45caa5263c1997377bb04e490a7274"


def test_nothing_can_be_changed_by_accident():
    data = datasets.digits().pair(1, 8)
    with pytest.raises(ValueError, match="read-only"):
        data.features[0, 0] = 1
    with pytest.raises(ValueError, match="read-only"):
        data.labels[0] = 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        data.provenance.name = "other"
    with pytest.raises(dataclasses.FrozenInstanceError):
        data.features = data.labels


@pytest.mark.parametrize("value", [-1, 10, 1.5, True, "3", None, [3], float("nan")])
@pytest.mark.parametrize("name", ["first", "second"])
def test_what_is_not_a_digit_is_refused(name, value):
    with pytest.raises(ValueError, match=rf"{name} must be one of 0, 1, 2, .*, 9, got "):
        datasets.digits().pair(**{"first": 1, "second": 8, name: value})


def test_the_same_digit_twice_is_refused():
    with pytest.raises(ValueError, match="second must differ from first = 4, got 4"):
        datasets.digits().pair(4, 4)


def test_a_missing_scikit_learn_names_the_remedy(monkeypatch):
    datasets.digits.cache_clear()
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ImportError, match=r"pip install .*rmt_lib\[notebooks\]"):
        datasets.digits()


def test_the_library_does_not_need_scikit_learn():
    code = "import sys, rmt_lib; sys.exit('sklearn' in sys.modules or 'rmt_lib.datasets' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_mnist_has_ten_thousand_images():
    data = datasets.mnist()
    assert data.features.shape == (10000, 784) and data.provenance.image_shape == (28, 28)
    assert data.features.min() == 0 and data.features.max() == 255
    np.testing.assert_array_equal(data.features, np.rint(data.features))
    counts = np.bincount(data.labels.astype(int))
    assert len(counts) == 10 and counts.min() == 863 and counts.max() == 1127
    assert len(np.unique(data.features, axis=0)) == 10000
    assert data.provenance.sha256 == "b8af1d63e20c768688333c3266e7a81baae7affe0f5917a7b31e37fb16865541"
    # A one is thin, a zero has a hole.
    images = [data.features[data.labels == digit].mean(axis=0).reshape(28, 28) for digit in (0, 1)]
    assert images[0].sum() > 2 * images[1].sum() and images[0][14, 14] < 20 < 200 < images[1][14, 14]


def test_snippets_are_unit_vectors_in_groups():
    data = datasets.amazon_snippets()
    assert data.features.shape == (2383, 384)
    np.testing.assert_allclose(np.linalg.norm(data.features, axis=1), 1, atol=1e-3)
    assert [(data.labels == label).sum() for label in (-1, 1)] == [897, 1486]
    assert len(np.unique(data.groups)) == 298
    assert data.provenance.sha256 == "a3591df83c333d679ae376a9fdb1f05a839a4b3298039ccac473f67427fad4c3"


@pytest.mark.parametrize("domain", datasets.DOMAINS)
def test_reviews_are_read_from_the_folder(reviews, domain):
    data = datasets.amazon_reviews(domain)
    assert data.features.shape[1] == 400 and abs(len(data.labels) - 2000) <= 2
    assert set(np.unique(data.labels)) == {-1.0, 1.0} and abs(data.labels.mean()) < 0.01


def test_reviews_without_a_folder_name_the_remedy(monkeypatch, tmp_path):
    datasets.amazon_reviews.cache_clear()
    monkeypatch.delenv("RMT_AMAZON_DIR", raising=False)
    with pytest.raises(datasets.MissingDataError, match="RMT_AMAZON_DIR is not set; remedy: set RMT_AMAZON_DIR to"):
        datasets.amazon_reviews("books")
    monkeypatch.setenv("RMT_AMAZON_DIR", str(tmp_path))
    with pytest.raises(datasets.MissingDataError, match="has no elec_400.mat"):
        datasets.amazon_reviews("electronics")
    (tmp_path / "elec_400.mat").write_bytes(b"something else")
    with pytest.raises(datasets.MissingDataError, match="another content"):
        datasets.amazon_reviews("electronics")
    with pytest.raises(ValueError, match="domain must be one of books, electronics, kitchen, got 'dvd'"):
        datasets.amazon_reviews("dvd")
