"""Calls made here or on the workers of an executor, and a progress bar for work that lasts."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, as_completed
from typing import Any

from tqdm.auto import tqdm


def in_order_of_completion(
    function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]], executor: Executor | None
) -> Iterator[tuple[int, Any]]:
    """i and ``function(*arguments[i])`` for every i, as they finish; one after another without an executor."""
    if executor is None:
        yield from ((i, function(*values)) for i, values in enumerate(arguments))
        return
    futures = {executor.submit(function, *values): i for i, values in enumerate(arguments)}
    try:
        for future in as_completed(futures):
            # Forgotten once it is read: Dask would compute it again if the worker that still holds it died.
            yield futures.pop(future), future.result()
    finally:
        # After a failure or an interrupt, what has not started need not run.
        for future in futures:
            future.cancel()


def progress(iterable: Iterable[Any] | None = None, *, total: int, desc: str, unit: str) -> tqdm:
    """A bar that appears after a second and leaves nothing behind; none where TQDM_DISABLE is set.

    tqdm's notebook bar does not look at that variable, and a page without a kernel would keep a dead widget.
    """
    disable = bool(os.environ.get("TQDM_DISABLE"))
    return tqdm(iterable, total=total, desc=desc, unit=unit, delay=1, leave=False, disable=disable)
