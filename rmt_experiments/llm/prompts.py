"""Every prompt a language model is given here."""

from __future__ import annotations

from collections.abc import Sequence

from rmt_experiments.llm.texts import Sentence

QUALITY = {1: "good", -1: "bad"}
"""What a sentence says about the thing it is about, by label."""
CUSTOMER = {1: "A happy customer", -1: "A disappointed customer"}
"""Who says so, by label."""


def more_like(examples: Sequence[Sentence]) -> str:
    """Asks for another sentence of the class of the examples."""
    shown = "".join(f"What is {QUALITY[label]}: {text}\n" for _, label, text in examples)
    return f"{shown}What is {QUALITY[examples[0].label]}:"


def another_by(label: int, examples: Sequence[Sentence]) -> str:
    """Asks for a sentence of a class after examples of both classes, in other words."""
    shown = "".join(f"{CUSTOMER[sentence.label]}: {sentence.text}\n" for sentence in examples)
    return f"Customers review what they bought, in one sentence each.\n{shown}{CUSTOMER[label]}:"


def which(examples: Sequence[Sentence], text: str) -> str:
    """Asks whether a text says something good or bad, after some sentences with the answer."""
    shown = "".join(f"{sentence} This is {QUALITY[label]}.\n" for _, label, sentence in examples)
    return f"{shown}{text} This is"
