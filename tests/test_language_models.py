"""Language models: servers and their failures, the stored sentences, the command line, and the real model in small.

Packages of `rmt_experiments/llm/requirements.txt` are needed by some tests only, which are skipped without them unless
RMT_LLM_REQUIRED is set.
"""

from __future__ import annotations

import csv
import importlib
import json
import os
import platform
import re
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from unittest.mock import create_autospec

import numpy as np
import pytest

pytest.importorskip("platformdirs")

from rmt_experiments.llm import __main__ as command_line
from rmt_experiments.llm import embed, generate, models, verify
from rmt_experiments.llm.models import ModelError, Server
from rmt_experiments.llm.texts import Sentence, aside, prompt_sentences, sentences
from rmt_lib.datasets.embed_snippets import clear, snippets
from rmt_lib.datasets.fetch import MissingDataError

ROOT = Path(__file__).parent.parent
SAME_KERNELS = (platform.system(), platform.machine()) == ("Linux", "x86_64")
"""There xllamacpp's wheel has one set of kernels, and sentences and scores are those stored, whatever the number of
threads. Other kernels round sums of 4-bit weights in another way: two that were tried gave one or two of 16 sentences
again, and scores (log-odds, standard deviation 1.8) that differed by up to .32.
"""


def needs(package):
    """Skip without an optional package, or fail where it is required."""
    if os.environ.get("RMT_LLM_REQUIRED"):
        return importlib.import_module(package)
    return pytest.importorskip(package, reason="needs rmt_experiments/llm/requirements.txt")


def words(text):
    return tuple(re.findall(r"[a-z']+", text.lower()))


# Servers.


def legacy(likely):
    """Log-probabilities as OpenAI's completions give them."""
    return {"tokens": [next(iter(likely))], "token_logprobs": [0.0], "text_offset": [0], "top_logprobs": [likely]}


def chat(likely):
    """Log-probabilities as llama.cpp gives them."""
    top = [{"token": token, "logprob": value, "bytes": [*token.encode()]} for token, value in likely.items()]
    return {"content": [{**top[0], "id": 1, "top_logprobs": top}]}


