"""Run experiments, store results: `python -m rmt_experiments [NAME ...] [--workers N | --scheduler ADDRESS]`."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Sequence
from concurrent.futures import Executor, ProcessPoolExecutor

from rmt_experiments.cluster import ClusterError, dask_executor
from rmt_experiments.runner import load, names, store
from rmt_lib.datasets import MissingDataError


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse `arguments` (default: the command line's), run, store."""
    parser = argparse.ArgumentParser(
        prog="python -m rmt_experiments",
        description="Run experiments and store each result beside its script. An interrupted run goes on where it was.",
    )
    known = names()
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"all by default; known: {', '.join(known)}")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--workers", type=int, default=1, help="processes to run on; the result does not depend on it")
    where.add_argument("--scheduler", metavar="ADDRESS", help="of a Dask cluster to run on, such as tcp://host:8786")
    options = parser.parse_args(arguments)
    for name in options.names:
        if name not in known:
            parser.error(f"NAME must be one of {', '.join(known)}, got {name!r}")
    if options.workers < 1:
        parser.error(f"--workers must be >= 1, got {options.workers}")
    try:
        with _executor(options) as executor:
            for name in options.names or known:
                try:
                    print(f"{store(load(name), executor=executor)} written", flush=True)
                except MissingDataError as error:
                    print(f"{name} left as it is: {error}", flush=True)
    except ClusterError as error:
        parser.exit(1, f"{parser.prog}: {error}\n")


def _executor(options: argparse.Namespace) -> contextlib.AbstractContextManager[Executor | None]:
    if options.scheduler is not None:
        return dask_executor(options.scheduler)
    if options.workers == 1:
        return contextlib.nullcontext()
    # One bar of rows: those of the workers would write over each other.
    return ProcessPoolExecutor(options.workers, initializer=os.environ.setdefault, initargs=("TQDM_DISABLE", "1"))


if __name__ == "__main__":
    main()
