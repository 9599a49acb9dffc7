"""Calls made here or on the workers of an executor."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, as_completed
from typing import Any


def in_order_of_completion(
    function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]], executor: Executor | None
) -> Iterator[tuple[int, Any]]:
    """i and function(*arguments[i]) for every i, as they finish; one after another without an executor."""
    if executor is None:
        yield from ((i, function(*values)) for i, values in enumerate(arguments))
        return
    futures = {executor.submit(function, *values): i for i, values in enumerate(arguments)}
    try:
        for future in as_completed(futures):
            yield futures[future], future.result()
    finally:
        # After a failure or an interrupt, what has not started need not run.
        for future in futures:
            future.cancel()
