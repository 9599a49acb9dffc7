"""Images for Figures 5 and 7: real and synthetic ones, and the two classifiers trained on them.

What is tuned is tuned by cross-validation over the real training images. They are the first rows of every training set,
and the synthetic images, if there are any, stay in the training part of every fold.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from scipy.linalg import eigh

from rmt_lib.checks import Array
from rmt_lib.datasets import mnist

CLASSES = 10
TEST, REAL = 200, 50  # images a class; all others are the generator's
GENERATORS = ("all images", "100 images", "10 images", "no covariance")
DRAWN = (25, 50, 125, 500, 750)  # synthetic images a class
GAMMAS = (0.1, 1.0, 10.0)
GRID = tuple(10 ** np.arange(-3, 2.1, 0.5))  # penalties to choose from
FOLDS = 5


class Split(NamedTuple):
    """Images of one trial, float32 with ink from 0 to 255; the generator's are listed by class."""

    test: Array
    test_labels: Array
    real: Array
    real_labels: Array
    generator: list[Array]


def streams(entropy: int, trial: int) -> list[np.random.SeedSequence]:
    """Seeds of one trial, the same in all settings: split, synthetic images, labels, network, discriminator."""
    return np.random.SeedSequence(entropy, spawn_key=(trial,)).spawn(5)


@lru_cache(maxsize=1)
def _by_class() -> list[Array]:
    data = mnist()
    return [data.features[data.labels == digit].astype(np.float32) for digit in range(CLASSES)]


def split(seed: np.random.SeedSequence) -> Split:
    """Shuffle each class and cut it in three."""
    rng = np.random.default_rng(seed)
    parts = [np.split(rng.permutation(images), [TEST, TEST + REAL]) for images in _by_class()]
    test, real, generator = zip(*parts, strict=True)
    labels = np.arange(CLASSES)
    return Split(
        np.concatenate(test), labels.repeat(TEST), np.concatenate(real), labels.repeat(REAL), list(generator)
    )  # fmt: skip


def tested(seed: np.random.SeedSequence) -> Array:
    """Which images `split` takes for the test: their numbers in the pool, ordered by class."""
    rng, sizes = np.random.default_rng(seed), [len(images) for images in _by_class()]
    firsts = np.cumsum(sizes) - sizes
    return np.concatenate([first + rng.permutation(size)[:TEST] for first, size in zip(firsts, sizes, strict=True)])


def draw(images: Array, generator: str, count: int, rng: np.random.Generator) -> Array:
    """`count` samples of the Gaussian fitted to `images` (n_hat, p) of one class, negative ink set to 0.

    A combination of the n_hat deviations from the mean, with Gaussian weights, has exactly their covariance, so that no
    covariance matrix is needed. "No covariance" is the mean of all images with the identity as covariance.
    """
    if generator == "no covariance":
        noise = rng.standard_normal((count, images.shape[1]), dtype=np.float32)
    else:
        images = images[: {"all images": None, "100 images": 100, "10 images": 10}[generator]]
        weights = rng.standard_normal((count, len(images)), dtype=np.float32)
        noise = weights @ (images - images.mean(axis=0)) / np.float32(np.sqrt(len(images) - 1))
    return np.maximum(images.mean(axis=0) + noise, 0)


def synthetic(images: list[Array], generator: str, count: int, seed: np.random.SeedSequence) -> Array:
    """`count` images of each class, ordered by class; those of a smaller count are the first ones of each."""
    seeds = np.random.SeedSequence(seed.entropy, spawn_key=seed.spawn_key).spawn(CLASSES)
    rngs = map(np.random.default_rng, seeds)
    return np.concatenate([draw(own, generator, count, rng) for own, rng in zip(images, rngs, strict=True)])


def training_set(data: Split, generator: str, m: int, seed: np.random.SeedSequence) -> tuple[Array, Array]:
    """The real images and m synthetic ones of each class, with their labels."""
    images = np.concatenate([data.real, synthetic(data.generator, generator, m, seed)])
    return images, np.concatenate([data.real_labels, np.arange(CLASSES).repeat(m)])