class Stub:
    """A server whose answers to /v1/completions `reply` gives: a status and what goes with it."""

    def __init__(self):
        self.requests, self.keys = [], []
        self.reply = lambda request: (200, self.completion(*(f" text {i}\t" for i in range(request["n"]))))
        stub = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                stub.requests.append(request)
                stub.keys.append(self.headers["Authorization"])
                status, answer = (404, "no such path") if self.path != "/v1/completions" else stub.reply(request)
                text = isinstance(answer, str)
                body = (answer if text else json.dumps(answer)).encode()
                self.send_response(status)
                self.send_header("Content-Type", "text/html" if text else "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"

    @staticmethod
    def completion(*texts, logprobs=None):
        choices = [
            {"index": i, "text": text, "finish_reason": "stop", "logprobs": logprobs} for i, text in enumerate(texts)
        ]
        return {"id": "1", "object": "text_completion", "created": 1, "model": "stub", "choices": choices}

    def expects(self, logprobs):
        self.reply = lambda request: (200, self.completion(" good", logprobs=logprobs))


@pytest.fixture
def stub():
    needs("openai")
    stub = Stub()
    thread = threading.Thread(target=stub.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield stub
    stub.server.shutdown()
    stub.server.server_close()


@pytest.fixture
def server(stub):
    return Server(f"{stub.address}/v1", "stub", "secret")


def test_texts_are_asked_for_at_once_and_stripped(stub, server):
    assert server.continuations("A\nB", 3, seed=7, temperature=0.5) == ["text 0", "text 1", "text 2"]
    (request,) = stub.requests
    assert request.items() >= {"model": "stub", "prompt": "A\nB", "n": 3, "seed": 7, "temperature": 0.5}.items()
    assert request["stop"] == ["\n"]
    assert stub.keys == ["Bearer secret"]


def test_a_server_that_gives_one_text_at_a_time_is_asked_again(stub, server):
    stub.reply = lambda request: (200, stub.completion(f" {request['seed']}"))
    assert server.continuations("A", 3, seed=7, temperature=1) == ["7", "8", "9"]


@pytest.mark.parametrize("form", [legacy, chat])
def test_log_odds(stub, server, form):
    stub.expects(form({" good": -0.5, "bad": -1.0, " bad": -2.0, " fine": -4.0, "good": -6.0}))
    assert server.log_odds("This is", "good", "bad") == pytest.approx(0.5)
    assert server.log_odds("This is", "bad", "good") == pytest.approx(-0.5)
    assert server.log_odds("This is", "good", "awful") == pytest.approx(3.5)  # as likely as the last of those given
    assert server.log_odds("This is", "awful", "good") == pytest.approx(-3.5)
    with pytest.raises(ModelError, match=r"stub at http://127.* neither 'great' nor 'awful' next, but 'good', 'bad'"):
        server.log_odds("This is", "great", "awful")
    assert stub.requests[0].items() >= {"max_tokens": 1, "temperature": 0, "logprobs": 20}.items()


@pytest.mark.parametrize(
    "nothing", [None, {"top_logprobs": [None]}, {"content": []}, {"content": [{"token": "a", "logprob": -1.0}]}]
)
def test_a_server_without_log_probabilities(stub, server, nothing):
    stub.expects(nothing)
    with pytest.raises(ModelError, match="stub at http://127.* gives no log-probabilities; remedy: take a server"):
        server.log_odds("This is", "good", "bad")


@pytest.mark.parametrize(
    ("status", "message", "remedy"),
    [
        (400, "logprobs is at most 5", "see what the server's log says"),
        (401, "wrong key", "set the environment variable OPENAI_API_KEY"),
        (403, "not yours", "set the environment variable OPENAI_API_KEY"),
        (404, "no model stub", "name a model that the server has"),
    ],
)
def test_a_refusal_is_passed_on_with_a_remedy(stub, server, status, message, remedy):
    stub.reply = lambda request: (status, {"error": {"message": message, "type": "error", "code": status}})
    with pytest.raises(ModelError, match=f"stub at {server.url} refused .*{status}.*{message}.*; remedy: {remedy}"):
        server.continuations("A", 1, seed=1, temperature=1)


@pytest.mark.parametrize("answer", ["<html>a page</html>", {"choices": []}, {"answer": 42}])
def test_what_is_not_a_completion(stub, server, answer):
    stub.reply = lambda request: (200, answer)
    with pytest.raises(ModelError, match="does not answer as OpenAI's /completions does; remedy: .* URL"):
        server.continuations("A", 1, seed=1, temperature=1)


def test_a_url_without_its_path(stub):
    with pytest.raises(ModelError, match="most end in /v1"):
        Server(stub.address, "stub").continuations("A", 1, seed=1, temperature=1)


def test_no_server(stub):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/v1"
        with pytest.raises(ModelError, match=f"no server answers at {url}; remedy: start it"):
            Server(url, "stub").continuations("A", 1, seed=1, temperature=1)


def test_a_key_is_not_shown():
    assert "secret" not in repr(Server("http://127.0.0.1/v1", "stub", "secret"))


def test_wrong_arguments(tmp_path):
    with pytest.raises(ValueError, match="url must begin with http:// or https://, got 'localhost:8080'"):
        Server("localhost:8080", "stub")
    with pytest.raises(ValueError, match="gguf must be a file, got"), models.serve(tmp_path / "none.gguf"):
        pass


def test_a_missing_package_is_named(monkeypatch, tmp_path):
    for package in ("openai", "xllamacpp"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        MissingDataError, match="package openai; remedy: pip install -r rmt_experiments/llm/requirements"
    ):
        Server("http://127.0.0.1/v1", "stub").continuations("A", 1, seed=1, temperature=1)
    (tmp_path / "model.gguf").touch()
    with pytest.raises(MissingDataError, match="package xllamacpp; remedy"), models.serve(tmp_path / "model.gguf"):
        pass


# Writing and scoring, interrupted.


class Fake:
    """A model that writes words at random, and is gone after so many requests."""

    def __init__(self, name="fake", requests=1000):
        self.name, self.left, self.asked = name, requests, 0

    def _ask(self):
        if self.left == self.asked:
            raise ModelError("gone", "wait")
        self.asked += 1

    def continuations(self, prompt, count, *, seed, temperature):
        self._ask()
        rng = np.random.default_rng([seed, *prompt.encode()])
        return [
            " ".join(rng.choice(["so", "many", "small", "words", "here", "\u2028", '",'], 12)) for _ in range(count)
        ]

    def log_odds(self, prompt, first, second):
        self._ask()
        return np.random.default_rng([*prompt.encode()]).normal()


def test_writing_goes_on_where_it_was_interrupted(tmp_path):
    whole, pieces = tmp_path / "whole.csv", tmp_path / "pieces.csv"
    generate.generate(Fake(), output=whole, count=6)
    with pytest.raises(ModelError, match="gone"):
        generate.generate(Fake(requests=4), output=pieces, count=6)
    assert not pieces.exists()
    with pieces.with_suffix(".partial").open("a") as file:
        file.write('["half a li')
    model = Fake()
    generate.generate(model, output=pieces, count=6)
    assert model.asked == 2
    assert pieces.read_bytes() == whole.read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"whole.csv", "pieces.csv"}
    assert len(generate.read(whole)) == 48
    assert generate.prompt_numbers(whole).tolist() == [i // 8 for i in range(48)]


def test_another_model_starts_again(tmp_path):
    with pytest.raises(ModelError, match="gone"):
        generate.generate(Fake("one", requests=4), output=tmp_path / "x.csv", count=6)
    model = Fake("another")
    generate.generate(model, output=tmp_path / "x.csv", count=6)
    assert model.asked == 6
    assert (tmp_path / "x.csv").read_text("utf8").startswith("# model: another\n# prompts: 6\n# seed: 2410\n")


def test_answers_that_do_not_count(tmp_path):
    real = sentences("amazon")[0].text
    model = Fake()
    model.continuations = lambda prompt, count, **_: [
        real,
        real.upper() + "!",
        "too short",
        "",
        "a new one",
        "A new one.",
    ]
    generate.generate(model, output=tmp_path / "x.csv", count=2)
    assert generate.read(tmp_path / "x.csv") == [Sentence(0, 1, "a new one")]


def test_scoring_goes_on_where_it_was_interrupted(tmp_path, monkeypatch):
    monkeypatch.setattr(verify, "chosen", lambda kind, *_: sentences("movies")[:6])
    monkeypatch.setattr(verify, "_lexicon_scores", lambda texts: [len(text) for text in texts])
    verify.verify(Fake(), "movies", output=tmp_path / "whole.csv")
    with pytest.raises(ModelError, match="gone"):
        verify.verify(Fake(requests=4), "movies", output=tmp_path / "pieces.csv")
    model = Fake()
    verify.verify(model, "movies", output=tmp_path / "pieces.csv")
    assert model.asked == 4  # one to warm up, three that were missing
    assert (tmp_path / "pieces.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"whole.csv", "pieces.csv"}


# The real sentences and the stored ones.


@pytest.mark.parametrize("kind", ["amazon", "movies"])
def test_whole_reviews_are_set_aside_until_each_class_has_100(kind):
    shown, reviews = aside(kind), np.array([review for review, _, _ in clear(snippets(kind))])
    labels = np.array([label for _, label, _ in sentences(kind)])
    counts = [(shown & (labels == label)).sum() for label in (-1, 1)]
    assert min(counts) >= 100
    assert not set(reviews[shown]) & set(reviews[~shown])
    assert any(  # one review less would not do
        min((shown & (labels == label) & (reviews != review)).sum() for label in (-1, 1)) < 100
        for review in set(reviews[shown])
    )


def test_prompts_show_sentences_of_one_class_that_were_set_aside():
    known = {(text, label) for _, label, text in prompt_sentences("amazon")}
    for number in range(generate.PROMPTS):
        label, text = generate.prompt(number)
        *shown, last = text.split("\n")
        question = f"What is {'good' if label > 0 else 'bad'}:"
        assert last == question
        assert len(set(shown)) == generate.EXAMPLES
        assert {(line.removeprefix(f"{question} "), label) for line in shown} <= known
        assert generate.prompt(number, "generated_again") == (label, text)


def test_mixed_prompts_show_sentences_of_both_classes_that_were_set_aside():
    known = {(text, label) for _, label, text in prompt_sentences("amazon")}
    customers = {"A happy customer": 1, "A disappointed customer": -1}
    seen = set()
    for number in range(generate.SETS["generated_mixed"].prompts):
        label, text = generate.prompt(number, "generated_mixed")
        _, *shown, last = text.split("\n")
        assert label == 1 - 2 * (number % 2) == customers[last.removesuffix(":")]
        pairs = [line.split(": ", 1) for line in shown]
        assert {(sentence, customers[who]) for who, sentence in pairs} <= known
        assert len(pairs) == generate.EXAMPLES
        seen |= {customers[who] for who, _ in pairs}
    assert seen == {1, -1}


@pytest.mark.parametrize("kind", ["generated", "amazon", "movies"])
def test_the_verifier_is_shown_sentences_of_both_classes_that_were_set_aside(kind):
    shown, source = verify.examples(kind), "movies" if kind == "movies" else "amazon"
    assert {sentence.number for sentence in shown} <= set(np.flatnonzero(aside(source)))
    assert [label for _, label, _ in shown] == [1, -1] * verify.EXAMPLES
    assert len(set(shown)) == 2 * verify.EXAMPLES


@pytest.mark.parametrize(("name", "least"), [("generated", 4000), ("generated_again", 1000), ("generated_mixed", 1000)])
def test_the_stored_sentences(name, least):
    path, variant = generate.OUTPUT.with_stem(name), generate.SETS[name]
    stored, prompt = generate.read(path), generate.prompt_numbers(path)
    assert len(stored) >= least
    assert [number for number, _, _ in stored] == list(range(len(stored)))
    assert len({words(text) for _, _, text in stored}) == len(stored)
    assert not {words(text) for _, _, text in stored} & {words(text) for _, _, text in sentences("amazon")}
    assert min(len(words(text)) for _, _, text in stored) >= 3
    labels = np.array([label for _, label, _ in stored])
    assert min((labels == label).sum() for label in (-1, 1)) >= 0.4 * len(labels)
    np.testing.assert_array_equal(labels, 1 - 2 * (prompt % 2))
    assert (np.diff(prompt) >= 0).all() and prompt[0] >= 0 and prompt[-1] < variant.prompts
    assert np.bincount(prompt).max() <= generate.ANSWERS
    header = path.read_text("utf8").splitlines()[:4]
    assert header[:2] == ["# model: SmolLM2-135M-Instruct.Q4_1", f"# prompts: {variant.prompts}"]
    assert header[2] == f"# seed: {variant.seed}"
    assert json.loads(header[3].removeprefix("# first: ")) == generate.prompt(0, name)[1]
    assert [row["number"] for row in score_rows(name)] == [str(number) for number, _, _ in stored]
    assert np.load(path.with_suffix(".npz"))["embeddings"].shape == (len(stored), 384)


def score_rows(kind):
    with (verify.FOLDER / f"scores_{kind}.csv").open(encoding="utf8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_sets_have_seeds_of_their_own():
    seeds = [range(variant.seed, variant.seed + variant.prompts) for variant in generate.SETS.values()]
    assert len({seed for own in seeds for seed in own}) == sum(map(len, seeds))


# The command line.


@pytest.fixture
def steps(monkeypatch):
    """Steps that only note what they are called with: names in order, and by which model."""
    calls = []
    for module, name in ((generate, "generate"), (verify, "verify"), (embed, "embed_generated")):
        step = create_autospec(getattr(module, name))
        step.side_effect = lambda *arguments, _step=name, **options: calls.append((_step, arguments, options))
        monkeypatch.setattr(module, name, step)
    return calls


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "required: STEP"),
        ("write", "invalid choice: 'write'"),
        ("generate --count 2", "need --output"),
        ("all --gguf {file}", "need --output"),
        ("generate --server http://127.0.0.1:1/v1 --model x", "need --output"),
        ("generate --count 0 --output {folder}", "--count must be >= 1, got 0"),
        ("generate --server http://127.0.0.1:1/v1 --output {folder}", "--server and --model go together"),
        ("generate --model x --output {folder}", "--server and --model go together"),
        ("generate --gguf {file} --server http://127.0.0.1:1/v1 --output {folder}", "not allowed with"),
        ("generate --gguf {folder} --output {folder}", "--gguf must be a file"),
        ("generate --server 127.0.0.1:1 --model x --output {folder}", "--server must begin with http:// or https://"),
        ("verify --output {folder}", "has no generated.csv: take the step generate first"),
        ("embed --output {folder}", "has no generated.csv: take the step generate first"),
        ("embed --set generated_again --output {folder}", "has no generated_again.csv: take the step generate first"),
        ("generate --set others", "invalid choice: 'others'"),
    ],
)
def test_what_the_command_line_refuses(arguments, message, steps, tmp_path, capsys):
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit) as caught:
        command_line.main(arguments.format(file=tmp_path / "file", folder=tmp_path).split())
    assert caught.value.code == 2
    assert message in capsys.readouterr().err
    assert not steps


