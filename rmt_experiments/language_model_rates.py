"""How often a generated sentence has the wrong label (epsilon), and how often each verifier keeps which (phi, rho).

Nobody knows the right labels of generated sentences. They are compared with the opinion of a judge, the verifier called
`network`, whose own errors are known from real sentences and taken off. The spread of every estimate is that over
bootstrap samples: of the reviews of the real sentences, and of the prompts of the generated ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rmt_experiments.llm.features import Sentences, generated, real
from rmt_experiments.runner import Experiment
from rmt_lib.checks import Array

JUDGE = "network"
VERIFIERS = ("lexicon", "model", "network", "jury")
LABELS = (1, -1)


def accuracy(sentences: Sentences, name: str, counts: Array) -> Array:
    """Share of right opinions among the sentences of the label 1, and of -1; each sentence counts `counts` times."""
    right = sentences.opinions[name] == sentences.labels
    return np.array([np.average(right[part], weights=counts[part]) for part in map(sentences.labels.__eq__, LABELS)])


def rates(name: str, real_counts: Array, generated_counts: Array) -> dict[str, float]:
    r"""Estimates for one verifier.

    Among the sentences of label t, let a be the judge's accuracy where t is right and b where it is wrong. If verifier
    and judge err independently given the truth, a sentence is kept and confirmed by the judge with probability
    :math:`K_1 = a A + (1 - b) B`, kept and contradicted with :math:`K_0 = (1 - a) A + b B`, where
    :math:`A = \phi (1 - \varepsilon)` and :math:`B = \rho \varepsilon`. Keeping everything (A + B = 1) gives epsilon. A
    verifier that is or contains the judge does not err independently: it is taken to be as accurate as on real ones.
    """
    truth, sample = real(), generated()
    judged = accuracy(truth, JUDGE, real_counts)
    everything, kept = np.zeros(2), np.zeros(2)
    for (a, b), label in zip((judged, judged[::-1]), LABELS, strict=True):
        part = sample.labels == label
        weights = generated_counts[part] / generated_counts[part].sum() / len(LABELS)
        confirmed, agreed = (sample.opinions[who][part] == label for who in (JUDGE, name))
        unmix = np.array([[b, b - 1], [a - 1, a]]) / (a + b - 1)
        everything += unmix @ [weights @ confirmed, weights @ ~confirmed]
        kept += unmix @ [weights @ (agreed & confirmed), weights @ (agreed & ~confirmed)]
    own = accuracy(truth, name, real_counts).mean()
    phi, rho = (own, 1 - own) if name in (JUDGE, "jury") else kept / everything
    epsilon = everything[1]
    return {"real_accuracy": own, "epsilon": epsilon, "phi": phi, "rho": rho, "kept": kept.sum()}


def measure(setting: Mapping[str, Any], trials: int, seed: np.random.SeedSequence) -> dict[str, float]:
    """Estimates from all sentences, each with its standard error over bootstrap samples."""
    rng = np.random.default_rng(seed)
    sentences = real(), generated()
    estimates = rates(setting["verifier"], *(np.ones(len(part.labels)) for part in sentences))
    drawn = [rates(setting["verifier"], *(_resampled(part.groups, rng) for part in sentences)) for _ in range(trials)]
    row = {}
    for name, value in estimates.items():
        row[name], row[f"{name}_se"] = float(value), float(np.std([sample[name] for sample in drawn], ddof=1))
    return row


def _resampled(groups: Array, rng: np.random.Generator) -> Array:
    """How often each sentence is in a bootstrap sample of whole groups."""
    _, group = np.unique(groups, return_inverse=True)
    count = group.max() + 1
    return rng.multinomial(count, np.full(count, 1 / count))[group]


EXPERIMENT = Experiment(
    name="language_model_rates",
    seed=2410,
    trials=400,
    settings=[{"verifier": name} for name in VERIFIERS],
    measure=measure,
    packages=("scikit-learn",),
)
