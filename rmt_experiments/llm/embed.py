"""Embeddings of a set of generated sentences, half precision, by the same model as the real ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rmt_experiments.llm import generate

OUTPUT = Path(__file__).with_name("generated.npz")


def embed_generated(*, source: Path = generate.OUTPUT, output: Path = OUTPUT) -> None:
    """Embed the sentences of a file that `generate` wrote; 45 a second."""
    from rmt_lib.datasets.embed_snippets import embed

    embeddings = embed([text for _, _, text in generate.read(source)])
    np.savez_compressed(output, embeddings=embeddings.astype(np.float16))
