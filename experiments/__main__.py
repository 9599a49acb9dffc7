"""Run experiments and store their results: `python -m experiments [NAME ...] [--workers N]`."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor

from experiments.runner import load, names, store


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse `arguments` (default: the command line's), run, store."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments",
        description="Run experiments and store each result beside its script. An interrupted run goes on where it was.",
    )
    known = names()
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"all by default; known: {', '.join(known)}")
    parser.add_argument("--workers", type=int, default=1, help="processes to run on; the result does not depend on it")
    options = parser.parse_args(arguments)
    for name in options.names:
        if name not in known:
            parser.error(f"NAME must be one of {', '.join(known)}, got {name!r}")
    if options.workers < 1:
        parser.error(f"--workers must be >= 1, got {options.workers}")
    # One bar of rows: those of the workers would write over each other.
    quiet = {"initializer": os.environ.setdefault, "initargs": ("TQDM_DISABLE", "1")}
    pool = ProcessPoolExecutor(options.workers, **quiet) if options.workers > 1 else contextlib.nullcontext()
    with pool as executor:
        for name in options.names or known:
            print(f"{store(load(name), executor=executor)} written", flush=True)


if __name__ == "__main__":
    main()