def folds() -> Array:
    """The fold of each real training image, of which each has equally many of each class."""
    return np.arange(CLASSES * REAL) % FOLDS


class Network:
    """Two layers, 128 hidden ReLU units, softmax; trained by SGD on batches of 64, as in the released code.

    The learning rate rises to `peak` over 300 steps, then falls as a cosine to a tenth; weight decay 1e-4. The start is
    uniform within 1/sqrt(inputs of the layer), PyTorch's default, or "normal" with variance 2/inputs and zero biases.
    The network sees black as `ink`.
    """

    def __init__(
        self,
        images: Array,
        labels: Array,
        seed: np.random.SeedSequence,
        *,
        ink: float = 255,
        steps: int = 3000,
        momentum: float = 0.0,
        start: str = "uniform",
        peak: float = 5e-3,
    ) -> None:
        rng = np.random.default_rng(seed)
        self.scale = np.float32(ink / 255)
        images = self.scale * images
        self.parameters = []
        for inputs, outputs in ((images.shape[1], 128), (128, CLASSES)):
            for shape in ((inputs, outputs), (outputs,)):
                self.parameters.append(_start(start, shape, inputs, rng))
        targets = np.eye(CLASSES, dtype=np.float32)[labels]
        epochs = [rng.permutation(len(images)) for _ in range(-(-steps * 64 // len(images)))]
        batches = np.concatenate(epochs)[: steps * 64].reshape(steps, 64)
        moves = [np.zeros_like(parameter) for parameter in self.parameters]
        for rows, rate in zip(batches, learning_rates(steps, peak), strict=True):
            gradients = self.gradients(images[rows], targets[rows])
            for parameter, move, gradient in zip(self.parameters, moves, gradients, strict=True):
                move *= np.float32(momentum)
                move += gradient
                parameter *= np.float32(1 - rate * 1e-4)
                parameter -= np.float32(rate) * move

    def scores(self, images: Array) -> tuple[Array, Array]:
        """Values of the hidden units and of the output, for images as the network sees them."""
        first, first_bias, second, second_bias = self.parameters
        hidden = np.maximum(images @ first + first_bias, 0)
        return hidden, hidden @ second + second_bias

    def gradients(self, images: Array, targets: Array) -> tuple[Array, Array, Array, Array]:
        """Of the mean cross-entropy of images as the network sees them, for each array of parameters."""
        hidden, scores = self.scores(images)
        errors = np.exp(scores - scores.max(axis=1, keepdims=True))
        errors = (errors / errors.sum(axis=1, keepdims=True) - targets) / np.float32(len(images))
        back = (errors @ self.parameters[2].T) * (hidden > 0)
        return images.T @ back, back.sum(axis=0), hidden.T @ errors, errors.sum(axis=0)

    def classify(self, images: Array) -> Array:
        """The class of each image."""
        return self.scores(self.scale * images)[1].argmax(axis=1)


def _start(kind: str, shape: tuple[int, ...], inputs: int, rng: np.random.Generator) -> Array:
    if kind == "uniform":
        return (rng.uniform(-1, 1, shape) / np.sqrt(inputs)).astype(np.float32)
    weights = rng.standard_normal(shape) * np.sqrt(2 / inputs)
    return (weights if len(shape) == 2 else np.zeros(shape)).astype(np.float32)


def learning_rates(steps: int, peak: float = 5e-3, warm: int = 300) -> Array:
    """One for each step."""
    step = np.arange(steps)
    cosine = (1 + np.cos(np.pi * (step - warm) / (steps - warm))) / 2
    return peak * np.minimum((step + 1) / warm, np.where(step < warm, 1, 0.1 + 0.9 * cosine))


def network_accuracy(images: Array, labels: Array, data: Split, seed: np.random.SeedSequence, **options: Any) -> float:
    """Test accuracy of a `Network`; `options` are those of its training."""
    guess = Network(images, labels, seed, **options).classify(data.test)
    return float((guess == data.test_labels).mean())


def accuracies(
    images: Array, labels: Array, data: Split, seed: np.random.SeedSequence, *, ink: float = 255
) -> dict[str, float]:
    """Test accuracies of the network and of ridge regression at GAMMAS, as columns of a row."""
    ridge = ridge_accuracies(images, labels, data, GAMMAS)
    return {
        "network": network_accuracy(images, labels, data, seed, ink=ink),
        **{f"ridge {penalty:g}": accuracy for penalty, accuracy in zip(GAMMAS, ridge, strict=True)},
    }


class Ridge:
    """One-versus-rest ridge regression with an intercept; the loss is divided by the number of rows.

    The unit of a pixel is the root of its average variance in the real rows, which are the first ones. Only second
    moments of the rows are kept, so that a fold can be left out by a subtraction.
    """

    def __init__(self, images: Array, labels: Array) -> None:
        self.real = images[: CLASSES * REAL]
        self.unit = np.sqrt(self.real.var(axis=0).mean())
        self.centre = images.mean(axis=0)  # of all rows, so that single precision is enough
        self.labels = labels[: CLASSES * REAL]
        self.moments = self._moments(images, labels)

    def _rows(self, images: Array) -> Array:
        rows = (images - self.centre) / self.unit
        return np.column_stack([np.ones(len(rows), rows.dtype), rows])

    def _moments(self, images: Array, labels: Array) -> Array:
        """Sums of the products of rows (1, pixels) with themselves and with the targets, side by side."""
        rows = self._rows(images)
        return rows.T @ np.column_stack([rows, np.eye(CLASSES, dtype=np.float32)[labels]])

    def classes(self, images: Array, penalties: Sequence[float], *, without: Array | None = None) -> Array:
        """The class of each image (columns) for each penalty (rows), of a fit `without` some of the real rows."""
        moments = self.moments
        if without is not None:
            moments = moments - self._moments(self.real[without], self.labels[without])
        moments = moments / moments[0, 0]
        mean, second = moments[0, 1:], moments[1:, 1:] - np.outer(moments[1:, 0], moments[0, 1:])
        pixels = len(second)
        values, vectors = eigh(second[:, :pixels])
        along = vectors.T @ second[:, pixels:]
        fresh = (self._rows(images)[:, 1:] - mean[:pixels]) @ vectors
        return np.array([(fresh @ (along / (values + p)[:, None]) + mean[pixels:]).argmax(axis=1) for p in penalties])

    def choose(self, penalties: Sequence[float] = GRID) -> float:
        """The penalty that classifies most of the real rows by a fit without their fold; the larger of equals."""
        right, fold = np.zeros(len(penalties), dtype=int), folds()
        for k in range(FOLDS):
            guess = self.classes(self.real[fold == k], penalties, without=fold == k)
            right += (guess == self.labels[fold == k]).sum(axis=1)
        return float(max(zip(right, penalties, strict=True))[1])


def ridge_accuracies(images: Array, labels: Array, data: Split, penalties: Sequence[float]) -> list[float]:
    """Test accuracy of `Ridge` for each penalty."""
    return (Ridge(images, labels).classes(data.test, penalties) == data.test_labels).mean(axis=1).tolist()


def gain(after: Array, before: Array, images: Array) -> tuple[float, float, float]:
    """Mean of `after - before` (trials, tests) and two standard errors: over trials, and over the tested `images`.

    Trials split one pool, so the first is about other splits of it. For the second an image is one unit with all its
    tests, wherever they are: the limit of a bootstrap of the images. It holds the training sets as they are.
    """
    differences = np.subtract(after, before, dtype=float)
    excess = np.bincount(images.ravel(), (differences - differences.mean()).ravel())
    over_trials = differences.mean(axis=1).std(ddof=1) / np.sqrt(len(differences))
    return differences.mean(), over_trials, np.sqrt((excess**2).sum()) / differences.size


def as_hex(flags: Array) -> str:
    """True and false as the digits of a hexadecimal number, to be stored in a row."""
    return np.packbits(flags).tobytes().hex()


def from_hex(digits: str, count: int) -> Array:
    """What `as_hex` was given, `count` of them."""
    return np.unpackbits(np.frombuffer(bytes.fromhex(digits), np.uint8), count=count).astype(bool)
