"""An executor on the workers of a Dask cluster that run the same software as this process."""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import os
import platform
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Executor, Future
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

TIMEOUT = 10  # seconds a scheduler has to answer
CODE = ("rmt_lib", "rmt_experiments")
PACKAGES = ("numpy", "scipy", "scikit-learn", "distributed")


class ClusterError(RuntimeError):
    """A cluster that cannot be used, or that was lost."""


@contextmanager
def dask_executor(address: str) -> Iterator[Executor]:
    """An executor on the workers of the Dask scheduler at `address`, such as tcp://host:8786.

    A call runs only where rmt_lib, the experiments and what they depend on are the same as here, on one BLAS thread.
    The call of a worker that died is made again elsewhere.

    Raises
    ------
    ClusterError
        No Dask here, no scheduler there, workers with other software, or a cluster lost on the way.
    """
    try:
        from distributed import Client, KilledWorker
        from distributed.comm import get_address_host_port
    except ImportError as error:
        raise ClusterError('running on a cluster needs Dask: pip install "rmt_lib[cluster]"') from error
    try:
        with socket.create_connection(get_address_host_port(address), timeout=TIMEOUT) as connection:
            # A scheduler speaks first (not under TLS); for anything else that listens, Client would wait for ever.
            if not address.startswith("tls:"):
                connection.recv(1)
        client = Client(address, timeout=TIMEOUT, set_as_default=False)
    except Exception as error:
        raise ClusterError(f"no Dask scheduler answers at {address!r} ({error}); expected tcp://HOST:PORT") from error
    with client:
        _check(client)
        try:
            yield _Checked(client.get_executor(pure=False))
        except CancelledError as error:
            raise ClusterError(f"lost the scheduler at {address}") from error
        except KilledWorker as error:
            raise ClusterError(str(error)) from error


@cache
def software() -> dict[str, str]:
    """What a result depends on: versions, and checksums of our own code."""
    found = {"Python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "missing"
    for name in CODE:
        files = sorted(path for folder in importlib.import_module(name).__path__ for path in Path(folder).rglob("*.py"))
        found[name] = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:8]
    return found


def _check(client: Any) -> None:
    found = client.run(software, on_error="return")
    try:
        found["the scheduler"] = client.run_on_scheduler(software)  # it reads the calls that it passes on
    except Exception as error:
        found["the scheduler"] = error
    lines = [f"  {place}: {text}" for place, answer in found.items() if (text := _difference(answer))]
    if lines:
        remedy = 'install there what runs here (pip install "rmt_lib[cluster]" of the same commit) and start it again'
        raise ClusterError("\n".join([f"workers and scheduler need the software of this process; {remedy}:", *lines]))


def _difference(found: dict[str, str] | Exception) -> str:
    """How software elsewhere differs from that of this process; why it could not be asked for."""
    if isinstance(found, Exception):
        return f"{type(found).__name__}: {found}"
    return ", ".join(
        f"{name} {found[name]} instead of {ours}" for name, ours in software().items() if found[name] != ours
    )


class _Checked(Executor):
    """Checks the software with every call, since workers may join at any time."""

    def __init__(self, executor: Executor) -> None:
        self.executor = executor

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Future:
        return self.executor.submit(_call, software(), function, *arguments)


def _call(expected: dict[str, str], function: Callable[..., Any], *arguments: Any) -> Any:
    if software() != expected:
        raise ClusterError(f"worker on {platform.node()} has other software than the process that sent it a call")
    _prepare_worker()
    return function(*arguments)


@cache
def _prepare_worker() -> None:
    os.environ["TQDM_DISABLE"] = "1"  # bars here would write over one another
    threadpool_limits(limits=1, user_api="blas")
