"""all-MiniLM-L6-v2, a transformer of 22 million weights, as features and as a student fine-tuned end to end.

It needs PyTorch and transformers (`rmt_experiments/llm/requirements.txt`). The weights come as a published package.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from rmt_lib import checks
from rmt_lib.checks import Array
from rmt_lib.datasets import fetch
from rmt_lib.datasets.embed_snippets import published, tokenizer
from rmt_lib.execution import progress

LONGEST = 64
"""Tokens of a text that are read."""
BATCH = 16
RATE = 1e-4
HEAD_RATE = 1e-3
WARM = 0.1
"""Share of the steps in which the learning rate rises."""
DECAY = 0.01


class Classifier:
    """A transformer with a linear layer on the mean of its last states."""

    def __init__(self, body: Any, head: Any) -> None:
        self._body, self._head = body, head

    def scores(self, texts: Sequence[str]) -> Array:
        """Log-odds (N,) of the label +1."""
        torch = _torch()
        scores = np.empty(len(texts))
        tokens = _tokens(texts)
        with torch.inference_mode():
            for chosen in _of_equal_length(tokens, 64):
                scores[chosen] = self._head(_mean(self._body, [tokens[i] for i in chosen]))[:, 0].numpy()
        return scores


def fine_tune(
    texts: Sequence[str],
    labels: Array,
    *,
    seed: int,
    epochs: int = 3,
    updates: int | None = None,
    rate: float = RATE,
    threads: int = 1,
) -> Classifier:
    """Train all weights with the logistic loss.

    AdamW, learning rate up for a tenth of the steps and then linearly down to 0, batches of 16 texts of about the same
    length. The result depends on the seed and on the number of threads, in which sums are taken apart differently.

    Parameters
    ----------
    texts, labels
        N texts and their labels (N,) in {-1, +1}.
    seed
        Of the new layer's weights and the order of the batches.
    epochs
        Passes over the texts, 0 or more.
    updates
        Number of batches, in place of `epochs`: as many passes as it takes, the last one broken off.
    rate
        Largest learning rate, > 0; that of the new layer is ten times as large.
    threads
        Of PyTorch, in this process, from now on.

    Raises
    ------
    ValueError, TypeError
        No texts, labels of another number or value, parameters out of range.
    MissingDataError
        PyTorch, transformers or the weights are not there.
    """
    labels = checks.array("labels", labels)
    if not len(texts):
        raise ValueError("texts must be one or more, got none")
    if labels.shape != (len(texts),):
        raise ValueError(f"labels must have shape {(len(texts),)}, one for each text, got {labels.shape}")
    if not np.isin(labels, (-1, 1)).all():
        raise ValueError(f"labels must be -1 or +1, got {labels[~np.isin(labels, (-1, 1))][0]:g}")
    epochs, threads = checks.count("epochs", epochs, low=0), checks.count("threads", threads, low=1)
    if updates is None:
        updates = epochs * math.ceil(len(texts) / BATCH)
    updates = checks.count("updates", updates, low=0)
    rate = checks.number("rate", rate, low=0, open_low=True)
    rng = checks.rng(seed)

    torch = _torch()
    torch.set_num_threads(threads)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**63)))
        body = _body()
        head = torch.nn.Linear(body.config.hidden_size, 1)
        _train(body, head, _tokens(texts), torch.tensor(labels, dtype=torch.float32), rng, updates, rate)
    return Classifier(body.eval(), head)


def frozen(texts: Sequence[str]) -> Array:
    """Embeddings (N, 384) of unit length by the network as published: the mean over tokens of its last states."""
    torch = _torch()
    body, tokens = _body().eval(), _tokens(texts)
    embeddings = np.empty((len(texts), body.config.hidden_size))
    with torch.inference_mode():
        for chosen in _of_equal_length(tokens, 64):
            embeddings[chosen] = _mean(body, [tokens[i] for i in chosen]).numpy()
    return embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)


def _train(
    body: Any, head: Any, tokens: list[list[int]], labels: Any, rng: np.random.Generator, steps: int, rate: float
) -> None:
    torch = _torch()
    batches: list[Array] = []
    while len(batches) < steps:
        ordered = _of_equal_length(tokens, BATCH, rng)
        batches += [ordered[i] for i in rng.permutation(len(ordered))]
    del batches[steps:]
    optimizer = torch.optim.AdamW(
        [{"params": body.parameters(), "lr": rate}, {"params": head.parameters(), "lr": HEAD_RATE * rate / RATE}],
        weight_decay=DECAY, fused=True,
    )  # fmt: skip
    warm = max(1, round(WARM * steps))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warm, (steps - step) / max(1, steps - warm))
    )
    body.train()
    with progress(total=steps, desc="fine-tuning", unit="batch") as bar:
        for chosen in batches:
            scores = head(_mean(body, [tokens[i] for i in chosen]))[:, 0]
            loss = torch.nn.functional.softplus(-labels[torch.from_numpy(chosen)] * scores).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            bar.update()


def _mean(body: Any, tokens: list[list[int]]) -> Any:
    """Mean of the last states of each text (N, 384), without the padding."""
    torch = _torch()
    longest = max(map(len, tokens))
    ids = torch.tensor([own + [0] * (longest - len(own)) for own in tokens])
    mask = torch.tensor([[1] * len(own) + [0] * (longest - len(own)) for own in tokens])
    states = body(input_ids=ids, attention_mask=mask).last_hidden_state
    weights = mask[:, :, None].to(states.dtype)
    return (states * weights).sum(dim=1) / weights.sum(dim=1)


def _of_equal_length(tokens: list[list[int]], size: int, rng: np.random.Generator | None = None) -> list[Array]:
    """Numbers of the texts, `size` at a time, ordered by length; those of equal length in random order."""
    order = np.arange(len(tokens)) if rng is None else rng.permutation(len(tokens))
    order = order[np.argsort([len(tokens[i]) for i in order], kind="stable")]
    return [order[start : start + size] for start in range(0, len(order), size)]


def _tokens(texts: Sequence[str]) -> list[list[int]]:
    return [encoding.ids for encoding in tokenizer(LONGEST).encode_batch(list(texts))]


def _torch() -> Any:
    try:
        import torch
        import transformers  # noqa: F401
    except ImportError as error:
        remedy = "pip install -r rmt_experiments/llm/requirements.txt"
        raise fetch.MissingDataError("fine-tuning needs PyTorch and transformers", remedy) from error
    return torch


@lru_cache(maxsize=1)
def _published() -> tuple[dict[str, Any], dict[str, Any]]:
    """Configuration and weights."""
    from safetensors.torch import load

    return json.loads(published("config.json")), load(published("model.safetensors"))


def _body() -> Any:
    """The network as published, a new copy, without dropout."""
    _torch()
    from transformers import BertConfig, BertModel

    config, weights = _published()
    config |= {"hidden_dropout_prob": 0, "attention_probs_dropout_prob": 0}
    body = BertModel(BertConfig(**config), add_pooling_layer=False)
    missing, _ = body.load_state_dict(weights, strict=False)
    if missing:
        raise RuntimeError(f"transformers' BertModel has weights that the published file lacks: {missing}")
    return body
