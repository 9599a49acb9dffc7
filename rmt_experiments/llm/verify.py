"""Three verifiers: `scores_KIND.csv` for each set of generated, the Amazon and the movie sentences.

* `lexicon`: VADER adds up the ratings of a sentence's words and knows neither task nor model.
* `model`: the language model itself, asked for the next word after eight labelled sentences and the new one.
* `network`: a small transformer fine-tuned on all movie sentences (so it scores none of them). Fine-tuned again on
  another processor it has other opinions of 3 or 4 of 100 sentences; the two further generated sets were scored by such
  a second one, with the threshold of the first.

A score is high where a sentence says something good. A verifier's opinion is the side of a threshold that the score is
on; half of the sentences set aside for prompts, each class counted alike, are above it. It keeps a sample if its
opinion is the sample's label.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from rmt_experiments.llm import generate, prompts
from rmt_experiments.llm.models import LanguageModel
from rmt_experiments.llm.texts import SEED, Sentence, aside, prompt_sentences, sentences
from rmt_experiments.runner import unfinished
from rmt_lib.checks import Array

FOLDER = Path(__file__).parent
Kind = Literal["generated", "generated_again", "generated_mixed", "amazon", "movies"]
VERIFIERS = ("lexicon", "model", "network")
MOVIES = 1400
"""Movie sentences that are scored besides those set aside for prompts."""
EXAMPLES = 4
"""Labelled sentences of each class in the prompt of `model`."""


def chosen(kind: Kind, source: Path | None = None) -> list[Sentence]:
    """The sentences that are scored: all of a kind, of the movies' a random part; generated ones from a file."""
    if kind in generate.SETS:
        return generate.read(source or generate.OUTPUT.with_stem(kind))
    if kind == "amazon":
        return sentences("amazon")
    others = np.random.default_rng(SEED).permutation(np.flatnonzero(~aside("movies")))[:MOVIES]
    return [sentences("movies")[i] for i in sorted([*np.flatnonzero(aside("movies")), *others])]


@lru_cache(maxsize=3)
def examples(kind: Kind) -> list[Sentence]:
    """The labelled sentences that the language model is shown, good and bad ones in turn."""
    shown = prompt_sentences(_real(kind))
    rng = np.random.default_rng(SEED)
    classes = [rng.permutation([i for i, s in enumerate(shown) if s.label == label])[:EXAMPLES] for label in (1, -1)]
    return [shown[i] for pair in zip(*classes, strict=True) for i in pair]


def model_score(model: LanguageModel, kind: Kind, text: str) -> float:
    """Log-odds of "good" against "bad" as the next word."""
    return model.log_odds(prompts.which(examples(kind), text), prompts.QUALITY[1], prompts.QUALITY[-1])


def verify(model: LanguageModel, kind: Kind, *, source: Path | None = None, output: Path | None = None) -> None:
    """Score all sentences of a kind by every verifier that may, and write the file.

    An interrupted run goes on with the model's scores where it was; the other verifiers are quick.
    """
    output = output or FOLDER / f"scores_{kind}.csv"
    numbers, labels, texts = zip(*chosen(kind, source), strict=True)
    shown = np.zeros(len(texts), int) if kind in generate.SETS else aside(kind)[list(numbers)].astype(int)
    columns: dict[str, Sequence[Any]] = {"number": numbers, "label": labels, "aside": shown}
    partial = output.with_suffix(".partial")
    scored = {"lexicon": _lexicon_scores(texts), "model": _model_scores(model, kind, texts, partial)}
    if kind != "movies":
        scored["network"] = _network().scores(texts)
    columns |= {name: [f"{score:.4f}" for score in values] for name, values in scored.items()}
    with output.open("w", encoding="utf8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    partial.unlink()


def scores(kind: Kind) -> dict[str, Array]:
    """The stored scores by verifier, with "number" and "label" of each sentence, and whether it was set "aside"."""
    with (FOLDER / f"scores_{kind}.csv").open(encoding="utf8", newline="") as file:
        header, *rows = csv.reader(file)
    return dict(zip(header, np.array(rows, float).T, strict=True))


def opinions(kind: Kind) -> dict[str, Array]:
    """What `scores` gives, with opinions, -1 or +1, in place of the scores.

    Where all three verifiers have an opinion there is also that of the "jury": a logistic regression on their scores,
    fitted to the sentences set aside.
    """
    table, real = scores(kind), scores(_real(kind))
    shown = real["aside"] == 1
    names = [name for name in VERIFIERS if name in table]
    if len(names) == len(VERIFIERS):
        jury = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced"))
        jury.fit(_columns(real)[shown], real["label"][shown])
        table["jury"], real["jury"] = (jury.decision_function(_columns(scored)) for scored in (table, real))
        names.append("jury")
    for name in names:
        table[name] = np.where(table[name] > _threshold(real[name][shown], real["label"][shown]), 1, -1)
    return table


def reading() -> tuple[Array, Array]:
    """Numbers of 200 random generated sentences, and what a reader says who did not see their labels.

    1: it says something good; -1: something bad; 0: neither.
    """
    with (FOLDER / "reading.csv").open(encoding="utf8", newline="") as file:
        rows = csv.DictReader(line for line in file if not line.startswith("# "))
        numbers, read = zip(*((int(row["number"]), int(row["opinion"])) for row in rows), strict=True)
    return np.array(numbers), np.array(read)


def _columns(table: dict[str, Array]) -> Array:
    return np.column_stack([table[name] for name in VERIFIERS])


def _real(kind: Kind) -> Kind:
    return "movies" if kind == "movies" else "amazon"


def _threshold(values: Array, labels: Array) -> float:
    """Where half of the values are above, each class counted alike."""
    order = np.argsort(values)
    weights = np.where(labels > 0, 1 / (labels > 0).sum(), 1 / (labels < 0).sum())[order]
    return float(values[order][np.searchsorted(weights.cumsum(), 1.0)])


def _lexicon_scores(texts: Sequence[str]) -> list[float]:
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    analyzer = SentimentIntensityAnalyzer()
    return [analyzer.polarity_scores(text)["compound"] for text in texts]


def _model_scores(model: LanguageModel, kind: Kind, texts: Sequence[str], partial: Path) -> list[float]:
    head = [model.name, prompts.which(examples(kind), texts[0]), len(texts)]
    with unfinished(partial, head, total=len(texts), desc=f"reading {kind}", unit="text") as (given, add):
        if len(given) < len(texts):
            # A server reads the examples once; its first answer is rounded in another way than those that reuse them.
            model_score(model, kind, texts[0])
        for text in texts[len(given) :]:
            add(model_score(model, kind, text))
    return given


@lru_cache(maxsize=1)
def _network() -> Any:
    from rmt_experiments.llm.network import fine_tune

    _, labels, texts = zip(*sentences("movies"), strict=True)
    return fine_tune(texts, labels, seed=SEED, epochs=1)
