"""Labelled reviews by a language model: `generated.csv`.

Each of 600 prompts shows six real sentences of one class and asks for another, eight times. An answer counts if it has
three words and repeats neither a real sentence nor an earlier answer. Its label is that of its prompt: nobody checks
whether the model kept to it, so that some labels are wrong.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path

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


def prompt(number: int) -> tuple[int, str]:
    """Label and text of a prompt: even ones ask for praise, odd ones for complaints."""
    label = 1 - 2 * (number % 2)
    shown = [sentence for sentence in prompt_sentences("amazon") if sentence.label == label]
    chosen = np.random.default_rng((SEED, number)).choice(len(shown), size=EXAMPLES, replace=False)
    return label, prompts.more_like([shown[i] for i in chosen])


def answers(model: LanguageModel, number: int) -> list[str]:
    """What the model answers to a prompt. One prompt at a time: in a batch with others the answers would differ."""
    return model.continuations(prompt(number)[1], ANSWERS, seed=SEED + number, temperature=TEMPERATURE)


def generate(model: LanguageModel, *, output: Path = OUTPUT, count: int = PROMPTS) -> None:
    """Ask everything and write the sentences; an interrupted run goes on where it was."""
    partial = output.with_suffix(".partial")
    head = [model.name, prompt(0)[1], prompt(count - 1)[1]]
    with unfinished(partial, head, total=count, desc="writing", unit="prompt") as (given, add):
        for number in range(len(given), count):
            add(answers(model, number))
    with output.open("w", encoding="utf8", newline="") as file:
        file.writelines(
            f"# {name}: {value}\n" for name, value in {"model": model.name, "prompts": count, "seed": SEED}.items()
        )
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
