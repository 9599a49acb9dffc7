"""Labelled reviews by a language model: `generated.csv`, and two smaller sets that tell how much one set owes to luck.

Each of 600 prompts shows six real sentences of one class and asks for another, eight times. `generated_again` has other
answers to the first 200 of these prompts; `generated_mixed` has those to 160 prompts in other words that show six
sentences of both classes. An answer counts if it has three words and repeats neither a real sentence nor an earlier
answer of its set. Its label is that of its prompt: nobody checks whether the model kept to it, so that some labels are
wrong.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rmt_experiments.llm import prompts
from rmt_experiments.llm.models import LanguageModel
from rmt_experiments.llm.texts import SEED, Sentence, prompt_sentences, sentences
from rmt_experiments.runner import unfinished
from rmt_lib.checks import Array

OUTPUT = Path(__file__).with_name("generated.csv")
PROMPTS = 600
EXAMPLES = 6
ANSWERS = 8
TEMPERATURE = 0.8


class Variant(NamedTuple):
    """A set of sentences: its number of prompts, the seed of its answers, and whether prompts show both classes."""

    prompts: int = PROMPTS
    seed: int = SEED
    mixed: bool = False


SETS = {
    "generated": Variant(),
    "generated_again": Variant(200, SEED + 10_000),
    "generated_mixed": Variant(160, SEED + 20_000, mixed=True),
}
"""By the name of the file, without `.csv`."""


def prompt(number: int, name: str = "generated") -> tuple[int, str]:
    """Label and text of a prompt of a set: even ones ask for praise, odd ones for complaints."""
    label, rng = 1 - 2 * (number % 2), np.random.default_rng((SEED, number))
    mixed = SETS[name].mixed
    shown = [sentence for sentence in prompt_sentences("amazon") if mixed or sentence.label == label]
    examples = [shown[i] for i in rng.choice(len(shown), size=EXAMPLES, replace=False)]
    return label, prompts.another_by(label, examples) if mixed else prompts.more_like(examples)


def answers(model: LanguageModel, number: int, name: str = "generated") -> list[str]:
    """What the model answers to a prompt. One prompt at a time: in a batch with others the answers would differ."""
    seed = SETS[name].seed + number
    return model.continuations(prompt(number, name)[1], ANSWERS, seed=seed, temperature=TEMPERATURE)


def generate(
    model: LanguageModel, *, name: str = "generated", output: Path | None = None, count: int | None = None
) -> None:
    """Ask all prompts of a set, or the first `count`, and write the sentences; an interrupted run goes on."""
    output, count = output or OUTPUT.with_stem(name), count or SETS[name].prompts
    partial = output.with_suffix(".partial")
    head = [model.name, prompt(0, name)[1], prompt(count - 1, name)[1], SETS[name].seed]
    with unfinished(partial, head, total=count, desc="writing", unit="prompt") as (given, add):
        for number in range(len(given), count):
            add(answers(model, number, name))
    header = {"model": model.name, "prompts": count, "seed": SETS[name].seed, "first": json.dumps(prompt(0, name)[1])}
    with output.open("w", encoding="utf8", newline="") as file:
        file.writelines(f"# {key}: {value}\n" for key, value in header.items())
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["number", "prompt", "label", "text"])
        writer.writerows((number, *row) for number, row in enumerate(_new(given)))
    partial.unlink()


def read(path: Path = OUTPUT) -> list[Sentence]:
    """The sentences of a file that `generate` wrote, with the labels of their prompts."""
    return [Sentence(int(row["number"]), int(row["label"]), row["text"]) for row in _rows(path)]


def prompt_numbers(path: Path = OUTPUT) -> Array:
    """The prompt that each of these sentences answers."""
    return np.array([int(row["prompt"]) for row in _rows(path)])


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf8", newline="") as file:
        return list(csv.DictReader(line for line in file if not line.startswith("# ")))


def _new(given: list[list[str]]) -> Iterator[tuple[int, int, str]]:
    """Number of the prompt, label and text of the answers that count."""
    seen = {_words(text) for _, _, text in sentences("amazon")}
    for number, texts in enumerate(given):
        for text in texts:
            words = _words(text)
            if len(words) >= 3 and words not in seen:
                seen.add(words)
                yield number, prompt(number)[0], text


def _words(text: str) -> tuple[str, ...]:
    return tuple(re.findall(r"[a-z']+", text.lower()))
