"""The steps that need a language model, or what it wrote: `python -m rmt_experiments.llm STEP` (see `--help`)."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from rmt_experiments.llm import embed, generate, verify
from rmt_experiments.llm.models import LanguageModel, ModelError, Server, serve, small_model
from rmt_lib.datasets.fetch import MissingDataError

FOLDER = Path(__file__).parent
STEPS = {
    "generate": "have the model write labelled sentences: generated*.csv",
    "verify": "have each verifier score them, and with the first set the real sentences: scores_*.csv",
    "embed": "embed what was written: generated*.npz",
    "all": "these three in turn",
}
REAL: tuple[verify.Kind, ...] = ("amazon", "movies")


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse `arguments` (default: the command line's) and take the step."""
    parser = argparse.ArgumentParser(
        prog="python -m rmt_experiments.llm",
        description="Make the data of the language-model experiments. An interrupted step goes on where it was.",
        epilog="Steps:\n" + "".join(f"  {name:9} {text}\n" for name, text in STEPS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("step", choices=STEPS, metavar="STEP", help=" | ".join(STEPS))
    parser.add_argument(
        "--output", type=Path, metavar="FOLDER", help="folder of the files, by default that of the book"
    )
    parser.add_argument("--set", choices=generate.SETS, default="generated", help="of sentences, by default the first")
    parser.add_argument("--count", type=int, metavar="N", help="write to the first N prompts only")
    another = parser.add_argument_group(
        "another model", "than SmolLM2-135M-Instruct, which is fetched (98 MB) and run on this machine"
    )
    where = another.add_mutually_exclusive_group()
    where.add_argument("--gguf", type=Path, metavar="FILE", help="of a model to run on this machine")
    where.add_argument(
        "--server",
        metavar="URL",
        help="of an OpenAI-compatible server, such as http://127.0.0.1:8080/v1; its key is read from OPENAI_API_KEY",
    )
    another.add_argument("--model", metavar="NAME", help="of the model that the server is to use")
    options = parser.parse_args(arguments)
    if (options.server is None) != (options.model is None):
        parser.error("--server and --model go together")
    if options.count is not None and options.count < 1:
        parser.error(f"--count must be >= 1, got {options.count}")
    if options.output is None and (options.gguf or options.server or options.count):
        parser.error("--gguf, --server and --count need --output: what the book shows is made without them")
    if options.gguf is not None and not options.gguf.is_file():
        parser.error(f"--gguf must be a file, got {str(options.gguf)!r}")
    if options.server is not None and not options.server.startswith(("http://", "https://")):
        parser.error(f"--server must begin with http:// or https://, got {options.server!r}")
    folder = options.output or FOLDER
    if options.step in ("verify", "embed") and not (folder / f"{options.set}.csv").exists():
        parser.error(f"{folder} has no {options.set}.csv: take the step generate first")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with _model(options) as model:
            for path in _take(options.step, model, folder, options.set, options.count):
                print(f"{path} written", flush=True)
    except (ModelError, MissingDataError, ImportError) as error:
        parser.exit(1, f"{parser.prog}: {error}\n")


def _model(options: argparse.Namespace) -> contextlib.AbstractContextManager[LanguageModel | None]:
    if options.step == "embed":
        return contextlib.nullcontext()
    if options.server is not None:
        key = os.environ.get("OPENAI_API_KEY") or "none"
        return contextlib.nullcontext(Server(options.server, options.model, key))
    return serve(options.gguf or small_model())


def _take(step: str, model: LanguageModel | None, folder: Path, name: verify.Kind, count: int | None) -> Iterator[Path]:
    """Take a step or all for a set of sentences, and name each file when it is written."""
    written = folder / f"{name}.csv"
    if step in ("generate", "all"):
        generate.generate(model, name=name, output=written, count=count)
        yield written
    if step in ("verify", "all"):
        for kind in (name, *REAL) if name == "generated" else (name,):
            output = folder / f"scores_{kind}.csv"
            verify.verify(model, kind, source=written, output=output)
            yield output
    if step in ("embed", "all"):
        output = written.with_suffix(".npz")
        embed.embed_generated(source=written, output=output)
        yield output


if __name__ == "__main__":
    main()