def test_all_steps_of_another_model_write_into_its_folder(steps, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    url, folder = "http://127.0.0.1:1/v1", tmp_path / "new"
    command_line.main(["all", "--server", url, "--model", "x", "--output", str(folder), "--count", "3"])
    model, source = Server(url, "x", "secret"), folder / "generated.csv"
    assert steps == [
        ("generate", (model,), {"name": "generated", "output": source, "count": 3}),
        *(
            ("verify", (model, kind), {"source": source, "output": folder / f"scores_{kind}.csv"})
            for kind in ("generated", "amazon", "movies")
        ),
        ("embed_generated", (), {"source": source, "output": folder / "generated.npz"}),
    ]
    output = capsys.readouterr().out
    assert output.count("written\n") == 5 and "secret" not in output


def test_a_further_set_has_files_of_its_own(steps, tmp_path, capsys):
    command = f"all --server http://127.0.0.1:1/v1 --model x --set generated_mixed --output {tmp_path}"
    command_line.main(command.split())
    source, scores = tmp_path / "generated_mixed.csv", tmp_path / "scores_generated_mixed.csv"
    assert [(name, options) for name, _, options in steps] == [
        ("generate", {"name": "generated_mixed", "output": source, "count": None}),
        ("verify", {"source": source, "output": scores}),
        ("embed_generated", {"source": source, "output": tmp_path / "generated_mixed.npz"}),
    ]
    assert steps[1][1][1] == "generated_mixed"
    assert capsys.readouterr().out.count("written\n") == 3


def test_the_files_of_the_book_by_default(steps):
    command_line.main(["embed"])
    assert steps == [("embed_generated", (), {"source": generate.OUTPUT, "output": embed.OUTPUT})]


def test_a_model_that_fails_ends_the_command_line_with_its_message(tmp_path, monkeypatch, capsys):
    def fail(*_, **__):
        raise ModelError("gone", "wait")

    monkeypatch.setattr(generate, "generate", fail)
    with pytest.raises(SystemExit) as caught:
        command_line.main(f"generate --server http://127.0.0.1:1/v1 --model x --output {tmp_path}".split())
    assert caught.value.code == 1
    assert capsys.readouterr().err == "python -m rmt_experiments.llm: gone; remedy: wait\n"


# The real model.


@pytest.fixture(scope="module")
def smollm():
    """SmolLM2 on a server of its own."""
    needs("openai")
    needs("xllamacpp")
    with models.serve(models.small_model()) as server:
        yield server


def check_as_stored(path, count):
    """The sentences of the first prompts are those stored, or with other kernels others of as many prompts."""
    given = [*zip(generate.prompt_numbers(path), generate.read(path), strict=True)]
    if SAME_KERNELS:
        stored = zip(generate.prompt_numbers(), generate.read(), strict=True)
        assert given == [(prompt, sentence) for prompt, sentence in stored if prompt < count]
    else:
        assert {(prompt, sentence.label) for prompt, sentence in given} == {(i, 1 - 2 * (i % 2)) for i in range(count)}


def test_the_model_writes_what_is_stored_through_any_client(smollm, tmp_path):
    """As any other server from the command line, two prompts."""
    arguments = f"generate --server {smollm.url} --model {smollm.name} --count 2 --output {tmp_path}"
    command_line.main(arguments.split())
    check_as_stored(tmp_path / "generated.csv", 2)


def test_a_gguf_file_from_a_shell(smollm, tmp_path):
    gguf = tmp_path / "a-model.gguf"
    gguf.symlink_to(models.small_model())
    arguments = f"generate --gguf {gguf} --count 1 --output {tmp_path}"
    command = [sys.executable, "-m", "rmt_experiments.llm", *arguments.split()]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{tmp_path / 'generated.csv'} written\n", "")
    assert (tmp_path / "generated.csv").read_text("utf8").startswith("# model: a-model\n# prompts: 1\n")
    check_as_stored(tmp_path / "generated.csv", 1)


@pytest.mark.parametrize("kind", ["generated", "amazon", "movies"])
def test_the_model_scores_as_stored(smollm, kind):
    stored = {int(row["number"]): float(row["model"]) for row in score_rows(kind)}
    first, *others = verify.chosen(kind)[:4]
    verify.model_score(smollm, kind, first.text)  # from here on the server has read the examples, as it had then
    for number, _, text in others:
        score = verify.model_score(smollm, kind, text)
        assert score == pytest.approx(stored[number], abs=0.001 if SAME_KERNELS else 1)


def test_what_is_not_a_model(tmp_path):
    needs("xllamacpp")
    (tmp_path / "text.gguf").write_text("not a model")
    with pytest.raises(ModelError, match=r"text.gguf could not be loaded; remedy: give"):
        with models.serve(tmp_path / "text.gguf"):
            pass
